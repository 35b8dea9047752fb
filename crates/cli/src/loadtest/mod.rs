//! `jeffrey loadtest`: a load test of a classify endpoint with generated traffic, to check a release
//! before its users do.
//!
//! A seed decides which user sends which text at what time (`arrivals`, `texts`). A pool of threads
//! sends the requests (`client`), and the responses become counts and quantiles (`report`). The
//! output contains neither a text nor a user ID.

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

/// Load-test a classify endpoint with generated traffic
#[derive(clap::Args)]
#[command(
    after_help = "Sends generated French and English texts: 70 % plain, 20 % borderline, 5 % with \
                  fictitious personal data (at most 2 per minute), 5 % edge cases. Users are \
                  `rehearsal-1` to `rehearsal-<USERS>`; their request rates follow Zipf's law. \
                  The same seed sends the same requests.\n\n\
                  Open loop: arrivals do not wait for responses. A request that finds all \
                  --concurrency slots busy counts as `late`; its latency includes the wait. The \
                  cohort comes from the response header `x-jeffrey-cohort`. A user served by both \
                  cohorts counts as `moved`; some do whenever the traffic share increases.\n\n\
                  Stops after --duration or --count, whichever comes first, or on Ctrl-C, and prints \
                  the report. Exit codes: 0 passed; 1 error rate above --error-rate-max, or a user \
                  moved with --require-sticky; 2 usage error or endpoint unreachable.\n\n\
                  Examples:\n  \
                  jeffrey loadtest http://127.0.0.1:8787/predict --rate 20 --duration 5m\n  \
                  jeffrey loadtest http://localhost:8788/predict --text-field inputs --count 200 --json"
)]
pub(super) struct LoadTestArguments {
    /// URL of the endpoint; takes a JSON POST, such as http://127.0.0.1:8787/predict
    #[arg(value_name = "URL")]
    url: String,
    /// Mean arrivals per second without bursts; at most 10000
    #[arg(long, value_name = "N", value_parser = parse_rate, default_value = "5")]
    rate: f64,
    /// Requests in one burst; 0 disables bursts
    #[arg(long, value_name = "SIZE", default_value = "10")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=10_000))]
    burst_size: u32,
    /// Time between two bursts
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "30s")]
    burst_interval: Duration,
    /// Duration of the test, such as 90s, 5m or 1h [default: 60s, unless --count is given]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Stop after this many requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Random seed; the same seed sends the same requests
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// Number of distinct users
    #[arg(long, value_name = "N", default_value = "1000")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    users: u32,
    /// Where to send the user ID: in the `x-user-id` header, in the `user_id` body field, or not at
    /// all
    #[arg(long, value_name = "WHERE", default_value = "header")]
    user_id_in: UserField,
    /// JSON field that holds the text
    #[arg(long, value_name = "NAME", default_value = "text")]
    text_field: String,
    /// Maximum number of concurrent requests
    #[arg(long, value_name = "N", default_value = "64")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Request timeout, measured from the time at which the request was due to be sent
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10s")]
    timeout: Duration,
    /// Highest share of 5xx responses and failed requests that still passes, such as 0.5%
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    error_rate_max: Share,
    /// Fail if any user is served by both cohorts
    #[arg(long)]
    require_sticky: bool,
    /// Allow a target other than localhost
    #[arg(long)]
    allow_remote: bool,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Parses a mean arrival rate in requests per second, above 0 and at most [`RATE_MAX`].
fn parse_rate(text: &str) -> Result<f64, ArrivalRateError> {
    let rate = text.parse().ok().filter(|rate| *rate > 0.0 && *rate <= RATE_MAX);
    rate.ok_or_else(|| ArrivalRateError { rate: text.to_owned() })
}

/// A value of `--rate` that is not a number or is out of range.
#[derive(Debug, thiserror::Error)]
#[error("rate `{rate}` is not a number above 0 and at most {RATE_MAX}")]
struct ArrivalRateError {
    rate: String,
}

