//! The plan of a release: stages, gates, error budgets and freezes.
//!
//! [`Plan::read`] reads a plan from TOML and reports every fault with its line. A [`Plan`] has
//! therefore passed all checks, and no other module checks it again.

pub mod explain;

mod fields;

pub mod freeze;

mod read;

mod check;

use serde::{Deserialize, Serialize};

use self::freeze::Freeze;
use crate::rollout::bucket::ReleaseName;
use crate::rollout::gate::Gate;
use jeffrey_terms::Share;

/// Plan of a release: how its share increases, and what stops it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Release that the plan is for; `None` for any release.
    pub release: Option<ReleaseName>,
    /// Stages, each with a larger share than the one before; at least one.
    pub stages: Vec<Stage>,
    /// Gates of the plan; their names are unique.
    pub gates: Vec<Gate>,
    /// Share of the subjects that stay stable in every stage.
    #[serde(rename = "holdout_basis_points")]
    pub holdout: Share,
    /// Limits of the legacy system; above them no share increases.
    pub stable_limits: StableCohortLimits,
    /// Expected requests a minute, of both cohorts, at a quiet time; 0 if the plan does not say.
    pub traffic_per_minute: f64,
    /// Minutes after which an undecided stage asks an operator; 0 for never.
    pub deadline_minutes: u64,
    /// Times of the week at which no share increases.
    pub freezes: Vec<Freeze>,
    /// Names of the webhook targets to alert; `log` is the worker's log, `all` is every target.
    pub notify: Vec<String>,
}

/// One stage of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The canary's share in the stage.
    #[serde(rename = "share_basis_points")]
    pub share: Share,
    /// Shortest time in the stage, in minutes.
    pub min_duration_minutes: u64,
    /// Fewest canary requests before the release may advance.
    pub min_samples: u64,
    /// Whether an operator has to approve before the release leaves the stage.
    pub approval: bool,
}

/// Fractions of stable's requests (0 to 1) above which no share increases.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StableCohortLimits {
    /// Highest fraction of requests with an error.
    pub max_error_rate: f64,
    /// Highest fraction of slow requests.
    pub max_slow_rate: f64,
}

/// One fault of a plan, with its line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct PlanError {
    /// Line of the plan's text, from 1.
    pub line: usize,
    /// Description of the fault, in lower case.
    pub message: String,
}

/// All faults of a plan, sorted by line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} faults, the first in line {}", .errors.len(), .errors.first().map_or(0, |fault| fault.line))]
pub struct PlanErrors {
    /// The faults; at least one.
    pub errors: Vec<PlanError>,
}

/// The shipped plan, with the stages and rules of the v2.4.2 reference service.
pub const DEFAULT_PLAN_TOML: &str = include_str!("../../../rollout.toml");

impl Plan {
    /// Reads a plan from TOML and checks it.
    ///
    /// # Errors
    /// [`PlanErrors`] with all faults when the text is not a valid plan.
    pub fn read(text: &str) -> Result<Self, PlanErrors> {
        read::read_plan(text)
    }

