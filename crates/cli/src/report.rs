//! `jeffrey report`: a week of a release, as Markdown or JSON.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use super::progress::Progress;
use super::rollout::{Gate, Standing};
use super::table::figure;
use super::{Outcome, Stop, print_json};
use jeffrey_edge::gate::figures::{Both, Figures, moved};
use jeffrey_edge::gate::report::{Day, Report, Span};
use jeffrey_edge::gate::tally::Totals;
use jeffrey_edge::gate::words::{Decision, decision, when};
use jeffrey_terms::{Label, UnixMs};

/// Say what the last seven days of a release amount to
#[derive(clap::Args)]
#[command(
    after_help = "The gate is asked with JEFFREY_VIEWER_TOKEN, or with JEFFREY_ADMIN_TOKEN. Minutes count as the \
                  gates count them: requests that are evidence, by the cohort of their subject.\n\n\
                  Exit codes: 0 fine, 1 a week without a request, 2 usage or connection.\n\n\
                  Examples:\n  \
                  jeffrey report --week > week.md\n  \
                  jeffrey report --week --json --gate https://gate.example/_jeffrey"
)]
pub(super) struct Arguments {
    /// The seven days that end now
    #[arg(long, required = true)]
    week: bool,
    /// The gate, up to its own prefix
    #[arg(long, value_name = "URL", env = "JEFFREY_GATE")]
    #[arg(default_value = "http://127.0.0.1:8787/_jeffrey")]
    gate: String,
    /// One JSON object instead of Markdown
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Stop> {
    let gate = Gate::new(&arguments.gate)?;
    let standing: Standing = serde_json::from_value(gate.standing()?)?;
    let now = standing.now().unwrap_or_else(super::token::now);
    let week = Span::week(now.0 / 60_000);
    let days: Vec<Span> = week.days().collect();
    let mut progress = Progress::new(Some(days.len() as u64 + 3));
    let mut asked = |span: Span| {
        progress.step();
        gate.totals(span)
    };
    let (of_week, previous) = (asked(week)?, asked(week.previous())?);
    let mut of_days = Vec::new();
    for day in days {
        of_days.push(Day { from_ms: day.begins().0, both: Both::of(&asked(day)?) });
    }
    let entries = gate.entries(0)?;
    let entries = entries.iter().filter(|entry| entry.now >= week.begins());
    drop(progress);
    let decisions = entries.filter_map(decision).collect();
    let (both, before) = (Both::of(&of_week), Both::of(&previous));
    let Totals { canary, stable } = of_week;
    let report = Report {
        release: standing.release,
        share_basis_points: standing.share.basis_points(),
        phase: standing.rollout.map(|view| view.phase),
        from_ms: week.begins().0,
        to_ms: now.0,
        labels_moved: moved(&both.canary, &before.canary),
        week: both,
        previous: before,
        days: of_days,
        rules: canary.tally.rules.into_iter().collect(),
        leaks: canary.tally.leaks + stable.tally.leaks,
        decisions,
    };
    if arguments.json {
        print_json(&report)?;
    } else {
        io::stdout().write_all(markdown(&report).as_bytes())?;
    }
    let requests = report.week.canary.requests + report.week.stable.requests;
    Ok(if requests > 0 { Outcome::Fine } else { Outcome::Negative })
}

fn markdown(report: &Report) -> String {
    let Report { release, week, previous, .. } = report;
    let share = f64::from(report.share_basis_points) / 100.0;
    let phase = report.phase.as_deref().map_or(String::new(), |phase| format!(", {phase}"));
    let mut text = String::new();
    let mut line = |line: String| {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{line}");
    };
    line(format!(
        "# {release}, {} to {}\n",
        when(UnixMs(report.from_ms)),
        when(UnixMs(report.to_ms))
    ));
    line(format!("Share {share} %{phase}. Times are UTC.\n"));
    line("| | canary | stable | canary, the week before |".to_owned());
    line("|---|---|---|---|".to_owned());
    for (name, of) in ROWS {
        let [canary, stable, before] = [&week.canary, &week.stable, &previous.canary].map(of);
        line(format!("| {name} | {canary} | {stable} | {before} |"));
    }
    line(
        "\n## Days\n\n| from | canary | errors | low confidence | P95 | stable | errors | P95 |"
            .to_owned(),
    );
    line("|---|---|---|---|---|---|---|---|".to_owned());
    for Day { from_ms, both: Both { canary, stable, .. } } in &report.days {
        line(format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            when(UnixMs(*from_ms)),
            canary.requests,
            percent(canary.errors),
            percent(canary.low_confidence),
            milliseconds(canary, |of| of.p95),
            stable.requests,
            percent(stable.errors),
            milliseconds(stable, |of| of.p95),
        ));
    }
    line("\n## Labels\n\n| | canary | stable | canary, the week before |".to_owned());
    line("|---|---|---|---|".to_owned());
    for label in Label::ALL {
        let part = |of: &Figures| percent(of.labels.map(|labels| labels[label.index()]));
        let (now, old, before) = (part(&week.canary), part(&week.stable), part(&previous.canary));
        line(format!("| {} | {now} | {old} | {before} |", label.name()));
    }
    if let Some(moved) = report.labels_moved {
        line(format!(
            "\n{} of the canary's answers have another label than in the week before.",
            percent(Some(moved))
        ));
    }
    if week.shadows > 0 {
        line(format!(
            "\nOf {} answers of the old system the model agrees with {}.",
            week.shadows,
            percent(week.shadows_agree)
        ));
    }
    if !report.rules.is_empty() {
        let rules = report.rules.iter().map(|(rule, count)| format!("`{rule}` {count}"));
        line(format!("\nRules applied: {}.", rules.collect::<Vec<_>>().join(", ")));
    }
    line("\n## Decisions\n".to_owned());
    for Decision { id, at_ms, what, then, .. } in &report.decisions {
        line(format!("- {} ({id}) {}: {}", when(UnixMs(*at_ms)), escaped(what), escaped(then)));
    }
    if report.decisions.is_empty() {
        line("None.".to_owned());
    }
    line("\n## To do\n".to_owned());
    let unsure = week.canary.low_confidence_answers;
    line(format!(
        "- {unsure} answers with low confidence, {} verdicts: `jeffrey export --for-annotation`, where PREVIEW is on.",
        week.canary.verdicts
    ));
    if report.leaks > 0 {
        line(format!(
            "- {} masked previews show an @ or http: look at them, and tell the project.",
            report.leaks
        ));
    }
    text
}

