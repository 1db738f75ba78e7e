//! Files changed → one "changed" signal. In: folders, and single files elsewhere. Out: calls of a function, at most one per
//! half second.
//!
//! The folders are watched, not the files: editors and configuration tools replace files by renaming. In the folder of a
//! single file nothing but that file counts.
//!
//! Invariant: reading a file signals nothing. SIGHUP is the daemon's; it ends in the same function.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify_debouncer_full::notify::{EventKind, RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{DebounceEventResult, Debouncer, RecommendedCache, new_debouncer};

/// Changes closer together than this are one.
const QUIET: Duration = Duration::from_millis(500);

/// Watches as long as it lives.
pub struct Guard {
    debouncer: Debouncer<RecommendedWatcher, RecommendedCache>,
    folders: BTreeSet<PathBuf>,
    files: Files,
}

/// Single files that are watched.
type Files = Arc<Mutex<BTreeSet<PathBuf>>>;

/// Calls `on_change` after files in one of `dirs` were created, changed or removed. Folders that do not exist are
/// skipped. `on_change` runs on the watcher's own thread.
pub fn changes(dirs: Vec<PathBuf>, on_change: impl Fn() + Send + 'static) -> Result<Guard, String> {
    let files = Files::default();
    let folders: BTreeSet<PathBuf> = dirs.into_iter().filter(|dir| dir.is_dir()).collect();
    let (own, single) = (folders.clone(), Arc::clone(&files));
    let counts = move |path: &PathBuf| {
        let in_own = path.parent().is_some_and(|folder| own.contains(folder)) || own.contains(path);
        in_own || single.lock().unwrap_or_else(PoisonError::into_inner).contains(path)
    };
    let handler = move |result: DebounceEventResult| match result {
        Ok(events) if !events.iter().any(|event| is_change(&event.kind) && event.paths.iter().any(&counts)) => {}
        // An error means that events may be lost: look again.
        Ok(_) | Err(_) => on_change(),
    };
    let mut debouncer =
        new_debouncer(QUIET, None, handler).map_err(|error| format!("cannot watch for changes: {error}"))?;
    for dir in &folders {
        watch(&mut debouncer, dir)?;
    }
    Ok(Guard { debouncer, folders, files })
}

fn watch(debouncer: &mut Debouncer<RecommendedWatcher, RecommendedCache>, dir: &Path) -> Result<(), String> {
    let watched = debouncer.watch(dir, RecursiveMode::NonRecursive);
    watched.map_err(|error| format!("cannot watch {}: {error}", dir.display()))
}

impl Guard {
    /// Watches these single files and no other ones; one whose folder cannot be watched is logged.
    pub fn follow(&mut self, files: BTreeSet<PathBuf>) {
        for folder in files.iter().filter_map(|file| file.parent()).filter(|folder| folder.is_dir()) {
            if self.folders.contains(folder) {
                continue;
            }
            match watch(&mut self.debouncer, folder) {
                Ok(()) => drop(self.folders.insert(folder.to_owned())),
                Err(error) => tracing::warn!(%error, "changes of a file there are not noticed; send SIGHUP"),
            }
        }
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }
}

fn is_change(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests write files")]
mod tests {
    use super::*;

    #[test]
    fn signals_a_change_and_no_reading() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        std::fs::write(&path, "a: 1\n").unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let missing = dir.path().join("missing");
        let mut guard = changes(vec![dir.path().to_owned(), missing], move || {
            let _ = sender.send(());
        })
        .unwrap();
        std::fs::read(&path).unwrap();
        assert!(receiver.recv_timeout(Duration::from_millis(1500)).is_err());
        std::fs::write(&path, "a: 2\n").unwrap();
        assert!(receiver.recv_timeout(Duration::from_secs(10)).is_ok());
        let elsewhere = tempfile::tempdir().unwrap();
        let (file, other) = (elsewhere.path().join("own.txt"), elsewhere.path().join("other.txt"));
        guard.follow(BTreeSet::from([file.clone()]));
        std::fs::write(&other, "no\n").unwrap();
        assert!(receiver.recv_timeout(Duration::from_millis(1500)).is_err());
        std::fs::write(&file, "yes\n").unwrap();
        assert!(receiver.recv_timeout(Duration::from_secs(10)).is_ok());
    }
}
