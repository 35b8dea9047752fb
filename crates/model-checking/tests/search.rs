//! Searches of small models: the shipped functions keep every promise, each known fault is found,
//! and so is each wrong function.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use jeffrey_edge::rollout::clock_reading::ClockReading;
use jeffrey_edge::rollout::effect::RolloutAction;
use jeffrey_edge::rollout::gate::finding::GateVerdict;
use jeffrey_edge::rollout::phase::Phase;
use jeffrey_edge::rollout::plan::Plan;
use jeffrey_edge::rollout::progress::{PlanProgress, StepInput};
use jeffrey_edge::rollout::release_state::ReleaseState;
use jeffrey_edge::rollout::share_cache::{
    CachedShare, EffectiveShare, Refresh, effective_share, pick_newer,
};
use jeffrey_model_checking::action::ModelAction;
use jeffrey_model_checking::bounds::{Bounds, Exclusions};
use jeffrey_model_checking::functions::CoreFunctions;
use jeffrey_model_checking::release_model::ReleaseModel;
use jeffrey_model_checking::search::{SearchResult, search};
use jeffrey_model_checking::state::CommandKind;
use jeffrey_terms::{Share, UnixMs};
use stateright::{Expectation, Model, Property};

const ROLLBACK: &str = "after a stored rollback no isolate serves the canary later than its bound";
const LATCH: &str = "a rollback is latched until an operator resumes";
const VERSION: &str = "the version never goes back";
const BOUND: &str = "a share in use was current within the bound";
const ORDER: &str = "an older snapshot never replaces a newer one before its expiry";

const ONE: Bounds = Bounds { isolates: 1, faults: 1, clock_steps: 1, commands: 0, version_max: 2 };

fn run(bounds: Bounds, exclusions: Exclusions, functions: CoreFunctions) -> SearchResult {
    search((bounds, exclusions, functions), 1, |_, _| {})
}

/// Returns the properties that a model breaks, with the steps to the first.
fn broken(bounds: Bounds, exclusions: Exclusions, functions: CoreFunctions) -> Vec<&'static str> {
    let result = run(bounds, exclusions, functions);
    for found in &result.counterexamples {
        println!("{}: {:#?}", found.property, found.steps);
    }
    result.counterexamples.iter().map(|found| found.property).collect()
}

/// Returns the promises that do not hold after these actions; each action is possible.
fn broken_by_path(
    bounds: Bounds,
    exclusions: Exclusions,
    actions: &[ModelAction],
) -> Vec<&'static str> {
    let model = ReleaseModel::new(bounds, exclusions, CoreFunctions::SHIPPED);
    let mut state = model.init_states()[0];
    for action in actions {
        let mut possible = Vec::new();
        model.actions(&state, &mut possible);
        assert!(possible.contains(action), "{action:?} is not among {possible:?}");
        state = model.next_state(&state, *action).unwrap();
    }
    let is_promise = |property: &Property<_>| property.expectation == Expectation::Always;
    let properties = model.properties().into_iter().filter(is_promise);
    properties
        .filter(|property| !(property.condition)(&model, &state))
        .map(|property| property.name)
        .collect()
}

#[test]
fn two_isolates_keep_every_promise_with_any_one_fault() {
    let result = search((Bounds::SMALL, Exclusions::ALL, CoreFunctions::SHIPPED), 2, |_, _| {});
    assert_eq!(result.counterexamples, []);
    assert!(result.unique_states > 50_000, "{} states", result.unique_states);
    // These need a command or a third version.
    let missing_without_commands = [
        "a reply to a command is late",
        "a resume opens it again",
        "the release is promoted",
        "the release is paused",
        "the release is killed",
        "a doubled report outlives a rollback and a resume",
        "a resume is on its way while a rollback comes",
    ];
    for event in &result.missed_events {
        assert!(missing_without_commands.contains(event), "missed: {event}");
    }
}

