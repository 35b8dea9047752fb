//! What a week of a release comes to, for the time after it carries everybody.

use serde::Serialize;

use super::tally::{Quantiles, Side, Totals};
use crate::rollout::stats::Part;
use crate::rollout::stats::bounds::highest_chance;
use crate::terms::{Label, UnixMs};

/// One day in minutes.
pub const DAY: u64 = 24 * 60;

/// The chance that an interval of a report misses.
const ERROR: f64 = 0.05;

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
    /// Shadows that could be compared, and the part of them with the old system's label.
    pub shadows: (u64, Option<f64>),
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

/// Something that was decided.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// The number of its entry.
    pub id: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What happened, in a sentence.
    pub what: String,
    /// What followed.
    pub then: String,
}

/// Figures of both cohorts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Both {
    /// Of the canary.
    pub canary: Figures,
    /// Of stable.
    pub stable: Figures,
}

/// Figures of one cohort. A part of nothing is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// All requests.
    pub requests: u64,
    /// Answers that could be read.
    pub answers: u64,
    /// Status 500 and above, and what failed open, of the requests.
    pub errors: Option<f64>,
    /// Above 200 ms, of the requests.
    pub slow: Option<f64>,
    /// By keywords alone, of the answers.
    pub regex: Option<f64>,
    /// By prototypes, of the answers.
    pub prototypes: Option<f64>,
    /// Without confidence, of the answers.
    pub low_confidence: Option<f64>,
    /// How many those were: what `jeffrey export` has to label at most.
    pub low_confidence_answers: u64,
    /// Changed by the tie-break, of the answers.
    pub rule_applied: Option<f64>,
    /// Mean confidence of the answers.
    pub mean_confidence: Option<f64>,
    /// How long requests took.
    pub latency_ms: Option<Quantiles>,
    /// Verdicts of readers.
    pub verdicts: u64,
    /// The bad ones among them.
    pub bad: Option<f64>,
    /// What the chance of a bad one is compatible with: Clopper & Pearson's interval, 95 %.
    pub bad_interval: Option<[f64; 2]>,
    /// Each label's part of the answers, in the order of [`Label::ALL`].
    pub labels: Option<[f64; Label::ALL.len()]>,
}

impl Both {
    /// Of what was counted.
    pub fn of(totals: &Totals) -> Self {
        Self { canary: Figures::of(&totals.canary), stable: Figures::of(&totals.stable) }
    }
}

impl Figures {
    fn of(side: &Side) -> Self {
        let counts = &side.tally.counts;
        let part = |hits: u64, of: u64| Part::new(hits, of).rate();
        let verdicts = counts.feedback_good + counts.feedback_bad;
        let highest = |hits| highest_chance(Part::new(hits, verdicts), ERROR / 2.0);
        let labelled: u64 = counts.labels.iter().sum();
        Self {
            requests: counts.requests,
            answers: counts.answers,
            errors: part(counts.errors_5xx + counts.failed_open, counts.requests),
            slow: part(counts.slow, counts.requests),
            regex: part(counts.regex, counts.answers),
            prototypes: part(counts.prototypes, counts.answers),
            low_confidence: part(counts.low_confidence, counts.answers),
            low_confidence_answers: counts.low_confidence,
            rule_applied: part(counts.rule_applied, counts.answers),
            mean_confidence: side.mean_confidence,
            latency_ms: side.latency_ms,
            verdicts,
            bad: part(counts.feedback_bad, verdicts),
            bad_interval: (verdicts > 0)
                .then(|| [1.0 - highest(counts.feedback_good), highest(counts.feedback_bad)]),
            labels: (labelled > 0).then(|| counts.labels.map(|n| n as f64 / labelled as f64)),
        }
    }
}

/// Half the sum of the differences of two mixes: the part that would have to change its label.
pub fn moved(now: &Figures, before: &Figures) -> Option<f64> {
    let (now, before) = now.labels.zip(before.labels)?;
    Some(now.iter().zip(before).map(|(now, before)| (now - before).abs()).sum::<f64>() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::tally::Tally;
    use crate::rollout::counts::Counts;

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

    #[test]
    fn a_part_of_nothing_is_none_and_an_interval_holds_its_rate() {
        let none = Both::of(&Totals::default());
        assert_eq!(none, Both::default());
        let mut labels = [0; 8];
        (labels[0], labels[1]) = (3, 1);
        let counts = Counts {
            requests: 10,
            answers: 4,
            failed_open: 1,
            errors_5xx: 1,
            feedback_good: 9,
            feedback_bad: 1,
            labels,
            ..Counts::default()
        };
        let found = Totals::of([Tally { counts, ..Tally::default() }, Tally::default()]);
        let both = Both::of(&found);
        assert_eq!(both.canary.errors, Some(0.2));
        assert_eq!(both.canary.bad, Some(0.1));
        let [low, high] = both.canary.bad_interval.unwrap();
        // Clopper & Pearson's of 1 in 10: 0.0025 to 0.4450.
        assert!((low - 0.0025).abs() < 1e-4 && (high - 0.4450).abs() < 1e-4, "{low} {high}");
        let other = Figures {
            labels: Some([0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            ..both.canary.clone()
        };
        assert_eq!(moved(&both.canary, &other), Some(0.25));
        assert_eq!(moved(&both.canary, &both.stable), None);
    }
}
