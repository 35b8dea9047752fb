//! Formats a time for a sentence.

use jeffrey_terms::UnixMs;

/// Formats a time in UTC to the minute, such as `2026-11-24 10:00`; `?` if it is out of range.
pub fn format_utc_minute(time: UnixMs) -> String {
    let timestamp =
        i64::try_from(time.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    timestamp.map_or("?".to_owned(), |timestamp| timestamp.strftime("%Y-%m-%d %H:%M").to_string())
}
