//! Questions to a MISP outside of a refresh: `check --online`, `init --misp`, and what ends soon.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::cmd::{self, Ended, Server, wait_for};
use crate::dir::{self, BLOCK, Dir, SITE, now, sha256};
use crate::http::Client;
use crate::misp::{Misp, NewAttribute, NewEvent, READER, READER_KEY, World};
use crate::tls::Tls;

const FALSE_POSITIVE: &str = "example:incident-classification=false-positive";
const DAY: i64 = 86_400;

/// With the tags of two feeds: blocked rows, and one that is a false positive.
fn misp() -> Misp {
    let mut world = World::default();
    world.now = now();
    let event = world.add_event(NewEvent::new("tagged").tag(BLOCK));
    for (value, tag) in [("192.0.2.1", BLOCK), ("192.0.2.2", BLOCK), ("192.0.2.3", FALSE_POSITIVE)] {
        world.add_attribute(event, NewAttribute::new("ip-dst", value).tag(tag));
    }
    world.publish(event);
    Misp::of(world)
}

/// A folder whose site reads the MISP at this URL.
fn reading(url: &str, extra: &str) -> Dir {
    let dir = Dir::new("");
    dir.site(
        SITE,
        &format!(
            "enabled: true\ntag: example\nallowed_ips: [127.0.0.1/32]\ncustom_feeds: {{}}\nmispUrl: \"{url}\"\n\
             mispAuthKey: {READER_KEY}\nrefresh: 1h\n{extra}"
        ),
    );
    dir
}

fn check_online(dir: &Dir) -> Ended {
    let ended = dir.run(&["check", "--online"]);
    assert!(!ended.text().contains(READER_KEY), "the key in\n{}", ended.text());
    ended
}

#[test]
fn check_online_shows_whose_key_it_is_and_what_the_tags_mean() {
    let misp = misp();
    let dir = reading(&misp.url(), "");
    dir.run(&["check"]).good();
    assert!(misp.requests().is_empty(), "without --online nobody is asked");
    let Ended { out, err, .. } = check_online(&dir).good();
    for words in ["2.5.1", "reader@org-b.example.net", "Org-B", "Read Only", "what Org-B may see", "no end date"] {
        assert!(out.contains(words), "{words} is not in\n{out}");
    }
    let row = |tag: &str| {
        let line = out.lines().find(|line| line.contains(tag)).unwrap_or_else(|| panic!("no {tag} in\n{out}"));
        line.split_whitespace().rev().take(3).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row(BLOCK), ["1", "2", "yes"]);
    assert_eq!(row(FALSE_POSITIVE), ["0", "1", "yes"]);
    assert_eq!(row("=hunt"), ["0", "0", "no"]);
    assert!(err.contains("the feed hunt is empty") && !err.contains("the feed block"), "{err}");
}

#[test]
fn check_online_says_what_to_do_about_each_problem() {
    type Change = fn(&mut World);
    let cases: &[(&str, i32, Change)] = &[
        ("refuses the key: Authentication failed", 1, |world| world.keys.clear()),
        ("has been disabled", 1, |world| world.users.get_mut(&READER).unwrap().disabled = true),
        ("a role without auth key access", 1, |world| world.users.get_mut(&READER).unwrap().role.auth = false),
        ("from your IP address", 1, |world| world.keys.get_mut(READER_KEY).unwrap().elsewhere = true),
        ("maintenance", 1, |world| world.settings.maintenance = true),
        ("false positives stay in the lists", 1, |world| world.delete_tag(FALSE_POSITIVE)),
        ("did you mean \"Example:incident", 1, |world| {
            world.rename_tag(FALSE_POSITIVE, &FALSE_POSITIVE.replace("example", "Example"));
        }),
        ("the key ends in 10 days", 0, |world| {
            world.keys.get_mut(READER_KEY).unwrap().expires = Some(now() + 10 * DAY);
        }),
        // The server's clock is late, so it still lets the key in.
        ("the key has ended", 1, |world| {
            world.now -= 10 * DAY;
            world.keys.get_mut(READER_KEY).unwrap().expires = Some(now() - DAY);
        }),
    ];
    for (words, code, change) in cases {
        let misp = misp();
        change(&mut misp.world());
        let said = check_online(&reading(&misp.url(), "")).with_code(*code).err;
        assert!(said.contains(words), "{words:?} is not in\n{said}");
    }
    let gone = misp().url();
    let said = check_online(&reading(&gone, "")).with_code(1).err;
    assert!(said.contains("cannot be reached"), "{said}");
}

#[test]
fn a_certificate_is_shown_before_it_is_trusted_and_never_sees_the_key() {
    let misp = misp();
    let tls = Tls::start(misp.port(), now() + 20 * DAY);
    let hash = tls.sha256();
    let pin = |hash: &str| format!("mispCertSha256: \"{hash}\"\n");
    let wrong = pin(&"ab".repeat(32));
    for (extra, words) in [("", "then set mispCertSha256"), (&*wrong, "then correct mispCertSha256")] {
        let said = check_online(&reading(&tls.url(), extra)).with_code(1).err;
        assert!(said.contains(&hash) && said.contains(words), "{said}");
    }
    let seen = tls.seen();
    assert!(!seen.is_empty() && seen.iter().all(|head| !head.contains("authorization")), "{seen:?}");
    let Ended { out, err, .. } = check_online(&reading(&tls.url(), &pin(&hash))).good();
    assert!(out.contains(&hash) && err.contains("the certificate of the server ends in 20 days"), "{out}\n{err}");
    assert!(tls.seen().len() > seen.len() + 2, "the pinned one is asked");

    let ended = Tls::start(misp.port(), now() - DAY);
    let said = check_online(&reading(&ended.url(), &pin(&ended.sha256()))).with_code(1).err;
    assert!(said.contains("the certificate of the server has ended"), "{said}");
}

