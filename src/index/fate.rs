//! What becomes of a row in one list: it puts a value there, or one rule keeps it out. Every row has exactly one fate per list.
//!
//! In: what [`select`](super::select) and [`collect`](super::collect) decide. Out: [`Ledger`]s, one per list. Pure.
//!
//! Invariant: `rows` of a ledger = `listed` + the sum of `lost`.

use std::collections::BTreeMap;
use std::fmt;

use super::normalise::Refusal;

/// The rule that keeps a row out of a list. In the order they are asked: the first one that applies is the fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// Neither the row nor its event has the feed's tag, or another organisation created it.
    NotInFeed,
    /// Its event is not published, nor was it within `unpublish_grace`.
    Unpublished,
    /// `to_ids` is off and matters.
    ToIds,
    /// It or its event has the false-positive tag.
    FalsePositive,
    /// It is on a warninglist of its MISP.
    Warninglist,
    /// It is among what is never published, whatever the source says.
    NeverPublish,
    /// Its value has no form in this list.
    Refused(Refusal),
    /// It is older than the largest age of the list.
    Age,
}

impl fmt::Display for Loss {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::NotInFeed => out.write_str("not in this feed"),
            Loss::Unpublished => out.write_str("event not published"),
            Loss::ToIds => out.write_str("to_ids off"),
            Loss::FalsePositive => out.write_str("false positive"),
            Loss::Warninglist => out.write_str("on a warninglist"),
            Loss::NeverPublish => out.write_str("never_publish"),
            Loss::Refused(refusal) => refusal.fmt(out),
            Loss::Age => out.write_str("too old"),
        }
    }
}

/// What became of the rows of a data type's MISP types, for one list at its largest age.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// All of them.
    pub rows: u64,
    /// Those that put a value into the list; several may put the same.
    pub listed: u64,
    /// Of these, rows that count as published only by `unpublish_grace`.
    pub in_grace: u64,
    /// The others, by what keeps them out.
    pub lost: BTreeMap<Loss, u64>,
}

impl Ledger {
    /// Counts what became of other rows too.
    pub(super) fn add(&mut self, other: &Ledger) {
        self.rows += other.rows;
        self.listed += other.listed;
        self.in_grace += other.in_grace;
        for (loss, count) in &other.lost {
            *self.lost.entry(*loss).or_default() += count;
        }
    }

    /// Does not count these rows any more. They were counted.
    pub(super) fn remove(&mut self, other: &Ledger) {
        self.rows = self.rows.saturating_sub(other.rows);
        self.listed = self.listed.saturating_sub(other.listed);
        self.in_grace = self.in_grace.saturating_sub(other.in_grace);
        take_counts(&mut self.lost, &other.lost);
    }
}

/// Takes counts away; what is not there any more has none.
pub(super) fn take_counts<K: Ord>(from: &mut BTreeMap<K, u64>, counts: &BTreeMap<K, u64>) {
    for (key, count) in counts {
        if let Some(left) = from.get_mut(key) {
            *left = left.saturating_sub(*count);
        }
    }
    from.retain(|_, count| *count > 0);
}

/// A ledger that is being filled.
#[derive(Debug)]
pub(super) struct Tally {
    /// Where the window of the list's largest age begins, in Unix seconds.
    since: i64,
    /// Of those that are listed.
    oldest: i64,
    listed: u64,
    in_grace: u64,
    /// Few reasons, many rows: looking through them costs less than a map.
    lost: Vec<(Loss, u64)>,
}

impl Tally {
    /// For a list whose largest age begins at `since` (Unix seconds).
    pub(super) fn new(since: i64) -> Self {
        Self { since, oldest: i64::MAX, listed: 0, in_grace: 0, lost: Vec::new() }
    }

    /// A rule keeps a row out.
    pub(super) fn lose(&mut self, loss: Loss) {
        match self.lost.iter_mut().find(|(known, _)| *known == loss) {
            Some((_, count)) => *count += 1,
            None => self.lost.push((loss, 1)),
        }
    }

    /// A row of that time puts a value into the list, unless it is too old.
    pub(super) fn list(&mut self, timestamp: i64, in_grace: bool) {
        if timestamp < self.since {
            return self.lose(Loss::Age);
        }
        self.oldest = self.oldest.min(timestamp);
        self.listed += 1;
        self.in_grace += u64::from(in_grace);
    }

    /// For which beginnings of the window nothing changes: from the first to the second, in Unix seconds.
    pub(super) fn window(&self) -> (i64, i64) {
        (self.since, self.oldest)
    }

    /// What became of all rows.
    pub(super) fn finish(self) -> Ledger {
        let rows = self.listed + self.lost.iter().map(|(_, count)| count).sum::<u64>();
        Ledger { rows, listed: self.listed, in_grace: self.in_grace, lost: self.lost.into_iter().collect() }
    }
}
