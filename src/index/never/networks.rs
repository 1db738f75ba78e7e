//! Networks, to be found by overlap. In: networks with the numbers of their entries. Out: which entry a network meets.
//!
//! Two networks are apart or one is inside the other. So only the outermost ones are kept, as ranges that do not touch each
//! other, and one binary search answers both questions.

use ipnet::IpNet;

/// Networks of both families.
#[derive(Debug, Default)]
pub(super) struct Networks {
    four: Ranges<u32>,
    six: Ranges<u128>,
}

impl Networks {
    pub(super) fn new(networks: impl IntoIterator<Item = (IpNet, u32)>) -> Self {
        let (mut four, mut six) = (Vec::new(), Vec::new());
        for (network, entry) in networks {
            match network {
                IpNet::V4(network) => four.push((network.network().into(), network.broadcast().into(), entry)),
                IpNet::V6(network) => six.push((network.network().into(), network.broadcast().into(), entry)),
            }
        }
        Self { four: Ranges::new(four), six: Ranges::new(six) }
    }

    /// The entry that the network contains, equals or is contained in.
    pub(super) fn overlapping(&self, network: &IpNet) -> Option<u32> {
        match network {
            IpNet::V4(network) => self.four.overlapping(network.network().into(), network.broadcast().into()),
            IpNet::V6(network) => self.six.overlapping(network.network().into(), network.broadcast().into()),
        }
    }

    /// The entry that the network equals or is contained in.
    pub(super) fn holding(&self, network: &IpNet) -> Option<u32> {
        match network {
            IpNet::V4(network) => self.four.holding(network.network().into(), network.broadcast().into()),
            IpNet::V6(network) => self.six.holding(network.network().into(), network.broadcast().into()),
        }
    }
}

/// First and last address and entry, ascending, none touching another.
#[derive(Debug)]
struct Ranges<T>(Vec<(T, T, u32)>);

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy + Ord> Ranges<T> {
    fn new(mut all: Vec<(T, T, u32)>) -> Self {
        // The widest first where several begin; of equal ones the entry that was named first.
        all.sort_by(|one, other| one.0.cmp(&other.0).then(other.1.cmp(&one.1)).then(one.2.cmp(&other.2)));
        let mut kept: Vec<(T, T, u32)> = Vec::with_capacity(all.len());
        for range in all {
            if kept.last().is_none_or(|last| last.1 < range.0) {
                kept.push(range);
            }
        }
        Self(kept)
    }

    fn overlapping(&self, first: T, last: T) -> Option<u32> {
        let candidate = self.before(last)?;
        (candidate.1 >= first).then_some(candidate.2)
    }

    fn holding(&self, first: T, last: T) -> Option<u32> {
        let candidate = self.before(first)?;
        (candidate.1 >= last).then_some(candidate.2)
    }

    /// The last range that begins at or before this address.
    fn before(&self, address: T) -> Option<&(T, T, u32)> {
        self.0[..self.0.partition_point(|range| range.0 <= address)].last()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Networks close enough to each other to meet.
    fn network() -> impl Strategy<Value = IpNet> {
        let four = (0u32..64, 24u8..=32).prop_map(|(low, prefix)| {
            ipnet::Ipv4Net::new((0xc000_0200 | (low << 2)).into(), prefix).unwrap().trunc().into()
        });
        let wide = (any::<u32>(), 0u8..=32)
            .prop_map(|(address, prefix)| ipnet::Ipv4Net::new(address.into(), prefix).unwrap().trunc().into());
        let six = (0u128..64, 118u8..=128).prop_map(|(low, prefix)| {
            ipnet::Ipv6Net::new(((0x2001_0db8u128 << 96) | (low << 4)).into(), prefix).unwrap().trunc().into()
        });
        prop_oneof![4 => four, 1 => wide, 3 => six]
    }

    proptest! {
        #[test]
        fn overlap_is_found_in_both_directions(
            entries in proptest::collection::vec(network(), 0..12), asked in network(),
        ) {
            let known = Networks::new(entries.iter().zip(0..).map(|(network, at)| (*network, at)));
            let holds = |one: &IpNet, other: &IpNet| one.contains(other);
            let meets = |entry: &IpNet| holds(entry, &asked) || holds(&asked, entry);
            let found = known.overlapping(&asked).map(|at| entries[at as usize]);
            prop_assert_eq!(found.is_some(), entries.iter().any(meets), "{:?}", found);
            prop_assert!(found.is_none_or(|entry| meets(&entry)));
            let held = known.holding(&asked).map(|at| entries[at as usize]);
            prop_assert_eq!(held.is_some(), entries.iter().any(|entry| holds(entry, &asked)));
            prop_assert!(held.is_none_or(|entry| holds(&entry, &asked)));
        }
    }
}
