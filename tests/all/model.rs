//! What every value should be in every data type, by the decisions D1-D8: slow, plain, and without a line of the program.
//! Where a decision names a library (`idna` for D1, `std` for addresses) it is used here too.

use std::net::Ipv6Addr;

use crate::dir::digest;

/// The lines a value gives, sorted; none if it is refused.
pub fn lines(data_type: &str, value: &str) -> Vec<String> {
    let one = match data_type {
        "ipv4ext" => return ipv4ext(value),
        "domain" | "hostname" => host_name(value),
        "ipv4" => first_half(value, ipv4),
        "cidr4" => first_half(value, cidr4),
        "ipv6" => first_half(value, ipv6),
        "url" => (!value.is_empty() && !value.chars().any(|c| PYTHON_SPACE.contains(c))).then(|| value.to_owned()),
        "mutex" | "email-subject" | "email-attachment" => {
            (!value.is_empty() && !value.contains(['\n', '\r'])).then(|| value.to_owned())
        }
        "yara" | "snort" | "sigma" => {
            let text = value.strip_suffix('\n').unwrap_or(value);
            (!text.is_empty()).then(|| text.to_owned())
        }
        "email-address" => email(value),
        "vulnerability" => cve(value),
        "crypto-currency" => currency(value),
        "file-sha1" | "x509-fingerprint-sha1" => hash(value, 40),
        "file-sha256" | "x509-fingerprint-sha256" => hash(value, 64),
        "file-md5" | "x509-fingerprint-md5" | "ja3" | "hassh-md5" | "hasshserver-md5" | "imphash" => hash(value, 32),
        other => panic!("{other} has no model"),
    };
    one.into_iter().collect()
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
    let parts: Vec<&str> = value.split('|').collect();
    if parts.len() > 2 { None } else { host(parts[0]) }
}

