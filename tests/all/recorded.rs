//! Reads the recorded rows of `tests/conformance/`: JSON lines, xz-compressed.

use std::path::Path;

use serde::de::DeserializeOwned;

/// Every row of a text.
pub fn lines<T: DeserializeOwned>(text: &str) -> Vec<T> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every row of an xz-compressed file of JSON lines.
pub fn xz_rows<T: DeserializeOwned>(compressed: &[u8]) -> Vec<T> {
    xz_text(compressed).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The text of an xz file below `tests/conformance/`.
pub fn xz(path: impl AsRef<Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(path);
    xz_text(&std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// An xz-compressed text.
pub fn xz_text(mut compressed: &[u8]) -> String {
    let mut text = Vec::new();
    lzma_rs::xz_decompress(&mut compressed, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}
