//! Clients: classify calls, other calls, and feedback.

use std::rc::Rc;

use futures_channel::oneshot;

use crate::checks::CanaryAnswer;
use crate::executor::Owner;
use crate::host::{SimulatedHost, SimulatedRequest};
use crate::invariants::Invariant;
use crate::isolate::Isolate;
use crate::peers::MEMBER;
use crate::random::Stream;
use crate::record::{CallWatch, ClientResponse};
use crate::reference_bucket;
use crate::simulation::{Simulation, user_name};
use jeffrey_edge::rollout::override_token::{self, OverridePermission};
use jeffrey_gateway_service::host::FetchError;
use jeffrey_gateway_service::request_host::StreamedResponse;
use jeffrey_http_core::head::RequestHead;
use jeffrey_terms::{Cohort, UnixMs};

/// Host under which clients know the gateway.
pub(crate) const GATEWAY: &str = "https://gateway.example";

/// Cookie that the gateway gives to a caller without a user.
const COOKIE: &str = "jeffrey_subject";

/// Cookies that come back are among this many last ones.
const COOKIES_KEPT: usize = 200;

/// Time for which a token is valid, in milliseconds: longer than any clock is wrong.
const TOKEN_MS: u64 = 60 * 60_000;

/// Time between a response and the feedback on it, in milliseconds.
const FEEDBACK_DELAY_MS: (u64, u64) = (2_000, 60_000);

/// A request of a client or an operator.
#[derive(Clone, Debug)]
pub(crate) struct ClientRequest {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Rc<Vec<u8>>>,
}

/// Cohort that a call asks for.
struct AskedCohort {
    /// The cohort, if the call has a valid token.
    granted: Option<Cohort>,
    headers: Vec<(String, String)>,
}

/// Outcome of a request.
pub(crate) enum Outcome {
    Answered(ClientResponse),
    /// Its isolate ended first.
    Interrupted,
    /// The gateway gave no response.
    NoResponse(FetchError),
}

impl Simulation {
    /// Sends a request to an isolate and waits for the whole response.
    pub(crate) async fn request(
        self: &Rc<Self>,
        isolate: &Rc<Isolate>,
        request: ClientRequest,
        watch: &Rc<CallWatch>,
    ) -> Outcome {
        let url = format!("{GATEWAY}{}", request.path);
        let head = RequestHead::new(request.method.to_owned(), &url, request.headers);
        let head = head.expect("the URL has a scheme and a host");
        self.request_with_head(isolate, head, request.body, watch).await
    }

    /// Sends a request with this head to an isolate and waits for the whole response.
    pub(crate) async fn request_with_head(
        self: &Rc<Self>,
        isolate: &Rc<Isolate>,
        head: RequestHead,
        body: Option<Rc<Vec<u8>>>,
        watch: &Rc<CallWatch>,
    ) -> Outcome {
        let host = SimulatedHost::new(self, isolate);
        let incoming = SimulatedRequest::new(host, head.clone(), body.clone(), Rc::clone(watch));
        let (sender, receiver) = oneshot::channel();
        self.executor.spawn(isolate.owner, async move {
            let _ = sender.send(incoming.respond().await);
        });
        match receiver.await {
            Ok(Ok(response)) => Outcome::Answered(ClientResponse::read(response).await),
            Ok(Err(error)) => Outcome::NoResponse(error),
            Err(_) => self.answer_without_isolate(head, body, watch).await,
        }
    }

    /// Sends the calls of all clients until the traffic ends.
    pub(crate) async fn run_clients(self: Rc<Self>) {
        let mut arrivals = Stream::new(self.scenario.seed, "arrivals", 0);
        let mean_ms = 1_000.0 / self.scenario.calls_per_second;
        for number in 0_u64.. {
            self.executor.sleep(arrivals.exponential_ms(mean_ms)).await;
            if self.is_traffic_over() {
                return;
            }
            let simulation = Rc::clone(&self);
            self.executor.spawn(Owner::Surroundings, async move {
                simulation.run_call(number).await;
            });
        }
    }

