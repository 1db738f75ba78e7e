//! What looks like a mistake at the server is not published before it is confirmed: a false-positive tag that vanished, a
//! feed or a whole view that fell to zero. What is held, what is not, and how each hold ends.

use std::time::Duration;

use cratos::refresh::How;
use serde_json::Value;

use crate::cmd::{Server, wait_for};
use crate::dir::{self, Dir, SITE};
use crate::misp::{ADMIN_KEY, Misp, Via, World};
use crate::source::{self, BLOCK, FALSE_POSITIVE, HUNT, Lists, PUBLISH, Source, add, address, row, settle};

const MINUTE: Duration = Duration::from_secs(60);
const OTHER: &str = "example:incident-classification=no-false-positive";
/// Keys of holds.
const TAG: &str = "false-positive tag";
const VIEW: &str = "view";

/// Event 1 has the tag of `block`, event 2 that of `hunt`; the last row of each is a false positive.
fn world(now: i64) -> World {
    let mut world = World::default();
    world.now = now;
    add(&mut world, BLOCK, vec![row(1), row(2), row(3), row(4).tag(FALSE_POSITIVE)]);
    add(&mut world, HUNT, vec![row(11), row(12), row(13).tag(FALSE_POSITIVE)]);
    settle(&mut world);
    world
}

fn source() -> Source {
    let source = Source::new(world(World::default().now), PUBLISH);
    assert_eq!(source.good(true).holds.len(), 0, "nothing was there before");
    source.assert_true("in the beginning");
    source
}

/// The server some time later, another row added.
fn later(source: &Source, change: impl FnOnce(&mut World)) {
    let mut world = source.misp.world();
    change(&mut world);
    let number = 1000 + world.now as u64 % 50_000;
    add(&mut world, BLOCK, vec![row(number)]);
    settle(&mut world);
}

/// A refresh after which exactly this is held. Returns what is published.
#[track_caller]
fn held(source: &Source, how: How, keys: &[&str]) -> Lists {
    let report = source.refresh(how).unwrap();
    assert_eq!(report.holds.keys().collect::<Vec<_>>(), keys, "in the report");
    assert_eq!(source.held(), keys, "in the counters");
    source.published()
}

const INCREMENTAL: How = How { full: false, release: false };
const FULL: How = How { full: true, release: false };
const RELEASE: How = How { full: false, release: true };

type Change = fn(&mut World);

/// Ways to lose the tag, and to get it back.
const LOSSES: [(Change, Change); 2] = [
    (|world| world.rename_tag(FALSE_POSITIVE, OTHER), |world| world.rename_tag(OTHER, FALSE_POSITIVE)),
    (
        |world| world.delete_tag(FALSE_POSITIVE),
        |world| [4, 7].into_iter().for_each(|id| world.tag_attribute(id, FALSE_POSITIVE, true)),
    ),
];

#[test]
fn a_false_positive_tag_that_vanished_is_held_until_a_full_pull_agrees() {
    for (first, lose) in [INCREMENTAL, FULL].into_iter().flat_map(|how| LOSSES.map(|(lose, _)| (how, lose))) {
        let mut source = source();
        let (before, link) = (source.published(), source.link());
        later(&source, lose);
        assert_eq!(held(&source, first, &[TAG]), before, "{first:?}");
        source.reopen();
        let again = source.refresh(INCREMENTAL).unwrap();
        assert!(again.holds[TAG].text.contains(FALSE_POSITIVE), "{again:?}");
        assert_eq!((source.published(), source.link()), (before, link), "an incremental pull confirms nothing");
        assert!(held(&source, FULL, &[])["feed/block/ipv4/10y.txt"].contains(&address(4)));
        source.assert_true("confirmed");
        later(&source, |_| {});
        held(&source, INCREMENTAL, &[]);
        source.assert_true("afterwards");
    }
}

#[test]
fn a_false_positive_tag_that_comes_back_ends_its_hold() {
    for (lose, find) in LOSSES {
        for (first, second) in [(INCREMENTAL, INCREMENTAL), (FULL, INCREMENTAL), (INCREMENTAL, FULL)] {
            let source = source();
            later(&source, lose);
            held(&source, first, &[TAG]);
            later(&source, find);
            let lists = held(&source, second, &[]);
            assert!(!lists["feed/block/ipv4/10y.txt"].contains(&address(4)));
            source.assert_true("it is back");
        }
    }
}

