//! `jeffrey-sim`: runs the gateway with faults by seeds.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use mimalloc::MiMalloc;

use jeffrey_simulation::invariants::Invariant;
use jeffrey_simulation::known::KNOWN_FAULTS;
use jeffrey_simulation::run::{RunReport, run, run_until_error};
use jeffrey_simulation::scenario::Scenario;
use jeffrey_simulation::scripted::{ScenarioFile, run_scripted};
use jeffrey_simulation::shrink::shrink;

/// Prints a line; ends the program if no one reads it any more, as behind `| head`.
macro_rules! print_line {
    ($($argument:tt)*) => {
        if writeln!(std::io::stdout(), $($argument)*).is_err() {
            std::process::exit(2);
        }
    };
}

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Runs the whole gateway in one process, on a virtual clock, with faults by seed, and checks the
/// promises of its documentation. Exits with 1 if a promise is broken that no known fault breaks.
#[derive(Parser)]
#[command(name = "jeffrey-sim", args_conflicts_with_subcommands = true, version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArguments,
}

#[derive(Args)]
struct RunArguments {
    /// Seed of traffic, systems and faults: a run of the same seed is the same run
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Days of traffic in each run
    #[arg(long, default_value_t = 1.0, value_parser = parse_days)]
    days: f64,
    /// Print what happened, line by line, with the seconds since the start
    #[arg(long)]
    trace: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run many seeds, each for some days
    Campaign {
        /// First and last seed, such as 1..1000
        #[arg(long, value_parser = parse_seeds)]
        seeds: RangeInclusive<u64>,
        /// Days of traffic of each seed
        #[arg(long, default_value_t = 1.0, value_parser = parse_days)]
        days: f64,
        /// Threads; each runs one seed at a time
        #[arg(long, default_value_t = 2)]
        threads: usize,
        /// File to which each report is added; seeds that it has are not run again
        #[arg(long)]
        state: Option<PathBuf>,
        /// End at the first broken promise
        #[arg(long)]
        until_error: bool,
    },
    /// Print the promises that are checked, with the page that makes each
    Invariants,
    /// Show each known fault with its scenario; fails if one is gone
    Known,
    /// Run the scenarios of a file, without random faults; fails if an outcome is not as expected
    Scripted {
        /// File of scenarios, such as tests/data/scenarios.json
        file: PathBuf,
        /// Print the outcomes as JSON, by the names of the scenarios
        #[arg(long)]
        json: bool,
    },
    /// Find the smallest schedule of faults with which a seed still breaks its promise
    Shrink {
        /// Seed that breaks a promise
        #[arg(long)]
        seed: u64,
        /// Days of traffic in each run
        #[arg(long, default_value_t = 1.0, value_parser = parse_days)]
        days: f64,
    },
}

fn parse_days(text: &str) -> Result<f64, String> {
    let days: f64 = text.parse().map_err(|_| format!("`{text}` is not a number of days"))?;
    let range = 0.001..=1_000.0;
    if range.contains(&days) {
        Ok(days)
    } else {
        Err(format!("{days} days is not between {} and {}", range.start(), range.end()))
    }
}

fn parse_seeds(text: &str) -> Result<RangeInclusive<u64>, String> {
    let refused = || format!("`{text}` is not a range of seeds such as 1..1000");
    let (first, last) = text.split_once("..").ok_or_else(refused)?;
    let parse = |number: &str| number.parse::<u64>().map_err(|_| refused());
    let (first, last) = (parse(first)?, parse(last)?);
    if first > last { Err(refused()) } else { Ok(first..=last) }
}

