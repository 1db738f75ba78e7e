//! The shipped default of `never_publish`: what no device should ever be told to block. In: a network or name. Out: what it
//! is called, if it is among it.
//!
//! | what | why |
//! |---|---|
//! | private, shared, local and reserved networks, documentation | nobody else's addresses: RFC 1122, 1918, 6598, 3927, 5737, 5771, 1112; 4291, 4193, 3849 |
//! | networks wider than /8 (IPv4) or /16 (IPv6) | larger than any one network in the world |
//! | names that are a public suffix, below which anybody may register | they stand for everything below them |
//! | `localhost` (RFC 6761) | the device itself |
//! | hashes of the empty file | on every machine |
//!
//! Public suffixes are those of <https://publicsuffix.org>, ICANN's and private ones, as of the crate `psl`.

use ipnet::IpNet;
use psl::Psl as _;

/// Networks, with the RFC that says what they are.
pub(super) const NETWORKS: [(&str, &str); 18] = [
    ("0.0.0.0/8", "this network, RFC 1122"),
    ("10.0.0.0/8", "private, RFC 1918"),
    ("100.64.0.0/10", "shared, RFC 6598"),
    ("127.0.0.0/8", "loopback, RFC 1122"),
    ("169.254.0.0/16", "link-local, RFC 3927"),
    ("172.16.0.0/12", "private, RFC 1918"),
    ("192.0.2.0/24", "documentation, RFC 5737"),
    ("192.168.0.0/16", "private, RFC 1918"),
    ("198.51.100.0/24", "documentation, RFC 5737"),
    ("203.0.113.0/24", "documentation, RFC 5737"),
    ("224.0.0.0/4", "multicast, RFC 5771"),
    ("240.0.0.0/4", "reserved, RFC 1112"),
    ("::/128", "unspecified, RFC 4291"),
    ("::1/128", "loopback, RFC 4291"),
    ("fc00::/7", "private, RFC 4193"),
    ("fe80::/10", "link-local, RFC 4291"),
    ("ff00::/8", "multicast, RFC 4291"),
    ("2001:db8::/32", "documentation, RFC 3849"),
];
/// Name of the device itself.
pub(super) const NAME: &str = "localhost";
/// Hashes of nothing: MD5, SHA-1, SHA-256.
pub(super) const HASHES: [&str; 3] = [
    "d41d8cd98f00b204e9800998ecf8427e",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
];
/// The shortest prefixes that are not too wide: IPv4, IPv6.
const WIDEST: (u8, u8) = (8, 16);

/// Whether a network is larger than any one network in the world.
pub(super) fn is_too_wide(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() < WIDEST.0,
        IpNet::V6(network) => network.prefix_len() < WIDEST.1,
    }
}

/// Whether a name in ASCII lower case is a public suffix, or every name right below it is one (`ck`, `kawasaki.jp`).
pub(super) fn is_public_suffix(name: &str) -> bool {
    // The list is in Unicode.
    let unicode;
    let name = match name.contains("xn--") {
        true => {
            unicode = idna::domain_to_unicode(name).0;
            unicode.as_str()
        }
        false => name,
    };
    let labels = || name.rsplit('.').map(str::as_bytes);
    let own = psl::List.find(labels());
    let below = psl::List.find(labels().chain([&b"0"[..]]));
    (own.typ.is_some() && own.len == name.len()) || (below.typ.is_some() && below.len == name.len() + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_suffixes_are_known_by_any_spelling() {
        for name in [
            "com",
            "co.uk",
            "github.io",
            "s3.amazonaws.com",
            "com.bd",
            "bd",
            "kawasaki.jp",
            "xn--55qx5d.cn",
            "xn--p1ai",
        ] {
            assert!(is_public_suffix(name), "{name}");
        }
        for name in ["example.com", "www.ck", "city.kawasaki.jp", "a.github.io", "example", "zz-unknown", "a.b.com.bd"]
        {
            assert!(!is_public_suffix(name), "{name}");
        }
    }

    #[test]
    fn the_hashes_are_those_of_nothing() {
        use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, b"").as_ref()), HASHES[1]);
        assert_eq!(hex(digest(&SHA256, b"").as_ref()), HASHES[2]);
    }

    #[test]
    fn networks_are_written_without_host_bits() {
        for (text, _) in NETWORKS {
            let network: IpNet = text.parse().unwrap();
            assert_eq!(network, network.trunc(), "{text}");
        }
    }
}
