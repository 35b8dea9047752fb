//! Entries of a history for the eye.

use std::fmt::Write;

use crate::gate::report::Decision;
use crate::gate::webhook::{of_cause, told};
use crate::rollout::control::{Entry, Input};
use crate::rollout::gate::finding::Verdict;
use crate::rollout::state::{Action, Alert, Phase};
use crate::shell::cli::table::Table;
use crate::terms::UnixMs;

/// An empty table of entries.
pub(super) fn table() -> Table {
    Table::new(["id", "when", "what", "share", "then"])
}

/// Adds an entry, unless it is a minute in which nothing was decided.
pub(super) fn add(table: &mut Table, entry: &Entry) {
    if matches!(entry.what, Input::Minute { .. }) {
        return;
    }
    table.row(vec![
        entry.seq.to_string(),
        when(entry.now),
        what(&entry.what),
        entry.share.to_string(),
        then(entry),
    ]);
}

/// The last few of some entries.
pub(super) fn last(entries: &[Entry], most: usize) -> String {
    let decided: Vec<&Entry> =
        entries.iter().filter(|entry| !matches!(entry.what, Input::Minute { .. })).collect();
    let mut table = table();
    for entry in decided.iter().rev().take(most).rev() {
        add(&mut table, entry);
    }
    table.to_string()
}

/// Two sentences and a table.
pub(super) fn explained(entry: &Entry) -> String {
    let mut text = String::new();
    let stage = entry.state.stage + 1;
    // Writing into a String cannot fail.
    let _ = writeln!(
        text,
        "Entry {} of {}: {}. The release is {} now, at stage {stage} with a share of {}: {}.",
        entry.seq,
        when(entry.now),
        what(&entry.what),
        entry.state.phase.name(),
        entry.share,
        then(entry)
    );
    if let Some([canary, stable]) = &entry.counted {
        let errors =
            |counts: &crate::rollout::counts::Counts| counts.errors_5xx + counts.failed_open;
        let _ = writeln!(
            text,
            "Since the stage began: {} canary requests with {} errors, {} of stable's with {}.\n",
            canary.requests,
            errors(canary),
            stable.requests,
            errors(stable)
        );
    }
    if let Some(gates) = &entry.gates {
        let mut table = Table::new([
            "gate", "says", "value", "limit", "samples", "hits", "evidence", "needed", "crossed",
        ]);
        let number =
            |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.4}"));
        for found in &gates.findings {
            table.row(vec![
                found.gate.clone(),
                found.verdict.name().to_owned(),
                number(found.value),
                number(found.limit),
                found.samples.to_string(),
                found.hits.to_string(),
                number(found.ln_evidence),
                number(found.ln_threshold),
                found.crossed.map_or("–".to_owned(), |minute| when(UnixMs(minute * 60_000))),
            ]);
        }
        let _ = write!(text, "{table}");
        let failing: Vec<&str> = gates
            .findings
            .iter()
            .filter(|found| found.verdict == Verdict::Fail)
            .map(|found| found.gate.as_str())
            .collect();
        if !failing.is_empty() {
            let _ = writeln!(text, "\nfailing: {}", failing.join(", "));
        }
    }
    text
}

/// What a report says of an entry; nothing of a minute in which nothing was decided.
pub(in crate::shell::cli) fn decision(entry: &Entry) -> Option<Decision> {
    let decided = !matches!(entry.what, Input::Minute { .. }) || !entry.actions.is_empty();
    decided.then(|| Decision {
        id: entry.seq,
        at_ms: entry.now.0,
        what: what(&entry.what),
        then: then(entry),
    })
}

fn what(input: &Input) -> String {
    let who = |by: &str| if by.is_empty() { "somebody".to_owned() } else { by.to_owned() };
    match input {
        Input::Asked { by, command, .. } => format!("{} asked to {}", who(by), command.name()),
        Input::Breach { kind, .. } => format!("an isolate saw: {}", kind.name()),
        Input::Minute { minute } => {
            format!("the minute {} was counted", when(UnixMs(minute.minute * 60_000)))
        }
        Input::Planned { by, .. } => format!("{} brought a plan", who(by)),
        Input::Tick { withheld: Some(withheld), .. } => {
            format!("its minutes were looked at; {withheld}")
        }
        Input::Tick { .. } => "its minutes were looked at".to_owned(),
    }
}

fn then(entry: &Entry) -> String {
    let said = entry.actions.iter().filter_map(|action| match action {
        Action::Alert(Alert::RolledBack(cause)) => {
            Some(format!("rolled back: {}", of_cause(cause)))
        }
        Action::Alert(Alert::Refused(command)) => Some(format!("{} was refused", command.name())),
        Action::Alert(alert) => told(alert).map(|(_, _, text, _)| text),
        Action::SetShare(share) => Some(format!("the share is set to {share}")),
        Action::EnterStage | Action::ForgetEvidence => None,
    });
    let said: Vec<String> = said.collect();
    match (said.is_empty(), &entry.state.phase) {
        (false, _) => said.join("; "),
        (true, Phase::Paused { reason }) => format!("paused: {reason}"),
        (true, phase) => phase.name().to_owned(),
    }
}

/// A time in UTC, to the minute.
pub(in crate::shell::cli) fn when(at: UnixMs) -> String {
    let at = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or("?".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M").to_string())
}
