//! A gateway on the in-process platform, with a model and a legacy system, and the requests to it.
#![allow(dead_code, reason = "each of the tests uses a part")]

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::{Value, json};

use jeffrey_edge::rollout::bucket::ReleaseName;
use jeffrey_edge::rollout::override_token::{self, OverridePermission};
use jeffrey_edge::rollout::signing_key::SigningKey;
use jeffrey_gateway_service::host::{BodyError, FetchError, HttpResponse, QueueSend};
use jeffrey_gateway_service::request_host::StreamedResponse;
use jeffrey_http_core::head::RequestHead;
use jeffrey_native_host::{IncomingRequest, IsolateHost, Platform, StoredResponse, block_on};
use jeffrey_terms::UnixMs;

/// Start of a minute, 2026-01-01.
pub(crate) const START: UnixMs = UnixMs(1_767_225_600_000);
pub(crate) const SECOND_MS: u64 = 1_000;
pub(crate) const MINUTE_MS: u64 = 60 * SECOND_MS;

pub(crate) const GATEWAY: &str = "https://gateway.example";
pub(crate) const LEGACY: &str = "http://legacy.example:8080";
pub(crate) const MODEL_CLASSIFY: &str = "model:/v1/classify";
/// Endpoint whose reply is a stream of lines.
pub(crate) const LIVE: &str = "/v1/rollout/live";
pub(crate) const RELEASE: &str = "e1-small";

pub(crate) const KEY: &str = "a signing key of the tests";
pub(crate) const OVERRIDE_KEY: &str = "an override key of the tests";
pub(crate) const VIEWER: &str = "a viewer token of the tests";
pub(crate) const ADMIN: &str = "an admin token of the tests";

pub(crate) const VARIABLES: [(&str, &str); 6] = [
    ("CANARY_AUTH", "none_required"),
    ("LEGACY_ORIGIN", LEGACY),
    ("JEFFREY_SIGNING_KEY", KEY),
    ("JEFFREY_OVERRIDE_SIGNING_KEY", OVERRIDE_KEY),
    ("JEFFREY_VIEWER_TOKEN", VIEWER),
    ("JEFFREY_ADMIN_TOKEN", ADMIN),
];
pub(crate) const ALL_CANARY: (&str, &str) = ("INITIAL_SHARE", "100%");
pub(crate) const HALF_CANARY: (&str, &str) = ("INITIAL_SHARE", "50%");
pub(crate) const ALL_SHADOW: (&str, &str) = ("SHADOW_SHARE", "100%");

/// Request of a classify call.
pub(crate) const BODY: &str = r#"{"text":"The parcel is late again."}"#;

/// Response of the legacy system: sadness. Its white space shows whether it was written again.
pub(crate) const LEGACY_BODY: &str = r#"{ "route":"prototypes",  "prediction":{"primary":"sadness","confidence":0.61,
    "low_confidence":true,"rule_applied":null}}"#;

/// Response of the model worker: anger.
pub(crate) const MODEL_BODY: &str = r#"{"id":"x","primary":"anger","confidence":0.8125,"scores":{"joy":0.01,
    "sadness":0.02,"anger":0.8125,"fear":0.0175,"surprise":0.02,"disgust":0.02,"neutral":0.0,
    "frustration":0.1},"top2":[["anger",0.8125],["frustration",0.1]],"low_confidence":false,
    "route":"linear_head","rule_applied":null,"truncated":false,"model":"e1-small"}"#;

pub(crate) type Headers<'a> = &'a [(&'a str, &'a str)];
pub(crate) type ModelAnswer = Result<HttpResponse, FetchError>;

/// A gateway with one isolate, a model and a legacy system. Its events stay in the queue.
pub(crate) struct Gateway {
    pub(crate) platform: Rc<Platform>,
    pub(crate) host: IsolateHost,
    pub(crate) model: Rc<RefCell<ModelAnswer>>,
}

