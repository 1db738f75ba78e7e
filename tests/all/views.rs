//! Views: every MISP user sees what this user may see and nothing else, whatever happens around it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::cmd::{Server, wait_for};
use crate::dir::{self, BLOCK, Dir, SITE};
use crate::http::{self, Answer};
use crate::misp::{ADMIN_KEY, Misp, NewAttribute, NewEvent, READER, READER_KEY, World};
use crate::secrets::{UNKNOWN_KEY, assert_no_key, assert_no_key_in};

const LIST: &str = "/v1/feed/block/type/ipv4/age/10y/output/txt";
const ANY: &str = "/v1/feed/any/type/ipv4/age/10y/output/json";
/// What the predecessor says when the MISP does not accept a key.
const REFUSED: &str = r#"{"detail":"PyMISP to MISP - Connection error"}"#;

/// One attribute for everybody, one for its own organisation only.
fn world() -> World {
    let mut world = World::default();
    world.now = dir::now();
    let event = world.add_event(NewEvent::new("shared").tag(BLOCK));
    world.add_attribute(event, NewAttribute::new("ip-dst", "192.0.2.1"));
    world.add_attribute(event, NewAttribute { distribution: 0, ..NewAttribute::new("ip-dst", "192.0.2.66") });
    world.publish(event);
    world
}

/// A site as the predecessor has it, but for `extra`.
fn old_site(extra: &str) -> String {
    format!("enabled: true\ntag: example\nallowed_ips: [127.0.0.1/32]\ncustom_feeds: {{}}\nrefresh: 1h\n{extra}")
}

fn installation(misp: &Misp, extra: &str) -> Dir {
    let dir = Dir::new("");
    dir.site(SITE, &old_site(&format!("mispUrl: {}\n{extra}", misp.url())));
    dir
}

fn token(key: &str) -> String {
    dir::token(SITE, key, "2099-12-31")
}

fn get(server: &Server, target: &str, token: &str) -> Answer {
    http::Client::new(server.port).get(target, &[("token", token)])
}

#[track_caller]
fn assert_list(answer: &Answer, values: &str) {
    assert_eq!((answer.status, answer.text().replace("\r\n", " ")), (200, values.to_owned()));
}

