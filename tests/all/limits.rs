//! What one client may take, and what many may: connections per address, thousands of idle ones, readers that do not read. And
//! what a list costs that was asked for before: nothing that grows with it.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use cratos::snapshot::manifest;
use cratos::web::hot::Hot;
use cratos::web::table::{Part, Table};
use http_body_util::BodyExt;

use crate::cmd::{Server, wait_for};
use crate::dir::{self, AUTH_KEY, BLOCK, Dir, SITE, token};
use crate::feed::{self, Attribute, Event};
use crate::http::{self, Client, connect_from};

pub const SMALL: &str = "/v1/feed/block/type/ipv4/age/10y/output/txt";
pub const LARGE: &str = "/v1/feed/block/type/url/age/10y/output/txt";

/// Two lists, one of them of some megabytes; lines for the end of `config.yaml`.
pub fn folder(lines: &str) -> Dir {
    let dir = Dir::new("guard: \"off\"\n");
    let small = (1..=100).map(|n| Attribute::new("ip-dst", format!("45.9.8.{n}"), dir::now() - 60));
    let path = "x".repeat(2000);
    let large = (0..2000).map(|n| Attribute::new("url", format!("https://a.example.org/{n}/{path}"), dir::now() - 60));
    dir.publish(&[Event::new(1, &[BLOCK], small.chain(large).collect())]);
    let config = fs::read_to_string(dir.path().join("config/config.yaml")).unwrap();
    dir.write("config/config.yaml", &format!("{config}{lines}"));
    dir
}

pub fn good_token() -> String {
    token(SITE, AUTH_KEY, "2099-12-31")
}

/// The status of an answer on this connection; `None`: it was closed.
fn ask(stream: &mut BufReader<TcpStream>, target: &str) -> Option<u16> {
    let token = good_token();
    write!(stream.get_mut(), "GET {target} HTTP/1.1\r\nHost: x\r\ntoken: {token}\r\n\r\n").ok()?;
    // A connection that is reset is closed, too.
    let mut first = [0];
    if !matches!(stream.get_ref().peek(&mut first), Ok(1)) {
        return None;
    }
    http::read(stream, false).map(|answer| answer.status)
}

#[test]
fn an_address_has_so_many_connections_and_others_have_theirs() {
    let dir = folder("trusted_proxies: []\nmax_connections_per_address: 3\n");
    let server = Server::start(&dir);
    let connect = |last: u8| BufReader::new(connect_from(Ipv4Addr::new(127, 0, 0, last), server.port));
    dir.site(SITE, &dir::site("example", "").replace("127.0.0.1/32", "127.0.0.0/8"));
    let mut one = connect(2);
    wait_for("the site's networks", Duration::from_secs(20), || ask(&mut one, SMALL) == Some(200));
    let mut held: Vec<_> = (0..2).map(|_| connect(2)).collect();
    assert!(held.iter_mut().all(|stream| ask(stream, SMALL) == Some(200)));
    for _ in 0..5 {
        assert_eq!(ask(&mut connect(2), SMALL), None, "one too many");
        assert_eq!(ask(&mut connect(3), SMALL), Some(200), "another address");
    }
    assert!(server.log().contains("max_connections_per_address"));
    drop(held.pop());
    wait_for("a place", Duration::from_secs(10), || ask(&mut connect(2), SMALL) == Some(200));
    assert_eq!(ask(&mut one, SMALL), Some(200), "those that are open go on");
}

/// Open sockets of this process are files, and so are those of the server: each may have so many.
fn most_files() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(100_000, |limit| usize::try_from(limit).unwrap_or(100_000))
}

