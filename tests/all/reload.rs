//! Changed files while clients poll: nobody is dropped, what changed counts within two seconds, and a broken site file keeps the
//! last good settings, also over a restart.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::cmd::{Server, wait_for};
use crate::dir::{self, AUTH_KEY, BLOCK, Dir, SITE, now, sha256, token};
use crate::feed::{Attribute, Event};
use crate::http::{self, Client};

const LIST: &str = "/v1/feed/block/type/ipv4/age/10y/output/txt";
const ALIVE: &str = "2099-12-31";
/// From the rename of the file to the first answer by the new rule.
const SOON: Duration = Duration::from_secs(2);
const CLIENTS: usize = 50;
const OTHER: &str = "other.example.net";

fn published() -> Dir {
    let dir = Dir::new("");
    dir.publish(&[Event::new(1, &[BLOCK], vec![Attribute::new("ip-dst", "192.0.2.1", now() - 600)])]);
    dir
}

/// The site's file, with this line instead of its allowed addresses.
fn site_with(allowed: &str, extra: &str) -> String {
    dir::site("example", extra).replace("allowed_ips:\n  - 127.0.0.1/32", &format!("allowed_ips: {allowed}"))
}

fn status_of(port: u16, token: &str) -> u16 {
    Client::new(port).get(LIST, &[("token", token)]).status
}

/// The status must become this within two seconds.
fn assert_soon(what: &str, port: u16, token: &str, status: u16) {
    wait_for(what, SOON, || status_of(port, token) == status);
}

