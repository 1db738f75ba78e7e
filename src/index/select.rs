//! Which attribute is in which list. In: a mirror, the rules and the lists that are wanted. Out: these lists, and how many
//! values were refused. Pure.
//!
//! Membership, decided as MISP decides it for the Python Cratos: the type is one of the data type's MISP types; `to_ids`
//! unless the data type or one of its MISP types is in `ignore_to_ids`; no false-positive tag on attribute or event; the
//! feed's tag on attribute or event (SQL LIKE, case-sensitive); published events only, except for `incident`, `alert` and
//! `hunt`; no warninglist hit, except for `42`. Age is decided later, by [`List::since`].
//!
//! Invariants: a list that is not wanted costs nothing per value; a value is normalised once per data type.

use std::collections::{BTreeMap, BTreeSet};

use super::collect::{Collection, Seen};
use super::mirror::{Event, Mirror, Row};
use super::normalise::{Bounds, Refusal};
use super::{ANY, DataType, FORTY_TWO, List, Rules, Slice, TypeRule};

/// Names one list, whatever its age.
pub type ListKey = (Slice, &'static str);

/// What [`lists`] found.
#[derive(Debug, Default)]
pub struct Lists {
    /// One per wanted key, empty ones too.
    pub lists: BTreeMap<ListKey, List>,
    /// Data type → reason → values that members of some wanted list carry and no list can hold.
    pub refusals: BTreeMap<&'static str, BTreeMap<Refusal, u64>>,
}

/// Computes the wanted lists.
pub fn lists(mirror: &Mirror, rules: &Rules, wanted: &BTreeSet<ListKey>) -> Lists {
    let tags = TagMatches::new(mirror, rules);
    let mut out = Lists::default();
    for rule in &rules.types {
        let slices: Vec<&Slice> =
            wanted.iter().filter(|(_, name)| *name == rule.data_type.name).map(|(slice, _)| slice).collect();
        if slices.is_empty() {
            continue;
        }
        let selected = Selected {
            data_type: rule.data_type,
            kinds: mirror.type_names().iter().map(|kind| counts_for(rule.data_type, &rule.misp_types, kind)).collect(),
            any_to_ids: rule.ignores_to_ids(rules),
            wants: slices.iter().map(|slice| Want::new(slice, rules)).collect(),
            bounds: rules.bounds,
        };
        let (lists, refusals) = selected.collect(mirror, &tags);
        out.lists
            .extend(slices.into_iter().cloned().zip(lists).map(|(slice, list)| ((slice, rule.data_type.name), list)));
        if !refusals.is_empty() {
            out.refusals.insert(rule.data_type.name, refusals);
        }
    }
    out
}

/// Every value that a data type is made from, with its MISP type, whatever feed it is in.
pub fn raw_values<'a>(mirror: &'a Mirror, rule: &TypeRule) -> Vec<(&'a str, &'a str)> {
    let kinds = mirror.type_names();
    let counts: Vec<bool> = kinds.iter().map(|kind| counts_for(rule.data_type, &rule.misp_types, kind)).collect();
    let of_event = |event: &'a std::sync::Arc<Event>| {
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
struct Want {
    /// Which tag feed, if it is one.
    feed: Option<usize>,
    creator: Option<uuid::Uuid>,
    published_only: bool,
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

    fn takes(&self, event: &Event, row: &Row, tags: &TagMatches) -> bool {
        self.known
            && (event.published || !self.published_only)
            && (!row.on_warninglist || self.with_warninglist_hits)
            && self.creator.is_none_or(|creator| creator == event.creator)
            && self.feed.is_none_or(|feed| tags.has(event.tags, feed) || tags.has(row.tags, feed))
    }
}

/// One data type and the slices that want it.
struct Selected {
    data_type: &'static DataType,
    /// Per MISP type number of the mirror: does it count.
    kinds: Vec<bool>,
    any_to_ids: bool,
    wants: Vec<Want>,
    bounds: Bounds,
}

impl Selected {
    fn collect(&self, mirror: &Mirror, tags: &TagMatches) -> (Vec<List>, BTreeMap<Refusal, u64>) {
        let mut collection = Collection::new(self.data_type.normalise, self.bounds, self.wants.len());
        let mut takers = Vec::with_capacity(self.wants.len());
        for (number, event) in mirror.events().enumerate() {
            for row in event.rows.iter().filter(|row| self.counts(event, row, tags)) {
                takers.clear();
                takers.extend((0..self.wants.len()).filter(|want| self.wants[*want].takes(event, row, tags)));
                if !takers.is_empty() {
                    let seen = Seen { event: number as u32, timestamp: row.timestamp };
                    collection.add(&mirror.type_names()[row.kind as usize], event.value(row), seen, &takers);
                }
            }
        }
        collection.finish()
    }

    fn counts(&self, event: &Event, row: &Row, tags: &TagMatches) -> bool {
        self.kinds[row.kind as usize]
            && (row.to_ids || self.any_to_ids)
            && !tags.is_false_positive(event.tags)
            && !tags.is_false_positive(row.tags)
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

/// SQL LIKE as MISP compares tag names (`MispAttribute.php`, `Tag::lookupTagIdFromName`): `%` is any text, `_` one
/// character, a backslash takes the next character as it is; case-sensitive. Time is at most pattern × name.
pub fn like(pattern: &str, name: &str) -> bool {
    let pattern = like_tokens(pattern);
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut from) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while from < name.len() {
        match pattern.get(at) {
            Some(Token::Any) => {
                retry = Some((at, from));
                at += 1;
            }
            Some(Token::One) => (at, from) = (at + 1, from + 1),
            Some(Token::Is(character)) if *character == name[from] => (at, from) = (at + 1, from + 1),
            _ => match retry {
                Some((star, start)) => {
                    retry = Some((star, start + 1));
                    (at, from) = (star + 1, start + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|token| matches!(token, Token::Any))
}

enum Token {
    Any,
    One,
    Is(char),
}

fn like_tokens(pattern: &str) -> Vec<Token> {
    let mut characters = pattern.chars();
    let mut tokens = Vec::new();
    while let Some(character) = characters.next() {
        tokens.push(match character {
            '%' => Token::Any,
            '_' => Token::One,
            '\\' => Token::Is(characters.next().unwrap_or('\\')),
            other => Token::Is(other),
        });
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_is_sql_like() {
        for (pattern, name, expected) in [
            ("a:b=block", "a:b=block", true),
            ("a:b=block", "a:b=BLOCK", false),
            ("a_b", "axb", true),
            ("a_b", "ab", false),
            ("a%", "a", true),
            ("%=block", "x:y=block", true),
            ("%a%b%", "xxaxxbxx", true),
            ("%a%b%", "xxbxxaxx", false),
            (r"a\_b", "axb", false),
            (r"a\_b", "a_b", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(like(pattern, name), expected, "{pattern} {name}");
        }
    }
}
