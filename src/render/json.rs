//! `json`: `["a", "b"]` as Python's `json.dumps` writes it: comma and space between, everything outside printable ASCII
//! escaped (as UTF-16 surrogate pairs where need be).

/// Writes the list; the number of entries.
pub fn write(_data_type: &str, values: &mut dyn Iterator<Item = &str>, out: &mut Vec<u8>) -> u64 {
    out.push(b'[');
    let mut entries = 0;
    for value in values {
        if entries > 0 {
            out.extend_from_slice(b", ");
        }
        quote(value, out);
        entries += 1;
    }
    out.push(b']');
    entries
}

/// Writes a text in quotes, in ASCII.
pub(super) fn quote(value: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for character in value.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            ' '..='\u{7e}' => out.push(character as u8),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            }
        }
    }
    out.push(b'"');
}

/// Reads the list back.
pub fn values(body: &[u8]) -> Option<Vec<String>> {
    serde_json::from_slice(body).ok()
}
