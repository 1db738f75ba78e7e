//! List by list: where a value stands in the served version, or what keeps it out.
//!
//! In: what the mirror says of the value, the served version, what is held. Out: one [`Answer`] per list.
//!
//! Invariants: whether it stands there is read from the files; a value that is in no file has a reason; where mirror and
//! files differ, what holds the files back is named.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::served::{self, Reader, Shelf, Standing, Wanted};
use super::words::{self, Place, Reason, moment};
use crate::config::Site;
use crate::index::fate::Loss;
use crate::index::mirror::{Coverage, Mirror};
use crate::index::never::Never;
use crate::index::select::{self, ListKey};
use crate::index::trace::{Fates, Lost, Trace};
use crate::index::{AGES, ANY, DataType, FORTY_TWO, List, Refusal, Slice, TYPES};
use crate::refresh::holds;
use crate::render::Format;
use crate::snapshot::layout;
use crate::state::Counters;

/// Lines of the value that are shown.
const MAX_LINES: usize = 5;

/// In one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It stands in a file that is served.
    In,
    /// It belongs there, and what is served does not have it yet.
    Late,
    /// It belongs there, and nobody has asked for the list.
    OnDemand,
    /// A rule keeps it out.
    Out,
}

/// One list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// `block/ipv4`, or `org/<uuid>/ipv4`.
    pub list: String,
    /// The feed, or the organisation's UUID.
    pub feed: String,
    /// The data type.
    pub data_type: &'static str,
    /// How the value would stand there; a few of them if it is a network.
    pub lines: Vec<String>,
    /// In one word.
    pub verdict: Verdict,
    /// Where it stands.
    pub stands: Vec<Standing>,
    /// Why it does not, or not everywhere.
    pub reasons: Vec<Reason>,
}

/// What the lists are judged with.
pub struct Bench<'a> {
    /// The site with its rules.
    pub site: &'a Site,
    /// Calendar of ages.
    pub zone: &'a TimeZone,
    /// The moment.
    pub now: Timestamp,
    /// What is known of the view.
    pub mirror: Option<&'a Mirror>,
    /// What is never published.
    pub never: &'a Never,
    /// What is held, pinned, compared.
    pub counters: &'a Counters,
    /// Hex hash of the mirror's file.
    pub hash: &'a str,
}

/// All lists that could hold the value.
pub fn answers(bench: &Bench<'_>, trace: &Trace, mut reader: Option<Reader<'_>>) -> Vec<Answer> {
    let mut out = Vec::with_capacity(trace.lists.len());
    let mut lists: Vec<(&ListKey, &Fates)> = trace.lists.iter().collect();
    lists.sort_by_key(|(key, _)| order(bench.site, key));
    let none = BTreeSet::new();
    for (key, fates) in lists {
        let lines = trace.lines.get(key.1).unwrap_or(&none);
        let shelf = reader.as_mut().and_then(|reader| reader.look(&list_name(key), wanted(key, lines)));
        out.push(Judging { bench, key, fates, lines }.answer(shelf));
    }
    out
}

/// Data types as everywhere; in each the feeds of the site, then `any`, `42` and organisations.
pub fn order(site: &Site, (slice, data_type): &ListKey) -> (Option<usize>, usize) {
    let feeds = &site.rules.feeds;
    let feed = match slice {
        Slice::Feed(name) if &**name == ANY => feeds.len(),
        Slice::Feed(name) if &**name == FORTY_TWO => feeds.len() + 1,
        Slice::Feed(name) => feeds.iter().position(|feed| feed.name == *name).unwrap_or(usize::MAX),
        Slice::Organisation(_) => usize::MAX,
    };
    (TYPES.iter().position(|known| known.name == *data_type), feed)
}

/// What is looked for in a list: one of the lines, of a network all.
fn wanted<'a>((_, data_type): &ListKey, lines: &'a BTreeSet<String>) -> Wanted<'a> {
    Wanted { data_type, lines, all: DataType::named(data_type).is_some_and(DataType::is_of_networks) }
}

