//! A release's standing for the eye.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use crate::table::{Table, fine_figure};
use crate::{Outcome, Stop};
use jeffrey_edge::gate::figures::{Both, Figures};
use jeffrey_edge::gate::tally::Quantiles;
use jeffrey_edge::gate::words;
use jeffrey_edge::rollout::counts::Counts;
use jeffrey_edge::rollout::gate::Effect;
use jeffrey_edge::rollout::gate::finding::{Finding, Verdict};
use jeffrey_edge::rollout::state::Phase;
use jeffrey_edge::rollout::view::View;
use jeffrey_terms::{Share, UnixMs};

/// Signs of a bar.
const BAR: usize = 10;

/// What the gate says of a release.
#[derive(Deserialize)]
pub(crate) struct Status {
    pub(crate) release: String,
    #[serde(rename = "share_basis_points")]
    pub(crate) share: Share,
    killed: bool,
    pub(crate) rollout: Option<View>,
    /// What both cohorts did since the stage began; `None` where the ledger is away.
    figures: Option<Both>,
}

impl Status {
    pub(super) fn of(standing: Value) -> Result<Self, Stop> {
        Ok(serde_json::from_value(standing)?)
    }

    /// The time that stages are counted by, where a plan is in force.
    pub(crate) fn now(&self) -> Option<UnixMs> {
        self.rollout.as_ref().map(|view| view.now)
    }

    pub(super) fn seq(&self) -> u64 {
        self.rollout.as_ref().map_or(0, |view| view.seq)
    }

    /// Whether nothing more happens by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.rollout.as_ref().is_some_and(|view| {
            matches!(
                view.state.phase,
                Phase::Aborted { .. } | Phase::Promoted | Phase::RolledBack { .. }
            )
        })
    }

    pub(super) fn outcome(&self) -> Outcome {
        let Some(view) = &self.rollout else {
            return if self.killed { Outcome::Worse } else { Outcome::Fine };
        };
        let warns =
            |found: &Finding| found.effect == Effect::Warn && found.verdict == Verdict::Fail;
        match view.state.phase {
            Phase::Aborted { .. } | Phase::RolledBack { .. } => Outcome::Worse,
            _ if self.killed => Outcome::Worse,
            Phase::AwaitingApproval { .. }
            | Phase::Frozen
            | Phase::Holding { .. }
            | Phase::Paused { .. } => Outcome::Negative,
            _ if view.gates.findings.iter().any(warns) => Outcome::Negative,
            Phase::Idle | Phase::Promoted | Phase::Ramping | Phase::Watching => Outcome::Fine,
        }
    }

    /// All in one line.
    pub(super) fn line(&self) -> String {
        words::line(&self.release, self.share, self.killed, self.rollout.as_ref())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.line())?;
        let Some(view) = &self.rollout else { return Ok(()) };
        let rungs = view.stages.iter().enumerate().map(|(at, stage)| {
            let mark = match (at.cmp(&view.state.stage), &view.state.phase) {
                (_, Phase::Promoted) | (std::cmp::Ordering::Less, _) => "✓",
                (std::cmp::Ordering::Equal, Phase::RolledBack { .. } | Phase::Aborted { .. }) => {
                    "✗"
                }
                (std::cmp::Ordering::Equal, Phase::Idle) | (std::cmp::Ordering::Greater, _) => "○",
                (std::cmp::Ordering::Equal, _) => "●",
            };
            format!("{mark} {}", stage.share)
        });
        write!(f, "{}", rungs.collect::<Vec<_>>().join("  "))?;
        match view.minutes_left {
            Some(0) => write!(f, "   {} in this stage, its time is over", minutes(view.minutes))?,
            Some(left) => {
                write!(f, "   {} in this stage, {} to go", minutes(view.minutes), minutes(left))?
            }
            None => {}
        }
        if view.time_factor > 1 {
            write!(f, "   (a rehearsal, {} times as fast)", view.time_factor)?;
        }
        let samples = view.stages.get(view.state.stage).map_or(0, |stage| stage.samples);
        writeln!(f, "\n\n{}", cohorts(view, self.figures.as_ref()))?;
        writeln!(f, "{} of {samples} requests that this stage needs\n", view.gates.samples)?;
        write!(f, "{}", gates(view))
    }
}

