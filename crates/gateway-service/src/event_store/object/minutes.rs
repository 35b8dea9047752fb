//! Minute stats and subjects of one shard.
//!
//! Every new event adds to the [`CohortStats`] of its release, minute, cohort and share, and to the
//! tables of subjects that were seen or affected. The gateway merges the minutes of all shards.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{CohortStatsKey, EventStoreObject};
use crate::host::ObjectHost;
use crate::sql::{NumberRow, SqlValue, StorageResult, TextRow, parse_stored, sql_integer};
use jeffrey_edge::gateway::aggregate::minute_stats::{
    CohortStats, EventContribution, newly_affected_hours,
};
use jeffrey_edge::gateway::aggregate::shard::{MINUTES_PER_READ_MAX, ShardMinute};
use jeffrey_edge::rollout::counts::{Metric, TopSubjects};
use jeffrey_edge::telemetry::latency_sketch::LatencySketch;
use jeffrey_terms::by_cohort::ByCohort;
use jeffrey_terms::{Cohort, Share};

/// Minutes after the close of a minute until its sums are cached: later events are rare.
const CACHE_AFTER_MINUTES: u64 = 10;

impl<H: ObjectHost> EventStoreObject<H> {
    /// Adds the stats of new events to the stored stats of their minutes.
    pub(super) fn add_cohort_stats(
        &self,
        cohort_stats: BTreeMap<CohortStatsKey, CohortStats>,
    ) -> StorageResult<()> {
        for ((release, minute, cohort, share), increment) in cohort_stats {
            let key_values = || -> Vec<SqlValue> {
                let share = sql_integer(u64::from(share.basis_points()));
                vec![release.as_str().into(), sql_integer(minute), cohort.name().into(), share]
            };
            let query = "SELECT json AS text FROM cohort_stats \
                         WHERE release = ? AND minute = ? AND cohort = ? AND share = ?";
            let rows: Vec<TextRow> = self.host.query_rows(query, key_values())?;
            let mut stats = match rows.first() {
                Some(row) => parse_stored(&row.text)?,
                None => CohortStats::default(),
            };
            stats.add(&increment);
            let mut values = key_values();
            values.push(serde_json::to_string(&stats)?.into());
            self.host
                .execute("INSERT OR REPLACE INTO cohort_stats VALUES (?, ?, ?, ?, ?)", values)?;
            self.closed_minutes.borrow_mut().invalidate_minute(&release, minute);
        }
        Ok(())
    }

    /// Records that a contribution's subject was seen and affected. Only this shard knows the
    /// subject's earlier events.
    pub(super) fn store_subject(&self, contribution: &EventContribution) -> StorageResult<()> {
        let Some(subject) = contribution.subject.as_deref() else { return Ok(()) };
        let (release, cohort) = (contribution.release.as_str(), contribution.cohort.name());
        let minute = || sql_integer(contribution.minute);
        if !contribution.in_holdout {
            self.host.execute(
                "INSERT OR IGNORE INTO first_seen VALUES (?, ?, ?, ?)",
                vec![release.into(), subject.into(), minute(), cohort.into()],
            )?;
        }
        for metric in &contribution.affected_metrics {
            let key_values = || vec![release.into(), metric.name().into(), subject.into()];
            let query = "SELECT next_minute AS number FROM last_hit \
                         WHERE release = ? AND metric = ? AND subject = ?";
            let after = self.host.query_number(query, key_values())?;
            for hour in newly_affected_hours(contribution.minute, after) {
                self.host.execute(
                    "INSERT INTO newly_affected VALUES (?, ?, ?, ?, ?, 1) \
                     ON CONFLICT DO UPDATE SET number = number + 1",
                    vec![
                        release.into(),
                        minute(),
                        metric.name().into(),
                        sql_integer(hour),
                        cohort.into(),
                    ],
                )?;
            }
            let mut values = key_values();
            values.push(sql_integer(after.max(contribution.minute + 1)));
            self.host.execute("INSERT OR REPLACE INTO last_hit VALUES (?, ?, ?, ?)", values)?;
        }
        if contribution.cohort == Cohort::Canary
            && contribution.affected_metrics.contains(&Metric::Errors)
        {
            self.host.execute(
                "INSERT INTO subject_errors VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET number = number + 1",
                vec![release.into(), minute(), subject.into()],
            )?;
        }
        Ok(())
    }

    /// Returns the stats of a minute by cohort and share.
    fn minute_stats(
        &self,
        release: &str,
        minute: u64,
    ) -> StorageResult<Vec<(Cohort, Share, CohortStats)>> {
        #[derive(Deserialize)]
        struct MinuteStatsRow {
            cohort: Cohort,
            share: Share,
            json: String,
        }
        let query = "SELECT cohort, share, json FROM cohort_stats WHERE release = ? AND minute = ?";
        let rows: Vec<MinuteStatsRow> =
            self.host.query_rows(query, vec![release.into(), sql_integer(minute)])?;
        rows.into_iter().map(|row| Ok((row.cohort, row.share, parse_stored(&row.json)?))).collect()
    }

