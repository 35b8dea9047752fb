//! Takes the steps of a scenario on the virtual clock.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};

use super::format::{
    Action, CallAction, CommandAction, LegacyBehaviour, ModelBehaviour, ScenarioFile,
    ScriptedScenario, TokenKind,
};
use super::outcome;
use super::peers;
use crate::clients::{GATEWAY, Outcome};
use crate::record::{CallWatch, ClientResponse};
use crate::simulation::{ADMIN_TOKEN, Simulation};
use jeffrey_edge::rollout::bucket::ReleaseName;
use jeffrey_edge::rollout::override_token::{self, OverridePermission};
use jeffrey_edge::rollout::signing_key::SigningKey;
use jeffrey_gateway_service::request_host::StreamedResponse;
use jeffrey_http_core::head::RequestHead;
use jeffrey_terms::UnixMs;

/// Time after each step, in milliseconds: what runs behind a response is done then.
const PAUSE_MS: u64 = 100;

/// Time between two looks at a state that is waited for, in milliseconds.
const LOOK_MS: u64 = 500;

/// Longest wait for a state, in milliseconds, as in `waitFor` of tests/support/wrangler.js.
const WAIT_MS_MAX: u64 = 120_000;

/// Time in which an event that comes twice would arrive, in milliseconds.
const QUIET_MS: u64 = 3_000;

/// Validity of an override token, in milliseconds.
const TOKEN_MS: u64 = 60 * 60 * 1_000;

/// Users of the traffic in which a state is waited for.
const TRAFFIC_USERS: u64 = 40;

/// Takes the steps of one scenario.
pub(super) struct Driver {
    simulation: Rc<Simulation>,
    scenario: ScriptedScenario,
    plans: BTreeMap<String, Vec<String>>,
    /// Ids of the responses so far, in their order.
    ids: Vec<String>,
    cookie: Option<String>,
    /// Status with which the alert webhooks refuse everything; `None` if they do not.
    alert_status: Option<u16>,
    /// Events that the event store will have when all have arrived.
    events: u64,
    traffic_calls: u64,
}

impl Driver {
    pub(super) fn new(
        simulation: &Rc<Simulation>,
        file: &ScenarioFile,
        scenario: &ScriptedScenario,
    ) -> Self {
        Self {
            simulation: Rc::clone(simulation),
            scenario: scenario.clone(),
            plans: file.plans.clone(),
            ids: Vec::new(),
            cookie: None,
            alert_status: None,
            events: 0,
            traffic_calls: 0,
        }
    }

    /// Takes all steps and returns the outcome.
    pub(super) async fn run(mut self) -> Value {
        let mut steps = Vec::new();
        for step in self.scenario.steps.clone() {
            steps.push(self.act(&step.action).await);
            self.simulation.executor.sleep(PAUSE_MS).await;
        }
        json!({ "steps": steps, "end": self.end().await })
    }

    async fn act(&mut self, action: &Action) -> Value {
        match action {
            Action::Alerts { status } => {
                self.alert_status = Some(*status);
                self.set_behaviour(None, None);
                Value::Null
            }
            Action::Call(call) => self.call_all(call).await,
            Action::Command(command) => self.command(command).await,
            Action::Confirm { verdict } => {
                self.simulation.conditions.set_verdict(verdict.clone());
                Value::Null
            }
            Action::Erase { user } => self.erase(user).await,
            Action::Feedback { of, id, ok } => {
                let id = of.and_then(|place| self.ids.get(place)).or(id.as_ref());
                let body = json!({ "id": id, "ok": ok });
                let response = self.send(1, "POST", "/v1/feedback", &body).await;
                self.events += u64::from(response.status == 200);
                json!({"status": response.status, "error": response.json()["error"]["code"]})
            }
            Action::Health { gateway } => {
                outcome::of_health(&self.send(*gateway, "GET", "/health", &Value::Null).await)
            }
            Action::Settle => {
                self.settle().await;
                Value::Null
            }
            Action::Share { share, killed, version } => {
                let status = self.fetch_status().await.json();
                let version = version.or(status["version"].as_u64());
                let fields = [
                    ("version", json!(version)),
                    ("share", json!(share)),
                    ("killed", json!(killed)),
                ];
                let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
                let body = fields.map(|(name, value)| (name.to_owned(), value)).collect();
                outcome::of_status(&self.send(1, "PUT", "/v1/admin/share", &body).await)
            }
            Action::Status => outcome::of_status(&self.fetch_status().await),
            Action::Validate { passed, sha256 } => {
                let body = json!({"passed": passed, "model": {"sha256": sha256.repeat(32)}});
                let response = self.send(1, "POST", "/v1/admin/validation", &body).await;
                json!({ "status": response.status })
            }
            Action::Wait { seconds } => {
                self.simulation.executor.sleep(seconds * 1_000).await;
                Value::Null
            }
            Action::WaitAlerts { accepted } => {
                self.wait_for_alerts(*accepted).await;
                Value::Null
            }
            Action::WaitUntil { phase, share_basis_points, hard_failures, traffic } => {
                let wanted = [
                    ("phase", json!(phase)),
                    ("share_basis_points", json!(share_basis_points)),
                    ("hard_failures", json!(hard_failures)),
                ];
                self.wait_until(&wanted, *traffic).await
            }
        }
    }

