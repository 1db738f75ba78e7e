//! What a refresh costs: `cargo bench --bench refresh [attributes …]`, by default 10,000, 100,000 and 1,000,000.
//!
//! A made-up MISP on the loopback answers as fast as it can make rows; `cratos serve` refreshes from it in an empty folder, when
//! `cratos refresh` tells it to. Printed per size and kind of refresh: wall time, CPU time of the program, also as a share of the
//! full refresh and as a multiple of only parsing the same bytes (430 MB/s of one core, as serde_json does here), peak memory,
//! bytes on the wire, bytes and files written. Files go to a temporary folder, which is removed.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has nothing to report")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it writes files and listens on its own")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// Attributes per event.
const EVENT: u64 = 50;
const KEY: &str = "BenchBenchBenchBenchBenchBenchBenchBench";
const ORGANISATION: &str = "55f6ea5e-2c60-40e5-964f-47a8950d210f";

/// What one refresh is about: its name, which events are other than before (one in so many), and whether all are read.
const KINDS: [(&str, u64, bool); 6] = [
    ("full", 0, true),
    ("nothing new", 0, false),
    ("0.1 % of events", 1000, false),
    ("1 % of events", 100, false),
    ("nothing new", 0, false),
    ("full again", 0, true),
];
/// Bytes that one core parses in a second.
const PARSED: f64 = 430e6;

fn main() {
    let sizes: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    println!(
        "| attributes | refresh | wall s | CPU s | of full | of parsing | peak MB | received MB | written MB | files |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for attributes in if sizes.is_empty() { vec![10_000, 100_000, 1_000_000] } else { sizes } {
        let misp = Server::start(attributes);
        let folder = tempfile::tempdir().unwrap();
        configure(folder.path(), misp.port);
        let cratos = Cratos::start(folder.path());
        let mut full_cpu = 0.0;
        for (name, every, full) in KINDS {
            if every > 0 {
                misp.world.every.store(every, Ordering::Relaxed);
                misp.world.generation.fetch_add(1, Ordering::Relaxed);
            }
            let before = misp.sent.load(Ordering::Relaxed);
            let run = cratos.refresh(folder.path(), full);
            let received = (misp.sent.load(Ordering::Relaxed) - before) as f64;
            if full_cpu == 0.0 {
                full_cpu = run.cpu;
            }
            let parsing = if full { format!("{:.1}x", run.cpu / (received / PARSED)) } else { String::new() };
            println!(
                "| {attributes} | {name} | {:.1} | {:.2} | {:.1} % | {parsing} | {:.0} | {:.0} | {:.1} | {} |",
                run.wall,
                run.cpu,
                run.cpu / full_cpu * 100.0,
                run.peak,
                received / 1e6,
                run.written / 1e6,
                run.files
            );
        }
    }
}

/// What one refresh took.
struct Run {
    wall: f64,
    cpu: f64,
    peak: f64,
    written: f64,
    files: usize,
}

/// `cratos serve`; killed when dropped.
struct Cratos(std::process::Child);

impl Cratos {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cratos"));
        command.env_clear().env("CRATOS_LOG", "error").arg("-C").arg(folder).arg("serve");
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        // The first refresh begins by itself; it must not be measured twice.
        while !folder.join("state/lock").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Self(child)
    }

    /// Tells it to refresh, and waits.
    fn refresh(&self, folder: &Path, full: bool) -> Run {
        let (id, begun) = (self.0.id(), Instant::now());
        let (cpu_before, written_before, known) = (cpu(id).unwrap(), written(id), files(folder));
        let mut command = Command::new(env!("CARGO_BIN_EXE_cratos"));
        command.env_clear().arg("-C").arg(folder).arg("refresh").args(full.then_some("--full"));
        assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success(), "the refresh failed");
        Run {
            wall: begun.elapsed().as_secs_f64(),
            cpu: cpu(id).unwrap() - cpu_before,
            peak: memory(id).unwrap(),
            written: written(id) - written_before,
            files: files(folder).difference(&known).count(),
        }
    }
}

