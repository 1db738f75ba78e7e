//! Is every file what its manifest says? In: versions of a view. Out: [`Finding`]s, and figures.
//!
//! Looked at: the file is there, a plain one, as long as the manifest says, its SHA-256 is the manifest's (of a compressed
//! sibling: that of what it decompresses to); modes of files and folders. Invariants: only reads; a file that several versions
//! share is read once; nothing is read beyond the length a manifest names; a version is leased while it is looked at.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use ring::digest;

use super::expected::{Expected, Fault, Finding, expected, folders};
use super::manifest::{self, Opened};
use super::write::hex;
use super::{SnapshotError, layout, prune};

/// Of files, as far as the version's folder lets anybody in at all.
const FILE_MODE: u32 = 0o640;
/// Of folders.
const FOLDER_MODE: u32 = 0o750;

/// What the bytes of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    /// Hex SHA-256 of the list in it.
    Hash(String),
    Unreadable(String),
}

/// Looks at versions and remembers every file it has read.
#[derive(Debug, Default)]
pub struct Survey {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Versions that were looked at.
    pub versions: u64,
    /// Files that manifests name, each version's.
    pub files: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Device, inode, and how much it should decompress to if it is compressed → what is in it.
    seen: HashMap<(u64, u64, Option<u64>), Content>,
}

impl Survey {
    /// Looks at these versions; one that is pruned meanwhile is left out.
    pub fn look_at(&mut self, view_dir: &Path, numbers: &[u64]) -> Result<(), SnapshotError> {
        for number in numbers {
            let dir = layout::version_dir(view_dir, *number);
            match manifest::open_listed(&dir) {
                Ok(Some(opened)) => self.version(&opened, *number)?,
                Ok(None) => continue,
                Err(error) => self.add(*number, layout::MANIFEST, Fault::Lost(error.cause()), None),
            }
            self.versions += 1;
        }
        Ok(())
    }

    /// Whether `current` points to a version that is there.
    pub fn look_at_current(&mut self, view_dir: &Path) -> Result<(), SnapshotError> {
        let number = prune::current(view_dir);
        let points = number.is_some_and(|number| layout::version_dir(view_dir, number).is_dir());
        if !points && !prune::numbers(view_dir)?.is_empty() {
            let fault = Fault::Lost("it points to no version".into());
            self.add(number.unwrap_or_default(), layout::CURRENT, fault, None);
        }
        Ok(())
    }

    fn add(&mut self, version: u64, path: &str, fault: Fault, expected: Option<Expected>) {
        self.findings.push(Finding { version, path: path.to_owned(), fault, expected });
    }

    fn version(&mut self, opened: &Opened, number: u64) -> Result<(), SnapshotError> {
        if opened.manifest.version != number {
            let fault = Fault::Lost(format!("it is the manifest of version {}", opened.manifest.version));
            self.add(number, layout::MANIFEST, fault, None);
            return Ok(());
        }
        let root = fs::metadata(&opened.dir).map_err(|cause| SnapshotError::io(&opened.dir, cause))?;
        let wanted = expected(&opened.manifest);
        for folder in folders(&wanted) {
            if let Ok(meta) = fs::symlink_metadata(opened.dir.join(folder)) {
                self.mode(number, folder, &meta, FOLDER_MODE, &root);
            }
        }
        if let Ok(meta) = fs::symlink_metadata(opened.dir.join(layout::MANIFEST)) {
            self.mode(number, layout::MANIFEST, &meta, FILE_MODE, &root);
        }
        for file in wanted {
            self.files += 1;
            if !layout::is_inside(&file.path) {
                self.add(
                    number,
                    &file.path,
                    Fault::Lost("the manifest names a file outside of its version".into()),
                    None,
                );
                continue;
            }
            let path = opened.dir.join(&file.path);
            if let Some(fault) = self.fault(&path, &file) {
                self.add(number, &file.path.clone(), fault, Some(file));
            } else if let Ok(meta) = fs::symlink_metadata(&path) {
                self.mode(number, &file.path, &meta, FILE_MODE, &root);
            }
        }
        Ok(())
    }

    /// Where the version's folder is closed to the group, so may be what is inside.
    fn mode(&mut self, version: u64, path: &str, meta: &Metadata, wanted: u32, root: &Metadata) {
        let should = wanted & (root.permissions().mode() | 0o700);
        // A folder may pass its group on.
        let is = meta.permissions().mode() & if meta.is_dir() { 0o5777 } else { 0o7777 };
        if is != should {
            self.add(version, path, Fault::Mode { is, should }, None);
        }
    }

    /// What is wrong with a file's bytes.
    pub fn fault(&mut self, path: &Path, expected: &Expected) -> Option<Fault> {
        let meta = match fs::symlink_metadata(path) {
            Ok(meta) => meta,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Some(Fault::Missing),
            Err(cause) => return Some(Fault::Unreadable(cause.to_string())),
        };
        let (is, should) = (meta.len(), expected.gzip_bytes.unwrap_or(expected.bytes));
        if !meta.is_file() {
            return Some(Fault::NotAFile);
        }
        if is != should {
            return Some(Fault::Length { is, should });
        }
        let place = (meta.dev(), meta.ino(), expected.gzip_bytes.map(|_| expected.bytes));
        let content = match self.seen.get(&place) {
            Some(content) => content.clone(),
            None => {
                self.bytes += is;
                let content = content(path, expected);
                self.seen.insert(place, content.clone());
                content
            }
        };
        match content {
            Content::Hash(hash) if hash == expected.sha256 => None,
            Content::Hash(_) => Some(Fault::Content),
            Content::Unreadable(cause) => Some(Fault::Unreadable(cause)),
        }
    }
}

/// Reads a file to its end, or to where it is longer than it should be.
fn content(path: &Path, expected: &Expected) -> Content {
    let hash = || -> io::Result<String> {
        let file = File::open(path)?;
        match expected.gzip_bytes {
            Some(_) => hash(GzDecoder::new(io::BufReader::new(file)).take(expected.bytes + 1)),
            None => hash(file.take(expected.bytes + 1)),
        }
    };
    match hash() {
        Ok(hash) => Content::Hash(hash),
        Err(cause) => Content::Unreadable(cause.to_string()),
    }
}

fn hash(mut from: impl Read) -> io::Result<String> {
    let (mut context, mut buffer) = (digest::Context::new(&digest::SHA256), vec![0; 64 << 10]);
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(hex(context.finish().as_ref())),
            count => context.update(&buffer[..count]),
        }
    }
}

/// The numbers of versions to look at: all, or the served one.
pub fn numbers(view_dir: &Path, only_current: bool) -> Result<Vec<u64>, SnapshotError> {
    if only_current {
        return Ok(prune::current(view_dir).into_iter().collect());
    }
    prune::numbers(view_dir)
}

/// Where a file of a version is.
pub(super) fn place(view_dir: &Path, version: u64, path: &str) -> PathBuf {
    layout::version_dir(view_dir, version).join(path)
}