#[test]
fn one_isolate_with_a_command_meets_every_other_event() {
    let bounds = Bounds { isolates: 1, faults: 0, clock_steps: 0, commands: 1, version_max: 3 };
    let result = run(bounds, Exclusions::ALL, CoreFunctions::SHIPPED);
    assert_eq!(result.counterexamples, []);
    let met: Vec<&str> = result.met_events.iter().map(|(event, _)| *event).collect();
    for event in [
        "a resume opens it again",
        "the release is promoted",
        "the release is paused",
        "the release is killed",
        "a resume is on its way while a rollback comes",
    ] {
        assert!(met.contains(&event), "missed: {event}");
    }
}

/// Lets an isolate cache the open release, and another 13 steps pass after a rollback.
fn idle_through_a_rollback() -> Vec<ModelAction> {
    let cache_and_idle = [
        ModelAction::Refresh(0),
        ModelAction::Deliver(0, 1),
        ModelAction::Reply(0, 1),
        ModelAction::Idle(0),
    ];
    let roll_back = [ModelAction::Alarm(GateVerdict::Fail), ModelAction::Commit];
    [&cache_and_idle[..], &roll_back, &[ModelAction::Step; 13]].concat()
}

#[test]
fn a_clock_that_is_set_back_while_no_request_comes_is_found() {
    let exclusions = Exclusions { unseen_set_back: false, ..Exclusions::ALL };
    let actions = [idle_through_a_rollback(), vec![ModelAction::StepClock(0, false)]].concat();
    let bounds = Bounds { faults: 2, ..ONE };
    assert_eq!(broken_by_path(bounds, exclusions, &actions), [ROLLBACK, BOUND]);
    assert_eq!(broken_by_path(bounds, Exclusions::ALL, &actions), [""; 0]);
}

#[test]
fn a_clock_that_is_set_back_while_requests_come_breaks_nothing() {
    let bounds = Bounds { faults: 2, ..ONE };
    let result = run(bounds, Exclusions::ALL, CoreFunctions::SHIPPED);
    assert_eq!(result.counterexamples, []);
}

#[test]
fn a_resume_without_its_version_is_found() {
    let bounds = Bounds { faults: 0, commands: 1, version_max: 3, ..ONE };
    let exclusions = Exclusions { resume_without_version: false, ..Exclusions::ALL };
    assert_eq!(broken(bounds, exclusions, CoreFunctions::SHIPPED), [LATCH]);
    // So is a version that no one checks.
    let functions = CoreFunctions { check_version: |_, _| Ok(()), ..CoreFunctions::SHIPPED };
    assert_eq!(broken(bounds, Exclusions::ALL, functions), [LATCH]);
}

#[test]
fn a_late_reply_to_a_command_is_as_old_as_the_command() {
    let actions = [
        [
            ModelAction::Idle(0),
            ModelAction::Command(0, CommandKind::Pause),
            ModelAction::Delay(0, 1),
        ]
        .to_vec(),
        [ModelAction::Deliver(0, 1), ModelAction::Alarm(GateVerdict::Fail), ModelAction::Commit]
            .to_vec(),
        [ModelAction::Step; 6].to_vec(),
        [ModelAction::Reply(0, 1)].to_vec(),
    ];
    let bounds = Bounds { faults: 2, commands: 1, ..ONE };
    assert_eq!(broken_by_path(bounds, Exclusions::ALL, &actions.concat()), [""; 0]);
}

#[test]
fn a_snapshot_that_never_expires_is_found() {
    fn without_expiry(
        cached: Option<CachedShare>,
        failed_at: Option<ClockReading>,
        now: ClockReading,
    ) -> EffectiveShare {
        let effective = effective_share(cached, failed_at, now);
        match cached {
            Some(CachedShare { share, holdout, disabled, .. }) => {
                EffectiveShare { share, holdout, disabled, ..effective }
            }
            None => effective,
        }
    }
    let functions = CoreFunctions {
        effective_share: without_expiry,
        drop_expired: |cached, _| cached,
        ..CoreFunctions::SHIPPED
    };
    assert_eq!(broken(ONE, Exclusions::ALL, functions), [ROLLBACK, BOUND]);
}

