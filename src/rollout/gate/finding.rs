//! The finding of one gate, and the worst verdict of several gates.
//!
//! A finding is a verdict with the numbers that it rests on: the observed value, the limit, the
//! evidence and its threshold. The status, the history and alerts show it as it is.

use serde::{Deserialize, Serialize};

use super::GateEffect;
use crate::rollout::counts::Metric;

/// Verdict of a gate, ordered from best to worst, so that `max` is the overall verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateVerdict {
    /// Enough data, within the limit.
    Pass,
    /// Not enough data to say.
    Hold,
    /// Enough data, outside the limit.
    Fail,
}

impl GateVerdict {
    /// Returns the lower-case name that every response uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Hold => "hold",
            Self::Fail => "fail",
        }
    }
}

/// Returns the worst verdict; without gates there is no evidence, so it returns `Hold`.
pub fn worst_verdict(verdicts: impl IntoIterator<Item = GateVerdict>) -> GateVerdict {
    verdicts.into_iter().max().unwrap_or(GateVerdict::Hold)
}

/// The current verdict of one gate, with the numbers that it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateFinding {
    /// Name of the gate in the plan.
    pub gate: String,
    /// Metric that the gate counts.
    pub metric: Metric,
    /// Effect of the gate on the release.
    pub effect: GateEffect,
    /// Verdict at the end of the minute that was asked for.
    pub verdict: GateVerdict,
    /// Reason for a verdict that is not a plain pass or fail; `None` for a plain one.
    pub reason: Option<VerdictReason>,
    /// Observed value of the metric: a rate (0 to 1), a ratio to stable, or a count. It covers the
    /// minutes since the change that the evidence points to, or else since the stage began; for a
    /// window rule, the window. `None` without data.
    pub value: Option<f64>,
    /// Limit that the value is compared with, in the same unit; `None` for a sample ratio.
    pub limit: Option<f64>,
    /// Number of canary samples since the stage began, in the unit of the metric.
    pub samples: u64,
    /// Number of these samples that hit.
    pub hits: u64,
    /// Natural logarithm of the evidence; `None` for rules that accumulate none.
    pub ln_evidence: Option<f64>,
    /// Natural logarithm that the evidence has to reach; `None` if there is no evidence.
    pub ln_threshold: Option<f64>,
    /// Estimated minutes until the evidence reaches the threshold, at its growth since the last
    /// change; `None` if it does not grow or has reached the threshold.
    pub decides_in_minutes: Option<u64>,
    /// Minute in which the gate began to fail, in minutes since 1970; `None` if its own evidence
    /// does not fail.
    pub failed_at_minute: Option<u64>,
    /// Minute of the change that `value` covers, in minutes since 1970; `None` without such a
    /// change.
    pub verdict_since_minute: Option<u64>,
}

/// Reasons for a verdict that is not a plain pass or fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictReason {
    /// The legacy system does not report the metric: the canary is compared with the absolute limit
    /// instead.
    AbsoluteLimit,
    /// The legacy system does not report the metric, and the gate has no absolute limit.
    NoStableData,
    /// The canary has no data for this gate in the last minutes (`SILENT_AFTER_MINUTES`), or never
    /// had any.
    NoData,
    /// At most two subjects account for the difference.
    OneClient,
    /// The evidence is below the gate's own threshold, but together with the other warnings it is
    /// enough (e-BH).
    CombinedEvidence,
    /// The canary is proven to be worse than stable, but the estimate is within the tolerance or
    /// has too few hits.
    Tolerated,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_verdict_is_the_overall_one_and_none_is_no_pass() {
        use GateVerdict::{Fail, Hold, Pass};
        assert_eq!(worst_verdict([]), Hold);
        assert_eq!(worst_verdict([Pass, Pass]), Pass);
        assert_eq!(worst_verdict([Pass, Hold]), Hold);
        assert_eq!(worst_verdict([Hold, Fail, Pass]), Fail);
    }
}
