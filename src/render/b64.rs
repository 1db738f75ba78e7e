//! `b64`: the base64 of every value, joined with CRLF in the order of the plain values; the empty list is the empty body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Writes the list; the number of entries.
pub fn write(_data_type: &str, values: &mut dyn Iterator<Item = &str>, out: &mut Vec<u8>) -> u64 {
    let mut entries = 0;
    for value in values {
        if entries > 0 {
            out.extend_from_slice(b"\r\n");
        }
        encode(value.as_bytes(), out);
        entries += 1;
    }
    entries
}

/// Into the room that is made for it at the end.
fn encode(value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + value.len().div_ceil(3) * 4, b'=');
    // It cannot fail: the room is exactly as long as the text.
    let written = STANDARD.encode_slice(value, &mut out[start..]).unwrap_or_default();
    out.truncate(start + written);
}

/// Reads the lines back.
pub fn values(body: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(body).ok()?;
    let read = |line| String::from_utf8(STANDARD.decode(line).ok()?).ok();
    if text.is_empty() { Some(Vec::new()) } else { text.split("\r\n").map(read).collect() }
}
