//! Conditional requests, ranges, compression and HEAD: every published list against every kind of request, as RFC 9110
//! has it, bodies compared with the files.

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use cratos::render::FORMATS;
use cratos::snapshot::manifest::Artifact;

use crate::cmd::Server;
use crate::dir::{AUTH_KEY, BLOCK, CUST1, Dir, SITE, now, token};
use crate::feed::{Attribute, Event};
use crate::http::{Answer, Client};

/// What the files and two plain requests say about a list.
struct Facts {
    body: Vec<u8>,
    gzip: Option<Vec<u8>>,
    content_type: String,
    etag: String,
    gzip_etag: String,
    changed_at: u64,
}

impl Facts {
    fn date(&self, later: i64) -> String {
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(self.changed_at.saturating_add_signed(later)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Expect {
    Full,
    /// Compressed if there is a compressed form.
    Gzip,
    NotModified,
    /// Not modified, asked for compressed.
    GzipNotModified,
    /// Bytes 0 to 9, as far as there are any.
    FirstTen,
    Unsatisfiable,
}
use Expect::{FirstTen, Full, Gzip, GzipNotModified, NotModified, Unsatisfiable};

type Headers = Vec<(&'static str, String)>;
/// Name, method, headers, what must come back.
type Case = (&'static str, &'static str, fn(&Facts) -> Headers, Expect);

const DAY: i64 = 86_400;
const CASES: [Case; 24] = [
    ("plain", "GET", |_| vec![], Full),
    ("none match: it", "GET", |f| vec![("if-none-match", f.etag.clone())], NotModified),
    ("none match: other", "GET", |_| vec![("if-none-match", "\"other\"".into())], Full),
    ("none match: weak", "GET", |f| vec![("if-none-match", format!("W/{}", f.etag))], NotModified),
    ("none match: list", "GET", |f| vec![("if-none-match", format!("\"a\", W/\"b,c\" ,{}", f.etag))], NotModified),
    ("none match: list without it", "GET", |_| vec![("if-none-match", "\"a\", \"b\"".into())], Full),
    ("none match: *", "GET", |_| vec![("if-none-match", "*".into())], NotModified),
    ("none match, HEAD", "HEAD", |f| vec![("if-none-match", f.etag.clone())], NotModified),
    ("modified since: same", "GET", |f| vec![("if-modified-since", f.date(0))], NotModified),
    ("modified since: older", "GET", |f| vec![("if-modified-since", f.date(-DAY))], Full),
    ("modified since: future", "GET", |f| vec![("if-modified-since", f.date(DAY))], Full),
    ("modified since: no date", "GET", |_| vec![("if-modified-since", "soon".into())], Full),
    (
        "none match beats modified since",
        "GET",
        |f| vec![("if-none-match", "\"other\"".into()), ("if-modified-since", f.date(0))],
        Full,
    ),
    ("gzip", "GET", |_| vec![("accept-encoding", "gzip, br".into())], Gzip),
    ("gzip refused", "GET", |_| vec![("accept-encoding", "gzip;q=0, identity".into())], Full),
    (
        "gzip, none match",
        "GET",
        |f| vec![("accept-encoding", "gzip".into()), ("if-none-match", f.gzip_etag.clone())],
        GzipNotModified,
    ),
    ("HEAD", "HEAD", |_| vec![], Full),
    ("HEAD, gzip", "HEAD", |_| vec![("accept-encoding", "gzip".into())], Gzip),
    ("HEAD, range", "HEAD", |_| vec![("range", "bytes=0-9".into())], Full),
    ("range", "GET", |_| vec![("range", "bytes=0-9".into())], FirstTen),
    ("range behind the end", "GET", |_| vec![("range", "bytes=99999999-".into())], Unsatisfiable),
    ("if range: it", "GET", |f| vec![("range", "bytes=0-9".into()), ("if-range", f.etag.clone())], FirstTen),
    ("if range: other", "GET", |_| vec![("range", "bytes=0-9".into()), ("if-range", "\"other\"".into())], Full),
    (
        "none match beats range",
        "GET",
        |f| vec![("range", "bytes=0-9".into()), ("if-none-match", f.etag.clone())],
        NotModified,
    ),
];

#[test]
fn every_list_answers_every_kind_of_request() {
    let formats: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
    let formats = formats.join(", ");
    let dir = Dir::new(&format!(
        "publish:\n  feeds: [block, cust1]\n  types: [ipv4, url, file-md5]\n  formats: [{formats}]\n"
    ));
    let hashes = (0..200).map(|n| Attribute::new("md5", format!("{n:032x}"), now() - 600));
    let first =
        [Attribute::new("url", "http://\u{fc}.example/", now() - 600), Attribute::new("ip-dst", "1.1.1.1", now())];
    dir.publish(&[Event::new(1, &[BLOCK], hashes.chain(first).collect()), Event::new(2, &[CUST1], vec![])]);
    let server = Server::start(&dir);
    let (manifest, current) = (dir.manifest(), dir.current());
    let token = token(SITE, AUTH_KEY, "2099-12-31");
    let mut client = Client::new(server.port);
    assert_eq!(manifest.artifacts.len(), 2 * 3 * 24 * FORMATS.len());
    assert!(manifest.artifacts.values().any(|artifact| artifact.gzip_bytes.is_some()), "nothing is compressed");
    for (key, artifact) in &manifest.artifacts {
        let target = url(key);
        let mut send = |method: &str, headers: &Headers| {
            let headers = headers.iter().map(|(name, value)| (*name, &**value)).chain([("token", &*token)]);
            client.send(method, &target, &headers.collect::<Vec<_>>())
        };
        let facts = facts(&current.join(&artifact.path), artifact, &mut send);
        for (name, method, headers, expect) in CASES {
            let answer = send(method, &headers(&facts));
            if let Err(wrong) = check(&answer, method, expect, &facts) {
                panic!("{key}, {name}: {wrong}\n{} {:#?}\n{}", answer.status, answer.headers, answer.text());
            }
        }
    }
}

/// `feed/block/ipv4/1w.txt` → its URL.
fn url(key: &str) -> String {
    let [_, feed, data_type, file] = key.split('/').collect::<Vec<_>>()[..] else { panic!("{key}") };
    let (age, extension) = file.split_once('.').unwrap();
    let format = FORMATS.iter().find(|format| format.extension == extension).unwrap();
    let list = format!("feed/{feed}/type/{data_type}/age/{age}");
    if format.vendor {
        format!("/v1/vendor/{}/{list}", format.name)
    } else {
        format!("/v1/{list}/output/{}", format.name)
    }
}

fn facts(file: &std::path::Path, artifact: &Artifact, send: &mut impl FnMut(&str, &Headers) -> Answer) -> Facts {
    let etag = |answer: Answer| answer.header("etag").expect("an ETag").to_owned();
    let facts = Facts {
        body: fs::read(file).unwrap(),
        gzip: artifact.gzip_bytes.map(|_| fs::read(format!("{}.gz", file.display())).unwrap()),
        content_type: artifact.content_type.clone(),
        etag: etag(send("GET", &vec![])),
        gzip_etag: etag(send("GET", &vec![("accept-encoding", "gzip".into())])),
        changed_at: artifact.changed_at.try_into().unwrap(),
    };
    for etag in [&facts.etag, &facts.gzip_etag] {
        assert!(etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'), "{etag} is no strong ETag");
    }
    assert_eq!(facts.etag != facts.gzip_etag, facts.gzip.is_some(), "one ETag per encoding");
    facts
}

/// Compares an answer with what RFC 9110 and the files say.
fn check(answer: &Answer, method: &str, expect: Expect, facts: &Facts) -> Result<(), String> {
    let length = facts.body.len();
    let (expect, end) = match expect {
        FirstTen if length == 0 => (Unsatisfiable, 0),
        Gzip if facts.gzip.is_none() => (Full, length),
        other => (other, length.min(10)),
    };
    let (status, encoding, range, body) = match expect {
        Full => (200, None, None, &facts.body[..]),
        Gzip => (200, Some("gzip"), None, facts.gzip.as_deref().unwrap_or_default()),
        NotModified | GzipNotModified => (304, None, None, &[][..]),
        FirstTen => (206, None, Some(format!("bytes 0-{}/{length}", end.saturating_sub(1))), &facts.body[..end]),
        Unsatisfiable => (416, None, Some(format!("bytes */{length}")), &[][..]),
    };
    equal("status", answer.status, status)?;
    equal("content-range", answer.header("content-range"), range.as_deref())?;
    if expect == Unsatisfiable {
        let html = answer.header("content-type").is_some_and(|kind| kind.contains("html"));
        return equal("HTML", html, false);
    }
    let etag = if matches!(expect, Gzip | GzipNotModified) { &facts.gzip_etag } else { &facts.etag };
    equal("etag", answer.header("etag"), Some(&**etag))?;
    let vary = answer.header("vary").unwrap_or_default().to_ascii_lowercase();
    equal("vary names accept-encoding", vary.split(',').any(|name| name.trim() == "accept-encoding"), true)?;
    equal("cache-control", answer.header("cache-control"), Some("private, max-age=3600"))?;
    if status != 304 {
        equal("content-encoding", answer.header("content-encoding"), encoding)?;
        equal("content-type", answer.header("content-type"), Some(&*facts.content_type))?;
        equal("last-modified", answer.header("last-modified"), Some(&*facts.date(0)))?;
        equal("content-length", answer.header("content-length"), Some(&*body.len().to_string()))?;
    }
    equal("body", &*answer.body, if method == "HEAD" { &[][..] } else { body })
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, is: T, should_be: T) -> Result<(), String> {
    if is == should_be { Ok(()) } else { Err(format!("{what} is {is:?}, not {should_be:?}")) }
}
