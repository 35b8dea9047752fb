//! Golden file of all sentences about a release, in English and French.
//!
//! The samples cover every status, alert, cause, advance check, command, phase and input of the
//! history. `UPDATE_DOCS=1 cargo test --test messages` writes the file anew.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use jeffrey_edge::gateway::notify::history::summarize_entry;
use jeffrey_edge::gateway::notify::messages;
use jeffrey_edge::rollout::advance_checks::{AdvanceBlocked, WebhookResponse, WebhookVerdict};
use jeffrey_edge::rollout::command::OperatorCommand;
use jeffrey_edge::rollout::controller::RolloutController;
use jeffrey_edge::rollout::counts::{ClosedMinute, Metric};
use jeffrey_edge::rollout::effect::{RolloutAction, RolloutAlert};
use jeffrey_edge::rollout::gate::GateEffect;
use jeffrey_edge::rollout::gate::finding::{GateFinding, GateVerdict};
use jeffrey_edge::rollout::history::{HistoryEntry, RolloutInput};
use jeffrey_edge::rollout::phase::{HoldReason, Phase, RollbackCause};
use jeffrey_edge::rollout::plan::{DEFAULT_PLAN_TOML, Plan};
use jeffrey_edge::rollout::progress::PlanProgress;
use jeffrey_edge::rollout::release_state::HardFailureKind;
use jeffrey_edge::rollout::status::{RolloutStatus, build_status};
use jeffrey_terms::{Share, UnixMs};
use serde_json::{Value, json};

const GOLDEN_FILE: &str = "tests/data/messages.jsonl";

/// Time of all samples: 2026-11-23 00:00 UTC.
const NOW: UnixMs = UnixMs(1_795_392_000_000);

#[test]
fn sentences_are_those_of_the_golden_file() {
    let lines: String = golden_rows().iter().map(|row| format!("{row}\n")).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN_FILE);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &lines).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    for (line, expected) in lines.lines().zip(expected.lines()) {
        assert_eq!(line, expected);
    }
    assert_eq!(lines.lines().count(), expected.lines().count());
}

/// Returns a row for each sentence; a sentence that two samples share has one row.
fn golden_rows() -> Vec<Value> {
    let mut rows = Vec::new();
    for (case, killed, status) in sample_statuses() {
        let share = status.as_ref().map_or_else(|| "0%".parse().unwrap(), |status| status.share);
        rows.push(json!({
            "case": format!("status: {case}"),
            "en": messages::status_line("e1-small", share, killed, status.as_ref()),
            "fr": messages::status_line_fr("e1-small", share, killed, status.as_ref()),
        }));
    }
    for (case, entry) in sample_entries() {
        let Some(decision) = summarize_entry(&entry) else { panic!("{case} is no decision") };
        rows.push(json!({
            "case": format!("trigger: {case}"),
            "en": decision.trigger,
            "fr": decision.fr.trigger,
        }));
        rows.push(json!({
            "case": format!("outcome: {case}"),
            "en": decision.outcome,
            "fr": decision.fr.outcome,
        }));
    }
    let mut seen = BTreeSet::new();
    rows.retain(|row| seen.insert((row["en"].to_string(), row["fr"].to_string())));
    rows
}

/// Returns statuses of a release by name, each with its kill flag.
fn sample_statuses() -> Vec<(String, bool, Option<RolloutStatus>)> {
    let plan = Plan::read(DEFAULT_PLAN_TOML).unwrap();
    let controller = RolloutController::new(&plan, NOW, 0);
    let status = |phase: Phase, alert: Option<RolloutAlert>| {
        let mut status = build_status(&controller, &plan, None, 1, (NOW, 0));
        status.share = "12.5%".parse().unwrap();
        status.phase = phase.name().to_owned();
        status.state.phase = phase;
        status.state.stage = 1;
        status.active_alert = alert;
        Some(status)
    };
    let mut rows = vec![
        ("no plan".to_owned(), false, None),
        ("no plan, killed".to_owned(), true, None),
        ("killed".to_owned(), true, status(Phase::Ramping, None)),
    ];
    for (case, phase) in sample_phases() {
        rows.push((case, false, status(phase, None)));
    }
    for (case, alert) in sample_alerts() {
        rows.push((format!("alert {case}"), false, status(Phase::Ramping, Some(alert))));
    }
    rows
}

