//! A list that jumps is not served before somebody approves it or full pulls agree: what is held, what is served meanwhile, and
//! how it ends.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use cratos::refresh::{Act, How, Report};
use cratos::snapshot::manifest::{self, Manifest};
use serde_json::Value;

use crate::cmd::{Server, wait_for};
use crate::dir::{self, SITE};
use crate::misp::{ADMIN_KEY, Misp, World};
use crate::source::{self, BLOCK, HUNT, PUBLISH, Source, add, address, row, settle};

const MINUTE: Duration = Duration::from_secs(60);
/// Lists of five entries and more, two full pulls that agree.
const GUARD: &str = "guard: {max_shrink: 50%, max_growth: 100%, min_entries: 5}\nhold_release: 2\n\
                     keep: {all: 30d, hourly: 30d, daily: 30d}\n";
pub const KEY: &str = "guard block/ipv4";
pub const LIST: &str = "feed/block/ipv4/10y.txt";

/// Events of `block` with one row each, so that they can be deleted one by one; `hunt` is small.
fn world(now: i64, rows: u64) -> World {
    let mut world = World::default();
    world.now = now;
    for number in 0..rows {
        add(&mut world, BLOCK, vec![row(number)]);
    }
    add(&mut world, HUNT, vec![row(1000), row(1001)]);
    settle(&mut world);
    world
}

pub fn source(extra: &str) -> Source {
    let source = Source::new(world(World::default().now, 20), &format!("{GUARD}{extra}{PUBLISH}"));
    assert_eq!(source.good(true).holds.len(), 0, "nothing was there before");
    source.assert_true("in the beginning");
    source
}

/// The server some time later.
pub fn later(source: &Source, change: impl FnOnce(&mut World)) {
    let mut world = source.misp.world();
    change(&mut world);
    settle(&mut world);
}

/// Deletes the events of `block` with these numbers (from 1).
pub fn delete(world: &mut World, events: std::ops::RangeInclusive<u64>) {
    events.for_each(|id| world.delete_event(id));
}

pub fn grow(world: &mut World, rows: std::ops::Range<u64>) {
    for number in rows {
        add(world, BLOCK, vec![row(number)]);
    }
}

/// A refresh that ends with a version put aside. Returns its report; what is served stays.
#[track_caller]
pub fn held(source: &Source, full: bool, keys: &[&str]) -> Report {
    let (before, link) = (source.published(), source.link());
    let report = source.good(full);
    assert_eq!(report.holds.keys().collect::<Vec<_>>(), keys);
    assert_eq!((report.version, source.link()), (None, link), "nothing new is served");
    assert_eq!(source.published(), before);
    report
}

pub fn version(source: &Source, number: u64) -> (Manifest, BTreeSet<String>) {
    let opened = manifest::open_number(&source.dir.view(), number).unwrap();
    let text = fs::read_to_string(opened.dir.join(&opened.manifest.artifacts[LIST].path)).unwrap();
    let values = text.split("\r\n").filter(|line| !line.is_empty()).map(str::to_owned).collect();
    (opened.manifest, values)
}

pub fn current(source: &Source) -> u64 {
    source.dir.manifest().version
}

#[test]
fn a_list_that_shrinks_is_put_aside_and_approved() {
    let mut source = source("");
    later(&source, |world| delete(world, 1..=12));
    let report = held(&source, false, &[KEY]);
    let text = "block/ipv4 would shrink from 20 to 8 entries (-60%, max_shrink 50%)";
    assert_eq!(report.holds[KEY].text, text);
    let candidate = report.candidate.unwrap();
    assert_eq!(version(&source, candidate).1.len(), 8, "it can be looked at");
    assert_eq!(version(&source, candidate).0.reason, "refresh, held");
    source.reopen();
    assert_eq!(held(&source, false, &[KEY]).candidate, Some(candidate), "equal content is not written again");
    later(&source, |world| grow(world, 100..101));
    let newer = held(&source, false, &[KEY]).candidate.unwrap();
    assert!(newer > candidate && manifest::open_number(&source.dir.view(), candidate).is_err(), "one at a time");
    let reason = report.holds[KEY].since;
    assert_eq!(source.good(false).holds[KEY].since, reason, "held since it was found");
    let approved = source.steer(Act::Approve).unwrap();
    assert_eq!((approved.version, approved.candidate), (Some(current(&source)), None));
    source.assert_true("approved");
    assert_eq!(source.dir.manifest().reason, "approved");
    assert_eq!(source.good(false).version, None, "that is all");
    assert_eq!(source.steer(Act::Approve).unwrap_err(), "no version is held");
}

