//! The file of a mirror: what changed a little is appended, and a file that is not whole is believed only if nobody relied on the
//! rest of it.

use std::fs;
use std::path::PathBuf;

use cratos::index::mirror::Mirror;

use crate::dir::SITE;
use crate::misp::World;
use crate::source::{BLOCK, HUNT, PUBLISH, Source, add, row, settle};

/// Forty events with a few rows of every age each.
fn source() -> Source {
    let mut world = World::default();
    let now = world.now;
    for number in 0..40 {
        let rows = [10i64, 7200, 100_000].map(|age| row(number * 10 + age.unsigned_abs()).at(now - age));
        add(&mut world, if number % 2 == 0 { BLOCK } else { HUNT }, rows.into());
    }
    settle(&mut world);
    let source = Source::new(world, PUBLISH);
    source.good(true);
    source
}

fn state(source: &Source, name: &str) -> PathBuf {
    source.dir.path().join(format!("state/{SITE}/{name}"))
}

fn mirror(source: &Source) -> Vec<u8> {
    fs::read(state(source, "main.mirror")).unwrap()
}

/// Something new in an event of its own.
fn change(source: &Source, number: u64) {
    let mut world = source.misp.world();
    add(&mut world, BLOCK, vec![row(100_000 + number)]);
    settle(&mut world);
}

/// The next refresh begins with what is in the file, and reads nothing again but what is new.
fn assert_used(source: &Source, read: u64) {
    let report = source.good(false);
    assert_eq!((report.full, report.read), (false, read));
    source.assert_true("from the file");
}

#[test]
fn what_changed_a_little_is_appended_and_read_back() {
    let mut source = source();
    let first = mirror(&source);
    change(&source, 1);
    source.good(false);
    let longer = mirror(&source);
    assert!(longer.starts_with(&first) && longer.len() > first.len());
    source.assert_true("from memory");
    source.reopen();
    assert_used(&source, 0);
    assert_eq!(mirror(&source), longer, "nothing new is nothing appended");

    let mut written_whole = 0;
    for number in 2..60 {
        let before = mirror(&source);
        change(&source, number);
        source.good(false);
        let after = mirror(&source);
        written_whole += u32::from(!after.starts_with(&before));
        let decoded = Mirror::decode(&after).unwrap();
        assert!(!decoded.is_cut && (decoded.length - decoded.whole) * 2 <= decoded.whole);
    }
    assert!((1..10).contains(&written_whole), "{written_whole}");
    source.reopen();
    assert_used(&source, 0);
}

#[test]
fn a_crash_while_something_is_appended_loses_only_that() {
    let mut source = source();
    let counters = state(&source, "main.json");
    let (before, whole) = (fs::read(&counters).unwrap(), mirror(&source).len());
    change(&source, 1);
    source.good(false);
    let file = mirror(&source);
    // The counters are kept after the mirror.
    // As long as it would be, but not on the disk yet.
    let lost = [&file[..whole + 20], &vec![0; file.len() - whole - 20]].concat();
    let written = [&file[..whole + 1], &file[..whole + 20], &file[..file.len() - 1], &lost, &file];
    for (is_last, written) in written.iter().enumerate().map(|(at, written)| (at == 4, written)) {
        fs::write(&counters, &before).unwrap();
        fs::write(state(&source, "main.mirror"), written).unwrap();
        source.reopen();
        assert_used(&source, u64::from(!is_last));
        let decoded = Mirror::decode(&mirror(&source)).unwrap();
        assert!(!decoded.is_cut, "nothing is appended behind what is cut");
    }
}

#[test]
fn what_somebody_relied_on_and_is_lost_is_pulled_again() {
    let mut source = source();
    let whole = mirror(&source).len();
    for damage in [
        (|file, _| file[..file.len() - 1].to_vec()) as fn(&[u8], usize) -> Vec<u8>,
        |file, whole| file[..whole].iter().chain(&file[whole..][..10]).copied().collect(),
        |file, whole| file.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == whole + 40)).collect(),
    ] {
        change(&source, mirror(&source).len() as u64);
        source.good(false);
        let file = mirror(&source);
        let whole = whole.min(Mirror::decode(&file).unwrap().whole as usize);
        fs::write(state(&source, "main.mirror"), damage(&file, whole)).unwrap();
        source.reopen();
        let report = source.good(false);
        assert!(report.full, "what is noted of the last pull is not believed of an older mirror");
        source.assert_true("pulled again");
        fs::remove_file(state(&source, "main.mirror.damaged")).unwrap();
    }
}

/// The counters of the pull before, and behind what they belong to an addition, and behind that one that was not finished.
#[test]
fn what_is_behind_what_was_noted_is_no_reason_to_pull_again() {
    let mut source = source();
    let counters = state(&source, "main.json");
    let noted = fs::read(&counters).unwrap();
    change(&source, 1);
    source.good(false);
    let mut file = mirror(&source);
    file.extend(b"CRATOSA1 and no more");
    fs::write(state(&source, "main.mirror"), &file).unwrap();
    for counters_of in [fs::read(&counters).unwrap(), noted] {
        fs::write(&counters, counters_of).unwrap();
        fs::write(state(&source, "main.mirror"), &file).unwrap();
        source.reopen();
        assert_used(&source, 0);
    }
    // Nor is anything appended there.
    change(&source, 2);
    source.good(false);
    assert!(!Mirror::decode(&mirror(&source)).unwrap().is_cut);
}

/// A file that is as long as it should be and is another one.
#[test]
fn nothing_is_appended_to_what_somebody_else_wrote() {
    let mut source = source();
    let mut file = mirror(&source);
    let last = file.len() - 1;
    file[last] ^= 1;
    fs::write(state(&source, "main.mirror"), &file).unwrap();
    change(&source, 1);
    source.good(false);
    assert!(!mirror(&source).starts_with(&file));
    source.reopen();
    assert_used(&source, 0);
}
