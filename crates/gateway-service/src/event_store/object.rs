//! One shard of the event store: stores every event once, in its own SQLite, and delivers it to the
//! sinks.
//!
//! The object loads, calls the core, stores and replies. Events are a log of batches, one row each.
//! Their counts are in memory ([`ShardCounts`]), and checkpoints save them. The alarm delivers events,
//! deletes expired ones and erases. Each sink has its own delivery cursor, so a sink that is down delays
//! neither another sink nor a request.

mod counting;

mod delivery;

mod erasure;

mod event_log;

mod migration;

mod minutes;

mod pruning;

use std::cell::{Cell, RefCell};

use futures_util::future::join_all;

use super::messages::EventStoreRequest;
use crate::host::ObjectHost;
use crate::message::{ObjectReply, decode_message};
use crate::sql::StorageResult;
use jeffrey_edge::gateway::aggregate::closed_minute_cache::ClosedMinuteCache;
use jeffrey_edge::gateway::export::prometheus::QUEUE_LAG_SERIES;
use jeffrey_edge::gateway::export::sink::Sink;
use jeffrey_edge::gateway::export::status::{ShardStatus, SinkStatus};
use jeffrey_edge::gateway::store::shard_counts::ShardCounts;

/// Counters that are not derived from stored events.
const EVENTS_LOST: &str = "jeffrey_events_lost_total";
const EVENTS_BROKEN: &str = "jeffrey_events_malformed_total";
const EVENTS_DEAD_LETTERED: &str = "jeffrey_events_dead_lettered_total";
const QUEUE_FAILED: &str = "jeffrey_queue_send_failures_total";
const EVENTS_ERASED: &str = "jeffrey_events_erased_total";

/// Delay from the first event to its batch, in milliseconds: one request then carries many events.
const BATCH_DELAY_MS: u64 = 500;

/// Interval of the alarm in milliseconds while there is nothing to send: it deletes expired events
/// then.
const IDLE_INTERVAL_MS: u64 = 60 * 60 * 1_000;

/// Delay of the alarm in milliseconds while there is more to delete or to erase: messages come between.
const NEXT_SLICE_DELAY_MS: u64 = 200;

/// Shard of the event store; it holds events of all releases.
pub struct EventStoreObject<H> {
    host: H,
    sinks: Vec<Sink>,
    /// Whether the tables are known to exist.
    is_prepared: Cell<bool>,
    /// Age of the oldest event in the queue's last batch, in milliseconds.
    queue_lag_ms: Cell<u64>,
    /// Counts of the shard; `None` before they are loaded, and after a failure.
    counts: RefCell<Option<ShardCounts>>,
    closed_minutes: RefCell<ClosedMinuteCache>,
}

impl<H: ObjectHost> EventStoreObject<H> {
    /// Creates the object on its host, after a start or a restart of the platform.
    pub fn new(host: H) -> Self {
        let sinks = host.settings().sinks.iter().cloned().chain(host.platform_sinks()).collect();
        Self {
            host,
            sinks,
            is_prepared: Cell::new(false),
            queue_lag_ms: Cell::new(0),
            counts: RefCell::default(),
            closed_minutes: RefCell::default(),
        }
    }

    /// Replies to an encoded message.
    ///
    /// # Errors
    /// Returns the storage's error; the sender then tries again or reports the object as away.
    pub async fn reply_to(&self, message: &[u8]) -> StorageResult<ObjectReply> {
        let Some((request, payload)) = decode_message::<EventStoreRequest>(message) else {
            return Ok(ObjectReply::unsupported());
        };
        self.migrate_tables()?;
        let needs_alarm = matches!(
            request,
            EventStoreRequest::Append { .. }
                | EventStoreRequest::EraseSubject
                | EventStoreRequest::Feedback { .. }
        );
        let reply = self.handle_request(request, payload)?;
        if needs_alarm {
            self.ensure_alarm().await?;
        }
        Ok(reply)
    }

