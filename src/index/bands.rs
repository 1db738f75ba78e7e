//! What a list holds at each age, in one look. In: a list, where the windows begin, and a key. Out: per age the number of values,
//! the oldest of them, and a print. Pure.
//!
//! A print names a set of values: equal sets have equal prints, and without the key nobody can make two sets with the same
//! one; by chance two sets of one size have it once in 2^64. So whoever keeps the prints of what was rendered need not render it
//! to see that it is the same.
//!
//! Invariant: ages are nested, so what an age holds is what the shorter ones hold and more.

use std::hash::BuildHasher;

use super::List;

/// One age of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Band {
    /// Values in the window.
    pub count: usize,
    /// The oldest of their newest attributes, in Unix seconds.
    pub oldest: Option<i64>,
    /// Names the set of values.
    pub print: u64,
}

impl Band {
    fn take(&mut self, other: &Band) {
        self.count += other.count;
        self.oldest = self.oldest.into_iter().chain(other.oldest).min();
        self.print = self.print.wrapping_add(other.print);
    }
}

impl List {
    /// One band per window; `since`: where they begin (Unix seconds), the latest first. `key` is secret and random.
    pub fn bands<K: BuildHasher>(&self, since: &[i64], key: &K) -> Vec<Band> {
        let mut bands = vec![Band::default(); since.len()];
        for (value, entry) in self.entries() {
            let at = since.partition_point(|since| *since > entry.newest);
            let Some(band) = bands.get_mut(at) else { continue };
            band.take(&Band { count: 1, oldest: Some(entry.newest), print: key.hash_one(value) });
        }
        for at in 1..bands.len() {
            let shorter = bands[at - 1];
            bands[at].take(&shorter);
        }
        bands
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::index::{Entry, Values};

    fn list(values: &std::collections::BTreeMap<String, i64>) -> List {
        let texts: Vec<Box<str>> = values.keys().map(|value| value.as_str().into()).collect();
        let entry = |(at, newest): (usize, &i64)| Entry { value: at as u32, newest: *newest, events: 1 };
        let entries: Vec<Entry> = values.values().enumerate().map(entry).collect();
        List { values: Arc::new(Values::from_sorted(&texts)), entries: entries.into() }
    }

    proptest! {
        #[test]
        fn bands_are_what_single_looks_give(
            values in prop::collection::btree_map("[a-c]{1,3}", 0i64..50, 0..12),
            other in prop::collection::btree_map("[a-c]{1,3}", 0i64..50, 0..12),
            mut since in prop::collection::vec(0i64..50, 1..6),
        ) {
            since.sort_unstable_by(|one, other| other.cmp(one));
            let key = RandomState::new();
            let (values, other) = (list(&values), list(&other));
            let (bands, others) = (values.bands(&since, &key), other.bands(&since, &key));
            for (at, since) in since.iter().enumerate() {
                prop_assert_eq!(bands[at].count, values.count_since(*since));
                let oldest = values.entries().map(|(_, entry)| entry.newest).filter(|newest| newest >= since).min();
                prop_assert_eq!(bands[at].oldest, oldest);
                let same = values.since(*since).eq(other.since(*since));
                prop_assert_eq!(bands[at].print == others[at].print, same);
            }
        }
    }
}
