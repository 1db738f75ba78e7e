//! What a view's MISP said the last time it was asked something other than attributes: its version, its statistics, its
//! warninglists. Written by the drivers, read by `web`; the file form is kept by `state.rs`.
//!
//! Invariants: keyed by view, never by site; what was good once stays until something good replaces it; a failure is a class
//! without any text of the other end.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::view::ViewId;

/// Seconds that a failure answers for. After that the question may be asked again.
const LASTS: i64 = 60;

/// Something a MISP is asked on behalf of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Question {
    /// Its version.
    Check,
    /// Attributes per type.
    Statistics,
    /// A warninglist by its number; 0: the index of all.
    Warninglist(u16),
}

impl fmt::Display for Question {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check => out.write_str("check"),
            Self::Statistics => out.write_str("statistics"),
            Self::Warninglist(id) => write!(out, "warninglist {id}"),
        }
    }
}

impl FromStr for Question {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "check" => Ok(Self::Check),
            "statistics" => Ok(Self::Statistics),
            _ => {
                let id = text.strip_prefix("warninglist ").and_then(|id| id.parse().ok());
                id.map(Self::Warninglist).ok_or(())
            }
        }
    }
}

/// Why there was no good answer, as far as consumers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// 403: MISP does not take the key.
    Refused,
    /// Another status that is not 200.
    Status,
    /// No connection, or one that broke.
    Unreachable,
    /// No answer in time.
    Silent,
    /// An answer that is no JSON.
    Garbled,
    /// JSON, but not what was asked for; a redirect.
    Unexpected,
    /// The site has no MISP.
    NoMisp,
}

/// How a contact ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Unix seconds.
    pub at: i64,
    /// `None`: well.
    pub failure: Option<Failure>,
}

/// All that is known of one view's MISP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Contact {
    /// Names whose view of which server this is about: another one's answers are of no use.
    pub source: String,
    /// The last contact, a refresh or a question for the version.
    pub last: Option<Ended>,
    /// What it says of itself: a JSON object.
    pub about: Option<String>,
    /// Its statistics: a JSON object.
    pub statistics: Option<String>,
    /// Questions whose last answer was none, by their text.
    pub failed: BTreeMap<String, Ended>,
    /// When questions were last put by a consumer, by their text; Unix seconds.
    pub asked: BTreeMap<String, i64>,
}

impl Contact {
    /// Why a question has no answer, if that was found out lately. `now` in Unix seconds.
    pub fn failure(&self, question: Question, now: i64) -> Option<Failure> {
        let ended = self.failed.get(&question.to_string())?;
        ended.failure.filter(|_| now.saturating_sub(ended.at) < LASTS)
    }

    /// Questions that consumers put since `since` (Unix seconds).
    pub fn asked_since(&self, since: i64) -> impl Iterator<Item = Question> {
        let recent = self.asked.iter().filter(move |(_, asked)| **asked >= since);
        recent.filter_map(|(text, _)| text.parse().ok())
    }
}

/// The contacts of all views.
#[derive(Debug, Default)]
pub struct Contacts(RwLock<HashMap<ViewId, Arc<Contact>>>);

impl Contacts {
    /// What is known of a view's MISP.
    pub fn get(&self, view: &ViewId) -> Option<Arc<Contact>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(view).cloned()
    }

    /// Takes newer knowledge over.
    pub fn set(&self, view: &ViewId, contact: Contact) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(view.clone(), Arc::new(contact));
    }

    /// Forgets a view.
    pub fn remove(&self, view: &ViewId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(view);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_read_back() {
        for question in [Question::Check, Question::Statistics, Question::Warninglist(0), Question::Warninglist(1000)] {
            assert_eq!(question.to_string().parse(), Ok(question));
        }
        for bad in ["", "warninglist", "warninglist x", "warninglist -1", "Check"] {
            assert_eq!(bad.parse::<Question>(), Err(()), "{bad}");
        }
    }

    #[test]
    fn a_failure_answers_for_a_minute() {
        let ended = Ended { at: 100, failure: Some(Failure::Status) };
        let contact = Contact { failed: [("statistics".to_owned(), ended)].into(), ..Contact::default() };
        assert_eq!(contact.failure(Question::Statistics, 159), Some(Failure::Status));
        assert_eq!(contact.failure(Question::Statistics, 160), None);
        assert_eq!(contact.failure(Question::Check, 100), None);
    }
}