impl Drop for Cratos {
    fn drop(&mut self) {
        // Err: it ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Bytes given to the kernel to be written.
fn written(process: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{process}/io")).unwrap();
    let line = text.lines().find(|line| line.starts_with("wchar:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Files of lists, each once, however many versions have it.
fn files(folder: &Path) -> BTreeSet<u64> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![folder.join("feeds-out")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => folders.push(entry.path()),
                Ok(meta) => drop(found.insert(meta.ino())),
                Err(_) => {}
            }
        }
    }
    found
}

fn configure(folder: &Path, port: u16) {
    fs::create_dir_all(folder.join("config")).unwrap();
    fs::create_dir_all(folder.join("sites")).unwrap();
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!("encryption_key: bench-encryption-key\nsalt: bench-salt\nlisten: {listen}\n");
    fs::write(folder.join("config/config.yaml"), config).unwrap();
    let site = format!(
        "enabled: true\ntag: example\ncustom_feeds: {{}}\nallowed_ips: []\nmispUrl: http://127.0.0.1:{port}\n\
         mispAuthKey: {KEY}\nrefresh_time_limit: 1h\nrefresh: 31d\nfull_refresh: 31d\nguard: off\n"
    );
    fs::write(folder.join("sites/misp.example.net.yaml"), site).unwrap();
}

/// Peak resident memory in MB.
fn memory(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kilobytes| kilobytes / 1024.0)
}

/// User and system time in seconds; the kernel counts hundredths.
fn cpu(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
}

/// A MISP that makes its rows up.
struct Server {
    port: u16,
    sent: Arc<AtomicU64>,
    world: Arc<World>,
}

/// What it holds.
struct World {
    attributes: u64,
    /// Unix seconds.
    now: u64,
    /// How often something changed, and then in one of so many events.
    generation: AtomicU64,
    every: AtomicU64,
}

impl World {
    /// How often this event changed.
    fn changes(&self, event: u64) -> u64 {
        let every = self.every.load(Ordering::Relaxed);
        if every > 0 && event.is_multiple_of(every) { self.generation.load(Ordering::Relaxed) } else { 0 }
    }

    fn timestamp(&self, event: u64) -> u64 {
        self.now - 3600 + self.changes(event)
    }
}

impl Server {
    fn start(attributes: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, sent) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU64::new(0)));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let (every, generation) = (AtomicU64::new(0), AtomicU64::new(0));
        let world = Arc::new(World { attributes, now, generation, every });
        let (count, made) = (Arc::clone(&sent), Arc::clone(&world));
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (count, made) = (Arc::clone(&count), Arc::clone(&made));
                std::thread::spawn(move || while answer(&stream, &made, &count).is_some() {});
            }
        });
        Self { port, sent, world }
    }
}

/// One request; `None` ends the connection.
fn answer(stream: &TcpStream, world: &World, sent: &AtomicU64) -> Option<()> {
    let mut input = BufReader::new(stream);
    let mut line = String::new();
    input.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        input.read_line(&mut header).ok()?;
        let header = header.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body).ok()?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (text, count) = respond(&path, &body, world);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=UTF-8\r\nX-Result-Count: {count}\r\n\
         X-Skipped-Elements-Count: 0\r\nContent-Length: {}\r\n\r\n",
        text.len()
    );
    sent.fetch_add(text.len() as u64, Ordering::Relaxed);
    let mut output = stream;
    output.write_all(head.as_bytes()).and_then(|()| output.write_all(text.as_bytes())).ok()
}