    async fn run_call(self: Rc<Self>, number: u64) {
        let mut stream = Stream::new(self.scenario.seed, "call", number);
        let Some(isolate) = self.pick_isolate_by(&mut stream) else { return };
        self.record.count(|counts| counts.calls += 1);
        if stream.chance(50) {
            return self.run_other_call(&isolate, &mut stream).await;
        }
        let (subject, headers) = self.draw_caller(&mut stream);
        let asked = self.draw_override(number);
        let credentials = self.draw_credentials(number);
        let (body, has_text) = draw_body(number, &mut stream);
        let length = ("content-length".to_owned(), body.len().to_string());
        let content_type = ("content-type".to_owned(), "application/json".to_owned());
        let is_broken = stream.chance(2);
        let request = ClientRequest {
            method: "POST",
            path: "/predict",
            headers: headers
                .into_iter()
                .chain([length, content_type])
                .chain(asked.headers)
                .chain(credentials.clone().map(|value| ("authorization".to_owned(), value)))
                .collect(),
            body: (!is_broken).then(|| Rc::new(body.into_bytes())),
        };
        let watch = Rc::new(CallWatch::default());
        let sent_ms = self.now_ms();
        let outcome = self.request(&isolate, request, &watch).await;
        let Some(response) = self.note_outcome(&isolate, outcome, &watch, is_broken) else {
            return;
        };
        let timing = response.head.header("server-timing").unwrap_or_default();
        let is_by_model = timing.contains("model;dur");
        let cookie = given_cookie(&response);
        if !is_broken {
            let is_new = subject.is_none() && cookie.is_some();
            self.note_answer(&isolate, &response, is_by_model, is_new);
        }
        if is_by_model && self.refuses(credentials.as_deref()) {
            self.record
                .violate(Invariant::StrangersStayOut, || format!("{credentials:?} got an answer"));
        }
        if watch.legacy_requests.get() > 1 {
            self.record.violate(Invariant::NeverRetried, || {
                format!("sent {} times", watch.legacy_requests.get())
            });
        }
        let given_subject = cookie.as_deref().map(subject_of_cookie);
        // A token gives a cohort that the share did not.
        let drawn = subject.as_deref().or(given_subject).filter(|_| asked.granted.is_none());
        self.note_upstream(&isolate, &response, drawn, is_by_model);
        if response.head.header("x-jeffrey-cohort").as_deref() != Some("canary") {
            self.check_stable_answer(response.status, self.now_ms() - sent_ms, &watch);
        }
        if response.status == 429 && self.is_stable_subject(subject.as_deref()) {
            self.record.violate(Invariant::StableIsNotLimited, || "429".to_owned());
        }
        let is_admitted = !self.refuses(credentials.as_deref());
        self.check_override(asked.granted.filter(|_| has_text && is_admitted), &response);
        if let Some(cookie) = cookie {
            self.keep_cookie(subject.as_deref(), cookie);
        }
        if stream.chance(self.scenario.feedback_permille)
            && let Some(id) = response.head.header("x-jeffrey-id")
        {
            self.send_feedback(id, &mut stream).await;
        }
    }

    /// Counts an answer by who gave it, and checks one of the model for a subject that was drawn.
    fn note_upstream(
        &self,
        isolate: &Isolate,
        response: &ClientResponse,
        drawn_subject: Option<&str>,
        is_by_model: bool,
    ) {
        if is_by_model {
            let at_ms = self.now_ms();
            self.record.count(|counts| counts.by_model += 1);
            self.record.canary_at_ms.set(at_ms);
            if let Some(subject) = drawn_subject {
                self.check_canary_answer(&CanaryAnswer { subject, isolate, at_ms });
            }
        } else if response.head.header("x-by").is_some() {
            self.record.count(|counts| counts.by_legacy += 1);
        } else {
            self.record.count(|counts| counts.by_gateway += 1);
        }
    }

