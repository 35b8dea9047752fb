//! `jeffrey report`: a summary of the last seven days of a release, as Markdown or JSON.
//!
//! Reads status, totals and history from the gateway: the week, the week before it, each day, and
//! the decisions of the week. Text from operators is escaped, so that it cannot add markup.

use std::io::{self, Write as _};

use askama::Template;

use super::language::LanguageFlag;
use super::progress::Progress;
use super::rollout::{GatewayClient, ReleaseStatus};
use super::{CliError, ExitStatus, print_json};
use jeffrey_edge::gateway::aggregate::summary::{
    CohortSummary, SummaryByCohort, total_variation_distance,
};
use jeffrey_edge::gateway::aggregate::weekly_report::{DaySummary, MinuteRange, WeeklyReport};
use jeffrey_edge::gateway::notify::history::summarize_entry;
use jeffrey_terms::Label;
use jeffrey_terms::by_cohort::ByCohort;

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
    #[command(flatten)]
    language: LanguageFlag,
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
    let catalogue = arguments.language.catalogue();
    let decisions = entries.filter_map(|entry| summarize_entry(entry, catalogue)).collect();
    let (current, previous_week) = (
        SummaryByCohort::from_totals(&week_totals),
        SummaryByCohort::from_totals(&previous_totals),
    );
    let ByCohort { canary, stable } = week_totals;
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

/// Markdown page of a report; its text is in `templates/weekly_report.md.jinja`.
#[derive(Template)]
#[template(path = "weekly_report.md.jinja", escape = "none")]
struct WeeklyReportPage<'a> {
    report: &'a WeeklyReport,
    /// Share of the canary in percent, at the time of the report.
    share_percent: f64,
    /// Columns of the tables: the canary, stable, and the canary of the week before.
    cohorts: [&'a CohortSummary; 3],
}

fn render_markdown(report: &WeeklyReport) -> String {
    let WeeklyReport { week, previous, .. } = report;
    let page = WeeklyReportPage {
        report,
        share_percent: f64::from(report.share_basis_points) / 100.0,
        cohorts: [&week.canary, &week.stable, &previous.canary],
    };
    format!("{page}\n")
}

/// Functions that the template calls: each formats a value for a table or a sentence.
///
/// askama passes references. Its filters would generate public types, which the workspace's lints
/// refuse in a private module.
mod format {
    use jeffrey_edge::catalogue::time::format_utc_minute;
    use jeffrey_edge::gateway::aggregate::totals::LatencyQuantiles;
    use jeffrey_terms::{Label, UnixMs};

    const NO_VALUE: &str = "–";

    /// Formats a share of 0 to 1 in percent, with two decimals; a dash for `None`.
    pub(super) fn percent(share: &Option<f64>) -> String {
        share.map_or(NO_VALUE.to_owned(), |share| format!("{:.2} %", 100.0 * share))
    }

    /// Formats the share of a label among a cohort's answers like [`percent`].
    pub(super) fn percent_of(label: &Label, labels: &Option<[f64; Label::ALL.len()]>) -> String {
        percent(&labels.map(|labels| labels[label.index()]))
    }

    /// Formats a number with three decimals; a dash for `None`.
    pub(super) fn decimals(value: &Option<f64>) -> String {
        crate::table::format_3_decimals(*value)
    }

    /// Formats the median latency in milliseconds; a dash for `None`.
    pub(super) fn p50(latency: &Option<LatencyQuantiles>) -> String {
        format_ms(latency.as_ref().map(|quantiles| quantiles.p50))
    }

    /// Formats the 95th percentile of the latency in milliseconds; a dash for `None`.
    pub(super) fn p95(latency: &Option<LatencyQuantiles>) -> String {
        format_ms(latency.as_ref().map(|quantiles| quantiles.p95))
    }

    /// Formats the 99th percentile of the latency in milliseconds; a dash for `None`.
    pub(super) fn p99(latency: &Option<LatencyQuantiles>) -> String {
        format_ms(latency.as_ref().map(|quantiles| quantiles.p99))
    }

    fn format_ms(ms: Option<f64>) -> String {
        ms.map_or(NO_VALUE.to_owned(), |ms| format!("{ms:.0} ms"))
    }

    /// Formats milliseconds since 1970 as a date and a time to the minute.
    pub(super) fn utc_minute(ms: &u64) -> String {
        format_utc_minute(UnixMs(*ms))
    }

