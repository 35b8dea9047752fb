//! The requests themselves: a pool of threads that ask, each one answer at a time.
//!
//! The pool is an open loop: an arrival is handed over on its time, whatever earlier answers do. One
//! that finds all threads busy waits, and its latency runs from its arrival, not from its sending;
//! otherwise a slow endpoint would slow the questions, and its worst moments would go unmeasured
//! ("coordinated omission", <https://www.scylladb.com/2021/04/22/on-coordinated-omission/>). An
//! answer keeps no text.

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

/// How a request is made.
#[derive(Clone, Debug)]
pub(super) struct RequestOptions {
    /// The JSON field of the text.
    pub(super) text_field: String,
    /// Where the user stands.
    pub(super) user_field: UserField,
    /// How long a user waits, from the arrival on.
    pub(super) timeout: Duration,
    /// Requests in flight at most; above 0.
    pub(super) concurrency: usize,
}

/// Where a request names its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum UserField {
    /// In `user_id`, beside the text.
    Body,
    /// In the header `x-user-id`.
    Header,
    /// Nowhere.
    None,
}

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LoadTestOutcome {
    /// As in the arrival.
    pub(super) user: u32,
    /// Who answered, where the answer says so.
    pub(super) cohort: Option<Cohort>,
    /// The status, or why there is none.
    pub(super) result: Result<StatusCode, RequestFailure>,
    /// From the arrival to the last byte, or to the end of the patience. A failed connection has
    /// none: it is no answer, and it is quick.
    pub(super) latency: Option<Duration>,
    /// The label that a 2xx answer carries.
    pub(super) label: Option<ResponseLabel>,
}

/// A label as an endpoint gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseLabel {
    /// One of the eight.
    Known(Label),
    /// Another word, which is not kept: it could be anything.
    Other,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestFailure {
    /// No connection, or one that broke.
    Connection,
    /// Something that is not HTTP, or not TLS.
    Protocol,
    /// Not within the timeout.
    Timeout,
}

/// Threads that ask.
pub(super) struct RequestPool {
    queue: Sender<RequestJob>,
    /// Handed over and not yet answered.
    in_flight: Arc<AtomicUsize>,
    concurrency: usize,
}

struct RequestJob {
    arrival: Arrival,
    due: Instant,
}

impl RequestPool {
    /// The pool and its answers. Once `stopped`, no further request is made.
    ///
    /// # Errors
    /// What the system says when it has no thread left.
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

    /// Hands an arrival over, `due` at this moment. Says whether a thread was free for it.
    pub(super) fn enqueue(&self, arrival: Arrival, due: Instant) -> bool {
        let in_flight_before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        // Fails only when no thread is left, and then no answer comes, which the report counts.
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
    /// Until the pool is dropped and its queue is empty.
    fn run(&self) {
        loop {
            // A thread waits inside the lock, the others for the lock: one at a time takes a job.
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
        // Who has waited that long has gone, and asks no more.
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
            // It has answered; its label stays unknown.
            Err(ureq::Error::BodyExceedsLimit(_)) => Vec::new(),
            other => other?,
        };
        Ok(Response::from_parts(head, body))
    }
}

/// One connection a thread; no redirect, which could lead to a stranger, and no proxy.
pub(crate) fn build_agent(concurrency: usize, is_https: bool) -> Agent {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    // Reading them takes a while, which only TLS has use for. What cannot be read is not trusted, and
    // a handshake that lacks it fails.
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

/// By `/prediction/primary`, else `/primary`.
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

/// The field that names the user in a body.
pub(super) const USER_ID_FIELD: &str = "user_id";

/// The header by which a gate says who answered.
const COHORT_HEADER: &str = "x-jeffrey-cohort";

/// Largest answer that is read: eight scores need a thousandth of it.
const BODY_BYTES_MAX: u64 = 1024 * 1024;

/// How long a connection may wait for its next request. Node closes one after 5 s
/// (`server.keepAliveTimeout`), and a request that crosses with that fails without anybody's fault.
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