/// As the list is called in manifests.
fn list_name((slice, data_type): &ListKey) -> String {
    let key = match slice {
        Slice::Feed(name) => layout::feed_key(name, data_type, "", ""),
        Slice::Organisation(uuid) => layout::organisation_key(uuid, data_type, "", ""),
    };
    layout::list_of(&key).to_owned()
}

/// One list.
struct Judging<'a> {
    bench: &'a Bench<'a>,
    key: &'a ListKey,
    fates: &'a Fates,
    lines: &'a BTreeSet<String>,
}

impl Judging<'_> {
    fn answer(&self, shelf: Option<Shelf>) -> Answer {
        let (verdict, mut reasons) = match &shelf {
            None => self.not_made(),
            Some(shelf) if shelf.has.is_empty() => self.not_there(shelf),
            Some(shelf) => (Verdict::In, self.not_everywhere(shelf)),
        };
        let shelf = shelf.unwrap_or_default();
        if !shelf.unread.is_empty() {
            let text = format!("{} files of this list are damaged", shelf.unread.len());
            reasons.push(Reason::general("damaged", text, Some("cratos versions verify".into())));
        }
        if let Some(end) = self.fates.grace_end().filter(|_| verdict != Verdict::Out) {
            let text = format!("its event is not published any more; `unpublish_grace` keeps it until {}", moment(end));
            reasons.push(Reason::general("unpublish_grace", text, Some("publish the event in MISP".into())));
        }
        Answer {
            list: list_name(self.key),
            feed: self.key.0.to_string(),
            data_type: self.key.1,
            lines: self.lines.iter().take(MAX_LINES).cloned().collect(),
            verdict,
            stands: shelf.stands,
            reasons,
        }
    }

    /// The list is not in the served version.
    fn not_made(&self) -> (Verdict, Vec<Reason>) {
        let Some(newest) = self.fates.newest else { return (Verdict::Out, self.losses()) };
        let ages: BTreeSet<usize> = (0..AGES.len()).collect();
        if self.ages_of(&ages, newest).is_empty() {
            return (Verdict::Out, self.too_old(newest, &ages));
        }
        let is_read = self.bench.mirror.is_some_and(|mirror| mirror.coverage() == Coverage::Everything)
            || self.bench.site.rules.is_tag_feed(&self.key.0);
        let text = match is_read {
            true => "it belongs there; nobody asked for this list yet, it is made with the first request",
            false => {
                "it belongs there; nobody asked for this list yet, the first request reads all attributes of the MISP"
            }
        };
        (Verdict::OnDemand, vec![Reason::general("not asked for", text, None)])
    }

    /// The list is there and does not have the value.
    fn not_there(&self, shelf: &Shelf) -> (Verdict, Vec<Reason>) {
        let Some(newest) = self.fates.newest else { return (Verdict::Out, self.losses()) };
        if self.ages_of(&shelf.ages, newest).is_empty() {
            return (Verdict::Out, self.too_old(newest, &shelf.ages));
        }
        if self.is_full() {
            let lost = Lost { rows: self.fates.listed, newest, ..Lost::default() };
            return (Verdict::Out, vec![words::reason(self.place(), Loss::Refused(Refusal::ListFull), &lost)]);
        }
        (Verdict::Late, vec![self.lag("it belongs there")])
    }

    /// The value stands in some ages.
    fn not_everywhere(&self, shelf: &Shelf) -> Vec<Reason> {
        let Some(newest) = self.fates.newest else {
            if self.is_of_another(shelf) {
                let text = "another value has the same line in this format";
                return vec![Reason::general("same line", text, None)];
            }
            let mut reasons = vec![self.lag("it stands there, and by what is known now it should not")];
            reasons.extend(self.fates.lost.iter().map(|(loss, lost)| words::reason(self.place(), *loss, lost)));
            return reasons;
        };
        let without: BTreeSet<usize> = shelf.ages.difference(&shelf.has).copied().collect();
        let late = self.ages_of(&without, newest);
        let mut reasons = Vec::new();
        if !late.is_empty() {
            reasons.push(self.lag(&format!("it belongs into {}, too", names(&late).join(", "))));
        }
        let old: BTreeSet<usize> = without.difference(&late).copied().collect();
        if !old.is_empty() {
            reasons.push(words::too_old(newest, &names(&old)));
        }
        reasons
    }

    /// Whether formats have the line because of another value: some write several values as one line.
    fn is_of_another(&self, shelf: &Shelf) -> bool {
        let Some(list) = self.made() else { return false };
        let formats = shelf.stands.iter().flat_map(|standing| &standing.formats);
        formats.filter_map(|name| Format::named(name)).all(|format| {
            let body = format.body(self.key.1, list.since(i64::MIN));
            served::holds(format, &body.bytes, self.wanted()).unwrap_or(false)
        })
    }

    /// What keeps each row out; if there is none, that is why.
    fn losses(&self) -> Vec<Reason> {
        let reasons: Vec<Reason> =
            self.fates.lost.iter().map(|(loss, lost)| words::reason(self.place(), *loss, lost)).collect();
        if !reasons.is_empty() {
            return reasons;
        }
        vec![Reason::general("not in the mirror", "no attribute that is known here has it", None)]
    }

    fn too_old(&self, newest: i64, ages: &BTreeSet<usize>) -> Vec<Reason> {
        let mut reasons = vec![words::too_old(newest, &names(ages))];
        reasons.extend(self.fates.lost.iter().map(|(loss, lost)| words::reason(self.place(), *loss, lost)));
        reasons
    }

    /// Those of these ages that go back so far.
    fn ages_of(&self, ages: &BTreeSet<usize>, newest: i64) -> BTreeSet<usize> {
        ages.iter().copied().filter(|age| AGES[*age].since(self.bench.now, self.bench.zone) <= newest).collect()
    }

    /// Whether a list of networks has no room for it.
    fn is_full(&self) -> bool {
        let is_of_networks = DataType::named(self.key.1).is_some_and(DataType::is_of_networks);
        let without = |list: List| !list.since(i64::MIN).any(|line| self.lines.contains(line));
        is_of_networks && self.made().is_some_and(without)
    }

    /// The list as it would be made now.
    fn made(&self) -> Option<List> {
        let wants = BTreeMap::from([(self.key.clone(), i64::MIN)]);
        let (rules, now) = (&self.bench.site.rules, self.bench.now.as_second());
        select::lists(self.bench.mirror?, rules, self.bench.never, &wants, now).lists.remove(self.key)
    }

    fn wanted(&self) -> Wanted<'_> {
        wanted(self.key, self.lines)
    }

    /// What holds the served version back.
    fn lag(&self, what: &str) -> Reason {
        let Bench { site, counters, hash, .. } = self.bench;
        let name = site.view.site();
        let held = holds::hold_on(&counters.holds, &self.key.0);
        let held = held.or_else(|| counters.holds.iter().find(|(key, _)| holds::is_of_view(key)).map(|(_, hold)| hold));
        let (rule, why, remedy) = if let Some(pin) = &counters.pin {
            let why = format!("the view is pinned to the content of version {}", pin.content);
            ("pinned", why, Some(format!("cratos versions unpin --site {name}")))
        } else if counters.guarded.is_some() {
            let texts: Vec<&str> = counters.holds.values().map(|hold| hold.text.as_str()).collect();
            let why = format!("a newer version is written and held by the guard ({})", texts.join("; "));
            ("held", why, Some(format!("cratos approve {name}")))
        } else if let Some(hold) = held {
            ("held", format!("it is held: {}", hold.text), Some(format!("cratos approve {name}")))
        } else if counters.compared.mirror != *hash {
            ("not yet", "the served version was made before what is known now".to_owned(), None)
        } else {
            ("not yet", "the next refresh brings it up to date".to_owned(), Some(format!("cratos refresh {name}")))
        };
        Reason::general(rule, format!("{what}, but {why}"), remedy)
    }

    fn place(&self) -> Place<'_> {
        Place { site: self.bench.site, slice: &self.key.0, data_type: self.key.1 }
    }
}

fn names(ages: &BTreeSet<usize>) -> Vec<&'static str> {
    ages.iter().map(|age| AGES[*age].name).collect()
}
