//! `txt`: values joined with CRLF, no line end after the last; the empty list is the empty body.

/// Writes the list.
pub fn write(values: &mut dyn Iterator<Item = &str>, out: &mut Vec<u8>) {
    for (at, value) in values.enumerate() {
        if at > 0 {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(value.as_bytes());
    }
}

/// Reads the lines back.
pub fn values(body: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(body).ok()?;
    Some(if text.is_empty() { Vec::new() } else { text.split("\r\n").map(str::to_owned).collect() })
}
