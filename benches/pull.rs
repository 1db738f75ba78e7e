//! What a full pull costs: `cargo bench --bench pull [attributes …]`, by default 100,000 and 1,000,000.
//!
//! A made-up MISP on the loopback answers as fast as it can make rows; `cratos refresh` pulls from it in an empty folder.
//! Printed per size: wall time, CPU time and peak memory of the client, bytes on the wire, and what a second refresh, with
//! nothing new, takes. Files go to a temporary folder, which is removed.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has nothing to report")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it writes files and listens on its own")]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
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

fn main() {
    let sizes: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    println!("| attributes | refresh | wall s | CPU s | peak MB | received MB |\n|---|---|---|---|---|---|");
    for attributes in if sizes.is_empty() { vec![100_000, 1_000_000] } else { sizes } {
        let server = Server::start(attributes);
        let folder = tempfile::tempdir().unwrap();
        configure(folder.path(), server.port);
        for name in ["full", "nothing new", "full again"] {
            let before = server.sent.load(Ordering::Relaxed);
            let run = run(folder.path(), name == "full again");
            let received = (server.sent.load(Ordering::Relaxed) - before) as f64 / 1e6;
            println!("| {attributes} | {name} | {:.1} | {:.1} | {:.0} | {received:.0} |", run.wall, run.cpu, run.peak);
        }
    }
}

struct Run {
    wall: f64,
    cpu: f64,
    peak: f64,
}

fn configure(folder: &Path, port: u16) {
    fs::create_dir_all(folder.join("config")).unwrap();
    fs::create_dir_all(folder.join("sites")).unwrap();
    let config = "encryption_key: bench-encryption-key\nsalt: bench-salt\n";
    fs::write(folder.join("config/config.yaml"), config).unwrap();
    let site = format!(
        "enabled: true\ntag: example\ncustom_feeds: {{}}\nallowed_ips: []\nmispUrl: http://127.0.0.1:{port}\n\
         mispAuthKey: {KEY}\nrefresh_time_limit: 1h\n"
    );
    fs::write(folder.join("sites/misp.example.net.yaml"), site).unwrap();
}

/// Runs `cratos refresh` and watches it.
fn run(folder: &Path, full: bool) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cratos"));
    command.env_clear().arg("-C").arg(folder).arg("refresh").args(full.then_some("--full"));
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let (mut peak, mut ticks) = (0.0, 0.0);
    let status = loop {
        // The last look before the end counts: both only grow.
        let id = child.id();
        peak = memory(id).unwrap_or(peak);
        ticks = cpu(id).unwrap_or(ticks);
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    assert!(status.success(), "the refresh failed");
    Run { wall: begun.elapsed().as_secs_f64(), cpu: ticks, peak }
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
}

impl Server {
    fn start(attributes: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, sent) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU64::new(0)));
        let (count, now) = (Arc::clone(&sent), SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                std::thread::spawn(move || while answer(&stream, attributes, now, &count).is_some() {});
            }
        });
        Self { port, sent }
    }
}

/// One request; `None` ends the connection.
fn answer(stream: &TcpStream, attributes: u64, now: u64, sent: &AtomicU64) -> Option<()> {
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
    let (text, count) = respond(&path, &body, attributes, now);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=UTF-8\r\nX-Result-Count: {count}\r\n\
         X-Skipped-Elements-Count: 0\r\nContent-Length: {}\r\n\r\n",
        text.len()
    );
    sent.fetch_add(text.len() as u64, Ordering::Relaxed);
    let mut output = stream;
    output.write_all(head.as_bytes()).and_then(|()| output.write_all(text.as_bytes())).ok()
}

