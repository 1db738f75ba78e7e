//! What was published before it was never to be: held lists, pinned versions, versions that are rolled back to or approved. A
//! change of the settings counts for all of them, and is no jump.

use std::collections::BTreeSet;

use cratos::refresh::steer::Act;

use crate::dir::SITE;
use crate::misp::{NewAttribute, World};
use crate::source::{BLOCK, HUNT, Source, add, settle};

const SETTINGS: &str = "guard: {max_shrink: 50%, max_growth: 300%, min_entries: 5}\n\
     keep: {all: 30d, hourly: 30d, daily: 30d}\n\
     publish: {feeds: [block, hunt], types: [ipv4], ages: [1d, 10y], formats: [txt, json, xml, yaml, b64]}\n";
const NEVER: &str = "never_publish: [10.0.0.0/8]\n";

/// In each feed ten addresses of which eight are private.
fn world() -> World {
    let mut world = World::default();
    for (tag, net) in [(BLOCK, 1), (HUNT, 2)] {
        for number in 0..10 {
            let value = if number < 8 { format!("10.{net}.0.{number}") } else { format!("5.{net}.0.{number}") };
            add(&mut world, tag, vec![NewAttribute::new("ip-dst", value)]);
        }
    }
    settle(&mut world);
    world
}

/// Sets the rest of the site file, as after a reload.
fn set(source: &mut Source, settings: &str) {
    let file = std::fs::read_to_string(source.dir.path().join(format!("sites/{SITE}.yaml"))).unwrap();
    let file: String =
        file.lines().filter(|line| !line.starts_with("never_publish")).map(|l| format!("{l}\n")).collect();
    source.dir.site(SITE, &format!("{file}{settings}"));
    source.reopen();
}

/// No body of the served version, in whatever format, holds a private address; these lines are what its lists hold.
#[track_caller]
fn assert_clean(source: &Source, expected: &[(&str, &[&str])]) {
    for format in cratos::render::FORMATS {
        for (key, body) in source.bodies() {
            if key.split_once('.').is_some_and(|(_, extension)| extension == format.extension) {
                let values = (format.values)(&body).unwrap();
                assert!(!values.iter().any(|value| value.starts_with("10.")), "{key}: {values:?}");
                let feed = key.split('/').nth(1).unwrap();
                let expected: BTreeSet<&str> = expected
                    .iter()
                    .filter(|(name, _)| *name == feed)
                    .flat_map(|(_, lines)| lines.iter().copied())
                    .collect();
                assert_eq!(values.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected, "{key}");
            }
        }
    }
}

const BLOCK_LINES: &[&str] = &["5.1.0.8", "5.1.0.9"];
const HUNT_LINES: &[&str] = &["5.2.0.8", "5.2.0.9"];
const BOTH: &[(&str, &[&str])] = &[("block", BLOCK_LINES), ("hunt", HUNT_LINES)];

#[test]
fn the_guard_does_not_hold_what_the_operator_takes_out() {
    let mut source = Source::new(world(), SETTINGS);
    source.good(true);
    set(&mut source, NEVER);
    let report = source.good(false);
    assert_eq!((report.holds.len(), report.candidate), (0, None), "{report:?}");
    assert_eq!(report.changes["block/ipv4"].removed, 8);
    assert_clean(&source, BOTH);
    // What shrinks at the source still is held.
    let mut world = source.misp.world();
    for number in 0..6 {
        add(&mut world, BLOCK, vec![NewAttribute::new("ip-dst", format!("5.1.1.{number}"))]);
    }
    settle(&mut world);
    drop(world);
    source.good(false);
    let rows: Vec<u64> = (1..=10).chain(21..=26).collect();
    rows.into_iter().filter(|id| *id != 9).for_each(|id| source.misp.world().delete_event(id));
    settle(&mut source.misp.world());
    assert_eq!(source.good(false).holds.keys().collect::<Vec<_>>(), ["guard block/ipv4"]);
    assert_eq!(source.published()["feed/block/ipv4/10y.txt"].len(), 8);
}

