//! Reads the sinks that receive events in addition to the event store, and encodes batches for
//! them.
//!
//! Sinks are HTTP endpoints from the `SINKS` variable, and the platform's own stores where they are
//! bound. Each sink has its own delivery cursor, so sinks do not delay each other. [`parse_sinks`]
//! refuses the whole list at the first fault. Neither errors nor debug output show a URL or a
//! secret.

use std::fmt;

use serde::Deserialize;

use super::{legacy_log, otlp};
use crate::gateway::export::delivery_cursor::{self, DeliveryOutcome};
use crate::gateway::http::target::is_http_url;
use crate::gateway::http::target::is_target_name;
use jeffrey_terms::UnixMs;

/// Largest number of sinks in the `SINKS` variable.
pub const SINKS_MAX: usize = 8;

/// One destination that receives events.
#[derive(Clone, PartialEq, Eq)]
pub struct Sink {
    /// Unique name, 1 to 32 letters, digits, dashes and underscores. The event store keeps the
    /// delivery cursor under this name, so a sink with a new name starts at the oldest event kept.
    pub name: String,
    /// Format and protocol of its batches.
    pub kind: SinkKind,
    /// Address that batches are posted to; empty for a bound platform store.
    pub url: String,
    /// Value of the `Authorization` header; `None` sends no such header.
    pub authorization: Option<String>,
}

/// Format and protocol of the batches that a sink receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SinkKind {
    /// One event per line, sent by POST as `application/x-ndjson`.
    Ndjson,
    /// Lines in the log format of the v2.4.2 reference service, sent like [`SinkKind::Ndjson`].
    /// Feedback and answers that could not be read have no line in that format.
    NdjsonLegacy,
    /// OpenTelemetry log records, sent as `application/json` to a collector's `/v1/logs`.
    OtlpLogs,
    /// Totals of the event store as OpenTelemetry metrics, sent as `application/json` to a
    /// collector's `/v1/metrics`.
    OtlpMetrics,
    /// NDJSON objects in the R2 bucket that is bound as `ARCHIVE`.
    #[serde(skip)]
    Archive,
    /// Data points in the Analytics Engine dataset that is bound as `ANALYTICS`.
    #[serde(skip)]
    Analytics,
}

/// Name of the sink that exists where the binding `ARCHIVE` does.
pub const ARCHIVE_SINK: &str = "archive";

/// Name of the sink that exists where the binding `ANALYTICS` does.
pub const ANALYTICS_SINK: &str = "analytics";

/// Largest number of data points that one invocation of a Worker can write
/// (<https://developers.cloudflare.com/analytics/analytics-engine/limits/>).
const ANALYTICS_POINTS_MAX: usize = 250;

/// Pause between the batches of a sink that takes few large ones, in milliseconds: one object or
/// one set of metrics a minute.
const GATHER_INTERVAL_MS: u64 = 60_000;

impl SinkKind {
    /// Returns the largest number of events in one batch.
    pub const fn batch_events_max(self) -> usize {
        match self {
            Self::Analytics => ANALYTICS_POINTS_MAX,
            // Metrics cover all events so far, so their number has no limit.
            Self::OtlpMetrics => usize::MAX,
            _ => delivery_cursor::BATCH_EVENTS_MAX,
        }
    }

    /// Returns the pause after a delivered batch of `events` events, in milliseconds.
    pub const fn pause_after_batch_ms(self, events: usize) -> u64 {
        match self {
            Self::OtlpMetrics => GATHER_INTERVAL_MS,
            Self::Archive if events < self.batch_events_max() => GATHER_INTERVAL_MS,
            // One alarm has now written as many points as it may; 1 ms ends its delivery loop.
            Self::Analytics => 1,
            _ => 0,
        }
    }

    /// Returns the content type and body of a batch. `None` if no event has a form in this kind,
    /// and for metrics and data points, which are not encoded from event lines.
    pub fn encode_batch(self, events: &[&str]) -> Option<(&'static str, String)> {
        let join_lines = |lines: Vec<&str>| lines.iter().map(|line| format!("{line}\n")).collect();
        match self {
            Self::Ndjson => Some((NDJSON_CONTENT_TYPE, join_lines(events.to_vec()))),
            Self::NdjsonLegacy => {
                let legacy_lines: Vec<String> =
                    events.iter().filter_map(|event| legacy_log::format_line(event)).collect();
                let body = join_lines(legacy_lines.iter().map(String::as_str).collect());
                (!legacy_lines.is_empty()).then_some((NDJSON_CONTENT_TYPE, body))
            }
            Self::OtlpLogs => Some(("application/json", otlp::encode_logs(events))),
            Self::Archive => Some((NDJSON_CONTENT_TYPE, join_lines(events.to_vec()))),
            Self::OtlpMetrics | Self::Analytics => None,
        }
    }

