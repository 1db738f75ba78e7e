//! Why a refresh failed, and where. In: what a stage says. Out: the same with the view and the stage's name.

use crate::fetch::FetchError;
use crate::index::never::NoList;
use crate::snapshot::SnapshotError;
use crate::state::StateError;
use crate::view::ViewId;

/// Why a refresh failed, and where.
#[derive(Debug, thiserror::Error)]
#[error("{view}: {stage}")]
pub struct RefreshError {
    /// Whose refresh.
    pub view: ViewId,
    /// The stage and its cause.
    #[source]
    pub stage: StageError,
}

impl RefreshError {
    /// What the source answered, if that is what failed.
    fn fetch(&self) -> Option<&FetchError> {
        match &self.stage {
            StageError::Fetch(error) | StageError::ListNotFetched { cause: error, .. } => Some(error),
            _ => None,
        }
    }

    /// The MISP does not accept the key.
    pub fn refuses_key(&self) -> bool {
        self.fetch().is_some_and(FetchError::refuses_key)
    }

    /// Whether it was the source that failed, not this machine.
    pub fn is_of_source(&self) -> bool {
        self.fetch().is_some() || matches!(self.stage, StageError::TimeLimit(_))
    }

    /// Seconds that the source wants to be left alone.
    pub fn wait(&self) -> Option<u64> {
        match self.fetch()?.cause() {
            FetchError::RateLimited { seconds, .. } => Some(*seconds),
            _ => None,
        }
    }
}

/// The stage that failed.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The source.
    #[error("fetch: {0}")]
    Fetch(#[from] FetchError),
    /// Somebody decided something that cannot be.
    #[error("{0}")]
    Refused(String),
    /// Nothing newer than what is served may be shown.
    #[error("a version is held or pinned: lists that it does not hold are not made")]
    Aside,
    /// The key is not this user's any more.
    #[error("fetch: the key of this view now belongs to another user of the MISP ({0})")]
    OtherUser(String),
    /// A warninglist that `never_publish` names could not be fetched, and never was.
    #[error("never_publish: the warninglist \"{name}\" was never fetched: {cause}")]
    ListNotFetched {
        /// MISP's name of it.
        name: String,
        /// Why.
        cause: FetchError,
    },
    /// A warninglist that `never_publish` names does not exist.
    #[error(
        "never_publish: this MISP has no warninglist \"{0}\"; write its name as MISP's list of warninglists shows it, or \
         remove it"
    )]
    NoWarninglist(String),
    /// A warninglist that `never_publish` names has no entries any more.
    #[error("never_publish: the warninglist \"{0}\" has no entries any more; if that is so, remove it")]
    EmptyWarninglist(String),
    /// A warninglist that `never_publish` names was never fetched; no refresh has succeeded since it was named.
    #[error("never_publish: the warninglist \"{0}\" was never fetched; a refresh comes first")]
    NoListYet(String),
    /// A warninglist is of a kind that cannot be matched.
    #[error("never_publish: {0}; remove it, or write its entries into a file and name that with `file:`")]
    List(#[from] NoList),
    /// Longer than `refresh_time_limit`.
    #[error("fetch: not done after {0} s (refresh_time_limit)")]
    TimeLimit(u64),
    /// Writing or reading versions.
    #[error("snapshot: {0}")]
    Snapshot(#[from] SnapshotError),
    /// Mirror or counters.
    #[error("state: {0}")]
    State(#[from] StateError),
    /// Nothing was pulled yet, or under other rules, or less than is asked for.
    #[error("index: what is known of this view does not cover this; a refresh comes first")]
    NoMirror,
    /// A thread ended early.
    #[error("{0}")]
    Thread(String),
}
