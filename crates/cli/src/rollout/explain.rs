//! History entries as text: a table of many entries, or the description of one.
//!
//! Entries that only count a closed minute have no row in a table. The sentences about inputs and
//! effects are those of the gateway's messages.

use std::fmt::Write;

use crate::table::{TextTable, format_4_decimals};
use jeffrey_edge::gateway::notify::messages::{describe_effects, describe_input};
use jeffrey_edge::gateway::notify::time::format_utc_minute;
use jeffrey_edge::rollout::gate::finding::GateVerdict;
use jeffrey_edge::rollout::history::{HistoryEntry, RolloutInput};
use jeffrey_terms::UnixMs;
use jeffrey_terms::by_cohort::ByCohort;

/// Returns a table of history entries without rows.
pub(super) fn empty_history_table() -> TextTable {
    TextTable::new(["id", "when", "event", "share", "result"])
}

/// Adds a row for an entry, unless the entry only counts a closed minute.
pub(super) fn push_entry(table: &mut TextTable, entry: &HistoryEntry) {
    if matches!(entry.input, RolloutInput::Minute { .. }) {
        return;
    }
    table.push_row(vec![
        entry.seq.to_string(),
        format_utc_minute(entry.now),
        describe_input(&entry.input),
        entry.share.to_string(),
        describe_effects(entry),
    ]);
}

/// Formats a table of the last `entries_max` entries that do more than count a minute.
pub(super) fn format_last_entries(entries: &[HistoryEntry], entries_max: usize) -> String {
    let decided: Vec<&HistoryEntry> = entries
        .iter()
        .filter(|entry| !matches!(entry.input, RolloutInput::Minute { .. }))
        .collect();
    let mut table = empty_history_table();
    for entry in decided.iter().rev().take(entries_max).rev() {
        push_entry(&mut table, entry);
    }
    table.to_string()
}

/// Describes an entry in two sentences, with a table of its gate findings.
pub(super) fn format_entry(entry: &HistoryEntry) -> String {
    let mut text = String::new();
    let stage = entry.state.stage + 1;
    // Writing into a String cannot fail.
    let _ = writeln!(
        text,
        "Entry {} at {}: {}. Release is now {} in stage {stage}, traffic share {}: {}.",
        entry.seq,
        format_utc_minute(entry.now),
        describe_input(&entry.input),
        entry.state.phase.name(),
        entry.share,
        describe_effects(entry)
    );
    if let Some(ByCohort { canary, stable }) = &entry.counts {
        let count_errors = |counts: &jeffrey_edge::rollout::counts::CohortCounts| {
            counts.errors_5xx + counts.fallbacks
        };
        let _ = writeln!(
            text,
            "Since the stage began: {} canary requests with {} errors, {} stable requests with {}.\n",
            canary.requests,
            count_errors(canary),
            stable.requests,
            count_errors(stable)
        );
    }
    if let Some(gates) = &entry.gates {
        let mut table = TextTable::new([
            "gate",
            "verdict",
            "value",
            "limit",
            "samples",
            "hits",
            "evidence",
            "needed",
            "failed at",
        ]);
        for finding in &gates.findings {
            table.push_row(vec![
                finding.gate.clone(),
                finding.verdict.name().to_owned(),
                format_4_decimals(finding.value),
                format_4_decimals(finding.limit),
                finding.samples.to_string(),
                finding.hits.to_string(),
                format_4_decimals(finding.ln_evidence),
                format_4_decimals(finding.ln_threshold),
                finding
                    .failed_at_minute
                    .map_or("–".to_owned(), |minute| format_utc_minute(UnixMs(minute * 60_000))),
            ]);
        }
        let _ = write!(text, "{table}");
        let failing: Vec<&str> = gates
            .findings
            .iter()
            .filter(|finding| finding.verdict == GateVerdict::Fail)
            .map(|finding| finding.gate.as_str())
            .collect();
        if !failing.is_empty() {
            let _ = writeln!(text, "\nfailing: {}", failing.join(", "));
        }
    }
    text
}