/// Polls until told to stop, half of the clients with a new connection each time. Returns the number of answers; any other
/// than `expected` is a failure, and so is a connection that breaks.
fn poll(port: u16, token: &str, stop: &AtomicBool, answers: &AtomicUsize, keeps: bool) {
    let mut client = Client::new(port);
    while !stop.load(Ordering::Relaxed) {
        let answer = client.get(LIST, &[("token", token)]);
        assert_eq!((answer.status, &*answer.text()), (200, "192.0.2.1"));
        answers.fetch_add(1, Ordering::Relaxed);
        if !keeps {
            client = Client::new(port);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn fifty_clients_notice_nothing_of_a_reload() {
    let dir = published();
    dir.site(OTHER, &dir::site("example", ""));
    let server = Server::start(&dir);
    let (good, judged) = (token(SITE, AUTH_KEY, ALIVE), token(OTHER, AUTH_KEY, ALIVE));
    assert_soon("list of the other site", server.port, &judged, 200);
    let (stop, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|at| {
                scope.spawn({
                    let (stop, answers, good, port) = (&stop, &answers, &good, server.port);
                    move || poll(port, good, stop, answers, at % 2 == 0)
                })
            })
            .collect();
        // Whatever happens below, the clients end.
        let _end = End(&stop);
        let mut slowest = Duration::ZERO;
        for round in 0..4 {
            let before = answers.load(Ordering::Relaxed);
            for (allowed, status) in [("[192.0.2.0/24]", 403), ("[127.0.0.0/8]", 200)] {
                let start = Instant::now();
                // The polled site's own file changes, too, in a way that its clients must not notice.
                dir.site(SITE, &site_with("[127.0.0.1/32]", &format!("cache_control: \"private, max-age={round}\"\n")));
                dir.site(OTHER, &site_with(allowed, ""));
                assert_soon("answer by the new rule", server.port, &judged, status);
                slowest = slowest.max(start.elapsed());
            }
            assert!(answers.load(Ordering::Relaxed) > before + CLIENTS, "the clients stand still");
        }
        println!("{} answers, slowest change {slowest:?}", answers.load(Ordering::Relaxed));
        drop(_end);
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn new_changed_and_removed_files_take_effect_within_two_seconds() {
    let dir = published();
    let server = Server::start(&dir);
    let port = server.port;
    let (own, new) = (token(SITE, AUTH_KEY, ALIVE), token("new.example.net", AUTH_KEY, ALIVE));
    assert_eq!((status_of(port, &own), status_of(port, &new)), (200, 403));

    dir.site("new.example.net", &dir::site("example", ""));
    assert_soon("list of a new site", port, &new, 200);
    let black = format!("blacklisted_api_tokens: [\"{}\"]\n", sha256(own.as_bytes()));
    dir.site(SITE, &dir::site("example", &black));
    assert_soon("revocation", port, &own, 403);
    assert_eq!(status_of(port, &new), 200);
    dir.site(SITE, &dir::site("example", ""));
    assert_soon("end of the revocation", port, &own, 200);

    fs::remove_file(dir.path().join("sites/new.example.net.yaml")).unwrap();
    wait_for("refusal", SOON, || {
        let answer = Client::new(port).get(LIST, &[("token", &*new)]);
        answer.status == 403 && answer.text().contains("Token config file not found")
    });
    assert_eq!(status_of(port, &own), 200);
    wait_for("end of its copy", SOON, || !dir.path().join("state/new.example.net/site.sealed").exists());
}

#[test]
fn a_hangup_reads_files_that_no_folder_told_of() {
    let dir = published();
    // A link to a folder elsewhere: changes there are not changes of `sites/`.
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let file = dir.path().join("sites").join(format!("{SITE}.yaml"));
    fs::rename(&file, elsewhere.join("site.yaml")).unwrap();
    std::os::unix::fs::symlink(elsewhere.join("site.yaml"), &file).unwrap();
    let server = Server::start(&dir);
    let token = token(SITE, AUTH_KEY, ALIVE);
    assert_eq!(status_of(server.port, &token), 200);
    dir.write("elsewhere/site.yaml", &site_with("[]", ""));
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(status_of(server.port, &token), 200, "it was noticed without a signal");
    server.hang_up();
    assert_soon("answer by the new rule", server.port, &token, 403);
}

/// What `/v1/status` tells a token of its view.
fn view_status(port: u16, token: &str) -> serde_json::Value {
    let answer = Client::new(port).get("/v1/status", &[("token", token)]);
    let status: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    status["views"].as_object().and_then(|views| views.values().next().cloned()).unwrap_or_default()
}

/// Two mistakes in one file.
const BROKEN: &str = "allowed_ips: [everyone]\ntag: 5\ncustom_feeds: {}\nmispAuthKey: short\n";

fn assert_kept(dir: &Dir, server: &Server, token: &str) {
    wait_for("word about the broken file", SOON, || view_status(server.port, token)["state"] == "kept");
    let answer = Client::new(server.port).get(LIST, &[("token", token)]);
    assert_eq!((answer.status, &*answer.text()), (200, "192.0.2.1"), "the last good settings count");
    let mistakes = view_status(server.port, token)["kept"].to_string();
    let checked = dir.run(&["check"]).with_code(2).err;
    let shown: Vec<&str> = checked.lines().filter(|line| line.starts_with("sites/")).collect();
    assert!(shown.len() >= 2, "{checked}");
    for line in shown {
        let place = line.split(": ").take(2).collect::<Vec<_>>().join(": ");
        assert!(mistakes.contains(&place), "{place} is not in {mistakes}");
        assert!(server.log().contains(&place), "{place} is not in the log");
    }
    assert!(http::get(server.port, "/v1/status").text().contains("\"state\":\"kept\""));
}

#[test]
fn a_broken_site_file_keeps_the_last_good_settings_over_a_restart() {
    let dir = published();
    let token = token(SITE, AUTH_KEY, ALIVE);
    let server = Server::start(&dir);
    assert_eq!(status_of(server.port, &token), 200);
    let copy = dir.path().join("state").join(SITE).join("site.sealed");
    wait_for("copy of the settings", SOON, || copy.exists());
    dir.site(SITE, BROKEN);
    assert_kept(&dir, &server, &token);
    drop(server);

    // The key stands in the site file; the copy below state/ is sealed and nobody else's.
    let sealed = fs::read(&copy).unwrap();
    assert!(!sealed.windows(AUTH_KEY.len()).any(|window| window == AUTH_KEY.as_bytes()), "a key below state/");
    assert!(!sealed.windows(11).any(|window| window == b"allowed_ips"));
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);

    let server = Server::start(&dir);
    assert_kept(&dir, &server, &token);
    dir.site(SITE, &site_with("[127.0.0.0/8]", ""));
    wait_for("end of the word", SOON, || view_status(server.port, &token)["kept"] == serde_json::json!([]));
    assert_eq!(status_of(server.port, &token), 200);
    assert!(matches!(view_status(server.port, &token)["state"].as_str(), Some("ok" | "starting")));
}

#[test]
fn a_copy_that_cannot_be_opened_leaves_the_site_broken() {
    let dir = published();
    let token = token(SITE, AUTH_KEY, ALIVE);
    let copy = dir.path().join("state").join(SITE).join("site.sealed");
    let server = Server::start(&dir);
    wait_for("copy of the settings", SOON, || copy.exists());
    drop(server);
    dir.site(SITE, BROKEN);
    let mut sealed = fs::read(&copy).unwrap();
    let last = sealed.len() - 1;
    sealed[last] ^= 1;
    fs::write(&copy, sealed).unwrap();
    let server = Server::start(&dir);
    assert_eq!(status_of(server.port, &token), 503);
    assert!(http::get(server.port, "/v1/status").text().contains("\"state\":\"broken\""));
    dir.site(SITE, &dir::site("example", ""));
    assert_soon("list of the mended site", server.port, &token, 200);
    let status = http::get(server.port, "/v1/status").text();
    assert!(["ok", "starting"].iter().any(|state| status.contains(&format!("\"state\":\"{state}\""))), "{status}");
}
