//! Host names, to be found by overlap. In: names in their compared form with the numbers of their entries. Out: which entry
//! a name meets. Cost: one look-up per label.

use std::collections::HashMap;

/// Names, and all that are above one of them.
#[derive(Debug, Default)]
pub(super) struct Names {
    exact: HashMap<Box<str>, u32>,
    above: HashMap<Box<str>, u32>,
}

impl Names {
    /// Of equal names the first one counts.
    pub(super) fn insert(&mut self, name: &str, entry: u32) {
        self.exact.entry(name.into()).or_insert(entry);
        for parent in upwards(name).skip(1) {
            self.above.entry(parent.into()).or_insert(entry);
        }
    }

    /// The entry that the name equals or is below of.
    pub(super) fn holding(&self, name: &str) -> Option<u32> {
        if self.exact.is_empty() {
            return None;
        }
        upwards(name).find_map(|known| self.exact.get(known)).copied()
    }

    /// The entry that the name equals, is below of, or is above of.
    pub(super) fn overlapping(&self, name: &str) -> Option<u32> {
        self.holding(name).or_else(|| self.above.get(name).copied())
    }
}

/// The name and all above it, the longest first.
fn upwards(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, parent)| parent))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name() -> impl Strategy<Value = String> {
        proptest::collection::vec(prop_oneof!["a", "b", "ab"], 1..5).prop_map(|labels| labels.join("."))
    }

    proptest! {
        #[test]
        fn overlap_is_found_in_both_directions(
            entries in proptest::collection::vec(name(), 0..6), asked in name(),
        ) {
            let mut known = Names::default();
            entries.iter().zip(0..).for_each(|(name, at)| known.insert(name, at));
            let below = |one: &str, other: &str| one == other || one.ends_with(&format!(".{other}"));
            let meets = |entry: &String| below(&asked, entry) || below(entry, &asked);
            let found = known.overlapping(&asked).map(|at| &entries[at as usize]);
            prop_assert_eq!(found.is_some(), entries.iter().any(meets));
            prop_assert!(found.is_none_or(meets));
            let held = known.holding(&asked).map(|at| &entries[at as usize]);
            prop_assert_eq!(held.is_some(), entries.iter().any(|entry| below(&asked, entry)));
            prop_assert!(held.is_none_or(|entry| below(&asked, entry)));
        }
    }
}
