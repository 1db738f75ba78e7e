//! The file behind the access log. In: lines. Out: a file, and older ones beside it as `.1`, `.2` …
//!
//! Invariants: handing a line over never waits: there is room for a number of lines, and what does not fit is counted and said;
//! a line is never split over two files; a file that was moved away or cannot be written is opened anew; nothing here changes
//! what is served.
#![allow(clippy::disallowed_methods, reason = "log files are no state and no version: they are renamed to be rotated")]

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::LogSettings;

/// Lines that wait to be written.
const ROOM: usize = 8192;
/// Lost lines are said so often at most.
const SAY: Duration = Duration::from_secs(60);
/// Bytes that are written at once.
const AT_ONCE: usize = 64 << 10;
/// Between looks at whether the thread has ended.
const LOOK: Duration = Duration::from_millis(5);

/// An access log that is being written.
#[derive(Debug)]
pub struct AccessLog {
    settings: LogSettings,
    /// `None` ends the thread.
    lines: SyncSender<Option<String>>,
    lost: Arc<AtomicU64>,
    writing: JoinHandle<()>,
}

impl AccessLog {
    /// Starts the thread that writes. `None`, and a word in the log, if that is not possible.
    pub fn start(settings: LogSettings) -> Option<Self> {
        let (lines, waiting) = sync_channel(ROOM);
        let lost = Arc::new(AtomicU64::new(0));
        let mut writer = Writer { settings: settings.clone(), open: None, failed: false, lost: Arc::clone(&lost) };
        let thread = std::thread::Builder::new().name("access-log".into());
        match thread.spawn(move || writer.run(&waiting)) {
            Ok(writing) => Some(Self { settings, lines, lost, writing }),
            Err(error) => {
                tracing::error!(%error, "no access log");
                None
            }
        }
    }

    /// As it was configured.
    pub fn settings(&self) -> &LogSettings {
        &self.settings
    }

