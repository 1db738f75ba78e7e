//! How a text may stand in a block sequence. In: the text. Out: its [`Style`]. Pure.
//!
//! Invariants: what is [`Style::Plain`] is one line of printable ASCII that YAML 1.1 reads as a string: no number, date, truth
//! value or null, nothing that begins or holds an indicator.

/// How a text is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Not at all.
    Plain,
    /// `'…'`.
    Single,
    /// `"…"`, with escapes.
    Double,
}

/// The plainest style that gives the text back.
pub fn style(text: &str) -> Style {
    let bytes = text.as_bytes();
    if !bytes.iter().all(|byte| matches!(byte, b'\n' | b' '..=b'~')) {
        return Style::Double;
    }
    if bytes.contains(&b'\n') {
        // Folding would eat a space beside a line feed.
        let is_eaten = bytes.windows(2).any(|pair| matches!(pair, b" \n" | b"\n "));
        return if is_eaten { Style::Double } else { Style::Single };
    }
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return Style::Single };
    let is_plain =
        *first != b' ' && *last != b' ' && !has_indicator(bytes, *first) && !is_other_than_string(bytes, *first);
    if is_plain { Style::Plain } else { Style::Single }
}

/// Something YAML would take for its own.
fn has_indicator(bytes: &[u8], first: u8) -> bool {
    let ends = |at: usize| bytes.get(at + 1).is_none_or(|next| *next == b' ');
    let leads = match first {
        b'#' | b',' | b'[' | b']' | b'{' | b'}' | b'&' | b'*' | b'!' | b'|' | b'>' => true,
        b'\'' | b'"' | b'%' | b'@' | b'`' => true,
        b'?' | b':' | b'-' => ends(0),
        _ => false,
    };
    let inside = |at: usize| match bytes[at] {
        b':' => ends(at),
        b'#' => bytes[at - 1] == b' ',
        _ => false,
    };
    leads || bytes.starts_with(b"---") || bytes.starts_with(b"...") || (1..bytes.len()).any(inside)
}

/// Whether YAML 1.1 resolves the plain text to something else than a string.
fn is_other_than_string(bytes: &[u8], first: u8) -> bool {
    match first {
        b'0'..=b'9' => is_integer(bytes) || is_float(bytes) || is_timestamp(bytes),
        b'-' | b'+' | b'.' => is_integer(bytes) || is_float(bytes),
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' => is_word(bytes),
        b'~' | b'=' => bytes.len() == 1,
        b'<' => bytes == b"<<",
        _ => false,
    }
}

fn is_word(bytes: &[u8]) -> bool {
    const WORDS: [&str; 7] = ["yes", "no", "true", "false", "on", "off", "null"];
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let rest = text.get(1..).unwrap_or_default();
    let is_cased =
        rest.bytes().all(|byte| byte.is_ascii_lowercase()) || text.bytes().all(|byte| byte.is_ascii_uppercase());
    is_cased && WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

fn unsigned(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"-").or_else(|| bytes.strip_prefix(b"+")).unwrap_or(bytes)
}

fn all(bytes: &[u8], good: impl Fn(u8) -> bool) -> bool {
    bytes.iter().all(|byte| *byte == b'_' || good(*byte))
}

/// Digits and underscores, a digit first.
fn is_decimal(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_digit) && all(bytes, |byte| byte.is_ascii_digit())
}

fn is_integer(bytes: &[u8]) -> bool {
    let digits = unsigned(bytes);
    match digits {
        b"0" => true,
        [b'0', b'b', rest @ ..] if !rest.is_empty() => all(rest, |byte| matches!(byte, b'0' | b'1')),
        [b'0', b'x', rest @ ..] if !rest.is_empty() => all(rest, |byte| byte.is_ascii_hexdigit()),
        [b'0', rest @ ..] => all(rest, |byte| matches!(byte, b'0'..=b'7')),
        _ => {
            let end = digits.iter().position(|byte| *byte == b':').unwrap_or(digits.len());
            let (whole, sixties) = digits.split_at(end);
            is_decimal(whole) && (sixties.is_empty() || is_sixties(sixties))
        }
    }
}

