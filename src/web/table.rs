//! Keys → files of one version. In: a version. Out: entries, with all headers that can be made beforehand; bodies.
//!
//! Invariants: a table is complete before it is looked at and never changes after; it holds its version's lease as long as
//! anybody reads from it; a path comes from the manifest, never from a URL; a file that is not as long as the manifest says
//! is not served, and one that is not what it says is not kept in memory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path};
use std::sync::Arc;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::HeaderValue;
use ring::digest;

use super::body::Body;
use super::conditional::{self, Validators};
use super::direct::Filed;
use super::hot::{Hot, Slot};
use super::stale::LastSuccess;
use crate::snapshot::layout;
use crate::snapshot::manifest::{Artifact, Opened};

/// Largest part of a file that is read at once though it is not kept, in bytes.
const AT_ONCE: u64 = 128 << 10;

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
    /// `bytes`, as a header.
    length: HeaderValue,
    /// `gzip_bytes`, as a header.
    gzip_length: Option<HeaderValue>,
    body: Arc<Slot>,
    gzip_body: Option<Arc<Slot>>,
}

impl Entry {
    /// `None`: no tag, no header or no path inside the version can be made of it.
    fn new(artifact: Artifact, hot: &Hot) -> Option<Self> {
        let inside = Path::new(&artifact.path).components().all(|part| matches!(part, Component::Normal(_)));
        let hash = artifact.sha256.get(..32).filter(|_| inside && !artifact.path.is_empty())?;
        let gzip_etag = match artifact.gzip_bytes {
            Some(_) => Some(HeaderValue::from_str(&format!("\"{hash}-gz\"")).ok()?),
            None => None,
        };
        let etag = HeaderValue::from_str(&format!("\"{hash}\"")).ok()?;
        Some(Self {
            length: artifact.bytes.into(),
            gzip_length: artifact.gzip_bytes.map(HeaderValue::from),
            body: hot.slot(&etag),
            gzip_body: gzip_etag.as_ref().map(|tag| hot.slot(tag)),
            etag,
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

    /// Where the body of a part is kept, and how many bytes that body has; a part may be less.
    fn place(&self, part: Part) -> (&Arc<Slot>, u64) {
        match (part, &self.gzip_body, self.gzip_bytes) {
            (Part::Gzip, Some(slot), Some(bytes)) => (slot, bytes),
            _ => (&self.body, self.bytes),
        }
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
    hot: Arc<Hot>,
}

impl Table {
    /// Prepares a version. What cannot be served is left out and logged. `last_success` of its view in Unix seconds;
    /// `hot`: where bodies are kept.
    pub fn new(mut opened: Opened, last_success: Option<i64>, hot: &Arc<Hot>) -> Self {
        let artifacts = std::mem::take(&mut opened.manifest.artifacts);
        let mut entries = HashMap::with_capacity(artifacts.len());
        for (key, artifact) in artifacts {
            match Entry::new(artifact, hot) {
                Some(entry) => drop(entries.insert(key, entry)),
                None => tracing::error!(version = %opened.dir.display(), key, "the manifest has an unusable entry"),
            }
        }
        Self { entries, opened, last_success: last_success.into(), hot: Arc::clone(hot) }
    }

    /// When its view was refreshed last.
    pub fn last_success(&self) -> &LastSuccess {
        &self.last_success
    }

    /// Looks a list up.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// How many bytes a part has, as a header.
    pub fn length(entry: &Entry, part: Part) -> HeaderValue {
        match (part, &entry.gzip_length) {
            (Part::Gzip, Some(length)) => length.clone(),
            (Part::Whole | Part::Gzip, _) => entry.length.clone(),
            (Part::Range { start, end }, _) => (end + 1).saturating_sub(start).into(),
        }
    }

    /// A part of one of its entries, if it is in memory.
    pub fn in_memory(&self, entry: &Entry, part: Part) -> Option<Body> {
        let (slot, size) = entry.place(part);
        let body = slot.get().filter(|body| body.bytes.len() as u64 == size)?;
        let bytes = cut(&body.bytes, part);
        Some(match body.file().cloned() {
            Some(file) => Body::filed(bytes, Filed { bytes: body.bytes, file }),
            None => Body::whole(bytes),
        })
    }

    /// A part of one of its entries: what is in memory at once, all else as it is read.
    pub async fn body(&self, entry: &Entry, part: Part) -> io::Result<Body> {
        if let Some(body) = self.in_memory(entry, part) {
            return Ok(body);
        }
        let (slot, size) = entry.place(part);
        let (start, length) = match part {
            Part::Range { start, end } => (start, (end + 1).saturating_sub(start)),
            Part::Whole | Part::Gzip => (0, size),
        };
        let path = if part == Part::Gzip { layout::gzip_path(&entry.path) } else { entry.path.clone() };
        let path = self.opened.dir.join(path);
        let keep = (length == size && self.hot.takes(size)).then(|| slot.begin()).flatten();
        let at_once = keep.is_some() || length <= AT_ONCE;
        let (is_kept, content) = (keep.is_some(), Content { tag: entry.etag.clone(), bytes: entry.bytes });
        let reading = tokio::task::spawn_blocking(move || {
            let source = open(&path, size, start, (length, at_once))?;
            match &source {
                Source::Bytes(bytes, _) if is_kept => content.check(bytes, part == Part::Gzip)?,
                _ => {}
            }
            Ok::<_, io::Error>(source)
        });
        Ok(match reading.await.map_err(io::Error::other)?? {
            Source::Bytes(bytes, file) => {
                if let Some(reading) = keep {
                    self.hot.keep(reading.slot(), &bytes, file);
                }
                Body::whole(bytes)
            }
            Source::File(file) => Body::file(file, length),
        })
    }
}

/// A part of a body. A range was checked against the size before, which is that of the body.
fn cut(body: &Bytes, part: Part) -> Bytes {
    let (Part::Range { start, end }, length) = (part, body.len()) else { return body.clone() };
    let end = usize::try_from(end).unwrap_or(length).saturating_add(1).min(length);
    body.slice(usize::try_from(start).unwrap_or(end).min(end)..end)
}

/// What a list must be for being kept: memory does not heal when the file does.
struct Content {
    tag: HeaderValue,
    bytes: u64,
}

impl Content {
    /// Compares the hash with that in the tag, once per body.
    fn check(&self, body: &[u8], gzip: bool) -> io::Result<()> {
        let mut hash = digest::Context::new(&digest::SHA256);
        if gzip {
            let mut identity = GzDecoder::new(body).take(self.bytes.saturating_add(1));
            let mut piece = [0; 8192];
            loop {
                match identity.read(&mut piece)? {
                    0 => break,
                    count => hash.update(&piece[..count]),
                }
            }
        } else {
            hash.update(body);
        }
        let hex: String = hash.finish().as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        if self.tag.as_bytes() == format!("\"{hex}\"").as_bytes() {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "the file is not what the manifest says"))
    }
}

/// Where a body comes from.
enum Source {
    Bytes(Bytes, File),
    File(File),
}

/// Opens a file of `size` bytes at `start`, and reads `length` bytes if they are wanted at once.
fn open(path: &Path, size: u64, start: u64, (length, at_once): (u64, bool)) -> io::Result<Source> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() != size {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is not as long as the manifest says"));
    }
    file.seek(SeekFrom::Start(start))?;
    if !at_once {
        return Ok(Source::File(file));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    (&mut file).take(length).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).ok() != Some(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Source::Bytes(bytes.into(), file))
}