    /// Escapes Markdown and replaces line breaks by blanks, so that a user's text adds no table,
    /// link or markup.
    pub(super) fn escape_markdown(input: &str) -> String {
        let mut text = String::with_capacity(input.len());
        for char in input.chars() {
            match char {
                '\n' | '\r' => text.push(' '),
                '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' => {
                    text.extend(['\\', char]);
                }
                _ => text.push(char),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeffrey_edge::catalogue::code::MessageCode;
    use jeffrey_edge::catalogue::render::RenderedMessage;
    use jeffrey_edge::gateway::aggregate::totals::LatencyQuantiles;
    use jeffrey_edge::gateway::notify::history::DecisionSummary;
    use jeffrey_terms::Share;

    /// Midnight of 2026-11-23, in milliseconds since 1970.
    const MONDAY_MS: u64 = 1_795_392_000_000;
    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

    /// Returns the summary of a cohort that has all figures, each another one.
    fn busy_cohort() -> CohortSummary {
        CohortSummary {
            requests: 12_345,
            answers: 12_300,
            errors: Some(0.0125),
            slow: Some(0.002),
            regex: Some(0.25),
            prototypes: Some(0.5),
            low_confidence: Some(0.0625),
            low_confidence_answers: 769,
            rule_applied: Some(0.0051),
            mean_confidence: Some(0.8125),
            latency_ms: Some(LatencyQuantiles { p50: 12.4, p95: 48.5, p99: 120.6 }),
            feedback_count: 40,
            bad_feedback_rate: Some(0.1),
            bad_feedback_rate_interval: Some([0.0279, 0.2366]),
            labels: Some([0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05]),
        }
    }

    /// Returns a report that has each part: sentences that are left out elsewhere, cells without a
    /// value, and text of operators that looks like markup.
    fn full_report() -> WeeklyReport {
        let stable = CohortSummary { requests: 3, answers: 2, ..CohortSummary::default() };
        let week = SummaryByCohort {
            canary: busy_cohort(),
            stable,
            shadow_count: 200,
            shadows_agree: Some(0.975),
        };
        let message = |text: &str| RenderedMessage {
            code: MessageCode::InputGatesEvaluated,
            args: serde_json::Map::new(),
            text: text.into(),
        };
        let decision = |id, trigger: &str, outcome: &str| DecisionSummary {
            id,
            at_ms: MONDAY_MS + id * 60_000,
            trigger: message(trigger),
            outcome: message(outcome),
            phase: "ramping".into(),
            share: Share::NONE,
            gates: None,
            counts: None,
        };
        let day = |from_ms| DaySummary { from_ms, cohorts: week.clone() };
        WeeklyReport {
            release: "e1-small".into(),
            share_basis_points: 1_250,
            phase: Some("awaiting_approval".into()),
            from_ms: MONDAY_MS,
            to_ms: MONDAY_MS + 7 * DAY_MS,
            previous: SummaryByCohort::default(),
            days: vec![day(MONDAY_MS), day(MONDAY_MS + DAY_MS)],
            tie_break_rule_counts: vec![("anger_over_joy".into(), 60), ("fear".into(), 3)],
            labels_moved: Some(0.0333),
            leaks: 2,
            decisions: vec![
                decision(7, "advance: [x](http://y) | <b>", "share 5% to 12.5%"),
                decision(9, "pause\r\n# by_ops", "`paused`"),
            ],
            week,
        }
    }

    #[test]
    fn the_report_shows_each_part_that_it_has() {
        let expected = include_str!("../tests/golden/weekly_report.txt");
        assert_eq!(render_markdown(&full_report()), expected);
    }

    #[test]
    fn a_week_without_requests_leaves_out_what_it_has_not() {
        let report = WeeklyReport {
            share_basis_points: 0,
            phase: None,
            week: SummaryByCohort::default(),
            days: Vec::new(),
            tie_break_rule_counts: Vec::new(),
            labels_moved: None,
            leaks: 0,
            decisions: Vec::new(),
            ..full_report()
        };
        let expected = include_str!("../tests/golden/weekly_report_empty.txt");
        assert_eq!(render_markdown(&report), expected);
    }

    #[test]
    fn a_reason_is_plain_text_in_markdown() {
        assert_eq!(
            format::escape_markdown("[x](http://y) | <b>\n# z"),
            "\\[x\\](http://y) \\| \\<b\\> \\# z"
        );
    }
}
