//! Checks the invariants of the state machine in every state, with every input.

use super::*;
use crate::rollout::counts::Metric;
use crate::rollout::gate::GateEffect;
use crate::rollout::gate::finding::GateFinding;
use crate::rollout::plan::DEFAULT_PLAN_TOML;

const VERDICTS: [GateVerdict; 3] = [GateVerdict::Pass, GateVerdict::Hold, GateVerdict::Fail];
/// Monday, 2026-11-23, 12:00 UTC: the test plan's freeze is not active.
const NOW: UnixMs = UnixMs(1_795_435_200_000);

fn finding(effect: GateEffect, verdict: GateVerdict) -> GateFinding {
    GateFinding {
        gate: format!("{effect:?}"),
        metric: Metric::Errors,
        effect,
        verdict,
        reason: None,
        value: None,
        limit: None,
        samples: 0,
        hits: 0,
        ln_evidence: None,
        ln_threshold: None,
        decides_in_minutes: None,
        failed_at_minute: None,
        verdict_since_minute: None,
    }
}

fn summary(critical: GateVerdict, advance: GateVerdict) -> GateSummary {
    GateSummary {
        findings: vec![
            finding(GateEffect::RollBack, critical),
            finding(GateEffect::Warn, GateVerdict::Fail),
            finding(GateEffect::BlockAdvance, advance),
        ],
        stable_outside_limits: false,
        no_canary_data: false,
        samples: 1_000_000,
    }
}

/// All combinations of gate verdicts, stable's state, silence and sample counts.
fn summaries() -> Vec<GateSummary> {
    let mut all = Vec::new();
    for critical in VERDICTS {
        for advance in [GateVerdict::Pass, GateVerdict::Hold] {
            for bits in 0..8_u8 {
                let mut gates = summary(critical, advance);
                gates.stable_outside_limits = bits & 1 > 0;
                gates.no_canary_data = bits & 2 > 0;
                gates.samples = if bits & 4 > 0 { 0 } else { 1_000_000 };
                all.push(gates);
            }
        }
    }
    all
}

fn phases() -> [Phase; 11] {
    [
        Phase::Aborted { reason: "x".into() },
        Phase::AwaitingApproval { undecided: false },
        Phase::AwaitingApproval { undecided: true },
        Phase::Frozen,
        Phase::Holding { reason: HoldReason::Gates },
        Phase::Idle,
        Phase::Paused { reason: "x".into() },
        Phase::Promoted,
        Phase::Ramping,
        Phase::RolledBack { cause: Box::new(RollbackCause::HardFailure(HardFailureKind::Trap)) },
        Phase::Watching,
    ]
}

fn commands() -> [Option<OperatorCommand>; 10] {
    let (reason, empty) = ("seen and understood".to_owned(), " ".to_owned());
    [
        None,
        Some(OperatorCommand::Abort { reason: reason.clone() }),
        Some(OperatorCommand::Approve),
        Some(OperatorCommand::Pause { reason: reason.clone() }),
        Some(OperatorCommand::Resume { reason: empty }),
        Some(OperatorCommand::Resume { reason: reason.clone() }),
        Some(OperatorCommand::RollBack { reason: reason.clone() }),
        Some(OperatorCommand::Advance { reason: " ".to_owned() }),
        Some(OperatorCommand::Advance { reason }),
        Some(OperatorCommand::Start),
    ]
}

fn plan() -> Plan {
    let freeze = "[[freeze]]\ndays = \"fri\"\nfrom = \"00:00\"\nto = \"24:00\"\n";
    Plan::read(&format!("{DEFAULT_PLAN_TOML}\n{freeze}")).unwrap()
}

