//! The codes of all messages.
//!
//! A code is part of the API: it keeps its meaning, and its arguments keep their names. The part
//! before the dot says which values of the rollout the message stands for.

use serde::{Serialize, Serializer};

macro_rules! message_codes {
    ($($code:ident = $name:literal,)+) => {
        /// Code of a message, such as `alert.rolled_back`, which every language has a template for.
        #[allow(missing_docs, reason = "the English catalogue has the sentence of each code")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum MessageCode {
            $($code,)+
        }

        impl MessageCode {
            /// All codes, in the order of their names.
            pub const ALL: &[Self] = &[$(Self::$code,)+];

            /// Returns the name that every response and both catalogues use.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)+
                }
            }
        }
    };
}

message_codes! {
    ActorUnnamed = "actor.unnamed",
    AlertAdvanceBlocked = "alert.advance_blocked",
    AlertApprovalRequired = "alert.approval_required",
    AlertApprovalUndecided = "alert.approval_undecided",
    AlertGatesNotPassing = "alert.gates_not_passing",
    AlertNoData = "alert.no_data",
    AlertPromoted = "alert.promoted",
    AlertRolledBack = "alert.rolled_back",
    AlertStableOutsideLimits = "alert.stable_outside_limits",
    AlertTest = "alert.test",
    AlertTooFewRequests = "alert.too_few_requests",
    CauseGateFailed = "cause.gate_failed",
    CauseHardFailure = "cause.hard_failure",
    CauseOperator = "cause.operator",
    CheckAnalysisNotReady = "check.analysis_not_ready",
    CheckModelUnknown = "check.model_unknown",
    CheckValidationFailed = "check.validation_failed",
    CheckValidationMissing = "check.validation_missing",
    CheckValidationOfOtherModel = "check.validation_of_other_model",
    CheckValidationStale = "check.validation_stale",
    CheckWebhookHalt = "check.webhook_halt",
    CheckWebhookRetry = "check.webhook_retry",
    CommandAbort = "command.abort",
    CommandAdvance = "command.advance",
    CommandApprove = "command.approve",
    CommandPause = "command.pause",
    CommandResume = "command.resume",
    CommandRollback = "command.rollback",
    CommandStart = "command.start",
    EffectCommandRefused = "effect.command_refused",
    EffectSeveral = "effect.several",
    EffectShareSet = "effect.share_set",
    ExplainCounts = "explain.counts",
    ExplainEntry = "explain.entry",
    HardFailureDimensionMismatch = "hard_failure.dimension_mismatch",
    HardFailureNonFinite = "hard_failure.non_finite",
    HardFailureOtherModel = "hard_failure.other_model",
    HardFailureTrap = "hard_failure.trap",
    InputCommand = "input.command",
    InputGatesEvaluated = "input.gates_evaluated",
    InputGatesEvaluatedBlocked = "input.gates_evaluated_blocked",
    InputHardFailure = "input.hard_failure",
    InputMinuteCounted = "input.minute_counted",
    InputPlanApplied = "input.plan_applied",
    PhaseAborted = "phase.aborted",
    PhaseAwaitingApproval = "phase.awaiting_approval",
    PhaseFrozen = "phase.frozen",
    PhaseHolding = "phase.holding",
    PhaseIdle = "phase.idle",
    PhasePaused = "phase.paused",
    PhasePromoted = "phase.promoted",
    PhaseRamping = "phase.ramping",
    PhaseRolledBack = "phase.rolled_back",
    PhaseWatching = "phase.watching",
    PhaseWithReason = "phase.with_reason",
    StatusNoPlan = "status.no_plan",
    StatusNoPlanKilled = "status.no_plan_killed",
    StatusStage = "status.stage",
    StatusStageKilled = "status.stage_killed",
}

impl Serialize for MessageCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
