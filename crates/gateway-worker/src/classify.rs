//! A classify call: assign a cohort, answer by the model or by the legacy system, and store one
//! event.
//!
//! Both cohorts are timed alike: from the moment the gateway starts the upstream request until the
//! end of the response that was read (until its headers if it is not read). The span always holds
//! an awaited subrequest, because a deployed Worker's clock does not advance without one.

use std::rc::Rc;

use worker::worker_sys::web_sys;

use super::host::WorkerHost;
use super::http::{self, BodyRead, FetchTarget, OutboundBody, OutboundRequest};
use super::{RequestContext, legacy_error, log_event};
use jeffrey_edge::gateway::api::error::ApiError;
use jeffrey_edge::gateway::events::event::{ClassifyEvent, UnreadableReason};
use jeffrey_edge::gateway::events::signed_id;
use jeffrey_edge::gateway::events::thresholds::Thresholds;
use jeffrey_edge::gateway::request::cohort_override::{self, OverrideError};
use jeffrey_edge::gateway::request::rules::assignment_rules;
use jeffrey_edge::gateway::request::subject::{self, ResolvedSubject};
use jeffrey_edge::gateway::upstream::circuit_breaker::PROBE_TEXT;
use jeffrey_edge::gateway::upstream::legacy::LegacyRequest as Request;
use jeffrey_edge::gateway::upstream::model::{FallbackReason, ModelResponse};
use jeffrey_edge::gateway::{CLASSIFY_REQUEST_BYTES_MAX, LEGACY_RESPONSE_BYTES_MAX};
use jeffrey_edge::rollout::assignment::{
    Assignment, CanaryEligibility, RequestFacts, assign_cohort,
};
use jeffrey_edge::rollout::release_state::{HardFailure, HardFailureKind};
use jeffrey_gateway_service::host::{FetchError, Host};
use jeffrey_gateway_service::rollout;
use jeffrey_mask::mask;
use jeffrey_terms::{Cohort, InputText, ResponseId, UnixMs};

/// Largest model response that is read, in bytes: eight scores and names.
const MODEL_RESPONSE_BYTES_MAX: usize = 16 * 1024;

/// Values for the headers that the gateway adds to a response.
struct ResponseExtras {
    id: ResponseId,
    decision: Assignment,
    caller: Option<ResolvedSubject>,
    /// Reason why the requested cohort was not given; `None` if it was given or not requested.
    override_error: Option<OverrideError>,
}

