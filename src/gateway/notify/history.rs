//! Decisions of a rollout's history as messages and figures.
//!
//! [`parse_decisions`] and [`summarize_entry`] leave out minutes that led to no action.

use super::messages::{describe_effects, describe_input};
use serde::Serialize;

use crate::catalogue::render::{Catalogue, RenderedMessage};
use crate::rollout::counts::CohortCounts;
use crate::rollout::gate::summary::GateSummary;
use crate::rollout::history::{HistoryEntry, RolloutInput};
use jeffrey_terms::Share;
use jeffrey_terms::by_cohort::{ByCohort, as_array};

/// One decision in the history of a rollout, as messages and figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DecisionSummary {
    /// Number of its history entry.
    pub id: u64,
    /// Time of the decision, in milliseconds since 1970.
    pub at_ms: u64,
    /// Description of the input, such as a command or a hard failure.
    pub trigger: RenderedMessage,
    /// Description of the effects, such as a new share.
    pub outcome: RenderedMessage,
    /// Name of the phase after the decision.
    pub phase: String,
    /// Canary share after the decision.
    #[serde(rename = "share_basis_points")]
    pub share: Share,
    /// Summary of the gates at the decision; `None` if they were not evaluated, as for a new plan.
    pub gates: Option<GateSummary>,
    /// Counts of canary and stable since the stage began; `None` if the gates were not evaluated.
    #[serde(with = "as_array::option")]
    pub counts: Option<ByCohort<CohortCounts>>,
}

/// Decisions in one page of a rollout history.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DecisionPage {
    /// Decisions of the page, earliest first; empty if the page holds only counted minutes.
    pub decisions: Vec<DecisionSummary>,
    /// Number of the last entry that was read, after which the next page begins; the requested
    /// number if the page is empty.
    pub after: u64,
}

/// Parses history lines that follow entry number `after` into a page of decisions, with English
/// texts. A line that is not an entry is skipped.
pub fn parse_decisions(lines: &[u8], after: u64) -> DecisionPage {
    let mut page = DecisionPage { decisions: Vec::new(), after };
    for line in lines.split(|byte| *byte == b'\n') {
        if let Ok(entry) = serde_json::from_slice::<HistoryEntry>(line) {
            page.after = entry.seq;
            page.decisions.extend(summarize_entry(&entry, Catalogue::ENGLISH));
        }
    }
    page
}

/// Describes a history entry as a decision, with texts in the language of `catalogue`; `None` for a
/// minute that led to no action.
pub fn summarize_entry(entry: &HistoryEntry, catalogue: Catalogue) -> Option<DecisionSummary> {
    let decided = !matches!(entry.input, RolloutInput::Minute { .. }) || !entry.actions.is_empty();
    decided.then(|| DecisionSummary {
        id: entry.seq,
        at_ms: entry.now.0,
        trigger: RenderedMessage::new(describe_input(&entry.input), catalogue),
        outcome: RenderedMessage::new(describe_effects(entry), catalogue),
        phase: entry.state.phase.name().to_owned(),
        share: entry.share,
        gates: entry.gates.clone(),
        counts: entry.counts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::command::OperatorCommand;
    use crate::rollout::controller::RolloutController;
    use crate::rollout::counts::ClosedMinute;
    use crate::rollout::plan::{DEFAULT_PLAN_TOML, Plan};
    use jeffrey_terms::UnixMs;

    #[test]
    fn minutes_without_a_decision_are_skipped() {
        let plan = Plan::read(DEFAULT_PLAN_TOML).unwrap();
        let now = UnixMs(60_000 * 100);
        let start_command = RolloutInput::Command {
            actor: String::new(),
            command: OperatorCommand::Start,
            blocked_by: None,
            last_complete_minute: 99,
        };
        let (mut control, first_entry) =
            RolloutController::new(&plan, now, 0).apply(&plan, &start_command, now);
        let mut lines = serde_json::to_vec(&first_entry.unwrap()).unwrap();
        for minute in 101..104 {
            let minute_input = RolloutInput::Minute {
                minute: Box::new(ClosedMinute { minute, ..ClosedMinute::default() }),
            };
            let (next, entry) = control.apply(&plan, &minute_input, UnixMs(60_000 * (minute + 1)));
            control = next;
            lines.push(b'\n');
            lines.extend(serde_json::to_vec(&entry.unwrap()).unwrap());
        }
        let DecisionPage { decisions: summaries, after } = parse_decisions(&lines, 0);
        assert_eq!((summaries.len(), after), (1, control.seq));
        assert_eq!(
            (summaries[0].id, summaries[0].trigger.text.as_str()),
            (1, "an operator asked to start")
        );
        let quiet_lines = lines.splitn(2, |byte| *byte == b'\n').nth(1).unwrap();
        assert_eq!(
            parse_decisions(quiet_lines, 1),
            DecisionPage { decisions: Vec::new(), after: control.seq }
        );
        assert_eq!(parse_decisions(b"", 7).after, 7);
    }
}
