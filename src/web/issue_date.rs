//! The day a new token ends. In: a JSON value. Out: a day, or what is wrong with it in the words of pydantic 2, which reads
//! dates, moments at midnight, and Unix times of midnights. Pure.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value;

/// Larger numbers are milliseconds.
const WATERSHED: i64 = 20_000_000_000;
/// A day in seconds.
const DAY: i64 = 86_400;

/// Why a value is no day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Neither text nor number.
    Type,
    /// A moment that is no midnight.
    Inexact,
    /// A text that is no moment.
    Text(&'static str),
}

const SHORT: Wrong = Wrong::Text("input is too short");
const LONG: Wrong = Wrong::Text("unexpected extra characters at the end of the input");
const SEPARATOR: Wrong = Wrong::Text("invalid date separator, expected `-`");
const TIME_SEPARATOR: Wrong = Wrong::Text("invalid time separator, expected `:`");

/// Reads a day.
pub fn read(value: &Value) -> Result<Date, Wrong> {
    match value {
        Value::String(text) => moment(text.as_bytes()).or_else(|wrong| match text.parse::<f64>() {
            Ok(number) if is_number(text) => unix(number),
            _ => Err(wrong),
        }),
        Value::Number(number) => unix(number.as_f64().unwrap_or(f64::INFINITY)),
        _ => Err(Wrong::Type),
    }
}

/// Digits, perhaps with a sign and a fraction.
fn is_number(text: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = text.trim_start_matches(['+', '-']).split_once('.').unwrap_or((text, ""));
    digits(whole.trim_start_matches(['+', '-'])) && digits(fraction)
}

/// A Unix time in seconds or milliseconds.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "bounded before")]
fn unix(number: f64) -> Result<Date, Wrong> {
    let seconds = if number.abs() > WATERSHED as f64 { number / 1000.0 } else { number };
    let moment = if seconds.abs() < 1e12 { Timestamp::from_second(seconds as i64).ok() } else { None };
    let moment = moment.ok_or(Wrong::Text(if seconds < 0.0 {
        "dates before 0000 are not supported as unix timestamps"
    } else {
        "dates after 9999 are not supported as unix timestamps"
    }))?;
    if seconds.fract() != 0.0 || moment.as_second() % DAY != 0 {
        return Err(Wrong::Inexact);
    }
    Ok(moment.to_zoned_datetime(TimeZone::UTC).date())
}

/// `2030-12-31`, perhaps with a time, which must be midnight, and a zone, which does not count.
fn moment(text: &[u8]) -> Result<Date, Wrong> {
    if text.len() < 10 {
        return Err(SHORT);
    }
    let year = number(&text[..4], "invalid character in year")?;
    expect(text[4] == b'-', SEPARATOR)?;
    let month = number(&text[5..7], "invalid character in month")?;
    expect(text[7] == b'-', SEPARATOR)?;
    let day = number(&text[8..10], "invalid character in day")?;
    expect((1..=12).contains(&month), Wrong::Text("month value is outside expected range of 1-12"))?;
    let [year, month, day] = [year, month, day].map(|number| i16::try_from(number).unwrap_or(i16::MAX));
    let (month, day) = (i8::try_from(month).unwrap_or(0), i8::try_from(day).unwrap_or(0));
    let date = Date::new(year, month, day).map_err(|_| Wrong::Text("day value is outside expected range"))?;
    match text.split_at(10).1 {
        [] => Ok(date),
        [b'T' | b't' | b' ' | b'_', time @ ..] => {
            if midnight(time)? {
                Ok(date)
            } else {
                Err(Wrong::Inexact)
            }
        }
        _ => Err(Wrong::Text("invalid datetime separator, expected `T`, `t`, `_` or space")),
    }
}