/// A response with the body that its caller read.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: StoredResponse,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.head.header(name)
    }

    pub(crate) fn cookies(&self) -> Vec<String> {
        self.head.cookies()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Status and code of an error of the gateway.
    pub(crate) fn error(&self) -> (u16, String) {
        (self.status, self.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn is_by_model(&self) -> bool {
        self.status == 200 && self.json()["prediction"]["primary"] == "anger"
    }

    pub(crate) fn is_by_legacy(&self) -> bool {
        self.status == 200 && self.body == LEGACY_BODY.as_bytes()
    }

    /// The subject cookie that this response sets, as its caller sends it.
    pub(crate) fn subject_cookie(&self) -> Option<String> {
        let cookies = self.cookies();
        let cookie = cookies.iter().find(|cookie| cookie.starts_with("jeffrey_subject="))?;
        cookie.split(';').next().map(str::to_owned)
    }
}

impl Gateway {
    /// A gateway with [`VARIABLES`], changed by `variables`, whose queue keeps the events.
    pub(crate) fn new(variables: &[(&'static str, &str)]) -> Self {
        let platform = Platform::new(&[&VARIABLES[..], variables].concat(), START);
        let model = Rc::new(RefCell::new(model_answer(200, MODEL_BODY)));
        let told = Rc::clone(&model);
        platform.answer_http(move |request| match request.url.as_str() {
            MODEL_CLASSIFY => told.borrow().clone(),
            "model:/health" => {
                model_answer(200, &json!({"model": {"sha256": sha256()}}).to_string())
            }
            _ => model_answer(202, ""),
        });
        platform.answer_legacy(|_| Ok(legacy_response()));
        platform.set_queue(QueueSend::Sent);
        let host = platform.isolate();
        Self { platform, host, model }
    }

    /// A gateway without a queue: each event goes to the event store at once.
    pub(crate) fn storing(variables: &[(&'static str, &str)]) -> Self {
        let gateway = Self::new(variables);
        gateway.platform.set_queue(QueueSend::NotBound);
        gateway
    }

    /// Another isolate of this gateway.
    pub(crate) fn other_isolate(&self) -> Self {
        Self {
            platform: Rc::clone(&self.platform),
            host: self.platform.isolate(),
            model: Rc::clone(&self.model),
        }
    }

    /// An isolate of a later deployment with other variables, which shares the objects.
    pub(crate) fn redeployed(&self, variables: &[(&'static str, &str)]) -> Self {
        let variables = [&VARIABLES[..], variables].concat();
        Self {
            platform: Rc::clone(&self.platform),
            host: self.platform.deploy_isolate(&variables),
            model: Rc::clone(&self.model),
        }
    }

    pub(crate) fn answer_model(&self, answer: ModelAnswer) {
        *self.model.borrow_mut() = answer;
    }

    pub(crate) fn request(
        &self,
        method: &str,
        url: &str,
        headers: Headers<'_>,
        body: &[u8],
    ) -> IncomingRequest {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let head = RequestHead::new(method.to_owned(), url, headers.collect()).unwrap();
        IncomingRequest::new(self.host.clone(), head, body)
    }

    /// A classify call with a declared length and further headers.
    pub(crate) fn classify_request(&self, headers: Headers<'_>, body: &str) -> IncomingRequest {
        let length = body.len().to_string();
        let own = [("content-type", "application/json"), ("content-length", length.as_str())];
        let url = format!("{GATEWAY}/predict");
        self.request("POST", &url, &[&own[..], headers].concat(), body.as_bytes())
    }

    /// Answers a request, lets its caller read the body, and ends the work in the background.
    pub(crate) fn respond(&self, request: IncomingRequest) -> Answer {
        let mut head = block_on(request.respond()).unwrap();
        let mut body = Vec::new();
        while let Some(chunk) = block_on(head.next_chunk()) {
            body.extend(chunk);
        }
        self.platform.run_tasks();
        Answer { status: head.status(), head, body }
    }

    pub(crate) fn send(
        &self,
        method: &str,
        target: &str,
        headers: Headers<'_>,
        body: &[u8],
    ) -> Answer {
        self.respond(self.request(method, &format!("{GATEWAY}{target}"), headers, body))
    }

    pub(crate) fn call(&self, headers: Headers<'_>, body: &str) -> Answer {
        self.respond(self.classify_request(headers, body))
    }

    /// A classify call of a user.
    pub(crate) fn classify(&self, user: &str) -> Answer {
        self.call(&[("x-user-id", user)], BODY)
    }

    /// A request to one of the gateway's own endpoints; without a token for an empty one.
    pub(crate) fn admin(&self, method: &str, path: &str, token: &str, body: &str) -> Answer {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        let headers = if token.is_empty() { &[] } else { &headers[..] };
        self.send(method, &format!("/_jeffrey{path}"), headers, body.as_bytes())
    }

    /// Sends an operator's command that is not refused.
    pub(crate) fn command(&self, command: &str) {
        let body = json!({"command": command}).to_string();
        let answer = self.admin("POST", "/v1/admin/rollout", ADMIN, &body);
        assert_eq!(answer.status, 200, "{command}: {}", answer.text());
    }

    /// Starts the shipped plan after a release check of the model.
    pub(crate) fn start_rollout(&self) {
        let report = json!({"passed": true, "model": {"sha256": sha256()}}).to_string();
        let answer = self.admin("POST", "/v1/admin/validation", ADMIN, &report);
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.command("start");
    }

    pub(crate) fn status(&self) -> Value {
        self.admin("GET", "/v1/rollout", VIEWER, "").json()
    }

    pub(crate) fn metrics(&self) -> String {
        self.admin("GET", "/metrics", VIEWER, "").text()
    }

    /// The events in the queue since the last call of this function.
    pub(crate) fn events(&self) -> Vec<Value> {
        let events = self.platform.take_queue();
        events.iter().map(|event| serde_json::from_str(event).unwrap()).collect()
    }

    /// The only event since the last call of this function.
    pub(crate) fn event(&self) -> Value {
        let mut events = self.events();
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }

    /// Texts that the model was asked for since the last call of this function.
    pub(crate) fn model_texts(&self) -> Vec<String> {
        let requests = self.platform.take_requests();
        let calls = requests.iter().filter(|request| request.url == MODEL_CLASSIFY);
        calls
            .map(|call| serde_json::from_slice::<Value>(&call.body).unwrap())
            .map(|body| body["text"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// A token that is valid for `ms` milliseconds from the start of a test.
pub(crate) fn override_token(key: &str, release: &str, ms: u64) -> String {
    let (release, expires_at) = (ReleaseName::parse(release).unwrap(), UnixMs(START.0 + ms));
    let permission = OverridePermission { release, expires_at, allow_rolled_back: false };
    override_token::sign(&permission, &SigningKey::parse(key).unwrap())
}

pub(crate) fn sha256() -> String {
    "ab".repeat(32)
}

pub(crate) fn model_answer(status: u16, body: &str) -> ModelAnswer {
    let headers = vec![("x-model-sha256", sha256())];
    Ok(HttpResponse { status, headers, body: Ok(body.as_bytes().to_vec()) })
}

/// The answer of the model worker's script to a text at which the model trapped.
pub(crate) fn trap_answer() -> ModelAnswer {
    let headers = vec![("x-model-fault", "trap".to_owned())];
    Ok(HttpResponse { status: 500, headers, body: Ok(Vec::new()) })
}

/// An answer with a score that is no number.
pub(crate) fn non_finite_answer() -> ModelAnswer {
    model_answer(200, &MODEL_BODY.replace(r#""anger":0.8125"#, r#""anger":null"#))
}

pub(crate) fn user(number: u32) -> String {
    format!("user-{number}")
}

pub(crate) fn broken_model_answer(error: BodyError) -> ModelAnswer {
    Ok(HttpResponse { status: 200, headers: Vec::new(), body: Err(error) })
}

pub(crate) fn legacy_response() -> StoredResponse {
    StoredResponse::new(200, &[("content-type", "application/json")], LEGACY_BODY.as_bytes())
}
