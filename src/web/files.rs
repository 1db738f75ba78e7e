//! Keys → files. In: versions, as they are published. Out: the table of each view, and bodies read from its files.
//!
//! Invariants: a table is complete before it is looked at and never changes after; it holds its version's lease as long as
//! anybody reads from it; a path comes from the manifest, never from a URL; a file that is not as long as the manifest says
//! is not served.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path};
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use futures_util::TryStreamExt;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::access_log::AccessLog;
use super::asset::Asset;
use super::conditional::{self, Validators};
use super::stale::LastSuccess;
use super::{Settings, openapi};
use crate::demand::Demand;
use crate::demand::knock::Door;
use crate::snapshot::layout;
use crate::snapshot::manifest::{Artifact, Opened};
use crate::status::Board;
use crate::token::TokenKeys;
use crate::token::cache::Opener;
use crate::view::ViewId;
use crate::view::keyring::Keyring;

/// Largest part of a file that is read at once, in bytes.
const AT_ONCE: u64 = 256 << 10;
/// Bytes per piece of a larger one.
const PIECE: usize = 64 << 10;

/// The body of every answer.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A body that is in memory.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// 200 with a small body that is never stored.
pub fn small(content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(whole(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// One list, prepared for being served.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Tag of the file.
    pub etag: HeaderValue,
    /// Tag of the compressed sibling, if there is one.
    pub gzip_etag: Option<HeaderValue>,
    /// Content type.
    pub content_type: HeaderValue,
    /// `changed_at` as a date.
    pub last_modified: HeaderValue,
    /// Unix seconds of the last change.
    pub changed_at: i64,
    /// Size of the file.
    pub bytes: u64,
    /// Size of the compressed sibling, if there is one.
    pub gzip_bytes: Option<u64>,
    /// File inside the version.
    pub path: String,
    /// Somebody asked for it.
    pub on_demand: bool,
}

impl Entry {
    /// `None`: no tag, no header or no path inside the version can be made of it.
    fn new(artifact: Artifact) -> Option<Self> {
        let inside = Path::new(&artifact.path).components().all(|part| matches!(part, Component::Normal(_)));
        let hash = artifact.sha256.get(..32).filter(|_| inside && !artifact.path.is_empty())?;
        let gzip_etag = match artifact.gzip_bytes {
            Some(_) => Some(HeaderValue::from_str(&format!("\"{hash}-gz\"")).ok()?),
            None => None,
        };
        Some(Self {
            etag: HeaderValue::from_str(&format!("\"{hash}\"")).ok()?,
            gzip_etag,
            content_type: HeaderValue::from_str(&artifact.content_type).ok()?,
            last_modified: HeaderValue::from_str(&conditional::http_date(artifact.changed_at)).ok()?,
            changed_at: artifact.changed_at,
            bytes: artifact.bytes,
            gzip_bytes: artifact.gzip_bytes,
            path: artifact.path,
            on_demand: artifact.on_demand,
        })
    }

    /// What names its state.
    pub fn validators(&self) -> Validators<'_> {
        Validators { etag: &self.etag, gzip_etag: self.gzip_etag.as_ref(), changed_at: self.changed_at }
    }
}

/// Which bytes of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The file.
    Whole,
    /// Its compressed sibling.
    Gzip,
    /// Bytes of the file from `start` up to and with `end`.
    Range {
        /// First byte.
        start: u64,
        /// Last byte.
        end: u64,
    },
}

/// All lists of one version of a view.
#[derive(Debug)]
pub struct Table {
    entries: HashMap<String, Entry>,
    opened: Opened,
    last_success: LastSuccess,
}

impl Table {
    /// Prepares a version. What cannot be served is left out and logged. `last_success` of its view in Unix seconds.
    pub fn new(mut opened: Opened, last_success: Option<i64>) -> Self {
        let artifacts = std::mem::take(&mut opened.manifest.artifacts);
        let mut entries = HashMap::with_capacity(artifacts.len());
        for (key, artifact) in artifacts {
            match Entry::new(artifact) {
                Some(entry) => drop(entries.insert(key, entry)),
                None => tracing::error!(version = %opened.dir.display(), key, "the manifest has an unusable entry"),
            }
        }
        Self { entries, opened, last_success: last_success.into() }
    }

    /// When its view was refreshed last.
    pub fn last_success(&self) -> &LastSuccess {
        &self.last_success
    }

    /// Looks a list up.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// How many bytes a part has.
    pub fn length(entry: &Entry, part: Part) -> u64 {
        match part {
            Part::Whole => entry.bytes,
            Part::Gzip => entry.gzip_bytes.unwrap_or_default(),
            Part::Range { start, end } => (end + 1).saturating_sub(start),
        }
    }

