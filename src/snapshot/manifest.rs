//! `manifest.json`: what a version holds, all that `web` needs to know.
//!
//! Invariants: every covered list has an entry, empty ones too; members that are not known are ignored when reading, so a
//! newer program's versions can be served by an older one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ring::digest;
use serde::{Deserialize, Serialize};

use super::SnapshotError;
use super::layout;
use super::write::hex;

/// Largest manifest that is read, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// One version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Form of this file.
    pub format: u32,
    /// The site.
    pub site: String,
    /// The view of the site.
    pub view: String,
    /// This version's number.
    pub version: u64,
    /// Names the history this version belongs to; changes when `state_dir` is lost.
    pub lineage: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Why this version exists: `refresh`, `full refresh` or `on demand`.
    pub reason: String,
    /// Hex SHA-256 of the mirror it was made from.
    pub mirror: String,
    /// What changed against the version before, per `feed/type` at the largest age.
    pub changes: BTreeMap<String, Change>,
    /// Values that are in no list: data type → reason → count.
    pub refusals: BTreeMap<String, BTreeMap<String, u64>>,
    /// What became of the attributes of each list's MISP types, per `feed/type` at the largest age; lists without any are left
    /// out.
    #[serde(default)]
    pub losses: BTreeMap<String, Losses>,
    /// Key (path of the list inside the version) → what it is.
    pub artifacts: BTreeMap<String, Artifact>,
}

/// What happened to one list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Entries now.
    pub entries: u64,
    /// Values that came.
    pub added: u64,
    /// Values that went.
    pub removed: u64,
}

/// What became of the attributes that one list could be made of: `rows` is `listed` and all `reasons` together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// Attributes of the MISP types of the list's data type.
    pub rows: u64,
    /// Those that put a value into the list; several may put the same.
    pub listed: u64,
    /// Of these, the ones that count as published only by `unpublish_grace`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub in_grace: u64,
    /// The others: what kept them out → how many.
    pub reasons: BTreeMap<String, u64>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// File inside the version; one of `empty/` if the list never held anything.
    pub path: String,
    /// Lower-case hex SHA-256 of the file.
    pub sha256: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Number of values.
    pub entries: u64,
    /// HTTP content type.
    pub content_type: String,
    /// Unix seconds of the last change of the bytes, strictly rising from change to change.
    pub changed_at: i64,
    /// Size of the `.gz` sibling, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gzip_bytes: Option<u64>,
    /// Published because somebody asked, not because the matrix says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_demand: bool,
}

impl Manifest {
    /// Indicators in all lists of the largest age, each list once.
    pub fn entries(&self) -> u64 {
        self.largest().values().sum()
    }

    /// Every list that has entries, as one that did not change.
    pub fn unchanged(&self) -> BTreeMap<String, Change> {
        let named = |(list, entries): (&str, u64)| {
            (entries > 0).then_some((list.to_owned(), Change { entries, ..Change::default() }))
        };
        self.largest().into_iter().filter_map(named).collect()
    }

    /// List → its entries at the largest age.
    fn largest(&self) -> BTreeMap<&str, u64> {
        let mut largest: BTreeMap<&str, u64> = BTreeMap::new();
        let is_list = |(key, _): &(&String, &Artifact)| layout::warninglist_of(key).is_none();
        for (key, artifact) in self.artifacts.iter().filter(is_list) {
            let entries = largest.entry(layout::list_of(key)).or_default();
            *entries = artifact.entries.max(*entries);
        }
        largest
    }
}

/// A version opened for reading. While it lives the version is not pruned: the folder carries a shared lock (flock(2)).
#[derive(Debug)]
pub struct Opened {
    /// What it holds.
    pub manifest: Manifest,
    /// Its folder, named by number, not through `current`.
    pub dir: PathBuf,
    _lease: File,
}

impl Opened {
    /// The hashes of its bodies.
    pub(super) fn hashes(&self) -> impl Iterator<Item = &str> {
        self.manifest.artifacts.values().map(|artifact| &*artifact.sha256)
    }

    /// Whether a file of this version, and its compressed sibling, are there at full length. One that is not is written
    /// anew, so a lost file heals with the next refresh instead of failing all of them.
    pub fn is_intact(&self, artifact: &Artifact) -> bool {
        let has = |path: &str, bytes: u64| std::fs::metadata(self.dir.join(path)).is_ok_and(|meta| meta.len() == bytes);
        let gzip = artifact.gzip_bytes;
        has(&artifact.path, artifact.bytes) && gzip.is_none_or(|bytes| has(&layout::gzip_path(&artifact.path), bytes))
    }
}

impl Opened {
    /// The bytes of a file of this version. Err: they are not what the manifest says, and must not be used.
    pub fn read(&self, artifact: &Artifact) -> Result<Vec<u8>, SnapshotError> {
        let path = self.dir.join(&artifact.path);
        let mut bytes = Vec::new();
        // One byte more than there should be is enough to tell.
        File::open(&path)
            .and_then(|file| file.take(artifact.bytes.saturating_add(1)).read_to_end(&mut bytes))
            .map_err(|cause| SnapshotError::io(&path, cause))?;
        if hex(digest::digest(&digest::SHA256, &bytes).as_ref()) != artifact.sha256 {
            return Err(SnapshotError::Damaged { path });
        }
        Ok(bytes)
    }
}

/// Opens the version `current` points to. `Ok(None)`: nothing was published yet.
pub fn open_current(view_dir: &Path) -> Result<Option<Opened>, SnapshotError> {
    let link = view_dir.join(layout::CURRENT);
    let target = match std::fs::read_link(&link) {
        Ok(target) => target,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(SnapshotError::io(&link, cause)),
    };
    open(&view_dir.join(target)).map(Some)
}

/// Opens a version by its number.
pub fn open_number(view_dir: &Path, number: u64) -> Result<Opened, SnapshotError> {
    open(&view_dir.join(layout::VERSIONS).join(layout::version_name(number)))
}

/// Opens a version by its folder.
pub fn open(dir: &Path) -> Result<Opened, SnapshotError> {
    let lease = lease(dir)?;
    Ok(Opened { manifest: read(dir)?, dir: dir.to_owned(), _lease: lease })
}

/// Opens a version that was listed before; `None`: it has been pruned meanwhile, or is about to be.
pub fn open_listed(dir: &Path) -> Result<Option<Opened>, SnapshotError> {
    match open(dir) {
        Ok(opened) => Ok(Some(opened)),
        Err(SnapshotError::Io { cause, .. }) if cause.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
        Err(_) if !dir.exists() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Keeps a version from being pruned while it lives.
pub fn lease(dir: &Path) -> Result<File, SnapshotError> {
    let lease = File::open(dir).map_err(|cause| SnapshotError::io(dir, cause))?;
    rustix::fs::flock(&lease, rustix::fs::FlockOperation::NonBlockingLockShared)
        .map_err(|cause| SnapshotError::io(dir, cause.into()))?;
    Ok(lease)
}

/// Reads a version's manifest.
pub fn read(dir: &Path) -> Result<Manifest, SnapshotError> {
    let path = dir.join(layout::MANIFEST);
    let file = File::open(&path).map_err(|cause| SnapshotError::io(&path, cause))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(|cause| SnapshotError::io(&path, cause))?;
    serde_json::from_slice(&bytes).map_err(|cause| SnapshotError::Manifest { path, cause: cause.to_string() })
}