/// A row's name, and its cell for a cohort.
type Cell = fn(&Figures) -> String;

const ROWS: [(&str, Cell); 13] = [
    ("requests", |of| of.requests.to_string()),
    ("answers read", |of| of.answers.to_string()),
    ("errors, failed open", |of| percent(of.errors)),
    ("above 200 ms", |of| percent(of.slow)),
    ("latency P50", |of| milliseconds(of, |all| all.p50)),
    ("latency P95", |of| milliseconds(of, |all| all.p95)),
    ("latency P99", |of| milliseconds(of, |all| all.p99)),
    ("by keywords alone", |of| percent(of.regex)),
    ("by prototypes", |of| percent(of.prototypes)),
    ("low confidence", |of| percent(of.low_confidence)),
    ("mean confidence", |of| figure(of.mean_confidence)),
    ("rule applied", |of| percent(of.rule_applied)),
    ("bad verdicts", |of| match (of.bad, of.bad_interval) {
        (Some(_), Some([low, high])) => {
            format!(
                "{} of {} [{:.1}–{:.1} %]",
                percent(of.bad),
                of.verdicts,
                100.0 * low,
                100.0 * high
            )
        }
        _ => NONE.to_owned(),
    }),
];

const NONE: &str = "–";

fn percent(part: Option<f64>) -> String {
    part.map_or(NONE.to_owned(), |part| format!("{:.2} %", 100.0 * part))
}

fn milliseconds(of: &Figures, at: fn(&jeffrey_edge::gate::tally::Quantiles) -> f64) -> String {
    of.latency_ms.as_ref().map_or(NONE.to_owned(), |all| format!("{:.0} ms", at(all)))
}

/// A person's words as words: no table, link or markup of theirs.
fn escaped(words: &str) -> String {
    let mut text = String::with_capacity(words.len());
    for char in words.chars() {
        match char {
            '\n' | '\r' => text.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' => text.extend(['\\', char]),
            _ => text.push(char),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_words_in_markdown() {
        assert_eq!(escaped("[x](http://y) | <b>\n# z"), "\\[x\\](http://y) \\| \\<b\\> \\# z");
    }
}
