//! Whose request it is. In: the peer, the headers, the proxies that are trusted. Out: a [`Client`].
//!
//! Invariants: a header counts only if the peer is trusted, and then only its right-most hop that is not trusted, so nothing
//! a client writes in front of it matters; a hop that cannot be read is in no network.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddrV4};

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

/// The header that is read when no other is configured.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Client {
    /// This address.
    Known(IpAddr),
    /// A trusted proxy names somebody, but not by an address.
    Unreadable(String),
    /// `reverse_proxy` is on and this peer sends the header, but it is not in `trusted_proxies`.
    UntrustedProxy(IpAddr),
}

impl Client {
    /// Is its address known and in one of the networks?
    pub fn is_in(&self, networks: &[IpNet]) -> bool {
        match self {
            Self::Known(address) => contains(networks, *address),
            Self::Unreadable(_) | Self::UntrustedProxy(_) => false,
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(address) | Self::UntrustedProxy(address) => address.fmt(out),
            Self::Unreadable(text) => text.fmt(out),
        }
    }
}

/// Finds the client. `proxy_header` is the configured header while `reverse_proxy` is on.
pub fn resolve(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet], proxy_header: Option<&HeaderName>) -> Client {
    let peer = peer.to_canonical();
    let configured = proxy_header.filter(|name| headers.contains_key(*name));
    let hops = hops(headers, configured.unwrap_or(&FORWARDED_FOR));
    if !contains(trusted, peer) {
        let misled = configured.is_some() && !hops.is_empty();
        return if misled { Client::UntrustedProxy(peer) } else { Client::Known(peer) };
    }
    let mut client = Client::Known(peer);
    for hop in hops.iter().rev() {
        let Some(address) = read_hop(hop) else { return Client::Unreadable(hop.clone()) };
        client = Client::Known(address);
        if !contains(trusted, address) {
            break;
        }
    }
    client
}

/// A header's value as Python shows it: one character per byte. Of ASCII nothing is copied.
pub fn latin1(value: &HeaderValue) -> Cow<'_, str> {
    value.to_str().map_or_else(|_| value.as_bytes().iter().map(|byte| char::from(*byte)).collect(), Cow::Borrowed)
}

fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// All hops of all lines, in order; empty ones are none.
fn hops(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).iter().map(latin1);
    let hops = lines.flat_map(|line| line.split(',').map(|hop| hop.trim().to_owned()).collect::<Vec<_>>());
    hops.filter(|hop| !hop.is_empty()).collect()
}

/// An address, perhaps in brackets, perhaps with a port.
fn read_hop(hop: &str) -> Option<IpAddr> {
    let address = if let Some(rest) = hop.strip_prefix('[') {
        let (inside, port) = rest.split_once(']')?;
        let good = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
        good.then(|| inside.parse().ok()).flatten().map(IpAddr::V6)
    } else {
        hop.parse().ok().or_else(|| Some(IpAddr::V4(*hop.parse::<SocketAddrV4>().ok()?.ip())))
    };
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

    fn shown(peer: &str, headers: &[(&'static str, &str)], proxy: bool) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let trusted = ["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        match resolve(peer.parse().unwrap(), &map, &trusted, proxy.then_some(&REAL_IP)) {
            Client::Known(address) => address.to_string(),
            Client::Unreadable(text) => format!("? {text}"),
            Client::UntrustedProxy(peer) => format!("! {peer}"),
        }
    }

    #[test]
    fn forwarded_for_of_a_trusted_peer() {
        for (value, expected) in [
            ("9.9.9.9", "9.9.9.9"),
            ("9.9.9.9, 10.1.1.1", "10.1.1.1"),
            ("10.1.1.1,9.9.9.9:1234", "9.9.9.9"),
            ("9.9.9.9, 127.0.0.1", "9.9.9.9"),
            ("127.0.0.2, 127.0.0.1", "127.0.0.2"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:9.9.9.9", "9.9.9.9"),
            ("", "127.0.0.1"),
            ("garbage", "? garbage"),
            ("9.9.9.9, garbage, 127.0.0.1", "? garbage"),
            ("[9.9.9.9]", "? [9.9.9.9]"),
        ] {
            assert_eq!(shown("127.0.0.1", &[("x-forwarded-for", value)], false), expected, "{value}");
        }
        assert_eq!(
            shown("127.0.0.1", &[("x-forwarded-for", "9.9.9.9"), ("x-forwarded-for", "8.8.8.8")], false),
            "8.8.8.8"
        );
        assert_eq!(shown("::ffff:127.0.0.1", &[("x-forwarded-for", "9.9.9.9")], false), "9.9.9.9");
    }

    #[test]
    fn the_configured_header_wins_and_others_do_not_count() {
        let both = [("x-forwarded-for", "9.9.9.9"), ("x-real-ip", "8.8.4.4")];
        assert_eq!(shown("127.0.0.1", &both, true), "8.8.4.4");
        assert_eq!(shown("127.0.0.1", &both, false), "9.9.9.9");
        assert_eq!(shown("127.0.0.1", &both[..1], true), "9.9.9.9");
        assert_eq!(shown("127.0.0.1", &[("x-real-ip", "garbage 9.9.9.9")], true), "? garbage 9.9.9.9");
    }

    #[test]
    fn nobody_else_is_believed() {
        assert_eq!(shown("10.0.0.1", &[("x-forwarded-for", "9.9.9.9")], false), "10.0.0.1");
        assert_eq!(shown("10.0.0.1", &[("x-real-ip", "9.9.9.9")], false), "10.0.0.1");
        assert_eq!(shown("10.0.0.1", &[("x-real-ip", "9.9.9.9")], true), "! 10.0.0.1");
        assert_eq!(shown("10.0.0.1", &[], true), "10.0.0.1");
    }
}
