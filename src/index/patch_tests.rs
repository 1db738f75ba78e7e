//! Tests of `patch.rs`: whatever changes, patched lists are those that all events give.

use std::collections::BTreeSet;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::fetch::wire;
use crate::index::intake::Intake;
use crate::index::mirror::Coverage;
use crate::index::never::Entry as NeverEntry;
use crate::index::{Bounds, Slice, TYPES, TagFeed, TypeRule, select};

const NOW: i64 = 1_000_000;
const TAGS: [&str; 3] = ["t:block", "t:hunt", "t:false"];
/// Data types of one line per value, of values that several MISP types carry, and of networks.
const WANTED: [&str; 5] = ["ipv4", "ipv4ext", "cidr4", "domain", "hostname"];
const FEEDS: [&str; 4] = ["block", "hunt", "any", "42"];

/// A row: MISP type and value by number, seconds of age, tags, to_ids, on a warninglist.
type RowOf = (usize, usize, i64, Vec<usize>, bool, bool);
/// What happens to an event: gone, or these rows, published, its tags.
type EventOf = (u128, Option<(Vec<RowOf>, bool, Vec<usize>)>);

fn rules(lines: u64) -> Rules {
    let types = TYPES.iter().map(|data_type| TypeRule {
        data_type,
        misp_types: data_type.misp_types.iter().map(|name| (*name).to_owned()).collect(),
    });
    let feed = |at: usize, published_only| TagFeed { name: FEEDS[at].into(), tag: TAGS[at].into(), published_only };
    Rules {
        feeds: vec![feed(0, true), feed(1, false)],
        false_positive: TAGS[2].into(),
        ignore_to_ids: BTreeSet::from(["domain".to_owned()]),
        types: types.collect(),
        bounds: Bounds { lines, ..Bounds::default() },
        unpublish_grace: 50,
    }
}

fn wanted(since: i64) -> Wants {
    let of = |feed: &str| {
        WANTED.map(|name| {
            ((Slice::Feed(feed.into()), TYPES.iter().find(|data_type| data_type.name == name).unwrap().name), since)
        })
    };
    FEEDS.iter().flat_map(|feed| of(feed)).collect()
}

fn tags(numbers: &[usize]) -> impl Iterator<Item = &'static str> {
    numbers.iter().map(|number| TAGS[*number])
}

fn step(mirror: &Mirror, changes: &[EventOf], now: i64) -> Mirror {
    let mut intake = Intake::incremental(mirror, rules(9).misp_types(), now);
    for (number, change) in changes {
        let event = Uuid::from_u128(*number);
        let Some((rows, published, event_tags)) = change else {
            intake.gone(&event);
            continue;
        };
        for (at, (kind, value, age, row_tags, to_ids, on_warninglist)) in rows.iter().enumerate() {
            let value = match kind {
                0 => format!("192.0.2.{value}"),
                1 => format!("192.0.2.{}/30", value / 4 * 4),
                _ => format!("v{value}.example"),
            };
            intake.attribute(
                &event,
                &wire::Attribute {
                    uuid: Uuid::from_u128(number * 100 + at as u128),
                    kind: ["ip-dst", "ip-src", "domain"][*kind].into(),
                    value: value.into(),
                    timestamp: NOW - age,
                    to_ids: *to_ids,
                    on_warninglist: *on_warninglist,
                    tags: tags(row_tags).map(Into::into).collect(),
                },
            );
        }
        intake.event(&wire::Event {
            uuid: event,
            timestamp: now,
            published: *published,
            creator: Uuid::nil(),
            tags: tags(event_tags).map(str::to_owned).collect(),
            false_positives: 0,
            malformed: 0,
        });
    }
    intake.finish().0
}

fn row() -> impl Strategy<Value = RowOf> {
    let tags = prop_oneof![5 => Just(vec![0]), 3 => Just(vec![0, 1]), 1 => Just(vec![2]), 1 => Just(Vec::new())];
    (0usize..3, 0usize..9, 0i64..200, tags, prop::bool::weighted(0.9), prop::bool::weighted(0.1))
}

