//! One shard of the event store: stores every event once, in its own SQLite, and delivers it to the
//! sinks.
//!
//! The object loads, calls the core, stores and replies. Its alarm delivers events and deletes
//! expired ones. Each sink has its own delivery cursor, so a sink that is down delays neither
//! another sink nor a request.

mod delivery;

mod minutes;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde::Deserialize;

use super::messages::{EventStoreRequest, FeedbackOutcome};
use crate::host::ObjectHost;
use crate::message::{ObjectReply, decode_message};
use crate::sql::{NumberRow, SqlValue, StorageError, StorageResult, TextRow, sql_integer};
use jeffrey_edge::gateway::aggregate::closed_minute_cache::ClosedMinuteCache;
use jeffrey_edge::gateway::aggregate::minute_stats::{CohortStats, EventContribution, count_event};
use jeffrey_edge::gateway::events::feedback::Feedback;
use jeffrey_edge::gateway::events::feedback::FeedbackEvent;
use jeffrey_edge::gateway::events::stored::{EventKey, StoredEvent};
use jeffrey_edge::gateway::export::prometheus::{QUEUE_LAG_SERIES, series_increments};
use jeffrey_edge::gateway::export::sink::Sink;
use jeffrey_edge::gateway::export::status::{ShardStatus, SinkStatus};
use jeffrey_edge::gateway::request::subject::hash_subject;
use jeffrey_edge::rollout::bucket::ReleaseName;
use jeffrey_terms::{Cohort, ResponseId, Share, Subject};

/// Counters that are not derived from stored events.
const EVENTS_LOST: &str = "jeffrey_events_lost_total";
const EVENTS_BROKEN: &str = "jeffrey_events_malformed_total";
const EVENTS_DEAD_LETTERED: &str = "jeffrey_events_dead_lettered_total";
const QUEUE_FAILED: &str = "jeffrey_queue_send_failures_total";
const EVENTS_ERASED: &str = "jeffrey_events_erased_total";

/// How long an erased subject's hash is kept, in milliseconds: an event of that subject may still
/// be in a queue, which keeps messages for 14 days at most.
const ERASURE_WINDOW_MS: u64 = 14 * 24 * 60 * 60 * 1_000;

/// Delay from the first event to its batch, in milliseconds: one request then carries many events.
const BATCH_DELAY_MS: u64 = 500;

/// Interval of the alarm in milliseconds while there is nothing to send: it deletes expired events
/// then.
const IDLE_INTERVAL_MS: u64 = 60 * 60 * 1_000;

/// Shard of the event store; it holds events of all releases.
pub struct EventStoreObject<H> {
    host: H,
    sinks: Vec<Sink>,
    /// Whether the tables are known to exist.
    is_prepared: Cell<bool>,
    /// Age of the oldest event in the queue's last batch, in milliseconds.
    queue_lag_ms: Cell<u64>,
    closed_minutes: RefCell<ClosedMinuteCache>,
}

