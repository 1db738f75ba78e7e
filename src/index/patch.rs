//! Lists made out of those of the mirror before, around the events that changed. In: these lists, both mirrors, and what
//! [`select::lists`](super::select::lists) takes. Out: what that would give for the newer mirror. Pure.
//!
//! What the changed events gave as they were is taken out, what they give now is put in; both are selected as ever. The newest
//! time of a value that others carry too is known as long as the ones that went were not the newest.
//!
//! Invariants: the lists are those of [`select::lists`](super::select::lists), entry by entry, and so are ledgers and refusals;
//! work follows the events that changed, and copying the values of the data types that these are in. Where it cannot be known
//! from the lists before, a data type is selected from all events.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::collect::Collected;
use super::fate::{Ledger, take_counts};
use super::mirror::{Event, Mirror};
use super::never::Never;
use super::select::{Judge, Lists, Selected, Wants};
use super::{Entry, List, Rules, Values};

/// Of so many rows at least one changed: selecting all of them costs no more.
const MANY: usize = 4;

/// What one value is in one list: newest timestamp and number of events; `None`: not in it.
type Place = Option<(i64, u32)>;

/// The events that differ between two mirrors.
struct Changed<'a> {
    went: Vec<&'a Arc<Event>>,
    came: Vec<&'a Arc<Event>>,
}

/// Makes the lists of `new` out of those of `old`. `None`: they say nothing about it, or too much changed.
pub fn patched(
    mut before: Lists,
    (old, new): (&Mirror, &Mirror),
    rules: &Rules,
    never: &Never,
    wanted: &Wants,
    now: i64,
) -> Option<Lists> {
    let changed = Changed::between(old, new).filter(|_| before.hold_at(wanted, now))?;
    let judge = Judge::new(new, rules, never, now);
    let mut out = Lists { grace_ends: judge.grace_ends(), made_at: now, ..Lists::default() };
    for selected in judge.selected(wanted) {
        let known = before.take(&selected)?;
        let went = selected.collect(&judge, changed.went.iter().copied());
        let came = selected.collect(&judge, changed.came.iter().copied());
        let collected = match merged(known, &went, &came, rules.bounds.lines) {
            Some(collected) => collected,
            None => selected.collect(&judge, new.events()),
        };
        out.add(&selected, collected);
    }
    Some(out)
}

impl<'a> Changed<'a> {
    /// `None`: numbers mean other things in the two mirrors, or too much changed.
    fn between(old: &'a Mirror, new: &'a Mirror) -> Option<Self> {
        let same_numbers = new.type_names().starts_with(old.type_names())
            && new.tag_names().starts_with(old.tag_names())
            && new.tag_sets().starts_with(old.tag_sets());
        let beyond = |one: &'a Mirror, other| one.events_beyond(other).map(|(_, event)| event).collect::<Vec<_>>();
        let (went, came) = (beyond(old, new), beyond(new, old));
        let rows = went.iter().chain(&came).map(|event| event.rows.len()).sum::<usize>();
        let all = new.events().map(|event| event.rows.len()).sum::<usize>();
        (same_numbers && rows * MANY <= all).then_some(Self { went, came })
    }
}

impl Lists {
    /// What was collected of a data type, as far as it is kept.
    fn take(&mut self, selected: &Selected<'_>) -> Option<Collected> {
        let mut taken = Collected::default();
        for key in &selected.keys {
            taken.lists.push(self.lists.remove(*key)?);
            taken.ledgers.push(self.ledgers.remove(*key)?);
            taken.windows.push(self.windows.remove(*key)?);
            taken.lines.push(self.lines.remove(*key)?);
        }
        taken.refusals = self.refusals.remove(selected.rule.data_type.name).unwrap_or_default();
        Some(taken)
    }
}

/// `known` without what `went` and with what `came`. `None`: it takes a look at all events.
fn merged(mut known: Collected, went: &Collected, came: &Collected, room: u64) -> Option<Collected> {
    for list in 0..known.lists.len() {
        let without = known.lines[list].saturating_sub(went.lines[list]);
        let lines = without + came.lines[list];
        if known.lines[list].max(lines) > room {
            return None;
        }
        known.lines[list] = lines;
        let ledger: &mut Ledger = &mut known.ledgers[list];
        ledger.remove(&went.ledgers[list]);
        ledger.add(&came.ledgers[list]);
        // Rows that came were judged by where the window begins now. What went may have been the oldest: then this is too early.
        let oldest = known.windows[list].1.min(came.windows[list].1);
        known.windows[list] = (came.windows[list].0, oldest);
    }
    take_counts(&mut known.refusals, &went.refusals);
    came.refusals.iter().for_each(|(refusal, count)| *known.refusals.entry(*refusal).or_default() += count);
    let changes = changes(&known.lists, &went.lists, &came.lists)?;
    if !changes.is_empty() {
        known.lists = applied(&known.lists, &changes);
    }
    Some(known)
}

