//! Which events to read: the event index against what is known, and against itself some time later. Pure.
//!
//! In: event indexes and [`Known`]. Out: events to read, events that are gone, batches to read again.
//!
//! Invariants: an event is read again if its timestamp, its published state or the set of its false-positive rows differs
//! from what is known; a batch is read again as a whole if anything of it changed while it was read, because a row that
//! vanished may have moved a neighbour's row out of the page.

use std::collections::{BTreeMap, BTreeSet};

use ring::digest;
use uuid::Uuid;

use super::wire::IndexEntry;
use super::{Known, KnownEvent};

/// The event index: everything the key may see.
pub type Index = BTreeMap<Uuid, IndexEntry>;
/// Event → its rows with the false-positive tag.
pub type FalsePositives = BTreeMap<Uuid, BTreeSet<Uuid>>;

/// Names a set of rows; 0 is the empty set.
pub fn name_of(rows: Option<&BTreeSet<Uuid>>) -> u64 {
    let Some(rows) = rows.filter(|rows| !rows.is_empty()) else { return 0 };
    let mut hash = digest::Context::new(&digest::SHA256);
    rows.iter().for_each(|row| hash.update(row.as_bytes()));
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finish().as_ref()[..8]);
    u64::from_le_bytes(first).max(1)
}

/// The events to read, in the order of their numbers.
pub fn to_read(index: &Index, known: &Known, false_positives: &FalsePositives) -> Vec<Uuid> {
    let mut wanted: Vec<&IndexEntry> = index
        .values()
        .filter(|entry| {
            let now = KnownEvent {
                timestamp: entry.timestamp,
                published: entry.published,
                false_positives: name_of(false_positives.get(&entry.uuid)),
            };
            known.get(&entry.uuid) != Some(&now)
        })
        .collect();
    wanted.sort_unstable_by_key(|entry| entry.id);
    wanted.into_iter().map(|entry| entry.uuid).collect()
}

/// What to read again after all batches were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Batches, by their place, of which an event changed or vanished.
    pub batches: Vec<usize>,
    /// Events that came.
    pub new: Vec<Uuid>,
}

impl Moved {
    /// The events to read again. Their batches are forgotten; what vanished is left out.
    pub fn take_out(self, batches: &mut Vec<Vec<Uuid>>, index: &Index) -> Vec<Uuid> {
        let mut events = self.new;
        for at in self.batches.into_iter().rev() {
            events.extend(batches.swap_remove(at));
        }
        events.retain(|uuid| index.contains_key(uuid));
        events.sort_unstable_by_key(|uuid| index.get(uuid).map(|entry| entry.id));
        events
    }
}

/// Events that a change may have touched which no clock shows, because clocks count whole seconds: those of a batch of which
/// an event's clock stood at the server's own second when the index was read, before the batch was. They are read again next
/// time, the whole batch, as in [`moved`]. Clocks of other servers (imports) say nothing.
pub fn unsettled(batches: &[Vec<Uuid>], before: &Index, date: Option<i64>) -> Vec<Uuid> {
    let Some(date) = date else { return Vec::new() };
    let fresh = |uuid: &Uuid| before.get(uuid).is_some_and(|entry| (date - 1..=date + 1).contains(&entry.timestamp));
    batches.iter().filter(|batch| batch.iter().any(fresh)).flatten().copied().collect()
}

/// Compares the index from before the batches were read with that from after.
pub fn moved(
    batches: &[Vec<Uuid>],
    before: &Index,
    after: &Index,
    false_positives: &FalsePositives,
    known: &Known,
) -> Moved {
    let changed = |uuid: &Uuid| {
        let state = |index: &Index| index.get(uuid).map(|entry| (entry.timestamp, entry.published));
        state(before) != state(after)
    };
    let moved = |(at, batch): (usize, &Vec<Uuid>)| batch.iter().any(changed).then_some(at);
    let read: BTreeSet<&Uuid> = batches.iter().flatten().collect();
    // Events outside of all batches that changed meanwhile; those that stay as they are known need no reading.
    let others = to_read(after, known, false_positives);
    Moved {
        batches: batches.iter().enumerate().filter_map(moved).collect(),
        new: others.into_iter().filter(|uuid| !read.contains(uuid)).collect(),
    }
}

/// Cuts events into batches whose rows fill about one page.
#[derive(Clone, Copy, Debug)]
pub struct Batching {
    events: u64,
    rows: u64,
    size: usize,
}

