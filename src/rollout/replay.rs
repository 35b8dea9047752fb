//! The replay of an exported history: decides every input again and compares the entries.
//!
//! The same inputs in the same order make the same release again, to the last bit.

use super::controller::RolloutController;
use super::history::{HistoryEntry, RolloutInput};
use super::plan::Plan;

/// Counts of a history that was replayed without a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryReplaySummary {
    /// Number of history entries.
    pub entries: u64,
    /// Number of entries that led to an action.
    pub decisions: u64,
}

/// First difference between a history and the decisions that its inputs lead to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayMismatch {
    /// A line is not a history entry.
    #[error("line {line} is no entry of a history")]
    Malformed {
        /// Line of the export, from 1.
        line: u64,
    },
    /// The entries' numbers have a gap, or go back.
    #[error(
        "line {line} has number {found}, expected was {expected}: something is missing or doubled"
    )]
    Gap {
        /// Line of the export, from 1.
        line: u64,
        /// Number that the entry should have.
        expected: u64,
        /// Number that the entry has.
        found: u64,
    },
    /// The first line has no plan, or a later line has a plan that is not valid.
    #[error("line {line} should bring a plan into force, and does not")]
    Plan {
        /// Line of the export, from 1.
        line: u64,
    },
    /// The recorded entry differs from the one that the same input leads to.
    #[error(
        "entry {seq} was recorded otherwise than its inputs decide: recorded `{recorded}`, decided `{decided}`"
    )]
    Decision {
        /// Number of the entry.
        seq: u64,
        /// Recorded text around the first difference.
        recorded: String,
        /// Text of the repeated decision around the first difference.
        decided: String,
    },
}

