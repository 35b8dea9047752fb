//! `jeffrey plan`: validates a rollout plan, shows it, and analyses what its gates can detect.
//!
//! Without a file, every subcommand reads the built-in plan. An invalid plan is reported with all
//! its errors, each with its line, and the exit code is 1.

mod explained;

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use self::explained::PlanExplainOutput;
use super::table::{TextTable, format_gate_effect};
use super::{CliError, ExitStatus, print_json, print_to_stderr};
use jeffrey_edge::rollout::counts::Metric;
use jeffrey_edge::rollout::gate::{EvidenceUnit, Gate, GateRule, WindowLimit};
use jeffrey_edge::rollout::plan::explain;
use jeffrey_edge::rollout::plan::{DEFAULT_PLAN_TOML, Plan};

/// Validate, show or analyse a rollout plan
#[derive(clap::Args)]
#[command(
    after_help = "`check` lists every error with its line number and exits with 1 if there is one. \
                  Without FILE, the built-in plan is used.\n\n\
                  Examples:\n  \
                  jeffrey plan check rollout.toml\n  \
                  jeffrey plan show\n  \
                  jeffrey plan explain --requests-per-minute 600\n  \
                  jeffrey plan explain rollout.toml --requests-per-minute 60 --baseline errors=0.1%"
)]
pub(super) struct PlanArguments {
    #[command(subcommand)]
    subcommand: PlanSubcommand,
}

