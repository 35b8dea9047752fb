//! History entries as text: a table of many entries, or the description of one.
//!
//! Entries that only count a closed minute have no row in a table. The sentences are rendered from a
//! catalogue; the headings of the tables are English.

use std::fmt::Write;

use crate::table::{TextTable, format_4_decimals};
use jeffrey_edge::catalogue::render::Catalogue;
use jeffrey_edge::catalogue::time::format_utc_minute;
use jeffrey_edge::gateway::notify::messages::{
    describe_counts, describe_effects, describe_entry, describe_input,
};
use jeffrey_edge::rollout::gate::finding::GateVerdict;
use jeffrey_edge::rollout::history::{HistoryEntry, RolloutInput};
use jeffrey_terms::UnixMs;

/// Returns a table of history entries without rows.
pub(super) fn empty_history_table() -> TextTable {
    TextTable::new(["id", "when", "event", "share", "result"])
}

/// Adds a row for an entry, unless the entry only counts a closed minute.
pub(super) fn push_entry(table: &mut TextTable, entry: &HistoryEntry, catalogue: Catalogue) {
    if matches!(entry.input, RolloutInput::Minute { .. }) {
        return;
    }
    table.push_row(vec![
        entry.seq.to_string(),
        format_utc_minute(entry.now),
        catalogue.render(&describe_input(&entry.input)),
        entry.share.to_string(),
        catalogue.render(&describe_effects(entry)),
    ]);
}

/// Formats a table of the last `entries_max` entries that do more than count a minute.
pub(super) fn format_last_entries(
    entries: &[HistoryEntry],
    catalogue: Catalogue,
    entries_max: usize,
) -> String {
    let decided: Vec<&HistoryEntry> = entries
        .iter()
        .filter(|entry| !matches!(entry.input, RolloutInput::Minute { .. }))
        .collect();
    let mut table = empty_history_table();
    for entry in decided.iter().rev().take(entries_max).rev() {
        push_entry(&mut table, entry, catalogue);
    }
    table.to_string()
}

/// Describes an entry in two sentences, with a table of its gate findings.
pub(super) fn format_entry(entry: &HistoryEntry, catalogue: Catalogue) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{}", catalogue.render(&describe_entry(entry)));
    if let Some(counts) = &entry.counts {
        let _ = writeln!(text, "{}\n", catalogue.render(&describe_counts(counts)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use jeffrey_edge::rollout::command::OperatorCommand;
    use jeffrey_edge::rollout::counts::CohortCounts;
    use jeffrey_edge::rollout::effect::RolloutAction;
    use jeffrey_edge::rollout::phase::Phase;
    use jeffrey_edge::rollout::progress::PlanProgress;
    use jeffrey_terms::by_cohort::ByCohort;

    #[test]
    fn an_entry_is_explained_in_the_language_that_is_asked_for() {
        let now = UnixMs(1_795_392_000_000);
        let counts = CohortCounts { requests: 10, errors_5xx: 1, ..CohortCounts::default() };
        let entry = HistoryEntry {
            seq: 7,
            now,
            input: RolloutInput::Command {
                actor: "alice".to_owned(),
                command: OperatorCommand::Start,
                blocked_by: None,
                last_complete_minute: 1,
            },
            state: PlanProgress { phase: Phase::Ramping, ..PlanProgress::idle(now) },
            share: "12.5%".parse().unwrap(),
            actions: vec![RolloutAction::SetShare("12.5%".parse().unwrap())],
            gates: None,
            counts: Some(ByCohort { canary: counts, stable: CohortCounts::default() }),
        };
        assert_eq!(
            format_entry(&entry, Catalogue::ENGLISH),
            "Entry 7 at 2026-11-23 00:00: alice asked to start. Release is now ramping in stage 1, \
             traffic share 12.50%: the share is set to 12.50%.\n\
             Since the stage began: 10 canary requests with 1 errors, 0 stable requests with 0.\n\n"
        );
        assert_eq!(
            format_entry(&entry, Catalogue::FRENCH),
            "Entrée 7 du 2026-11-23 00:00 : alice a demandé : commencer. Le déploiement est maintenant \
             en montée au palier 1, part du trafic 12,50 % : la part est fixée à 12,50 %.\n\
             Depuis le début du palier : 10 requêtes du canari dont 1 en erreur, 0 requêtes stables \
             dont 0.\n\n"
        );
        let mut table = empty_history_table();
        push_entry(&mut table, &entry, Catalogue::FRENCH);
        assert!(table.to_string().contains("alice a demandé : commencer"), "{table}");
    }
}
