//! The pages people use: who is given the form, what comes of it, what every page says to the browser; the description of
//! the interface against the router and the lists; and the files that pages load.

use std::collections::BTreeSet;

use cratos::index::{AGES, TYPES};
use cratos::render::FORMATS;
use cratos::web::route::{Route, route};
use serde_json::Value;

use crate::cmd::Server;
use crate::dir::{self, Dir, SITE, token_keys};
use crate::http::{self, Answer, Client};

const FORM: &str = "/v1/generate_token_form";
const HTML: &str = "text/html; charset=utf-8";
const KEY: &str = "ZyxwvutsrqZyxwvutsrqZyxwvutsrqZyxwvutsrq";
const BROWSER: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");

/// The usual folder, one site for other addresses with a feed of its own, one that is switched off; `extra` is appended to
/// `config.yaml`.
fn served(extra: &str) -> (Dir, Server) {
    let dir = Dir::new("");
    let plain = dir::site("example", "");
    let far = plain.replace("127.0.0.1/32", "192.0.2.0/24").replace("  cust1:", "  acme-only: \":acme\"\n  cust1:");
    dir.site("far.example.net", &far);
    let off = far.replace("enabled: true", "enabled: false").replace("192.0.2.0/24", "198.51.100.7/32");
    dir.site("off.example.net", &off.replace("acme-only", "off-only"));
    let config = std::fs::read_to_string(dir.path().join("config/config.yaml")).unwrap();
    dir.write("config/config.yaml", &format!("{config}{extra}"));
    let server = Server::start(&dir);
    (dir, server)
}

fn get(port: u16, target: &str, headers: &[(&str, &str)]) -> Answer {
    Client::new(port).get(target, headers)
}

/// The form, filled in for that site, with some fields changed.
fn filled(site: &str, changes: &[(&str, &str)]) -> String {
    let fields = [("proto", "https"), ("port", "443"), ("domain", site), ("auth", KEY), ("expire", "2099-12-31")];
    let value = |name, value| changes.iter().find(|(changed, _)| *changed == name).map_or(value, |(_, new)| *new);
    let encode = |text| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    fields.map(|(name, usual)| format!("{name}={}", encode(value(name, usual)))).join("&")
}

fn post(port: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "POST {FORM} HTTP/1.1\r\nHost: cratos.example.net\r\nContent-Type: application/x-www-form-urlencoded\r\n{headers}"
    );
    http::exchange(port, format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes(), false)
}

/// The text of the first element with that id.
fn element(page: &str, id: &str) -> String {
    let (_, rest) = page.split_once(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("no {id} in {page}"));
    let (_, rest) = rest.split_once('>').unwrap();
    rest.split('<').next().unwrap().replace("&#39;", "'")
}

#[test]
fn the_form_makes_a_token_and_says_how_to_use_it() {
    let (dir, server) = served("");
    let answer = post(server.port, &[BROWSER], &filled(SITE, &[]));
    let page = answer.text();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(HTML)), "{page}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let token = element(&page, "token");
    let opened = token_keys().open(&token).unwrap();
    let claims = &opened.claims;
    assert_eq!((&*claims.host, claims.port, claims.key.reveal()), (SITE, 443, KEY));
    assert_eq!(claims.expires.to_string(), "2099-12-31");
    assert_eq!((element(&page, "short"), element(&page, "sha256")), (opened.short_id().into(), opened.hash.clone()));
    let list = "http://cratos.example.net/v1/feed/block/type/ipv4/age/1w/output/txt";
    assert_eq!(element(&page, "url"), format!("{list}?token={token}"));
    assert_eq!(element(&page, "curl"), format!("curl -sSf -H 'token: {token}' '{list}'"));
    let (user, password) = token.split_at(token.len() - 64);
    assert!(page.contains(&format!(">{user}</pre>")) && page.contains(&format!(">{password}</pre>")), "no split");
    assert!(page.contains("has not confirmed this key"));
    assert!(!page.contains(KEY), "the key is on the page");
    assert!(server.log().contains(opened.short_id()) && !server.log().contains(KEY) && !server.log().contains(&token));
    // Both makers are one: what is revoked by the printed hash is refused.
    let again = |status| assert_eq!(get(server.port, "/v1/feedmapping", &[("token", &*token)]).status, status);
    again(200);
    dir.site(SITE, &dir::site("example", &format!("blacklisted_api_tokens: [{}]\n", opened.hash)));
    crate::cmd::wait_for("the revocation", std::time::Duration::from_secs(20), || {
        get(server.port, "/v1/feedmapping", &[("token", &*token)]).status == 403
    });
}

