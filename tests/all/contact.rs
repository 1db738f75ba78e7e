//! What a MISP says of itself, lists of organisations, and refreshes that are asked for: what is asked of MISP, and what
//! stays without it.

use std::time::Duration;

use cratos::orders::{self, Order};

use crate::cmd::{Server, wait_for};
use crate::dir::{self, AUTH_KEY, Dir, SITE, token};
use crate::http::{Answer, Client};
use crate::misp::{ADMIN_KEY, Fault, Kind, Misp, World};
use crate::source::{BLOCK, add, row, settle};

const MINUTE: Duration = Duration::from_secs(60);
const KNOWN: [&str; 4] =
    ["/v1/check", "/v1/statistics", "/v1/warninglist/id/0/output/yaml", "/v1/warninglist/id/1/output/txt"];

/// A site that reads a MISP with a few rows and one warninglist.
struct Site {
    server: Option<Server>,
    dir: Dir,
    misp: Option<Misp>,
    token: String,
}

impl Site {
    fn start(extra: &str) -> Self {
        let mut world = World::default();
        world.now = dir::now() - 100;
        add(&mut world, BLOCK, (0..3).map(row).collect());
        world.add_warninglist("some", &["192.0.2.7", "192.0.2.10"]);
        settle(&mut world);
        let misp = Misp::of(world);
        let dir = Dir::new("");
        dir.site(
            SITE,
            &format!(
                "enabled: true\ntag: example\nallowed_ips: [127.0.0.1/32]\ncustom_feeds: {{}}\nmispUrl: \"{}\"\n\
                 mispAuthKey: {ADMIN_KEY}\nrefresh: 1h\n{extra}",
                misp.url()
            ),
        );
        let server = Some(Server::start(&dir));
        let site = Self { server, dir, misp: Some(misp), token: token(SITE, ADMIN_KEY, "2099-12-31") };
        wait_for("the first version", MINUTE, || site.get("/v1/feed/block/type/ipv4/age/10y/output/txt").status == 200);
        site.misp().requests();
        site
    }

    fn send(&self, method: &str, target: &str) -> Answer {
        let port = self.server.as_ref().unwrap().port;
        Client::new(port).send(method, target, &[("token", &self.token)])
    }

    fn get(&self, target: &str) -> Answer {
        self.send("GET", target)
    }

    fn misp(&self) -> &Misp {
        self.misp.as_ref().unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.misp().requests().into_iter().map(|request| request.path).collect()
    }

    fn restart(&mut self) {
        self.server = None;
        self.server = Some(Server::start(&self.dir));
    }
}

#[test]
fn what_is_known_is_not_asked_for_again_and_needs_no_misp() {
    let mut site = Site::start("");
    let first = KNOWN.map(|target| site.get(target));
    for (target, answer) in KNOWN.iter().zip(&first) {
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    }
    assert!(first[0].text().contains("\"misp_host\":\"https://misp.example.net:443\",\"unixtimestamp\":"));
    assert_eq!(first[3].text(), "192.0.2.10\r\n192.0.2.7\r\n");
    // The first refresh has heard the version.
    let expected = ["/attributes/attributeStatistics", "/warninglists/index", "/warninglists/view/1"];
    assert_eq!(site.asked(), expected);
    let json = site.get("/v1/warninglist/id/1/output/json");
    assert_eq!((json.status, json.text()), (200, "[\"192.0.2.10\", \"192.0.2.7\"]".into()));
    let same = |site: &Site| {
        for (target, answer) in KNOWN.iter().zip(&first) {
            let again = site.get(target);
            assert_eq!((again.status, again.text()), (200, answer.text()), "{target}");
            assert_eq!(again.header("etag"), answer.header("etag"), "{target}");
        }
    };
    same(&site);
    assert!(site.asked().is_empty());
    site.misp = None;
    same(&site);
    site.restart();
    same(&site);
    let etag = first[3].header("etag").unwrap();
    let headers = [("token", &*site.token), ("if-none-match", etag)];
    assert_eq!(Client::new(site.dir.port).get(KNOWN[3], &headers).status, 304);
}

#[test]
fn a_full_refresh_renews_what_is_asked_for() {
    let site = Site::start("");
    KNOWN.iter().for_each(|target| assert_eq!(site.get(target).status, 200));
    site.misp().world().add_to_warninglist(1, "192.0.2.8");
    site.misp().fault(Fault::always(Kind::Status(500)).on("/attributes/attributeStatistics"));
    let before = site.get("/v1/statistics").text();
    site.misp().requests();
    let order = Order { site: SITE.into(), full: true, ..Order::default() };
    let _ticket = orders::place(&site.dir.path().join("state"), &order).unwrap();
    wait_for("the longer list", MINUTE, || site.get(KNOWN[3]).text() == "192.0.2.10\r\n192.0.2.7\r\n192.0.2.8\r\n");
    assert_eq!(site.get("/v1/statistics").text(), before, "the last good ones stay");
}