    /// Sends a call that is no classify call: it is forwarded as it is.
    async fn run_other_call(self: &Rc<Self>, isolate: &Rc<Isolate>, stream: &mut Stream) {
        let body = Rc::new(format!("zq-raw-order {}", stream.number()).into_bytes());
        let method = if stream.chance(500) { "POST" } else { "PUT" };
        let request =
            ClientRequest { method, path: "/orders", headers: Vec::new(), body: Some(body) };
        let watch = Rc::new(CallWatch::default());
        let outcome = self.request(isolate, request, &watch).await;
        if self.note_outcome(isolate, outcome, &watch, false).is_some() {
            self.record.count(|counts| counts.by_legacy += 1);
        }
        if watch.legacy_requests.get() > 1 {
            self.record.violate(Invariant::OthersSentOnce, || {
                format!("sent {} times", watch.legacy_requests.get())
            });
        }
    }

    /// Notes what became of a call, and checks its status.
    fn note_outcome(
        &self,
        isolate: &Isolate,
        outcome: Outcome,
        watch: &CallWatch,
        is_broken: bool,
    ) -> Option<ClientResponse> {
        match outcome {
            Outcome::Answered(response) => {
                self.record.digest(self.now_ms() ^ u64::from(response.status) << 48);
                let is_ours = response.status >= 500 && !watch.legacy_failed.get();
                if is_ours {
                    self.record.violate(Invariant::NoErrorOfOurs, || {
                        let text = String::from_utf8_lossy(&response.body).into_owned();
                        format!("{} from isolate {}: {text}", response.status, isolate.number)
                    });
                }
                Some(response)
            }
            Outcome::Interrupted => {
                let ends = self.record.isolate_ends.borrow();
                if !ends.contains_key(&isolate.number) {
                    self.record.violate(Invariant::CallsAnsweredOnce, || {
                        format!("isolate {} lives and dropped a call", isolate.number)
                    });
                }
                drop(ends);
                self.record.violate(Invariant::InFlightSurvives, || {
                    format!("isolate {} ended with a call", isolate.number)
                });
                self.record.count(|counts| counts.interrupted += 1);
                None
            }
            Outcome::NoResponse(error) => {
                if !is_broken {
                    self.record.violate(Invariant::CallsAnsweredOnce, || {
                        format!("isolate {} gave no response: {error:?}", isolate.number)
                    });
                }
                None
            }
        }
    }

    /// Returns a caller's subject, and the headers that carry it.
    fn draw_caller(&self, stream: &mut Stream) -> (Option<String>, Vec<(String, String)>) {
        if stream.chance(self.scenario.cookie_permille) {
            let cookies = self.cookies.borrow();
            if cookies.is_empty() || stream.chance(300) {
                return (None, Vec::new());
            }
            let cookie = cookies[stream.index(cookies.len())].clone();
            let header = ("cookie".to_owned(), format!("{COOKIE}={cookie}"));
            return (Some(subject_of_cookie(&cookie).to_owned()), vec![header]);
        }
        let user = stream.between(0, self.scenario.users - 1);
        self.record.last_user.set(user);
        let subject = user_name(user);
        let header = ("x-user-id".to_owned(), subject.clone());
        (Some(subject), vec![header])
    }

    /// Draws the value of `authorization` of a call; `None` where no caller needs one, and for half of the
    /// strangers.
    fn draw_credentials(&self, number: u64) -> Option<String> {
        let permille = self.scenario.strangers_permille?;
        let mut stream = Stream::new(self.scenario.seed, "credentials", number);
        if !stream.chance(permille) {
            return Some(MEMBER.to_owned());
        }
        stream.chance(500).then(|| format!("Bearer stranger {}", stream.between(0, 20)))
    }

