//! Make lists out of attributes. In: a [`Mirror`](mirror::Mirror) and [`Rules`]. Out: [`List`]s, and the refusals counted.
//!
//! | file | answers |
//! |---|---|
//! | [`types`] | `TYPES`: which data types exist and what they are made from |
//! | [`age`] | `AGES`: which windows exist and where they begin |
//! | [`normalise`] | what a value looks like in a list, or why it is refused |
//! | [`mirror`] | all that is known of a view |
//! | [`intake`] | fills a mirror from a pull |
//! | [`encoding`], [`decoding`] | the file form of a mirror, written and read |
//! | [`mod@never`] | what must never be published |
//! | [`select`] | which attribute is in which feed |
//! | [`fate`] | what becomes of every row, counted |
//! | [`like`] | how tag names are compared |
//! | [`bands`] | what a list holds at each age, in one look |
//! | [`collect`] | the lists of one data type, made from the values select hands over |
//! | [`patch`] | the lists of a mirror, made out of those of the one before |
//! | [`trace`] | what a mirror knows of one value, and its fate in every list |
//! | [`near`] | what is like a value that a mirror does not know |
//!
//! Invariants: pure; no clock, no file, no async. A [`List`] is sorted by code point, unique and immutable.

pub mod age;
pub mod bands;
pub mod collect;
pub mod decoding;
pub mod encoding;
pub mod fate;
pub mod intake;
pub mod like;
pub mod mirror;
pub mod near;
pub mod never;
pub mod normalise;
pub mod patch;
pub mod select;
pub mod trace;
pub mod types;

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

pub use age::{AGES, Age};
pub use normalise::{Bounds, Refusal};
pub use types::{DataType, TYPES};

/// Which slice of a view: a named feed or what one organisation created.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slice {
    /// A named feed: a tag feed, `any` or `42`.
    Feed(Arc<str>),
    /// Everything an organisation created. Named by its UUID as it was asked for: MISP compares it letter by letter, so
    /// one with upper-case letters is nobody's.
    Organisation(Arc<str>),
}

impl fmt::Display for Slice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slice::Feed(name) | Slice::Organisation(name) => out.write_str(name),
        }
    }
}

/// The feeds every site has, in the order of error texts; a site's custom feeds stand between `hunt` and `any`.
pub const TAG_FEEDS: [&str; 4] = ["incident", "block", "alert", "hunt"];
/// Everything published.
pub const ANY: &str = "any";
/// Everything published, warninglists ignored.
pub const FORTY_TWO: &str = "42";

/// A feed selected by a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagFeed {
    /// As it stands in URLs.
    pub name: Arc<str>,
    /// Tag name, compared as MISP compares it: SQL LIKE, case-sensitive.
    pub tag: String,
    /// Only attributes of published events.
    pub published_only: bool,
}

/// What decides membership at one site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Tag feeds, the site's custom ones included.
    pub feeds: Vec<TagFeed>,
    /// The tag that takes an attribute or event out of everything.
    pub false_positive: String,
    /// MISP types and data types for which `to_ids` does not matter.
    pub ignore_to_ids: BTreeSet<String>,
    /// Every data type with the MISP types it is made from.
    pub types: Vec<TypeRule>,
    /// How far networks are expanded.
    pub bounds: Bounds,
    /// Seconds that rows of an event go on counting as published after it was unpublished.
    pub unpublish_grace: i64,
}

/// One data type at one site.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeRule {
    /// The data type.
    pub data_type: &'static DataType,
    /// MISP types, from `config/mappings.yaml` or built in.
    pub misp_types: Vec<String>,
}

impl Eq for TypeRule {}

impl TypeRule {
    /// Whether `to_ids` does not matter: the data type or one of its MISP types is in `ignore_to_ids`.
    pub fn ignores_to_ids(&self, rules: &Rules) -> bool {
        let names = std::iter::once(self.data_type.name).chain(self.misp_types.iter().map(String::as_str));
        names.into_iter().any(|name| rules.ignore_to_ids.contains(name))
    }
}

