//! How the random sequences of `pulls` are made: small worlds with few values and tags, so that everything meets everything.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::model::FALSE_POSITIVE;
use super::steps::{Change, Clock, NewEvents, Start, Step, What};
use crate::misp::{Fault, Kind, NewAttribute, ResultCount, Via};

/// MISP type and value; the form in a list is the same. Few of them, so that they meet in several events.
static VALUES: [(&str, &str); 12] = [
    ("ip-dst", "192.0.2.1"),
    ("ip-dst", "192.0.2.2"),
    ("ip-dst", "192.0.2.3"),
    ("domain", "a.example"),
    ("domain", "b.example"),
    ("domain", "c.example"),
    ("md5", "00000000000000000000000000000001"),
    ("md5", "00000000000000000000000000000002"),
    ("md5", "00000000000000000000000000000003"),
    // Wanted, and in no published list.
    ("url", "http://a.example/"),
    ("url", "http://b.example/"),
    // Not even wanted.
    ("comment", "192.0.2.1"),
];
/// Tags of published feeds, tags that LIKE takes for one, and tags that only look alike.
static TAGS: [&str; 12] = [
    "ex_mple:incident-classification=block",
    "ex_mple:incident-classification=incident",
    "ex_mple:incident-classification=cust1",
    "exzmple:incident-classification=block",
    "exotic:list=cust1",
    "ex_mple:incident-classification=alert",
    "EX_MPLE:incident-classification=block",
    FALSE_POSITIVE,
    "ex-mple:incident-classification=false-positive",
    "ex_mple:incident-classification=False-Positive",
    "tlp:white",
    SPARE,
];
/// A name that means nothing.
const SPARE: &str = "other:name";

/// How sequences begin.
pub fn start() -> impl Strategy<Value = Start> {
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.12), prop::bool::weighted(0.25));
    let counting =
        select(&[("2.5.1", ResultCount::Page), ("2.4.170", ResultCount::Cumulative), ("2.4.99", ResultCount::Total)]);
    (flags, any::<(bool, bool)>(), counting, select(&TAGS[..]), vec(new_event(), 2..5)).prop_map(
        |(flags, (warning_for_all, numeric_ids), counting, hidden_tag, events)| {
            let (reader, everything, careful, unpublished_private) = flags;
            Start {
                reader,
                everything,
                careful,
                unpublished_private,
                warning_for_all,
                numeric_ids,
                counting,
                hidden_tag,
                events,
            }
        },
    )
}

/// What comes then.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let what = prop_oneof![
        26 => (change(), prop::bool::weighted(0.7)).prop_map(|(change, published)| What::Change(change, published)),
        7 => refresh(),
        1 => Just(What::Restart),
        1 => Just(What::Expire),
    ];
    let step = |what| (select(&[0, 1, 5, 100]), what).prop_map(|(wait, what)| Step { wait, what });
    (step(refresh().boxed()), vec(step(what.boxed()), 8..44))
        .prop_map(|(first, rest)| [first].into_iter().chain(rest).collect())
}

fn refresh() -> impl Strategy<Value = What> {
    (prop::bool::weighted(0.3), prop::bool::weighted(0.15), prop::option::weighted(0.2, fault()))
        .prop_map(|(full, release, fault)| What::Refresh { full, release, fault })
}

/// At any request.
fn fault() -> impl Strategy<Value = Fault> {
    let kind = prop_oneof![
        Just(Kind::Drop),
        (0..400usize).prop_map(Kind::Truncate),
        select(&[500, 503]).prop_map(Kind::Status),
        Just(Kind::Html200),
        (0..400usize).prop_map(Kind::CutJson),
    ];
    (kind, any::<bool>(), 0..9usize).prop_map(|(kind, always, skip)| {
        let fault = if always { Fault::always(kind) } else { Fault::once(kind) };
        fault.on("").after(skip)
    })
}

