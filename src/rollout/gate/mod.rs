//! A gate: one rule of a plan, with a metric, a limit and an effect.
//!
//! A [`Gate`] is read from the plan. A [`evaluator::GateEvaluator`] folds minutes into its
//! evidence. A [`finding::GateFinding`] is the verdict that follows. Nothing here acts on a
//! verdict: the state machine in `progress.rs` does.

pub mod finding;

pub mod evaluator;

pub mod change_evidence;

mod change_segment;

pub(in crate::rollout) mod e_bh;

pub mod summary;

use serde::{Deserialize, Serialize};

use super::counts::Metric;

/// One rule of a plan: a metric, a limit, and the effect of the verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Name in plans, findings and alerts; unique within a plan.
    pub name: String,
    /// Metric that the gate counts.
    pub metric: Metric,
    /// Condition that the metric has to meet.
    pub rule: GateRule,
    /// Effect of the verdict on the release.
    pub effect: GateEffect,
    /// Unit of evidence: requests, newly affected subjects, or both.
    pub evidence_unit: EvidenceUnit,
    /// For [`GateRule::MaxIncrease`]: highest rate of the canary (0 to 1) while the legacy system does
    /// not report the metric. Without it, the gate holds then.
    pub max_without_stable: Option<f64>,
    /// Probability of a wrong verdict: each day, that the gate fails although it should not; for
    /// [`GateRule::NotWorse`], each stage, that it passes although it should not.
    pub false_verdict_budget: f64,
}

/// Condition on a metric. Rates are fractions from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GateRule {
    /// Fails when the canary's rate is proven to be above this one.
    Max(f64),
    /// Fails when the canary's rate is proven to be below this one.
    Min(f64),
    /// Fails when the canary's odds are proven to be higher than stable's and the estimated odds
    /// ratio is at least this one. Holds when they are proven to be higher and the estimate is
    /// below it.
    MaxIncrease(f64),
    /// For advancing: passes when the estimates since the stage began are within both limits, on
    /// enough samples; holds otherwise. A ratio above its limit counts only if it is above 1 by
    /// more than chance. No error probability is bounded.
    Estimated {
        /// Highest rate of the canary (0 to 1); `None` for no limit.
        max: Option<f64>,
        /// Highest odds ratio against stable; `None` for no comparison.
        max_increase: Option<f64>,
        /// Fewest samples of the canary and, with `max_increase`, of stable.
        samples: u64,
    },
    /// Fails at the canary's first hit.
    Never,
    /// For advancing: passes when it is proven for this stage that the canary's odds are less than
    /// `odds` times stable's, or that its rate is below `or_below`; holds otherwise.
    NotWorse {
        /// Odds ratio from which the canary counts as worse; above 1.
        odds: f64,
        /// Rate (0 to 1) below which no comparison is needed; `None` if only the comparison decides.
        or_below: Option<f64>,
    },
    /// Fails when the canary's fraction of the new subjects is proven to differ from its share.
    SampleRatio,
    /// Literal rule: fails when the value over the last `minutes` is outside the limit, whatever
    /// the traffic. It is often wrong; `jeffrey plan explain` prints the fraction of healthy days
    /// on which it fails.
    Window {
        /// Length of the window, in closed minutes.
        minutes: u32,
        /// Limit for the value over the window.
        limit: WindowLimit,
    },
}

/// Limit of a literal window rule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WindowLimit {
    /// Fails when the canary's rate (0 to 1) is above this one.
    Max(f64),
    /// Fails when the canary's rate (0 to 1) is below this one.
    Min(f64),
    /// Fails when the canary's rate is above this many times stable's.
    MaxIncrease(f64),
}

/// Effect of a gate on the release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateEffect {
    /// The release advances only while the gate passes.
    BlockAdvance,
    /// The release rolls back when the gate fails.
    RollBack,
    /// A failure is shown as a warning and changes nothing.
    Warn,
}

/// Unit of evidence for a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceUnit {
    /// Newly affected subjects. Requests count as well, with a threshold that is
    /// [`REQUEST_EVIDENCE_STRICTNESS_FACTOR`] times as strict, and unless they come from one client.
    Both,
    /// All requests of both cohorts.
    Requests,
    /// Newly affected subjects: those that the metric hits for the first time since an hour began.
    Subjects,
}

/// Factor by which requests alone have to prove more than subjects: requests of one heavy user are
/// not independent.
pub const REQUEST_EVIDENCE_STRICTNESS_FACTOR: f64 = 10.0;

impl Gate {
    /// Returns the natural logarithm that the subjects' evidence has to reach; `None` if subjects
    /// are no evidence.
    pub fn ln_threshold_by_subject(&self) -> Option<f64> {
        // Subjects and requests together spend the budget.
        let budget_fraction = match self.evidence_unit {
            EvidenceUnit::Both => {
                REQUEST_EVIDENCE_STRICTNESS_FACTOR / (REQUEST_EVIDENCE_STRICTNESS_FACTOR + 1.0)
            }
            EvidenceUnit::Requests => return None,
            EvidenceUnit::Subjects => 1.0,
        };
        Some(-jeffrey_anytime::ln(self.false_verdict_budget * budget_fraction))
    }

    /// Returns the natural logarithm that the requests' evidence has to reach; `None` if requests
    /// are no evidence.
    pub fn ln_threshold_by_request(&self) -> Option<f64> {
        let budget_fraction = match self.evidence_unit {
            EvidenceUnit::Both => 1.0 / (REQUEST_EVIDENCE_STRICTNESS_FACTOR + 1.0),
            EvidenceUnit::Requests => 1.0,
            EvidenceUnit::Subjects => return None,
        };
        Some(-jeffrey_anytime::ln(self.false_verdict_budget * budget_fraction))
    }
}
