//! The data types: what a list can hold. Adding one is one row here and, if need be, its normaliser.

use self::Family::{Address, Hash, Host, Mail, Text, Url};
use super::normalise::{Normalise, addresses, currency, email, hashes, hosts, texts, vulnerability};

/// A kind of list, e.g. `ipv4`.
#[derive(Debug)]
pub struct DataType {
    /// As it stands in URLs, file names and configuration.
    pub name: &'static str,
    /// MISP attribute types it is made from, unless `config/mappings.yaml` says otherwise.
    pub misp_types: &'static [&'static str],
    /// How a value gets into the list.
    pub normalise: Normalise,
    /// What its lines are; decides what `never_publish` compares them with.
    pub family: Family,
}

/// What the lines of a list are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Addresses or networks.
    Address,
    /// Names of hosts.
    Host,
    /// URLs.
    Url,
    /// Addresses of email.
    Mail,
    /// Hashes of files, certificates, handshakes.
    Hash,
    /// Anything else: rules, subjects, numbers.
    Text,
}

impl PartialEq for DataType {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// The MISP types that hold addresses, alone or in a composite.
const ADDRESSES: &[&str] = &["ip-src", "ip-dst", "domain|ip", "ip-dst|port", "ip-src|port"];

const MD5: Normalise = Normalise::One(hashes::hash::<32>);
const SHA1: Normalise = Normalise::One(hashes::hash::<40>);
const SHA256: Normalise = Normalise::One(hashes::hash::<64>);
const HOST: Normalise = Normalise::One(hosts::host_name);
const LINE: Normalise = Normalise::One(texts::line);
const RULE: Normalise = Normalise::One(texts::rule);

/// Every data type, in the order of error texts: the one list of types.
pub const TYPES: &[DataType] = &[
    of("ipv4ext", Address, ADDRESSES, Normalise::Span(addresses::ipv4ext)),
    of("ipv4", Address, ADDRESSES, Normalise::One(addresses::ipv4)),
    of("ipv6", Address, ADDRESSES, Normalise::One(addresses::ipv6)),
    of("cidr4", Address, &["ip-src", "ip-dst"], Normalise::Network(addresses::cidr4)),
    of("domain", Host, &["domain"], HOST),
    of("hostname", Host, &["hostname", "domain|ip", "hostname|port"], HOST),
    of("url", Url, &["url"], Normalise::One(texts::url)),
    of("file-md5", Hash, &["md5", "filename|md5"], MD5),
    of("file-sha1", Hash, &["sha1", "filename|sha1"], SHA1),
    of("file-sha256", Hash, &["sha256", "filename|sha256"], SHA256),
    of("mutex", Text, &["mutex"], LINE),
    of("snort", Text, &["snort"], RULE),
    of("yara", Text, &["yara"], RULE),
    of("sigma", Text, &["sigma"], RULE),
    of("x509-fingerprint-md5", Hash, &["x509-fingerprint-md5"], MD5),
    of("x509-fingerprint-sha1", Hash, &["x509-fingerprint-sha1"], SHA1),
    of("x509-fingerprint-sha256", Hash, &["x509-fingerprint-sha256"], SHA256),
    // And `email`, see `Rules::misp_types`.
    of("email-address", Mail, &["email-dst", "email-src"], Normalise::One(email::email_address)),
    of("email-subject", Text, &["email-subject"], LINE),
    of("email-attachment", Text, &["email-attachment"], LINE),
    of("vulnerability", Text, &["vulnerability"], Normalise::One(vulnerability::cve)),
    of("ja3", Hash, &["ja3-fingerprint-md5"], MD5),
    of("hassh-md5", Hash, &["hassh-md5"], MD5),
    of("hasshserver-md5", Hash, &["hasshserver-md5"], MD5),
    of("imphash", Hash, &["imphash"], MD5),
    of("crypto-currency", Text, &["btc", "xmr"], Normalise::One(currency::address)),
];

const fn of(name: &'static str, family: Family, misp_types: &'static [&'static str], normalise: Normalise) -> DataType {
    DataType { name, misp_types, normalise, family }
}

impl DataType {
    /// Looks a data type up by its name.
    pub fn named(name: &str) -> Option<&'static DataType> {
        TYPES.iter().find(|data_type| data_type.name == name)
    }

    /// Whether its lists take any text, so that a value of another kind has a form there, too.
    pub fn takes_any_text(&self) -> bool {
        matches!(self.normalise, Normalise::One(normalise) if normalise("", "?").is_ok())
    }

    /// Whether its lists hold the addresses of networks: one value may be many lines.
    pub fn is_of_networks(&self) -> bool {
        matches!(self.normalise, Normalise::Span(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_safe_in_paths() {
        for (at, data_type) in TYPES.iter().enumerate() {
            assert!(TYPES[..at].iter().all(|other| other.name != data_type.name), "{} twice", data_type.name);
            assert!(
                data_type.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
                "{}",
                data_type.name
            );
            assert!(!data_type.misp_types.is_empty(), "{}", data_type.name);
        }
    }

    #[test]
    fn some_take_any_text() {
        let names: Vec<&str> = TYPES.iter().filter(|of| of.takes_any_text()).map(|of| of.name).collect();
        assert_eq!(names.join(" "), "url mutex snort yara sigma email-subject email-attachment");
    }

    #[test]
    fn they_stand_in_the_order_of_error_texts() {
        let names: Vec<&str> = TYPES.iter().map(|data_type| data_type.name).collect();
        let recorded = "ipv4ext ipv4 ipv6 cidr4 domain hostname url file-md5 file-sha1 file-sha256 mutex snort yara sigma \
            x509-fingerprint-md5 x509-fingerprint-sha1 x509-fingerprint-sha256 email-address email-subject \
            email-attachment vulnerability ja3 hassh-md5 hasshserver-md5 imphash crypto-currency";
        assert_eq!(names.join(" "), recorded);
    }
}
