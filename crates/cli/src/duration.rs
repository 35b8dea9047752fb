//! Durations as arguments, in jiff's friendly format: `500ms`, `90s`, `1.5h`, `1h 30m`.
//!
//! The units are those of the clock, up to hours; a day can have 23 or 25 of them, so it is none.
//! Each argument has limits, and an error names the text and the limits.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::fmt::friendly::SpanParser;

/// Limits of a duration that needs none of its own: a millisecond, and the whole hours whose
/// milliseconds fit into 64 bits.
const LIMITS_DEFAULT: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_hours(u64::MAX / 3_600_000);

/// Parses a duration of at least a millisecond, such as `500ms`, `90s`, `5m` or `1h30m`.
///
/// # Errors
/// Returns [`DurationError`] for text that is no duration, and for one outside the limits.
pub(super) fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    parse_duration_within(text, LIMITS_DEFAULT)
}

/// Parses a duration inside `limits`; both of them are allowed.
///
/// # Errors
/// Returns [`DurationError`] for text that is no duration, and for one outside the limits.
pub(super) fn parse_duration_within(
    text: &str,
    limits: RangeInclusive<Duration>,
) -> Result<Duration, DurationError> {
    let duration = SpanParser::new().parse_unsigned_duration(text).ok();
    duration
        .filter(|duration| limits.contains(duration))
        .ok_or_else(|| DurationError { text: text.to_owned(), limits })
}

/// Text that is not a duration inside the limits of its argument.
///
/// jiff's own reason is left out: it proposes years and jiff's types, which no argument takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "time `{text}` is not a duration from {} to {}, such as 90s, 5m or 1h30m",
    format_friendly(limits.start()),
    format_friendly(limits.end())
)]
pub(super) struct DurationError {
    text: String,
    limits: RangeInclusive<Duration>,
}

/// Formats a duration in the form that [`parse_duration`] parses.
fn format_friendly(duration: &Duration) -> String {
    SignedDuration::try_from(*duration).map_or(String::new(), |duration| format!("{duration:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_its_unit_or_several() {
        let rows = [
            ("1ms", 1),
            ("500ms", 500),
            ("1s", 1_000),
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("5124095576030h", 18_446_744_073_708_000_000),
            ("1.5s", 1_500),
            ("1,5s", 1_500),
            ("1 s", 1_000),
            ("1h30m", 5_400_000),
            ("2 hours 30 minutes", 9_000_000),
        ];
        for (text, expected_ms) in rows {
            let duration = parse_duration(text).unwrap();
            assert_eq!(duration, Duration::from_millis(expected_ms), "{text}");
        }
    }

    #[test]
    fn an_error_names_the_text_and_the_limits() {
        let other_forms =
            ["", "5", "s", "-1s", "1s ago", "1d", "1w", "1S", "é", "9999999999999999999h"];
        for text in other_forms.into_iter().chain(["0s", "999us", "5124095576031h"]) {
            let expected = format!(
                "time `{text}` is not a duration from 1ms to 5124095576030h, such as 90s, 5m or 1h30m"
            );
            assert_eq!(parse_duration(text).unwrap_err().to_string(), expected);
        }
        let limits = Duration::from_mins(90)..=Duration::from_hours(24);
        let error = parse_duration_within("24h1ms", limits).unwrap_err().to_string();
        let expected =
            "time `24h1ms` is not a duration from 1h 30m to 24h, such as 90s, 5m or 1h30m";
        assert_eq!(error, expected);
    }
}