#[test]
fn full_pulls_that_agree_release_it_but_not_what_was_rejected() {
    for grows in [false, true] {
        let mut source = source("");
        later(&source, |world| if grows { grow(world, 100..130) } else { delete(world, 1..=15) });
        held(&source, false, &[KEY]);
        held(&source, true, &[KEY]);
        source.reopen();
        held(&source, false, &[KEY]);
        assert_eq!(source.good(true).holds.len(), 0, "the second full pull agrees");
        source.assert_true("released");

        later(&source, |world| if grows { delete(world, 22..=51) } else { grow(world, 200..230) });
        let candidate = held(&source, true, &[KEY]).candidate.unwrap();
        let rejected = source.steer(Act::Reject).unwrap();
        assert!(rejected.holds[KEY].text.ends_with("; rejected"), "{rejected:?}");
        assert!(manifest::open_number(&source.dir.view(), candidate).is_err(), "it is gone");
        for _ in 0..4 {
            assert!(held(&source, true, &[KEY]).holds[KEY].text.ends_with("; rejected"));
            source.reopen();
        }
        let approved = source.steer(Act::Approve).unwrap();
        assert!(approved.version.is_some() && approved.holds.is_empty());
        source.assert_true("approved all the same");
    }
}

#[test]
fn a_mistake_that_is_mended_ends_the_hold() {
    let source = source("");
    let before = source.misp.world().events.clone();
    later(&source, |world| delete(world, 1..=20));
    let report = held(&source, false, &["feed block", KEY]);
    later(&source, |world| world.events = before);
    let mended = source.good(false);
    assert_eq!((mended.holds.len(), mended.candidate), (0, None));
    source.assert_true("mended");
    assert!(manifest::open_number(&source.dir.view(), report.candidate.unwrap()).is_err());
}

#[test]
fn where_a_feed_falls_to_zero_the_stricter_rule_holds() {
    for approve in [false, true] {
        let source = source("");
        later(&source, |world| delete(world, 1..=20));
        held(&source, true, &["feed block", KEY]);
        if approve {
            assert_eq!(source.steer(Act::Approve).unwrap().holds.len(), 0);
            assert_eq!(source.published()[LIST].len(), 0);
            assert_eq!(source.good(false).holds.len(), 0);
        } else {
            assert_eq!(source.good(true).holds.len(), 0, "both rules agree now");
        }
        source.assert_true("nothing is left");
    }
    let small = source("");
    later(&small, |world| delete(world, 21..=21));
    let report = small.good(false);
    assert_eq!(report.holds.keys().collect::<Vec<_>>(), ["feed hunt"], "a small list keeps its earlier rule");
}

