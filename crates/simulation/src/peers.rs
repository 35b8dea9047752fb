//! The systems around the gateway: legacy system, model worker, sinks, alert webhooks.

use std::rc::Rc;

use futures_channel::oneshot;
use serde_json::json;

use crate::fault::{Hop, LegacyFault, ModelFault};
use crate::record::{LegacyReply, OutgoingRequest};
use crate::simulation::Simulation;
use jeffrey_edge::gateway::upstream::circuit_breaker::PROBE_TEXT;
use jeffrey_gateway_service::host::HttpResponse;
use jeffrey_http_core::head::RequestHead;
use jeffrey_native_host::StoredResponse;

/// Sha256 that the released model worker reports.
pub(crate) const MODEL_SHA256: &str =
    "abababababababababababababababababababababababababababababababab";
/// Sha256 of another model.
const OTHER_SHA256: &str = "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd";

/// Largest body that the legacy system takes, in bytes (docs/legacy.md).
const LEGACY_BODY_BYTES_MAX: usize = 64 * 1024;

/// Value of `authorization` that the legacy system accepts, where it asks for one.
pub(crate) const MEMBER: &str = "Bearer member";

const LABELS: [&str; 8] =
    ["joy", "sadness", "anger", "fear", "surprise", "disgust", "neutral", "frustration"];

