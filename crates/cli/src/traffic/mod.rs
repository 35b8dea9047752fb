//! `jeffrey traffic`: invented traffic against a classify endpoint, to see a release work before
//! its users do.
//!
//! A seed decides who arrives when with what (`arrivals`, `texts`); threads ask (`client`); answers
//! become figures (`report`). Nothing that is printed holds a text or a user.

mod arrivals;

pub(super) mod client;

mod report;

mod sentences;

mod target;

mod texts;

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget};
use signal_hook::consts::SIGINT;

use self::arrivals::{ArrivalPattern, ArrivalStream};
use self::client::{LoadTestOutcome, RequestOptions, RequestPool, USER_ID_FIELD, UserField};
use self::report::{LoadTestLimits, LoadTestReport};
use self::target::LoadTestTarget;
pub(super) use self::target::LoadTestTargetError;
use super::duration::parse_duration;
use super::progress::monotonic_now;
use super::{CliError, ExitStatus, print_json};
use jeffrey_terms::Share;

/// Rehearse a release with invented traffic
#[derive(clap::Args)]
#[command(
    after_help = "Sends invented French and English texts: 70 % plain, 20 % borderline, 5 % with \
                  personal data that belongs to nobody (2 a minute at most), 5 % edge cases. Users \
                  are `rehearsal-1` to `rehearsal-<USERS>`, few of them often, most of them rarely. \
                  The same seed sends the same.\n\n\
                  Arrivals do not wait for answers. One that finds all --concurrency busy is `late`, \
                  and its latency counts from its arrival. Cohorts are read from the answers' \
                  `x-jeffrey-cohort`. A user who meets both has `moved`, as some do when a share \
                  rises.\n\n\
                  Ends after --duration or --count, whichever comes first, or on Ctrl-C, with the \
                  report. Exit codes: 0 fine; 1 more 5xx and failures than --errors-max, or a user \
                  moved under --sticky; 2 usage error, or nobody listens there.\n\n\
                  Examples:\n  \
                  jeffrey traffic http://127.0.0.1:8787/predict --rate 20 --duration 5m\n  \
                  jeffrey traffic http://localhost:8788/predict --field inputs --count 200 --json"
)]
pub(super) struct LoadTestArguments {
    /// Endpoint that takes a POST of JSON, such as http://127.0.0.1:8787/predict
    #[arg(value_name = "URL")]
    url: String,
    /// Arrivals a second on average, bursts aside; 10000 at most
    #[arg(long, value_name = "N", value_parser = parse_rate, default_value = "5")]
    rate: f64,
    /// Arrivals at once in a burst; 0 for none
    #[arg(long, value_name = "SIZE", default_value = "10")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=10_000))]
    burst: u32,
    /// From one burst to the next
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "30s")]
    burst_every: Duration,
    /// How long, such as 90s, 5m or 1h [default: 60s, without --count]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// How many arrivals
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// What decides all that is drawn
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// How many users there are
    #[arg(long, value_name = "N", default_value = "1000")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    users: u32,
    /// Where a request names its user: `x-user-id`, `user_id` beside the text, or nowhere
    #[arg(long, value_name = "WHERE", default_value = "header")]
    user_field: UserField,
    /// JSON field of the text
    #[arg(long, value_name = "NAME", default_value = "text")]
    field: String,
    /// Requests in flight at most
    #[arg(long, value_name = "N", default_value = "64")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// How long a user waits for an answer, from the arrival on
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10s")]
    timeout: Duration,
    /// Part of the requests that may be 5xx or fail, such as 0.5%
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    errors_max: Share,
    /// Fail when a user meets both cohorts
    #[arg(long)]
    sticky: bool,
    /// Also send to a machine that is not this one
    #[arg(long)]
    allow_remote: bool,
    /// One JSON object instead of tables
    #[arg(long)]
    json: bool,
}

/// Arrivals a second.
fn parse_rate(text: &str) -> Result<f64, ArrivalRateError> {
    let rate = text.parse().ok().filter(|rate| *rate > 0.0 && *rate <= RATE_MAX);
    rate.ok_or_else(|| ArrivalRateError { rate: text.to_owned() })
}

/// What is no rate.
#[derive(Debug, thiserror::Error)]
#[error("rate `{rate}` is not a number above 0 and at most {RATE_MAX}")]
struct ArrivalRateError {
    rate: String,
}

