//! The queue from `web` to the publisher: wishes for lists nobody has rendered yet, and when lists on demand were last asked
//! for. `web` puts in, `schedule` takes out; neither knows the other.
//!
//! Invariants: bounded in all, per view and per token; a full queue refuses, it never waits.

pub mod errands;
pub mod knock;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::view::ViewId;
use errands::Errands;

/// Wishes waiting at once, all views together.
const QUEUE: usize = 1024;
/// Lists on demand a view may have.
const PER_VIEW: usize = 10_000;
/// Lists on demand one token may ask for.
const PER_TOKEN: usize = 4000;

/// What a list is taken out of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Of {
    /// A feed, by its name.
    Feed(String),
    /// What an organisation created, by its UUID as it stands in the URL.
    Organisation(String),
}

/// Before the UUID in the text form; no feed's name has a slash.
const ORGANISATION: &str = "org/";

impl Of {
    /// Reads the text form back.
    pub fn read(text: String) -> Self {
        match text.strip_prefix(ORGANISATION) {
            Some(uuid) => Self::Organisation(uuid.to_owned()),
            None => Self::Feed(text),
        }
    }
}

impl fmt::Display for Of {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Feed(name) => out.write_str(name),
            Self::Organisation(uuid) => write!(out, "{ORGANISATION}{uuid}"),
        }
    }
}

/// Names a list on demand inside its view, in the words of the URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Wanted {
    /// Out of what.
    pub of: Of,
    /// A data type's name.
    pub data_type: String,
    /// An age's name.
    pub age: String,
    /// A format's name.
    pub format: String,
}

/// What became of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is in the table now.
    Done,
    /// Not now: nothing was pulled yet, or publishing failed.
    Later,
}

/// One wish.
#[derive(Debug)]
pub struct Wish {
    /// Whose list.
    pub view: ViewId,
    /// Which list.
    pub wanted: Wanted,
    /// It may wait for the next refresh; not any more once it has.
    pub patient: bool,
    /// Told when it is decided. The asker may be gone.
    pub answer: oneshot::Sender<Answer>,
}

/// Both ends share it.
#[derive(Debug)]
pub struct Demand {
    queue: mpsc::Sender<Wish>,
    asked: Mutex<HashMap<ViewId, HashMap<Wanted, Asked>>>,
    errands: Errands,
}

#[derive(Debug)]
struct Asked {
    last: i64,
    token: String,
}

impl Demand {
    /// The shared part and the end that takes wishes out.
    pub fn new() -> (Self, mpsc::Receiver<Wish>) {
        let (queue, wishes) = mpsc::channel(QUEUE);
        (Self { queue, asked: Mutex::default(), errands: Errands::default() }, wishes)
    }

    /// What is wished for beside lists.
    pub fn errands(&self) -> &Errands {
        &self.errands
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<ViewId, HashMap<Wanted, Asked>>> {
        // A poisoned map is still a map: entries are written whole.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a wish in. `None`: the queue, the view or the token is at its bound.
    pub fn wish(&self, view: &ViewId, wanted: &Wanted, token: &str, now: i64) -> Option<oneshot::Receiver<Answer>> {
        {
            let mut asked = self.asked();
            let of_view = asked.entry(view.clone()).or_default();
            let of_token = of_view.values().filter(|other| other.token == token).count();
            if !of_view.contains_key(wanted) && (of_view.len() >= PER_VIEW || of_token >= PER_TOKEN) {
                return None;
            }
            of_view.insert(wanted.clone(), Asked { last: now, token: token.into() });
        }
        let (answer, receiver) = oneshot::channel();
        self.queue.try_send(Wish { view: view.clone(), wanted: wanted.clone(), patient: true, answer }).ok()?;
        Some(receiver)
    }

    /// Notes that a list on demand was asked for. `now` in Unix seconds.
    pub fn touch(&self, view: &ViewId, wanted: &Wanted, now: i64) {
        if let Some(asked) = self.asked().get_mut(view).and_then(|of_view| of_view.get_mut(wanted)) {
            asked.last = asked.last.max(now);
        }
    }

    /// When each list on demand of a view was last asked for (Unix seconds): what `state.rs` keeps over a restart.
    pub fn last_asked(&self, view: &ViewId) -> HashMap<Wanted, i64> {
        let asked = self.asked();
        asked.get(view).into_iter().flatten().map(|(wanted, asked)| (wanted.clone(), asked.last)).collect()
    }

    /// Forgets a view.
    pub fn forget(&self, view: &ViewId) {
        self.asked().remove(view);
        self.errands.forget(view);
    }

    /// Takes times from an earlier run over.
    pub fn restore(&self, view: &ViewId, times: HashMap<Wanted, i64>) {
        let mut asked = self.asked();
        let of_view = asked.entry(view.clone()).or_default();
        for (wanted, last) in times {
            of_view.entry(wanted).or_insert(Asked { last, token: String::new() });
        }
    }

    /// Forgets lists on demand that nobody asked for since `before` (Unix seconds).
    pub fn forget_idle(&self, view: &ViewId, before: i64) {
        if let Some(of_view) = self.asked().get_mut(view) {
            of_view.retain(|_, asked| asked.last >= before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_and_an_organisation_of_the_same_name_are_told_apart() {
        let name = "569b6c1f-bd1c-49c8-9244-0484bce2ab96";
        let both = [Of::Feed(name.into()), Of::Organisation(name.into())];
        assert_ne!(both[0].to_string(), both[1].to_string());
        for of in both {
            assert_eq!(Of::read(of.to_string()), of);
        }
        assert_eq!(Of::read("any".into()), Of::Feed("any".into()), "as older files have it");
    }
}
