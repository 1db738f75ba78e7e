//! The source is away, slow, small or shared: what goes on without it, how little is asked of it, and how everything comes
//! back.

use std::time::Duration;

use serde_json::Value;

use crate::cmd::{Server, wait_for};
use crate::dir::{self, Dir, SITE, token};
use crate::http;
use crate::misp::{ADMIN, ADMIN_KEY, Fault, Kind, Misp, NewAttribute, NewEvent, READER_KEY, Request, World};
use crate::source::{self, ANY_DOMAIN, BLOCK, FALSE_POSITIVE, HUNT, PUBLISH, Source, add, address, row, settle};

const MINUTE: Duration = Duration::from_secs(60);

/// Rows of several ages, one of them a false positive.
fn world() -> World {
    let mut world = World::default();
    fill(&mut world);
    world
}

/// At this machine's time, for the program itself.
fn world_of_today() -> World {
    let mut world = World::default();
    world.now = dir::now() - 100;
    fill(&mut world);
    world
}

fn fill(world: &mut World) {
    let now = world.now;
    let ages = [10, 1800, 3000, 7200, 83_000, 100_000];
    add(world, BLOCK, (0..6).map(|at| row(at).at(now - ages[at as usize])).collect());
    add(world, HUNT, vec![row(10), row(11).tag(FALSE_POSITIVE)]);
    world.add_warninglist("some", &[&address(3)]);
    settle(world);
}

#[test]
fn ages_go_on_while_the_source_is_away() {
    let source = Source::new(world(), PUBLISH);
    source.good(true);
    source.assert_true("before");
    let before = source.published();
    source.misp.fault(Fault::always(Kind::Drop).on(""));
    let error = source.fails(false);
    assert!(error.contains("the event index: cannot fetch http://127.0.0.1"), "{error}");
    let report = source.expire(3600);
    assert!(report.version.is_some(), "an hour went by");
    source.assert_true("an hour later");
    let after = source.published();
    for feed in ["block", "hunt"] {
        assert!(after[&format!("feed/{feed}/ipv4/1h.txt")].is_empty());
        assert!(!before[&format!("feed/{feed}/ipv4/1h.txt")].is_empty());
        let longer = format!("feed/{feed}/ipv4/10y.txt");
        assert_eq!(after[&longer], before[&longer]);
    }
    assert_eq!(before["feed/block/ipv4/1d.txt"].len(), after["feed/block/ipv4/1d.txt"].len() + 1);
    source.fails(false);
    source.fails(true);
    source.misp.clear_faults();
    {
        let mut world = source.misp.world();
        world.advance(3600);
        add(&mut world, BLOCK, vec![row(20)]);
        settle(&mut world);
    }
    source.good(false);
    source.assert_true("it is back");
}

fn paths(requests: &[Request]) -> Vec<&str> {
    requests.iter().map(|request| request.path.as_str()).collect()
}

/// What a pull asks if nothing has changed.
const LITTLE: [&str; 3] = ["/events/index", "/warninglists/index", "/attributes/restSearch"];

#[test]
fn nothing_new_costs_three_requests_and_touches_nothing() {
    let mut source = Source::new(world(), PUBLISH);
    source.good(true);
    let before = source.on_disk();
    for what in ["at once", "after a restart", "some seconds later"] {
        match what {
            "after a restart" => source.reopen(),
            "some seconds later" => source.misp.world().advance(7),
            _ => {}
        }
        source.misp.requests();
        let report = source.good(false);
        let requests = source.misp.requests();
        assert_eq!(paths(&requests), LITTLE, "{what}");
        assert_eq!(requests[2].body["tags"]["OR"], serde_json::json!([FALSE_POSITIVE]), "{what}");
        assert_eq!((report.version, report.read, report.rendered), (None, 0, 0), "{what}");
        assert_eq!(source.on_disk(), before, "{what}");
    }
    source.misp.world().advance(3600);
    source.misp.requests();
    let report = source.good(false);
    assert_eq!(paths(&source.misp.requests()), LITTLE);
    assert!(report.version.is_some() && report.rendered > 0, "time went by");
    source.assert_true("an hour later");
}

/// The limits of the searches that were asked for.
fn limits(source: &Source) -> Vec<u64> {
    source.misp.requests().iter().filter_map(|request| request.body["limit"].as_u64()).collect()
}

