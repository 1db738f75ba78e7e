//! Answers while the MISP takes connections and says nothing, against answers while all is well.
//!
//! In: the bed, a period and how many rounds. Out: a row: 99th percentiles of both, medians of rounds in turn; the median
//! of the ratios, and how far they lie apart.
//!
//! Invariants: the same connection, list and number of requests on both sides; in a silent round a request of the program to
//! the MISP hangs when the round begins; a healthy one begins when a refresh has ended, so that nothing but serving is in it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::client::Client;
use super::{Bed, list, median, percentile, row};

const REQUESTS: u32 = 20_000;
/// The MISP has said all it was asked for when it has said nothing for so long.
const QUIET: Duration = Duration::from_millis(300);
const WANTED: f64 = 1.2;

pub fn measure(bed: &Bed, period: u64, rounds: u32) {
    let running = bed.serve(&format!("{period}s"), "mispTimeoutSeconds: 1\n");
    let mut client = bed.connect(&running);
    let (mut healthy, mut silent) = (Vec::new(), Vec::new());
    // The first ones find nothing in memory.
    p99(&mut client);
    for _ in 0..rounds {
        settle(bed);
        healthy.push(p99(&mut client));
        hush(bed);
        silent.push(p99(&mut client));
    }
    bed.misp.world.silent.store(false, Ordering::Relaxed);
    let ratios: Vec<f64> = silent.iter().zip(&healthy).map(|(ill, well)| ill / well).collect();
    row(
        "p99 of 304s while the MISP is silent, against while it is well",
        &format!(
            "{:.0} µs against {:.0} µs, {:.2}x ({:.2} to {:.2})",
            median(&silent),
            median(&healthy),
            median(&ratios),
            percentile(&ratios, 0.0),
            percentile(&ratios, 1.0)
        ),
        &format!("at most {WANTED}x"),
    );
}

/// The MISP answers again, and what it was asked for is over.
fn settle(bed: &Bed) {
    bed.misp.world.silent.store(false, Ordering::Relaxed);
    let said = || bed.misp.sent.load(Ordering::Relaxed);
    let before = said();
    until(&mut || said() > before);
    let (mut last, mut since) = (said(), Instant::now());
    until(&mut || {
        if said() != last {
            (last, since) = (said(), Instant::now());
        }
        since.elapsed() > QUIET
    });
}

/// The MISP says nothing, and somebody waits for it.
fn hush(bed: &Bed) {
    let waiting = || bed.misp.world.unanswered.load(Ordering::Relaxed);
    let before = waiting();
    bed.misp.world.silent.store(true, Ordering::Relaxed);
    until(&mut || waiting() > before);
}

fn until(is_so: &mut dyn FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the program does not ask");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// In microseconds.
fn p99(client: &mut Client) -> f64 {
    let path = list("file-md5", "txt");
    let tag = client.get(&path, "").unwrap().etag;
    let mut once = || {
        let begun = Instant::now();
        assert_eq!(client.get(&path, &tag).unwrap().status, 304);
        begun.elapsed().as_secs_f64() * 1e6
    };
    let times: Vec<f64> = (0..REQUESTS).map(|_| once()).collect();
    percentile(&times, 0.99)
}
