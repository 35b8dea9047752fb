//! `jeffrey report`: a summary of the last seven days of a release, as Markdown or JSON.
//!
//! Reads status, totals and history from the gateway: the week, the week before it, each day, and
//! the decisions of the week. Text from operators is escaped, so that it cannot add markup.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use super::progress::Progress;
use super::rollout::{GatewayClient, ReleaseStatus};
use super::table::format_3_decimals;
use super::{CliError, ExitStatus, print_json};
use jeffrey_edge::gateway::aggregate::summary::{
    CohortSummary, SummaryByCohort, total_variation_distance,
};
use jeffrey_edge::gateway::aggregate::totals::TotalsByCohort;
use jeffrey_edge::gateway::aggregate::weekly_report::{DaySummary, MinuteRange, WeeklyReport};
use jeffrey_edge::gateway::notify::history::{DecisionSummary, summarize_entry};
use jeffrey_edge::gateway::notify::time::format_utc_minute;
use jeffrey_terms::{Label, UnixMs};

/// Summarise the last seven days of a release
#[derive(clap::Args)]
#[command(
    after_help = "Authenticates with JEFFREY_VIEWER_TOKEN or JEFFREY_ADMIN_TOKEN. Counts only requests that the \
                  gates use as evidence, by cohort of the subject.\n\n\
                  Exit codes: 0 success; 1 no requests in the period; 2 usage or connection error.\n\n\
                  Examples:\n  \
                  jeffrey report --week > week.md\n  \
                  jeffrey report --week --json --gateway https://gate.example/_jeffrey"
)]
pub(super) struct ReportArguments {
    /// Report the last seven days
    #[arg(long, required = true)]
    week: bool,
    /// Base URL of the gateway admin API
    #[arg(long, value_name = "URL", env = "JEFFREY_GATEWAY_URL")]
    #[arg(default_value = "http://127.0.0.1:8787/_jeffrey")]
    gateway: String,
    /// Print one JSON object instead of Markdown
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &ReportArguments) -> Result<ExitStatus, CliError> {
    let gateway = GatewayClient::from_environment(&arguments.gateway)?;
    let status: ReleaseStatus = serde_json::from_value(gateway.fetch_status()?)?;
    let now = status.now().unwrap_or_else(super::token::wall_clock_now);
    let week = MinuteRange::week_ending_at(now.0 / 60_000);
    let days: Vec<MinuteRange> = week.days().collect();
    let mut progress = Progress::new(Some(days.len() as u64 + 3));
    let mut fetch_totals = |span: MinuteRange| {
        progress.increment();
        gateway.fetch_totals(span)
    };
    let (week_totals, previous_totals) = (fetch_totals(week)?, fetch_totals(week.preceding())?);
    let mut days_by_cohort = Vec::new();
    for day in days {
        days_by_cohort.push(DaySummary {
            from_ms: day.starts_at().0,
            cohorts: SummaryByCohort::from_totals(&fetch_totals(day)?),
        });
    }
    let entries = gateway.fetch_history(0)?;
    let entries = entries.iter().filter(|entry| entry.now >= week.starts_at());
    drop(progress);
    let decisions = entries.filter_map(summarize_entry).collect();
    let (current, previous_week) = (
        SummaryByCohort::from_totals(&week_totals),
        SummaryByCohort::from_totals(&previous_totals),
    );
    let TotalsByCohort { canary, stable } = week_totals;
    let report = WeeklyReport {
        release: status.release,
        share_basis_points: status.share.basis_points(),
        phase: status.rollout.map(|rollout| rollout.phase),
        from_ms: week.starts_at().0,
        to_ms: now.0,
        labels_moved: total_variation_distance(&current.canary, &previous_week.canary),
        week: current,
        previous: previous_week,
        days: days_by_cohort,
        tie_break_rule_counts: canary.stats.rules.into_iter().collect(),
        leaks: canary.stats.preview_leaks + stable.stats.preview_leaks,
        decisions,
    };
    if arguments.json {
        print_json(&report)?;
    } else {
        io::stdout().write_all(render_markdown(&report).as_bytes())?;
    }
    let requests = report.week.canary.requests + report.week.stable.requests;
    Ok(if requests > 0 { ExitStatus::Success } else { ExitStatus::Negative })
}

