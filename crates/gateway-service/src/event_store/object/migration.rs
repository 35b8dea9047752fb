//! The tables, and the migration of those of earlier versions.
//!
//! Versions 1 to 3 had a row for each event, subject and counter. Their rows are moved in slices, one a
//! message, so that no message takes long. Until all are moved the shard refuses messages, and the queue
//! keeps the events.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::EventStoreObject;
use crate::host::ObjectHost;
use crate::sql::{SqlRow, SqlValue, StorageError, StorageResult, parse_stored, sql_integer};
use jeffrey_edge::gateway::events::stored::EventKey;
use jeffrey_edge::gateway::store::event_batch::{compress_lines, cut_into_batches};
use jeffrey_edge::gateway::store::event_ids::{EventId, MinuteIds};
use jeffrey_edge::gateway::store::minute_record::MinuteRecord;
use jeffrey_edge::gateway::store::shard_counts::Summary;
use jeffrey_edge::gateway::store::subject_hits::SubjectHits;
use jeffrey_edge::gateway::store::subject_runs::{SubjectBits, encode_run, merge_runs};
use jeffrey_terms::Share;

/// Version of the tables below.
const VERSION: u64 = 4;

/// Tables of the version. Those that earlier versions had are as they were.
const TABLES: [&str; 10] = [
    "CREATE TABLE batch (first_seq INTEGER PRIMARY KEY, numbers INTEGER NOT NULL, \
     events INTEGER NOT NULL, stored_ms INTEGER NOT NULL, increments TEXT, lines BLOB NOT NULL)",
    "CREATE TABLE checkpoint (id INTEGER PRIMARY KEY CHECK (id = 1), json TEXT NOT NULL)",
    "CREATE TABLE minute (minute INTEGER NOT NULL, release TEXT NOT NULL, json TEXT NOT NULL, \
     PRIMARY KEY (minute, release)) WITHOUT ROWID",
    "CREATE TABLE minute_ids (minute INTEGER NOT NULL, saved_seq INTEGER NOT NULL, ids BLOB NOT NULL, \
     PRIMARY KEY (minute, saved_seq)) WITHOUT ROWID",
    "CREATE TABLE subject_run (release TEXT NOT NULL, saved_seq INTEGER NOT NULL, \
     subjects BLOB NOT NULL, PRIMARY KEY (release, saved_seq)) WITHOUT ROWID",
    "CREATE TABLE subject_hits (hour INTEGER NOT NULL, release TEXT NOT NULL, \
     saved_seq INTEGER NOT NULL, hits BLOB NOT NULL, PRIMARY KEY (hour, release, saved_seq)) \
     WITHOUT ROWID",
    "CREATE TABLE feedback (classify_id TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE erased_subject (subject TEXT PRIMARY KEY, time_ms INTEGER NOT NULL, \
     searched_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS delivery_cursor (sink TEXT PRIMARY KEY, json TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS counters_start (time_ms INTEGER NOT NULL)",
];

/// Rows of earlier versions that one message moves, and minutes.
const ROWS_MAX: u64 = 10_000;
const MINUTES_MAX: u64 = 500;

/// Tables of versions 1 to 3 whose names or columns have changed.
const FORMER_TABLES: [&str; 7] = [
    "event",
    "counter",
    "cohort_stats",
    "first_seen",
    "last_hit",
    "newly_affected",
    "subject_errors",
];

impl<H: ObjectHost> EventStoreObject<H> {
    /// Creates the tables, or moves a slice of the rows of an earlier version.
    ///
    /// # Errors
    /// [`StorageError::Migrating`] until all rows are moved.
    pub(super) fn migrate_tables(&self) -> StorageResult<()> {
        if self.is_prepared.get() {
            return Ok(());
        }
        if !self.host.transaction(|| self.migrate_slice())? {
            return Err(StorageError::Migrating);
        }
        self.is_prepared.set(true);
        Ok(())
    }

    /// Returns whether the tables are those of this version.
    fn migrate_slice(&self) -> StorageResult<bool> {
        self.host
            .execute("CREATE TABLE IF NOT EXISTS schema (version INTEGER NOT NULL)", vec![])?;
        let version = match self.host.query_number("SELECT MAX(version) FROM schema", vec![])? {
            // Version 1 did not say so.
            0 if self.has_table("event")? => 1,
            version => version,
        };
        if version > VERSION {
            // A later release wrote this database: storing no event is better than a row that it
            // would misread.
            return Err(StorageError::LaterVersion { found: version, known: VERSION });
        }
        if version == VERSION {
            return Ok(true);
        }
        if version > 0 && !self.move_former_rows(version)? {
            return Ok(false);
        }
        if version == 0 {
            self.create_tables()?;
        }
        self.host.execute("INSERT INTO schema VALUES (?)", vec![sql_integer(VERSION)])?;
        self.host.execute(
            "INSERT INTO counters_start SELECT ? WHERE NOT EXISTS (SELECT * FROM counters_start)",
            vec![sql_integer(self.host.now().0)],
        )?;
        Ok(true)
    }