#[test]
fn a_false_positive_tag_is_released() {
    for first in [INCREMENTAL, FULL] {
        let source = source();
        later(&source, LOSSES[0].0);
        held(&source, first, &[TAG]);
        held(&source, RELEASE, &[]);
        source.assert_true("released");
        // It is gone and known to be: nothing is held any more.
        held(&source, INCREMENTAL, &[]);
        held(&source, FULL, &[]);
    }
}

#[test]
fn the_last_false_positive_may_go() {
    let ways: [fn(&mut World); 4] = [
        |world| [4, 7].into_iter().for_each(|id| world.untag_attribute(id, FALSE_POSITIVE, Via::Ui)),
        |world| [4, 7].into_iter().for_each(|id| world.untag_attribute(id, FALSE_POSITIVE, Via::Api)),
        |world| [4, 7].into_iter().for_each(|id| world.delete_attribute(id)),
        |world| [4, 7].into_iter().for_each(|id| world.hard_delete_attribute(id)),
    ];
    for (at, way) in ways.into_iter().enumerate() {
        for how in [INCREMENTAL, FULL] {
            let source = source();
            later(&source, way);
            source.misp.world().publish(1);
            held(&source, how, &[]);
            source.assert_true(&format!("way {at}, {how:?}"));
        }
    }
}

#[test]
fn ages_go_on_while_a_view_is_held() {
    let source = source();
    later(&source, LOSSES[0].0);
    let before = held(&source, INCREMENTAL, &[TAG]);
    assert!(source.expire(3600).version.is_some());
    let after = source.published();
    assert_eq!(after["feed/block/ipv4/10y.txt"], before["feed/block/ipv4/10y.txt"]);
    assert!(after["feed/block/ipv4/1h.txt"].is_empty() && !before["feed/block/ipv4/1h.txt"].is_empty());
    assert_eq!(source.held(), [TAG]);
}

/// Ways for one feed to fall to zero, and to come back.
const FALLS: [(&str, Change, Change); 3] = [
    ("hunt", |world| world.untag_event(2, HUNT), |world| world.tag_event(2, HUNT, false)),
    ("hunt", |world| world.delete_event(2), |world| drop(add(world, HUNT, vec![row(30)]).to_string())),
    ("hunt", |world| world.rename_tag(HUNT, OTHER), |world| world.rename_tag(OTHER, HUNT)),
];

/// The lists of one feed, and those of the others.
fn parted(lists: Lists, feed: &str) -> (Lists, Lists) {
    lists.into_iter().partition(|(name, _)| name.starts_with(&format!("feed/{feed}/")))
}

#[test]
fn a_feed_that_fell_to_zero_is_held_and_the_others_go_on() {
    for (feed, fall, back) in FALLS {
        let key = format!("feed {feed}");
        for end in ["full", "release", "back"] {
            let source = source();
            let (before, others) = parted(source.published(), feed);
            later(&source, fall);
            let (now, moved) = parted(held(&source, FULL, &[&key]), feed);
            assert_eq!(now, before, "the lists of {feed} stay");
            assert_ne!(moved, others, "the others go on");
            source::assert_lists(&moved, &source.truth(), "the others");
            assert_eq!(parted(held(&source, INCREMENTAL, &[&key]), feed).0, before);
            match end {
                "full" => drop(held(&source, FULL, &[])),
                "release" => drop(held(&source, RELEASE, &[])),
                _ => {
                    later(&source, back);
                    held(&source, FULL, &[]);
                }
            }
            source.assert_true(end);
        }
    }
}

/// Clocks show this one, so an incremental pull finds it: nothing of the feed is published any more.
#[test]
fn a_feed_whose_events_are_unpublished_is_held() {
    let source = source();
    let before = parted(source.published(), "block").0;
    source.misp.world().unpublish(1);
    let lists = held(&source, INCREMENTAL, &["feed block"]);
    assert_eq!(parted(lists, "block").0, before);
    source.misp.world().publish(1);
    held(&source, INCREMENTAL, &[]);
    source.assert_true("published again");
}

