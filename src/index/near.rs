//! What is like a value that a mirror does not know: a network around an address, a parent domain, a URL at a host, another
//! spelling. In: a mirror and the value. Out: a few rows, the nearest first. Pure.
//!
//! Invariant: what is kept is bounded, however much of the mirror is like the value.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;
use url::{Host, Url};

use super::mirror::Mirror;
use super::normalise::{addresses, hosts};

/// As many are named.
pub const MOST: usize = 10;

/// How a row is like the value; the nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Likeness {
    /// The same but for upper and lower case.
    OtherCase,
    /// The same URL, with its scheme.
    WithScheme,
    /// A network that the address or network is in.
    Around,
    /// An address or network inside the network.
    Inside,
    /// The host of the URL.
    HostOfUrl,
    /// A URL at the host, or at that of the URL.
    UrlAtHost,
    /// A domain above the name.
    Above,
    /// A name below the domain.
    Below,
}

/// Rows that are like the value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Near {
    /// In which way.
    pub likeness: Likeness,
    /// Their MISP type.
    pub kind: String,
    /// Their value.
    pub value: String,
    /// How many there are.
    pub attributes: u64,
}

/// What a value, or one half of it, names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Network(IpNet),
    Host(String),
}

/// A value as it is compared.
struct Reading {
    folded: String,
    places: Vec<Place>,
    /// Where the URL leads, if it is one.
    url: Option<Place>,
}

impl Reading {
    fn new(text: &str) -> Self {
        let url = text.contains("://").then(|| host_of(text)).flatten();
        let places = if url.is_some() { Vec::new() } else { text.split('|').filter_map(place).collect() };
        Self { folded: text.to_lowercase(), places, url }
    }
}

/// At most [`MOST`] rows that are like the value.
pub fn near(mirror: &Mirror, text: &str) -> Vec<Near> {
    let asked = Reading::new(text);
    let mut found: BTreeMap<(Likeness, usize, &str, &str), u64> = BTreeMap::new();
    for (event, row) in mirror.events().flat_map(|event| event.rows.iter().map(move |row| (event, row))) {
        let (kind, value) = (&*mirror.type_names()[row.kind as usize], event.value(row));
        let Some((likeness, distance)) = likeness(&asked, value) else { continue };
        *found.entry((likeness, distance, kind, value)).or_default() += 1;
        if found.len() > MOST {
            found.pop_last();
        }
    }
    let near = |((likeness, _, kind, value), attributes): ((Likeness, usize, &str, &str), u64)| Near {
        likeness,
        kind: kind.to_owned(),
        value: value.to_owned(),
        attributes,
    };
    found.into_iter().map(near).collect()
}

/// How a value is like the one that is asked about, and how far from it.
fn likeness(asked: &Reading, value: &str) -> Option<(Likeness, usize)> {
    let row = Reading::new(value);
    if row.folded == asked.folded {
        return Some((Likeness::OtherCase, 0));
    }
    if row.folded.split_once("://").is_some_and(|(_, rest)| rest == asked.folded) {
        return Some((Likeness::WithScheme, 0));
    }
    match (&asked.url, &row.url) {
        (Some(asked), Some(row)) => (asked == row).then_some((Likeness::UrlAtHost, 0)),
        (Some(asked), None) => row.places.contains(asked).then_some((Likeness::HostOfUrl, 0)),
        (None, Some(row)) => {
            let at = |place| match relation(place, row)? {
                (Likeness::Around, _) | (Likeness::Above, _) => None,
                (_, distance) => Some((Likeness::UrlAtHost, distance)),
            };
            asked.places.iter().filter_map(at).min()
        }
        (None, None) => {
            let pairs = asked.places.iter().flat_map(|asked| row.places.iter().map(move |row| (asked, row)));
            pairs.filter_map(|(asked, row)| relation(asked, row)).min()
        }
    }
}

