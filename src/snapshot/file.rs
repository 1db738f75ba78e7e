//! One file of a version: written with mode, time and compressed sibling, or linked from the version before.
//!
//! Invariants: mode 0640 in folders of 0750; the file's time is its `changed_at`; a file is synced before anyone relies on
//! it; a link that the file system refuses (EMLINK, EXDEV, EPERM) becomes a copy with the same time.
#![allow(clippy::disallowed_methods, reason = "one of the files that write below feeds_dir")]

use std::fs::{self, DirBuilder, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::SnapshotError;
use super::layout;

/// Smaller bodies fit into one packet: compressing them gains nothing.
const GZIP_FROM: usize = 1024;

/// Creates a folder and those above it.
pub fn create_dir(path: &Path) -> Result<(), SnapshotError> {
    DirBuilder::new().recursive(true).mode(0o750).create(path).map_err(|cause| SnapshotError::io(path, cause))
}

/// Writes `body` to the new file `dir/path`, and what `gzip` makes of it beside it where that saves at least a tenth. Returns
/// the sibling's size. `changed_at` in Unix seconds.
pub(super) fn write(
    dir: &Path,
    path: &str,
    body: &[u8],
    changed_at: i64,
    gzip: impl FnOnce(&[u8]) -> io::Result<Vec<u8>>,
) -> Result<Option<u64>, SnapshotError> {
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
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), SnapshotError> {
    let attempt = || -> io::Result<()> {
        let modified = fs::metadata(from)?.modified()?;
        fs::copy(from, to)?;
        let file = File::options().write(true).open(to)?;
        file.set_times(FileTimes::new().set_modified(modified))?;
        file.sync_all()
    };
    attempt().map_err(|cause| SnapshotError::io(to, cause))
}

/// Puts a file with these bytes in the place of `path`, whatever is there. It belongs to whom its folder belongs to.
pub fn replace(path: &Path, bytes: &[u8], changed_at: i64) -> Result<(), SnapshotError> {
    replace_with(path, |aside| {
        write_one(aside, bytes, changed_at)?;
        give_to_owner_of_folder(aside)
    })
}

/// Puts a link to `from` in the place of `path`.
pub fn replace_by_link(from: &Path, path: &Path) -> Result<(), SnapshotError> {
    replace_with(path, |aside| rustix::fs::link(from, aside).map_err(|cause| SnapshotError::io(aside, cause.into())))
}

fn replace_with(path: &Path, make: impl FnOnce(&Path) -> Result<(), SnapshotError>) -> Result<(), SnapshotError> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(SnapshotError::io(path, io::ErrorKind::InvalidInput.into()));
    };
    create_dir(folder)?;
    let aside = folder.join(format!(".heal-{}-{}", std::process::id(), name.to_string_lossy()));
    // Left over by a process of the same number.
    let _ = fs::remove_file(&aside);
    let put = || {
        make(&aside)?;
        fs::rename(&aside, path).map_err(|cause| SnapshotError::io(path, cause))?;
        sync_dir(folder)
    };
    put().inspect_err(|_| {
        // Err: it was not made.
        let _ = fs::remove_file(&aside);
    })
}

/// Whoever repairs: what serves must be able to read it.
fn give_to_owner_of_folder(path: &Path) -> Result<(), SnapshotError> {
    let give = || -> io::Result<()> {
        let is = fs::metadata(path)?;
        let Some(folder) = path.parent() else { return Ok(()) };
        let wanted = fs::metadata(folder)?;
        if (is.uid(), is.gid()) == (wanted.uid(), wanted.gid()) {
            return Ok(());
        }
        std::os::unix::fs::chown(path, Some(wanted.uid()), Some(wanted.gid()))
    };
    give().map_err(|cause| SnapshotError::io(path, cause))
}

/// Sets the permission bits; those that a folder has beside them (a group that is passed on) stay.
pub fn set_mode(path: &Path, mode: u32) -> Result<(), SnapshotError> {
    let set = || -> io::Result<()> {
        let beside = fs::symlink_metadata(path)?.permissions().mode() & 0o2000;
        fs::set_permissions(path, Permissions::from_mode(mode | beside))
    };
    set().map_err(|cause| SnapshotError::io(path, cause))
}

/// Takes a file that is known to be wrong out of service. Nothing there: nothing to do.
pub fn put_aside(path: &Path) -> Result<(), SnapshotError> {
    let Some(name) = path.file_name() else { return Ok(()) };
    let aside = path.with_file_name(format!("{}{}", layout::DAMAGED, name.to_string_lossy()));
    match fs::rename(path, aside) {
        Err(cause) if !matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(SnapshotError::io(path, cause))
        }
        _ => Ok(()),
    }
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
    use crate::snapshot::gzip;

    #[test]
    fn a_copy_is_as_good_as_a_link() {
        let dir = tempfile::tempdir().unwrap();
        write_one(&dir.path().join("a/b.txt"), b"body", 1_700_000_000).unwrap();
        copy(&dir.path().join("a/b.txt"), &dir.path().join("c.txt")).unwrap();
        link(&dir.path().join("a/b.txt"), &dir.path().join("d.txt")).unwrap();
        for name in ["c.txt", "d.txt"] {
            let meta = fs::metadata(dir.path().join(name)).unwrap();
            assert_eq!(meta.modified().unwrap(), time(1_700_000_000));
            assert_eq!(meta.permissions().mode() & 0o777, 0o640);
        }
    }

    #[test]
    fn a_replaced_file_leaves_its_other_names_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        write_one(&path("a"), b"wrong", 1).unwrap();
        link(&path("a"), &path("b")).unwrap();
        replace(&path("a"), b"right", 1_700_000_000).unwrap();
        let read = |name: &str| fs::read(path(name)).unwrap();
        assert_eq!((read("a"), read("b")), (b"right".to_vec(), b"wrong".to_vec()));
        assert_eq!(fs::metadata(path("a")).unwrap().modified().unwrap(), time(1_700_000_000));
        replace_by_link(&path("a"), &path("b")).unwrap();
        assert_eq!(fs::metadata(path("b")).unwrap().ino(), fs::metadata(path("a")).unwrap().ino());
        replace_by_link(&path("nowhere"), &path("b")).unwrap_err();
        put_aside(&path("b")).unwrap();
        put_aside(&path("b")).unwrap();
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".damaged-b", "a"]);
    }

    #[test]
    fn gzip_is_written_where_it_is_worth_it() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, body: &[u8]| write(dir.path(), name, body, 1, gzip::gzip).unwrap();
        assert_eq!(write("small", b"aaaa"), None);
        assert!(write("large", &b"a".repeat(5000)).is_some());
        let digest = |n: u8| ring::digest::digest(&ring::digest::SHA256, &[n]).as_ref().to_vec();
        let noise: Vec<u8> = (0..=255).flat_map(digest).collect();
        assert_eq!(write("noise", &noise), None);
    }
}
