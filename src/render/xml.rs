//! `xml`: `<ipv4><entry>a</entry></ipv4>`, the root named as the data type, `& < >` escaped; the empty list is `<ipv4 />`.
//!
//! Invariants: the body is well-formed XML 1.0. An entry with a character that XML 1.0 does not allow, not even escaped, is
//! left out and not counted.

use memchr::memchr3;

const DECLARATION: &[u8] = b"<?xml version='1.0' encoding='utf-8'?>\n";
const OPEN: &str = "<entry>";
const CLOSE: &str = "</entry>";
const EMPTY: &str = "<entry />";

/// Writes the list; the number of entries.
pub fn write(data_type: &str, values: &mut dyn Iterator<Item = &str>, out: &mut Vec<u8>) -> u64 {
    out.extend_from_slice(DECLARATION);
    let mut entries = 0;
    for value in values.filter(|value| is_allowed(value)) {
        if entries == 0 {
            tag("<", data_type, ">", out);
        }
        entries += 1;
        if value.is_empty() {
            out.extend_from_slice(EMPTY.as_bytes());
            continue;
        }
        out.extend_from_slice(OPEN.as_bytes());
        escape(value.as_bytes(), out);
        out.extend_from_slice(CLOSE.as_bytes());
    }
    match entries {
        0 => tag("<", data_type, " />", out),
        _ => tag("</", data_type, ">", out),
    }
    entries
}

fn tag(before: &str, name: &str, behind: &str, out: &mut Vec<u8>) {
    [before, name, behind].iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
}

/// Controls are the only ASCII characters XML 1.0 leaves out, and U+FFFE and U+FFFF the only others a `str` can hold.
fn is_allowed(value: &str) -> bool {
    let control = |byte: u8| byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
    !value.bytes().any(control) && (value.is_ascii() || !value.contains(['\u{fffe}', '\u{ffff}']))
}

fn escape(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr3(b'&', b'<', b'>', text) {
        out.extend_from_slice(&text[..at]);
        out.extend_from_slice(match text[at] {
            b'&' => b"&amp;",
            b'<' => b"&lt;",
            _ => b"&gt;",
        });
        text = &text[at + 1..];
    }
    out.extend_from_slice(text);
}

/// Reads the entries of a body that [`write()`] made.
pub fn values(body: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(body.strip_prefix(DECLARATION)?).ok()?;
    let (name, mut rest) = text.strip_prefix('<')?.split_once(['>', ' '])?;
    let mut values = Vec::new();
    if rest == "/>" {
        return Some(values);
    }
    loop {
        if let Some(behind) = rest.strip_prefix(EMPTY) {
            values.push(String::new());
            rest = behind;
        } else if let Some(value) = rest.strip_prefix(OPEN) {
            let (value, behind) = value.split_once(CLOSE)?;
            values.push(unescape(value));
            rest = behind;
        } else {
            let end = rest.strip_prefix("</")?.strip_suffix('>')?;
            return (end == name).then_some(values);
        }
    }
}

/// The ampersand last: `&amp;lt;` is `&lt;`.
fn unescape(text: &str) -> String {
    if text.contains('&') { text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_hold_is_left_out_and_not_counted() {
        let body = |list: &[&str]| {
            let mut out = Vec::new();
            let entries = write("mutex", &mut list.iter().copied(), &mut out);
            (entries, String::from_utf8(out.split_off(DECLARATION.len())).unwrap())
        };
        assert_eq!(body(&["nul\0mid"]), (0, "<mutex />".into()));
        assert_eq!(body(&["a\u{1b}", "b\u{fffe}", "\u{ffff}"]), body(&[]));
        assert_eq!(body(&["\u{b}", "a"]), (1, "<mutex><entry>a</entry></mutex>".into()));
        assert_eq!(body(&["\t\r\n\u{7f}\u{85}\u{fffd}\u{10ffff}"]).0, 1);
    }

    #[test]
    fn only_its_own_bodies_are_read() {
        for bad in ["", "<a />", "<?xml version='1.0' encoding='utf-8'?>\n<a><entry>b</entry></c>"] {
            assert_eq!(values(bad.as_bytes()), None, "{bad}");
        }
    }
}
