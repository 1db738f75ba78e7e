//! `yaml`: one block sequence, `---\n- a\n`, as PyYAML's `dump` writes it: plain where that is a string again, else single
//! quotes, and double quotes with ASCII escapes where nothing else does; lines fold behind column 80. Empty: `--- []\n`.
//!
//! Invariants: every byte is ASCII; what is written is read as the same text by YAML 1.1 and 1.2. The words YAML 1.1 takes
//! for something else than a string are in `yaml/scalar.rs`.

mod scalar;

use scalar::Style;

/// Behind this column a space becomes a line end.
const WIDTH: usize = 80;
/// Where the values of a list stand: behind a dash and a space.
const ENTRY: Place = Place { column: 2, indent: 2 };

/// Where a text stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Columns before it.
    pub(super) column: usize,
    /// Columns before a line that continues it.
    pub(super) indent: usize,
}

impl Place {
    /// Begins a line that continues the text.
    fn wrap(self, out: &mut Vec<u8>) {
        out.push(b'\n');
        out.resize(out.len() + self.indent, b' ');
    }
}

/// Writes one text as a value.
pub(super) fn text(value: &str, place: Place, out: &mut Vec<u8>) {
    match scalar::style(value) {
        Style::Plain if place.column + value.len() <= WIDTH => out.extend_from_slice(value.as_bytes()),
        Style::Plain => plain(value.as_bytes(), place, out),
        Style::Single => single(value.as_bytes(), place, out),
        Style::Double => double(value, place, out),
    }
}

/// Writes the list; the number of entries.
pub fn write(_data_type: &str, values: &mut dyn Iterator<Item = &str>, out: &mut Vec<u8>) -> u64 {
    out.extend_from_slice(b"---");
    let mut entries = 0;
    for value in values {
        out.extend_from_slice(b"\n- ");
        text(value, ENTRY, out);
        entries += 1;
    }
    out.extend_from_slice(if entries == 0 { b" []\n" } else { b"\n" });
    entries
}

/// Reads the list back.
pub fn values(body: &[u8]) -> Option<Vec<String>> {
    // The body is our own: it needs no bounds against a hostile author.
    let options = serde_yaml::options! { budget: None };
    serde_yaml::from_str_with_options(std::str::from_utf8(body).ok()?, options).ok()
}

/// Without quotes: printable ASCII on one line, folded at single spaces.
fn plain(text: &[u8], place: Place, out: &mut Vec<u8>) {
    let mut column = place.column;
    for run in runs(text) {
        if *run == b" "[..] && column > WIDTH {
            place.wrap(out);
            column = place.indent;
        } else {
            out.extend_from_slice(run);
            column += run.len();
        }
    }
}

/// In single quotes: printable ASCII and line feeds. A quote is doubled, a line feed is an empty line.
fn single(text: &[u8], place: Place, out: &mut Vec<u8>) {
    out.push(b'\'');
    let mut column = place.column + 1;
    let mut at = 0;
    for run in runs(text) {
        let is_inside = at > 0 && at + run.len() < text.len();
        at += run.len();
        match run {
            b" " if column > WIDTH && is_inside => {
                place.wrap(out);
                column = place.indent;
            }
            [b'\n', ..] => {
                out.resize(out.len() + run.len(), b'\n');
                place.wrap(out);
                column = place.indent;
            }
            _ => {
                for piece in run.split_inclusive(|byte| *byte == b'\'') {
                    out.extend_from_slice(piece);
                    column += piece.len();
                    if piece.ends_with(b"'") {
                        out.push(b'\'');
                        column += 1;
                    }
                }
            }
        }
    }
    out.push(b'\'');
}

/// The text in pieces: runs of spaces, of line feeds, and of the rest.
fn runs(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let kind = |byte: u8| if matches!(byte, b' ' | b'\n') { byte } else { 0 };
    text.chunk_by(move |one, next| kind(*one) == kind(*next))
}

/// In double quotes, with escapes: any text. Folded at spaces, and before what follows an escape, with a backslash at the end
/// of the line; a space that begins the next line is escaped.
fn double(text: &str, place: Place, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut column = place.column + 1;
    let mut letters = text.char_indices().peekable();
    // Unescaped letters are ASCII and held back until something else comes: `start` to where we are.
    let mut start = 0;
    while let Some((at, letter)) = letters.next() {
        let next = at + letter.len_utf8();
        let is_plain = matches!(letter, ' '..='~') && !matches!(letter, '"' | '\\');
        if !is_plain {
            out.extend_from_slice(&text.as_bytes()[start..at]);
            column += at - start;
            let before = out.len();
            escape(letter, out);
            column += out.len() - before;
            start = next;
        }
        let is_inside = at > 0 && letters.peek().is_some();
        let (held, is_place) = if is_plain { (at - start, letter == ' ' || start == at) } else { (0, true) };
        // Behind an escape PyYAML counts one column less.
        let end = if is_plain { column + held } else { column - 1 };
        if is_inside && is_place && end > WIDTH {
            out.extend_from_slice(&text.as_bytes()[start..start + held]);
            start += held;
            out.push(b'\\');
            place.wrap(out);
            column = place.indent;
            if text.as_bytes()[start] == b' ' {
                out.push(b'\\');
                column += 1;
            }
        }
    }
    out.extend_from_slice(&text.as_bytes()[start..]);
    out.push(b'"');
}

fn escape(letter: char, out: &mut Vec<u8>) {
    let short = match letter {
        '\0' => b'0',
        '\u{7}' => b'a',
        '\u{8}' => b'b',
        '\t' => b't',
        '\n' => b'n',
        '\u{b}' => b'v',
        '\u{c}' => b'f',
        '\r' => b'r',
        '\u{1b}' => b'e',
        '"' => b'"',
        '\\' => b'\\',
        '\u{85}' => b'N',
        '\u{a0}' => b'_',
        '\u{2028}' => b'L',
        '\u{2029}' => b'P',
        other => return hexadecimal(other as u32, out),
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn hexadecimal(code: u32, out: &mut Vec<u8>) {
    let (kind, digits) = match code {
        0..=0xff => (b'x', 2),
        0x100..=0xffff => (b'u', 4),
        _ => (b'U', 8),
    };
    out.extend_from_slice(&[b'\\', kind]);
    for place in (0..digits).rev() {
        out.push(b"0123456789ABCDEF"[(code >> (4 * place)) as usize & 15]);
    }
}
