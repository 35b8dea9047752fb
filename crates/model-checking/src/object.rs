//! The rollout object: one input of the shipped state machine at a time, and the stored result.

use jeffrey_edge::rollout::command::OperatorCommand;
use jeffrey_edge::rollout::counts::Metric;
use jeffrey_edge::rollout::effect::{RolloutAction, RolloutAlert};
use jeffrey_edge::rollout::gate::GateEffect;
use jeffrey_edge::rollout::gate::finding::{GateFinding, GateVerdict};
use jeffrey_edge::rollout::gate::summary::GateSummary;
use jeffrey_edge::rollout::phase::{HoldReason, Phase, RollbackCause};
use jeffrey_edge::rollout::plan::{Plan, StableCohortLimits, Stage};
use jeffrey_edge::rollout::progress::{PlanProgress, StepInput};
use jeffrey_edge::rollout::release_state::{
    HardFailure, HardFailureKind, ReleaseChange, ReleaseState,
};
use jeffrey_terms::{Share, UnixMs};

use crate::functions::CoreFunctions;
use crate::isolate::{NOW, share};
use crate::state::{CommandKind, PhaseKind, StoredRelease};

/// Shares of the plan's stages, in basis points.
pub const STAGE_SHARES: [u16; 2] = [1_000, 10_000];

/// Input of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectInput {
    /// The alarm found the critical gate with this verdict; every stage is due.
    Tick(GateVerdict),
    /// An isolate reported a hard failure.
    HardFailure,
    /// An operator gave a command.
    Command(CommandKind),
}

/// The core as the object uses it: a plan, and the summaries of its gates.
pub struct ObjectCore {
    /// Functions of the core that decide.
    pub functions: CoreFunctions,
    plan: Plan,
    passing: GateSummary,
    failing: GateSummary,
}

impl ObjectCore {
    /// Builds the core with a plan of two stages and one critical gate.
    pub fn new(functions: CoreFunctions) -> Self {
        let stage = |points| Stage {
            share: share(points),
            min_duration_minutes: 0,
            min_samples: 0,
            approval: false,
        };
        let plan = Plan {
            release: None,
            stages: STAGE_SHARES.map(stage).to_vec(),
            gates: Vec::new(),
            holdout: Share::NONE,
            stable_limits: StableCohortLimits { max_error_rate: 1.0, max_slow_rate: 1.0 },
            traffic_per_minute: 0.0,
            deadline_minutes: 0,
            freezes: Vec::new(),
            notify: Vec::new(),
        };
        let summary = |verdict| GateSummary {
            findings: vec![finding(verdict)],
            stable_outside_limits: false,
            no_canary_data: false,
            samples: 1,
        };
        let (passing, failing) = (summary(GateVerdict::Pass), summary(GateVerdict::Fail));
        Self { functions, plan, passing, failing }
    }

    /// Returns the state of a release that has just started.
    pub fn started(&self) -> StoredRelease {
        let idle = StoredRelease {
            version: 0,
            share: 0,
            is_killed: false,
            phase: PhaseKind::Idle,
            stage: 0,
            has_alarm: false,
        };
        let started = self.step(&idle, None, Some(OperatorCommand::Start), &self.passing);
        StoredRelease { has_alarm: true, ..started.unwrap_or(idle) }
    }

    /// Returns the stored state after an input; `None` if the object refuses it.
    pub fn apply(&self, stored: &StoredRelease, input: ObjectInput) -> Option<StoredRelease> {
        let reason = String::from("seen");
        match input {
            ObjectInput::Tick(GateVerdict::Fail) => self.step(stored, None, None, &self.failing),
            ObjectInput::Tick(_) => self.step(stored, None, None, &self.passing),
            ObjectInput::HardFailure => {
                self.step(stored, Some(HardFailureKind::Trap), None, &self.passing)
            }
            ObjectInput::Command(CommandKind::Kill(version)) => {
                let change =
                    ReleaseChange { version: u64::from(version), share: None, killed: Some(true) };
                let changed = release_state(stored).apply_change(&change, NOW).ok()?;
                Some(with_release(*stored, &changed))
            }
            ObjectInput::Command(command) => {
                if let CommandKind::Resume(version) = command {
                    let version = version.map(u64::from);
                    (self.functions.check_version)(&release_state(stored), version).ok()?;
                }
                let command = match command {
                    CommandKind::RollBack => OperatorCommand::RollBack { reason },
                    CommandKind::Resume(_) => OperatorCommand::Resume { reason },
                    CommandKind::Pause | CommandKind::Kill(_) => OperatorCommand::Pause { reason },
                };
                self.step(stored, None, Some(command), &self.passing)
            }
        }
    }

