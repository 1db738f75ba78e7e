//! `kill -9` while a version is being written, a hundred times: what is served is always one whole version.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::cmd;
use crate::dir::{BLOCK, CUST1, Dir, now, sha256};
use crate::feed::{self, Attribute, Event};

const ROUNDS: u64 = 100;
/// Kills that must have hit while a candidate folder was there.
const INSIDE: u64 = 80;
const FEEDS: [&str; 2] = ["block", "cust1"];
const TYPES: [&str; 9] = ["ipv4", "ipv6", "cidr4", "domain", "hostname", "url", "file-md5", "file-sha1", "file-sha256"];
/// Numbers from here on are markers: the one of round N is in every list of a version made of that round's feed.
const MARKER: u64 = 1_000_000;

#[test]
fn a_killed_refresh_leaves_one_whole_version() {
    let dir = Dir::below(
        std::env::temp_dir(),
        &format!("publish:\n  feeds: [block, cust1]\n  types: [{}]\n", TYPES.join(", ")),
    );
    let mut events: Vec<Event> = (1..=20).map(|event| Event::new(event, &[BLOCK, CUST1], bulk(event))).collect();
    events.push(marked(0));
    dir.publish(&events);
    let mut seen = Seen { version: 1, round: 0 };
    seen.check(&dir, 0, true);
    let window = candidate_time(&dir, &mut events);
    seen.check(&dir, ROUNDS + 1, true);

    let mut inside = 0;
    for round in 1..=ROUNDS {
        change(&dir, &mut events, round);
        let mut child = start(&dir);
        inside += u64::from(kill_inside(&mut child, &dir, window * (round % 20) as u32 / 25));
        seen.check(&dir, round, round % 10 == 0);
    }
    assert!(inside >= INSIDE, "only {inside} of {ROUNDS} kills hit a candidate (it lives for {window:?})");

    change(&dir, &mut events, ROUNDS + 2);
    dir.run(&["refresh"]).good();
    seen.check(&dir, ROUNDS + 2, true);
    assert_eq!(seen.round, ROUNDS + 2);
    let left: Vec<PathBuf> = ["feeds-out", "state"].iter().flat_map(|name| hidden(&dir.path().join(name))).collect();
    assert!(left.is_empty(), "left over: {left:?}");
}

/// What was served last: version number, and the round whose feed it was made from.
struct Seen {
    version: u64,
    round: u64,
}

impl Seen {
    /// The current version is the last one, or a newer one made of `round`'s feed; and it is whole.
    fn check(&mut self, dir: &Dir, round: u64, thoroughly: bool) {
        let (current, manifest) = (dir.current(), dir.manifest());
        assert!(manifest.version >= self.version, "version {} after {}", manifest.version, self.version);
        if manifest.version > self.version {
            *self = Seen { version: manifest.version, round };
        }
        assert_eq!(manifest.artifacts.len(), FEEDS.len() * TYPES.len() * 24);
        for (key, artifact) in &manifest.artifacts {
            let path = current.join(&artifact.path);
            assert_eq!(fs::metadata(&path).unwrap().len(), artifact.bytes, "{key}");
            if let Some(bytes) = artifact.gzip_bytes {
                assert_eq!(fs::metadata(format!("{}.gz", path.display())).unwrap().len(), bytes, "{key}.gz");
            }
            if thoroughly {
                assert_eq!(sha256(&fs::read(&path).unwrap()), artifact.sha256, "{key}");
            }
        }
        for (feed, name) in FEEDS.iter().flat_map(|feed| TYPES.map(|name| (feed, name))) {
            let list = fs::read_to_string(current.join(format!("feed/{feed}/{name}/10y.txt"))).unwrap();
            let lines: HashSet<&str> = list.split("\r\n").collect();
            let has = |round: &u64| lines.contains(&*value(name, MARKER + round).1);
            let rounds: Vec<u64> = (0..=ROUNDS + 2).filter(has).collect();
            assert_eq!(rounds, [self.round], "{feed}/{name} of version {}", manifest.version);
        }
    }
}

