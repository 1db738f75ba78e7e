//! What refreshes add on disk.
//!
//! In: the bed. Out: rows: bytes that the folder of versions grows by when 1 % of the events
//! change, against the bytes of the lists that changed; what that makes per day and in all; the same when nothing changes.
//!
//! Invariants: bytes are those of blocks, of every inode once, folders too; a content that several lists share counts once on both
//! sides.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cratos::snapshot::layout;
use cratos::snapshot::manifest::{self, Manifest};

use super::{Bed, median, row};

const ROUNDS: u32 = 5;
/// One in so many events changes.
const EVERY: u64 = 100;
/// `st_blocks` counts in these, whatever the file system does.
const BLOCK: u64 = 512;
/// A refresh every five minutes for a day, which `keep.all` keeps; one an hour up to the seventh day; one a day up to the 90th.
const DAY: u64 = 288;
const HOURLY: u64 = 6 * 24;
const DAILY: u64 = 83;

pub fn measure(bed: &Bed) {
    let running = bed.serve("31d", "");
    let refresh = || {
        running.cratos.refresh(bed.folder.path(), false);
        (Disk::of(&bed.view().join(layout::VERSIONS)), manifest::open_current(&bed.view()).unwrap().unwrap().manifest)
    };
    let (mut before, mut old) = refresh();
    let (mut grown, mut changed, mut lists) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        bed.misp.world.change(EVERY);
        let (after, new) = refresh();
        grown.push(after.since(&before));
        let (bytes, count) = changed_bytes(&old, &new);
        changed.push(bytes as f64);
        lists = count;
        (before, old) = (after, new);
    }
    let of = |part: fn(&Disk) -> u64| median(&grown.iter().map(|disk| part(disk) as f64).collect::<Vec<_>>());
    let (all, changed) = (of(|disk| disk.all), median(&changed));
    row(
        "disk per refresh with 1 % of the events changed",
        &format!(
            "{:.2} MB for {lists} changed lists of {:.2} MB, {:.2}x; of it {:.2} MB manifest, {:.2} MB folders",
            all / 1e6,
            changed / 1e6,
            all / changed,
            of(|disk| disk.manifests) / 1e6,
            of(|disk| disk.folders) / 1e6
        ),
        "at most 3x and the folders",
    );
    let gigabytes = |versions: u64| all * versions as f64 / 1e9;
    let kept = DAY + HOURLY + DAILY;
    row(
        "disk if that is so every five minutes",
        &format!(
            "{:.1} GB a day ({DAY} versions), {:.1} GB after 90 days ({kept} versions)",
            gigabytes(DAY),
            gigabytes(kept)
        ),
        "max_disk ends it at 20 GB",
    );
    let (after, new) = refresh();
    let (grown, versions) = (after.since(&before).all, new.version - old.version);
    row("disk per refresh when nothing changes", &format!("{grown} bytes, {versions} versions"), "0");
}

/// Bytes of blocks.
#[derive(Default)]
struct Disk {
    all: u64,
    /// Of these, what folders take.
    folders: u64,
    /// And what says which lists a version has.
    manifests: u64,
}

impl Disk {
    fn of(folder: &Path) -> Self {
        let (mut disk, mut seen, mut folders) = (Self::default(), BTreeSet::new(), vec![folder.to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let meta = entry.metadata().unwrap();
                let bytes = if seen.insert(meta.ino()) { meta.blocks() * BLOCK } else { 0 };
                disk.all += bytes;
                if meta.is_dir() {
                    disk.folders += bytes;
                    folders.push(entry.path());
                } else if entry.file_name() == layout::MANIFEST {
                    disk.manifests += bytes;
                }
            }
        }
        disk
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            all: self.all - before.all,
            folders: self.folders - before.folders,
            manifests: self.manifests - before.manifests,
        }
    }
}

/// Bytes of the lists that are other than before, with their compressed siblings, and how many lists these are.
fn changed_bytes(old: &Manifest, new: &Manifest) -> (u64, usize) {
    let is_new = |(key, artifact): &(&String, &manifest::Artifact)| {
        old.artifacts.get(*key).is_none_or(|before| before.sha256 != artifact.sha256)
    };
    let changed: Vec<_> = new.artifacts.iter().filter(is_new).collect();
    let contents: BTreeMap<&str, u64> = changed
        .iter()
        .map(|(_, artifact)| (&*artifact.sha256, artifact.bytes + artifact.gzip_bytes.unwrap_or(0)))
        .collect();
    (contents.values().sum(), changed.len())
}
