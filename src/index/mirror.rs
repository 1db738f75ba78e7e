//! The mirror: everything that is known of one view. Its file form is [`encoding`](super::encoding)'s, how it is filled
//! [`intake`](super::intake)'s.
//!
//! In: events of a pull. Out: the same events for [`select`](super::select), and what the next pull may rely on.
//!
//! Invariants: a mirror answers only questions of the rules and the source it was made with, and within its coverage;
//! events are shared between a mirror and its successor, never changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uuid::Uuid;

/// Which rows a mirror holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coverage {
    /// Those with a feed's tag, on themselves or on their event: enough for tag feeds.
    #[default]
    Tagged,
    /// All of the wanted types: enough for `any`, `42` and organisations too.
    Everything,
}

/// One attribute, compact. `kind` and `tags` are indexes into the mirror's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub(super) uuid: Uuid,
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) kind: u32,
    pub(super) tags: u32,
    /// Unix seconds.
    pub(super) timestamp: i64,
    /// Unix seconds of the pull that first brought this value.
    pub(super) since: i64,
    pub(super) to_ids: bool,
    pub(super) on_warninglist: bool,
    /// Its event is not published now; it was, with this value in it.
    pub(super) was_published: bool,
}

/// One event, compact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub(super) timestamp: i64,
    pub(super) published: bool,
    /// Unix seconds of the pull that found it not published any more; `None`: it is, or never was.
    pub(super) left_at: Option<i64>,
    pub(super) creator: Uuid,
    pub(super) tags: u32,
    pub(super) false_positives: u64,
    pub(super) malformed: u64,
    pub(super) values: Box<str>,
    pub(super) rows: Box<[Row]>,
}

impl Event {
    /// Whether a row counts as published at `now`: its event is, or was less than `grace` seconds ago with the row in it.
    pub(super) fn publishes(&self, row: &Row, grace: i64, now: i64) -> bool {
        self.published || (row.was_published && self.grace_end(grace).is_some_and(|end| now < end))
    }

    /// When rows that were published stop counting as such, in Unix seconds.
    pub(super) fn grace_end(&self, grace: i64) -> Option<i64> {
        self.left_at.map(|left| left.saturating_add(grace))
    }

    pub(super) fn value(&self, row: &Row) -> &str {
        &self.values[row.start as usize..row.end as usize]
    }
}

/// Everything known of one view. Cloning is cheap: events are shared.
#[derive(Clone, Debug, Default)]
pub struct Mirror {
    pub(super) fingerprint: [u8; 32],
    pub(super) coverage: Coverage,
    pub(super) types: Table<Box<str>>,
    pub(super) tags: Table<Box<str>>,
    pub(super) tag_sets: Table<Box<[u32]>>,
    pub(super) events: BTreeMap<Uuid, Arc<Event>>,
}

/// Things numbered in the order they came.
#[derive(Clone, Debug)]
pub(super) struct Table<T> {
    pub(super) items: Vec<T>,
    numbers: HashMap<T, u32>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { items: Vec::new(), numbers: HashMap::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Table<T> {
    /// The number of a thing, which is new if need be.
    pub(super) fn number<Q>(&mut self, item: &Q) -> u32
    where
        T: std::borrow::Borrow<Q> + for<'a> From<&'a Q>,
        Q: Eq + std::hash::Hash + ?Sized,
    {
        if let Some(number) = self.numbers.get(item) {
            return *number;
        }
        let (next, item) = (self.items.len() as u32, T::from(item));
        self.items.push(item.clone());
        self.numbers.insert(item, next);
        next
    }
}

/// What an event was when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Was {
    /// Unix seconds.
    pub timestamp: i64,
    /// As it stood.
    pub published: bool,
    /// Names the set of its false-positive rows at the source.
    pub false_positives: u64,
}

impl Mirror {
    /// An empty mirror for the rules and the source with this fingerprint.
    pub fn new(fingerprint: [u8; 32], coverage: Coverage) -> Self {
        Self { fingerprint, coverage, ..Self::default() }
    }

    /// The fingerprint of what it was made with; it answers no question of others.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Which rows it holds.
    pub fn coverage(&self) -> Coverage {
        self.coverage
    }

    /// What each event was, for the next pull.
    pub fn known(&self) -> impl Iterator<Item = (Uuid, Was)> {
        self.events.iter().map(|(uuid, event)| {
            let Event { timestamp, published, false_positives, .. } = **event;
            (*uuid, Was { timestamp, published, false_positives })
        })
    }

    /// Number of attributes.
    pub fn rows(&self) -> u64 {
        self.events.values().map(|event| event.rows.len() as u64).sum()
    }

    /// Number of events.
    pub fn event_count(&self) -> u64 {
        self.events.len() as u64
    }

    /// Whether an attribute is known.
    pub fn has(&self, event: &Uuid, attribute: &Uuid) -> bool {
        let event = self.events.get(event);
        event.is_some_and(|event| event.rows.binary_search_by_key(attribute, |row| row.uuid).is_ok())
    }

    /// Attributes that could not be read.
    pub fn malformed(&self) -> u64 {
        self.events.values().map(|event| event.malformed).sum()
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.events.values()
    }

    /// Events that are new, or other than in a mirror that shares with this one what is equal.
    pub(super) fn events_beyond<'a>(
        &'a self,
        other: &'a Mirror,
    ) -> impl Iterator<Item = (&'a Uuid, &'a Arc<Event>)> + Clone {
        self.events
            .iter()
            .filter(|(uuid, event)| other.events.get(*uuid).is_none_or(|there| !Arc::ptr_eq(there, event)))
    }

    pub(super) fn type_names(&self) -> &[Box<str>] {
        &self.types.items
    }

    pub(super) fn tag_names(&self) -> &[Box<str>] {
        &self.tags.items
    }

    pub(super) fn tag_sets(&self) -> &[Box<[u32]>] {
        &self.tag_sets.items
    }

    /// Numbers a set of tags, whatever the order and however often each is named.
    pub(super) fn tag_set<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> u32 {
        let mut set: Vec<u32> = names.map(|name| self.tags.number(name)).collect();
        set.sort_unstable();
        set.dedup();
        self.tag_sets.number(set.as_slice())
    }
}
