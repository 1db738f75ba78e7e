//! One value of MISP → the form it has in a list, or a named refusal. Pure.
//!
//! In: MISP type and value. Out: text without line breaks (`yara`, `snort`, `sigma` keep theirs).
//!
//! | file | data types | rules (migration table in README.md) |
//! |---|---|---|
//! | [`addresses`] | ipv4, ipv6, cidr4, ipv4ext | D4, D6 |
//! | [`hosts`] | domain, hostname | D1 |
//! | [`email`] | email-address | D3 |
//! | [`hashes`] | file-*, x509-fingerprint-*, ja3, hassh-md5, hasshserver-md5, imphash | D2 |
//! | [`texts`] | url, mutex, email-subject, email-attachment; yara, snort, sigma | D5 |
//! | [`currency`] | crypto-currency | D7 |
//! | [`vulnerability`] | vulnerability | D8 |
//!
//! Invariants: the whole value or one half of a composite, never a substring, never a parent domain; nothing is trimmed
//! (MISP trims on save); time linear in the length of the value.

pub mod addresses;
pub mod currency;
pub mod email;
pub mod hashes;
pub mod hosts;
pub mod texts;
pub mod vulnerability;

use std::borrow::Cow;

pub use addresses::Span;

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
    /// A network wider than [`Bounds::widest`].
    #[error("network wider than ipv4ext_widest")]
    TooWide,
    /// A network wider than [`Bounds::min_prefix`].
    #[error("network wider than min_prefix")]
    BelowMinPrefix,
    /// The list has [`Bounds::lines`] lines without it.
    #[error("list full")]
    ListFull,
    /// An IPv6 address with a zone (`fe80::1%eth0`).
    #[error("zone id")]
    Zone,
    /// No host name by IDNA and the rules of D1.
    #[error("not a host name")]
    NotAHostName,
    /// No email address by RFC 5321 and the rules of D3.
    #[error("not an email address")]
    NotAnEmailAddress,
    /// Not exactly the digits of this kind of hash.
    #[error("not a hash of this length")]
    NotAHash,
    /// Not `CVE-YYYY-NNNN`.
    #[error("not a CVE number")]
    NotACve,
    /// Neither a Bitcoin nor a Monero address.
    #[error("not a currency address")]
    NotACurrencyAddress,
    /// It would be an address if its checksum were right.
    #[error("wrong checksum")]
    Checksum,
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

/// How much one value and one list may become; a matter of the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Shortest prefix of a network that is expanded to its addresses (`ipv4ext_widest`).
    pub widest: u8,
    /// Most lines of a list of expanded networks.
    pub lines: u64,
    /// Shortest prefix of a network in any list (`min_prefix`).
    pub min_prefix: u8,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { widest: 16, lines: 1_000_000, min_prefix: 0 }
    }
}

/// How a value gets into the list: MISP type and value in.
#[derive(Clone, Copy, Debug)]
pub enum Normalise {
    /// One value, one line.
    One(for<'a> fn(&str, &'a str) -> Result<Cow<'a, str>, Refusal>),
    /// One value, one network within bounds.
    Network(for<'a> fn(&Bounds, &str, &'a str) -> Result<Cow<'a, str>, Refusal>),
    /// One value, one or more addresses in a row.
    Span(fn(&Bounds, &str, &str) -> Result<Span, Refusal>),
}

impl Normalise {
    /// Hands every line of a value over. A refused value gives none.
    pub fn each(
        &self,
        bounds: &Bounds,
        misp_type: &str,
        value: &str,
        out: &mut dyn FnMut(&str),
    ) -> Result<(), Refusal> {
        match self {
            Normalise::One(normalise) => normalise(misp_type, value).map(|line| out(&line)),
            Normalise::Network(normalise) => normalise(bounds, misp_type, value).map(|line| out(&line)),
            Normalise::Span(normalise) => normalise(bounds, misp_type, value).map(|span| span.each(out)),
        }
    }
}

/// The halves of a composite to try, in order. The MISP type says which half is meant; a value whose type does not (or
/// whose type is not known) is tried left to right. Two or more `|` are no composite.
fn halves<'a>(misp_type: &str, value: &'a str) -> impl Iterator<Item = &'a str> {
    let (left, right) = match value.split_once('|') {
        None => (Some(value), None),
        Some((_, right)) if right.contains('|') => (None, None),
        Some((left, right)) => match misp_type {
            "domain|ip" => (Some(right), None),
            "ip-src|port" | "ip-dst|port" => (Some(left), None),
            _ => (Some(left), Some(right)),
        },
    };
    left.into_iter().chain(right)
}

/// White space as Python's `\s` sees it: Unicode's, and U+001C to U+001F.
fn is_python_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}