#[test]
fn thousands_of_idle_connections_and_slow_readers_disturb_nobody() {
    const SLOW: usize = 50;
    const NORMAL: usize = 500;
    let idle = 10_000.min(most_files().saturating_sub(500));
    assert!(idle > 200, "this machine allows {} open files", most_files());
    let dir = folder(&format!("max_connections: {}\nserve_cache_mb: 8\n", idle + SLOW + 10));
    let server = Server::start(&dir);
    let token = good_token();
    let length = fs::metadata(dir.current().join("feed/block/url/10y.txt")).unwrap().len();
    assert!(length > 8 << 20 >> 2, "it is streamed: too large to be kept");
    let mut held: Vec<_> = (0..idle).map(|_| http::connect(server.port).unwrap()).collect();
    let slow: Vec<_> = (0..SLOW)
        .map(|_| {
            let mut stream = http::connect(server.port).unwrap();
            write!(stream, "GET {LARGE} HTTP/1.1\r\nHost: x\r\ntoken: {token}\r\n\r\n").unwrap();
            stream
        })
        .collect();
    let mut client = Client::new(server.port);
    let statuses = (0..NORMAL).map(|_| client.get(SMALL, &[("token", &token)]).status);
    assert_eq!(statuses.filter(|status| *status == 200).count(), NORMAL);
    let memory = server.memory();
    // A slow reader holds some pieces, an idle connection next to nothing, the program and its lists the rest.
    let bound = 96 * 1024 + SLOW as u64 * 1024 + idle as u64 * 25;
    assert!(memory < bound, "{memory} kB resident, at most {bound}");
    // A slow reader that reads after all gets everything.
    let mut reading = BufReader::new(slow.into_iter().next().unwrap());
    assert_eq!(http::read(&mut reading, false).unwrap().body.len() as u64, length);
    // A place that was given back is taken by the next one; those that wait in front of the door are let in then.
    held.truncate(idle / 2);
    let mut late: Vec<_> = (0..20).map(|_| Client::new(server.port)).collect();
    assert!(late.iter_mut().all(|client| client.get(SMALL, &[("token", &token)]).status == 200));
}

#[test]
fn what_was_asked_for_before_is_neither_read_nor_copied_again() {
    let dir = folder("");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let hot = Arc::new(Hot::new(64 << 20));
        let table = |last| Table::new(manifest::open_current(&dir.view()).unwrap().unwrap(), last, &hot);
        let (old, key) = (table(None), "feed/block/url/10y.txt");
        let whole = fs::read(dir.current().join(key)).unwrap();
        let at = |body: &cratos::web::body::Body| body.in_memory().map(|bytes| bytes.as_ptr() as usize);
        let entry = old.entry(key).unwrap();
        let first = old.body(entry, Part::Whole).await.unwrap();
        let place = at(&first).unwrap();
        for _ in 0..100 {
            assert_eq!(at(&old.body(entry, Part::Whole).await.unwrap()), Some(place), "the same bytes in memory");
        }
        let part = old.body(entry, Part::Range { start: 1000, end: 9_999 }).await.unwrap();
        assert_eq!((at(&part), part.in_memory().unwrap().len()), (Some(place + 1000), 9000));
        let gzip = old.body(entry, Part::Gzip).await.unwrap().collect().await.unwrap().to_bytes();
        assert_eq!(gzip, fs::read(dir.current().join(format!("{key}.gz"))).unwrap());
        // The file is not looked at any more; a version with the same content has the same bytes.
        fs::remove_file(dir.current().join(key)).unwrap();
        assert_eq!(first.collect().await.unwrap().to_bytes(), whole);
        let new = table(None);
        drop(old);
        hot.tidy();
        assert_eq!(at(&new.body(new.entry(key).unwrap(), Part::Whole).await.unwrap()), Some(place));
        drop(new);
        assert_eq!(hot.bytes(), 0, "it goes with its last version");
        let table = table(None);
        assert!(table.body(table.entry(key).unwrap(), Part::Whole).await.is_err(), "it is gone for good");
    });
}

