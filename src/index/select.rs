//! Which attribute is in which list. In: a mirror, the rules, what is never published, the moment and the lists that are wanted. Out: these lists, what
//! became of every row, and how many values were refused. Pure.
//!
//! Membership, decided as MISP decides it for the Python Cratos: the type is one of the data type's MISP types; `to_ids`
//! unless the data type or one of its MISP types is in `ignore_to_ids`; no false-positive tag on attribute or event; the
//! feed's tag on attribute or event (SQL LIKE, case-sensitive); published events only, except for `incident`, `alert` and
//! `hunt`, and beyond that what was published less than `unpublish_grace` ago; no warninglist hit, except for `42`. Age is
//! decided later, by [`List::since`]. What [`Never`] catches is in no list.
//!
//! Invariants: a list that is not wanted costs nothing per value; a value is normalised once per data type; every row of a
//! data type's MISP types has exactly one fate per list.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::collect::{Collected, Collection, Seen};
use super::fate::{Ledger, Loss};
use super::like::like;
use super::mirror::{Event, Mirror, Row};
use super::never::{Families, Never};
use super::normalise::{Bounds, Refusal};
use super::{ANY, DataType, FORTY_TWO, List, Rules, Slice, TypeRule};

/// Names one list, whatever its age.
pub type ListKey = (Slice, &'static str);

/// The lists that are wanted, and where the window of each one's largest age begins (Unix seconds).
pub type Wants = BTreeMap<ListKey, i64>;

/// What [`lists`] found.
#[derive(Debug, Default)]
pub struct Lists {
    /// One per wanted key, empty ones too.
    pub lists: BTreeMap<ListKey, List>,
    /// What became of the rows, one per wanted key.
    pub ledgers: BTreeMap<ListKey, Ledger>,
    /// Data type → reason → values that members of some wanted list carry and no list can hold.
    pub refusals: BTreeMap<&'static str, BTreeMap<Refusal, u64>>,
    /// When the first row that was published stops counting as such (Unix seconds).
    pub grace_ends: Option<i64>,
    /// The moment they are of, in Unix seconds.
    pub(super) made_at: i64,
    /// Per wanted key, for which beginnings of its window all of this stays so.
    pub(super) windows: BTreeMap<ListKey, (i64, i64)>,
    /// Per wanted key, the lines that networks ask for: [`Collected::lines`].
    pub(super) lines: BTreeMap<ListKey, u64>,
}

impl Lists {
    /// Whether the same mirror and rules would give the same at `now` (Unix seconds), for these wants.
    pub fn hold_at(&self, wanted: &Wants, now: i64) -> bool {
        wanted.len() == self.windows.len() && self.have(wanted, now)
    }

    /// Those of some wants. `None`: they are not all here, or not what they would be at `now` (Unix seconds). What was refused is
    /// that of all lists.
    pub fn some(&self, wanted: &Wants, now: i64) -> Option<Lists> {
        fn these<T: Clone>(of: &BTreeMap<ListKey, T>, wanted: &Wants) -> BTreeMap<ListKey, T> {
            wanted.keys().filter_map(|key| Some((key.clone(), of.get(key)?.clone()))).collect()
        }
        self.have(wanted, now).then(|| Lists {
            lists: these(&self.lists, wanted),
            ledgers: these(&self.ledgers, wanted),
            windows: these(&self.windows, wanted),
            lines: these(&self.lines, wanted),
            refusals: self.refusals.clone(),
            grace_ends: self.grace_ends,
            made_at: self.made_at,
        })
    }

    fn have(&self, wanted: &Wants, now: i64) -> bool {
        let stays = |(key, since): (&ListKey, &i64)| {
            self.windows.get(key).is_some_and(|(from, to)| (from..=to).contains(&since))
        };
        // A clock that was set back may be before the end of a grace that was over.
        self.made_at <= now && self.grace_ends.is_none_or(|ends| now < ends) && wanted.iter().all(stays)
    }

    /// Takes the lists of one data type in.
    pub(super) fn add(&mut self, selected: &Selected<'_>, collected: Collected) {
        let Collected { lists, ledgers, windows, lines, refusals } = collected;
        let keys = || selected.keys.iter().map(|key| (*key).clone());
        self.lists.extend(keys().zip(lists));
        self.ledgers.extend(keys().zip(ledgers));
        self.windows.extend(keys().zip(windows));
        self.lines.extend(keys().zip(lines));
        if !refusals.is_empty() {
            self.refusals.insert(selected.rule.data_type.name, refusals);
        }
    }
}

/// Computes the wanted lists as they are at `now` (Unix seconds).
pub fn lists(mirror: &Mirror, rules: &Rules, never: &Never, wanted: &Wants, now: i64) -> Lists {
    let judge = Judge::new(mirror, rules, never, now);
    let mut out = Lists { grace_ends: judge.grace_ends(), made_at: now, ..Lists::default() };
    for selected in judge.selected(wanted) {
        let collected = selected.collect(&judge, mirror.events());
        out.add(&selected, collected);
    }
    out
}

/// Every value that a data type is made from, with its MISP type, whatever feed it is in.
pub fn raw_values<'a>(mirror: &'a Mirror, rule: &TypeRule) -> Vec<(&'a str, &'a str)> {
    let kinds = mirror.type_names();
    let counts: Vec<bool> = kinds.iter().map(|kind| counts_for(rule.data_type, &rule.misp_types, kind)).collect();
    let of_event = |event: &'a Arc<Event>| {
        let rows = event.rows.iter().filter(|row| counts[row.kind as usize]);
        rows.map(|row| (&*kinds[row.kind as usize], event.value(row))).collect::<Vec<_>>()
    };
    mirror.events().flat_map(of_event).collect()
}

