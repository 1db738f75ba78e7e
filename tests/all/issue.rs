//! `POST /v1/generate_token_json`: who is given tokens, what bodies are read, and that what was made opens.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::cmd::Server;
use crate::dir::{self, Dir, SITE, token_keys};
use crate::http::{self, Answer, Client};

const URL: &str = "/v1/generate_token_json";
const KEY: &str = "ZyxwvutsrqZyxwvutsrqZyxwvutsrqZyxwvutsrq";

/// The usual folder, one site for other addresses, one whose file is broken; `extra` is appended to `config.yaml`.
fn served(extra: &str) -> (Dir, Server) {
    let dir = Dir::new("");
    let plain = dir::site("example", "");
    dir.site("far.example.net", &plain.replace("127.0.0.1/32", "192.0.2.0/24"));
    dir.site("broken.example.net", &plain.replace("127.0.0.1/32", "everyone"));
    let config = std::fs::read_to_string(dir.path().join("config/config.yaml")).unwrap();
    dir.write("config/config.yaml", &format!("{config}{extra}"));
    let server = Server::start(&dir);
    (dir, server)
}

fn body(site: &str) -> String {
    format!("{{\"proto\":\"https\",\"port\":443,\"domain\":\"{site}\",\"auth\":\"{KEY}\",\"expire\":\"2099-12-31\"}}")
}

fn post(port: u16, headers: &str, body: &str) -> Answer {
    let head = format!("POST {URL} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}");
    http::exchange(port, format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes(), false)
}

/// Status, and the answer as JSON.
fn ask(port: u16, from: &str, site: &str) -> (u16, serde_json::Value) {
    let answer = post(port, &format!("X-Forwarded-For: {from}\r\n"), &body(site));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

#[test]
fn by_default_a_token_goes_to_addresses_that_may_read_its_site() {
    let (dir, server) = served("allways_allowed_ips: [198.51.100.0/24]\naccess_log: access.log\n");
    for (from, site, status) in [
        ("127.0.0.1", SITE, 200),
        ("127.0.0.1", "far.example.net", 403),
        ("127.0.0.1", "nowhere.example.net", 403),
        ("127.0.0.1", "broken.example.net", 503),
        ("192.0.2.7", "far.example.net", 200),
        ("192.0.2.7", SITE, 403),
        ("198.51.100.1", SITE, 200),
        ("198.51.100.1", "far.example.net", 200),
        ("198.51.100.1", "nowhere.example.net", 200),
        ("203.0.113.9", SITE, 403),
        ("garbage", SITE, 403),
    ] {
        let (is, answer) = ask(server.port, from, site);
        assert_eq!(is, status, "{from} for {site}: {answer}");
        let Some(token) = answer["token"].as_str() else {
            let detail = answer["detail"].as_str().unwrap();
            assert!(is == 503 || detail.contains("token_issuance") && detail.contains(from), "{detail}");
            continue;
        };
        assert_eq!(answer["verified"], false);
        assert_eq!(
            (&answer["MISP"], &answer["validity"]),
            (&format!("https://{site}:443/").into(), &"2099-12-31".into())
        );
        let opened = token_keys().open(token).unwrap();
        assert_eq!((opened.claims.host.as_str(), opened.claims.key.reveal()), (site, KEY));
        assert!(server.log().contains(opened.short_id()), "who was given it is not in the log");
        for file in [server.log(), std::fs::read_to_string(dir.path().join("access.log")).unwrap_or_default()] {
            assert!(!file.contains(KEY) && !file.contains(&token[..20]), "a secret in the log");
        }
    }
    let mut client = Client::new(server.port);
    let fresh = ask(server.port, "127.0.0.1", SITE).1["token"].as_str().unwrap().to_owned();
    assert_eq!(client.get("/v1/feedmapping", &[("token", &*fresh)]).status, 200, "what was made opens");
}

#[test]
fn nobody_or_everybody() {
    let (_dir, server) = served("token_issuance: off\nallways_allowed_ips: [127.0.0.0/8]\n");
    for from in ["127.0.0.1", "203.0.113.9"] {
        let (status, answer) = ask(server.port, from, SITE);
        assert_eq!(
            (status, answer["detail"].as_str()),
            (403, Some("This server makes no tokens (token_issuance: off)."))
        );
    }
    let (_dir, server) = served("token_issuance: open\n");
    for (from, site) in [("203.0.113.9", SITE), ("203.0.113.9", "nowhere.example.net"), ("garbage", SITE)] {
        let (status, answer) = ask(server.port, from, site);
        assert_eq!((status, &answer["verified"]), (200, &serde_json::Value::Null), "{from} for {site}");
    }
}

#[test]
fn a_proxy_nobody_trusts_is_told_so() {
    let (_dir, server) = served("reverse_proxy: true\ntrusted_proxies: [192.0.2.1]\n");
    let answer = post(server.port, "X-Real-IP: 127.0.0.1\r\n", &body(SITE));
    assert_eq!(answer.status, 503);
}

#[test]
fn bodies_are_bounded_in_size_and_time() {
    let (_dir, server) = served("");
    let large = format!("{{\"x\":\"{}\"}}", "a".repeat(64 << 10));
    let answer = post(server.port, "", &large);
    assert_eq!((answer.status, answer.header("content-type")), (413, Some("application/json")));
    let mut stream = http::connect(server.port).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let start = Instant::now();
    stream.write_all(format!("POST {URL} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{").as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert!((5..15).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[test]
fn what_is_no_json_says_where() {
    let (_dir, server) = served("");
    for (body, at, what) in [
        ("{", 1, "Expecting property name enclosed in double quotes"),
        ("{\"a\" 1}", 5, "Expecting ':' delimiter"),
        ("{\"a\":1 \"b\":2}", 7, "Expecting ',' delimiter"),
        ("{\"a\":x}", 5, "Expecting value"),
        ("{} x", 3, "Extra data"),
    ] {
        let answer = post(server.port, "", body);
        let expected = format!(
            r#"{{"detail":[{{"type":"json_invalid","loc":["body",{at}],"msg":"JSON decode error","input":{{}},"ctx":{{"error":{}}}}}]}}"#,
            serde_json::Value::from(what)
        );
        assert_eq!((answer.status, answer.text()), (422, expected), "{body}");
    }
}
