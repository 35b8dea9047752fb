//! HTTP client of the load test: a pool of threads, each with one request at a time.
//!
//! The pool is an open loop: each request is enqueued when it is due, whatever became of earlier
//! requests. A request that finds all threads busy waits, and its latency is measured from its
//! arrival, not from its sending. Otherwise a slow endpoint would slow the requests down, and its
//! worst moments would go unmeasured ("coordinated omission",
//! <https://www.scylladb.com/2021/04/22/on-coordinated-omission/>). An outcome contains no text.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use serde_json::{Map, Value};
use ureq::Agent;
use ureq::http::{Response, StatusCode, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::arrivals::Arrival;
use super::target::LoadTestTarget;
use crate::progress::monotonic_now;
use jeffrey_terms::{Cohort, Label};

/// Settings of every request of a load test.
#[derive(Clone, Debug)]
pub(super) struct RequestOptions {
    /// Name of the JSON field that holds the text.
    pub(super) text_field: String,
    /// Part of the request that carries the user ID.
    pub(super) user_field: UserField,
    /// Request timeout, measured from the scheduled arrival.
    pub(super) timeout: Duration,
    /// Maximum number of concurrent requests; above 0.
    pub(super) concurrency: usize,
}

/// Part of a request that carries the user ID; the values of `--user-id-in`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum UserField {
    /// In the `user_id` field of the JSON body
    Body,
    /// In the `x-user-id` request header
    Header,
    /// No user ID is sent
    None,
}

/// Outcome of one request: the response without its text, or a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LoadTestOutcome {
    /// Number of the user, from 1, as in the arrival.
    pub(super) user: u32,
    /// Cohort that answered; `None` when the response does not name one.
    pub(super) cohort: Option<Cohort>,
    /// HTTP status of the response, or the reason why there is no response.
    pub(super) result: Result<StatusCode, RequestFailure>,
    /// Time from the scheduled arrival to the last byte or to the timeout. `None` for connection
    /// and protocol failures, which are fast and would lower the quantiles.
    pub(super) latency: Option<Duration>,
    /// Label of a 2xx response; `None` when the body has no label.
    pub(super) label: Option<ResponseLabel>,
}

/// Label of a response, as the endpoint names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseLabel {
    /// One of the eight labels.
    Known(Label),
    /// Any other string; it is not kept, because it could contain a text.
    Other,
}

/// Reason why a request got no response; the names are those in reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::VariantNames)]
#[strum(serialize_all = "lowercase")]
pub(super) enum RequestFailure {
    /// The connection could not be opened, or it broke.
    Connection,
    /// The endpoint did not speak valid HTTP or TLS.
    Protocol,
    /// The response was not complete within the timeout.
    Timeout,
}

/// Pool of threads that send the requests.
pub(super) struct RequestPool {
    queue: Sender<RequestJob>,
    /// Number of enqueued requests without an outcome.
    in_flight: Arc<AtomicUsize>,
    concurrency: usize,
}

struct RequestJob {
    arrival: Arrival,
    due: Instant,
}

impl RequestPool {
    /// Starts the threads and returns the pool with the receiver of the outcomes. Once `stopped` is
    /// true, no further request is sent.
    ///
    /// # Errors
    /// The [`io::Error`] of the operating system when it cannot start a thread.
    pub(super) fn start(
        target: &LoadTestTarget,
        options: &RequestOptions,
        stopped: &Arc<AtomicBool>,
    ) -> io::Result<(Self, Receiver<LoadTestOutcome>)> {
        let agent = build_agent(options.concurrency, target.is_https());
        let (queue, jobs) = mpsc::channel();
        let (outcome_sender, outcome_receiver) = mpsc::channel();
        let jobs = Arc::new(Mutex::new(jobs));
        let in_flight = Arc::new(AtomicUsize::new(0));
        for _ in 0..options.concurrency {
            let pool_thread = PoolThread {
                agent: agent.clone(),
                url: target.url().clone(),
                options: options.clone(),
                jobs: Arc::clone(&jobs),
                outcomes: outcome_sender.clone(),
                in_flight: Arc::clone(&in_flight),
                stopped: Arc::clone(stopped),
            };
            thread::Builder::new().spawn(move || pool_thread.run())?;
        }
        Ok((Self { queue, in_flight, concurrency: options.concurrency }, outcome_receiver))
    }

