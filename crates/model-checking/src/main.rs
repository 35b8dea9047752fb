//! Searches all states of a release.

use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use jeffrey_model_checking::bounds::{Bounds, Exclusions, ISOLATES_MAX, VERSIONS_MAX};
use jeffrey_model_checking::functions::CoreFunctions;
use jeffrey_model_checking::search::{SearchResult, search};

/// Checks a release in every schedule of its rollout object, its isolates and a number of faults.
///
/// Each option bounds a schedule; the search covers every schedule within the bounds, however long it
/// is. It ends when it has seen all states, or at the first broken promise.
#[derive(Parser)]
#[command(name = "jeffrey-check", version)]
#[command(
    after_help = "A fault is a message that is lost, doubled or late; an isolate that ends, gets no requests or is cut \
                  off; a clock that is set by 30 s; an object that restarts; an alarm that is lost or runs twice; or a \
                  deploy.\n\n\
                  The search also has to meet certain events, such as an expired share, so that a model without them \
                  does not pass. Small bounds leave some out: they are listed as MISSED.\n\n\
                  Exit codes: 0 every promise holds in all states; 1 a promise is broken, with the steps to it, or an \
                  event was missed; 2 usage error.\n\n\
                  The default sees 77 million states: ten minutes of processor time and 6 GB of memory.\n\n\
                  Examples:\n  jeffrey-check\n  jeffrey-check --isolates 2 --explain\n  \
                  jeffrey-check --isolates 1 --faults 2 --threads 1 --find unseen-set-back"
)]
struct CheckArguments {
    /// Isolates at a time, 1 to 3; one that ends is followed by a new one
    #[arg(long, default_value_t = Bounds::FULL.isolates, value_parser = parse_isolates)]
    isolates: usize,
    /// Faults in one schedule
    #[arg(long, default_value_t = Bounds::FULL.faults)]
    faults: u8,
    /// Faults among them that set an isolate's clock forward or back by 30 s
    #[arg(long, default_value_t = Bounds::FULL.clock_steps)]
    clock_steps: u8,
    /// Commands of operators in one schedule: rollback, resume, pause or kill
    #[arg(long, default_value_t = Bounds::FULL.commands)]
    commands: u8,
    /// Last version of the release state, 1 to 7: each change of the share or the kill switch counts
    #[arg(long, default_value_t = Bounds::FULL.version_max, value_parser = parse_version)]
    versions: u8,
    /// Threads of the search; with one, a counterexample is the shortest
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Known fault to search for instead of leaving it out
    #[arg(long, value_enum)]
    find: Option<KnownFaultName>,
    /// Print the steps to each event too
    #[arg(long)]
    explain: bool,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

/// Known faults by the names of their exclusions.
#[derive(Clone, Copy, clap::ValueEnum)]
enum KnownFaultName {
    /// A clock that is set back while its isolate gets no request
    UnseenSetBack,
    /// A `resume` that does not say which version it is for
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
        let per_second = states as f64 / bar.elapsed().as_secs_f64().max(1.0);
        bar.set_message(format!("{states} unique states, {per_second:.0} a second, depth {depth}"));
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
