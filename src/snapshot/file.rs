//! One file of a version: written with mode, time and compressed sibling, or linked from the version before.
//!
//! Invariants: mode 0640 in folders of 0750; the file's time is its `changed_at`; a file is synced before anyone relies on
//! it; a link that the file system refuses (EMLINK, EXDEV, EPERM) becomes a copy with the same time.
#![allow(clippy::disallowed_methods, reason = "one of the files that write below feeds_dir")]

use std::fs::{self, DirBuilder, File, FileTimes, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use flate2::{Compression, GzBuilder};

use super::SnapshotError;
use super::layout;

/// Smaller bodies fit into one packet: compressing them gains nothing.
const GZIP_FROM: usize = 1024;

/// Creates a folder and those above it.
pub fn create_dir(path: &Path) -> Result<(), SnapshotError> {
    DirBuilder::new().recursive(true).mode(0o750).create(path).map_err(|cause| SnapshotError::io(path, cause))
}

/// Writes `body` to the new file `dir/path`, and its compressed sibling where that saves at least a tenth. Returns the
/// sibling's size. `changed_at` in Unix seconds.
pub fn write(dir: &Path, path: &str, body: &[u8], changed_at: i64) -> Result<Option<u64>, SnapshotError> {
    write_one(&dir.join(path), body, changed_at)?;
    if body.len() < GZIP_FROM {
        return Ok(None);
    }
    let gzipped = gzip(body).map_err(|cause| SnapshotError::io(&dir.join(path), cause))?;
    if gzipped.len() * 10 > body.len() * 9 {
        return Ok(None);
    }
    write_one(&dir.join(layout::gzip_path(path)), &gzipped, changed_at)?;
    Ok(Some(gzipped.len() as u64))
}

/// No name, no time: the same bytes for the same body.
fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = GzBuilder::new().mtime(0).write(Vec::new(), Compression::new(6));
    out.write_all(body)?;
    out.finish()
}

/// Writes one new file, synced.
pub fn write_one(path: &Path, bytes: &[u8], changed_at: i64) -> Result<(), SnapshotError> {
    let attempt = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(path)?;
        file.write_all(bytes)?;
        file.set_times(FileTimes::new().set_modified(time(changed_at)))?;
        file.sync_all()
    };
    if let Some(folder) = path.parent() {
        create_dir(folder)?;
    }
    attempt().map_err(|cause| SnapshotError::io(path, cause))
}

fn time(unix_seconds: i64) -> std::time::SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(unix_seconds).unwrap_or(0))
}

/// Makes `to` the same file as `from`.
pub fn link(from: &Path, to: &Path) -> Result<(), SnapshotError> {
    if let Some(folder) = to.parent() {
        create_dir(folder)?;
    }
    match rustix::fs::link(from, to) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::MLINK | rustix::io::Errno::XDEV | rustix::io::Errno::PERM) => copy(from, to),
        Err(cause) => Err(SnapshotError::io(to, cause.into())),
    }
}

/// The fallback of [`link`]: same bytes, same mode, same time.
fn copy(from: &Path, to: &Path) -> Result<(), SnapshotError> {
    let attempt = || -> io::Result<()> {
        let modified = fs::metadata(from)?.modified()?;
        fs::copy(from, to)?;
        let file = File::options().write(true).open(to)?;
        file.set_times(FileTimes::new().set_modified(modified))?;
        file.sync_all()
    };
    attempt().map_err(|cause| SnapshotError::io(to, cause))
}

/// Syncs every folder below `dir`, then `dir` itself: what they list is on disk afterwards.
pub fn sync_tree(dir: &Path) -> Result<(), SnapshotError> {
    let entries = fs::read_dir(dir).map_err(|cause| SnapshotError::io(dir, cause))?;
    for entry in entries {
        let entry = entry.map_err(|cause| SnapshotError::io(dir, cause))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sync_tree(&entry.path())?;
        }
    }
    sync_dir(dir)
}

/// Syncs one folder.
pub fn sync_dir(dir: &Path) -> Result<(), SnapshotError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|cause| SnapshotError::io(dir, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_as_good_as_a_link() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a/b.txt", b"body", 1_700_000_000).unwrap();
        copy(&dir.path().join("a/b.txt"), &dir.path().join("c.txt")).unwrap();
        link(&dir.path().join("a/b.txt"), &dir.path().join("d.txt")).unwrap();
        for name in ["c.txt", "d.txt"] {
            let meta = fs::metadata(dir.path().join(name)).unwrap();
            assert_eq!(meta.modified().unwrap(), time(1_700_000_000));
            assert_eq!(std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o777, 0o640);
        }
    }

    #[test]
    fn gzip_is_written_where_it_is_worth_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(write(dir.path(), "small", b"aaaa", 1).unwrap(), None);
        assert!(write(dir.path(), "large", &b"a".repeat(5000), 1).unwrap().is_some());
        let digest = |n: u8| ring::digest::digest(&ring::digest::SHA256, &[n]).as_ref().to_vec();
        let noise: Vec<u8> = (0..=255).flat_map(digest).collect();
        assert_eq!(write(dir.path(), "noise", &noise, 1).unwrap(), None);
    }
}
