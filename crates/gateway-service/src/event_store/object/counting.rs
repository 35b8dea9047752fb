//! Storing events, and what they count: in memory, with checkpoints in the database.
//!
//! A batch is stored by one row. What it counts is in memory only until the next checkpoint; after a
//! restart the batches since the last checkpoint are counted again. If anything fails, what is in memory
//! is dropped and loaded again, so it is never ahead of the database.

use std::collections::HashMap;

use super::event_log::{is_erased, read_lines};
use super::{EVENTS_BROKEN, EVENTS_ERASED, EventStoreObject};
use crate::event_store::messages::FeedbackOutcome;
use crate::host::ObjectHost;
use crate::sql::{SqlValue, StorageError, StorageResult, sql_integer};
use jeffrey_edge::gateway::events::feedback::{Feedback, FeedbackEvent};
use jeffrey_edge::gateway::events::stored::EventKey;
use jeffrey_edge::gateway::store::event_batch::compress_lines;
use jeffrey_edge::gateway::store::event_ids::{EventId, MinuteIds};
use jeffrey_edge::gateway::store::minute_record::MinuteRecord;
use jeffrey_edge::gateway::store::shard_counts::{
    ArrivedEvent, Counters, Erasure, Missing, ShardCounts, Summary, Unsaved,
};
use jeffrey_edge::gateway::store::subject_hits::SubjectHits;
use jeffrey_edge::gateway::store::subject_runs::SubjectRuns;
use jeffrey_terms::{ResponseId, UnixMs};

impl<H: ObjectHost> EventStoreObject<H> {
    /// Runs `work` on what is counted, loaded if it is not in memory. If `work` fails, it is dropped.
    pub(super) fn with_counts<T>(
        &self,
        work: impl FnOnce(&mut ShardCounts) -> StorageResult<T>,
    ) -> StorageResult<T> {
        let mut counts = match self.counts.take() {
            Some(counts) => counts,
            None => self.load_counts()?,
        };
        let result = work(&mut counts)?;
        self.counts.replace(Some(counts));
        Ok(result)
    }

    /// Forgets what is in memory; the next use loads it.
    pub(super) fn drop_counts(&self) {
        self.counts.take();
        self.closed_minutes.borrow_mut().clear();
    }

    /// Loads the last checkpoint and counts the batches after it.
    fn load_counts(&self) -> StorageResult<ShardCounts> {
        self.closed_minutes.borrow_mut().clear();
        let query = "SELECT subject, time_ms, last_seq, searched_seq FROM erased_subject";
        let rows = self.host.query(query, vec![])?;
        let erasures = rows.iter().map(|row| {
            let erasure = Erasure {
                at: UnixMs(row.number(1)?),
                last_seq: row.number(2)?,
                searched_seq: row.number(3)?,
            };
            Ok((row.text(0)?.to_owned(), erasure))
        });
        let erasures = erasures.collect::<StorageResult<HashMap<_, _>>>()?;
        let mut counts = ShardCounts::new(self.stored_summary()?, erasures);
        let batches = self.host.query(
            "SELECT numbers, lines, stored_ms, increments FROM batch \
             WHERE first_seq >= ? ORDER BY first_seq",
            vec![sql_integer(counts.next_seq())],
        )?;
        for batch in batches {
            let lines = read_lines(&batch, 1)?;
            let (events, _) = self.read_events(&lines);
            self.load_missing(&mut counts, &events)?;
            let size = (batch.number(0)?, batch.blob(1)?.len() as u64);
            let increments = if batch.is_null(3) { Counters::default() } else { batch.json(3)? };
            counts.apply(events, size, increments, UnixMs(batch.number(2)?));
        }
        Ok(counts)
    }

