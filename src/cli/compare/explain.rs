//! Why two answers differ. In: a question and both answers. Out: equal, under differences on purpose (by their ids in the README),
//! or different. Pure.
//!
//! Invariants: an id is given only if the difference is what the id says, in every line of a list; what cannot be explained is
//! different.

use std::collections::BTreeSet;

use serde_json::Value;

use super::evidence::Evidence;
use super::lists;
use super::target::{Kind, Target};
use crate::index::Rules;
use crate::token::Claims;

/// An id of the README's table, e.g. `D4`.
pub type Id = &'static str;

/// One answer, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`; empty: none.
    pub content_type: String,
    /// `Location`.
    pub location: Option<String>,
    /// Decompressed.
    pub body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The text of a refusal.
    fn detail(&self) -> String {
        self.json().and_then(|json| Some(json.get("detail")?.as_str()?.to_owned())).unwrap_or_default()
    }
}

/// What the configuration says about the site of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is served.
    Good,
    /// `enabled: false`.
    Off,
    /// Its file does not check.
    Broken,
    /// No site, no token, or a token of another installation.
    Unknown,
}

/// A question, and what is known of it beside both answers.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What was asked.
    pub target: &'a Target,
    /// The token, if it opens.
    pub claims: Option<&'a Claims>,
    /// The token's text is not the way this program writes it.
    pub respelled: bool,
    /// The token's site.
    pub standing: Standing,
    /// What decides membership at that site.
    pub rules: Option<&'a Rules>,
    /// Values of the list's type.
    pub evidence: Option<&'a Evidence>,
    /// For `incident`, `alert` and `hunt`: what published events alone have of this type and age.
    pub published: Option<&'a BTreeSet<String>>,
}

/// How two answers compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same status, content type and body.
    Equal,
    /// All of the difference is under these.
    Intended(BTreeSet<Id>),
    /// In words, for people.
    Different(String),
}

impl Verdict {
    fn by(id: Id) -> Self {
        Self::Intended(BTreeSet::from([id]))
    }
}

/// Compares two answers to one question.
pub fn explain(asked: &Asked<'_>, old: &Answer, new: &Answer) -> Verdict {
    let kind = &asked.target.kind;
    let location = (old.status == 307 && new.status == 307).then(|| redirects_alike(old, new));
    let same = old.status == new.status && old.content_type == new.content_type && old.body == new.body;
    match location {
        Some(true) if old.location == new.location => return Verdict::Equal,
        Some(true) => return Verdict::by("D33"),
        Some(false) => return Verdict::Different(format!("leads to {:?}, not {:?}", new.location, old.location)),
        None if same => return Verdict::Equal,
        None => {}
    }
    if old.status != new.status {
        return match of_status(asked, old, new) {
            Some(id) => Verdict::by(id),
            None => Verdict::Different(told(old, new)),
        };
    }
    if old.content_type != new.content_type {
        return Verdict::Different(format!("content type {:?}, not {:?}", new.content_type, old.content_type));
    }
    let is_known = match (old.status, kind) {
        (200, Kind::List(list)) => return lists::explain(asked, list, &old.body, &new.body),
        (200, Kind::FeedMapping) => (corrected(&old.body) == new.body).then_some("D12"),
        (200, Kind::Status) => (is_member_of(old, new)).then_some("D24"),
        (200, Kind::Root) => (members(old) == members(new)).then_some("D25"),
        (200, Kind::Page) => Some("D36"),
        (422, _) => same_complaints(old, new).then_some("D36"),
        (503, Kind::List(_)) => Some("D37"),
        _ => None,
    };
    is_known.map_or_else(|| Verdict::Different(told(old, new)), Verdict::by)
}

/// The id under which these statuses may differ.
fn of_status(asked: &Asked<'_>, old: &Answer, new: &Answer) -> Option<Id> {
    let kind = &asked.target.kind;
    let is_list = matches!(kind, Kind::List(_));
    let data_type = if let Kind::List(list) = kind { list.data_type.as_str() } else { "" };
    match (old.status, new.status) {
        (200, 404) => lacks_feed(asked).then_some("D11"),
        (400, 200) if data_type == "ipv4ext" => Some("D4"),
        (400 | 500 | 503, 200) if is_list => Some("D20"),
        (400..=599, 200) if *kind == Kind::Upstream => Some("D31"),
        (_, 503) if *kind == Kind::Upstream && old.status >= 400 => Some("D31"),
        (_, 403) if asked.standing == Standing::Off => Some("D16"),
        (_, 503) if asked.standing == Standing::Broken => Some("D27"),
        (200, 403) if asked.respelled && new.detail().contains("blacklisted") => Some("D14"),
        (403, _) if is_newly_a_token(asked, old) => Some("D17"),
        (500, 503) if is_list => Some("D20"),
        (500, 400 | 422) => Some("D26"),
        (200, 307) if *kind == Kind::Page => Some("D36"),
        _ => None,
    }
}

/// A custom feed that the site does not define.
fn lacks_feed(asked: &Asked<'_>) -> bool {
    let (Kind::List(list), Some(rules)) = (&asked.target.kind, asked.rules) else { return false };
    list.feed
        .as_ref()
        .is_some_and(|feed| feed.starts_with("cust") && !rules.feeds.iter().any(|known| *known.name == **feed))
}

/// The predecessor reads no ports above 1023 and no hyphens.
fn is_newly_a_token(asked: &Asked<'_>, old: &Answer) -> bool {
    old.detail() == "Failed decryption of config token"
        && asked.claims.is_some_and(|claims| claims.port > 1023 || claims.host.contains('-'))
}

/// Both lead to the same path; the predecessor names scheme and host, too.
fn redirects_alike(old: &Answer, new: &Answer) -> bool {
    let path = |location: &str| match location.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or_else(String::new, |at| rest[at..].to_owned()),
        None => location.to_owned(),
    };
    let paths = [old, new].map(|answer| answer.location.as_deref().map(path));
    paths[0].is_some() && paths[0] == paths[1]
}

fn corrected(body: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(body).replace("incident-classifition=block", "incident-classification=block").into_bytes()
}

/// Every member of the old status is in the new one.
fn is_member_of(old: &Answer, new: &Answer) -> bool {
    match (old.json(), new.json()) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            old.iter().all(|(name, value)| new.get(name) == Some(value)) && new.contains_key("state")
        }
        _ => false,
    }
}

fn members(answer: &Answer) -> Option<Vec<String>> {
    Some(answer.json()?.as_object()?.keys().cloned().collect())
}

/// The same places are complained about in the same way; only the words may be longer, since there are more formats.
fn same_complaints(old: &Answer, new: &Answer) -> bool {
    let places = |answer: &Answer| -> Option<Vec<(Value, Value)>> {
        let json = answer.json()?;
        let details = json.get("detail")?.as_array()?;
        Some(details.iter().map(|detail| (detail["loc"].clone(), detail["type"].clone())).collect())
    };
    places(old).is_some_and(|old| Some(old) == places(new))
}

/// Both answers in a few words.
fn told(old: &Answer, new: &Answer) -> String {
    let words = |answer: &Answer| match answer.detail() {
        detail if detail.is_empty() => format!("{} ({} bytes)", answer.status, answer.body.len()),
        detail => format!("{} {:?}", answer.status, detail.chars().take(120).collect::<String>()),
    };
    format!("{}, not {}", words(new), words(old))
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