/// Calls `check` with every state, every input and every kind of time.
fn every_transition(
    mut check: impl FnMut(&Plan, &PlanProgress, &StepInput<'_>, &PlanProgress, &[RolloutAction]),
) {
    let plan = plan();
    let day = 24 * 3_600_000;
    let summaries = summaries();
    for phase in phases() {
        // The first stage, the one that needs approval, and the last.
        for stage in [0, 3, 4] {
            // Just entered; due and past the deadline; the same in a freeze.
            for (age, now) in [(0, NOW), (8 * day, NOW), (8 * day, UnixMs(NOW.0 + 4 * day))] {
                let entered = UnixMs(now.0 - age);
                let state = PlanProgress {
                    phase: phase.clone(),
                    stage,
                    stage_entered_at: entered,
                    phase_entered_at: entered,
                };
                for gates in &summaries {
                    for command in commands() {
                        for hard_failure in [None, Some(HardFailureKind::DimensionMismatch)] {
                            for blocked_by in [None, Some(AdvanceBlocked::ValidationMissing)] {
                                let command = command.clone();
                                let input = StepInput { gates, command, hard_failure, blocked_by };
                                let (next, actions) = state.apply_input(&plan, &input, now);
                                check(&plan, &state, &input, &next, &actions);
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_failing_critical_gate_rolls_back_wherever_traffic_is_the_canarys() {
    let mut rolled_back = 0;
    every_transition(|plan, state, input, next, actions| {
        let flows = state.share(plan) > Share::NONE;
        let is_rollback_command = matches!(input.command, Some(OperatorCommand::RollBack { .. }));
        let must_roll_back = input.gates.rollback_verdict() == GateVerdict::Fail
            || input.hard_failure.is_some()
            || is_rollback_command;
        if flows && must_roll_back {
            rolled_back += 1;
            assert!(matches!(next.phase, Phase::RolledBack { .. }), "{state:?} {input:?}");
            assert_eq!(actions[0], RolloutAction::SetShare(Share::NONE));
            assert!(matches!(actions[1], RolloutAction::Alert(RolloutAlert::RolledBack(_))));
        }
        if must_roll_back {
            let began = matches!(
                input.command,
                Some(OperatorCommand::Start | OperatorCommand::Resume { .. })
            );
            assert!(next.share(plan) == Share::NONE || (!flows && began));
        }
    });
    assert!(rolled_back > 10_000, "{rolled_back}");
}

#[test]
fn nothing_rises_while_stable_is_broken_or_nothing_is_known() {
    let mut increases = 0;
    every_transition(|plan, state, input, next, _| {
        let (before, after) = (state.share(plan), next.share(plan));
        if after <= before {
            return;
        }
        increases += 1;
        let began = before == Share::NONE;
        assert!(!input.gates.stable_outside_limits, "{state:?} {input:?}");
        assert!(began || !input.gates.no_canary_data, "{state:?} {input:?}");
        // Without a command, the share increases only when all gates pass and the stage was
        // long enough.
        assert!(input.blocked_by.is_none(), "{state:?} {input:?}");
        let approved = matches!(
            &input.command,
            Some(OperatorCommand::Approve | OperatorCommand::Advance { .. })
        );
        assert!(began || approved || input.gates.allows_advance(), "{state:?} {input:?}");
        assert!(!began || input.command.is_some(), "{state:?}");
        let stage = if began { 0 } else { state.stage + 1 };
        assert_eq!(after, plan.stages[stage].share, "one stage at a time");
        assert!(
            approved || began || !plan.stages[state.stage].approval,
            "a stage that wants approval is left without: {state:?}"
        );
    });
    assert!(increases > 100, "{increases}");
}

#[test]
fn a_rollback_stays_until_a_person_resumes_with_a_reason() {
    every_transition(|plan, state, input, next, actions| {
        let (Phase::RolledBack { .. }, true) = (&state.phase, next.phase != state.phase) else {
            return;
        };
        match &input.command {
            Some(OperatorCommand::Abort { .. }) => assert_eq!(next.share(plan), Share::NONE),
            Some(OperatorCommand::Resume { reason }) => {
                assert!(!reason.trim().is_empty());
                assert_eq!(next.stage, 0);
                assert!(actions.contains(&RolloutAction::ResetEvidence));
            }
            other => panic!("{other:?} ended a rollback"),
        }
    });
}

#[test]
fn the_share_of_every_state_was_set_by_an_action() {
    every_transition(|plan, state, _, next, actions| {
        let set = actions.iter().rev().find_map(|action| match action {
            RolloutAction::SetShare(share) => Some(*share),
            _ => None,
        });
        assert_eq!(set.unwrap_or(state.share(plan)), next.share(plan), "{state:?} to {next:?}");
        let entered = next.stage != state.stage;
        assert!(!entered || actions.contains(&RolloutAction::EnterStage));
    });
}

#[test]
fn a_good_release_goes_through_every_stage_to_promotion() {
    let plan = plan();
    let gates = summary(GateVerdict::Pass, GateVerdict::Pass);
    let mut state = PlanProgress::idle(NOW);
    let mut now = NOW;
    let mut shares = Vec::new();
    for minute in 0..20_000_u64 {
        let command = match &state.phase {
            Phase::Idle => Some(OperatorCommand::Start),
            Phase::AwaitingApproval { .. } if minute % 60 == 0 => Some(OperatorCommand::Approve),
            _ => None,
        };
        let input = StepInput { gates: &gates, command, hard_failure: None, blocked_by: None };
        state = state.apply_input(&plan, &input, now).0;
        let share = state.share(&plan);
        if shares.last() != Some(&share.basis_points()) {
            shares.push(share.basis_points());
        }
        now = UnixMs(now.0 + 60_000);
    }
    assert_eq!(shares, [1_000, 2_000, 5_000, 7_500, 10_000]);
    assert_eq!(state.phase, Phase::Promoted);
}

#[test]
fn the_same_hold_alerts_once() {
    let plan = plan();
    let mut gates = summary(GateVerdict::Pass, GateVerdict::Pass);
    gates.no_canary_data = true;
    let state = PlanProgress { phase: Phase::Ramping, ..PlanProgress::idle(NOW) };
    let input = StepInput { gates: &gates, command: None, hard_failure: None, blocked_by: None };
    let (holding, actions) = state.apply_input(&plan, &input, NOW);
    assert_eq!(actions, [RolloutAction::Alert(RolloutAlert::NoData)]);
    assert!(matches!(holding.phase, Phase::Holding { .. }), "{holding:?}");
    assert_eq!(holding.apply_input(&plan, &input, NOW).1, []);
}

#[test]
fn a_state_is_stored_and_read_back_the_same() {
    for phase in phases() {
        let state = PlanProgress { phase, stage: 3, stage_entered_at: NOW, phase_entered_at: NOW };
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<PlanProgress>(&json).unwrap(), state, "{json}");
    }
}
