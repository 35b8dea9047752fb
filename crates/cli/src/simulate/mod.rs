//! `jeffrey simulate`: runs a plan's gates and state machine on simulated traffic.
//!
//! Takes a plan, scenarios and a seed, and prints a report on many simulated releases, as a table
//! or as JSON. `scenario` gives the rates of each minute, `traffic_simulator` draws the counters,
//! and `release_simulation` feeds them to the code that also runs in the gateway.
//! `comparison_rules` applies the rules of other tools to the same minutes, and `report` summarizes
//! the runs.

mod mann_whitney;

mod comparison_rules;

mod report;

mod scenario;

mod release_simulation;

mod traffic_simulator;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, num, sync, thread};

use self::release_simulation::ReleaseSimulation;
use self::report::SimulationReport;
use self::scenario::{Scenario, ScenarioSet};
use self::traffic_simulator::UserPopulation;
use super::plan::read_plan;
use super::plot::write_charts;
use super::progress::Progress;
use super::{CliError, ExitStatus, print_report};
use jeffrey_edge::rollout::plan::Stage;
use jeffrey_terms::Share;

/// Run a plan's gates on simulated traffic and report how often and how fast they roll back
#[derive(clap::Args)]
#[command(after_help = "Scenarios:\n  \
                  `healthy` changes nothing.\n  \
                  `METRIC:FROM:TO[@MINUTE][/MINUTES]` moves the canary's rate of a metric (errors, \
                  regex, slow, low_confidence, rule_applied, …) from FROM to TO, at once or over \
                  MINUTES.\n  \
                  `latency:MS:MS[@MINUTE]` changes the canary's p95 latency.\n  \
                  `drift:METRIC:FROM:TO` moves both cohorts' rate over one day.\n  \
                  `burst:FACTOR[@MINUTE]` multiplies the traffic for 30 minutes every 4 hours.\n  \
                  `failing_client[@MINUTE]` makes the canary's most active user always fail.\n  \
                  `outage:canary[@MINUTE]` and `outage:stable[@MINUTE]` make half of that cohort's \
                  requests fail for 30 minutes.\n  \
                  `silence[@MINUTE]` drops all canary counters.\n  \
                  `clock_skew:MINUTES` delays the canary's clock.\n\n\
                  Without @MINUTE a change starts at minute 360. The same seed gives the same \
                  runs.\n\n\
                  Examples:\n  \
                  jeffrey simulate --share 10% --requests-per-minute 600 --runs 300\n  \
                  jeffrey simulate --scenario errors:1%:3% --share 10% --requests-per-minute 600 --json")]
