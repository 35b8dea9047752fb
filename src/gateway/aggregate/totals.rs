//! Totals of a cohort over a range of minutes, with quantiles.

use super::minute_stats::CohortStats;
use serde::{Deserialize, Serialize};

/// Totals of one cohort over a range of minutes.
///
/// The canary's include the requests that failed open. Stable's are those of all other requests
/// that are evidence, the holdout's included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CohortTotals {
    /// Counts and sums from which the other fields are computed.
    pub stats: CohortStats,
    /// Latency quantiles of the requests, in milliseconds; `None` without requests.
    pub latency_ms: Option<LatencyQuantiles>,
    /// Mean confidence of the answers, 0 to 1; `None` without answers.
    pub mean_confidence: Option<f64>,
}

/// Latency quantiles in milliseconds, within 5 % of the true values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyQuantiles {
    /// Latency that half of the requests do not exceed.
    pub p50: f64,
    /// Latency that 95 % of the requests do not exceed.
    pub p95: f64,
    /// Latency that 99 % of the requests do not exceed.
    pub p99: f64,
}

impl CohortTotals {
    /// Computes the totals of one cohort from its stats.
    pub fn from_stats(stats: CohortStats) -> Self {
        let quantile = |rank| stats.latency.quantile(rank);
        let latency_ms = quantile(0.5)
            .zip(quantile(0.95))
            .zip(quantile(0.99))
            .map(|((p50, p95), p99)| LatencyQuantiles { p50, p95, p99 });
        let answers = stats.counts.scored_responses;
        let mean = || stats.confidence_sum_millionths as f64 / 1e6 / answers as f64;
        let mean_confidence = (answers > 0).then(mean);
        Self { stats, latency_ms, mean_confidence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::aggregate::minute_stats::tests::contribution_of;
    use jeffrey_terms::by_cohort::ByCohort;
    use serde_json::json;

    #[test]
    fn totals_have_quantiles_and_a_mean_and_none_without_requests() {
        let mut canary = contribution_of(|call| call["latency_ms"] = json!(1_000)).stats;
        for _ in 0..98 {
            canary.add(&contribution_of(|call| call["latency_ms"] = json!(100)).stats);
        }
        let ByCohort { canary, stable } =
            ByCohort { canary, stable: CohortStats::default() }.map(CohortTotals::from_stats);
        let latency = canary.latency_ms.unwrap();
        let is_near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.05;
        assert!(
            is_near(latency.p50, 100.0)
                && is_near(latency.p95, 100.0)
                && is_near(latency.p99, 1_000.0)
        );
        assert!((canary.mean_confidence.unwrap() - 0.9).abs() < 1e-9);
        assert_eq!((stable.latency_ms, stable.mean_confidence), (None, None));
    }
}
