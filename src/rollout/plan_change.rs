//! The check of a new plan against the current one, in the release's current state.
//!
//! While the canary has traffic, the rules that it is judged by stay as they are.

use super::bucket::ReleaseName;
use super::controller::RolloutController;
use super::plan::{Plan, PlanError};
use jeffrey_terms::Share;

/// Reasons why a plan is rejected; the current plan stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanRejected {
    /// The plan is for another release.
    #[error("the plan is for release `{plan}`, this is `{release}`")]
    OtherRelease {
        /// Release that the plan names.
        plan: String,
        /// Release of the gateway.
        release: String,
    },
    /// The text is not a valid plan.
    #[error("{}", join_errors(.0))]
    Invalid(Vec<PlanError>),
    /// The canary has traffic, and the plan would change the rules that it is judged by.
    #[error(
        "canary traffic flows: stages up to the present one, gates, holdout and stable's limits stay as they are; \
         pause is not enough, abort or roll back first"
    )]
    CanaryHasTraffic,
    /// The plan's holdout is smaller than the gateway's, which holds for every release.
    #[error(
        "the plan's holdout is {plan}, the gateway's HOLDOUT is {gateway}: the plan's must be at least as large"
    )]
    HoldoutTooSmall {
        /// Holdout of the plan.
        plan: Share,
        /// Holdout of the gateway.
        gateway: Share,
    },
}

fn join_errors(errors: &[PlanError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Reads a plan and checks whether it may replace the current one, in the release's current
/// state.
///
/// `current` is the release with its plan, or `None` before the first plan; `holdout` is the
/// gateway's.
///
/// # Errors
/// [`PlanRejected`] when the text is not a valid plan, the plan is for another release, its
/// holdout is smaller than the gateway's, or the canary has traffic and the plan changes what
/// it is judged by.
pub fn validate_plan_change(
    current: Option<(&RolloutController, &Plan)>,
    text: &str,
    release: &ReleaseName,
    holdout: Share,
) -> Result<Plan, PlanRejected> {
    let plan = Plan::read(text).map_err(|error| PlanRejected::Invalid(error.errors))?;
    if let Some(plan_release) = plan.release.as_ref().filter(|name| *name != release) {
        let (plan, release) = (plan_release.as_str().to_owned(), release.as_str().to_owned());
        return Err(PlanRejected::OtherRelease { plan, release });
    }
    if plan.holdout < holdout {
        return Err(PlanRejected::HoldoutTooSmall { plan: plan.holdout, gateway: holdout });
    }
    let has_traffic =
        |(controller, old): &(&RolloutController, &Plan)| controller.state.share(old) > Share::NONE;
    let Some((controller, old)) = current.filter(has_traffic) else {
        return Ok(plan);
    };
    let stages_in_use = controller.state.stage + 1;
    let is_unchanged = old.stages.get(..stages_in_use) == plan.stages.get(..stages_in_use)
        && old.gates == plan.gates
        && old.holdout == plan.holdout
        && old.stable_limits == plan.stable_limits;
    // The last stage is judged differently, so it has to stay the last.
    let is_last_stage = |plan: &Plan| plan.stages.len() == stages_in_use;
    if is_unchanged && is_last_stage(old) == is_last_stage(&plan) {
        Ok(plan)
    } else {
        Err(PlanRejected::CanaryHasTraffic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::command::OperatorCommand;
    use crate::rollout::history::RolloutInput;
    use crate::rollout::plan::DEFAULT_PLAN_TOML;
    use crate::rollout::replay_harness::{
        NOW, ReplayHarness, command_input, first_minute, minute, time_at,
    };
    use jeffrey_terms::Cohort;

    #[test]
    fn a_plan_changes_under_traffic_only_where_nothing_is_judged_by_it() {
        let release: ReleaseName = "e1-small".parse().unwrap();
        let mut run = ReplayHarness::new(DEFAULT_PLAN_TOML);
        let validate = |run: &ReplayHarness, text: &str| {
            validate_plan_change(Some((&run.controller, &run.plan)), text, &release, Share::NONE)
        };
        let later_stage_plan =
            DEFAULT_PLAN_TOML.replacen("min_duration = \"9h\"", "min_duration = \"8h\"", 1);
        let current_stage_plan =
            DEFAULT_PLAN_TOML.replacen("min_duration = \"24h\"", "min_duration = \"23h\"", 1);
        let gate_plan =
            DEFAULT_PLAN_TOML.replacen("max_increase = \"+50%\"", "max_increase = \"+60%\"", 1);
        for text in [&later_stage_plan, &current_stage_plan, &gate_plan] {
            assert!(validate(&run, text).is_ok(), "nothing flows");
        }
        run.feed(&command_input(OperatorCommand::Start, first_minute()), NOW);
        assert!(validate(&run, &later_stage_plan).is_ok());
        assert_eq!(validate(&run, &current_stage_plan), Err(PlanRejected::CanaryHasTraffic));
        assert_eq!(validate(&run, &gate_plan), Err(PlanRejected::CanaryHasTraffic));
        let foreign = DEFAULT_PLAN_TOML.replace("release = \"e1-small\"", "release = \"e2\"");
        assert!(matches!(validate(&run, &foreign), Err(PlanRejected::OtherRelease { .. })));
        let [plan, gateway] = [100, 101].map(|points| Share::from_basis_points(points).unwrap());
        let held_out = |holdout| validate_plan_change(None, DEFAULT_PLAN_TOML, &release, holdout);
        assert!(held_out(plan).is_ok());
        assert_eq!(held_out(gateway), Err(PlanRejected::HoldoutTooSmall { plan, gateway }));
        let faulty = DEFAULT_PLAN_TOML.replace("metric = \"slow\"", "metric = \"speed\"");
        let Err(PlanRejected::Invalid(faults)) = validate(&run, &faulty) else { panic!() };
        assert!(!faults.is_empty());
        // The evidence of the current stage outlives a change of a later one.
        run.feed(&RolloutInput::Minute { minute: minute(first_minute() + 1, 0) }, time_at(2));
        run.plan = validate(&run, &later_stage_plan).unwrap();
        let plan_input = RolloutInput::PlanApplied {
            actor: "test".to_owned(),
            plan: later_stage_plan,
            last_complete_minute: first_minute() + 1,
        };
        run.feed(&plan_input, time_at(3)).unwrap();
        assert_eq!(run.controller.stage_counts(Cohort::Canary).requests, 60);
        run.replay().unwrap();
    }
}
