//! The status of a release as text, for `jeffrey rollout status` and `watch`.
//!
//! Shows a summary line, the stages, the counts of both cohorts and the findings of all gates. The
//! exit status of both commands follows from the phase and from failed warning gates.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use crate::table::{TextTable, format_4_decimals, format_gate_effect};
use crate::{CliError, ExitStatus};
use jeffrey_edge::catalogue::render::Catalogue;
use jeffrey_edge::gateway::aggregate::summary::{CohortSummary, SummaryByCohort};
use jeffrey_edge::gateway::aggregate::totals::LatencyQuantiles;
use jeffrey_edge::gateway::notify::messages;
use jeffrey_edge::rollout::counts::CohortCounts;
use jeffrey_edge::rollout::gate::GateEffect;
use jeffrey_edge::rollout::gate::finding::{GateFinding, GateVerdict};
use jeffrey_edge::rollout::phase::Phase;
use jeffrey_edge::rollout::status::RolloutStatus;
use jeffrey_terms::by_cohort::ByCohort;
use jeffrey_terms::{Share, UnixMs};

/// Width of an evidence bar, in characters.
const BAR_WIDTH: usize = 10;

/// Status of a release, as the gateway's admin API returns it.
#[derive(Deserialize)]
pub(crate) struct ReleaseStatus {
    pub(crate) release: String,
    #[serde(rename = "share_basis_points")]
    pub(crate) share: Share,
    killed: bool,
    pub(crate) rollout: Option<RolloutStatus>,
    /// Summary of both cohorts since the stage began; `None` without a plan, or if the event
    /// store did not respond.
    figures: Option<SummaryByCohort>,
}

impl ReleaseStatus {
    pub(super) fn from_json(status: Value) -> Result<Self, CliError> {
        Ok(serde_json::from_value(status)?)
    }

    /// Returns the time by which stages are measured; `None` if no plan is active.
    pub(crate) fn now(&self) -> Option<UnixMs> {
        self.rollout.as_ref().map(|rollout| rollout.now)
    }

    pub(super) fn seq(&self) -> u64 {
        self.rollout.as_ref().map_or(0, |rollout| rollout.seq)
    }

    /// Returns whether the rollout has ended, so that only a command can change it.
    pub(super) fn has_ended(&self) -> bool {
        self.rollout.as_ref().is_some_and(|rollout| {
            matches!(
                rollout.state.phase,
                Phase::Aborted { .. } | Phase::Promoted | Phase::RolledBack { .. }
            )
        })
    }

    pub(super) fn exit_status(&self) -> ExitStatus {
        let Some(rollout) = &self.rollout else {
            return if self.killed { ExitStatus::Failed } else { ExitStatus::Success };
        };
        let is_failed_warning = |finding: &GateFinding| {
            finding.effect == GateEffect::Warn && finding.verdict == GateVerdict::Fail
        };
        match rollout.state.phase {
            Phase::Aborted { .. } | Phase::RolledBack { .. } => ExitStatus::Failed,
            _ if self.killed => ExitStatus::Failed,
            Phase::AwaitingApproval { .. }
            | Phase::Frozen
            | Phase::Holding { .. }
            | Phase::Paused { .. } => ExitStatus::Negative,
            _ if rollout.gates.findings.iter().any(is_failed_warning) => ExitStatus::Negative,
            Phase::Idle | Phase::Promoted | Phase::Ramping | Phase::Watching => ExitStatus::Success,
        }
    }

    /// Returns a summary of the release in one line.
    pub(super) fn summary_line(&self, catalogue: Catalogue) -> String {
        let rollout = self.rollout.as_ref();
        let message = messages::describe_status(&self.release, self.share, self.killed, rollout);
        catalogue.render(&message)
    }

    /// Returns the whole status as text, its sentence in the language of `catalogue`.
    pub(super) const fn to_text(&self, catalogue: Catalogue) -> ReleaseStatusText<'_> {
        ReleaseStatusText { status: self, catalogue }
    }
}

/// Status of a release with the language of its sentence.
pub(super) struct ReleaseStatusText<'a> {
    status: &'a ReleaseStatus,
    catalogue: Catalogue,
}

