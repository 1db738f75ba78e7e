//! The way back: an older version again, pinned until it is let go; and what is made on demand meanwhile.

use std::collections::BTreeSet;
use std::fs;

use cratos::demand::{Of, Wanted};
use cratos::refresh::{Act, How};
use cratos::snapshot::manifest;

use crate::guard::{KEY, LIST, current, delete, grow, held, later, source, version};
use crate::source::{Lists, Source};

fn any(format: &str) -> Wanted {
    let (data_type, age) = ("ipv4".to_owned(), "10y".to_owned());
    Wanted { of: Of::Feed("block".into()), data_type, age, format: format.into() }
}

#[test]
fn lists_on_demand_show_nothing_that_is_held_or_newer_than_what_is_pinned() {
    let source = source("");
    assert!(source.can_render(any("json")));
    source.render(any("json"));
    let first = current(&source);
    later(&source, |world| delete(world, 1..=15));
    held(&source, false, &[KEY]);
    assert!(!source.can_render(any("xml")));
    source.steer(Act::Approve).unwrap();
    assert!(source.can_render(any("xml")));
    source.render(any("xml"));
    source.steer(Act::Rollback(first)).unwrap();
    assert!(!source.can_render(any("yaml")));
    let keys: Vec<String> = source.dir.manifest().artifacts.into_keys().collect();
    assert!(keys.iter().any(|key| key.ends_with("10y.json")) && !keys.iter().any(|key| key.ends_with(".xml")));
    source.steer(Act::Unpin).unwrap();
    assert!(source.can_render(any("yaml")));
}

fn block(source: &Source) -> BTreeSet<String> {
    source.published()[LIST].clone()
}

#[test]
fn an_older_version_comes_back_and_stays_until_it_is_let_go() {
    let mut source = source("");
    let (first, beginning): (u64, Lists) = (current(&source), source.published());
    later(&source, |world| grow(world, 100..105));
    source.good(false);
    let (second, changed_at) = (current(&source), source.dir.manifest().artifacts[LIST].changed_at);
    assert_eq!(block(&source).len(), 25);

    let back = source.steer(Act::Rollback(first)).unwrap();
    let third = current(&source);
    assert_eq!((back.version, third), (Some(third), second + 1), "a new version");
    assert_eq!(source.published(), beginning);
    let manifest = source.dir.manifest();
    assert_eq!(manifest.reason, format!("rollback to {first}"));
    assert!(manifest.artifacts[LIST].changed_at > changed_at, "times rise");
    assert_eq!(back.holds["pinned"].text, format!("pinned: version {third} with the content of version {first}"));

    later(&source, |world| grow(world, 200..203));
    source.reopen();
    let candidate = held(&source, false, &["pinned"]).candidate.unwrap();
    assert_eq!(version(&source, candidate).1.len(), 28);
    assert_eq!(held(&source, true, &["pinned"]).candidate, Some(candidate));
    assert!(source.steer(Act::Approve).unwrap_err().contains("`cratos versions unpin`"));
    source.reopen();
    let free = source.steer(Act::Unpin).unwrap();
    assert_eq!((free.version, free.holds.len()), (Some(current(&source)), 0));
    source.assert_true("unpinned");
    assert_eq!(source.dir.manifest().reason, "unpinned");
    assert_eq!(source.good(false).version, None);
    assert_eq!(source.steer(Act::Unpin).unwrap_err(), "no version is pinned");
    assert!(source.steer(Act::Rollback(4711)).unwrap_err().contains("version 4711 cannot be opened"));
    assert!(source.steer(Act::Rollback(current(&source))).unwrap_err().contains("is served already"));
}

#[test]
fn what_was_served_comes_back_at_once_when_a_rollback_is_undone() {
    let source = source("");
    let first = current(&source);
    later(&source, |world| grow(world, 100..105));
    source.good(false);
    let newest = source.published();
    source.steer(Act::Rollback(first)).unwrap();
    // The source is not asked.
    source.steer(Act::Unpin).unwrap();
    assert_eq!(source.published(), newest);
    assert!(manifest::open_number(&source.dir.view(), first + 1).is_ok(), "it stays in the history");
}

#[test]
fn a_mistake_that_was_rolled_back_is_held_when_it_is_still_there() {
    let source = source("");
    let first = current(&source);
    // Small enough for nobody to ask.
    later(&source, |world| delete(world, 1..=8));
    source.good(false);
    later(&source, |world| delete(world, 9..=13));
    source.good(false);
    assert_eq!(block(&source).len(), 7);
    source.steer(Act::Rollback(first)).unwrap();
    assert_eq!(block(&source).len(), 20);
    held(&source, false, &[KEY, "pinned"]);
    let unpinned = source.steer(Act::Unpin).unwrap();
    assert_eq!(unpinned.holds.keys().collect::<Vec<_>>(), [KEY]);
    assert_eq!(block(&source).len(), 20);
    held(&source, false, &[KEY]);
    source.steer(Act::Approve).unwrap();
    source.assert_true("approved");
}

/// What was served before time went by without the source is no measure once somebody chose something else.
#[test]
fn what_is_rolled_back_to_is_what_jumps_are_measured_against() {
    let source = source("");
    later(&source, |world| grow(world, 100..125));
    let grown = source.refresh(How { full: false, release: true }).unwrap().version.unwrap();
    for (events, left) in [(1..=15, 30), (22..=31, 20)] {
        later(&source, |world| delete(world, events));
        source.good(false);
        assert_eq!(block(&source).len(), left);
    }
    source.expire(7200);
    source.steer(Act::Rollback(grown)).unwrap();
    assert_eq!(block(&source).len(), 45);
    later(&source, |world| {
        world.advance(7200);
        grow(world, 0..15);
        grow(world, 100..110);
    });
    held(&source, false, &["pinned"]);
    source.steer(Act::Unpin).unwrap();
    assert_eq!((source.good(false).holds.len(), block(&source).len()), (0, 45));
}

#[test]
fn a_damaged_version_is_not_rolled_back_to() {
    let source = source("");
    let first = current(&source);
    later(&source, |world| grow(world, 100..105));
    source.good(false);
    let (link, file) = (source.link(), source.dir.view().join("versions/000001").join(LIST));
    assert_eq!(first, 1);
    let mut bytes = fs::read(&file).unwrap();
    bytes[0] ^= 1;
    fs::write(&file, bytes).unwrap();
    let error = source.steer(Act::Rollback(first)).unwrap_err();
    assert!(error.contains("damaged") && error.contains("versions verify"), "{error}");
    assert_eq!(source.link(), link);
    // What failed leaves nothing behind: newer versions are served as before.
    later(&source, |world| grow(world, 200..203));
    assert_eq!(source.good(false).holds.len(), 0);
    source.assert_true("not pinned");
}
