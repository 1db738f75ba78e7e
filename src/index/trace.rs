//! What a mirror knows of one value, and what becomes of it in every list. In: a mirror, the rules, a value as somebody writes
//! it, the moment. Out: a [`Trace`]. Pure.
//!
//! A row is about a value if it says the same (also in one half that no list can hold), or if a list makes the same line of both;
//! of expanded networks, if the row's network has all addresses of the value. So what is copied from a list is found, and what
//! is copied from MISP too.
//!
//! Invariants: a row's fate is decided by the same judge that makes the lists; what is kept of a value is bounded, however
//! many rows carry it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use super::fate::Loss;
use super::mirror::{Event, Mirror, Row};
use super::never::{Families, Never};
use super::normalise::{Bounds, Normalise, Refusal, Span};
use super::select::{Judge, ListKey, Want};
use super::{ANY, FORTY_TWO, Rules, Slice, TypeRule};

/// Names and spellings that are kept of the rows of one MISP type.
const MAX_NAMES: usize = 20;
/// Networks of any width have a span.
const UNBOUNDED: Bounds = Bounds { widest: 0, lines: u64::MAX, min_prefix: 0 };
/// Addresses of a network that are looked for in a list one by one.
const MAX_LINES: u64 = 1 << 16;

/// What lists of one data type make of the value that is asked about.
#[derive(Clone, Debug, Default)]
struct Form {
    lines: BTreeSet<String>,
    span: Option<Span>,
}

impl Form {
    fn new(rule: &TypeRule, text: &str) -> Self {
        let mut form = Self::default();
        for kind in rule.misp_types.iter().map(String::as_str).chain([""]) {
            match rule.data_type.normalise {
                Normalise::One(normalise) => form.lines.extend(normalise(kind, text).map(|line| line.into_owned())),
                Normalise::Network(normalise) => {
                    form.lines.extend(normalise(&UNBOUNDED, kind, text).map(|line| line.into_owned()));
                }
                Normalise::Span(normalise) => form.span = form.span.or(normalise(&UNBOUNDED, kind, text).ok()),
            }
        }
        if let Some(span) = form.span.filter(|span| span.lines() <= MAX_LINES) {
            span.each(&mut |line| form.lines.extend([line.to_owned()]));
        }
        form
    }

    /// Whether a row of these lists is about the value, and if so, what is wrong with the row's own. `same`: it says the same.
    fn meets(
        &self,
        rule: &TypeRule,
        bounds: &Bounds,
        same: bool,
        kind: &str,
        value: &str,
    ) -> Option<Result<(), Refusal>> {
        match rule.data_type.normalise {
            Normalise::One(normalise) => match normalise(kind, value) {
                Ok(line) => (same || self.lines.contains(&*line)).then_some(Ok(())),
                Err(refusal) => same.then_some(Err(refusal)),
            },
            Normalise::Network(normalise) => {
                let about = same || normalise(&UNBOUNDED, kind, value).is_ok_and(|line| self.lines.contains(&*line));
                about.then(|| normalise(bounds, kind, value).map(drop))
            }
            Normalise::Span(normalise) => {
                let covers = |span: Span| self.span.is_some_and(|asked| span.covers(&asked));
                let about = same || normalise(&UNBOUNDED, kind, value).is_ok_and(covers);
                about.then(|| normalise(bounds, kind, value).map(drop))
            }
        }
    }
}

/// The rows of one MISP type that are about the value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rows {
    /// How many.
    pub attributes: u64,
    /// In how many events.
    pub events: u64,
    /// Unix seconds of the pull that first brought one of them.
    pub since: i64,
    /// Newest timestamp, Unix seconds.
    pub newest: i64,
    /// Those with `to_ids`.
    pub to_ids: u64,
    /// Those of published events.
    pub published: u64,
    /// Those on a warninglist of the MISP.
    pub on_warninglist: u64,
    /// Those with the false-positive tag, on themselves or on their event.
    pub false_positive: u64,
    /// How the value is written, a few of them.
    pub spellings: BTreeSet<String>,
    /// Tags on these rows or their events, a few of them.
    pub tags: BTreeSet<String>,
}

