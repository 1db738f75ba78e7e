//! Lists that are older than they may be: the header on every answer, the status, the log, the refusal, and their end.

use std::time::Duration;

use serde_json::Value;

use crate::cmd::{Server, wait_for};
use crate::dir::{self, Dir, SITE, token};
use crate::http::{Answer, Client};
use crate::misp::{ADMIN_KEY, Fault, Kind, Misp, World};
use crate::source::{self, BLOCK, PUBLISH, add, address, row, settle};

const MINUTE: Duration = Duration::from_secs(60);
const LIST: &str = "/v1/feed/block/type/ipv4/age/10y/output/txt";
/// A list that nobody has asked for yet.
const OTHER: &str = "/v1/feed/block/type/ipv4/age/10y/output/json";
const WARNINGLIST: &str = "/v1/warninglist/id/1/output/txt";
const ORGANISATION: &str = "/v1/uuid/b29272d9-6eca-47ea-a47e-c5cf62e07812/type/ipv4/age/10y/output/txt";
const STALE: &str = "x-cratos-stale";
const BEGINS: &str = "stale: the last success is longer ago";
const ENDS: &str = "no longer stale";

/// A MISP, and a site that looks for news every second.
fn folder(settings: &str) -> (Misp, Dir) {
    let mut world = World::default();
    world.now = dir::now() - 100;
    add(&mut world, BLOCK, (0..3).map(row).collect());
    world.add_warninglist("some", &["192.0.2.7"]);
    settle(&mut world);
    let misp = Misp::of(world);
    let dir = source::folder(&misp, ADMIN_KEY, &rest(settings));
    (misp, dir)
}

fn rest(settings: &str) -> String {
    format!("refresh: 1s\n{PUBLISH}{settings}")
}

fn away() -> Fault {
    Fault::always(Kind::Drop).on("")
}

fn ask(server: &Server, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    let token = token(SITE, ADMIN_KEY, "2099-12-31");
    let headers: Vec<(&str, &str)> = headers.iter().copied().chain([("token", &*token)]).collect();
    Client::new(server.port).send(method, target, &headers)
}

fn get(server: &Server, target: &str) -> Answer {
    ask(server, "GET", target, &[])
}

/// The word for everything, and the view.
fn status(server: &Server) -> (String, Value) {
    let answer: Value = serde_json::from_slice(&get(server, "/v1/status").body).unwrap();
    (answer["state"].as_str().unwrap().to_owned(), answer["views"][&format!("{SITE}/main")].clone())
}

fn age(answer: &Answer) -> Option<i64> {
    answer.header(STALE).map(|age| age.parse().unwrap())
}

/// So much time has gone by since the last success, as far as the counters know.
fn make_older(dir: &Dir, seconds: i64) {
    let path = format!("state/{SITE}/main.json");
    let text = std::fs::read_to_string(dir.path().join(&path)).unwrap();
    let mut counters: Value = serde_json::from_str(&text).unwrap();
    counters["last_success"] = (counters["last_success"].as_i64().unwrap() - seconds).into();
    dir.write(&path, &counters.to_string());
}

#[test]
fn every_answer_with_a_list_says_that_it_is_stale_until_it_is_not() {
    let (misp, dir) = folder("max_stale: 2s\n");
    let server = Server::start(&dir);
    wait_for("all lists", MINUTE, || {
        [LIST, OTHER, ORGANISATION, WARNINGLIST].iter().all(|target| get(&server, target).status == 200)
    });
    wait_for("a fresh list", MINUTE, || age(&get(&server, LIST)).is_none());
    let etag = get(&server, LIST).header("etag").unwrap().to_owned();
    misp.fault(away());
    wait_for("a stale view", MINUTE, || status(&server).1["state"] == "stale");
    let (all, view) = status(&server);
    assert_eq!(all, "stale");
    assert!(view["stale"].as_i64() > Some(2), "{view}");
    for (method, target, headers, code) in [
        ("GET", LIST, vec![], 200),
        ("HEAD", LIST, vec![], 200),
        ("GET", LIST, vec![("if-none-match", &*etag)], 304),
        ("HEAD", LIST, vec![("if-none-match", &*etag)], 304),
        ("GET", LIST, vec![("range", "bytes=0-3")], 206),
        ("GET", OTHER, vec![], 200),
        ("GET", ORGANISATION, vec![], 200),
        ("GET", WARNINGLIST, vec![], 200),
    ] {
        let answer = ask(&server, method, target, &headers);
        assert_eq!(answer.status, code, "{method} {target} {headers:?}");
        assert!(age(&answer) > Some(2), "{method} {target}: {:?}", answer.headers);
    }
    assert_eq!(get(&server, LIST).text(), [0, 1, 2].map(address).join("\r\n"));
    let count = |what: &str| server.log().matches(what).count();
    wait_for("a line in the log", MINUTE, || count(BEGINS) == count(ENDS) + 1);
    let failures = status(&server).1["failures"].as_u64();
    wait_for("more failures", MINUTE, || status(&server).1["failures"].as_u64() > failures);
    assert_eq!(count(BEGINS), count(ENDS) + 1, "once, however often it fails:\n{}", server.log());
    misp.clear_faults();
    wait_for("a fresh view", MINUTE, || status(&server).0 == "ok" && age(&get(&server, LIST)).is_none());
    wait_for("its line in the log", MINUTE, || count(BEGINS) == count(ENDS));
}

