//! Three days in the life of a site: changes, an edit, a mass deletion, an outage, a truncated answer, a mistake, a rollback, an
//! unpinning, a damaged file. At every point the program starts anew, and what is served, what the status says and what the
//! commands print is as it should be.

use std::fs;

use cratos::refresh::{Act, How};
use serde_json::Value;

use crate::cmd::Server;
use crate::dir::{self, SITE, token};
use crate::http::Client;
use crate::misp::{ADMIN_KEY, Fault, Kind, World};
use crate::source::{BLOCK, Source, add, address, row};

const HOUR: i64 = 3600;
/// As the site file says; nothing is refreshed by the clock of this machine.
const SETTINGS: &str = "guard: {max_shrink: 50%, max_growth: 100%, min_entries: 5}\nhold_release: 2\nunpublish_grace: 2h\n\
                        max_stale: 60h\nrefresh: 31d\nfull_refresh: 31d\nkeep: {all: 30d, hourly: 30d, daily: 30d}\n\
                        publish: {feeds: [block], types: [ipv4], ages: [10y], formats: [txt]}\n";
const FILE: &str = "feed/block/ipv4/10y.txt";
const URL: &str = "/v1/feed/block/type/ipv4/age/10y/output/txt";
const KEY: &str = "guard block/ipv4";

struct Life {
    source: Source,
    /// Three days ago.
    begin: i64,
}

/// What should be so.
struct Is<'a> {
    version: u64,
    reason: &'a str,
    values: u64,
    held: &'a [&'a str],
    candidate: Option<u64>,
}

impl Life {
    fn new() -> Self {
        let begin = dir::now() - 72 * HOUR;
        let mut world = World::default();
        world.now = begin - HOUR;
        for number in 0..20 {
            add(&mut world, BLOCK, vec![row(number)]);
        }
        world.now = begin;
        Self { source: Source::new(world, SETTINGS), begin }
    }

    /// So many hours after the beginning, with something done at the MISP a minute before.
    fn at(&self, hours: i64, change: impl FnOnce(&mut World)) {
        let mut world = self.source.misp.world();
        world.now = self.begin + hours * HOUR - 60;
        change(&mut world);
        world.now = self.begin + hours * HOUR;
    }

    fn refresh(&self, full: bool) -> Option<u64> {
        let report = self.source.refresh(How { full, release: false }).unwrap();
        report.version
    }

    /// Everything is as it should be, before and after a restart.
    #[track_caller]
    fn check(&mut self, what: &str, is: &Is<'_>) {
        let published = self.source.published();
        assert_eq!(published[FILE].len() as u64, is.values, "{what}: the file");
        self.source.reopen();
        assert_eq!(self.source.held(), is.held, "{what}: what is held");
        self.served(what, is, published[FILE].iter().cloned().collect());
        self.printed(what, is);
    }

    /// By a program that was just started.
    #[track_caller]
    fn served(&self, what: &str, is: &Is<'_>, mut values: Vec<String>) {
        let server = Server::start(&self.source.dir);
        let token = token(SITE, ADMIN_KEY, "2099-12-31");
        let answer = Client::new(server.port).get(URL, &[("token", &*token)]);
        assert_eq!(answer.status, 200, "{what}");
        let body = String::from_utf8(answer.body.clone()).unwrap();
        values.sort_unstable();
        assert_eq!(body, values.join("\r\n"), "{what}: the answer");
        let status = Client::new(server.port).get("/v1/status", &[("token", &*token)]);
        let all: Value = serde_json::from_slice(&status.body).unwrap();
        let view = &all["views"][&format!("{SITE}/main")];
        let last = view["last_success"].as_i64().unwrap();
        let stale = dir::now() - last > 60 * HOUR;
        let word = if stale {
            "stale"
        } else if is.held.is_empty() {
            "ok"
        } else {
            "held"
        };
        assert_eq!(view["state"], word, "{what}: {view}");
        assert_eq!(answer.header("x-cratos-stale").is_some(), stale, "{what}: the header");
        assert_eq!(view["version"], is.version, "{what}: {view}");
        assert_eq!(view["candidate"].as_u64(), is.candidate, "{what}: {view}");
        let held: Vec<&String> = view["held"].as_object().unwrap().keys().collect();
        assert_eq!(held, is.held, "{what}");
    }

    /// By commands.
    #[track_caller]
    fn printed(&self, what: &str, is: &Is<'_>) {
        let list = self.source.dir.run(&["versions", "list"]).good().out;
        let of = |mark: &str| -> Vec<String> {
            let lines = list.lines().filter(|line| line.contains(mark));
            lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
        };
        let current = of("current");
        assert_eq!(current.len(), 1, "{what}:\n{list}");
        let words = format!("{} {} ", is.reason, self.source.dir.manifest().artifacts.len());
        assert!(current[0].starts_with(&format!("{} ", is.version)), "{what}:\n{list}");
        assert!(current[0].contains(&words), "{what}: no {words}in {}", current[0]);
        assert!(current[0].contains(&format!(" {} ", is.values)), "{what}: {}", current[0]);
        let numbers: Vec<u64> =
            of("not served").iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
        let unserved = is.candidate.filter(|number| *number > is.version);
        assert_eq!(numbers, unserved.into_iter().collect::<Vec<_>>(), "{what}:\n{list}");
        assert_eq!(current[0].ends_with("pinned"), is.held.contains(&"pinned"), "{what}:\n{list}");
        let explained = self.source.dir.run(&["explain", &address(0)]).good().out;
        let is_in = self.source.published()[FILE].contains(&address(0));
        let line =
            explained.lines().find(|line| line.starts_with("ipv4 ") && line.contains(" block")).unwrap_or_default();
        assert_eq!(line.contains("in: 10y (txt)"), is_in, "{what}:\n{explained}");
    }
}