#[test]
fn a_damaged_file_is_not_kept() {
    let dir = folder("");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let hot = Arc::new(Hot::new(64 << 20));
        let table = Table::new(manifest::open_current(&dir.view()).unwrap().unwrap(), None, &hot);
        let entry = table.entry("feed/block/ipv4/10y.txt").unwrap();
        let path = dir.current().join(&entry.path);
        let good = fs::read(&path).unwrap();
        let changed = [b"9", &good[1..]].concat();
        for bad in [&good[1..], &[&good[..], b"1.1.1.1\n"].concat(), &changed] {
            fs::write(&path, bad).unwrap();
            assert!(table.body(entry, Part::Whole).await.is_err());
            assert_eq!(hot.bytes(), 0);
        }
        fs::write(&path, &good).unwrap();
        assert_eq!(table.body(entry, Part::Whole).await.unwrap().in_memory().unwrap(), &good);
        assert_eq!(hot.bytes(), good.len() as u64);
    });
}

#[test]
fn what_is_in_memory_stays_right_whatever_happens_to_the_file() {
    // Large enough for being sent from the file.
    let dir = folder("serve_cache_mb: 64\n");
    let server = Server::start(&dir);
    let (token, mut client) = (good_token(), Client::new(server.port));
    let mut get = || client.get(LARGE, &[("token", &token)]);
    let path = dir.current().join("feed/block/url/10y.txt");
    let good = fs::read(&path).unwrap();
    for _ in 0..3 {
        assert!(get().body == good);
    }
    let part = Client::new(server.port).get(LARGE, &[("token", &token), ("range", "bytes=100-2000099")]);
    assert!(part.body == good[100..2_000_100], "a part from the file");
    fs::write(&path, vec![b'x'; good.len()]).unwrap();
    assert!(get().body == good, "the same length, other bytes");
    fs::write(&path, "x").unwrap();
    assert!(get().body == good, "shorter");
    fs::remove_file(&path).unwrap();
    assert!(get().body == good, "gone");
}

#[test]
fn a_new_version_is_served_at_once() {
    let dir = folder("");
    let server = Server::start(&dir);
    let (token, mut client) = (good_token(), Client::new(server.port));
    let mut get = || client.get(SMALL, &[("token", &token)]);
    let first = get();
    assert_eq!(first.text().lines().count(), 100);
    let rows = (1..=120).map(|n| Attribute::new("ip-dst", format!("45.9.7.{n}"), dir::now() - 60)).collect();
    let mut event = Event::new(1, &[BLOCK], rows);
    event.timestamp += 1;
    feed::write(&dir.feed(), &[event]);
    server.hang_up();
    let _ = dir.run(&["refresh"]);
    let mut last = 0;
    wait_for("the new list", Duration::from_secs(30), || {
        last = get().text().lines().count();
        last != 100
    });
    assert_eq!(last, 120);
}

#[test]
fn a_request_that_does_not_come_is_given_up() {
    let dir = folder("");
    let server = Server::start(&dir);
    let mut half = http::connect(server.port).unwrap();
    half.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    half.write_all(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n").unwrap();
    let mut said = Vec::new();
    half.read_to_end(&mut said).unwrap();
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&said));
}

/// Name of a thread, and what it leaves to others (proc(5), field 19 of `stat`).
fn threads(process: u32) -> Vec<(String, i32)> {
    let mut threads = Vec::new();
    for task in fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten() {
        // Err: a thread that ended.
        let Ok(stat) = fs::read_to_string(task.path().join("stat")) else { continue };
        let (name, rest) = stat.split_once('(').unwrap().1.rsplit_once(')').unwrap();
        threads.push((name.to_owned(), rest.split_whitespace().nth(16).unwrap().parse().unwrap()));
    }
    threads
}

#[test]
fn what_goes_on_beside_serving_yields_to_it() {
    let dir = folder("serve_threads: 2\n");
    let server = Server::start(&dir);
    let mut client = Client::new(server.port);
    wait_for("a list", Duration::from_secs(20), || client.get(SMALL, &[("token", &good_token())]).status == 200);
    let threads = threads(server.id());
    let of = |prefix: &str| -> Vec<i32> {
        threads.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, nice)| *nice).collect()
    };
    assert_eq!(of("serve-"), [0, 0], "{threads:?}");
    let beside = of("beside-serving");
    assert!(!beside.is_empty() && beside.iter().all(|nice| *nice == 10), "{threads:?}");
}
