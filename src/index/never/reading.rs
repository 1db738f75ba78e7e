//! What a value can mean to whoever reads the lists. In: the value of a MISP attribute and the families of its type. Out: its
//! halves, and of each everything it can be read as.
//!
//! A value of a composite type has two halves, and each is read as address, host and hash, whatever the type says: MISP's own
//! warninglists do the same. URLs and addresses of email are never parted.
//!
//! Invariants: the normalisers of the lists are used, so what becomes a line is what is compared; time linear in the value.

use std::borrow::Cow;

use ipnet::IpNet;

use super::embedded::{canonical, embedded};
use super::families::Families;
use super::url_host::{self, UrlHost};
use crate::index::normalise::{addresses, hosts};
use crate::index::types::Family;

/// A value, or one half of it.
#[derive(Debug)]
pub(super) struct Half<'a> {
    /// As MISP has it.
    pub(super) raw: &'a str,
    pub(super) readings: Vec<Reading<'a>>,
}

/// One thing that a half can be.
#[derive(Debug, PartialEq)]
pub(super) enum Reading<'a> {
    /// An address or network in its compared form.
    Network(IpNet),
    /// An IPv4 network that an IPv6 one leads to.
    Embedded(IpNet),
    /// A host name in a list of host names.
    Name(Cow<'a, str>),
    /// The host of a URL; `bare`: it has no path and no query.
    UrlHost { name: String, bare: bool },
    /// The host of an address of email.
    MailHost(Cow<'a, str>),
    /// An address of email in lower case.
    Mail(String),
    /// Lower-case digits.
    Hash(Cow<'a, str>),
}

/// The halves of a value of these families.
pub(super) fn halves(families: Families, value: &str) -> Vec<Half<'_>> {
    let mut halves = Vec::with_capacity(2);
    if families.is_empty() {
        return halves;
    }
    let mut whole = Half { raw: value, readings: Vec::new() };
    if families.has(Family::Url) {
        whole.url();
    }
    if families.has(Family::Mail) {
        whole.mail();
    }
    match value.split_once('|').filter(|_| families.part()) {
        Some((left, right)) => {
            // What follows the last bar can be a hash, however many there are.
            let last = right.rsplit_once('|').map(|(_, last)| last);
            halves.extend([Some(left), Some(right), last].into_iter().flatten().map(Half::of_composite));
            if whole.readings.is_empty() {
                return halves;
            }
        }
        None => {
            if families.has(Family::Address) {
                whole.address();
            }
            if families.has(Family::Host) {
                whole.host();
            }
            if families.has(Family::Hash) {
                whole.hash();
            }
        }
    }
    halves.push(whole);
    halves
}

impl<'a> Half<'a> {
    /// Whatever the type of the value says.
    fn of_composite(raw: &'a str) -> Self {
        let mut half = Half { raw, readings: Vec::with_capacity(2) };
        half.address();
        if half.readings.is_empty() {
            half.host();
            half.hash();
        }
        half
    }

    fn address(&mut self) {
        if let Some(network) = addresses::any(self.raw) {
            self.network(network);
        }
    }

    fn network(&mut self, network: IpNet) {
        let network = canonical(network);
        self.readings.push(Reading::Network(network));
        self.readings.extend(embedded(&network).map(Reading::Embedded));
    }

    fn host(&mut self) {
        if let Ok(name) = hosts::ascii(self.raw) {
            self.readings.push(Reading::Name(name));
        }
    }

    fn hash(&mut self) {
        if let Some(hash) = hash(self.raw) {
            self.readings.push(Reading::Hash(hash));
        }
    }

    fn url(&mut self) {
        match url_host::read(self.raw) {
            Some((UrlHost::Address(network), _)) => self.network(network),
            Some((UrlHost::Name(name), bare)) => self.readings.push(Reading::UrlHost { name, bare }),
            None => {}
        }
    }

    fn mail(&mut self) {
        let Some((local, domain)) = self.raw.rsplit_once('@') else { return };
        let Ok(domain) = hosts::ascii(domain) else { return };
        self.readings.push(Reading::Mail(mail(local, &domain)));
        self.readings.push(Reading::MailHost(domain));
    }
}

/// An address of email as it is compared.
pub(super) fn mail(local: &str, domain: &str) -> String {
    format!("{}@{domain}", local.to_lowercase())
}

/// An MD5, SHA-1 or SHA-256 as it is compared.
pub(super) fn hash(text: &str) -> Option<Cow<'_, str>> {
    if !matches!(text.len(), 32 | 40 | 64) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some(match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(text.to_ascii_lowercase()),
        false => Cow::Borrowed(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(misp_type: &str, value: &str) -> Vec<String> {
        let halves = halves(Families::of_misp_types([misp_type]), value);
        halves.iter().flat_map(|half| half.readings.iter().map(|reading| format!("{reading:?}"))).collect()
    }

    #[test]
    fn both_halves_are_read_in_every_way() {
        assert_eq!(readings("domain|ip", "A.Example.|10.0.0.1"), ["Name(\"a.example\")", "Network(10.0.0.1/32)"]);
        assert_eq!(readings("ip-dst|port", "[::ffff:10.0.0.1]:8|80"), ["Network(10.0.0.1/32)", "Name(\"80\")"]);
        let hash = "A".repeat(32);
        assert!(readings("filename|md5", &format!("10.0.0.1|{hash}")).contains(&"Network(10.0.0.1/32)".to_owned()));
        assert!(readings("filename|md5", &format!("a|b|{hash}")).contains(&format!("Hash({:?})", "a".repeat(32))));
    }

    #[test]
    fn urls_and_mail_are_not_parted_and_texts_mean_nothing() {
        let url = readings("url", "http://a.example/?x|10.0.0.1");
        assert_eq!(url, ["UrlHost { name: \"a.example\", bare: false }"]);
        let mail = readings("email-src", "A|b@Corp.Example");
        assert_eq!(mail, ["Mail(\"a|b@corp.example\")", "MailHost(\"corp.example\")"]);
        assert!(readings("mutex", "a|10.0.0.1").is_empty());
    }
}
