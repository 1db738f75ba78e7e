//! Any feed, changed in any way, at any time: what is published equals a second computation that shares no code with
//! the program. It is slow and plain on purpose: every list of every age anew, value by value, from a table by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use cratos::refresh::{How, Publisher};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use proptest::test_runner::{Config, TestRunner};

use crate::dir::{self, Dir, SITE};
use crate::feed::{self, Attribute, Event};

/// `_` is a wildcard in it, as in SQL LIKE.
const TAG: &str = "ex_mple";
/// A daylight-saving step (29 March 2026) lies in most windows that end at [`NOWS`].
const ZONE: &str = "Europe/Copenhagen";
/// The moments of the four refreshes, in Unix seconds: 31 March 2026, noon UTC; a second, an hour, a good day later.
static NOWS: [i64; 4] = [1_774_958_400, 1_774_958_401, 1_774_962_000, 1_775_050_000];

/// Feed, last part of its tag, published events only.
const FEEDS: [(&str, bool); 5] =
    [("incident", false), ("block", true), ("alert", false), ("hunt", false), ("cust1", true)];

/// Data type, MISP types, whether `to_ids` is ignored at this site.
const TYPES: [(&str, &[&str], bool); 9] = [
    ("ipv4", &["ip-src", "ip-dst", "domain|ip", "ip-dst|port", "ip-src|port"], false),
    ("ipv6", &["ip-src", "ip-dst", "domain|ip", "ip-dst|port", "ip-src|port"], false),
    ("cidr4", &["ip-src", "ip-dst"], false),
    ("domain", &["domain"], false),
    ("hostname", &["hostname", "domain|ip", "hostname|port"], false),
    ("url", &["url"], false),
    ("file-md5", &["md5", "filename|md5"], true),
    ("file-sha1", &["sha1", "filename|sha1"], true),
    ("file-sha256", &["sha256", "filename|sha256"], false),
];
/// By MISP type, by data type.
const IGNORED: &str = "ignore_to_ids: [\"filename|md5\", file-sha1]\n";

/// Name, hours, days, months.
static AGES: [(&str, i64, i64, i64); 24] = [
    ("1h", 1, 0, 0),
    ("2h", 2, 0, 0),
    ("6h", 6, 0, 0),
    ("12h", 12, 0, 0),
    ("1d", 0, 1, 0),
    ("2d", 0, 2, 0),
    ("3d", 0, 3, 0),
    ("4d", 0, 4, 0),
    ("5d", 0, 5, 0),
    ("6d", 0, 6, 0),
    ("1w", 0, 7, 0),
    ("2w", 0, 14, 0),
    ("3w", 0, 21, 0),
    ("1m", 0, 0, 1),
    ("2m", 0, 0, 2),
    ("3m", 0, 0, 3),
    ("4m", 0, 0, 4),
    ("5m", 0, 0, 5),
    ("6m", 0, 0, 6),
    ("9m", 0, 0, 9),
    ("1y", 0, 0, 12),
    ("2y", 0, 0, 24),
    ("4y", 0, 0, 48),
    ("10y", 0, 0, 120),
];