impl<H: ObjectHost> EventStoreObject<H> {
    /// Creates the object on its host, after a start or a restart of the platform.
    pub fn new(host: H) -> Self {
        let sinks = host.settings().sinks.iter().cloned().chain(host.platform_sinks()).collect();
        let (is_prepared, queue_lag_ms) = (Cell::new(false), Cell::new(0));
        Self { host, sinks, is_prepared, queue_lag_ms, closed_minutes: RefCell::default() }
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
        let changes_events = matches!(
            request,
            EventStoreRequest::Append { .. } | EventStoreRequest::Feedback { .. }
        );
        let reply = self.handle_request(request, payload)?;
        if changes_events {
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
                let inserted = self.host.transaction(|| {
                    let inserted = self.store_events(payload)?;
                    self.add_to_counter(EVENTS_LOST, lost_events)?;
                    self.add_to_counter(QUEUE_FAILED, queue_failures)?;
                    self.add_to_counter(EVENTS_DEAD_LETTERED, dead_letters)?;
                    Ok(inserted)
                })?;
                if let Some(lag_ms) = queue_lag_ms {
                    self.queue_lag_ms.set(lag_ms);
                }
                ObjectReply::json(&inserted)
            }
            EventStoreRequest::Counters => ObjectReply::json(&self.counters()?),
            EventStoreRequest::EraseSubject => {
                let subject = String::from_utf8_lossy(payload);
                ObjectReply::json(&self.host.transaction(|| self.erase_subject(&subject))?)
            }
            EventStoreRequest::Events { since, limit } => {
                ObjectReply::from_bytes(self.read_page(since, limit)?)
            }
            EventStoreRequest::Feedback { id, feedback } => {
                ObjectReply::json(&self.host.transaction(|| self.record_feedback(&id, feedback))?)
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

    /// Deletes expired events, delivers pending ones and sets the next alarm.
    ///
    /// # Errors
    /// Returns the storage's error; the platform then calls the alarm again.
    pub async fn on_alarm(&self) -> StorageResult<()> {
        self.migrate_tables()?;
        self.host.transaction(|| self.prune_expired())?;
        let deliveries = self.sinks.iter().map(|sink| self.deliver_pending(sink));
        for delivery in join_all(deliveries).await {
            delivery?;
        }
        self.host.set_alarm(self.next_alarm_delay_ms()?).await
    }
}

/// Key of stored [`CohortStats`]: release, minute, cohort, share.
type CohortStatsKey = (String, u64, Cohort, Share);

/// Statements that migrate the database to each schema version from the version before.
const SCHEMA: [&[&str]; 3] = [
    &[
        "CREATE TABLE IF NOT EXISTS event (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, \
         time_ms INTEGER NOT NULL, release TEXT NOT NULL, subject TEXT, json TEXT NOT NULL)",
        "CREATE TABLE IF NOT EXISTS feedback (classify_id TEXT PRIMARY KEY, time_ms INTEGER NOT NULL)",
        "CREATE TABLE IF NOT EXISTS delivery_cursor (sink TEXT PRIMARY KEY, json TEXT NOT NULL)",
        "CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, number INTEGER NOT NULL)",
        "CREATE INDEX IF NOT EXISTS event_subject ON event (subject)",
    ],
    &[
        "CREATE TABLE cohort_stats (release TEXT NOT NULL, minute INTEGER NOT NULL, cohort TEXT NOT NULL, \
         share INTEGER NOT NULL, json TEXT NOT NULL, PRIMARY KEY (release, minute, cohort, share))",
        "CREATE TABLE first_seen (release TEXT NOT NULL, subject TEXT NOT NULL, minute INTEGER NOT NULL, \
         cohort TEXT NOT NULL, PRIMARY KEY (release, subject))",
        "CREATE INDEX first_seen_minute ON first_seen (release, minute)",
        "CREATE TABLE last_hit (release TEXT NOT NULL, metric TEXT NOT NULL, subject TEXT NOT NULL, \
         next_minute INTEGER NOT NULL, PRIMARY KEY (release, metric, subject))",
        "CREATE TABLE newly_affected (release TEXT NOT NULL, minute INTEGER NOT NULL, metric TEXT NOT NULL, \
         hour INTEGER NOT NULL, cohort TEXT NOT NULL, number INTEGER NOT NULL, \
         PRIMARY KEY (release, minute, metric, hour, cohort))",
        "CREATE TABLE subject_errors (release TEXT NOT NULL, minute INTEGER NOT NULL, subject TEXT NOT NULL, \
         number INTEGER NOT NULL, PRIMARY KEY (release, minute, subject))",
    ],
    &[
        "CREATE TABLE erased_subject (subject TEXT PRIMARY KEY, time_ms INTEGER NOT NULL)",
        "CREATE TABLE counters_start (time_ms INTEGER NOT NULL)",
        "CREATE INDEX event_release ON event (release)",
    ],
];

#[derive(Deserialize)]
struct EventRow {
    seq: u64,
    json: String,
}

impl<H: ObjectHost> EventStoreObject<H> {
    /// Creates the tables, or migrates those of an earlier version, as one transaction.
    fn migrate_tables(&self) -> StorageResult<()> {
        if self.is_prepared.get() {
            return Ok(());
        }
        self.host.transaction(|| self.run_migrations())?;
        self.is_prepared.set(true);
        Ok(())
    }

    fn run_migrations(&self) -> StorageResult<()> {
        self.host
            .execute("CREATE TABLE IF NOT EXISTS schema (version INTEGER NOT NULL)", vec![])?;
        let version =
            self.host.query_number("SELECT MAX(version) AS number FROM schema", vec![])?;
        if version > SCHEMA.len() as u64 {
            // A later release wrote this database: storing no event is better than a row that it
            // would misread.
            return Err(StorageError::LaterVersion { found: version, known: SCHEMA.len() as u64 });
        }
        for (number, statements) in (1_u64..).zip(SCHEMA).skip(version as usize) {
            for statement in statements {
                self.host.execute(statement, vec![])?;
            }
            self.host.execute("INSERT INTO schema VALUES (?)", vec![sql_integer(number)])?;
        }
        self.host.execute(
            "INSERT INTO counters_start SELECT ? WHERE NOT EXISTS (SELECT * FROM counters_start)",
            vec![sql_integer(self.host.now().0)],
        )?;
        Ok(())
    }

    /// Stores the lines that are events and are not stored yet. Returns how many were new. A line
    /// that is not an event, and an event of an erased subject, is only counted.
    fn store_events(&self, lines: &[u8]) -> StorageResult<u64> {
        let mut new = 0;
        let mut totals: BTreeMap<String, u64> = BTreeMap::new();
        let mut cohort_stats: BTreeMap<CohortStatsKey, CohortStats> = BTreeMap::new();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let (Ok(event_key), Ok(json)) =
                (serde_json::from_slice::<EventKey>(line), std::str::from_utf8(line))
            else {
                self.add_to_counter(EVENTS_BROKEN, 1)?;
                continue;
            };
            if self.is_erased(&event_key)? {
                self.add_to_counter(EVENTS_ERASED, 1)?;
                continue;
            }
            let values: Vec<SqlValue> = vec![
                event_key.id.into(),
                sql_integer(event_key.time_ms),
                event_key.release.into(),
                event_key.subject.map_or(SqlValue::Null, SqlValue::Text),
                json.into(),
            ];
            // Not counted by rows written: if the id exists, the key's counter is written all the
            // same.
            let inserted: Vec<NumberRow> = self.host.query_rows(
                "INSERT OR IGNORE INTO event (id, time_ms, release, subject, json) \
                 VALUES (?, ?, ?, ?, ?) RETURNING seq AS number",
                values,
            )?;
            if !inserted.is_empty() {
                new += 1;
                // A kind of event that this version does not know is kept, and not counted.
                let Ok(event) = serde_json::from_slice::<StoredEvent>(line) else { continue };
                for (name, number) in series_increments(&event) {
                    *totals.entry(name).or_default() += number;
                }
                if let Some(contribution) = count_event(&event, self.host.settings().time_scale) {
                    self.store_subject(&contribution)?;
                    let EventContribution { release, minute, cohort, share, stats, .. } =
                        contribution;
                    cohort_stats.entry((release, minute, cohort, share)).or_default().add(&stats);
                }
            }
        }
        self.add_to_counters(totals)?;
        self.add_cohort_stats(cohort_stats)?;
        Ok(new)
    }

    fn record_feedback(
        &self,
        event_id: &str,
        feedback: Feedback,
    ) -> StorageResult<FeedbackOutcome> {
        let rows: Vec<TextRow> = self
            .host
            .query_rows("SELECT json AS text FROM event WHERE id = ?", vec![event_id.into()])?;
        let now = self.host.now();
        let id = ResponseId::new(now, self.host.random_bytes());
        let event = rows.first().and_then(|row| FeedbackEvent::new(id, now, &row.text, feedback));
        let Some(event) = event else { return Ok(FeedbackOutcome::UnknownId) };
        let inserted = self.host.execute(
            "INSERT OR IGNORE INTO feedback (classify_id, time_ms) VALUES (?, ?)",
            vec![event_id.into(), sql_integer(now.0)],
        )?;
        if inserted == 0 {
            return Ok(FeedbackOutcome::Exists);
        }
        self.store_events(&serde_json::to_vec(&event)?)?;
        Ok(FeedbackOutcome::Stored)
    }

    fn read_page(&self, since: u64, limit: u64) -> StorageResult<Vec<u8>> {
        let events = self.events_after(since, limit)?;
        // Each line begins with its number, which the next request sends as `since`.
        let to_line = |row: &EventRow| format!("{{\"seq\":{},{}\n", row.seq, &row.json[1..]);
        Ok(events.iter().map(to_line).collect::<String>().into_bytes())
    }

    fn events_after(&self, since: u64, limit: u64) -> StorageResult<Vec<EventRow>> {
        self.host.query_rows(
            "SELECT seq, json FROM event WHERE seq > ? ORDER BY seq LIMIT ?",
            vec![sql_integer(since), sql_integer(limit)],
        )
    }

    /// Returns whether the event's subject was erased after the event was made.
    fn is_erased(&self, event_key: &EventKey) -> StorageResult<bool> {
        let Some(subject) = &event_key.subject else { return Ok(false) };
        let query = "SELECT time_ms AS number FROM erased_subject WHERE subject = ?";
        Ok(event_key.time_ms <= self.host.query_number(query, vec![subject.as_str().into()])?)
    }

    /// Erases a subject's events of every release, by the hash with every signing key. The hashes
    /// are kept, so that the subject's events that are still in the queue are dropped when they
    /// arrive. Returns the number of erased events.
    fn erase_subject(&self, subject: &str) -> StorageResult<u64> {
        let Ok(subject) = Subject::parse(subject) else { return Ok(0) };
        let releases: Vec<TextRow> =
            self.host.query_rows("SELECT DISTINCT release AS text FROM event", vec![])?;
        let mut releases: Vec<_> =
            releases.iter().filter_map(|row| ReleaseName::parse(row.text.as_str()).ok()).collect();
        // The current release may have no stored event yet, but events in the queue.
        releases.push(self.host.settings().release.clone());
        releases.dedup();
        let mut erased = 0;
        for release in releases {
            for key in &self.host.settings().signing_keys {
                let hash = hash_subject(&subject, key, &release);
                let count_query = "SELECT COUNT(*) AS number FROM event WHERE subject = ?";
                erased += self.host.query_number(count_query, vec![hash.as_str().into()])?;
                for table in ["event", "first_seen", "last_hit", "subject_errors"] {
                    let query = format!("DELETE FROM {table} WHERE subject = ?");
                    self.host.execute(&query, vec![hash.as_str().into()])?;
                }
                self.host.execute(
                    "INSERT OR REPLACE INTO erased_subject VALUES (?, ?)",
                    vec![hash.as_str().into(), sql_integer(self.host.now().0)],
                )?;
            }
        }
        Ok(erased)
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
        Ok(ShardStatus {
            events: self.host.query_number("SELECT COUNT(*) AS number FROM event", vec![])?,
            newest_event_number: self.last_seq()?,
            lost_events: self.host.query_number(
                "SELECT number FROM counter WHERE name = ?",
                vec![EVENTS_LOST.into()],
            )?,
            sinks: sinks.collect::<StorageResult<_>>()?,
        })
    }

    fn counters(&self) -> StorageResult<Vec<(String, u64)>> {
        #[derive(Deserialize)]
        struct TotalRow {
            name: String,
            number: u64,
        }
        let rows: Vec<TotalRow> =
            self.host.query_rows("SELECT name, number FROM counter", vec![])?;
        let mut totals: Vec<_> = rows.into_iter().map(|row| (row.name, row.number)).collect();
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

    fn last_seq(&self) -> StorageResult<u64> {
        self.host.query_number("SELECT MAX(seq) AS number FROM event", vec![])
    }

    fn add_to_counter(&self, name: &str, increment: u64) -> StorageResult<()> {
        if increment == 0 {
            Ok(())
        } else {
            self.add_to_counters([(name.to_owned(), increment)].into())
        }
    }

    /// Adds to several counters, 40 in one statement: SQLite limits a statement's parameters.
    fn add_to_counters(&self, totals: BTreeMap<String, u64>) -> StorageResult<()> {
        let totals: Vec<_> = totals.into_iter().collect();
        for chunk in totals.chunks(40) {
            let placeholders = vec!["(?, ?)"; chunk.len()].join(", ");
            let values = chunk
                .iter()
                .flat_map(|(name, increment)| [name.as_str().into(), sql_integer(*increment)]);
            self.host.execute(
                &format!(
                    "INSERT INTO counter VALUES {placeholders} \
                     ON CONFLICT (name) DO UPDATE SET number = number + excluded.number"
                ),
                values.collect(),
            )?;
        }
        Ok(())
    }

    /// Deletes expired events, and the oldest tenth if the database is larger than its limit. Adds
    /// the deleted events that a sink did not get to that sink's dropped events.
    fn prune_expired(&self) -> StorageResult<()> {
        let cutoff = self.host.now().0.saturating_sub(self.host.settings().event_retention_ms);
        let minute = cutoff / 60_000;
        for table in ["newly_affected", "subject_errors"] {
            self.host.execute(
                &format!("DELETE FROM {table} WHERE minute < ?"),
                vec![sql_integer(minute)],
            )?;
        }
        if self
            .host
            .execute("DELETE FROM cohort_stats WHERE minute < ?", vec![sql_integer(minute)])?
            > 0
        {
            self.closed_minutes.borrow_mut().clear();
        }
        // Evidence looks back a day at most; two days are kept.
        let day = sql_integer((self.host.now().0 / 60_000).saturating_sub(2 * 24 * 60));
        self.host.execute("DELETE FROM last_hit WHERE next_minute < ?", vec![day])?;
        let old_query = "SELECT MAX(seq) AS number FROM event WHERE time_ms < ?";
        let mut up_to = self.host.query_number(old_query, vec![sql_integer(cutoff)])?;
        let erased_before = sql_integer(self.host.now().0.saturating_sub(ERASURE_WINDOW_MS));
        self.host.execute("DELETE FROM erased_subject WHERE time_ms < ?", vec![erased_before])?;
        if self.host.database_bytes() > self.host.settings().event_store_bytes_max {
            let tenth_query = "SELECT MIN(seq) + (MAX(seq) - MIN(seq)) / 10 AS number FROM event";
            up_to = up_to.max(self.host.query_number(tenth_query, vec![])?);
        }
        if up_to == 0 {
            return Ok(());
        }
        for sink in &self.sinks {
            let cursor = self.delivery_cursor(sink)?;
            let missed_query = "SELECT COUNT(*) AS number FROM event WHERE seq > ? AND seq <= ?";
            let missed = self
                .host
                .query_number(missed_query, vec![sql_integer(cursor.place), sql_integer(up_to)])?;
            self.store_delivery_cursor(sink, &cursor.record_expired(missed, up_to))?;
        }
        self.host.execute("DELETE FROM event WHERE seq <= ?", vec![sql_integer(up_to)])?;
        self.host.execute("DELETE FROM feedback WHERE time_ms < ?", vec![sql_integer(cutoff)])?;
        Ok(())
    }

    /// Makes sure that an alarm comes within [`BATCH_DELAY_MS`], or within [`IDLE_INTERVAL_MS`]
    /// without sinks.
    async fn ensure_alarm(&self) -> StorageResult<()> {
        let delay_ms = if self.sinks.is_empty() { IDLE_INTERVAL_MS } else { BATCH_DELAY_MS };
        // An alarm that is due sooner stays; an idle alarm is brought forward.
        match self.host.alarm().await? {
            Some(alarm) if alarm.0 <= self.host.now().0 + delay_ms => Ok(()),
            // During a pause that a sink asked for, the alarm does not send to it.
            _ => self.host.set_alarm(delay_ms).await,
        }
    }
}
