//! Which URLs are compared. In: lines of an access log, or the names of a site's feeds. Out: targets, each once, without tokens.
//!
//! Both kinds of log are read: the predecessor's (and uvicorn's and ours), and nginx's `combined`: all have the request line in
//! quotes. Pure but for reading lines.
//!
//! Invariants: the parameter `token` is taken out, whatever its spelling; a line with anything else that looks like a token or a key
//! gives nothing; a line has a size limit; more targets than the limit are counted, not kept.

use std::collections::HashSet;
use std::io::{self, BufRead, Read};

use percent_encoding::percent_decode_str;

use crate::index::{AGES, ANY, FORTY_TWO, TYPES};

/// Longer lines of a log are cut.
const MAX_LINE: u64 = 16 << 10;
/// Longer targets are nobody's polls.
const MAX_TARGET: usize = 2048;
/// How every token begins, up to the year 2106.
const TOKEN_START: &str = "gAAAA";
/// A word so long may be a key or part of a token; UUIDs are shorter.
const LONG_WORD: usize = 38;
/// Asked first: what most devices poll.
const COMMON_AGES: [&str; 4] = ["1w", "1d", "1m", "10y"];

/// What a URL is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A list, with the words of its path.
    List(ListUrl),
    /// `/v1/feedmapping`.
    FeedMapping,
    /// `/v1/status`.
    Status,
    /// `/`.
    Root,
    /// `/v1/check`, `/v1/statistics`, `/v1/warninglist/…`: what the MISP said.
    Upstream,
    /// Help, OpenAPI documents, the token form, `/static`.
    Page,
    /// Anything else.
    Other,
}

/// The words of a list's URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListUrl {
    /// The feed's name; `None`: a list of an organisation.
    pub feed: Option<String>,
    /// `ipv4` …
    pub data_type: String,
    /// `1w` …
    pub age: String,
    /// `txt` …, or a vendor's name.
    pub format: String,
}

/// One URL, from its path on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Path and query, without a token.
    pub text: String,
    /// What it is about.
    pub kind: Kind,
}

impl Target {
    /// From a path and query that hold no token.
    pub fn new(text: String) -> Self {
        let path = percent_decode_str(text.split('?').next().unwrap_or_default()).decode_utf8_lossy();
        let parts: Vec<&str> = path.trim_end_matches('/').split('/').skip(1).collect();
        let list = |feed: Option<&str>, data_type: &str, age: &str, format: &str| {
            let [data_type, age, format] = [data_type, age, format].map(str::to_owned);
            Kind::List(ListUrl { feed: feed.map(str::to_owned), data_type, age, format })
        };
        let kind = match parts.as_slice() {
            [] => Kind::Root,
            ["v1", "feed", feed, "type", data_type, "age", age, "output", format]
            | ["v1", "vendor", format, "feed", feed, "type", data_type, "age", age] => {
                list(Some(feed), data_type, age, format)
            }
            ["v1", "uuid", _, "type", data_type, "age", age, "output", format] => list(None, data_type, age, format),
            ["v1", "feedmapping"] => Kind::FeedMapping,
            ["v1", "status"] => Kind::Status,
            ["v1", "check" | "statistics"] | ["v1", "warninglist", ..] => Kind::Upstream,
            ["v1", "help" | "openapi.json" | "generate_token_form"] | ["redoc" | "openapi.json" | "favicon.ico"] => {
                Kind::Page
            }
            ["static", ..] => Kind::Page,
            _ => Kind::Other,
        };
        Self { text, kind }
    }

    /// Whether its answer depends on the token.
    pub fn needs_token(&self) -> bool {
        matches!(self.kind, Kind::List(_) | Kind::FeedMapping | Kind::Upstream)
    }

    /// Groups alike targets in the table.
    pub fn pattern(&self) -> String {
        match &self.kind {
            Kind::List(list) => {
                let from = if list.feed.is_some() { "feed" } else { "uuid" };
                format!("{from} {} {}", list.data_type, list.format)
            }
            Kind::Upstream | Kind::Page => {
                self.text.split(['?', '/']).filter(|part| !part.is_empty()).take(2).collect::<Vec<_>>().join("/")
            }
            Kind::FeedMapping => "feedmapping".into(),
            Kind::Status => "status".into(),
            Kind::Root => "/".into(),
            Kind::Other => "other".into(),
        }
    }
}

/// The targets of a log, in the order in which they first appear.
#[derive(Debug, Default)]
pub struct Found {
    /// Each once.
    pub targets: Vec<Target>,
    /// Requests of targets that did not fit into the limit.
    pub beyond: u64,
    /// Lines whose target may hold a secret, or is no plain path.
    pub passed_over: u64,
}

/// Reads a log; at most `limit` targets.
pub fn from_log(mut log: impl BufRead, limit: usize) -> io::Result<Found> {
    let (mut found, mut seen, mut line) = (Found::default(), HashSet::new(), Vec::new());
    loop {
        line.clear();
        if log.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(found);
        }
        let text = String::from_utf8_lossy(&line);
        let Some(sent) = requested(&text) else { continue };
        match without_token(sent) {
            None => found.passed_over += 1,
            Some(target) if seen.contains(&target) => {}
            Some(_) if found.targets.len() >= limit => found.beyond += 1,
            Some(target) => {
                seen.insert(target.clone());
                found.targets.push(Target::new(target));
            }
        }
    }
}

