//! The writer: lists → a candidate folder → a version → `current`.
//!
//! In: rendered lists one after the other, and the version before. Out: [`Outcome`].
//!
//! Order of writing, which is what makes a crash at any point harmless: files (each synced) → folders bottom-up → manifest
//! → rename of the candidate to its number → sync of `versions/` → `current` by rename → sync of the view's folder.
//! Invariants: lists that did not change are hard links and keep their `changed_at`; if nothing changed there is no new
//! version; a list that was published once stays, empty if need be; a version that is put aside has its number and its place,
//! only `current` does not point to it.
#![allow(clippy::disallowed_methods, reason = "one of the files that write below feeds_dir")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use ring::digest;

use super::gzip::Blocks;
use super::manifest::{Artifact, Change, Losses, Manifest, Opened};
use super::{SnapshotError, compare, file, layout};
use crate::render::{Body, Rendered};

/// What a new version is called and why it exists.
#[derive(Clone, Debug)]
pub struct Header {
    /// The site.
    pub site: String,
    /// The view.
    pub view: String,
    /// Its number.
    pub version: u64,
    /// Its history.
    pub lineage: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Why it exists.
    pub reason: String,
    /// Hex hash of the mirror.
    pub mirror: String,
    /// Data type → reason → count.
    pub refusals: BTreeMap<String, BTreeMap<String, u64>>,
    /// Per `feed/type`: what became of the attributes.
    pub losses: BTreeMap<String, Losses>,
}

/// What becomes of the version once it is whole.
#[derive(Clone, Copy, Debug)]
pub enum Placing<'a> {
    /// `current` points to it.
    Serve,
    /// It is there to be looked at. One of equal content that was put aside before stays instead.
    Aside(Option<&'a Manifest>),
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// The version that holds this content and is not served yet, or just became it; `None` if nothing changed.
    pub version: Option<u64>,
    /// Per `feed/type` at the largest age: every list that has entries or changed.
    pub changes: BTreeMap<String, Change>,
}

/// Builds one version.
pub struct Writer<'a> {
    view_dir: PathBuf,
    candidate: PathBuf,
    previous: Option<&'a Opened>,
    blocks: &'a Blocks,
    header: Header,
    artifacts: BTreeMap<String, Artifact>,
    changes: BTreeMap<String, Change>,
    /// Format → the body that came last, and its SHA-256: several ages of a list share a body.
    hashed: HashMap<&'static str, (Weak<Body>, String)>,
    /// Content and time → the file of this version that has them.
    written: HashMap<(String, i64), (String, Option<u64>)>,
    changed: bool,
}

impl<'a> Writer<'a> {
    /// Starts a candidate; what an earlier one left over is removed. `blocks`: those of the versions of this view.
    pub fn new(
        view_dir: &Path,
        previous: Option<&'a Opened>,
        blocks: &'a Blocks,
        header: Header,
    ) -> Result<Self, SnapshotError> {
        let versions = view_dir.join(layout::VERSIONS);
        file::create_dir(&versions)?;
        super::prune::remove_candidates(view_dir)?;
        // Those of a version that was never finished are of no use.
        blocks.keep(&previous.into_iter().flat_map(Opened::hashes).collect());
        let candidate = versions.join(format!("{}{}", layout::CANDIDATE, layout::version_name(header.version)));
        Ok(Self {
            view_dir: view_dir.to_owned(),
            candidate,
            previous,
            blocks,
            header,
            artifacts: BTreeMap::new(),
            changes: BTreeMap::new(),
            hashed: HashMap::new(),
            written: HashMap::new(),
            changed: false,
        })
    }

    /// Takes a list of the version before over as it is.
    pub fn carry(&mut self, key: &str, artifact: &Artifact) {
        self.artifacts.insert(key.to_owned(), artifact.clone());
    }

    /// Takes one list. `counted` says that its changes are those of its feed and type; one body of each says it.
    pub fn add(&mut self, list: &Rendered, counted: bool) -> Result<(), SnapshotError> {
        let key = list.key.clone();
        let sha256 = self.hash(list);
        let previous = self.previous.and_then(|opened| opened.manifest.artifacts.get(&key));
        let unchanged = previous.is_some_and(|old| old.sha256 == sha256);
        // Steps of at least one second: HTTP dates have no finer ones.
        let changed_at = match previous {
            Some(old) if unchanged => old.changed_at,
            Some(old) => self.header.created_at.max(old.changed_at + 1),
            None => self.header.created_at,
        };
        let was_file = previous.is_some_and(|old| old.path == key);
        let is_damaged =
            was_file && previous.is_some_and(|old| !self.previous.is_some_and(|opened| opened.is_intact(old)));
        let mut artifact = Artifact {
            path: key.clone(),
            sha256,
            bytes: list.body.bytes.len() as u64,
            entries: list.body.entries,
            content_type: list.format.content_type.to_owned(),
            changed_at,
            gzip_bytes: previous.filter(|_| unchanged).and_then(|old| old.gzip_bytes),
            on_demand: list.on_demand,
        };
        if let Some(data_type) = list.data_type.filter(|_| list.body.entries == 0 && !was_file) {
            artifact.path = layout::empty_path(data_type, list.format.extension);
        } else if !(unchanged && was_file) || is_damaged {
            artifact.gzip_bytes = self.place(&key, &artifact, list)?;
        }
        if counted {
            self.count(list, previous.filter(|_| !unchanged));
        }
        self.changed |= previous != Some(&artifact) || is_damaged;
        self.artifacts.insert(key, artifact);
        Ok(())
    }

