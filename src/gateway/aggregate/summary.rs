//! Summarizes counts for people: rates, means, latency quantiles and one confidence interval.
//!
//! The input is [`CohortTotals`]. The output is [`SummaryByCohort`], which the dashboard and
//! `jeffrey report` show. All rates are fractions from 0 to 1. A rate whose denominator is zero is
//! `None`, so that missing data does not look like a rate of 0 %.

use serde::{Deserialize, Serialize};

use crate::gateway::aggregate::totals::{CohortTotals, LatencyQuantiles};
use jeffrey_anytime::Proportion;
use jeffrey_anytime::bounds::clopper_pearson_upper;
use jeffrey_terms::Label;
use jeffrey_terms::by_cohort::ByCohort;

/// Probability that an interval misses the true rate, both ends together.
const ALPHA: f64 = 0.05;

/// Summaries of both cohorts, and the agreement of shadow predictions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SummaryByCohort {
    /// Summary of the canary cohort.
    pub canary: CohortSummary,
    /// Summary of the stable cohort, including the holdout.
    pub stable: CohortSummary,
    /// Legacy answers that the model scored as well and whose labels could be compared.
    pub shadow_count: u64,
    /// Fraction of `shadows` in which both labels are the same; `None` without shadows.
    pub shadows_agree: Option<f64>,
}

/// Summary of one cohort. Every rate is a fraction from 0 to 1, or `None` if it would divide by
/// zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CohortSummary {
    /// Number of requests assigned to the cohort.
    pub requests: u64,
    /// Number of answers by the cohort that could be read.
    pub answers: u64,
    /// Fraction of requests that failed open or had a status of 500 or above.
    pub errors: Option<f64>,
    /// Fraction of requests that took longer than 200 ms.
    pub slow: Option<f64>,
    /// Fraction of answers given by keyword patterns alone.
    pub regex: Option<f64>,
    /// Fraction of answers given by the class prototypes.
    pub prototypes: Option<f64>,
    /// Fraction of answers below the confidence limit.
    pub low_confidence: Option<f64>,
    /// Number of answers below the confidence limit: the most that `jeffrey export` can offer for
    /// labelling.
    pub low_confidence_answers: u64,
    /// Fraction of answers that the tie-break rule changed.
    pub rule_applied: Option<f64>,
    /// Mean confidence of the answers, 0 to 1; `None` without answers.
    pub mean_confidence: Option<f64>,
    /// Latency quantiles of the requests, in milliseconds; `None` without requests.
    pub latency_ms: Option<LatencyQuantiles>,
    /// Number of feedback events from users, good or bad.
    pub feedback_count: u64,
    /// Fraction of the feedback that is bad.
    pub bad_feedback_rate: Option<f64>,
    /// Clopper–Pearson 95 % interval of the rate of bad feedback; `None` without feedback.
    pub bad_feedback_rate_interval: Option<[f64; 2]>,
    /// Fraction of answers with each label, in the order of [`Label::ALL`]; `None` without labels.
    pub labels: Option<[f64; Label::ALL.len()]>,
}

impl SummaryByCohort {
    /// Computes the summaries of both cohorts from their totals.
    pub fn from_totals(totals: &ByCohort<CohortTotals>) -> Self {
        let ByCohort { canary, stable } = totals;
        let (agreed, disagreed) = (stable.stats.shadow_agreed, stable.stats.shadow_disagreed);
        let shadows = agreed + disagreed;
        Self {
            canary: CohortSummary::from_totals(canary),
            stable: CohortSummary::from_totals(stable),
            shadow_count: shadows,
            shadows_agree: Proportion::new(agreed, shadows).rate(),
        }
    }
}

impl CohortSummary {
    fn from_totals(totals: &CohortTotals) -> Self {
        let counts = &totals.stats.counts;
        let rate = |hits: u64, total: u64| Proportion::new(hits, total).rate();
        let feedback_count = counts.feedback_good + counts.feedback_bad;
        let upper_bound =
            |hits| clopper_pearson_upper(Proportion::new(hits, feedback_count), ALPHA / 2.0);
        let labelled: u64 = counts.labels.iter().sum();
        Self {
            requests: counts.requests,
            answers: counts.scored_responses,
            errors: rate(counts.errors_5xx + counts.fallbacks, counts.requests),
            slow: rate(counts.slow, counts.requests),
            regex: rate(counts.regex, counts.scored_responses),
            prototypes: rate(counts.prototypes, counts.scored_responses),
            low_confidence: rate(counts.low_confidence, counts.scored_responses),
            low_confidence_answers: counts.low_confidence,
            rule_applied: rate(counts.rule_applied, counts.scored_responses),
            mean_confidence: totals.mean_confidence,
            latency_ms: totals.latency_ms,
            feedback_count,
            bad_feedback_rate: rate(counts.feedback_bad, feedback_count),
            bad_feedback_rate_interval: (feedback_count > 0).then(|| {
                [1.0 - upper_bound(counts.feedback_good), upper_bound(counts.feedback_bad)]
            }),
            labels: (labelled > 0).then(|| counts.labels.map(|n| n as f64 / labelled as f64)),
        }
    }
}

/// Returns the total variation distance between the label mixes of two cohorts, 0 to 1; `None` if
/// either has no labels.
///
/// The distance is half the sum of the absolute differences: the fraction of answers that would
/// have to change their label.
pub fn total_variation_distance(current: &CohortSummary, previous: &CohortSummary) -> Option<f64> {
    let (now, before) = current.labels.zip(previous.labels)?;
    Some(now.iter().zip(before).map(|(now, before)| (now - before).abs()).sum::<f64>() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::aggregate::minute_stats::CohortStats;
    use crate::rollout::counts::CohortCounts;

    #[test]
    fn a_rate_of_zero_requests_is_none_and_an_interval_holds_its_rate() {
        let empty = SummaryByCohort::from_totals(&ByCohort::default());
        assert_eq!(empty, SummaryByCohort::default());
        let mut labels = [0; 8];
        (labels[0], labels[1]) = (3, 1);
        let counts = CohortCounts {
            requests: 10,
            scored_responses: 4,
            fallbacks: 1,
            errors_5xx: 1,
            feedback_good: 9,
            feedback_bad: 1,
            labels,
            ..CohortCounts::default()
        };
        let stats = ByCohort {
            canary: CohortStats { counts, ..CohortStats::default() },
            stable: CohortStats::default(),
        };
        let totals = stats.map(CohortTotals::from_stats);
        let summary = SummaryByCohort::from_totals(&totals);
        assert_eq!(summary.canary.errors, Some(0.2));
        assert_eq!(summary.canary.bad_feedback_rate, Some(0.1));
        let [low, high] = summary.canary.bad_feedback_rate_interval.unwrap();
        // The Clopper–Pearson interval of 1 in 10 is 0.0025 to 0.4450.
        assert!((low - 0.0025).abs() < 1e-4 && (high - 0.4450).abs() < 1e-4, "{low} {high}");
        let shifted = CohortSummary {
            labels: Some([0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            ..summary.canary.clone()
        };
        assert_eq!(total_variation_distance(&summary.canary, &shifted), Some(0.25));
        assert_eq!(total_variation_distance(&summary.canary, &summary.stable), None);
    }
}
