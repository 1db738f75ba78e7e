//! Who may read what: tokens, addresses, sites, and the URLs there are.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::cmd::{Server, wait_for};
use crate::dir::{self, AUTH_KEY, BLOCK, Dir, SITE, now, sha256, token};
use crate::feed::{Attribute, Event};
use crate::http::{Answer, Client};

const LIST: &str = "/v1/feed/block/type/ipv4/age/10y/output/txt";
const ALIVE: &str = "2099-12-31";

/// Four sites over one feed: a good one, one for other addresses, one switched off, one whose file is broken.
fn served(extra: &str) -> (Dir, Server) {
    let dir = Dir::new(extra);
    dir.publish(&[Event::new(1, &[BLOCK], vec![Attribute::new("ip-dst", "192.0.2.1", now() - 600)])]);
    let plain = dir::site("example", "");
    dir.site("far.example.net", &plain.replace("127.0.0.1/32", "192.0.2.0/24"));
    dir.site("off.example.net", &plain.replace("enabled: true", "enabled: false"));
    dir.site("broken.example.net", &plain.replace("127.0.0.1/32", "everyone"));
    let server = Server::start(&dir);
    (dir, server)
}

/// With the token in its header.
fn get(client: &mut Client, target: &str, token: &str) -> Answer {
    client.get(target, &[("token", token)])
}

fn assert_refused(answer: &Answer, status: u16, text: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.text().contains(text), "{:?} lacks {text:?}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"), "{text}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{text}");
}

#[test]
fn a_token_opens_its_site_however_it_is_handed_over() {
    let (_dir, server) = served("");
    let token = token(SITE, AUTH_KEY, ALIVE);
    let basic = |pair: String| format!("Basic {}", STANDARD.encode(pair));
    let mut client = Client::new(server.port);
    let answers = [
        client.get(&format!("{LIST}?token={token}"), &[]),
        client.get(LIST, &[("token", &*token)]),
        client.get(LIST, &[("authorization", &*basic(format!("cratos:{token}")))]),
        client.get(LIST, &[("authorization", &*basic(format!("{}:{}", &token[..9], &token[9..])))]),
        client.get(LIST, &[("authorization", &*format!("Bearer {token}"))]),
        client.get(&format!("{LIST}?token={token}"), &[("token", "bad")]),
    ];
    for answer in answers {
        assert_eq!((answer.status, &*answer.text()), (200, "192.0.2.1"));
    }
    let unreadable = client.get(LIST, &[("authorization", "Basic !"), ("token", &*token)]);
    assert_eq!((unreadable.status, unreadable.header("www-authenticate")), (401, Some("Basic")));
    assert!(!server.log().contains(&token), "a token in the log");
}

#[test]
fn a_token_that_is_not_good_opens_nothing() {
    let dead = token(SITE, AUTH_KEY, "2020-01-01");
    let revoked = token(SITE, AUTH_KEY, ALIVE);
    let (_dir, server) = served(&format!("blacklisted_api_tokens: [\"{}\"]\n", sha256(revoked.as_bytes())));
    let mut client = Client::new(server.port);
    let changed = token(SITE, AUTH_KEY, ALIVE).replacen("gAAA", "gAAB", 1);
    let black = "The provided API token is blacklisted and cannot be used.";
    for (token, text) in [
        (String::new(), "Could not validate token, or token not set."),
        ("abc".into(), "Invalid Base64 string in use for token."),
        (changed, "Unknown error in CheckApiToken"),
        (dead, "The security token has expired."),
        (token("gone.example.net", AUTH_KEY, ALIVE), "Token config file not found"),
        (format!("{revoked}!"), black),
        (format!(".{}", revoked.replace('-', "+").replace('_', "/")), black),
        (revoked, black),
        (token("far.example.net", AUTH_KEY, ALIVE), "127.0.0.1 are not allowed to access the MISP instance."),
        (token("off.example.net", AUTH_KEY, ALIVE), ""),
    ] {
        let headers = [("token", &*token)];
        let answer = client.get(LIST, &headers[usize::from(token.is_empty())..]);
        assert_refused(&answer, 403, text);
    }
    let other_key = get(&mut client, LIST, &token(SITE, &"B".repeat(40), ALIVE));
    assert!(matches!(other_key.status, 403 | 503), "a key that is not the site's: {}", other_key.status);
    assert!(!other_key.text().contains("192.0.2.1"));
    let good = get(&mut client, LIST, &token(SITE, AUTH_KEY, ALIVE));
    assert_eq!((good.status, &*good.text()), (200, "192.0.2.1"), "only the revoked one is revoked");
}

#[test]
fn a_broken_site_is_unavailable_and_touches_no_other() {
    let (_dir, server) = served("");
    let mut client = Client::new(server.port);
    let broken = get(&mut client, LIST, &token("broken.example.net", AUTH_KEY, ALIVE));
    assert_refused(&broken, 503, "");
    assert!(broken.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
    assert_eq!(get(&mut client, LIST, &token(SITE, AUTH_KEY, ALIVE)).status, 200);
}

#[test]
fn urls_are_checked_in_the_recorded_order() {
    let (_dir, server) = served("");
    let good = token(SITE, AUTH_KEY, ALIVE);
    let mut client = Client::new(server.port);
    for target in ["/v1/nothing", "/v1/feed/block/type/ipv4/age/10y", "/v1/../config/config.yaml", "/%2e%2e/state/lock"]
    {
        assert_refused(&client.get(target, &[]), 404, "{\"detail\":\"Not Found\"}");
    }
    for method in ["POST", "DELETE"] {
        let answer = client.send(method, LIST, &[("content-length", "0")]);
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    }
    let slash = client.get(&format!("{LIST}/?token=x"), &[]);
    assert_eq!((slash.status, slash.header("location")), (307, Some(&*format!("{LIST}?token=x"))));

    let wrong = [("ipv4", "ipv99"), ("10y", "99y"), ("/txt", "/pdf"), ("block", "bl-ock"), ("/txt", "/txt?cache=0")];
    for (part, instead) in wrong {
        let target = LIST.replace(part, instead);
        assert_refused(&client.get(&target, &[]), 403, "Could not validate token");
        assert_refused(&get(&mut client, &target, &good), 422, "\"detail\":[");
    }
    assert_refused(&get(&mut client, &LIST.replace("block", "cust4"), &good), 404, "");
}

#[test]
fn a_known_token_is_judged_anew_at_every_request() {
    let (dir, server) = served("");
    let token = token(SITE, AUTH_KEY, ALIVE);
    let mut client = Client::new(server.port);
    assert_eq!(get(&mut client, "/v1/feedmapping", &token).status, 200);
    let revoked = format!("blacklisted_api_tokens: [\"{}\"]\n", sha256(token.as_bytes()));
    let off = dir::site("example", "").replace("enabled: true", "enabled: false");
    let elsewhere = dir::site("example", "").replace("127.0.0.1/32", "192.0.2.0/24");
    for (site, status) in
        [(dir::site("example", &revoked), 403), (dir::site("example", ""), 200), (off, 403), (elsewhere, 403)]
    {
        let before = get(&mut client, "/v1/feedmapping", &token).text();
        dir.site(SITE, &site);
        wait_for("the changed site file", Duration::from_secs(20), || {
            let answer = get(&mut client, "/v1/feedmapping", &token);
            answer.status == status && answer.text() != before
        });
    }
}
