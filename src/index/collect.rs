//! The values of one data type → the lists of several slices at once. In: values in the order of events, who takes them,
//! and when they are of. Out: lists that share their values; what became of every row; what no list can hold, counted.
//!
//! A list of expanded networks has a bound (`Bounds::lines`). Single addresses count first, then networks, narrow ones
//! before wide ones, by address among equals; the first that does not fit closes the list. So what is in a list depends
//! on its values alone, never on the order of events.
//!
//! Invariants: a value that nobody takes is not kept; a value counts as refused once, however many lists refuse it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::fate::{Ledger, Loss, Tally};
use super::normalise::{Bounds, Normalise, Refusal, Span};
use super::{Entry, List, Values};

/// An attribute, as far as lists care.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// Number of its event.
    pub(super) event: u32,
    /// Unix seconds.
    pub(super) timestamp: i64,
    /// Published only by `unpublish_grace`.
    pub(super) in_grace: bool,
}

/// What one list knows of a value.
struct Found {
    newest: i64,
    events: u32,
    last_event: u32,
}

/// Addresses that wait until it is known how many there are.
struct Waiting {
    span: Span,
    seen: Seen,
    /// Place in `Collection::takers`: few sets of lists, many values.
    takers: usize,
}

/// Collects the values of one data type.
pub(super) struct Collection {
    normalise: Normalise,
    bounds: Bounds,
    numbers: HashMap<Box<str>, u32>,
    /// Per list: number of a value → what is known of it.
    found: Vec<HashMap<u32, Found>>,
    waiting: Vec<Waiting>,
    takers: Vec<Box<[usize]>>,
    tallies: Vec<Tally>,
    refusals: BTreeMap<Refusal, u64>,
}

/// All that comes of one data type, lists and ledgers in the order they were asked for.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) lists: Vec<List>,
    pub(super) ledgers: Vec<Ledger>,
    /// [`Tally::window`] of each list.
    pub(super) windows: Vec<(i64, i64)>,
    /// How many lines the networks of each list ask for, those that several ask for counted each time. Up to `Bounds::lines`
    /// no list is full.
    pub(super) lines: Vec<u64>,
    pub(super) refusals: BTreeMap<Refusal, u64>,
}

impl Collection {
    /// For so many lists; `since` says where the window of each one's largest age begins (Unix seconds).
    pub(super) fn new(normalise: Normalise, bounds: Bounds, since: Vec<i64>) -> Self {
        let lists = since.len();
        Self {
            normalise,
            bounds,
            numbers: HashMap::new(),
            found: (0..lists).map(|_| HashMap::new()).collect(),
            waiting: Vec::new(),
            takers: Vec::new(),
            tallies: since.into_iter().map(Tally::new).collect(),
            refusals: BTreeMap::new(),
        }
    }

    /// A rule keeps a row out of a list.
    pub(super) fn lose(&mut self, list: usize, loss: Loss) {
        self.tallies[list].lose(loss);
    }

    /// A value, and the lists that take it.
    pub(super) fn add(&mut self, misp_type: &str, value: &str, seen: Seen, takers: &[usize]) {
        let refused = match self.normalise {
            Normalise::One(normalise) => normalise(misp_type, value).map(|line| self.line(&line, seen, takers)),
            Normalise::Network(normalise) => {
                normalise(&self.bounds, misp_type, value).map(|line| self.line(&line, seen, takers))
            }
            Normalise::Span(normalise) => normalise(&self.bounds, misp_type, value).map(|span| {
                let takers = self.takers_place(takers);
                self.waiting.push(Waiting { span, seen, takers });
            }),
        };
        if let Err(refusal) = refused {
            self.refuse(refusal, takers);
        }
    }

