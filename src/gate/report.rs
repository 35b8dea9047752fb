//! What a week of a release comes to, for the time after it carries everybody.

use serde::{Deserialize, Serialize};

use super::figures::Both;
use super::tally::{self, Tally, Totals};
use super::words::Decision;
use jeffrey_terms::{Cohort, Share, UnixMs};

/// One day in minutes.
pub const DAY: u64 = 24 * 60;

/// The week that ends with a minute: the one before it and its days, as pairs of a minute before the first and
/// one after the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// After the minute of this number.
    pub since: u64,
    /// Before the minute of this number.
    pub before: u64,
}

impl Span {
    /// The seven days up to a minute, itself among them.
    pub const fn week(last: u64) -> Self {
        Self { since: last.saturating_sub(7 * DAY), before: last + 1 }
    }

    /// As long a time, just before.
    pub const fn previous(self) -> Self {
        let length = self.before - self.since - 1;
        Self { since: self.since.saturating_sub(length), before: self.since + 1 }
    }

    /// Its days, the earliest first.
    pub fn days(self) -> impl Iterator<Item = Self> {
        (self.since..self.before - 1)
            .step_by(DAY as usize)
            .map(move |since| Self { since, before: (since + DAY + 1).min(self.before) })
    }

    /// When its first minute begins.
    pub const fn begins(self) -> UnixMs {
        UnixMs((self.since + 1) * 60_000)
    }
}

/// One closed minute, for a chart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// When it begins, in milliseconds since 1970.
    pub at_ms: u64,
    /// The canary's share, where it was one all the time.
    #[serde(rename = "share_basis_points")]
    pub share: Option<Share>,
    /// What was done in it.
    #[serde(flatten)]
    pub both: Both,
}

impl Point {
    /// Of what each part of a ledger has of a minute.
    pub fn of(minute: u64, tallies: &[(Cohort, Share, Tally)]) -> Self {
        let mut sums = <[Tally; 2]>::default();
        let [canary, stable] = &mut sums;
        for (cohort, _, tally) in tallies {
            match cohort {
                Cohort::Canary => canary.add(tally),
                Cohort::Stable => stable.add(tally),
            }
        }
        let share = tally::minute(minute, tallies).share;
        Self { at_ms: minute * 60_000, share, both: Both::of(&Totals::of(sums)) }
    }
}

/// A week of a release.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
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
    pub week: Both,
    /// The week before it.
    pub previous: Both,
    /// Day by day.
    pub days: Vec<Day>,
    /// Answers by the name of the rule that changed them.
    pub rules: Vec<(String, u64)>,
    /// How far the canary's labels moved since the week before: half the sum of the differences, 0 to 1.
    pub labels_moved: Option<f64>,
    /// Masked previews that show what a mask should have hidden.
    pub leaks: u64,
    /// What was decided in this time.
    pub decisions: Vec<Decision>,
}

/// One day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Day {
    /// When it begins, in milliseconds since 1970.
    pub from_ms: u64,
    /// What was done on it.
    #[serde(flatten)]
    pub both: Both,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_is_its_seven_days_and_the_one_before_ends_where_it_begins() {
        let week = Span::week(20 * DAY);
        let days: Vec<Span> = week.days().collect();
        assert_eq!(days.len(), 7);
        assert_eq!((days[0].since, days[6].before), (week.since, week.before));
        assert!(days.windows(2).all(|two| two[0].before == two[1].since + 1));
        // Minutes strictly between: 10,080 of them.
        assert_eq!(week.before - week.since - 1, 7 * DAY);
        assert_eq!(week.previous(), Span { since: 6 * DAY, before: 13 * DAY + 1 });
        assert_eq!(Span::week(5).days().count(), 1, "no day before 1970");
    }
}
