//! Delivery of stored events to the sinks, in batches.
//!
//! Each sink has a [`DeliveryCursor`]: its position, counters, and the time of its next attempt.
//! The position moves on when the sink accepts a batch or refuses it for good, so a sink gets an
//! event at least once. A batch that fails otherwise is sent again after a pause that doubles each
//! time.

use worker::{AnalyticsEngineDataPointBuilder, AnalyticsEngineDataset, Bucket, Env, Result};

use super::{BATCH_DELAY_MS, EventRow, EventStoreObject, IDLE_INTERVAL_MS, SqlText};
use crate::http::{self, HttpResponse, PostError};
use crate::sql::{SqlTables, sql_integer};
use crate::{now, random_bytes};
use jeffrey_edge::gateway::export::delivery_cursor::{DeliveryCursor, DeliveryOutcome};
use jeffrey_edge::gateway::export::sink::{ANALYTICS_SINK, ARCHIVE_SINK, Sink, SinkKind};
use jeffrey_edge::gateway::export::{cloudflare, otlp};
use jeffrey_terms::UnixMs;

/// Time limit for a sink's response, in milliseconds; head and body each have it.
const SINK_TIMEOUT_MS: u64 = 10_000;

/// Largest response of a sink that is read, in bytes.
const SINK_RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// Largest number of batches for one sink in one alarm.
const BATCHES_MAX: usize = 20;

/// The platform's own stores; `None` for a store that is not bound.
pub(super) struct PlatformSinks {
    archive: Option<Bucket>,
    analytics: Option<AnalyticsEngineDataset>,
}

impl PlatformSinks {
    pub(super) fn from_env(env: &Env) -> Self {
        Self {
            archive: env.bucket("ARCHIVE").ok(),
            analytics: env.analytics_engine("ANALYTICS").ok(),
        }
    }

    /// Returns the bound stores as sinks.
    pub(super) fn sinks(&self) -> impl Iterator<Item = Sink> + use<> {
        let archive = self.archive.is_some().then_some((ARCHIVE_SINK, SinkKind::Archive));
        let analytics = self.analytics.is_some().then_some((ANALYTICS_SINK, SinkKind::Analytics));
        archive.into_iter().chain(analytics).map(|(name, kind)| Sink {
            name: name.to_owned(),
            kind,
            url: String::new(),
            authorization: None,
        })
    }
}

