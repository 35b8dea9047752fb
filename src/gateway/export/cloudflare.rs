//! Encodes events for the platform's own stores: objects in R2 and data points in Analytics Engine.
//!
//! The input is the JSON line of an event. [`object_key`] names the R2 object of a batch, whose
//! content is the lines themselves. [`data_point`] converts one event into a data point. Names are
//! copied as the event has them, also those that only a newer version knows. A data
//! point holds neither the subject nor the text preview, because data in Analytics Engine cannot be
//! erased.

use jiff::tz::Offset;
use serde_json::{Map, Value};

use jeffrey_terms::UnixMs;

/// Returns the R2 key of the batch that begins with `event`: UTC day and hour of that event, the
/// shard, and the number of the event in the shard.
///
/// A batch that is sent again has the same key, so its object is replaced and not duplicated. An
/// event without a valid time is filed under 1970.
pub fn object_key(shard: &str, seq: u64, event: &str) -> String {
    let event: Map<String, Value> = serde_json::from_slice(event.as_bytes()).unwrap_or_default();
    let time = UnixMs(event.get("time_ms").and_then(Value::as_u64).unwrap_or(0));
    let timestamp =
        i64::try_from(time.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    // By parts, as jiff's formatter of patterns is larger than this file.
    let utc = Offset::UTC.to_datetime(timestamp.unwrap_or_default());
    let (year, month, day, hour) = (utc.year(), utc.month(), utc.day(), utc.hour());
    format!("events/{year:04}-{month:02}-{day:02}/{hour:02}/{shard}-{seq:012}.ndjson")
}

/// Data point for Analytics Engine: an index for sampling, and texts and numbers in a fixed order.
#[derive(Clone, Debug, PartialEq)]
pub struct AnalyticsDataPoint {
    /// Name of the release, by which Analytics Engine samples.
    pub index: String,
    /// Texts in the order of [`BLOB_FIELDS`]; empty where the event has no such text.
    pub blobs: Vec<String>,
    /// Numbers in the order of [`DOUBLE_FIELDS`]: 1 for true, 0 for false, -1 where the event has no such
    /// value.
    pub doubles: Vec<f64>,
}

/// Event fields that become texts, `blob1`, `blob2` … in a query. Neither the subject nor the
/// preview may be added, because data in the dataset cannot be erased.
pub const BLOB_FIELDS: [&str; 12] = [
    "event",
    "cohort",
    "reason",
    "destination",
    "fallback_reason",
    "label",
    "route",
    "rule",
    "model",
    "model_sha256",
    "correct_label",
    // Last, so that the queries of former versions stay right.
    "auth_verdict",
];

/// Event fields that become numbers, `double1`, `double2` … in a query.
pub const DOUBLE_FIELDS: [&str; 8] = [
    "status",
    "latency_ms",
    "confidence",
    "low_confidence",
    "rule_applied",
    "is_evidence",
    "input_truncated",
    "good",
];

/// Converts an event into a data point; `None` if it is not a JSON object with a release.
pub fn data_point(event: &str) -> Option<AnalyticsDataPoint> {
    let event: Map<String, Value> = serde_json::from_slice(event.as_bytes()).ok()?;
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |name: &str| match event.get(name) {
        Some(Value::Bool(truth)) => f64::from(u8::from(*truth)),
        Some(value) => value.as_f64().unwrap_or(-1.0),
        None => -1.0,
    };
    Some(AnalyticsDataPoint {
        index: event.get("release")?.as_str()?.to_owned(),
        blobs: BLOB_FIELDS.into_iter().map(text).collect(),
        doubles: DOUBLE_FIELDS.into_iter().map(number).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"event":"classify","time_ms":1795514400500,"release":"e1","cohort":"canary","reason":"bucket",
        "is_evidence":true,"subject":"5ab1","preview":"hello","destination":"canary","status":200,"latency_ms":41,
        "label":"joy","confidence":0.9,"low_confidence":false,"rule":null,"input_truncated":null}"#;

    #[test]
    fn a_batch_has_one_key_however_often_it_is_sent() {
        assert_eq!(object_key("ab", 42, EVENT), "events/2026-11-24/10/ab-000000000042.ndjson");
        assert_eq!(object_key("ab", 1, "no event"), "events/1970-01-01/00/ab-000000000001.ndjson");
    }

    #[test]
    fn a_point_holds_neither_subject_nor_preview() {
        let point = data_point(EVENT).unwrap();
        assert_eq!(point.index, "e1");
        assert_eq!(point.blobs[..4], ["classify", "canary", "bucket", "canary"]);
        assert_eq!((&*point.blobs[5], &*point.blobs[7]), ("joy", ""));
        assert_eq!(point.doubles, [200.0, 41.0, 0.9, 0.0, -1.0, 1.0, -1.0, -1.0]);
        let shown = format!("{point:?}");
        assert!(!shown.contains("5ab1") && !shown.contains("hello"), "{shown}");
        assert_eq!(data_point("no event"), None);
        // The platform's limits are 20 texts, 20 numbers and an index of 96 bytes.
        assert!(BLOB_FIELDS.len() <= 20 && DOUBLE_FIELDS.len() <= 20);
    }

    #[test]
    fn a_name_of_a_newer_version_is_copied_as_it_is() {
        let event = EVENT.replace("\"joy\"", "\"from_the_future\"");
        assert_eq!(data_point(&event).unwrap().blobs[5], "from_the_future");
    }
}