#[test]
fn limits_may_be_a_feeds_own_or_none() {
    let set = |guard: &str| {
        let settings = format!("{GUARD}{PUBLISH}").replace("min_entries: 5}", guard);
        let source = Source::new(world(World::default().now, 20), &settings);
        source.good(true);
        later(&source, |world| delete(world, 1..=3));
        source.good(false).holds.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(set("min_entries: 5}"), Vec::<String>::new());
    assert_eq!(set("min_entries: 5, feeds: {block: {max_shrink: 10%}}}"), [KEY]);
    assert_eq!(set("min_entries: 5, feeds: {hunt: {max_shrink: 10%}}}"), Vec::<String>::new());
    let off =
        format!("{GUARD}{PUBLISH}").replace("guard: {max_shrink: 50%, max_growth: 100%, min_entries: 5}", "guard: off");
    let source = Source::new(world(World::default().now, 20), &off);
    source.good(true);
    later(&source, |world| delete(world, 1..=19));
    assert_eq!(source.good(false).holds.len(), 0);
    source.assert_true("not guarded");
}

/// Time empties lists, too: while the source is away, all that went by is measured together.
#[test]
fn what_ages_take_while_the_source_is_away_counts() {
    let publish = "publish: {feeds: [block], types: [ipv4], ages: [1d], formats: [txt]}\n";
    let list = "feed/block/ipv4/1d.txt";
    let start = |extra: &str| {
        let mut world = World::default();
        for number in 0..20 {
            add(&mut world, BLOCK, vec![row(number)]);
            world.advance(3600);
        }
        let source = Source::new(world, &format!("{GUARD}{extra}{publish}"));
        source.good(true);
        assert_eq!(source.published()[list].len(), 20);
        source
    };
    let mut away = start("");
    let sizes: Vec<(usize, usize)> = (0..20)
        .map(|_| {
            let report = away.expire(3600);
            away.reopen();
            (away.published()[list].len(), report.holds.len())
        })
        .collect();
    assert!(sizes.contains(&(10, 0)) && sizes.ends_with(&[(10, 1), (10, 1)]), "{sizes:?}");
    assert!(away.published()[list].contains(&address(19)));
    // It is there again, with as many as before.
    later(&away, |world| {
        world.advance(30 * 3600);
        grow(world, 100..120);
    });
    assert_eq!(away.good(false).holds.len(), 0);
    assert_eq!(away.published()[list].len(), 20);

    let frozen = start("expire_when_stale: false\n");
    for _ in 0..40 {
        assert_eq!(frozen.expire(3600).version, None);
        assert_eq!(frozen.published()[list].len(), 20, "ages stand still");
    }
}

fn status(server: &Server) -> Value {
    server.status(ADMIN_KEY)
}

#[test]
fn commands_work_alone_and_beside_a_running_server() {
    for running in [false, true] {
        let misp = Misp::of(world(dir::now() - 100, 20));
        let dir = source::folder(&misp, ADMIN_KEY, &format!("refresh: 1h\n{GUARD}{PUBLISH}"));
        dir.run(&["refresh"]).good();
        let list = || source::published(&dir)[LIST].len();
        let server = running.then(|| Server::start(&dir));
        let none = dir.run(&["approve", SITE]).good();
        assert!(none.out.contains("nothing is held"), "{}", none.out);
        delete(&mut misp.world(), 1..=15);
        let refreshed = dir.run(&["refresh"]).good();
        let text = "HELD since 2";
        assert!(
            refreshed.out.contains(text) && refreshed.out.contains("would shrink from 20 to 5"),
            "{}",
            refreshed.out
        );
        assert!(refreshed.out.contains("version 2 is written, not served"), "{}", refreshed.out);
        if let Some(server) = &server {
            wait_for("the hold", MINUTE, || status(server)["state"] == "held");
            assert_eq!((&status(server)["candidate"], &status(server)["version"]), (&2.into(), &1.into()));
        }
        let rejected = dir.run(&["reject", SITE]).good();
        assert!(rejected.out.contains("rejected: block/ipv4 would shrink"), "{}", rejected.out);
        assert_eq!(list(), 20);
        dir.run(&["refresh"]).good();
        let approved = dir.run(&["approve", SITE]).good();
        assert!(
            approved.out.contains("approved: block/ipv4") && approved.out.contains("is served, 7 entries"),
            "{}",
            approved.out
        );
        assert_eq!(list(), 5);
        let back = dir.run(&["versions", "rollback", "1"]).good();
        assert!(back.out.contains("with the content of version 1, 22 entries"), "{}", back.out);
        assert!(back.out.contains(&format!("`cratos versions unpin --site {SITE}`")), "{}", back.out);
        assert_eq!(list(), 20);
        if let Some(server) = &server {
            wait_for("the pin", MINUTE, || !status(server)["held"]["pinned"].is_null());
        }
        let unpinned = dir.run(&["versions", "unpin", "--site", SITE]).good();
        assert!(unpinned.out.contains("is served, 7 entries"), "{}", unpinned.out);
        assert_eq!(list(), 5);
        let twice = dir.run(&["versions", "unpin"]).with_code(1);
        assert!(twice.err.contains("no version is pinned"), "{}", twice.err);
        if let Some(server) = &server {
            wait_for("the end", MINUTE, || status(server)["state"] == "ok");
        }
    }
}

#[test]
fn how_it_is_released_is_not_how_it_is_found() {
    // An order to release, as for a tag that vanished, serves what a guard holds as well.
    let source = source("");
    later(&source, |world| delete(world, 1..=15));
    held(&source, false, &[KEY]);
    let report = source.refresh(How { full: false, release: true }).unwrap();
    assert_eq!((report.holds.len(), report.candidate), (0, None));
    source.assert_true("released");
}
