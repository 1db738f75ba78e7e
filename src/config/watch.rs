//! Files changed → one "changed" signal. In: folders. Out: calls of a function, at most one per half second.
//!
//! The folders are watched, not the files: editors and configuration tools replace files by renaming.
//!
//! Invariant: reading a file signals nothing. SIGHUP is the daemon's; it ends in the same function.

use std::path::PathBuf;
use std::time::Duration;

use notify_debouncer_full::notify::{EventKind, RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{DebounceEventResult, Debouncer, RecommendedCache, new_debouncer};

/// Changes closer together than this are one.
const QUIET: Duration = Duration::from_millis(500);

/// Watches as long as it lives.
pub struct Guard {
    _debouncer: Debouncer<RecommendedWatcher, RecommendedCache>,
}

/// Calls `on_change` after files in one of `dirs` were created, changed or removed. Folders that do not exist are
/// skipped. `on_change` runs on the watcher's own thread.
pub fn changes(dirs: Vec<PathBuf>, on_change: impl Fn() + Send + 'static) -> Result<Guard, String> {
    let handler = move |result: DebounceEventResult| match result {
        Ok(events) if !events.iter().any(|event| is_change(&event.kind)) => {}
        // An error means that events may be lost: look again.
        Ok(_) | Err(_) => on_change(),
    };
    let mut debouncer =
        new_debouncer(QUIET, None, handler).map_err(|error| format!("cannot watch for changes: {error}"))?;
    for dir in dirs.into_iter().filter(|dir| dir.is_dir()) {
        debouncer
            .watch(&dir, RecursiveMode::NonRecursive)
            .map_err(|error| format!("cannot watch {}: {error}", dir.display()))?;
    }
    Ok(Guard { _debouncer: debouncer })
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
        let _guard = changes(vec![dir.path().to_owned(), missing], move || {
            let _ = sender.send(());
        })
        .unwrap();
        std::fs::read(&path).unwrap();
        assert!(receiver.recv_timeout(Duration::from_millis(1500)).is_err());
        std::fs::write(&path, "a: 2\n").unwrap();
        assert!(receiver.recv_timeout(Duration::from_secs(10)).is_ok());
    }
}
