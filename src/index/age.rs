//! Ages: the windows of time a list can be asked for. In: an age, the moment, a time zone. Out: the oldest timestamp that
//! is inside.
//!
//! Invariants: calendar arithmetic in naive local time, as the Python Cratos does it (`1m` is the same day of last month,
//! clipped at its end; a daylight-saving step shifts the result by an hour); the boundary is inside; a longer age contains
//! every shorter one.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// One window, e.g. `1w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// As it stands in URLs and file names.
    pub name: &'static str,
    amount: i64,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Hours,
    Days,
    Months,
}

const fn age(name: &'static str, amount: i64, unit: Unit) -> Age {
    Age { name, amount, unit }
}

/// Every age, shortest first: the one list of windows.
pub const AGES: [Age; 24] = [
    age("1h", 1, Unit::Hours),
    age("2h", 2, Unit::Hours),
    age("6h", 6, Unit::Hours),
    age("12h", 12, Unit::Hours),
    age("1d", 1, Unit::Days),
    age("2d", 2, Unit::Days),
    age("3d", 3, Unit::Days),
    age("4d", 4, Unit::Days),
    age("5d", 5, Unit::Days),
    age("6d", 6, Unit::Days),
    age("1w", 7, Unit::Days),
    age("2w", 14, Unit::Days),
    age("3w", 21, Unit::Days),
    age("1m", 1, Unit::Months),
    age("2m", 2, Unit::Months),
    age("3m", 3, Unit::Months),
    age("4m", 4, Unit::Months),
    age("5m", 5, Unit::Months),
    age("6m", 6, Unit::Months),
    age("9m", 9, Unit::Months),
    age("1y", 12, Unit::Months),
    age("2y", 24, Unit::Months),
    age("4y", 48, Unit::Months),
    age("10y", 120, Unit::Months),
];

impl Age {
    /// Looks an age up by its name.
    pub fn named(name: &str) -> Option<&'static Age> {
        AGES.iter().find(|age| age.name == name)
    }

    /// The oldest Unix second inside the window that ends at `now`, in the calendar of `zone`.
    pub fn since(&self, now: Timestamp, zone: &TimeZone) -> i64 {
        let span = match self.unit {
            Unit::Hours => Span::new().hours(self.amount),
            Unit::Days => Span::new().days(self.amount),
            Unit::Months => Span::new().months(self.amount),
        };
        let local = zone.to_datetime(now);
        let start = local.saturating_sub(span);
        // Out of range only before the year -9999: everything is inside then.
        zone.to_ambiguous_timestamp(start).compatible().map_or(i64::MIN, |timestamp| timestamp.as_second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn month_ends_are_clipped_and_ages_are_nested() {
        let now: Timestamp = "2026-03-31T12:00:00Z".parse().unwrap();
        let month = Age::named("1m").unwrap().since(now, &TimeZone::UTC);
        assert_eq!(Timestamp::from_second(month).unwrap().to_string(), "2026-02-28T12:00:00Z");
        let starts: Vec<i64> = AGES.iter().map(|age| age.since(now, &TimeZone::UTC)).collect();
        assert!(starts.windows(2).all(|pair| pair[0] > pair[1]), "{starts:?}");
    }
}
