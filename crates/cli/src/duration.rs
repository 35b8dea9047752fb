//! Durations as arguments: a whole number and its unit.
//!
//! The units are `ms`, `s`, `m` and `h`. Zero, fractions, signs, blanks and any other unit are
//! refused.

use std::time::Duration;

/// Parses a duration above 0, such as `500ms`, `90s`, `5m` or `1h`.
///
/// # Errors
/// Returns [`DurationError`] for any other text, and for more milliseconds than 64 bits hold.
pub(super) fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let error = || DurationError { time: text.to_owned() };
    let unit_index = text.find(|char: char| !char.is_ascii_digit()).ok_or_else(error)?;
    let (number, unit) = text.split_at(unit_index);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60 * 1_000,
        "h" => 60 * 60 * 1_000,
        _ => return Err(error()),
    };
    let number: u64 = number.parse().map_err(|_| error())?;
    let time_ms = number.checked_mul(unit_ms).filter(|time| *time > 0).ok_or_else(error)?;
    Ok(Duration::from_millis(time_ms))
}

/// Text that is not a duration of the accepted form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("time `{time}` is not a whole number of ms, s, m or h above 0")]
pub(super) struct DurationError {
    time: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_whole_number_with_its_unit() {
        let rows =
            [("500ms", 500), ("1s", 1_000), ("90s", 90_000), ("5m", 300_000), ("1h", 3_600_000)];
        for (text, expected_ms) in rows {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(expected_ms)), "{text}");
        }
        let bad =
            ["", "5", "s", "0s", "1.5s", "-1s", "1 s", "1d", "1S", "9999999999999999999h", "é"];
        for text in bad {
            let error = parse_duration(text).unwrap_err().to_string();
            let expected = format!("time `{text}` is not a whole number of ms, s, m or h above 0");
            assert_eq!(error, expected);
        }
    }
}