/// Returns history entries by name, which all are decisions.
fn sample_entries() -> Vec<(String, HistoryEntry)> {
    let entry = |input: RolloutInput, phase: Phase, actions: Vec<RolloutAction>| HistoryEntry {
        seq: 7,
        now: NOW,
        input,
        state: PlanProgress { phase, ..PlanProgress::idle(NOW) },
        share: Share::NONE,
        actions,
        gates: None,
        counts: None,
    };
    let share = |text: &str| RolloutAction::SetShare(text.parse().unwrap());
    let tick = || RolloutInput::Tick { blocked_by: None, last_complete_minute: 1 };
    let mut rows: Vec<(String, HistoryEntry)> = Vec::new();
    for (case, input) in sample_inputs() {
        let actions = vec![share("0.07%"), RolloutAction::EnterStage, RolloutAction::ResetEvidence];
        rows.push((format!("input {case}"), entry(input, Phase::Ramping, actions)));
    }
    for (case, alert) in sample_alerts() {
        let actions = vec![RolloutAction::Alert(alert)];
        rows.push((format!("alert {case}"), entry(tick(), Phase::Ramping, actions)));
    }
    for (case, phase) in sample_phases() {
        rows.push((format!("phase {case}"), entry(tick(), phase, Vec::new())));
    }
    let rollback = RolloutAlert::RolledBack(RollbackCause::HardFailure(HardFailureKind::Trap));
    let actions = vec![share("0%"), RolloutAction::Alert(rollback), share("100%")];
    rows.push(("several effects".to_owned(), entry(tick(), Phase::Frozen, actions)));
    rows
}

fn sample_inputs() -> Vec<(String, RolloutInput)> {
    let mut rows = Vec::new();
    for (actor, command) in
        ["", "alice {actor}"].into_iter().flat_map(|actor| sample_commands().map(|it| (actor, it)))
    {
        let case = format!("command {} by `{actor}`", command.name());
        let (actor, last_complete_minute) = (actor.to_owned(), 1);
        let input =
            RolloutInput::Command { actor, command, blocked_by: None, last_complete_minute };
        rows.push((case, input));
    }
    for kind in HardFailureKind::ALL {
        let input = RolloutInput::HardFailure { kind, last_complete_minute: 1 };
        rows.push((format!("hard failure {}", kind.name()), input));
    }
    for minute in [0, NOW.0 / 60_000 + 754, u64::MAX / 60_000] {
        let minute = Box::new(ClosedMinute { minute, ..ClosedMinute::default() });
        rows.push((format!("minute {}", minute.minute), RolloutInput::Minute { minute }));
    }
    for actor in ["", "bob"] {
        let (plan, last_complete_minute) = (String::new(), 1);
        let input = RolloutInput::PlanApplied { actor: actor.into(), plan, last_complete_minute };
        rows.push((format!("plan by `{actor}`"), input));
    }
    rows.push(("tick".into(), RolloutInput::Tick { blocked_by: None, last_complete_minute: 1 }));
    for (case, blocked_by) in sample_blocks() {
        let blocked_by = Some(blocked_by);
        let input = RolloutInput::Tick { blocked_by, last_complete_minute: 1 };
        rows.push((format!("tick {case}"), input));
    }
    rows
}

fn sample_commands() -> [OperatorCommand; 7] {
    let reason = || "a reason".to_owned();
    [
        OperatorCommand::Abort { reason: reason() },
        OperatorCommand::Advance { reason: reason() },
        OperatorCommand::Approve,
        OperatorCommand::Pause { reason: reason() },
        OperatorCommand::Resume { reason: reason() },
        OperatorCommand::RollBack { reason: reason() },
        OperatorCommand::Start,
    ]
}