    fn handle_request(
        &self,
        request: EventStoreRequest,
        payload: &[u8],
    ) -> StorageResult<ObjectReply> {
        Ok(match request {
            EventStoreRequest::Append {
                queue_lag_ms,
                lost_events,
                queue_failures,
                dead_letters,
            } => {
                let increments = [
                    (EVENTS_LOST, lost_events),
                    (QUEUE_FAILED, queue_failures),
                    (EVENTS_DEAD_LETTERED, dead_letters),
                ];
                let stored = self.store_events(payload, increments)?;
                if let Some(lag_ms) = queue_lag_ms {
                    self.queue_lag_ms.set(lag_ms);
                }
                ObjectReply::json(&stored)
            }
            EventStoreRequest::Counters => ObjectReply::json(&self.counters()?),
            EventStoreRequest::EraseSubject => {
                ObjectReply::json(&self.erase_subject(&String::from_utf8_lossy(payload))?)
            }
            EventStoreRequest::Events { since, limit } => {
                ObjectReply::from_bytes(self.read_page(since, limit)?)
            }
            EventStoreRequest::Feedback { id, feedback } => {
                ObjectReply::json(&self.record_feedback(&id, feedback)?)
            }
            EventStoreRequest::Minutes { release, since, before } => {
                ObjectReply::json(&self.minutes_between(&release, since, before)?)
            }
            EventStoreRequest::ShardMinutes { release, minutes } => {
                ObjectReply::json(&self.shard_minutes(&release, &minutes)?)
            }
            EventStoreRequest::StableLatency { release, minute } => {
                ObjectReply::json(&self.stable_latency(&release, minute)?)
            }
            EventStoreRequest::Status => ObjectReply::json(&self.shard_status()?),
            EventStoreRequest::TotalsBetween { release, since, before } => {
                ObjectReply::json(&self.totals_between(&release, since, before)?)
            }
        })
    }

    /// Saves what is counted, deletes expired events, erases, delivers pending events and sets the next
    /// alarm.
    ///
    /// # Errors
    /// Returns the storage's error; the platform then calls the alarm again.
    pub async fn on_alarm(&self) -> StorageResult<()> {
        self.migrate_tables()?;
        self.save_if_due()?;
        let has_more = self.prune_expired()? | self.continue_erasures()?;
        let deliveries = self.sinks.iter().map(|sink| self.deliver_pending(sink));
        for delivery in join_all(deliveries).await {
            delivery?;
        }
        let delay_ms = self.next_alarm_delay_ms()?;
        self.host
            .set_alarm(if has_more { NEXT_SLICE_DELAY_MS.min(delay_ms) } else { delay_ms })
            .await
    }

    fn shard_status(&self) -> StorageResult<ShardStatus> {
        let sinks = self.sinks.iter().map(|sink| {
            let cursor = self.delivery_cursor(sink)?;
            Ok(SinkStatus {
                name: sink.name.clone(),
                pending_events: self.count_pending(&cursor)?,
                cursor,
            })
        });
        let sinks = sinks.collect::<StorageResult<_>>()?;
        let erasing_events = self.count_unsearched()?;
        self.with_counts(|counts| {
            Ok(ShardStatus {
                events: counts.events(),
                newest_event_number: counts.next_seq() - 1,
                lost_events: counts.counters().get(EVENTS_LOST).copied().unwrap_or(0),
                erasing_events,
                sinks,
            })
        })
    }

    fn counters(&self) -> StorageResult<Vec<(String, u64)>> {
        let mut totals: Vec<_> =
            self.with_counts(|counts| Ok(counts.counters().clone()))?.into_iter().collect();
        totals.push((QUEUE_LAG_SERIES.to_owned(), self.queue_lag_ms.get()));
        for SinkStatus { name, pending_events: pending, cursor } in self.shard_status()?.sinks {
            for (family, number) in [
                ("jeffrey_sink_delivered_total", cursor.delivered),
                ("jeffrey_sink_dropped_total", cursor.dropped),
                ("jeffrey_sink_pending_events", pending),
            ] {
                totals.push((format!("{family}{{sink=\"{name}\"}}"), number));
            }
        }
        Ok(totals)
    }

    /// Makes sure that an alarm comes soon if there is something to delete or to deliver, else within
    /// [`IDLE_INTERVAL_MS`].
    async fn ensure_alarm(&self) -> StorageResult<()> {
        let bytes_max = self.host.settings().event_store_bytes_max;
        let has_to_delete = self.with_counts(|counts| {
            Ok(counts.has_pending_erasures() || counts.batch_bytes() > bytes_max)
        })?;
        let delay_ms = match (has_to_delete, self.sinks.is_empty()) {
            (true, _) => NEXT_SLICE_DELAY_MS,
            (false, false) => BATCH_DELAY_MS,
            (false, true) => IDLE_INTERVAL_MS,
        };
        // An alarm that is due sooner stays; an idle alarm is brought forward.
        match self.host.alarm().await? {
            Some(alarm) if alarm.0 <= self.host.now().0 + delay_ms => Ok(()),
            // During a pause that a sink asked for, the alarm does not send to it.
            _ => self.host.set_alarm(delay_ms).await,
        }
    }
}
