//! `5m` or a cron line → the next moment. In: text, a moment, a time zone. Out: the next moment.
//!
//! Cron lines mean local civil time. A time that a daylight-saving step skips moves forward by the step. A time that
//! occurs twice counts once, except that a line such as `*/5 * * * *` goes on through the hour's second pass.
//!
//! Invariants: `next` is after `after`; a line that never fires is refused when it is read. `chrono`, the time type of
//! the cron parser, is named here only.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;

/// Shortest and longest period.
const PERIODS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(31 * 86_400);
/// Where [`When::period`] of a cron line is measured: 2026-01-01T00:00:00.
const REFERENCE: i64 = 1_767_225_600;

/// How a moment may be written; for error texts.
pub const REMEDY: &str =
    "write a period such as 90s, 5m, 2h or 1d (1 s to 31 d), or a cron line such as \"0 */2 * * *\"";

/// When something happens again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// This long after the last time.
    Every(Duration),
    /// At local times.
    Cron(Box<CronLine>),
}

/// A checked cron line.
#[derive(Clone, Debug)]
pub struct CronLine {
    text: String,
    cron: Cron,
    period: Duration,
}

impl PartialEq for CronLine {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for CronLine {}

impl When {
    /// Reads a period, a cron line of five or six fields (seconds first) or a name such as `@hourly`.
    pub fn parse(text: &str) -> Result<When, String> {
        let text = text.trim();
        if text.starts_with('@') || text.contains(char::is_whitespace) {
            return CronLine::parse(text).map(|line| When::Cron(Box::new(line)));
        }
        match duration(text) {
            Some(period) if PERIODS.contains(&period) => Ok(When::Every(period)),
            Some(_) => Err(format!("\"{text}\" is outside 1 s to 31 d")),
            None => Err(format!("\"{text}\" is neither a period nor a cron line")),
        }
    }

    /// The first moment after `after`.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Timestamp {
        let next = match self {
            When::Every(period) => after.checked_add(*period).ok(),
            When::Cron(line) => line.next(after, zone),
        };
        next.unwrap_or(Timestamp::MAX)
    }

    /// How long it is from one time to the next; of a cron line the gap between two times at the start of a year.
    pub fn period(&self) -> Duration {
        match self {
            When::Every(period) => *period,
            When::Cron(line) => line.period,
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::Every(period) => out.write_str(&shown(*period)),
            When::Cron(line) => out.write_str(&line.text),
        }
    }
}

impl CronLine {
    fn parse(text: &str) -> Result<Self, String> {
        let cron = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            .build()
            .parse(text)
            .map_err(|error| format!("\"{text}\" is no cron line: {error}"))?;
        let mut line = CronLine { text: text.into(), cron, period: Duration::ZERO };
        let first = line.next_second(REFERENCE).ok_or_else(|| format!("\"{text}\" never comes"))?;
        let second = line.next_second(first).ok_or_else(|| format!("\"{text}\" comes only once"))?;
        line.period = Duration::from_secs(second.abs_diff(first));
        Ok(line)
    }

    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let local = self.next_second(civil_second(zone.to_datetime(after))?)?;
        let local = TimeZone::UTC.to_datetime(Timestamp::from_second(local).ok()?);
        // Reaches the second pass of an hour that occurs twice, which local time alone would jump over.
        let same_offset = zone.to_offset(after).to_timestamp(local).ok().filter(|moment| self.matches(*moment, zone));
        let compatible = zone.to_ambiguous_timestamp(local).compatible().ok();
        let later = zone.to_ambiguous_timestamp(local).later().ok();
        [same_offset, compatible, later].into_iter().flatten().filter(|moment| *moment > after).min()
    }

    fn matches(&self, moment: Timestamp, zone: &TimeZone) -> bool {
        civil_second(zone.to_datetime(moment))
            .and_then(|second| DateTime::<Utc>::from_timestamp(second, 0))
            .is_some_and(|local| self.cron.is_time_matching(&local).unwrap_or(false))
    }

    /// On a calendar without daylight saving, in seconds since 1970.
    fn next_second(&self, after: i64) -> Option<i64> {
        let start = DateTime::<Utc>::from_timestamp(after, 0)?;
        self.cron.find_next_occurrence(&start, false).ok().map(|next| next.timestamp())
    }
}

/// Civil time, read as if it were UTC.
fn civil_second(local: civil::DateTime) -> Option<i64> {
    TimeZone::UTC.to_timestamp(local).ok().map(|timestamp| timestamp.as_second())
}

/// Reads `90s`, `5m`, `2h`, `1d`, `2w`.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// Reads `1048576`, `20GB`, `256 MiB`.
pub fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// A duration as [`duration`] reads it, in the largest unit that divides it.
pub fn shown(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    match units.into_iter().find(|&(unit, _)| seconds > 0 && seconds.is_multiple_of(unit)) {
        Some((unit, name)) => format!("{}{name}", seconds / unit),
        None => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(line: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let zone = TimeZone::get(zone).unwrap();
        let when = When::parse(line).unwrap();
        let mut now: Timestamp = from.parse().unwrap();
        let mut times = Vec::new();
        for _ in 0..count {
            now = when.next(now, &zone);
            times.push(now.to_string());
        }
        times
    }

    #[test]
    fn periods() {
        assert_eq!(times("90s", "UTC", "2026-01-01T00:00:00Z", 2), ["2026-01-01T00:01:30Z", "2026-01-01T00:03:00Z"]);
        for text in ["90s", "5m", "2h", "1d", "@hourly", "0 */2 * * *", "30 0 12 * * *"] {
            assert_eq!(When::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "0s", "32d", "5", "m", "-5m", "5 m", "1.5h", "60 * * * *", "* * * *", "* * * * * * 2030"] {
            assert!(When::parse(text).is_err(), "{text}");
        }
        assert_eq!(When::parse("0 */2 * * *").unwrap().period(), Duration::from_secs(7200));
        assert!(When::parse("0 0 30 2 *").unwrap_err().contains("never"));
    }

    #[test]
    fn a_skipped_time_moves_forward() {
        // Paris goes from 02:00 CET to 03:00 CEST on 2026-03-29.
        let nights = times("30 2 * * *", "Europe/Paris", "2026-03-27T12:00:00Z", 3);
        assert_eq!(nights, ["2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]);
        let hours = times("0 * * * *", "Europe/Paris", "2026-03-29T00:00:00Z", 2);
        assert_eq!(hours, ["2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"]);
    }

    #[test]
    fn a_repeated_time_comes_once_and_an_interval_never_pauses() {
        // Paris goes from 03:00 CEST back to 02:00 CET on 2026-10-25, at 01:00 UTC.
        let nights = times("30 2 * * *", "Europe/Paris", "2026-10-24T12:00:00Z", 2);
        assert_eq!(nights, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        let halves = times("*/30 * * * *", "Europe/Paris", "2026-10-25T00:00:00Z", 4);
        assert_eq!(
            halves,
            ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"]
        );
    }

    #[test]
    fn durations_and_bytes() {
        assert_eq!(duration("2w"), Some(Duration::from_secs(14 * 86_400)));
        assert_eq!(duration("99999999999999999999s"), None);
        assert_eq!(shown(Duration::from_secs(5400)), "90m");
        assert_eq!(bytes("20GB"), Some(20_000_000_000));
        assert_eq!(bytes("256 MiB"), Some(256 << 20));
        assert_eq!(bytes("1024"), Some(1024));
        assert_eq!(bytes("12 parsecs"), None);
    }
}
