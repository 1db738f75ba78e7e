//! Nothing is lost silently: every attribute that a data type is made of is in a list, or one reason keeps it out.

use std::collections::{BTreeMap, BTreeSet};

use cratos::fetch::wire;
use cratos::index::fate::{Ledger, Loss};
use cratos::index::intake::Intake;
use cratos::index::mirror::{Coverage, Mirror};
use cratos::index::never::Never;
use cratos::index::select::{self, ListKey, Wants};
use cratos::index::{Bounds, Rules, Slice, TYPES, TagFeed, TypeRule};
use proptest::prelude::*;
use proptest::sample::select as one_of;
use uuid::Uuid;

const NOW: i64 = 1_800_000_000;
const GRACE: i64 = 3600;
/// Where the window of the largest age begins.
const SINCE: i64 = NOW - 86_400;
const VALUES: [(&str, &str); 12] = [
    ("ip-dst", "192.0.2.1"),
    ("ip-dst", "192.0.2.0/30"),
    ("ip-src", "10.0.0.0/8"),
    ("ip-dst", "2001:db8::1"),
    ("ip-dst", "no address"),
    ("domain|ip", "a.example|192.0.2.9"),
    ("domain", "b.example"),
    ("domain", "not a name"),
    ("url", "http://c.example/x"),
    ("url", "two words"),
    ("md5", "d41d8cd98f00b204e9800998ecf8427e"),
    ("email", "someone@d.example"),
];
const TAGS: [&str; 3] = ["block", "hunt", "false-positive"];

#[derive(Clone, Debug)]
struct Made {
    value: (&'static str, &'static str),
    timestamp: i64,
    to_ids: bool,
    on_warninglist: bool,
    tags: Vec<&'static str>,
}

#[derive(Clone, Debug)]
struct MadeEvent {
    /// In the pull before, and now.
    published: (bool, bool),
    creator: u128,
    tags: Vec<&'static str>,
    rows: Vec<Made>,
}

fn row() -> impl Strategy<Value = Made> {
    let times = one_of(vec![SINCE - 1, SINCE, NOW - 5]);
    let tags = prop::collection::vec(one_of(&TAGS[..]), 0..2);
    (one_of(&VALUES[..]), times, prop::bool::weighted(0.8), prop::bool::weighted(0.2), tags).prop_map(
        |(value, timestamp, to_ids, on_warninglist, tags)| Made { value, timestamp, to_ids, on_warninglist, tags },
    )
}

fn event() -> impl Strategy<Value = MadeEvent> {
    let tags = prop::collection::vec(one_of(&TAGS[..2]), 0..2);
    (any::<(bool, bool)>(), 0..3u128, tags, prop::collection::vec(row(), 0..6))
        .prop_map(|(published, creator, tags, rows)| MadeEvent { published, creator, tags, rows })
}

fn rules() -> Rules {
    let types = TYPES.iter().map(|data_type| TypeRule {
        data_type,
        misp_types: data_type.misp_types.iter().map(|name| (*name).to_owned()).collect(),
    });
    let feed = |name: &str, published_only| TagFeed { name: name.into(), tag: name.into(), published_only };
    Rules {
        feeds: vec![feed("block", true), feed("hunt", false)],
        false_positive: "false-positive".into(),
        ignore_to_ids: BTreeSet::from(["url".to_owned()]),
        types: types.collect(),
        bounds: Bounds::default(),
        unpublish_grace: GRACE,
    }
}

/// Two pulls: as the events were, and as they are. Events and rows are numbered in order.
fn mirror(events: &[MadeEvent]) -> Mirror {
    let wanted: BTreeSet<String> = rules().misp_types();
    let first = pull(None, events, &wanted, NOW - 60, |event| event.published.0);
    pull(Some(&first), events, &wanted, NOW - 30, |event| event.published.1)
}

fn pull(
    base: Option<&Mirror>,
    events: &[MadeEvent],
    wanted: &BTreeSet<String>,
    at: i64,
    published: fn(&MadeEvent) -> bool,
) -> Mirror {
    let mut intake = Intake::full(base, [0; 32], Coverage::Everything, wanted.clone(), at);
    for (number, event) in events.iter().enumerate() {
        let uuid = Uuid::from_u128(number as u128);
        for (at, row) in event.rows.iter().enumerate() {
            let attribute = wire::Attribute {
                uuid: Uuid::from_u128((number as u128) << 32 | at as u128),
                kind: row.value.0.into(),
                value: row.value.1.into(),
                timestamp: row.timestamp,
                to_ids: row.to_ids,
                on_warninglist: row.on_warninglist,
                tags: row.tags.iter().map(|tag| (*tag).into()).collect(),
            };
            intake.attribute(&uuid, &attribute);
        }
        intake.event(&wire::Event {
            uuid,
            timestamp: at,
            published: published(event),
            creator: Uuid::from_u128(event.creator),
            tags: event.tags.iter().map(|tag| (*tag).to_owned()).collect(),
            false_positives: 0,
            malformed: 0,
        });
    }
    intake.finish().0
}

