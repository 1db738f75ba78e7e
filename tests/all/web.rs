//! Serving under trouble: slow clients, a source that is gone, lists nobody published.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::cmd::{Server, wait_for};
use crate::dir::{self, AUTH_KEY, BLOCK, Dir, SITE, now, token};
use crate::feed::{Attribute, Event};
use crate::http::{self, Client};

/// The server gives a client 15 s for its headers.
const PATIENCE: Duration = Duration::from_secs(20);

fn published(extra: &str) -> Dir {
    let dir = Dir::new(extra);
    let attributes = vec![
        Attribute::new("ip-dst", "192.0.2.1", now() - 600),
        Attribute::new("ip-dst", "192.0.2.10", now() - 600),
        Attribute::new("url", "http://\u{fc}.example/", now() - 600),
    ];
    let untagged = Event::new(2, &[], vec![Attribute::new("ip-dst", "198.51.100.7", now() - 600)]);
    dir.publish(&[Event::new(1, &[BLOCK], attributes), untagged]);
    dir
}

#[test]
fn silent_and_slow_clients_are_dropped() {
    let dir = published("");
    let server = Server::start(&dir);
    let silent = http::connect(server.port).unwrap();
    let mut slow = http::connect(server.port).unwrap();
    slow.write_all(b"GET /v1/status HTTP/1.1\r\n").unwrap();
    let mut slow = Some(slow);
    let mut silent = Some(silent);
    let start = Instant::now();
    while silent.is_some() || slow.is_some() {
        assert!(start.elapsed() < PATIENCE, "still connected: silent {}, slow {}", silent.is_some(), slow.is_some());
        // Err: it is dropped, which `is_open` finds out as well.
        let _ = slow.as_mut().map(|slow| slow.write_all(b"X-Slow: 1\r\n"));
        silent = silent.filter(is_open);
        slow = slow.filter(is_open);
        assert!(http::answers(server.port), "others wait for the slow ones");
    }
    assert!(start.elapsed() > Duration::from_secs(5), "dropped at once: {:?}", start.elapsed());
}

/// Whether the other side has not ended the connection; waits for half a second.
fn is_open(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    loop {
        match stream.read(&mut [0; 512]) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

#[test]
fn a_list_on_demand_is_rendered_once_and_then_published() {
    let dir = published("publish:\n  feeds: [block]\n");
    let server = Server::start(&dir);
    let before = dir.manifest();
    let token = token(SITE, AUTH_KEY, "2099-12-31");
    let mut client = Client::new(server.port);
    for (list, key, body) in [
        ("block/type/url/age/1w/output/json", "feed/block/url/1w.json", "[\"http://\\u00fc.example/\"]"),
        (
            "any/type/ipv4/age/10y/output/json",
            "feed/any/ipv4/10y.json",
            "[\"192.0.2.1\", \"192.0.2.10\", \"198.51.100.7\"]",
        ),
    ] {
        assert!(!before.artifacts.contains_key(key), "{key} is published already");
        let target = format!("/v1/feed/{list}");
        let first = client.get(&target, &[("token", &*token)]);
        assert_eq!((first.status, &*first.text()), (200, body), "{key}");
        assert_eq!(first.header("content-type"), Some("application/json"));
        let artifact = dir.manifest().artifacts.remove(key).unwrap_or_else(|| panic!("{key} is not in the manifest"));
        assert!(artifact.on_demand);
        assert_eq!(fs::read_to_string(dir.current().join(&artifact.path)).unwrap(), body);
        let versions = dir.manifest().version;
        let second = client.get(&target, &[("token", &*token), ("if-none-match", first.header("etag").unwrap())]);
        assert_eq!((second.status, dir.manifest().version), (304, versions));
    }
    let after = dir.manifest();
    assert!(after.version > before.version);
    assert!(
        before.artifacts.iter().all(|(key, artifact)| after.artifacts.get(key) == Some(artifact)),
        "others changed"
    );
}

#[test]
fn a_source_that_is_gone_changes_no_answer() {
    let dir = published("publish:\n  feeds: [block]\n");
    let server = Server::start(&dir);
    fs::rename(dir.feed(), dir.path().join("feed-gone")).unwrap();
    // A changed setting takes effect at once, with a refresh.
    dir.site(SITE, &dir::site("example", "publish:\n  feeds: [block]\n").replace("refresh: 1h", "refresh: 2h"));
    wait_for("sign of the failure", Duration::from_secs(20), || {
        http::get(server.port, "/v1/status").text().contains("\"failing\"")
    });
    let token = token(SITE, AUTH_KEY, "2099-12-31");
    let (manifest, current) = (dir.manifest(), dir.current());
    let mut client = Client::new(server.port);
    assert_eq!(manifest.artifacts.len(), 26 * 24);
    for (key, artifact) in &manifest.artifacts {
        let parts: Vec<&str> = key.split(['/', '.']).collect();
        let target = format!("/v1/feed/{}/type/{}/age/{}/output/{}", parts[1], parts[2], parts[3], parts[4]);
        let answer = client.get(&target, &[("token", &*token)]);
        assert_eq!((answer.status, answer.body), (200, fs::read(current.join(&artifact.path)).unwrap()), "{key}");
    }
    fs::rename(dir.path().join("feed-gone"), dir.feed()).unwrap();
    wait_for("recovery", Duration::from_secs(30), || http::get(server.port, "/v1/status").text().contains("\"ok\""));
}
