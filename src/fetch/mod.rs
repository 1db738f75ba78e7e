//! Bring attributes in. In: a [`Source`] and a [`Question`]. Out: events through a [`Sink`], or a [`FetchError`] that
//! changes nothing.
//!
//! | file | answers |
//! |---|---|
//! | [`misp`] | the source kind `misp`: one pull of everything a view needs |
//! | [`feed`] | the source kind `feed`: `manifest.json` and one event JSON each, from a directory or URL |
//! | [`query`] | what a pull is for, and the bodies of its searches |
//! | [`changes`] | which events to read: the event index against what is known |
//! | [`search`] | one search, all its pages |
//! | [`lookup`] | every row with one value, whatever its flags |
//! | [`pages`] | is there more, is a page whole |
//! | [`server`] | version, user, tags, warninglists |
//! | [`warninglists`] | warninglists by name, with their entries |
//! | [`api`] | one question: tries, errors, headers |
//! | [`mod@split`] | the elements of an answer, as its bytes come |
//! | [`wire`] | what an event, an attribute, a row look like in JSON |
//! | [`client`] | bytes over HTTP with time and size limits; the only outgoing connections |
//! | [`tls`] | whom to trust |
//! | [`certificate`] | what a certificate says of itself |
//!
//! Invariants: an event reaches the sink complete or not at all; a pull that fails says so and its caller throws away what
//! it has received so far.

pub mod api;
pub mod certificate;
pub mod changes;
pub mod client;
pub mod feed;
pub mod lookup;
pub mod misp;
pub mod pages;
pub mod query;
pub mod search;
pub mod server;
pub mod split;
pub mod tls;
pub mod warninglists;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

pub use query::Question;
pub use server::Server;

/// Where a site's attributes come from: the one list of source kinds.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A MISP server.
    Misp(misp::MispSource),
    /// A MISP feed: a folder or URL with `manifest.json` and one file per event.
    Feed(feed::FeedSource),
    /// No source in the site file. Its tokens keep their meaning; there is nothing to pull from.
    None,
}

impl Source {
    /// In a few words, for tables and logs.
    pub fn describe(&self) -> String {
        match self {
            Source::Misp(misp) => format!("MISP {}", client::without_credentials(&misp.url)),
            Source::Feed(feed) => format!("feed {}", feed.place),
            Source::None => "none".into(),
        }
    }

    /// What tells what is seen of it from what is seen of others: the server and the key, or the user if that is known. Only
    /// for hashing.
    pub fn identity(&self, user: Option<&str>) -> String {
        match (self, user) {
            (Source::Misp(misp), Some(user)) => format!("misp {} user {user}", misp.url),
            (Source::Misp(misp), None) => format!("misp {} {}", misp.url, misp.key.reveal()),
            // Events carry their own identity, so a feed may move.
            (Source::Feed(_) | Source::None, _) => "feed".into(),
        }
    }

    /// The MISP key it is pulled with.
    pub fn key(&self) -> Option<&crate::secret::Secret> {
        match self {
            Source::Misp(misp) => Some(&misp.key),
            Source::Feed(_) | Source::None => None,
        }
    }

    /// The server that pulls must not crowd; `None`: there is no such server.
    pub fn server(&self) -> Option<&str> {
        match self {
            Source::Misp(misp) => Some(&misp.url),
            Source::Feed(_) | Source::None => None,
        }
    }
}

/// What is known of an event: it is read again if any of it differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownEvent {
    /// Unix seconds.
    pub timestamp: i64,
    /// As it stood.
    pub published: bool,
    /// Names the set of its rows with the false-positive tag; 0: none.
    pub false_positives: u64,
}

/// What a pull may rely on. Empty: read everything.
pub type Known = BTreeMap<Uuid, KnownEvent>;

/// What a pull found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Everything was read and the watched tags were looked up.
    pub full: bool,
    /// Events that exist now.
    pub events: u64,
    /// Of these, read again.
    pub read: u64,
    /// Known events that are gone.
    pub gone: Vec<Uuid>,
    /// Events that may change once more without their clock showing it.
    pub unsettled: Vec<Uuid>,
    /// Rows with the false-positive tag, at the whole server.
    pub false_positives: u64,
    /// Names of existing tags that are like a watched one; `None`: not asked.
    pub tags: Option<BTreeSet<String>>,
    /// Names the enabled warninglists.
    pub warninglists: Option<String>,
    /// There are rows on warninglists that carry no `warnings`: they cannot be relied on.
    pub hits_missing: bool,
    /// Rows that could not be read, not even whose they are.
    pub malformed: u64,
    /// What the server says of itself; asked by full pulls.
    pub server: Option<Server>,
}