fn render_markdown(report: &WeeklyReport) -> String {
    let WeeklyReport { release, week, previous, .. } = report;
    let share = f64::from(report.share_basis_points) / 100.0;
    let phase = report.phase.as_deref().map_or(String::new(), |phase| format!(", {phase}"));
    let mut text = String::new();
    let mut push_line = |line: String| {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{line}");
    };
    push_line(format!(
        "# {release}, {} to {}\n",
        format_utc_minute(UnixMs(report.from_ms)),
        format_utc_minute(UnixMs(report.to_ms))
    ));
    push_line(format!("Share {share} %{phase}. Times are UTC.\n"));
    push_line("| | canary | stable | canary, the week before |".to_owned());
    push_line("|---|---|---|---|".to_owned());
    for (name, cell) in REPORT_ROWS {
        let [canary, stable, canary_before] =
            [&week.canary, &week.stable, &previous.canary].map(cell);
        push_line(format!("| {name} | {canary} | {stable} | {canary_before} |"));
    }
    push_line(
        "\n## Days\n\n| day | canary requests | canary errors | canary low confidence | canary P95 \
         | stable requests | stable errors | stable P95 |"
            .to_owned(),
    );
    push_line("|---|---|---|---|---|---|---|---|".to_owned());
    for DaySummary { from_ms, cohorts: SummaryByCohort { canary, stable, .. } } in &report.days {
        push_line(format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            format_utc_minute(UnixMs(*from_ms)),
            canary.requests,
            format_percent(canary.errors),
            format_percent(canary.low_confidence),
            format_ms(canary, |quantiles| quantiles.p95),
            stable.requests,
            format_percent(stable.errors),
            format_ms(stable, |quantiles| quantiles.p95),
        ));
    }
    push_line("\n## Labels\n\n| | canary | stable | canary, the week before |".to_owned());
    push_line("|---|---|---|---|".to_owned());
    for label in Label::ALL {
        let label_share = |figures: &CohortSummary| {
            format_percent(figures.labels.map(|labels| labels[label.index()]))
        };
        let (canary, stable, canary_before) =
            (label_share(&week.canary), label_share(&week.stable), label_share(&previous.canary));
        push_line(format!("| {} | {canary} | {stable} | {canary_before} |", label.name()));
    }
    if let Some(share_moved) = report.labels_moved {
        push_line(format!(
            "\n{} of the canary's answers have another label than in the week before.",
            format_percent(Some(share_moved))
        ));
    }
    if week.shadow_count > 0 {
        push_line(format!(
            "\nThe model agrees with {} of {} shadowed responses of the legacy system.",
            format_percent(week.shadows_agree),
            week.shadow_count
        ));
    }
    if !report.tie_break_rule_counts.is_empty() {
        let rules =
            report.tie_break_rule_counts.iter().map(|(rule, count)| format!("`{rule}` {count}"));
        push_line(format!("\nRules applied: {}.", rules.collect::<Vec<_>>().join(", ")));
    }
    push_line("\n## Decisions\n".to_owned());
    for DecisionSummary { id, at_ms, trigger, outcome, .. } in &report.decisions {
        push_line(format!(
            "- {} ({id}) {}: {}",
            format_utc_minute(UnixMs(*at_ms)),
            escape_markdown(trigger),
            escape_markdown(outcome)
        ));
    }
    if report.decisions.is_empty() {
        push_line("None.".to_owned());
    }
    push_line("\n## To do\n".to_owned());
    let low_confidence_answers = week.canary.low_confidence_answers;
    push_line(format!(
        "- {low_confidence_answers} answers with low confidence, {} feedback events: `jeffrey export --for-annotation`, where LOG_TEXT_PREVIEW is on.",
        week.canary.feedback_count
    ));
    if report.leaks > 0 {
        push_line(format!(
            "- {} masked previews contain @ or http: check them and report a masking bug.",
            report.leaks
        ));
    }
    text
}

/// Function that formats the cell of a report row from the summary of a cohort.
type FormatCell = fn(&CohortSummary) -> String;

const REPORT_ROWS: [(&str, FormatCell); 13] = [
    ("requests", |figures| figures.requests.to_string()),
    ("answers read", |figures| figures.answers.to_string()),
    ("errors, failed open", |figures| format_percent(figures.errors)),
    ("above 200 ms", |figures| format_percent(figures.slow)),
    ("latency P50", |figures| format_ms(figures, |quantiles| quantiles.p50)),
    ("latency P95", |figures| format_ms(figures, |quantiles| quantiles.p95)),
    ("latency P99", |figures| format_ms(figures, |quantiles| quantiles.p99)),
    ("regex route", |figures| format_percent(figures.regex)),
    ("prototypes route", |figures| format_percent(figures.prototypes)),
    ("low confidence", |figures| format_percent(figures.low_confidence)),
    ("mean confidence", |figures| format_3_decimals(figures.mean_confidence)),
    ("rule applied", |figures| format_percent(figures.rule_applied)),
    ("bad feedback", |figures| {
        match (figures.bad_feedback_rate, figures.bad_feedback_rate_interval) {
            (Some(_), Some([low, high])) => {
                format!(
                    "{} of {} [{:.1}–{:.1} %]",
                    format_percent(figures.bad_feedback_rate),
                    figures.feedback_count,
                    100.0 * low,
                    100.0 * high
                )
            }
            _ => NO_VALUE.to_owned(),
        }
    }),
];

const NO_VALUE: &str = "–";

fn format_percent(share: Option<f64>) -> String {
    share.map_or(NO_VALUE.to_owned(), |share| format!("{:.2} %", 100.0 * share))
}

fn format_ms(
    figures: &CohortSummary,
    pick: fn(&jeffrey_edge::gateway::aggregate::totals::LatencyQuantiles) -> f64,
) -> String {
    figures
        .latency_ms
        .as_ref()
        .map_or(NO_VALUE.to_owned(), |quantiles| format!("{:.0} ms", pick(quantiles)))
}

/// Escapes Markdown and replaces line breaks by blanks, so that a user's text adds no table, link
/// or markup.
fn escape_markdown(input: &str) -> String {
    let mut text = String::with_capacity(input.len());
    for char in input.chars() {
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
    fn a_reason_is_plain_text_in_markdown() {
        assert_eq!(
            escape_markdown("[x](http://y) | <b>\n# z"),
            "\\[x\\](http://y) \\| \\<b\\> \\# z"
        );
    }
}