#[test]
fn form_and_token_are_for_the_same_addresses_as_the_other_maker() {
    let from = |address: &str| ("X-Forwarded-For", address.to_owned());
    let (_dir, server) = served("allways_allowed_ips: [198.51.100.0/24]\n");
    for (address, form, site, made) in [
        ("127.0.0.1", 200, SITE, 200),
        ("127.0.0.1", 200, "far.example.net", 403),
        ("192.0.2.7", 200, "far.example.net", 200),
        ("192.0.2.7", 200, SITE, 403),
        ("198.51.100.1", 200, "nowhere.example.net", 200),
        ("203.0.113.9", 403, SITE, 403),
        ("garbage", 403, SITE, 403),
    ] {
        let (name, value) = from(address);
        let is = get(server.port, FORM, &[(name, &value)]);
        assert_eq!(is.status, form, "form for {address}");
        let kind = if form == 200 { HTML } else { "application/json" };
        assert_eq!(is.header("content-type"), Some(kind), "form for {address}");
        let is = post(server.port, &[(name, &value)], &filled(site, &[]));
        assert_eq!(is.status, made, "{address} for {site}");
        let is = post(server.port, &[(name, &value), BROWSER], &filled(site, &[]));
        assert_eq!((is.status, is.header("content-type")), (made, Some(HTML)), "{address} for {site}");
        assert_eq!(is.text().contains("token_issuance"), made == 403, "{address}: says why");
    }
    let (_dir, server) = served("token_issuance: off\nallways_allowed_ips: [127.0.0.0/8]\n");
    assert_eq!(get(server.port, FORM, &[]).status, 403);
    assert_eq!(post(server.port, &[], &filled(SITE, &[])).status, 403);
    let (_dir, server) = served("token_issuance: open\n");
    let (name, value) = from("203.0.113.9");
    assert_eq!(get(server.port, FORM, &[(name, &value)]).status, 200);
    let is = post(server.port, &[(name, &value)], &filled("nowhere.example.net", &[]));
    assert_eq!((is.status, is.text().contains("confirmed this key")), (200, false), "nobody would ask the MISP");
}

#[test]
fn a_wrong_field_is_named_and_nothing_of_it_becomes_markup() {
    let (_dir, server) = served("");
    for (field, value) in [
        ("domain", "<script>alert(1)</script>"),
        ("domain", "a_b.example"),
        ("proto", "ftp"),
        ("port", "0"),
        ("port", "65536"),
        ("auth", "short"),
        ("expire", "2030-02-30"),
        ("expire", "\"><b>"),
    ] {
        for headers in [&[][..], &[BROWSER]] {
            let answer = post(server.port, headers, &filled(SITE, &[(field, value)]));
            let page = answer.text();
            assert_eq!((answer.status, answer.header("content-type")), (422, Some(HTML)), "{field}={value}");
            assert!(page.contains(&format!("<a href=\"#{field}\">")), "{field}={value} is not named: {page}");
            assert!(page.contains(&format!("aria-describedby=\"{field}-wrong\"")), "{field}={value}");
            assert!(!page.contains("<script>") && !page.contains("<b>") && !page.contains(KEY), "{field}: {page}");
        }
    }
    let answer = post(server.port, &[], &filled(SITE, &[("port", ""), ("auth", "")]));
    let missing = |name| format!(r#"{{"type":"missing","loc":["body","{name}"],"msg":"Field required","input":null}}"#);
    assert_eq!((answer.status, answer.header("content-type")), (422, Some("application/json")));
    assert_eq!(answer.text(), format!("{{\"detail\":[{},{}]}}", missing("port"), missing("auth")));
    let page = post(server.port, &[BROWSER], &filled(SITE, &[("port", "")]));
    assert_eq!((page.status, page.header("content-type")), (422, Some(HTML)));
    let ended = post(server.port, &[], &filled(SITE, &[("expire", "2020-01-01")])).text();
    assert!(ended.contains("It has ended already"), "{ended}");
    let large = post(server.port, &[], &"a".repeat((64 << 10) + 1));
    assert_eq!((large.status, large.header("content-type")), (413, Some("application/json")));
}

#[test]
fn every_page_keeps_browsers_at_home() {
    let (_dir, server) = served("");
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                  form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    for target in ["/", FORM, "/v1/help", "/redoc"] {
        let answer = get(server.port, target, &[BROWSER]);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(HTML)), "{target}");
        for (name, value) in [
            ("content-security-policy", policy),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{target}");
        }
        let page = answer.text();
        let inside =
            ["<style", "style=", "<script>", " onclick", " onsubmit"].iter().find(|word| page.contains(**word));
        assert_eq!(inside, None, "{target} has something inside that its policy forbids");
        for link in page.split(['"', '\'']).filter(|text| text.starts_with('/') && !text.contains('>')) {
            let status = get(server.port, link, &[]).status;
            assert_eq!(status, 200, "{target} links {link}");
        }
        assert!(!page.contains("://") || target == FORM, "{target} names another host: {page}");
    }
}

