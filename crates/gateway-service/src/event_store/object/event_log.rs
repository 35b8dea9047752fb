//! The log of events: batches, each a row with the number of its first event.

use super::EventStoreObject;
use crate::host::ObjectHost;
use crate::sql::{SqlRow, StorageError, StorageResult, sql_integer};
use jeffrey_edge::gateway::events::stored::EventKey;
use jeffrey_edge::gateway::store::event_batch::decompress_lines;
use jeffrey_edge::gateway::store::shard_counts::ShardCounts;

/// A batch of events without their lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchRow {
    /// Number of the first event.
    pub(super) first_seq: u64,
    /// How many numbers the batch has, those of erased events included.
    pub(super) numbers: u64,
}

impl BatchRow {
    /// Number of the last event.
    pub(super) const fn last_seq(&self) -> u64 {
        self.first_seq + self.numbers.saturating_sub(1)
    }
}

/// A stored event with its number.
pub(super) struct NumberedEvent {
    pub(super) seq: u64,
    pub(super) json: String,
}

/// Events in the order of their numbers.
pub(super) struct EventPage {
    pub(super) events: Vec<NumberedEvent>,
    /// Number of the last event that was read, also if it is erased.
    pub(super) last_seq: u64,
}

impl<H: ObjectHost> EventStoreObject<H> {
    /// Returns the batches from the one with event `seq` on, or from the next one, at most `limit`.
    pub(super) fn batches_from(&self, seq: u64, limit: u64) -> StorageResult<Vec<BatchRow>> {
        let rows = self.host.query(
            "SELECT first_seq, numbers FROM batch WHERE first_seq >= \
             COALESCE((SELECT MAX(first_seq) FROM batch WHERE first_seq <= ?), 0) \
             ORDER BY first_seq LIMIT ?",
            vec![sql_integer(seq), sql_integer(limit)],
        )?;
        let to_batch =
            |row: &SqlRow| Ok(BatchRow { first_seq: row.number(0)?, numbers: row.number(1)? });
        rows.iter().map(to_batch).collect()
    }

    /// Returns the lines of a stored batch, one for each number, empty where the event was erased.
    pub(super) fn batch_lines(&self, first_seq: u64) -> StorageResult<String> {
        let query = "SELECT lines FROM batch WHERE first_seq = ?";
        match self.host.query(query, vec![sql_integer(first_seq)])?.first() {
            Some(row) => read_lines(row, 0),
            None => Err(StorageError::Malformed { what: format!("batch {first_seq} has no row") }),
        }
    }

    /// Returns the events after number `since`, at most `limit`, without erased ones.
    pub(super) fn events_after(&self, since: u64, limit: usize) -> StorageResult<EventPage> {
        let mut page = EventPage { events: Vec::new(), last_seq: since };
        while page.events.len() < limit {
            let next = page.last_seq + 1;
            // The first batch may end before `next`.
            let batches = self.batches_from(next, 2)?;
            let Some(batch) = batches.iter().find(|batch| batch.last_seq() >= next) else { break };
            let lines = self.batch_lines(batch.first_seq)?;
            self.with_counts(|counts| {
                for (seq, line) in (batch.first_seq..).zip(lines.split_terminator('\n')) {
                    if seq < next || page.events.len() == limit {
                        continue;
                    }
                    page.last_seq = seq;
                    if !is_erased(counts, line, seq) {
                        page.events.push(NumberedEvent { seq, json: line.to_owned() });
                    }
                }
                Ok(())
            })?;
            // Numbers without a line.
            page.last_seq = page.last_seq.max(next);
        }
        Ok(page)
    }

    /// Returns a page of events as lines of JSON that begin with their number, which the next request
    /// sends as `since`.
    pub(super) fn read_page(&self, since: u64, limit: u64) -> StorageResult<Vec<u8>> {
        let page = self.events_after(since, usize::try_from(limit).unwrap_or(usize::MAX))?;
        let to_line =
            |event: &NumberedEvent| format!("{{\"seq\":{},{}\n", event.seq, &event.json[1..]);
        Ok(page.events.iter().map(to_line).collect::<String>().into_bytes())
    }
}

/// Decompresses the lines of a batch in a column of a row.
pub(super) fn read_lines(row: &SqlRow, column: usize) -> StorageResult<String> {
    decompress_lines(row.blob(column)?)
        .ok_or_else(|| StorageError::Malformed { what: "the lines of a batch".to_owned() })
}

/// Returns whether a line is that of an erased event, also if an erasure has not come to it yet.
pub(super) fn is_erased(counts: &ShardCounts, line: &str, seq: u64) -> bool {
    let is_erased = || {
        let key = serde_json::from_slice::<EventKey>(line.as_bytes());
        key.is_ok_and(|key| counts.is_erased(&key, Some(seq)))
    };
    line.is_empty() || counts.has_pending_erasures() && is_erased()
}