    /// Returns the outcome of sending a batch of `events` events, from the response of the sink.
    ///
    /// An OTLP log collector can reject part of a batch, and only 429, 502, 503, 504 and missing
    /// responses are retried. OTLP metrics are retried until they are delivered.
    pub fn delivery_outcome(
        self,
        status: Option<u16>,
        retry_after: Option<&str>,
        response_body: &[u8],
        events: u64,
        now: UnixMs,
    ) -> DeliveryOutcome {
        match (self, delivery_cursor::delivery_outcome(status, retry_after, now)) {
            (Self::OtlpLogs, DeliveryOutcome::Delivered) => {
                match otlp::parse_rejected_records(response_body).min(events) {
                    0 => DeliveryOutcome::Delivered,
                    rejected => DeliveryOutcome::PartlyDelivered { rejected },
                }
            }
            // The next batch contains these totals again, so a refusal loses nothing.
            (Self::OtlpMetrics, outcome) if outcome != DeliveryOutcome::Delivered => {
                DeliveryOutcome::Retry(match outcome {
                    DeliveryOutcome::Retry(asked_ms) => asked_ms,
                    _ => None,
                })
            }
            // The OTLP specification lists the statuses that may be retried.
            (Self::OtlpLogs, DeliveryOutcome::Retry(_))
                if !matches!(status, None | Some(429 | 502 | 503 | 504)) =>
            {
                DeliveryOutcome::Rejected
            }
            (_, outcome) => outcome,
        }
    }
}

const NDJSON_CONTENT_TYPE: &str = "application/x-ndjson";

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may carry a key in its query.
        write!(f, "Sink({}, {:?})", self.name, self.kind)
    }
}

