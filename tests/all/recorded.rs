//! Reads the recorded rows of `tests/conformance/`: gzipped JSON lines.

use std::io::Read;

use flate2::read::GzDecoder;
use serde::de::DeserializeOwned;

/// Every row of a file.
pub fn rows<T: DeserializeOwned>(gzipped: &[u8]) -> Vec<T> {
    let mut text = String::new();
    GzDecoder::new(gzipped).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
