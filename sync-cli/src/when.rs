//! States as people name them: a commit by the beginning of its hash, a time, or how long ago.
//!
//! `2h` and `3d ago` are times; so is what RFC 3339 says. Four and more hex digits are a commit, unless they read as a
//! duration, as `1234d` does: then more digits tell.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use sync_net::history::When;

use crate::duration;

/// Fewest and most digits of a commit.
const DIGITS: std::ops::RangeInclusive<usize> = 4..=64;

/// The text names no state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhenError(&'static str);

impl fmt::Display for WhenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for WhenError {}

/// Reads a state, with the time that it is now.
///
/// # Errors
///
/// The text is none.
pub fn parse(text: &str) -> Result<When, WhenError> {
    parse_at(text, Timestamp::now())
}

fn parse_at(text: &str, now: Timestamp) -> Result<When, WhenError> {
    let text = text.trim();
    let ago = text.strip_suffix("ago").map_or(text, str::trim_end);
    if let Ok(ago) = duration::parse(ago) {
        return Ok(When::AtMs(in_ms(now).saturating_sub(as_ms(ago))));
    }
    if DIGITS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(When::Rev(text.to_ascii_lowercase()));
    }
    match text.parse::<Timestamp>() {
        Ok(at) => Ok(When::AtMs(in_ms(at))),
        Err(_) => Err(WhenError(
            "a state is a commit (4 or more hex digits, see kith log), a time like 2025-01-31T12:00:00Z, or how long ago, \
             like 2h or 3d",
        )),
    }
}

fn in_ms(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or_default()
}

fn as_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A time as people read it, where they are.
#[must_use]
pub fn shown(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.map_or_else(
        || "?".to_owned(),
        |at| at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Result<When, WhenError> {
        parse_at(text, Timestamp::from_second(1_000_000).expect("a time"))
    }

    #[test]
    fn commits_times_and_how_long_ago() {
        assert_eq!(at("12AB"), Ok(When::Rev("12ab".into())));
        assert_eq!(at("2h"), Ok(When::AtMs(1_000_000_000 - 7_200_000)));
        assert_eq!(at("2h ago"), at("2h"));
        assert_eq!(at("1970-01-01T00:00:05Z"), Ok(When::AtMs(5000)));
        assert_eq!(at("1970-01-01T02:00:05+02:00"), Ok(When::AtMs(5000)));
        // It reads as a duration; longer ones are commits.
        assert_eq!(at("1234d"), Ok(When::AtMs(0)));
        assert_eq!(at("1234567d"), Ok(When::Rev("1234567d".into())));
    }

    #[test]
    fn what_is_no_state() {
        for text in ["", "abc", "xyz1", "yesterday", "2025-13-01T00:00:00Z", "2025-01-01", &"a".repeat(65)] {
            assert!(at(text).is_err(), "{text}");
        }
    }
}
