//! Erasure of a subject: accepted at once, carried out in slices.
//!
//! From the request on no read shows an event of the subject, and no later batch stores one from before.
//! The batches are searched in slices, the first one at once. An erased event leaves an empty line.

use std::collections::BTreeSet;

use super::EventStoreObject;
use super::event_log::is_erased;
use crate::event_store::messages::ErasureProgress;
use crate::host::ObjectHost;
use crate::sql::{SqlRow, SqlValue, StorageResult, sql_integer};
use jeffrey_edge::gateway::request::subject::hash_subject;
use jeffrey_edge::gateway::store::event_batch::compress_lines;
use jeffrey_edge::gateway::store::minute_record::MinuteRecord;
use jeffrey_edge::gateway::store::shard_counts::ShardCounts;
use jeffrey_edge::gateway::store::subject_hits;
use jeffrey_edge::gateway::store::subject_runs::{SubjectBits, decode_run, encode_run};
use jeffrey_edge::rollout::bucket::ReleaseName;
use jeffrey_terms::Subject;

/// Largest number of batches in one slice, and size of their lines after which it ends, in bytes.
const SLICE_BATCHES_MAX: u64 = 64;
const SLICE_BYTES_MAX: usize = 3 * 1024 * 1024;

/// An erased subject whose events have not been searched for in all batches.
struct PendingErasure {
    /// Keyed hash of the subject.
    subject: String,
    /// Number of the last event that was searched.
    searched_seq: u64,
}

impl<H: ObjectHost> EventStoreObject<H> {
    /// Erases a subject's events of every release, by the hash with every signing key. The hashes are
    /// kept, so that the subject's events that are still in the queue are dropped when they arrive.
    pub(super) fn erase_subject(&self, subject: &str) -> StorageResult<ErasureProgress> {
        let Ok(subject) = Subject::parse(subject) else { return Ok(ErasureProgress::default()) };
        let result = self
            .with_counts(|counts| self.host.transaction(|| self.accept_erasure(counts, &subject)));
        // Memory may still name the subject.
        self.drop_counts();
        result?;
        let erased = self.search_slice()?;
        Ok(ErasureProgress { erased, pending_events: self.count_unsearched()? })
    }

    fn accept_erasure(&self, counts: &mut ShardCounts, subject: &Subject) -> StorageResult<()> {
        let settings = self.host.settings();
        // A restart counts the batches since the last checkpoint again.
        self.save_checkpoint(counts)?;
        // The current release may have no stored event yet, but events in the queue.
        let names: BTreeSet<&str> = counts.releases().chain([settings.release.as_str()]).collect();
        for release in &names.into_iter().flat_map(ReleaseName::parse).collect::<Vec<_>>() {
            for key in &settings.signing_keys {
                let hash = hash_subject(subject, key, release);
                self.host.execute(
                    "INSERT OR REPLACE INTO erased_subject (subject, time_ms, searched_seq, last_seq) \
                     VALUES (?, ?, 0, ?)",
                    vec![
                        hash.as_str().into(),
                        sql_integer(self.host.now().0),
                        sql_integer(counts.next_seq() - 1),
                    ],
                )?;
                self.forget_subject(release.as_str(), SubjectBits::new(&hash))?;
            }
        }
        Ok(())
    }

    /// Removes a subject's bits from runs, hits and minutes of a release.
    fn forget_subject(&self, release: &str, subject: SubjectBits) -> StorageResult<()> {
        let release = || SqlValue::from(release);
        let bits = || SqlValue::Blob(subject.0.to_be_bytes().to_vec());
        let query = "SELECT saved_seq, subjects FROM subject_run WHERE release = ? AND INSTR(subjects, ?) > 0";
        for row in self.host.query(query, vec![release(), bits()])? {
            let mut run = decode_run(row.blob(1)?);
            run.retain(|kept| *kept != subject);
            let query = "UPDATE subject_run SET subjects = ? WHERE release = ? AND saved_seq = ?";
            let run = SqlValue::Blob(encode_run(&run));
            self.host.execute(query, vec![run, release(), sql_integer(row.number(0)?)])?;
        }
        let query = "SELECT hour, saved_seq, hits FROM subject_hits WHERE release = ? AND INSTR(hits, ?) > 0";
        for row in self.host.query(query, vec![release(), bits()])? {
            let hits = SqlValue::Blob(subject_hits::without_subject(row.blob(2)?, subject));
            let (hour, saved_seq) = (sql_integer(row.number(0)?), sql_integer(row.number(1)?));
            let query = "UPDATE subject_hits SET hits = ? \
                         WHERE hour = ? AND release = ? AND saved_seq = ?";
            self.host.execute(query, vec![hits, hour, release(), saved_seq])?;
        }
        let query = "SELECT minute, json FROM minute WHERE release = ? AND INSTR(json, ?) > 0";
        let member = SqlValue::Text(format!("\"{}\":", subject.0));
        for row in self.host.query(query, vec![release(), member])? {
            let mut record: MinuteRecord = row.json(1)?;
            if record.erase_subject(subject) {
                let json = serde_json::to_string(&record)?;
                let query = "UPDATE minute SET json = ? WHERE minute = ? AND release = ?";
                self.host
                    .execute(query, vec![json.into(), sql_integer(row.number(0)?), release()])?;
            }
        }
        Ok(())
    }

