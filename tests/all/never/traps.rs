//! Values that look like any other and would stop a network if a device took them. With the shipped default every list in
//! every format is, byte for byte, what it would be had they never been there.

use cratos::demand::{Of, Wanted};
use cratos::index::{Slice, TYPES};
use cratos::render::FORMATS;

use super::{reasons, refreshed};
use crate::source::BLOCK;

/// All types and formats, of tag feeds and others.
const EVERYTHING: &str = "publish:\n  feeds: [block, any, \"42\"]\n  ages: [10y]\n  \
     formats: [txt, json, xml, yaml, b64, paloalto, cisco]\n";
const DEFAULT: &str = "never_publish: [default]\n";
const OWN: &str = "never_publish:\n  - default\n  - 45.77.0.0/20\n  - 9.9.9.9\n  - corp.example.org\n  - bücher.example.org\n  \
     - soc@mail.example.org\n  - 0123456789abcdef0123456789abcdef\n";

/// What the default is about.
const TRAPS: &[(&str, &str)] = &[
    ("ip-dst", "0.0.0.0/0"),
    ("ip-dst", "128.0.0.0/1"),
    ("ip-dst", "8.8.8.8/7"),
    ("ip-src", "10.0.0.0/8"),
    ("ip-src", "10.1.2.3/24"),
    ("ip-dst", "10.200.1.1"),
    ("ip-dst", "172.16.5.4"),
    ("ip-dst", "172.0.0.0/9"),
    ("ip-dst", "192.168.0.1"),
    ("ip-dst", "192.168.7.7/16"),
    ("ip-dst", "192.0.0.0/15"),
    ("ip-dst", "100.64.0.1"),
    ("ip-dst", "127.0.0.1"),
    ("ip-dst", "127.0.0.53/32"),
    ("ip-dst", "169.254.169.254"),
    ("ip-dst", "224.0.0.1"),
    ("ip-dst", "239.255.255.250"),
    ("ip-dst", "255.255.255.255"),
    ("ip-dst", "0.0.0.0"),
    ("ip-dst", "192.0.2.17"),
    ("ip-dst", "198.51.100.0/25"),
    ("ip-dst", "203.0.113.9:8080"),
    ("ip-dst", "::ffff:192.168.1.1"),
    ("ip-dst", "::FFFF:c0a8:0101"),
    ("ip-dst", "64:ff9b::a00:1"),
    ("ip-dst", "2002:7f00:1::"),
    ("ip-dst", "[fe80::1]:443"),
    ("ip-dst", "fd12:3456::1"),
    ("ip-dst", "2001:DB8::7"),
    ("ip-dst", "ff02::fb"),
    ("ip-dst", "::1"),
    ("ip-dst|port", "10.0.0.5|443"),
    ("ip-src|port", "[::ffff:10.0.0.5]:80|80"),
    ("domain|ip", "evil.example.org|192.168.178.1"),
    ("domain|ip", "blogspot.com|5.6.7.8"),
    ("domain|ip", "localhost|5.6.7.9"),
    ("hostname|port", "printer.localhost|631"),
    ("domain", "co.uk"),
    ("domain", "GitHub.IO."),
    ("domain", "com.au"),
    ("domain", "ｃｏ.ｕｋ"),
    ("domain", "s3.amazonaws.com"),
    ("hostname", "公司.cn"),
    ("hostname", "xn--55qx5d.cn"),
    ("hostname", "wiki.localhost"),
    ("url", "http://127.0.0.1/"),
    ("url", "http://2130706433/a"),
    ("url", "http://0x7f.1/a"),
    ("url", "http://%31%39%32.168.0.1/login"),
    ("url", "http://１９２．168。0.1/login"),
    ("url", "https://good.example.org@10.0.0.1:8443/x"),
    ("url", "hxxp://192.168.1.1/x"),
    ("url", "tcp://[::1]:4444"),
    ("url", "http:\\\\10.0.0.1\\x"),
    ("url", "10.0.0.1:8080/gate.php"),
    ("url", "http://localhost:3000/x"),
    ("url", "https://github.io/"),
    ("url", "https://s3.amazonaws.com"),
    ("md5", "D41D8CD98F00B204E9800998ECF8427E"),
    ("sha1", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
    ("filename|md5", "invoice.exe|d41d8cd98f00b204e9800998ecf8427e"),
    ("filename|sha256", "a|e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("email-src", "root@mail.localhost"),
];
/// What the further entries of [`OWN`] are about.
const OWN_TRAPS: &[(&str, &str)] = &[
    ("ip-dst", "45.77.3.4"),
    ("ip-dst", "45.77.0.0/16"),
    ("ip-dst", "45.77.15.0/24"),
    ("ip-dst", "9.9.9.0/24"),
    ("ip-dst", "64:ff9b::909:909"),
    ("domain", "example.org"),
    ("domain", "corp.example.org"),
    ("hostname", "VPN.Corp.Example.Org."),
    ("hostname", "xn--bcher-kva.example.org"),
    ("hostname", "www.ＢÜＣＨＥＲ.example.org"),
    ("hostname|port", "corp.example.org|443"),
    ("url", "https://vpn.corp.example.org/login"),
    ("url", "https://corp%2Eexample.org/login"),
    ("url", "//corp.example.org/x"),
    ("email-dst", "someone@corp.example.org"),
    ("email-src", "SOC@mail.example.org"),
    ("filename|md5", "x|0123456789ABCDEF0123456789ABCDEF"),
];
/// What looks like a trap and is none.
const SAFE: &[(&str, &str)] = &[
    ("ip-dst", "5.6.7.8"),
    ("ip-dst", "11.0.0.0/8"),
    ("ip-dst", "5.6.8.0/22"),
    ("ip-dst", "45.77.16.0/20"),
    ("ip-dst", "2606:4700::1111"),
    ("ip-dst|port", "5.6.7.10|443"),
    ("domain|ip", "evil.example.net|5.6.7.11"),
    ("domain", "evil.github.io"),
    ("domain", "notcorp.example.net"),
    // The second letter is Cyrillic: another name, and the one to block.
    ("domain", "c\u{43e}rp.example.net"),
    ("hostname", "localhost.example.net"),
    ("hostname|port", "evil.example.net|8080"),
    ("url", "https://s3.amazonaws.com/bucket/x.exe"),
    ("url", "http://evil.example.net/?next=http://127.0.0.1/"),
    ("url", "http://5.6.7.8/10.0.0.1|192.168.0.1"),
    ("md5", "aaaa8cd98f00b204e9800998ecf8427e"),
    ("filename|md5", "b.exe|bbbb8cd98f00b204e9800998ecf8427e"),
    ("email-src", "thief@github.io"),
    ("mutex", "127.0.0.1|localhost"),
    ("yara", "rule a { strings: $a = \"10.0.0.1\" condition: $a }"),
    ("vulnerability", "CVE-2024-1234"),
];

fn all<'a>(parts: &[&[(&'a str, &'a str)]]) -> Vec<(&'a str, &'a str)> {
    parts.concat()
}

#[test]
fn no_trap_is_in_any_list_of_any_format_and_nothing_else_is_missing() {
    for (settings, traps) in [(DEFAULT, all(&[TRAPS])), (OWN, all(&[TRAPS, OWN_TRAPS]))] {
        let guarded = refreshed(&all(&[&traps, SAFE]), &format!("{EVERYTHING}{settings}"));
        let clean = refreshed(SAFE, EVERYTHING);
        let (is, should) = (guarded.bodies(), clean.bodies());
        assert_eq!(is.keys().collect::<Vec<_>>(), should.keys().collect::<Vec<_>>());
        for (key, body) in &is {
            assert!(should[key] == *body, "{key}:\n{}", String::from_utf8_lossy(body));
        }
        // Organisations and other ages, as somebody asks for them.
        let creator = guarded.misp.world().organisations.values().next().unwrap().uuid.to_string();
        let of = |format: &str, data_type: &str| Wanted {
            of: Of::Organisation(creator.clone()),
            data_type: data_type.into(),
            age: "1d".into(),
            format: format.into(),
        };
        let types = TYPES.iter().map(|data_type| data_type.name);
        let takes = |format: &&'static cratos::render::Format, name: &str| format.takes(name);
        let wanted: Vec<Wanted> = types
            .flat_map(|name| FORMATS.iter().filter(move |form| takes(form, name)).map(move |form| (form.name, name)))
            .map(|(format, name)| of(format, name))
            .collect();
        guarded.make(wanted.clone());
        clean.make(wanted.clone());
        let (is, should) = (guarded.bodies(), clean.bodies());
        assert!(is.len() > FORMATS.len() * 10 && is.keys().any(|key| key.starts_with("org/")), "{:?}", is.keys());
        assert!(is == should, "on demand");
    }
}

#[test]
fn every_trap_is_a_line_of_some_list_without_the_setting() {
    for (kind, value) in all(&[TRAPS, OWN_TRAPS]) {
        let lines: usize = refreshed(&[(kind, value)], EVERYTHING).published().values().map(|list| list.len()).sum();
        // Not a line today, but caught all the same: single labels, networks that nothing lists.
        let is_none = ["::1/", "localhost|", "/0", "/1", "/7"].iter().any(|end| value.contains(end));
        assert!(lines > 0 || is_none, "{kind} {value}");
    }
}

#[test]
fn each_is_counted_and_the_sum_is_right() {
    let guarded = refreshed(&all(&[TRAPS, SAFE]), &format!("{EVERYTHING}{DEFAULT}"));
    let manifest = guarded.dir.manifest();
    for (list, losses) in &manifest.losses {
        assert_eq!(losses.rows, losses.listed + losses.reasons.values().sum::<u64>(), "{list}: {losses:?}");
    }
    let of = |kinds: &[&str]| TRAPS.iter().filter(|(kind, _)| kinds.contains(kind)).count() as u64;
    assert_eq!(reasons(&guarded, "url")["never_publish"], of(&["url"]));
    assert_eq!(reasons(&guarded, "domain")["never_publish"], of(&["domain"]));
    assert_eq!(reasons(&guarded, "file-md5")["never_publish"], of(&["md5", "filename|md5"]));
    let addresses = of(&["ip-src", "ip-dst", "ip-src|port", "ip-dst|port", "domain|ip"]);
    assert_eq!(reasons(&guarded, "ipv4")["never_publish"], addresses);
    assert!(BLOCK.ends_with("=block") && Slice::Feed("block".into()).to_string() == "block");
}