/// Both cohorts side by side, since the stage began.
fn cohorts(view: &View, figures: Option<&Both>) -> Table {
    let mut table = Table::new(["since the stage began", "canary", "stable"]);
    let count = |of: fn(&Counts) -> u64| [of(&view.canary), of(&view.stable)];
    let part = |of: fn(&Counts) -> (u64, u64)| {
        [of(&view.canary), of(&view.stable)].map(|(hits, of)| match of {
            0 => "–".to_owned(),
            _ => format!("{:.2} %", 100.0 * hits as f64 / of as f64),
        })
    };
    let mut row = |name: &str, cells: [String; 2]| {
        let [canary, stable] = cells;
        table.row(vec![name.to_owned(), canary, stable]);
    };
    row("requests", count(|counts| counts.requests).map(|count| count.to_string()));
    row("errors, failed open", part(|c| (c.errors_5xx + c.failed_open, c.requests)));
    row("above 200 ms", part(|c| (c.slow, c.requests)));
    row("regex", part(|c| (c.regex, c.answers)));
    row("low confidence", part(|c| (c.low_confidence, c.answers)));
    row("rule applied", part(|c| (c.rule_applied, c.answers)));
    row("verdicts, bad", part(|c| (c.feedback_bad, c.feedback_bad + c.feedback_good)));
    if let Some(Both { canary, stable, shadows, shadows_agree }) = figures {
        let took = |of: fn(&Quantiles) -> f64| {
            [canary, stable].map(|side: &Figures| {
                side.latency_ms
                    .as_ref()
                    .map_or("–".to_owned(), |all| format!("{:.0} ms", of(all)))
            })
        };
        row("latency P50", took(|all| all.p50));
        row("latency P95", took(|all| all.p95));
        row("latency P99", took(|all| all.p99));
        if let Some(part) = shadows_agree {
            let agree = format!("{:.2} % of {shadows}", 100.0 * part);
            row("shadow agrees", [agree, "–".to_owned()]);
        }
    }
    table
}

/// Each gate, and how near it is to what it looks for.
fn gates(view: &View) -> Table {
    let mut table =
        Table::new(["gate", "does", "says", "value", "limit", "evidence", "decides in"]);
    for found in &view.gates.findings {
        let does = match found.effect {
            Effect::RollBack => "roll back",
            Effect::Warn => "warn",
            Effect::Advance => "rise",
        };
        table.row(vec![
            found.gate.clone(),
            does.to_owned(),
            found.verdict.name().to_owned(),
            fine_figure(found.value),
            fine_figure(found.limit),
            near(found),
            found.decides_in_minutes.map_or("–".to_owned(), minutes),
        ]);
    }
    table
}

/// Evidence against what it has to reach, as a bar.
fn near(found: &Finding) -> String {
    let (Some(evidence), Some(threshold)) = (found.ln_evidence, found.ln_threshold) else {
        return "–".to_owned();
    };
    let part = (evidence / threshold).clamp(0.0, 1.0);
    let full = (part * BAR as f64).round() as usize;
    format!("{}{} {:3.0} %", "█".repeat(full), "░".repeat(BAR - full), 100.0 * part)
}

/// A time of minutes for the eye.
fn minutes(minutes: u64) -> String {
    match minutes {
        0..60 => format!("{minutes} min"),
        60..2_880 => format!("{} h {:02} min", minutes / 60, minutes % 60),
        _ => format!("{} d {} h", minutes / 1_440, minutes / 60 % 24),
    }
}