    /// Lets the systems around the gateway behave in this way until the next call.
    fn set_behaviour(&self, model: Option<ModelBehaviour>, legacy: Option<LegacyBehaviour>) {
        peers::set_behaviour(&self.simulation.conditions, model, legacy);
        if let Some(status) = self.alert_status {
            self.simulation.conditions.refuse_alerts(status, u64::MAX);
        }
    }

    /// Sends a request to an endpoint of the gateway, with the operator's token.
    async fn send(
        &self,
        gateway: usize,
        method: &'static str,
        path: &str,
        body: &Value,
    ) -> ClientResponse {
        let url = format!("{GATEWAY}/_jeffrey{path}");
        let headers = vec![("authorization".to_owned(), format!("Bearer {ADMIN_TOKEN}"))];
        let head = RequestHead::new(method.to_owned(), &url, headers);
        let head = head.expect("the URL has a scheme and a host");
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let isolate = self.simulation.isolate_by(gateway as u32 - 1);
        let (simulation, watch) = (&self.simulation, Rc::default());
        match simulation.request_with_head(&isolate, head, Some(Rc::new(body)), &watch).await {
            Outcome::Answered(response) => response,
            Outcome::Interrupted | Outcome::NoResponse(_) => no_response(),
        }
    }

    async fn fetch_status(&self) -> ClientResponse {
        self.send(1, "GET", "/v1/rollout", &Value::Null).await
    }

    async fn call_all(&mut self, call: &CallAction) -> Value {
        let users = match call.users.as_slice() {
            [] => vec![call.user.clone()],
            users => users.iter().cloned().map(Some).collect(),
        };
        let mut calls = Vec::new();
        for user in users {
            calls.push(self.call(call, user).await);
            self.simulation.executor.sleep(PAUSE_MS).await;
        }
        json!({ "calls": calls })
    }

    async fn call(&mut self, call: &CallAction, user: Option<String>) -> Value {
        let simulation = Rc::clone(&self.simulation);
        self.set_behaviour(call.model, call.legacy);
        let body = body_of(call);
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        headers.insert("content-type".to_owned(), "application/json".to_owned());
        if call.streamed {
            headers.insert("transfer-encoding".to_owned(), "chunked".to_owned());
        } else {
            headers.insert("content-length".to_owned(), body.len().to_string());
        }
        let cookie = self.cookie.clone().filter(|_| call.cookie);
        let token = call.token.map(|kind| self.token(kind));
        let optional = [
            ("x-user-id", user),
            ("cookie", cookie),
            ("x-jeffrey-cohort", call.cohort.clone()),
            ("x-jeffrey-token", token),
        ];
        let optional =
            optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        headers.extend(optional);
        headers.extend(call.headers.clone());
        let url = format!("{GATEWAY}{}", call.path);
        let head = RequestHead::new(call.method.clone(), &url, headers.into_iter().collect());
        let head = head.expect("the URL has a scheme and a host");
        let watch = Rc::new(CallWatch::default());
        let isolate = simulation.isolate_by(call.gateway as u32 - 1);
        let answer = simulation.request_with_head(&isolate, head, Some(Rc::new(body)), &watch);
        let response = match answer.await {
            Outcome::Answered(response) => response,
            Outcome::Interrupted | Outcome::NoResponse(_) => no_response(),
        };
        let result = outcome::of_call(&response, watch.legacy_requests.get());
        self.note_response(call, &response);
        result
    }

    /// Keeps what later steps need of a response.
    fn note_response(&mut self, call: &CallAction, response: &ClientResponse) {
        self.ids.extend(response.head.header("x-jeffrey-id"));
        let cookies = response.head.cookies();
        let new_cookie = cookies.iter().find(|cookie| cookie.starts_with("jeffrey_subject="));
        let pair = new_cookie.and_then(|cookie| cookie.split(';').next()).map(str::to_owned);
        self.cookie = pair.or(self.cookie.take());
        let is_classify = call.method == "POST" && call.path == "/predict";
        self.events += u64::from(is_classify);
    }

    fn token(&self, kind: TokenKind) -> String {
        let key = match kind {
            TokenKind::Malformed => return "v1.not-a-token".to_owned(),
            TokenKind::Forged => SigningKey::parse("another key of the scenarios").ok(),
            TokenKind::OtherRelease | TokenKind::Valid | TokenKind::ValidWhenRolledBack => {
                self.simulation.settings.override_signing_keys.first().cloned()
            }
        };
        let release = match kind {
            TokenKind::OtherRelease => ReleaseName::parse("e0").expect("a name"),
            _ => self.simulation.release.clone(),
        };
        let permission = OverridePermission {
            release,
            expires_at: UnixMs(self.simulation.now_ms() + TOKEN_MS),
            allow_rolled_back: matches!(kind, TokenKind::ValidWhenRolledBack),
        };
        key.map_or_else(String::new, |key| override_token::sign(&permission, &key))
    }

