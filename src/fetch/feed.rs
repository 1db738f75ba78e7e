//! The source kind `feed`: a MISP feed, that is `manifest.json` and one `<uuid>.json` per event, in a folder or below a URL.
//! Format: the files MISP's feed generator writes (`manifest.json`: event uuid → `{"timestamp": …, …}`).
//!
//! In: the place and the events known so far. Out: events that are new or changed, and the names of those that are gone.
//!
//! Invariants: an event is read again unless its own timestamp equals the manifest's, so a feed that is being rewritten
//! while it is read settles at the next pull; any file that cannot be read whole fails the pull.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use uuid::Uuid;

use super::client::{Client, Limits, without_credentials};
use super::tls::Trust;
use super::{FetchError, Known, Pulled, Sink, wire};

/// Event files fetched at the same time from one server.
const PARALLEL: usize = 4;
/// More events than this are refused: the manifest alone would be hundreds of megabytes.
const MAX_EVENTS: usize = 1_000_000;

/// A feed and what reading it may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedSource {
    /// Folder or URL.
    pub place: Place,
    /// Time and size limits, per file.
    pub limits: Limits,
}

/// Where a feed lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder of this machine.
    Folder(PathBuf),
    /// An `http` or `https` URL that ends in `/`.
    Url(String),
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Folder(path) => write!(out, "{}", path.display()),
            Place::Url(url) => out.write_str(&without_credentials(url)),
        }
    }
}

#[derive(Deserialize)]
struct ManifestEntry {
    timestamp: Timestamp,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Timestamp {
    Number(i64),
    Text(String),
}

/// Reads the manifest, then every event that is new or changed.
pub async fn pull(feed: &FeedSource, known: &Known, sink: &mut dyn Sink) -> Result<Pulled, FetchError> {
    let reader = Reader::new(feed)?;
    let manifest = manifest(&reader).await?;
    let wanted: Vec<Uuid> = manifest
        .iter()
        .filter(|(uuid, timestamp)| known.get(*uuid).is_none_or(|known| known.timestamp != **timestamp))
        .map(|(uuid, _)| *uuid)
        .collect();
    let gone = known.keys().filter(|uuid| !manifest.contains_key(*uuid)).copied().collect();
    let (events, read) = (manifest.len() as u64, wanted.len() as u64);
    let mut done = 0;
    for batch in wanted.chunks(PARALLEL) {
        let mut tasks = tokio::task::JoinSet::new();
        for uuid in batch {
            let (reader, uuid) = (reader.clone(), *uuid);
            tasks.spawn(async move { read_event(&reader, uuid).await });
        }
        while let Some(joined) = tasks.join_next().await {
            let (name, bytes) =
                joined.map_err(|error| FetchError::Json { what: "event".into(), cause: error.to_string() })??;
            give(&name, &bytes, sink)?;
            done += 1;
            sink.progress(done, read);
        }
    }
    Ok(Pulled { events, read, gone, ..Pulled::default() })
}

async fn manifest(reader: &Reader) -> Result<BTreeMap<Uuid, i64>, FetchError> {
    const NAME: &str = "manifest.json";
    let bytes = reader.read(NAME).await?;
    let broken = |cause: String| FetchError::Json { what: reader.name_of(NAME), cause };
    let entries: BTreeMap<Uuid, ManifestEntry> =
        serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
    if entries.len() > MAX_EVENTS {
        return Err(broken(format!("more than {MAX_EVENTS} events")));
    }
    let seconds = |(uuid, entry): (Uuid, ManifestEntry)| match entry.timestamp {
        Timestamp::Number(number) => Ok((uuid, number)),
        Timestamp::Text(text) => match text.parse() {
            Ok(number) => Ok((uuid, number)),
            Err(_) => Err(broken(format!("event {uuid}: the timestamp is not a number"))),
        },
    };
    entries.into_iter().map(seconds).collect()
}

/// One event file: its shown name and its bytes. A feed of many large events is never in memory as a whole.
async fn read_event(reader: &Reader, uuid: Uuid) -> Result<((Uuid, String), Vec<u8>), FetchError> {
    let name = format!("{uuid}.json");
    let bytes = reader.read(&name).await?;
    Ok(((uuid, reader.name_of(&name)), bytes))
}

fn give((uuid, name): &(Uuid, String), bytes: &[u8], sink: &mut dyn Sink) -> Result<(), FetchError> {
    let broken = |cause: String| FetchError::Json { what: name.clone(), cause };
    let event = wire::event(bytes, |event, attribute| sink.attribute(event, attribute)).map_err(broken)?;
    if event.uuid != *uuid {
        return Err(broken(format!("it is event {}, not the one its name says", event.uuid)));
    }
    sink.event(event);
    Ok(())
}

/// Reads files of one feed. File names come from this module, never from the feed.
#[derive(Clone)]
enum Reader {
    Folder(PathBuf, u64),
    Url(String, Client),
}

impl Reader {
    fn new(feed: &FeedSource) -> Result<Self, FetchError> {
        Ok(match &feed.place {
            Place::Folder(path) => Reader::Folder(path.clone(), feed.limits.body),
            Place::Url(url) => Reader::Url(url.clone(), Client::new(feed.limits, &Trust::default())?),
        })
    }

    fn name_of(&self, name: &str) -> String {
        match self {
            Reader::Folder(folder, _) => folder.join(name).display().to_string(),
            Reader::Url(url, _) => without_credentials(&format!("{url}{name}")),
        }
    }

    async fn read(&self, name: &str) -> Result<Vec<u8>, FetchError> {
        match self {
            Reader::Folder(folder, limit) => read_file(folder.join(name), *limit).await,
            Reader::Url(url, client) => client.get(&format!("{url}{name}")).await,
        }
    }
}

async fn read_file(path: PathBuf, limit: u64) -> Result<Vec<u8>, FetchError> {
    use tokio::io::AsyncReadExt;
    let shown = path.display().to_string();
    let failed = |cause| FetchError::File { path: shown.clone(), cause };
    let file = tokio::fs::File::open(&path).await.map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).await.map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(FetchError::TooLarge { what: shown, limit });
    }
    Ok(bytes)
}
