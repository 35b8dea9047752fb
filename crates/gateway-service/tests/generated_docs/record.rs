//! Requests to every endpoint of a gateway in this process, and the replies to them.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::gateway::{
    ADMIN, ALL_CANARY, ALL_SHADOW, Answer, BODY, GATEWAY, Gateway, HALF_CANARY, KEY, LEGACY_BODY,
    MINUTE_MS, MODEL_BODY, START, VIEWER, broken_model_answer, legacy_response, model_answer,
    non_finite_answer, sha256,
};
use crate::requests::request_body;
use jeffrey_edge::gateway::api::COMMAND_BYTES_MAX;
use jeffrey_edge::gateway::api::auth::Role;
use jeffrey_edge::gateway::api::endpoint::{ENDPOINT_DOCS, EndpointDoc};
use jeffrey_edge::gateway::events::signed_id;
use jeffrey_edge::rollout::signing_key::SigningKey;
use jeffrey_gateway_service::host::{BodyError, ObjectClass};
use jeffrey_gateway_service::request_host::{RateLimiter, StreamedResponse};
use jeffrey_native_host::{StoredResponse, block_on};
use jeffrey_terms::ResponseId;

/// Headers of replies that the document names.
const HEADERS: [&str; 3] = ["retry-after", "www-authenticate", "x-jeffrey-shards"];

/// Two short stages, the second by approval, and gates that errors fail.
const PLAN: &str = r#"
[[stage]]
share = "50%"
min_duration = "2m"
min_samples = 5

[[stage]]
share = "100%"
min_duration = "2m"
min_samples = 5
approval = true

[[gate]]
name = "errors against stable"
metric = "errors"
max_increase = "+50%"
effect = "roll_back"

[[gate]]
name = "errors above 5 %"
metric = "errors"
max = "5%"
effect = "warn"

[[gate]]
name = "low confidence at most 25 %"
metric = "low_confidence"
estimated_max = "25%"
estimate_samples = 5
effect = "block_advance"

[[gate]]
name = "sample ratio"
metric = "sample_ratio"
sample_ratio = true
effect = "warn"
"#;

/// Reply to a request of an endpoint.
pub(crate) struct RecordedReply {
    pub(crate) endpoint: &'static str,
    pub(crate) status: u16,
    pub(crate) content_type: String,
    /// Those of [`HEADERS`] that the reply has.
    pub(crate) headers: Vec<&'static str>,
    pub(crate) body: Vec<u8>,
}

/// Sends requests and keeps the replies.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) replies: Vec<RecordedReply>,
}

/// Returns the replies to the requests of this file, which are sent once for all tests.
pub(crate) fn recorded_replies() -> &'static [RecordedReply] {
    static REPLIES: OnceLock<Vec<RecordedReply>> = OnceLock::new();
    REPLIES.get_or_init(record_replies)
}

fn record_replies() -> Vec<RecordedReply> {
    let mut recorder = Recorder::default();
    for doc in ENDPOINT_DOCS {
        recorder.send_with_each_token(doc);
        recorder.send_each_body(doc);
        recorder.send_without_objects(doc);
    }
    recorder.record_health();
    recorder.record_feedback();
    recorder.record_refused_changes();
    recorder.record_pages();
    recorder.record_auth_check();
    recorder.record_rollout();
    recorder.replies
}

/// Returns the token of an endpoint's role; empty for none.
const fn token_of(doc: &EndpointDoc) -> &'static str {
    match doc.role {
        None => "",
        Some(Role::Viewer) => VIEWER,
        Some(Role::Admin) => ADMIN,
    }
}

/// Returns the documented path with values for its parameters.
fn path_of(doc: &EndpointDoc) -> String {
    let (path, _) = doc.path.split_once('?').unwrap_or((doc.path, ""));
    path.replace("{RELEASE}", "e1-small")
}

/// Returns a body that the endpoint takes; empty if it reads none.
fn example_of(doc: &EndpointDoc, gateway: &Gateway) -> String {
    let example = request_body(doc.name).map(|body| with_id(&body.examples[0], gateway));
    example.unwrap_or_default()
}

/// Returns an example as a body, with the id of a response that was just given.
pub(crate) fn with_id(example: &Value, gateway: &Gateway) -> String {
    let id = gateway.classify("alice").header("x-jeffrey-id").unwrap_or_default();
    example.to_string().replace("\"ID\"", &Value::from(id).to_string())
}

pub(crate) fn find_doc(name: &str) -> &'static EndpointDoc {
    ENDPOINT_DOCS.iter().find(|doc| doc.name == name).unwrap_or_else(|| panic!("no {name}"))
}

