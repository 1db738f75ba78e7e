//! The access log of the running program: every request has its line, no line has a secret, and the file may be moved away.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::cmd::{Server, wait_for};
use crate::dir::{AUTH_KEY, BLOCK, Dir, SITE, now, sha256, token, token_keys};
use crate::feed::{Attribute, Event};
use crate::http::{self, Client};

const LIST: &str = "/v1/feed/block/type/ipv4/age/10y/output/txt";

/// A folder whose site has a list; `extra` is appended to `config.yaml`.
fn published(extra: &str) -> Dir {
    let dir = Dir::new("");
    let config = fs::read_to_string(dir.path().join("config/config.yaml")).unwrap();
    dir.write("config/config.yaml", &format!("{config}{extra}"));
    dir.publish(&[Event::new(1, &[BLOCK], vec![Attribute::new("ip-dst", "192.0.2.1", now() - 600)])]);
    dir
}

fn file(dir: &Dir, name: &str) -> PathBuf {
    dir.path().join(name)
}

/// The line about a target, once it is there; without the time and the seconds, which vary.
fn line(dir: &Dir, part: &str) -> String {
    let mut found = None;
    wait_for(&format!("a line with {part}"), Duration::from_secs(10), || {
        let text = fs::read_to_string(file(dir, "access.log")).unwrap_or_default();
        found = text.lines().rev().find(|line| line.contains(part)).map(str::to_owned);
        found.is_some()
    });
    let line = found.unwrap();
    let (before, rest) = line.split_once(" [").unwrap();
    let (time, rest) = rest.split_once("] ").unwrap();
    assert_eq!(time.len(), "24/Nov/2026:02:08:35 +0000".len(), "{line}");
    let (rest, id) = rest.rsplit_once(' ').unwrap();
    let (rest, seconds) = rest.rsplit_once(' ').unwrap();
    assert!(seconds.parse::<f64>().is_ok(), "{line}");
    format!("{before} {rest} {id}")
}

#[test]
fn every_request_has_its_line_and_no_line_has_a_secret() {
    let dir = published("access_log: access.log\n");
    let server = Server::start(&dir);
    let good = token(SITE, AUTH_KEY, "2099-12-31");
    let dead = token(SITE, AUTH_KEY, "2020-01-01");
    let id = |token: &str| token_keys().open(token).unwrap().short_id().to_owned();
    let basic = STANDARD.encode(format!("cratos:{good}"));
    let mut client = Client::new(server.port);
    client.get(&format!("{LIST}?token={good}&n=1"), &[("user-agent", "ua\"1\\"), ("referer", "http://r/?token=x")]);
    let agent = r#""http://r/?[hidden]" "ua\x221\x5C""#;
    let said = format!("127.0.0.1 - \"{SITE}\" \"GET {LIST}?token=[hidden]&n=1 HTTP/1.1\" 200 9 {agent} {}", id(&good));
    assert_eq!(line(&dir, "n=1"), said);
    client.get(&format!("{LIST}?n=2"), &[("token", &*dead)]);
    let none = "\"No valid token set\"";
    let refused = format!("127.0.0.1 - {none} \"GET {LIST}?n=2 HTTP/1.1\" 403 44 \"-\" \"-\" {}", id(&dead));
    assert_eq!(line(&dir, "n=2"), refused);
    client.send("HEAD", &format!("{LIST}?n=3"), &[("authorization", &*format!("Basic {basic}"))]);
    assert!(line(&dir, "n=3").contains(" 200 0 "), "{}", line(&dir, "n=3"));
    client.get(&format!("/v1/{good}/?n=4"), &[("user-agent", &*good), ("referer", &*format!("http://r/{good}"))]);
    let hidden =
        format!("127.0.0.1 - {none} \"GET /v1/[hidden]?n=4 HTTP/1.1\" 404 22 \"http://r/[hidden]\" \"[hidden]\" -");
    assert_eq!(line(&dir, "n=4"), hidden);
    client.get("/?n=5", &[("x-forwarded-for", &*good), ("authorization", &*format!("Bearer {good}"))]);
    assert!(line(&dir, "n=5").starts_with("[hidden] - "), "{}", line(&dir, "n=5"));
    let body = format!("{{\"domain\":\"{SITE}\",\"auth\":\"{}\",\"expire\":\"2099-12-31\"}}", "K".repeat(40));
    let length = body.len().to_string();
    let made = http::exchange(
        server.port,
        format!("POST /v1/generate_token_json?n=6 HTTP/1.1\r\nHost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes(),
        false,
    );
    assert_eq!(made.status, 200);
    assert!(
        line(&dir, "n=6").contains(&format!("\"POST /v1/generate_token_json?n=6 HTTP/1.1\" 200 {}", made.body.len()))
    );
    // No request at all.
    http::connect(server.port).unwrap().write_all(b"nonsense\r\n\r\n").unwrap();
    assert_eq!(line(&dir, "\"-\" 400"), format!("127.0.0.1 - {none} \"-\" 400 0 \"-\" \"-\" -"));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100));
    http::connect(server.port).unwrap().write_all(many.as_bytes()).unwrap();
    assert!(line(&dir, "\"-\" 431").starts_with("127.0.0.1 - "));

    let made: serde_json::Value = serde_json::from_slice(&made.body).unwrap();
    let logs = fs::read_to_string(file(&dir, "access.log")).unwrap() + &server.log();
    for secret in [&good, &dead, &basic, made["token"].as_str().unwrap(), AUTH_KEY, &"K".repeat(40)] {
        let percent: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for part in [&secret[..16], &secret[secret.len() - 20..], &percent[..30]] {
            assert!(!logs.contains(part), "{part} in the logs");
        }
    }
    assert!(!logs.contains(&sha256(good.as_bytes())), "whole hashes open nothing, but name too much");
}

