//! How much a list may change at once. Pure.
//!
//! In: how many entries each list had and would have. Out: which lists go beyond their limits, and whether that still holds.
//!
//! A mistake at the server, or a slip of somebody who edits there, shows as a jump: half of a list gone, four times as many
//! entries. Then the version is written but not served, until somebody approves it, or full pulls find the same so often
//! that it is no slip.
//!
//! Invariants: a list smaller than `min_entries` is never asked about; what somebody rejected is not released by itself;
//! when nothing is beyond its limits any more, nothing holds.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Guard;
use crate::state::{Counted, Guarded};

/// What the keys of holds by the guard begin with.
const GUARD: &str = "guard ";

/// Key of the hold on a list.
pub fn key(list: &str) -> String {
    format!("{GUARD}{list}")
}

/// Whether a hold is one by the guard.
pub fn is_key(key: &str) -> bool {
    key.starts_with(GUARD)
}

/// Lists beyond their limits, with a text each.
pub type Trips = BTreeMap<String, String>;

/// Which lists go beyond their limits. Both sides: `feed/type` → entries at an age; lists of different ages are not compared.
pub fn trips(guard: &Guard, before: &BTreeMap<String, Counted>, now: &BTreeMap<String, Counted>) -> Trips {
    let trip = |(list, now): (&String, &Counted)| {
        let before = before.get(list).filter(|before| before.age == now.age)?;
        let limits = guard.of(list.split('/').next().unwrap_or(list));
        if before.entries < limits.min_entries || before.entries == 0 {
            return None;
        }
        let (had, has) = (u128::from(before.entries), u128::from(now.entries));
        let percent = |part: u128| part * 100 / had;
        let least = had * 100 - had * u128::from(limits.max_shrink);
        let most = had * 100 + had * u128::from(limits.max_growth);
        let text = if has * 100 < least {
            format!("shrink from {had} to {has} entries (-{}%, max_shrink {}%)", percent(had - has), limits.max_shrink)
        } else if has * 100 > most {
            format!("grow from {had} to {has} entries (+{}%, max_growth {}%)", percent(has - had), limits.max_growth)
        } else {
            return None;
        };
        Some((list.clone(), format!("{list} would {text}")))
    };
    now.iter().filter_map(trip).collect()
}

/// Whether it still holds. `full`: a full pull found it. `now` in Unix seconds.
pub fn decide(trips: &Trips, before: Option<&Guarded>, full: bool, release: u32, now: i64) -> Option<Guarded> {
    if trips.is_empty() {
        return None;
    }
    let mut guarded = before.cloned().unwrap_or(Guarded { since: now, ..Guarded::default() });
    if full {
        let found: BTreeSet<String> = trips.keys().cloned().collect();
        guarded.agreed = if guarded.found == found { guarded.agreed + 1 } else { 1 };
        guarded.found = found;
    }
    let confirmed = guarded.agreed >= release && !guarded.rejected;
    (!confirmed).then_some(guarded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::guard::{Limits, Own};

    fn counts(lists: &[(&str, u64)]) -> BTreeMap<String, Counted> {
        lists.iter().map(|(list, entries)| ((*list).into(), Counted { age: "10y".into(), entries: *entries })).collect()
    }

    #[test]
    fn only_jumps_of_lists_that_are_large_enough_trip() {
        let guard = Guard::default();
        let tripped =
            |had, has| !trips(&guard, &counts(&[("block/ipv4", had)]), &counts(&[("block/ipv4", has)])).is_empty();
        for (had, has, expected) in [
            (100, 50, false),
            (100, 49, true),
            (100, 0, true),
            (99, 0, false),
            (100, 400, false),
            (100, 401, true),
            (99, 1_000_000, false),
            (0, 1_000_000, false),
            (u64::MAX, u64::MAX, false),
            (u64::MAX, 0, true),
        ] {
            assert_eq!(tripped(had, has), expected, "{had} to {has}");
        }
        assert!(trips(&guard, &counts(&[]), &counts(&[("block/ipv4", 1000)])).is_empty(), "a new list");
        let week = BTreeMap::from([("block/ipv4".to_owned(), Counted { age: "1w".into(), entries: 1 })]);
        assert!(trips(&guard, &counts(&[("block/ipv4", 1000)]), &week).is_empty(), "another age");
    }

    #[test]
    fn the_text_says_the_numbers_and_a_feed_has_its_own_limits() {
        let mut guard = Guard::default();
        guard.feeds.insert("hunt".into(), Own { max_shrink: Some(10), min_entries: Some(10), ..Own::default() });
        let before = counts(&[("block/ipv4", 100), ("hunt/ipv4", 20)]);
        let found = trips(&guard, &before, &counts(&[("block/ipv4", 80), ("hunt/ipv4", 17)]));
        assert_eq!(found.keys().collect::<Vec<_>>(), ["hunt/ipv4"]);
        assert_eq!(found["hunt/ipv4"], "hunt/ipv4 would shrink from 20 to 17 entries (-15%, max_shrink 10%)");
        guard.all = Limits { max_growth: 0, ..guard.all };
        let found = trips(&guard, &before, &counts(&[("block/ipv4", 101)]));
        assert_eq!(found["block/ipv4"], "block/ipv4 would grow from 100 to 101 entries (+1%, max_growth 0%)");
    }

    #[test]
    fn full_pulls_that_agree_release_unless_it_was_rejected() {
        let trips = |lists: &[&str]| lists.iter().map(|list| ((*list).to_owned(), String::new())).collect::<Trips>();
        let one = trips(&["block/ipv4"]);
        let first = decide(&one, None, false, 2, 100).unwrap();
        assert_eq!((first.since, first.agreed), (100, 0), "an incremental pull confirms nothing");
        let second = decide(&one, Some(&first), true, 2, 200).unwrap();
        assert_eq!((second.since, second.agreed), (100, 1));
        assert_eq!(decide(&one, Some(&second), true, 2, 300), None);
        assert_eq!(decide(&one, Some(&second), false, 2, 300).unwrap().agreed, 1);
        let other = decide(&trips(&["block/ipv4", "block/url"]), Some(&second), true, 2, 300).unwrap();
        assert_eq!(other.agreed, 1, "it is not the same any more");
        let rejected = Guarded { rejected: true, ..second };
        assert!(decide(&one, Some(&rejected), true, 2, 300).is_some_and(|guarded| guarded.rejected));
        assert_eq!(decide(&trips(&[]), Some(&rejected), false, 2, 400), None, "the reason is gone");
    }
}