#[test]
fn a_failure_answers_by_its_class_and_is_not_repeated_at_once() {
    let site = Site::start("");
    site.misp().fault(Fault::always(Kind::Status(500)).on("/attributes/attributeStatistics"));
    site.misp().fault(Fault::always(Kind::Drop).on("/warninglists/view/"));
    for _ in 0..2 {
        let statistics = site.get("/v1/statistics");
        let detail = "{\"detail\":\"MISP - None JSON data returned\"}";
        assert_eq!((statistics.status, statistics.text()), (415, detail.into()));
        let list = site.get(KNOWN[3]);
        assert_eq!((list.status, list.text()), (503, "{\"detail\":\"MISP - Connection error\"}".into()));
        assert!(list.header("retry-after").is_some());
    }
    assert_eq!(site.asked(), ["/attributes/attributeStatistics", "/warninglists/view/1"]);
}

#[test]
fn a_refresh_that_fails_tells_whether_misp_answers() {
    let site = Site::start("");
    let order = || {
        let order = Order { site: SITE.into(), full: true, ..Order::default() };
        orders::place(&site.dir.path().join("state"), &order).unwrap()
    };
    site.misp().fault(Fault::always(Kind::Status(403)).on("restSearch"));
    let ticket = order();
    wait_for("a failed refresh", MINUTE, || {
        site.server.as_ref().unwrap().log().contains("refresh failed") && site.get("/v1/check").status == 200
    });
    drop(ticket);
    site.misp().fault(Fault::always(Kind::Status(403)).on("/"));
    let _ticket = order();
    wait_for("the refusal", MINUTE, || {
        let check = site.get("/v1/check");
        check.status == 403 && check.text() == "{\"detail\":\"MISP - Authentication failed\"}"
    });
}

#[test]
fn a_site_without_a_misp_says_so() {
    let dir = Dir::new("");
    let server = Server::start(&dir);
    let token = token(SITE, AUTH_KEY, "2099-12-31");
    for target in KNOWN {
        let answer = Client::new(server.port).get(target, &[("token", &token)]);
        assert_eq!(answer.status, 404, "{target}: {}", answer.text());
        assert!(answer.text().contains("no MISP"), "{target}");
    }
    let bad = Client::new(server.port).get("/v1/warninglist/id/1001/output/b64", &[("token", &token)]);
    assert_eq!(bad.status, 422);
}

#[test]
fn clearing_the_cache_refreshes_soon_but_not_often() {
    let site = Site::start("");
    let target = "/v1/clear_cache/feed/block/type/ipv4/age/10y/output/txt";
    for _ in 0..5 {
        let answer = site.send("DELETE", target);
        assert_eq!((answer.status, answer.text()), (200, "{\"ok\":true}".into()));
        assert_eq!(site.get("/v1/feed/block/type/ipv4/age/10y/output/txt").status, 200, "nothing is cleared");
    }
    let mut pulls = 0;
    let mut count = || {
        pulls += site.asked().iter().filter(|path| *path == "/events/index").count();
        pulls
    };
    wait_for("a refresh", MINUTE, || count() > 0);
    site.send("DELETE", target);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(count(), 1, "once per minute");
    assert_eq!(site.send("DELETE", &target.replace("block", "nope")).status, 422);
}

#[test]
fn an_organisation_has_lists_of_its_own_and_keeps_them() {
    let mut site = Site::start("");
    let creator = {
        let world = site.misp().world();
        let event = world.events.values().next().unwrap();
        world.organisations[&event.orgc_id].uuid.clone()
    };
    let list = |uuid: &str, format: &str| format!("/v1/uuid/{uuid}/type/ipv4/age/10y/output/{format}");
    // What is known so far are rows with a feed's tag: a wider pull comes first.
    wait_for("the list of the organisation", MINUTE, || site.get(&list(&creator, "txt")).status == 200);
    let any = site.get("/v1/feed/any/type/ipv4/age/10y/output/txt").text();
    assert_eq!(site.get(&list(&creator, "txt")).text(), any);
    assert!(!any.is_empty());
    site.misp().requests();
    let nobody = "00000000-0000-4000-8000-00000000dead";
    let shouted = format!("{}A", &nobody[..35]);
    for (uuid, format, empty) in [(nobody, "txt", ""), (nobody, "json", "[]"), (&shouted, "b64", "")] {
        let answer = site.get(&list(uuid, format));
        assert_eq!((answer.status, &*answer.text()), (200, empty), "{uuid}");
    }
    assert!(site.asked().is_empty(), "everything is known");
    assert!(site.dir.view().join(format!("current/org/{creator}/ipv4/10y.txt")).is_file());
    site.misp().world().events.clear();
    let order = Order { site: SITE.into(), full: true, release: true, ..Order::default() };
    let ticket = orders::place(&site.dir.path().join("state"), &order).unwrap();
    wait_for("the empty list", MINUTE, || {
        let answer = site.get(&list(&creator, "txt"));
        assert_eq!(answer.status, 200, "what was published stays");
        answer.body.is_empty()
    });
    drop(ticket);
    site.restart();
    assert_eq!(site.get(&list(&creator, "txt")).status, 200);
    let kept = std::fs::read_to_string(site.dir.path().join("state").join(SITE).join("main.json")).unwrap();
    assert!(kept.contains(&format!("\"org/{creator}\"")), "it is asked for after a restart, too");
}
