//! A release under test: feeds inputs to the controller and keeps the history that they lead to.
//!
//! Only tests use it. [`ReplayHarness::feed`] also checks that the controller is stored and read
//! back the same.

use super::command::OperatorCommand;
use super::controller::RolloutController;
use super::counts::{ClosedMinute, CohortCounts};
use super::history::{HistoryEntry, RolloutInput};
use super::plan::Plan;
use super::replay::{HistoryReplaySummary, ReplayMismatch, replay};
use jeffrey_terms::UnixMs;

/// Time at which every release of the tests begins.
pub(super) const NOW: UnixMs = UnixMs(1_795_435_200_000);
/// Length of a minute in milliseconds.
const MINUTE_MS: u64 = 60_000;

/// Returns a minute with 60 requests of the canary, of which `errors` failed, and 540 of stable.
pub(super) fn minute(number: u64, errors: u64) -> Box<ClosedMinute> {
    let counts = |requests, errors_5xx| CohortCounts {
        requests,
        errors_5xx,
        scored_responses: requests - errors_5xx,
        ..CohortCounts::default()
    };
    Box::new(ClosedMinute {
        minute: number,
        share: Some("10%".parse().unwrap()),
        canary: counts(60, errors),
        stable: counts(540, 5),
        ..ClosedMinute::default()
    })
}

/// Returns an input with an operator's command that no advance check blocks.
pub(super) fn command_input(command: OperatorCommand, closed: u64) -> RolloutInput {
    RolloutInput::Command {
        actor: "test".to_owned(),
        command,
        blocked_by: None,
        last_complete_minute: closed,
    }
}

/// A release with its history, as it is exported.
pub(super) struct ReplayHarness {
    /// Plan of the release.
    pub(super) plan: Plan,
    /// Controller after all inputs so far.
    pub(super) controller: RolloutController,
    /// History so far, one entry a line.
    pub(super) lines: Vec<String>,
}

impl ReplayHarness {
    /// Returns a release that has this plan and has not started.
    pub(super) fn new(text: &str) -> Self {
        let plan = Plan::read(text).unwrap();
        let controller = RolloutController::new(&plan, NOW, 0);
        let mut run = Self { plan, controller, lines: Vec::new() };
        let plan_input = RolloutInput::PlanApplied {
            actor: "test".to_owned(),
            plan: text.to_owned(),
            last_complete_minute: first_minute(),
        };
        run.feed(&plan_input, NOW);
        run
    }

    /// Applies one input, and keeps the entry that it leads to.
    pub(super) fn feed(&mut self, input: &RolloutInput, now: UnixMs) -> Option<HistoryEntry> {
        let (next, entry) = self.controller.apply(&self.plan, input, now);
        // The rollout object goes on with what it stored.
        let stored = serde_json::to_string(&next).unwrap();
        assert_eq!(serde_json::from_str::<RolloutController>(&stored).unwrap(), next);
        self.controller = next;
        self.lines.extend(entry.as_ref().map(|entry| serde_json::to_string(entry).unwrap()));
        entry
    }

    /// Replays the history so far.
    pub(super) fn replay(&self) -> Result<HistoryReplaySummary, ReplayMismatch> {
        replay(self.lines.iter().map(String::as_str))
    }
}

/// Returns the minute that [`NOW`] lies in, in minutes since 1970.
pub(super) fn first_minute() -> u64 {
    NOW.0 / MINUTE_MS
}

/// Returns the time this many minutes after [`NOW`].
pub(super) fn time_at(minutes: u64) -> UnixMs {
    UnixMs(NOW.0 + minutes * MINUTE_MS)
}
