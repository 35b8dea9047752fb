//! What was counted, as figures for people: parts, means, quantiles.

use serde::{Deserialize, Serialize};

use super::minute_stats::{CohortTotals, LatencyQuantiles, TotalsByCohort};
use jeffrey_anytime::Proportion;
use jeffrey_anytime::bounds::clopper_pearson_upper;
use jeffrey_terms::Label;

/// The chance that an interval misses.
const ALPHA: f64 = 0.05;

/// Figures of both cohorts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SummaryByCohort {
    /// Of the canary.
    pub canary: CohortSummary,
    /// Of stable.
    pub stable: CohortSummary,
    /// The old system's answers that the model was asked for as well and that could be compared.
    pub shadows: u64,
    /// The part of them with the same label.
    pub shadows_agree: Option<f64>,
}

/// Figures of one cohort. A part of nothing is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CohortSummary {
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
    pub latency_ms: Option<LatencyQuantiles>,
    /// Verdicts of readers.
    pub verdicts: u64,
    /// The bad ones among them.
    pub bad: Option<f64>,
    /// What the chance of a bad one is compatible with: Clopper & Pearson's interval, 95 %.
    pub bad_interval: Option<[f64; 2]>,
    /// Each label's part of the answers, in the order of [`Label::ALL`].
    pub labels: Option<[f64; Label::ALL.len()]>,
}

impl SummaryByCohort {
    /// Of what was counted.
    pub fn from_totals(totals: &TotalsByCohort) -> Self {
        let TotalsByCohort { canary, stable } = totals;
        let (agreed, disagreed) = (stable.tally.shadow_agreed, stable.tally.shadow_disagreed);
        let shadows = agreed + disagreed;
        Self {
            canary: CohortSummary::from_totals(canary),
            stable: CohortSummary::from_totals(stable),
            shadows,
            shadows_agree: Proportion::new(agreed, shadows).rate(),
        }
    }
}

impl CohortSummary {
    fn from_totals(totals: &CohortTotals) -> Self {
        let counts = &totals.tally.counts;
        let rate = |hits: u64, total: u64| Proportion::new(hits, total).rate();
        let verdicts = counts.feedback_good + counts.feedback_bad;
        let upper_bound =
            |hits| clopper_pearson_upper(Proportion::new(hits, verdicts), ALPHA / 2.0);
        let labelled: u64 = counts.labels.iter().sum();
        Self {
            requests: counts.requests,
            answers: counts.answers,
            errors: rate(counts.errors_5xx + counts.failed_open, counts.requests),
            slow: rate(counts.slow, counts.requests),
            regex: rate(counts.regex, counts.answers),
            prototypes: rate(counts.prototypes, counts.answers),
            low_confidence: rate(counts.low_confidence, counts.answers),
            low_confidence_answers: counts.low_confidence,
            rule_applied: rate(counts.rule_applied, counts.answers),
            mean_confidence: totals.mean_confidence,
            latency_ms: totals.latency_ms,
            verdicts,
            bad: rate(counts.feedback_bad, verdicts),
            bad_interval: (verdicts > 0).then(|| {
                [1.0 - upper_bound(counts.feedback_good), upper_bound(counts.feedback_bad)]
            }),
            labels: (labelled > 0).then(|| counts.labels.map(|n| n as f64 / labelled as f64)),
        }
    }
}

/// Half the sum of the differences of two mixes: the part that would have to change its label.
pub fn total_variation_distance(current: &CohortSummary, previous: &CohortSummary) -> Option<f64> {
    let (now, before) = current.labels.zip(previous.labels)?;
    Some(now.iter().zip(before).map(|(now, before)| (now - before).abs()).sum::<f64>() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::minute_stats::CohortStats;
    use crate::rollout::counts::CohortCounts;

    #[test]
    fn a_rate_of_zero_requests_is_none_and_an_interval_holds_its_rate() {
        let empty = SummaryByCohort::from_totals(&TotalsByCohort::default());
        assert_eq!(empty, SummaryByCohort::default());
        let mut labels = [0; 8];
        (labels[0], labels[1]) = (3, 1);
        let counts = CohortCounts {
            requests: 10,
            answers: 4,
            failed_open: 1,
            errors_5xx: 1,
            feedback_good: 9,
            feedback_bad: 1,
            labels,
            ..CohortCounts::default()
        };
        let totals = TotalsByCohort::from_stats([
            CohortStats { counts, ..CohortStats::default() },
            CohortStats::default(),
        ]);
        let summary = SummaryByCohort::from_totals(&totals);
        assert_eq!(summary.canary.errors, Some(0.2));
        assert_eq!(summary.canary.bad, Some(0.1));
        let [low, high] = summary.canary.bad_interval.unwrap();
        // Clopper & Pearson's of 1 in 10: 0.0025 to 0.4450.
        assert!((low - 0.0025).abs() < 1e-4 && (high - 0.4450).abs() < 1e-4, "{low} {high}");
        let shifted = CohortSummary {
            labels: Some([0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            ..summary.canary.clone()
        };
        assert_eq!(total_variation_distance(&summary.canary, &shifted), Some(0.25));
        assert_eq!(total_variation_distance(&summary.canary, &summary.stable), None);
    }
}