#[test]
fn a_snapshot_that_is_not_fetched_again_in_time_is_found() {
    fn without_blocking(
        cached: Option<CachedShare>,
        failed_at: Option<ClockReading>,
        now: ClockReading,
    ) -> EffectiveShare {
        let effective = effective_share(cached, failed_at, now);
        let refresh = match (effective.refresh, effective.disabled) {
            (Refresh::Blocking, false) => Refresh::Background,
            (refresh, _) => refresh,
        };
        EffectiveShare { refresh, ..effective }
    }
    let functions = CoreFunctions { effective_share: without_blocking, ..CoreFunctions::SHIPPED };
    assert_eq!(broken(ONE, Exclusions::ALL, functions), [ROLLBACK, BOUND]);
}

#[test]
fn an_older_snapshot_that_replaces_a_newer_one_is_found() {
    let functions = CoreFunctions { pick_newer: |_, received| received, ..CoreFunctions::SHIPPED };
    assert_eq!(broken(ONE, Exclusions::ALL, functions), [ORDER]);
}

/// Until a reply was as old as its question, a step of the clock let an older reply win.
#[test]
fn a_snapshot_that_looks_expired_and_gives_way_to_an_older_one_is_found() {
    fn by_the_clock(cached: Option<CachedShare>, received: CachedShare) -> CachedShare {
        let is_recent = |last: &CachedShare| {
            let since = received.asked_at.ms_since(last.asked_at);
            since.is_some_and(|since| since < 30_000) || last.asked_at >= received.asked_at
        };
        pick_newer(cached.filter(is_recent), received)
    }
    let functions = CoreFunctions { pick_newer: by_the_clock, ..CoreFunctions::SHIPPED };
    let bounds = Bounds { faults: 2, ..ONE };
    assert_eq!(broken(bounds, Exclusions::ALL, functions), [ORDER]);
}

#[test]
fn a_rollback_that_is_not_latched_is_found() {
    fn unlatched(
        progress: &PlanProgress,
        plan: &Plan,
        input: &StepInput<'_>,
        now: UnixMs,
    ) -> (PlanProgress, Vec<RolloutAction>) {
        let is_pass = input.gates.first_failure().is_none() && input.hard_failure.is_none();
        if matches!(progress.phase, Phase::RolledBack { .. }) && is_pass {
            let opened = PlanProgress { phase: Phase::Ramping, ..progress.clone() };
            let share = opened.share(plan);
            return (opened, vec![RolloutAction::SetShare(share)]);
        }
        progress.apply_input(plan, input, now)
    }
    let functions = CoreFunctions { apply_input: unlatched, ..CoreFunctions::SHIPPED };
    let bounds = Bounds { version_max: 3, ..ONE };
    assert_eq!(broken(bounds, Exclusions::ALL, functions), [LATCH]);
}

#[test]
fn a_version_that_does_not_grow_is_found() {
    fn restarted_version(state: &ReleaseState, share: Share, now: UnixMs) -> ReleaseState {
        let next = state.apply_planned_share(share, now);
        let is_decrease = share < state.share;
        ReleaseState { version: if is_decrease { 0 } else { next.version }, ..next }
    }
    let functions =
        CoreFunctions { apply_planned_share: restarted_version, ..CoreFunctions::SHIPPED };
    assert!(broken(ONE, Exclusions::ALL, functions).contains(&VERSION));
}

#[test]
fn a_reply_that_leaves_before_its_write_is_durable_is_found() {
    let functions = CoreFunctions { replies_wait_for_commit: false, ..CoreFunctions::SHIPPED };
    assert!(broken(ONE, Exclusions::ALL, functions).contains(&VERSION));
}