/// Answers a classify call; `buffered` says whether its body is read or streamed.
pub(super) async fn handle(
    context: RequestContext,
    buffered: bool,
) -> Result<web_sys::Response, ApiError> {
    let host = context.host.clone();
    let received_at = host.now();
    let settings = Rc::clone(&context.settings);
    // A buffered body declared a length within the limit.
    let body =
        if buffered { Some(context.read_body(CLASSIFY_REQUEST_BYTES_MAX).await?) } else { None };
    let request = body.as_deref().map(|body| settings.contract.parse_request(body));
    let foreign_origin = context.head.foreign_origin();
    let is_allowed = |origin| settings.cors_origins.iter().any(|allowed| allowed == origin);
    let (text, user, eligibility) = match request {
        None => (None, None, CanaryEligibility::Streamed),
        Some(Request { text: None, user }) => (None, user, CanaryEligibility::NoText),
        Some(Request { text, user })
            if foreign_origin.is_some_and(|origin| !is_allowed(origin)) =>
        {
            (text, user, CanaryEligibility::ForeignOrigin)
        }
        Some(Request { text, user }) => (text, user, CanaryEligibility::Eligible),
    };
    let caller = subject::resolve(&context.head, user, true, &settings, host.random_bytes());
    context
        .check_rate_limit(
            caller.as_ref().filter(|caller| !caller.is_new).map(|caller| &caller.subject),
        )
        .await?;

    let effective = context.effective_share().await;
    let override_request = cohort_override::verify_override(&context.head, &settings, received_at);
    let granted_override = override_request.as_ref().ok().and_then(Option::as_ref);
    let facts = RequestFacts {
        subject: caller.as_ref().map(|caller| &caller.subject),
        requested_cohort: granted_override.map(|(cohort, permission)| (*cohort, permission)),
        is_sticky: caller.as_ref().is_some_and(|caller| !caller.is_new),
        eligibility,
    };
    let decision = assign_cohort(&facts, &assignment_rules(&settings, effective));
    let subject_hash = settings.signing_keys.first().zip(caller.as_ref());
    let subject_hash = subject_hash
        .map(|(key, caller)| subject::hash_subject(&caller.subject, key, &settings.release));
    let id = ResponseId::new(received_at, host.random_bytes());
    let preview_text = text.as_ref().filter(|_| settings.text_preview_enabled);
    let preview = preview_text.map(|text| mask(text.expose()).preview());
    let thresholds = Thresholds::new(
        effective.share,
        host.isolate().stage(),
        host.isolate().stable_p95_ms(received_at),
    );
    let mut event = ClassifyEvent::new(
        id,
        received_at,
        &settings.release,
        &decision,
        subject_hash,
        preview,
        thresholds,
    );
    let override_error = cohort_override::override_error(&override_request, &decision);
    let extras = ResponseExtras { id, decision, caller, override_error };

    let started_at = host.now();
    if let (Cohort::Canary, Some(text)) = (decision.cohort, &text) {
        match answer_by_model(&context, text).await {
            Ok(model_response) => {
                let latency_ms = elapsed_ms(&host, started_at);
                event.record_model_response(&model_response, latency_ms);
                context.log_event(&event);
                let body = model_response.to_body(settings.response_format, latency_ms);
                let mut headers = vec![
                    ("content-type", "application/json".to_owned()),
                    ("cache-control", "no-store".to_owned()),
                ];
                if let Some(origin) = context.head.foreign_origin() {
                    headers.push(("access-control-allow-origin", origin.to_owned()));
                    headers.push(("vary", "origin".to_owned()));
                }
                let response = http::new_response(200, &headers, &body);
                // These headers and bytes always make a response.
                let response = response.map_err(|_| ApiError::LegacyUnreachable)?;
                return Ok(add_extras(&context, response, &extras, ("model", latency_ms)));
            }
            Err(fallback) => event.record_fallback(fallback),
        }
    }
    answer_by_legacy(context, body, text, extras, event, started_at).await
}

/// Answers by the legacy system, and completes and stores the event in the background.
async fn answer_by_legacy(
    context: RequestContext,
    body: Option<Vec<u8>>,
    text: Option<InputText>,
    extras: ResponseExtras,
    mut event: ClassifyEvent,
    started_at: UnixMs,
) -> Result<web_sys::Response, ApiError> {
    let (host, settings) = (context.host.clone(), Rc::clone(&context.settings));
    let timeout_ms = settings.legacy_timeout_ms;
    // A streamed body has no time limit: the client decides how long it takes.
    let head_timeout_ms = body.is_some().then_some(timeout_ms);
    let response = match context.fetch_legacy(body.as_deref(), head_timeout_ms).await {
        Ok(response) => response,
        Err(error) => {
            let status = if error == FetchError::TimedOut { 504 } else { 502 };
            event.record_legacy_response(
                status,
                elapsed_ms(&host, started_at),
                Err(UnreadableReason::ErrorStatus),
            );
            context.log_event(&event);
            return Err(legacy_error(timeout_ms)(error));
        }
    };
    let head_ms = elapsed_ms(&host, started_at);
    // The response is split into two streams: one goes to the client, the other is read up to a
    // limit.
    let response_copy = check_readable(&response)
        .and_then(|()| response.clone().map_err(|_| UnreadableReason::ConnectionLost));
    let status = response.status();
    let shadow_text = select_shadow_text(&host, &extras.decision, text);
    let marked_response = add_extras(&context, response, &extras, ("legacy", head_ms));
    context.worker_context.wait_until(async move {
        let observed = match response_copy {
            Ok(copy) => match http::read_body(copy.body(), LEGACY_RESPONSE_BYTES_MAX).await {
                BodyRead::Complete(body) => {
                    settings.contract.parse_response(&body).ok_or(UnreadableReason::NotJson)
                }
                BodyRead::TooLarge => Err(UnreadableReason::TooLarge),
                BodyRead::Broken => Err(UnreadableReason::ConnectionLost),
            },
            Err(reason) => Err(reason),
        };
        let latency_ms = if observed.is_ok() { elapsed_ms(&host, started_at) } else { head_ms };
        event.record_legacy_response(
            status,
            latency_ms,
            observed.as_ref().map_err(|reason| *reason),
        );
        if let Some(text) = shadow_text {
            let shadow_started_at = host.now();
            let model_response = call_model(&host, &text).await;
            event.record_shadow(&model_response, elapsed_ms(&host, shadow_started_at));
        }
        log_event(&host, &event).await;
    });
    Ok(marked_response)
}