fn main() -> ExitCode {
    let Cli { command, run: arguments } = Cli::parse();
    let has_passed = match command {
        None => run_one(&arguments),
        Some(Command::Campaign { seeds, days, threads, state, until_error }) => {
            let campaign = Campaign { seeds, days, threads, until_error };
            match campaign.run(state.as_deref()) {
                Ok(has_passed) => has_passed,
                Err(error) => return fail(&error),
            }
        }
        Some(Command::Invariants) => {
            print_invariants();
            true
        }
        Some(Command::Known) => show_known(),
        Some(Command::Scripted { file, json }) => match run_scenario_file(&file, json) {
            Ok(has_passed) => has_passed,
            Err(error) => return fail(&error),
        },
        Some(Command::Shrink { seed, days }) => shrink_seed(seed, days),
    };
    if has_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fail(error: &std::io::Error) -> ExitCode {
    eprintln!("jeffrey-sim: {error}");
    ExitCode::from(2)
}

/// Runs the scenarios of a file. Returns whether each outcome is as the file expects.
fn run_scenario_file(path: &Path, prints_json: bool) -> std::io::Result<bool> {
    let file: ScenarioFile = serde_json::from_reader(BufReader::new(File::open(path)?))?;
    let mut outcomes = serde_json::Map::new();
    let mut are_as_expected = true;
    for scenario in &file.scenarios {
        let report = run_scripted(&file, scenario);
        are_as_expected &= report.unexpected.is_empty();
        if !prints_json {
            let result = if report.unexpected.is_empty() { "as expected" } else { "UNEXPECTED" };
            print_line!("{result}: {}", scenario.name);
            report.unexpected.iter().for_each(|sentence| print_line!("  {sentence}"));
        }
        outcomes.insert(scenario.name.clone(), serde_json::to_value(report)?);
    }
    if prints_json {
        print_line!("{}", serde_json::to_string(&outcomes)?);
    }
    Ok(are_as_expected)
}

fn run_one(arguments: &RunArguments) -> bool {
    let report = run(Scenario::random(arguments.seed, arguments.days), arguments.trace);
    for line in &report.trace {
        print_line!("{line}");
    }
    if arguments.json {
        print_line!("{}", serde_json::to_string(&report).unwrap_or_default());
    } else {
        print_report(&report);
    }
    report.first_error().is_none()
}

fn print_report(report: &RunReport) {
    let counts = report.counts;
    print_line!(
        "seed {}: {} calls, {} by the model, {} by the legacy system, {} faults, {} rollbacks, {} promotions, digest {:016x}",
        report.seed,
        counts.calls,
        counts.by_model,
        counts.by_legacy,
        counts.faults,
        counts.rollbacks,
        counts.promotions,
        report.digest,
    );
    for (invariant, count) in &report.violation_counts {
        match invariant.known_fault() {
            Some(number) => {
                print_line!("  known ({number}), {count} times: {}", invariant.promise())
            }
            None => print_line!("  BROKEN, {count} times: {}", invariant.promise()),
        }
    }
    let is_error = |invariant: Invariant| invariant.known_fault().is_none();
    for violation in report.violations.iter().filter(|violation| is_error(violation.invariant)) {
        print_line!("  {violation}");
    }
}

fn print_invariants() {
    for invariant in Invariant::ALL {
        let known = match invariant.known_fault() {
            Some(number) => format!(", broken by known fault {number}"),
            None => String::new(),
        };
        print_line!("{} (docs/{}{known})", invariant.promise(), invariant.page());
    }
}

fn show_known() -> bool {
    let mut are_all_there = true;
    for fault in &KNOWN_FAULTS {
        let report = run((fault.scenario)(), false);
        if report.breaks(fault.invariant) {
            print_line!("known ({}): {}", fault.number, fault.what);
        } else {
            print_line!("GONE ({}): {}; take it off the list", fault.number, fault.what);
            are_all_there = false;
        }
        if let Some(violation) = report.first_error() {
            print_line!("  BROKEN besides: {violation}");
            are_all_there = false;
        }
    }
    are_all_there
}

fn shrink_seed(seed: u64, days: f64) -> bool {
    let scenario = Scenario::random(seed, days);
    let report = run(scenario.clone(), false);
    let Some(violation) = report.first_error() else {
        print_line!("seed {seed} breaks no promise");
        return true;
    };
    print_line!("seed {seed} breaks: {violation}");
    let bar = ProgressBar::new_spinner();
    let smallest = shrink(&scenario, violation.invariant, |faults| {
        bar.set_message(format!("{faults} faults"));
        bar.tick();
    });
    bar.finish_and_clear();
    print_line!("the same with {} of {} faults:", smallest.faults.len(), scenario.faults.len());
    for fault in &smallest.faults {
        print_line!("  {fault}");
    }
    let report = run(smallest, true);
    for line in &report.trace {
        print_line!("{line}");
    }
    print_report(&report);
    false
}

/// A run of many seeds.
struct Campaign {
    seeds: RangeInclusive<u64>,
    days: f64,
    threads: usize,
    until_error: bool,
}

impl Campaign {
    /// Runs the seeds that the state file does not have yet. Returns whether no promise was broken.
    fn run(&self, state: Option<&Path>) -> std::io::Result<bool> {
        let (done, mut errors) = read_state(state)?;
        let open = |path: &Path| OpenOptions::new().create(true).append(true).open(path);
        let file = Mutex::new(state.map(open).transpose()?);
        let seeds: Vec<u64> = self.seeds.clone().filter(|seed| !done.contains(seed)).collect();
        let bar = ProgressBar::new(seeds.len() as u64);
        let style = ProgressStyle::with_template("{bar:30} {pos} of {len} seeds, {eta} left {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let (next, found) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| {
                    loop {
                        let place = next.fetch_add(1, Ordering::Relaxed) as usize;
                        let is_over = self.until_error && found.load(Ordering::Relaxed) > 0;
                        let Some(seed) = seeds.get(place).filter(|_| !is_over) else { return };
                        let scenario = Scenario::random(*seed, self.days);
                        let report = if self.until_error {
                            run_until_error(scenario)
                        } else {
                            run(scenario, false)
                        };
                        if report.first_error().is_some() {
                            found.fetch_add(1, Ordering::Relaxed);
                            bar.suspend(|| print_report(&report));
                        }
                        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                        if let Some(file) = file.as_mut() {
                            let line = serde_json::to_string(&report).unwrap_or_default();
                            // The next start runs a seed again whose line is missing.
                            let _ = writeln!(file, "{line}");
                        }
                        bar.inc(1);
                    }
                });
            }
        });
        bar.finish_and_clear();
        errors += found.into_inner();
        let days = self.seeds.clone().count() as f64 * self.days;
        print_line!("{days} gateway-days, {errors} seeds with a broken promise");
        Ok(errors == 0)
    }
}

/// Returns the seeds that a state file has, and how many of them broke a promise.
fn read_state(state: Option<&Path>) -> std::io::Result<(BTreeSet<u64>, u64)> {
    let mut done = BTreeSet::new();
    let mut errors = 0;
    let Some(file) = state.filter(|path| path.exists()).map(File::open).transpose()? else {
        return Ok((done, errors));
    };
    for line in BufReader::new(file).lines() {
        let report: serde_json::Value = serde_json::from_str(&line?)?;
        let names = report["violation_counts"].as_object().cloned().unwrap_or_default();
        let is_error = |invariant: &&Invariant| {
            let name = serde_json::to_value(invariant).unwrap_or_default();
            invariant.known_fault().is_none() && names.contains_key(name.as_str().unwrap_or(""))
        };
        errors += u64::from(Invariant::ALL.iter().any(|invariant| is_error(&invariant)));
        done.extend(report["seed"].as_u64());
    }
    Ok((done, errors))
}