/// `cratos init --misp URL --auth-file key --tag example`, with `more` arguments, in a folder with that key file.
fn init(dir: &Path, url: &str, key: &str, more: &[&str]) -> Ended {
    fs::write(dir.join("key"), key).unwrap();
    let file = dir.join("key");
    let args = ["init", "--misp", url, "--auth-file", file.to_str().unwrap(), "--tag", "example"];
    let ended = cmd::run(dir, &[&args[..], more].concat());
    assert!(!ended.text().contains(key.trim()), "the key in\n{}", ended.text());
    ended
}

#[test]
fn init_writes_a_site_that_checks() {
    let (misp, temp) = (misp(), tempfile::tempdir().unwrap());
    let site = temp.path().join("sites/127.0.0.1.yaml");
    let said = init(temp.path(), &misp.url(), &format!(" {READER_KEY}\n"), &[]).good().out;
    assert!(said.contains("reader@org-b.example.net") && said.contains("wrote sites/127.0.0.1.yaml"), "{said}");
    assert_eq!(fs::metadata(&site).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&site).unwrap();
    assert!(text.contains(READER_KEY) && text.contains(&misp.url()), "{text}");
    let checked = cmd::run(temp.path(), &["check"]).good().out;
    assert!(checked.contains("127.0.0.1") && checked.contains("MISP http://127.0.0.1"), "{checked}");
    cmd::run(temp.path(), &["check", "--online"]).good();
    cmd::run(temp.path(), &["refresh"]).good();

    misp.requests();
    let again = init(temp.path(), "http://127.0.0.1:1", READER_KEY, &[]).with_code(1).err;
    assert!(again.contains("exists and stays as it is") && misp.requests().is_empty(), "{again}");
    assert_eq!(fs::read_to_string(&site).unwrap(), text);
}

#[test]
fn init_takes_the_key_from_stdin_and_the_name_that_is_given() {
    let (misp, temp) = (misp(), tempfile::tempdir().unwrap());
    let url = misp.url();
    let args = ["init", "--misp", &url, "--auth-file", "-", "--tag", "example", "--site", SITE];
    let mut command = cmd::command(temp.path(), &args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(READER_KEY.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(temp.path().join(format!("sites/{SITE}.yaml")).exists());
}

#[test]
fn init_writes_nothing_unless_the_key_opens_the_misp() {
    let misp = misp();
    let tls = Tls::start(misp.port(), now() + 90 * DAY);
    let (hash, stranger) = (tls.sha256(), "x".repeat(40));
    let cases = [
        (misp.url(), &*stranger, 1, "refuses the key"),
        (misp.url(), "short", 2, "no MISP key"),
        (misp.url(), &*"x".repeat(5000), 1, "larger than"),
        ("ftp://127.0.0.1".into(), READER_KEY, 2, "mispUrl"),
        (tls.url(), READER_KEY, 1, &*hash),
    ];
    for (url, key, code, words) in cases {
        let temp = tempfile::tempdir().unwrap();
        let said = init(temp.path(), &url, key, &[]).with_code(code).err;
        assert!(said.contains(words), "{words:?} is not in\n{said}");
        let left: Vec<_> = fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["key"], "{words}");
    }
    let temp = tempfile::tempdir().unwrap();
    init(temp.path(), &tls.url(), READER_KEY, &["--cert-sha256", &hash]).good();
    assert!(fs::read_to_string(temp.path().join("sites/127.0.0.1.yaml")).unwrap().contains(&hash));
    cmd::run(temp.path(), &["check", "--online"]).good();
}

#[test]
fn what_ends_soon_shows_in_the_status_and_is_warned_of_once() {
    const LIST: &str = "/v1/feed/block/type/ipv4/age/10y/output/txt";
    let (misp, key_ends) = (misp(), now() + 5 * DAY);
    misp.world().keys.get_mut(READER_KEY).unwrap().expires = Some(key_ends);
    let dir = reading(&misp.url(), "");
    let server = Server::start(&dir);
    let midnight = (now() / DAY + 10) * DAY;
    let date = jiff::Timestamp::from_second(midnight).unwrap().to_string()[..10].to_owned();
    let (soon, later) = (dir::token(SITE, READER_KEY, &date), dir::token(SITE, READER_KEY, "2099-12-31"));
    let mut client = Client::new(server.port);
    wait_for("a list", Duration::from_secs(20), || client.get(LIST, &[("token", &*later)]).status == 200);
    (0..3).for_each(|_| assert_eq!(client.get(LIST, &[("token", &*soon)]).status, 200));
    let ending = |client: &mut Client| -> Value {
        let status: Value = serde_json::from_slice(&client.get("/v1/status", &[("token", &*later)]).body).unwrap();
        status["views"][format!("{SITE}/main")]["ending"].clone()
    };
    let token = format!("token {}", &sha256(soon.as_bytes())[..8]);
    // The list is on show a moment before the refresh is written down as done.
    wait_for("the key's end", Duration::from_secs(5), || ending(&mut client)["MISP key"] == key_ends);
    let expected = serde_json::json!({"MISP key": key_ends, (token.as_str()): midnight});
    assert_eq!(ending(&mut client), expected);
    let log = server.log();
    let warnings = |what: &str| log.matches(&format!("{what} ends in")).count();
    assert_eq!((warnings(&token), warnings("MISP key")), (1, 1), "{log}");
}