#[test]
fn three_days() {
    let mut life = Life::new();
    let fourth = first_day(&mut life);
    trouble(&mut life, &fourth);
    let free = way_back(&mut life, &fourth);
    let file = life.source.dir.current().join(FILE);
    let good = fs::read(&file).unwrap();
    fs::write(&file, vec![b'x'; good.len()]).unwrap();
    let verified = life.source.dir.run(&["versions", "verify"]).good().out;
    assert!(verified.contains(FILE), "{verified}");
    assert_eq!(fs::read(&file).unwrap(), good);
    life.check("a damaged file", &free);

    life.at(60, |world| add_all(world, 300..305));
    assert_eq!(life.refresh(true), Some(11));
    life.check("the third day", &Is { version: 11, reason: "full refresh", values: 31, ..free });
    life.source.assert_true("in the end");
}

/// Changes, and an event that is edited.
fn first_day(life: &mut Life) -> Is<'static> {
    assert_eq!(life.refresh(true), Some(1));
    let first = Is { version: 1, reason: "full refresh", values: 20, held: &[], candidate: None };
    life.check("the beginning", &first);

    life.at(6, |world| add_all(world, 20..25));
    assert_eq!(life.refresh(false), Some(2));
    let second = Is { version: 2, reason: "refresh", values: 25, ..first };
    life.check("five more", &second);

    life.at(12, |world| world.unpublish(1));
    assert_eq!(life.refresh(false), None, "what was published stays for two hours");
    life.check("an event is being edited", &second);
    life.at(15, |_| {});
    assert_eq!(life.refresh(false), Some(3));
    life.check("nobody published it again", &Is { version: 3, values: 24, ..second });
    life.at(16, |world| world.publish(1));
    assert_eq!(life.refresh(false), Some(4));
    let fourth = Is { version: 4, values: 25, ..second };
    life.check("published again", &fourth);
    fourth
}

/// A mass deletion, an outage, a truncated answer.
fn trouble(life: &mut Life, fourth: &Is<'static>) {
    let before = life.source.misp.world().events.clone();
    life.at(24, |world| (2..=20).for_each(|id| world.delete_event(id)));
    assert_eq!(life.refresh(false), None);
    let held = Is { held: &[KEY], candidate: Some(5), ..*fourth };
    life.check("a mass deletion", &held);
    let diff = life.source.dir.run(&["versions", "diff", "current", "5"]).good().out;
    assert_eq!(diff.matches(&format!("- {}", address(7))).count(), 1, "{diff}");

    life.at(25, |_| {});
    life.source.misp.fault(Fault::always(Kind::Drop).on(""));
    life.source.fails(true);
    life.source.expire(HOUR);
    life.check("an outage", &held);
    life.source.misp.clear_faults();
    life.at(26, |_| {});
    life.source.misp.fault(Fault::always(Kind::Truncate(100)));
    life.source.fails(true);
    life.check("a truncated answer", &held);
    life.source.misp.clear_faults();
    life.at(27, |world| world.events = before);
    assert_eq!(life.refresh(true), None, "it is as it was");
    life.check("mended", fourth);
}

/// A mistake that no guard sees, and the way back.
fn way_back(life: &mut Life, fourth: &Is<'static>) -> Is<'static> {
    let mut wrong = Vec::new();
    life.at(30, |world| wrong = (100..110).map(|number| add_one(world, number)).collect());
    assert_eq!(life.refresh(false), Some(6));
    life.check("ten wrong ones, too few to be asked about", &Is { version: 6, values: 35, ..*fourth });
    let history = life.source.dir.run(&["versions", "history", &address(105)]).good().out;
    assert!(history.contains("000006") && !history.contains("000004"), "{history}");
    life.at(31, |_| {});
    life.source.steer(Act::Rollback(4)).unwrap();
    let back = Is { version: 7, reason: "rollback to 4", values: 25, held: &["pinned"], candidate: Some(6) };
    life.check("rolled back", &back);
    life.at(32, |world| add_all(world, 200..201));
    assert_eq!(life.refresh(false), None);
    let pinned = Is { candidate: Some(8), ..back };
    life.check("newer ones wait", &pinned);
    life.at(33, |_| {});
    assert_eq!(life.refresh(true), None);
    life.check("a full pull changes nothing", &pinned);
    life.at(40, |world| wrong.iter().for_each(|id| world.delete_event(*id)));
    assert_eq!(life.refresh(false), None);
    life.check("the mistake is mended", &Is { candidate: Some(9), ..back });
    life.at(41, |_| {});
    life.source.steer(Act::Unpin).unwrap();
    let free = Is { version: 10, reason: "unpinned", values: 26, held: &[], candidate: None };
    life.check("let go", &free);
    free
}

fn add_all(world: &mut World, numbers: std::ops::Range<u64>) {
    for number in numbers {
        add_one(world, number);
    }
}

fn add_one(world: &mut World, number: u64) -> u64 {
    add(world, BLOCK, vec![row(number)])
}
