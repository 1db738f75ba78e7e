//! What is caught, and what is not: the shipped default, entries of an operator, what is let through.

use proptest::prelude::*;

use super::*;
use crate::index::normalise::Bounds;
use crate::index::{DataType, TYPES};

fn entries(texts: &[&str]) -> Vec<Entry> {
    texts.iter().map(|text| Entry::parse(text).unwrap()).collect()
}

fn never(block: &[&str], allow: &[&str]) -> Never {
    Never::new(&entries(block), &[], &entries(allow)).unwrap()
}

fn caught<'a>(never: &'a Never, misp_type: &str, value: &str) -> Option<&'a str> {
    never.caught(Families::of_misp_types([misp_type]), value).map(|text| &**text)
}

#[track_caller]
fn assert_caught(never: &Never, rows: &[(&str, &str)], expected: bool) {
    for (misp_type, value) in rows {
        assert_eq!(caught(never, misp_type, value).is_some(), expected, "{misp_type} {value}");
    }
}

const EMPTY_MD5: &str = shipped::HASHES[0];

#[test]
fn the_default_catches_what_no_device_may_block() {
    let never = never(&["default"], &[]);
    let composite = format!("setup.exe|{EMPTY_MD5}");
    let rows = [
        ("ip-dst", "10.1.2.3"),
        ("ip-dst", "10.1.2.3/7"),
        ("ip-dst", "8.0.0.0/5"),
        ("ip-dst", "0.0.0.0/0"),
        ("ip-src", "100.64.9.9"),
        ("ip-src", "169.254.0.1/32"),
        ("ip-src", "172.16.0.0/11"),
        ("ip-dst", "192.168.0.0/15"),
        ("ip-dst", "224.0.0.251"),
        ("ip-dst", "255.255.255.255"),
        ("ip-dst", "0.0.0.0"),
        ("ip-dst", "127.0.0.1:8080"),
        ("ip-dst", "::ffff:10.0.0.1"),
        ("ip-dst", "::FFFF:a00:1"),
        ("ip-dst", "64:ff9b::10.0.0.1"),
        ("ip-dst", "2002:c0a8:1::1"),
        ("ip-dst", "::1"),
        ("ip-dst", "::"),
        ("ip-dst", "fd00::1"),
        ("ip-dst", "fe80::1%eth0"),
        ("ip-dst", "ff02::1"),
        ("ip-dst", "2001:db8::1"),
        ("ip-dst", "2600::/12"),
        ("ip-dst|port", "[fd00::1]:443|443"),
        ("ip-dst|port", "192.168.1.1|443"),
        ("domain|ip", "evil.example.net|192.168.1.1"),
        ("domain|ip", "co.uk|8.8.8.8"),
        ("domain", "com"),
        ("domain", "CO.UK."),
        ("domain", "s3.amazonaws.com"),
        ("hostname", "ｇｉｔｈｕｂ．io"),
        ("domain", "公司.cn"),
        ("hostname", "a.localhost"),
        ("hostname|port", "localhost|8080"),
        ("url", "http://localhost:8080/x"),
        ("url", "http://com/"),
        ("url", "https://s3.amazonaws.com"),
        ("url", "http://user@2130706433/x"),
        ("url", "http://0xa.1/x"),
        ("url", "hxxp://[::ffff:7f00:1]/"),
        ("url", "192.168.1.1:8080/gate.php"),
        ("md5", EMPTY_MD5),
        ("sha1", "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709"),
        ("sha256", shipped::HASHES[2]),
        ("filename|md5", composite.as_str()),
        ("email-src", "root@localhost"),
    ];
    assert_caught(&never, &rows, true);
}

#[test]
fn the_default_lets_everything_else_through_and_says_what_it_is() {
    let never = never(&["default"], &[]);
    let rows = [
        ("ip-dst", "8.8.8.8"),
        ("ip-dst", "9.0.0.0/8"),
        ("ip-dst", "2600::/16"),
        ("ip-dst|port", "8.8.8.8|443"),
        ("domain", "evil.example.net"),
        ("domain", "a.github.io"),
        ("hostname", "localhost.example.net"),
        ("url", "https://s3.amazonaws.com/bucket/x"),
        ("url", "https://s3.amazonaws.com/?bucket"),
        ("url", "http://8.8.8.8/10.0.0.1"),
        ("url", "http://evil.example.net/?u=http://localhost/|127.0.0.1"),
        ("email-src", "a@github.io"),
        ("mutex", "127.0.0.1"),
        ("yara", "localhost"),
        ("vulnerability", "CVE-2020-1234"),
        ("md5", "a41d8cd98f00b204e9800998ecf8427e"),
    ];
    assert_caught(&never, &rows, false);
    assert_eq!(caught(&never, "ip-dst", "10.0.0.1"), Some("default: 10.0.0.0/8 (private, RFC 1918)"));
    assert_eq!(caught(&never, "domain", "com"), Some("default: public suffix"));
    assert_eq!(caught(&never, "ip-dst", "32.0.0.0/7"), Some("default: wider than /8 (IPv4) or /16 (IPv6)"));
}