    /// Reads a part of one of its entries.
    pub async fn body(&self, entry: &Entry, part: Part) -> io::Result<Body> {
        let (path, size, start) = match part {
            Part::Whole => (entry.path.clone(), entry.bytes, 0),
            Part::Gzip => (layout::gzip_path(&entry.path), Self::length(entry, part), 0),
            Part::Range { start, .. } => (entry.path.clone(), entry.bytes, start),
        };
        let (path, length) = (self.opened.dir.join(path), Self::length(entry, part));
        let reading = tokio::task::spawn_blocking(move || open(&path, size, start, length));
        Ok(match reading.await.map_err(io::Error::other)?? {
            Source::Bytes(bytes) => whole(bytes),
            Source::File(file) => {
                let file = tokio::fs::File::from_std(file).take(length);
                StreamBody::new(ReaderStream::with_capacity(file, PIECE).map_ok(Frame::data)).boxed_unsync()
            }
        })
    }
}

/// Where a body comes from.
enum Source {
    Bytes(Vec<u8>),
    File(File),
}

/// Opens a file of `size` bytes at `start`, and reads `length` bytes if they are few.
fn open(path: &Path, size: u64, start: u64, length: u64) -> io::Result<Source> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() != size {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is not as long as the manifest says"));
    }
    file.seek(SeekFrom::Start(start))?;
    if length > AT_ONCE {
        return Ok(Source::File(file));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(length).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).ok() != Some(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Source::Bytes(bytes))
}

/// All that serving looks at. Every part is swapped as a whole; a request sees one state of each.
#[derive(Debug)]
pub struct Front {
    settings: ArcSwap<Settings>,
    /// Made from the settings.
    description: ArcSwap<Asset>,
    tables: ArcSwap<HashMap<ViewId, Arc<Table>>>,
    tokens: Opener,
    log: ArcSwapOption<AccessLog>,
    board: Arc<Board>,
    demand: Arc<Demand>,
    keyring: Arc<Keyring>,
    door: Door,
}

impl Front {
    /// Serves nothing yet.
    pub fn new(
        settings: Settings,
        keys: TokenKeys,
        board: Arc<Board>,
        demand: Arc<Demand>,
        (keyring, door): (Arc<Keyring>, Door),
    ) -> Self {
        let log = settings.access_log.clone().and_then(AccessLog::start).map(Arc::new);
        Self {
            description: ArcSwap::from_pointee(openapi::description(&settings, &[])),
            settings: ArcSwap::from_pointee(settings),
            tables: ArcSwap::default(),
            tokens: Opener::new(keys),
            log: ArcSwapOption::new(log),
            board,
            demand,
            keyring,
            door,
        }
    }

    /// Serves this version of the view from now on.
    pub fn publish(&self, view: &ViewId, opened: Opened) {
        let last_success = self.table(view).and_then(|table| table.last_success().get());
        let table = Arc::new(Table::new(opened, last_success));
        self.tables.rcu(|tables| {
            let mut tables = HashMap::clone(tables);
            tables.insert(view.clone(), Arc::clone(&table));
            tables
        });
        self.keyring.announce();
    }

    /// What is served of the view was good at that moment (Unix seconds), whether or not it is a new version.
    pub fn succeeded(&self, view: &ViewId, second: i64) {
        if let Some(table) = self.tables.load().get(view) {
            table.last_success().set(second);
        }
    }

    /// Serves nothing of the view from now on.
    pub fn withdraw(&self, view: &ViewId) {
        self.tables.rcu(|tables| {
            let mut tables = HashMap::clone(tables);
            tables.remove(view);
            tables
        });
    }

    /// Takes other settings. `listen` and `max_connections` count at start only. An access log that is not wanted any more
    /// ends with the last request that writes to it.
    pub fn configure(&self, settings: Settings) {
        if self.log().map(|log| log.settings().clone()) != settings.access_log {
            self.log.store(settings.access_log.clone().and_then(AccessLog::start).map(Arc::new));
        }
        self.description.store(Arc::new(openapi::description(&settings, &[])));
        self.settings.store(Arc::new(settings));
    }

    /// The access log, if there is one.
    pub fn log(&self) -> Option<Arc<AccessLog>> {
        self.log.load_full()
    }

    /// The settings now.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// The description of the interface, as everybody may see it.
    pub fn description(&self) -> Arc<Asset> {
        self.description.load_full()
    }

    /// The table of a view now.
    pub fn table(&self, view: &ViewId) -> Option<Arc<Table>> {
        self.tables.load().get(view).cloned()
    }

    /// Is anything served?
    pub fn serves_anything(&self) -> bool {
        !self.tables.load().is_empty()
    }

    /// What tokens are opened with.
    pub fn tokens(&self) -> &Opener {
        &self.tokens
    }

    /// How the views are doing.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Which keys open which views.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Where keys go that nobody has proven.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Where wishes go.
    pub fn demand(&self) -> &Demand {
        &self.demand
    }
}