/// `email-address` also takes MISP's type `email` (D35).
fn counts_for(data_type: &DataType, misp_types: &[String], kind: &str) -> bool {
    misp_types.iter().any(|misp_type| misp_type == kind) || (data_type.name == "email-address" && kind == "email")
}

/// One wanted slice, resolved against the rules.
pub(super) struct Want {
    /// Which tag feed, if it is one.
    feed: Option<usize>,
    creator: Option<uuid::Uuid>,
    pub(super) published_only: bool,
    with_warninglist_hits: bool,
    /// A feed the rules do not know has no members, nor has an organisation whose name is no UUID in lower case.
    known: bool,
}

impl Want {
    fn new(slice: &Slice, rules: &Rules) -> Self {
        let everything =
            Want { feed: None, creator: None, published_only: true, with_warninglist_hits: false, known: true };
        match slice {
            Slice::Organisation(name) => {
                let uuid = uuid::Uuid::parse_str(name).ok().filter(|uuid| uuid.to_string() == **name);
                Want { creator: uuid, known: uuid.is_some(), ..everything }
            }
            Slice::Feed(name) if &**name == ANY => everything,
            Slice::Feed(name) if &**name == FORTY_TWO => Want { with_warninglist_hits: true, ..everything },
            Slice::Feed(name) => match rules.feeds.iter().position(|feed| feed.name == *name) {
                Some(at) => Want { feed: Some(at), published_only: rules.feeds[at].published_only, ..everything },
                None => Want { known: false, ..everything },
            },
        }
    }

    fn includes(&self, event: &Event, row: &Row, tags: &TagMatches) -> bool {
        self.known
            && self.creator.is_none_or(|creator| creator == event.creator)
            && self.feed.is_none_or(|feed| tags.has(event.tags, feed) || tags.has(row.tags, feed))
    }
}

/// Decides about rows of one mirror at one moment.
pub(super) struct Judge<'a> {
    pub(super) mirror: &'a Mirror,
    rules: &'a Rules,
    never: &'a Never,
    /// Per MISP type number of the mirror: the kinds of lists it gets into.
    families: Vec<Families>,
    tags: TagMatches,
    now: i64,
}

/// What is the same for a row in all lists of a data type.
#[derive(Clone, Copy)]
struct Common {
    published: bool,
    /// Published only by `unpublish_grace`.
    in_grace: bool,
    to_ids: bool,
    false_positive: bool,
}

impl<'a> Judge<'a> {
    pub(super) fn new(mirror: &'a Mirror, rules: &'a Rules, never: &'a Never, now: i64) -> Self {
        let feeds = |rule: &&TypeRule, kind: &str| counts_for(rule.data_type, &rule.misp_types, kind);
        let of =
            |kind: &str| Families::of(rules.types.iter().filter(|rule| feeds(rule, kind)).map(|rule| rule.data_type));
        let families = mirror.type_names().iter().map(|kind| of(kind)).collect();
        Self { mirror, rules, never, families, tags: TagMatches::new(mirror, rules), now }
    }

