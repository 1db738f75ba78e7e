//! From the start of the program to its first answers, with a version of many lists on disk.
//!
//! In: the bed. Out: a row: medians of five rounds until all of a large list and until a 304, both from the moment the program
//! is started.
//!
//! Invariant: the version has at least 5,000 artifacts.

use std::time::Instant;

use cratos::snapshot::manifest;

use super::program::{self, Cratos};
use super::{Bed, Running, list, median, row};

const ROUNDS: u32 = 5;
const LEAST: usize = 5_000;
/// Three formats instead of one: three times 2,496 artifacts.
const PUBLISH: &str = "publish: {formats: [txt, json, xml]}\n";

pub fn measure(bed: &Bed) {
    let running = bed.serve("31d", PUBLISH);
    running.cratos.refresh(bed.folder.path(), false);
    let count = manifest::open_current(&bed.view()).unwrap().unwrap().manifest.artifacts.len();
    assert!(count >= LEAST, "{count} artifacts");
    drop(running);
    let (path, mut whole, mut unchanged) = (list("file-md5", "txt"), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let port = program::configure(bed.folder.path(), bed.misp.port, "31d", PUBLISH);
        let begun = Instant::now();
        let running = Running { cratos: Cratos::start(bed.folder.path()), port };
        let mut client = bed.connect(&running);
        let answer = client.get(&path, "").unwrap();
        assert_eq!(answer.status, 200);
        whole.push(begun.elapsed().as_secs_f64() * 1e3);
        assert_eq!(client.get(&path, &answer.etag).unwrap().status, 304);
        unchanged.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    row(
        &format!("from the start to the first answer, {count} artifacts"),
        &format!("a large list {:.0} ms, then a 304 {:.0} ms", median(&whole), median(&unchanged)),
        "at most 500 ms",
    );
}