impl fmt::Display for ReleaseStatusText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.status.summary_line(self.catalogue))?;
        let Some(rollout) = &self.status.rollout else { return Ok(()) };
        let stage_marks = rollout.stages.iter().enumerate().map(|(index, stage)| {
            let symbol = match (index.cmp(&rollout.state.stage), &rollout.state.phase) {
                (_, Phase::Promoted) | (std::cmp::Ordering::Less, _) => "✓",
                (std::cmp::Ordering::Equal, Phase::RolledBack { .. } | Phase::Aborted { .. }) => {
                    "✗"
                }
                (std::cmp::Ordering::Equal, Phase::Idle) | (std::cmp::Ordering::Greater, _) => "○",
                (std::cmp::Ordering::Equal, _) => "●",
            };
            format!("{symbol} {}", stage.share)
        });
        write!(f, "{}", stage_marks.collect::<Vec<_>>().join("  "))?;
        match rollout.minutes_left {
            Some(0) => write!(
                f,
                "   {} in this stage, minimum duration reached",
                format_minutes(rollout.minutes_in_stage)
            )?,
            Some(left) => write!(
                f,
                "   {} in this stage, {} to go",
                format_minutes(rollout.minutes_in_stage),
                format_minutes(left)
            )?,
            None => {}
        }
        if rollout.time_scale > 1 {
            write!(f, "   (test mode, time scale {}×)", rollout.time_scale)?;
        }
        let samples_needed =
            rollout.stages.get(rollout.state.stage).map_or(0, |stage| stage.min_samples);
        writeln!(f, "\n\n{}", cohorts_table(rollout, self.status.figures.as_ref()))?;
        writeln!(
            f,
            "{} of {samples_needed} minimum samples of this stage\n",
            rollout.gates.samples
        )?;
        write!(f, "{}", gates_table(rollout))
    }
}

/// Returns a table of both cohorts side by side, counted since the stage began.
fn cohorts_table(rollout: &RolloutStatus, figures: Option<&SummaryByCohort>) -> TextTable {
    let mut table = TextTable::new(["since the stage began", "canary", "stable"]);
    let counts = ByCohort { canary: &rollout.canary, stable: &rollout.stable };
    let count = |pick: fn(&CohortCounts) -> u64| counts.map(pick);
    let percentages = |pick: fn(&CohortCounts) -> (u64, u64)| {
        counts.map(pick).map(|(hits, total)| match total {
            0 => "–".to_owned(),
            _ => format!("{:.2} %", 100.0 * hits as f64 / total as f64),
        })
    };
    let mut push_row = |name: &str, cells: ByCohort<String>| {
        let ByCohort { canary, stable } = cells;
        table.push_row(vec![name.to_owned(), canary, stable]);
    };
    push_row("requests", count(|counts| counts.requests).map(|count| count.to_string()));
    push_row("errors, failed open", percentages(|c| (c.errors_5xx + c.fallbacks, c.requests)));
    push_row("above 200 ms", percentages(|c| (c.slow, c.requests)));
    push_row("regex", percentages(|c| (c.regex, c.scored_responses)));
    push_row("low confidence", percentages(|c| (c.low_confidence, c.scored_responses)));
    push_row("rule applied", percentages(|c| (c.rule_applied, c.scored_responses)));
    push_row("feedback, bad", percentages(|c| (c.feedback_bad, c.feedback_bad + c.feedback_good)));
    if let Some(SummaryByCohort { canary, stable, shadow_count: shadows, shadows_agree }) = figures
    {
        let latencies = |pick: fn(&LatencyQuantiles) -> f64| {
            ByCohort { canary, stable }.map(|cohort_figures: &CohortSummary| {
                cohort_figures
                    .latency_ms
                    .as_ref()
                    .map_or("–".to_owned(), |quantiles| format!("{:.0} ms", pick(quantiles)))
            })
        };
        push_row("latency P50", latencies(|quantiles| quantiles.p50));
        push_row("latency P95", latencies(|quantiles| quantiles.p95));
        push_row("latency P99", latencies(|quantiles| quantiles.p99));
        if let Some(share) = shadows_agree {
            let agree = format!("{:.2} % of {shadows}", 100.0 * share);
            push_row("shadow agrees", ByCohort { canary: agree, stable: "–".to_owned() });
        }
    }
    table
}

/// Returns a table of all gates, with the evidence of each relative to its threshold.
fn gates_table(rollout: &RolloutStatus) -> TextTable {
    let mut table =
        TextTable::new(["gate", "effect", "verdict", "value", "limit", "evidence", "decides in"]);
    for finding in &rollout.gates.findings {
        table.push_row(vec![
            finding.gate.clone(),
            format_gate_effect(finding.effect).to_owned(),
            finding.verdict.name().to_owned(),
            format_4_decimals(finding.value),
            format_4_decimals(finding.limit),
            evidence_bar(finding),
            finding.decides_in_minutes.map_or("–".to_owned(), format_minutes),
        ]);
    }
    table
}

/// Draws the evidence relative to its threshold as a bar; a dash without evidence.
fn evidence_bar(finding: &GateFinding) -> String {
    let (Some(evidence), Some(threshold)) = (finding.ln_evidence, finding.ln_threshold) else {
        return "–".to_owned();
    };
    let progress = (evidence / threshold).clamp(0.0, 1.0);
    let filled = (progress * BAR_WIDTH as f64).round() as usize;
    format!("{}{} {:3.0} %", "█".repeat(filled), "░".repeat(BAR_WIDTH - filled), 100.0 * progress)
}

/// Formats minutes as text, such as `12 min`, `9 h 12 min` or `2 d 3 h`.
fn format_minutes(minutes: u64) -> String {
    match minutes {
        0..60 => format!("{minutes} min"),
        60..2_880 => format!("{} h {:02} min", minutes / 60, minutes % 60),
        _ => format!("{} d {} h", minutes / 1_440, minutes / 60 % 24),
    }
}
