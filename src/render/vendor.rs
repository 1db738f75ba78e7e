//! Vendor profiles: lists as a product's external list reader wants them, one value a line, joined as in [`text`].
//!
//! Invariants: `cisco` is `txt` under a URL of its own; so is `paloalto`, but that URLs come without their scheme, sorted and
//! unique again, and never as an empty line, which would end or spoil the list there.

use super::text;

/// The data type whose values carry a scheme.
const URL: &str = "url";

/// Writes the list for PAN-OS; the number of entries.
pub fn paloalto(data_type: &str, values: &mut dyn Iterator<Item = &str>, out: &mut Vec<u8>) -> u64 {
    if data_type != URL {
        return text::write(data_type, values, out);
    }
    let mut stripped: Vec<&str> = values.map(without_scheme).filter(|value| !value.is_empty()).collect();
    stripped.sort_unstable();
    stripped.dedup();
    text::write(data_type, &mut stripped.into_iter(), out)
}

/// Takes a leading scheme off: a letter, then letters, digits, `+ - .`, then `://`.
fn without_scheme(value: &str) -> &str {
    let Some((scheme, rest)) = value.split_once("://") else { return value };
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(good);
    if is_scheme { rest } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(data_type: &str, list: &[&str]) -> (u64, String) {
        let mut out = Vec::new();
        let entries = paloalto(data_type, &mut list.iter().copied(), &mut out);
        (entries, String::from_utf8(out).unwrap())
    }

    #[test]
    fn only_a_leading_scheme_is_taken_off() {
        for (url, line) in [
            ("HTTPS://a/", "a/"),
            ("h+t-t.2://a", "a"),
            ("a://b://c", "b://c"),
            ("a/b?u=http://c/", "a/b?u=http://c/"),
            ("://a", "://a"),
            ("1http://a", "1http://a"),
            ("http:/a", "http:/a"),
        ] {
            assert_eq!(lines(URL, &[url]), (1, line.into()));
            assert_eq!(lines("domain", &[url]), (1, url.into()));
        }
    }

    #[test]
    fn lines_are_sorted_unique_and_never_empty() {
        let list = ["", "ftp://b", "http://", "http://a", "https://a", "https://c"];
        assert_eq!(lines(URL, &list), (3, "a\r\nb\r\nc".into()));
        assert_eq!(lines(URL, &["http://"]), (0, String::new()));
    }
}
