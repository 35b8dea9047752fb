//! One rule of a release: a metric, what it may be, and what follows when it is not.
//!
//! A [`Gate`] is read from the plan; a [`evaluator::GateEvaluator`] folds minutes into its evidence; a
//! [`finding::GateFinding`] says what that comes to. Nothing here acts: the state machine does.

pub mod finding;

pub mod evaluator;

use serde::{Deserialize, Serialize};

use super::counts::Metric;

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Its name in plans, findings and alerts.
    pub name: String,
    /// What is counted.
    pub metric: Metric,
    /// What it may be.
    pub rule: GateRule,
    /// What follows.
    pub effect: GateEffect,
    /// Whether requests, subjects or both are evidence.
    pub level: EvidenceUnit,
    /// For [`GateRule::Compared`]: the canary's rate may be at most so much while the old system does not
    /// give the metric.
    pub or_at_most: Option<f64>,
    /// The chance, each day (a stage, for [`GateRule::NotWorse`]), that it fails (passes) although it should
    /// not.
    pub budget: f64,
}

/// What a metric may be. Rates are parts of 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GateRule {
    /// The canary's rate may be at most so much: fails when more is proven.
    AtMost(f64),
    /// At least so much: fails when less is proven.
    AtLeast(f64),
    /// The canary's odds may be so many times stable's: fails when higher odds are proven and the
    /// estimate is at least that; proven and below, it holds.
    Compared(f64),
    /// For a rise: passes when the estimate since the stage began is within both, on enough of them;
    /// holds otherwise. A ratio has to be above 1 by more than chance as well. No error is bounded.
    Estimated {
        /// The highest rate.
        at_most: Option<f64>,
        /// The highest odds ratio against stable.
        compared: Option<f64>,
        /// How many each cohort needs.
        samples: u64,
    },
    /// Not even once.
    Never,
    /// For a rise: passes when odds of less than so many times stable's are proven for this stage, or a
    /// rate below the ceiling is.
    NotWorse {
        /// The odds ratio that would be worse.
        odds: f64,
        /// The rate below which no comparison is needed.
        ceiling: Option<f64>,
    },
    /// New subjects are the canary's with the chance of the share.
    SampleRatio,
    /// The literal rule: fails when the rate over the last so many minutes is outside, whatever the
    /// traffic. It is wrong often; `statistics.md` says how often.
    Window {
        /// How many closed minutes.
        minutes: u32,
        /// The outside.
        limit: WindowLimit,
    },
}

/// The outside of a literal rule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WindowLimit {
    /// Above this rate.
    AtMost(f64),
    /// Below this rate.
    AtLeast(f64),
    /// Above so many times stable's rate.
    Compared(f64),
}

/// What follows from a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateEffect {
    /// Nothing rises unless it passes.
    Advance,
    /// Its failing rolls back.
    RollBack,
    /// Its failing is told.
    Warn,
}

/// What is evidence for a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceUnit {
    /// Newly affected subjects; requests too, at [`REQUEST_STRICTNESS_FACTOR`] times the strictness and unless
    /// they are one client's.
    Both,
    /// Requests.
    Requests,
    /// Newly affected subjects.
    Subjects,
}

/// Requests of one heavy user are not independent: alone, they have to prove this much more.
pub const REQUEST_STRICTNESS_FACTOR: f64 = 10.0;

impl Gate {
    /// What subjects have to reach, as a logarithm; `None` where they are no evidence.
    pub fn subject_ln_threshold(&self) -> Option<f64> {
        // Both parts together spend the budget.
        let budget_fraction = match self.level {
            EvidenceUnit::Both => REQUEST_STRICTNESS_FACTOR / (REQUEST_STRICTNESS_FACTOR + 1.0),
            EvidenceUnit::Requests => return None,
            EvidenceUnit::Subjects => 1.0,
        };
        Some(-jeffrey_anytime::ln(self.budget * budget_fraction))
    }

    /// What requests have to reach, as a logarithm; `None` where they are no evidence.
    pub fn request_ln_threshold(&self) -> Option<f64> {
        let budget_fraction = match self.level {
            EvidenceUnit::Both => 1.0 / (REQUEST_STRICTNESS_FACTOR + 1.0),
            EvidenceUnit::Requests => 1.0,
            EvidenceUnit::Subjects => return None,
        };
        Some(-jeffrey_anytime::ln(self.budget * budget_fraction))
    }
}
