//! What a request costs without a socket: `cargo bench --bench request [requests]`, by default 20,000 per row.
//!
//! In: a feed of 100 hashes and 100,000 names in a temporary folder, refreshed and published as the program does. Out: per kind
//! of request nanoseconds of [`handler::answer`] alone, from the parsed head to the answer with its body; and of all from the
//! first byte of the request to the last one of the answer, over a pipe in memory with hyper's HTTP/1 on the one side and a
//! client that only counts bytes on the other. Medians of nine rounds.
//!
//! A handler takes a body of hyper's, which only a connection of hyper's makes: so it is asked over a pipe. What the program does
//! for a connection beyond that (pacing, sending from files, the access log) is measured by `benches/load.sh`.
//!
//! Invariant: every answer has the status that its row is about.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has nothing to report")]
#![allow(clippy::disallowed_methods, reason = "it writes a feed and a configuration of its own")]

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cratos::config;
use cratos::demand::{Demand, knock::Door};
use cratos::refresh::{How, Publisher};
use cratos::snapshot::manifest;
use cratos::token::{Claims, TokenKeys};
use cratos::view::keyring::Keyring;
use cratos::web::files::Front;
use cratos::web::handler;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const ROUNDS: u32 = 9;
const KEY: &str = "BenchBenchBenchBenchBenchBenchBenchBench";
const SMALL: &str = "/v1/feed/block/type/file-md5/age/1y/output/txt";
const LARGE: &str = "/v1/feed/block/type/domain/age/1y/output/txt";
/// A feed that has a name and no definition.
const NONE: &str = "/v1/feed/cust1/type/domain/age/1y/output/txt";
/// What the pipe holds.
const PIPE: usize = 1 << 20;

fn main() {
    let requests = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(20_000);
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (front, token) = runtime.block_on(published(folder.path()));
    let wrong = wrong(&token);
    println!("| request | token | answer, bytes | handler, ns | over a pipe, ns |\n|---|---|---|---|---|");
    let rows = [
        ("200, 100 entries", SMALL, &token, false, 200),
        ("200, 100,000 entries", LARGE, &token, false, 200),
        ("304", LARGE, &token, true, 304),
        ("403, a wrong token", LARGE, &wrong, false, 403),
        ("404, a feed without a definition", NONE, &token, false, 404),
    ];
    for (name, path, token, is_known, status) in rows {
        for (place, head) in [("query", in_query(path, token)), ("Basic", in_basic(path, token))] {
            // A large body is memory copied into the pipe and out of it: fewer tell as much.
            let count = if status == 200 && path == LARGE { requests / 40 } else { requests }.max(1);
            let row = runtime.block_on(measure(&front, &head, is_known, status, count));
            println!("| {name} | {place} | {} | {:.0} | {:.0} |", row.bytes, row.handler, row.pipe);
        }
    }
}

/// Nanoseconds per request.
struct Row {
    bytes: usize,
    handler: f64,
    pipe: f64,
}

async fn measure(front: &Arc<Front>, head: &str, is_known: bool, status: u16, count: u32) -> Row {
    let (ours, theirs) = tokio::io::duplex(PIPE);
    let spent = Rc::new(Cell::new(0));
    let local = tokio::task::LocalSet::new();
    let serving = serve(Arc::clone(front), theirs, Rc::clone(&spent));
    local.spawn_local(serving);
    let asking = async {
        let mut client = Client { stream: ours, buffer: vec![0; PIPE] };
        let (_, etag, _) = client.ask(&format!("{head}\r\n")).await;
        let condition = if is_known { format!("If-None-Match: {etag}\r\n") } else { String::new() };
        let request = format!("{head}{condition}\r\n");
        let (mut handler, mut pipe, mut bytes) = (Vec::new(), Vec::new(), 0);
        for _ in 0..ROUNDS {
            spent.set(0);
            let begun = Instant::now();
            for _ in 0..count {
                let (answered, _, length) = client.ask(&request).await;
                assert_eq!(answered, status, "{request}");
                bytes = length;
            }
            pipe.push(begun.elapsed().as_nanos() as f64 / f64::from(count));
            handler.push(spent.get() as f64 / f64::from(count));
        }
        Row { bytes, handler: median(handler), pipe: median(pipe) }
    };
    local.run_until(asking).await
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_unstable_by(f64::total_cmp);
    of[of.len() / 2]
}

/// Answers as the program does and adds up what the handler takes.
async fn serve(front: Arc<Front>, stream: DuplexStream, spent: Rc<Cell<u128>>) {
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
        let (front, spent) = (Arc::clone(&front), Rc::clone(&spent));
        async move {
            let (head, body) = request.into_parts();
            let begun = Instant::now();
            let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
            let answer = handler::answer(&front, &head, body, peer, Timestamp::now()).await;
            spent.set(spent.get() + begun.elapsed().as_nanos());
            Ok::<_, Infallible>(answer)
        }
    });
    // Err: the client has gone, at the end of its row.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// A client that reads heads no further than it must.
