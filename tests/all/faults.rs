//! The fault matrix: whatever goes wrong with whichever request of a pull, the pull fails with an error that names request
//! and cause and nothing that is served changes, or what is published is the truth. The next pull without the fault is
//! good.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use cratos::fetch::misp::MispSource;

use crate::misp::client::Client;
use crate::misp::{ADMIN, ADMIN_KEY, Fault, Kind, Misp, NewAttribute, Request, World};
use crate::source::{self, ANY_DOMAIN, BLOCK, FALSE_POSITIVE, HUNT, PUBLISH, Source, add, address, row, settle};

/// How often what may be temporary is tried.
const TRIES: usize = 3;
/// Rows of the first event: two pages, because the role's memory limit makes pages of 100 rows.
const ROWS: u64 = 130;

/// One request of a pull.
#[derive(Clone, Debug)]
struct Place {
    path: String,
    /// Requests of this path before it.
    skip: usize,
    /// What errors call it.
    what: &'static str,
}

impl Place {
    fn fault(&self, kind: Kind, count: usize) -> Fault {
        Fault { kind, path: self.path.clone(), skip: self.skip, count }
    }
}

/// What a fault must come to if it stays.
enum Fate {
    /// The answer is as good as any.
    Works,
    /// The error says so, after that many tries.
    Fails(&'static str, usize),
}

/// Decided from what went wrong alone, except for the headers: not every request needs each of them.
fn fate(kind: &Kind, place: &Place) -> Fate {
    let search = place.path.contains("restSearch");
    match kind {
        // What a busy or restarting server answers.
        Kind::Status(500..=504) => Fate::Fails("answered 50", TRIES),
        Kind::RateLimited { reset: 0 } => Fate::Fails("the rate limit of this key is used up", TRIES),
        Kind::Drop | Kind::Reset | Kind::Truncate(_) | Kind::BadGzip => Fate::Fails("cannot fetch", TRIES),
        // The server says it longer than anybody waits.
        Kind::Status(429) => Fate::Fails("for 899 s", 1),
        Kind::RateLimited { .. } => Fate::Fails("for 3600 s", 1),
        // Asked again, it would be the same.
        Kind::Status(_) => Fate::Fails("answered 4", 1),
        Kind::Redirect => Fate::Fails("answered 302, a redirect to http://", 1),
        Kind::Html200 => Fate::Fails("not JSON but text/html", 1),
        Kind::CutJson(_) | Kind::EmptyBody | Kind::Shape(_) => Fate::Fails("", 1),
        Kind::Header { set, .. } if set.iter().any(|(name, _)| name == "Content-Type") => {
            Fate::Fails("not JSON but application/xml", 1)
        }
        Kind::Header { remove, .. } if remove == &["Content-Type"] => Fate::Fails("not JSON but of no type", 1),
        Kind::Header { set, remove } if search && (set.iter().any(is_count) || remove == &["X-Result-Count"]) => {
            Fate::Fails("X-Result-Count", 1)
        }
        // Nothing but searches is counted; without a length the body ends with the connection; the other headers only spare
        // work.
        Kind::Header { .. } => Fate::Works,
        // Slow is not wrong. These pauses are shorter than the limit; longer ones have a test of their own.
        Kind::Stall { .. } | Kind::Hang(_) | Kind::Drip { .. } => Fate::Works,
        // Rows that are counted and not shown, twice, are those that the server's administrator hides.
        Kind::Rows { .. } => Fate::Works,
    }
}

fn is_count((name, _): &(String, String)) -> bool {
    name == "X-Result-Count"
}

fn kinds() -> Vec<Kind> {
    let short = Duration::from_millis(2);
    let set = |name: &str, value: &str| Kind::Header { set: vec![(name.into(), value.into())], remove: Vec::new() };
    let removed = |name: &str| Kind::Header { set: Vec::new(), remove: vec![name.into()] };
    let mut kinds: Vec<Kind> = [400, 403, 404, 405, 429, 500, 501, 502, 503, 504].map(Kind::Status).into();
    kinds.extend([
        Kind::Html200,
        Kind::Redirect,
        Kind::Drop,
        Kind::Reset,
        Kind::Truncate(10),
        Kind::CutJson(10),
        Kind::BadGzip,
        Kind::EmptyBody,
        Kind::RateLimited { reset: 0 },
        Kind::RateLimited { reset: 3600 },
        Kind::Stall { bytes: 10, pause: short },
        Kind::Hang(short),
        Kind::Drip { chunk: 20_000, interval: short },
        Kind::Rows { drop: 1 },
    ]);
    let shapes = ["null", "[1]", "{\"response\": []}", "{\"saved\": false, \"errors\": \"no\"}"];
    kinds.extend(shapes.map(|json| Kind::Shape(json.into())));
    kinds.extend(["abc", "-1", ""].map(|count| set("X-Result-Count", count)));
    kinds.push(set("Content-Type", "application/xml"));
    let names = ["X-Result-Count", "X-Skipped-Elements-Count", "Content-Type", "Content-Length", "Date"];
    kinds.extend(names.map(removed));
    kinds
}

/// Two events with rows for every search: false positives, rows on a warninglist, rows not meant for detection.
fn world() -> World {
    let mut world = World::default();
    world.users.get_mut(&ADMIN).unwrap().role.memory_limit = Some(4.0);
    let domain = |name: &str| NewAttribute::new("domain", name).not_to_ids();
    let mut rows: Vec<NewAttribute> = (0..ROWS).map(row).collect();
    rows.extend(["a.example.net", "b.example.net", "c.example.net"].map(domain));
    add(&mut world, BLOCK, rows);
    add(&mut world, HUNT, vec![row(7000), row(7001).tag(FALSE_POSITIVE)]);
    world.add_warninglist("some", &[&address(50), "b.example.net"]);
    settle(&mut world);
    world
}

fn source() -> Source {
    let source = Source::new(world(), &format!("{PUBLISH}{ANY_DOMAIN}"));
    source.good(true);
    source
}

/// Something to pull: one value goes, one comes.
fn change(misp: &Misp) {
    let mut world = misp.world();
    let value = address(100_000 + world.now as u64 / 100 % 100_000);
    let last = *world.event(1).attributes.range(..=ROWS).next_back().unwrap().0;
    assert!(world.edit_attribute(last, |row| row.value = value));
    world.publish(1);
    settle(&mut world);
}

/// Every request of a pull, in order.
fn places(source: &Source, full: bool) -> Vec<Place> {
    change(&source.misp);
    source.misp.requests();
    source.good(full);
    source.assert_true("without a fault");
    let mut places: Vec<Place> = Vec::new();
    for request in source.misp.requests() {
        let skip = places.iter().filter(|place| place.path == request.path).count();
        places.push(Place { what: what(&request), path: request.path, skip });
    }
    assert_eq!(places.len(), if full { 14 } else { 9 }, "{places:?}");
    places
}

fn what(request: &Request) -> &'static str {
    let (body, page) = (&request.body, &request.body["page"]);
    match request.path.as_str() {
        "/servers/getVersion" => "the server's version: ",
        "/users/view/me" => "the key's user: ",
        "/tags/search" => "which tags exist: ",
        "/events/index" => "the event index: ",
        "/warninglists/index" => "the warninglists: ",
        "/attributes/restSearch" => match (body["to_ids"].as_i64(), body["enforceWarninglist"].as_i64(), page.as_i64())
        {
            (None, _, Some(1)) => "attributes with the false-positive tag, page 1 of 100 rows: ",
            (Some(1), Some(0), Some(1)) => "attributes with to_ids of ",
            (Some(1), Some(0), Some(2)) => "page 2 of 100 rows: ",
            (Some(1), Some(0), Some(1_000_000)) => "page 1000000 of 100 rows: ",
            (Some(1), Some(1), _) => "attributes with to_ids, warninglists enforced",
            (Some(0), Some(0), _) => "attributes without to_ids of ",
            (Some(0), Some(1), _) => "attributes without to_ids, warninglists enforced",
            _ => panic!("{body}"),
        },
        other => panic!("{other}"),
    }
}

