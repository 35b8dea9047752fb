//! Deletion of what has expired or has no room, in slices.

use super::{EventStoreObject, IDLE_INTERVAL_MS};
use crate::host::ObjectHost;
use crate::sql::{SqlValue, StorageResult, sql_integer};
use jeffrey_edge::gateway::export::delivery_cursor::DeliveryCursor;
use jeffrey_edge::gateway::store::subject_runs::{
    RUN_SUBJECTS_MAX, SUBJECT_BYTES, decode_run, encode_run, merge_runs,
};
use jeffrey_terms::{ResponseId, UnixMs};

/// Largest number of batches that are deleted at once.
const BATCHES_MAX: u64 = 200;

/// How long ids and erasures are kept, in milliseconds: an event may still be in a queue, which keeps
/// messages for 14 days at most.
const QUEUE_RETENTION_MS: u64 = 14 * 24 * 60 * 60 * 1_000;

/// Hours of which it is known which subjects a metric hit; evidence looks back 25.
const HIT_HOURS_KEPT: u64 = 27;

/// Largest number of subjects that a shard knows, of all releases together. Above it the oldest are
/// forgotten: they count as new when they come again.
const SUBJECTS_MAX: u64 = 2_000_000;

/// Number of small runs of a release from which on they are merged, and the largest number at once.
const RUNS_MAX: usize = 32;
const RUNS_MERGED_MAX: u64 = 500;

/// Largest number of rows of ids that are looked at in an hour.
const ID_ROWS_MAX: u64 = 2_000;

/// Counter of subjects that a shard has forgotten.
const SUBJECTS_FORGOTTEN: &str = "jeffrey_subjects_forgotten_total";

impl<H: ObjectHost> EventStoreObject<H> {
    /// Deletes expired data once an hour, and the oldest events while they take more than their limit.
    /// Adds the deleted events that a sink did not get to that sink's dropped events. Returns whether
    /// there is more to delete.
    pub(super) fn prune_expired(&self) -> StorageResult<bool> {
        let now = self.host.now();
        let limit = self.host.settings().event_store_bytes_max;
        let (is_due, is_too_large) = self.with_counts(|counts| {
            let is_due = now.0.abs_diff(counts.pruned_at().0) >= IDLE_INTERVAL_MS;
            Ok((is_due, counts.batch_bytes() > limit))
        })?;
        if !is_due && !is_too_large {
            return Ok(false);
        }
        let result = self.host.transaction(|| {
            let has_more_runs = is_due && self.delete_expired_counts()?;
            let has_more = has_more_runs | self.delete_batches(is_too_large)?;
            self.with_counts(|counts| {
                if is_due && !has_more {
                    counts.set_pruned_at(now);
                }
                // A restart counts the batches after the checkpoint, so it has to have the deleted ones.
                self.save_checkpoint(counts)
            })?;
            Ok(has_more)
        });
        // Memory may hold deleted data and, after a failure, be ahead of the database.
        self.drop_counts();
        result
    }

    /// Deletes minutes, ids, hits, erasures and feedback that have expired, and merges runs of subjects.
    /// Returns whether there are more runs to merge.
    fn delete_expired_counts(&self) -> StorageResult<bool> {
        // A later checkpoint would store expired minutes again.
        self.with_counts(|counts| self.save_checkpoint(counts))?;
        let now_ms = self.host.now().0;
        let cutoff_ms = now_ms.saturating_sub(self.host.settings().event_retention_ms);
        let queue_cutoff_ms = now_ms.saturating_sub(QUEUE_RETENTION_MS);
        let hour = (now_ms / 3_600_000).saturating_sub(HIT_HOURS_KEPT);
        // Ids sort by their time.
        let first_id = ResponseId::new(UnixMs(cutoff_ms), [0; 10]).to_string();
        for (query, value) in [
            ("DELETE FROM minute WHERE minute < ?", sql_integer(cutoff_ms / 60_000)),
            ("DELETE FROM subject_hits WHERE hour < ?", sql_integer(hour)),
            ("DELETE FROM erased_subject WHERE time_ms < ?", sql_integer(queue_cutoff_ms)),
            ("DELETE FROM feedback WHERE classify_id < ?", first_id.into()),
        ] {
            self.host.execute(query, vec![value])?;
        }
        self.delete_ids(queue_cutoff_ms / 60_000)?;
        self.forget_releases(cutoff_ms / 60_000)?;
        self.forget_subjects()?;
        self.merge_subject_runs()
    }

    /// Deletes the ids of minutes before `minute`, and the oldest of all while they take more than a
    /// quarter of the room for events.
    fn delete_ids(&self, minute: u64) -> StorageResult<()> {
        let bytes_max = self.host.settings().event_store_bytes_max / 4;
        let ids_bytes = self.with_counts(|counts| Ok(counts.ids_bytes()))?;
        let query = "SELECT minute, LENGTH(ids) FROM minute_ids ORDER BY minute LIMIT ?";
        let (mut before, mut kept_bytes) = (None, ids_bytes);
        for row in self.host.query(query, vec![sql_integer(ID_ROWS_MAX)])? {
            if row.number(0)? >= minute && kept_bytes <= bytes_max {
                break;
            }
            kept_bytes = kept_bytes.saturating_sub(row.number(1)?);
            before = Some(row.number(0)? + 1);
        }
        let Some(before) = before else { return Ok(()) };
        // A minute may have more rows than were read.
        let query = "SELECT SUM(LENGTH(ids)) FROM minute_ids WHERE minute < ?";
        let bytes = self.host.query_number(query, vec![sql_integer(before)])?;
        let query = "DELETE FROM minute_ids WHERE minute < ?";
        self.host.execute(query, vec![sql_integer(before)])?;
        self.with_counts(|counts| {
            counts.remove_ids(bytes);
            Ok(())
        })
    }

