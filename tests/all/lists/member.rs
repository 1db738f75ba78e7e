//! Which values are in a list: the rules of the recording and the decisions that changed them, computed a second time.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::target::{DATA_TYPES, Slice, Wanted};
use crate::{corpus, misp, model};

/// What the model knows of an attribute.
#[derive(Clone, Debug)]
pub struct Member {
    pub kind: String,
    pub value: String,
    pub timestamp: i64,
    pub to_ids: bool,
    pub listed: bool,
    pub published: bool,
    pub creator: String,
    pub tags: Vec<String>,
}

impl Member {
    /// `None`: deleted or malformed, so it is nowhere (D20, D32).
    pub fn of_corpus(row: &corpus::Row) -> Option<Self> {
        let whole = row.uuid.is_some() && row.has_event && row.event.uuid.is_some();
        Some(Self {
            kind: row.kind.clone().filter(|_| whole && !row.deleted)?,
            value: row.value.clone()?,
            timestamp: row.timestamp,
            to_ids: row.to_ids,
            listed: row.is_listed(),
            published: row.event.published,
            creator: row.event.creator.clone(),
            tags: row.tags.iter().chain(&row.event.tags).cloned().collect(),
        })
    }

    /// A row that a key of the double sees.
    pub fn of_world(row: misp::Row) -> Self {
        Self {
            kind: row.kind,
            value: row.value,
            timestamp: row.timestamp,
            to_ids: row.to_ids,
            listed: row.on_warninglist,
            published: row.published,
            creator: row.creator,
            tags: row.tags.into_iter().chain(row.event_tags).collect(),
        }
    }
}

/// Decisions about membership, to be switched off for counting what they change.
#[derive(Clone, Copy, Debug)]
pub struct Decisions {
    /// D13: incident, alert and hunt have published and unpublished events; literally, unpublished ones only.
    pub both: bool,
    /// D16: names of data types count in `ignore_to_ids`.
    pub type_names: bool,
}

impl Decisions {
    /// As decided.
    pub const ALL: Self = Self { both: true, type_names: true };
}

/// `ignore_to_ids` of every recorded site.
const IGNORED: [&str; 5] = ["vulnerability", "snort", "yara", "sigma", "ja3"];
const TAG: &str = "example:incident-classification=";

/// The list, sorted by its bytes.
pub fn list(members: &[Member], wanted: &Wanted, decided: Decisions, now: i64) -> BTreeSet<String> {
    let (_, kinds) = DATA_TYPES.iter().find(|(name, _)| *name == wanted.data_type).expect("a data type");
    let since = since(&wanted.age, now);
    let name_counts = decided.type_names && IGNORED.contains(&wanted.data_type.as_str());
    let any_to_ids = name_counts || kinds.iter().any(|kind| IGNORED.contains(kind));
    let takes = |member: &&Member| {
        kinds.contains(&member.kind.as_str())
            && member.timestamp >= since
            && (member.to_ids || any_to_ids)
            && !has(member, "false-positive")
            && is_in(member, &wanted.slice, decided)
    };
    let values = members.iter().filter(takes);
    values.flat_map(|member| normal(&wanted.data_type, &member.kind, &member.value)).collect()
}

fn is_in(member: &Member, slice: &Slice, decided: Decisions) -> bool {
    match slice {
        Slice::Organisation(uuid) => member.published && !member.listed && member.creator == *uuid,
        Slice::Feed(feed) => match feed.as_str() {
            "any" => member.published && !member.listed,
            "42" => member.published,
            "incident" | "alert" | "hunt" => (decided.both || !member.published) && !member.listed && has(member, feed),
            _ => member.published && !member.listed && has(member, feed),
        },
    }
}

fn has(member: &Member, feed: &str) -> bool {
    member.tags.iter().any(|tag| tag.strip_prefix(TAG) == Some(feed))
}

/// The values one value gives. A composite's type says which half is meant.
fn normal(data_type: &str, kind: &str, value: &str) -> Vec<String> {
    let halves = value.split_once('|').filter(|(_, right)| !right.contains('|'));
    let meant = match (kind, data_type) {
        ("domain|ip", "ipv4" | "ipv6" | "ipv4ext") => halves.map(|(_, right)| right),
        ("ip-src|port" | "ip-dst|port", _) => halves.map(|(left, _)| left),
        _ => None,
    };
    model::lines(data_type, meant.unwrap_or(value))
}

/// Name, hours, days, months.
pub const AGES: [(&str, i64, i64, i64); 24] = [
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

/// In UTC, as recorded.
fn since(age: &str, now: i64) -> i64 {
    let (_, hours, days, months) = AGES.iter().find(|(name, ..)| *name == age).expect("an age");
    let wall = TimeZone::UTC.to_datetime(Timestamp::from_second(now).unwrap());
    let start = wall.checked_sub(Span::new().months(*months).days(*days).hours(*hours)).unwrap();
    TimeZone::UTC.to_timestamp(start).unwrap().as_second()
}