/// Checks that a legacy response can be read beside its stream: a success, not compressed, not too
/// large.
fn check_readable(response: &web_sys::Response) -> Result<(), UnreadableReason> {
    let find_header = |name: &str| response.headers().get(name).ok().flatten();
    let length = find_header("content-length").and_then(|length| length.parse::<usize>().ok());
    if !response.ok() {
        return Err(UnreadableReason::ErrorStatus);
    }
    if find_header("content-encoding").is_some_and(|encoding| encoding != "identity") {
        return Err(UnreadableReason::Compressed);
    }
    if length.is_some_and(|length| length > LEGACY_RESPONSE_BYTES_MAX) {
        return Err(UnreadableReason::TooLarge);
    }
    Ok(())
}

/// Returns the text for a shadow call to the model, for the drawn share of the calls assigned to
/// stable. Returns `None` while the circuit breaker is open.
fn select_shadow_text(
    host: &WorkerHost,
    decision: &Assignment,
    text: Option<InputText>,
) -> Option<InputText> {
    let [high, low] = host.random_bytes::<2>();
    // 65,536 values modulo 10,000: points 0 to 5,535 come up 7 times in 65,536, the others 6 times,
    // which is 0.15 basis points less.
    let is_selected =
        u16::from_be_bytes([high, low]) % 10_000 < host.settings().shadow_share.basis_points();
    let is_breaker_open = host.isolate().with_breaker(|breaker| breaker.opened_by()).is_some();
    text.filter(|_| is_selected && !is_breaker_open && decision.cohort == Cohort::Stable)
}

/// Asks the model, unless this isolate's circuit breaker is open. A hard failure opens the breaker.
/// A probe that is due runs in the background.
async fn answer_by_model(
    context: &RequestContext,
    text: &InputText,
) -> Result<ModelResponse, FallbackReason> {
    let host = &context.host;
    let now = host.now();
    let (is_open, should_probe) = host
        .isolate()
        .with_breaker(|breaker| (breaker.opened_by().is_some(), breaker.start_probe_if_due(now)));
    if should_probe {
        context.worker_context.wait_until(probe_model(host.clone()));
    }
    if is_open {
        return Err(FallbackReason::BreakerOpen);
    }
    let model_response = call_model(host, text).await;
    if let Err(FallbackReason::HardFailure(kind)) = model_response {
        open_breaker(context, kind);
    }
    model_response
}

fn open_breaker(context: &RequestContext, kind: HardFailureKind) {
    let host = context.host.clone();
    let failure = HardFailure { kind, detected_at: host.now() };
    let is_first = host
        .isolate()
        .with_breaker(|breaker| breaker.record_hard_failure(kind, failure.detected_at));
    if is_first {
        context
            .worker_context
            .wait_until(async move { rollout::report_hard_failure(&host, failure).await });
    }
}