/// Value → what it is now in the lists where that is new. `None`: it takes a look at all events.
fn changes<'a>(known: &[List], went: &'a [List], came: &'a [List]) -> Option<BTreeMap<&'a str, Vec<(usize, Place)>>> {
    let mut changes: BTreeMap<&str, Vec<(usize, Place)>> = BTreeMap::new();
    for (at, list) in known.iter().enumerate() {
        let mut values: BTreeMap<&str, (Place, Place)> = BTreeMap::new();
        for (value, Entry { newest, events, .. }) in went[at].entries() {
            values.entry(value).or_default().0 = Some((newest, events));
        }
        for (value, Entry { newest, events, .. }) in came[at].entries() {
            values.entry(value).or_default().1 = Some((newest, events));
        }
        for (value, (went, came)) in values {
            let is = list.place(value);
            let becomes = placed(is, went, came)?;
            if is != becomes {
                changes.entry(value).or_default().push((at, becomes));
            }
        }
    }
    Some(changes)
}

/// What a value is after some events went and others came. The outer `None`: its newest time is not known.
fn placed(is: Place, went: Place, came: Place) -> Option<Place> {
    let (newest, events) = is.unwrap_or((i64::MIN, 0));
    let (newest_gone, gone) = went.unwrap_or((i64::MIN, 0));
    let others = events.checked_sub(gone)?;
    Some(match came {
        _ if others == 0 => came,
        Some((time, count)) if newest_gone < newest || time >= newest => Some((newest.max(time), others + count)),
        None if newest_gone < newest => Some((newest, others)),
        _ => return None,
    })
}

/// The lists with these changes; they share their values as before.
fn applied(lists: &[List], changes: &BTreeMap<&str, Vec<(usize, Place)>>) -> Vec<List> {
    let before: &Values = &lists[0].values;
    let is_left = |value: &str, changed: &[(usize, Place)]| {
        let stays =
            |(at, list): (usize, &List)| changed.iter().all(|(other, _)| *other != at) && list.place(value).is_some();
        changed.iter().any(|(_, place)| place.is_some()) || lists.iter().enumerate().any(stays)
    };
    let mut values = Values::default();
    // Old number → new number; those of values that are in no list any more are never asked for.
    let mut moved = Vec::with_capacity(before.ends.len());
    let mut changed: Vec<(HashSet<u32>, Vec<Entry>)> = vec![Default::default(); lists.len()];
    let mut ahead = changes.iter().peekable();
    for number in 0..before.ends.len() as u32 {
        let old = before.get(number);
        while let Some((value, places)) = ahead.next_if(|(value, _)| **value < old) {
            note(&mut changed, places, None, values.push(value));
        }
        let here = ahead.next_if(|(value, _)| **value == old);
        let at = match here {
            Some((_, places)) if !is_left(old, places) => u32::MAX,
            _ => values.push(old),
        };
        if let Some((_, places)) = here {
            note(&mut changed, places, Some(number), at);
        }
        moved.push(at);
    }
    for (value, places) in ahead {
        note(&mut changed, places, None, values.push(value));
    }
    let values = Arc::new(values);
    let list = |(list, (gone, came)): (&List, (HashSet<u32>, Vec<Entry>))| {
        let stays = list.entries.iter().filter(|entry| !gone.contains(&entry.value));
        let stays = stays.map(|entry| Entry { value: moved[entry.value as usize], ..*entry });
        let mut entries: Vec<Entry> = stays.chain(came).collect();
        // Two sorted runs: a stable sort joins them in one pass.
        entries.sort_by_key(|entry| entry.value);
        List { values: Arc::clone(&values), entries: entries.into() }
    };
    lists.iter().zip(changed).map(list).collect()
}

/// A value that had a number, or none, and has a new one: per list, what goes and what comes.
fn note(changed: &mut [(HashSet<u32>, Vec<Entry>)], places: &[(usize, Place)], before: Option<u32>, value: u32) {
    for (list, place) in places {
        changed[*list].0.extend(before);
        changed[*list].1.extend(place.map(|(newest, events)| Entry { value, newest, events }));
    }
}

#[cfg(test)]
#[path = "patch_tests.rs"]
mod tests;