/// One fault at one request: for good, and once if trying again may help.
fn check(source: &Source, full: bool, place: &Place, kind: &Kind) {
    let what = format!("{kind:?} at {place:?} (full: {full})");
    change(&source.misp);
    source.misp.requests();
    source.misp.fault(place.fault(kind.clone(), usize::MAX));
    let Fate::Fails(cause, tries) = fate(kind, place) else {
        source.good(full);
        source.misp.clear_faults();
        if matches!(kind, Kind::Rows { .. }) {
            assert_hidden(source, &what);
            source.good(true);
        }
        return source.assert_true(&what);
    };
    let error = source.fails(full);
    for part in [place.what, &place.path, cause] {
        assert!(error.contains(part), "{what}: no {part:?} in: {error}");
    }
    assert!(!error.contains(ADMIN_KEY), "{error}");
    let hit = source.misp.requests().iter().filter(|request| request.fault.is_some()).count();
    assert_eq!(hit, tries, "{what}: tries");
    source.misp.clear_faults();
    source.good(full);
    source.assert_true(&what);
    if tries > 1 {
        change(&source.misp);
        source.misp.fault(place.fault(kind.clone(), 1));
        source.good(full);
        source.assert_true(&format!("once: {what}"));
    }
}

/// Nothing is published that should not be, and nothing is missing but the first rows of pages.
fn assert_hidden(source: &Source, what: &str) {
    let first = [address(0), address(100), "a.example.net".into()];
    for (name, values) in source.truth() {
        let published = &source.published()[&name];
        assert!(published.is_subset(&values), "{what}: {name}");
        assert!(values.difference(published).all(|value| first.contains(value)), "{what}: {name}");
    }
}

