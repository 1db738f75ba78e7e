//! The commands: what they print, where, and how they end.

use std::fs;

use crate::cmd::{self, Server};
use crate::dir::{self, AUTH_KEY, BLOCK, Dir, SALT, SITE, now, token_keys};
use crate::feed::{self, Attribute, Event};

#[test]
fn check_tells_every_mistake_at_once_and_where() {
    let dir = Dir::new("");
    dir.run(&["check"]).good();
    let password = "pw-9Fq";
    dir.write("config/config.yaml", &format!("encryption_key: {password}\nsalt: \"{SALT}\"\nlissten: 127.0.0.1:1\n"));
    dir.site(SITE, &dir::site("example", "refresh_time_limit: soon\n").replace("127.0.0.1/32", "127.0.0.1/99"));
    dir.site("second.example.net", "enabled: true\ntag: example\nallowed_ips: [127.0.0.1]\npublisch: {}\n");
    let said = dir.run(&["check"]).with_code(2).text();
    for (file, line) in [
        ("config/config.yaml", 1),
        ("config/config.yaml", 3),
        ("sites/misp.example.net.yaml", 4),
        ("sites/misp.example.net.yaml", 10),
        ("sites/second.example.net.yaml", 4),
    ] {
        assert!(names_place(&said, file, line), "{file}:{line}:COLUMN is not in\n{said}");
    }
    for secret in [password, SALT, AUTH_KEY] {
        assert!(!said.contains(secret), "a secret in\n{said}");
    }
}

/// Whether `text` has `file:line:column` with some column.
fn names_place(text: &str, file: &str, line: usize) -> bool {
    let place = format!("{file}:{line}:");
    text.match_indices(&place).any(|(at, _)| text[at + place.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

#[test]
fn serve_and_refresh_do_not_start_with_a_mistake() {
    let dir = Dir::new("");
    dir.write("config/config.yaml", "encryption_key: short\n");
    for command in ["serve", "refresh"] {
        let said = dir.run(&[command]).with_code(2).text();
        assert!(names_place(&said, "config/config.yaml", 1), "{said}");
    }
    assert!(!dir.path().join("feeds-out").join(SITE).exists());
}

#[test]
fn init_never_overwrites() {
    let temp = tempfile::tempdir().unwrap();
    let config = temp.path().join("config/config.yaml");
    cmd::run(temp.path(), &["init"]).good();
    assert!(fs::read_to_string(&config).unwrap().contains("encryption_key"));
    fs::write(&config, "mine").unwrap();
    // Whether it then succeeds with the rest or refuses is its own business.
    cmd::run(temp.path(), &["init"]);
    assert_eq!(fs::read_to_string(&config).unwrap(), "mine");
}

#[test]
fn refresh_beside_serve_asks_that_one() {
    let dir = Dir::new("");
    dir.publish(&[]);
    let server = Server::start(&dir);
    feed::write(&dir.feed(), &[Event::new(1, &[BLOCK], vec![Attribute::new("ip-dst", "192.0.2.1", now() - 600)])]);
    let ended = dir.run(&["refresh", SITE]).good();
    assert!(ended.err.contains("another cratos works here"), "{}", ended.err);
    assert!(ended.out.contains("block  ipv4") && ended.out.contains("version 2"), "{}", ended.out);
    let token = dir::token(SITE, dir::AUTH_KEY, "2099-01-01");
    let answer = crate::http::get(server.port, &format!("/v1/feed/block/type/ipv4/age/1w/output/txt?token={token}"));
    assert_eq!((answer.status, answer.text().as_str()), (200, "192.0.2.1"));
    assert!(fs::read_dir(dir.path().join("state/orders")).unwrap().next().is_none(), "nothing is left over");
}

#[test]
fn a_refresh_publishes_once_and_full_changes_nothing() {
    let dir = Dir::new("");
    dir.publish(&[Event::new(1, &[BLOCK], vec![Attribute::new("ip-dst", "192.0.2.1", now() - 600)])]);
    let first = fs::read_link(dir.view().join("current")).unwrap();
    dir.run(&["refresh"]).good();
    dir.run(&["refresh", "--full"]).good();
    assert_eq!(fs::read_link(dir.view().join("current")).unwrap(), first, "new content, or no new version");
    let said = dir.run(&["versions", "list"]).good().out;
    assert!(said.contains(SITE) && said.contains("current"), "{said}");
}

#[test]
fn a_refresh_without_its_source_fails_and_keeps_what_is_served() {
    let dir = Dir::new("");
    dir.publish(&[Event::new(1, &[BLOCK], vec![Attribute::new("ip-dst", "192.0.2.1", now() - 600)])]);
    let before = dir.manifest();
    fs::rename(dir.feed(), dir.path().join("gone")).unwrap();
    let said = dir.run(&["refresh"]).with_code(1).err;
    assert!(said.contains("manifest.json"), "{said}");
    assert_eq!(dir.manifest(), before);
}

#[test]
fn token_issue_prints_the_token_and_nothing_else() {
    let dir = Dir::new("");
    let out = dir.run(&["token", "issue", "--site", SITE, "--expire", "2099-12-31"]).good().out;
    let token = out.strip_suffix('\n').unwrap_or(&out);
    let claims = token_keys().open(token).unwrap().claims;
    assert_eq!(token, token.trim(), "nothing around it");
    assert_eq!((&*claims.host, claims.key.reveal()), (SITE, AUTH_KEY));
    assert_eq!(claims.expires.to_string(), "2099-12-31");
    let unknown = dir.run(&["token", "issue", "--site", "gone.example.net", "--expire", "2099-12-31"]);
    assert!(unknown.code != Some(0) && unknown.out.is_empty(), "{unknown:?}");
}