    /// Does what `RolloutObject::apply_input` does: a step of the state machine, then its actions.
    fn step(
        &self,
        stored: &StoredRelease,
        hard_failure: Option<HardFailureKind>,
        command: Option<OperatorCommand>,
        gates: &GateSummary,
    ) -> Option<StoredRelease> {
        let mut release = release_state(stored);
        if let Some(kind) = hard_failure {
            release = release.record_hard_failure(HardFailure { kind, detected_at: NOW });
        }
        let input = StepInput { gates, command, hard_failure, blocked_by: None };
        let (next, actions) =
            (self.functions.apply_input)(&progress(stored), &self.plan, &input, NOW);
        for action in actions {
            match action {
                RolloutAction::SetShare(share) => {
                    release = (self.functions.apply_planned_share)(&release, share, NOW);
                }
                RolloutAction::Alert(RolloutAlert::CommandRefused(_)) => return None,
                RolloutAction::Alert(_)
                | RolloutAction::EnterStage
                | RolloutAction::ResetEvidence => {}
            }
        }
        let stage = u8::try_from(next.stage).unwrap_or(u8::MAX);
        let phase = phase_kind(&next.phase);
        Some(with_release(StoredRelease { phase, stage, ..*stored }, &release))
    }
}

fn with_release(stored: StoredRelease, release: &ReleaseState) -> StoredRelease {
    StoredRelease {
        version: u8::try_from(release.version).unwrap_or(u8::MAX),
        share: release.share.basis_points(),
        is_killed: release.killed,
        ..stored
    }
}

fn release_state(stored: &StoredRelease) -> ReleaseState {
    ReleaseState {
        version: u64::from(stored.version),
        killed: stored.is_killed,
        ..ReleaseState::initial(share(stored.share))
    }
}

/// Returns the progress of a release whose stage began long ago.
fn progress(stored: &StoredRelease) -> PlanProgress {
    let reason = String::new;
    let phase = match stored.phase {
        PhaseKind::Idle => Phase::Idle,
        PhaseKind::Ramping => Phase::Ramping,
        PhaseKind::Watching => Phase::Watching,
        PhaseKind::Holding => Phase::Holding { reason: HoldReason::Gates },
        PhaseKind::Paused => Phase::Paused { reason: reason() },
        PhaseKind::Promoted => Phase::Promoted,
        PhaseKind::RolledBack => {
            Phase::RolledBack { cause: Box::new(RollbackCause::Operator { reason: reason() }) }
        }
        PhaseKind::Aborted => Phase::Aborted { reason: reason() },
    };
    let (stage, long_ago) = (usize::from(stored.stage), UnixMs(0));
    PlanProgress { phase, stage, stage_entered_at: long_ago, phase_entered_at: long_ago }
}

fn phase_kind(phase: &Phase) -> PhaseKind {
    match phase {
        Phase::Idle => PhaseKind::Idle,
        Phase::Ramping => PhaseKind::Ramping,
        Phase::Watching => PhaseKind::Watching,
        // The plan has neither approvals nor freezes.
        Phase::Holding { .. } | Phase::AwaitingApproval { .. } | Phase::Frozen => {
            PhaseKind::Holding
        }
        Phase::Paused { .. } => PhaseKind::Paused,
        Phase::Promoted => PhaseKind::Promoted,
        Phase::RolledBack { .. } => PhaseKind::RolledBack,
        Phase::Aborted { .. } => PhaseKind::Aborted,
    }
}

fn finding(verdict: GateVerdict) -> GateFinding {
    GateFinding {
        gate: "errors".to_owned(),
        metric: Metric::Errors,
        effect: GateEffect::RollBack,
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
