//! The commands that a release's phase allows, and the sentence that explains a refusal.

use super::advance_checks::AdvanceBlocked;
use super::command::OperatorCommand;
use super::controller::RolloutController;
use super::phase::Phase;
use super::plan::Plan;
use crate::catalogue::render::Catalogue;
use jeffrey_terms::UnixMs;

/// Returns whether a command fits the release's phase. A command that fits may still be refused for
/// another reason; see [`explain_refusal`].
pub fn is_allowed(controller: &RolloutController, plan: &Plan, command: &OperatorCommand) -> bool {
    let has_traffic = controller.has_canary_traffic(plan);
    let phase = &controller.state.phase;
    match command {
        OperatorCommand::Start => *phase == Phase::Idle,
        OperatorCommand::Approve => matches!(phase, Phase::AwaitingApproval { .. }),
        OperatorCommand::Resume { .. } => {
            matches!(phase, Phase::Paused { .. } | Phase::RolledBack { .. } | Phase::Aborted { .. })
        }
        OperatorCommand::Advance { .. } | OperatorCommand::Pause { .. } => {
            has_traffic && !matches!(phase, Phase::Paused { .. } | Phase::Promoted)
        }
        OperatorCommand::RollBack { .. } => has_traffic,
        OperatorCommand::Abort { .. } => !matches!(phase, Phase::Aborted { .. }),
    }
}

/// Returns the commands that are possible now, in the order in which they are offered. Each has an
/// empty reason.
pub fn allowed_commands(controller: &RolloutController, plan: &Plan) -> Vec<OperatorCommand> {
    let reason = String::new;
    let commands = [
        OperatorCommand::Start,
        OperatorCommand::Approve,
        OperatorCommand::Resume { reason: reason() },
        OperatorCommand::Advance { reason: reason() },
        OperatorCommand::Pause { reason: reason() },
        OperatorCommand::RollBack { reason: reason() },
        OperatorCommand::Abort { reason: reason() },
    ];
    commands.into_iter().filter(|command| is_allowed(controller, plan, command)).collect()
}

/// Returns one sentence that says why an operator's command is not possible now, and which commands
/// are if the phase rules it out.
pub fn explain_refusal(
    controller: &RolloutController,
    plan: &Plan,
    command: &OperatorCommand,
    blocked_by: Option<&AdvanceBlocked>,
    (now, last_complete_minute): (UnixMs, u64),
) -> String {
    let gates = controller.summarize_gates(plan, last_complete_minute);
    let lacks_reason = match command {
        OperatorCommand::Advance { reason } | OperatorCommand::Resume { reason } => {
            reason.trim().is_empty()
        }
        _ => false,
    };
    let name = command.name();
    if !is_allowed(controller, plan, command) {
        return format!(
            "`{name}` is not possible while the release is {}; possible now: {}",
            controller.state.phase.name(),
            allowed_commands(controller, plan)
                .iter()
                .map(|command| format!("`jeffrey rollout {}`", command.name()))
                .collect::<Vec<_>>()
                .join(", ")
        );
    }
    if lacks_reason {
        return format!("`{name}` needs a reason");
    }
    let why = if let Some(blocker) = blocked_by {
        let reason = Catalogue::ENGLISH.render(&blocker.to_message());
        match blocker.suggested_command() {
            Some(command) => format!("{reason}: run `{command}`"),
            None => reason,
        }
    } else if plan.freezes.iter().any(|freeze| freeze.is_active(now)) {
        "the plan freezes this time of the week".to_owned()
    } else if gates.stable_outside_limits {
        "the legacy system is outside the plan's limits".to_owned()
    } else if gates.no_canary_data {
        "no canary request for five minutes".to_owned()
    } else {
        "a critical gate fails".to_owned()
    };
    format!("`{name}` is not done now: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::effect::{RolloutAction, RolloutAlert};
    use crate::rollout::plan::DEFAULT_PLAN_TOML;
    use crate::rollout::replay_harness::{
        NOW, ReplayHarness, command_input, first_minute, time_at,
    };

    #[test]
    fn what_is_refused_says_why_in_a_sentence() {
        let mut run = ReplayHarness::new(DEFAULT_PLAN_TOML);
        let explain = |run: &ReplayHarness,
                       command: &OperatorCommand,
                       blocked_by: Option<&AdvanceBlocked>,
                       now| {
            explain_refusal(&run.controller, &run.plan, command, blocked_by, (now, first_minute()))
        };
        let advance = |text: &str| OperatorCommand::Advance { reason: text.to_owned() };
        assert_eq!(
            explain(&run, &OperatorCommand::Approve, None, NOW),
            "`approve` is not possible while the release is idle; \
             possible now: `jeffrey rollout start`, `jeffrey rollout abort`"
        );
        assert_eq!(
            explain(&run, &OperatorCommand::Start, Some(&AdvanceBlocked::ValidationMissing), NOW),
            "`start` is not done now: there is no release check: run `jeffrey validate --post URL`"
        );
        run.feed(&command_input(OperatorCommand::Start, first_minute()), NOW);
        assert_eq!(explain(&run, &advance(" "), None, NOW), "`advance` needs a reason");
        assert_eq!(
            explain(&run, &advance("hurry"), None, NOW),
            "`advance` is not done now: no canary request for five minutes"
        );
        let entry = run.feed(&command_input(advance("hurry"), first_minute()), time_at(1)).unwrap();
        assert_eq!(
            entry.actions,
            [RolloutAction::Alert(RolloutAlert::CommandRefused(advance("hurry")))]
        );
        assert_eq!(run.controller.active_alert, None);
    }
}