/// How one place is to another, and how far from it. Equal ones are at 0.
fn relation(asked: &Place, row: &Place) -> Option<(Likeness, usize)> {
    match (asked, row) {
        (Place::Network(asked), Place::Network(row)) => {
            let distance = usize::from(asked.prefix_len().abs_diff(row.prefix_len()));
            if asked.contains(row) {
                Some((Likeness::Inside, distance))
            } else {
                row.contains(asked).then_some((Likeness::Around, distance))
            }
        }
        (Place::Host(asked), Place::Host(row)) => {
            let labels = |name: &str| name.split('.').count();
            let is_below = |low: &str, high: &str| {
                low.strip_suffix(high).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            };
            let distance = labels(asked).abs_diff(labels(row));
            if is_below(row, asked) {
                Some((Likeness::Below, distance))
            } else {
                is_below(asked, row).then_some((Likeness::Above, distance))
            }
        }
        _ => None,
    }
}

fn place(part: &str) -> Option<Place> {
    let host = || hosts::host_name("", part).ok().map(|name| Place::Host(name.into()));
    addresses::any(part).map(Place::Network).or_else(host)
}

/// Where a browser would connect to.
fn host_of(url: &str) -> Option<Place> {
    // A scheme that browsers do not know leaves the host as it is written.
    let (_, rest) = url.split_once("://")?;
    match Url::parse(&format!("http://{rest}")).ok()?.host()? {
        Host::Ipv4(address) => Some(Place::Network(IpNet::from(IpAddr::V4(address)))),
        Host::Ipv6(address) => Some(Place::Network(IpNet::from(IpAddr::V6(address)))),
        Host::Domain(name) => Some(Place::Host(name.strip_suffix('.').unwrap_or(name).to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(asked: &str, value: &str) -> Option<Likeness> {
        likeness(&Reading::new(asked), value).map(|(likeness, _)| likeness)
    }

    #[test]
    fn each_likeness_is_told() {
        for (asked, value, expected) in [
            ("Mutex A", "mutex a", Some(Likeness::OtherCase)),
            ("evil.example/x", "http://evil.example/x", Some(Likeness::WithScheme)),
            ("192.0.2.7", "192.0.2.0/24", Some(Likeness::Around)),
            ("192.0.2.7", "a.example|192.0.0.0/16", Some(Likeness::Around)),
            ("192.0.2.0/24", "192.0.2.7", Some(Likeness::Inside)),
            ("2001:db8::1", "2001:DB8::/32", Some(Likeness::Around)),
            ("192.0.2.7", "192.0.3.0/24", None),
            ("www.evil.example", "evil.example", Some(Likeness::Above)),
            ("evil.example", "www.EVIL.example|192.0.2.1", Some(Likeness::Below)),
            ("evil.example", "notevil.example", None),
            ("evil.example", "hxxp://www.evil.example:8080/a", Some(Likeness::UrlAtHost)),
            ("www.evil.example", "http://evil.example/a", None),
            ("192.0.2.7", "http://192.0.2.7/a", Some(Likeness::UrlAtHost)),
            ("http://evil.example/b", "http://user@EVIL.example/a", Some(Likeness::UrlAtHost)),
            ("http://evil.example/b", "evil.example", Some(Likeness::HostOfUrl)),
            ("some text", "other text", None),
        ] {
            assert_eq!(is(asked, value), expected, "{asked} {value}");
        }
    }

    #[test]
    fn the_narrowest_network_and_the_next_parent_come_first() {
        let order = |asked: &str, values: &[&str]| {
            let asked = Reading::new(asked);
            values.iter().map(|value| likeness(&asked, value).unwrap()).collect::<Vec<_>>()
        };
        assert!(order("192.0.2.7", &["192.0.2.0/29", "192.0.2.0/24", "192.0.0.0/8"]).is_sorted());
        assert!(order("a.b.evil.example", &["b.evil.example", "evil.example"]).is_sorted());
    }
}