#[derive(clap::Subcommand)]
enum PlanSubcommand {
    /// Validate the plan and list all errors with line numbers
    Check {
        /// Plan file (TOML) [default: the built-in plan]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Show detection times of each gate by effect size, and false alarm rates of fixed windows
    Explain {
        /// Plan file (TOML) [default: the built-in plan]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Requests per minute over both cohorts [default: `traffic_per_minute` of the plan]
        #[arg(long, value_name = "N", value_parser = parse_traffic)]
        requests_per_minute: Option<f64>,
        /// Baseline rate of a metric, such as errors=0.1%; may be repeated
        #[arg(long, value_name = "METRIC=RATE", value_parser = parse_baseline)]
        baseline: Vec<(Metric, f64)>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print stages and gates
    Show {
        /// Plan file (TOML) [default: the built-in plan]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Print the plan as stored, as one JSON object
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(arguments: &PlanArguments) -> Result<ExitStatus, CliError> {
    let (PlanSubcommand::Check { file }
    | PlanSubcommand::Explain { file, .. }
    | PlanSubcommand::Show { file, .. }) = &arguments.subcommand;
    let text = file
        .as_ref()
        .map(|path| fs::read_to_string(path).map_err(|error| CliError::read_failed(path, &error)))
        .transpose()?;
    let Some(plan) = read_plan(text.as_deref()) else {
        return Ok(ExitStatus::Negative);
    };
    match &arguments.subcommand {
        PlanSubcommand::Explain { requests_per_minute, baseline, json, .. } => {
            let traffic = requests_per_minute
                .or(Some(plan.traffic_per_minute).filter(|traffic| *traffic > 0.0));
            let Some(traffic) = traffic else {
                print_to_stderr(format_args!(
                    "the plan has no `traffic_per_minute`: pass --requests-per-minute"
                ));
                return Ok(ExitStatus::Negative);
            };
            let baseline_rate = |metric| {
                let flag_rate = baseline
                    .iter()
                    .rfind(|(flag_metric, _)| *flag_metric == metric)
                    .map(|(_, rate)| *rate);
                flag_rate.unwrap_or_else(|| explain::baseline_rate(metric))
            };
            let explained = PlanExplainOutput::new(&plan, traffic, &baseline_rate);
            if *json {
                print_json(&explained)?;
            } else {
                let mut output = io::stdout().lock();
                write!(output, "{explained}")?;
                output.flush()?;
            }
        }
        PlanSubcommand::Check { .. } => {
            let mut output = io::stdout().lock();
            for gate in &plan.gates {
                if let Some(note) = describe_caveat(gate) {
                    writeln!(output, "{}: {note}", gate.name)?;
                }
            }
            let (stages, gates) = (plan.stages.len(), plan.gates.len());
            writeln!(output, "{stages} stages, {gates} gates: no errors")?;
            output.flush()?;
        }
        PlanSubcommand::Show { json: true, .. } => print_json(&plan)?,
        PlanSubcommand::Show { .. } => write_plan(&plan, &mut io::stdout().lock())?,
    }
    Ok(ExitStatus::Success)
}

fn parse_traffic(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (1e-3..=1e6).contains(number));
    number.ok_or_else(|| format!("`{text}` is not a number from 0.001 to 1000000"))
}

fn parse_baseline(text: &str) -> Result<(Metric, f64), String> {
    let parsed = text.split_once('=').and_then(|(metric, rate)| {
        let percent = rate.strip_suffix('%')?.parse::<f64>().ok()?;
        let rate = Some(percent / 100.0).filter(|rate| (0.0..1.0).contains(rate))?;
        Some((Metric::from_name(metric)?, rate))
    });
    let metrics = || Metric::ALL.map(Metric::name).join(", ");
    parsed.ok_or_else(|| {
        format!(
            "`{text}` is not METRIC=RATE with a rate from 0% to below 100%; metrics are {}",
            metrics()
        )
    })
}

/// Reads the plan of `text`, or the built-in one. Prints all errors and returns `None` if it is
/// invalid.
pub(super) fn read_plan(text: Option<&str>) -> Option<Plan> {
    match Plan::read(text.unwrap_or(DEFAULT_PLAN_TOML)) {
        Ok(plan) => Some(plan),
        Err(error) => {
            error.errors.iter().for_each(|fault| print_to_stderr(format_args!("{fault}")));
            None
        }
    }
}

fn write_plan(plan: &Plan, output: &mut impl Write) -> Result<(), CliError> {
    if let Some(release) = &plan.release {
        writeln!(output, "release {}\n", release.as_str())?;
    }
    let mut stages = TextTable::new(["stage", "share", "min duration", "min samples", "approval"]);
    for (number, stage) in (1..).zip(&plan.stages) {
        stages.push_row(vec![
            format!("{number}"),
            stage.share.to_string(),
            format!("{} min", stage.min_duration_minutes),
            stage.min_samples.to_string(),
            if stage.approval { "yes".into() } else { "no".into() },
        ]);
    }
    writeln!(output, "{stages}")?;
    let mut gates = TextTable::new(["gate", "metric", "rule", "effect", "budget"]);
    for gate in &plan.gates {
        gates.push_row(vec![
            gate.name.clone(),
            gate.metric.name().into(),
            describe_rule(gate),
            format_gate_effect(gate.effect).into(),
            describe_budget(gate),
        ]);
    }
    write!(output, "{gates}")?;
    Ok(output.flush()?)
}

fn describe_rule(gate: &Gate) -> String {
    let format_rate = |rate: f64| format!("{} %", format_shortest(100.0 * rate));
    let format_surplus = |times: f64| format!("+{} %", format_shortest(100.0 * (times - 1.0)));
    match gate.rule {
        GateRule::Max(limit) => format!("at most {}", format_rate(limit)),
        GateRule::Min(limit) => format!("at least {}", format_rate(limit)),
        GateRule::MaxIncrease(times) => {
            let unit = match gate.evidence_unit {
                EvidenceUnit::Both => "by subjects and requests",
                EvidenceUnit::Requests => "by requests",
                EvidenceUnit::Subjects => "by subjects",
            };
            let alternative =
                gate.max_without_stable.map(|limit| format!(", or at most {}", format_rate(limit)));
            format!("stable {}, {unit}{}", format_surplus(times), alternative.unwrap_or_default())
        }
        GateRule::Estimated { max, max_increase, samples } => {
            let most = max.map(|most| format!("at most {}", format_rate(most)));
            let stable = max_increase.map(|times| format!("stable {}", format_surplus(times)));
            let limits: Vec<String> = [most, stable].into_iter().flatten().collect();
            format!("estimated {} on {samples}", limits.join(" and "))
        }
        GateRule::Never => "never".into(),
        GateRule::NotWorse { odds, or_below } => {
            let below = or_below.map(|limit| format!(", or below {}", format_rate(limit)));
            format!("proven within {}{}", format_surplus(odds), below.unwrap_or_default())
        }
        GateRule::SampleRatio => "sample ratio matches the share".into(),
        GateRule::Window { minutes, limit } => match limit {
            WindowLimit::Max(limit) => {
                format!("over {minutes} min at most {}", format_rate(limit))
            }
            WindowLimit::Min(limit) => {
                format!("over {minutes} min at least {}", format_rate(limit))
            }
            WindowLimit::MaxIncrease(times) => {
                format!("over {minutes} min stable {}", format_surplus(times))
            }
        },
    }
}

fn describe_budget(gate: &Gate) -> String {
    match gate.rule {
        GateRule::Estimated { .. } | GateRule::Never | GateRule::Window { .. } => "–".into(),
        GateRule::NotWorse { .. } | GateRule::SampleRatio => {
            format!("{} % a stage", format_shortest(100.0 * gate.false_verdict_budget))
        }
        _ => format!("{} % a day", format_shortest(100.0 * gate.false_verdict_budget)),
    }
}

/// Returns a limitation of a gate that an author of the plan should know; `None` for most gates.
fn describe_caveat(gate: &Gate) -> Option<&'static str> {
    match gate.rule {
        GateRule::Window { .. } => Some(
            "a fixed window has no error guarantee; `jeffrey plan explain` shows its false alarm rate",
        ),
        GateRule::Max(_) | GateRule::Min(_) if !gate.metric.is_reported_by_legacy() => {
            Some("the legacy system does not report this metric: only the absolute limit applies")
        }
        // Errors and latency are known of every response; these two metrics are read from its body.
        GateRule::MaxIncrease(_)
        | GateRule::NotWorse { .. }
        | GateRule::Estimated { max_increase: Some(_), .. }
            if matches!(gate.metric, Metric::LowConfidence | Metric::RuleApplied) =>
        {
            Some(match gate.max_without_stable {
                Some(_) => {
                    "`max_without_stable` applies while the legacy system's responses do not report this metric"
                }
                None => {
                    "`not available` while the legacy system's responses do not report this metric"
                }
            })
        }
        _ => None,
    }
}

/// Formats a number with at most three decimals, without trailing zeros.
fn format_shortest(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
