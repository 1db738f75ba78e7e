//! `/v1/uuid/…` and `/v1/clear_cache/…`: what one organisation created, and a refresh out of turn.

use std::time::Duration;

use crate::cmd::{Server, wait_for};
use crate::dir::{self, BLOCK, Dir, SITE};
use crate::http::{Answer, Client};
use crate::misp::{ADMIN_KEY, Misp, NewAttribute, NewEvent, World};

const FIRST: &str = "b29272d9-6eca-47ea-a47e-c5cf62e07812";
const SECOND: &str = "17641d98-fa76-4b4f-81eb-10a54bae507f";
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

fn world() -> World {
    let mut world = World::default();
    world.now = dir::now();
    for (organisation, value) in [(1, "192.0.2.1"), (2, "192.0.2.2")] {
        let event = world.add_event(NewEvent::new("shared").tag(BLOCK).of(organisation));
        world.add_attribute(event, NewAttribute::new("ip-dst", value));
        world.publish(event);
    }
    world
}

fn serving(misp: &Misp) -> (Dir, Server) {
    let dir = Dir::new("");
    let site = "enabled: true\ntag: example\nallowed_ips: [127.0.0.1/32]\ncustom_feeds: {}\nrefresh: 1h\n";
    dir.site(SITE, &format!("{site}mispUrl: {}\nmispAuthKey: {ADMIN_KEY}\n", misp.url()));
    let server = Server::start(&dir);
    (dir, server)
}

fn ask(server: &Server, method: &str, target: &str) -> Answer {
    let token = dir::token(SITE, ADMIN_KEY, "2099-12-31");
    Client::new(server.port).send(method, target, &[("token", &token)])
}

fn list(uuid: &str, format: &str) -> String {
    format!("/v1/uuid/{uuid}/type/ipv4/age/10y/output/{format}")
}

#[test]
fn an_organisation_has_what_it_created_and_one_nobody_knows_has_nothing() {
    let misp = Misp::of(world());
    let (dir, server) = serving(&misp);
    let first = ask(&server, "GET", &list(FIRST, "txt"));
    assert_eq!((first.status, &*first.text()), (200, "192.0.2.1"));
    assert_eq!(ask(&server, "GET", &list(SECOND, "json")).text(), "[\"192.0.2.2\"]");
    misp.requests();
    // Everything is known by now: a question for others is no reason to pull.
    for uuid in [NOBODY, &FIRST.to_uppercase(), &SECOND.to_uppercase()] {
        let empty = ask(&server, "GET", &list(uuid, "txt"));
        assert_eq!((empty.status, &*empty.text()), (200, ""), "{uuid}");
    }
    assert_eq!(ask(&server, "GET", &list(FIRST, "txt")).text(), "192.0.2.1");
    assert_eq!(misp.requests().len(), 0);
    assert_eq!(std::fs::read_to_string(dir.current().join(format!("org/{FIRST}/ipv4/10y.txt"))).unwrap(), "192.0.2.1");
    let keys: Vec<String> = dir.manifest().artifacts.into_keys().filter(|key| key.starts_with("org/")).collect();
    assert_eq!(keys.len(), 5, "{keys:?}");
    assert_eq!(ask(&server, "GET", &list("CIRCL", "txt")).status, 422);
}

#[test]
fn what_an_organisation_published_once_stays_published() {
    let misp = Misp::of(world());
    let (dir, server) = serving(&misp);
    assert_eq!(ask(&server, "GET", &list(SECOND, "txt")).text(), "192.0.2.2");
    misp.world().events.retain(|_, event| event.orgc_id == 1);
    drop(server);
    dir.run(&["refresh", "--full", SITE]).good();
    let server = Server::start(&dir);
    let empty = ask(&server, "GET", &list(SECOND, "txt"));
    assert_eq!((empty.status, &*empty.text()), (200, ""));
    assert_eq!(std::fs::read_to_string(dir.current().join(format!("org/{SECOND}/ipv4/10y.txt"))).unwrap(), "");
}

#[test]
fn a_cache_that_is_cleared_refreshes_the_view_once_a_minute() {
    let misp = Misp::of(world());
    let (_dir, server) = serving(&misp);
    let clear = "/v1/clear_cache/feed/block/type/ipv4/age/10y/output/txt";
    wait_for("a list", Duration::from_secs(30), || {
        ask(&server, "GET", &clear.replace("clear_cache/", "")).status == 200
    });
    misp.requests();
    let clears = || {
        let cleared = ask(&server, "DELETE", clear);
        assert_eq!((cleared.status, &*cleared.text()), (200, "{\"ok\":true}"));
    };
    clears();
    let mut pulls = 0;
    let mut count = || {
        pulls += misp.requests().iter().filter(|request| request.path == "/warninglists/index").count();
        pulls
    };
    wait_for("a refresh", Duration::from_secs(30), || count() == 1);
    for _ in 0..5 {
        clears();
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(count(), 1);
    assert_eq!(ask(&server, "DELETE", &clear.replace("ipv4", "nope")).status, 422);
    assert_eq!(ask(&server, "GET", clear).header("allow"), Some("DELETE"));
}
