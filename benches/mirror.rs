//! What the steps between a MISP's answer and the lists cost: `cargo bench --bench mirror [attributes]`, by default 1,000,000.
//!
//! In: rows as `benches/misp` makes them, in memory, a page at a time as MISP sends them; no HTTP. Out: per step seconds of
//! one core, how fast that is against the bytes of the answers, and the time as a multiple of only parsing them. Medians of
//! three rounds; making the rows is not timed.
//!
//! Steps: parsing each row with serde_json into the type the program uses; cutting the rows out of the pages and parsing them;
//! that, and filling a mirror; writing its file form; reading it; the lists of the default matrix.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has nothing to report")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it writes a configuration of its own")]

#[allow(dead_code, reason = "rows are asked for, and no server")]
mod misp;
#[allow(dead_code, reason = "the configuration is asked for, and no program")]
mod program;

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::Instant;

use cratos::config::{self, Site};
use cratos::fetch::split::{Shape, Splitter};
use cratos::fetch::wire;
use cratos::index::intake::Intake;
use cratos::index::mirror::{Coverage, Mirror};
use cratos::index::never::Never;
use cratos::index::select::{self, Wants};
use cratos::index::{AGES, Slice};
use jiff::Timestamp;
use jiff::tz::TimeZone;

const ROUNDS: usize = 3;
/// Events of one page: what the program asks for at once has 5,000 rows.
const PAGE: u64 = 100;

const STEPS: [&str; 6] = [
    "parsing",
    "cutting and parsing",
    "cutting, parsing, filling the mirror",
    "encoding the mirror",
    "decoding it",
    "lists of the default matrix",
];

fn main() {
    let attributes = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let site = site();
    let world = misp::World::new(attributes, false);
    let mut rounds: Vec<Round> = (0..ROUNDS).map(|_| Round::run(&world, &site)).collect();
    let last = rounds.pop().unwrap();
    let of_step = |step: usize| {
        let mut all: Vec<f64> = rounds.iter().chain([&last]).map(|round| round.seconds[step]).collect();
        all.sort_unstable_by(f64::total_cmp);
        all[ROUNDS / 2]
    };
    println!(
        "{attributes} attributes, {:.0} MB of answers, {:.0} MB of mirror, {} entries in {} lists\n",
        last.bytes as f64 / 1e6,
        last.encoded as f64 / 1e6,
        last.entries,
        last.lists
    );
    println!("| step | s | MB of answers per s | of parsing |\n|---|---|---|---|");
    for (step, name) in STEPS.iter().enumerate() {
        let seconds = of_step(step);
        println!("| {name} | {seconds:.3} | {:.0} | {:.2}x |", last.bytes as f64 / seconds / 1e6, seconds / of_step(0));
    }
}

/// All steps once.
#[derive(Default)]
struct Round {
    seconds: [f64; STEPS.len()],
    bytes: usize,
    encoded: usize,
    entries: usize,
    lists: usize,
}

impl Round {
    fn run(world: &misp::World, site: &Site) -> Self {
        let mut round = Self::default();
        let now = Timestamp::now();
        let mut intake = Intake::full(None, [0; 32], Coverage::Tagged, site.rules.misp_types(), now.as_second());
        let mut page = 1;
        while page <= world.events() {
            let events = page..(page + PAGE).min(world.events() + 1);
            page = events.end;
            round.read(&misp::rows(events, u64::MAX, 1, world).0, &mut intake);
        }
        let begun = Instant::now();
        let mirror = intake.finish().0;
        round.seconds[2] += begun.elapsed().as_secs_f64();
        let mut file = Vec::new();
        let begun = Instant::now();
        mirror.encode(&mut file).unwrap();
        round.seconds[3] = begun.elapsed().as_secs_f64();
        drop(mirror);
        round.encoded = file.len();
        let begun = Instant::now();
        let mirror = Mirror::decode(black_box(&file)).unwrap().mirror;
        round.seconds[4] = begun.elapsed().as_secs_f64();
        round.select(&mirror, site, now);
        round
    }

    /// One page, in each of the three ways.
    fn read(&mut self, page: &str, intake: &mut Intake) {
        let rows = rows_of(page);
        self.bytes += rows.iter().map(String::len).sum::<usize>();
        let begun = Instant::now();
        for row in &rows {
            black_box(wire::row(black_box(row.as_bytes())).unwrap());
        }
        self.seconds[0] += begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        cut(page, &mut |row| drop(black_box(wire::row(row).unwrap())));
        self.seconds[1] += begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let mut events = BTreeSet::new();
        cut(page, &mut |row| {
            let row = wire::row(row).unwrap();
            events.insert(row.event);
            intake.attribute(&row.event, &row.attribute);
        });
        events.into_iter().for_each(|event| intake.event(&whole(event)));
        self.seconds[2] += begun.elapsed().as_secs_f64();
    }

    fn select(&mut self, mirror: &Mirror, site: &Site, now: Timestamp) {
        let (wants, never) = (wants(site, now), Never::default());
        let begun = Instant::now();
        let lists = select::lists(mirror, &site.rules, &never, &wants, now.as_second());
        self.seconds[5] = begun.elapsed().as_secs_f64();
        self.lists = lists.lists.len();
        self.entries = lists.lists.values().map(cratos::index::List::count).sum();
    }
}

/// As the program cuts what comes from the network.
fn cut(page: &str, each: &mut (dyn FnMut(&[u8]) + Send)) {
    let mut splitter = Splitter::new(Shape::Attributes);
    let mut taken = |row: &[u8]| {
        each(row);
        Ok(())
    };
    // About what one read of a connection gives.
    page.as_bytes().chunks(16 << 10).for_each(|chunk| splitter.feed(chunk, &mut taken).unwrap());
    splitter.finish().unwrap();
}

fn rows_of(page: &str) -> Vec<String> {
    let mut rows = Vec::new();
    cut(page, &mut |row| rows.push(String::from_utf8(row.to_vec()).unwrap()));
    rows
}

/// All rows of the event have come.
fn whole(uuid: uuid::Uuid) -> wire::Event {
    let creator = uuid::Uuid::nil();
    wire::Event { uuid, timestamp: 1, published: true, creator, tags: Vec::new(), false_positives: 0, malformed: 0 }
}

/// What is published when nothing is said.
fn wants(site: &Site, now: Timestamp) -> Wants {
    let since = AGES[AGES.len() - 1].since(now, &TimeZone::UTC);
    let slices = site.publish.feeds.iter().map(|feed| Slice::Feed(feed.as_str().into()));
    slices.flat_map(|slice| site.publish.types.iter().map(move |kind| ((slice.clone(), kind.name), since))).collect()
}

fn site() -> Site {
    let folder = tempfile::tempdir().unwrap();
    program::configure(folder.path(), 9, "31d", "");
    let config = config::load(folder.path()).unwrap();
    config.good_sites().next().unwrap().clone()
}