    fn create_tables(&self) -> StorageResult<()> {
        for statement in TABLES {
            self.host.execute(statement, vec![])?;
        }
        Ok(())
    }

    fn has_table(&self, name: &str) -> StorageResult<bool> {
        let query = "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = ?";
        Ok(self.host.query_number(query, vec![name.into()])? > 0)
    }

    /// Moves a slice of the rows of versions 1 to 3. Returns whether all are moved.
    fn move_former_rows(&self, version: u64) -> StorageResult<bool> {
        if !self.has_table("batch")? {
            if version == 3 {
                self.host.execute("ALTER TABLE erased_subject RENAME TO former_erased", vec![])?;
            }
            self.host.execute("ALTER TABLE feedback RENAME TO former_feedback", vec![])?;
            self.create_tables()?;
            self.host
                .execute("INSERT INTO feedback SELECT classify_id FROM former_feedback", vec![])?;
            self.host.execute("DROP TABLE former_feedback", vec![])?;
            if version == 3 {
                let query =
                    "INSERT INTO erased_subject SELECT subject, time_ms, 0, 0 FROM former_erased";
                self.host.execute(query, vec![])?;
                self.host.execute("DROP TABLE former_erased", vec![])?;
            }
            self.move_counters()?;
        }
        // Minutes first: they count the subjects that are seen in them.
        let is_done = (version < 2
            || self.move_minutes()? && self.move_subjects()? && self.move_hits()?)
            && self.move_events()?;
        if is_done {
            for table in FORMER_TABLES {
                self.host.execute(&format!("DROP TABLE IF EXISTS {table}"), vec![])?;
            }
        }
        Ok(is_done)
    }

    fn move_counters(&self) -> StorageResult<()> {
        let counters = self.host.query("SELECT name, number FROM counter", vec![])?;
        let counters = counters.iter().map(|row| Ok((row.text(0)?.to_owned(), row.number(1)?)));
        let query = "SELECT release, MAX(time_ms) / 60000 FROM event GROUP BY release";
        let releases = self.host.query(query, vec![])?;
        let releases = releases.iter().map(|row| Ok((row.text(0)?.to_owned(), row.number(1)?)));
        let last_seq = self.host.query_number("SELECT MAX(seq) FROM event", vec![])?;
        let summary = Summary {
            next_seq: last_seq + 1,
            events: self.host.query_number("SELECT COUNT(*) FROM event", vec![])?,
            counters: counters.collect::<StorageResult<_>>()?,
            releases: releases.collect::<StorageResult<_>>()?,
            ..Summary::default()
        };
        self.store_summary(&summary)
    }

    fn move_minutes(&self) -> StorageResult<bool> {
        let query = "SELECT release, minute, cohort, share, json FROM cohort_stats \
                     WHERE (release, minute) IN \
                     (SELECT DISTINCT release, minute FROM cohort_stats LIMIT ?)";
        let rows = self.host.query(query, vec![sql_integer(MINUTES_MAX)])?;
        let mut records: BTreeMap<(String, u64), MinuteRecord> = BTreeMap::new();
        for row in rows {
            let key = (row.text(0)?.to_owned(), row.number(1)?);
            let share = share_of(row.number(3)?)?;
            records.entry(key).or_default().add_stats(named(&row, 2)?, share, &row.json(4)?);
        }
        for ((release, minute), record) in &mut records {
            self.add_subjects_of_minute(release, *minute, record)?;
            self.store_minute(*minute, release, record)?;
            self.host.execute(
                "DELETE FROM cohort_stats WHERE release = ? AND minute = ?",
                vec![release.as_str().into(), sql_integer(*minute)],
            )?;
        }
        Ok((records.len() as u64) < MINUTES_MAX)
    }

    /// Adds what the former tables of subjects had of a minute.
    fn add_subjects_of_minute(
        &self,
        release: &str,
        minute: u64,
        record: &mut MinuteRecord,
    ) -> StorageResult<()> {
        let key = || vec![release.into(), sql_integer(minute)];
        let query = "SELECT cohort, COUNT(*) FROM first_seen \
                     WHERE release = ? AND minute = ? GROUP BY cohort";
        for row in self.host.query(query, key())? {
            record.new_subjects[named(&row, 0)?] += row.number(1)?;
        }
        let query = "SELECT metric, hour, cohort, number FROM newly_affected \
                     WHERE release = ? AND minute = ?";
        for row in self.host.query(query, key())? {
            let key = (named(&row, 0)?, row.number(1)?, named(&row, 2)?);
            record.add_newly_affected(key, row.number(3)?);
        }
        let query = "SELECT subject, number FROM subject_errors WHERE release = ? AND minute = ?";
        for row in self.host.query(query, key())? {
            record.add_errors(SubjectBits::new(row.text(0)?), row.number(1)?);
        }
        Ok(())
    }

