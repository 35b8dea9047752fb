//! Where events are sent beside the ledger, each with an outbox of its own: any number of HTTP endpoints, and
//! the platform's stores where they are bound.

use std::fmt;

use serde::Deserialize;

use super::delivery_cursor::{self, DeliveryOutcome};
use super::{legacy_log, otlp};
use jeffrey_terms::UnixMs;

/// The most sinks that are configured at once.
pub const SINKS_MAX: usize = 8;

/// One sink.
#[derive(Clone, PartialEq, Eq)]
pub struct Sink {
    /// Its name, 1 to 32 letters, digits, dashes and underscores: its place in the ledger is kept by it.
    pub name: String,
    /// What it is sent.
    pub kind: SinkKind,
    /// Where; empty for what is bound.
    pub url: String,
    /// Sent as `Authorization`.
    pub authorization: Option<String>,
}

/// What a sink is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SinkKind {
    /// One event a line, by POST, as `application/x-ndjson`.
    Ndjson,
    /// The same in the reference's log format; verdicts and answers that could not be read are no line there.
    NdjsonSchema2,
    /// OpenTelemetry log records, as `application/json`, to a collector's `/v1/logs`.
    OtlpLogs,
    /// The ledger's sums as OpenTelemetry metrics, as `application/json`, to a collector's `/v1/metrics`.
    OtlpMetrics,
    /// Objects of NDJSON in the bucket that is bound as `ARCHIVE_SINK`.
    #[serde(skip)]
    Archive,
    /// Data points in the dataset that is bound as `ANALYTICS_SINK`.
    #[serde(skip)]
    Analytics,
}

/// The names of the sinks that are there when they are bound.
pub const ARCHIVE_SINK: &str = "archive";
/// The other one.
pub const ANALYTICS_SINK: &str = "analytics";

/// Data points that one invocation of a worker may write
/// (<https://developers.cloudflare.com/analytics/analytics-engine/limits/>).
const ANALYTICS_POINTS_MAX: usize = 250;

/// How long a sink of few large batches gathers, in milliseconds: an object or a set of sums a minute.
const GATHER_INTERVAL_MS: u64 = 60_000;

impl SinkKind {
    /// How many events a batch may have at most.
    pub const fn batch_events_max(self) -> usize {
        match self {
            Self::Analytics => ANALYTICS_POINTS_MAX,
            // Sums say all that happened, however much that is.
            Self::OtlpMetrics => usize::MAX,
            _ => delivery_cursor::BATCH_EVENTS_MAX,
        }
    }

    /// How long it is left alone after a batch of so many events, in milliseconds.
    pub const fn pause_after_batch_ms(self, events: usize) -> u64 {
        match self {
            Self::OtlpMetrics => GATHER_INTERVAL_MS,
            Self::Archive if events < self.batch_events_max() => GATHER_INTERVAL_MS,
            // Whatever an alarm may write, it has written.
            Self::Analytics => 1,
            _ => 0,
        }
    }

    /// The content type and the body of a batch; `None` when nothing of it is for this kind, or it is no matter of
    /// bodies.
    pub fn encode_batch(self, events: &[&str]) -> Option<(&'static str, String)> {
        let join_lines = |lines: Vec<&str>| lines.iter().map(|line| format!("{line}\n")).collect();
        match self {
            Self::Ndjson => Some((NDJSON_CONTENT_TYPE, join_lines(events.to_vec()))),
            Self::NdjsonSchema2 => {
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

    /// What a sink of this kind has said to a batch of `events`.
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
            // The next sums say it all again.
            (Self::OtlpMetrics, outcome) if outcome != DeliveryOutcome::Delivered => {
                DeliveryOutcome::Retry(match outcome {
                    DeliveryOutcome::Retry(asked_ms) => asked_ms,
                    _ => None,
                })
            }
            // The protocol names what may be sent again.
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

/// What is no list of sinks. Nothing of a value is shown but a name: it may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// Two have one name.
    #[error("two sinks are named `{name}`")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// Not JSON of the shape.
    #[error(
        "not a list such as [{{\"name\": \"logs\", \"kind\": \"ndjson\", \"url\": \"https://…\"}}]"
    )]
    InvalidJson,
    /// Too many.
    #[error("holds {sinks} sinks, the most is {SINKS_MAX}")]
    TooMany {
        /// How many.
        sinks: usize,
    },
    /// The name is that of a sink that is bound.
    #[error("`{name}` is the name of what is bound: give sink {number} another")]
    ReservedName {
        /// The name.
        name: String,
        /// Which, from 1.
        number: usize,
    },
    /// The name cannot be one.
    #[error("sink {number} has a name that is not 1 to 32 letters, digits, dashes and underscores")]
    InvalidName {
        /// Which, from 1.
        number: usize,
    },
    /// The URL cannot be asked.
    #[error(
        "sink `{name}` has a URL that is not http:// or https:// with a host and no user in it"
    )]
    InvalidUrl {
        /// The sink's name.
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

/// The sinks of a variable; none when it is empty.
///
/// # Errors
/// [`SinkError`] names the first fault.
pub fn parse_sinks(value: &str) -> Result<Vec<Sink>, SinkError> {
    if value.is_empty() {
        return Ok(Vec::new());
    }
    let configs: Vec<SinkConfig> =
        serde_json::from_str(value).map_err(|_| SinkError::InvalidJson)?;
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

/// Whether it is 1 to 32 letters, digits, dashes and underscores.
pub(super) fn is_target_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=32).contains(&name.len()) && name.bytes().all(is_allowed)
}

pub(super) fn is_http_url(url: &str) -> bool {
    let after_scheme = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(after_scheme) = after_scheme else { return false };
    let host = after_scheme.split(['/', '?', '#']).next().unwrap_or_default();
    !host.is_empty() && !host.contains('@') && !url.contains(char::is_whitespace)
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
        let event = r#"{"event":"verdict","time_ms":1,"good":true}"#;
        assert_eq!(
            SinkKind::Ndjson.encode_batch(&[event]),
            Some((NDJSON_CONTENT_TYPE, format!("{event}\n")))
        );
        assert_eq!(SinkKind::NdjsonSchema2.encode_batch(&[event]), None);
        let (content_type, body) = SinkKind::OtlpLogs.encode_batch(&[event]).unwrap();
        assert!(content_type == "application/json" && body.contains("jeffrey.verdict"), "{body}");
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
            serde_json::from_str(r#"["ndjson","ndjson-schema2","otlp-logs","otlp-metrics"]"#)
                .unwrap();
        let kinds =
            [SinkKind::Ndjson, SinkKind::NdjsonSchema2, SinkKind::OtlpLogs, SinkKind::OtlpMetrics];
        assert_eq!(names, kinds);
    }

    #[test]
    fn a_sink_shows_neither_its_key_nor_its_address() {
        let value = r#"[{"name":"a","kind":"ndjson","url":"https://h/?key=s3cret",
            "authorization":"Bearer s3cret"}]"#;
        assert_eq!(format!("{:?}", parse_sinks(value).unwrap()), "[Sink(a, Ndjson)]");
    }
}