    /// Deletes the subjects of releases without an event since `minute`.
    fn forget_releases(&self, minute: u64) -> StorageResult<()> {
        for release in self.with_counts(|counts| Ok(counts.forget_releases(minute)))? {
            let query = "DELETE FROM subject_run WHERE release = ?";
            self.host.execute(query, vec![release.into()])?;
        }
        Ok(())
    }

    /// Merges the small runs of each release that has many. Returns whether there are more.
    fn merge_subject_runs(&self) -> StorageResult<bool> {
        let releases = self.host.query("SELECT DISTINCT release FROM subject_run", vec![])?;
        let small = || sql_integer((RUN_SUBJECTS_MAX * SUBJECT_BYTES / 2) as u64);
        let mut has_more = false;
        for row in releases {
            let release = row.text(0)?;
            let query = "SELECT saved_seq, subjects FROM subject_run \
                         WHERE release = ? AND LENGTH(subjects) < ? ORDER BY saved_seq LIMIT ?";
            let values = vec![release.into(), small(), sql_integer(RUNS_MERGED_MAX)];
            let rows = self.host.query(query, values)?;
            if rows.len() < RUNS_MAX {
                continue;
            }
            has_more |= rows.len() as u64 == RUNS_MERGED_MAX;
            // Each is less than half a run, so the merged ones are less than a whole.
            let (mut runs, mut subjects, mut last) = (Vec::new(), 0, 0);
            for row in rows {
                if subjects >= RUN_SUBJECTS_MAX / 2 {
                    break;
                }
                let run = decode_run(row.blob(1)?);
                (subjects, last) = (subjects + run.len(), row.number(0)?);
                runs.push(run);
            }
            let run = SqlValue::Blob(encode_run(&merge_runs(&runs)));
            self.host.execute(
                "DELETE FROM subject_run \
                 WHERE release = ? AND saved_seq <= ? AND LENGTH(subjects) < ?",
                vec![release.into(), sql_integer(last), small()],
            )?;
            self.host.execute(
                "INSERT INTO subject_run VALUES (?, ?, ?)",
                vec![release.into(), sql_integer(last), run],
            )?;
        }
        Ok(has_more)
    }

    /// Forgets the oldest runs while there are more subjects than [`SUBJECTS_MAX`].
    fn forget_subjects(&self) -> StorageResult<()> {
        let query = "SELECT release, saved_seq, LENGTH(subjects) FROM subject_run \
                     ORDER BY saved_seq DESC";
        let newest_first = self.host.query(query, vec![])?;
        let (mut kept, mut forgotten) = (0, 0);
        for run in newest_first {
            let subjects = run.number(2)? / SUBJECT_BYTES as u64;
            if kept + subjects <= SUBJECTS_MAX {
                kept += subjects;
                continue;
            }
            forgotten += subjects;
            self.host.execute(
                "DELETE FROM subject_run WHERE release = ? AND saved_seq = ?",
                vec![run.text(0)?.into(), sql_integer(run.number(1)?)],
            )?;
        }
        if forgotten == 0 {
            return Ok(());
        }
        self.with_counts(|counts| {
            let increments = [(SUBJECTS_FORGOTTEN.to_owned(), forgotten)].into();
            counts.apply(Vec::new(), (0, 0), increments, self.host.now());
            Ok(())
        })
    }

    /// Deletes expired batches, and the oldest tenth of the events if they take too much room, at most
    /// [`BATCHES_MAX`] batches. Returns whether there are more.
    fn delete_batches(&self, is_too_large: bool) -> StorageResult<bool> {
        let retention_ms = self.host.settings().event_retention_ms;
        let cutoff_ms = self.host.now().0.saturating_sub(retention_ms);
        let query = "SELECT first_seq, numbers, stored_ms, events, LENGTH(lines) \
                     FROM batch ORDER BY first_seq LIMIT ?";
        let batches = self.host.query(query, vec![sql_integer(BATCHES_MAX)])?;
        let tenth = self.with_counts(|counts| Ok(counts.batch_bytes() / 10))?;
        let (mut last_seq, mut events, mut bytes) = (0_u64, 0, 0);
        let mut missed: Vec<(DeliveryCursor, u64)> = self
            .sinks
            .iter()
            .map(|sink| Ok((self.delivery_cursor(sink)?, 0)))
            .collect::<StorageResult<_>>()?;
        let mut deleted = 0;
        for batch in &batches {
            if batch.number(2)? >= cutoff_ms && !(is_too_large && bytes < tenth) {
                break;
            }
            let batch_events = batch.number(3)?;
            last_seq = batch.number(0)? + batch.number(1)?.saturating_sub(1);
            events += batch_events;
            bytes += batch.number(4)?;
            deleted += 1;
            for (cursor, missed) in &mut missed {
                *missed += batch_events.min(last_seq.saturating_sub(cursor.place));
            }
        }
        if deleted == 0 {
            return Ok(false);
        }
        for (sink, (cursor, missed)) in self.sinks.iter().zip(missed) {
            self.store_delivery_cursor(sink, &cursor.record_expired(missed, last_seq))?;
        }
        self.with_counts(|counts| {
            counts.remove_events(events, bytes);
            Ok(())
        })?;
        self.host.execute("DELETE FROM batch WHERE first_seq <= ?", vec![sql_integer(last_seq)])?;
        Ok(deleted == BATCHES_MAX)
    }
}