fn respond(path: &str, body: &Value, attributes: u64, now: u64) -> (String, u64) {
    let events = attributes.div_ceil(EVENT);
    match path {
        "/servers/getVersion" => (r#"{"version":"2.5.1"}"#.into(), 0),
        "/users/view/me" => (r#"{"User":{"id":"1"},"Role":{},"Organisation":{}}"#.into(), 0),
        "/tags/search" => (r#"[{"Tag":{"id":"1","name":"example:incident-classification=block"}}]"#.into(), 0),
        "/warninglists/index" => (r#"{"Warninglists":[]}"#.into(), 0),
        "/events/index" => {
            let entry = |id: u64| {
                format!(
                    r#"{{"id":"{id}","timestamp":"{}","published":true,"uuid":"{}","orgc_uuid":"{ORGANISATION}"}}"#,
                    now - 3600,
                    uuid(0, id)
                )
            };
            (format!("[{}]", (1..=events).map(entry).collect::<Vec<_>>().join(",")), events)
        }
        _ => search(body, attributes, now),
    }
}

fn search(body: &Value, attributes: u64, now: u64) -> (String, u64) {
    let Some(events) = body["eventid"].as_array() else {
        return (r#"{"response": {"Attribute": []}}"#.into(), 1);
    };
    let (limit, page) = (body["limit"].as_u64().unwrap(), body["page"].as_u64().unwrap());
    let rows = events.iter().filter_map(Value::as_u64).flat_map(|event| (event - 1) * EVENT..event * EVENT);
    let mut text = String::from(r#"{"response": {"Attribute": ["#);
    let mut count = 0;
    let from = usize::try_from((page - 1) * limit).unwrap();
    for row in rows.filter(|row| *row < attributes).skip(from).take(usize::try_from(limit).unwrap()) {
        if count > 0 {
            text.push(',');
        }
        push_row(&mut text, row, attributes, now);
        count += 1;
    }
    text.push_str("]}}");
    (text, count + u64::from(count == limit || count == 0))
}

/// About 800 bytes, as MISP writes a row with context; types in turn, ages from one hour to ninety days.
fn push_row(text: &mut String, row: u64, attributes: u64, now: u64) {
    let (event, seconds) = (row / EVENT + 1, now - 3600 - row * 7_772_400 / attributes);
    let hash = u128::from(row).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    let (kind, value) = match row % 5 {
        0 => ("ip-dst", format!("{}.{}.{}.{}", 11 + (row >> 24 & 63), row >> 16 & 255, row >> 8 & 255, row & 255)),
        1 => ("domain", format!("d{row}.bulk.example.org")),
        2 => ("sha256", format!("{hash:032x}{row:032x}")),
        3 => ("url", format!("https:\\/\\/h{row}.bulk.example.org\\/p\\/{row:016x}")),
        _ => ("md5", format!("{hash:032x}")),
    };
    write!(
        text,
        r##"{{"id":"{row}","event_id":"{event}","object_id":"0","object_relation":null,"category":"Network activity","type":"{kind}","to_ids":true,"uuid":"{}","timestamp":"{seconds}","distribution":"5","sharing_group_id":"0","comment":"","deleted":false,"disable_correlation":false,"first_seen":null,"last_seen":null,"value":"{value}","Event":{{"id":"{event}","orgc_id":"1","org_id":"1","date":"2026-01-01","threat_level_id":"3","info":"Bulk {event}","published":true,"uuid":"{}","analysis":"2","timestamp":"{}","distribution":"3","publish_timestamp":"{}","sharing_group_id":"0","extends_uuid":"","Tag":[],"Orgc":{{"id":"1","name":"Example","uuid":"{ORGANISATION}","local":true}}}},"Tag":[{{"id":"1","name":"example:incident-classification=block","colour":"#000000","numerical_value":null,"is_galaxy":false,"local":false}}]}}"##,
        uuid(1, row),
        uuid(0, event),
        now - 3600,
        now - 3600,
    )
    .unwrap();
}

fn uuid(kind: u64, number: u64) -> String {
    format!("00000000-000{kind}-4000-8000-{number:012x}")
}
