//! `jeffrey plan`: what is wrong with a plan, what one says, and what it can find.

mod explained;

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use self::explained::Explained;
use super::table::Table;
use super::{Outcome, Stop, complain, print_json};
use jeffrey_edge::rollout::counts::Metric;
use jeffrey_edge::rollout::gate::{Effect, Gate, Level, Limit, Rule};
use jeffrey_edge::rollout::plan::explain;
use jeffrey_edge::rollout::plan::{Plan, SHIPPED};

/// Check a release's plan, or show what it says
#[derive(clap::Args)]
#[command(
    after_help = "`check` reports every fault with its line and exits with 1 if there is one. Without \
                  FILE the shipped plan is taken.\n\n\
                  Examples:\n  \
                  jeffrey plan check rollout.toml\n  \
                  jeffrey plan show\n  \
                  jeffrey plan explain --traffic 600\n  \
                  jeffrey plan explain rollout.toml --traffic 60 --usual errors=0.1%"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Report every fault, with its line
    Check {
        /// The plan, in TOML
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print how fast each gate can decide, what it finds, and what it costs
    Explain {
        /// The plan, in TOML
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Requests a minute, of both cohorts; the plan's own unless given
        #[arg(long, value_name = "N", value_parser = traffic)]
        traffic: Option<f64>,
        /// The usual rate of a metric, such as errors=0.1%
        #[arg(long, value_name = "METRIC=RATE", value_parser = usual)]
        usual: Vec<(Metric, f64)>,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print stages and gates
    Show {
        /// The plan, in TOML
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// One JSON object, as it is stored
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Stop> {
    let (Action::Check { file } | Action::Explain { file, .. } | Action::Show { file, .. }) =
        &arguments.action;
    let text = file
        .as_ref()
        .map(|path| fs::read_to_string(path).map_err(|error| Stop::read(path, &error)))
        .transpose()?;
    let Some(plan) = read_plan(text.as_deref()) else {
        return Ok(Outcome::Negative);
    };
    match &arguments.action {
        Action::Explain { traffic, usual, json, .. } => {
            let traffic =
                traffic.or(Some(plan.traffic_per_minute).filter(|traffic| *traffic > 0.0));
            let Some(traffic) = traffic else {
                complain(format_args!(
                    "the plan does not say `traffic_per_minute`: give --traffic"
                ));
                return Ok(Outcome::Negative);
            };
            let usual = |metric| {
                let given = usual.iter().rfind(|(of, _)| *of == metric).map(|(_, rate)| *rate);
                given.unwrap_or_else(|| explain::usual(metric))
            };
            let explained = Explained::new(&plan, traffic, &usual);
            if *json {
                print_json(&explained)?;
            } else {
                let mut output = io::stdout().lock();
                write!(output, "{explained}")?;
                output.flush()?;
            }
        }
        Action::Check { .. } => {
            let mut output = io::stdout().lock();
            for gate in &plan.gates {
                if let Some(note) = note(gate) {
                    writeln!(output, "{}: {note}", gate.name)?;
                }
            }
            let (stages, gates) = (plan.stages.len(), plan.gates.len());
            writeln!(output, "{stages} stages, {gates} gates: no fault")?;
            output.flush()?;
        }
        Action::Show { json: true, .. } => print_json(&plan)?,
        Action::Show { .. } => show(&plan, &mut io::stdout().lock())?,
    }
    Ok(Outcome::Fine)
}

fn traffic(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (1e-3..=1e6).contains(number));
    number.ok_or_else(|| format!("`{text}` is not a number from 0.001 to 1000000"))
}

fn usual(text: &str) -> Result<(Metric, f64), String> {
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

/// The plan of this text, or the shipped one; `None` after its faults were told.
pub(super) fn read_plan(text: Option<&str>) -> Option<Plan> {
    match Plan::read(text.unwrap_or(SHIPPED)) {
        Ok(plan) => Some(plan),
        Err(error) => {
            error.faults.iter().for_each(|fault| complain(format_args!("{fault}")));
            None
        }
    }
}

fn show(plan: &Plan, output: &mut impl Write) -> Result<(), Stop> {
    if let Some(release) = &plan.release {
        writeln!(output, "release {}\n", release.as_str())?;
    }
    let mut stages = Table::new(["stage", "share", "at least", "samples", "approval"]);
    for (number, stage) in (1..).zip(&plan.stages) {
        stages.row(vec![
            format!("{number}"),
            stage.share.to_string(),
            format!("{} min", stage.at_least_minutes),
            stage.samples.to_string(),
            if stage.approval { "yes".into() } else { "no".into() },
        ]);
    }
    writeln!(output, "{stages}")?;
    let mut gates = Table::new(["gate", "metric", "rule", "then", "budget"]);
    for gate in &plan.gates {
        let then = match gate.effect {
            Effect::Advance => "advance",
            Effect::RollBack => "roll back",
            Effect::Warn => "warn",
        };
        gates.row(vec![
            gate.name.clone(),
            gate.metric.name().into(),
            rule(gate),
            then.into(),
            budget(gate),
        ]);
    }
    write!(output, "{gates}")?;
    Ok(output.flush()?)
}

fn rule(gate: &Gate) -> String {
    let rate = |rate: f64| format!("{} %", shortest(100.0 * rate));
    let surplus = |times: f64| format!("+{} %", shortest(100.0 * (times - 1.0)));
    match gate.rule {
        Rule::AtMost(limit) => format!("at most {}", rate(limit)),
        Rule::AtLeast(limit) => format!("at least {}", rate(limit)),
        Rule::Compared(times) => {
            let by = match gate.level {
                Level::Both => "by subjects and requests",
                Level::Requests => "by requests",
                Level::Subjects => "by subjects",
            };
            let or = gate.or_at_most.map(|limit| format!(", or at most {}", rate(limit)));
            format!("stable {}, {by}{}", surplus(times), or.unwrap_or_default())
        }
        Rule::Estimated { at_most, compared, samples } => {
            let most = at_most.map(|most| format!("at most {}", rate(most)));
            let stable = compared.map(|times| format!("stable {}", surplus(times)));
            let limits: Vec<String> = [most, stable].into_iter().flatten().collect();
            format!("estimated {} on {samples}", limits.join(" and "))
        }
        Rule::Never => "never".into(),
        Rule::NotWorse { odds, ceiling } => {
            let below = ceiling.map(|limit| format!(", or below {}", rate(limit)));
            format!("proven within {}{}", surplus(odds), below.unwrap_or_default())
        }
        Rule::SampleRatio => "as the share".into(),
        Rule::Window { minutes, limit } => match limit {
            Limit::AtMost(limit) => format!("over {minutes} min at most {}", rate(limit)),
            Limit::AtLeast(limit) => format!("over {minutes} min at least {}", rate(limit)),
            Limit::Compared(times) => format!("over {minutes} min stable {}", surplus(times)),
        },
    }
}

fn budget(gate: &Gate) -> String {
    match gate.rule {
        Rule::Estimated { .. } | Rule::Never | Rule::Window { .. } => "–".into(),
        Rule::NotWorse { .. } | Rule::SampleRatio => {
            format!("{} % a stage", shortest(100.0 * gate.budget))
        }
        _ => format!("{} % a day", shortest(100.0 * gate.budget)),
    }
}

/// What a reader of the plan should know of a gate.
fn note(gate: &Gate) -> Option<&'static str> {
    match gate.rule {
        Rule::Window { .. } => Some(
            "a literal window bounds no error; `jeffrey plan explain` shows how often it is false",
        ),
        Rule::AtMost(_) | Rule::AtLeast(_) if !gate.metric.has_stable() => {
            Some("the old system does not give it: held against its absolute limit only")
        }
        // Errors and latency are counted of any answer; these stand in answers that can be read.
        Rule::Compared(_) | Rule::NotWorse { .. } | Rule::Estimated { compared: Some(_), .. }
            if matches!(gate.metric, Metric::LowConfidence | Metric::RuleApplied) =>
        {
            Some(match gate.or_at_most {
                Some(_) => {
                    "held against `or_at_most` while the old system's answers do not give it"
                }
                None => "reports `not available` while the old system's answers do not give it",
            })
        }
        _ => None,
    }
}

/// With at most three decimals, and none that say nothing.
fn shortest(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