    /// Returns stable's latency sketch of a minute.
    pub(super) fn stable_latency(
        &self,
        release: &str,
        minute: u64,
    ) -> StorageResult<LatencySketch> {
        let mut latency = LatencySketch::default();
        let minute_stats = self.minute_stats(release, minute)?;
        for (_, _, stats) in minute_stats.iter().filter(|(cohort, ..)| *cohort == Cohort::Stable) {
            latency.merge(&stats.latency);
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
        self.closed_minutes.borrow_mut().totals_between(
            release,
            (since, before),
            open_from,
            |since, before| self.sum_between(release, since, before),
        )
    }

    fn sum_between(
        &self,
        release: &str,
        since: u64,
        before: u64,
    ) -> StorageResult<ByCohort<CohortStats>> {
        let sum_cohort = |cohort: Cohort| -> StorageResult<CohortStats> {
            let query = "SELECT json AS text FROM cohort_stats \
                         WHERE release = ? AND minute > ? AND minute < ? AND cohort = ?";
            let values =
                vec![release.into(), sql_integer(since), sql_integer(before), cohort.name().into()];
            let rows: Vec<TextRow> = self.host.query_rows(query, values)?;
            let mut total = CohortStats::default();
            for row in rows {
                total.add(&parse_stored(&row.text)?);
            }
            Ok(total)
        };
        Ok(ByCohort { canary: sum_cohort(Cohort::Canary)?, stable: sum_cohort(Cohort::Stable)? })
    }

    /// Returns the minutes after `since` and before `before` that have stats here, earliest first,
    /// at most [`MINUTES_PER_READ_MAX`].
    pub(super) fn minutes_between(
        &self,
        release: &str,
        since: u64,
        before: u64,
    ) -> StorageResult<Vec<u64>> {
        let query = "SELECT DISTINCT minute AS number FROM cohort_stats \
                     WHERE release = ? AND minute > ? AND minute < ? ORDER BY minute LIMIT ?";
        let limit = sql_integer(MINUTES_PER_READ_MAX as u64);
        let values = vec![release.into(), sql_integer(since), sql_integer(before), limit];
        let rows: Vec<NumberRow> = self.host.query_rows(query, values)?;
        Ok(rows.iter().filter_map(|row| row.number).collect())
    }

    /// Returns what this shard counted in each minute.
    pub(super) fn shard_minutes(
        &self,
        release: &str,
        minutes: &[u64],
    ) -> StorageResult<Vec<ShardMinute>> {
        minutes.iter().map(|minute| self.shard_minute(release, *minute)).collect()
    }

    fn shard_minute(&self, release: &str, minute: u64) -> StorageResult<ShardMinute> {
        #[derive(Deserialize)]
        struct AffectedSubjectsRow {
            metric: Metric,
            hour: u64,
            cohort: Cohort,
            number: u64,
        }
        let key_values = || vec![release.into(), sql_integer(minute)];
        let count_first_seen = |cohort: Cohort| {
            let query = "SELECT COUNT(*) AS number FROM first_seen WHERE release = ? AND minute = ? AND cohort = ?";
            let mut values = key_values();
            values.push(cohort.name().into());
            self.host.query_number(query, values)
        };
        let first_seen = ByCohort {
            canary: count_first_seen(Cohort::Canary)?,
            stable: count_first_seen(Cohort::Stable)?,
        };
        let query = "SELECT metric, hour, cohort, number FROM newly_affected \
                     WHERE release = ? AND minute = ? ORDER BY metric, hour";
        let rows: Vec<AffectedSubjectsRow> = self.host.query_rows(query, key_values())?;
        let to_tuple = |row: AffectedSubjectsRow| (row.metric, row.hour, row.cohort, row.number);
        Ok(ShardMinute {
            minute,
            cohort_stats: self.minute_stats(release, minute)?,
            new_subjects: first_seen,
            newly_affected: rows.into_iter().map(to_tuple).collect(),
            top_subjects: self.top_subjects(release, minute)?,
            two_highest_error_counts: self.top_error_counts(release, minute)?,
        })
    }

    /// Returns both cohorts' requests and errors in the hour that ends with `last_minute`.
    fn top_subjects(&self, release: &str, last_minute: u64) -> StorageResult<TopSubjects> {
        let mut top_subjects = TopSubjects::default();
        for minute in last_minute.saturating_sub(59)..=last_minute {
            for (cohort, _, stats) in self.minute_stats(release, minute)? {
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
        }
        Ok(top_subjects)
    }

    /// Returns the errors of the two canary subjects with the most in the hour that ends with
    /// `last_minute`.
    fn top_error_counts(&self, release: &str, last_minute: u64) -> StorageResult<Vec<u64>> {
        let query = "SELECT SUM(number) AS number FROM subject_errors \
                     WHERE release = ? AND minute > ? AND minute <= ? \
                     GROUP BY subject ORDER BY number DESC LIMIT 2";
        let start = last_minute.saturating_sub(60);
        let rows: Vec<NumberRow> = self.host.query_rows(
            query,
            vec![release.into(), sql_integer(start), sql_integer(last_minute)],
        )?;
        Ok(rows.iter().filter_map(|row| row.number).collect())
    }
}