    /// The entry of `never_publish` that keeps a row out of every list, as people are shown it.
    pub(super) fn caught(&self, event: &Event, row: &Row) -> Option<&'a Arc<str>> {
        self.never.caught(self.families[row.kind as usize], event.value(row))
    }

    /// A slice, resolved.
    pub(super) fn want(&self, slice: &Slice) -> Want {
        Want::new(slice, self.rules)
    }

    /// How far networks are expanded.
    pub(super) fn bounds(&self) -> &Bounds {
        &self.rules.bounds
    }

    /// Per MISP type number of the mirror: whether the data type is made from it.
    pub(super) fn kinds(&self, rule: &TypeRule) -> Vec<bool> {
        self.mirror.type_names().iter().map(|kind| counts_for(rule.data_type, &rule.misp_types, kind)).collect()
    }

    fn common(&self, event: &Event, row: &Row, any_to_ids: bool) -> Common {
        let published = event.publishes(row, self.rules.unpublish_grace, self.now);
        Common {
            published,
            in_grace: published && !event.published,
            to_ids: row.to_ids || any_to_ids,
            false_positive: self.tags.is_false_positive(event.tags) || self.tags.is_false_positive(row.tags),
        }
    }

    fn loss(&self, want: &Want, event: &Event, row: &Row, common: Common) -> Option<Loss> {
        if !want.includes(event, row, &self.tags) {
            Some(Loss::NotInFeed)
        } else if want.published_only && !common.published {
            Some(Loss::Unpublished)
        } else if !common.to_ids {
            Some(Loss::ToIds)
        } else if common.false_positive {
            Some(Loss::FalsePositive)
        } else if row.on_warninglist && !want.with_warninglist_hits {
            Some(Loss::Warninglist)
        } else {
            None
        }
    }

    /// The rule that keeps a row out of a slice's list of a data type, whatever its value and age.
    pub(super) fn verdict(&self, want: &Want, event: &Event, row: &Row, rule: &TypeRule) -> Option<Loss> {
        self.loss(want, event, row, self.common(event, row, rule.ignores_to_ids(self.rules)))
    }

    /// Whether a row or its event has the false-positive tag.
    pub(super) fn is_false_positive(&self, event: &Event, row: &Row) -> bool {
        self.tags.is_false_positive(event.tags) || self.tags.is_false_positive(row.tags)
    }

    /// The data types of which some list is wanted, in the order of the rules.
    pub(super) fn selected<'w>(&'w self, wanted: &'w Wants) -> impl Iterator<Item = Selected<'w>> {
        self.rules.types.iter().filter_map(move |rule| {
            let of_type = || wanted.iter().filter(|((_, name), _)| *name == rule.data_type.name);
            of_type().next()?;
            let keys = of_type().map(|(key, _)| key).collect();
            let wants = of_type().map(|((slice, _), _)| self.want(slice)).collect();
            Some(Selected { rule, keys, wants, since: of_type().map(|(_, since)| *since).collect() })
        })
    }

    pub(super) fn grace_ends(&self) -> Option<i64> {
        let ends = self.mirror.events().filter_map(|event| event.grace_end(self.rules.unpublish_grace));
        ends.filter(|end| *end > self.now).min()
    }
}

/// One data type and the slices that want it.
pub(super) struct Selected<'a> {
    pub(super) rule: &'a TypeRule,
    pub(super) keys: Vec<&'a ListKey>,
    wants: Vec<Want>,
    /// Where the window of each one's largest age begins.
    since: Vec<i64>,
}

impl Selected<'_> {
    /// What these events give, of all events or of some.
    pub(super) fn collect<'e>(&self, judge: &Judge<'_>, events: impl Iterator<Item = &'e Arc<Event>>) -> Collected {
        let (kinds, any_to_ids) = (judge.kinds(self.rule), self.rule.ignores_to_ids(judge.rules));
        let mut collection = Collection::new(self.rule.data_type.normalise, judge.rules.bounds, self.since.clone());
        let mut takers = Vec::with_capacity(self.wants.len());
        for (number, event) in events.enumerate() {
            for row in event.rows.iter().filter(|row| kinds[row.kind as usize]) {
                let common = judge.common(event, row, any_to_ids);
                takers.clear();
                for (list, want) in self.wants.iter().enumerate() {
                    match judge.loss(want, event, row, common) {
                        Some(loss) => collection.lose(list, loss),
                        None => takers.push(list),
                    }
                }
                if !takers.is_empty() && judge.caught(event, row).is_some() {
                    takers.iter().for_each(|list| collection.lose(*list, Loss::NeverPublish));
                } else if !takers.is_empty() {
                    let seen = Seen { event: number as u32, timestamp: row.timestamp, in_grace: common.in_grace };
                    let kind = &judge.mirror.type_names()[row.kind as usize];
                    collection.add(kind, event.value(row), seen, &takers);
                }
            }
        }
        collection.finish()
    }
}

/// Per tag set of the mirror: which feeds it selects, and whether it takes out of everything.
struct TagMatches {
    feeds: Vec<Vec<bool>>,
    false_positive: Vec<bool>,
}

impl TagMatches {
    fn new(mirror: &Mirror, rules: &Rules) -> Self {
        let matching = |pattern: &str| -> Vec<bool> {
            let tags: Vec<bool> = mirror.tag_names().iter().map(|name| like(pattern, name)).collect();
            mirror.tag_sets().iter().map(|set| set.iter().any(|tag| tags[*tag as usize])).collect()
        };
        Self {
            feeds: rules.feeds.iter().map(|feed| matching(&feed.tag)).collect(),
            false_positive: matching(&rules.false_positive),
        }
    }

    fn has(&self, set: u32, feed: usize) -> bool {
        self.feeds[feed][set as usize]
    }

    fn is_false_positive(&self, set: u32) -> bool {
        self.false_positive[set as usize]
    }
}