/// Every kind of list there is.
fn wants() -> Wants {
    let feeds = ["block", "hunt", "any", "42", "cust9"].map(|name| Slice::Feed(name.into()));
    let creator = Slice::Organisation(Uuid::from_u128(1).to_string().into());
    let slices = feeds.into_iter().chain([creator]);
    slices.flat_map(|slice| TYPES.iter().map(move |kind| ((slice.clone(), kind.name), SINCE))).collect()
}

/// Rows of one list, decided one by one: how many of a single row's lists have an entry in the window.
fn alone(events: &[MadeEvent], key: &ListKey) -> u64 {
    let only = |event: &MadeEvent, row: &Made| MadeEvent { rows: vec![row.clone()], ..event.clone() };
    let rows = events.iter().flat_map(|event| event.rows.iter().map(move |row| only(event, row)));
    let wants: Wants = BTreeMap::from([(key.clone(), SINCE)]);
    rows.filter(|event| {
        let found = select::lists(&mirror(std::slice::from_ref(event)), &rules(), &Never::default(), &wants, NOW);
        found.lists[key].count_since(SINCE) > 0
    })
    .count() as u64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn every_row_is_listed_or_has_one_reason(events in prop::collection::vec(event(), 0..6)) {
        let found = select::lists(&mirror(&events), &rules(), &Never::default(), &wants(), NOW);
        prop_assert_eq!(found.ledgers.len(), wants().len());
        for (key, Ledger { rows, listed, in_grace, lost }) in &found.ledgers {
            let rule = rules().types.into_iter().find(|rule| rule.data_type.name == key.1).unwrap();
            let counts = |kind: &str| {
                rule.misp_types.iter().any(|known| known == kind) || (key.1 == "email-address" && kind == "email")
            };
            let all = events.iter().flat_map(|event| &event.rows).filter(|row| counts(row.value.0)).count() as u64;
            prop_assert_eq!(all, *rows, "{:?}", key);
            prop_assert_eq!(all, listed + lost.values().sum::<u64>(), "{:?} {:?}", key, lost);
            prop_assert!(in_grace <= listed && lost.values().all(|count| *count > 0));
            prop_assert_eq!(*listed > 0, found.lists[key].count_since(SINCE) > 0, "{:?}", key);
        }
        let block: ListKey = (Slice::Feed("block".into()), "ipv4");
        prop_assert_eq!(found.ledgers[&block].listed, alone(&events, &block));
    }
}

#[test]
fn the_first_rule_that_applies_is_the_reason() {
    let fine = Made { value: VALUES[0], timestamp: NOW - 5, to_ids: true, on_warninglist: false, tags: vec!["block"] };
    let fine = || fine.clone();
    let event = |published, row: Made| MadeEvent { published, creator: 1, tags: Vec::new(), rows: vec![row] };
    let published = (true, true);
    let cases = [
        (event(published, Made { tags: vec!["hunt", "false-positive"], to_ids: false, ..fine() }), Loss::NotInFeed),
        (event((false, false), Made { to_ids: false, ..fine() }), Loss::Unpublished),
        (event(published, Made { to_ids: false, on_warninglist: true, ..fine() }), Loss::ToIds),
        (event(published, Made { tags: vec!["block", "false-positive"], ..fine() }), Loss::FalsePositive),
        (event(published, Made { on_warninglist: true, value: VALUES[4], ..fine() }), Loss::Warninglist),
        (event(published, Made { timestamp: SINCE - 1, ..fine() }), Loss::Age),
    ];
    let key: ListKey = (Slice::Feed("block".into()), "ipv4");
    let ledger = |events: &[MadeEvent], now| {
        select::lists(&mirror(events), &rules(), &Never::default(), &BTreeMap::from([(key.clone(), SINCE)]), now)
            .ledgers[&key]
            .clone()
    };
    for (event, loss) in cases {
        let lost = BTreeMap::from([(loss, 1)]);
        assert_eq!(ledger(&[event], NOW), Ledger { rows: 1, listed: 0, in_grace: 0, lost });
    }
    let edited = [event((true, false), fine())];
    assert_eq!(ledger(&edited, NOW), Ledger { rows: 1, listed: 1, in_grace: 1, lost: BTreeMap::new() });
    let later = NOW - 30 + GRACE;
    assert_eq!(ledger(&edited, later).lost, BTreeMap::from([(Loss::Unpublished, 1)]), "the grace is over");
    let found =
        select::lists(&mirror(&edited), &rules(), &Never::default(), &BTreeMap::from([(key.clone(), SINCE)]), NOW);
    assert_eq!(found.grace_ends, Some(later));
}
