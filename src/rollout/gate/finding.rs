//! What a gate has found, and the worst of several.

use serde::{Deserialize, Serialize};

use super::GateEffect;
use crate::rollout::counts::Metric;

/// Ordered from best to worst, so that `max` is the overall verdict.
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
    /// The lower-case name used in every answer.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Hold => "hold",
            Self::Fail => "fail",
        }
    }
}

/// The worst verdict; with no gates there is no evidence, so `HoldReason`.
pub fn worst_verdict(verdicts: impl IntoIterator<Item = GateVerdict>) -> GateVerdict {
    verdicts.into_iter().max().unwrap_or(GateVerdict::Hold)
}

/// What a gate says now, and on what grounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateFinding {
    /// The gate's name.
    pub gate: String,
    /// What is counted.
    pub metric: Metric,
    /// What follows.
    pub effect: GateEffect,
    /// The verdict.
    pub verdict: GateVerdict,
    /// Why it is not a plain pass or fail.
    pub note: Option<VerdictReason>,
    /// The rate or ratio seen: since the change that the evidence speaks of, or since the stage began.
    pub value: Option<f64>,
    /// What it is held against.
    pub limit: Option<f64>,
    /// Of the canary, since the stage began.
    pub samples: u64,
    /// Of them, those that hit.
    pub hits: u64,
    /// Logarithm of the evidence, where there is such a thing.
    pub ln_evidence: Option<f64>,
    /// What it has to reach.
    pub ln_threshold: Option<f64>,
    /// Minutes until it does, at the pace of the last change; `None` while it does not move there.
    pub decides_in_minutes: Option<u64>,
    /// The minute in which it began to fail.
    pub crossed: Option<u64>,
    /// The minute of the change that the value speaks of.
    pub since: Option<u64>,
}

/// Why a verdict is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictReason {
    /// The old system does not say: held against the absolute limit instead.
    AbsoluteLimit,
    /// The old system does not say.
    NotAvailable,
    /// No request of the canary's counted for some minutes, or ever.
    NoData,
    /// At most two subjects make the difference.
    OneClient,
    /// Not enough alone, but with the other warnings (e-BH).
    Together,
    /// Worse than stable for certain, but within what is tolerated.
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