impl Recorder {
    /// Sends a request with a query and keeps the reply. Of a stream, it reads the first chunk.
    pub(crate) fn send(
        &mut self,
        gateway: &Gateway,
        doc: &'static EndpointDoc,
        (token, query, body): (&str, &str, &str),
    ) -> u16 {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        let headers = if token.is_empty() { &[] } else { &headers[..] };
        let url = format!("{GATEWAY}/_jeffrey{}{query}", path_of(doc));
        let request = gateway.request(doc.method, &url, headers, body.as_bytes());
        let mut head = block_on(request.respond()).unwrap();
        let body = block_on(head.next_chunk()).unwrap_or_default();
        gateway.platform.run_tasks();
        let answer = Answer { status: head.status(), head, body };
        let status = answer.status;
        self.replies.push(RecordedReply {
            endpoint: doc.name,
            status,
            content_type: answer.header("content-type").unwrap_or_default(),
            headers: HEADERS.into_iter().filter(|name| answer.header(name).is_some()).collect(),
            body: answer.body,
        });
        status
    }

    /// Sends a body to an endpoint by its name, with the token of its role.
    fn call(&mut self, gateway: &Gateway, name: &str, body: &str) -> u16 {
        let doc = find_doc(name);
        self.send(gateway, doc, (token_of(doc), "", body))
    }

    fn send_with_each_token(&mut self, doc: &'static EndpointDoc) {
        let gateway = Gateway::storing(&[]);
        let closed = Gateway::storing(&[("JEFFREY_VIEWER_TOKEN", ""), ("JEFFREY_ADMIN_TOKEN", "")]);
        for token in ["", "a token of nobody", token_of(doc)] {
            let body = example_of(doc, &gateway);
            self.send(&gateway, doc, (token, "", &body));
        }
        self.send(&closed, doc, (token_of(doc), "", &example_of(doc, &gateway)));
    }

    fn send_each_body(&mut self, doc: &'static EndpointDoc) {
        let Some(body) = request_body(doc.name) else { return };
        let too_long = "a".repeat(COMMAND_BYTES_MAX + 1);
        for body in body.examples.iter().map(Value::to_string).chain(["{".into(), too_long]) {
            self.send(&Gateway::storing(&[]), doc, (token_of(doc), "", &body));
        }
    }

    fn send_without_objects(&mut self, doc: &'static EndpointDoc) {
        for class in [ObjectClass::EventStore, ObjectClass::Rollout] {
            let gateway = Gateway::storing(&[]);
            let body = example_of(doc, &gateway);
            gateway.platform.set_away(class, true);
            self.send(&gateway, doc, (token_of(doc), "", &body));
        }
    }

    fn record_health(&mut self) {
        self.call(&Gateway::new(&[("HOLDOUT", "lots")]), "Health", "");
        let gateway = Gateway::new(&[ALL_CANARY]);
        gateway.answer_model(broken_model_answer(BodyError::Broken));
        gateway.classify("alice");
        self.call(&gateway, "Health", "");
    }

    fn record_feedback(&mut self) {
        let gateway = Gateway::storing(&[ALL_CANARY]);
        let body = |id: &str| json!({ "id": id, "ok": true }).to_string();
        let id = gateway.classify("alice").header("x-jeffrey-id").unwrap();
        let signed = |key: &str| {
            signed_id::sign(ResponseId::new(START, [9; 10]), &SigningKey::parse(key).unwrap())
        };
        for id in [&id, &id, &signed(KEY), &signed("another key of the tests")] {
            self.call(&gateway, "Feedback", &body(id));
        }
        gateway.platform.set_limit(RateLimiter::Address, 0);
        let doc = find_doc("Feedback");
        let url = format!("{GATEWAY}/_jeffrey{}", doc.path);
        let headers = [("cf-connecting-ip", "192.0.2.7")];
        let limited =
            gateway.respond(gateway.request("POST", &url, &headers, body(&id).as_bytes()));
        self.replies.push(RecordedReply {
            endpoint: doc.name,
            status: limited.status,
            content_type: limited.header("content-type").unwrap_or_default(),
            headers: HEADERS.into_iter().filter(|name| limited.header(name).is_some()).collect(),
            body: limited.body,
        });
        gateway.platform.advance(7 * 24 * 60 * MINUTE_MS + 1).unwrap();
        self.call(&gateway, "Feedback", &body(&id));
        self.call(&Gateway::storing(&[("JEFFREY_SIGNING_KEY", "")]), "Feedback", &body(&id));
    }

