//! The values of one data type → the lists of several slices at once. In: values, who takes them, and when they are of.
//! Out: lists that share their values; what no list can hold, counted.
//!
//! A list of expanded networks has a bound (`Bounds::lines`). Single addresses come first, then networks, narrow ones
//! before wide ones, by address among equals; the first network that does not fit closes the list. So what is in a list
//! depends on its values alone, never on the order of events.
//!
//! Invariants: a value that nobody takes is not kept; a value counts as refused once, however many lists refuse it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::normalise::{Bounds, Normalise, Refusal, Span};
use super::{Entry, List, Values};

/// An attribute, as far as lists care.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// Number of its event.
    pub(super) event: u32,
    /// Unix seconds.
    pub(super) timestamp: i64,
}

/// What one list knows of a value.
struct Found {
    newest: i64,
    events: u32,
    last_event: u32,
}

/// A network that waits for the single addresses.
struct Network {
    span: Span,
    seen: Seen,
    takers: Box<[usize]>,
}

/// Collects the values of one data type.
pub(super) struct Collection {
    normalise: Normalise,
    bounds: Bounds,
    numbers: HashMap<Box<str>, u32>,
    /// Per list: number of a value → what is known of it.
    found: Vec<HashMap<u32, Found>>,
    networks: Vec<Network>,
    refusals: BTreeMap<Refusal, u64>,
}

impl Collection {
    /// For so many lists.
    pub(super) fn new(normalise: Normalise, bounds: Bounds, lists: usize) -> Self {
        let found = (0..lists).map(|_| HashMap::new()).collect();
        let (numbers, networks, refusals) = (HashMap::new(), Vec::new(), BTreeMap::new());
        Self { normalise, bounds, numbers, found, networks, refusals }
    }

    /// A value, and the lists that take it.
    pub(super) fn add(&mut self, misp_type: &str, value: &str, seen: Seen, takers: &[usize]) {
        let refused = match self.normalise {
            Normalise::One(normalise) => normalise(misp_type, value).map(|line| self.keep(&line, seen, takers)),
            Normalise::Span(normalise) => normalise(&self.bounds, misp_type, value).map(|span| {
                if span.lines() == 1 {
                    span.each(&mut |line| self.keep(line, seen, takers));
                } else {
                    self.networks.push(Network { span, seen, takers: takers.into() });
                }
            }),
        };
        if let Err(refusal) = refused {
            *self.refusals.entry(refusal).or_default() += 1;
        }
    }

    /// The lists, and the refusals.
    pub(super) fn finish(mut self) -> (Vec<List>, BTreeMap<Refusal, u64>) {
        if matches!(self.normalise, Normalise::Span(_)) {
            let mut closed = self.cut();
            let mut networks = std::mem::take(&mut self.networks);
            networks.sort_by_key(|network| network.span);
            for network in networks {
                self.expand(&network, &mut closed);
            }
        }
        (into_lists(self.found, self.numbers), self.refusals)
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

    /// Drops the single addresses beyond the bound, the last ones by code point; which lists these were.
    fn cut(&mut self) -> Vec<bool> {
        let most = usize::try_from(self.bounds.lines).unwrap_or(usize::MAX);
        let closed: Vec<bool> = self.found.iter().map(|found| found.len() > most).collect();
        if !closed.contains(&true) {
            return closed;
        }
        let mut sorted: Vec<(&str, u32)> = self.numbers.iter().map(|(line, number)| (&**line, *number)).collect();
        sorted.sort_unstable();
        let mut dropped = BTreeSet::new();
        for found in self.found.iter_mut().filter(|found| found.len() > most) {
            let members = sorted.iter().filter(|(_, number)| found.contains_key(number));
            let beyond: Vec<u32> = members.skip(most).map(|(_, number)| *number).collect();
            for number in beyond {
                found.remove(&number);
                dropped.insert(number);
            }
        }
        *self.refusals.entry(Refusal::ListFull).or_default() += dropped.len() as u64;
        closed
    }

    /// Adds a network to those of its lists that are open and have room.
    fn expand(&mut self, network: &Network, closed: &mut [bool]) {
        let mut takers = Vec::with_capacity(network.takers.len());
        for taker in &network.takers {
            closed[*taker] = closed[*taker] || !self.fits(&network.span, *taker);
            if !closed[*taker] {
                takers.push(*taker);
            }
        }
        if takers.len() < network.takers.len() {
            *self.refusals.entry(Refusal::ListFull).or_default() += 1;
        }
        if !takers.is_empty() {
            network.span.each(&mut |line| self.keep(line, network.seen, &takers));
        }
    }

    /// Whether a list has room for a network; lines it has already need none.
    fn fits(&self, span: &Span, taker: usize) -> bool {
        let found = &self.found[taker];
        let lines = found.len() as u64;
        if lines + span.lines() <= self.bounds.lines {
            return true;
        }
        let mut fresh = 0;
        span.each(&mut |line| {
            fresh += u64::from(self.numbers.get(line).is_none_or(|number| !found.contains_key(number)));
        });
        lines + fresh <= self.bounds.lines
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

    /// The texts of both lists and how many values were refused for want of room.
    fn collected(lines: u64, values: &[(&str, i64, &[usize])]) -> (Vec<Vec<String>>, u64) {
        let normalise = DataType::named("ipv4ext").unwrap().normalise;
        let mut collection = Collection::new(normalise, Bounds { lines, ..Bounds::default() }, 2);
        for (event, (value, timestamp, takers)) in values.iter().enumerate() {
            collection.add("ip-dst", value, Seen { event: event as u32, timestamp: *timestamp }, takers);
        }
        let (lists, refusals) = collection.finish();
        let lists = lists.iter().map(|list| list.since(0).map(str::to_owned).collect()).collect();
        (lists, refusals.get(&Refusal::ListFull).copied().unwrap_or(0))
    }

    #[test]
    fn networks_and_addresses_share_lines() {
        let normalise = DataType::named("ipv4ext").unwrap().normalise;
        let mut collection = Collection::new(normalise, Bounds::default(), 1);
        for (event, value) in [(0, "192.0.2.2/31"), (0, "192.0.2.3"), (1, "192.0.2.3"), (2, "10.0.0.0/8")] {
            collection.add("ip-dst", value, Seen { event, timestamp: i64::from(event) }, &[0]);
        }
        let (lists, refusals) = collection.finish();
        let entries: Vec<_> = lists[0].entries().map(|(line, entry)| (line, entry.newest, entry.events)).collect();
        assert_eq!(entries, [("192.0.2.2", 0, 1), ("192.0.2.3", 1, 2)]);
        assert_eq!(refusals, BTreeMap::from([(Refusal::TooWide, 1)]));
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
        // The address 10.0.0.3 and the network.
        assert_eq!(refused, 2);
    }
}