/// Replays an exported history line by line, and compares every entry to the last bit.
///
/// # Errors
/// [`ReplayMismatch`] when a line is not the entry that its inputs lead to; it names the first such
/// line.
pub fn replay<'a>(
    lines: impl IntoIterator<Item = &'a str>,
) -> Result<HistoryReplaySummary, ReplayMismatch> {
    let mut current: Option<(Plan, RolloutController)> = None;
    let mut summary = HistoryReplaySummary { entries: 0, decisions: 0 };
    for (text, line) in lines.into_iter().filter(|line| !line.trim().is_empty()).zip(1..) {
        let recorded: HistoryEntry =
            serde_json::from_str(text).map_err(|_| ReplayMismatch::Malformed { line })?;
        let read_plan = |text: &str| Plan::read(text).map_err(|_| ReplayMismatch::Plan { line });
        if let RolloutInput::PlanApplied { plan: text, .. } = &recorded.input {
            let plan = read_plan(text)?;
            // Before the first plan, the release has not started.
            let controller = match current.take() {
                Some((_, controller)) => controller,
                None => RolloutController::new(&plan, recorded.now, 0),
            };
            current = Some((plan, controller));
        }
        let Some((plan, controller)) = current.as_mut() else {
            return Err(ReplayMismatch::Plan { line });
        };
        if recorded.seq != controller.seq + 1 {
            let (expected, found) = (controller.seq + 1, recorded.seq);
            return Err(ReplayMismatch::Gap { line, expected, found });
        }
        let (next, entry) = controller.apply(plan, &recorded.input, recorded.now);
        let decided = entry.map_or("nothing".to_owned(), |entry| {
            serde_json::to_string(&entry).unwrap_or_default()
        });
        if decided != text.trim() {
            let mismatch_index =
                decided.bytes().zip(text.trim().bytes()).take_while(|(a, b)| a == b).count();
            let excerpt = |text: &str| {
                let from = text.floor_char_boundary(mismatch_index.saturating_sub(20));
                text[from..].chars().take(60).collect::<String>()
            };
            let (recorded, decided) = (excerpt(text.trim()), excerpt(&decided));
            return Err(ReplayMismatch::Decision { seq: controller.seq + 1, recorded, decided });
        }
        *controller = next;
        summary.entries += 1;
        summary.decisions += u64::from(!recorded.actions.is_empty());
    }
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rollout::advance_checks::AdvanceBlocked;
    use crate::rollout::command::OperatorCommand;
    use crate::rollout::effect::RolloutAction;
    use crate::rollout::plan::DEFAULT_PLAN_TOML;
    use crate::rollout::release_state::HardFailureKind;
    use crate::rollout::replay_harness::{
        NOW, ReplayHarness, command_input, first_minute, minute, time_at,
    };
    use jeffrey_terms::{Cohort, Share};

    #[test]
    fn a_doubled_minute_is_no_entry_and_a_changed_history_is_found() {
        let mut run = ReplayHarness::new(DEFAULT_PLAN_TOML);
        run.feed(&command_input(OperatorCommand::Start, first_minute()), NOW);
        let input = RolloutInput::Minute { minute: minute(first_minute() + 1, 3) };
        assert!(run.feed(&input, time_at(2)).is_some());
        assert!(run.feed(&input, time_at(2)).is_none());
        assert_eq!(run.controller.stage_counts(Cohort::Canary).requests, 60);
        run.feed(
            &command_input(
                OperatorCommand::Pause { reason: "lunch".to_owned() },
                first_minute() + 1,
            ),
            time_at(3),
        );
        run.replay().unwrap();
        let lines = run.lines.clone();
        let changed = |from: &str, to: &str| {
            let lines: Vec<String> = lines.iter().map(|line| line.replace(from, to)).collect();
            assert_ne!(lines, run.lines, "{from}");
            replay(lines.iter().map(String::as_str)).unwrap_err()
        };
        assert!(matches!(
            changed("\"errors_5xx\":3", "\"errors_5xx\":4"),
            ReplayMismatch::Decision { .. }
        ));
        assert!(matches!(
            changed("\"phase\":\"paused\"", "\"phase\":\"holding\""),
            ReplayMismatch::Malformed { .. } | ReplayMismatch::Decision { .. }
        ));
        let missing = [&lines[..2], &lines[3..]].concat();
        let missing = replay(missing.iter().map(String::as_str)).unwrap_err();
        assert_eq!(missing, ReplayMismatch::Gap { line: 3, expected: 3, found: 4 });
        assert_eq!(
            replay(lines[1..].iter().map(String::as_str)),
            Err(ReplayMismatch::Plan { line: 1 })
        );
        assert_eq!(replay(["no entry"]), Err(ReplayMismatch::Malformed { line: 1 }));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

        /// For any inputs in any order, the canary's share is the one that the actions set, and the
        /// history makes the same release again.
        #[test]
        fn every_history_replays(inputs in prop::collection::vec((0_u8..9, 0_u64..6, 0_u64..30), 1..120)) {
            let mut run = ReplayHarness::new(DEFAULT_PLAN_TOML);
            let mut share = Share::NONE;
            let mut clock = 0;
            for (what, number, errors) in inputs {
                clock += number;
                let closed = first_minute() + clock;
                let reason = "because".to_owned();
                let withheld = (errors % 3 == 0).then_some(AdvanceBlocked::ValidationMissing);
                let input = match what {
                    0 => command_input(OperatorCommand::Start, closed),
                    1 => command_input(OperatorCommand::Resume { reason }, closed),
                    2 => command_input(OperatorCommand::Pause { reason }, closed),
                    3 => command_input(OperatorCommand::Advance { reason }, closed),
                    4 => RolloutInput::HardFailure { kind: HardFailureKind::Trap, last_complete_minute: closed },
                    5 => RolloutInput::Tick { blocked_by: withheld, last_complete_minute: closed },
                    _ => RolloutInput::Minute { minute: minute(closed.saturating_sub(errors), errors) },
                };
                let entry = run.feed(&input, time_at(clock + 1));
                for action in entry.iter().flat_map(|entry| &entry.actions) {
                    if let RolloutAction::SetShare(set) = action {
                        share = *set;
                    }
                }
                prop_assert_eq!(run.controller.state.share(&run.plan), share);
            }
            let replayed = run.replay();
            prop_assert!(replayed.is_ok(), "{:?}", replayed);
        }
    }
}
