//! Retention: which versions stay, and what a killed writer left over.
//!
//! In: the versions of a view, the moment, [`Keep`]. Out: the others are gone.
//!
//! Invariants: never the current version, never one that somebody reads (shared flock on its folder); a version is renamed
//! to a left-over before it is removed, so a half-removed one is never taken for a version; what requests cause pushes no
//! history out.
#![allow(clippy::disallowed_methods, reason = "one of the files that write below feeds_dir")]

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::layout::version_dir;
use super::{Keep, SnapshotError, VersionInfo, layout, manifest};

/// Removes candidates that nobody finishes any more.
pub fn remove_candidates(view_dir: &Path) -> Result<(), SnapshotError> {
    let versions = view_dir.join(layout::VERSIONS);
    for entry in entries(&versions)? {
        if entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with(layout::CANDIDATE)) {
            fs::remove_dir_all(&entry).map_err(|cause| SnapshotError::io(&entry, cause))?;
        }
    }
    Ok(())
}

/// Removes a view with all its versions: the link first, so nothing half-removed is ever served.
pub fn remove_view(view_dir: &Path) -> Result<(), SnapshotError> {
    let gone = |path: &Path, result: std::io::Result<()>| match result {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(SnapshotError::io(path, cause)),
        _ => Ok(()),
    };
    let link = view_dir.join(layout::CURRENT);
    gone(&link, fs::remove_file(&link))?;
    gone(view_dir, fs::remove_dir_all(view_dir))
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, SnapshotError> {
    match fs::read_dir(dir) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(cause) => Err(SnapshotError::io(dir, cause)),
    }
}

/// Numbers of the versions on disk, oldest first.
pub fn numbers(view_dir: &Path) -> Result<Vec<u64>, SnapshotError> {
    let names = entries(&view_dir.join(layout::VERSIONS))?;
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|path| path.file_name().and_then(|name| layout::version_number(&name.to_string_lossy())))
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The number `current` points to.
pub fn current(view_dir: &Path) -> Option<u64> {
    let target = fs::read_link(view_dir.join(layout::CURRENT)).ok()?;
    layout::version_number(&target.file_name()?.to_string_lossy())
}

/// Shows every version with its manifest, oldest first and one at a time: all manifests together would fill the memory. One
/// whose manifest cannot be read is left out with a warning.
pub fn versions(view_dir: &Path, mut each: impl FnMut(VersionInfo)) -> Result<(), SnapshotError> {
    for number in numbers(view_dir)? {
        let dir = version_dir(view_dir, number);
        match manifest::read(&dir) {
            Ok(manifest) => {
                each(VersionInfo { number, manifest, disk: own_bytes(&dir)? });
            }
            // Pruned meanwhile.
            Err(_) if !dir.exists() => {}
            Err(error) => tracing::warn!(%error, "version without a readable manifest"),
        }
    }
    Ok(())
}

/// Bytes of the files that have all their names inside `dir`.
fn own_bytes(dir: &Path) -> Result<u64, SnapshotError> {
    let mut inodes: HashMap<u64, (u64, u64, u64)> = HashMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder)? {
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() => folders.push(path),
                Ok(meta) => inodes.entry(meta.ino()).or_insert((0, meta.nlink(), meta.len())).0 += 1,
                Err(_) => {}
            }
        }
    }
    Ok(inodes.values().filter(|(seen, links, _)| seen == links).map(|(_, _, bytes)| bytes).sum())
}

/// Which versions go by time: `(number, created_at)`, oldest first. Pure.
pub fn outdated(versions: &[(u64, i64)], now: i64, keep: &Keep) -> Vec<u64> {
    let seconds = |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let mut last_kept: Option<(i64, i64)> = None;
    let mut out = Vec::new();
    for (number, created_at) in versions {
        let age = now.saturating_sub(*created_at);
        let step = if age <= seconds(keep.all) {
            continue;
        } else if age <= seconds(keep.hourly) {
            3600
        } else if age <= seconds(keep.daily) {
            86_400
        } else {
            out.push(*number);
            continue;
        };
        let slot = (step, created_at.div_euclid(step));
        if last_kept == Some(slot) {
            out.push(*number);
        }
        last_kept = Some(slot);
    }
    out
}

/// Removes what [`Keep`] does not keep; `spared`: a version that somebody may want to serve.
pub fn prune(view_dir: &Path, now: i64, keep: &Keep, spared: Option<u64>) -> Result<u64, SnapshotError> {
    let current = current(view_dir);
    let mut numbers = numbers(view_dir)?;
    numbers.retain(|number| Some(*number) != spared);
    let created = |number: &u64| {
        let path = version_dir(view_dir, *number).join(layout::MANIFEST);
        fs::metadata(path).ok().map(|meta| (*number, meta.mtime()))
    };
    let dated: Vec<(u64, i64)> = numbers.iter().filter_map(created).collect();
    let mut removed = 0;
    for number in outdated(&dated, now, keep) {
        removed += u64::from(Some(number) != current && remove(view_dir, number)?);
    }
    for number in numbers {
        if Some(number) == current || disk(view_dir)? <= keep.max_disk {
            break;
        }
        removed += u64::from(remove(view_dir, number)?);
    }
    Ok(removed)
}

