//! A MISP on the loopback that makes its rows up, as fast as it can: what the benches refresh from.
//!
//! In: how many attributes, and what changed. Out: answers as a MISP writes them, some 800 bytes per row. All rows are in one
//! feed, of five types in turn, from an hour to ninety days old.
//!
//! Invariant: what it answers is a function of the size, the moment it was started and the changes since.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// Attributes per event.
const EVENT: u64 = 50;
const ORGANISATION: &str = "55f6ea5e-2c60-40e5-964f-47a8950d210f";
/// Two hours, in seconds: no window begins within half an hour of a row whose age is an odd number of hours and a half.
const STEP: u64 = 7200;

/// A MISP that makes its rows up.
pub struct Server {
    pub port: u16,
    /// Bytes of answers.
    pub sent: Arc<AtomicU64>,
    pub world: Arc<World>,
}

/// What it holds.
pub struct World {
    attributes: u64,
    /// Unix seconds.
    now: u64,
    /// Rows are of every age, so that some become too old for a window every few seconds; otherwise none does for half an hour.
    spread: bool,
    /// How often something changed, and then in one of so many events.
    pub generation: AtomicU64,
    pub every: AtomicU64,
    /// It takes connections and says nothing.
    pub silent: AtomicBool,
    /// Requests that got no answer for it.
    pub unanswered: AtomicU64,
}

impl World {
    /// Nothing has changed yet.
    pub fn new(attributes: u64, spread: bool) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let (every, generation, silent, unanswered) = Default::default();
        Self { attributes, now, spread, generation, every, silent, unanswered }
    }

    /// Number of events; the first one is 1.
    pub fn events(&self) -> u64 {
        self.attributes.div_ceil(EVENT)
    }

    /// How often this event changed.
    fn changes(&self, event: u64) -> u64 {
        let every = self.every.load(Ordering::Relaxed);
        if every > 0 && event.is_multiple_of(every) { self.generation.load(Ordering::Relaxed) } else { 0 }
    }

    fn timestamp(&self, event: u64) -> u64 {
        self.now - 3600 + self.changes(event)
    }

    /// What is in the rows of an event that changed is new.
    fn row_timestamp(&self, row: u64, changes: u64) -> u64 {
        let age = 3600 + row * 7_772_400 / self.attributes;
        match changes {
            0 if self.spread => self.now - age,
            0 => self.now - age / STEP * STEP - STEP * 3 / 4,
            changes => self.now - 600 + changes,
        }
    }

    /// From now on one of so many events has changed once more.
    pub fn change(&self, every: u64) {
        self.every.store(every, Ordering::Relaxed);
        self.generation.fetch_add(1, Ordering::Relaxed);
    }
}

impl Server {
    pub fn start(attributes: u64, spread: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, sent) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU64::new(0)));
        let world = Arc::new(World::new(attributes, spread));
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
    if world.silent.load(Ordering::Relaxed) {
        world.unanswered.fetch_add(1, Ordering::Relaxed);
        while world.silent.load(Ordering::Relaxed) {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        // What was asked in silence is never answered.
        return None;
    }
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
    let events = world.events();
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
    rows(events.iter().filter_map(Value::as_u64), limit, page, world)
}

/// One page of the rows of some events, and what the server says their number is.
pub fn rows(events: impl Iterator<Item = u64>, limit: u64, page: u64, world: &World) -> (String, u64) {
    let rows = events.flat_map(|event| (event - 1) * EVENT..event * EVENT);
    let mut text = String::from(r#"{"response": {"Attribute": ["#);
    let mut count = 0;
    let from = usize::try_from((page - 1).saturating_mul(limit)).unwrap();
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

/// About 800 bytes, as MISP writes a row with context. In an event that changed one row is new.
fn push_row(text: &mut String, row: u64, world: &World) {
    let event = row / EVENT + 1;
    let changes = if row.is_multiple_of(EVENT) { world.changes(event) } else { 0 };
    let (name, seconds) = (row + changes * (1 << 28), world.row_timestamp(row, changes));
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