/// Rows a batch should have: a page and some room.
const TARGET: u64 = 4000;
/// Events per batch: as a number in SQL's IN, and as bytes of a request.
const MAX_EVENTS: usize = 1000;

impl Default for Batching {
    /// Nothing is known of the events yet.
    fn default() -> Self {
        Self { events: 0, rows: 0, size: 64 }
    }
}

impl Batching {
    /// Events of the next batch.
    pub fn size(&self) -> usize {
        self.size
    }

    /// A batch of so many events had so many rows. The size at most quadruples from batch to batch: the next events may
    /// be larger.
    pub fn learn(&mut self, events: usize, rows: u64) {
        self.events += events as u64;
        self.rows += rows;
        let fitting = self.events.saturating_mul(TARGET) / self.rows.max(1);
        self.size =
            usize::try_from(fitting).unwrap_or(MAX_EVENTS).clamp(1, MAX_EVENTS.min(self.size.saturating_mul(4)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u64, timestamp: i64, published: bool) -> (Uuid, IndexEntry) {
        let uuid = Uuid::from_u128(id.into());
        (uuid, IndexEntry { uuid, id, timestamp, published, creator: Uuid::nil() })
    }

    fn known(id: u64, timestamp: i64, published: bool, false_positives: u64) -> (Uuid, KnownEvent) {
        (Uuid::from_u128(id.into()), KnownEvent { timestamp, published, false_positives })
    }

    #[test]
    fn an_event_is_read_again_for_each_of_the_three_reasons() {
        let index = Index::from([
            entry(1, 5, true),
            entry(2, 5, true),
            entry(3, 5, false),
            entry(4, 5, true),
            entry(5, 5, true),
        ]);
        let row = BTreeSet::from([Uuid::from_u128(9)]);
        let false_positives = FalsePositives::from([(Uuid::from_u128(4), row.clone())]);
        let known = Known::from([
            known(1, 5, true, 0),
            known(2, 4, true, 0),
            known(3, 5, true, 0),
            known(4, 5, true, 0),
            known(6, 5, true, 0),
        ]);
        let ids: Vec<u128> = to_read(&index, &known, &false_positives).iter().map(Uuid::as_u128).collect();
        assert_eq!(ids, [2, 3, 4, 5]);
        assert_ne!(name_of(Some(&row)), 0);
        assert_eq!((name_of(None), name_of(Some(&BTreeSet::new()))), (0, 0));
    }

    #[test]
    fn a_batch_is_read_again_if_one_of_its_events_changed_or_vanished() {
        let before = Index::from([entry(1, 5, true), entry(2, 5, true), entry(3, 5, true), entry(4, 5, true)]);
        let after = Index::from([entry(1, 5, true), entry(2, 6, true), entry(4, 5, true), entry(7, 1, true)]);
        let id = Uuid::from_u128;
        let batches = [vec![id(1)], vec![id(2)], vec![id(3), id(4)]];
        let found = moved(&batches, &before, &after, &FalsePositives::new(), &Known::new());
        assert_eq!(found, Moved { batches: vec![1, 2], new: vec![id(7)] });
        let mut batches = batches.to_vec();
        assert_eq!(found.take_out(&mut batches, &after), [id(2), id(4), id(7)]);
        assert_eq!(batches, [vec![id(1)]]);
    }

    #[test]
    fn a_batch_with_an_event_that_changed_this_second_is_not_settled() {
        let index = Index::from([entry(1, 98, true), entry(2, 99, true), entry(3, 100, true), entry(4, 200, true)]);
        let batches = [vec![1], vec![2, 4], vec![3]].map(|batch| batch.into_iter().map(Uuid::from_u128).collect());
        let ids = |date| unsettled(&batches, &index, date).iter().map(Uuid::as_u128).collect::<Vec<_>>();
        assert_eq!(ids(Some(100)), [2, 4, 3]);
        assert_eq!(ids(None), [0; 0]);
    }

    #[test]
    fn batches_follow_the_size_of_events() {
        let mut batching = Batching::default();
        batching.learn(64, 640);
        assert_eq!(batching.size(), 256);
        batching.learn(256, 100_000);
        assert_eq!(batching.size(), 12);
        batching.learn(12, 5_000_000);
        assert_eq!(batching.size(), 1);
    }
}