/// Every fault at every request of such a pull.
fn matrix(full: bool) {
    let places = Mutex::new(places(&source(), full));
    let work = || {
        let source = source();
        loop {
            let Some(place) = places.lock().unwrap().pop() else { break };
            kinds().iter().for_each(|kind| check(&source, full, &place, kind));
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
}

#[test]
fn every_fault_at_every_request_of_a_full_pull() {
    matrix(true);
}

#[test]
fn every_fault_at_every_request_of_an_incremental_pull() {
    matrix(false);
}

/// Limits short enough to be waited for.
fn impatient(misp: &mut MispSource) {
    source::quick(misp);
    (misp.limits.silence, misp.retry.tries) = (Duration::from_secs(2), 2);
}

fn silent(source: &mut Source, full: bool, place: &Place, kind: Kind, cause: &str) {
    change(&source.misp);
    source.misp.fault(place.fault(kind.clone(), usize::MAX));
    source.reopen_with(impatient);
    let error = source.fails(full);
    assert!(error.contains(place.what) && error.contains(cause), "{kind:?} at {place:?}: {error}");
    source.misp.clear_faults();
    source.reopen_with(source::quick);
    source.good(full);
    source.assert_true(&format!("{kind:?} at {place:?}"));
}

#[test]
fn silence_longer_than_the_limit_fails() {
    let long = Duration::from_secs(3);
    let of = |full| places(&source(), full).into_iter().map(move |place| (full, place));
    let all = Mutex::new([true, false].into_iter().flat_map(of).collect::<Vec<_>>());
    let work = || {
        let mut source = source();
        loop {
            let Some((full, place)) = all.lock().unwrap().pop() else { break };
            silent(&mut source, full, &place, Kind::Hang(long), "did not begin to answer within 2 s");
            silent(&mut source, full, &place, Kind::Stall { bytes: 10, pause: long }, "time limit");
        }
    };
    // They sleep most of the time.
    std::thread::scope(|scope| (0..12).for_each(|_| drop(scope.spawn(work))));
}

/// It is busy with the question, and would be twice.
#[test]
fn a_server_that_does_not_begin_to_answer_is_not_asked_again() {
    let mut source = source();
    source.reopen_with(impatient);
    source.misp.requests();
    source.misp.fault(Fault::always(Kind::Hang(Duration::from_secs(3))).on("/events/index"));
    source.fails(false);
    // Requests are noted when they are answered.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(source.misp.requests().len(), 1);
}

/// The same numbers in every run.
fn random(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

#[test]
fn an_answer_cut_anywhere_fails() {
    let source = source();
    let places = places(&source, true);
    change(&source.misp);
    source.misp.requests();
    source.good(true);
    let asked = source.misp.requests();
    let mut state = 1;
    for (at, place) in places.iter().enumerate().filter(|(at, _)| [2, 3, 4, 5, 6, 9, 11].contains(at)) {
        let body = Client::new(source.misp.port()).json("POST", &place.path, ADMIN_KEY, &asked[at].body).body;
        let json = body.trim_ascii_end().len();
        change(&source.misp);
        for cut in 0..60 {
            // What follows the JSON is white space: without it the answer is whole, unless its head promises more.
            let kind = match cut % 2 {
                0 => Kind::CutJson(random(&mut state) % json),
                _ => Kind::Truncate(random(&mut state) % body.len()),
            };
            source.misp.fault(place.fault(kind.clone(), usize::MAX));
            let error = source.fails(true);
            assert!(error.contains(place.what), "{kind:?} at {place:?}: {error}");
            source.misp.clear_faults();
        }
    }
    source.good(true);
    source.assert_true("after all cuts");
}

#[test]
fn a_rate_limit_is_waited_for_if_it_is_short() {
    let source = source();
    change(&source.misp);
    source.misp.fault(Fault::once(Kind::RateLimited { reset: 1 }));
    let start = Instant::now();
    source.good(false);
    assert!(start.elapsed() >= Duration::from_secs(1), "it was not waited for");
    source.assert_true("after the wait");
    change(&source.misp);
    source.misp.fault(Fault::once(Kind::RateLimited { reset: 61 }));
    let start = Instant::now();
    let error = source.fails(false);
    assert!(error.contains("the rate limit of this key is used up for 61 s"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(50), "it was waited for");
}

/// Rows that an answer counts and does not show are the server's own allowedlist, if it does so twice.
#[test]
fn rows_missing_from_a_page_are_asked_for_again_and_then_believed() {
    let source = source();
    let places = places(&source, false);
    let detection = places.iter().find(|place| place.what.starts_with("attributes with to_ids of")).unwrap();
    change(&source.misp);
    source.misp.fault(detection.fault(Kind::Rows { drop: 1 }, 1));
    source.good(false);
    source.assert_true("missing once");
    change(&source.misp);
    source.misp.requests();
    source.misp.fault(detection.fault(Kind::Rows { drop: 1 }, usize::MAX));
    source.good(false);
    source.misp.clear_faults();
    let pages = source.misp.requests().iter().filter(|request| request.body["page"] == 2).count();
    assert_eq!(pages, 2, "the second page is asked for twice");
    let (published, mut expected) = (source.published(), source.truth());
    // A row of each page of the event, and a domain; of the others one is on a warninglist.
    for (name, values) in &mut expected {
        [0, 100].iter().for_each(|at| drop(values.take(&address(*at))));
        if name.starts_with("feed/block/domain") {
            values.remove("a.example.net");
        }
    }
    source::assert_lists(&published, &expected, "without the rows that were not shown");
    source.good(true);
    source.assert_true("shown again");
}

/// Answers that are whole and say something unusual are believed; what they would empty is held.
#[test]
fn whole_answers_are_believed() {
    let source = source();
    let always = |path: &str, json: &str| Fault::always(Kind::Shape(json.into())).on(path);
    let before = source.published();
    for (path, json, full, held) in [
        ("/events/index", "[]", false, vec!["view"]),
        ("/tags/search", "[]", true, vec!["false-positive tag"]),
        ("/warninglists/index", "{\"Warninglists\": []}", false, vec![]),
    ] {
        source.misp.fault(always(path, json));
        source.good(full);
        assert_eq!(source.held(), held, "{path}");
        assert_eq!(source.published(), before, "{path}");
        source.misp.clear_faults();
        source.good(false);
        assert!(source.held().is_empty(), "{path}");
        source.assert_true(path);
    }
}
