//! Durations as people type them: `500ms`, `60s`, `10m`, `24h`, `7d`, `2w`.
//!
//! One number and one unit; a number without a unit is refused, since scripts of others disagree on what it means.

use std::{fmt, time::Duration};

/// The text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurationError(&'static str);

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for DurationError {}

/// Longest duration: what is beyond is a mistake, and would overflow a date.
const DAYS_MAX: u64 = 36_500;

/// Reads a duration.
///
/// # Errors
///
/// The text is not a whole number with a unit, or is longer than a hundred years.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(DurationError("write a number and a unit, like 60s, 10m, 24h or 7d"));
    }
    let number: u64 = number.parse().map_err(|_| DurationError("that is longer than a hundred years"))?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 7 * 86_400_000,
        "" => return Err(DurationError("add a unit, like 60s, 10m, 24h or 7d")),
        _ => return Err(DurationError("the unit is one of ms, s, m, h, d, w")),
    };
    number
        .checked_mul(unit_ms)
        .filter(|ms| *ms <= DAYS_MAX * 86_400_000)
        .map(Duration::from_millis)
        .ok_or(DurationError("that is longer than a hundred years"))
}

/// Says a duration in words, rounded down to its largest whole unit.
#[must_use]
pub fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (number, unit) = match seconds {
        0 => return format!("{} ms", duration.as_millis()),
        s if s % 86_400 == 0 && s >= 2 * 86_400 => (s / 86_400, "days"),
        s if s % 3600 == 0 => (s / 3600, if s == 3600 { "hour" } else { "hours" }),
        s if s % 60 == 0 => (s / 60, if s == 60 { "minute" } else { "minutes" }),
        s => (s, if s == 1 { "second" } else { "seconds" }),
    };
    format!("{number} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(parse("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(parse("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(parse("2w"), Ok(Duration::from_secs(14 * 86_400)));
        assert_eq!(parse(" 0s "), Ok(Duration::ZERO));
    }

    #[test]
    fn what_is_no_duration() {
        for text in ["", "s", "60", "-1s", "1.5h", "1h30m", "5 s", "5y", "１s", "99999999999999999999s", "40000d"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn words() {
        assert_eq!(in_words(Duration::from_millis(500)), "500 ms");
        assert_eq!(in_words(Duration::from_secs(61)), "61 seconds");
        assert_eq!(in_words(Duration::from_secs(86_400)), "24 hours");
        assert_eq!(in_words(Duration::from_secs(7 * 86_400)), "7 days");
    }
}