    /// Enqueues a request that is due now (`due`), and returns whether a thread was free for it.
    pub(super) fn enqueue(&self, arrival: Arrival, due: Instant) -> bool {
        let in_flight_before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        // Sending fails only when all threads have ended; the report counts the request as
        // unanswered.
        let _ = self.queue.send(RequestJob { arrival, due });
        in_flight_before < self.concurrency
    }
}

struct PoolThread {
    agent: Agent,
    url: Uri,
    options: RequestOptions,
    jobs: Arc<Mutex<Receiver<RequestJob>>>,
    outcomes: Sender<LoadTestOutcome>,
    in_flight: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl PoolThread {
    /// Sends queued requests until the pool is dropped and its queue is empty, or `stopped` is
    /// true.
    fn run(&self) {
        loop {
            // One thread waits for a job with the lock held; the others wait for the lock.
            let job = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(RequestJob { arrival, due }) = job else { return };
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
            let outcome = self.send_request(&arrival, due);
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            if self.outcomes.send(outcome).is_err() {
                return;
            }
        }
    }

    fn send_request(&self, arrival: &Arrival, due: Instant) -> LoadTestOutcome {
        let mut outcome = LoadTestOutcome {
            user: arrival.user,
            cohort: None,
            result: Err(RequestFailure::Timeout),
            latency: None,
            label: None,
        };
        let waited = monotonic_now().saturating_duration_since(due);
        // A request that has waited longer than its timeout is not sent.
        if let Some(remaining) =
            self.options.timeout.checked_sub(waited).filter(|left| !left.is_zero())
        {
            match self.post_text(arrival, remaining) {
                Ok(response) => {
                    outcome.result = Ok(response.status());
                    outcome.cohort = read_cohort(&response);
                    outcome.label = response
                        .status()
                        .is_success()
                        .then(|| read_label(response.body()))
                        .flatten();
                }
                Err(error) => outcome.result = Err(classify_failure(&error)),
            }
        }
        if matches!(outcome.result, Ok(_) | Err(RequestFailure::Timeout)) {
            outcome.latency = Some(monotonic_now().saturating_duration_since(due));
        }
        outcome
    }

    fn post_text(
        &self,
        arrival: &Arrival,
        timeout: Duration,
    ) -> Result<Response<Vec<u8>>, ureq::Error> {
        let user = format!("rehearsal-{}", arrival.user);
        let mut fields = Map::new();
        fields.insert(self.options.text_field.clone(), Value::from(arrival.text.as_str()));
        let mut request = self.agent.post(&self.url).content_type("application/json");
        match self.options.user_field {
            UserField::Body => {
                fields.insert(USER_ID_FIELD.into(), Value::from(user));
            }
            UserField::Header => request = request.header("x-user-id", user),
            UserField::None => {}
        }
        let request = request.config().timeout_global(Some(timeout)).build();
        let (head, mut body) = request.send(Value::Object(fields).to_string())?.into_parts();
        let body_bytes = body.with_config().limit(BODY_BYTES_MAX).read_to_vec();
        let body = match body_bytes {
            // The endpoint has answered; the label stays unknown.
            Err(ureq::Error::BodyExceedsLimit(_)) => Vec::new(),
            other => other?,
        };
        Ok(Response::from_parts(head, body))
    }
}

/// Builds an HTTP agent with one connection per thread. It follows no redirect, which could lead to
/// another host, and uses no proxy.
pub(crate) fn build_agent(concurrency: usize, is_https: bool) -> Agent {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    // Loading the root certificates takes a while, and only TLS needs them. A certificate that
    // cannot be read is not trusted, and a handshake that needs it fails.
    let roots = if is_https { rustls_native_certs::load_native_certs().certs } else { Vec::new() };
    let roots = roots.iter().map(|root| Certificate::from_der(root).to_owned());
    Agent::config_builder()
        .tls_config(tls.root_certs(RootCerts::Specific(Arc::new(roots.collect()))).build())
        .http_status_as_error(false)
        .max_idle_age(IDLE_CONNECTION_AGE_MAX)
        .max_idle_connections(concurrency)
        .max_idle_connections_per_host(concurrency)
        .max_redirects(0)
        .proxy(None)
        .user_agent(concat!("jeffrey/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

fn read_cohort<T>(response: &Response<T>) -> Option<Cohort> {
    let name = response.headers().get(COHORT_HEADER)?.as_bytes();
    [Cohort::Canary, Cohort::Stable].into_iter().find(|cohort| cohort.name().as_bytes() == name)
}

/// Reads the label at `/prediction/primary`, else at `/primary`; `None` when there is no string.
fn read_label(body: &[u8]) -> Option<ResponseLabel> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let pointers = ["/prediction/primary", "/primary"];
    let name = pointers.iter().find_map(|pointer| body.pointer(pointer))?.as_str()?;
    Some(Label::from_name(name).map_or(ResponseLabel::Other, ResponseLabel::Known))
}

fn classify_failure(error: &ureq::Error) -> RequestFailure {
    match error {
        ureq::Error::Timeout(_) => RequestFailure::Timeout,
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            RequestFailure::Protocol
        }
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
            RequestFailure::Timeout
        }
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound | ureq::Error::Io(_) => {
            RequestFailure::Connection
        }
        _ => RequestFailure::Protocol,
    }
}

/// JSON body field that holds the user ID.
pub(super) const USER_ID_FIELD: &str = "user_id";

/// Response header in which the gateway names the cohort that answered.
const COHORT_HEADER: &str = "x-jeffrey-cohort";

/// Largest response body that is read, in bytes; eight scores need a thousandth of it.
const BODY_BYTES_MAX: u64 = 1024 * 1024;

/// Longest time that an idle connection is kept. Node closes an idle connection after 5 s
/// (`server.keepAliveTimeout`), and a request sent at that moment fails although neither side is at
/// fault.
const IDLE_CONNECTION_AGE_MAX: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_found_in_both_response_formats_and_no_other_text_is_kept() {
        let rows: [(&str, Option<ResponseLabel>); 7] = [
            (r#"{"prediction":{"primary":"joy"}}"#, Some(ResponseLabel::Known(Label::Joy))),
            (r#"{"primary":"fear"}"#, Some(ResponseLabel::Known(Label::Fear))),
            (
                r#"{"primary":"fear","prediction":{"primary":"joy"}}"#,
                Some(ResponseLabel::Known(Label::Joy)),
            ),
            (r#"{"primary":"geheimnis"}"#, Some(ResponseLabel::Other)),
            (r#"{"primary":7}"#, None),
            ("[]", None),
            ("oops", None),
        ];
        for (body, expected) in rows {
            assert_eq!(read_label(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn a_cohort_is_one_of_the_two_names() {
        let rows = [
            (Some("canary"), Some(Cohort::Canary)),
            (Some("stable"), Some(Cohort::Stable)),
            (Some("Canary"), None),
            (Some(""), None),
            (None, None),
        ];
        for (name, expected) in rows {
            let mut response = Response::new(());
            if let Some(name) = name {
                response.headers_mut().insert(COHORT_HEADER, name.parse().unwrap());
            }
            assert_eq!(read_cohort(&response), expected, "{name:?}");
        }
    }
}