    /// Draws whether a call asks for a cohort: most of those that do have a token, some have none.
    fn draw_override(&self, number: u64) -> AskedCohort {
        let mut stream = Stream::new(self.scenario.seed, "override", number);
        if !stream.chance(self.scenario.override_permille) {
            return AskedCohort { granted: None, headers: Vec::new() };
        }
        let cohort = if stream.chance(500) { Cohort::Canary } else { Cohort::Stable };
        let mut headers = vec![("x-jeffrey-cohort".to_owned(), cohort.name().to_owned())];
        let key = self.settings.override_signing_keys.first().filter(|_| stream.chance(700));
        if let Some(key) = key {
            let permission = OverridePermission {
                release: self.release.clone(),
                expires_at: UnixMs(self.now_ms() + TOKEN_MS),
                allow_rolled_back: false,
            };
            headers.push(("x-jeffrey-token".to_owned(), override_token::sign(&permission, key)));
        }
        AskedCohort { granted: key.map(|_| cohort), headers }
    }

    /// Checks that a call with a token got the cohort that it asked for, or a reason.
    fn check_override(&self, granted: Option<Cohort>, response: &ClientResponse) {
        let Some(cohort) = granted else { return };
        let given = response.head.header("x-jeffrey-cohort");
        let is_refused = response.head.header("x-jeffrey-override").is_some();
        if !is_refused && given.as_deref().is_some_and(|given| given != cohort.name()) {
            self.record.violate(Invariant::OverrideHonoured, || {
                format!("asked for {}, got {given:?}", cohort.name())
            });
        }
    }

    /// Returns whether the last stored share leaves a subject to stable.
    fn is_stable_subject(&self, subject: Option<&str>) -> bool {
        let share = self.record.in_force.borrow().last().map_or(0, |state| state.open_share());
        subject.is_some_and(|subject| {
            reference_bucket::bucket(self.release.as_str(), subject) >= share
        })
    }

    /// Keeps a cookie that a response gave, to send it back later; `subject` is that of the call.
    fn keep_cookie(&self, subject: Option<&str>, cookie: String) {
        if subject.is_some_and(|subject| subject != subject_of_cookie(&cookie)) {
            self.record.violate(Invariant::CookieIsKept, || format!("{subject:?} got {cookie}"));
        }
        self.note_subject(subject_of_cookie(&cookie));
        let mut cookies = self.cookies.borrow_mut();
        if cookies.len() >= COOKIES_KEPT {
            cookies.remove(0);
        }
        cookies.push(cookie);
    }

    async fn send_feedback(self: &Rc<Self>, id: String, stream: &mut Stream) {
        self.executor.sleep(stream.between(FEEDBACK_DELAY_MS.0, FEEDBACK_DELAY_MS.1)).await;
        let Some(isolate) = self.pick_isolate_by(stream) else { return };
        let body = serde_json::json!({ "id": id, "ok": stream.chance(900) }).to_string();
        let request = ClientRequest {
            method: "POST",
            path: "/_jeffrey/v1/feedback",
            headers: Vec::new(),
            body: Some(Rc::new(body.into_bytes())),
        };
        let times = if stream.chance(300) { 2 } else { 1 };
        for _ in 0..times {
            // A store that is away answers 503 here, as the documentation says.
            let _ = self.request(&isolate, request.clone(), &Rc::default()).await;
        }
    }
}

fn given_cookie(response: &ClientResponse) -> Option<String> {
    let cookies = response.head.cookies();
    let value = cookies.iter().find_map(|cookie| cookie.strip_prefix("jeffrey_subject="))?;
    value.split(';').next().map(str::to_owned)
}

/// Returns the subject in the value of a cookie, which also has the hour in which it was given.
fn subject_of_cookie(value: &str) -> &str {
    value.split('.').next().unwrap_or_default()
}

/// Draws the body of a classify call, and whether it has a text.
fn draw_body(number: u64, stream: &mut Stream) -> (String, bool) {
    // The address may begin before the fiftieth character, where a preview ends, and end after.
    let words = "so it is. ".repeat(stream.index(6));
    let text = format!("{words}zq-raw-text-{number}@mail.example and so on");
    match stream.between(0, 99) {
        0 => ("{\"text\":7}".to_owned(), false),
        1 => ("no JSON".to_owned(), false),
        _ => (format!("{{\"text\":\"{text}\"}}"), true),
    }
}
