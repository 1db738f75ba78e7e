//! Whose a view is: what a MISP said for one user, or what another MISP said, is told to nobody else; not when a site's key
//! or MISP changes under a running process, and not to a key that opens nothing.

use std::time::Duration;

use crate::cmd::{Server, wait_for};
use crate::dir::{self, BLOCK, Dir, SITE};
use crate::http::{Answer, Client};
use crate::misp::{ADMIN_KEY, Fault, Kind, Misp, NewAttribute, NewEvent, READER_KEY, World};

const MINUTE: Duration = Duration::from_secs(60);
const LIST: &str = "/v1/feed/block/type/ipv4/age/10y/output/txt";
const WARNINGLIST: &str = "/v1/warninglist/id/1/output/txt";
const NO_JSON: &str = "{\"detail\":\"MISP - None JSON data returned\"}";

/// One row for everybody, one for its own organisation only, one warninglist; `number` tells worlds apart.
fn misp(number: u8) -> Misp {
    let mut world = World::default();
    world.now = dir::now();
    let event = world.add_event(NewEvent::new("shared").tag(BLOCK));
    world.add_attribute(event, NewAttribute::new("ip-dst", format!("192.0.2.{number}")));
    world.add_attribute(event, NewAttribute { distribution: 0, ..NewAttribute::new("ip-dst", "192.0.2.66") });
    world.publish(event);
    world.add_warninglist("some", &[&format!("198.51.100.{number}")]);
    Misp::of(world)
}

fn write_site(dir: &Dir, misp: &Misp, key: Option<&str>) {
    let key = key.map(|key| format!("mispAuthKey: {key}\n")).unwrap_or_default();
    let url = misp.url();
    dir.site(
        SITE,
        &format!(
            "enabled: true\ntag: example\nallowed_ips: [127.0.0.1/32]\ncustom_feeds: {{}}\nrefresh: 1h\n\
             mispTimeoutSeconds: 3\nmispUrl: {url}\n{key}"
        ),
    );
}

fn get(server: &Server, target: &str, key: &str) -> Answer {
    Client::new(server.port).get(target, &[("token", &dir::token(SITE, key, "2099-12-31"))])
}

fn wait_for_list(server: &Server, key: &str) {
    wait_for("a list", MINUTE, || get(server, LIST, key).status == 200);
}

#[test]
fn two_users_are_each_told_what_the_misp_says_to_them() {
    let misp = misp(1);
    let dir = Dir::new("");
    write_site(&dir, &misp, None);
    let server = Server::start(&dir);
    wait_for_list(&server, ADMIN_KEY);
    wait_for_list(&server, READER_KEY);
    misp.requests();
    for _ in 0..2 {
        let (admin, reader) = (get(&server, "/v1/check", ADMIN_KEY), get(&server, "/v1/check", READER_KEY));
        assert!(admin.status == 200 && admin.text().contains("\"perm_sync\":true"), "{}", admin.text());
        assert!(reader.status == 200 && reader.text().contains("\"perm_sync\":false"), "{}", reader.text());
    }
    assert_eq!(misp.requests().len(), 0, "the first refreshes have heard it");
    // What one user has asked for is not known for the other.
    for (key, name) in [(ADMIN_KEY, "admin"), (READER_KEY, "reader")] {
        for target in ["/v1/statistics", WARNINGLIST] {
            assert_eq!(get(&server, target, key).status, 200, "{target}");
            let asked: Vec<String> = misp.requests().into_iter().map(|request| request.key).collect();
            assert_eq!(asked, [name], "{target}");
        }
    }
}

#[test]
fn a_key_that_opens_nothing_is_answered_by_what_its_misp_said() {
    let misp = misp(1);
    let dir = Dir::new("");
    write_site(&dir, &misp, None);
    let server = Server::start(&dir);
    let ask = |key: &str| {
        ["/v1/check", "/v1/statistics", WARNINGLIST].map(|target| {
            let answer = get(&server, target, key);
            let retry = answer.header("retry-after").is_some();
            (answer.status, answer.text(), retry)
        })
    };
    let all = |check: (u16, &str), others: (u16, &str)| {
        let body = |text: &str| if text.starts_with('{') { text.into() } else { format!("{{\"detail\":\"{text}\"}}") };
        [check, others, others].map(|(status, text)| (status, body(text), status >= 500))
    };
    for (letter, kind, expected) in [
        ("N", Kind::Status(403), all((403, "MISP - Authentication failed"), (415, NO_JSON))),
        ("O", Kind::Status(500), all((403, "MISP - HTTP Error"), (415, NO_JSON))),
        ("P", Kind::Drop, all((503, "MISP - Connection error"), (503, "MISP - Connection error"))),
    ] {
        misp.clear_faults();
        misp.fault(Fault::always(kind.clone()).on("/"));
        misp.requests();
        let key = letter.repeat(40);
        assert_eq!(ask(&key), expected, "{kind:?}");
        assert_eq!(ask(&key), expected, "{kind:?}, again");
        assert_eq!(misp.requests().len(), 1, "{kind:?}: asked once");
    }
    let kept = std::fs::read_dir(dir.path().join("state").join(SITE)).into_iter().flatten().flatten();
    let of_views = kept.filter(|entry| entry.file_name().to_string_lossy().starts_with("user-"));
    assert_eq!(of_views.count(), 0, "nothing is kept of keys that open nothing");
}

