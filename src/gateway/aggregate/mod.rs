//! Counters of closed minutes, per cohort and shard, and their summaries.

pub mod closed_minute_cache;

pub mod minute_stats;

pub mod shard;

pub mod summary;

pub mod totals;

pub mod weekly_report;
