//! One entry of `never_publish` or `always_publish` as an operator writes it. In: a text. Out: a network, name, address of
//! email or hash in its compared form; or what is wrong with it and what to write instead.
//!
//! Invariant: what [`Entry`] shows reads back as the same entry.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::embedded::canonical;
use super::reading::{hash, mail};
use crate::index::normalise::{addresses, hosts};

/// What is never, or always, published.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    /// A network; an address is one of its own. Masked; IPv4-mapped ones are IPv4.
    Network(IpNet),
    /// A host name and all below it: ASCII, lower case.
    Name(String),
    /// An address of email, lower case.
    Mail(String),
    /// MD5, SHA-1 or SHA-256, lower case.
    Hash(String),
    /// The shipped default.
    Default,
}

/// The word for [`Entry::Default`].
const DEFAULT: &str = "default";
/// What an entry can be.
const ANY: &str = "write a network (10.0.0.0/8), an address, a host name (corp.example), an address of email or an MD5, SHA-1 or SHA-256";

/// Why a text is no entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoEntry {
    /// What is wrong with it.
    pub what: &'static str,
    /// What to write instead.
    pub remedy: &'static str,
}

impl Entry {
    /// Reads an entry. White space around it does not count.
    pub fn parse(text: &str) -> Result<Self, NoEntry> {
        let text = text.trim();
        let wrong = |what, remedy| Err(NoEntry { what, remedy });
        if text.is_empty() {
            return wrong("is empty", ANY);
        }
        if text == DEFAULT {
            return Ok(Entry::Default);
        }
        if let Some(network) = network(text) {
            return Ok(Entry::Network(network));
        }
        if let Some(hash) = hash(text) {
            return Ok(Entry::Hash(hash.into_owned()));
        }
        if text.contains("://") || text.contains(['/', '?', '#', '\\']) {
            let address = text.split_once('/').is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok());
            return match address {
                true => wrong("is no network", "write the prefix as a number, 0 to 32 or 0 to 128, e.g. 10.0.0.0/8"),
                false => wrong("is a URL or has a path", "write the host alone, e.g. corp.example"),
            };
        }
        if addresses::any(text).is_some() || text.contains(':') {
            return wrong("has a port or a zone", "write the address or host alone, e.g. 10.0.0.1");
        }
        if let Some((local, domain)) = text.rsplit_once('@') {
            return match name(domain) {
                Some(domain) if !local.is_empty() => Ok(Entry::Mail(mail(local, &domain))),
                _ => {
                    wrong("is no address of email", "write e.g. soc@corp.example; for all of a domain write the domain")
                }
            };
        }
        let below = text.strip_prefix("*.").or_else(|| text.strip_prefix('.')).unwrap_or(text);
        name(below).map(Entry::Name).ok_or(NoEntry { what: "is nothing that is published", remedy: ANY })
    }
}

fn network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.ok().map(canonical)
}

/// One label is enough. A last label of digits is a mistyped address, one long label of hexadecimal digits a mistyped hash.
fn name(text: &str) -> Option<String> {
    let name = hosts::ascii(text).ok()?;
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    let (first, last) = (name.split('.').next()?, name.rsplit('.').next()?);
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
    let is_hash = first.len() == name.len() && name.len() >= 24 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    (!name.is_empty() && name.bytes().all(good) && !is_number && !is_hash).then(|| name.into_owned())
}

impl fmt::Display for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                fmt::Display::fmt(&network.addr(), out)
            }
            Entry::Network(network) => fmt::Display::fmt(network, out),
            Entry::Name(text) | Entry::Mail(text) | Entry::Hash(text) => out.write_str(text),
            Entry::Default => out.write_str(DEFAULT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_brought_to_their_compared_form() {
        for (text, shown) in [
            ("10.9.9.9/8", "10.0.0.0/8"),
            (" 10.0.0.1 ", "10.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("*.Corp.Example.", "corp.example"),
            (".corp.example", "corp.example"),
            ("localhost", "localhost"),
            ("Bücher.example", "xn--bcher-kva.example"),
            ("ＣＯＲＰ.example", "corp.example"),
            ("Soc@Corp.Example", "soc@corp.example"),
            ("D41D8CD98F00B204E9800998ECF8427E", "d41d8cd98f00b204e9800998ecf8427e"),
            ("default", "default"),
        ] {
            let entry = Entry::parse(text).unwrap();
            assert_eq!(entry.to_string(), shown);
            assert_eq!(Entry::parse(shown), Ok(entry), "{shown}");
        }
    }

    #[test]
    fn mistakes_say_what_to_write() {
        for (text, what) in [
            ("", "is empty"),
            ("https://corp.example/", "is a URL"),
            ("corp.example/x", "is a URL"),
            ("10.0.0.0/33", "is no network"),
            ("10.0.0.1:80", "has a port"),
            ("corp.example:80", "has a port"),
            ("fe80::1%eth0", "has a port or a zone"),
            ("10.0.0.256", "is nothing"),
            ("10.0.0", "is nothing"),
            ("@corp.example", "is no address of email"),
            ("d41d8cd98f00b204e9800998ecf8427", "is nothing"),
            ("two words", "is nothing"),
            ("a|b.example", "is nothing"),
        ] {
            let no_entry = Entry::parse(text).unwrap_err();
            assert!(no_entry.what.starts_with(what) && !no_entry.remedy.is_empty(), "{text}: {no_entry:?}");
        }
    }
}
