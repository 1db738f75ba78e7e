//! Bring attributes in. In: a [`Source`] and what is known of its events. Out: events through a [`Sink`], or a
//! [`FetchError`] that changes nothing.
//!
//! | file | answers |
//! |---|---|
//! | [`wire`] | what an event looks like, whatever source it came from; the JSON of events, read leniently |
//! | [`feed`] | the source kind `feed`: `manifest.json` and one event JSON each, from a directory or URL |
//! | [`client`] | bytes over HTTP with time and size limits; the only outgoing connections |
//!
//! Invariants: an event reaches the sink complete or not at all; a pull that fails says so and its caller throws away what
//! it has received so far.

pub mod client;
pub mod feed;
pub mod wire;

use std::collections::BTreeMap;

use uuid::Uuid;

/// Where a site's attributes come from: the one list of source kinds.
#[derive(Clone, Debug)]
pub enum Source {
    /// A MISP feed: a folder or URL with `manifest.json` and one file per event.
    Feed(feed::FeedSource),
    /// No source in the site file. Its tokens keep their meaning; there is nothing to pull from.
    None,
}

impl Source {
    /// In a few words, for tables and logs.
    pub fn describe(&self) -> String {
        match self {
            Source::Feed(feed) => format!("feed {}", feed.place),
            Source::None => "none".into(),
        }
    }
}

/// What a pull may rely on: event → the timestamp it had when it was read. Empty: read everything.
pub type Known = BTreeMap<Uuid, i64>;

/// What a pull found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Events that exist now.
    pub events: u64,
    /// Of these, read again.
    pub read: u64,
    /// Known events that are gone.
    pub gone: Vec<Uuid>,
}

/// Takes what a pull brings. Called in no particular order of events.
pub trait Sink: Send {
    /// One event, complete; it replaces an earlier one with the same uuid.
    fn event(&mut self, event: wire::Event);
    /// How far the pull is: events done and events to do. For progress bars.
    fn progress(&mut self, _done: u64, _of: u64) {}
}

/// Why a pull failed. Nothing that is served changes.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The site file names no source.
    #[error("the site file names no source: add `feed: <folder or URL of a MISP feed>`")]
    NoSource,
    /// A file of a feed folder.
    #[error("cannot read {path}: {cause}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The request itself failed: connection, TLS, time limit.
    #[error("cannot fetch {url}: {cause}")]
    Http {
        /// Without user and password.
        url: String,
        /// The chain of causes.
        cause: String,
    },
    /// The server answered, but not with 200.
    #[error("{url} answered {status}")]
    Status {
        /// Without user and password.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// More bytes than the limit allows.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// File or URL.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// Not the JSON it should be.
    #[error("{what}: {cause}")]
    Json {
        /// File or URL.
        what: String,
        /// What the parser says.
        cause: String,
    },
}

/// Pulls from a source. Only events whose timestamp differs from `known` are read and given to `sink`; events that are
/// `known` and gone are named in the result.
pub async fn pull(source: &Source, known: &Known, sink: &mut dyn Sink) -> Result<Pulled, FetchError> {
    match source {
        Source::Feed(feed) => feed::pull(feed, known, sink).await,
        Source::None => Err(FetchError::NoSource),
    }
}