    /// The lists, and what became of the rows.
    pub(super) fn finish(mut self) -> Collected {
        let lines = self.lines();
        let limits: Vec<Option<Span>> =
            lines.iter().enumerate().map(|(list, lines)| self.limit(list, *lines)).collect();
        let (waiting, sets) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.takers));
        for Waiting { span, seen, takers } in waiting {
            let all = &sets[takers];
            let open = |list: &usize| limits[*list].is_none_or(|limit| span < limit);
            let (takers, full): (Vec<usize>, Vec<usize>) = all.iter().partition(|list| open(list));
            if !full.is_empty() {
                self.refuse(Refusal::ListFull, &full);
            }
            if !takers.is_empty() {
                span.each(&mut |line| self.keep(line, seen, &takers));
                self.list(seen, &takers);
            }
        }
        Collected {
            lists: into_lists(self.found, self.numbers),
            windows: self.tallies.iter().map(Tally::window).collect(),
            lines,
            ledgers: self.tallies.into_iter().map(Tally::finish).collect(),
            refusals: self.refusals,
        }
    }

    /// A value that is one line.
    fn line(&mut self, line: &str, seen: Seen, takers: &[usize]) {
        self.keep(line, seen, takers);
        self.list(seen, takers);
    }

    fn list(&mut self, seen: Seen, takers: &[usize]) {
        takers.iter().for_each(|list| self.tallies[*list].list(seen.timestamp, seen.in_grace));
    }

    fn keep(&mut self, line: &str, seen: Seen, takers: &[usize]) {
        let number = match self.numbers.get(line) {
            Some(number) => *number,
            None => {
                let next = self.numbers.len() as u32;
                self.numbers.insert(line.into(), next);
                next
            }
        };
        for taker in takers {
            let fresh = Found { newest: seen.timestamp, events: 1, last_event: seen.event };
            let found = self.found[*taker].entry(number).or_insert(fresh);
            found.newest = found.newest.max(seen.timestamp);
            if found.last_event != seen.event {
                (found.events, found.last_event) = (found.events + 1, seen.event);
            }
        }
    }

    /// Counts once for the data type, and for each list.
    fn refuse(&mut self, refusal: Refusal, lists: &[usize]) {
        *self.refusals.entry(refusal).or_default() += 1;
        lists.iter().for_each(|list| self.lose(*list, Loss::Refused(refusal)));
    }

    /// There are as many as there are mixtures of lists, which is few.
    fn takers_place(&mut self, takers: &[usize]) -> usize {
        match self.takers.iter().rposition(|known| **known == *takers) {
            Some(place) => place,
            None => {
                self.takers.push(takers.into());
                self.takers.len() - 1
            }
        }
    }

    fn lines(&self) -> Vec<u64> {
        let mut lines = vec![0; self.found.len()];
        for Waiting { span, takers, .. } in &self.waiting {
            self.takers[*takers].iter().for_each(|list| lines[*list] += span.lines());
        }
        lines
    }

    /// The first addresses, in the order of [`Span`], that a list has no room for. Lines it has already need none. `lines`: how
    /// many they ask for.
    fn limit(&self, list: usize, lines: u64) -> Option<Span> {
        if lines <= self.bounds.lines {
            return None;
        }
        let takes: Vec<bool> = self.takers.iter().map(|takers| takers.contains(&list)).collect();
        let mine = || self.waiting.iter().filter(|waiting| takes[waiting.takers]).map(|waiting| waiting.span);
        let mut spans: Vec<Span> = mine().collect();
        spans.sort_unstable();
        spans.dedup();
        let mut lines: HashSet<u32> = HashSet::new();
        for span in spans {
            let room = self.bounds.lines - lines.len() as u64;
            if span.lines() > room && span.addresses().filter(|line| !lines.contains(line)).count() as u64 > room {
                return Some(span);
            }
            lines.extend(span.addresses());
        }
        None
    }
}

