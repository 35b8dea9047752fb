//! Delivery of stored events to the sinks, in batches.
//!
//! Each sink has a [`DeliveryCursor`]: its position, counters, and the time of its next attempt.
//! The position moves on when the sink accepts a batch or refuses it for good, so a sink gets an
//! event at least once. A batch that fails otherwise is sent again after a pause that doubles each
//! time.

use super::event_log::NumberedEvent;
use super::{BATCH_DELAY_MS, EventStoreObject, IDLE_INTERVAL_MS};
use crate::host::{FetchError, HttpRequest, ObjectHost, Target};
use crate::sql::StorageResult;
use jeffrey_edge::gateway::export::delivery_cursor::{DeliveryCursor, DeliveryOutcome};
use jeffrey_edge::gateway::export::sink::{Sink, SinkKind};
use jeffrey_edge::gateway::export::{cloudflare, otlp};
use jeffrey_terms::UnixMs;

/// Time limit for a sink's response, in milliseconds.
const SINK_TIMEOUT_MS: u64 = 10_000;

/// Largest response of a sink that is read, in bytes.
const SINK_RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// Largest number of batches for one sink in one alarm.
const BATCHES_MAX: usize = 20;

impl<H: ObjectHost> EventStoreObject<H> {
    /// Delivers pending events to a sink until nothing is pending, a delivery fails, or the sink
    /// has to be left alone for a while; at most [`BATCHES_MAX`] batches.
    pub(super) async fn deliver_pending(&self, sink: &Sink) -> StorageResult<()> {
        for _ in 0..BATCHES_MAX {
            let cursor = self.delivery_cursor(sink)?;
            if self.host.now() < cursor.next_attempt_at {
                break;
            }
            let (last_seq, event_count, outcome) = if sink.kind == SinkKind::OtlpMetrics {
                // This sink gets the counters, not the events.
                let (last_seq, event_count) = (self.last_seq()?, self.count_pending(&cursor)?);
                if event_count == 0 {
                    break;
                }
                let began =
                    UnixMs(self.host.query_number("SELECT time_ms FROM counters_start", vec![])?);
                let instance = self.host.object_id();
                let body =
                    otlp::encode_metrics(&self.counters()?, &instance, began, self.host.now());
                (
                    last_seq,
                    event_count,
                    self.post_to_sink(sink, ("application/json", &body), event_count).await,
                )
            } else {
                let batch_max = cursor.next_batch_size.min(sink.kind.batch_events_max());
                let page = self.events_after(cursor.place, batch_max)?;
                if page.last_seq == cursor.place {
                    break;
                }
                let outcome = match page.events.is_empty() {
                    // All of them are erased.
                    true => DeliveryOutcome::Delivered,
                    false => self.send_batch(sink, &page.events).await,
                };
                (page.last_seq, page.events.len() as u64, outcome)
            };
            let random = u16::from_be_bytes(self.host.random_bytes());
            let mut next_cursor =
                cursor.record_batch(outcome, event_count, last_seq, self.host.now(), random);
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

    /// Returns the number of events after a cursor; erased ones count until the cursor passes them.
    pub(super) fn count_pending(&self, cursor: &DeliveryCursor) -> StorageResult<u64> {
        let last_seq = self.last_seq()?;
        if last_seq <= cursor.place {
            return Ok(0);
        }
        let query = "SELECT MIN(first_seq) FROM batch";
        let oldest = self.host.query_number(query, vec![])?;
        // Without a batch, all events were deleted.
        let oldest = if oldest == 0 { last_seq + 1 } else { oldest };
        Ok(last_seq - cursor.place.max(oldest - 1))
    }

    /// Returns the number of the last event that was stored.
    fn last_seq(&self) -> StorageResult<u64> {
        self.with_counts(|counts| Ok(counts.next_seq() - 1))
    }

    pub(super) fn delivery_cursor(&self, sink: &Sink) -> StorageResult<DeliveryCursor> {
        let query = "SELECT json FROM delivery_cursor WHERE sink = ?";
        let rows = self.host.query(query, vec![sink.name.as_str().into()])?;
        rows.first().map_or_else(|| Ok(DeliveryCursor::default()), |row| row.json(0))
    }

    pub(super) fn store_delivery_cursor(
        &self,
        sink: &Sink,
        cursor: &DeliveryCursor,
    ) -> StorageResult<()> {
        let text = serde_json::to_string(cursor)?;
        let values = vec![sink.name.as_str().into(), text.into()];
        self.host.execute("INSERT OR REPLACE INTO delivery_cursor VALUES (?, ?)", values)?;
        Ok(())
    }

    /// Returns the delay until the next alarm, in milliseconds.
    pub(super) fn next_alarm_delay_ms(&self) -> StorageResult<u64> {
        let mut delay_ms = IDLE_INTERVAL_MS;
        let now = self.host.now();
        for sink in &self.sinks {
            let cursor = self.delivery_cursor(sink)?;
            if self.count_pending(&cursor)? > 0 {
                let until_next = cursor.next_attempt_at.0.saturating_sub(now.0);
                delay_ms = delay_ms.min(until_next.max(BATCH_DELAY_MS));
            }
        }
        Ok(delay_ms)
    }

    /// Sends one batch of events to one sink.
    async fn send_batch(&self, sink: &Sink, rows: &[NumberedEvent]) -> DeliveryOutcome {
        let events: Vec<&str> = rows.iter().map(|row| row.json.as_str()).collect();
        if sink.kind == SinkKind::Analytics {
            let points = events.iter().filter_map(|event| cloudflare::data_point(event)).collect();
            return match self.host.write_data_points(points) {
                true => DeliveryOutcome::Delivered,
                false => DeliveryOutcome::Retry(None),
            };
        }
        // A batch without an event for this sink counts as delivered.
        let Some((content_type, body)) = sink.kind.encode_batch(&events) else {
            return DeliveryOutcome::Delivered;
        };
        match (sink.kind, rows.first()) {
            (SinkKind::Archive, Some(first_row)) => {
                let shard = self.host.object_id();
                let key = cloudflare::object_key(&shard, first_row.seq, &first_row.json);
                match self.host.archive(key, body.into_bytes()).await {
                    true => DeliveryOutcome::Delivered,
                    false => DeliveryOutcome::Retry(None),
                }
            }
            _ => self.post_to_sink(sink, (content_type, &body), rows.len() as u64).await,
        }
    }

    /// Posts a body to a sink's URL and interprets the response.
    async fn post_to_sink(
        &self,
        sink: &Sink,
        (content_type, body): (&str, &str),
        event_count: u64,
    ) -> DeliveryOutcome {
        let mut headers = vec![("content-type", content_type)];
        headers.extend(sink.authorization.as_deref().map(|value| ("authorization", value)));
        let request = HttpRequest {
            target: Target::Url(&sink.url),
            method: "POST",
            headers: &headers,
            body: body.as_bytes(),
            timeout_ms: SINK_TIMEOUT_MS,
            response_bytes_max: SINK_RESPONSE_BYTES_MAX,
        };
        let outcome = |status, retry_after: Option<&str>, body: &[u8]| {
            sink.kind.delivery_outcome(status, retry_after, body, event_count, self.host.now())
        };
        match self.host.send(request).await {
            Ok(response) => outcome(
                Some(response.status),
                response.header("retry-after"),
                response.body_or_empty(),
            ),
            Err(FetchError::Failed | FetchError::TimedOut) => outcome(None, None, &[]),
            Err(FetchError::InvalidHeader) => DeliveryOutcome::Rejected,
        }
    }
}
