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
use super::target::Target;
use crate::progress::clock;
use jeffrey_terms::{Cohort, Label};

/// How a request is made.
#[derive(Clone, Debug)]
pub(super) struct Form {
    /// The JSON field of the text.
    pub(super) field: String,
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
pub(super) struct Answer {
    /// As in the arrival.
    pub(super) user: u32,
    /// Who answered, where the answer says so.
    pub(super) cohort: Option<Cohort>,
    /// The status, or why there is none.
    pub(super) fate: Result<StatusCode, Failure>,
    /// From the arrival to the last byte, or to the end of the patience. A failed connection has
    /// none: it is no answer, and it is quick.
    pub(super) latency: Option<Duration>,
    /// The label that a 2xx answer carries.
    pub(super) label: Option<Given>,
}

/// A label as an endpoint gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// One of the eight.
    Label(Label),
    /// Another word, which is not kept: it could be anything.
    Other,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection, or one that broke.
    Connection,
    /// Something that is not HTTP, or not TLS.
    Protocol,
    /// Not within the timeout.
    Timeout,
}

/// Threads that ask.
pub(super) struct Pool {
    queue: Sender<Job>,
    /// Handed over and not yet answered.
    outstanding: Arc<AtomicUsize>,
    concurrency: usize,
}

struct Job {
    arrival: Arrival,
    due: Instant,
}

impl Pool {
    /// The pool and its answers. Once `stopped`, no further request is made.
    ///
    /// # Errors
    /// What the system says when it has no thread left.
    pub(super) fn start(
        target: &Target,
        form: &Form,
        stopped: &Arc<AtomicBool>,
    ) -> io::Result<(Self, Receiver<Answer>)> {
        let agent = agent(form.concurrency, target.is_secure());
        let (queue, jobs) = mpsc::channel();
        let (answers, answered) = mpsc::channel();
        let jobs = Arc::new(Mutex::new(jobs));
        let outstanding = Arc::new(AtomicUsize::new(0));
        for _ in 0..form.concurrency {
            let worker = Worker {
                agent: agent.clone(),
                url: target.url().clone(),
                form: form.clone(),
                jobs: Arc::clone(&jobs),
                answers: answers.clone(),
                outstanding: Arc::clone(&outstanding),
                stopped: Arc::clone(stopped),
            };
            thread::Builder::new().spawn(move || worker.run())?;
        }
        Ok((Self { queue, outstanding, concurrency: form.concurrency }, answered))
    }

    /// Hands an arrival over, `due` at this moment. Says whether a thread was free for it.
    pub(super) fn send(&self, arrival: Arrival, due: Instant) -> bool {
        let before = self.outstanding.fetch_add(1, Ordering::Relaxed);
        // Fails only when no thread is left, and then no answer comes, which the report counts.
        let _ = self.queue.send(Job { arrival, due });
        before < self.concurrency
    }
}

struct Worker {
    agent: Agent,
    url: Uri,
    form: Form,
    jobs: Arc<Mutex<Receiver<Job>>>,
    answers: Sender<Answer>,
    outstanding: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl Worker {
    /// Until the pool is dropped and its queue is empty.
    fn run(&self) {
        loop {
            // A thread waits inside the lock, the others for the lock: one at a time takes a job.
            let job = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Job { arrival, due }) = job else { return };
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
            let answer = self.ask(&arrival, due);
            self.outstanding.fetch_sub(1, Ordering::Relaxed);
            if self.answers.send(answer).is_err() {
                return;
            }
        }
    }

    fn ask(&self, arrival: &Arrival, due: Instant) -> Answer {
        let mut answer = Answer {
            user: arrival.user,
            cohort: None,
            fate: Err(Failure::Timeout),
            latency: None,
            label: None,
        };
        let waited = clock().saturating_duration_since(due);
        // Who has waited that long has gone, and asks no more.
        if let Some(patience) = self.form.timeout.checked_sub(waited).filter(|left| !left.is_zero())
        {
            match self.call(arrival, patience) {
                Ok(response) => {
                    answer.fate = Ok(response.status());
                    answer.cohort = cohort(&response);
                    answer.label =
                        response.status().is_success().then(|| label(response.body())).flatten();
                }
                Err(error) => answer.fate = Err(failure(&error)),
            }
        }
        if matches!(answer.fate, Ok(_) | Err(Failure::Timeout)) {
            answer.latency = Some(clock().saturating_duration_since(due));
        }
        answer
    }