#[test]
fn names_overlap_and_look_alikes_do_not() {
    let never = never(&["corp.example", "www.deep.example", "soc@mail.example", "bücher.example"], &[]);
    let rows = [
        ("domain", "corp.example"),
        ("hostname", "www.Corp.Example."),
        ("domain", "deep.example"),
        ("url", "http://deep.example/"),
        ("url", "http://x.corp.example/a"),
        ("url", "https://good.example@corp%2Eexample/a"),
        ("email-dst", "anyone@x.corp.example"),
        ("email-dst", "SOC@mail.example"),
        ("domain", "ｃｏｒｐ.example"),
        ("domain", "xn--bcher-kva.example"),
        ("filename|md5", "x.corp.example|a41d8cd98f00b204e9800998ecf8427e"),
    ];
    assert_caught(&never, &rows, true);
    let rows = [
        ("domain", "notcorp.example"),
        ("domain", "corp.example.net"),
        // The second letter is Cyrillic.
        ("domain", "c\u{43e}rp.example"),
        ("url", "http://deep.example/a"),
        ("url", "http://evil.example/corp.example"),
        ("email-dst", "other@mail.example"),
        ("email-dst", "a@deep.example"),
    ];
    assert_caught(&never, &rows, false);
}

#[test]
fn what_is_always_published_is_let_through_half_by_half() {
    let always = ["10.1.0.0/16", "ok.corp.example", EMPTY_MD5, "soc@corp.example", "203.0.113.5", "github.io"];
    let never = never(&["default", "corp.example"], &always);
    let rows = [
        ("ip-dst", "10.1.2.3"),
        ("ip-dst", "10.1.128.0/17"),
        ("ip-dst", "::ffff:10.1.2.3"),
        ("ip-dst", "64:ff9b::10.1.2.3"),
        ("domain", "a.ok.corp.example"),
        ("domain", "github.io"),
        ("url", "http://ok.corp.example/x"),
        ("url", "http://203.0.113.5/x"),
        ("md5", EMPTY_MD5),
        ("email-src", "soc@corp.example"),
        ("domain|ip", "ok.corp.example|10.1.2.3"),
    ];
    assert_caught(&never, &rows, false);
    let rows = [
        ("ip-dst", "10.2.0.1"),
        ("ip-dst", "10.0.0.0/8"),
        ("domain", "corp.example"),
        ("email-src", "other@corp.example"),
        ("domain|ip", "ok.corp.example|10.2.0.1"),
        ("domain|ip", "corp.example|10.1.2.3"),
    ];
    assert_caught(&never, &rows, true);
}

