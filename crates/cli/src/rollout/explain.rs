//! Entries of a history for the eye.

use std::fmt::Write;

use crate::table::{Table, fine_figure};
use jeffrey_edge::gate::words::{then, what, when};
use jeffrey_edge::rollout::control::{Entry, Input};
use jeffrey_edge::rollout::gate::finding::Verdict;
use jeffrey_terms::UnixMs;

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
            |counts: &jeffrey_edge::rollout::counts::Counts| counts.errors_5xx + counts.failed_open;
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
        for found in &gates.findings {
            table.row(vec![
                found.gate.clone(),
                found.verdict.name().to_owned(),
                fine_figure(found.value),
                fine_figure(found.limit),
                found.samples.to_string(),
                found.hits.to_string(),
                fine_figure(found.ln_evidence),
                fine_figure(found.ln_threshold),
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
