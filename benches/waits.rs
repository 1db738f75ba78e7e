//! What somebody waits for: `cargo bench --bench waits [row …] [attributes]`, by default all rows at 1,000,000: four to five
//! minutes; one and a half at 10,000. What stands on stderr is what the program says of a MISP that does not answer.
//!
//! In: a made-up MISP on the loopback and `cratos serve` in a temporary folder, one folder for all rows, one program per row.
//! Out: a line of a table as soon as it is measured: what, how much, and how much is wanted.
//!
//! | row | measures |
//! |---|---|
//! | `disk` | what a refresh adds on disk |
//! | `news` | from a change at the MISP until the list that is served has it |
//! | `silent` | answers while the MISP says nothing |
//! | `demand` | a list that nobody has asked for before |
//! | `restart` | from the start of the program to the first answer |
//!
//! Invariants: rows are read from the MISP once, by the first program; nothing listens but on the loopback; nothing is left
//! behind.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has nothing to report")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it writes files and connects on its own")]

mod client;
#[path = "waits/demand.rs"]
mod demand;
#[path = "waits/disk.rs"]
mod disk;
mod misp;
#[path = "waits/news.rs"]
mod news;
#[allow(dead_code, reason = "refreshes are asked for, and not what they cost")]
mod program;
#[path = "waits/restart.rs"]
mod restart;
#[path = "waits/silent.rs"]
mod silent;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use client::Client;
use cratos::snapshot::layout;
use program::{Cratos, SITE};

/// The lists that have entries, at an age that holds all of them.
const TYPES: [&str; 5] = ["ipv4", "domain", "file-sha256", "url", "file-md5"];
/// In this order: lists on demand would be part of all that follows.
const ROWS: [&str; 5] = ["disk", "news", "silent", "demand", "restart"];
/// From here on refreshing takes long enough for a longer period; with less, there is less patience for rounds.
const MANY: u64 = 500_000;

fn main() {
    let attributes = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let named: Vec<String> = std::env::args().filter(|argument| ROWS.contains(&&**argument)).collect();
    let bed = Bed::new(attributes);
    let (period, rounds) = if attributes < MANY { (1, 5) } else { (6, 9) };
    println!("{attributes} attributes\n\n| what | measured | wanted |\n|---|---|---|");
    for name in ROWS.into_iter().filter(|name| named.is_empty() || named.iter().any(|wanted| wanted == name)) {
        match name {
            "disk" => disk::measure(&bed),
            "news" => news::measure(&bed, period),
            "silent" => silent::measure(&bed, period.min(2), rounds),
            "demand" => demand::measure(&bed),
            _ => restart::measure(&bed),
        }
    }
}

/// What all rows share.
struct Bed {
    misp: misp::Server,
    folder: tempfile::TempDir,
    token: String,
}

/// A program that answers, and where.
struct Running {
    cratos: Cratos,
    port: u16,
}

impl Bed {
    fn new(attributes: u64) -> Self {
        let (misp, folder) = (misp::Server::start(attributes, false), tempfile::tempdir().unwrap());
        program::configure(folder.path(), misp.port, "31d", "");
        let mut issue = Command::new(env!("CARGO_BIN_EXE_cratos"));
        issue.env_clear().arg("-C").arg(folder.path()).args([
            "token",
            "issue",
            "--site",
            SITE,
            "--expire",
            "2099-12-31",
        ]);
        let token = issue.stderr(Stdio::null()).output().unwrap().stdout;
        let bed = Self { misp, folder, token: String::from_utf8(token).unwrap().trim().to_owned() };
        // It reads all of the MISP by itself; this refresh comes after that.
        bed.serve("31d", "").cratos.refresh(bed.folder.path(), false);
        bed
    }

    /// Starts the program with this period and these further lines of the site file, and waits until it answers.
    fn serve(&self, refresh: &str, more: &str) -> Running {
        let port = program::configure(self.folder.path(), self.misp.port, refresh, more);
        let running = Running { cratos: Cratos::start(self.folder.path()), port };
        self.connect(&running);
        running
    }

    /// The first connection that the program accepts.
    fn connect(&self, running: &Running) -> Client {
        let begun = Instant::now();
        loop {
            match Client::connect(running.port, &self.token) {
                Ok(client) => return client,
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "it does not answer: {error}"),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The folder of the site's main view.
    fn view(&self) -> PathBuf {
        layout::view_dir(&self.folder.path().join("feeds-out"), SITE, "main")
    }
}

/// A list of all entries of a data type.
fn list(data_type: &str, format: &str) -> String {
    format!("/v1/feed/block/type/{data_type}/age/1y/output/{format}")
}

fn row(what: &str, measured: &str, wanted: &str) {
    println!("| {what} | {measured} | {wanted} |");
}

/// The value below which this part of all lie.
fn percentile(of: &[f64], part: f64) -> f64 {
    let mut of = of.to_vec();
    of.sort_unstable_by(f64::total_cmp);
    of[((of.len() as f64 * part).ceil() as usize).clamp(1, of.len()) - 1]
}

fn median(of: &[f64]) -> f64 {
    percentile(of, 0.5)
}