/// MISP type, value, and the data types that have it with the form it has there.
type Value = (&'static str, &'static str, &'static [(&'static str, &'static str)]);
static VALUES: [Value; 32] = [
    ("ip-dst", "192.0.2.1", &[("ipv4", "192.0.2.1")]),
    ("ip-src", "192.0.2.1", &[("ipv4", "192.0.2.1")]),
    ("ip-src", "192.0.2.1/32", &[("ipv4", "192.0.2.1"), ("cidr4", "192.0.2.1/32")]),
    ("ip-dst", "10.1.2.3/8", &[("cidr4", "10.0.0.0/8")]),
    ("ip-dst", "10.0.0.0/8", &[("cidr4", "10.0.0.0/8")]),
    ("ip-dst", "text 192.0.2.66", &[]),
    ("ip-dst", "2001:0DB8::1", &[("ipv6", "2001:db8::1")]),
    ("ip-src", "2001:db8:0:0:0:0:0:1", &[("ipv6", "2001:db8::1")]),
    ("ip-dst", "fe80::1%eth0", &[]),
    ("ip-dst", "::ffff:192.0.2.7", &[("ipv4", "192.0.2.7"), ("ipv6", "::ffff:192.0.2.7")]),
    ("ip-dst|port", "192.0.2.9|443", &[("ipv4", "192.0.2.9")]),
    ("ip-src|port", "2001:db8::9|53", &[("ipv6", "2001:db8::9")]),
    ("domain|ip", "A.example|192.0.2.10", &[("hostname", "a.example"), ("ipv4", "192.0.2.10")]),
    ("domain|ip", "b.example|2001:db8::10", &[("hostname", "b.example"), ("ipv6", "2001:db8::10")]),
    ("domain", "Evil.Example", &[("domain", "evil.example")]),
    ("domain", "evil.example.", &[("domain", "evil.example")]),
    ("domain", "b\u{fc}cher.example", &[("domain", "xn--bcher-kva.example")]),
    ("domain", "*.example.com", &[]),
    ("hostname", "foo_bar.example.com", &[("hostname", "foo_bar.example.com")]),
    ("hostname|port", "www.example.net|8080", &[("hostname", "www.example.net")]),
    ("url", "https://example.com/a?b=c#d", &[("url", "https://example.com/a?b=c#d")]),
    ("url", "http://x.example/\u{fc}\"\\\u{1f600}", &[("url", "http://x.example/\u{fc}\"\\\u{1f600}")]),
    ("url", "http://ex ample.com/", &[]),
    ("md5", "D41D8CD98F00B204E9800998ECF8427E", &[("file-md5", "d41d8cd98f00b204e9800998ecf8427e")]),
    ("filename|md5", "a|b.exe|d41d8cd98f00b204e9800998ecf8427e", &[("file-md5", "d41d8cd98f00b204e9800998ecf8427e")]),
    ("md5", "d41d8cd98f00b204e9800998ecf8427e0", &[]),
    ("sha1", "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709", &[("file-sha1", "da39a3ee5e6b4b0d3255bfef95601890afd80709")]),
    (
        "filename|sha1",
        "x.exe|0000000000000000000000000000000000000001",
        &[("file-sha1", "0000000000000000000000000000000000000001")],
    ),
    (
        "sha256",
        "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
        &[("file-sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")],
    ),
    (
        "filename|sha256",
        "x|0000000000000000000000000000000000000000000000000000000000000002",
        &[("file-sha256", "0000000000000000000000000000000000000000000000000000000000000002")],
    ),
    ("comment", "192.0.2.55", &[]),
    ("sha512", "0000000000000000000000000000000000000001", &[]),
];

/// What tags there are: those of the feeds, one that LIKE takes for one, and some that only look alike.
static POOL: [&str; 12] = [
    "ex_mple:incident-classification=block",
    "ex_mple:incident-classification=incident",
    "ex_mple:incident-classification=alert",
    "ex_mple:incident-classification=hunt",
    "ex_mple:incident-classification=cust1",
    "exzmple:incident-classification=block",
    "xample:incident-classification=block",
    "exmple:incident-classification=block",
    "EX_MPLE:incident-classification=block",
    "ex_mple:incident-classification=blocks",
    "ex_mple:incident-classification=False-Positive",
    "tlp:white",
];
const FALSE_POSITIVE: &str = "ex_mple:incident-classification=false-positive";

#[derive(Clone, Debug)]
enum Change {
    Add(Event),
    Replace(Index, Event),
    Unpublish(Index),
    Delete(Index),
}

#[derive(Clone, Debug)]
struct Round {
    changes: Vec<Change>,
    full: bool,
    /// As after a restart.
    reopen: bool,
}

#[test]
fn what_is_published_equals_a_second_computation() {
    // Err: another test of this process was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = Config { cases: 60, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let cases = (vec(event(), 0..6), vec(round(), NOWS.len() - 1));
    TestRunner::new(config)
        .run(&cases, |(events, rounds)| {
            replay(events, &rounds);
            Ok(())
        })
        .unwrap();
}

/// One feed, published; then changed and published again, as often as there are rounds.
fn replay(first: Vec<Event>, rounds: &[Round]) {
    let dir = Dir::new("");
    dir.config(ZONE);
    dir.site(
        SITE,
        &dir::site(
            TAG,
            &format!(
                "{IGNORED}publish:\n  feeds: [incident, block, alert, hunt, cust1]\n  types: [{}]\n  formats: [txt, json]\n",
                TYPES.map(|(name, ..)| name).join(", ")
            ),
        ),
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut feed = Feed::default();
    first.into_iter().for_each(|event| feed.add(event));
    let mut publisher = open(&dir);
    let mut before = BTreeMap::new();
    for (at, now) in NOWS.iter().enumerate() {
        let round = at.checked_sub(1).map(|at| &rounds[at]);
        round.iter().flat_map(|round| &round.changes).for_each(|change| feed.change(change));
        feed::write(&dir.feed(), &feed.events);
        if round.is_some_and(|round| round.reopen) {
            publisher = open(&dir);
        }
        let full = round.is_some_and(|round| round.full);
        // What falls to zero is published at once: holds have tests of their own.
        let moment = Timestamp::from_second(*now).unwrap();
        let report =
            runtime.block_on(publisher.refresh(How { full, release: true }, moment, Arc::new(|_, _| {}))).unwrap();
        let expected = expected(&feed.events, *now);
        assert_eq!(report.version.is_some(), expected != before, "a version if and only if something is new");
        assert_published(&dir, &expected);
        before = expected;
    }
}

fn open(dir: &Dir) -> Publisher {
    let config = cratos::config::load(dir.path()).unwrap();
    Publisher::open(&config, config.good_sites().next().unwrap()).unwrap()
}

/// Every list is what it should be, in both formats; there are no others.
fn assert_published(dir: &Dir, expected: &BTreeMap<String, BTreeSet<&str>>) {
    let (manifest, current) = (dir.manifest(), dir.view().join("current"));
    assert_eq!(manifest.artifacts.len(), 2 * expected.len());
    for (list, values) in expected {
        for (extension, body) in [("txt", text(values)), ("json", json(values))] {
            let artifact = &manifest.artifacts[&format!("{list}.{extension}")];
            let file = fs::read_to_string(current.join(&artifact.path)).unwrap();
            assert_eq!(file, body, "{list}.{extension}");
            assert_eq!(
                (artifact.entries, artifact.bytes),
                (values.len() as u64, body.len() as u64),
                "{list}.{extension}"
            );
        }
    }
}

fn text(values: &BTreeSet<&str>) -> String {
    values.iter().copied().collect::<Vec<_>>().join("\r\n")
}

/// As Python's `json.dumps`.
fn json(values: &BTreeSet<&str>) -> String {
    let quoted = values.iter().map(|value| serde_json::to_string(value).unwrap());
    let joined = format!("[{}]", quoted.collect::<Vec<_>>().join(", "));
    let unit =
        |unit: u16| char::from_u32(unit.into()).filter(char::is_ascii).map_or(format!("\\u{unit:04x}"), String::from);
    joined.encode_utf16().map(unit).collect()
}

/// The events as they stand.
#[derive(Default)]
struct Feed {
    events: Vec<Event>,
    /// Numbers events and revisions: neither is ever used twice.
    last: u64,
}

impl Feed {
    fn add(&mut self, event: Event) {
        self.last += 1;
        self.events.push(Event { number: self.last, timestamp: NOWS[0] - 1_000_000 + self.last as i64, ..event });
    }

    fn change(&mut self, change: &Change) {
        let count = self.events.len();
        self.last += 1;
        let timestamp = NOWS[0] - 1_000_000 + self.last as i64;
        match change {
            Change::Add(event) => self.add(event.clone()),
            _ if count == 0 => {}
            Change::Replace(at, event) => {
                let old = &mut self.events[at.index(count)];
                *old = Event { number: old.number, timestamp, ..event.clone() };
            }
            Change::Unpublish(at) => {
                let old = &mut self.events[at.index(count)];
                (old.published, old.timestamp) = (false, timestamp);
            }
            Change::Delete(at) => drop(self.events.remove(at.index(count))),
        }
    }
}

/// `feed/NAME/TYPE/AGE` → its values.
fn expected(events: &[Event], now: i64) -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut lists = BTreeMap::new();
    for (feed, published_only) in FEEDS {
        for (data_type, kinds, any_to_ids) in TYPES {
            for age in AGES {
                let since = since(age, now);
                let mut list = BTreeSet::new();
                for event in events.iter().filter(|event| event.published || !published_only) {
                    for attribute in &event.attributes {
                        let tags: Vec<&String> = event.tags.iter().chain(&attribute.tags).collect();
                        if attribute.timestamp >= since
                            && !attribute.deleted
                            && (attribute.to_ids || any_to_ids)
                            && kinds.contains(&&*attribute.kind)
                            && tags.iter().any(|tag| is_like(tag, feed))
                            && !tags.iter().any(|tag| is_like(tag, "false-positive"))
                        {
                            list.extend(normal(attribute, data_type));
                        }
                    }
                }
                lists.insert(format!("feed/{feed}/{data_type}/{}", age.0), list);
            }
        }
    }
    lists
}

fn normal(attribute: &Attribute, data_type: &str) -> Option<&'static str> {
    let (.., forms) =
        VALUES.iter().find(|(kind, value, _)| attribute.kind == *kind && attribute.value == *value).unwrap();
    forms.iter().find(|(name, _)| *name == data_type).map(|(_, form)| *form)
}