/// `:59:00`, base sixty.
fn is_sixties(bytes: &[u8]) -> bool {
    let part = |part: &[u8]| match part {
        [one] => one.is_ascii_digit(),
        [b'0'..=b'5', one] => one.is_ascii_digit(),
        _ => false,
    };
    bytes.strip_prefix(b":").is_some_and(|parts| parts.split(|byte| *byte == b':').all(part))
}

fn is_float(bytes: &[u8]) -> bool {
    let digits = unsigned(bytes);
    if matches!(digits, b".inf" | b".Inf" | b".INF") || matches!(bytes, b".nan" | b".NaN" | b".NAN") {
        return true;
    }
    let Some(point) = digits.iter().position(|byte| *byte == b'.') else { return false };
    let (whole, fraction) = (&digits[..point], &digits[point + 1..]);
    if let Some(colon) = whole.iter().position(|byte| *byte == b':') {
        return is_decimal(&whole[..colon])
            && is_sixties(&whole[colon..])
            && all(fraction, |byte| byte.is_ascii_digit());
    }
    let end = fraction.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(fraction.len());
    let (fraction, exponent) = fraction.split_at(end);
    let is_exponent = match exponent {
        [] => true,
        [_, b'-' | b'+', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let is_number = match whole {
        // Only without a sign, and not without a digit.
        [] => digits.len() == bytes.len() && is_decimal(fraction),
        _ => is_decimal(whole) && all(fraction, |byte| byte.is_ascii_digit()),
    };
    is_exponent && is_number
}

/// A date, or a date with a time of day.
fn is_timestamp(bytes: &[u8]) -> bool {
    let Some((date, time)) = read_date(bytes) else { return false };
    if time.is_empty() {
        return bytes.len() == 10 && date == (2, 2);
    }
    let time = match time {
        [b'T' | b't', rest @ ..] => rest,
        [b' ', ..] => time.trim_ascii_start(),
        _ => return false,
    };
    read_time(time).is_some_and(is_zone)
}

/// `2024-1-02…` → the lengths of month and day, and the rest.
fn read_date(bytes: &[u8]) -> Option<((usize, usize), &[u8])> {
    let (year, rest) = bytes.split_at_checked(4)?;
    let rest = year.iter().all(u8::is_ascii_digit).then_some(rest)?.strip_prefix(b"-")?;
    let (month, rest) = digits(rest);
    let (day, rest) = digits(rest.strip_prefix(b"-")?);
    ((1..=2).contains(&month) && (1..=2).contains(&day)).then_some(((month, day), rest))
}

/// `1:02:03.4…` → the rest.
fn read_time(bytes: &[u8]) -> Option<&[u8]> {
    let (hour, rest) = digits(bytes);
    let (minute, rest) = digits(rest.strip_prefix(b":")?);
    let (second, rest) = digits(rest.strip_prefix(b":")?);
    let good = (1..=2).contains(&hour) && minute == 2 && second == 2;
    good.then(|| rest.strip_prefix(b".").map_or(rest, |fraction| digits(fraction).1))
}

/// Nothing, `Z`, or an offset such as `+1` and `-02:30`.
fn is_zone(bytes: &[u8]) -> bool {
    let offset = match bytes.trim_ascii_start() {
        [] => return bytes.is_empty(),
        b"Z" => return true,
        [b'-' | b'+', offset @ ..] => offset,
        _ => return false,
    };
    let (hours, rest) = digits(offset);
    let minutes = |rest: &[u8]| matches!(rest, [b':', ten, one] if ten.is_ascii_digit() && one.is_ascii_digit());
    (1..=2).contains(&hours) && (rest.is_empty() || minutes(rest))
}

/// How many digits it begins with, and what follows.
fn digits(bytes: &[u8]) -> (usize, &[u8]) {
    let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (count, &bytes[count..])
}