/// Sends the model a fixed sentence and closes the breaker if the response is valid.
async fn probe_model(host: WorkerHost) {
    let succeeded = match InputText::parse(PROBE_TEXT) {
        Ok(text) => call_model(&host, &text).await.is_ok(),
        Err(_) => false,
    };
    host.isolate().with_breaker(|breaker| breaker.record_probe(succeeded, host.now()));
}

async fn call_model(host: &WorkerHost, text: &InputText) -> Result<ModelResponse, FallbackReason> {
    const UNREACHABLE: FallbackReason = FallbackReason::HardFailure(HardFailureKind::Trap);
    let binding = http::service_binding(host.env(), "MODEL").ok_or(UNREACHABLE)?;
    let target = FetchTarget::Binding(binding);
    let headers = http::new_headers(&[("content-type", "application/json")]);
    let headers = headers.map_err(|_| UNREACHABLE)?;
    let body = serde_json::json!({ "text": text.expose() }).to_string();
    let outbound = OutboundRequest {
        method: "POST",
        url: "http://model/v1/classify",
        headers: &headers,
        body: OutboundBody::Buffered(body.as_bytes()),
    };
    let timeout_ms = host.settings().model_timeout_ms;
    let started_at = host.now();
    let response =
        outbound.send(&target, Some(timeout_ms)).await.map_err(|reason| match reason {
            FetchError::Failed | FetchError::InvalidHeader => UNREACHABLE,
            FetchError::TimedOut => FallbackReason::Timeout,
        })?;
    // The model's time limit covers head and body together.
    let remaining_ms = timeout_ms.saturating_sub(elapsed_ms(host, started_at));
    let body = http::with_timeout(
        remaining_ms,
        http::read_body(response.body(), MODEL_RESPONSE_BYTES_MAX),
    )
    .await;
    match body.ok_or(FallbackReason::Timeout)? {
        BodyRead::Complete(body) => {
            let mut model_response = ModelResponse::parse(response.status(), &body)?;
            model_response.model_sha256 = response.headers().get("x-model-sha256").ok().flatten();
            Ok(model_response)
        }
        BodyRead::TooLarge => Err(FallbackReason::InvalidResponse),
        BodyRead::Broken => Err(UNREACHABLE),
    }
}

/// Adds the gateway's headers to a response: a signed id, the reason for a refused override, a new
/// subject cookie and, if enabled, the debug headers.
fn add_extras(
    context: &RequestContext,
    response: web_sys::Response,
    extras: &ResponseExtras,
    (upstream, latency_ms): (&str, u64),
) -> web_sys::Response {
    let settings = &context.settings;
    let mut headers: Vec<(&str, String)> = Vec::new();
    headers.extend(
        settings.signing_keys.first().map(|key| ("x-jeffrey-id", signed_id::sign(extras.id, key))),
    );
    headers.extend(
        extras.override_error.as_ref().map(|error| ("x-jeffrey-override", error.to_string())),
    );
    if settings.debug_headers_enabled {
        headers.push(("x-jeffrey-cohort", extras.decision.cohort.name().to_owned()));
        headers.push(("x-jeffrey-release", settings.release.as_str().to_owned()));
    }
    let mut response = response;
    if !headers.is_empty()
        && let Ok(copy) = http::clone_mutable(&response)
    {
        for (name, value) in headers {
            let _ = copy.headers().set(name, &value);
        }
        if settings.debug_headers_enabled {
            // Appended, because the legacy system may send this header itself.
            let _ = copy.headers().append("server-timing", &format!("{upstream};dur={latency_ms}"));
        }
        response = copy;
    }
    match &extras.caller {
        Some(caller) if caller.is_new => context.add_subject_cookie(response, &caller.subject),
        _ => response,
    }
}

fn elapsed_ms(host: &WorkerHost, started_at: UnixMs) -> u64 {
    host.now().0.saturating_sub(started_at.0)
}