struct Client {
    stream: DuplexStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Status, tag and length of the body.
    async fn ask(&mut self, request: &str) -> (u16, String, usize) {
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let mut have = 0;
        let end = loop {
            have += self.stream.read(&mut self.buffer[have..]).await.unwrap();
            if let Some(at) = memchr::memmem::find(&self.buffer[..have], b"\r\n\r\n") {
                break at + 4;
            }
        };
        let head = std::str::from_utf8(&self.buffer[..end]).unwrap();
        let header = |name: &str| {
            let line =
                head.lines().find(|line| line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name));
            line.map(|line| line[name.len() + 1..].trim())
        };
        let status = head[9..12].parse().unwrap();
        let length = if status == 304 { 0 } else { header("content-length").unwrap().parse().unwrap() };
        let etag = header("etag").unwrap_or_default().to_owned();
        let mut left = end + length - have;
        while left > 0 {
            left -= self.stream.read(&mut self.buffer).await.unwrap();
        }
        (status, etag, length)
    }
}

/// The request without its end.
fn in_query(path: &str, token: &str) -> String {
    format!("GET {path}?token={token} HTTP/1.1\r\nHost: cratos.example.net\r\nUser-Agent: bench\r\nAccept: */*\r\n")
}

fn in_basic(path: &str, token: &str) -> String {
    let words = STANDARD.encode(format!("cratos:{token}"));
    format!(
        "GET {path} HTTP/1.1\r\nHost: cratos.example.net\r\nUser-Agent: bench\r\nAccept: */*\r\n\
         Authorization: Basic {words}\r\n"
    )
}

/// The same token, signed by somebody else.
fn wrong(token: &str) -> String {
    let at = token.len() - 20;
    let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &token[..at], &token[at + 1..])
}

/// Refreshes the site of the folder, and serves it. With a token that opens it.
async fn published(folder: &Path) -> (Arc<Front>, String) {
    let config = config::load(folder).unwrap();
    let site = config.good_sites().next().unwrap();
    let publisher = Publisher::open(&config, site).unwrap();
    let (how, now) = (How { full: true, release: false }, Timestamp::now());
    publisher.refresh(how, now, Arc::new(|_, _| {})).await.unwrap();
    let keys = TokenKeys::derive(&config.encryption_key, &config.salt);
    let claims = Claims::parse(&format!("https;443;misp.example.net;{KEY};2099-12-31")).unwrap();
    let token = keys.mint(&claims, 1).unwrap();
    let ((demand, _), (door, _)) = (Demand::new(), Door::new());
    let keyring = Arc::new(Keyring::new().unwrap());
    let front = Front::new(config.web.clone(), keys, Arc::default(), Arc::new(demand), (keyring, door));
    let opened = manifest::open_current(publisher.view_dir()).unwrap().unwrap();
    front.publish(publisher.view(), opened);
    front.succeeded(publisher.view(), now.as_second());
    (Arc::new(front), token.reveal().to_owned())
}

/// A feed and a site that publishes it.
fn prepare(folder: &Path) {
    ["config", "sites", "feed"].iter().for_each(|name| fs::create_dir_all(folder.join(name)).unwrap());
    let config = "encryption_key: bench-encryption-key\nsalt: bench-salt\nlisten: 127.0.0.1:0\n";
    fs::write(folder.join("config/config.yaml"), config).unwrap();
    let site = format!(
        "enabled: true\ntag: example\ncustom_feeds: {{}}\nallowed_ips: [127.0.0.1]\nfeed: feed\nmispAuthKey: {KEY}\n\
         publish: {{feeds: [block], types: [file-md5, domain], ages: [1y], formats: [txt]}}\n"
    );
    fs::write(folder.join("sites/misp.example.net.yaml"), site).unwrap();
    let hash = |n: u64| format!("{:032x}", u128::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835));
    let now = Timestamp::now().as_second();
    let events = [
        event(folder, 1, ("md5", 1..101), &hash, now),
        event(folder, 2, ("domain", 1..100_001), &|n| format!("d{n}.bulk.example.org"), now),
    ];
    let entries = events.map(|uuid| format!(r#""{uuid}":{{"timestamp":"{now}"}}"#));
    fs::write(folder.join("feed/manifest.json"), format!("{{{}}}", entries.join(","))).unwrap();
}

/// Writes one event of a feed. Out: its name.
fn event(
    folder: &Path,
    number: u64,
    (kind, range): (&str, std::ops::Range<u64>),
    value: &dyn Fn(u64) -> String,
    now: i64,
) -> String {
    let uuid = format!("00000000-0000-4000-8000-{number:012x}");
    let mut text = format!(
        r#"{{"Event":{{"uuid":"{uuid}","info":"bulk","timestamp":"{now}","published":true,"Tag":[{{"name":"example:incident-classification=block"}}],"Attribute":["#
    );
    for n in range {
        let comma = if n > 1 { "," } else { "" };
        write!(
            text,
            r#"{comma}{{"uuid":"00000000-{number:04x}-4000-8000-{n:012x}","type":"{kind}","value":"{}","timestamp":"{}","to_ids":true}}"#,
            value(n),
            now - 60
        )
        .unwrap();
    }
    text.push_str("]}}");
    fs::write(folder.join(format!("feed/{uuid}.json")), text).unwrap();
    uuid
}