pub(super) fn run(arguments: &LoadTestArguments) -> Result<ExitStatus, CliError> {
    let LoadTestArguments { seed, users, timeout, .. } = *arguments;
    if arguments.text_field.is_empty() {
        return Err(CliError::Usage("--text-field is empty"));
    }
    if arguments.user_id_in == UserField::Body && arguments.text_field == USER_ID_FIELD {
        return Err(CliError::Usage("--text-field user_id conflicts with --user-id-in body"));
    }
    let target = LoadTestTarget::parse(&arguments.url, arguments.allow_remote)?;
    let LoadTestArguments { rate, burst_size: burst, burst_interval: burst_every, .. } = *arguments;
    let arrivals = ArrivalStream::new(
        seed,
        ArrivalPattern { rate_per_second: rate, burst_size: burst, burst_interval: burst_every },
        users,
    );
    let arrivals = arrivals.ok_or(CliError::Usage("--rate or --users is out of range"))?;
    target.check_reachable(timeout)?;

    let stopped =
        stop_on_interrupt().map_err(|_| CliError::Usage("cannot install the Ctrl-C handler"))?;
    let options = RequestOptions {
        text_field: arguments.text_field.clone(),
        user_field: arguments.user_id_in,
        timeout,
        concurrency: arguments.concurrency.into(),
    };
    let (pool, outcomes) = RequestPool::start(&target, &options, &stopped)
        .map_err(|_| CliError::Usage("cannot start a thread: lower --concurrency"))?;
    let started = monotonic_now();
    let load_test = LoadTest { pool, outcomes, stopped, started };
    let report = load_test.run(arrivals, arguments);

    let elapsed = monotonic_now().saturating_duration_since(started);
    let limits = LoadTestLimits {
        errors_max: arguments.error_rate_max,
        require_sticky: arguments.require_sticky,
    };
    if arguments.json {
        print_json(&report.to_json(seed, elapsed, limits))?;
    } else {
        let mut output = io::stdout().lock();
        output.write_all(report.to_text(seed, elapsed, limits).as_bytes())?;
        output.flush()?;
    }
    Ok(if report.passes(limits) { ExitStatus::Success } else { ExitStatus::Negative })
}

/// Returns a flag that the first Ctrl-C sets to true; the second Ctrl-C ends the process at once.
fn stop_on_interrupt() -> io::Result<Arc<AtomicBool>> {
    let stopped = Arc::new(AtomicBool::new(false));
    // The order matters: at the first Ctrl-C the shutdown handler must read the flag before it is
    // set.
    signal_hook::flag::register_conditional_shutdown(
        SIGINT,
        EXIT_CODE_SIGINT,
        Arc::clone(&stopped),
    )?;
    signal_hook::flag::register(SIGINT, Arc::clone(&stopped))?;
    Ok(stopped)
}

/// A load test in progress, with its threads and its start time.
struct LoadTest {
    pool: RequestPool,
    outcomes: Receiver<LoadTestOutcome>,
    stopped: Arc<AtomicBool>,
    started: Instant,
}

impl LoadTest {
    /// Sends each request when it is due, then waits for the responses that are missing. The wait
    /// takes at most one timeout, because a timeout is measured from the scheduled arrival; after
    /// Ctrl-C it takes at most [`GRACE_PERIOD`].
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
            // At a high rate the loop above never waits, so the responses are folded in here.
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

    /// Folds the next outcome into the report if it arrives before `until` and within
    /// [`POLL_INTERVAL`]. Returns `false` when no more outcomes can arrive.
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

/// Progress line on standard error, shown only on a terminal.
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

    /// Redraws at most once per [`REDRAW_INTERVAL`], because quantiles cost more than a response.
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

/// Highest mean arrival rate per second; one thread can enqueue that many in time, with a margin.
const RATE_MAX: f64 = 10_000.0;

/// Longest time until a Ctrl-C takes effect.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Longest wait for missing responses after Ctrl-C.
const GRACE_PERIOD: Duration = Duration::from_secs(1);

const REDRAW_INTERVAL: Duration = Duration::from_millis(250);

/// Exit code that shells report after SIGINT: 128 plus the signal number 2.
const EXIT_CODE_SIGINT: i32 = 130;