/// The target of a GET or HEAD in a line of a log.
fn requested(line: &str) -> Option<&str> {
    let rest = line.split_once("\"GET ").or_else(|| line.split_once("\"HEAD "))?.1;
    let target = rest.split([' ', '"']).next()?;
    target.starts_with('/').then_some(target)
}

/// A target without the parameter `token`; `None`: it may hold a secret all the same, or cannot be sent.
fn without_token(target: &str) -> Option<String> {
    if target.len() > MAX_TARGET || !target.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\\"".contains(&byte)) {
        return None;
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let is_token = |part: &&str| {
        let name = part.split('=').next().unwrap_or_default();
        percent_decode_str(name).decode_utf8_lossy().trim().eq_ignore_ascii_case("token")
    };
    let query: Vec<&str> = query.split('&').filter(|part| !part.is_empty() && !is_token(part)).collect();
    let rest = if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) };
    let decoded = percent_decode_str(&rest).decode_utf8_lossy().into_owned();
    let is_long =
        |text: &str| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word.len() >= LONG_WORD);
    (!decoded.contains(TOKEN_START) && !is_long(&decoded)).then_some(rest)
}

/// All lists of a site in `txt`, and what else there is; the ages that are polled most come first.
pub fn matrix(feeds: &[String]) -> impl Iterator<Item = Target> {
    let common = COMMON_AGES.into_iter();
    let others = AGES.iter().map(|age| age.name).filter(|age| !COMMON_AGES.contains(age));
    let feeds: Vec<String> = feeds.iter().cloned().chain([ANY, FORTY_TWO].map(str::to_owned)).collect();
    let lists = common.chain(others).flat_map(move |age| {
        let of_feed = move |feed: String| {
            TYPES.iter().map(move |data_type| format!("/v1/feed/{feed}/type/{}/age/{age}/output/txt", data_type.name))
        };
        feeds.clone().into_iter().flat_map(of_feed)
    });
    ["/", "/v1/status", "/v1/feedmapping"].map(str::to_owned).into_iter().chain(lists).map(Target::new)
}

/// The feeds that a body of `/v1/feedmapping` names.
pub fn mapped_feeds(body: &str) -> Vec<String> {
    let name = |line: &str| line.strip_prefix("Feed name: \"")?.split('"').next().map(str::to_owned);
    body.lines().filter_map(name).filter(|name| !name.contains(['/', '?', '%'])).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_log_are_read_and_tokens_are_not() {
        let token = format!("gAAAAABn{}", "x".repeat(200));
        let log = format!(
            "10.1.1.1 - \"127.0.0.1\" [24/Nov/2026:02:08:44 +0000] \"GET /v1/feedmapping?token={token} HTTP/1.1\" 200 731 \"-\" \"-\" 0.07\n\
             192.0.2.7 - - [24/Nov/2026:02:08:44 +0000] \"GET /v1/feedmapping HTTP/1.1\" 200 731 \"-\" \"curl/8\"\n\
             INFO:     127.0.0.1:5 - \"HEAD /v1/feed/any/type/url/age/1w/output/txt?cache=5&%74oken=a&x=1 HTTP/1.1\" 200 OK\n\
             x \"GET /v1/status?t={token} HTTP/1.1\" 200\n\
             x \"GET /{} HTTP/1.1\" 404\n\
             x \"POST /v1/generate_token_json HTTP/1.1\" 200\n\
             nothing\n",
            "A".repeat(40)
        );
        let found = from_log(log.as_bytes(), 10).unwrap();
        let texts: Vec<&str> = found.targets.iter().map(|target| &*target.text).collect();
        assert_eq!(texts, ["/v1/feedmapping", "/v1/feed/any/type/url/age/1w/output/txt?cache=5&x=1"]);
        assert_eq!((found.beyond, found.passed_over), (0, 2));
        let found = from_log(log.as_bytes(), 1).unwrap();
        assert_eq!((found.targets.len(), found.beyond), (1, 1));
    }

    #[test]
    fn targets_are_grouped_by_what_they_are_about() {
        let pattern = |text: &str| Target::new(text.into()).pattern();
        assert_eq!(pattern("/v1/vendor/cisco/feed/any/type/url/age/1w"), "feed url cisco");
        assert_eq!(pattern("/v1/uuid/x/type/ipv4/age/1w/output/json?cache=1"), "uuid ipv4 json");
        assert_eq!(pattern("/v1/warninglist/list/output/json"), "v1/warninglist");
        assert_eq!(pattern("/static/logo.png"), "static/logo.png");
        assert_eq!((pattern("/"), pattern("/nope")), ("/".into(), "other".into()));
    }

    #[test]
    fn the_matrix_begins_with_what_is_polled_most() {
        let feeds = mapped_feeds("Feed name: \"block\" is mapped to MISP tag: x\r\nFeed name: \"a/b\" is mapped");
        assert_eq!(feeds, ["block"]);
        let all: Vec<Target> = matrix(&feeds).collect();
        assert_eq!(all.len(), 3 + 3 * TYPES.len() * AGES.len());
        assert_eq!(all[3].text, "/v1/feed/block/type/ipv4ext/age/1w/output/txt");
        assert!(all.iter().any(|target| target.text == "/v1/feed/42/type/yara/age/2y/output/txt"));
    }
}
