//! Checks of the history: the release goes through the plan's stages in order, and each minute is
//! evidence once.

use std::collections::BTreeMap;

use crate::fault::ModelFault;
use crate::invariants::Invariant;
use crate::record::InForce;
use crate::simulation::Simulation;
use jeffrey_edge::rollout::command::OperatorCommand;
use jeffrey_edge::rollout::gate::GateEffect;
use jeffrey_edge::rollout::gate::finding::GateVerdict;
use jeffrey_edge::rollout::history::{HistoryEntry, RolloutInput};
use jeffrey_edge::rollout::phase::Phase;
use jeffrey_edge::rollout::plan::{Plan, Stage};

/// Time from the answer of the model worker's `/health` to the stored share increase, in
/// milliseconds: the other checks, and the way of the messages.
const CHECK_MS: u64 = 60_000;

/// Time from the first hard failure to the stored rollback, without any other fault, in
/// milliseconds.
const HARD_FAILURE_MS: u64 = 10_000;

impl Simulation {
    /// Checks each step of the release against the plan that the operator started.
    pub(crate) fn check_stages(&self, entries: &[HistoryEntry]) {
        let plan = self.scenario.plan.as_deref().and_then(|text| Plan::read(text).ok());
        let Some(plan) = plan else { return };
        let mut samples = 0;
        for (before, after) in entries.iter().zip(entries.iter().skip(1)) {
            if let RolloutInput::Minute { minute } = &before.input
                && minute.minute > before.state.stage_entered_at.0 / 60_000
            {
                samples += minute.canary.requests;
            }
            let is_promoted = |entry: &HistoryEntry| entry.state.phase == Phase::Promoted;
            let is_next_stage = after.state.stage > before.state.stage;
            if (is_next_stage || is_promoted(after) && !is_promoted(before))
                && let Some(stage) = plan.stages.get(before.state.stage)
                && let Some(why) = fault_of_step(stage, samples, before, after)
            {
                self.record.violate(Invariant::StagesKept, || {
                    format!("entry {} leaves stage {}: {why}", after.seq, before.state.stage)
                });
            }
            if after.state.stage_entered_at != before.state.stage_entered_at {
                samples = 0;
            }
        }
    }

    /// Checks that no minute is in the history twice, and that none has more than its events.
    pub(crate) fn check_minutes_once(&self, entries: &[HistoryEntry], stored: &BTreeMap<u64, u64>) {
        let mut folded = BTreeMap::<u64, u64>::new();
        for entry in entries {
            let RolloutInput::Minute { minute } = &entry.input else { continue };
            let requests = minute.canary.requests + minute.stable.requests;
            let stored = stored.get(&minute.minute).copied().unwrap_or(0);
            let is_twice = folded.insert(minute.minute, requests).is_some();
            if !self.has_pruned_events() && (is_twice || requests > stored) {
                self.record.violate(Invariant::MinutesFoldOnce, || {
                    format!("minute {}: {requests} requests, {stored} are stored", minute.minute)
                });
            }
        }
        // Without a fault nothing is late, so nothing may be missing.
        let last = folded.keys().next_back().copied().unwrap_or(0);
        let first = entries.first().map_or(u64::MAX, |entry| entry.now.0 / 60_000 + 1);
        if !self.scenario.faults.is_empty()
            || self.record.counts.get().rollbacks > 0
            || first > last
        {
            return;
        }
        let missing = stored
            .range(first..=last)
            .find(|(minute, requests)| folded.get(minute) != Some(requests));
        if let Some((minute, requests)) = missing {
            self.record.violate(Invariant::MinutesFoldOnce, || {
                format!(
                    "minute {minute} has {requests} requests and counts {:?}",
                    folded.get(minute)
                )
            });
        }
    }

    /// Checks that the released model answered `/health` before the share increased.
    pub(crate) fn check_increase(&self, last: InForce, next: InForce) {
        let age_ms = self.now_ms().saturating_sub(self.record.healthy_at_ms.get());
        if next.share > last.share && age_ms > CHECK_MS {
            self.record.violate(Invariant::ChecksBeforeIncrease, || {
                format!("from {} to {} points, {age_ms} ms after a check", last.share, next.share)
            });
        }
    }

    /// Checks that the first hard failure of the model rolled the release back, where nothing else
    /// disturbs it.
    pub(crate) fn check_hard_failure(&self) {
        let kind = self.scenario.model.map(|(kind, _)| kind);
        // A trap at a caller's text counts only with others.
        let is_hard = matches!(kind, Some(ModelFault::NonFinite | ModelFault::DimensionMismatch));
        let failed_ms = self.record.hard_failed_at_ms.get();
        if !is_hard || !self.scenario.faults.is_empty() || failed_ms == 0 {
            return;
        }
        let in_force = self.record.in_force.borrow();
        let rolled_back = in_force.iter().find(|state| state.is_rolled_back);
        let delay_ms = rolled_back.map(|state| state.since_ms.saturating_sub(failed_ms));
        let has_ended = self.now_ms() > failed_ms + HARD_FAILURE_MS;
        if has_ended && delay_ms.is_none_or(|delay_ms| delay_ms > HARD_FAILURE_MS) {
            self.record.violate(Invariant::HardFailureRollsBack, || {
                format!("{kind:?} at {failed_ms}, rolled back after {delay_ms:?} ms")
            });
        }
    }
}

/// Returns what is wrong with a step to the next stage, or with a promotion; `None` if nothing is.
fn fault_of_step(
    stage: &Stage,
    samples: u64,
    before: &HistoryEntry,
    after: &HistoryEntry,
) -> Option<&'static str> {
    if after.state.stage > before.state.stage + 1 {
        return Some("it skips a stage");
    }
    let blocked_by = match &after.input {
        RolloutInput::Tick { blocked_by, .. } => blocked_by,
        RolloutInput::Command { command: OperatorCommand::Approve, blocked_by, .. } => {
            let is_asked = matches!(before.state.phase, Phase::AwaitingApproval { .. });
            return match (is_asked, blocked_by) {
                (false, _) => Some("approved, and nothing awaited it"),
                (true, Some(_)) => Some("approved against a check"),
                (true, None) => None,
            };
        }
        RolloutInput::Command { command: OperatorCommand::Advance { .. }, .. } => return None,
        _ => return Some("its input is no reason"),
    };
    let minutes = after.now.0.saturating_sub(before.state.stage_entered_at.0) / 60_000;
    let required = [GateEffect::RollBack, GateEffect::BlockAdvance];
    let does_gate_hold = after.gates.as_ref().is_none_or(|gates| {
        gates.findings.iter().any(|finding| {
            required.contains(&finding.effect) && finding.verdict != GateVerdict::Pass
        })
    });
    if stage.approval {
        Some("nobody approved")
    } else if minutes < stage.min_duration_minutes {
        Some("before its minimum duration")
    } else if samples < stage.min_samples {
        Some("before its minimum samples")
    } else if does_gate_hold {
        Some("a gate does not pass")
    } else if blocked_by.is_some() && after.state.stage > before.state.stage {
        Some("a check blocks it")
    } else {
        None
    }
}
