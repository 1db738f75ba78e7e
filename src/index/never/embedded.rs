//! IPv4 inside IPv6. In: a network. Out: the form in which it is compared, and the IPv4 networks it also leads to.
//!
//! | prefix | what | how it counts |
//! |---|---|---|
//! | `::ffff:0:0/96` | IPv4-mapped (RFC 4291) | is the IPv4 network |
//! | `64:ff9b::/96` | NAT64 (RFC 6052) | is itself, and leads to the IPv4 network |
//! | `2002::/16` | 6to4 (RFC 3056) | is itself, and leads to the IPv4 network |

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Where an IPv4 address begins inside an IPv6 address, and what stands before it.
struct Prefix {
    bits: u128,
    length: u8,
}

const MAPPED: Prefix = Prefix { bits: 0xffff << 32, length: 96 };
const TRANSLATED: [Prefix; 3] =
    [MAPPED, Prefix { bits: 0x0064_ff9b << 96, length: 96 }, Prefix { bits: 0x2002 << 112, length: 16 }];

/// Masked; a mapped network as the IPv4 network it is.
pub(super) fn canonical(network: IpNet) -> IpNet {
    match network.trunc() {
        IpNet::V6(six) if six.prefix_len() >= MAPPED.length => MAPPED.inner(&six).map_or(IpNet::V6(six), IpNet::V4),
        other => other,
    }
}

/// The IPv4 networks that packets to an IPv6 network can end up in. None of an IPv4 network.
pub(super) fn embedded(network: &IpNet) -> impl Iterator<Item = IpNet> {
    let six = match network {
        IpNet::V6(six) => Some(*six),
        IpNet::V4(_) => None,
    };
    TRANSLATED.iter().filter_map(move |prefix| prefix.inner(six.as_ref()?)).map(IpNet::V4)
}

impl Prefix {
    /// The IPv4 part of a network that is inside the prefix; all of IPv4 if the network contains the prefix.
    fn inner(&self, network: &Ipv6Net) -> Option<Ipv4Net> {
        let own = Ipv6Net::new(self.bits.into(), self.length).ok()?;
        if network.contains(&own) {
            return Ipv4Net::new(Ipv4Addr::UNSPECIFIED, 0).ok();
        }
        if !own.contains(network) {
            return None;
        }
        let shifted = u128::from(network.network()) << self.length;
        let address = (shifted >> 96) as u32;
        let prefix = (network.prefix_len() - self.length).min(32);
        Ipv4Net::new(address.into(), prefix).ok().map(|network| network.trunc())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_is_ipv4_and_translated_leads_there() {
        let shown = |text: &str| {
            let network: IpNet = text.parse().unwrap();
            let own = canonical(network);
            let all: Vec<String> =
                std::iter::once(own).chain(embedded(&own)).map(|network| network.to_string()).collect();
            all.join(" ")
        };
        assert_eq!(shown("::ffff:10.1.2.3/128"), "10.1.2.3/32");
        assert_eq!(shown("::ffff:10.1.2.3/104"), "10.0.0.0/8");
        assert_eq!(shown("64:ff9b::a01:203/128"), "64:ff9b::a01:203/128 10.1.2.3/32");
        assert_eq!(shown("2002:a01:203::5/128"), "2002:a01:203::5/128 10.1.2.3/32");
        assert_eq!(shown("2002:a00::/24"), "2002:a00::/24 10.0.0.0/8");
        assert_eq!(shown("2000::/3"), "2000::/3 0.0.0.0/0");
        assert_eq!(shown("2001:db8::1/128"), "2001:db8::1/128");
        assert_eq!(shown("10.9.9.9/8"), "10.0.0.0/8");
    }
}
