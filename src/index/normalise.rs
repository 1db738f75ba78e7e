//! One value of MISP → the form it has in a list, or a named refusal. Pure.
//!
//! In: MISP type and value. Out: text without line breaks. Rules: D1 (domain, hostname), D2 (hashes), D4 (ipv4, cidr4),
//! D5 (url), D6 (ipv6) of the migration table in README.md.
//!
//! Invariants: the whole value or one half of a composite, never a substring, never a parent domain; time linear in the
//! length of the value.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// Why a value gives nothing in a list. Counted per data type in the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Refusal {
    /// No address of the family, whole or as the half that can hold one.
    #[error("not an address")]
    NotAnAddress,
    /// A network where single addresses are asked for.
    #[error("a network, not an address")]
    Network,
    /// Not `address/prefix`.
    #[error("not a network")]
    NotANetwork,
    /// An IPv6 address with a zone (`fe80::1%eth0`).
    #[error("zone id")]
    Zone,
    /// No host name by IDNA and the rules of D1.
    #[error("not a host name")]
    NotAHostName,
    /// Not exactly the digits of this kind of hash.
    #[error("not a hash of this length")]
    NotAHash,
    /// Line feed or carriage return where a list has one value per line.
    #[error("line break")]
    LineBreak,
    /// White space in a URL.
    #[error("white space")]
    WhiteSpace,
    /// Nothing there.
    #[error("empty")]
    Empty,
}

/// A normaliser: MISP type and value → the value in the list.
pub type Normalise = for<'a> fn(&str, &'a str) -> Result<Cow<'a, str>, Refusal>;

/// The halves of a composite to try, in order. The MISP type says which half is meant; a value whose type does not (or
/// whose type is not known) is tried left to right. Two or more `|` are no composite.
fn halves<'a>(misp_type: &str, value: &'a str) -> [Option<&'a str>; 2] {
    let Some((left, right)) = value.split_once('|') else { return [Some(value), None] };
    if right.contains('|') {
        return [None, None];
    }
    match misp_type {
        "domain|ip" => [Some(right), None],
        "ip-src|port" | "ip-dst|port" => [Some(left), None],
        _ => [Some(left), Some(right)],
    }
}

/// D4: an IPv4 address.
pub fn ipv4<'a>(misp_type: &str, value: &'a str) -> Result<Cow<'a, str>, Refusal> {
    let mut refusal = Refusal::NotAnAddress;
    for part in halves(misp_type, value).into_iter().flatten() {
        match ipv4_part(part) {
            Ok(address) => return Ok(Cow::Owned(address.to_string())),
            Err(Refusal::Network) => refusal = Refusal::Network,
            Err(_) => {}
        }
    }
    Err(refusal)
}

fn ipv4_part(part: &str) -> Result<Ipv4Addr, Refusal> {
    if let Ok(address) = part.parse::<Ipv4Addr>() {
        return Ok(address);
    }
    if let Some((address, prefix)) = part.split_once('/') {
        let address = address.parse::<Ipv4Addr>().map_err(|_| Refusal::NotAnAddress)?;
        return match read_prefix(prefix) {
            Some(32) => Ok(address),
            Some(_) => Err(Refusal::Network),
            None => Err(Refusal::NotAnAddress),
        };
    }
    if let Ok(address) = part.parse::<Ipv6Addr>() {
        return address.to_ipv4_mapped().filter(|_| is_mapped_text(part)).ok_or(Refusal::NotAnAddress);
    }
    let (address, port) = part.split_once(':').ok_or(Refusal::NotAnAddress)?;
    read_port(port).ok_or(Refusal::NotAnAddress)?;
    address.parse().map_err(|_| Refusal::NotAnAddress)
}

/// `::ffff:a.b.c.d` as it is written, in any case.
fn is_mapped_text(part: &str) -> bool {
    part.len() > 7 && part.as_bytes()[..7].eq_ignore_ascii_case(b"::ffff:") && part.contains('.')
}

/// 0 to 32 without leading zeros.
fn read_prefix(text: &str) -> Option<u8> {
    plain_digits(text).then(|| text.parse().ok()).flatten().filter(|prefix| *prefix <= 32)
}

/// 0 to 65535.
fn read_port(text: &str) -> Option<u16> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn plain_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
}

/// D4: an IPv4 network, masked to its network address.
pub fn cidr4<'a>(misp_type: &str, value: &'a str) -> Result<Cow<'a, str>, Refusal> {
    let network = |part: &str| {
        let (address, prefix) = part.split_once('/')?;
        let address: Ipv4Addr = address.parse().ok()?;
        let network = ipnet::Ipv4Net::new(address, read_prefix(prefix)?).ok()?;
        Some(network.trunc().to_string())
    };
    let mut parts = halves(misp_type, value).into_iter().flatten();
    parts.find_map(network).map(Cow::Owned).ok_or(Refusal::NotANetwork)
}

/// D6: an IPv6 address, as RFC 5952 writes it.
pub fn ipv6<'a>(misp_type: &str, value: &'a str) -> Result<Cow<'a, str>, Refusal> {
    let mut refusal = Refusal::NotAnAddress;
    for part in halves(misp_type, value).into_iter().flatten() {
        match ipv6_part(part) {
            Ok(address) => return Ok(Cow::Owned(address.to_string())),
            Err(other) if other != Refusal::NotAnAddress => refusal = other,
            Err(_) => {}
        }
    }
    Err(refusal)
}