fn new_event() -> impl Strategy<Value = NewEvents> {
    let organisation = prop_oneof![3 => Just(1), 1 => Just(2)];
    (organisation, distribution(), vec(tag(1), 0..2), vec(row(), 0..5))
        .prop_map(|(organisation, distribution, tags, rows)| NewEvents { organisation, distribution, tags, rows })
}

fn row() -> impl Strategy<Value = NewAttribute> {
    (select(&VALUES[..]), prop::bool::weighted(0.75), vec(tag(2), 0..3), prop::bool::weighted(0.1)).prop_map(
        |((kind, value), to_ids, tags, hidden)| {
            let distribution = if hidden { 0 } else { 5 };
            NewAttribute { to_ids, tags, distribution, ..NewAttribute::new(kind, value) }
        },
    )
}

/// A name, and whether it is attached locally.
fn tag(false_positive: u32) -> impl Strategy<Value = (String, bool)> {
    let name = prop_oneof![8 => select(&TAGS[..3]), 4 => select(&TAGS[..]), false_positive => Just(FALSE_POSITIVE)];
    (name, any::<bool>()).prop_map(|(name, local)| (name.to_owned(), local))
}

fn distribution() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(1u8), 1 => Just(0u8)]
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    let via = || select(&[Via::Api, Via::Ui]);
    let clock = prop_oneof![
        2 => Just(Clock::NewEvent),
        2 => Just(Clock::Old),
        1 => Just(Clock::Same),
        2 => (-2..=2i64).prop_map(Clock::Near),
    ];
    let row_sight = prop_oneof![1 => Just(0u8), 1 => Just(5u8)];
    let of_events = prop_oneof![
        2 => new_event().prop_map(Change::AddEvent),
        3 => (at(), row()).prop_map(|(at, row)| Change::AddRow(at, row)),
        3 => (at(), tag(2)).prop_map(|(at, (tag, local))| Change::TagEvent(at, tag, local)),
        3 => (at(), at()).prop_map(|(at, which)| Change::UntagEvent(at, which)),
        3 => at().prop_map(Change::Touch),
        1 => at().prop_map(Change::Unpublish),
        1 => at().prop_map(Change::DeleteEvent),
        3 => (at(), distribution(), any::<bool>()).prop_map(|(at, sight, quiet)| Change::EventSight(at, sight, quiet)),
        3 => (at(), clock, row()).prop_map(|(at, clock, row)| Change::Import(at, clock, row)),
    ];
    let of_rows = prop_oneof![
        3 => (at(), prop::option::of(select(&VALUES[..]))).prop_map(|(at, value)| Change::EditRow(at, value)),
        4 => (at(), tag(5)).prop_map(|(at, (tag, local))| Change::TagRow(at, tag, local)),
        4 => (at(), at(), via()).prop_map(|(at, which, via)| Change::UntagRow(at, which, via)),
        2 => at().prop_map(Change::SoftDelete),
        2 => at().prop_map(Change::Restore),
        1 => at().prop_map(Change::HardDelete),
        3 => (at(), row_sight, any::<bool>()).prop_map(|(at, sight, quiet)| Change::RowSight(at, sight, quiet)),
        1 => (at(), 0..2u8).prop_map(|(at, kind)| Change::Sighting(at, kind)),
    ];
    let entry = (at(), select(&VALUES[..]), any::<bool>());
    // The false-positive tag goes and comes back more often than others: much depends on it.
    let names = prop_oneof![
        3 => (select(&TAGS[..]), select(&TAGS[..])),
        3 => Just((FALSE_POSITIVE, SPARE)),
        2 => Just((SPARE, FALSE_POSITIVE)),
    ];
    let of_server = prop_oneof![
        4 => names.prop_map(|(from, to)| Change::RenameTag(from, to)),
        1 => select(&TAGS[..]).prop_map(Change::DeleteTag),
        2 => entry.prop_map(|(at, (_, value), there)| Change::ListEntry(at, value, there)),
        2 => (at(), any::<bool>()).prop_map(|(at, enabled)| Change::ListEnabled(at, enabled)),
    ];
    prop_oneof![6 => of_events, 6 => of_rows, 3 => of_server]
}