fn event() -> impl Strategy<Value = EventOf> {
    let tags = prop_oneof![6 => Just(Vec::new()), 1 => Just(vec![0]), 1 => Just(vec![2])];
    let content = (prop::collection::vec(row(), 0..5), prop::bool::weighted(0.8), tags);
    (0u128..24, prop::option::weighted(0.9, content))
}

/// The entries, by value.
fn entries(lists: &Lists) -> Vec<Vec<(&str, i64, u32)>> {
    lists
        .lists
        .values()
        .map(|list| list.entries().map(|(value, entry)| (value, entry.newest, entry.events)).collect())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn patched_lists_are_those_of_all_events(
        first in prop::collection::vec(event(), 30..60),
        steps in prop::collection::vec(prop::collection::vec(event(), 0..3), 1..8),
        lines in prop_oneof![Just(12u64), Just(60), Just(10_000)],
        seconds in prop::collection::vec(0i64..20, 8),
    ) {
        let (rules, never) = (rules(lines), Never::new(&[NeverEntry::parse("v3.example").unwrap()], &[], &[]).unwrap());
        let (mut now, mut since) = (NOW, NOW - 150);
        let mut mirror = step(&Mirror::new([0; 32], Coverage::Everything), &first, NOW);
        let mut lists = select::lists(&mirror, &rules, &never, &wanted(since), now);
        for (changes, seconds) in steps.iter().zip(seconds) {
            (now, since) = (now + seconds, since + seconds / 7);
            let next = step(&mirror, changes, now);
            let wanted = wanted(since);
            let all = select::lists(&next, &rules, &never, &wanted, now);
            let held = lists.hold_at(&wanted, now);
            match patched(lists, (&mirror, &next), &rules, &never, &wanted, now) {
                Some(patched) => {
                    prop_assert!(held);
                    prop_assert_eq!(entries(&patched), entries(&all));
                    prop_assert_eq!(&patched.ledgers, &all.ledgers);
                    prop_assert_eq!(&patched.refusals, &all.refusals);
                    prop_assert_eq!(patched.grace_ends, all.grace_ends);
                    prop_assert_eq!(&patched.lines, &all.lines);
                    for (key, (from, to)) in &patched.windows {
                        let (first, last) = all.windows[key];
                        prop_assert!(first <= *from && *to <= last, "{:?}: {} to {} of {} to {}", key, from, to, first, last);
                    }
                    for of_type in WANTED {
                        let mut of_type = patched.lists.iter().filter(|((_, name), _)| *name == of_type).map(|(_, list)| list);
                        let first = of_type.next().unwrap();
                        prop_assert!(of_type.all(|list| Arc::ptr_eq(&list.values, &first.values)), "values are shared");
                    }
                    lists = patched;
                }
                None => lists = all,
            }
            mirror = next;
        }
    }
}

#[test]
fn a_change_of_one_event_is_patched_and_one_of_most_is_not() {
    let rows = |value| vec![(2, value, 0, vec![0], true, false)];
    let events: Vec<EventOf> =
        (0..20).map(|number| (number, Some((rows(number as usize), true, Vec::new())))).collect();
    let (rules, never, wanted) = (rules(99), Never::default(), wanted(0));
    let mirror = step(&Mirror::new([0; 32], Coverage::Everything), &events, NOW);
    let lists = || select::lists(&mirror, &rules, &never, &wanted, NOW);
    let key = (Slice::Feed("block".into()), "domain");
    let one = step(&mirror, &[(3, Some((rows(77), true, Vec::new())))], NOW);
    let patched_one = patched(lists(), (&mirror, &one), &rules, &never, &wanted, NOW).unwrap();
    let values: Vec<&str> = patched_one.lists[&key].since(0).collect();
    assert!(values.contains(&"v77.example") && !values.contains(&"v3.example"), "{values:?}");
    assert!(patched_one.hold_at(&wanted, NOW) && !patched_one.hold_at(&wanted, NOW - 1), "a clock that was set back");
    let most: Vec<EventOf> = (0..9).map(|number| (number, None)).collect();
    let most = step(&mirror, &most, NOW);
    assert!(patched(lists(), (&mirror, &most), &rules, &never, &wanted, NOW).is_none());
}
