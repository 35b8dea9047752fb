//! Minutes of one shard, as the gates and the pages read them.
//!
//! A minute is in memory while its events arrive, and for two hours after; older ones are read from the
//! database. The gateway merges the minutes of all shards.

use std::collections::{BTreeMap, BTreeSet};

use super::EventStoreObject;
use crate::host::ObjectHost;
use crate::sql::{StorageResult, sql_integer};
use jeffrey_edge::gateway::aggregate::minute_stats::CohortStats;
use jeffrey_edge::gateway::aggregate::shard::{MINUTES_PER_READ_MAX, ShardMinute};
use jeffrey_edge::gateway::store::minute_record::MinuteRecord;
use jeffrey_edge::rollout::counts::TopSubjects;
use jeffrey_edge::telemetry::latency_sketch::LatencySketch;
use jeffrey_terms::Cohort;
use jeffrey_terms::by_cohort::ByCohort;

/// Minutes after the close of a minute until its sums are cached: later events are rare.
const CACHE_AFTER_MINUTES: u64 = 10;

/// Minutes before a minute that its most affected subjects are taken from, itself included.
const TOP_SUBJECTS_MINUTES: u64 = 60;

impl<H: ObjectHost> EventStoreObject<H> {
    /// Returns the records of a release's minutes after `since` and before `before`, earliest first.
    fn records_between(
        &self,
        release: &str,
        since: u64,
        before: u64,
    ) -> StorageResult<BTreeMap<u64, MinuteRecord>> {
        let in_memory: BTreeMap<u64, MinuteRecord> = self.with_counts(|counts| {
            let minutes = counts.minutes_between(release, since, before);
            Ok(minutes.map(|(minute, record)| (minute, record.clone())).collect())
        })?;
        let query =
            "SELECT minute, json FROM minute WHERE minute > ? AND minute < ? AND release = ?";
        let values = vec![sql_integer(since), sql_integer(before), release.into()];
        let mut records = BTreeMap::new();
        for row in self.host.query(query, values)? {
            let minute = row.number(0)?;
            if !in_memory.contains_key(&minute) {
                records.insert(minute, row.json(1)?);
            }
        }
        records.extend(in_memory);
        Ok(records)
    }

    /// Returns stable's latency sketch of a minute.
    pub(super) fn stable_latency(
        &self,
        release: &str,
        minute: u64,
    ) -> StorageResult<LatencySketch> {
        let mut latency = LatencySketch::default();
        for record in self.records_between(release, minute.saturating_sub(1), minute + 1)?.values()
        {
            for (_, _, stats) in
                record.stats.iter().filter(|(cohort, ..)| *cohort == Cohort::Stable)
            {
                latency.merge(&stats.latency);
            }
        }
        Ok(latency)
    }

    /// Returns the stats of both cohorts after minute `since` and before minute `before`. Earlier
    /// minutes come from the cache.
    pub(super) fn totals_between(
        &self,
        release: &str,
        since: u64,
        before: u64,
    ) -> StorageResult<ByCohort<CohortStats>> {
        let open_from = self
            .host
            .settings()
            .time_scale
            .first_open_minute(self.host.now())
            .saturating_sub(CACHE_AFTER_MINUTES);
        // Loading clears the cache, so it comes first.
        self.with_counts(|_| Ok(()))?;
        let mut cache = self.closed_minutes.take();
        let totals = cache.totals_between(release, (since, before), open_from, |since, before| {
            self.sum_between(release, since, before)
        });
        self.closed_minutes.replace(cache);
        totals
    }

    fn sum_between(
        &self,
        release: &str,
        since: u64,
        before: u64,
    ) -> StorageResult<ByCohort<CohortStats>> {
        let mut totals = ByCohort::<CohortStats>::default();
        for record in self.records_between(release, since, before)?.values() {
            for (cohort, _, stats) in &record.stats {
                totals[*cohort].add(stats);
            }
        }
        Ok(totals)
    }

    /// Returns the minutes after `since` and before `before` that have stats here, earliest first,
    /// at most [`MINUTES_PER_READ_MAX`].
    pub(super) fn minutes_between(
        &self,
        release: &str,
        since: u64,
        before: u64,
    ) -> StorageResult<Vec<u64>> {
        let query = "SELECT minute FROM minute \
                     WHERE minute > ? AND minute < ? AND release = ? ORDER BY minute LIMIT ?";
        let limit = sql_integer(MINUTES_PER_READ_MAX as u64);
        let values = vec![sql_integer(since), sql_integer(before), release.into(), limit];
        let rows = self.host.query(query, values)?;
        let mut minutes =
            rows.iter().map(|row| row.number(0)).collect::<StorageResult<BTreeSet<u64>>>()?;
        self.with_counts(|counts| {
            let in_memory = counts.minutes_between(release, since, before);
            minutes.extend(
                in_memory.filter(|(_, record)| !record.stats.is_empty()).map(|(minute, _)| minute),
            );
            Ok(())
        })?;
        Ok(minutes.into_iter().take(MINUTES_PER_READ_MAX).collect())
    }

    /// Returns what this shard counted in each of the minutes, which are in order.
    pub(super) fn shard_minutes(
        &self,
        release: &str,
        minutes: &[u64],
    ) -> StorageResult<Vec<ShardMinute>> {
        let (Some(first), Some(last)) = (minutes.first(), minutes.last()) else {
            return Ok(Vec::new());
        };
        let since = first.saturating_sub(TOP_SUBJECTS_MINUTES);
        let records = self.records_between(release, since, last + 1)?;
        Ok(minutes.iter().map(|minute| to_shard_minute(*minute, &records)).collect())
    }
}

/// Returns a minute with the most affected subjects of the hour that ends with it.
fn to_shard_minute(minute: u64, records: &BTreeMap<u64, MinuteRecord>) -> ShardMinute {
    let record = records.get(&minute).cloned().unwrap_or_default();
    let hour = records.range((minute + 1).saturating_sub(TOP_SUBJECTS_MINUTES)..=minute);
    let mut top_subjects = TopSubjects::default();
    let mut errors_by_subject: BTreeMap<u64, u64> = BTreeMap::new();
    for (_, record) in hour {
        for (cohort, _, stats) in &record.stats {
            let errors = stats.counts.errors_5xx + stats.counts.fallbacks;
            let (requests, error_sum) = match cohort {
                Cohort::Canary => {
                    (&mut top_subjects.canary_requests, &mut top_subjects.canary_errors)
                }
                Cohort::Stable => {
                    (&mut top_subjects.stable_requests, &mut top_subjects.stable_errors)
                }
            };
            *requests += stats.counts.requests;
            *error_sum += errors;
        }
        for (subject, errors) in record.subject_errors() {
            *errors_by_subject.entry(subject.0).or_default() += errors;
        }
    }
    let mut error_counts: Vec<u64> = errors_by_subject.into_values().collect();
    error_counts.sort_unstable_by(|a, b| b.cmp(a));
    error_counts.truncate(2);
    ShardMinute {
        minute,
        new_subjects: record.new_subjects,
        newly_affected: record.newly_affected().to_vec(),
        cohort_stats: record.stats,
        top_subjects,
        two_highest_error_counts: error_counts,
    }
}
