//! The second computation of `pulls`: what a view knows, publishes and holds back, row by row and list by list. It shares no
//! code with the program and looks at nothing but the truth of the scripted MISP.

use std::collections::{BTreeMap, BTreeSet};

use crate::misp::{Indexed, Row, World};

/// The list's key in a manifest → its values in order.
pub type Lists = BTreeMap<String, Vec<String>>;

/// The false-positive tag; `_` takes any character.
pub const FALSE_POSITIVE: &str = "ex_mple:incident-classification=false-positive";
/// What the hold is called when no such tag exists any more.
const TAG_HOLD: &str = "false-positive tag";
/// Feed, its tag as SQL LIKE, published events only.
const FEEDS: [(&str, &str, bool); 5] = [
    ("incident", "ex_mple:incident-classification=incident", false),
    ("block", "ex_mple:incident-classification=block", true),
    ("cust1", "ex%=cust1", true),
    ("any", "%", true),
    ("42", "%", true),
];
/// Tags of feeds that exist at the site and are not published.
const OTHERS: [&str; 2] = ["ex_mple:incident-classification=alert", "ex_mple:incident-classification=hunt"];
/// MISP type, data type, whether `to_ids` is ignored. The last one is in no published list.
const TYPES: [(&str, &str, bool); 4] =
    [("ip-dst", "ipv4", false), ("domain", "domain", false), ("md5", "file-md5", true), ("url", "", false)];

/// All that a key can find out about a server at one moment.
pub struct Look {
    rows: Vec<Row>,
    index: Vec<Indexed>,
    now: i64,
    /// The enabled warninglists: number, version, entries.
    warninglists: Vec<(u64, u64, u64)>,
    tags: Vec<String>,
}

impl Look {
    /// Now.
    pub fn at(world: &World, key: &str) -> Self {
        let enabled = world.warninglists.values().filter(|list| list.enabled);
        Self {
            rows: world.rows(key),
            index: world.index(key),
            now: world.now,
            warninglists: enabled.map(|list| (list.id, list.version, list.entry_count)).collect(),
            tags: world.tags.values().map(|tag| tag.name.clone()).collect(),
        }
    }
}

/// An event as it was when it was last read.
#[derive(Clone)]
struct Copy {
    timestamp: i64,
    published: bool,
    false_positives: BTreeSet<String>,
    /// Its clock stood at the server's own second, so its next change may not show.
    unsettled: bool,
    rows: Vec<Row>,
}

/// One view.
pub struct Model {
    /// `any` and `42` are published too.
    everything: bool,
    /// None before the first refresh.
    known: Option<BTreeMap<String, Copy>>,
    warninglists: Vec<(u64, u64, u64)>,
    pub published: Lists,
    /// What is held back.
    pub holds: BTreeSet<String>,
    /// Feed → values when it was last published.
    counts: BTreeMap<&'static str, usize>,
    /// A false-positive tag existed when the server was last asked.
    had_tag: bool,
    had_false_positives: bool,
    /// Attributes that are known.
    pub rows: usize,
}

/// What a refresh does.
pub struct Expected {
    pub full: bool,
    pub read: usize,
    pub events: usize,
}

impl Model {
    /// Nothing is known yet.
    pub fn new(everything: bool) -> Self {
        Self {
            everything,
            known: None,
            warninglists: Vec::new(),
            published: Lists::new(),
            holds: BTreeSet::new(),
            counts: BTreeMap::new(),
            had_tag: false,
            had_false_positives: false,
            rows: 0,
        }
    }

    /// The same view at its beginning.
    pub fn unknown(&self) -> Self {
        Self::new(self.everything)
    }

    /// Whether there was a refresh.
    pub fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// A refresh that succeeds.
    pub fn refresh(&mut self, look: &Look, full: bool, release: bool) -> Expected {
        // What was known before a hold says nothing of what is there.
        let is_held = self.holds.contains("view") || (release && !self.holds.is_empty());
        let reads_all = full || self.known.is_none() || is_held;
        let known = self.known.clone().unwrap_or_default();
        let (mut fresh, mut read) = (BTreeMap::new(), BTreeSet::new());
        let mut unsettled = false;
        for entry in &look.index {
            let rows: Vec<Row> = look.rows.iter().filter(|row| row.event_uuid == entry.uuid).cloned().collect();
            let found: BTreeSet<String> = rows
                .iter()
                .filter(|row| type_of(row).is_some() && is_false_positive(row))
                .map(|row| row.uuid.clone())
                .collect();
            let same = |old: &&Copy| {
                let settled = !reads_all && look.warninglists == self.warninglists && !old.unsettled;
                let shown = (old.timestamp, old.published, &old.false_positives);
                settled && shown == (entry.timestamp, entry.published, &found)
            };
            let copy = match known.get(&entry.uuid).filter(same) {
                Some(old) => old.clone(),
                None => {
                    read.insert(entry.uuid.clone());
                    // One fresh clock makes the whole batch doubtful, and so few events are one batch.
                    unsettled |= (entry.timestamp - look.now).abs() <= 1;
                    Copy {
                        timestamp: entry.timestamp,
                        published: entry.published,
                        false_positives: found,
                        unsettled: false,
                        rows,
                    }
                }
            };
            fresh.insert(entry.uuid.clone(), copy);
        }
        fresh.iter_mut().filter(|(uuid, _)| read.contains(*uuid)).for_each(|(_, copy)| copy.unsettled = unsettled);
        // The whole truth, whatever was copied.
        let rows: Vec<&Row> =
            if reads_all { look.rows.iter().collect() } else { fresh.values().flat_map(|copy| &copy.rows).collect() };
        let lists = lists(&rows, self.everything);
        // A full refresh that confirms an empty view confirms its feeds.
        let view_was_held = self.holds.contains("view");
        let rows = rows.into_iter().filter(|row| is_needed(row, self.everything)).count();
        if self.may_take(look, &fresh, rows, (full, release, reads_all)) {
            (self.known, self.rows) = (Some(fresh), rows);
            self.warninglists.clone_from(&look.warninglists);
            self.publish(lists, (full, release), view_was_held);
        }
        Expected { full: reads_all, read: read.len(), events: look.index.len() }
    }