/// SQL LIKE of the feed's tag, which has no `%`: the same length, `_` takes any character.
fn is_like(tag: &str, feed: &str) -> bool {
    let pattern = format!("{TAG}:incident-classification={feed}");
    pattern.chars().count() == tag.chars().count() && pattern.chars().zip(tag.chars()).all(|(p, t)| p == '_' || p == t)
}

/// Calendar arithmetic on the clock on the wall.
fn since((_, hours, days, months): (&str, i64, i64, i64), now: i64) -> i64 {
    let zone = TimeZone::get(ZONE).unwrap();
    let wall = zone.to_datetime(Timestamp::from_second(now).unwrap());
    let start = wall.checked_sub(Span::new().months(months).days(days).hours(hours)).unwrap();
    zone.to_ambiguous_timestamp(start).compatible().unwrap().as_second()
}

fn event() -> impl Strategy<Value = Event> {
    let flags = (prop::bool::weighted(0.75), prop::bool::weighted(0.05));
    (flags, subsequence(&POOL[..], 0..4), vec(attribute(), 0..8)).prop_map(
        |((published, false_positive), tags, attributes)| {
            let tags: Vec<&str> = tags.into_iter().chain(false_positive.then_some(FALSE_POSITIVE)).collect();
            Event { published, ..Event::new(0, &tags, attributes) }
        },
    )
}