fn ipv6_part(part: &str) -> Result<Ipv6Addr, Refusal> {
    let bare = match part.strip_prefix('[') {
        None => part,
        Some(rest) => {
            let (inside, after) = rest.split_once(']').ok_or(Refusal::NotAnAddress)?;
            let port = after.is_empty() || after.strip_prefix(':').and_then(read_port).is_some();
            if port { inside } else { return Err(Refusal::NotAnAddress) }
        }
    };
    if let Ok(address) = bare.parse::<Ipv6Addr>() {
        return Ok(address);
    }
    let before = |mark: char| bare.split_once(mark).is_some_and(|(address, _)| address.parse::<Ipv6Addr>().is_ok());
    Err(if before('%') {
        Refusal::Zone
    } else if before('/') {
        Refusal::Network
    } else {
        Refusal::NotAnAddress
    })
}

/// D1: a host name in ASCII lower case. The host half of a composite is the left one.
pub fn host_name<'a>(_misp_type: &str, value: &'a str) -> Result<Cow<'a, str>, Refusal> {
    let host = match value.split_once('|') {
        None => value,
        Some((host, rest)) if !rest.contains('|') => host,
        Some(_) => return Err(Refusal::NotAHostName),
    };
    let ascii = Uts46::new()
        .to_ascii(host.as_bytes(), AsciiDenyList::EMPTY, Hyphens::CheckFirstLast, DnsLength::VerifyAllowRootDot)
        .map_err(|_| Refusal::NotAHostName)?;
    let name = ascii.strip_suffix('.').unwrap_or(&ascii);
    let (_, last) = name.rsplit_once('.').ok_or(Refusal::NotAHostName)?;
    let letters = last.len() >= 2 && last.bytes().all(|byte| byte.is_ascii_lowercase());
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    if name.bytes().all(good) && (letters || last.starts_with("xn--")) {
        Ok(Cow::Owned(name.to_owned()))
    } else {
        Err(Refusal::NotAHostName)
    }
}

/// D2: exactly `N` hexadecimal digits, the whole value or what follows the last `|`; lower case.
pub fn hash<'a, const N: usize>(_misp_type: &str, value: &'a str) -> Result<Cow<'a, str>, Refusal> {
    let digits = value.rsplit_once('|').map_or(value, |(_, hash)| hash);
    if digits.len() != N || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Refusal::NotAHash);
    }
    Ok(if digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(digits.to_ascii_lowercase())
    } else {
        Cow::Borrowed(digits)
    })
}

/// D5: a URL as MISP has it; white space of any kind is refused.
pub fn url<'a>(_misp_type: &str, value: &'a str) -> Result<Cow<'a, str>, Refusal> {
    if value.is_empty() {
        Err(Refusal::Empty)
    } else if value.contains(['\n', '\r']) {
        Err(Refusal::LineBreak)
    } else if value.contains(is_python_space) {
        Err(Refusal::WhiteSpace)
    } else {
        Ok(Cow::Borrowed(value))
    }
}

/// White space as Python's `\s` sees it: Unicode's, and U+001C to U+001F.
fn is_python_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_half_that_is_meant_is_taken() {
        assert_eq!(ipv4("domain|ip", "a.example|192.0.2.1").as_deref(), Ok("192.0.2.1"));
        assert_eq!(ipv4("ip-dst|port", "192.0.2.1|80").as_deref(), Ok("192.0.2.1"));
        assert_eq!(ipv4("domain|ip", "192.0.2.9|a.example"), Err(Refusal::NotAnAddress));
        assert_eq!(ipv4("", "192.0.2.9|a|b"), Err(Refusal::NotAnAddress));
        assert_eq!(host_name("domain|ip", "A.Example|192.0.2.1").as_deref(), Ok("a.example"));
        assert_eq!(hash::<32>("filename|md5", &format!("a|b|{}", "A".repeat(32))).as_deref(), Ok(&*"a".repeat(32)));
    }

    #[test]
    fn never_a_substring_and_never_a_parent() {
        for bad in ["exam ple.net", "*.example.com", "-a.example", "a..example", "example", "a.b1", "a.example/", ""] {
            assert_eq!(host_name("domain", bad), Err(Refusal::NotAHostName), "{bad}");
        }
        assert_eq!(host_name("domain", "foo_bar.EXAMPLE.com.").as_deref(), Ok("foo_bar.example.com"));
        assert_eq!(host_name("domain", "bücher.example").as_deref(), Ok("xn--bcher-kva.example"));
        for bad in ["1.2.3.4.5", "text 1.2.3.4", "01.2.3.4", "1.2.3.4:99999", "1.2.3.4/033", "::1"] {
            assert!(ipv4("ip-dst", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_are_masked_and_ipv6_is_written_one_way() {
        assert_eq!(cidr4("ip-dst", "10.1.2.3/8").as_deref(), Ok("10.0.0.0/8"));
        assert_eq!(cidr4("ip-dst", "10.1.2.3"), Err(Refusal::NotANetwork));
        assert_eq!(ipv4("ip-dst", "10.1.2.3/8"), Err(Refusal::Network));
        assert_eq!(ipv4("ip-dst", "10.1.2.3/32").as_deref(), Ok("10.1.2.3"));
        assert_eq!(ipv6("ip-dst", "[2001:0DB8::2]:443").as_deref(), Ok("2001:db8::2"));
        assert_eq!(ipv6("ip-dst", "fe80::1%eth0"), Err(Refusal::Zone));
        assert_eq!(ipv6("ip-dst", "2001:db8::/64"), Err(Refusal::Network));
    }

    #[test]
    fn urls_keep_everything_but_white_space() {
        assert_eq!(url("url", "HTTP://x/?u=http://y").as_deref(), Ok("HTTP://x/?u=http://y"));
        assert_eq!(url("url", "http://x/\n"), Err(Refusal::LineBreak));
        assert_eq!(url("url", "http://x/\u{1c}"), Err(Refusal::WhiteSpace));
    }
}