    /// Whether the pull is taken over: not if the false-positive tag or all rows vanished, until a full refresh finds again
    /// whatever is the reason.
    fn may_take(
        &mut self,
        look: &Look,
        fresh: &BTreeMap<String, Copy>,
        rows: usize,
        (full, release, reads_all): (bool, bool, bool),
    ) -> bool {
        let has_false_positives = fresh.values().any(|copy| !copy.false_positives.is_empty());
        // While it is held that the tag is gone, every refresh looks for it.
        let is_watched = self.had_false_positives || self.holds.contains(TAG_HOLD);
        let is_asked = reads_all || (is_watched && !has_false_positives);
        let exists = look.tags.iter().any(|tag| like(FALSE_POSITIVE, tag));
        let mut reasons = BTreeSet::new();
        if is_asked && !exists && (self.had_tag || self.had_false_positives) {
            reasons.insert(TAG_HOLD.to_owned());
        }
        if rows == 0 && self.rows > 0 {
            reasons.insert("view".to_owned());
        }
        let confirmed = full && reasons.is_subset(&self.holds);
        self.holds.retain(|hold| hold.starts_with("feed "));
        if !release && !confirmed && !reasons.is_empty() {
            self.holds.append(&mut reasons);
            return false;
        }
        self.had_false_positives = has_false_positives;
        if is_asked {
            self.had_tag = exists;
        }
        true
    }

    /// A feed that has nothing any more keeps its lists, until a full refresh finds that again.
    fn publish(&mut self, lists: Lists, (full, release): (bool, bool), view_was_held: bool) {
        let mut held = BTreeSet::new();
        for (feed, ..) in self.feeds() {
            let of_feed = |list: &&String| list.starts_with(&format!("feed/{feed}/"));
            let count = lists.keys().filter(of_feed).map(|list| lists[list].len()).sum();
            let key = format!("feed {feed}");
            let fell = count == 0 && self.counts.get(feed).is_some_and(|had| *had > 0);
            if fell && !release && !(full && (view_was_held || self.holds.contains(&key))) {
                held.insert(key);
            } else {
                self.counts.insert(feed, count);
                self.published.extend(lists.clone().into_iter().filter(|(list, _)| of_feed(&list)));
            }
        }
        self.holds = held;
    }

    fn feeds(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> + use<> {
        published_feeds(self.everything)
    }
}

fn published_feeds(everything: bool) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    FEEDS.into_iter().filter(move |(_, tag, _)| everything || *tag != "%")
}

/// Every published list.
fn lists(rows: &[&Row], everything: bool) -> Lists {
    let mut out = Lists::new();
    for (feed, tag, published_only) in published_feeds(everything) {
        for (kind, data_type, any_to_ids) in TYPES.into_iter().filter(|(_, data_type, _)| !data_type.is_empty()) {
            let member = |row: &&&Row| {
                row.kind == kind
                    && (row.to_ids || any_to_ids)
                    && (row.published || !published_only)
                    && (!row.on_warninglist || feed == "42")
                    && !is_false_positive(row)
                    && (tag == "%" || has(row, tag))
            };
            let values: BTreeSet<String> = rows.iter().filter(member).map(|row| row.value.clone()).collect();
            out.insert(format!("feed/{feed}/{data_type}/10y.txt"), values.into_iter().collect());
        }
    }
    out
}

/// Whether the view needs a row at all, in a list or not.
fn is_needed(row: &Row, everything: bool) -> bool {
    let tags = FEEDS.iter().map(|(_, tag, _)| *tag).filter(|tag| *tag != "%").chain(OTHERS);
    type_of(row).is_some_and(|any_to_ids| row.to_ids || any_to_ids)
        && (everything || tags.into_iter().any(|tag| has(row, tag)))
}

/// Whether `to_ids` is ignored for its type; none: no list is made from it.
fn type_of(row: &Row) -> Option<bool> {
    TYPES.iter().find(|(kind, ..)| row.kind == *kind).map(|(.., any_to_ids)| *any_to_ids)
}

fn is_false_positive(row: &Row) -> bool {
    has(row, FALSE_POSITIVE)
}

/// On the attribute or on its event.
fn has(row: &Row, pattern: &str) -> bool {
    row.tags.iter().chain(&row.event_tags).any(|tag| like(pattern, tag))
}

/// SQL LIKE without escapes, of ASCII.
fn like(pattern: &str, text: &str) -> bool {
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('%') => (0..=text.len()).any(|from| like(&pattern[1..], &text[from..])),
        Some('_') => !text.is_empty() && like(&pattern[1..], &text[1..]),
        Some(letter) => text.starts_with(letter) && like(&pattern[1..], &text[1..]),
    }
}