pub(super) fn run(arguments: &LoadTestArguments) -> Result<ExitStatus, CliError> {
    let LoadTestArguments { seed, users, timeout, .. } = *arguments;
    if arguments.field.is_empty() {
        return Err(CliError::Usage("--field is empty"));
    }
    if arguments.user_field == UserField::Body && arguments.field == USER_ID_FIELD {
        return Err(CliError::Usage("--field user_id is taken by --user-field body"));
    }
    let target = LoadTestTarget::parse(&arguments.url, arguments.allow_remote)?;
    let LoadTestArguments { rate, burst, burst_every, .. } = *arguments;
    let arrivals = ArrivalStream::new(
        seed,
        ArrivalPattern { rate_per_second: rate, burst_size: burst, burst_interval: burst_every },
        users,
    );
    let arrivals =
        arrivals.ok_or(CliError::Usage("no traffic of this rate and number of users"))?;
    target.check_reachable(timeout)?;

    let stopped =
        stop_on_interrupt().map_err(|_| CliError::Usage("Ctrl-C cannot be listened to"))?;
    let options = RequestOptions {
        text_field: arguments.field.clone(),
        user_field: arguments.user_field,
        timeout,
        concurrency: arguments.concurrency.into(),
    };
    let (pool, outcomes) = RequestPool::start(&target, &options, &stopped)
        .map_err(|_| CliError::Usage("no thread is left: choose fewer by --concurrency"))?;
    let started = monotonic_now();
    let load_test = LoadTest { pool, outcomes, stopped, started };
    let report = load_test.run(arrivals, arguments);

    let elapsed = monotonic_now().saturating_duration_since(started);
    let limits =
        LoadTestLimits { errors_max: arguments.errors_max, require_sticky: arguments.sticky };
    if arguments.json {
        print_json(&report.to_json(seed, elapsed, limits))?;
    } else {
        let mut output = io::stdout().lock();
        output.write_all(report.to_text(seed, elapsed, limits).as_bytes())?;
        output.flush()?;
    }
    Ok(if report.passes(limits) { ExitStatus::Success } else { ExitStatus::Negative })
}

/// Becomes true on Ctrl-C. The second one ends the process where it stands.
fn stop_on_interrupt() -> io::Result<Arc<AtomicBool>> {
    let stopped = Arc::new(AtomicBool::new(false));
    // In this order: at the first Ctrl-C the flag is not yet set when the shutdown looks at it.
    signal_hook::flag::register_conditional_shutdown(
        SIGINT,
        EXIT_CODE_SIGINT,
        Arc::clone(&stopped),
    )?;
    signal_hook::flag::register(SIGINT, Arc::clone(&stopped))?;
    Ok(stopped)
}

/// A run in progress.
struct LoadTest {
    pool: RequestPool,
    outcomes: Receiver<LoadTestOutcome>,
    stopped: Arc<AtomicBool>,
    started: Instant,
}

impl LoadTest {
    /// Sends each arrival on its time, then waits for what is still unanswered: no longer than one
    /// timeout, because an arrival's patience runs from its own time on.
    fn run(&self, arrivals: ArrivalStream, arguments: &LoadTestArguments) -> LoadTestReport {
        let mut report = LoadTestReport::new(arguments.users);
        let mut progress = LoadTestProgress::new();
        let count = arguments.count.unwrap_or(u64::MAX);
        let end = match (arguments.duration, arguments.count) {
            (None, Some(_)) => Duration::MAX,
            (duration, _) => duration.unwrap_or(DURATION_DEFAULT),
        };
        for arrival in arrivals.take_while(|arrival| arrival.offset < end) {
            if report.arrivals() == count {
                break;
            }
            let due = self.started + arrival.offset;
            while !self.is_stopped() && monotonic_now() < due {
                self.receive_outcome(due, &mut report);
                progress.show(&report);
            }
            if self.is_stopped() {
                break;
            }
            // Under a rate that leaves no pause, answers come in here.
            self.outcomes.try_iter().for_each(|outcome| report.fold_outcome(&outcome));
            let kind = arrival.kind;
            let thread_was_free = self.pool.enqueue(arrival, due);
            report.count_arrival(kind, thread_was_free);
        }
        let mut grace_end = None;
        while report.requests() < report.arrivals() {
            if self.is_stopped() {
                let until = *grace_end.get_or_insert_with(|| monotonic_now() + GRACE_PERIOD);
                if monotonic_now() >= until {
                    break;
                }
            }
            if !self.receive_outcome(monotonic_now() + POLL_INTERVAL, &mut report) {
                break;
            }
            progress.show(&report);
        }
        report
    }

    /// Folds the next answer, if one comes until then or within a tick; false when none can come any
    /// more.
    fn receive_outcome(&self, until: Instant, report: &mut LoadTestReport) -> bool {
        let wait = until.saturating_duration_since(monotonic_now()).min(POLL_INTERVAL);
        match self.outcomes.recv_timeout(wait) {
            Ok(outcome) => report.fold_outcome(&outcome),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// A line on standard error, when somebody is there to see it.
struct LoadTestProgress {
    bar: Option<ProgressBar>,
    last_shown: Instant,
}

impl LoadTestProgress {
    fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
                .with_style(indicatif::ProgressStyle::default_spinner())
        });
        Self { bar, last_shown: monotonic_now() }
    }

    /// At most every [`REDRAW_INTERVAL`]: quantiles cost more than an answer.
    fn show(&mut self, report: &LoadTestReport) {
        let Some(bar) = &self.bar else { return };
        let now = monotonic_now();
        if now.saturating_duration_since(self.last_shown) >= REDRAW_INTERVAL {
            self.last_shown = now;
            bar.set_message(report.progress_line());
        }
    }
}

impl Drop for LoadTestProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

const DURATION_DEFAULT: Duration = Duration::from_secs(60);

/// What one thread can hand over in time, with room.
const RATE_MAX: f64 = 10_000.0;

/// How soon Ctrl-C is seen.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long answers may still come after Ctrl-C.
const GRACE_PERIOD: Duration = Duration::from_secs(1);

const REDRAW_INTERVAL: Duration = Duration::from_millis(250);

/// What a shell calls the end by SIGINT: 128 and the signal's 2.
const EXIT_CODE_SIGINT: i32 = 130;
