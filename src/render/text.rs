//! `txt`: values joined with CRLF, no line end after the last; the empty list is the empty body.

const LINE_END: &str = "\r\n";

/// Writes the list; the number of entries.
pub fn write(_data_type: &str, values: &mut dyn Iterator<Item = &str>, out: &mut Vec<u8>) -> u64 {
    let mut entries = 0;
    for value in values {
        if entries > 0 {
            out.extend_from_slice(LINE_END.as_bytes());
        }
        out.extend_from_slice(value.as_bytes());
        entries += 1;
    }
    entries
}

/// Reads the lines back.
pub fn values(body: &[u8]) -> Option<Vec<String>> {
    Some(lines(body)?.into_iter().map(str::to_owned).collect())
}

/// The lines, where they stand.
pub fn lines(body: &[u8]) -> Option<Vec<&str>> {
    let text = std::str::from_utf8(body).ok()?;
    if text.is_empty() {
        return Some(Vec::new());
    }
    let (mut lines, mut start) = (Vec::new(), 0);
    // Several times as fast as `str::split`, and lists are long.
    for end in memchr::memmem::find_iter(body, LINE_END) {
        lines.push(&text[start..end]);
        start = end + LINE_END.len();
    }
    lines.push(&text[start..]);
    Some(lines)
}
