//! What a week of a release comes to, for the time after it carries everybody.

use serde::{Deserialize, Serialize};

use super::messages::DecisionSummary;
use super::minute_stats::{self, CohortStats, TotalsByCohort};
use super::summary::SummaryByCohort;
use jeffrey_terms::{Cohort, Share, UnixMs};

/// One day in minutes.
pub const MINUTES_PER_DAY: u64 = 24 * 60;

/// The week that ends with a minute: the one before it and its days, as pairs of a minute before the first and
/// one after the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinuteRange {
    /// After the minute of this number.
    pub after: u64,
    /// Before the minute of this number.
    pub before: u64,
}

impl MinuteRange {
    /// The seven days up to a minute, itself among them.
    pub const fn week_ending_at(last_minute: u64) -> Self {
        Self { after: last_minute.saturating_sub(7 * MINUTES_PER_DAY), before: last_minute + 1 }
    }

    /// As long a time, just before.
    pub const fn preceding(self) -> Self {
        let length = self.before - self.after - 1;
        Self { after: self.after.saturating_sub(length), before: self.after + 1 }
    }

    /// Its days, the earliest first.
    pub fn days(self) -> impl Iterator<Item = Self> {
        (self.after..self.before - 1).step_by(MINUTES_PER_DAY as usize).map(move |after| Self {
            after,
            before: (after + MINUTES_PER_DAY + 1).min(self.before),
        })
    }

    /// When its first minute begins.
    pub const fn starts_at(self) -> UnixMs {
        UnixMs((self.after + 1) * 60_000)
    }
}

/// One closed minute, for a chart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChartMinute {
    /// When it begins, in milliseconds since 1970.
    pub at_ms: u64,
    /// The canary's share, where it was one all the time.
    #[serde(rename = "share_basis_points")]
    pub share: Option<Share>,
    /// What was done in it.
    #[serde(flatten)]
    pub summary: SummaryByCohort,
}

impl ChartMinute {
    /// Of what each part of a ledger has of a minute.
    pub fn from_stats(minute: u64, shard_stats: &[(Cohort, Share, CohortStats)]) -> Self {
        let mut stats = <[CohortStats; 2]>::default();
        let [canary, stable] = &mut stats;
        for (cohort, _, cohort_stats) in shard_stats {
            match cohort {
                Cohort::Canary => canary.add(cohort_stats),
                Cohort::Stable => stable.add(cohort_stats),
            }
        }
        let share = minute_stats::sum_minute(minute, shard_stats).share;
        Self {
            at_ms: minute * 60_000,
            share,
            summary: SummaryByCohort::from_totals(&TotalsByCohort::from_stats(stats)),
        }
    }
}

/// A week of a release.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeeklyReport {
    /// The release.
    pub release: String,
    /// Its canary's share now.
    pub share_basis_points: u16,
    /// Where its rollout stands, where a plan is in force.
    pub phase: Option<String>,
    /// When the week begins, in milliseconds since 1970.
    pub from_ms: u64,
    /// When it ends.
    pub to_ms: u64,
    /// The week as a whole.
    pub week: SummaryByCohort,
    /// The week before it.
    pub previous: SummaryByCohort,
    /// Day by day.
    pub days: Vec<DaySummary>,
    /// Answers by the name of the rule that changed them.
    pub rules: Vec<(String, u64)>,
    /// How far the canary's labels moved since the week before: half the sum of the differences, 0 to 1.
    pub labels_moved: Option<f64>,
    /// Masked previews that show what a mask should have hidden.
    pub leaks: u64,
    /// What was decided in this time.
    pub decisions: Vec<DecisionSummary>,
}

/// One day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DaySummary {
    /// When it begins, in milliseconds since 1970.
    pub from_ms: u64,
    /// What was done on it.
    #[serde(flatten)]
    pub summary: SummaryByCohort,
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
        // Minutes strictly between: 10,080 of them.
        assert_eq!(week.before - week.after - 1, 7 * MINUTES_PER_DAY);
        assert_eq!(
            week.preceding(),
            MinuteRange { after: 6 * MINUTES_PER_DAY, before: 13 * MINUTES_PER_DAY + 1 }
        );
        assert_eq!(MinuteRange::week_ending_at(5).days().count(), 1, "no day before 1970");
    }
}
