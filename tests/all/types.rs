//! Every data type on its way from a MISP type to a file.

use std::collections::BTreeMap;
use std::fs;

use crate::dir::{Dir, now};
use crate::feed::{Attribute, Event};

const BLOCK: &str = "example:incident-classification=block";
const HASH: &str = "0123456789ABCDEF0123456789ABCDEF0123456789abcdef0123456789abcdef";

/// MISP type, value; of hashes the first digits of [`HASH`].
fn attributes() -> Vec<(&'static str, String)> {
    let hashes = [
        ("filename|md5", 32),
        ("sha1", 40),
        ("filename|sha256", 64),
        ("x509-fingerprint-md5", 32),
        ("x509-fingerprint-sha1", 40),
        ("x509-fingerprint-sha256", 64),
        ("ja3-fingerprint-md5", 32),
        ("hassh-md5", 32),
        ("hasshserver-md5", 32),
        ("imphash", 32),
    ];
    let texts = [
        ("ip-dst", "192.0.2.9/30"),
        ("ip-dst", "10.0.0.0/23"),
        ("ip-src|port", "192.0.2.77|443"),
        ("ip-dst", "text 192.0.2.66"),
        ("ip-dst", "2001:DB8::1"),
        ("domain", "Evil.Example"),
        ("hostname|port", "www.evil.example|80"),
        ("url", "http://evil.example/A"),
        ("mutex", "Global\\m"),
        ("mutex", "two\nlines"),
        ("snort", "alert tcp any any -> any any (sid:1;)\n"),
        ("yara", "rule a\n{ condition: true }"),
        ("sigma", "title: a\nlevel: low\n"),
        ("email", "a@evil.example"),
        ("email-src", "b@evil.example"),
        ("email-dst", "B@Evil.Example"),
        ("email-subject", "Invoice"),
        ("email-attachment", "invoice.pdf"),
        ("vulnerability", "cve-2021-44228"),
        ("btc", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
        ("btc", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb"),
    ];
    let hashes = hashes.map(|(kind, digits)| {
        let name = if kind.contains('|') { "a.exe|" } else { "" };
        (kind, format!("{name}{}", &HASH[..digits]))
    });
    hashes.into_iter().chain(texts.map(|(kind, value)| (kind, value.to_owned()))).collect()
}

#[test]
fn every_type_is_published_and_what_is_refused_is_counted() {
    let dir = Dir::new("ipv4ext_widest: 24\npublish:\n  feeds: [block]\n  ages: [10y]\n");
    let attributes = attributes().into_iter().map(|(kind, value)| Attribute::new(kind, value, now() - 600)).collect();
    dir.publish(&[Event::new(1, &[BLOCK], attributes)]);
    let lower = HASH.to_lowercase();
    let expected: BTreeMap<&str, &str> = BTreeMap::from([
        ("ipv4ext", "192.0.2.10\r\n192.0.2.11\r\n192.0.2.77\r\n192.0.2.8\r\n192.0.2.9"),
        ("ipv4", "192.0.2.77"),
        ("ipv6", "2001:db8::1"),
        ("cidr4", "10.0.0.0/23\r\n192.0.2.8/30"),
        ("domain", "evil.example"),
        ("hostname", "www.evil.example"),
        ("url", "http://evil.example/A"),
        ("file-md5", &lower[..32]),
        ("file-sha1", &lower[..40]),
        ("file-sha256", &lower),
        ("mutex", "Global\\m"),
        ("snort", "alert tcp any any -> any any (sid:1;)"),
        ("yara", "rule a\n{ condition: true }"),
        ("sigma", "title: a\nlevel: low"),
        ("x509-fingerprint-md5", &lower[..32]),
        ("x509-fingerprint-sha1", &lower[..40]),
        ("x509-fingerprint-sha256", &lower),
        ("email-address", "B@evil.example\r\na@evil.example\r\nb@evil.example"),
        ("email-subject", "Invoice"),
        ("email-attachment", "invoice.pdf"),
        ("vulnerability", "CVE-2021-44228"),
        ("ja3", &lower[..32]),
        ("hassh-md5", &lower[..32]),
        ("hasshserver-md5", &lower[..32]),
        ("imphash", &lower[..32]),
        ("crypto-currency", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
    ]);
    let (current, manifest) = (dir.current(), dir.manifest());
    assert_eq!((expected.len(), manifest.artifacts.len()), (26, 26));
    for (name, body) in expected {
        let artifact = &manifest.artifacts[&format!("feed/block/{name}/10y.txt")];
        assert_eq!(fs::read_to_string(current.join(&artifact.path)).unwrap(), body, "{name}");
    }
    let refused = |name: &str, reason: &str| manifest.refusals[name].get(reason).copied();
    assert_eq!(refused("ipv4ext", "network wider than ipv4ext_widest"), Some(1));
    // A text, and an IPv6 address.
    assert_eq!(refused("ipv4ext", "not an address"), Some(2));
    assert_eq!(refused("ipv4", "a network, not an address"), Some(2));
    assert_eq!(refused("mutex", "line break"), Some(1));
    assert_eq!(refused("crypto-currency", "wrong checksum"), Some(1));
    assert_eq!(manifest.refusals.get("email-address"), None);
}
