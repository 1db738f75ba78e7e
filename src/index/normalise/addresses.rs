//! IPv4 and IPv6 addresses and IPv4 networks (D4, D6), whole or as the half of a composite that can hold one.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Bounds, Refusal, halves};

/// D4: an IPv4 address.
pub fn ipv4<'a>(misp_type: &str, value: &'a str) -> Result<Cow<'a, str>, Refusal> {
    let mut refusal = Refusal::NotAnAddress;
    for part in halves(misp_type, value) {
        match ipv4_part(part) {
            Ok(address) => {
                let mut text = String::with_capacity(15);
                push_quad(&mut text, address.into());
                return Ok(Cow::Owned(text));
            }
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
pub fn cidr4<'a>(bounds: &Bounds, misp_type: &str, value: &'a str) -> Result<Cow<'a, str>, Refusal> {
    match halves(misp_type, value).find_map(read_network) {
        None => Err(Refusal::NotANetwork),
        Some(network) if network.prefix_len() < bounds.min_prefix => Err(Refusal::BelowMinPrefix),
        Some(network) => Ok(Cow::Owned(network.to_string())),
    }
}

fn read_network(part: &str) -> Option<Ipv4Net> {
    let (address, prefix) = part.split_once('/')?;
    Ipv4Net::new(address.parse().ok()?, read_prefix(prefix)?).ok().map(|network| network.trunc())
}

/// IPv4 addresses in a row. In order: fewer before more, then by the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    lines: u64,
    first: u32,
}

impl Span {
    /// How many there are, at least one.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Whether every address of the other one is one of these.
    pub fn covers(&self, other: &Span) -> bool {
        let end = |span: &Span| u64::from(span.first) + span.lines;
        self.first <= other.first && end(other) <= end(self)
    }

    /// Every address as a number, ascending.
    pub fn addresses(&self) -> impl Iterator<Item = u32> + use<> {
        let first = self.first;
        (0..self.lines).map(move |offset| first.wrapping_add(offset as u32))
    }

    /// Hands every address over, in the order of numbers.
    pub fn each(&self, out: &mut dyn FnMut(&str)) {
        let mut text = String::with_capacity(15);
        for address in self.addresses() {
            text.clear();
            push_quad(&mut text, address);
            out(&text);
        }
    }
}

/// Dotted decimal, in a tenth of the time that `Display` takes: a list of networks is up to a million of them.
fn push_quad(text: &mut String, address: u32) {
    for (at, byte) in address.to_be_bytes().into_iter().enumerate() {
        if at > 0 {
            text.push('.');
        }
        if byte >= 100 {
            text.push(char::from(b'0' + byte / 100));
        }
        if byte >= 10 {
            text.push(char::from(b'0' + byte / 10 % 10));
        }
        text.push(char::from(b'0' + byte % 10));
    }
}

/// D4: an IPv4 address, or all addresses of a network, that of the network itself and the broadcast address among them.
pub fn ipv4ext(bounds: &Bounds, misp_type: &str, value: &str) -> Result<Span, Refusal> {
    let mut refusal = Refusal::NotAnAddress;
    for part in halves(misp_type, value) {
        if let Ok(address) = ipv4_part(part) {
            return Ok(Span { lines: 1, first: address.into() });
        }
        if let Some(network) = read_network(part) {
            let span = Span { lines: 1 << (32 - network.prefix_len()), first: network.network().into() };
            if network.prefix_len() < bounds.min_prefix {
                refusal = Refusal::BelowMinPrefix;
            } else if network.prefix_len() < bounds.widest {
                refusal = Refusal::TooWide;
            } else if span.lines > bounds.lines {
                refusal = Refusal::ListFull;
            } else {
                return Ok(span);
            }
        }
    }
    Err(refusal)
}

/// D6: an IPv6 address, as RFC 5952 writes it.
pub fn ipv6<'a>(misp_type: &str, value: &'a str) -> Result<Cow<'a, str>, Refusal> {
    let mut refusal = Refusal::NotAnAddress;
    for part in halves(misp_type, value) {
        match ipv6_part(part) {
            Ok(address) => return Ok(Cow::Owned(address.to_string())),
            Err(other) if other != Refusal::NotAnAddress => refusal = other,
            Err(_) => {}
        }
    }
    Err(refusal)
}

/// The address or network that one half of a value is, of either family, in every spelling that a list reads, and those
/// IPv6 networks and addresses with a zone that no list takes. Masked.
pub(in crate::index) fn any(part: &str) -> Option<IpNet> {
    if let Ok(address) = ipv4_part(part) {
        return Some(Ipv4Net::from(address).into());
    }
    if let Some(network) = read_network(part) {
        return Some(network.into());
    }
    let bare = unbracketed(part).ok()?;
    let bare = bare.split_once('%').map_or(bare, |(address, _)| address);
    let network = bare.parse::<Ipv6Net>().or_else(|_| bare.parse::<Ipv6Addr>().map(Ipv6Net::from));
    network.ok().map(|network| network.trunc().into())
}