    /// Searches a slice of the batches if any erasure has batches left. Returns whether there are more.
    pub(super) fn continue_erasures(&self) -> StorageResult<bool> {
        let is_pending = || self.with_counts(|counts| Ok(counts.has_pending_erasures()));
        if !is_pending()? {
            return Ok(false);
        }
        self.search_slice()?;
        is_pending()
    }

    /// Returns the number of events in which an erased subject is still to be searched; 0 if erasure is
    /// complete.
    pub(super) fn count_unsearched(&self) -> StorageResult<u64> {
        if !self.with_counts(|counts| Ok(counts.has_pending_erasures()))? {
            return Ok(0);
        }
        let query = "SELECT MAX(last_seq - searched_seq) FROM erased_subject";
        self.host.query_number(query, vec![])
    }

    /// Searches the next batches for events of erased subjects and returns how many it erased.
    fn search_slice(&self) -> StorageResult<u64> {
        let rows = self.host.query(
            "SELECT subject, searched_seq FROM erased_subject \
             WHERE searched_seq < last_seq",
            vec![],
        )?;
        let to_pending = |row: &SqlRow| {
            Ok(PendingErasure { subject: row.text(0)?.to_owned(), searched_seq: row.number(1)? })
        };
        let rows = rows.iter().map(to_pending).collect::<StorageResult<Vec<_>>>()?;
        let Some(from) = rows.iter().map(|row| row.searched_seq).min() else { return Ok(0) };
        self.with_counts(|counts| {
            self.host.transaction(|| {
                if counts.has_unsaved() {
                    self.save_checkpoint(counts)?;
                }
                let batches = self.batches_from(from + 1, SLICE_BATCHES_MAX)?;
                let (mut erased, mut bytes, mut is_whole) = (0, 0, true);
                let mut searched_seq = from;
                for batch in &batches {
                    if bytes > SLICE_BYTES_MAX {
                        is_whole = false;
                        break;
                    }
                    let lines = self.batch_lines(batch.first_seq)?;
                    bytes += lines.len();
                    erased += self.rewrite_batch(counts, batch.first_seq, &lines, &rows)?;
                    searched_seq = batch.last_seq();
                }
                // After the last batch, nothing is left to search.
                if is_whole && (batches.len() as u64) < SLICE_BATCHES_MAX {
                    searched_seq = u64::MAX;
                }
                self.host.execute(
                    "UPDATE erased_subject SET searched_seq = MIN(last_seq, ?) \
                     WHERE searched_seq < MIN(last_seq, ?)",
                    vec![sql_integer(searched_seq), sql_integer(searched_seq)],
                )?;
                counts.set_searched(searched_seq);
                counts.remove_events(erased, 0);
                self.save_checkpoint(counts)?;
                Ok(erased)
            })
        })
    }

    /// Replaces the events of erased subjects in a batch by empty lines; returns how many there were.
    fn rewrite_batch(
        &self,
        counts: &ShardCounts,
        first_seq: u64,
        lines: &str,
        rows: &[PendingErasure],
    ) -> StorageResult<u64> {
        if !rows.iter().any(|row| lines.contains(&row.subject)) {
            return Ok(0);
        }
        let mut erased = 0;
        let kept = (first_seq..).zip(lines.split_terminator('\n')).map(|(seq, line)| {
            let is_erased = is_erased(counts, line, seq);
            erased += u64::from(is_erased && !line.is_empty());
            if is_erased { "" } else { line }
        });
        let compressed = SqlValue::Blob(compress_lines(kept.collect::<Vec<_>>()));
        self.host.execute(
            "UPDATE batch SET lines = ?, events = events - ? WHERE first_seq = ?",
            vec![compressed, sql_integer(erased), sql_integer(first_seq)],
        )?;
        Ok(erased)
    }
}
