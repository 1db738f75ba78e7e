//! When something that ends is worth a word. In: the moment and the end, Unix seconds. Out: a [`Step`], or words for people.
//! Pure.

/// A day in seconds.
const DAY: i64 = 86_400;
/// What ends later than this many seconds from now is not worth a word yet.
pub const NEAR: i64 = 30 * DAY;

/// How close an end is; each step is worth one warning. In order: the last one is the most urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// At most 30 days are left.
    Days30,
    /// At most 7 days are left.
    Days7,
    /// At most one day is left.
    Days1,
    /// Nothing is left.
    Ended,
}

/// The step of an end; `None`: it is far away.
pub fn step(now: i64, ends: i64) -> Option<Step> {
    let left = ends.saturating_sub(now);
    match left {
        ..=0 => Some(Step::Ended),
        1..=DAY => Some(Step::Days1),
        _ if left <= 7 * DAY => Some(Step::Days7),
        _ if left <= NEAR => Some(Step::Days30),
        _ => None,
    }
}

/// `has ended`, `ends within a day`, `ends in 12 days`.
pub fn text(now: i64, ends: i64) -> String {
    let left = ends.saturating_sub(now);
    match left {
        ..=0 => "has ended".into(),
        1..=DAY => "ends within a day".into(),
        _ => format!("ends in {} days", left / DAY + i64::from(left % DAY > 0)),
    }
}

/// The moment as people and programs read it: `2026-12-24T00:00:00Z`.
pub fn moment(ends: i64) -> String {
    jiff::Timestamp::from_second(ends).map_or_else(|_| "never".into(), |moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_begin_with_their_last_second() {
        for (left, expected, words) in [
            (i64::MAX, None, None),
            (NEAR + 1, None, Some("ends in 31 days")),
            (NEAR, Some(Step::Days30), Some("ends in 30 days")),
            (7 * DAY + 1, Some(Step::Days30), Some("ends in 8 days")),
            (7 * DAY, Some(Step::Days7), Some("ends in 7 days")),
            (DAY + 1, Some(Step::Days7), Some("ends in 2 days")),
            (DAY, Some(Step::Days1), Some("ends within a day")),
            (1, Some(Step::Days1), Some("ends within a day")),
            (0, Some(Step::Ended), Some("has ended")),
            (-DAY, Some(Step::Ended), Some("has ended")),
        ] {
            let now = if left == i64::MAX { 0 } else { 1_800_000_000 };
            assert_eq!(step(now, now + left), expected, "{left} s left");
            if let Some(words) = words {
                assert_eq!(text(now, now + left), words, "{left} s left");
            }
        }
        assert!(Step::Days30 < Step::Days7 && Step::Days1 < Step::Ended);
    }

    #[test]
    fn what_is_far_beyond_any_calendar_is_no_trouble() {
        assert_eq!(step(i64::MIN, i64::MAX), None);
        assert_eq!(step(i64::MAX, i64::MIN), Some(Step::Ended));
        assert_eq!(moment(1_798_070_400), "2026-12-24T00:00:00Z");
        assert_eq!(moment(i64::MAX), "never");
    }
}