    async fn command(&self, command: &CommandAction) -> Value {
        let plan = command.plan.as_ref().and_then(|name| self.plans.get(name));
        let body = json!({
            "command": command.command,
            "reason": command.reason.as_deref().unwrap_or_default(),
            "actor": "operator",
            "plan": plan.map(|lines| lines.join("\n")),
        });
        outcome::of_status(&self.send(1, "POST", "/v1/admin/rollout", &body).await)
    }

    async fn erase(&mut self, user: &str) -> Value {
        let body = json!({ "subject": user });
        let response = self.send(1, "DELETE", "/v1/admin/subjects", &body).await;
        let erased = response.json()["erased"].as_u64();
        self.events -= erased.unwrap_or(0);
        json!({ "status": response.status, "erased": erased })
    }

    /// Looks at the release until it has the wanted values, with a call at each look if there is
    /// traffic.
    async fn wait_until(&mut self, wanted: &[(&str, Value)], has_traffic: bool) -> Value {
        let end_ms = self.simulation.now_ms() + WAIT_MS_MAX;
        loop {
            let status = outcome::of_status(&self.fetch_status().await);
            let is_reached =
                |(name, value): &(&str, Value)| value.is_null() || status[*name] == *value;
            if wanted.iter().all(is_reached) || self.simulation.now_ms() > end_ms {
                return status;
            }
            if has_traffic {
                self.call_by_traffic().await;
            }
            self.simulation.executor.sleep(LOOK_MS).await;
        }
    }

    /// Waits until the alert webhook has accepted this many alerts.
    async fn wait_for_alerts(&self, count: u64) {
        let end_ms = self.simulation.now_ms() + WAIT_MS_MAX;
        while self.count_alerts().values().sum::<u64>() < count && self.simulation.now_ms() < end_ms
        {
            self.simulation.executor.sleep(LOOK_MS).await;
        }
    }

    async fn call_by_traffic(&mut self) {
        self.traffic_calls += 1;
        let user = format!("traffic-{}", self.traffic_calls % TRAFFIC_USERS);
        let call = json!({"user": user, "text": "The parcel is here."});
        if let Ok(call) = serde_json::from_value::<CallAction>(call) {
            self.call(&call, Some(user)).await;
        }
    }

    /// Waits until the event store has all events, and returns them as lines.
    async fn settle(&self) -> Vec<u8> {
        let end_ms = self.simulation.now_ms() + WAIT_MS_MAX;
        loop {
            let lines = self.send(1, "GET", "/v1/admin/events?since=0&limit=10000", &Value::Null);
            let lines = lines.await.body;
            let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
            if count >= self.events || self.simulation.now_ms() > end_ms {
                return lines;
            }
            self.simulation.executor.sleep(LOOK_MS).await;
        }
    }

    /// Returns the outcome at the end.
    async fn end(&self) -> Value {
        let release = outcome::of_status(&self.fetch_status().await);
        self.settle().await;
        self.simulation.executor.sleep(QUIET_MS).await;
        let events = outcome::count_events(&self.settle().await);
        let metrics = self.send(1, "GET", "/metrics", &Value::Null).await;
        let counters = outcome::read_counters(&metrics.body);
        let keep =
            |counts| if self.scenario.counts { counts } else { outcome::forget_counts(counts) };
        json!({
            "release": release,
            "events": keep(events),
            "counters": keep(counters),
            "alerts": self.count_alerts(),
        })
    }

    /// Counts the alerts that the webhook accepted.
    fn count_alerts(&self) -> BTreeMap<String, u64> {
        let mut alerts = BTreeMap::new();
        for ((_, body), count) in self.simulation.record.accepted_alerts.borrow().iter() {
            let alert: Value = serde_json::from_slice(body).unwrap_or_default();
            if let Some(code) = alert["code"].as_str() {
                let name = format!("{code} resolved={}", alert["resolved"]);
                *alerts.entry(name).or_default() += count;
            }
        }
        alerts
    }
}

/// Returns the body of a call.
fn body_of(call: &CallAction) -> Vec<u8> {
    let text = match (&call.body, call.text_bytes, &call.text) {
        (Some(body), ..) => return body.clone().into_bytes(),
        (None, Some(bytes), _) => "a".repeat(bytes),
        (None, None, Some(text)) => text.clone(),
        (None, None, None) => return Vec::new(),
    };
    match &call.user_in_body {
        Some(user) => json!({"text": text, "user_id": user}).to_string().into_bytes(),
        None => json!({ "text": text }).to_string().into_bytes(),
    }
}

/// Returns the response with status 0 that stands for none.
fn no_response() -> ClientResponse {
    let head = jeffrey_native_host::StoredResponse::new(0, &[], &[]);
    ClientResponse { status: 0, head, body: Vec::new() }
}
