//! Bodies that are asked for, in memory. In: bodies as they are read. Out: the same, without reading.
//!
//! Invariants: never more bytes than allowed; a body is found by its tag, which is made of the hash of its content, so a new
//! version finds what did not change; it goes with the last version that has it; looking takes no lock.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::HeaderValue;

use super::direct::LEAST;

/// Files that are held open; bodies beyond that are sent from memory.
const MAX_FILES: u64 = 256;
/// A body may take this part of all there is: one over how many.
const SHARE: u64 = 4;

/// All that is kept.
#[derive(Debug)]
pub struct Hot {
    limit: AtomicU64,
    held: Arc<Held>,
    known: Mutex<Known>,
}

/// How much is kept.
#[derive(Debug, Default)]
struct Held {
    bytes: AtomicU64,
    files: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    slots: HashMap<HeaderValue, Weak<Slot>>,
    /// Those with a body, the next to go in front.
    filled: VecDeque<Weak<Slot>>,
}

/// The place of one body.
#[derive(Debug)]
pub struct Slot {
    body: ArcSwapOption<Kept>,
    used: AtomicBool,
    reading: AtomicBool,
    held: Arc<Held>,
}

/// A body that is kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// All of it.
    pub bytes: Bytes,
    source: Option<Source>,
}

/// The file a body was read from, and when it was changed then.
#[derive(Clone, Debug)]
struct Source {
    file: Arc<File>,
    changed: (i64, i64),
}

impl Source {
    fn new(file: File) -> Option<Self> {
        let changed = changed(&file)?;
        Some(Self { file: Arc::new(file), changed })
    }
}

/// When the bytes of a file were changed, to the nanosecond; `None`: it has no name any more. Asking an open file for that waits
/// for nothing.
fn changed(file: &File) -> Option<(i64, i64)> {
    let metadata = file.metadata().ok().filter(|metadata| metadata.nlink() > 0)?;
    Some((metadata.mtime(), metadata.mtime_nsec()))
}

impl Kept {
    /// The file it was read from, if it is worth while to send it from there. A file that somebody has written to since, or
    /// replaced by a good one, is not what was read.
    pub fn file(&self) -> Option<&Arc<File>> {
        let source = self.source.as_ref()?;
        (changed(&source.file) == Some(source.changed)).then_some(&source.file)
    }
}

impl Hot {
    /// Keeps nothing yet, and never more than `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { limit: limit.into(), held: Arc::default(), known: Mutex::default() }
    }

    /// Another limit from now on.
    pub fn resize(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
        self.make_room(&mut self.known(), 0);
    }

    /// Bytes that are kept now.
    pub fn bytes(&self) -> u64 {
        self.held.bytes.load(Ordering::Relaxed)
    }

    /// The place of the body with this tag; whoever holds it holds the body.
    pub fn slot(&self, tag: &HeaderValue) -> Arc<Slot> {
        let mut known = self.known();
        if let Some(slot) = known.slots.get(tag).and_then(Weak::upgrade) {
            return slot;
        }
        let held = Arc::clone(&self.held);
        let slot = Slot { body: ArcSwapOption::empty(), used: false.into(), reading: false.into(), held };
        let slot = Arc::new(slot);
        known.slots.insert(tag.clone(), Arc::downgrade(&slot));
        slot
    }

    /// Forgets places nobody holds any more.
    pub fn tidy(&self) {
        let mut known = self.known();
        known.slots.retain(|_, slot| slot.strong_count() > 0);
        known.filled.retain(|slot| slot.strong_count() > 0);
    }

    /// Whether a body of this size may be kept.
    pub fn takes(&self, length: u64) -> bool {
        length <= self.limit.load(Ordering::Relaxed) / SHARE
    }

    /// Keeps a body; others go for it, those first that were not asked for lately. `file`: what it was read from, with nothing
    /// before it.
    pub fn keep(&self, slot: &Arc<Slot>, bytes: &Bytes, file: File) {
        let length = bytes.len() as u64;
        if !self.takes(length) {
            return;
        }
        let mut known = self.known();
        if slot.body.load().is_some() || !self.make_room(&mut known, length) {
            return;
        }
        let is_room = bytes.len() >= LEAST && self.held.files.load(Ordering::Relaxed) < MAX_FILES;
        let source = is_room.then(|| Source::new(file)).flatten();
        self.held.bytes.fetch_add(length, Ordering::Relaxed);
        self.held.files.fetch_add(u64::from(source.is_some()), Ordering::Relaxed);
        slot.body.store(Some(Arc::new(Kept { bytes: bytes.clone(), source })));
        known.filled.push_back(Arc::downgrade(slot));
    }

    /// Every body that was asked for since the last look gets a second chance, once; so this ends.
    fn make_room(&self, known: &mut Known, length: u64) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let is_room = || self.bytes() + length <= limit;
        for chances in [known.filled.len(), known.filled.len()] {
            for _ in 0..chances {
                if is_room() {
                    return true;
                }
                let Some(weak) = known.filled.pop_front() else { break };
                let Some(slot) = weak.upgrade() else { continue };
                if slot.used.swap(false, Ordering::Relaxed) {
                    known.filled.push_back(weak);
                } else {
                    slot.empty();
                }
            }
        }
        is_room()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// The body, if it is kept.
    pub fn get(&self) -> Option<Kept> {
        let body = self.body.load();
        let body = Kept::clone(body.as_deref()?);
        // Written only when it changes: many read it at once.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        Some(body)
    }

    /// The right to read the body for everybody: one has it at a time.
    pub fn begin(self: &Arc<Self>) -> Option<Reading> {
        (!self.reading.swap(true, Ordering::Acquire)).then(|| Reading(Arc::clone(self)))
    }

    fn empty(&self) {
        if let Some(body) = self.body.swap(None) {
            self.held.bytes.fetch_sub(body.bytes.len() as u64, Ordering::Relaxed);
            self.held.files.fetch_sub(u64::from(body.source.is_some()), Ordering::Relaxed);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.empty();
    }
}