#[test]
fn two_users_never_see_each_others_rows() {
    let misp = Misp::of(world());
    let dir = installation(&misp, "");
    let server = Server::start_with(&dir, &[("CRATOS_LOG", "debug")]);
    let (admin, reader) = (token(ADMIN_KEY), token(READER_KEY));
    assert_list(&get(&server, LIST, &admin), "192.0.2.1 192.0.2.66");
    assert_list(&get(&server, LIST, &reader), "192.0.2.1");
    assert_list(&get(&server, ANY, &reader), r#"["192.0.2.1"]"#);
    assert_list(&get(&server, ANY, &admin), r#"["192.0.2.1", "192.0.2.66"]"#);
    let status = get(&server, "/v1/status", &reader).text();
    assert!(status.contains("user-3") && !status.contains("user-1"), "{status}");
    misp.requests();
    for _ in 0..3 {
        assert_list(&get(&server, LIST, &reader), "192.0.2.1");
        assert_list(&get(&server, ANY, &admin), r#"["192.0.2.1", "192.0.2.66"]"#);
    }
    assert_eq!(misp.requests().len(), 0, "a second poll asks nothing");
    assert_no_key(&dir, &server);
    drop((misp, server));
    let server = Server::start_with(&dir, &[("CRATOS_LOG", "debug")]);
    assert_list(&get(&server, LIST, &reader), "192.0.2.1");
    assert_list(&get(&server, ANY, &reader), r#"["192.0.2.1"]"#);
    assert_list(&get(&server, LIST, &admin), "192.0.2.1 192.0.2.66");
    let status = get(&server, "/v1/status", &reader).text();
    assert!(status.contains(r#""state":"ok","views""#), "an earlier run's refresh counts: {status}");
    assert_no_key(&dir, &server);
}

#[test]
fn a_key_the_misp_refuses_is_told_so_and_asked_for_once_a_minute() {
    let misp = Misp::of(world());
    let dir = installation(&misp, "");
    let server = Server::start_with(&dir, &[("CRATOS_LOG", "debug")]);
    for _ in 0..5 {
        let answer = get(&server, LIST, &token(UNKNOWN_KEY));
        assert_eq!((answer.status, &*answer.text(), answer.header("retry-after")), (503, REFUSED, Some("120")));
    }
    let asked: Vec<String> = misp.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(asked, ["/users/view/me"]);
    assert_no_key_in(server.log().as_bytes(), "the log");
    // Views are not made of keys that are refused.
    assert!(!dir.path().join("feeds-out").join(SITE).exists());
}

#[test]
fn a_disabled_user_keeps_the_last_good_lists_at_first() {
    let misp = Misp::of(world());
    let dir = installation(&misp, "");
    let server = Server::start(&dir);
    assert_list(&get(&server, LIST, &token(READER_KEY)), "192.0.2.1");
    misp.world().users.get_mut(&READER).unwrap().disabled = true;
    let ended = dir.run(&["refresh", SITE]).with_code(1);
    assert!(ended.text().contains("has been disabled"), "{}", ended.text());
    assert_list(&get(&server, LIST, &token(READER_KEY)), "192.0.2.1");
    let views = dir.run(&["views"]).good().out;
    assert!(views.contains("refused 1x"), "{views}");
    misp.world().users.get_mut(&READER).unwrap().disabled = false;
    dir.run(&["refresh", "--full", SITE]).good();
    assert!(!dir.run(&["views"]).good().out.contains("refused"));
}

#[test]
fn where_no_key_may_be_sent_none_is_sent() {
    let misp = Misp::of(world());
    let dir = Dir::new("");
    let here = |proto: &str, port: u16| dir::token_at("127.0.0.1", proto, port, READER_KEY, "2099-12-31");
    dir.site("127.0.0.1", &old_site(""));
    let server = Server::start(&dir);
    let answer = get(&server, LIST, &here("http", misp.port()));
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(server.log().contains("misp_ports"), "{}", server.log());
    assert_eq!(get(&server, LIST, &dir::token("localhost", READER_KEY, "2099-12-31")).status, 403);
    assert_eq!(misp.requests().len(), 0);
    dir.site("127.0.0.1", &old_site(&format!("misp_ports: [{}]\n", misp.port())));
    drop(server);
    let server = Server::start(&dir);
    // It knows that the server speaks no TLS, and does not try without.
    assert_eq!(get(&server, LIST, &here("https", misp.port())).status, 503);
    assert_eq!(misp.requests().len(), 0);
    drop(server);
    let server = Server::start(&dir);
    assert_list(&get(&server, LIST, &here("http", misp.port())), "192.0.2.1");
    let elsewhere = Misp::of(world());
    dir.site("127.0.0.1", &old_site(&format!("misp_ports: [{}]\nmispUrl: {}\n", misp.port(), elsewhere.url())));
    drop(server);
    misp.requests();
    let server = Server::start(&dir);
    assert_list(&get(&server, LIST, &here("http", misp.port())), "192.0.2.1");
    assert_eq!(misp.requests().len(), 0, "with mispUrl no other port is asked");
    assert!(!elsewhere.requests().is_empty());
}

#[test]
fn after_learn_no_first_poll_waits() {
    let misp = Misp::of(world());
    let dir = installation(&misp, "");
    let tokens = [token(ADMIN_KEY), token(READER_KEY), token(READER_KEY)].join("\n");
    let learnt = dir.run_with_stdin(&["learn"], &tokens).good();
    assert_eq!(learnt.out.matches("ready").count(), 3, "{}", learnt.out);
    assert!(learnt.out.contains("user-1") && learnt.out.contains("Org-B"), "{}", learnt.out);
    let bad = dir.run_with_stdin(&["learn"], &format!("{}\nrubbish\n", token(UNKNOWN_KEY))).with_code(1);
    assert!(bad.out.contains("403") && bad.out.contains("line 2"), "{}", bad.out);
    drop(misp);
    let server = Server::start(&dir);
    assert_list(&get(&server, LIST, &token(ADMIN_KEY)), "192.0.2.1 192.0.2.66");
    assert_list(&get(&server, LIST, &token(READER_KEY)), "192.0.2.1");
    let views = dir.run(&["views"]).good().out;
    assert!(views.contains("user-3") && views.contains("Org-B") && views.contains("reader@"), "{views}");
    assert_no_key_in(views.as_bytes(), "the table");
}

#[test]
fn learn_beside_a_running_cratos_hands_the_work_over() {
    let misp = Misp::of(world());
    let dir = installation(&misp, "");
    let server = Server::start_with(&dir, &[("CRATOS_LOG", "debug")]);
    let learnt = dir.run_with_stdin(&["learn"], &token(READER_KEY)).good();
    assert!(learnt.out.contains("user-3") && learnt.out.contains("ready"), "{}", learnt.text());
    misp.requests();
    assert_list(&get(&server, LIST, &token(READER_KEY)), "192.0.2.1");
    assert_eq!(misp.requests().len(), 0);
    let bad = dir.run_with_stdin(&["learn"], &token(UNKNOWN_KEY)).with_code(1);
    assert!(bad.out.contains("403"), "{}", bad.text());
    assert_no_key(&dir, &server);
    dir.run(&["refresh", SITE]).good();
}

#[test]
fn a_site_key_that_becomes_somebody_elses_shows_nothing_of_before() {
    let misp = Misp::of(world());
    let dir = installation(&misp, &format!("mispAuthKey: {ADMIN_KEY}\n"));
    dir.run(&["refresh"]).good();
    let main = dir.path().join("feeds-out").join(SITE).join("main");
    assert!(has(&main, "192.0.2.66"));
    dir.site(SITE, &old_site(&format!("mispUrl: {}\nmispAuthKey: {READER_KEY}\n", misp.url())));
    misp.fault(crate::misp::Fault::always(crate::misp::Kind::Status(500)).on(""));
    let server = Server::start(&dir);
    let answer = get(&server, LIST, &token(READER_KEY));
    assert_eq!(answer.status, 503, "{}", answer.text());
    misp.clear_faults();
    wait_for("the reader's own lists", Duration::from_secs(60), || {
        let answer = get(&server, LIST, &token(READER_KEY));
        assert!(!answer.text().contains("192.0.2.66"), "{}", answer.text());
        answer.status == 200
    });
    assert_list(&get(&server, LIST, &token(READER_KEY)), "192.0.2.1");
    assert_list(&get(&server, LIST, &token(ADMIN_KEY)), "192.0.2.1 192.0.2.66");
}

fn has(view: &Path, text: &str) -> bool {
    let target = fs::read_link(view.join("current")).unwrap();
    fs::read_to_string(view.join(target).join("feed/block/ipv4/10y.txt")).unwrap().contains(text)
}

#[test]
fn a_rotated_key_opens_the_same_view() {
    let misp = Misp::of(world());
    let dir = installation(&misp, "");
    let server = Server::start(&dir);
    assert_list(&get(&server, LIST, &token(READER_KEY)), "192.0.2.1");
    let rotated = "RotatedKey1RotatedKey2RotatedKey3Rotated";
    {
        let mut world = misp.world();
        world.key(rotated, READER);
        world.keys.remove(READER_KEY);
    }
    assert_list(&get(&server, LIST, &token(rotated)), "192.0.2.1");
    let views = dir.run(&["views"]).good().out;
    assert_eq!(views.matches("user-3").count(), 1, "{views}");
    // The old one was proven; one refusal does not end it.
    assert_list(&get(&server, LIST, &token(READER_KEY)), "192.0.2.1");
}

/// What the MISP says against a key that was good before, and how `cratos views` shows it.
#[test]
fn what_a_misp_says_against_a_proven_key() {
    type Change = fn(&mut World);
    let cases: [(&str, Change, bool); 4] = [
        ("from your IP address", |world| world.keys.get_mut(READER_KEY).unwrap().elsewhere = true, false),
        ("Authentication failed", |world| world.users.get_mut(&READER).unwrap().role.auth = false, true),
        ("Authentication failed", |world| world.keys.get_mut(READER_KEY).unwrap().expires = Some(1), true),
        ("has been disabled", |world| world.users.get_mut(&READER).unwrap().disabled = true, true),
    ];
    for (said, change, counts) in cases {
        let misp = Misp::of(world());
        let dir = installation(&misp, "");
        let server = Server::start(&dir);
        assert_list(&get(&server, LIST, &token(READER_KEY)), "192.0.2.1");
        change(&mut misp.world());
        let ended = dir.run(&["refresh", SITE]).with_code(1);
        assert!(ended.text().contains(said), "{said}: {}", ended.text());
        assert_list(&get(&server, LIST, &token(READER_KEY)), "192.0.2.1");
        let status = get(&server, "/v1/status", &token(READER_KEY)).text();
        assert!(status.contains(r#""state":"failing""#), "{status}");
        assert_eq!(dir.run(&["views"]).good().out.contains("refused 1x"), counts, "{said}");
        // A new token with that key, after a restart, is still served: nothing has ended yet.
        drop(server);
        let server = Server::start(&dir);
        assert_list(&get(&server, LIST, &token(READER_KEY)), "192.0.2.1");
    }
}

/// While both views are pulled again and again, and one user's rows come and go, the other never sees one of them.
#[test]
fn nothing_crosses_over_during_refreshes() {
    let misp = Misp::of(world());
    let dir = installation(&misp, "");
    dir.site(SITE, &old_site(&format!("mispUrl: {}\n", misp.url())).replace("refresh: 1h", "refresh: 1s"));
    let server = Server::start(&dir);
    let (admin, reader) = (token(ADMIN_KEY), token(READER_KEY));
    let targets = [
        LIST,
        ANY,
        "/v1/feed/42/type/ipv4/age/10y/output/xml",
        "/v1/vendor/cisco/feed/block/type/ipv4/age/1h",
        "/v1/feedmapping",
        "/v1/status",
    ];
    for round in 0..30u32 {
        {
            let mut world = misp.world();
            let event = world.add_event(NewEvent { distribution: 0, ..NewEvent::new("secret").tag(BLOCK) });
            world.add_attribute(event, NewAttribute::new("ip-dst", format!("198.51.100.{round}")));
            world.publish(event);
        }
        for target in targets {
            let seen = get(&server, target, &reader);
            assert!(!seen.text().contains("198.51.100.") && !seen.text().contains("192.0.2.66"), "{target}");
            get(&server, target, &admin);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    wait_for("the other's rows", Duration::from_secs(30), || {
        get(&server, LIST, &admin).text().contains("198.51.100.29")
    });
    let own = dir.path().join("feeds-out").join(SITE).join("user-3");
    for version in fs::read_dir(own.join("versions")).unwrap().flatten() {
        let list = fs::read_to_string(version.path().join("feed/block/ipv4/10y.txt")).unwrap_or_default();
        assert!(!list.contains("198.51.100."), "{}", version.path().display());
    }
}

/// `POST /v1/generate_token_json`: status and body.
fn make_token(server: &Server, key: &str) -> (u16, String) {
    let body = format!(r#"{{"proto":"https","port":443,"domain":"{SITE}","auth":"{key}","expire":"2099-12-31"}}"#);
    let head =
        "POST /v1/generate_token_json HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nConnection: close\r\n";
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let answer = http::exchange(server.port, request.as_bytes(), false);
    (answer.status, answer.text())
}

/// `POST /v1/generate_token_form`: status, content type and page.
fn send_form(server: &Server, key: &str) -> (u16, String, String) {
    let body = format!("proto=https&port=443&domain={SITE}&auth={key}&expire=2099-12-31");
    let head = "POST /v1/generate_token_form HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n";
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let answer = http::exchange(server.port, request.as_bytes(), false);
    (answer.status, answer.header("content-type").unwrap().to_owned(), answer.text())
}

#[test]
fn the_form_says_what_the_misp_says_about_a_key() {
    let misp = Misp::of(world());
    let dir = installation(&misp, "");
    let server = Server::start(&dir);
    let (status, _, page) = send_form(&server, READER_KEY);
    assert!(status == 200 && page.contains("The MISP knows this key."), "{status} {page}");
    let (status, kind, page) = send_form(&server, UNKNOWN_KEY);
    assert_eq!((status, &*kind), (422, "text/html; charset=utf-8"), "{page}");
    assert!(page.contains("id=\"auth-wrong\">The MISP does not accept"), "{page}");
    assert_no_key_in(page.as_bytes(), "the page");
    drop(misp);
    let (status, _, page) = send_form(&server, "AnotherKey1AnotherKey2AnotherKey3Another");
    assert!(status == 200 && page.contains("The MISP has not confirmed this key."), "{status} {page}");
}

#[test]
fn a_key_is_tried_before_a_token_is_handed_out() {
    let misp = Misp::of(world());
    let dir = installation(&misp, "");
    let server = Server::start(&dir);
    let (status, body) = make_token(&server, READER_KEY);
    assert!(status == 200 && body.contains(r#""verified":true"#), "{status} {body}");
    let token: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_list(&get(&server, LIST, token["token"].as_str().unwrap()), "192.0.2.1");
    let (status, body) = make_token(&server, UNKNOWN_KEY);
    assert!(status == 422 && body.contains("does not accept"), "{status} {body}");
    drop(misp);
    let (status, body) = make_token(&server, "AnotherKey1AnotherKey2AnotherKey3Another");
    assert!(status == 200 && body.contains(r#""verified":false"#), "{status} {body}");
    assert_no_key_in(server.log().as_bytes(), "the log");
}

#[test]
fn a_view_that_takes_too_long_is_asked_for_again_later() {
    let misp = Misp::of(world());
    let dir = installation(&misp, "mispTimeoutSeconds: 1\n");
    let slow = crate::misp::Kind::Hang(Duration::from_secs(3));
    misp.fault(crate::misp::Fault::always(slow).on("/events/index"));
    let server = Server::start(&dir);
    let answer = get(&server, LIST, &token(READER_KEY));
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some() && answer.text().contains("being prepared"), "{}", answer.text());
    misp.clear_faults();
    wait_for("the view", Duration::from_secs(60), || get(&server, LIST, &token(READER_KEY)).status == 200);
}

#[test]
fn a_dropped_view_leaves_nothing_behind_and_can_be_learned_again() {
    let misp = Misp::of(world());
    let dir = installation(&misp, "");
    dir.run_with_stdin(&["learn"], &[token(ADMIN_KEY), token(READER_KEY)].join("\n")).good();
    let (feeds, state) = (dir.path().join("feeds-out"), dir.path().join("state"));
    let left = |name: &str| {
        let below = |folder: &Path| fs::read_dir(folder.join(SITE)).unwrap().flatten().map(|entry| entry.file_name());
        let names = below(&feeds).chain(below(&state)).map(|entry| entry.to_string_lossy().into_owned());
        names.filter(|entry| entry.starts_with(name)).count()
    };
    assert!(left("user-3") >= 3 && left("user-1") >= 3);
    let view = cratos::view::ViewId::named(SITE, "user-3").unwrap();
    cratos::refresh::remove(&feeds, &state, &view).unwrap();
    assert_eq!(left("user-3"), 0);
    assert!(left("user-1") >= 3);
    let server = Server::start(&dir);
    assert_list(&get(&server, LIST, &token(READER_KEY)), "192.0.2.1");
}