impl EventStoreObject {
    /// Delivers pending events to a sink until nothing is pending, a delivery fails, or the sink
    /// has to be left alone for a while; at most [`BATCHES_MAX`] batches.
    pub(super) async fn deliver_pending(&self, sink: &Sink) -> Result<()> {
        for _ in 0..BATCHES_MAX {
            let cursor = self.delivery_cursor(sink)?;
            if now() < cursor.next_attempt_at {
                break;
            }
            let (last_seq, event_count, outcome) = if sink.kind == SinkKind::OtlpMetrics {
                // This sink gets the counters, not the events.
                let (last_seq, event_count) = (self.last_seq()?, self.count_pending(&cursor)?);
                if event_count == 0 {
                    break;
                }
                let began = UnixMs(
                    self.query_number("SELECT time_ms AS number FROM counters_start", vec![])?,
                );
                let instance = self.state.id().to_string();
                let body = otlp::encode_metrics(&self.totals()?, &instance, began, now());
                (
                    last_seq,
                    event_count,
                    post_to_sink(sink, ("application/json", &body), event_count).await,
                )
            } else {
                let batch_max = cursor.next_batch_size.min(sink.kind.batch_events_max());
                let rows = self.events_after(cursor.place, batch_max as u64)?;
                let Some(last_seq) = rows.last().map(|row| row.seq) else { break };
                (last_seq, rows.len() as u64, self.send_batch(sink, &rows).await)
            };
            let random = u16::from_be_bytes(random_bytes());
            let mut next_cursor =
                cursor.record_batch(outcome, event_count, last_seq, now(), random);
            if matches!(outcome, DeliveryOutcome::Delivered) {
                let pause_ms = sink
                    .kind
                    .pause_after_batch_ms(usize::try_from(event_count).unwrap_or(usize::MAX));
                next_cursor.next_attempt_at = UnixMs(next_cursor.next_attempt_at.0 + pause_ms);
            }
            self.store_delivery_cursor(sink, &next_cursor)?;
            if matches!(outcome, DeliveryOutcome::Retry(_)) {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn count_pending(&self, cursor: &DeliveryCursor) -> Result<u64> {
        let query = "SELECT COUNT(*) AS number FROM event WHERE seq > ?";
        self.query_number(query, vec![sql_integer(cursor.place)])
    }

    pub(super) fn delivery_cursor(&self, sink: &Sink) -> Result<DeliveryCursor> {
        let rows: Vec<SqlText> = self.query_rows(
            "SELECT json AS text FROM delivery_cursor WHERE sink = ?",
            vec![sink.name.as_str().into()],
        )?;
        match rows.first() {
            Some(row) => Ok(serde_json::from_str(&row.text)?),
            None => Ok(DeliveryCursor::default()),
        }
    }

    pub(super) fn store_delivery_cursor(&self, sink: &Sink, cursor: &DeliveryCursor) -> Result<()> {
        let text = serde_json::to_string(cursor)?;
        let values = vec![sink.name.as_str().into(), text.into()];
        self.execute("INSERT OR REPLACE INTO delivery_cursor VALUES (?, ?)", values)?;
        Ok(())
    }

    /// Returns the delay until the next alarm, in milliseconds.
    pub(super) fn next_alarm_delay_ms(&self) -> Result<i64> {
        let mut delay_ms = IDLE_INTERVAL_MS;
        let now = now();
        for sink in &self.sinks {
            let cursor = self.delivery_cursor(sink)?;
            if self.count_pending(&cursor)? > 0 {
                let until_next = cursor.next_attempt_at.0.saturating_sub(now.0);
                delay_ms = delay_ms
                    .min(i64::try_from(until_next).unwrap_or(IDLE_INTERVAL_MS).max(BATCH_DELAY_MS));
            }
        }
        Ok(delay_ms)
    }

    /// Sends one batch of events to one sink.
    async fn send_batch(&self, sink: &Sink, rows: &[EventRow]) -> DeliveryOutcome {
        let events: Vec<&str> = rows.iter().map(|row| row.json.as_str()).collect();
        if let (SinkKind::Analytics, Some(dataset)) = (sink.kind, &self.platform_sinks.analytics) {
            let points = events.iter().filter_map(|event| cloudflare::data_point(event));
            for point in points {
                let data = AnalyticsEngineDataPointBuilder::new()
                    .indexes([point.index.as_str()])
                    .blobs(point.blobs)
                    .doubles(point.doubles);
                if data.write_to(dataset).is_err() {
                    return DeliveryOutcome::Retry(None);
                }
            }
            return DeliveryOutcome::Delivered;
        }
        // A batch without an event for this sink counts as delivered.
        let Some((content_type, body)) = sink.kind.encode_batch(&events) else {
            return DeliveryOutcome::Delivered;
        };
        match (sink.kind, &self.platform_sinks.archive, rows.first()) {
            (SinkKind::Archive, Some(bucket), Some(first_row)) => {
                let key = cloudflare::object_key(
                    &self.state.id().to_string(),
                    first_row.seq,
                    &first_row.json,
                );
                match bucket.put(key, body.into_bytes()).execute().await {
                    Ok(_) => DeliveryOutcome::Delivered,
                    Err(_) => DeliveryOutcome::Retry(None),
                }
            }
            _ => post_to_sink(sink, (content_type, &body), rows.len() as u64).await,
        }
    }
}

/// Posts a body to a sink's URL and interprets the response.
async fn post_to_sink(
    sink: &Sink,
    (content_type, body): (&str, &str),
    event_count: u64,
) -> DeliveryOutcome {
    let to = (sink.url.as_str(), sink.authorization.as_deref());
    match http::post(to, (content_type, body.as_bytes()), SINK_TIMEOUT_MS, SINK_RESPONSE_BYTES_MAX)
        .await
    {
        Ok(HttpResponse { status, retry_after, body }) => sink.kind.delivery_outcome(
            Some(status),
            retry_after.as_deref(),
            &body,
            event_count,
            now(),
        ),
        Err(PostError::NoResponse) => {
            sink.kind.delivery_outcome(None, None, &[], event_count, now())
        }
        Err(PostError::InvalidHeader) => DeliveryOutcome::Rejected,
    }
}
