//! The data of one shard of the event store: batches of events, and the counts of these events.
//!
//! The batches are a log, one row each. [`shard_counts`] holds everything that is counted, in memory, and
//! changes only by the events of a batch. Now and then the shard saves what changed since the last
//! checkpoint. After a restart it reads the last checkpoint and adds the batches after it, so a batch
//! is stored and counted by one write.

pub mod event_batch;

pub mod event_ids;

pub mod subject_hits;

pub mod subject_runs;

pub mod minute_record;

pub mod shard_counts;