    fn hash(&mut self, list: &Rendered) -> String {
        let name = list.format.name;
        if let Some((body, hash)) = self.hashed.get(name)
            && body.upgrade().is_some_and(|body| Arc::ptr_eq(&body, &list.body))
        {
            return hash.clone();
        }
        let hash = hex(digest::digest(&digest::SHA256, &list.body.bytes).as_ref());
        self.hashed.insert(name, (Arc::downgrade(&list.body), hash.clone()));
        hash
    }

    /// Takes one list over from any other version. What differs from the version before is copied, because the time of a file
    /// is that of its last change.
    pub fn adopt(&mut self, key: &str, from: &Opened, artifact: &Artifact) -> Result<(), SnapshotError> {
        let previous = self.previous.and_then(|opened| opened.manifest.artifacts.get(key));
        let mut adopted = Artifact { on_demand: artifact.on_demand, ..artifact.clone() };
        match previous {
            Some(old) if old.sha256 == artifact.sha256 => {
                adopted = Artifact { on_demand: artifact.on_demand, ..old.clone() }
            }
            _ => {
                let created_at = self.header.created_at;
                adopted.changed_at = previous.map_or(created_at, |old| created_at.max(old.changed_at + 1));
                let was_file = previous.is_some_and(|old| old.path == key);
                if artifact.path == key || was_file {
                    let body = from.read(artifact)?;
                    adopted.path = key.to_owned();
                    adopted.gzip_bytes = self.write(key, &adopted, &body)?;
                }
            }
        }
        self.changed |= previous != Some(&adopted);
        self.artifacts.insert(key.to_owned(), adopted);
        Ok(())
    }

    /// Notes what changed in a list that was adopted.
    pub fn note_change(&mut self, list: &str, change: Change) {
        if change != Change::default() {
            self.changes.insert(list.to_owned(), change);
        }
    }

    /// Writes a changed body, or links it to one of this version with the same content and time.
    fn place(&mut self, key: &str, artifact: &Artifact, list: &Rendered) -> Result<Option<u64>, SnapshotError> {
        let same = (artifact.sha256.clone(), artifact.changed_at);
        if let Some((path, gzip_bytes)) = self.written.get(&same) {
            file::link(&self.candidate.join(path), &self.candidate.join(key))?;
            if gzip_bytes.is_some() {
                let (from, to) = (layout::gzip_path(path), layout::gzip_path(key));
                file::link(&self.candidate.join(from), &self.candidate.join(to))?;
            }
            return Ok(*gzip_bytes);
        }
        let gzip_bytes = self.write(key, artifact, &list.body.bytes)?;
        self.written.insert(same, (key.to_owned(), gzip_bytes));
        Ok(gzip_bytes)
    }

    /// Writes a body; what its compressed form has in common with that of the version before is taken from there.
    fn write(&self, key: &str, artifact: &Artifact, body: &[u8]) -> Result<Option<u64>, SnapshotError> {
        let known = self.previous.and_then(|opened| {
            let old = opened.manifest.artifacts.get(key).filter(|old| self.blocks.knows(&old.sha256))?;
            Some((&*old.sha256, fs::read(opened.dir.join(layout::gzip_path(&old.path))).ok()?))
        });
        let known = known.as_ref().map(|(name, bytes)| (*name, &**bytes));
        let gzip = |body: &[u8]| self.blocks.gzip(body, &artifact.sha256, known);
        file::write(&self.candidate, key, body, artifact.changed_at, gzip)
    }

    /// Counts what came and went, by reading the old body back.
    fn count(&mut self, list: &Rendered, changed_from: Option<&Artifact>) {
        let mut change = Change { entries: list.body.entries, ..Change::default() };
        let old = changed_from.and_then(|old| self.read_previous(old));
        let first = self.previous.is_none_or(|opened| !opened.manifest.artifacts.contains_key(&list.key));
        let counts = old.and_then(|old| compare::came_and_went(&old, list));
        if let Some((added, removed)) = counts {
            (change.added, change.removed) = (added, removed);
        } else if first {
            change.added = list.body.entries;
        }
        if change != Change::default() {
            self.changes.insert(layout::list_of(&list.key).to_owned(), change);
        }
    }

    fn read_previous(&self, old: &Artifact) -> Option<Vec<u8>> {
        fs::read(self.previous?.dir.join(&old.path)).ok()
    }

