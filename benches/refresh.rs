//! What a refresh costs: `cargo bench --bench refresh [spread] [attributes …]`, by default 10,000, 100,000 and
//! 1,000,000. With `spread` rows become too old for some window every few seconds, without it none does.
//!
//! A made-up MISP on the loopback answers as fast as it can make rows; `cratos serve` refreshes from it in an empty folder, when
//! `cratos refresh` tells it to. Printed per size and kind of refresh: wall time, CPU time of the program, also as a share of the
//! full refresh and as a multiple of only parsing the same bytes (430 MB/s of one core, as serde_json does here), peak memory,
//! bytes on the wire, bytes and files written. Files go to a temporary folder, which is removed.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has nothing to report")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it writes files and listens on its own")]

mod misp;
mod program;

use std::sync::atomic::Ordering;

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
    let spread = std::env::args().any(|argument| argument == "spread");
    let sizes: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    println!(
        "| attributes | refresh | wall s | CPU s | of full | of parsing | peak MB | received MB | written MB | files |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for attributes in if sizes.is_empty() { vec![10_000, 100_000, 1_000_000] } else { sizes } {
        let misp = misp::Server::start(attributes, spread);
        let folder = tempfile::tempdir().unwrap();
        program::configure(folder.path(), misp.port, "31d", "");
        let cratos = program::Cratos::start(folder.path());
        let mut full_cpu = 0.0;
        for (name, every, full) in KINDS {
            if every > 0 {
                misp.world.change(every);
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
