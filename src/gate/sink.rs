//! Where events are sent beside the ledger, each with an outbox of its own: any number of HTTP endpoints, and
//! the platform's stores where they are bound.

use std::fmt;

use serde::Deserialize;

use super::outbox::{self, Outcome};
use super::{otlp, schema_2};
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
    /// Objects of NDJSON in the bucket that is bound as `ARCHIVE`.
    #[serde(skip)]
    Archive,
    /// Data points in the dataset that is bound as `ANALYTICS`.
    #[serde(skip)]
    Analytics,
}

/// The names of the sinks that are there when they are bound.
pub const ARCHIVE: &str = "archive";
/// The other one.
pub const ANALYTICS: &str = "analytics";

/// Data points that one invocation of a worker may write
/// (<https://developers.cloudflare.com/analytics/analytics-engine/limits/>).
const POINTS_MAX: usize = 250;

/// How long a sink of few large batches gathers, in milliseconds: an object or a set of sums a minute.
const GATHERED_MS: u64 = 60_000;

impl SinkKind {
    /// How many events a batch may have at most.
    pub const fn batch_max(self) -> usize {
        match self {
            Self::Analytics => POINTS_MAX,
            // Sums say all that happened, however much that is.
            Self::OtlpMetrics => usize::MAX,
            _ => outbox::BATCH_EVENTS_MAX,
        }
    }

    /// How long it is left alone after a batch of so many events, in milliseconds.
    pub const fn pause_ms(self, events: usize) -> u64 {
        match self {
            Self::OtlpMetrics => GATHERED_MS,
            Self::Archive if events < self.batch_max() => GATHERED_MS,
            // Whatever an alarm may write, it has written.
            Self::Analytics => 1,
            _ => 0,
        }
    }

    /// The content type and the body of a batch; `None` when nothing of it is for this kind, or it is no matter of
    /// bodies.
    pub fn body(self, events: &[&str]) -> Option<(&'static str, String)> {
        let lines = |lines: Vec<&str>| lines.iter().map(|line| format!("{line}\n")).collect();
        match self {
            Self::Ndjson => Some((NDJSON, lines(events.to_vec()))),
            Self::NdjsonSchema2 => {
                let known: Vec<String> =
                    events.iter().filter_map(|event| schema_2::line(event)).collect();
                let body = lines(known.iter().map(String::as_str).collect());
                (!known.is_empty()).then_some((NDJSON, body))
            }
            Self::OtlpLogs => Some(("application/json", otlp::logs(events))),
            Self::Archive => Some((NDJSON, lines(events.to_vec()))),
            Self::OtlpMetrics | Self::Analytics => None,
        }
    }

    /// What a sink of this kind has said to a batch of `events`.
    pub fn outcome(
        self,
        status: Option<u16>,
        retry_after: Option<&str>,
        answer: &[u8],
        events: u64,
        now: UnixMs,
    ) -> Outcome {
        match (self, outbox::outcome(status, retry_after, now)) {
            (Self::OtlpLogs, Outcome::Delivered) => match otlp::rejected(answer).min(events) {
                0 => Outcome::Delivered,
                rejected => Outcome::Partly { rejected },
            },
            // The next sums say it all again.
            (Self::OtlpMetrics, outcome) if outcome != Outcome::Delivered => {
                Outcome::Later(match outcome {
                    Outcome::Later(asked_ms) => asked_ms,
                    _ => None,
                })
            }
            // The protocol names what may be sent again.
            (Self::OtlpLogs, Outcome::Later(_))
                if !matches!(status, None | Some(429 | 502 | 503 | 504)) =>
            {
                Outcome::Refused
            }
            (_, outcome) => outcome,
        }
    }
}

const NDJSON: &str = "application/x-ndjson";

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
    Double {
        /// The name.
        name: String,
    },
    /// Not JSON of the shape.
    #[error(
        "not a list such as [{{\"name\": \"logs\", \"kind\": \"ndjson\", \"url\": \"https://…\"}}]"
    )]
    Form,
    /// Too many.
    #[error("holds {sinks} sinks, the most is {SINKS_MAX}")]
    Many {
        /// How many.
        sinks: usize,
    },
    /// The name is that of a sink that is bound.
    #[error("`{name}` is the name of what is bound: give sink {number} another")]
    Taken {
        /// The name.
        name: String,
        /// Which, from 1.
        number: usize,
    },
    /// The name cannot be one.
    #[error("sink {number} has a name that is not 1 to 32 letters, digits, dashes and underscores")]
    Name {
        /// Which, from 1.
        number: usize,
    },
    /// The URL cannot be asked.
    #[error(
        "sink `{name}` has a URL that is not http:// or https:// with a host and no user in it"
    )]
    Url {
        /// The sink's name.
        name: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    name: String,
    kind: SinkKind,
    url: String,
    authorization: Option<String>,
}

