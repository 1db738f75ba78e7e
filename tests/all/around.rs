//! The recorded answers around the feeds: `/`, robots, icon, status, feedmapping, token issuance, and what is not there.

use cratos::token::TokenKeys;
use serde_json::Value;

use crate::cmd::{Server, wait_for};
use crate::http::{self, Answer};
use crate::mirror;
use crate::recorded;
use crate::replay::{Expected, Row, Tally};

const ISSUE: &str = "/v1/generate_token_json";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const ICON: &str = "image/vnd.microsoft.icon";

/// `None`: as recorded. Decided from the request alone.
fn id(row: &Row) -> Option<&'static str> {
    let (request, name) = (&row.request, row.id.as_str());
    let path = request.target.split('?').next().unwrap();
    // The HTTP library answers these before a request is seen: what may not stand in a target, and a fragment.
    if path.contains(['<', '#']) {
        return Some("target");
    }
    match (&*request.method, path) {
        (_, "/robots.txt/" | "/favicon.ico/" | "/v1/status/" | "/v1/status%2f" | "/v1/feedmapping/") => Some("D33"),
        ("POST", ISSUE) => issue_id(name),
        (_, ISSUE) => None,
        ("GET", "/") if request.header("host") == Some("") => Some("D26"),
        ("GET", "/") => Some("D25"),
        ("GET", "/robots.txt") => None,
        ("GET", "/favicon.ico") if request.header("if-none-match").is_some() => Some("D18"),
        ("GET", "/favicon.ico") => Some("D36"),
        ("GET", "/v1/status" | "/v1/%73tatus") => Some("D24"),
        ("GET", "/v1/feedmapping") if name.contains("port 0") => Some("D17"),
        ("GET", "/v1/feedmapping") if name.starts_with("no token") || name.starts_with("bad token") => None,
        ("GET", "/v1/feedmapping") => Some("D12"),
        (_, "/" | "/robots.txt" | "/favicon.ico" | "/v1/status" | "/v1/feedmapping") => Some("D18"),
        _ => None,
    }
}

fn issue_id(name: &str) -> Option<&'static str> {
    let member = name.strip_prefix("token json: ")?;
    let long_key = |length: usize| member == format!("auth='{}'", "a".repeat(length));
    match member {
        "port=1024" | "port=8443" | "port=65535" => Some("D17"),
        "domain='my-host.example.net'" | "domain='ex.net\\n'" => Some("D17"),
        "auth='aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\\n'" => Some("D17"),
        _ if long_key(41) || long_key(72) => Some("D17"),
        "proto='httpsx'" | "expire='1850-01-01'" | "expire='2199-01-01'" => Some("D21"),
        "domain='2001:db8::1'" => Some("D34"),
        _ => None,
    }
}

/// The answer under an id.
fn expected(id: &str, row: &Row, is: &Answer) -> Expected {
    let (request, recorded) = (&row.request, Expected::recorded(row));
    let head = |content_type: &str| Expected::new(200, content_type, "");
    match (id, &*request.method, &*request.target) {
        ("target", _, target) if target.contains('<') => {
            Expected { status: 400, headers: [].into(), body: Some("".into()) }
        }
        ("target", ..) | ("D24", ..) => {
            Expected::new(200, JSON, "{\"ping\":\"pong\",\"memcachedstatus\":\"OK\",\"state\":\"ok\"}")
        }
        ("D12", ..) => Expected::new(200, TEXT, &mirror::mapping()),
        ("D18", "HEAD", "/" | "/v1/status") => head(JSON),
        ("D18", "HEAD", "/robots.txt" | "/v1/feedmapping") => head(TEXT),
        ("D18", "HEAD", "/favicon.ico") => head(ICON),
        ("D18", "GET", _) => Expected { status: 304, headers: [].into(), body: Some("".into()) },
        ("D18", ..) => recorded.with("allow", "GET, HEAD"),
        ("D25", ..) => Expected::new(200, JSON, &root(row, is)),
        ("D26", ..) => Expected::refusal(400, "Invalid Host header"),
        ("D33", _, target) => {
            let to = target.replace("%2f", "/");
            let redirect = Expected { status: 307, headers: [].into(), body: Some("".into()) };
            redirect.with("location", to.trim_end_matches('/'))
        }
        // The icon is ours: only status, content type and range are compared.
        ("D36", ..) if recorded.status == 416 => Expected::new(416, TEXT, "").with("content-range", "bytes */927"),
        ("D36", ..) if recorded.status == 206 => {
            Expected { body: None, ..head(ICON) }.with("content-range", "bytes 0-9/927").status(206)
        }
        ("D36", ..) => Expected { body: Some(String::from_utf8_lossy(ICON_FILE).into()), ..head(ICON) },
        ("D17", "GET", _) => Expected::refusal(403, "Failed decryption of config token"),
        _ => issue(id, row),
    }
}

/// The icon of this program.
const ICON_FILE: &[u8] = include_bytes!("../../src/web/favicon.ico");

impl Expected {
    fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}