    fn record_refused_changes(&mut self) {
        let gateway = Gateway::storing(&[]);
        for change in [
            r#"{"version":7,"share":"10%"}"#,
            r#"{"version":0}"#,
            r#"{"version":0,"share":"101%"}"#,
        ] {
            self.call(&gateway, "SetShare", change);
        }
        self.call(&gateway, "RolloutCommand", r#"{"command":"approve"}"#);
        self.call(&gateway, "EvaluateFlag", r#"{"context":{}}"#);
        let doc = find_doc("Events");
        self.send(&gateway, doc, (ADMIN, "?shard=1", ""));
        let other = Gateway::new(&[("RELEASE", "e2")]);
        self.call(&other, "EvaluateFlag", r#"{"context":{"targetingKey":"alice"}}"#);
    }

    fn record_pages(&mut self) {
        for variables in [&[][..], &[("SERVE_PLAYGROUND", "on")]] {
            self.call(&Gateway::new(variables), "Playground", "");
        }
    }

    /// Sends a call whose caller the legacy system is asked about.
    fn record_auth_check(&mut self) {
        let gateway = Gateway::storing(&[
            ALL_CANARY,
            ("CANARY_AUTH", "check"),
            ("CANARY_AUTH_CHECK", "GET /session"),
        ]);
        gateway.classify("alice");
        self.send(&gateway, find_doc("Events"), (ADMIN, "", ""));
    }

    /// Runs a release through its phases with traffic of both cohorts, and reads everything after
    /// each step.
    fn record_rollout(&mut self) {
        let gateway = Gateway::storing(&[
            HALF_CANARY,
            ALL_SHADOW,
            ("LOG_TEXT_PREVIEW", "on"),
            ("SINKS", r#"[{"name":"logs","kind":"ndjson","url":"https://sink.example/in"}]"#),
            ("ALERT_WEBHOOKS", r#"[{"name":"on-call","url":"https://on-call.example/in"}]"#),
        ]);
        self.read_all(&gateway);
        let report = json!({ "passed": true, "model": { "sha256": sha256() } }).to_string();
        self.call(&gateway, "RecordValidation", &report);
        let start = json!({ "command": "start", "plan": PLAN }).to_string();
        self.call(&gateway, "RolloutCommand", &start);
        self.call(&gateway, "SetShare", r#"{"version":1,"share":"90%"}"#);
        self.call(&gateway, "TestAlert", "");
        self.pass_minutes(&gateway, 0..4, false);
        self.call(&gateway, "RolloutCommand", r#"{"command":"pause","reason":"a look"}"#);
        self.call(&gateway, "RolloutCommand", r#"{"command":"resume","reason":"looked"}"#);
        // The model refuses some calls, until the gate of the canary fails.
        self.pass_minutes(&gateway, 4..14, true);
        self.call(&gateway, "RolloutCommand", r#"{"command":"resume","reason":"repaired"}"#);
        gateway.answer_model(non_finite_answer());
        self.pass_minutes(&gateway, 14..16, false);
    }

    /// Sends calls in each of the minutes and reads everything after it. With failures, the model
    /// refuses every fourth call.
    fn pass_minutes(
        &mut self,
        gateway: &Gateway,
        minutes: std::ops::Range<u32>,
        has_failures: bool,
    ) {
        for minute in minutes {
            send_traffic(gateway, minute, has_failures);
            gateway.platform.advance(MINUTE_MS).unwrap();
            self.read_all(gateway);
        }
    }

    /// Reads every endpoint that takes `GET`.
    fn read_all(&mut self, gateway: &Gateway) {
        for doc in ENDPOINT_DOCS.iter().filter(|doc| doc.method == "GET") {
            self.send(gateway, doc, (ADMIN, "", ""));
        }
    }
}

/// Sends calls of both cohorts, with feedback, rules of the legacy system, responses of it that
/// cannot be read, and errors.
fn send_traffic(gateway: &Gateway, minute: u32, has_failures: bool) {
    for number in 0..30 {
        gateway.platform.answer_legacy(move |_| match number % 10 {
            7 => Ok(StoredResponse::new(500, &[], b"")),
            8 => Ok(StoredResponse::new(200, &[("content-type", "text/plain")], b"no JSON")),
            9 => Ok(legacy_response_with_rule()),
            _ => Ok(legacy_response()),
        });
        if has_failures {
            let is_refused = number % 4 == 0;
            gateway.answer_model(if is_refused {
                model_answer(400, "")
            } else {
                model_answer(200, MODEL_BODY)
            });
        }
        let answer = gateway.call(&[("x-user-id", &format!("user-{minute}-{number}"))], BODY);
        let Some(id) = answer.header("x-jeffrey-id") else { continue };
        let feedback = match number % 3 {
            0 => json!({ "id": id, "ok": true }),
            1 => json!({ "id": id, "ok": false }),
            _ => json!({ "id": id, "correct_label": "joy" }),
        };
        gateway.admin("POST", "/v1/feedback", "", &feedback.to_string());
    }
}

fn legacy_response_with_rule() -> StoredResponse {
    let rule = "\"rule_applied\":\"tiebreak_anger_keyword_standard\"";
    let body = LEGACY_BODY.replace("\"rule_applied\":null", rule);
    StoredResponse::new(200, &[("content-type", "application/json")], body.as_bytes())
}