    fn call(
        &self,
        arrival: &Arrival,
        patience: Duration,
    ) -> Result<Response<Vec<u8>>, ureq::Error> {
        let user = format!("rehearsal-{}", arrival.user);
        let mut fields = Map::new();
        fields.insert(self.form.field.clone(), Value::from(arrival.text.as_str()));
        let mut request = self.agent.post(&self.url).content_type("application/json");
        match self.form.user_field {
            UserField::Body => {
                fields.insert(USER_ID.into(), Value::from(user));
            }
            UserField::Header => request = request.header("x-user-id", user),
            UserField::None => {}
        }
        let request = request.config().timeout_global(Some(patience)).build();
        let (head, mut body) = request.send(Value::Object(fields).to_string())?.into_parts();
        let read = body.with_config().limit(BODY_BYTES_MAX).read_to_vec();
        let body = match read {
            // It has answered; its label stays unknown.
            Err(ureq::Error::BodyExceedsLimit(_)) => Vec::new(),
            other => other?,
        };
        Ok(Response::from_parts(head, body))
    }
}

/// One connection a thread; no redirect, which could lead to a stranger, and no proxy.
pub(crate) fn agent(concurrency: usize, secure: bool) -> Agent {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    // Reading them takes a while, which only TLS has use for. What cannot be read is not trusted, and
    // a handshake that lacks it fails.
    let roots = if secure { rustls_native_certs::load_native_certs().certs } else { Vec::new() };
    let roots = roots.iter().map(|root| Certificate::from_der(root).to_owned());
    Agent::config_builder()
        .tls_config(tls.root_certs(RootCerts::Specific(Arc::new(roots.collect()))).build())
        .http_status_as_error(false)
        .max_idle_age(IDLE_MAX)
        .max_idle_connections(concurrency)
        .max_idle_connections_per_host(concurrency)
        .max_redirects(0)
        .proxy(None)
        .user_agent(concat!("jeffrey/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

fn cohort<T>(response: &Response<T>) -> Option<Cohort> {
    let name = response.headers().get(COHORT)?.as_bytes();
    [Cohort::Canary, Cohort::Stable].into_iter().find(|cohort| cohort.name().as_bytes() == name)
}

/// By `/prediction/primary`, else `/primary`.
fn label(body: &[u8]) -> Option<Given> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let places = ["/prediction/primary", "/primary"];
    let name = places.iter().find_map(|place| body.pointer(place))?.as_str()?;
    Some(Label::from_name(name).map_or(Given::Other, Given::Label))
}

fn failure(error: &ureq::Error) -> Failure {
    match error {
        ureq::Error::Timeout(_) => Failure::Timeout,
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => Failure::Protocol,
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => Failure::Timeout,
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound | ureq::Error::Io(_) => {
            Failure::Connection
        }
        _ => Failure::Protocol,
    }
}

/// The field that names the user in a body.
pub(super) const USER_ID: &str = "user_id";

/// The header by which a gate says who answered.
const COHORT: &str = "x-jeffrey-cohort";

/// Largest answer that is read: eight scores need a thousandth of it.
const BODY_BYTES_MAX: u64 = 1024 * 1024;

/// How long a connection may wait for its next request. Node closes one after 5 s
/// (`server.keepAliveTimeout`), and a request that crosses with that fails without anybody's fault.
const IDLE_MAX: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_found_in_both_shapes_and_no_other_word_is_kept() {
        let rows: [(&str, Option<Given>); 7] = [
            (r#"{"prediction":{"primary":"joy"}}"#, Some(Given::Label(Label::Joy))),
            (r#"{"primary":"fear"}"#, Some(Given::Label(Label::Fear))),
            (
                r#"{"primary":"fear","prediction":{"primary":"joy"}}"#,
                Some(Given::Label(Label::Joy)),
            ),
            (r#"{"primary":"geheimnis"}"#, Some(Given::Other)),
            (r#"{"primary":7}"#, None),
            ("[]", None),
            ("oops", None),
        ];
        for (body, expected) in rows {
            assert_eq!(label(body.as_bytes()), expected, "{body}");
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
                response.headers_mut().insert(COHORT, name.parse().unwrap());
            }
            assert_eq!(cohort(&response), expected, "{name:?}");
        }
    }
}
