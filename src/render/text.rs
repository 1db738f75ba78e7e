//! `txt`: values joined with CRLF, no line end after the last; the empty list is the empty body.

/// Writes the list; the number of entries.
pub fn write(_data_type: &str, values: &mut dyn Iterator<Item = &str>, out: &mut Vec<u8>) -> u64 {
    let mut entries = 0;
    for value in values {
        if entries > 0 {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(value.as_bytes());
        entries += 1;
    }
    entries
}

/// Reads the lines back.
pub fn values(body: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(body).ok()?;
    Some(if text.is_empty() { Vec::new() } else { text.split("\r\n").map(str::to_owned).collect() })
}