fn respond(path: &str, body: &Value, world: &World) -> (String, u64) {
    let events = world.attributes.div_ceil(EVENT);
    match path {
        "/servers/getVersion" => (r#"{"version":"2.5.1"}"#.into(), 0),
        "/users/view/me" => (r#"{"User":{"id":"1"},"Role":{},"Organisation":{}}"#.into(), 0),
        "/tags/search" => (r#"[{"Tag":{"id":"1","name":"example:incident-classification=block"}}]"#.into(), 0),
        "/warninglists/index" => (r#"{"Warninglists":[]}"#.into(), 0),
        "/events/index" => {
            let entry = |id: u64| {
                format!(
                    r#"{{"id":"{id}","timestamp":"{}","published":true,"uuid":"{}","orgc_uuid":"{ORGANISATION}"}}"#,
                    world.timestamp(id),
                    uuid(0, id)
                )
            };
            (format!("[{}]", (1..=events).map(entry).collect::<Vec<_>>().join(",")), events)
        }
        _ => search(body, world),
    }
}

fn search(body: &Value, world: &World) -> (String, u64) {
    let Some(events) = body["eventid"].as_array() else {
        return (r#"{"response": {"Attribute": []}}"#.into(), 1);
    };
    let (limit, page) = (body["limit"].as_u64().unwrap(), body["page"].as_u64().unwrap());
    let rows = events.iter().filter_map(Value::as_u64).flat_map(|event| (event - 1) * EVENT..event * EVENT);
    let mut text = String::from(r#"{"response": {"Attribute": ["#);
    let mut count = 0;
    let from = usize::try_from((page - 1) * limit).unwrap();
    for row in rows.filter(|row| *row < world.attributes).skip(from).take(usize::try_from(limit).unwrap()) {
        if count > 0 {
            text.push(',');
        }
        push_row(&mut text, row, world);
        count += 1;
    }
    text.push_str("]}}");
    (text, count + u64::from(count == limit || count == 0))
}

/// About 800 bytes, as MISP writes a row with context; types in turn, ages from one hour to ninety days. In an event that changed
/// one row has another value.
fn push_row(text: &mut String, row: u64, world: &World) {
    let (event, seconds) = (row / EVENT + 1, world.now - 3600 - row * 7_772_400 / world.attributes);
    let name = if row.is_multiple_of(EVENT) { row + world.changes(event) * (1 << 28) } else { row };
    let hash = u128::from(name).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    let (kind, value) = match (row.wrapping_mul(0x9E37_79B1) >> 16) % 5 {
        0 => ("ip-dst", format!("{}.{}.{}.{}", 11 + (name >> 24 & 63), name >> 16 & 255, name >> 8 & 255, name & 255)),
        1 => ("domain", format!("d{name}.bulk.example.org")),
        2 => ("sha256", format!("{hash:032x}{name:032x}")),
        3 => ("url", format!("https:\\/\\/h{name}.bulk.example.org\\/p\\/{name:016x}")),
        _ => ("md5", format!("{hash:032x}")),
    };
    write!(
        text,
        r##"{{"id":"{row}","event_id":"{event}","object_id":"0","object_relation":null,"category":"Network activity","type":"{kind}","to_ids":true,"uuid":"{}","timestamp":"{seconds}","distribution":"5","sharing_group_id":"0","comment":"","deleted":false,"disable_correlation":false,"first_seen":null,"last_seen":null,"value":"{value}","Event":{{"id":"{event}","orgc_id":"1","org_id":"1","date":"2026-01-01","threat_level_id":"3","info":"Bulk {event}","published":true,"uuid":"{}","analysis":"2","timestamp":"{}","distribution":"3","publish_timestamp":"{}","sharing_group_id":"0","extends_uuid":"","Tag":[],"Orgc":{{"id":"1","name":"Example","uuid":"{ORGANISATION}","local":true}}}},"Tag":[{{"id":"1","name":"example:incident-classification=block","colour":"#000000","numerical_value":null,"is_galaxy":false,"local":false}}]}}"##,
        uuid(1, row),
        uuid(0, event),
        world.timestamp(event),
        world.timestamp(event),
    )
    .unwrap();
}

fn uuid(kind: u64, number: u64) -> String {
    format!("00000000-000{kind}-4000-8000-{number:012x}")
}