/// MISP type and value number `n` of a data type; the value is in its normal form already.
fn value(data_type: &str, n: u64) -> (&'static str, String) {
    let (a, b, c) = (n >> 16, n >> 8 & 255, n & 255);
    match data_type {
        "ipv4" => ("ip-dst", format!("10.{a}.{b}.{c}")),
        "ipv6" => ("ip-src", format!("2001:db8::{:x}:{:x}", a + 1, n & 0xffff)),
        "cidr4" => ("ip-dst", format!("{}.{b}.{c}.0/24", a + 11)),
        "domain" => ("domain", format!("n{n}.example")),
        "hostname" => ("hostname", format!("h{n}.example")),
        "url" => ("url", format!("http://u{n}.example/")),
        "file-md5" => ("md5", format!("{n:032x}")),
        "file-sha1" => ("sha1", format!("{n:040x}")),
        "file-sha256" => ("sha256", format!("{n:064x}")),
        other => panic!("{other}"),
    }
}

/// A thousand attributes.
fn bulk(event: u64) -> Vec<Attribute> {
    let numbers = event * 1000..(event + 1) * 1000;
    let attribute = |n: u64| {
        let (kind, value) = value(TYPES[(n % 9) as usize], n);
        Attribute::new(kind, value, now() - 600)
    };
    numbers.map(attribute).collect()
}

/// The event that says of which round the feed is.
fn marked(round: u64) -> Event {
    let attribute = |name: &&str| {
        let (kind, value) = value(name, MARKER + round);
        Attribute::new(kind, value, now() - 600)
    };
    let mut event = Event::new(0, &[BLOCK, CUST1], TYPES.iter().map(attribute).collect());
    event.timestamp += round as i64;
    event
}

/// Makes the feed that of `round`.
fn change(dir: &Dir, events: &mut Vec<Event>, round: u64) {
    events.pop();
    events.push(marked(round));
    feed::write_event(&dir.feed(), &events[events.len() - 1]);
    feed::write_manifest(&dir.feed(), events);
}

fn start(dir: &Dir) -> Child {
    for stale in candidates(dir) {
        fs::write(stale.join("stale"), "").unwrap();
    }
    cmd::command(dir.path(), &["refresh"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// How long the candidate of a refresh that nobody disturbs is there.
fn candidate_time(dir: &Dir, events: &mut Vec<Event>) -> Duration {
    change(dir, events, ROUNDS + 1);
    let mut child = start(dir);
    assert!(wait_for_candidate(&mut child, dir), "a refresh without a candidate folder");
    let seen = Instant::now();
    while is_writing(dir) {
        std::thread::sleep(Duration::from_micros(200));
    }
    let window = seen.elapsed();
    assert!(child.wait().unwrap().success());
    window
}

/// Kills the refresh `delay` after its candidate appeared. Returns whether the candidate was still there.
fn kill_inside(child: &mut Child, dir: &Dir, delay: Duration) -> bool {
    let seen = wait_for_candidate(child, dir);
    std::thread::sleep(delay);
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(status.code().is_none_or(|code| code == 0), "refresh failed by itself: {status}");
    seen && is_writing(dir)
}

/// Returns false if the refresh ended first.
fn wait_for_candidate(child: &mut Child, dir: &Dir) -> bool {
    let start = Instant::now();
    while !is_writing(dir) {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "no candidate after 30 s");
        std::thread::sleep(Duration::from_micros(200));
    }
    true
}

/// Whether there is a candidate of the refresh that was started last.
fn is_writing(dir: &Dir) -> bool {
    candidates(dir).iter().any(|candidate| candidate.is_dir() && !candidate.join("stale").exists())
}

fn candidates(dir: &Dir) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.view().join("versions")).unwrap().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(".candidate-"))
        .map(|entry| entry.path())
        .collect()
}

/// Everything below `folder` whose name starts with a dot: candidates and temporary files.
fn hidden(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with('.') {
            out.push(entry.path());
        } else if entry.file_type().unwrap().is_dir() {
            out.extend(hidden(&entry.path()));
        }
    }
    out
}
