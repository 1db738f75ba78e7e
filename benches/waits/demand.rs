//! A list that nobody has asked for before: from the request to its answer, the list being made meanwhile.
//!
//! In: the bed. Out: rows: the first such list after a start, when the mirror is still on disk; the slowest of four others, each
//! asked for by itself, and of being asked for a second time; the slowest of five that are asked for one right after the other.
//!
//! Invariant: a request that is told to come back comes back until it is answered, and all that time counts.

use std::time::{Duration, Instant};

use super::client::Client;
use super::{Bed, TYPES, list, row};

/// Lists are made once a second at most, all together that were asked for until then.
const PAUSE: Duration = Duration::from_millis(1200);
const WANTED: &str = "at most 1 s";

pub fn measure(bed: &Bed) {
    let running = bed.serve("31d", "");
    let mut client = bed.connect(&running);
    let alone = TYPES.map(|data_type| {
        let path = list(data_type, "json");
        let times = (data_type, until_answered(&mut client, &path), until_answered(&mut client, &path));
        std::thread::sleep(PAUSE);
        times
    });
    let (name, first, _) = alone[0];
    row("a list made on demand, the first one after a start", &format!("{first:.2} s ({name})"), WANTED);
    let (name, first, _) = alone[1..].iter().max_by(|one, other| one.1.total_cmp(&other.1)).unwrap();
    let again = alone.iter().map(|(.., again)| *again).fold(0.0, f64::max);
    row(
        "a list made on demand, the slowest of the next four",
        &format!("{first:.2} s ({name}); asked for again {:.1} ms", again * 1e3),
        WANTED,
    );
    let after_another = TYPES.map(|data_type| until_answered(&mut client, &list(data_type, "yaml")));
    let most = after_another.into_iter().fold(0.0, f64::max);
    row("a list made on demand right after another, the slowest of five", &format!("{most:.2} s"), WANTED);
}

/// In seconds.
fn until_answered(client: &mut Client, path: &str) -> f64 {
    let begun = Instant::now();
    loop {
        match client.get(path, "").unwrap().status {
            200 => return begun.elapsed().as_secs_f64(),
            503 => assert!(begun.elapsed() < Duration::from_secs(60), "{path} is not made"),
            status => panic!("{path}: {status}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