#[test]
fn a_view_that_fell_to_zero_is_held_as_a_whole() {
    let empty = |world: &mut World| world.events.clear();
    for first in [INCREMENTAL, FULL] {
        for end in [FULL, RELEASE] {
            let source = source();
            let (before, link) = (source.published(), source.link());
            empty(&mut source.misp.world());
            assert_eq!(held(&source, first, &[VIEW]), before);
            assert_eq!(held(&source, INCREMENTAL, &[VIEW]), before);
            assert_eq!(source.link(), link);
            held(&source, end, &[]);
            source.assert_true(&format!("{first:?}, then {end:?}"));
            assert!(source.published().values().all(std::collections::BTreeSet::is_empty));
        }
        let source = source();
        empty(&mut source.misp.world());
        held(&source, first, &[VIEW]);
        let now = source.misp.world().now;
        *source.misp.world() = world(now);
        held(&source, INCREMENTAL, &[]);
        source.assert_true("it is back");
    }
}

fn of_today(settings: &str) -> (Misp, Dir) {
    let misp = Misp::of(world(dir::now() - 100));
    let dir = source::folder(&misp, ADMIN_KEY, &format!("{settings}{PUBLISH}"));
    (misp, dir)
}

fn block(dir: &Dir) -> std::collections::BTreeSet<String> {
    source::published(dir)["feed/block/ipv4/10y.txt"].clone()
}

#[test]
fn commands_say_what_is_held_and_release_it() {
    let (misp, dir) = of_today("refresh: 1h\n");
    let first = dir.run(&["refresh"]).good();
    assert!(!first.out.contains("HELD"), "{}", first.out);
    let none = dir.run(&["release", SITE]).good();
    assert!(none.out.contains(&format!("{SITE}: nothing is held")), "{}", none.out);
    misp.world().rename_tag(FALSE_POSITIVE, OTHER);
    let second = dir.run(&["refresh"]).good();
    for part in
        [&format!("{SITE}: HELD since 2"), "the false-positive tag example:", &format!("`cratos approve {SITE}`")]
    {
        assert!(second.out.contains(part), "no {part} in:\n{}", second.out);
    }
    assert!(!block(&dir).contains(&address(4)));
    let released = dir.run(&["release", SITE]).good();
    assert!(released.out.contains(&format!("{SITE}: released: the false-positive tag")), "{}", released.out);
    assert!(!released.out.contains("HELD"), "{}", released.out);
    assert!(block(&dir).contains(&address(4)));
    misp.world().untag_event(2, HUNT);
    let third = dir.run(&["refresh", "--full"]).good();
    assert!(third.out.contains("feed hunt has no indicators any more, there were 3"), "{}", third.out);
    let fourth = dir.run(&["refresh", "--full"]).good();
    assert!(!fourth.out.contains("HELD"), "confirmed:\n{}", fourth.out);
}

fn status(server: &Server) -> Value {
    server.status(ADMIN_KEY)
}

#[test]
fn a_running_server_shows_what_is_held_and_is_told_to_release_it() {
    let (misp, dir) = of_today("refresh: 1s\n");
    let server = Server::start(&dir);
    wait_for("a first refresh", MINUTE, || status(&server)["state"] == "ok");
    misp.world().rename_tag(FALSE_POSITIVE, OTHER);
    wait_for("the hold", MINUTE, || status(&server)["state"] == "held");
    let shown = status(&server);
    let text = shown["held"][TAG]["text"].as_str().unwrap();
    assert!(text.contains(FALSE_POSITIVE) && shown["held"][TAG]["since"].as_i64() > Some(0), "{shown}");
    assert!(!block(&dir).contains(&address(4)));
    let released = dir.run(&["release", SITE]).good();
    assert!(released.err.contains("another cratos works here"), "{}", released.err);
    assert!(block(&dir).contains(&address(4)), "{}", released.out);
    wait_for("the end of the hold", MINUTE, || status(&server)["state"] == "ok");
    assert_eq!(status(&server)["held"], serde_json::json!({}));
}