/// `/` with its recorded members; time and program are ours.
fn root(row: &Row, is: &Answer) -> String {
    let recorded: Value = serde_json::from_str(row.response.body.as_deref().unwrap()).unwrap();
    let seconds = serde_json::from_slice::<Value>(&is.body).unwrap()["timestamp"].as_i64().unwrap();
    let now = jiff::Timestamp::now().as_second();
    assert!((now - 60..=now).contains(&seconds), "{seconds}");
    let date = jiff::Timestamp::from_second(seconds).unwrap().strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    format!(
        "{{\"message\":\"Cratos v.{}, feed publisher for MISP\",\"IP\":{},\"User-Agent\":{},\"timestamp\":{seconds},\
         \"date_time\":\"{date}\",\"repository\":\"https://github.com/cratos/cratos\"}}",
        env!("CARGO_PKG_VERSION"),
        recorded["IP"],
        recorded["User-Agent"]
    )
}

/// Tokens that are now made, and members that are now refused.
fn issue(id: &str, row: &Row) -> Expected {
    let body: Value = serde_json::from_str(row.request.body.as_deref().unwrap()).unwrap();
    let name = row.id.strip_prefix("token json: ").unwrap();
    let refused = |member: &str, text: &str| {
        let input = &body[member];
        let body = format!(
            r#"{{"detail":[{{"type":"value_error","loc":["body","{member}"],"msg":"Value error, {text}","input":{input},"ctx":{{"error":{{}}}}}}]}}"#
        );
        Expected::new(422, JSON, &body)
    };
    match name {
        _ if name.ends_with("\\n'") && name.starts_with("auth") => {
            refused("auth", "MISP authentication key is invalid length or context")
        }
        _ if name.ends_with("\\n'") => refused("domain", "Proto has to be either http or https"),
        "proto='httpsx'" => refused("proto", "Proto has to be either http or https"),
        "expire='1850-01-01'" | "expire='2199-01-01'" => {
            refused("expire", "Expire must be between 1900-01-01 and 2099-12-31")
        }
        _ => {
            let host = body["domain"].as_str().unwrap();
            let host = if id == "D34" { format!("[{host}]") } else { host.to_owned() };
            let port = body["port"].to_string().replace('"', "");
            let validity = &body["expire"];
            let body = format!(r#"{{"MISP":"https://{host}:{port}/","validity":{validity},"token":"*"}}"#);
            Expected::new(200, JSON, &body)
        }
    }
}

/// A fresh token, if it opens and says what was asked for, is written as `*`; so the rest can be compared.
fn without_token(keys: &TokenKeys, row: &Row, body: &str) -> String {
    let Some((before, token)) = body.split_once("\"token\":\"") else { return body.to_owned() };
    let Ok(opened) = keys.open(token.trim_end_matches("\"}")) else { return body.to_owned() };
    let asked: Value = serde_json::from_str(row.request.body.as_deref().unwrap()).unwrap();
    let claims = opened.claims;
    let key = asked["auth"].as_str().unwrap_or("aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789aBcD");
    let host = if claims.host.contains(':') { format!("[{}]", claims.host) } else { claims.host.clone() };
    let says = format!("\"MISP\":\"{}://{host}:{}/\",\"validity\":\"{}\",", claims.proto, claims.port, claims.expires);
    assert_eq!(claims.key.reveal(), key, "{}", row.id);
    // The recorded token of an IPv6 host has no brackets around it (D34).
    let bare = says.replace(['[', ']'], "");
    assert!(before.ends_with(&says) || before.ends_with(&bare), "{}: {before} {says}", row.id);
    format!("{before}\"token\":\"*\"}}")
}

#[test]
fn every_recorded_answer_around_the_feeds() {
    let rows: Vec<Row> = recorded::lines(&recorded::xz("http_around.jsonl.xz"));
    assert_eq!(rows.len(), 174);
    let dir = mirror::dir("token_issuance: open\n");
    let server = Server::start(&dir);
    wait_for("the first version", std::time::Duration::from_secs(60), || {
        http::get(server.port, "/v1/status").text().contains("\"state\":\"ok\"")
    });
    let etag = http::get(server.port, "/favicon.ico").header("etag").unwrap().to_owned();
    let keys = mirror::token_keys();
    let mut tally = Tally::default();
    for mut row in rows {
        let id = id(&row);
        // A tag of theirs is none of ours.
        row.request
            .headers
            .iter_mut()
            .filter(|(name, _)| name == "If-None-Match")
            .for_each(|header| header.1.clone_from(&etag));
        let version = if row.id == "root http10" { "1.0" } else { "1.1" };
        let mut is = row.request.send(server.port, version);
        let mut recorded = Expected::recorded(&row);
        if row.request.target == ISSUE && [is.status, recorded.status].contains(&200) {
            is.body = without_token(&keys, &row, &is.text()).into_bytes();
            recorded.body = recorded.body.map(|body| without_token(&keys, &row, &body));
        }
        let expected = id.map_or_else(|| recorded.clone(), |id| expected(id, &row, &is));
        tally.compare(id, &row.id, &recorded, &expected, &is);
    }
    let by_id = [
        ("D12", 4),
        ("D17", 9),
        ("D18", 37),
        ("D21", 3),
        ("D24", 4),
        ("D25", 7),
        ("D26", 1),
        ("D33", 5),
        ("D34", 1),
        ("D36", 5),
        ("target", 2),
    ];
    tally.finish("http_around.jsonl", 96, &by_id);
}