/// Reason why the list of sinks is refused. Messages show names and numbers only, because other
/// values may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// Two sinks have the same name.
    #[error("two sinks are named `{name}`")]
    DuplicateName {
        /// Name that occurs twice in the list.
        name: String,
    },
    /// The value is not JSON of the expected form, or names an unknown kind.
    #[error(
        "not a list such as [{{\"name\": \"logs\", \"kind\": \"ndjson\", \"url\": \"https://…\"}}]"
    )]
    InvalidJson,
    /// The list has more than [`SINKS_MAX`] sinks.
    #[error("holds {sinks} sinks, the most is {SINKS_MAX}")]
    TooMany {
        /// Number of sinks in the list.
        sinks: usize,
    },
    /// The name belongs to a platform store.
    #[error("`{name}` is the name of what is bound: give sink {number} another")]
    ReservedName {
        /// Reserved name that the sink has.
        name: String,
        /// Position of the sink in the list, from 1.
        number: usize,
    },
    /// The name is empty, too long or has a character that is not allowed.
    #[error("sink {number} has a name that is not 1 to 32 letters, digits, dashes and underscores")]
    InvalidName {
        /// Position of the sink in the list, from 1.
        number: usize,
    },
    /// The URL is not an HTTP or HTTPS address with a host and without a user.
    #[error(
        "sink `{name}` has a URL that is not http:// or https:// with a host and no user in it"
    )]
    InvalidUrl {
        /// Name of the sink with this URL.
        name: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SinkConfig {
    name: String,
    kind: SinkKind,
    url: String,
    authorization: Option<String>,
}

/// Parses the `SINKS` variable; an empty value is an empty list.
///
/// # Errors
/// Returns [`SinkError`] for the first fault in the list.
pub fn parse_sinks(value: &str) -> Result<Vec<Sink>, SinkError> {
    if value.is_empty() {
        return Ok(Vec::new());
    }
    let configs: Vec<SinkConfig> =
        serde_json::from_slice(value.as_bytes()).map_err(|_| SinkError::InvalidJson)?;
    if configs.len() > SINKS_MAX {
        return Err(SinkError::TooMany { sinks: configs.len() });
    }
    let mut sinks: Vec<Sink> = Vec::new();
    for (SinkConfig { name, kind, url, authorization }, number) in configs.into_iter().zip(1..) {
        if !is_target_name(&name) {
            return Err(SinkError::InvalidName { number });
        }
        if [ARCHIVE_SINK, ANALYTICS_SINK].contains(&name.as_str()) {
            return Err(SinkError::ReservedName { name, number });
        }
        if !is_http_url(&url) {
            return Err(SinkError::InvalidUrl { name });
        }
        if sinks.iter().any(|sink| sink.name == name) {
            return Err(SinkError::DuplicateName { name });
        }
        sinks.push(Sink { name, kind, url, authorization });
    }
    Ok(sinks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinks_are_read_whole_or_refused_by_name() {
        let sink_json = r#"{"name":"logs","kind":"ndjson","url":"https://c.example/in?k=v"}"#;
        let sinks = parse_sinks(&format!("[{sink_json}]")).unwrap();
        assert_eq!((sinks[0].name.as_str(), sinks[0].kind), ("logs", SinkKind::Ndjson));
        assert_eq!(parse_sinks(""), Ok(Vec::new()));
        let rows = [
            ("{}".to_owned(), SinkError::InvalidJson),
            (
                format!("[{sink_json},{sink_json}]"),
                SinkError::DuplicateName { name: "logs".into() },
            ),
            (
                format!("[{}]", sink_json.replace("logs", "a b")),
                SinkError::InvalidName { number: 1 },
            ),
            (
                format!("[{}]", sink_json.replace("https", "ftp")),
                SinkError::InvalidUrl { name: "logs".into() },
            ),
            (
                format!("[{}]", sink_json.replace("c.example", "u:p@c.example")),
                SinkError::InvalidUrl { name: "logs".into() },
            ),
            (format!("[{}]", sink_json.replace("ndjson", "kafka")), SinkError::InvalidJson),
            (format!("[{}]", sink_json.replace("ndjson", "archive")), SinkError::InvalidJson),
            (
                format!("[{}]", sink_json.replace("logs", "archive")),
                SinkError::ReservedName { name: "archive".into(), number: 1 },
            ),
            (format!("[{}]", [sink_json; 9].join(",")), SinkError::TooMany { sinks: 9 }),
        ];
        for (value, expected) in rows {
            assert_eq!(parse_sinks(&value), Err(expected), "{value}");
        }
    }

    #[test]
    fn each_kind_has_its_body_and_its_own_reading_of_a_response() {
        let event = r#"{"event":"feedback","time_ms":1,"good":true}"#;
        assert_eq!(
            SinkKind::Ndjson.encode_batch(&[event]),
            Some((NDJSON_CONTENT_TYPE, format!("{event}\n")))
        );
        assert_eq!(SinkKind::NdjsonLegacy.encode_batch(&[event]), None);
        let (content_type, body) = SinkKind::OtlpLogs.encode_batch(&[event]).unwrap();
        assert!(content_type == "application/json" && body.contains("jeffrey.feedback"), "{body}");
        let partial_success = br#"{"partialSuccess":{"rejectedLogRecords":"2"}}"#;
        let rows = [
            (SinkKind::OtlpLogs, Some(200), DeliveryOutcome::PartlyDelivered { rejected: 2 }),
            (SinkKind::Ndjson, Some(200), DeliveryOutcome::Delivered),
            (SinkKind::OtlpLogs, Some(500), DeliveryOutcome::Rejected),
            (SinkKind::Ndjson, Some(500), DeliveryOutcome::Retry(None)),
            (SinkKind::OtlpLogs, Some(503), DeliveryOutcome::Retry(None)),
            (SinkKind::OtlpLogs, Some(400), DeliveryOutcome::Rejected),
            (SinkKind::OtlpLogs, Some(413), DeliveryOutcome::TooLarge),
            (SinkKind::OtlpLogs, None, DeliveryOutcome::Retry(None)),
            (SinkKind::OtlpMetrics, Some(400), DeliveryOutcome::Retry(None)),
            (SinkKind::OtlpMetrics, Some(413), DeliveryOutcome::Retry(None)),
            (SinkKind::OtlpMetrics, Some(200), DeliveryOutcome::Delivered),
        ];
        for (kind, status, expected) in rows {
            let outcome = kind.delivery_outcome(status, None, partial_success, 5, UnixMs(0));
            assert_eq!(outcome, expected, "{kind:?} {status:?}");
        }
        let names: Vec<SinkKind> =
            serde_json::from_str(r#"["ndjson","ndjson-legacy","otlp-logs","otlp-metrics"]"#)
                .unwrap();
        let kinds =
            [SinkKind::Ndjson, SinkKind::NdjsonLegacy, SinkKind::OtlpLogs, SinkKind::OtlpMetrics];
        assert_eq!(names, kinds);
    }

    #[test]
    fn a_sink_shows_neither_its_key_nor_its_address() {
        let value = r#"[{"name":"a","kind":"ndjson","url":"https://h/?key=s3cret",
            "authorization":"Bearer s3cret"}]"#;
        assert_eq!(format!("{:?}", parse_sinks(value).unwrap()), "[Sink(a, Ndjson)]");
    }
}