/// Returns every phase; a rolled-back one with each sample of a cause.
fn sample_phases() -> Vec<(String, Phase)> {
    let reason = || "support says {so} : « no »".to_owned();
    let mut phases = vec![
        Phase::Aborted { reason: reason() },
        Phase::AwaitingApproval { undecided: true },
        Phase::Frozen,
        Phase::Holding { reason: HoldReason::Gates },
        Phase::Idle,
        Phase::Paused { reason: reason() },
        Phase::Promoted,
        Phase::Ramping,
        Phase::Watching,
    ];
    let causes = sample_causes();
    phases.extend(causes.into_iter().map(|cause| Phase::RolledBack { cause: Box::new(cause) }));
    let number = |(index, phase): (usize, Phase)| (format!("{} {index}", phase.name()), phase);
    phases.into_iter().enumerate().map(number).collect()
}

fn sample_causes() -> Vec<RollbackCause> {
    let mut causes: Vec<RollbackCause> =
        HardFailureKind::ALL.into_iter().map(RollbackCause::HardFailure).collect();
    causes.push(RollbackCause::Operator { reason: "support says so".to_owned() });
    // The ties and the large number are written the same by both renderers.
    for (value, limit) in [
        (None, None),
        (Some(0.0), Some(1.0)),
        (Some(0.052_631_578_947), Some(0.02)),
        (Some(0.031_25), Some(0.093_75)),
        (Some(0.156_25), Some(0.000_04)),
        (Some(12_345.678_949_999), Some(1e15)),
    ] {
        causes.push(RollbackCause::Gate(sample_finding("errors `high`", value, limit)));
    }
    causes
}

fn sample_finding(gate: &str, value: Option<f64>, limit: Option<f64>) -> GateFinding {
    GateFinding {
        gate: gate.to_owned(),
        metric: Metric::Errors,
        effect: GateEffect::RollBack,
        verdict: GateVerdict::Fail,
        reason: None,
        value,
        limit,
        samples: 12_345,
        hits: 17,
        ln_evidence: None,
        ln_threshold: None,
        decides_in_minutes: None,
        failed_at_minute: None,
        verdict_since_minute: None,
    }
}

fn sample_alerts() -> Vec<(String, RolloutAlert)> {
    let holding = |gates: &[&str]| {
        let findings = gates.iter().map(|gate| sample_finding(gate, None, None));
        RolloutAlert::Holding(findings.collect())
    };
    let mut rows = vec![
        ("approval, decided".to_owned(), RolloutAlert::ApprovalRequired(false)),
        ("approval, undecided".to_owned(), RolloutAlert::ApprovalRequired(true)),
        ("holding without a gate".to_owned(), holding(&[])),
        ("holding for one gate".to_owned(), holding(&["regex above 2 %"])),
        ("holding for seven gates".to_owned(), holding(&["a", "b", "c", "d", "e", "f", "g"])),
        ("no data".to_owned(), RolloutAlert::NoData),
        ("stable outside limits".to_owned(), RolloutAlert::StableOutsideLimits),
    ];
    rows.extend(sample_commands().map(|command| {
        (format!("refused {}", command.name()), RolloutAlert::CommandRefused(command))
    }));
    rows.extend(
        sample_causes().into_iter().enumerate().map(|(index, cause)| {
            (format!("rolled back {index}"), RolloutAlert::RolledBack(cause))
        }),
    );
    rows.extend(
        sample_blocks()
            .into_iter()
            .map(|(case, blocked_by)| (case, RolloutAlert::AdvanceBlocked(blocked_by))),
    );
    rows
}

fn sample_blocks() -> Vec<(String, AdvanceBlocked)> {
    let webhook =
        |verdict| AdvanceBlocked::Webhook(WebhookResponse { name: "on-call".to_owned(), verdict });
    [
        AdvanceBlocked::AnalysisNotReady,
        AdvanceBlocked::ModelUnknown,
        webhook(WebhookVerdict::Halt),
        webhook(WebhookVerdict::Retry),
        AdvanceBlocked::ValidationFailed,
        AdvanceBlocked::ValidationOfOtherModel {
            checked: "0123456789abcdef".repeat(4),
            deployed: "short".to_owned(),
        },
        AdvanceBlocked::ValidationMissing,
        AdvanceBlocked::ValidationStale { hours: 25 },
    ]
    .into_iter()
    .enumerate()
    .map(|(index, blocked_by)| (format!("blocked {index}"), blocked_by))
    .collect()
}
