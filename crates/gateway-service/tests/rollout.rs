//! The rollout of a release over its clients, on SQLite: manual changes, plans, checks before a
//! share increase, alerts, alarms, traffic, and the state after a failure.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

#[expect(dead_code, reason = "the readings of the store are for other tests")]
mod support;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};

use self::support::{START, event_with};
use jeffrey_edge::gateway::api::error::ApiError;
use jeffrey_edge::gateway::api::rollout::{CommandName, RolloutCommand};
use jeffrey_edge::rollout::advance_checks::ModelValidation;
use jeffrey_edge::rollout::hard_failure_report::{FailureSource, HardFailureReport};
use jeffrey_edge::rollout::history::{HistoryEntry, RolloutInput};
use jeffrey_edge::rollout::release_state::{HardFailure, HardFailureKind, ReleaseChange};
use jeffrey_edge::rollout::replay::{ReplayMismatch, replay};
use jeffrey_edge::rollout::share_cache::Refresh;
use jeffrey_edge::rollout::status::RolloutStatus;
use jeffrey_gateway_service::event_store;
use jeffrey_gateway_service::host::{FetchError, Host, HttpResponse, ObjectCall, ObjectClass};
use jeffrey_gateway_service::message::{ObjectReply, encode_message};
use jeffrey_gateway_service::rollout;
use jeffrey_gateway_service::rollout::messages::{
    ChangeOutcome, ReleaseSnapshot, RolloutRequest, StatusResponse,
};
use jeffrey_native_host::{Database, IsolateHost, Platform, RecordedRequest, block_on};
use jeffrey_terms::{ResponseId, UnixMs};

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const TICK_MS: u64 = 10 * SECOND_MS;

const RELEASE: &str = "e1-small";
const ROLLOUT: ObjectClass = ObjectClass::Rollout;
const MODEL_HEALTH: &str = "model:/health";
const ON_CALL: &str = "https://on-call.example/alerts";
const CHAT: &str = "https://chat.example/hook";
const BOARD: &str = "https://board.example/ask";
const AUDIT: &str = "https://audit.example/ask";

const ALERT_WEBHOOKS: (&str, &str) = (
    "ALERT_WEBHOOKS",
    r#"[{"name":"on-call","url":"https://on-call.example/alerts","authorization":"Bearer abc"},
        {"name":"chat","shape":"slack","url":"https://chat.example/hook"}]"#,
);
const CONFIRM_WEBHOOKS: (&str, &str) = (
    "CONFIRM_TRAFFIC_INCREASE_WEBHOOKS",
    r#"[{"name":"board","url":"https://board.example/ask"},
        {"name":"audit","url":"https://audit.example/ask"}]"#,
);

/// Two stages of three minutes, and one critical gate.
const PLAN: &str = r#"
holdout = "1%"
notify = ["all"]

[stable]
max_error_rate = "50%"
max_slow_rate = "50%"

[[stage]]
share = "50%"
min_duration = "3m"
min_samples = 20

[[stage]]
share = "100%"
min_duration = "3m"
min_samples = 20

[[gate]]
name = "errors against stable"
metric = "errors"
max_increase = "+50%"
effect = "roll_back"
"#;

const TRAP: HardFailure = HardFailure { kind: HardFailureKind::Trap, detected_at: START };

/// A report of a trap at the sentence of a probe.
fn trap_report(id: &str) -> HardFailureReport {
    HardFailureReport { id: id.to_owned(), failure: TRAP, source: FailureSource::Probe }
}

/// Reports a trap as a host's isolate does, until the object acknowledges it.
fn report_trap(host: &IsolateHost) {
    let report = trap_report(&ResponseId::new(host.now(), host.random_bytes()).to_string());
    host.isolate().with_reports(|reports| reports.push(report));
    block_on(rollout::send_reports(host));
}

/// A gateway with one isolate, and a network that answers by URL; other URLs time out.
struct Gateway {
    platform: Rc<Platform>,
    host: IsolateHost,
    answers: Rc<RefCell<BTreeMap<String, (u16, String)>>>,
    requests: RefCell<Vec<RecordedRequest>>,
    events: Cell<u16>,
}