#[test]
fn with_the_source_away_it_counts_too() {
    for extra in ["", "expire_when_stale: false\n"] {
        let mut source = Source::new(world(), &format!("{SETTINGS}{extra}"));
        source.good(true);
        set(&mut source, NEVER);
        let report = source.expire(60);
        assert!(report.version.is_some(), "{extra}{report:?}");
        assert_clean(&source, BOTH);
    }
}

#[test]
fn a_feed_that_is_held_loses_its_lines() {
    let mut source = Source::new(world(), &SETTINGS.replace("min_entries: 5", "min_entries: 500"));
    source.good(true);
    (1..=10).for_each(|id| source.misp.world().delete_event(id));
    settle(&mut source.misp.world());
    assert_eq!(source.good(false).holds.keys().collect::<Vec<_>>(), ["feed block"]);
    set(&mut source, NEVER);
    assert_eq!(source.good(false).holds.keys().collect::<Vec<_>>(), ["feed block"]);
    assert_clean(&source, BOTH);
}

#[test]
fn a_version_that_is_put_aside_is_served_without_them() {
    let mut source = Source::new(world(), SETTINGS);
    source.good(true);
    (2..=9).for_each(|id| source.misp.world().delete_event(id));
    settle(&mut source.misp.world());
    let held = source.good(false);
    assert!(held.candidate.is_some() && source.published()["feed/block/ipv4/10y.txt"].len() == 10);
    set(&mut source, NEVER);
    // Approved before any refresh: what is put aside was made under the old settings.
    source.steer(Act::Approve).unwrap();
    assert_clean(&source, &[("block", &["5.1.0.9"]), ("hunt", HUNT_LINES)]);
    let losses = source.dir.manifest();
    assert_eq!(losses.reason, "approved");
}

#[test]
fn the_way_back_does_not_lead_behind_it() {
    let mut source = Source::new(world(), SETTINGS);
    let first = source.good(true).version.unwrap();
    set(&mut source, NEVER);
    source.good(false);
    assert!(source.steer(Act::Rollback(first)).unwrap().holds.contains_key("pinned"));
    assert_clean(&source, BOTH);
    // And while it is pinned the settings go on counting.
    set(&mut source, "never_publish: [10.0.0.0/8, 5.1.0.8]\n");
    let report = source.good(false);
    assert!(report.holds.contains_key("pinned") && report.version.is_some(), "{report:?}");
    assert_clean(&source, &[("block", &["5.1.0.9"]), ("hunt", HUNT_LINES)]);
    let served = source.dir.manifest().version;
    assert!(report.holds["pinned"].text.contains(&format!("version {served} ")), "{report:?}");
    source.steer(Act::Unpin).unwrap();
    assert_clean(&source, &[("block", &["5.1.0.9"]), ("hunt", HUNT_LINES)]);
}

/// What cannot be read may hold such lines all the same, and comes back as it was when it is restored.
#[test]
fn a_damaged_list_loses_its_lines_once_it_is_whole_again() {
    let mut source = Source::new(world(), SETTINGS);
    let first = source.good(true).version.unwrap();
    add(&mut source.misp.world(), HUNT, vec![NewAttribute::new("ip-dst", "5.2.0.7")]);
    settle(&mut source.misp.world());
    source.good(false);
    source.steer(Act::Rollback(first)).unwrap();
    let file = source.dir.current().join("feed/block/ipv4/10y.txt");
    let bytes = std::fs::read(&file).unwrap();
    let damaged: Vec<u8> = bytes.iter().map(|byte| byte ^ 1).collect();
    std::fs::write(&file, damaged).unwrap();
    set(&mut source, NEVER);
    source.good(false);
    std::fs::write(source.dir.current().join("feed/block/ipv4/10y.txt"), bytes).unwrap();
    source.good(false);
    assert_clean(&source, BOTH);
}