#[test]
fn a_server_that_fails_is_asked_for_smaller_pages() {
    let source = Source::new(world(), PUBLISH);
    source.misp.fault(Fault::once(Kind::Status(500)));
    source.good(true);
    source.assert_true("smaller pages");
    assert_eq!(limits(&source), [5000, 2500, 2500, 2500], "false positives twice, the rows, those of them kept");
    source.misp.fault(Fault::once(Kind::Status(500)).after(1));
    source.good(true);
    assert_eq!(limits(&source), [5000, 5000, 2500, 2500]);
    source.misp.fault(Fault::always(Kind::Status(500)));
    let error = source.fails(true);
    assert!(error.contains("page 1 of 100 rows: ") && error.contains("answered 500"), "{error}");
    assert_eq!(limits(&source), [5000, 2500, 1250, 625, 312, 156, 100, 100, 100]);
}

/// A page above the server's cap comes short, as if it were the last one; the cap is half of what the role's memory allows.
#[test]
fn every_pull_keeps_below_the_cap_of_the_role() {
    let mut world = World::default();
    world.users.get_mut(&ADMIN).unwrap().role.memory_limit = Some(8.0);
    let event = world.add_event(NewEvent::new("many").tag(BLOCK));
    let domain = |at: u64| NewAttribute::new("domain", format!("d{at}.example.net")).not_to_ids();
    for at in 0..1000 {
        world.add_attribute(event, domain(at));
    }
    world.publish(event);
    world.add_warninglist("some", &["d3.example.net"]);
    settle(&mut world);
    let source = Source::new(world, &format!("{PUBLISH}{ANY_DOMAIN}"));
    for full in [true, false] {
        let mut world = source.misp.world();
        world.edit_event(event, |event| event.info = "other words".into());
        world.publish(event);
        settle(&mut world);
        drop(world);
        source.good(full);
        source.assert_true(&format!("full: {full}"));
        assert!(limits(&source).into_iter().all(|limit| limit <= 200), "full: {full}");
    }
}

/// The program itself, refreshing every second.
fn serving(misp: &Misp, publish: &str) -> (Dir, Server) {
    let dir = source::folder(misp, ADMIN_KEY, &format!("refresh: 1s\n{publish}"));
    let server = Server::start(&dir);
    wait_for("a first refresh", MINUTE, || status(&server)["state"] == "ok");
    (dir, server)
}

fn get(server: &Server, target: &str) -> http::Answer {
    http::Client::new(server.port).get(target, &[("token", &token(SITE, ADMIN_KEY, "2099-12-31"))])
}

/// What the holder of a token is told of the view.
fn status(server: &Server) -> Value {
    let answer: Value = serde_json::from_slice(&get(server, "/v1/status").body).unwrap();
    answer["views"][&format!("{SITE}/main")].clone()
}

fn target(key: &str) -> String {
    let parts: Vec<&str> = key.split(['/', '.']).collect();
    format!("/v1/feed/{}/type/{}/age/{}/output/{}", parts[1], parts[2], parts[3], parts[4])
}

#[test]
fn serving_goes_on_while_the_source_is_away() {
    let misp = Misp::of(world_of_today());
    let (dir, server) = serving(&misp, PUBLISH);
    let keys: Vec<String> = dir.manifest().artifacts.into_keys().collect();
    let answers = || -> Vec<(u16, String)> {
        keys.iter().map(|key| get(&server, &target(key))).map(|answer| (answer.status, answer.text())).collect()
    };
    let before = answers();
    assert!(before.iter().all(|(code, _)| *code == 200) && before.iter().any(|(_, body)| body.contains("198.0.0.1")));
    let began = dir::now();
    misp.fault(Fault::always(Kind::Drop).on("/events/index"));
    wait_for("two failures", MINUTE, || status(&server)["failures"].as_u64() >= Some(2));
    assert_eq!(answers(), before);
    let failing = status(&server);
    assert_eq!(failing["state"], "failing");
    let since = failing["failing_since"].as_i64().unwrap();
    assert!((began..=dir::now()).contains(&since) && failing["last_failure"].as_i64() >= Some(since), "{failing}");
    let error = failing["last_error"].as_str().unwrap();
    assert!(error.contains("the event index: cannot fetch ") && error.contains("/events/index"), "{error}");
    assert!(failing["last_success"].as_i64() <= Some(since), "{failing}");
    misp.clear_faults();
    wait_for("recovery", MINUTE, || status(&server)["state"] == "ok");
    let after = status(&server);
    assert!(after["last_error"].is_null() && after["failing_since"].is_null() && after["failures"] == 0, "{after}");
    assert_eq!(answers(), before);
}