fn attribute() -> impl Strategy<Value = Attribute> {
    let flags = (prop::bool::weighted(0.75), prop::bool::weighted(0.1), prop::bool::weighted(0.05));
    // On a boundary, or a second beside it.
    let timestamp =
        (select(&AGES[..]), select(&NOWS[..]), -1..=1i64).prop_map(|(age, now, beside)| since(age, now) + beside);
    (select(&VALUES[..]), timestamp, flags, subsequence(&POOL[..], 0..2)).prop_map(
        |((kind, value, _), timestamp, (to_ids, deleted, false_positive), tags)| {
            let tags = tags.into_iter().chain(false_positive.then_some(FALSE_POSITIVE)).map(str::to_owned).collect();
            Attribute { to_ids, deleted, tags, ..Attribute::new(kind, value, timestamp) }
        },
    )
}

fn round() -> impl Strategy<Value = Round> {
    let change = prop_oneof![
        2 => event().prop_map(Change::Add),
        3 => (any::<Index>(), event()).prop_map(|(at, event)| Change::Replace(at, event)),
        1 => any::<Index>().prop_map(Change::Unpublish),
        1 => any::<Index>().prop_map(Change::Delete),
    ];
    (vec(change, 0..4), any::<bool>(), any::<bool>()).prop_map(|(changes, full, reopen)| Round {
        changes,
        full,
        reopen,
    })
}