    /// Returns the stage with this index, or the last one for a larger index; `None` if there is no
    /// stage.
    pub fn stage(&self, index: usize) -> Option<&Stage> {
        self.stages.get(index).or(self.stages.last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::counts::Metric;
    use crate::rollout::gate::{GateEffect, GateRule};

    #[test]
    fn the_shipped_plan_is_the_references() {
        let plan = Plan::read(DEFAULT_PLAN_TOML).unwrap();
        let shares: Vec<u16> = plan.stages.iter().map(|stage| stage.share.basis_points()).collect();
        assert_eq!(shares, [1_000, 2_000, 5_000, 7_500, 10_000]);
        let assert_has = |effect, metric, rule| {
            let is_present = plan
                .gates
                .iter()
                .any(|gate| (gate.effect, gate.metric, gate.rule) == (effect, metric, rule));
            assert!(is_present, "{effect:?} {metric:?} {rule:?}");
        };
        assert_has(GateEffect::RollBack, Metric::Regex, GateRule::Max(0.02));
        assert_has(GateEffect::RollBack, Metric::DimensionMismatches, GateRule::Never);
        assert_has(GateEffect::RollBack, Metric::Errors, GateRule::MaxIncrease(1.5));
        assert_has(GateEffect::RollBack, Metric::RuleApplied, GateRule::Max(0.1));
        assert_has(GateEffect::RollBack, Metric::Slow, GateRule::Max(0.05));
        assert_has(GateEffect::Warn, Metric::LowConfidence, GateRule::Max(0.25));
        assert_has(GateEffect::Warn, Metric::RuleApplied, GateRule::Max(0.05));
        assert_has(GateEffect::Warn, Metric::RuleApplied, GateRule::Min(0.005));
        assert_has(
            GateEffect::BlockAdvance,
            Metric::Errors,
            GateRule::NotWorse { odds: 1.5, or_below: Some(0.005) },
        );
    }

    #[test]
    fn critical_gates_spend_one_budget_together() {
        let plan = Plan::read(DEFAULT_PLAN_TOML).unwrap();
        let spent: f64 = plan
            .gates
            .iter()
            .filter(|gate| gate.effect == GateEffect::RollBack && gate.rule != GateRule::Never)
            .map(|gate| gate.false_verdict_budget)
            .sum();
        assert!((spent - 0.01).abs() < 1e-12, "{spent}");
    }

    /// Plans with one fault each: the text after a valid beginning, the line, a part of the
    /// message.
    #[test]
    fn every_fault_is_reported_with_its_line() {
        let rows = [
            (
                "[[gate]]\nmetric = \"errers\"\nmax = \"2%\"\neffect = \"warn\"",
                5,
                "unknown metric `errers`",
            ),
            (
                "[[gate]]\nmetric = \"regex\"\nmax = \"200%\"\neffect = \"warn\"",
                6,
                "`max` is not a rate",
            ),
            ("[[gate]]\nmetric = \"regex\"\nmax = 2\neffect = \"warn\"", 6, "`max` is not a rate"),
            (
                "[[gate]]\nmetric = \"regex\"\nmax = \"100%\"\neffect = \"warn\"",
                4,
                "no rate is above 100%",
            ),
            ("[[gate]]\nmetric = \"regex\"\nmin = \"0%\"\neffect = \"warn\"", 4, "can never fire"),
            (
                "[[gate]]\nmetric = \"regex\"\nmax_increase = \"+50%\"\neffect = \"warn\"",
                4,
                "no `regex` to compare",
            ),
            ("[[gate]]\nmetric = \"regex\"\neffect = \"warn\"", 4, "without a rule"),
            (
                "[[gate]]\nmetric = \"regex\"\nmax = \"2%\"\nnever = true\neffect = \"warn\"",
                4,
                "more than one rule",
            ),
            (
                "[[gate]]\nmetric = \"feedback_bad\"\nmax_increase = \"+50%\"\nevidence_unit = \"both\"\neffect = \"warn\"",
                4,
                "subjects are not counted",
            ),
            (
                "[[gate]]\nmetric = \"slow\"\nnot_worse = \"+0%\"\neffect = \"block_advance\"",
                4,
                "cannot be told",
            ),
            (
                "[[gate]]\nmetric = \"slow\"\nmax = \"5%\"\neffect = \"warn\"\nweight = 0",
                4,
                "its weight is 0",
            ),
            (
                "[[gate]]\nmetric = \"slow\"\nmax = \"5%\"\neffect = \"stop\"",
                7,
                "`effect` is not one of",
            ),
            (
                "[[gate]]\nmetric = \"slow\"\nmax = \"5%\"\neffect = \"warn\"\nlimit = 3",
                8,
                "unknown field `limit`",
            ),
            (
                "[[stage]]\nshare = \"20%\"\nat_least = \"24h\"",
                6,
                "unknown field `at_least` in stage; it is `min_duration` now",
            ),
            (
                "[[gate]]\nmetric = \"slow\"\nmax = \"5%\"\neffect = \"warn\"\nat_least = \"1%\"",
                8,
                "unknown field `at_least` in gate; it is `min` now",
            ),
            ("[false_verdict_budget]\nadvance = \"5%\"", 5, "it is `block_advance` now"),
            ("[[stage]]\nshare = \"10%\"", 4, "does not rise above"),
            ("[[stage]]\nshare = \"5%\"", 4, "does not rise above"),
            ("[[stage]]\nshare = \"101%\"", 5, "`share` is not a share"),
            (
                "[[stage]]\nshare = \"20%\"\nmin_duration = \"1h\"\nmin_samples = 121",
                4,
                "more than the 120 expected",
            ),
            (
                "[[freeze]]\ndays = \"fri\"\n[[freeze]]\nfrom = \"16:00\"",
                6,
                "overlaps an earlier one",
            ),
            ("[[freeze]]\ndays = \"someday\"", 5, "`days` is not days"),
            ("[[freeze]]\nzone = \"Europe/Pariss\"", 5, "`zone` is not a zone"),
            ("[false_verdict_budget]\nroll_back = \"0%\"", 4, "budget `roll_back`"),
            ("nonsense", 4, ""),
        ];
        for (snippet, line, message) in rows {
            let text = format!("traffic_per_minute = 10\n[[stage]]\nshare = \"10%\"\n{snippet}\n");
            let error = Plan::read(&text).unwrap_err();
            let first_error = &error.errors[0];
            assert!(first_error.message.contains(message), "{snippet:?}: {first_error}");
            assert_eq!(first_error.line, line, "{snippet:?}: {first_error}");
        }
    }

    #[test]
    fn a_plan_may_be_for_one_release() {
        let read = |line: &str| Plan::read(&format!("{line}\n[[stage]]\nshare = \"10%\"\n"));
        let release = |line| read(line).unwrap().release.map(|release| release.as_str().to_owned());
        assert_eq!(release("release = \"e1-small\"").as_deref(), Some("e1-small"));
        assert_eq!(release(""), None);
        let error = read("\nrelease = \"e 1\"").unwrap_err();
        assert_eq!(error.errors[0].line, 2);
        assert!(error.errors[0].message.contains("`release` is not a name"), "{error:?}");
    }

    #[test]
    fn all_faults_are_reported_not_the_first() {
        let text = "[[gate]]\nmetric = \"x\"\nmax = \"300%\"\neffect = \"y\"\n\nextra = 1\n";
        let error = Plan::read(text).unwrap_err();
        let lines: Vec<usize> = error.errors.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 6], "{:?}", error.errors);
        assert_eq!(error.to_string(), "5 faults, the first in line 1");
    }

    #[test]
    fn a_plan_is_stored_and_read_back_the_same() {
        let plan = Plan::read(DEFAULT_PLAN_TOML).unwrap();
        let json = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
    }
}