pub(super) struct SimulateArguments {
    /// Scenario to simulate; repeat the option to combine several (see below)
    #[arg(long, value_name = "SCENARIO", default_value = "healthy")]
    scenario: Vec<Scenario>,
    /// Mean requests per minute, canary and stable together
    #[arg(long, value_name = "N", default_value_t = 600.0, value_parser = parse_positive)]
    requests_per_minute: f64,
    /// Run a single stage at this traffic share instead of the plan's stages
    #[arg(long, value_name = "SHARE")]
    share: Option<Share>,
    /// Simulated time in hours
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    hours: u64,
    /// Number of simulated releases
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    runs: u64,
    /// Random seed; the same seed gives the same runs
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Number of distinct users
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    users: u32,
    /// Zipf exponent of requests per user; 0 means that all users send equally often
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = parse_exponent)]
    zipf_exponent: f64,
    /// Share of users whose requests fail 25 % of the time in either cohort, such as 2%
    #[arg(long, value_name = "RATE", default_value = "0%", value_parser = parse_rate)]
    failing_users: f64,
    /// Amplitude of the daily traffic curve: how far the peak lies above the mean, such as 60%
    #[arg(long, value_name = "RATE", default_value = "0%", value_parser = parse_rate)]
    daily_traffic_amplitude: f64,
    /// Share of minutes delivered twice, late or never
    #[arg(long, value_name = "RATE", default_value = "0%", value_parser = parse_rate)]
    delivery_faults: f64,
    /// Write an SVG chart of when each rule rolled back
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    plot: Option<PathBuf>,
    /// Plan file to use instead of the built-in plan
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &SimulateArguments) -> Result<ExitStatus, CliError> {
    let plan_text = arguments
        .plan
        .as_ref()
        .map(|path| fs::read_to_string(path).map_err(|error| CliError::read_failed(path, &error)))
        .transpose()?;
    let Some(mut plan) = read_plan(plan_text.as_deref()) else {
        return Ok(ExitStatus::Negative);
    };
    if let Some(share) = arguments.share {
        let min_duration_minutes = 60 * arguments.hours;
        plan.stages = vec![Stage { share, min_duration_minutes, min_samples: 0, approval: false }];
    }
    let scenarios = ScenarioSet::new(&arguments.scenario);
    let population = UserPopulation {
        requests_per_minute: arguments.requests_per_minute,
        user_count: arguments.users,
        zipf_exponent: arguments.zipf_exponent,
        failing_user_share: arguments.failing_users,
        daily_amplitude: arguments.daily_traffic_amplitude,
        holdout: plan.holdout,
    };
    let simulation = ReleaseSimulation {
        plan: &plan,
        scenarios: &scenarios,
        population,
        minutes: 60 * arguments.hours,
        disorder_rate: arguments.delivery_faults,
    };
    let outcomes = run_on_all_cores(&simulation, arguments.seed, arguments.runs);
    let report = SimulationReport::new(&scenarios, &plan, arguments.seed, &outcomes);
    if let Some(path) = &arguments.plot {
        let scenario_names: Vec<_> = arguments.scenario.iter().map(ToString::to_string).collect();
        let title = scenario_names.join(", ");
        write_charts(
            path,
            &[report::plot_rollbacks(&scenarios, &title, simulation.minutes, &outcomes)],
        )?;
    }
    print_report(&report, arguments.json)?;
    Ok(ExitStatus::Success)
}

/// Runs `runs` simulated releases on all cores and returns the outcomes in the order of the runs.
///
/// Each run has its own seed, so the result does not depend on which core takes which run.
fn run_on_all_cores(
    simulation: &ReleaseSimulation<'_>,
    seed: u64,
    runs: u64,
) -> Vec<release_simulation::SimulationOutcome> {
    let cores = thread::available_parallelism().map_or(1, num::NonZero::get);
    let next_run = AtomicU64::new(0);
    let (sender, receiver) = sync::mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..cores {
            let (sender, next_run) = (sender.clone(), &next_run);
            scope.spawn(move || {
                loop {
                    let run_index = next_run.fetch_add(1, Ordering::Relaxed);
                    if run_index >= runs {
                        return;
                    }
                    let seed = seed.wrapping_mul(SEED_STRIDE).wrapping_add(run_index);
                    if sender.send((run_index, simulation.run(seed))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut progress = Progress::new(Some(runs));
        let mut outcomes: Vec<_> = receiver.iter().inspect(|_| progress.increment()).collect();
        outcomes.sort_by_key(|(run_index, _)| *run_index);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    })
}

fn parse_positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok();
    let number = number.filter(|number| (1e-3..=1e6).contains(number));
    number.ok_or_else(|| format!("`{text}` is not a number from 0.001 to 1000000"))
}

fn parse_exponent(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.0..=4.0).contains(number));
    number.ok_or_else(|| format!("`{text}` is not a number from 0 to 4"))
}

fn parse_rate(text: &str) -> Result<f64, String> {
    scenario::parse_rate(text).ok_or_else(|| format!("`{text}` is not a rate such as 2%"))
}

/// Distance between the seeds of two simulations: a prime above the largest value of `--runs`.
const SEED_STRIDE: u64 = 1_000_000_007;