impl Gateway {
    /// A gateway whose model worker has model `ab…`, without a release check.
    fn new(variables: &[(&'static str, &str)]) -> Self {
        let platform = Platform::new(variables, START);
        let answers = Rc::<RefCell<BTreeMap<String, (u16, String)>>>::default();
        let told = Rc::clone(&answers);
        platform.answer_http(move |request| respond(told.borrow().get(&request.url)));
        let host = platform.isolate();
        let gateway =
            Self { platform, host, answers, requests: RefCell::default(), events: Cell::new(0) };
        gateway.answer(MODEL_HEALTH, 200, &json!({"model": {"sha256": sha256("ab")}}).to_string());
        gateway
    }

    /// A gateway with a passed release check of its model.
    fn checked(variables: &[(&'static str, &str)]) -> Self {
        let gateway = Self::new(variables);
        gateway.record_validation("ab", true);
        gateway
    }

    /// A gateway whose release is in the first stage of [`PLAN`], and whose alert webhooks accept.
    fn started(variables: &[(&'static str, &str)]) -> Self {
        let gateway = Self::checked(variables);
        gateway.answer(ON_CALL, 200, "");
        gateway.answer(CHAT, 200, "");
        applied(gateway.start());
        gateway
    }

    fn answer(&self, url: &str, status: u16, body: &str) {
        self.answers.borrow_mut().insert(url.to_owned(), (status, body.to_owned()));
    }

    fn stop_answering(&self, url: &str) {
        self.answers.borrow_mut().remove(url);
    }

    fn record_validation(&self, sha: &str, passed: bool) {
        let validation =
            ModelValidation { model_sha256: sha256(sha), passed, received_at: self.platform.now() };
        let stored = block_on(rollout::record_validation(&self.host, validation.clone()));
        assert_eq!(stored, Ok(validation));
    }

    fn change(&self, version: u64, share: Option<&str>, killed: Option<bool>) -> Outcome {
        let change = ReleaseChange { version, share: share.map(str::to_owned), killed };
        block_on(rollout::apply_change(&self.host, &RolloutRequest::ManualChange(change)))
    }

    fn send_command(&self, command: CommandName, reason: &str, plan: Option<&str>) -> Outcome {
        self.send_for_version(command, reason, plan, None)
    }

    fn send_for_version(
        &self,
        command: CommandName,
        reason: &str,
        plan: Option<&str>,
        version: Option<u64>,
    ) -> Outcome {
        let command = RolloutCommand {
            command,
            reason: reason.to_owned(),
            actor: "test".to_owned(),
            plan: plan.map(str::to_owned),
            version,
        };
        block_on(rollout::apply_change(&self.host, &RolloutRequest::Command(command)))
    }

    fn start(&self) -> Outcome {
        self.send_command(CommandName::Start, "", Some(PLAN))
    }

    fn report_trap(&self) {
        report_trap(&self.host);
    }

    /// Sends a report once, whatever becomes of it.
    fn send_report(&self, id: &str) {
        let request = RolloutRequest::HardFailure(trap_report(id));
        let call = ObjectCall {
            class: ROLLOUT,
            name: RELEASE,
            message: &encode_message(&request, &[]),
            timeout_ms: SECOND_MS,
            reply_bytes_max: 1_000,
        };
        let _ = block_on(self.host.call_object(call));
    }

    fn status(&self) -> StatusResponse {
        block_on(rollout::fetch_status(&self.host)).unwrap()
    }

    fn snapshot(&self) -> ReleaseSnapshot {
        self.status().snapshot
    }

    /// Status of the plan.
    fn plan_status(&self) -> RolloutStatus {
        self.status().status.unwrap()
    }

    /// Share of the release state, and phase of the plan.
    fn share_and_phase(&self) -> (u16, String) {
        let StatusResponse { snapshot, status } = self.status();
        (snapshot.release_state.share.basis_points(), status.unwrap().phase)
    }

    fn history_text(&self) -> String {
        let lines = block_on(rollout::fetch_history(&self.host, 0, 1_000)).unwrap();
        String::from_utf8(lines).unwrap()
    }

    fn history(&self) -> Vec<HistoryEntry> {
        self.history_text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Replays the history and returns the number of its entries.
    fn replay(&self) -> Result<u64, ReplayMismatch> {
        replay(self.history_text().lines()).map(|summary| summary.entries)
    }

    fn advance(&self, ms: u64) {
        self.platform.advance(ms).unwrap();
    }

    fn alarm(&self) -> Option<UnixMs> {
        self.platform.alarm(ROLLOUT, RELEASE)
    }

    fn database(&self) -> Rc<Database> {
        self.platform.database(ROLLOUT, RELEASE).unwrap()
    }

    /// Stores the events of 100 canary calls, of which `errors` fail, and of 100 healthy stable
    /// calls.
    fn store_traffic(&self, errors: u64) {
        let share = self.snapshot().release_state.share.basis_points();
        let lines: Vec<String> = (0..200)
            .map(|call| {
                let number = self.events.get() + 1;
                self.events.set(number);
                let (cohort, is_error) =
                    if call < 100 { ("canary", call < errors) } else { ("stable", false) };
                self.event(number, cohort, share, is_error)
            })
            .collect();
        let stored = block_on(event_store::append_batch(&self.host, &lines, 0, false));
        assert!(stored.iter().all(|stored| *stored));
    }

    fn event(&self, number: u16, cohort: &str, share: u16, is_error: bool) -> String {
        event_with(number, |event| {
            event["time_ms"] = json!(self.platform.now().0);
            event["cohort"] = json!(cohort);
            event["destination"] = json!(cohort);
            event["subject"] = json!(format!("{number:08x}"));
            event["latency_ms"] = json!(100);
            event["thresholds"]["share_basis_points"] = json!(share);
            event["thresholds"]["stage"] = json!(0);
            if is_error {
                event["destination"] = json!("stable");
                event["fallback_reason"] = json!("invalid_response");
                event["status"] = json!(500);
            }
        })
    }

    /// Lets a minute with traffic pass.
    fn pass_minute(&self, errors: u64) {
        self.store_traffic(errors);
        self.advance(MINUTE_MS);
    }

    /// All requests to a URL so far.
    fn requests_to(&self, url: &str) -> Vec<RecordedRequest> {
        self.requests.borrow_mut().extend(self.platform.take_requests());
        self.requests.borrow().iter().filter(|request| request.url == url).cloned().collect()
    }

    fn bodies_to(&self, url: &str) -> Vec<Value> {
        let requests = self.requests_to(url);
        requests.iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
    }

    /// The alerts with one key that a target was sent.
    fn alerts_about(&self, url: &str, key: &str) -> Vec<String> {
        let mut keys = self.alerts_to(url);
        keys.retain(|other| other.trim_start_matches('-') == key);
        keys
    }

    /// Keys of the alerts that a target was sent, `resolved` ones with a minus.
    fn alerts_to(&self, url: &str) -> Vec<String> {
        let to_key = |body: Value| {
            let sign = if body["resolved"] == json!(true) { "-" } else { "" };
            format!("{sign}{}", body["dedup_key"].as_str().unwrap())
        };
        self.bodies_to(url).into_iter().map(to_key).collect()
    }
}

type Outcome = Result<ChangeOutcome, ApiError>;

fn respond(answer: Option<&(u16, String)>) -> Result<HttpResponse, FetchError> {
    let (status, body) = answer.ok_or(FetchError::TimedOut)?;
    Ok(HttpResponse { status: *status, headers: Vec::new(), body: Ok(body.clone().into_bytes()) })
}

fn sha256(pair: &str) -> String {
    pair.repeat(32)
}

fn verdict(verdict: &str) -> String {
    json!({ "verdict": verdict }).to_string()
}

#[track_caller]
fn applied(outcome: Outcome) -> StatusResponse {
    match outcome.unwrap() {
        ChangeOutcome::Applied(status) => *status,
        ChangeOutcome::Rejected { body, .. } => panic!("rejected: {body}"),
    }
}

/// Status, code and message of a rejection.
#[track_caller]
fn rejection(outcome: Outcome) -> (u16, String, String) {
    match outcome.unwrap() {
        ChangeOutcome::Rejected { status, body } => {
            let body: Value = serde_json::from_str(&body).unwrap();
            let text = |name: &str| body["error"][name].as_str().unwrap().to_owned();
            (status, text("code"), text("message"))
        }
        ChangeOutcome::Applied(status) => panic!("applied: {status:?}"),
    }
}

#[track_caller]
fn assert_not_done(outcome: Outcome, message_part: &str) {
    let (status, code, message) = rejection(outcome);
    assert_eq!((status, code.as_str()), (409, "not_done"), "{message}");
    assert!(message.contains(message_part), "{message}");
}

#[test]
fn a_new_release_has_the_initial_share_and_no_plan() {
    for (variables, points) in [(&[][..], 0), (&[("INITIAL_SHARE", "12.5%")][..], 1_250)] {
        let gateway = Gateway::new(variables);
        let StatusResponse { snapshot, status } = gateway.status();
        let state = &snapshot.release_state;
        assert_eq!((state.share.basis_points(), state.version, state.killed), (points, 0, false));
        assert_eq!((snapshot.rolled_back, snapshot.stage, status), (false, None, None));
        assert_eq!((gateway.history_text().as_str(), gateway.alarm()), ("", None));
    }
}

#[test]
fn each_release_has_a_state_of_its_own() {
    let gateway = Gateway::new(&[("RELEASE", "e2")]);
    applied(gateway.change(0, Some("10%"), None));
    let other = block_on(gateway.platform.send_message(ROLLOUT, RELEASE, b"\"status\"\n")).unwrap();
    let other: StatusResponse = serde_json::from_slice(&other.body).unwrap();
    assert_eq!(
        (other.snapshot.release_state.version, gateway.snapshot().release_state.version),
        (0, 1)
    );
}

#[test]
fn a_manual_change_sets_the_share_once_per_version() {
    let gateway = Gateway::new(&[]);
    gateway.advance(7 * SECOND_MS);
    let state = applied(gateway.change(0, Some("10%"), None)).snapshot.release_state;
    assert_eq!((state.version, state.share.basis_points()), (1, 1_000));
    assert_eq!(state.changed_at, gateway.platform.now());
    for version in [0, 2, u64::MAX] {
        let (status, code, message) = rejection(gateway.change(version, Some("20%"), None));
        assert_eq!((status, code.as_str()), (409, "version_conflict"), "version {version}");
        assert!(message.contains("the release is at version 1"), "{message}");
    }
    assert_eq!(gateway.snapshot().release_state, state);
    assert_eq!(applied(gateway.change(1, Some("20%"), None)).snapshot.release_state.version, 2);
}

#[test]
fn the_kill_flag_disables_the_release_and_keeps_its_share() {
    let gateway = Gateway::new(&[("INITIAL_SHARE", "10%")]);
    for (version, killed) in [(0, true), (1, false)] {
        let state = applied(gateway.change(version, None, Some(killed))).snapshot.release_state;
        assert_eq!((state.share.basis_points(), state.killed), (1_000, killed));
        let effective = gateway.host.isolate().effective_share(gateway.platform.now());
        assert_eq!(effective.disabled, killed);
    }
}

#[test]
fn a_resume_that_a_rollback_overtakes_is_refused() {
    let gateway = Gateway::started(&[]);
    let resume =
        |version| gateway.send_for_version(CommandName::Resume, "checked", None, Some(version));
    applied(gateway.send_command(CommandName::Pause, "look", None));
    let seen = gateway.snapshot().release_state.version;
    gateway.report_trap();
    let history = gateway.history_text();
    let (status, code, message) = rejection(resume(seen));
    assert_eq!((status, code.as_str()), (409, "version_conflict"));
    let both = format!("the change is for version {seen}, the release is at version {}", seen + 1);
    assert_eq!(message, both);
    assert_eq!(gateway.share_and_phase(), (0, "rolled back".to_owned()));
    assert_eq!(gateway.history_text(), history, "a refused version leaves no entry");
    // The operator who has seen the rollback may resume, and a copy of the command does nothing.
    applied(resume(seen + 1));
    let resumed = gateway.snapshot();
    assert_eq!(rejection(resume(seen + 1)).0, 409);
    assert_eq!(gateway.snapshot(), resumed);
    // A version that changes while the webhooks are asked counts too.
    let platform = Rc::clone(&gateway.platform);
    applied(gateway.send_command(CommandName::Rollback, "again", None));
    let (seen, other) = (gateway.snapshot().release_state.version, platform.isolate());
    gateway.platform.answer_http(move |_| {
        let change = ReleaseChange { version: seen, share: None, killed: Some(true) };
        let _ = block_on(rollout::apply_change(&other, &RolloutRequest::ManualChange(change)));
        respond(Some(&(200, json!({"model": {"sha256": sha256("ab")}}).to_string())))
    });
    assert_eq!(rejection(resume(seen)).0, 409);
}

#[test]
fn an_invalid_change_is_rejected_and_changes_nothing() {
    let gateway = Gateway::new(&[]);
    let rows = [
        (Some("101%"), "share_invalid"),
        (Some("-1%"), "share_invalid"),
        (Some("lots"), "share_invalid"),
        (Some("0.125%"), "share_invalid"),
        (Some(""), "share_invalid"),
        (None, "change_empty"),
    ];
    for (share, expected) in rows {
        let (status, code, _) = rejection(gateway.change(0, share, None));
        assert_eq!((status, code.as_str()), (400, expected), "{share:?}");
    }
    // An invalid share takes the kill flag of the same change with it.
    rejection(gateway.change(0, Some("101%"), Some(true)));
    assert_eq!(gateway.snapshot(), Gateway::new(&[]).snapshot());
}

#[test]
fn a_change_is_cached_at_once_by_its_isolate_and_by_others_when_they_refresh() {
    let gateway = Gateway::new(&[]);
    let other = gateway.platform.isolate();
    let share_of = |host: &IsolateHost| host.isolate().effective_share(host.now()).share;
    block_on(rollout::refresh_share(&other));
    applied(gateway.change(0, Some("10%"), None));
    assert_eq!(
        [&gateway.host, &other].map(|host| share_of(host).basis_points()),
        [1_000, 0],
        "before the other isolate refreshes"
    );
    block_on(rollout::refresh_share(&other));
    assert_eq!(share_of(&other).basis_points(), 1_000);
    // A rejected change leaves the cache alone.
    rejection(gateway.change(0, Some("20%"), None));
    assert_eq!(share_of(&gateway.host).basis_points(), 1_000);
}

#[test]
fn an_isolate_without_an_answer_is_disabled_after_30_seconds_and_follows_again_later() {
    let gateway = Gateway::new(&[("INITIAL_SHARE", "10%")]);
    let effective = || {
        let effective = gateway.host.isolate().effective_share(gateway.platform.now());
        (effective.share.basis_points(), effective.disabled)
    };
    assert_eq!(effective(), (0, true), "before the first snapshot");
    block_on(rollout::refresh_share(&gateway.host));
    gateway.platform.set_away(ROLLOUT, true);
    for (pause_ms, expected) in [(29_999, (1_000, false)), (1, (0, true)), (HOUR_MS, (0, true))] {
        gateway.advance(pause_ms);
        block_on(rollout::refresh_share(&gateway.host));
        assert_eq!(effective(), expected, "{pause_ms} ms later");
    }
    gateway.platform.set_away(ROLLOUT, false);
    block_on(rollout::refresh_share(&gateway.host));
    assert_eq!(effective(), (1_000, false));
}

#[test]
fn a_snapshot_that_comes_with_a_slow_command_is_as_old_as_the_command() {
    let gateway = Gateway::checked(&[]);
    let (platform, answers) = (Rc::clone(&gateway.platform), Rc::clone(&gateway.answers));
    // The object asks the model worker before a start.
    gateway.platform.answer_http(move |request| {
        platform.advance(6_000).unwrap();
        respond(answers.borrow().get(&request.url))
    });
    let state = applied(gateway.start()).snapshot.release_state;
    let effective = gateway.host.isolate().effective_share(gateway.platform.now());
    assert_eq!((effective.share, effective.refresh), (state.share, Refresh::Blocking));
}

#[test]
fn an_object_that_does_not_answer_is_an_error_and_no_empty_answer() {
    let gateway = Gateway::started(&[]);
    let before = gateway.status();
    gateway.platform.set_away(ROLLOUT, true);
    let host = &gateway.host;
    assert_eq!(block_on(rollout::fetch_status(host)), Err(ApiError::RolloutUnavailable));
    assert_eq!(block_on(rollout::fetch_history(host, 0, 1)), Err(ApiError::RolloutUnavailable));
    assert_eq!(block_on(rollout::send_test_alert(host)), Err(ApiError::RolloutUnavailable));
    assert_eq!(gateway.change(1, None, Some(true)), Err(ApiError::RolloutUnavailable));
    assert_eq!(gateway.start(), Err(ApiError::RolloutUnavailable));
    let validation =
        ModelValidation { model_sha256: sha256("cd"), passed: false, received_at: START };
    let recorded = block_on(rollout::record_validation(host, validation));
    assert_eq!(recorded, Err(ApiError::RolloutUnavailable));
    // These have no answer that anybody waits for.
    gateway.send_report("lost");
    block_on(rollout::wake_object(host));
    block_on(rollout::send_stable_p95(host, 80.0));
    gateway.platform.set_away(ROLLOUT, false);
    assert_eq!(gateway.status(), before);
}

/// A case, what comes before the start, and why the start is refused; `None` if it is not.
type CheckRow = (&'static str, fn(&Gateway), Option<&'static str>);

#[test]
fn a_start_needs_a_passed_and_recent_check_of_the_deployed_model() {
    let rows: [CheckRow; 7] = [
        ("no check", |_| {}, Some("there is no release check: run `jeffrey validate --post URL`")),
        (
            "a failed check",
            |gateway| gateway.record_validation("ab", false),
            Some("the release check of this model failed"),
        ),
        (
            "a check of another model",
            |gateway| gateway.record_validation("cd", true),
            Some("the release check was of model cdcdcdcdcdcd, deployed is abababababab"),
        ),
        (
            "an old check",
            |gateway| {
                gateway.record_validation("ab", true);
                gateway.advance(25 * HOUR_MS);
            },
            Some("the release check is 25 hours old, the limit is 24"),
        ),
        (
            "a model worker without an answer",
            |gateway| {
                gateway.record_validation("ab", true);
                gateway.stop_answering(MODEL_HEALTH);
            },
            Some("the model worker does not say which model it has"),
        ),
        (
            "a failed check, and a passed one after it",
            |gateway| {
                gateway.record_validation("ab", false);
                gateway.record_validation("ab", true);
            },
            None,
        ),
        (
            "a check of 24 hours ago",
            |gateway| {
                gateway.record_validation("ab", true);
                gateway.advance(24 * HOUR_MS);
            },
            None,
        ),
    ];
    for (name, prepare, refused_because) in rows {
        let gateway = Gateway::new(&[]);
        prepare(&gateway);
        let outcome = gateway.start();
        if let Some(reason) = refused_because {
            assert_not_done(outcome, reason);
            assert_eq!(gateway.share_and_phase(), (0, "idle".to_owned()), "{name}");
            assert_eq!(gateway.alarm(), None, "{name}");
        } else {
            assert_eq!(applied(outcome).snapshot.release_state.share.basis_points(), 5_000);
        }
        gateway.replay().unwrap();
    }
}

#[test]
fn a_start_sets_the_first_share_and_an_alarm_and_appends_to_the_history() {
    let gateway = Gateway::checked(&[]);
    let status = applied(gateway.start());
    let state = &status.snapshot.release_state;
    assert_eq!((state.share.basis_points(), state.version), (5_000, 1));
    assert_eq!(status.snapshot.holdout.basis_points(), 100);
    assert_eq!(status.snapshot.stage, Some(0));
    let plan_status = status.status.unwrap();
    assert_eq!((plan_status.phase.as_str(), plan_status.minutes_left), ("ramping", Some(3)));
    assert_eq!(gateway.alarm(), Some(UnixMs(START.0 + TICK_MS)));
    let history = gateway.history();
    let [plan, start] = &history[..] else { panic!("{history:?}") };
    assert!(matches!(&plan.input, RolloutInput::PlanApplied { actor, .. } if actor == "test"));
    assert!(matches!(&start.input, RolloutInput::Command { blocked_by: None, .. }));
    assert_eq!((plan.share.basis_points(), start.share.basis_points()), (0, 5_000));
    assert_eq!(gateway.replay(), Ok(2));
}

#[test]
fn a_start_without_a_plan_takes_the_shipped_plan_and_later_the_present_one() {
    let gateway = Gateway::checked(&[]);
    let start = || gateway.send_command(CommandName::Start, "", None);
    assert_eq!(applied(start()).snapshot.release_state.share.basis_points(), 1_000);
    let gateway = Gateway::checked(&[]);
    applied(gateway.send_command(CommandName::ApplyPlan, "", Some(PLAN)));
    assert_eq!(gateway.share_and_phase(), (0, "idle".to_owned()));
    let started = applied(gateway.send_command(CommandName::Start, "", None));
    assert_eq!(started.snapshot.release_state.share.basis_points(), 5_000);
}

#[test]
fn a_refused_plan_leaves_the_present_one() {
    let gateway = Gateway::started(&[("HOLDOUT", "1%")]);
    let before = (gateway.status(), gateway.history_text());
    let rows = [
        (PLAN.replace("metric = \"errors\"", "metric = \"speed\""), "unknown metric `speed`"),
        (format!("release = \"e2\"\n{PLAN}"), "the plan is for release `e2`"),
        (PLAN.replace("holdout = \"1%\"", "holdout = \"0.5%\""), "HOLDOUT is 1.00%"),
        (PLAN.replace("+50%", "+500%"), "canary traffic flows"),
    ];
    for (plan, reason) in rows {
        let outcome = gateway.send_command(CommandName::ApplyPlan, "", Some(&plan));
        assert_not_done(outcome, reason);
    }
    assert_not_done(
        gateway.send_command(CommandName::ApplyPlan, "", None),
        "`apply_plan` needs a plan",
    );
    let pause = gateway.send_command(CommandName::Pause, "lunch", Some(PLAN));
    assert_not_done(pause, "a plan comes with");
    assert_eq!((gateway.status(), gateway.history_text()), before);
}

#[test]
fn while_a_plan_moves_the_share_only_the_kill_flag_is_changed_by_hand() {
    let gateway = Gateway::started(&[]);
    for killed in [None, Some(true)] {
        let (status, code, _) = rejection(gateway.change(1, Some("5%"), killed));
        assert_eq!((status, code.as_str()), (409, "plan_active"), "{killed:?}");
    }
    let killed = applied(gateway.change(1, None, Some(true))).snapshot.release_state;
    assert_eq!((killed.share.basis_points(), killed.killed), (5_000, true));
    applied(gateway.send_command(CommandName::Abort, "by hand from here on", None));
    let version = gateway.snapshot().release_state.version;
    let by_hand = applied(gateway.change(version, Some("5%"), Some(false)));
    assert_eq!(by_hand.snapshot.release_state.share.basis_points(), 500);
}

#[test]
fn a_hard_failure_rolls_back_at_once_and_a_resume_needs_a_reason() {
    let gateway = Gateway::started(&[]);
    gateway.report_trap();
    let snapshot = gateway.snapshot();
    assert!(snapshot.rolled_back);
    assert_eq!((snapshot.stage, snapshot.release_state.share.basis_points()), (None, 0));
    assert_eq!(snapshot.release_state.hard_failures, 1);
    assert_eq!(snapshot.release_state.last_hard_failure, Some(TRAP));
    block_on(rollout::refresh_share(&gateway.host));
    assert!(gateway.host.isolate().effective_share(gateway.platform.now()).disabled);
    // A second report is counted and decides nothing.
    gateway.report_trap();
    assert_eq!(gateway.snapshot().release_state.hard_failures, 2);
    assert_eq!(gateway.history().len(), 3);
    assert_not_done(gateway.start(), "`start` is not possible while the release is rolled back");
    for reason in ["", " "] {
        let resumed = gateway.send_command(CommandName::Resume, reason, None);
        assert_not_done(resumed, "`resume` needs a reason");
    }
    let resumed = applied(gateway.send_command(CommandName::Resume, "mended", None)).snapshot;
    assert!(!resumed.rolled_back);
    assert_eq!((resumed.stage, resumed.release_state.share.basis_points()), (Some(0), 5_000));
    assert_eq!(resumed.release_state.hard_failures, 0);
    gateway.replay().unwrap();
}

#[test]
fn a_hard_failure_without_a_plan_is_counted_and_keeps_the_share() {
    let gateway = Gateway::new(&[("INITIAL_SHARE", "10%")]);
    gateway.report_trap();
    let snapshot = gateway.snapshot();
    assert_eq!(snapshot.release_state.share.basis_points(), 1_000);
    assert_eq!((snapshot.release_state.hard_failures, snapshot.rolled_back), (1, false));
    assert_eq!((gateway.alarm(), gateway.history().len()), (None, 0));
}

#[test]
fn a_command_in_a_wrong_phase_is_refused_with_the_possible_ones() {
    let gateway = Gateway::new(&[]);
    let without_plan = gateway.send_command(CommandName::Approve, "", None);
    assert_not_done(without_plan, "no active plan: run `jeffrey rollout start`");
    let gateway = Gateway::started(&[]);
    let while_ramping = "while the release is ramping; possible now: `jeffrey rollout advance`, \
        `jeffrey rollout pause`, `jeffrey rollout rollback`, `jeffrey rollout abort`";
    for command in [CommandName::Approve, CommandName::Start, CommandName::Resume] {
        assert_not_done(gateway.send_command(command, "because", None), while_ramping);
    }
    applied(gateway.send_command(CommandName::Pause, "lunch", None));
    let while_paused = "while the release is paused; possible now: `jeffrey rollout resume`, \
        `jeffrey rollout rollback`, `jeffrey rollout abort`";
    for command in [CommandName::Approve, CommandName::Pause, CommandName::Advance] {
        assert_not_done(gateway.send_command(command, "because", None), while_paused);
    }
    applied(gateway.send_command(CommandName::Abort, "enough", None));
    assert_not_done(
        gateway.send_command(CommandName::Rollback, "", None),
        "while the release is aborted; possible now: `jeffrey rollout resume`",
    );
    assert_eq!(gateway.share_and_phase(), (0, "aborted".to_owned()));
    gateway.replay().unwrap();
}

#[test]
fn the_confirm_webhooks_decide_about_the_start() {
    let approve = verdict("approve");
    let (retry, halt) = (verdict("retry"), verdict("halt"));
    let rows = [
        ("no answer", None, Some("`board` answered retry, or not at all")),
        ("retry", Some((200, retry.as_str())), Some("`board` answered retry, or not at all")),
        ("an error", Some((500, approve.as_str())), Some("`board` answered retry, or not at all")),
        ("no verdict", Some((200, "yes")), Some("`board` answered retry, or not at all")),
        ("halt", Some((200, halt.as_str())), Some("`board` answered halt")),
        ("approve", Some((200, approve.as_str())), None),
    ];
    for (name, answer, refused_because) in rows {
        let gateway = Gateway::checked(&[CONFIRM_WEBHOOKS]);
        gateway.answer(AUDIT, 200, &approve);
        if let Some((status, body)) = answer {
            gateway.answer(BOARD, status, body);
        }
        let outcome = gateway.start();
        for url in [BOARD, AUDIT] {
            assert_eq!(gateway.requests_to(url).len(), 1, "{name}: {url}");
        }
        if let Some(reason) = refused_because {
            assert_not_done(outcome, reason);
            assert_eq!(gateway.share_and_phase(), (0, "idle".to_owned()), "{name}");
            gateway.answer(BOARD, 200, &approve);
            applied(gateway.start());
        } else {
            applied(outcome);
        }
    }
}

#[test]
fn a_confirm_webhook_is_told_from_which_share_to_which_the_plan_goes() {
    let gateway = Gateway::checked(&[CONFIRM_WEBHOOKS]);
    applied(gateway.send_command(CommandName::ApplyPlan, "", Some(PLAN)));
    gateway.answer(BOARD, 200, &verdict("approve"));
    gateway.answer(AUDIT, 200, &verdict("approve"));
    applied(gateway.send_command(CommandName::Start, "", None));
    gateway.advance(MINUTE_MS);
    gateway.pass_minute(0);
    gateway.advance(5 * SECOND_MS + TICK_MS);
    applied(gateway.send_command(CommandName::Advance, "in a hurry", None));
    let question = |from: u16, to: u16, stage: u64| json!({"release": RELEASE, "from_basis_points": from, "to_basis_points": to, "stage": stage});
    assert_eq!(gateway.bodies_to(BOARD), [question(0, 5_000, 0), question(5_000, 10_000, 1)]);
}

#[test]
fn the_first_start_tells_a_confirm_webhook_the_share_too() {
    let gateway = Gateway::checked(&[CONFIRM_WEBHOOKS]);
    gateway.answer(BOARD, 200, &verdict("approve"));
    gateway.answer(AUDIT, 200, &verdict("approve"));
    applied(gateway.start());
    let expected =
        json!({"release": RELEASE, "from_basis_points": 0, "to_basis_points": 5_000, "stage": 0});
    assert_eq!(gateway.bodies_to(BOARD), [expected]);
}

#[test]
fn a_start_with_another_plan_asks_about_that_plans_share() {
    let gateway = Gateway::checked(&[CONFIRM_WEBHOOKS]);
    applied(gateway.send_command(CommandName::ApplyPlan, "", Some(PLAN)));
    gateway.answer(BOARD, 200, &verdict("approve"));
    gateway.answer(AUDIT, 200, &verdict("approve"));
    let smaller = PLAN.replace("share = \"50%\"", "share = \"5%\"");
    let started = applied(gateway.send_command(CommandName::Start, "", Some(&smaller)));
    assert_eq!(started.snapshot.release_state.share.basis_points(), 500);
    assert_eq!(gateway.bodies_to(BOARD)[0]["to_basis_points"], json!(500));
}

#[test]
fn no_webhook_is_asked_while_something_else_blocks() {
    let gateway = Gateway::new(&[CONFIRM_WEBHOOKS]);
    gateway.answer(BOARD, 200, &verdict("approve"));
    gateway.answer(AUDIT, 200, &verdict("approve"));
    assert_not_done(gateway.start(), "there is no release check");
    gateway.record_validation("ab", false);
    assert_not_done(gateway.start(), "failed");
    assert_eq!(gateway.requests_to(BOARD), []);
    gateway.record_validation("ab", true);
    applied(gateway.start());
    assert_eq!(gateway.requests_to(BOARD).len(), 1);
    // No canary response was counted in this stage.
    let advanced = gateway.send_command(CommandName::Advance, "in a hurry", None);
    assert_not_done(advanced, "the stage's own answers are NOT READY");
    for command in [CommandName::Pause, CommandName::Rollback, CommandName::Abort] {
        applied(gateway.send_command(command, "enough", None));
    }
    assert_eq!(gateway.requests_to(BOARD).len(), 1, "no share increases");
}

#[test]
fn a_webhook_that_answers_halt_pauses_a_release_until_an_operator_resumes_it() {
    let gateway = Gateway::checked(&[ALERT_WEBHOOKS, CONFIRM_WEBHOOKS]);
    for url in [BOARD, AUDIT] {
        gateway.answer(url, 200, &verdict("approve"));
    }
    gateway.answer(ON_CALL, 200, "");
    applied(gateway.start());
    gateway.advance(MINUTE_MS);
    gateway.answer(BOARD, 200, &verdict("halt"));
    for _ in 0..5 {
        gateway.pass_minute(0);
    }
    assert_eq!(gateway.share_and_phase(), (5_000, "paused".to_owned()));
    assert_eq!(gateway.requests_to(BOARD).len(), 2, "a paused release asks nobody");
    let blocked = |gateway: &Gateway| gateway.alerts_about(ON_CALL, "advance_blocked");
    assert_eq!(blocked(&gateway), ["advance_blocked"]);
    gateway.answer(BOARD, 200, &verdict("approve"));
    applied(gateway.send_command(CommandName::Resume, "the board agrees", None));
    gateway.pass_minute(0);
    assert_eq!(blocked(&gateway), ["advance_blocked", "-advance_blocked"]);
    assert_eq!(gateway.share_and_phase().0, 10_000);
    gateway.replay().unwrap();
}

#[test]
fn a_webhook_that_answers_retry_holds_a_release_and_is_asked_again_each_tick() {
    let gateway = Gateway::checked(&[CONFIRM_WEBHOOKS]);
    for url in [BOARD, AUDIT] {
        gateway.answer(url, 200, &verdict("approve"));
    }
    applied(gateway.start());
    gateway.advance(MINUTE_MS);
    gateway.stop_answering(BOARD);
    for _ in 0..4 {
        gateway.pass_minute(0);
    }
    assert_eq!(gateway.share_and_phase(), (5_000, "holding".to_owned()));
    let asked = gateway.requests_to(BOARD).len();
    gateway.advance(3 * TICK_MS);
    assert_eq!(gateway.requests_to(BOARD).len(), asked + 3);
    gateway.answer(BOARD, 200, &verdict("approve"));
    gateway.advance(TICK_MS);
    assert_eq!(gateway.share_and_phase().0, 10_000);
}

#[test]
fn a_hard_failure_while_a_webhook_is_asked_prevails() {
    let gateway = Gateway::checked(&[CONFIRM_WEBHOOKS]);
    for url in [BOARD, AUDIT] {
        gateway.answer(url, 200, &verdict("approve"));
    }
    applied(gateway.start());
    gateway.advance(MINUTE_MS);
    let (answers, other) = (Rc::clone(&gateway.answers), gateway.platform.isolate());
    gateway.platform.answer_http(move |request| {
        if request.url == BOARD {
            report_trap(&other);
        }
        respond(answers.borrow().get(&request.url))
    });
    for _ in 0..5 {
        gateway.pass_minute(0);
    }
    assert_eq!(gateway.requests_to(BOARD).len(), 2, "the start, and the tick with the failure");
    assert_eq!(gateway.share_and_phase(), (0, "rolled back".to_owned()));
    gateway.replay().unwrap();
}

#[test]
fn a_report_that_arrives_twice_counts_once() {
    let gateway = Gateway::started(&[]);
    for id in ["one", "two", "one", "one"] {
        gateway.send_report(id);
    }
    assert_eq!(gateway.snapshot().release_state.hard_failures, 2);
}

#[test]
fn an_alert_is_posted_once_when_raised_and_once_when_resolved() {
    let gateway = Gateway::started(&[ALERT_WEBHOOKS]);
    gateway.report_trap();
    gateway.report_trap();
    gateway.advance(2 * MINUTE_MS);
    assert_eq!(gateway.alerts_to(ON_CALL), ["rolled_back"]);
    let alert = &gateway.bodies_to(ON_CALL)[0];
    assert_eq!(alert["text"], json!("rolled back: hard failure of the canary: trap"));
    assert_eq!((&alert["severity"], &alert["release"]), (&json!("critical"), &json!(RELEASE)));
    assert_eq!((&alert["share_basis_points"], &alert["history_entry"]), (&json!(0), &json!(3)));
    let request = &gateway.requests_to(ON_CALL)[0];
    assert!(request.headers.contains(&("authorization".to_owned(), "Bearer abc".to_owned())));
    assert!(gateway.requests_to(CHAT)[0].headers.iter().all(|(name, _)| name != "authorization"));
    applied(gateway.send_command(CommandName::Resume, "mended", None));
    gateway.advance(2 * MINUTE_MS);
    let about = gateway.alerts_about(ON_CALL, "rolled_back");
    assert_eq!(about, ["rolled_back", "-rolled_back"]);
    let texts: Vec<String> = gateway
        .bodies_to(CHAT)
        .iter()
        .map(|body| body["text"].as_str().unwrap().to_owned())
        .collect();
    assert!(texts[0].starts_with(":rotating_light: e1-small at 0.00%: rolled back"), "{texts:?}");
    assert!(texts[1].starts_with(":white_check_mark: resolved:"), "{texts:?}");
}

#[test]
fn only_the_targets_that_the_plan_names_are_alerted() {
    let gateway = Gateway::checked(&[ALERT_WEBHOOKS]);
    gateway.answer(ON_CALL, 200, "");
    gateway.answer(CHAT, 200, "");
    let plan = PLAN.replace("[\"all\"]", "[\"chat\", \"log\"]");
    applied(gateway.send_command(CommandName::Start, "", Some(&plan)));
    gateway.platform.take_log();
    gateway.report_trap();
    gateway.advance(MINUTE_MS);
    assert_eq!((gateway.requests_to(ON_CALL).len(), gateway.requests_to(CHAT).len()), (0, 1));
    let log = gateway.platform.take_log();
    assert!(
        matches!(&log[..], [line] if line.contains("\"dedup_key\":\"rolled_back\"")),
        "{log:?}"
    );
}

#[test]
fn a_failing_target_gets_its_alert_again_after_a_pause_and_delays_no_other() {
    let gateway = Gateway::started(&[ALERT_WEBHOOKS]);
    gateway.answer(ON_CALL, 503, "");
    gateway.report_trap();
    gateway.advance(0);
    assert_eq!((gateway.requests_to(ON_CALL).len(), gateway.requests_to(CHAT).len()), (1, 1));
    gateway.advance(3 * MINUTE_MS);
    let attempts = gateway.requests_to(ON_CALL).len();
    assert!((4..=10).contains(&attempts), "{attempts} attempts, with a longer pause each time");
    gateway.answer(ON_CALL, 200, "");
    gateway.advance(5 * MINUTE_MS);
    assert_eq!(gateway.requests_to(ON_CALL).len(), attempts + 1);
    assert_eq!(gateway.requests_to(CHAT).len(), 1);
    assert_eq!(gateway.alarm(), None, "nothing is left to do");
}

#[test]
fn a_target_gets_its_alerts_in_order_after_it_failed() {
    let gateway = Gateway::started(&[ALERT_WEBHOOKS]);
    gateway.stop_answering(ON_CALL);
    gateway.advance(7 * MINUTE_MS);
    assert_eq!(gateway.share_and_phase(), (5_000, "holding".to_owned()), "no canary request came");
    gateway.report_trap();
    applied(gateway.send_command(CommandName::Resume, "mended", None));
    gateway.advance(0);
    let failed_attempts = gateway.requests_to(ON_CALL).len();
    assert!(gateway.alerts_to(ON_CALL).iter().all(|key| key == "no_data"));
    assert_eq!(gateway.requests_to(CHAT).len(), 4, "the other target has all");
    gateway.answer(ON_CALL, 200, "");
    gateway.advance(5 * MINUTE_MS);
    let keys = gateway.alerts_to(ON_CALL).split_off(failed_attempts);
    assert_eq!(keys[..4], ["no_data", "-no_data", "rolled_back", "-rolled_back"]);
}

#[test]
fn an_eviction_before_the_delivery_loses_no_alert() {
    for loses_alarm in [false, true] {
        let gateway = Gateway::started(&[ALERT_WEBHOOKS]);
        gateway.stop_answering(ON_CALL);
        gateway.report_trap();
        gateway.advance(0);
        gateway.platform.evict_objects();
        if loses_alarm {
            gateway.platform.lose_alarm(ROLLOUT, RELEASE);
            gateway.advance(MINUTE_MS);
            assert_eq!(gateway.requests_to(ON_CALL).len(), 1, "nothing woke the object");
            block_on(rollout::wake_object(&gateway.host));
        }
        gateway.answer(ON_CALL, 200, "");
        gateway.advance(MINUTE_MS);
        assert_eq!(gateway.alerts_to(ON_CALL), ["rolled_back"; 2], "loses_alarm: {loses_alarm}");
        assert_eq!(gateway.requests_to(CHAT).len(), 1);
    }
}

#[test]
fn a_delivery_that_could_not_be_recorded_is_made_again_after_its_lease() {
    let gateway = Gateway::started(&[ALERT_WEBHOOKS]);
    let (database, answers) = (gateway.database(), Rc::clone(&gateway.answers));
    let fails = Cell::new(true);
    gateway.platform.answer_http(move |request| {
        if request.url == ON_CALL && fails.replace(false) {
            database.fail_after(0);
        }
        respond(answers.borrow().get(&request.url))
    });
    gateway.report_trap();
    gateway.advance(29 * SECOND_MS);
    assert_eq!(gateway.alerts_to(ON_CALL), ["rolled_back"]);
    gateway.advance(MINUTE_MS);
    assert_eq!(gateway.alerts_to(ON_CALL), ["rolled_back"; 2]);
    assert_eq!(gateway.requests_to(CHAT).len(), 1);
}

#[test]
fn a_test_alert_says_which_target_accepted_it_and_is_not_queued() {
    let gateway = Gateway::new(&[ALERT_WEBHOOKS]);
    gateway.answer(CHAT, 404, "");
    let results = block_on(rollout::send_test_alert(&gateway.host)).unwrap();
    let results: Vec<_> = results
        .iter()
        .map(|result| (result.name.as_str(), result.status, result.delivered))
        .collect();
    assert_eq!(results, [("on-call", None, false), ("chat", Some(404), false)]);
    gateway.answer(ON_CALL, 204, "");
    let results = block_on(rollout::send_test_alert(&gateway.host)).unwrap();
    assert!(results[0].delivered);
    gateway.advance(HOUR_MS);
    assert_eq!(gateway.alerts_to(ON_CALL), ["test"; 2]);
    assert_eq!(gateway.alarm(), None);
}

#[test]
fn an_evicted_object_comes_back_as_it_was() {
    let gateway = Gateway::checked(&[ALERT_WEBHOOKS]);
    let plan = PLAN.replace("3m", "30m");
    applied(gateway.send_command(CommandName::Start, "", Some(&plan)));
    gateway.advance(MINUTE_MS);
    gateway.pass_minute(0);
    gateway.advance(5 * SECOND_MS + TICK_MS);
    applied(gateway.change(1, None, Some(true)));
    applied(gateway.send_command(CommandName::Pause, "lunch", None));
    let view =
        || (gateway.status().status, gateway.snapshot().release_state, gateway.history_text());
    let before = view();
    gateway.platform.evict_objects();
    assert_eq!(view(), before);
    assert_eq!(gateway.plan_status().canary.requests, 100);
    applied(gateway.send_command(CommandName::Resume, "after lunch", None));
    gateway.store_traffic(0);
    gateway.platform.evict_objects();
    gateway.advance(MINUTE_MS);
    assert_eq!(gateway.plan_status().canary.requests, 200, "the alarm outlived the eviction");
    gateway.replay().unwrap();
}

#[test]
fn the_p95_of_stable_reaches_every_isolate_until_the_object_is_evicted() {
    let gateway = Gateway::new(&[]);
    let other = gateway.platform.isolate();
    block_on(rollout::send_stable_p95(&gateway.host, 80.0));
    block_on(rollout::send_stable_p95(&gateway.host, f64::NAN));
    block_on(rollout::refresh_share(&other));
    assert_eq!(other.isolate().stable_p95_ms(other.now()), Some(80.0));
    gateway.platform.evict_objects();
    block_on(rollout::refresh_share(&other));
    assert_eq!(gateway.snapshot().stable_p95_ms, None);
    assert_eq!(other.isolate().stable_p95_ms(other.now()), Some(80.0), "it keeps what it has");
}

#[test]
fn a_lost_alarm_is_set_again_by_a_snapshot_and_by_a_wake() {
    let gateway = Gateway::started(&[]);
    let refresh = || block_on(rollout::refresh_share(&gateway.host));
    let wake = || block_on(rollout::wake_object(&gateway.host));
    for (name, ask) in [("a snapshot", &refresh as &dyn Fn()), ("a wake", &wake)] {
        gateway.platform.lose_alarm(ROLLOUT, RELEASE);
        gateway.advance(MINUTE_MS);
        assert_eq!(gateway.alarm(), None, "{name}");
        ask();
        let due = UnixMs(gateway.platform.now().0 + TICK_MS);
        assert_eq!(gateway.alarm(), Some(due), "{name}");
        gateway.advance(SECOND_MS);
        ask();
        assert_eq!(gateway.alarm(), Some(due), "{name}: an alarm that is set stays as it is");
    }
    let gateway = Gateway::new(&[("INITIAL_SHARE", "10%")]);
    block_on(rollout::refresh_share(&gateway.host));
    block_on(rollout::wake_object(&gateway.host));
    assert_eq!(gateway.alarm(), None, "no plan has to be watched");
}

#[test]
fn a_scaled_time_rollout_ticks_faster_and_never_faster_than_twice_a_second() {
    for (scale, tick_ms) in [("1", 10_000), ("10", 1_000), ("600", 500)] {
        let gateway = Gateway::started(&[("TIME_SCALE", scale)]);
        assert_eq!(gateway.alarm(), Some(UnixMs(START.0 + tick_ms)), "TIME_SCALE {scale}");
    }
}

#[test]
fn canary_errors_roll_back_by_the_tick_after_their_minutes_are_closed() {
    let gateway = Gateway::started(&[ALERT_WEBHOOKS]);
    gateway.advance(MINUTE_MS);
    gateway.store_traffic(60);
    gateway.advance(MINUTE_MS);
    assert_eq!(gateway.share_and_phase().0, 5_000, "the minute is open");
    gateway.advance(5 * SECOND_MS + TICK_MS);
    assert_eq!(gateway.share_and_phase(), (0, "rolled back".to_owned()));
    gateway.advance(TICK_MS);
    assert_eq!(gateway.alerts_about(ON_CALL, "rolled_back"), ["rolled_back"]);
    let text = gateway.bodies_to(ON_CALL).pop().unwrap()["text"].to_string();
    assert!(text.contains("gate `errors against stable` fails"), "{text}");
    assert!(gateway.snapshot().rolled_back);
    gateway.replay().unwrap();
}

#[test]
fn healthy_traffic_goes_through_all_stages_and_its_history_replays() {
    let gateway = Gateway::started(&[ALERT_WEBHOOKS]);
    gateway.advance(MINUTE_MS);
    for _ in 0..10 {
        gateway.pass_minute(1);
    }
    assert_eq!(gateway.share_and_phase(), (10_000, "promoted".to_owned()));
    let mut alerts = gateway.alerts_to(ON_CALL);
    assert_eq!(alerts.pop().as_deref(), Some("promoted"));
    let is_resolved = |pair: &[String]| pair[1] == format!("-{}", pair[0]);
    assert!(alerts.chunks(2).all(is_resolved), "{alerts:?}");
    let shares = gateway.history().into_iter().map(|entry| entry.share.basis_points());
    let mut shares: Vec<u16> = shares.collect();
    shares.dedup();
    assert_eq!(shares, [0, 5_000, 10_000]);
    let entries = gateway.replay().unwrap();
    assert!(entries > 8, "{entries} entries");
    // The critical gates stay after the promotion.
    gateway.pass_minute(60);
    gateway.advance(MINUTE_MS);
    assert_eq!(gateway.share_and_phase(), (0, "rolled back".to_owned()));
    gateway.replay().unwrap();
}

#[test]
fn a_release_whose_events_cannot_be_read_holds_and_catches_up_later() {
    let gateway = Gateway::started(&[]);
    gateway.advance(MINUTE_MS);
    gateway.pass_minute(0);
    gateway.advance(TICK_MS);
    let requests = gateway.plan_status().canary.requests;
    gateway.store_traffic(0);
    gateway.platform.set_away(ObjectClass::EventStore, true);
    gateway.advance(7 * MINUTE_MS);
    assert_eq!(gateway.share_and_phase(), (5_000, "holding".to_owned()));
    assert_eq!(gateway.plan_status().canary.requests, requests);
    gateway.platform.set_away(ObjectClass::EventStore, false);
    gateway.advance(TICK_MS);
    assert_eq!(gateway.plan_status().canary.requests, requests + 100);
    gateway.replay().unwrap();
}

#[test]
fn the_history_is_read_in_pages() {
    let gateway = Gateway::started(&[]);
    for reason in ["one", "two"] {
        applied(gateway.send_command(CommandName::Pause, reason, None));
        applied(gateway.send_command(CommandName::Resume, reason, None));
    }
    let seqs = |since, limit| {
        let lines = block_on(rollout::fetch_history(&gateway.host, since, limit)).unwrap();
        let entries = String::from_utf8(lines).unwrap();
        let seq = |line: &str| serde_json::from_str::<HistoryEntry>(line).unwrap().seq;
        entries.lines().map(seq).collect::<Vec<u64>>()
    };
    assert_eq!(seqs(0, u64::MAX), [1, 2, 3, 4, 5, 6]);
    assert_eq!((seqs(0, 2), seqs(2, 3), seqs(5, 3)), (vec![1, 2], vec![3, 4, 5], vec![6]));
    assert_eq!((seqs(6, 3), seqs(u64::MAX, 3), seqs(0, 0)), (vec![], vec![], vec![]));
}

#[test]
fn a_message_of_a_later_version_is_unsupported_and_changes_nothing() {
    let gateway = Gateway::started(&[]);
    let before = (gateway.status(), gateway.history_text(), gateway.alarm());
    let messages = [
        r#""restart""#,
        r#"{"history":{"since":0,"limit":1,"backwards":true}}"#,
        r#"{"manual_change":{"version":1,"killed":true,"actor":"test"}}"#,
        r#"{"command":{"command":"pause","reason":"x","actor":"test","plan":null,"force":true}}"#,
        r#"{"command":{"command":"freeze","reason":"x","actor":"test","plan":null}}"#,
        r#"{"hard_failure":{"kind":"meltdown","at_ms":1}}"#,
        r#"{"hard_failure":{"kind":"trap","at_ms":1,"isolate":"a"}}"#,
        r#"{"validation":{"model_sha256":"ab","passed":false,"heard_ms":1,"by":"test"}}"#,
        r#"{"stable_p95":{"p95_ms":null}}"#,
        "",
    ];
    for message in messages {
        let encoded = format!("{message}\n").into_bytes();
        let reply = block_on(gateway.platform.send_message(ROLLOUT, RELEASE, &encoded)).unwrap();
        assert_eq!(reply, ObjectReply::unsupported(), "{message}");
        assert_eq!(reply.status, 501);
        let call = ObjectCall {
            class: ROLLOUT,
            name: RELEASE,
            message: &encoded,
            timeout_ms: 1_000,
            reply_bytes_max: 1_000,
        };
        // A client makes `RolloutUnavailable` of it.
        let answer = block_on(gateway.host.call_object(call));
        assert_eq!(answer, Err(FetchError::Failed), "{message}");
    }
    assert_eq!((gateway.status(), gateway.history_text(), gateway.alarm()), before);
}

/// The visible state of a release, with its pending alerts.
#[derive(Debug, PartialEq)]
struct View {
    status: StatusResponse,
    history: String,
    pending: Vec<Value>,
    active_alerts: Vec<Value>,
}

impl View {
    fn of(gateway: &Gateway) -> Self {
        let (status, history) = (gateway.status(), gateway.history_text());
        let rows = |query| gateway.database().query_rows(query, vec![]).unwrap();
        Self {
            status,
            history,
            pending: rows("SELECT target, json FROM pending_notification ORDER BY id"),
            active_alerts: rows("SELECT key, json FROM active_alert ORDER BY key"),
        }
    }

    fn summary(&self) -> String {
        let share = |points: u16| f64::from(points) / 100.0;
        let plan = self.status.status.as_ref();
        format!(
            "share {} %, plan {:?} at {:?} %, controller's seq {:?}, {} history entries, replay {:?}, {} alerts wait",
            share(self.status.snapshot.release_state.share.basis_points()),
            plan.map(|plan| plan.phase.as_str()),
            plan.map(|plan| share(plan.share.basis_points())),
            plan.map(|plan| plan.seq),
            self.history.lines().count(),
            replay(self.history.lines()).map(|summary| summary.entries),
            self.pending.len(),
        )
    }
}

/// Returns whether the operator got the reason of a refusal.
fn is_refused(outcome: &Outcome) -> bool {
    matches!(outcome, Ok(ChangeOutcome::Rejected { .. }))
}

/// Lets each of the first statements of `act` fail on a gateway of its own. Afterwards nothing of
/// `act` is stored or all of it, an evicted object says the same, and if nothing is stored, `act`
/// succeeds when it is repeated. `act` returns whether it was refused: then the release state is as
/// before, and the history has the refusal. Returns each violation.
fn violations(
    name: &str,
    prepare: &dyn Fn() -> Gateway,
    act: &dyn Fn(&Gateway) -> bool,
) -> Vec<String> {
    let undisturbed = prepare();
    let before = View::of(&undisturbed);
    assert!(!act(&undisturbed), "{name} is refused");
    let after = View::of(&undisturbed);
    assert_ne!(before, after, "{name} changes nothing");
    let mut violations = Vec::new();
    for statement in 0..=30 {
        let gateway = prepare();
        gateway.status();
        gateway.database().fail_after(statement);
        let is_refused = act(&gateway);
        gateway.database().fail_after(u64::MAX);
        let cached = View::of(&gateway);
        gateway.platform.evict_objects();
        let stored = View::of(&gateway);
        let mut report = |what: &str, view: &View| {
            violations.push(format!("{name}, statement {statement}: {what}: {}", view.summary()));
        };
        if cached != stored {
            report("another state before an eviction", &cached);
        }
        if is_refused {
            let state = |view: &View| view.status.snapshot.release_state.clone();
            let seq = stored.status.status.as_ref().map_or(0, |status| status.seq);
            if state(&stored) != state(&before) || gateway.replay() != Ok(seq) {
                report("refused and done in part", &stored);
            }
        } else if stored == before {
            act(&gateway);
            let repeated = View::of(&gateway);
            if repeated != after {
                report("not done when repeated", &repeated);
            }
        } else if stored != after {
            report("done in part", &stored);
        }
    }
    violations
}

#[track_caller]
fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn a_manual_change_that_fails_at_any_statement_is_done_or_not_done() {
    let prepare = || Gateway::new(&[]);
    assert_none(&violations("a share", &prepare, &|gateway| {
        is_refused(&gateway.change(0, Some("10%"), None))
    }));
    assert_none(&violations("the kill flag", &|| Gateway::started(&[]), &|gateway| {
        is_refused(&gateway.change(1, None, Some(true)))
    }));
}

#[test]
fn a_command_that_fails_at_any_statement_is_done_or_not_done() {
    let prepare = || Gateway::started(&[ALERT_WEBHOOKS]);
    let mut all = Vec::new();
    for command in [CommandName::Pause, CommandName::Rollback, CommandName::Abort] {
        let act = |gateway: &Gateway| is_refused(&gateway.send_command(command, "because", None));
        all.extend(violations(&format!("{command:?}"), &prepare, &act));
    }
    assert_none(&all);
}

#[test]
fn a_start_that_fails_at_any_statement_is_done_or_not_done() {
    let prepare = || Gateway::checked(&[ALERT_WEBHOOKS]);
    let act = |gateway: &Gateway| is_refused(&gateway.start());
    assert_none(&violations("start", &prepare, &act));
}

#[test]
fn a_resume_that_fails_at_any_statement_is_done_or_not_done() {
    let prepare = || {
        let gateway = Gateway::started(&[ALERT_WEBHOOKS]);
        gateway.report_trap();
        gateway.advance(0);
        gateway
    };
    let act =
        |gateway: &Gateway| is_refused(&gateway.send_command(CommandName::Resume, "mended", None));
    assert_none(&violations("resume", &prepare, &act));
}

#[test]
fn a_hard_failure_that_fails_at_any_statement_is_recorded_or_not_recorded() {
    let prepare = || Gateway::started(&[ALERT_WEBHOOKS]);
    assert_none(&violations("a hard failure", &prepare, &|gateway| {
        gateway.send_report("one");
        false
    }));
}

#[test]
fn a_tick_that_fails_at_any_statement_is_made_up_for_by_the_next_ones() {
    let mut violations = Vec::new();
    for statement in 0..=30 {
        let gateway = Gateway::started(&[ALERT_WEBHOOKS]);
        gateway.advance(MINUTE_MS);
        gateway.store_traffic(60);
        // The minute is closed, and the next tick reads it.
        gateway.advance(MINUTE_MS + 5 * SECOND_MS - 1);
        gateway.database().fail_after(statement);
        // The platform calls an alarm that failed again.
        let _ = gateway.platform.advance(TICK_MS);
        gateway.database().fail_after(u64::MAX);
        gateway.advance(2 * MINUTE_MS);
        let cached = View::of(&gateway);
        gateway.platform.evict_objects();
        let stored = View::of(&gateway);
        // A delivery that could not be recorded is made again.
        let is_alerted = !gateway.alerts_about(ON_CALL, "rolled_back").is_empty();
        let is_rollback = |body: &Value| body["text"].as_str().unwrap().contains("rolled back");
        let is_chat_alerted = gateway.bodies_to(CHAT).iter().any(is_rollback);
        let is_rolled_back = gateway.share_and_phase() == (0, "rolled back".to_owned());
        let is_whole = is_rolled_back && gateway.replay().is_ok() && cached == stored;
        if !is_whole || !is_alerted || !is_chat_alerted {
            let alerts = format!("alerted: {is_alerted} and {is_chat_alerted}");
            violations.push(format!("tick, statement {statement}: {}, {alerts}", stored.summary()));
        }
    }
    assert_none(&violations);
}

#[test]
fn a_storage_that_fails_during_the_checks_is_not_taken_for_a_missing_release_check() {
    let mut refusals = Vec::new();
    for statement in 0..=30 {
        let gateway = Gateway::checked(&[]);
        gateway.status();
        gateway.database().fail_after(statement);
        if let Ok(ChangeOutcome::Rejected { body, .. }) = gateway.start() {
            refusals.push(format!("start, statement {statement}: {body}"));
        }
    }
    assert_none(&refusals);
}