#[test]
fn it_is_off_unless_configured_and_follows_a_reload() {
    let dir = published("");
    let server = Server::start(&dir);
    http::get(server.port, "/?n=1");
    let config = fs::read_to_string(file(&dir, "config/config.yaml")).unwrap();
    assert!(!file(&dir, "access.log").exists());
    dir.write("config/config.yaml", &format!("{config}access_log: access.log\n"));
    wait_for("the log after a reload", Duration::from_secs(20), || {
        http::get(server.port, "/?n=2");
        file(&dir, "access.log").exists()
    });
    line(&dir, "n=2");
    fs::rename(file(&dir, "access.log"), file(&dir, "moved")).unwrap();
    http::get(server.port, "/?n=3");
    line(&dir, "n=3");
    assert!(
        !fs::read_to_string(file(&dir, "moved")).unwrap().contains("n=3"),
        "written to the file that was moved away"
    );
    dir.write("config/config.yaml", &config);
    wait_for("the end of the log", Duration::from_secs(20), || {
        let before = fs::metadata(file(&dir, "access.log")).unwrap().len();
        http::get(server.port, "/?n=4");
        std::thread::sleep(Duration::from_millis(100));
        fs::metadata(file(&dir, "access.log")).unwrap().len() == before
    });
}

#[test]
fn a_log_that_cannot_be_written_changes_no_answer_and_is_said_once() {
    let dir = published("access_log: missing/access.log\n");
    let server = Server::start(&dir);
    for _ in 0..50 {
        assert_eq!(http::get(server.port, "/").status, 200);
    }
    wait_for("a word about it", Duration::from_secs(10), || server.log().contains("the access log cannot be written"));
    assert_eq!(server.log().matches("the access log cannot be written").count(), 1);
    fs::create_dir(file(&dir, "missing")).unwrap();
    wait_for("the log", Duration::from_secs(10), || {
        http::get(server.port, "/");
        file(&dir, "missing/access.log").exists()
    });
}

#[test]
fn it_is_rotated_and_old_ones_go() {
    let dir = published("access_log: access.log\naccess_log_max_bytes: 1\naccess_log_rotations: 2\n");
    // One megabyte of lines would take long: the files are nearly full already.
    for name in ["access.log", "access.log.1", "access.log.2"] {
        fs::write(file(&dir, name), format!("{name}\n{}\n", "x".repeat((1 << 20) - 100))).unwrap();
    }
    let server = Server::start(&dir);
    http::get(server.port, "/?n=1");
    line(&dir, "n=1");
    let first = |name: &str| fs::read_to_string(file(&dir, name)).unwrap().lines().next().unwrap().to_owned();
    assert!(fs::metadata(file(&dir, "access.log")).unwrap().len() < 1 << 20);
    assert_eq!((first("access.log.1"), first("access.log.2")), ("access.log".into(), "access.log.1".into()));
    assert!(!file(&dir, "access.log.3").exists());
}