    /// Ends the version: nothing new, or it is placed. `empty_forms`: data type, extension, body; written if a list is one.
    /// `reserve` is called once before the version gets its number; if it fails there is no version.
    pub fn finish<E: From<SnapshotError>>(
        mut self,
        empty_forms: &[(&'static str, &'static str, Vec<u8>)],
        placing: Placing<'_>,
        reserve: impl FnOnce(u64) -> Result<(), E>,
    ) -> Result<Outcome, E> {
        let same_keys = self.previous.is_some_and(|old| old.manifest.artifacts.len() == self.artifacts.len());
        if !self.changed && same_keys {
            super::prune::remove_candidates(&self.view_dir)?;
            return Ok(Outcome { version: None, changes: self.changes });
        }
        if let Placing::Aside(Some(aside)) = placing
            && same_content(&aside.artifacts, &self.artifacts)
        {
            super::prune::remove_candidates(&self.view_dir)?;
            return Ok(Outcome { version: Some(aside.version), changes: self.changes });
        }
        self.link_unchanged()?;
        self.forget_blocks();
        let used: HashSet<&str> = self.artifacts.values().map(|artifact| &*artifact.path).collect();
        for (data_type, extension, body) in empty_forms {
            let path = layout::empty_path(data_type, extension);
            if used.contains(&*path) {
                file::write_one(&self.candidate.join(path), body, self.header.created_at)?;
            }
        }
        file::sync_tree(&self.candidate)?;
        reserve(self.header.version)?;
        self.put_in_place()?;
        if let Placing::Serve = placing {
            point_current_to(&self.view_dir, self.header.version)?;
        }
        Ok(Outcome { version: Some(self.header.version), changes: self.changes })
    }

    /// Links every file of the version before that is wanted and not there yet. One that is lost there cannot be handed on: its
    /// list is answered 503 until it is made anew, which is no reason to publish nothing.
    fn link_unchanged(&self) -> Result<(), SnapshotError> {
        let Some(previous) = self.previous else { return Ok(()) };
        for (key, artifact) in self.artifacts.iter().filter(|(key, artifact)| **key == artifact.path) {
            if self.candidate.join(key).exists() {
                continue;
            }
            let gzip = artifact.gzip_bytes.map(|_| layout::gzip_path(key));
            for path in [Some(key), gzip.as_ref()].into_iter().flatten() {
                let from = previous.dir.join(path);
                if from.exists() {
                    file::link(&from, &self.candidate.join(path))?;
                } else {
                    tracing::warn!(file = %from.display(), "lost, and so not in the new version either");
                }
            }
        }
        Ok(())
    }

    fn forget_blocks(&self) {
        let before = self.previous.into_iter().flat_map(Opened::hashes);
        self.blocks.keep(&before.chain(self.artifacts.values().map(|artifact| &*artifact.sha256)).collect());
    }

    fn put_in_place(&mut self) -> Result<(), SnapshotError> {
        let versions = self.view_dir.join(layout::VERSIONS);
        let manifest = self.manifest();
        let path = self.candidate.join(layout::MANIFEST);
        let bytes = serde_json::to_vec_pretty(&manifest)
            .map_err(|cause| SnapshotError::Manifest { path: path.clone(), cause: cause.to_string() })?;
        file::write_one(&path, &bytes, self.header.created_at)?;
        file::sync_dir(&self.candidate)?;
        let version = versions.join(layout::version_name(self.header.version));
        fs::rename(&self.candidate, &version).map_err(|cause| SnapshotError::io(&version, cause))?;
        file::sync_dir(&versions)
    }

    fn manifest(&mut self) -> Manifest {
        let header = self.header.clone();
        Manifest {
            format: 1,
            site: header.site,
            view: header.view,
            version: header.version,
            lineage: header.lineage,
            created_at: header.created_at,
            reason: header.reason,
            mirror: header.mirror,
            changes: self.changes.clone(),
            refusals: header.refusals,
            losses: header.losses,
            artifacts: std::mem::take(&mut self.artifacts),
        }
    }
}

/// The same lists with the same bytes, whenever they changed.
fn same_content(one: &BTreeMap<String, Artifact>, other: &BTreeMap<String, Artifact>) -> bool {
    let hashes = |of: &BTreeMap<String, Artifact>| -> Vec<(String, String)> {
        of.iter().map(|(key, artifact)| (key.clone(), artifact.sha256.clone())).collect()
    };
    one.len() == other.len() && hashes(one) == hashes(other)
}

/// Moves `current` in one rename.
fn point_current_to(view_dir: &Path, version: u64) -> Result<(), SnapshotError> {
    let aside = view_dir.join(".current");
    let target = Path::new(layout::VERSIONS).join(layout::version_name(version));
    let failed = |cause| SnapshotError::io(&aside, cause);
    match fs::remove_file(&aside) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => return Err(failed(cause)),
        _ => {}
    }
    std::os::unix::fs::symlink(&target, &aside).map_err(failed)?;
    fs::rename(&aside, view_dir.join(layout::CURRENT)).map_err(failed)?;
    file::sync_dir(view_dir)
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