#[test]
fn a_running_process_shows_a_new_key_nothing_of_the_old_ones_view() {
    let misp = misp(1);
    let dir = Dir::new("");
    write_site(&dir, &misp, Some(ADMIN_KEY));
    let server = Server::start(&dir);
    wait_for_list(&server, ADMIN_KEY);
    assert!(get(&server, LIST, ADMIN_KEY).text().contains("192.0.2.66"));
    assert!(get(&server, "/v1/check", ADMIN_KEY).text().contains("\"perm_sync\":true"));
    // Nothing comes in place of what was there.
    misp.fault(Fault::always(Kind::Status(500)).on("/"));
    write_site(&dir, &misp, Some(READER_KEY));
    let taken_over = || server.log().contains("configuration taken over");
    let look = || {
        let list = get(&server, LIST, READER_KEY);
        assert!(!list.text().contains("192.0.2.66"), "{}", list.text());
        let check = get(&server, "/v1/check", READER_KEY);
        assert!(!check.text().contains("\"perm_sync\":true"), "{}", check.text());
        assert_ne!((list.status, check.status), (200, 200));
    };
    wait_for("the new key", MINUTE, || {
        look();
        taken_over()
    });
    let until = std::time::Instant::now() + Duration::from_secs(2);
    while std::time::Instant::now() < until {
        look();
        std::thread::sleep(Duration::from_millis(20));
    }
    misp.clear_faults();
    wait_for("the reader's own lists", MINUTE, || {
        let list = get(&server, LIST, READER_KEY);
        assert!(!list.text().contains("192.0.2.66"), "{}", list.text());
        list.status == 200
    });
    assert!(get(&server, "/v1/check", READER_KEY).text().contains("\"perm_sync\":false"));
}

#[test]
fn a_warninglist_of_the_misp_before_is_not_taken_over() {
    let (before, after) = (misp(1), misp(2));
    let dir = Dir::new("");
    write_site(&dir, &before, Some(ADMIN_KEY));
    let server = Server::start(&dir);
    wait_for_list(&server, ADMIN_KEY);
    // The second poll is not yet counted when the other MISP comes.
    for _ in 0..2 {
        assert_eq!(get(&server, WARNINGLIST, ADMIN_KEY).text(), "198.51.100.1\r\n");
    }
    after.fault(Fault::always(Kind::Status(500)).on("/warninglists/view/"));
    write_site(&dir, &after, Some(ADMIN_KEY));
    wait_for("lists of the other MISP", MINUTE, || get(&server, LIST, ADMIN_KEY).text().contains("192.0.2.2"));
    let answer = get(&server, WARNINGLIST, ADMIN_KEY);
    assert_eq!((answer.status, &*answer.text()), (415, NO_JSON));
    after.clear_faults();
}

#[test]
fn an_answer_that_cannot_be_kept_is_not_asked_for_with_every_poll() {
    let (before, after) = (misp(1), misp(2));
    let dir = Dir::new("");
    write_site(&dir, &before, Some(ADMIN_KEY));
    dir.run(&["refresh"]).good();
    // The version there is the other MISP's until a refresh ends, and none does.
    after.fault(Fault::always(Kind::Status(500)).on("/events/index"));
    write_site(&dir, &after, Some(ADMIN_KEY));
    let server = Server::start(&dir);
    for _ in 0..4 {
        let answer = get(&server, WARNINGLIST, ADMIN_KEY);
        assert_eq!(answer.status, 503, "{}", answer.text());
    }
    let asked = after.requests().into_iter().filter(|request| request.path.starts_with("/warninglists/view/")).count();
    assert!(asked <= 1, "asked {asked} times");
}