/// What `reason` says of versions that only add lists somebody asked for.
pub const ON_DEMAND: &str = "on demand";

/// Removes the versions right before the served one that only added lists on demand: the served one holds all of theirs, and
/// requests must not push history out. `spared`: a version that somebody may want to serve. How many.
pub fn drop_on_demand(view_dir: &Path, spared: Option<u64>) -> Result<u64, SnapshotError> {
    let current = current(view_dir);
    let before = |number: &u64| current.is_none_or(|current| *number < current) && Some(*number) != spared;
    let mut removed = 0;
    for number in numbers(view_dir)?.into_iter().rev().filter(before) {
        match manifest::read(&version_dir(view_dir, number)) {
            Ok(manifest) if manifest.reason == ON_DEMAND => removed += u64::from(remove(view_dir, number)?),
            _ => break,
        }
    }
    Ok(removed)
}

/// Bytes of everything below a view, each file once.
pub fn disk(view_dir: &Path) -> Result<u64, SnapshotError> {
    let mut inodes = HashMap::new();
    let mut folders = vec![view_dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder)? {
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() => folders.push(path),
                Ok(meta) => {
                    inodes.insert(meta.ino(), meta.len());
                }
                Err(_) => {}
            }
        }
    }
    Ok(inodes.values().sum())
}

/// Removes one version unless somebody reads it.
pub fn remove(view_dir: &Path, number: u64) -> Result<bool, SnapshotError> {
    let dir = version_dir(view_dir, number);
    let Ok(handle) = File::open(&dir) else { return Ok(false) };
    if rustix::fs::flock(&handle, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(false);
    }
    let aside = dir.with_file_name(format!("{}{}", layout::CANDIDATE, layout::version_name(number)));
    fs::rename(&dir, &aside).map_err(|cause| SnapshotError::io(&dir, cause))?;
    fs::remove_dir_all(&aside).map_err(|cause| SnapshotError::io(&aside, cause))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn thinned_by_time() {
        let hour = 3600;
        let keep = Keep {
            all: Duration::from_secs(24 * 3600),
            hourly: Duration::from_secs(7 * 86_400),
            daily: Duration::from_secs(90 * 86_400),
            max_disk: u64::MAX,
        };
        let now = 200 * 86_400;
        let versions = [
            (1, now - 100 * 86_400),
            (2, now - 50 * 86_400),
            (3, now - 50 * 86_400 + hour),
            (4, now - 3 * 86_400),
            (5, now - 3 * 86_400 + 60),
            (6, now - 3 * 86_400 + hour),
            (7, now - 60),
            (8, now),
        ];
        assert_eq!(outdated(&versions, now, &keep), [1, 3, 5]);
    }

    #[test]
    fn versions_for_lists_on_demand_give_way_to_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        for (number, reason) in [(1, ON_DEMAND), (2, "refresh"), (3, ON_DEMAND), (4, ON_DEMAND), (5, ON_DEMAND)] {
            let manifest = manifest::Manifest {
                format: 1,
                site: "a".into(),
                view: "main".into(),
                version: number,
                lineage: String::new(),
                created_at: 0,
                reason: reason.into(),
                mirror: String::new(),
                changes: Default::default(),
                refusals: Default::default(),
                losses: Default::default(),
                artifacts: Default::default(),
            };
            let version = version_dir(dir.path(), number);
            fs::create_dir_all(&version).unwrap();
            fs::write(version.join(layout::MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
        }
        std::os::unix::fs::symlink("versions/000005", dir.path().join(layout::CURRENT)).unwrap();
        let read = File::open(version_dir(dir.path(), 4)).unwrap();
        rustix::fs::flock(&read, FlockOperation::NonBlockingLockShared).unwrap();
        assert_eq!(drop_on_demand(dir.path(), None).unwrap(), 1);
        assert_eq!(numbers(dir.path()).unwrap(), [1, 2, 4, 5], "one that is read stays, and all before a refresh");
        drop(read);
        drop_on_demand(dir.path(), Some(4)).unwrap();
        assert_eq!(numbers(dir.path()).unwrap(), [1, 2, 4, 5], "nor does one that somebody may want to serve");
        drop_on_demand(dir.path(), None).unwrap();
        assert_eq!(numbers(dir.path()).unwrap(), [1, 2, 5]);
    }

    #[test]
    fn a_version_that_is_read_stays() {
        let dir = tempfile::tempdir().unwrap();
        let version = version_dir(dir.path(), 1);
        fs::create_dir_all(&version).unwrap();
        let lease = File::open(&version).unwrap();
        rustix::fs::flock(&lease, FlockOperation::NonBlockingLockShared).unwrap();
        assert!(!remove(dir.path(), 1).unwrap());
        drop(lease);
        assert!(remove(dir.path(), 1).unwrap());
        assert!(numbers(dir.path()).unwrap().is_empty());
    }
}