#[test]
fn the_start_page_is_for_browsers_only() {
    let (_dir, server) = served("");
    for (headers, kind) in
        [(&[][..], "application/json"), (&[("Accept", "*/*")], "application/json"), (&[BROWSER], HTML)]
    {
        let answer = get(server.port, "/", headers);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{headers:?}");
        assert_eq!(answer.header("vary"), Some("accept"), "{headers:?}");
    }
    let page = get(server.port, "/", &[BROWSER]).text();
    for link in [FORM, "/v1/help", "/v1/status", "/openapi.json"] {
        assert!(page.contains(&format!("href=\"{link}\"")), "no link to {link}");
    }
}

#[test]
fn static_files_are_cached_compressed_and_nothing_else_is_there() {
    let (_dir, server) = served("");
    let mut client = Client::new(server.port);
    for (name, kind) in [
        ("cratos.css", "text/css; charset=utf-8"),
        ("cratos.js", "text/javascript; charset=utf-8"),
        ("help.js", "text/javascript; charset=utf-8"),
        ("swagger-ui-dist/swagger-ui.css", "text/css; charset=utf-8"),
        ("swagger-ui-dist/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        ("logo.png", "image/png"),
    ] {
        let target = format!("/static/{name}");
        let whole = client.get(&target, &[]);
        assert_eq!((whole.status, whole.header("content-type")), (200, Some(kind)), "{name}");
        assert_eq!(whole.header("cache-control"), Some("public, max-age=3600"), "{name}");
        let etag = whole.header("etag").unwrap().to_owned();
        assert_eq!(client.get(&target, &[("If-None-Match", &etag)]).status, 304, "{name}");
        let head = client.send("HEAD", &target, &[]);
        assert_eq!(head.header("content-length"), Some(&*whole.body.len().to_string()), "{name}");
        let small = client.get(&target, &[("Accept-Encoding", "gzip")]);
        assert_eq!(small.header("content-encoding").is_some(), small.body.len() < whole.body.len(), "{name}");
        let worth_it = kind.starts_with("text/") && whole.body.len() >= 1024;
        assert_eq!(small.header("content-encoding").is_some(), worth_it, "{name}");
        assert_eq!(client.send("POST", &target, &[]).header("allow"), Some("GET, HEAD"), "{name}");
    }
    for name in
        ["", "nope.js", "../config/config.yaml", "%2e%2e/Cargo.toml", "swagger-ui-dist/index.html", "cratos.css/x"]
    {
        let answer = client.get(&format!("/static/{name}"), &[]);
        assert_eq!((answer.status, answer.text()), (404, "{\"detail\":\"Not Found\"}".into()), "{name}");
    }
}

fn description(port: u16, target: &str, headers: &[(&str, &str)]) -> Value {
    let answer = get(port, target, headers);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn the_description_and_the_router_agree() {
    let (_dir, server) = served("");
    let document = description(server.port, "/openapi.json", &[]);
    assert_eq!(document, description(server.port, "/v1/openapi.json", &[]));
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    let samples = [("orgUUID", "55f6ea65-aa10-4c5a-bf01-4f84950d210f"), ("warninglistId", "1")];
    for (path, methods) in paths {
        let mut target = path.clone();
        for word in path.split(['{', '}']).skip(1).step_by(2) {
            let sample = samples.iter().find(|(name, _)| *name == word).map_or("x", |(_, sample)| sample);
            target = target.replace(&format!("{{{word}}}"), sample);
        }
        for method in methods.as_object().unwrap().keys() {
            let method = method.to_uppercase().parse().unwrap();
            let found = !matches!(route(&method, &target.parse().unwrap()), Route::NotFound | Route::NotAllowed(_));
            assert!(found, "{method} {path}");
        }
    }
    // What the router compares a path with stands in its source.
    let router = include_str!("../../src/web/route.rs").split("#[cfg(test)]").next().unwrap();
    let mut count = 0;
    for line in router.lines().map(str::trim) {
        for fixed in
            line.split("=>").next().unwrap().split(" | ").filter_map(quoted).filter(|word| word.starts_with('/'))
        {
            // Neither is part of the interface.
            let inner = ["/favicon.ico"].contains(&fixed) || !line.contains("=> return");
            assert!(inner || paths.contains_key(fixed), "{fixed} is not described");
            count += usize::from(!inner);
        }
        if let Some(first) = line.strip_prefix('[').filter(|_| line.contains("=>")).and_then(quoted) {
            assert!(
                paths.keys().any(|path| path.starts_with(&format!("/v1/{first}/"))),
                "/v1/{first}/… is not described"
            );
            count += 1;
        }
    }
    assert!(count >= 12, "only {count} URLs were found in the router");
}

/// The text in quotes at the start.
fn quoted(text: &str) -> Option<&str> {
    text.trim().strip_prefix('"')?.split('"').next()
}

#[test]
fn the_description_has_the_words_of_the_lists() {
    let (_dir, server) = served("allways_allowed_ips: [198.51.100.0/24]\n");
    let document = description(server.port, "/openapi.json", &[]);
    let words = |document: &Value, name: &str| -> Vec<String> {
        let words = document["components"]["schemas"][name]["enum"].as_array().unwrap().iter();
        words.map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let formats = |vendor| -> Vec<&str> {
        FORMATS.iter().filter(|format| format.vendor == vendor).map(|format| format.name).collect()
    };
    assert_eq!(words(&document, "DataType"), TYPES.iter().map(|kind| kind.name).collect::<Vec<_>>());
    assert_eq!(words(&document, "Age"), AGES.iter().map(|age| age.name).collect::<Vec<_>>());
    assert_eq!(words(&document, "Format"), formats(false));
    assert_eq!(words(&document, "VendorName"), formats(true));
    let feeds = ["incident", "block", "alert", "hunt", "cust1", "cust2", "cust3", "cust4", "cust5", "any", "42"];
    assert_eq!(words(&document, "FeedName"), feeds);
    // Names of one site are not for everybody, and those of a site that is switched off for nobody.
    for (address, further) in
        [("192.0.2.7", vec!["acme-only"]), ("198.51.100.7", vec!["acme-only"]), ("203.0.113.9", vec![])]
    {
        let document = description(server.port, "/openapi.json", &[("X-Forwarded-For", address)]);
        assert_eq!(words(&document, "FeedName")[feeds.len()..], further, "{address}");
    }
    let kinds: BTreeSet<&str> = FORMATS
        .iter()
        .filter(|format| !format.vendor)
        .map(|format| format.content_type.split(';').next().unwrap())
        .collect();
    let list = "/v1/feed/{feedName}/type/{dataType}/age/{dataAge}/output/{returnedDataType}";
    let answers = &document["paths"][list]["get"]["responses"];
    let described: BTreeSet<&str> = answers["200"]["content"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(described, kinds);
    for status in ["200", "206", "304", "401", "403", "404", "405", "412", "416", "422", "503"] {
        assert!(!answers[status].is_null(), "no {status}");
    }
}

#[test]
fn the_description_is_asked_for_conditionally() {
    let (_dir, server) = served("");
    let whole = get(server.port, "/openapi.json", &[]);
    assert_eq!(whole.header("cache-control"), Some("private, no-cache"));
    let etag = whole.header("etag").unwrap();
    assert_eq!(get(server.port, "/openapi.json", &[("If-None-Match", etag)]).status, 304);
    let other = get(server.port, "/openapi.json", &[("If-None-Match", etag), ("X-Forwarded-For", "192.0.2.7")]);
    assert_eq!(other.status, 200, "it has other words");
}