#[test]
fn warninglists_are_asked_about_their_own_types_and_can_be_overridden() {
    let list = |families, values: &[&str]| Warninglist {
        name: "Top sites".into(),
        matching: Matching::Hostname,
        families,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    let hosts = Families::of_misp_types(["domain", "hostname"]);
    let never =
        Never::new(&[], &[list(hosts, &["google.com", "sub.big.example"])], &entries(&["ok.google.com"])).unwrap();
    assert_eq!(caught(&never, "domain", "www.google.com"), Some("warninglist: Top sites"));
    assert_caught(
        &never,
        &[("domain", "ok.google.com"), ("url", "http://google.com/"), ("domain", "big.example")],
        false,
    );
}

#[test]
fn the_fingerprint_is_that_of_what_is_caught() {
    let of = |block: &[&str], allow: &[&str]| never(block, allow).fingerprint().to_owned();
    assert_eq!((of(&[], &[]), of(&[], &["a.example"])), (String::new(), String::new()));
    let one = of(&["default", "10.0.0.0/8"], &["a.example"]);
    assert_eq!(one, of(&["10.1.2.3/8", "default", "default"], &["A.example."]));
    for other in [
        of(&["default", "10.0.0.0/8"], &[]),
        of(&["default"], &["a.example"]),
        of(&["default", "11.0.0.0/8"], &["a.example"]),
    ] {
        assert_ne!(one, other);
    }
    let list = |values: &[&str]| {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        let list = Warninglist { name: "a".into(), matching: Matching::String, families: Families::ALL, values };
        Never::new(&[], &[list], &[]).unwrap().fingerprint().to_owned()
    };
    assert_eq!(list(&["a", "b"]), list(&["b", "a", "b"]));
    assert_ne!(list(&["a", "b"]), list(&["a"]));
}

/// The line is what an entry names, or below it; computed from the texts alone.
fn is_below(line: &str, entry: &Entry) -> bool {
    match entry {
        Entry::Network(network) => {
            let (address, prefix) = line.split_once('/').unwrap_or((line, "128"));
            address.parse().is_ok_and(|address: std::net::IpAddr| network.contains(&address.to_canonical()))
                && prefix.parse().is_ok_and(|prefix: u8| prefix >= network.prefix_len())
        }
        Entry::Name(name) => {
            let host = line.rsplit_once('@').map_or(line, |(_, host)| host);
            host == name || host.ends_with(&format!(".{name}"))
        }
        Entry::Mail(text) | Entry::Hash(text) => line.to_lowercase() == *text,
        Entry::Default => false,
    }
}

const ENTRIES: [&str; 8] = [
    "10.0.0.0/8",
    "192.0.2.7",
    "2001:db8::/32",
    "corp.example",
    "localhost",
    "bücher.example",
    "soc@mail.example",
    EMPTY_MD5,
];

/// Pieces that become lines below an entry, or nearly.
fn piece() -> impl Strategy<Value = String> {
    let spelled = prop_oneof![
        "10\\.[0-9]{1,2}\\.0\\.[0-9](/(8|9|1[0-9]|2[0-9]|3[0-2]|[0-7]))?(:[0-9]{1,5})?",
        "192\\.0\\.2\\.[0-9](/(2[0-9]|3[0-2]))?",
        "\\[?(::ffff:10\\.0\\.0\\.1|::FFFF:a00:1|2001:DB8::[0-9a-f]{1,4})(\\]:80|\\])?",
        "([a-zA-Z]{1,3}\\.){0,2}([cC]orp|ＣＯＲＰ|c\u{ad}orp)[.。]example\\.?",
        "(www\\.)?(bücher|BÜCHER|xn--bcher-kva)\\.example",
        "(a\\.)?localhost\\.?",
        "[sS]oc@[mM]ail\\.example\\.?",
        "x@[cC]orp\\.example",
        Just(EMPTY_MD5.to_uppercase()),
    ];
    prop_oneof![4 => spelled, 1 => "\\PC{0,20}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_line_below_an_entry_implies_that_its_row_is_caught(
        pieces in proptest::collection::vec(piece(), 1..4), at in any::<prop::sample::Index>(),
    ) {
        let never = never(&ENTRIES, &[]);
        let known = entries(&ENTRIES);
        let value = pieces.join("|");
        let data_type: &DataType = &TYPES[at.index(TYPES.len())];
        for misp_type in data_type.misp_types {
            let fed = TYPES.iter().filter(|data_type| data_type.misp_types.contains(misp_type));
            let is_caught = never.caught(Families::of(fed), &value).is_some();
            let mut below = None;
            let _ = data_type.normalise.each(&Bounds::default(), misp_type, &value, &mut |line| {
                if below.is_none() && known.iter().any(|entry| is_below(line, entry)) {
                    below = Some(line.to_owned());
                }
            });
            let is_text = data_type.family == crate::index::types::Family::Text || data_type.name == "url";
            prop_assert!(below.is_none() || is_caught || is_text, "{} {}: {:?}", misp_type, value, below);
        }
    }

    #[test]
    fn a_url_is_caught_by_the_host_that_clients_connect_to(
        scheme in "(https?://|HTTP:|hxxp://|tcp://|//|http:\\\\\\\\)?", user in "([a-z.:%4]{1,9}@)?",
        host in "(10\\.1\\.2\\.3|0x0a010203|167838211|012\\.1\\.515|%31%30\\.1\\.2\\.3|１０\\.1\\.2\\.3|[a-z]{0,3}corp\\.example\\.?|a\\.CORP%2eexample|ｃorp。example)",
        port in "(:[0-9]{0,4})?", rest in "([/?#\\\\][a-z0-9.|@:/]{0,12})?",
    ) {
        let never = never(&["10.0.0.0/8", "corp.example"], &[]);
        let is_own = !(host.ends_with("corp.example") || host.ends_with("corp.example."))
            || host.starts_with("corp.");
        // A password needs a scheme before it, else the user name is the host.
        let user = if scheme.is_empty() { user.replace(':', "") } else { user };
        let value = format!("{scheme}{user}{host}{port}{rest}");
        prop_assert_eq!(caught(&never, "url", &value).is_some(), is_own, "{}", value);
    }
}