/// Takes what a pull brings. Called in no particular order of events.
pub trait Sink: Send {
    /// One attribute of an event, kept aside until the event is whole. One that comes again replaces itself.
    fn attribute(&mut self, event: &Uuid, attribute: &wire::Attribute<'_>);
    /// The event is whole: what came for it replaces all that was known of it.
    fn event(&mut self, event: wire::Event);
    /// How far the pull is: events done and events to do. For progress bars.
    fn progress(&mut self, _done: u64, _of: u64) {}
}

/// Why a pull failed. Nothing that is served changes.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The site file names no source.
    #[error(
        "the site file names no source: add `mispUrl: <URL of the MISP>` and `mispAuthKeyFile`, or \
         `feed: <folder or URL of a MISP feed>`"
    )]
    NoSource,
    /// A file of a feed folder.
    #[error("cannot read {path}: {cause}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The request itself failed: connection, TLS, time limit, a body that ends early.
    #[error("cannot fetch {url}: {cause}")]
    Http {
        /// Without user and password.
        url: String,
        /// The chain of causes.
        cause: String,
    },
    /// The certificate of the other end is not trusted. Nothing was sent.
    #[error("cannot fetch {url}: {cause}")]
    Untrusted {
        /// Without user and password.
        url: String,
        /// What TLS says.
        cause: String,
    },
    /// No answer began within `mispTimeoutSeconds`.
    #[error("{url} did not begin to answer within {seconds} s")]
    Silent {
        /// Without user and password.
        url: String,
        /// The limit.
        seconds: u64,
    },
    /// The server answered, but not with 200.
    #[error("{url} answered {status}{}{cause}", if .cause.is_empty() { "" } else { ": " })]
    Status {
        /// Without user and password.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What MISP says.
        cause: String,
    },
    /// The server wants to send us elsewhere: maintenance, a wrong path, a login page.
    #[error(
        "{url} answered {status}, a redirect to {to}; a key is not sent elsewhere (maintenance? http instead of https?)"
    )]
    Redirect {
        /// Without user and password.
        url: String,
        /// The HTTP status.
        status: u16,
        /// Where to.
        to: String,
    },
    /// Too many requests for this key.
    #[error("{url} answered 429: the rate limit of this key is used up for {seconds} s")]
    RateLimited {
        /// Without user and password.
        url: String,
        /// Until it is worth trying again.
        seconds: u64,
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
    /// JSON, but not of the wanted shape.
    #[error("{what}: {cause}")]
    Unexpected {
        /// File or URL.
        what: String,
        /// What is wrong.
        cause: String,
    },
    /// Events kept changing while they were read.
    #[error("events changed while they were read, {rounds} times in a row")]
    Moving {
        /// How often they were read again.
        rounds: u32,
    },
    /// One of the above, and what was asked.
    #[error("{what}: {error}")]
    Asking {
        /// In words.
        what: String,
        /// The cause.
        error: Box<FetchError>,
    },
}

impl FetchError {
    /// Says what was being asked.
    pub fn asking(self, what: &str) -> Self {
        match self {
            FetchError::Asking { .. } => self,
            error => FetchError::Asking { what: what.to_owned(), error: Box::new(error) },
        }
    }

    /// MISP does not accept the key: it is wrong, has ended, or its user is disabled. Other 403s (address, permission) are
    /// none of this (`AppController.php`).
    pub fn refuses_key(&self) -> bool {
        let FetchError::Status { status: 403, cause, .. } = self.cause() else { return false };
        cause.starts_with("Authentication failed") || cause.contains("has been disabled")
    }

    /// The cause itself.
    pub fn cause(&self) -> &FetchError {
        match self {
            FetchError::Asking { error, .. } => error.cause(),
            error => error,
        }
    }
}

/// Pulls from a source. Only events that differ from what is known are read and given to `sink`; events that are known and
/// gone are named in the result.
pub async fn pull(source: &Source, question: &Question, sink: &mut dyn Sink) -> Result<Pulled, FetchError> {
    match source {
        Source::Misp(misp) => misp::pull(misp, question, sink).await,
        Source::Feed(feed) => feed::pull(feed, &question.known, sink).await,
        Source::None => Err(FetchError::NoSource),
    }
}