/// What stands in the brackets; a port may follow them.
fn unbracketed(part: &str) -> Result<&str, Refusal> {
    let Some(rest) = part.strip_prefix('[') else { return Ok(part) };
    let (inside, after) = rest.split_once(']').ok_or(Refusal::NotAnAddress)?;
    let port = after.is_empty() || after.strip_prefix(':').and_then(read_port).is_some();
    if port { Ok(inside) } else { Err(Refusal::NotAnAddress) }
}

fn ipv6_part(part: &str) -> Result<Ipv6Addr, Refusal> {
    let bare = unbracketed(part)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_half_that_is_meant_is_taken() {
        assert_eq!(ipv4("domain|ip", "a.example|192.0.2.1").as_deref(), Ok("192.0.2.1"));
        assert_eq!(ipv4("ip-dst|port", "192.0.2.1|80").as_deref(), Ok("192.0.2.1"));
        assert_eq!(ipv4("domain|ip", "192.0.2.9|a.example"), Err(Refusal::NotAnAddress));
        assert_eq!(ipv4("", "192.0.2.9|a|b"), Err(Refusal::NotAnAddress));
    }

    #[test]
    fn never_a_substring() {
        for bad in ["1.2.3.4.5", "text 1.2.3.4", "01.2.3.4", "1.2.3.4:99999", "1.2.3.4/033", "::1"] {
            assert!(ipv4("ip-dst", bad).is_err(), "{bad}");
            assert!(ipv4ext(&Bounds::default(), "ip-dst", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_are_masked_and_ipv6_is_written_one_way() {
        assert_eq!(cidr4(&Bounds::default(), "ip-dst", "10.1.2.3/8").as_deref(), Ok("10.0.0.0/8"));
        assert_eq!(cidr4(&Bounds::default(), "ip-dst", "10.1.2.3"), Err(Refusal::NotANetwork));
        assert_eq!(ipv4("ip-dst", "10.1.2.3/8"), Err(Refusal::Network));
        assert_eq!(ipv4("ip-dst", "10.1.2.3/32").as_deref(), Ok("10.1.2.3"));
        assert_eq!(ipv6("ip-dst", "[2001:0DB8::2]:443").as_deref(), Ok("2001:db8::2"));
        assert_eq!(ipv6("ip-dst", "fe80::1%eth0"), Err(Refusal::Zone));
        assert_eq!(ipv6("ip-dst", "2001:db8::/64"), Err(Refusal::Network));
    }

    #[test]
    fn networks_become_addresses_within_bounds() {
        let lines = |value: &str| {
            let mut lines = Vec::new();
            ipv4ext(&Bounds::default(), "ip-dst|port", value).unwrap().each(&mut |line| lines.push(line.to_owned()));
            lines
        };
        assert_eq!(lines("192.0.2.9/30|80"), ["192.0.2.8", "192.0.2.9", "192.0.2.10", "192.0.2.11"]);
        assert_eq!(lines("255.255.255.255/31"), ["255.255.255.254", "255.255.255.255"]);
        assert_eq!(lines("192.0.2.9:80"), ["192.0.2.9"]);
        assert_eq!(lines("10.0.0.0/16").len(), 65536);
        assert_eq!(lines("10.0.0.0/16")[65535], "10.0.255.255");
        let refused = |widest, value| ipv4ext(&Bounds { widest, ..Bounds::default() }, "ip-dst", value);
        assert_eq!(refused(16, "10.0.0.0/15"), Err(Refusal::TooWide));
        assert_eq!(refused(32, "10.0.0.0/31"), Err(Refusal::TooWide));
        assert_eq!(refused(0, "0.0.0.0/0"), Err(Refusal::ListFull));
        let least = Bounds { min_prefix: 24, ..Bounds::default() };
        assert_eq!(ipv4ext(&least, "ip-dst", "10.0.0.0/23"), Err(Refusal::BelowMinPrefix));
        assert_eq!(ipv4ext(&least, "ip-dst", "10.0.0.0/24").map(|span| span.lines()), Ok(256));
        assert_eq!(cidr4(&least, "ip-dst", "10.0.0.0/23"), Err(Refusal::BelowMinPrefix));
        assert_eq!(cidr4(&least, "ip-dst", "10.0.0.9/24").as_deref(), Ok("10.0.0.0/24"));
        assert_eq!(refused(13, "10.0.0.0/13").map(|span| span.lines()), Ok(524_288));
    }
}
