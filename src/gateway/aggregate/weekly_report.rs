//! Defines the weekly report of a release, its minute ranges, and the points of the dashboard's
//! chart.
//!
//! `jeffrey report --week` fills a [`WeeklyReport`] from the gateway's minutes and rollout history.
//! The report is meant for the time after a release has taken all traffic. Weeks and days are
//! counted back from the time of the report, not from midnight.

use serde::{Deserialize, Serialize};

use crate::gateway::aggregate::minute_stats::{self, CohortStats};
use crate::gateway::aggregate::summary::SummaryByCohort;
use crate::gateway::aggregate::totals::CohortTotals;
use crate::gateway::notify::history::DecisionSummary;
use jeffrey_terms::by_cohort::ByCohort;
use jeffrey_terms::{Cohort, Share, UnixMs};

/// Number of minutes in a day.
pub const MINUTES_PER_DAY: u64 = 24 * 60;

/// Range of minutes since 1970, such as a week or a day; both ends are exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinuteRange {
    /// Minute just before the first minute of the range.
    pub after: u64,
    /// Minute just after the last minute of the range.
    pub before: u64,
}

impl MinuteRange {
    /// Returns the seven days that end with `last_minute`, which is part of them.
    pub const fn week_ending_at(last_minute: u64) -> Self {
        Self { after: last_minute.saturating_sub(7 * MINUTES_PER_DAY), before: last_minute + 1 }
    }

    /// Returns the range of the same length that ends just before this one.
    pub const fn preceding(self) -> Self {
        let length = self.before - self.after - 1;
        Self { after: self.after.saturating_sub(length), before: self.after + 1 }
    }

    /// Returns the days of the range, earliest first; the last one may be shorter.
    pub fn days(self) -> impl Iterator<Item = Self> {
        (self.after..self.before - 1).step_by(MINUTES_PER_DAY as usize).map(move |after| Self {
            after,
            before: (after + MINUTES_PER_DAY + 1).min(self.before),
        })
    }

    /// Returns the time at which the first minute begins.
    pub const fn starts_at(self) -> UnixMs {
        UnixMs((self.after + 1) * 60_000)
    }
}

/// One closed minute as a point of the chart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChartMinute {
    /// Start of the minute, in milliseconds since 1970.
    pub at_ms: u64,
    /// Canary share in the minute; `None` if it changed within the minute.
    #[serde(rename = "share_basis_points")]
    pub share: Option<Share>,
    /// Rates and latencies of both cohorts in the minute.
    #[serde(flatten)]
    pub cohorts: SummaryByCohort,
}

impl ChartMinute {
    /// Sums the stats that all shards hold for a minute into a point of the chart.
    pub fn from_stats(minute: u64, shard_stats: &[(Cohort, Share, CohortStats)]) -> Self {
        let mut stats = ByCohort::<CohortStats>::default();
        for (cohort, _, cohort_stats) in shard_stats {
            stats[*cohort].add(cohort_stats);
        }
        let share = minute_stats::sum_minute(minute, shard_stats).share;
        Self {
            at_ms: minute * 60_000,
            share,
            cohorts: SummaryByCohort::from_totals(&stats.map(CohortTotals::from_stats)),
        }
    }
}

/// Report on the last seven days of a release.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeeklyReport {
    /// Name of the release that the report covers.
    pub release: String,
    /// Canary share at the time of the report, in basis points (0 to 10,000).
    pub share_basis_points: u16,
    /// Phase of the rollout at the time of the report; `None` without a plan.
    pub phase: Option<String>,
    /// Start of the week, in milliseconds since 1970.
    pub from_ms: u64,
    /// Time of the report, which ends the week, in milliseconds since 1970.
    pub to_ms: u64,
    /// Summary of the whole week.
    pub week: SummaryByCohort,
    /// Summary of the seven days before the week.
    pub previous: SummaryByCohort,
    /// Summary of each day, earliest first.
    pub days: Vec<DaySummary>,
    /// Number of canary answers that each rule changed, sorted by the name of the rule.
    pub tie_break_rule_counts: Vec<(String, u64)>,
    /// Total variation distance between the canary's labels in the two weeks (half the sum of the
    /// differences), 0 to 1; `None` if either week has no labels.
    pub labels_moved: Option<f64>,
    /// Number of masked previews that show an `@` or `http`, which masking should have removed.
    pub leaks: u64,
    /// Rollout decisions of the week, earliest first.
    pub decisions: Vec<DecisionSummary>,
}

/// Summary of one day of the week.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DaySummary {
    /// Start of the day, in milliseconds since 1970.
    pub from_ms: u64,
    /// Rates and latencies of both cohorts on the day.
    #[serde(flatten)]
    pub cohorts: SummaryByCohort,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_is_its_seven_days_and_the_one_before_ends_where_it_begins() {
        let week = MinuteRange::week_ending_at(20 * MINUTES_PER_DAY);
        let days: Vec<MinuteRange> = week.days().collect();
        assert_eq!(days.len(), 7);
        assert_eq!((days[0].after, days[6].before), (week.after, week.before));
        assert!(days.windows(2).all(|pair| pair[0].before == pair[1].after + 1));
        // The range holds the 10,080 minutes strictly between its ends.
        assert_eq!(week.before - week.after - 1, 7 * MINUTES_PER_DAY);
        assert_eq!(
            week.preceding(),
            MinuteRange { after: 6 * MINUTES_PER_DAY, before: 13 * MINUTES_PER_DAY + 1 }
        );
        assert_eq!(MinuteRange::week_ending_at(5).days().count(), 1, "no day before 1970");
    }
}
