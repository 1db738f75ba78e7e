//! Every recorded value in every data type: as Python, or as the decision says that stands in for it. The model below
//! is slow and its own; the id a row may differ under follows from the data type alone, before anything is compared.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::Ipv6Addr;

use cratos::index::DataType;
use flate2::read::GzDecoder;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    data_type: String,
    value: String,
    output: Option<String>,
}

/// Data type, decision, rows in which the decision changes Python's answer: D1 432, D2 301 (of three hash types),
/// D4 88, D5 18, D6 33.
const CHANGED: [(&str, &str, usize); 9] = [
    ("cidr4", "D4", 18),
    ("domain", "D1", 216),
    ("file-md5", "D2", 171),
    ("file-sha1", "D2", 85),
    ("file-sha256", "D2", 45),
    ("hostname", "D1", 216),
    ("ipv4", "D4", 70),
    ("ipv6", "D6", 33),
    ("url", "D5", 18),
];

#[test]
fn every_recorded_value_is_as_python_or_as_decided() {
    let mut text = String::new();
    GzDecoder::new(&include_bytes!("../conformance/per_value.jsonl.gz")[..]).read_to_string(&mut text).unwrap();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut rows = 0;
    for line in text.lines() {
        let row: Row = serde_json::from_str(line).unwrap();
        let (_, id, _) = CHANGED.iter().find(|(data_type, ..)| *data_type == row.data_type).unwrap();
        let expected = model(&row.data_type, &row.value);
        let data_type = DataType::named(&row.data_type).unwrap();
        let ours = (data_type.normalise)("", &row.value).ok().map(|value| value.into_owned());
        assert_eq!(ours, expected, "{id} {row:?}");
        *counts.entry(row.data_type).or_default() += usize::from(expected != row.output);
        rows += 1;
    }
    assert_eq!(rows, 9 * 1030);
    for (data_type, id, changed) in CHANGED {
        assert_eq!(counts[data_type], changed, "rows of {data_type} changed by {id}");
    }
}

fn model(data_type: &str, value: &str) -> Option<String> {
    match data_type {
        "domain" | "hostname" => host_name(value),
        "file-md5" => hash(value, 32),
        "file-sha1" => hash(value, 40),
        "file-sha256" => hash(value, 64),
        "ipv4" => first_half(value, ipv4),
        "cidr4" => first_half(value, cidr4),
        "ipv6" => first_half(value, ipv6),
        "url" => (!value.is_empty() && !value.chars().any(|c| PYTHON_SPACE.contains(c))).then(|| value.to_owned()),
        other => panic!("{other} has no model"),
    }
}

/// What `\s` is in Python 3.11.
const PYTHON_SPACE: &str = "\t\n\u{b}\u{c}\r\u{1c}\u{1d}\u{1e}\u{1f} \u{85}\u{a0}\u{1680}\u{2000}\u{2001}\u{2002}\
    \u{2003}\u{2004}\u{2005}\u{2006}\u{2007}\u{2008}\u{2009}\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}";

/// A value without `|` is one part, one with exactly one `|` two, any other none.
fn first_half(value: &str, read: fn(&str) -> Option<String>) -> Option<String> {
    let parts: Vec<&str> = value.split('|').collect();
    if parts.len() > 2 { None } else { parts.into_iter().find_map(read) }
}

/// A decimal number up to `max` without leading zeros.
fn number(text: &str, max: u32) -> Option<u32> {
    (0..=max).find(|number| number.to_string() == text)
}

fn quad(text: &str) -> Option<u32> {
    let parts: Vec<u32> = text.split('.').map(|part| number(part, 255)).collect::<Option<_>>()?;
    (parts.len() == 4).then(|| parts.iter().fold(0, |sum, part| sum << 8 | part))
}

fn dotted(address: u32) -> String {
    address.to_be_bytes().map(|byte| byte.to_string()).join(".")
}

/// Ports may have leading zeros: `\d+`, then the range.
fn is_port(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) && text.parse::<u32>().is_ok_and(|port| port <= 65535)
}

fn ipv4(part: &str) -> Option<String> {
    let port_off = part.split_once(':').filter(|(_, port)| is_port(port)).map(|(address, _)| address);
    let mapped = part.get(..7).filter(|start| start.to_lowercase() == "::ffff:").map(|_| &part[7..]);
    let spellings = [Some(part), part.strip_suffix("/32"), port_off, mapped];
    spellings.into_iter().flatten().find_map(quad).map(dotted)
}

fn cidr4(part: &str) -> Option<String> {
    let (address, prefix) = part.split_once('/')?;
    let (address, prefix) = (quad(address)?, number(prefix, 32)?);
    let host_bits = (1u64 << (32 - prefix)) - 1;
    Some(format!("{}/{prefix}", dotted((u64::from(address) & !host_bits) as u32)))
}

/// `std` is what D6 names.
fn ipv6(part: &str) -> Option<String> {
    let bare = match part.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, "")) => inside,
        Some((inside, port)) if port.strip_prefix(':').is_some_and(is_port) => inside,
        _ => part,
    };
    bare.parse::<Ipv6Addr>().ok().map(|address| address.to_string())
}

/// `idna` with these settings is what D1 names; the rules after it are spelt out here.
fn host_name(value: &str) -> Option<String> {
    use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
    let parts: Vec<&str> = value.split('|').collect();
    if parts.len() > 2 {
        return None;
    }
    let (hyphens, length) = (Hyphens::CheckFirstLast, DnsLength::VerifyAllowRootDot);
    let ascii = Uts46::new().to_ascii(parts[0].as_bytes(), AsciiDenyList::EMPTY, hyphens, length).ok()?;
    let labels: Vec<&str> = ascii.strip_suffix('.').unwrap_or(&ascii).split('.').collect();
    let plain = |label: &&str| label.chars().all(|c| "abcdefghijklmnopqrstuvwxyz0123456789-_".contains(c));
    let last = labels.last()?;
    let top = last.starts_with("xn--") || (last.len() > 1 && last.chars().all(|c| c.is_ascii_lowercase()));
    (labels.len() > 1 && labels.iter().all(plain) && top).then(|| labels.join("."))
}

fn hash(value: &str, digits: usize) -> Option<String> {
    let hash = value.split('|').next_back()?.chars().map(|c| c.to_ascii_lowercase()).collect::<String>();
    (hash.chars().count() == digits && hash.chars().all(|c| "0123456789abcdef".contains(c))).then_some(hash)
}
