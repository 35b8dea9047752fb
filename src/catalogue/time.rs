//! Formats a time for a sentence.

use jeffrey_terms::UnixMs;
use jiff::Timestamp;
use jiff::tz::Offset;

/// Formats a time in UTC to the minute, such as `2026-11-24 10:00`; `?` if it is out of range.
///
/// The parts are written one by one: jiff's formatter of patterns brings the texts of all its errors
/// into the wasm.
pub fn format_utc_minute(time: UnixMs) -> String {
    let timestamp = i64::try_from(time.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    timestamp.map_or("?".to_owned(), |timestamp| {
        let utc = Offset::UTC.to_datetime(timestamp);
        let (year, month, day) = (utc.year(), utc.month(), utc.day());
        format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", utc.hour(), utc.minute())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_out_of_range_is_a_question_mark() {
        assert_eq!(format_utc_minute(UnixMs(0)), "1970-01-01 00:00");
        assert_eq!(format_utc_minute(UnixMs(1_763_978_459_999)), "2025-11-24 10:00");
        assert_eq!(format_utc_minute(UnixMs(u64::MAX)), "?");
    }
}