fn host(name: &str) -> Option<String> {
    use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
    let (hyphens, length) = (Hyphens::CheckFirstLast, DnsLength::VerifyAllowRootDot);
    let ascii = Uts46::new().to_ascii(name.as_bytes(), AsciiDenyList::EMPTY, hyphens, length).ok()?;
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

/// D4, expanded: an address as in ipv4, or a network that is not wider than /16.
fn ipv4ext(value: &str) -> Vec<String> {
    let parts: Vec<&str> = value.split('|').collect();
    for part in parts.iter().filter(|_| parts.len() <= 2) {
        if let Some(address) = ipv4(part) {
            return vec![address];
        }
        let Some(network) = cidr4(part) else { continue };
        let (address, prefix) = network.split_once('/').unwrap();
        let (first, prefix): (u32, u32) = (quad(address).unwrap(), prefix.parse().unwrap());
        if prefix >= 16 {
            let mut all: Vec<String> = (0..1u32 << (32 - prefix)).map(|offset| dotted(first + offset)).collect();
            all.sort();
            return all;
        }
    }
    Vec::new()
}

/// RFC 5321's Mailbox without address literals; what is not ASCII may stand in the local part.
fn email(value: &str) -> Option<String> {
    let at = value.rfind('@')?;
    let (local, domain) = (&value[..at], host(&value[at + 1..])?);
    let other = |c: char| !c.is_ascii() && !c.is_control() && !PYTHON_SPACE.contains(c);
    let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || other(c);
    let plain = local.split('.').all(|part| !part.is_empty() && part.chars().all(atom));
    // Pairs of backslash and character out, then no quote and no backslash may be left.
    let quoted = local.len() > 1 && local.starts_with('"') && local.ends_with('"') && {
        let inside: Vec<char> = local[1..local.len() - 1].chars().collect();
        let mut rest = Vec::new();
        let mut at = 0;
        while at < inside.len() {
            let pair = inside[at] == '\\' && inside.get(at + 1).is_some_and(|c| (' '..='~').contains(c));
            if !pair {
                rest.push(inside[at]);
            }
            at += if pair { 2 } else { 1 };
        }
        rest.into_iter().all(|c| other(c) || ((' '..='~').contains(&c) && c != '"' && c != '\\'))
    };
    let address = format!("{local}@{domain}");
    ((plain || quoted) && local.len() <= 64 && address.len() <= 254).then_some(address)
}

fn cve(value: &str) -> Option<String> {
    let parts: Vec<&str> = value.split('-').collect();
    let [name, year, number] = parts[..] else { return None };
    let digits = |text: &str| text.chars().all(|c| "0123456789".contains(c));
    let good = name.to_lowercase() == "cve" && name.is_ascii();
    (good && digits(year) && year.len() == 4 && digits(number) && number.len() >= 4)
        .then(|| format!("CVE-{year}-{number}"))
}

const BASE58: &str = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const BECH32: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

fn currency(value: &str) -> Option<String> {
    let monero = matches!(value.len(), 95 | 106)
        && matches!(value.as_bytes()[0], b'4' | b'8')
        && value.chars().all(|c| BASE58.contains(c));
    if monero || base58check(value).is_some_and(|version| version == 0 || version == 5) {
        return Some(value.to_owned());
    }
    let lower = value.to_ascii_lowercase();
    (lower == value || value.to_ascii_uppercase() == value).then_some(lower).filter(|lower| segwit(lower).is_some())
}

/// The version of 25 bytes with a good checksum.
fn base58check(value: &str) -> Option<u8> {
    // Least significant byte first; a text that is too long grows it beyond 25.
    let mut bytes = vec![0u8; 25];
    for c in value.chars() {
        let mut carry = BASE58.find(c)? as u32;
        for byte in &mut bytes {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry > 0 {
            return None;
        }
    }
    bytes.reverse();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let ones = value.chars().take_while(|c| *c == '1').count();
    (zeros == ones && digest(&digest(&bytes[..21]))[..4] == bytes[21..]).then_some(bytes[0])
}

/// The program of an address of the main net, by BIP 173 and BIP 350.
fn segwit(lower: &str) -> Option<Vec<u8>> {
    let symbols: Vec<u32> =
        lower.strip_prefix("bc1")?.chars().map(|c| BECH32.find(c).map(|at| at as u32)).collect::<Option<_>>()?;
    if symbols.len() < 7 || lower.len() > 90 || symbols[0] > 16 {
        return None;
    }
    let generator = [0x3b6a_57b2u32, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    // "bc" expanded: high bits, zero, low bits.
    let sum = [3, 3, 0, 2, 3].iter().chain(&symbols).fold(1u32, |sum, symbol| {
        let top = sum >> 25;
        let next = (sum & 0x1ff_ffff) << 5 ^ symbol;
        (0..5).filter(|bit| top >> bit & 1 == 1).fold(next, |next, bit| next ^ generator[bit])
    });
    if sum != if symbols[0] == 0 { 1 } else { 0x2bc8_30a3 } {
        return None;
    }
    let bits: Vec<u32> = symbols[1..symbols.len() - 6]
        .iter()
        .flat_map(|symbol| (0..5).rev().map(move |bit| symbol >> bit & 1))
        .collect();
    let (whole, rest) = bits.split_at(bits.len() / 8 * 8);
    let program: Vec<u8> = whole.chunks(8).map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | *bit as u8)).collect();
    let length = program.len();
    let good = if symbols[0] == 0 { length == 20 || length == 32 } else { (2..=40).contains(&length) };
    (good && rest.len() < 5 && rest.iter().all(|bit| *bit == 0)).then_some(program)
}

/// The model itself against addresses from BIP 173 and BIP 350.
#[test]
fn the_model_of_currencies_knows_the_test_vectors() {
    for (value, good) in [
        ("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", true),
        ("bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y", true),
        ("BC1SW50QGDZ25J", true),
        ("bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", true),
        ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd", false),
        ("bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4", false),
        ("BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R", false),
        ("bc1pw5dgrnzv", false),
        ("bc1zw508d6qejxtdg4y5r3zarvaryvqyzf3du", false),
        ("bc1gmk9yu", false),
    ] {
        assert_eq!(currency(value).is_some(), good, "{value}");
    }
}
