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

use self::arrivals::{Pace, Traffic};
use self::client::{Answer, Form, Pool, USER_ID, UserField};
use self::report::{Limits, Report};
use self::target::Target;
pub(super) use self::target::TargetError;
use super::duration::duration;
use super::progress::clock;
use super::{Outcome, Stop, print_json};
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
pub(super) struct Arguments {
    /// Endpoint that takes a POST of JSON, such as http://127.0.0.1:8787/predict
    #[arg(value_name = "URL")]
    url: String,
    /// Arrivals a second on average, bursts aside; 10000 at most
    #[arg(long, value_name = "N", value_parser = rate, default_value = "5")]
    rate: f64,
    /// Arrivals at once in a burst; 0 for none
    #[arg(long, value_name = "SIZE", default_value = "10")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=10_000))]
    burst: u32,
    /// From one burst to the next
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s")]
    burst_every: Duration,
    /// How long, such as 90s, 5m or 1h [default: 60s, without --count]
    #[arg(long, value_name = "TIME", value_parser = duration)]
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
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
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
fn rate(text: &str) -> Result<f64, RateError> {
    let rate = text.parse().ok().filter(|rate| *rate > 0.0 && *rate <= RATE_MAX);
    rate.ok_or_else(|| RateError { rate: text.to_owned() })
}

/// What is no rate.
#[derive(Debug, thiserror::Error)]
#[error("rate `{rate}` is not a number above 0 and at most {RATE_MAX}")]
struct RateError {
    rate: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Stop> {
    let Arguments { seed, users, timeout, .. } = *arguments;
    if arguments.field.is_empty() {
        return Err(Stop::Usage("--field is empty"));
    }
    if arguments.user_field == UserField::Body && arguments.field == USER_ID {
        return Err(Stop::Usage("--field user_id is taken by --user-field body"));
    }
    let target = Target::parse(&arguments.url, arguments.allow_remote)?;
    let Arguments { rate, burst, burst_every, .. } = *arguments;
    let traffic = Traffic::new(seed, Pace { rate, burst, burst_every }, users);
    let traffic = traffic.ok_or(Stop::Usage("no traffic of this rate and number of users"))?;
    target.reach(timeout)?;

    let stopped = on_interrupt().map_err(|_| Stop::Usage("Ctrl-C cannot be listened to"))?;
    let form = Form {
        field: arguments.field.clone(),
        user_field: arguments.user_field,
        timeout,
        concurrency: arguments.concurrency.into(),
    };
    let (pool, answers) = Pool::start(&target, &form, &stopped)
        .map_err(|_| Stop::Usage("no thread is left: choose fewer by --concurrency"))?;
    let started = clock();
    let rehearsal = Rehearsal { pool, answers, stopped, started };
    let report = rehearsal.play(traffic, arguments);

    let took = clock().saturating_duration_since(started);
    let limits = Limits { errors_max: arguments.errors_max, sticky: arguments.sticky };
    if arguments.json {
        print_json(&report.json(seed, took, limits))?;
    } else {
        let mut output = io::stdout().lock();
        output.write_all(report.text(seed, took, limits).as_bytes())?;
        output.flush()?;
    }
    Ok(if report.passes(limits) { Outcome::Fine } else { Outcome::Negative })
}

/// Becomes true on Ctrl-C. The second one ends the process where it stands.
fn on_interrupt() -> io::Result<Arc<AtomicBool>> {
    let stopped = Arc::new(AtomicBool::new(false));
    // In this order: at the first Ctrl-C the flag is not yet set when the shutdown looks at it.
    signal_hook::flag::register_conditional_shutdown(SIGINT, INTERRUPTED, Arc::clone(&stopped))?;
    signal_hook::flag::register(SIGINT, Arc::clone(&stopped))?;
    Ok(stopped)
}

/// A run in progress.
struct Rehearsal {
    pool: Pool,
    answers: Receiver<Answer>,
    stopped: Arc<AtomicBool>,
    started: Instant,
}

impl Rehearsal {
    /// Sends each arrival on its time, then waits for what is still unanswered: no longer than one
    /// timeout, because an arrival's patience runs from its own time on.
    fn play(&self, traffic: Traffic, arguments: &Arguments) -> Report {
        let mut report = Report::new(arguments.users);
        let mut live = Live::new();
        let count = arguments.count.unwrap_or(u64::MAX);
        let end = match (arguments.duration, arguments.count) {
            (None, Some(_)) => Duration::MAX,
            (duration, _) => duration.unwrap_or(DURATION_DEFAULT),
        };
        for arrival in traffic.take_while(|arrival| arrival.at < end) {
            if report.arrivals() == count {
                break;
            }
            let due = self.started + arrival.at;
            while !self.is_stopped() && clock() < due {
                self.listen(due, &mut report);
                live.show(&report);
            }
            if self.is_stopped() {
                break;
            }
            // Under a rate that leaves no pause, answers come in here.
            self.answers.try_iter().for_each(|answer| report.fold(&answer));
            let kind = arrival.kind;
            let free = self.pool.send(arrival, due);
            report.count(kind, free);
        }
        let mut grace = None;
        while report.requests() < report.arrivals() {
            if self.is_stopped() {
                let until = *grace.get_or_insert_with(|| clock() + GRACE);
                if clock() >= until {
                    break;
                }
            }
            if !self.listen(clock() + TICK, &mut report) {
                break;
            }
            live.show(&report);
        }
        report
    }

    /// Folds the next answer, if one comes until then or within a tick; false when none can come any
    /// more.
    fn listen(&self, until: Instant, report: &mut Report) -> bool {
        let wait = until.saturating_duration_since(clock()).min(TICK);
        match self.answers.recv_timeout(wait) {
            Ok(answer) => report.fold(&answer),
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
struct Live {
    bar: Option<ProgressBar>,
    shown: Instant,
}

impl Live {
    fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
                .with_style(indicatif::ProgressStyle::default_spinner())
        });
        Self { bar, shown: clock() }
    }

    /// At most every [`REDRAW`]: quantiles cost more than an answer.
    fn show(&mut self, report: &Report) {
        let Some(bar) = &self.bar else { return };
        let now = clock();
        if now.saturating_duration_since(self.shown) >= REDRAW {
            self.shown = now;
            bar.set_message(report.line());
        }
    }
}

impl Drop for Live {
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
const TICK: Duration = Duration::from_millis(50);

/// How long answers may still come after Ctrl-C.
const GRACE: Duration = Duration::from_secs(1);

const REDRAW: Duration = Duration::from_millis(250);

/// What a shell calls the end by SIGINT: 128 and the signal's 2.
const INTERRUPTED: i32 = 130;