/// Sorts the values once and renumbers the entries of every list by their place.
fn into_lists(found: Vec<HashMap<u32, Found>>, numbers: HashMap<Box<str>, u32>) -> Vec<List> {
    let mut sorted: Vec<(Box<str>, u32)> = numbers.into_iter().collect();
    sorted.sort_unstable();
    let mut place = vec![0u32; sorted.len()];
    for (at, (_, number)) in sorted.iter().enumerate() {
        place[*number as usize] = at as u32;
    }
    let texts: Vec<Box<str>> = sorted.into_iter().map(|(text, _)| text).collect();
    let values = Arc::new(Values::from_sorted(&texts));
    let list = |found: HashMap<u32, Found>| {
        let entry = |(number, Found { newest, events, .. })| Entry { value: place[number as usize], newest, events };
        let mut entries: Vec<Entry> = found.into_iter().map(entry).collect();
        entries.sort_unstable_by_key(|entry| entry.value);
        List { values: Arc::clone(&values), entries: entries.into() }
    };
    found.into_iter().map(list).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::DataType;

    const BOTH: &[usize] = &[0, 1];

    fn seen(event: u32, timestamp: i64) -> Seen {
        Seen { event, timestamp, in_grace: false }
    }

    /// The texts of both lists and how many values were refused for want of room.
    fn collected(lines: u64, values: &[(&str, i64, &[usize])]) -> (Vec<Vec<String>>, u64) {
        let normalise = DataType::named("ipv4ext").unwrap().normalise;
        let mut collection = Collection::new(normalise, Bounds { lines, ..Bounds::default() }, vec![i64::MIN; 2]);
        for (event, (value, timestamp, takers)) in values.iter().enumerate() {
            collection.add("ip-dst", value, seen(event as u32, *timestamp), takers);
        }
        let Collected { lists, refusals, .. } = collection.finish();
        let lists = lists.iter().map(|list| list.since(0).map(str::to_owned).collect()).collect();
        (lists, refusals.get(&Refusal::ListFull).copied().unwrap_or(0))
    }

    #[test]
    fn networks_and_addresses_share_lines() {
        let normalise = DataType::named("ipv4ext").unwrap().normalise;
        let mut collection = Collection::new(normalise, Bounds::default(), vec![1]);
        for (event, value) in [(0, "192.0.2.2/31"), (0, "192.0.2.3"), (1, "192.0.2.3"), (2, "10.0.0.0/8")] {
            collection.add("ip-dst", value, seen(event, i64::from(event)), &[0]);
        }
        let Collected { lists, ledgers, refusals, .. } = collection.finish();
        let entries: Vec<_> = lists[0].entries().map(|(line, entry)| (line, entry.newest, entry.events)).collect();
        assert_eq!(entries, [("192.0.2.2", 0, 1), ("192.0.2.3", 1, 2)]);
        assert_eq!(refusals, BTreeMap::from([(Refusal::TooWide, 1)]));
        let lost = BTreeMap::from([(Loss::Age, 2), (Loss::Refused(Refusal::TooWide), 1)]);
        assert_eq!(ledgers, [Ledger { rows: 4, listed: 1, in_grace: 0, lost }]);
    }

    #[test]
    fn a_list_is_full_at_the_same_place_whatever_the_order() {
        let mut values: Vec<(&str, i64, &[usize])> = vec![
            ("198.51.100.0/29", 1, BOTH),
            ("192.0.2.0/30", 1, BOTH),
            ("192.0.2.3", 1, BOTH),
            ("203.0.113.0/31", 1, BOTH),
            ("203.0.113.0/31", 2, BOTH),
            ("10.0.0.1", 1, &[0]),
        ];
        let narrow = ["192.0.2.0", "192.0.2.1", "192.0.2.2", "192.0.2.3", "203.0.113.0", "203.0.113.1"];
        for _ in 0..values.len() {
            values.rotate_left(1);
            let (lists, refused) = collected(7, &values);
            assert_eq!(lists[0], [&["10.0.0.1"][..], &narrow].concat());
            assert_eq!(lists[1], narrow);
            assert_eq!(refused, 1);
        }
        assert_eq!(collected(15, &values).1, 0);
        assert_eq!(collected(14, &values).1, 1);
    }

    #[test]
    fn single_addresses_beyond_the_bound_are_dropped_too() {
        let values: &[(&str, i64, &[usize])] =
            &[("10.0.0.3", 1, BOTH), ("10.0.0.1", 1, BOTH), ("10.0.0.2", 1, &[0]), ("10.0.0.0/31", 1, BOTH)];
        let (lists, refused) = collected(2, values);
        assert_eq!(lists, [["10.0.0.1", "10.0.0.2"], ["10.0.0.1", "10.0.0.3"]]);
        // The address 10.0.0.3 in the first list, and the network.
        assert_eq!(refused, 2);
    }
}