#[test]
fn stale_lists_are_refused_where_that_is_wanted_also_after_a_restart() {
    let (misp, dir) = folder("max_stale: 1h\non_stale: 503\n");
    dir.run(&["refresh"]).good();
    misp.fault(away());
    make_older(&dir, 7200);
    let server = Server::start(&dir);
    for (method, target) in [("GET", LIST), ("HEAD", LIST), ("GET", OTHER), ("GET", ORGANISATION)] {
        let answer = ask(&server, method, target, &[]);
        assert_eq!(answer.status, 503, "{method} {target}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("retry-after"), Some("5"));
        let seconds = age(&answer).unwrap();
        assert!(seconds >= 7200, "{seconds}");
        let text = format!("{{\"detail\":\"This feed is stale: it was last refreshed {seconds} s ago, ");
        assert!(method == "HEAD" || answer.text().starts_with(&text), "{}", answer.text());
    }
    assert_eq!(status(&server).0, "stale");
    assert_eq!(dir.manifest().version, 1, "nothing is made that is not served");
    dir.site(SITE, &source::site(&misp, ADMIN_KEY, &rest("max_stale: 1h\non_stale: serve\n")));
    wait_for("the list, old as it is", MINUTE, || get(&server, LIST).status == 200);
    assert!(age(&get(&server, LIST)) >= Some(7200));
    misp.clear_faults();
    wait_for("a fresh view", MINUTE, || status(&server).0 == "ok");
    assert_eq!((get(&server, LIST).status, age(&get(&server, LIST))), (200, None));
}

#[test]
fn a_view_that_never_succeeded_is_not_stale() {
    let (misp, dir) = folder("max_stale: 1s\n");
    misp.fault(away());
    let server = Server::start(&dir);
    wait_for("two failures", MINUTE, || status(&server).1["failures"].as_u64() >= Some(2));
    let answer = get(&server, LIST);
    assert_eq!((answer.status, age(&answer)), (503, None));
    assert!(answer.text().contains("is being prepared"), "{}", answer.text());
    let (all, view) = status(&server);
    assert_eq!((&*all, &view["stale"]), ("failing", &Value::Null));
}

#[test]
fn config_speaks_for_all_sites_and_a_site_for_itself() {
    let (misp, dir) = folder("");
    let mut main = std::fs::read_to_string(dir.path().join("config/config.yaml")).unwrap();
    main.push_str("max_stale: 1h\non_stale: 503\n");
    dir.write("config/config.yaml", &main);
    dir.run(&["refresh"]).good();
    misp.fault(away());
    make_older(&dir, 7200);
    let server = Server::start(&dir);
    assert_eq!(get(&server, LIST).status, 503);
    dir.site(SITE, &source::site(&misp, ADMIN_KEY, &rest("max_stale: 1d\n")));
    wait_for("a list that is not too old here", MINUTE, || get(&server, LIST).status == 200);
    assert_eq!(age(&get(&server, LIST)), None);
}

#[test]
fn mistakes_name_their_place_and_a_limit_below_the_period_is_noted() {
    let (_, dir) = folder("max_stale: soon\non_stale: \"504\"\n");
    let bad = dir.run(&["check"]).with_code(2).text();
    assert!(bad.contains("max_stale: \"soon\" is no duration") && bad.contains("write serve or 503"), "{bad}");
    let (misp, dir) = folder("");
    let settings = format!("refresh: 2h\n{PUBLISH}max_stale: 1h\n");
    dir.site(SITE, &source::site(&misp, ADMIN_KEY, &settings));
    let noted = dir.run(&["check"]).good().text();
    assert!(noted.contains("max_stale (1h) is shorter than refresh (2h)"), "{noted}");
}