/// The tags that searches for rows ask for.
fn filters(misp: &Misp) -> Vec<Value> {
    let requests = misp.requests();
    let rows = requests.iter().filter(|request| request.body["to_ids"] == 1);
    rows.map(|request| request.body["tags"]["OR"].clone()).collect()
}

#[test]
fn only_tagged_rows_are_asked_for_until_somebody_wants_all() {
    let mut world = world_of_today();
    let event = world.add_event(NewEvent::new("without a tag"));
    world.add_attribute(event, row(30).at(dir::now() - 600));
    world.publish(event);
    let misp = Misp::of(world);
    let (dir, server) = serving(&misp, "publish:\n  feeds: [block, hunt]\n  types: [ipv4]\n");
    let tags = ["alert", "block", "hunt", "incident"].map(|feed| format!("example:incident-classification={feed}"));
    let asked = filters(&misp);
    assert!(!asked.is_empty() && asked.iter().all(|filter| *filter == serde_json::json!(tags)), "{asked:?}");
    let target = "/v1/feed/any/type/ipv4/age/10y/output/txt";
    // The first one waits for the wider pull, as long as the site's MISP is waited for.
    let answer = get(&server, target);
    let expected: Vec<String> = [0, 1, 10, 2, 30, 4, 5].map(address).into();
    assert_eq!((answer.status, answer.text()), (200, expected.join("\r\n")));
    let asked = filters(&misp);
    assert!(!asked.is_empty() && asked.iter().all(Value::is_null), "everything is asked for: {asked:?}");
    assert_eq!(dir.manifest().reason, "full refresh");
}

#[test]
fn two_sites_never_pull_from_one_server_at_the_same_time() {
    let misp = Misp::of(world_of_today());
    let dir = source::folder(&misp, ADMIN_KEY, &format!("refresh: 1s\n{PUBLISH}"));
    dir.site("two.example.net", &source::site(&misp, READER_KEY, &format!("refresh: 1s\n{PUBLISH}")));
    // Slow enough for pulls to meet.
    misp.fault(Fault::always(Kind::Hang(Duration::from_millis(60))).on(""));
    let server = Server::start(&dir);
    let mut log = Vec::new();
    let pulls = |log: &[Request], key: &str| {
        log.iter().filter(|request| request.key == key && request.path == "/warninglists/index").count()
    };
    wait_for("some pulls of both sites", MINUTE, || {
        log.append(&mut misp.requests());
        ["admin", "reader"].iter().all(|key| pulls(&log, key) >= 4)
    });
    drop(server);
    let mut under_way: Option<(&str, bool, usize)> = None;
    for request in &log {
        let (key, full, seen) = under_way.unwrap_or((&request.key, request.path == "/servers/getVersion", 0));
        assert_eq!(request.key, key, "in the middle of another pull: {:?}", paths(&log));
        let index = usize::from(request.path == "/events/index");
        // A full pull ends with its second index, one that finds nothing new with the search for false positives.
        let ended = if full { seen + index == 2 } else { request.path == "/attributes/restSearch" };
        under_way = (!ended).then_some((key, full, seen + index));
    }
}

#[test]
fn a_changed_key_is_pulled_with_at_once_and_in_full() {
    let mut world = world_of_today();
    let event = world.add_event(NewEvent { distribution: 0, ..NewEvent::new("not for others").tag(BLOCK) });
    world.add_attribute(event, row(40).at(dir::now() - 600));
    world.publish(event);
    let misp = Misp::of(world);
    let dir = source::folder(&misp, ADMIN_KEY, &format!("refresh: 1h\n{PUBLISH}"));
    let _server = Server::start(&dir);
    let list = |dir: &Dir| source::published(dir)["feed/block/ipv4/10y.txt"].clone();
    wait_for("a first refresh", MINUTE, || dir.view().join("current").exists());
    assert!(list(&dir).contains(&address(40)));
    misp.requests();
    dir.site(SITE, &source::site(&misp, READER_KEY, &format!("refresh: 1h\n{PUBLISH}")));
    wait_for("the other key's lists", MINUTE, || !list(&dir).contains(&address(40)));
    let requests = misp.requests();
    assert!(requests.iter().all(|request| request.key == "reader"), "{requests:?}");
    assert_eq!(paths(&requests)[..4], ["/servers/getVersion", "/users/view/me", "/tags/search", "/events/index"]);
    assert!(list(&dir).contains(&address(0)));
}