impl Rules {
    /// Names what decides about the rows of a mirror, and the source they are asked of: changes if and only if one of them
    /// does. What can be decided anew from a mirror that is there is no part of it. SHA-256 over their text; `source` may hold a secret.
    pub fn fingerprint(&self, source: &str) -> [u8; 32] {
        let types: Vec<_> = self.types.iter().map(|rule| (rule.data_type.name, &rule.misp_types)).collect();
        let Self { feeds, false_positive, ignore_to_ids, .. } = self;
        // As the bounds that are part of it have always been written.
        let bounds = format!("Bounds {{ widest: {}, lines: {} }}", self.bounds.widest, self.bounds.lines);
        let text = format!("3 {feeds:?} {false_positive:?} {ignore_to_ids:?} {types:?} {bounds} {source:?}");
        let mut out = [0; 32];
        out.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref());
        out
    }

    /// Every MISP type that some list is made from. MISP answers a question for `email-src` or `email-dst` with `email`
    /// too (`Event.php`, D35).
    pub fn misp_types(&self) -> BTreeSet<String> {
        let mut types: BTreeSet<String> = self.types.iter().flat_map(|rule| rule.misp_types.iter().cloned()).collect();
        if types.contains("email-src") || types.contains("email-dst") {
            types.insert("email".into());
        }
        types
    }

    /// The MISP types of the data types for which `to_ids` does not matter.
    pub fn any_to_ids(&self) -> BTreeSet<String> {
        let types = self.types.iter().filter(|rule| rule.ignores_to_ids(self)).cloned().collect();
        Rules { types, ..self.clone() }.misp_types()
    }

    /// Whether a slice is one of the tag feeds.
    pub fn is_tag_feed(&self, slice: &Slice) -> bool {
        matches!(slice, Slice::Feed(name) if self.feeds.iter().any(|feed| feed.name == *name))
    }

    /// Whether a slice exists here; an unknown custom feed does not (D11).
    pub fn knows(&self, slice: &Slice) -> bool {
        match slice {
            Slice::Feed(name) => matches!(&**name, ANY | FORTY_TWO) || self.feeds.iter().any(|feed| feed.name == *name),
            Slice::Organisation(_) => true,
        }
    }
}

/// One indicator in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    value: u32,
    /// Newest timestamp of the attributes that carry it, Unix seconds.
    pub newest: i64,
    /// In how many events it stands.
    pub events: u32,
}

/// The values of one data type, sorted by code point and unique, shared by all lists of the type.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Values {
    text: String,
    ends: Vec<usize>,
}

impl Values {
    /// Takes sorted, unique values over.
    fn from_sorted(sorted: &[Box<str>]) -> Self {
        let mut values = Values::default();
        for value in sorted {
            values.push(value);
        }
        values
    }

    /// Appends a value, which is greater than all before it. Out: its number.
    fn push(&mut self, value: &str) -> u32 {
        self.text.push_str(value);
        self.ends.push(self.text.len());
        self.ends.len() as u32 - 1
    }

    /// The number of a value.
    fn number(&self, value: &str) -> Option<u32> {
        let (mut from, mut to) = (0, self.ends.len() as u32);
        while from < to {
            let middle = from + (to - from) / 2;
            match self.get(middle).cmp(value) {
                Ordering::Less => from = middle + 1,
                Ordering::Equal => return Some(middle),
                Ordering::Greater => to = middle,
            }
        }
        None
    }

    fn get(&self, index: u32) -> &str {
        let index = index as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.text[start..self.ends[index]]
    }
}

/// All indicators of one slice and data type, whatever their age.
#[derive(Clone, Debug)]
pub struct List {
    values: Arc<Values>,
    entries: Arc<[Entry]>,
}

impl List {
    /// A list without entries.
    pub fn empty() -> Self {
        List { values: Arc::default(), entries: Arc::new([]) }
    }

    /// The values whose newest attribute is at least as new as `since` (Unix seconds, inclusive), in order.
    pub fn since(&self, since: i64) -> impl Iterator<Item = &str> {
        self.entries.iter().filter(move |entry| entry.newest >= since).map(|entry| self.values.get(entry.value))
    }

    /// How many values [`List::since`] gives.
    pub fn count_since(&self, since: i64) -> usize {
        self.entries.iter().filter(|entry| entry.newest >= since).count()
    }

    /// How many values there are, whatever their age.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Newest timestamp and number of events of a value; `None`: it is not in the list.
    fn place(&self, value: &str) -> Option<(i64, u32)> {
        let number = self.values.number(value)?;
        let at = self.entries.binary_search_by_key(&number, |entry| entry.value).ok()?;
        Some((self.entries[at].newest, self.entries[at].events))
    }

    /// Every entry with its value, in order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Entry)> {
        self.entries.iter().map(|entry| (self.values.get(entry.value), *entry))
    }
}