/// Somebody reads a body for everybody, until this is dropped.
#[derive(Debug)]
pub struct Reading(Arc<Slot>);

impl Reading {
    /// Of which body.
    pub fn slot(&self) -> &Arc<Slot> {
        &self.0
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.reading.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn tag(number: usize) -> HeaderValue {
        HeaderValue::from_str(&format!("\"{number}\"")).unwrap()
    }

    fn filled(hot: &Hot, number: usize, length: usize) -> Arc<Slot> {
        let slot = hot.slot(&tag(number));
        // Any file that stays as it is.
        let file = File::open(std::env::current_exe().unwrap()).unwrap();
        hot.keep(&slot, &vec![0; length].into(), file);
        slot
    }

    #[test]
    fn it_never_holds_more_and_what_is_asked_for_stays() {
        let hot = Hot::new(100);
        let slots: Vec<_> = (0..50)
            .map(|number| {
                let slot = filled(&hot, number, 20);
                assert!(hot.bytes() <= 100 && hot.slot(&tag(0)).get().is_some(), "{number}");
                slot
            })
            .collect();
        assert_eq!((hot.bytes(), slots.iter().filter(|slot| slot.get().is_some()).count()), (100, 5));
        hot.resize(50);
        assert_eq!(hot.bytes(), 40);
        hot.resize(0);
        assert_eq!((hot.bytes(), filled(&hot, 60, 1).get().is_none()), (0, true));
    }

    #[test]
    fn one_that_is_too_large_moves_nothing_out() {
        let hot = Hot::new(100);
        let slots = [1, 2, 3].map(|number| filled(&hot, number, 25));
        assert!(filled(&hot, 4, 26).get().is_none());
        assert!(slots.iter().all(|slot| slot.get().is_some()));
    }

    #[test]
    fn the_same_content_is_one_body_and_goes_with_its_last_holder() {
        let hot = Hot::new(100);
        let (old, new) = (filled(&hot, 1, 10), hot.slot(&tag(1)));
        drop(old);
        hot.tidy();
        assert_eq!((new.get().map(|body| body.bytes.len()), hot.bytes()), (Some(10), 10));
        drop(new);
        assert_eq!((hot.bytes(), hot.slot(&tag(1)).get().is_none()), (0, true));
        hot.tidy();
        assert!(hot.known().slots.is_empty());
        assert!(hot.known().filled.is_empty());
    }

    #[test]
    fn files_of_large_bodies_stay_open_but_not_too_many() {
        let hot = Hot::new(1 << 30);
        let slots: Vec<_> = (0..300).map(|number| filled(&hot, number, LEAST)).collect();
        let with_file = slots.iter().filter(|slot| slot.get().is_some_and(|body| body.file().is_some()));
        assert_eq!(with_file.count() as u64, MAX_FILES);
        drop(slots);
        assert!(filled(&hot, 400, LEAST).get().is_some_and(|body| body.file().is_some()));
        assert!(filled(&hot, 401, LEAST - 1).get().is_none_or(|body| body.file().is_none()));
    }

    #[test]
    fn a_file_that_was_written_to_or_replaced_is_not_sent() {
        let (hot, folder) = (Hot::new(1 << 30), tempfile::tempdir().unwrap());
        let has_file = |slot: &Arc<Slot>| slot.get().unwrap().file().is_some();
        for (number, change) in [fs_write as fn(&Path), replace].into_iter().enumerate() {
            let path = folder.path().join(number.to_string());
            let old = tempfile::NamedTempFile::new_in(&folder).unwrap().persist(&path).unwrap();
            old.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
            let slot = hot.slot(&tag(number));
            hot.keep(&slot, &vec![0; LEAST].into(), File::open(&path).unwrap());
            assert!(has_file(&slot));
            std::fs::hard_link(&path, folder.path().join("linked")).unwrap();
            assert!(has_file(&slot), "another version has it, too");
            std::fs::remove_file(folder.path().join("linked")).unwrap();
            change(&path);
            assert!(!has_file(&slot) && slot.get().unwrap().bytes.len() == LEAST);
        }
    }

    fn fs_write(path: &Path) {
        std::io::Write::write_all(&mut File::options().append(true).open(path).unwrap(), b"x").unwrap();
    }

    fn replace(path: &Path) {
        let good = tempfile::NamedTempFile::new_in(path.parent().unwrap()).unwrap();
        good.persist(path).unwrap();
    }

    #[test]
    fn one_reads_for_everybody() {
        let slot = Hot::new(100).slot(&tag(1));
        let first = slot.begin().unwrap();
        assert!(slot.begin().is_none());
        drop(first);
        assert!(slot.begin().is_some());
    }
}
