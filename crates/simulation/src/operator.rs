//! The operator of the release: starts it, approves, starts it again after a rollback, erases.

use std::rc::Rc;

use serde_json::{Value, json};

use crate::clients::{ClientRequest, Outcome};
use crate::fault::OperatorAction;
use crate::peers::MODEL_SHA256;
use crate::record::ClientResponse;
use crate::simulation::{ADMIN_TOKEN, Simulation, user_name};

/// Time between two looks at the release, in milliseconds.
const LOOK_INTERVAL_MS: u64 = 5 * 60_000;

/// Time after which the operator takes back a kill or a pause, in milliseconds.
const TAKE_BACK_MS: u64 = 10 * 60_000;

/// Time after which the operator starts a rolled back release again, in milliseconds.
const RESTART_MS: u64 = 30 * 60_000;

/// Time between two release checks, in milliseconds: one is valid for a day.
const VALIDATION_INTERVAL_MS: u64 = 12 * 60 * 60_000;

impl Simulation {
    /// Sends a request with the operator's token until an isolate answers it.
    async fn admin(
        self: &Rc<Self>,
        method: &'static str,
        path: &'static str,
        body: &Value,
    ) -> Option<ClientResponse> {
        for _ in 0..10 {
            let isolate = self.pick_isolate()?;
            let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
            let request = ClientRequest {
                method,
                path,
                headers: vec![("authorization".to_owned(), format!("Bearer {ADMIN_TOKEN}"))],
                body: Some(Rc::new(body)),
            };
            if let Outcome::Answered(response) =
                self.request(&isolate, request, &Rc::default()).await
                && response.status != 503
            {
                self.record.check_privacy("the admin API", &response.body);
                return Some(response);
            }
            self.executor.sleep(7_000).await;
        }
        None
    }

    async fn command(self: &Rc<Self>, command: &'static str) -> bool {
        let body = json!({"command": command, "reason": "the run says so", "actor": "operator"});
        self.send_command(command, &body).await
    }

    async fn send_command(self: &Rc<Self>, command: &'static str, body: &Value) -> bool {
        // Noted before it is sent: it may be applied though its response is lost.
        self.record.commands.borrow_mut().push((command, self.now_ms()));
        let response = self.admin("POST", "/_jeffrey/v1/admin/rollout", body).await;
        self.record.commands.borrow_mut().push((command, self.now_ms()));
        let status = response.as_ref().map_or(0, |response| response.status);
        self.trace(|| {
            let why = response.map(|response| String::from_utf8_lossy(&response.body).into_owned());
            let why = why.filter(|_| status != 200).unwrap_or_default();
            format!("operator: {command}: {status} {why}")
        });
        status == 200
    }

    async fn validate(self: &Rc<Self>) {
        let report = json!({"passed": true, "model": {"sha256": MODEL_SHA256}});
        self.admin("POST", "/_jeffrey/v1/admin/validation", &report).await;
    }

    async fn phase(self: &Rc<Self>) -> Option<(String, u64)> {
        let response = self.admin("GET", "/_jeffrey/v1/rollout", &Value::Null).await?;
        let status = response.json();
        let phase = status["rollout"]["phase"].as_str()?.to_owned();
        let since_ms = status["rollout"]["state"]["since_ms"].as_u64()?;
        Some((phase, since_ms))
    }

    /// Starts the release, and looks after it until the traffic ends.
    pub(crate) async fn run_operator(self: Rc<Self>) {
        let Some(plan) = self.scenario.plan.clone() else { return };
        self.executor.sleep(5_000).await;
        self.validate().await;
        let start = json!({"command": "start", "actor": "operator", "plan": plan});
        while !self.send_command("start", &start).await {
            self.executor.sleep(LOOK_INTERVAL_MS).await;
            if self.is_traffic_over() {
                return;
            }
        }
        let mut validated_ms = self.now_ms();
        while !self.is_traffic_over() {
            self.executor.sleep(LOOK_INTERVAL_MS).await;
            if self.now_ms() - validated_ms > VALIDATION_INTERVAL_MS {
                validated_ms = self.now_ms();
                self.validate().await;
            }
            match self.phase().await {
                Some((phase, _)) if phase == "awaiting approval" => {
                    self.command("approve").await;
                }
                Some((phase, since_ms))
                    if phase == "rolled back"
                        && self.scenario.restarts_release
                        && self.now_ms().saturating_sub(since_ms) > RESTART_MS =>
                {
                    self.command("resume").await;
                }
                _ => {}
            }
        }
    }

    /// Does what a fault's schedule asks of the operator.
    pub(crate) async fn act(self: Rc<Self>, action: OperatorAction, number: u64) {
        match action {
            OperatorAction::Erase => {
                // Half of them called just now: their events are still on the way.
                let user = if number.is_multiple_of(2) {
                    self.record.last_user.get()
                } else {
                    number % self.scenario.users
                };
                self.erase(user_name(user)).await;
            }
            OperatorAction::Kill => {
                self.set_killed(true).await;
                self.executor.sleep(TAKE_BACK_MS).await;
                self.set_killed(false).await;
            }
            OperatorAction::Pause => {
                if self.command("pause").await {
                    self.executor.sleep(TAKE_BACK_MS).await;
                    self.command("resume").await;
                }
            }
            OperatorAction::Read => {
                for path in [
                    "/_jeffrey/v1/rollout",
                    "/_jeffrey/metrics",
                    "/_jeffrey/v1/rollout/history?since=0&limit=1000",
                    "/_jeffrey/v1/series?since=0",
                    "/_jeffrey/v1/sinks",
                    "/_jeffrey/v1/admin/events?since=0&limit=100&shard=0",
                ] {
                    self.admin("GET", path, &Value::Null).await;
                }
            }
            OperatorAction::RollBack => {
                self.command("rollback").await;
            }
            OperatorAction::TestAlert => {
                self.admin("POST", "/_jeffrey/v1/admin/alerts/test", &Value::Null).await;
            }
        }
    }

    async fn erase(self: &Rc<Self>, subject: String) {
        let asked_ms = self.now_ms();
        self.record.erasures_asked.borrow_mut().extend(self.subject_hash(&subject));
        let body = json!({ "subject": subject });
        let response = self.admin("DELETE", "/_jeffrey/v1/admin/subjects", &body).await;
        self.trace(|| {
            format!("operator: erases a subject: {:?}", response.as_ref().map(|r| r.status))
        });
        if response.is_some_and(|response| response.status == 200)
            && let Some(hash) = self.subject_hash(&subject)
        {
            self.record.erased.borrow_mut().push((hash, asked_ms));
        }
    }

    async fn set_killed(self: &Rc<Self>, killed: bool) {
        for _ in 0..5 {
            let Some(status) = self.admin("GET", "/_jeffrey/v1/rollout", &Value::Null).await else {
                return;
            };
            let version = status.json()["version"].clone();
            let change = json!({ "version": version, "killed": killed });
            let response = self.admin("PUT", "/_jeffrey/v1/admin/share", &change).await;
            self.trace(|| {
                format!("operator: killed {killed}: {:?}", response.as_ref().map(|r| r.status))
            });
            if response.is_some_and(|response| response.status == 200) {
                return;
            }
        }
    }
}
