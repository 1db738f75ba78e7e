//! From a change at the MISP until the list that is served has it.
//!
//! In: the bed and a period. Out: a row: median, 95th percentile and longest of twenty rounds.
//!
//! Invariants: one event changes per round; the moment of the change wanders over the whole period, so that neither the best
//! nor the worst moment is met more often than others.

use std::time::{Duration, Instant};

use super::{Bed, TYPES, list, percentile, row};

const ROUNDS: u32 = 20;
/// What reading, publishing and being noticed may take beyond the period.
const BEYOND: u64 = 5;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// Multiples of it, without their whole parts, lie as evenly as numbers can.
const GOLDEN: f64 = 0.618_034;

pub fn measure(bed: &Bed, period: u64) {
    let running = bed.serve(&format!("{period}s"), "");
    let mut client = bed.connect(&running);
    let (world, lists) = (&bed.misp.world, TYPES.map(|data_type| list(data_type, "txt")));
    let mut waits = Vec::new();
    for round in 0..=ROUNDS {
        std::thread::sleep(Duration::from_secs(period).mul_f64((f64::from(round) * GOLDEN).fract()));
        let tags = lists.each_ref().map(|path| client.get(path, "").unwrap().etag);
        let begun = Instant::now();
        // Only the last event has a number that this divides.
        world.change(world.events());
        while lists.iter().zip(&tags).all(|(path, tag)| client.get(path, tag).unwrap().status == 304) {
            assert!(begun.elapsed() < Duration::from_secs(120), "a change does not arrive");
            std::thread::sleep(LOOK);
        }
        // The first one takes back what changed for another row, too.
        if round > 0 {
            waits.push(begun.elapsed().as_secs_f64());
        }
    }
    let [p50, p95, most] = [0.5, 0.95, 1.0].map(|part| percentile(&waits, part));
    row(
        &format!("a change at the MISP until it is served, refresh every {period} s"),
        &format!("p50 {p50:.1} s, p95 {p95:.1} s, longest {most:.1} s"),
        &format!("p95 at most {} s", period + BEYOND),
    );
}
