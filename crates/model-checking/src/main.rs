//! Searches all states of a release.

use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use jeffrey_model_checking::bounds::{Bounds, Exclusions, ISOLATES_MAX, VERSIONS_MAX};
use jeffrey_model_checking::functions::CoreFunctions;
use jeffrey_model_checking::search::{SearchResult, search};

/// Checks the rollout object and the isolates' cached shares in every schedule with a bounded number
/// of faults.
#[derive(Parser)]
#[command(name = "jeffrey-check")]
struct CheckArguments {
    /// Isolates at a time.
    #[arg(long, default_value_t = Bounds::FULL.isolates, value_parser = parse_isolates)]
    isolates: usize,
    /// Faults in one schedule.
    #[arg(long, default_value_t = Bounds::FULL.faults)]
    faults: u8,
    /// Faults among them that step a clock.
    #[arg(long, default_value_t = Bounds::FULL.clock_steps)]
    clock_steps: u8,
    /// Commands of operators in one schedule.
    #[arg(long, default_value_t = Bounds::FULL.commands)]
    commands: u8,
    /// Last version of the release state.
    #[arg(long, default_value_t = Bounds::FULL.version_max, value_parser = parse_version)]
    versions: u8,
    /// Threads of the search; a counterexample is the shortest one with one thread.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Known fault to search for instead of leaving it out.
    #[arg(long, value_enum)]
    find: Option<KnownFaultName>,
    /// Print the steps to each event too.
    #[arg(long)]
    explain: bool,
    /// Print the result as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Known faults by the names of their exclusions.
#[derive(Clone, Copy, clap::ValueEnum)]
enum KnownFaultName {
    UnseenSetBack,
    ResumeWithoutVersion,
}

fn parse_isolates(text: &str) -> Result<usize, String> {
    let in_range = |count: &usize| (1..=ISOLATES_MAX).contains(count);
    text.parse().ok().filter(in_range).ok_or_else(|| format!("1 to {ISOLATES_MAX}"))
}

fn parse_version(text: &str) -> Result<u8, String> {
    let in_range = |version: &u8| (1..=VERSIONS_MAX).contains(version);
    text.parse().ok().filter(in_range).ok_or_else(|| format!("1 to {VERSIONS_MAX}"))
}

fn main() -> ExitCode {
    let arguments = CheckArguments::parse();
    let bounds = Bounds {
        isolates: arguments.isolates,
        faults: arguments.faults,
        clock_steps: arguments.clock_steps,
        commands: arguments.commands,
        version_max: arguments.versions,
    };
    let exclusions = match arguments.find {
        None => Exclusions::ALL,
        Some(KnownFaultName::UnseenSetBack) => {
            Exclusions { unseen_set_back: false, ..Exclusions::ALL }
        }
        Some(KnownFaultName::ResumeWithoutVersion) => {
            Exclusions { resume_without_version: false, ..Exclusions::ALL }
        }
    };
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let model = (bounds, exclusions, CoreFunctions::SHIPPED);
    let result = search(model, arguments.threads.max(1), |states, depth| {
        bar.set_message(format!("{states} unique states, depth {depth}"));
        bar.tick();
    });
    bar.finish_and_clear();
    if arguments.json {
        println!("{}", result.to_json());
    } else {
        print_result(&result, arguments.explain);
    }
    if result.has_passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_result(result: &SearchResult, explains_events: bool) {
    println!(
        "{} unique states of {}, depth {}, {:.1} s",
        result.unique_states,
        result.states,
        result.depth,
        result.duration.as_secs_f64()
    );
    for (event, steps) in &result.met_events {
        println!("  met after {} steps: {event}", steps.len());
        if explains_events {
            print_steps(steps);
        }
    }
    for counterexample in &result.counterexamples {
        println!("BROKEN: {}", counterexample.property);
        print_steps(&counterexample.steps);
    }
    if result.counterexamples.is_empty() {
        for event in &result.missed_events {
            println!("MISSED: {event}");
        }
    }
}

fn print_steps(steps: &[String]) {
    for (number, step) in steps.iter().enumerate() {
        println!("  {:>3}. {step}", number + 1);
    }
}