/// Rows that one rule keeps out of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// How many.
    pub rows: u64,
    /// Newest timestamp of them, Unix seconds.
    pub newest: i64,
    /// The event of that one.
    pub event: Uuid,
    /// Since when that event is not published any more, if it ever was; Unix seconds.
    pub left_at: Option<i64>,
    /// The entry of `never_publish` that keeps the row out, if it is that.
    pub entry: Option<Arc<str>>,
}

/// What becomes of the value in one list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// Rows that put it in, whatever their age.
    pub listed: u64,
    /// Newest timestamp of these, Unix seconds.
    pub newest: Option<i64>,
    /// What keeps the others out.
    pub lost: BTreeMap<Loss, Lost>,
    /// Latest end of `unpublish_grace` of rows that need it.
    grace_end: Option<i64>,
    /// Some row needs no grace.
    is_firm: bool,
}

/// All a mirror says of a value.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// MISP type → its rows. Empty: the mirror does not know the value.
    pub kinds: BTreeMap<String, Rows>,
    /// Every list that could hold it: those of data types that have a form of it, or are made from one of its rows.
    pub lists: BTreeMap<ListKey, Fates>,
    /// Data type → the lines that its lists would have for the value.
    pub lines: BTreeMap<&'static str, BTreeSet<String>>,
    /// The entry of `never_publish` that would keep it out, whether or not some row has it.
    pub never: Option<Arc<str>>,
}

/// Looks for a value at `now` (Unix seconds), in every feed and in the lists of these organisations.
pub fn trace(
    mirror: &Mirror,
    (rules, never): (&Rules, &Never),
    text: &str,
    organisations: &BTreeSet<Uuid>,
    now: i64,
) -> Trace {
    let judge = Judge::new(mirror, rules, never, now);
    let asked = Asked { text, forms: rules.types.iter().map(|rule| (rule, Form::new(rule, text))).collect() };
    let found = asked.find(&judge);
    let slices: Vec<(Slice, Want)> =
        slices(rules, organisations).map(|slice| (slice.clone(), judge.want(&slice))).collect();
    let mut trace = asked.empty_trace(&slices);
    let fitting = asked.forms.iter().map(|(rule, _)| rule.data_type).filter(|of| trace.lines.contains_key(of.name));
    trace.never = never.caught(Families::of(fitting), text).cloned();
    let mut seen = BTreeSet::new();
    for found in &found {
        let is_first = seen.insert((found.uuid, found.row.kind));
        trace.count(&judge, found, is_first);
        trace.judge(&judge, rules, found, &slices);
    }
    trace
}

/// Every feed, and the organisations.
fn slices(rules: &Rules, organisations: &BTreeSet<Uuid>) -> impl Iterator<Item = Slice> {
    let feeds = rules.feeds.iter().map(|feed| Arc::clone(&feed.name));
    let feeds = feeds.chain([ANY.into(), FORTY_TWO.into()]).map(Slice::Feed);
    feeds.chain(organisations.iter().map(|uuid| Slice::Organisation(uuid.to_string().into())))
}

/// A row that is about the value.
struct Found<'a> {
    uuid: Uuid,
    event: &'a Event,
    row: &'a Row,
    /// The data types it concerns, by their place among the rules; and what is wrong with its value there.
    types: Vec<(usize, Result<(), Refusal>)>,
}

/// The value that is asked about.
struct Asked<'a> {
    text: &'a str,
    forms: Vec<(&'a TypeRule, Form)>,
}

impl Asked<'_> {
    /// Every row that is about the value.
    fn find<'a>(&self, judge: &Judge<'a>) -> Vec<Found<'a>> {
        let kinds: Vec<Vec<bool>> = self.forms.iter().map(|(rule, _)| judge.kinds(rule)).collect();
        let rows =
            judge.mirror.events.iter().flat_map(|(uuid, event)| event.rows.iter().map(move |row| (uuid, event, row)));
        let found = rows.filter_map(|(uuid, event, row)| {
            let (kind, value) = (&*judge.mirror.type_names()[row.kind as usize], event.value(row));
            let meeting = |same: bool| -> Vec<_> {
                let takes = |(at, _): &(usize, &(&TypeRule, Form))| kinds[*at][row.kind as usize];
                let types = self.forms.iter().enumerate().filter(takes);
                let met = types.map(|(at, (rule, form))| (at, form.meets(rule, judge.bounds(), same, kind, value)));
                met.filter_map(|(at, outcome)| Some((at, outcome?))).collect()
            };
            let mut types = meeting(value == self.text);
            if types.is_empty() && value.split('|').any(|half| half == self.text) {
                // No list makes a line of this half; a line of the other one is not about the value.
                types = meeting(true);
                types.retain(|(_, outcome)| outcome.is_err());
            }
            (!types.is_empty()).then_some(Found { uuid: *uuid, event, row, types })
        });
        found.collect()
    }

    /// Lists of data types that have a form of the value exist even if no row is about it.
    fn empty_trace(&self, slices: &[(Slice, Want)]) -> Trace {
        let mut trace = Trace::default();
        for (rule, form) in self.forms.iter().filter(|(_, form)| !form.lines.is_empty() || form.span.is_some()) {
            let name = rule.data_type.name;
            trace.lines.insert(name, form.lines.clone());
            trace.lists.extend(slices.iter().map(|(slice, _)| ((slice.clone(), name), Fates::default())));
        }
        trace
    }
}

