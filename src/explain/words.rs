//! Rules in words, and what can be done about them. In: what keeps rows out of a list. Out: texts for people. Pure.
//!
//! Invariant: every rule has a text; a remedy is something that can be typed or clicked.

use jiff::Timestamp;
use serde::Serialize;

use crate::config::Site;
use crate::index::fate::Loss;
use crate::index::trace::Lost;
use crate::index::{FORTY_TWO, Refusal, Slice};

/// Why rows do not put the value into a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The rule, in the words of the manifest.
    pub rule: String,
    /// How many rows it keeps out; 0: it is not about single rows.
    pub attributes: u64,
    /// In a sentence.
    pub text: String,
    /// What changes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Reason {
    /// About no row in particular.
    pub fn general(rule: &str, text: impl Into<String>, remedy: Option<String>) -> Self {
        Self { rule: rule.to_owned(), attributes: 0, text: text.into(), remedy }
    }
}

/// The list that rows are kept out of.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The site with its rules.
    pub site: &'a Site,
    /// The feed or organisation.
    pub slice: &'a Slice,
    /// The data type.
    pub data_type: &'static str,
}

/// What keeps these rows out.
pub fn reason(place: Place<'_>, loss: Loss, lost: &Lost) -> Reason {
    let (text, remedy) = match loss {
        Loss::NotInFeed => not_in_feed(place),
        Loss::Unpublished => unpublished(place, lost),
        Loss::ToIds => to_ids(place),
        Loss::FalsePositive => {
            let tag = &place.site.rules.false_positive;
            let text = format!("the false-positive tag {tag} is on the attribute or its event");
            (text, Some("take the tag off in MISP".to_owned()))
        }
        Loss::Warninglist => {
            let remedy = format!(
                "only the feed {FORTY_TWO} takes such values; or switch the warninglist off in MISP, or take the value off it"
            );
            ("it is on a warninglist of the MISP".to_owned(), Some(remedy))
        }
        Loss::NeverPublish => {
            let entry = lost.entry.as_deref().unwrap_or("an entry of it");
            let remedy =
                format!("`always_publish` lets it through, in config.yaml or sites/{}.yaml", place.site.view.site());
            (format!("never_publish: {entry}"), Some(remedy))
        }
        Loss::Refused(refusal) => (refusal.to_string(), refused(place, refusal)),
        Loss::Age => ("it is older than the largest age".to_owned(), None),
    };
    Reason { rule: loss.to_string(), attributes: lost.rows, text, remedy }
}

fn not_in_feed(place: Place<'_>) -> (String, Option<String>) {
    match place.slice {
        Slice::Organisation(_) => ("another organisation created the event".to_owned(), None),
        Slice::Feed(name) => {
            let feed = place.site.rules.feeds.iter().find(|feed| feed.name == *name);
            let remedy =
                feed.map(|feed| format!("for {name}: put the tag {} on the attribute or its event in MISP", feed.tag));
            ("the feed's tag is on neither the attribute nor its event".to_owned(), remedy)
        }
    }
}

fn unpublished(place: Place<'_>, lost: &Lost) -> (String, Option<String>) {
    let since = lost.left_at.map(|at| format!(" (since {})", moment(at))).unwrap_or_default();
    let mut remedy = format!("publish the event {} in MISP", lost.event);
    if lost.left_at.is_some() && place.site.rules.unpublish_grace == 0 {
        remedy.push_str("; `unpublish_grace` keeps such values while an event is edited");
    }
    (format!("its event is not published{since}"), Some(remedy))
}

fn to_ids(place: Place<'_>) -> (String, Option<String>) {
    let remedy = format!(
        "switch the attribute's IDS flag on in MISP, or name its type in `ignore_to_ids` of sites/{}.yaml",
        place.site.view.site()
    );
    ("its IDS flag (to_ids) is off".to_owned(), Some(remedy))
}

fn refused(place: Place<'_>, refusal: Refusal) -> Option<String> {
    let widest = place.site.rules.bounds.widest;
    match refusal {
        Refusal::TooWide => Some(format!("`ipv4ext_widest` (now {widest}) says how wide a network may be")),
        Refusal::BelowMinPrefix => {
            Some(format!("`min_prefix` (now {}) says how wide a network may be", place.site.rules.bounds.min_prefix))
        }
        Refusal::ListFull => {
            Some("a list of networks has at most a million lines; wide networks are left out first".into())
        }
        Refusal::Checksum => Some("a digit is wrong: correct the value in MISP".into()),
        _ => None,
    }
}

/// A list's ages begin after the newest row.
pub fn too_old(newest: i64, ages: &[&str]) -> Reason {
    let oldest = ages.last().copied().unwrap_or_default();
    let text = format!("its newest attribute is of {}, older than {oldest}", moment(newest));
    Reason::general("too old", text, None)
}

/// Unix seconds as a date.
pub fn moment(second: i64) -> String {
    let moment = Timestamp::from_second(second).map(|moment| moment.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
    moment.unwrap_or_else(|_| "an unknown time".to_owned())
}