impl Simulation {
    /// Keeps the caller waiting for ever: its response was lost.
    pub(crate) fn never_answer<T: 'static>(&self, sender: oneshot::Sender<T>) {
        self.unanswered.borrow_mut().push(Box::new(sender));
        // Those whose callers gave up long ago are let go.
        let length = self.unanswered.borrow().len();
        if length > 1_000 {
            self.unanswered.borrow_mut().drain(..length / 2);
        }
    }

    /// Answers a request over HTTP, and says how long the answer took.
    pub(crate) fn answer_http(
        self: &Rc<Self>,
        hop: Hop,
        request: &OutgoingRequest,
    ) -> (u64, HttpResponse) {
        let plain = |status| HttpResponse { status, headers: Vec::new(), body: Ok(Vec::new()) };
        match hop {
            Hop::Model => self.answer_model(request),
            Hop::Alerts if request.url.contains("//confirm") => {
                let body = json!({ "verdict": self.conditions.verdict() }).to_string();
                let response = HttpResponse { body: Ok(body.into_bytes()), ..plain(200) };
                (self.conditions.draw_between(20, 200), response)
            }
            Hop::Alerts => {
                let status = self.conditions.alert_status(self.now_ms()).unwrap_or(204);
                (self.conditions.draw_between(20, 200), plain(status))
            }
            Hop::Sinks => (self.conditions.draw_between(5, 100), plain(200)),
            Hop::Legacy => {
                let is_failing = self.conditions.legacy_fault() == Some(LegacyFault::Error);
                let status = match self.refuses(request.authorization.as_deref()) {
                    _ if is_failing => 500,
                    true => 401,
                    false => 204,
                };
                (self.conditions.draw_between(3, 30), plain(status))
            }
            Hop::Objects => (0, plain(500)),
        }
    }

    fn draw_fault_of_model(&self, request: &OutgoingRequest, now_ms: u64) -> Option<ModelFault> {
        let of_release = self
            .scenario
            .model
            .filter(|(_, permille)| u64::from(*permille) > self.conditions.draw_between(0, 999));
        let fault = of_release.map(|(fault, _)| fault).or(self.conditions.draw_model_fault(now_ms));
        // A trap comes from a caller's text, not from the sentence of a probe.
        let is_probe = String::from_utf8_lossy(&request.body).contains(PROBE_TEXT);
        fault.filter(|fault| *fault != ModelFault::Trap || !is_probe)
    }

    fn answer_model(&self, request: &OutgoingRequest) -> (u64, HttpResponse) {
        let now_ms = self.now_ms();
        let fault = self.draw_fault_of_model(request, now_ms);
        let sha256 = match fault {
            Some(ModelFault::OtherModel) => OTHER_SHA256,
            _ => MODEL_SHA256,
        };
        let service_ms = match fault {
            Some(ModelFault::Slow) => self.conditions.draw_between(250, 900),
            _ => self.conditions.draw_between(2, 25),
        };
        let reply = |status, body: String| {
            let trap =
                (fault == Some(ModelFault::Trap)).then(|| ("x-model-fault", "trap".to_owned()));
            let headers = [("x-model-sha256", sha256.to_owned())].into_iter().chain(trap).collect();
            (service_ms, HttpResponse { status, headers, body: Ok(body.into_bytes()) })
        };
        if matches!(
            fault,
            Some(ModelFault::Trap | ModelFault::NonFinite | ModelFault::DimensionMismatch)
        ) {
            self.record.model_failed.set(true);
            let is_at_once = fault != Some(ModelFault::Trap);
            let is_open = is_at_once
                && self.record.in_force.borrow().last().is_some_and(|state| state.open_share() > 0);
            if is_open && request.url != "/health" && self.record.hard_failed_at_ms.get() == 0 {
                self.record.hard_failed_at_ms.set(now_ms);
            }
        }
        match fault {
            Some(ModelFault::Trap) => return reply(500, String::new()),
            Some(ModelFault::Refused) => return reply(429, String::new()),
            Some(ModelFault::Garbage) => return reply(200, "<html>".to_owned()),
            _ => {}
        }
        if request.url == "/health" {
            if sha256 == MODEL_SHA256 {
                self.record.healthy_at_ms.set(now_ms);
            }
            return reply(200, json!({"model": {"sha256": sha256}}).to_string());
        }
        let label = LABELS[self.conditions.draw_between(0, 7) as usize];
        let score = |name: &str| match fault {
            Some(ModelFault::NonFinite) => json!(null),
            _ if name == label => json!(0.65),
            _ => json!(0.05),
        };
        let scores: serde_json::Map<String, serde_json::Value> =
            LABELS.iter().map(|name| ((*name).to_owned(), score(name))).collect();
        let skipped = match fault {
            Some(ModelFault::DimensionMismatch) => {
                json!([{"route": "linear_head", "reason": "dimension_mismatch"}])
            }
            _ => json!([]),
        };
        let rule = (self.conditions.draw_between(0, 999) < 20)
            .then_some("tiebreak_anger_keyword_extended");
        reply(
            200,
            json!({
                "primary": label, "confidence": score(label), "scores": scores,
                "low_confidence": self.conditions.draw_between(0, 99) < 10,
                "route": "linear_head", "rule_applied": rule, "truncated": false,
                "model": "e1-small", "skipped": skipped,
            })
            .to_string(),
        )
    }

    /// Returns whether the legacy system refuses a caller, by its `authorization`.
    pub(crate) fn refuses(&self, authorization: Option<&str>) -> bool {
        self.scenario.strangers_permille.is_some() && authorization != Some(MEMBER)
    }

    /// Answers as the legacy system: a prediction for a classify call, an echo for others.
    pub(crate) fn answer_legacy(&self, head: &RequestHead, body: &[u8]) -> LegacyReply {
        let service_ms = self.conditions.draw_between(15, 110);
        let is_error =
            self.conditions.draw_between(0, 999) < u64::from(self.scenario.legacy_errors_permille);
        let fault = self.conditions.legacy_fault();
        let content_type = [("content-type", "application/json"), ("x-by", "legacy")];
        let response = if is_error || fault == Some(LegacyFault::Error) {
            StoredResponse::new(500, &[("x-by", "legacy")], b"legacy failed")
        } else if fault == Some(LegacyFault::NotJson) {
            StoredResponse::new(200, &[("content-type", "text/html")], b"<p>Bad day.</p>")
        } else if self.refuses(head.header("authorization")) {
            StoredResponse::new(401, &content_type, br#"{"error":"who are you?"}"#)
        } else if head.path() == "/predict" {
            let label = LABELS[self.conditions.draw_between(0, 7) as usize];
            let low_confidence = self.conditions.draw_between(0, 99) < 10;
            if body.len() > LEGACY_BODY_BYTES_MAX {
                StoredResponse::new(413, &content_type, br#"{"error":"too large"}"#)
            } else if has_text(body) {
                let body = format!(
                    r#"{{"route":"linear_head","prediction":{{"primary":"{label}","confidence":0.7,"low_confidence":{low_confidence},"rule_applied":null}}}}"#
                );
                StoredResponse::new(200, &content_type, body.as_bytes())
            } else {
                StoredResponse::new(400, &content_type, br#"{"error":"no text"}"#)
            }
        } else {
            StoredResponse::new(200, &content_type, body)
        };
        LegacyReply { service_ms, response }
    }
}

/// Returns whether a body is one that the legacy system can classify.
fn has_text(body: &[u8]) -> bool {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    body["text"].is_string()
}