impl Trace {
    /// Counts a row among those of its MISP type.
    fn count(&mut self, judge: &Judge<'_>, found: &Found<'_>, is_first_of_event: bool) {
        let (mirror, Found { event, row, .. }) = (judge.mirror, found);
        let kind = mirror.type_names()[row.kind as usize].to_string();
        let none = || Rows { since: i64::MAX, newest: i64::MIN, ..Rows::default() };
        let rows = self.kinds.entry(kind).or_insert_with(none);
        rows.attributes += 1;
        rows.events += u64::from(is_first_of_event);
        (rows.since, rows.newest) = (rows.since.min(row.since), rows.newest.max(row.timestamp));
        rows.to_ids += u64::from(row.to_ids);
        rows.published += u64::from(event.published);
        rows.on_warninglist += u64::from(row.on_warninglist);
        rows.false_positive += u64::from(judge.is_false_positive(event, row));
        if rows.spellings.len() < MAX_NAMES {
            rows.spellings.insert(event.value(row).to_owned());
        }
        let sets = [event.tags, row.tags].map(|set| &mirror.tag_sets()[set as usize]);
        for tag in sets.into_iter().flatten() {
            if rows.tags.len() < MAX_NAMES {
                rows.tags.insert(mirror.tag_names()[*tag as usize].to_string());
            }
        }
    }

    /// What becomes of a row in every list it concerns.
    fn judge(&mut self, judge: &Judge<'_>, rules: &Rules, found: &Found<'_>, slices: &[(Slice, Want)]) {
        let Found { event, row, .. } = found;
        let caught = judge.caught(event, row);
        for (at, outcome) in &found.types {
            let rule = &rules.types[*at];
            for (slice, want) in slices {
                let fates = self.lists.entry((slice.clone(), rule.data_type.name)).or_default();
                // In the order in which lists are made.
                let value = caught.map(|_| Loss::NeverPublish).or(outcome.err().map(Loss::Refused));
                match judge.verdict(want, event, row, rule).or(value) {
                    Some(loss) => {
                        let entry = caught.filter(|_| loss == Loss::NeverPublish);
                        fates.lost.entry(loss).or_default().take(found, entry);
                    }
                    None => {
                        let in_grace = want.published_only && !event.published;
                        fates.list(row, in_grace.then(|| event.grace_end(rules.unpublish_grace)).flatten());
                    }
                }
            }
        }
    }
}

impl Fates {
    /// A row puts the value in; published only by `unpublish_grace` until `grace_end`, if that is so.
    fn list(&mut self, row: &Row, grace_end: Option<i64>) {
        self.listed += 1;
        self.newest = self.newest.max(Some(row.timestamp));
        match grace_end {
            Some(end) => self.grace_end = self.grace_end.max(Some(end)),
            None => self.is_firm = true,
        }
    }

    /// Until when the value is in this list, if only `unpublish_grace` keeps it there; Unix seconds.
    pub fn grace_end(&self) -> Option<i64> {
        self.grace_end.filter(|_| !self.is_firm)
    }
}

impl Lost {
    fn take(&mut self, found: &Found<'_>, entry: Option<&Arc<str>>) {
        let Found { uuid, event, row, .. } = found;
        if self.rows == 0 || row.timestamp > self.newest {
            (self.newest, self.event, self.left_at) = (row.timestamp, *uuid, event.left_at);
            self.entry = entry.cloned();
        }
        self.rows += 1;
    }
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