    /// Hands a line over, or counts it as lost.
    pub fn write(&self, line: String) {
        if self.lines.try_send(Some(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what was handed over is written, but not longer than this.
    pub fn finish(&self, limit: Duration) {
        let start = Instant::now();
        let is_late = || start.elapsed() > limit;
        // Disconnected: it has ended already.
        while matches!(self.lines.try_send(None), Err(TrySendError::Full(_))) && !is_late() {
            std::thread::sleep(LOOK);
        }
        while !self.writing.is_finished() && !is_late() {
            std::thread::sleep(LOOK);
        }
    }
}

/// The thread's side.
struct Writer {
    settings: LogSettings,
    open: Option<Open>,
    failed: bool,
    lost: Arc<AtomicU64>,
}

/// The current file.
struct Open {
    file: File,
    identity: (u64, u64),
    bytes: u64,
}

impl Writer {
    fn run(&mut self, lines: &Receiver<Option<String>>) {
        let mut said = None;
        loop {
            let ended = match lines.recv_timeout(SAY) {
                Ok(Some(first)) => self.batch(first, lines),
                Ok(None) | Err(RecvTimeoutError::Disconnected) => true,
                Err(RecvTimeoutError::Timeout) => false,
            };
            if ended || said.is_none_or(|said: Instant| said.elapsed() >= SAY) {
                let lost = self.lost.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    said = Some(Instant::now());
                    tracing::warn!(lost, file = %self.settings.path.display(), "lines of the access log are lost");
                }
            }
            if ended {
                return;
            }
        }
    }

    /// Writes a line and those that wait already; whether that was the end.
    fn batch(&mut self, first: String, lines: &Receiver<Option<String>>) -> bool {
        let (mut text, mut count, mut ended) = (first, 1, false);
        self.look();
        while let Some(line) = (text.len() < AT_ONCE).then(|| lines.try_recv().ok()).flatten() {
            let Some(line) = line else {
                ended = true;
                break;
            };
            if self.is_full(text.len() + line.len()) {
                self.write(&text, count);
                (text, count) = (line, 1);
            } else {
                text.push_str(&line);
                count += 1;
            }
        }
        self.write(&text, count);
        ended
    }

    /// Opens the file, if it is not open or somebody has moved it away. A failure shows when a line is written.
    fn look(&mut self) {
        let there = fs::metadata(&self.settings.path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
        if self.open.as_ref().is_none_or(|open| Some(open.identity) != there) {
            self.open = self.reopen().ok();
        }
    }

    /// Is so much too much for the current file?
    fn is_full(&self, more: usize) -> bool {
        let limited = self.settings.max_bytes > 0 && self.settings.rotations > 0;
        let bytes = self.open.as_ref().map_or(0, |open| open.bytes);
        limited && bytes.saturating_add(more as u64) > self.settings.max_bytes
    }

    fn write(&mut self, text: &str, count: u64) {
        match self.try_write(text) {
            Ok(()) => self.failed = false,
            Err(error) => {
                self.lost.fetch_add(count, Ordering::Relaxed);
                self.complain(&error, "the access log cannot be written");
            }
        }
    }

    /// Says it once, until something was written.
    fn complain(&mut self, error: &io::Error, what: &str) {
        if !std::mem::replace(&mut self.failed, true) {
            tracing::error!(%error, file = %self.settings.path.display(), "{what}");
        }
    }

    fn try_write(&mut self, text: &str) -> io::Result<()> {
        // A file always takes its first line.
        if self.is_full(text.len()) && self.open.as_ref().is_some_and(|open| open.bytes > 0) {
            self.open = None;
            if let Err(error) = self.rotate() {
                // Better too large a file than none.
                self.complain(&error, "the access log cannot be rotated");
            }
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.reopen()?,
        };
        open.file.write_all(text.as_bytes())?;
        open.bytes += text.len() as u64;
        self.open = Some(open);
        Ok(())
    }

    fn reopen(&self) -> io::Result<Open> {
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(&self.settings.path)?;
        let metadata = file.metadata()?;
        Ok(Open { file, identity: (metadata.dev(), metadata.ino()), bytes: metadata.len() })
    }

    /// `.2` → `.3`, `.1` → `.2`, the file → `.1`; the last one goes.
    fn rotate(&self) -> io::Result<()> {
        for number in (1..self.settings.rotations).rev() {
            match fs::rename(self.older(number), self.older(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.settings.path, self.older(1))
    }

    fn older(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(self.settings.path.as_os_str());
        name.push(format!(".{number}"));
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &tempfile::TempDir, max_bytes: u64, rotations: u32) -> LogSettings {
        LogSettings { path: folder.path().join("access.log"), max_bytes, rotations }
    }

    fn write(settings: &LogSettings, lines: std::ops::Range<u32>) {
        let log = AccessLog::start(settings.clone()).unwrap();
        lines.for_each(|n| log.write(format!("line {n:03}\n")));
        log.finish(Duration::from_secs(10));
    }

    fn files(folder: &tempfile::TempDir) -> Vec<(String, String)> {
        let mut files: Vec<(String, String)> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
            .collect();
        files.sort();
        files
    }

    #[test]
    fn files_are_rotated_by_size_and_lines_stay_whole() {
        let folder = tempfile::tempdir().unwrap();
        // Nine bytes a line: three lines a file.
        let settings = settings(&folder, 30, 2);
        write(&settings, 0..2);
        write(&settings, 2..11);
        let names = |files: &[(String, String)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let seen = files(&folder);
        assert_eq!(names(&seen), ["access.log", "access.log.1", "access.log.2"]);
        assert_eq!(seen[0].1, "line 009\nline 010\n");
        assert_eq!(seen[1].1, "line 006\nline 007\nline 008\n");
        assert_eq!(seen[2].1, "line 003\nline 004\nline 005\n");
    }

    #[test]
    fn without_rotations_the_file_grows() {
        let folder = tempfile::tempdir().unwrap();
        write(&settings(&folder, 30, 0), 0..20);
        assert_eq!(files(&folder).len(), 1);
        assert_eq!(files(&folder)[0].1.lines().count(), 20);
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&folder, 0, 5);
        let log = AccessLog::start(settings.clone()).unwrap();
        let written = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        log.write("one\n".into());
        while written("access.log").is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        fs::rename(&settings.path, folder.path().join("moved")).unwrap();
        log.write("two\n".into());
        log.finish(Duration::from_secs(10));
        assert_eq!((written("moved").as_str(), written("access.log").as_str()), ("one\n", "two\n"));
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_nothing_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("access.log");
        let log = AccessLog::start(LogSettings { path: path.clone(), max_bytes: 0, rotations: 0 }).unwrap();
        let lost = Arc::clone(&log.lost);
        let start = Instant::now();
        (0..2 * ROOM).for_each(|_| log.write("line\n".into()));
        assert!(start.elapsed() < Duration::from_secs(5));
        while lost.load(Ordering::Relaxed) == 0 && start.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(5));
        }
        fs::create_dir(folder.path().join("missing")).unwrap();
        let written = || fs::read_to_string(&path).unwrap_or_default();
        while !written().ends_with("after\n") {
            assert!(start.elapsed() < Duration::from_secs(20), "nothing is written");
            log.write("after\n".into());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