/// The sinks of a variable; none when it is empty.
///
/// # Errors
/// [`SinkError`] names the first fault.
pub fn parse(value: &str) -> Result<Vec<Sink>, SinkError> {
    if value.is_empty() {
        return Ok(Vec::new());
    }
    let shapes: Vec<Shape> = serde_json::from_str(value).map_err(|_| SinkError::Form)?;
    if shapes.len() > SINKS_MAX {
        return Err(SinkError::Many { sinks: shapes.len() });
    }
    let mut sinks: Vec<Sink> = Vec::new();
    for (Shape { name, kind, url, authorization }, number) in shapes.into_iter().zip(1..) {
        if !is_name(&name) {
            return Err(SinkError::Name { number });
        }
        if [ARCHIVE, ANALYTICS].contains(&name.as_str()) {
            return Err(SinkError::Taken { name, number });
        }
        if !is_url(&url) {
            return Err(SinkError::Url { name });
        }
        if sinks.iter().any(|sink| sink.name == name) {
            return Err(SinkError::Double { name });
        }
        sinks.push(Sink { name, kind, url, authorization });
    }
    Ok(sinks)
}

/// Whether it is 1 to 32 letters, digits, dashes and underscores.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=32).contains(&name.len()) && name.bytes().all(plain)
}

pub(super) fn is_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    !host.is_empty() && !host.contains('@') && !url.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinks_are_read_whole_or_refused_by_name() {
        let one = r#"{"name":"logs","kind":"ndjson","url":"https://c.example/in?k=v"}"#;
        let sinks = parse(&format!("[{one}]")).unwrap();
        assert_eq!((sinks[0].name.as_str(), sinks[0].kind), ("logs", SinkKind::Ndjson));
        assert_eq!(parse(""), Ok(Vec::new()));
        let rows = [
            ("{}".to_owned(), SinkError::Form),
            (format!("[{one},{one}]"), SinkError::Double { name: "logs".into() }),
            (format!("[{}]", one.replace("logs", "a b")), SinkError::Name { number: 1 }),
            (format!("[{}]", one.replace("https", "ftp")), SinkError::Url { name: "logs".into() }),
            (
                format!("[{}]", one.replace("c.example", "u:p@c.example")),
                SinkError::Url { name: "logs".into() },
            ),
            (format!("[{}]", one.replace("ndjson", "kafka")), SinkError::Form),
            (format!("[{}]", one.replace("ndjson", "archive")), SinkError::Form),
            (
                format!("[{}]", one.replace("logs", "archive")),
                SinkError::Taken { name: "archive".into(), number: 1 },
            ),
            (format!("[{}]", [one; 9].join(",")), SinkError::Many { sinks: 9 }),
        ];
        for (value, expected) in rows {
            assert_eq!(parse(&value), Err(expected), "{value}");
        }
    }

    #[test]
    fn each_kind_has_its_body_and_its_own_reading_of_an_answer() {
        let event = r#"{"event":"verdict","time_ms":1,"good":true}"#;
        assert_eq!(SinkKind::Ndjson.body(&[event]), Some((NDJSON, format!("{event}\n"))));
        assert_eq!(SinkKind::NdjsonSchema2.body(&[event]), None);
        let (kind, body) = SinkKind::OtlpLogs.body(&[event]).unwrap();
        assert!(kind == "application/json" && body.contains("jeffrey.verdict"), "{body}");
        let partly = br#"{"partialSuccess":{"rejectedLogRecords":"2"}}"#;
        let rows = [
            (SinkKind::OtlpLogs, Some(200), Outcome::Partly { rejected: 2 }),
            (SinkKind::Ndjson, Some(200), Outcome::Delivered),
            (SinkKind::OtlpLogs, Some(500), Outcome::Refused),
            (SinkKind::Ndjson, Some(500), Outcome::Later(None)),
            (SinkKind::OtlpLogs, Some(503), Outcome::Later(None)),
            (SinkKind::OtlpLogs, Some(400), Outcome::Refused),
            (SinkKind::OtlpLogs, Some(413), Outcome::TooLarge),
            (SinkKind::OtlpLogs, None, Outcome::Later(None)),
            (SinkKind::OtlpMetrics, Some(400), Outcome::Later(None)),
            (SinkKind::OtlpMetrics, Some(413), Outcome::Later(None)),
            (SinkKind::OtlpMetrics, Some(200), Outcome::Delivered),
        ];
        for (kind, status, expected) in rows {
            let outcome = kind.outcome(status, None, partly, 5, UnixMs(0));
            assert_eq!(outcome, expected, "{kind:?} {status:?}");
        }
        let names: Vec<SinkKind> =
            serde_json::from_str(r#"["ndjson","ndjson-schema2","otlp-logs","otlp-metrics"]"#)
                .unwrap();
        let all =
            [SinkKind::Ndjson, SinkKind::NdjsonSchema2, SinkKind::OtlpLogs, SinkKind::OtlpMetrics];
        assert_eq!(names, all);
    }

    #[test]
    fn a_sink_shows_neither_its_key_nor_its_address() {
        let value = r#"[{"name":"a","kind":"ndjson","url":"https://h/?key=s3cret",
            "authorization":"Bearer s3cret"}]"#;
        assert_eq!(format!("{:?}", parse(value).unwrap()), "[Sink(a, Ndjson)]");
    }
}