    /// Reads lines as events. Returns how many are none as well; an empty line is not counted.
    fn read_events<'a>(&self, lines: &'a str) -> (Vec<ArrivedEvent<'a>>, u64) {
        let time_scale = self.host.settings().time_scale;
        let (mut events, mut malformed) = (Vec::new(), 0);
        for line in lines.split('\n').filter(|line| !line.is_empty()) {
            match ArrivedEvent::read(line, time_scale) {
                Some(event) => events.push(event),
                None => malformed += 1,
            }
        }
        (events, malformed)
    }

    /// Loads what is not in memory and `events` need.
    fn load_missing(
        &self,
        counts: &mut ShardCounts,
        events: &[ArrivedEvent<'_>],
    ) -> StorageResult<()> {
        let Missing { minutes, ids, releases } = counts.missing(events);
        for key in minutes {
            let record = self.load_minute(key.0, &key.1)?.unwrap_or_default();
            counts.add_minute(key, record);
        }
        for minute in ids {
            counts.add_ids(minute, self.load_ids(minute)?);
        }
        for release in releases {
            let (seen, hits) = self.load_subjects(&release)?;
            counts.add_release(release, seen, hits);
        }
        Ok(())
    }

    pub(super) fn load_minute(
        &self,
        minute: u64,
        release: &str,
    ) -> StorageResult<Option<MinuteRecord>> {
        let query = "SELECT json FROM minute WHERE minute = ? AND release = ?";
        let rows = self.host.query(query, vec![sql_integer(minute), release.into()])?;
        rows.first().map(|row| row.json(0)).transpose()
    }

    fn load_ids(&self, minute: u64) -> StorageResult<MinuteIds> {
        let query = "SELECT ids FROM minute_ids WHERE minute = ?";
        let mut ids = MinuteIds::default();
        for row in self.host.query(query, vec![sql_integer(minute)])? {
            ids.add_saved(row.blob(0)?).ok_or_else(|| StorageError::Malformed {
                what: format!("the ids of minute {minute}"),
            })?;
        }
        Ok(ids)
    }

    fn load_subjects(&self, release: &str) -> StorageResult<(SubjectRuns, SubjectHits)> {
        let (mut seen, mut hits) = (SubjectRuns::default(), SubjectHits::default());
        let query = "SELECT subjects FROM subject_run WHERE release = ? ORDER BY saved_seq";
        for row in self.host.query(query, vec![release.into()])? {
            seen.add_saved(row.blob(0)?);
        }
        let query = "SELECT hour, hits FROM subject_hits WHERE release = ?";
        for row in self.host.query(query, vec![release.into()])? {
            hits.add_saved(row.number(0)?, row.blob(1)?);
        }
        Ok((seen, hits))
    }

    /// Stores the events of a payload that are not stored yet, one line each, and adds to counters.
    /// Returns how many were new. A line that is no event, and an event of an erased subject, is only
    /// counted.
    pub(super) fn store_events(
        &self,
        payload: &[u8],
        increments: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> StorageResult<u64> {
        let lines = String::from_utf8_lossy(payload);
        self.with_counts(|counts| {
            self.host.transaction(|| self.append_batch(counts, &lines, increments))
        })
    }

    fn append_batch(
        &self,
        counts: &mut ShardCounts,
        lines: &str,
        increments: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> StorageResult<u64> {
        let (events, malformed) = self.read_events(lines);
        self.load_missing(counts, &events)?;
        let selection = counts.select(events);
        let more = [(EVENTS_BROKEN, malformed), (EVENTS_ERASED, selection.erased)];
        let increments: Counters = increments
            .into_iter()
            .chain(more)
            .filter(|(_, number)| *number > 0)
            .map(|(name, number)| (name.to_owned(), number))
            .collect();
        let new = selection.new.len() as u64;
        if new == 0 && increments.is_empty() {
            return Ok(0);
        }
        let now = self.host.now();
        let mut batch_bytes = 0;
        if new > 0 {
            let compressed = compress_lines(selection.new.iter().map(|event| event.line));
            batch_bytes = compressed.len() as u64;
            let increments_json = match increments.is_empty() {
                true => SqlValue::Null,
                false => serde_json::to_string(&increments)?.into(),
            };
            self.host.execute(
                "INSERT INTO batch (first_seq, numbers, events, stored_ms, increments, lines) \
                 VALUES (?, ?, ?, ?, ?, ?)",
                vec![
                    sql_integer(counts.next_seq()),
                    sql_integer(new),
                    sql_integer(new),
                    sql_integer(now.0),
                    increments_json,
                    SqlValue::Blob(compressed),
                ],
            )?;
        }
        for event in &selection.new {
            if let Some((minute, release)) = event.minute() {
                self.closed_minutes.borrow_mut().invalidate_minute(release, minute);
            }
        }
        counts.apply(selection.new, (new, batch_bytes), increments, now);
        // Counters without an event have no row in the log.
        if new == 0 || counts.is_checkpoint_due(now) {
            self.save_checkpoint(counts)?;
        }
        Ok(new)
    }

    /// Saves what is counted if the last checkpoint is a while ago.
    pub(super) fn save_if_due(&self) -> StorageResult<()> {
        self.with_counts(|counts| match counts.is_checkpoint_due(self.host.now()) {
            true => self.host.transaction(|| self.save_checkpoint(counts)),
            false => Ok(()),
        })
    }

    /// Saves what changed since the last checkpoint. The caller runs it in a transaction.
    pub(super) fn save_checkpoint(&self, counts: &mut ShardCounts) -> StorageResult<()> {
        let Unsaved { summary, minutes, ids, subjects, hits } = counts.unsaved();
        let saved_seq = || sql_integer(summary.next_seq);
        for ((minute, release), record) in minutes {
            self.store_minute(minute, &release, &record)?;
        }
        for (minute, ids) in ids {
            self.host.execute(
                "INSERT INTO minute_ids VALUES (?, ?, ?)",
                vec![sql_integer(minute), saved_seq(), SqlValue::Blob(ids)],
            )?;
        }
        for (release, subjects) in subjects {
            self.host.execute(
                "INSERT INTO subject_run VALUES (?, ?, ?)",
                vec![release.into(), saved_seq(), SqlValue::Blob(subjects)],
            )?;
        }
        for (release, hour, hits) in hits {
            self.host.execute(
                "INSERT INTO subject_hits VALUES (?, ?, ?, ?)",
                vec![sql_integer(hour), release.into(), saved_seq(), SqlValue::Blob(hits)],
            )?;
        }
        self.store_summary(&summary)?;
        counts.mark_saved(summary);
        Ok(())
    }

    pub(super) fn store_minute(
        &self,
        minute: u64,
        release: &str,
        record: &MinuteRecord,
    ) -> StorageResult<()> {
        let json = serde_json::to_string(record)?;
        self.host.execute(
            "INSERT OR REPLACE INTO minute VALUES (?, ?, ?)",
            vec![sql_integer(minute), release.into(), json.into()],
        )?;
        Ok(())
    }

    /// Returns the summary of the last checkpoint; the default before the first.
    pub(super) fn stored_summary(&self) -> StorageResult<Summary> {
        let rows = self.host.query("SELECT json FROM checkpoint", vec![])?;
        rows.first().map_or_else(|| Ok(Summary::default()), |row| row.json(0))
    }

    pub(super) fn store_summary(&self, summary: &Summary) -> StorageResult<()> {
        self.host.execute(
            "INSERT OR REPLACE INTO checkpoint (id, json) VALUES (1, ?)",
            vec![serde_json::to_string(summary)?.into()],
        )?;
        Ok(())
    }

    /// Stores feedback on the event of an id, as an event of its own.
    pub(super) fn record_feedback(
        &self,
        event_id: &str,
        feedback: Feedback,
    ) -> StorageResult<FeedbackOutcome> {
        let now = self.host.now();
        let id = ResponseId::new(now, self.host.random_bytes());
        let rated = self.find_event(event_id)?;
        let event = rated.and_then(|json| FeedbackEvent::new(id, now, &json, feedback));
        let Some(event) = event else { return Ok(FeedbackOutcome::UnknownId) };
        let line = serde_json::to_string(&event)?;
        self.with_counts(|counts| {
            self.host.transaction(|| {
                let inserted = self
                    .host
                    .execute("INSERT OR IGNORE INTO feedback VALUES (?)", vec![event_id.into()])?;
                if inserted == 0 {
                    return Ok(FeedbackOutcome::Exists);
                }
                self.append_batch(counts, &line, [])?;
                Ok(FeedbackOutcome::Stored)
            })
        })
    }

    /// Returns the line of the event with an id; `None` if it is not stored any more, or erased.
    fn find_event(&self, id: &str) -> StorageResult<Option<String>> {
        let event_id = EventId::new(id, 0);
        let first_seq = self.with_counts(|counts| {
            if !counts.has_ids(event_id.minute) {
                counts.add_ids(event_id.minute, self.load_ids(event_id.minute)?);
            }
            Ok(counts.batch_of(event_id))
        })?;
        let Some(first_seq) = first_seq else { return Ok(None) };
        let query = "SELECT COUNT(*) FROM batch WHERE first_seq = ?";
        if self.host.query_number(query, vec![sql_integer(first_seq)])? == 0 {
            return Ok(None);
        }
        let lines = self.batch_lines(first_seq)?;
        let is_rated = |(_, line): &(u64, &str)| {
            line.contains(id)
                && serde_json::from_slice::<EventKey>(line.as_bytes()).is_ok_and(|key| key.id == id)
        };
        let rated = (first_seq..).zip(lines.split('\n')).find(is_rated);
        self.with_counts(|counts| {
            let kept = rated.filter(|(seq, line)| !is_erased(counts, line, *seq));
            Ok(kept.map(|(_, line)| line.to_owned()))
        })
    }
}