    fn move_subjects(&self) -> StorageResult<bool> {
        let query = "SELECT release, subject FROM first_seen ORDER BY release, subject LIMIT ?";
        let rows = self.host.query(query, vec![sql_integer(ROWS_MAX)])?;
        let Some(last) = rows.last() else { return Ok(true) };
        let mut runs: BTreeMap<&str, Vec<SubjectBits>> = BTreeMap::new();
        for row in &rows {
            runs.entry(row.text(0)?).or_default().push(SubjectBits::new(row.text(1)?));
        }
        for (release, run) in runs {
            let query = "SELECT COUNT(*) FROM subject_run WHERE release = ?";
            let number = self.host.query_number(query, vec![release.into()])?;
            let run = SqlValue::Blob(encode_run(&merge_runs(&[run])));
            let values = vec![release.into(), sql_integer(number), run];
            self.host.execute("INSERT INTO subject_run VALUES (?, ?, ?)", values)?;
        }
        self.host
            .execute("DELETE FROM first_seen WHERE (release, subject) <= (?, ?)", last.0.clone())?;
        Ok((rows.len() as u64) < ROWS_MAX)
    }

    fn move_hits(&self) -> StorageResult<bool> {
        let query = "SELECT release, metric, subject, next_minute FROM last_hit \
                     ORDER BY release, metric, subject LIMIT ?";
        let rows = self.host.query(query, vec![sql_integer(ROWS_MAX)])?;
        let Some(last) = rows.last() else { return Ok(true) };
        let mut hits: BTreeMap<&str, SubjectHits> = BTreeMap::new();
        for row in &rows {
            let (metric, subject) = (named(row, 1)?, SubjectBits::new(row.text(2)?));
            let minute = row.number(3)?.saturating_sub(1);
            hits.entry(row.text(0)?).or_default().add(subject, metric, minute);
        }
        for (release, hits) in hits {
            for (hour, encoded) in hits.encode_unsaved() {
                let query = "SELECT COUNT(*) FROM subject_hits WHERE hour = ? AND release = ?";
                let key = vec![sql_integer(hour), release.into()];
                let number = self.host.query_number(query, key.clone())?;
                let values = [key, vec![sql_integer(number), SqlValue::Blob(encoded)]].concat();
                self.host.execute("INSERT INTO subject_hits VALUES (?, ?, ?, ?)", values)?;
            }
        }
        self.host.execute(
            "DELETE FROM last_hit WHERE (release, metric, subject) <= (?, ?, ?)",
            last.0[..3].to_vec(),
        )?;
        Ok((rows.len() as u64) < ROWS_MAX)
    }

    fn move_events(&self) -> StorageResult<bool> {
        let query = "SELECT seq, json FROM event ORDER BY seq LIMIT ?";
        let rows = self.host.query(query, vec![sql_integer(ROWS_MAX)])?;
        let rows = rows.iter().map(|row| Ok((row.number(0)?, row.text(1)?)));
        let rows = rows.collect::<StorageResult<Vec<_>>>()?;
        let Some((last_seq, _)) = rows.last().copied() else { return Ok(true) };
        let mut summary = self.stored_summary()?;
        let mut ids: BTreeMap<u64, MinuteIds> = BTreeMap::new();
        // The numbers of a batch follow one another.
        for consecutive in rows.chunk_by(|(seq, _), (next, _)| seq + 1 == *next) {
            let lines: Vec<&str> = consecutive.iter().map(|(_, json)| *json).collect();
            let mut first_seq = consecutive.first().map_or(0, |(seq, _)| *seq);
            for batch in cut_into_batches(&lines) {
                let keys = batch
                    .iter()
                    .filter_map(|line| serde_json::from_slice::<EventKey>(line.as_bytes()).ok());
                let mut stored_ms = 0;
                for key in keys {
                    let id = EventId::new(&key.id, key.time_ms);
                    ids.entry(id.minute).or_default().insert(id, first_seq);
                    stored_ms = stored_ms.max(key.time_ms);
                }
                let compressed = compress_lines(batch.iter().copied());
                summary.batch_bytes += compressed.len() as u64;
                let number = sql_integer(batch.len() as u64);
                self.host.execute(
                    "INSERT INTO batch (first_seq, numbers, events, stored_ms, lines) \
                     VALUES (?, ?, ?, ?, ?)",
                    vec![
                        sql_integer(first_seq),
                        number.clone(),
                        number,
                        sql_integer(stored_ms),
                        SqlValue::Blob(compressed),
                    ],
                )?;
                first_seq += batch.len() as u64;
            }
        }
        for (minute, ids) in ids {
            let encoded = ids.encode_unsaved();
            summary.ids_bytes += encoded.len() as u64;
            self.host.execute(
                "INSERT INTO minute_ids VALUES (?, ?, ?)",
                vec![sql_integer(minute), sql_integer(last_seq), SqlValue::Blob(encoded)],
            )?;
        }
        self.store_summary(&summary)?;
        self.host.execute("DELETE FROM event WHERE seq <= ?", vec![sql_integer(last_seq)])?;
        Ok((rows.len() as u64) < ROWS_MAX)
    }
}

/// Reads a column that holds the name of a value.
fn named<T: DeserializeOwned>(row: &SqlRow, column: usize) -> StorageResult<T> {
    parse_stored(&format!("\"{}\"", row.text(column)?))
}

fn share_of(basis_points: u64) -> StorageResult<Share> {
    parse_stored(&basis_points.to_string())
}