/// Is this time of day, perhaps with a zone, midnight?
fn midnight(text: &[u8]) -> Result<bool, Wrong> {
    let end = text.iter().position(|byte| b"Zz+-".contains(byte)).unwrap_or(text.len());
    let (time, zone) = text.split_at(end);
    expect(time.len() >= 5, SHORT)?;
    let hour = number(&time[..2], "invalid character in hour")?;
    expect(time[2] == b':', TIME_SEPARATOR)?;
    let minute = number(&time[3..5], "invalid character in minute")?;
    expect(hour < 24, Wrong::Text("hour value is outside expected range of 0-23"))?;
    expect(minute < 60, Wrong::Text("minute value is outside expected range of 0-59"))?;
    let (second, fraction) = match time.split_at(5).1 {
        [] => (0, &[][..]),
        [b':', one, two, fraction @ ..] => (number(&[*one, *two], "invalid character in second")?, fraction),
        [b':', ..] => return Err(SHORT),
        _ => return Err(LONG),
    };
    expect(second < 60, Wrong::Text("second value is outside expected range of 0-59"))?;
    let fraction = match fraction {
        [] => &[][..],
        [b'.' | b',', digits @ ..] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => digits,
        _ => return Err(LONG),
    };
    let zone_is_good = match zone {
        [] | [b'Z' | b'z'] => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] | [b'+' | b'-', h1, h2, m1, m2] => {
            [h1, h2, m1, m2].iter().all(|byte| byte.is_ascii_digit())
        }
        _ => false,
    };
    expect(zone_is_good, Wrong::Text("invalid timezone sign"))?;
    Ok(hour + minute + second == 0 && fraction.iter().all(|digit| *digit == b'0'))
}

fn number(digits: &[u8], wrong: &'static str) -> Result<u32, Wrong> {
    digits.iter().try_fold(0, |number, byte| match byte {
        b'0'..=b'9' => Ok(number * 10 + u32::from(byte - b'0')),
        _ => Err(Wrong::Text(wrong)),
    })
}

fn expect(good: bool, wrong: Wrong) -> Result<(), Wrong> {
    if good { Ok(()) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn days_moments_and_unix_times() {
        for (value, day) in [
            (json!("2030-12-12"), "2030-12-12"),
            (json!("2030-12-12T00:00:00"), "2030-12-12"),
            (json!("2030-12-12 00:00"), "2030-12-12"),
            (json!("2030-12-12T00:00:00.000Z"), "2030-12-12"),
            (json!("2030-12-12T00:00:00+02:00"), "2030-12-12"),
            (json!(0), "1970-01-01"),
            (json!(1_924_992_000), "2031-01-01"),
            (json!(1_924_992_000_000_i64), "2031-01-01"),
            (json!("1924992000"), "2031-01-01"),
            (json!(1_924_992_000.0), "2031-01-01"),
        ] {
            assert_eq!(read(&value).map(|day| day.to_string()), Ok(day.into()), "{value}");
        }
    }

    #[test]
    fn what_is_no_day() {
        let text = |text| Wrong::Text(text);
        for (value, wrong) in [
            (json!(null), Wrong::Type),
            (json!(true), Wrong::Type),
            (json!([]), Wrong::Type),
            (json!(1), Wrong::Inexact),
            (json!(0.5), Wrong::Inexact),
            (json!("20301212"), Wrong::Inexact),
            (json!("2030-12-12T01:00:00"), Wrong::Inexact),
            (json!(""), SHORT),
            (json!("2030-1-1"), SHORT),
            (json!("2030-12-12T"), SHORT),
            (json!("not a date"), text("invalid character in year")),
            (json!("2030/12/12"), SEPARATOR),
            (json!("2030-13-01"), text("month value is outside expected range of 1-12")),
            (json!("2030-02-30"), text("day value is outside expected range")),
            (json!("2030-12-12x"), text("invalid datetime separator, expected `T`, `t`, `_` or space")),
            (json!("2030-12-12T00:00:00x"), LONG),
            (json!("\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}"), text("invalid character in year")),
            (json!(1e300), text("dates after 9999 are not supported as unix timestamps")),
            (json!(-1e300), text("dates before 0000 are not supported as unix timestamps")),
        ] {
            assert_eq!(read(&value), Err(wrong), "{value}");
        }
    }
}
