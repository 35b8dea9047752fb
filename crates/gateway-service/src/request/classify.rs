//! A classify call: assign a cohort, answer by the model or by the legacy system, and store one
//! event.
//!
//! Both cohorts are timed alike: from the moment the gateway starts the upstream request until the
//! end of the response that was read (until its headers if it is not read). The canary's time has the
//! check of the caller in it, because the caller waits for that, too. The span always holds an awaited
//! subrequest, because a deployed Worker's clock does not advance without one.

use super::admission::Admission;
use super::{GatewayRequest, legacy_error, log_event};
use crate::host::{BodyError, FetchError, Host, HttpRequest, Target};
use crate::request_host::{HeaderChange, RequestHost, StreamedResponse};
use crate::rollout;
use jeffrey_edge::gateway::api::error::ApiError;
use jeffrey_edge::gateway::events::event::{ClassifyEvent, UnreadableReason};
use jeffrey_edge::gateway::events::signed_id;
use jeffrey_edge::gateway::events::thresholds::Thresholds;
use jeffrey_edge::gateway::request::cohort_override::{self, OverrideError};
use jeffrey_edge::gateway::request::rules::{
    assignment_rules, canary_eligibility, is_selected_for_shadow,
};
use jeffrey_edge::gateway::request::subject::{self, ResolvedSubject};
use jeffrey_edge::gateway::upstream::auth_verdict::AuthVerdict;
use jeffrey_edge::gateway::upstream::circuit_breaker::PROBE_TEXT;
use jeffrey_edge::gateway::upstream::model::{
    FallbackReason, MODEL_FAULT_HEADER, ModelResponse, reports_trap,
};
use jeffrey_edge::gateway::{CLASSIFY_REQUEST_BYTES_MAX, LEGACY_RESPONSE_BYTES_MAX};
use jeffrey_edge::rollout::assignment::{
    Assignment, AssignmentReason, RequestFacts, assign_cohort,
};
use jeffrey_edge::rollout::hard_failure_report::{FailureSource, HardFailureReport};
use jeffrey_edge::rollout::release_state::{HardFailure, HardFailureKind};
use jeffrey_http_core::body::BodyRead;
use jeffrey_http_core::reply::HttpReply;
use jeffrey_mask::mask_preview;
use jeffrey_terms::{Cohort, InputText, ResponseId, UnixMs};

/// Largest model response that is read, in bytes: eight scores and names.
const MODEL_RESPONSE_BYTES_MAX: usize = 16 * 1024;

/// Header of the model worker with the sha256 of its model.
const MODEL_SHA256_HEADER: &str = "x-model-sha256";

/// Longest time limit, in milliseconds: a day, which no call lives. It stands for no limit.
const CALL_MS_MAX: u64 = 24 * 60 * 60_000;

/// A classify call that has its cohort.
struct AssignedCall {
    id: ResponseId,
    decision: Assignment,
    caller: Option<ResolvedSubject>,
    /// Reason why the requested cohort was not given; `None` if it was given or not requested.
    override_error: Option<OverrideError>,
    text: Option<InputText>,
    event: ClassifyEvent,
    /// `set-cookie` values of the legacy system's check that admitted the caller.
    check_cookies: Vec<String>,
}

impl<H: RequestHost> GatewayRequest<H> {
    /// Answers a classify call; `buffered` says whether its body is read or streamed.
    pub(super) async fn answer_classify(&self, buffered: bool) -> Result<H::Response, ApiError> {
        let received_at = self.host.now();
        // A buffered body declared a length within the limit.
        let body =
            if buffered { Some(self.read_body(CLASSIFY_REQUEST_BYTES_MAX).await?) } else { None };
        let mut call = self.assign(body.as_deref(), received_at).await?;
        let mut started_at = self.host.now();
        if call.decision.cohort == Cohort::Canary
            && let Some(text) = call.text.clone()
        {
            if self.admit(&mut call).await {
                match self.ask_model(&text, &call.event).await {
                    Ok(model_response) => {
                        return self.answer_by_model(call, &model_response, started_at);
                    }
                    Err(fallback) => call.event.record_fallback(fallback),
                }
            } else {
                started_at = self.host.now();
            }
        }
        self.answer_by_legacy(body, call, started_at).await
    }

    /// Returns whether the canary may answer the caller of a call assigned to it, and records the
    /// legacy system's verdict if it was asked.
    async fn admit(&self, call: &mut AssignedCall) -> bool {
        match self.ask_admission().await {
            Admission::NotAsked => true,
            Admission::Undeclared => false,
            Admission::Asked { verdict, cookies } => {
                call.event.record_auth_verdict(verdict);
                let is_admitted = verdict == AuthVerdict::Admitted;
                if is_admitted {
                    call.check_cookies = cookies;
                } else if call.decision.reason == AssignmentReason::OverrideToken {
                    call.override_error = Some(OverrideError::NotAdmitted);
                }
                is_admitted
            }
        }
    }

    /// Resolves the caller, checks the rate limits and assigns the call to a cohort.
    async fn assign(
        &self,
        body: Option<&[u8]>,
        received_at: UnixMs,
    ) -> Result<AssignedCall, ApiError> {
        let (host, settings) = (&self.host, &*self.settings);
        let request = body.map(|body| settings.contract.parse_request(body));
        let eligibility = canary_eligibility(request.as_ref(), &self.head, settings);
        let (text, user) = request.map_or((None, None), |request| (request.text, request.user));
        let caller = self.resolve_caller(user, true);
        let known_caller = caller.as_ref().filter(|caller| !caller.is_new);
        // Asked for every call, so that both cohorts lose the same calls as evidence.
        let is_over_limit = self.is_over_limit(known_caller.map(|caller| &caller.subject)).await;
        let effective = self.effective_share().await;
        let override_request = cohort_override::verify_override(&self.head, settings, received_at);
        let granted_override = override_request.as_ref().ok().and_then(Option::as_ref);
        let facts = RequestFacts {
            subject: caller.as_ref().map(|caller| &caller.subject),
            requested_cohort: granted_override.map(|(cohort, permission)| (*cohort, permission)),
            is_subject_trusted: caller.as_ref().is_some_and(|caller| caller.is_trusted),
            is_sticky: known_caller.is_some(),
            eligibility,
            is_over_limit,
        };
        let decision = assign_cohort(&facts, &assignment_rules(settings, effective));
        let subject_hash = settings.signing_keys.first().zip(caller.as_ref());
        let subject_hash = subject_hash
            .map(|(key, caller)| subject::hash_subject(&caller.subject, key, &settings.release));
        let id = ResponseId::new(received_at, host.random_bytes());
        let event = ClassifyEvent::new(
            id,
            received_at,
            &settings.release,
            &decision,
            subject_hash,
            Thresholds::new(
                effective.share,
                host.isolate().stage(),
                host.isolate().stable_p95_ms(received_at),
            ),
        );
        let override_error = cohort_override::override_error(&override_request, &decision);
        let check_cookies = Vec::new();
        Ok(AssignedCall { id, decision, caller, override_error, text, event, check_cookies })
    }

    /// Answers by the model's response, in the legacy system's format unless configured otherwise.
    fn answer_by_model(
        &self,
        mut call: AssignedCall,
        model_response: &ModelResponse,
        started_at: UnixMs,
    ) -> Result<H::Response, ApiError> {
        let latency_ms = elapsed_ms(&self.host, started_at);
        call.event.record_model_response(model_response, latency_ms);
        let (host, mut event) = (self.host.clone(), call.event.clone());
        let preview_text = self.preview_text(&call);
        self.host.wait_until(async move {
            if let Some(text) = preview_text {
                // The response leaves first.
                host.sleep(0).await;
                event.record_preview(mask_preview(text.expose()));
            }
            log_event(&host, &event).await;
        });
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("cache-control", "no-store".to_owned()),
        ];
        if let Some(origin) = self.head.foreign_origin() {
            headers.push(("access-control-allow-origin", origin.to_owned()));
            headers.push(("vary", "origin".to_owned()));
        }
        let body = model_response.to_body(self.settings.response_format, latency_ms);
        let response = self.host.new_response(&HttpReply { status: 200, headers, body });
        // These headers and bytes always make a response.
        let response = response.map_err(|_| ApiError::LegacyUnreachable)?;
        Ok(self.add_extras(response, &call, ("model", latency_ms)))
    }

    /// Answers by the legacy system, and completes and stores the event in the background.
    async fn answer_by_legacy(
        &self,
        body: Option<Vec<u8>>,
        mut call: AssignedCall,
        started_at: UnixMs,
    ) -> Result<H::Response, ApiError> {
        // A streamed body has no time limit: the client decides how long it takes.
        let timeout_ms = body.as_ref().and(self.settings.legacy_timeout_ms);
        let handed_on = self.hand_on(call.caller.as_ref());
        if let Some(changes) = &handed_on {
            self.host.prepare_forward(&self.forward.0, changes);
        }
        let changes = handed_on.as_ref().unwrap_or(&self.forward.1);
        let mut response = match self.fetch_legacy(changes, body.as_deref(), timeout_ms).await {
            Ok(response) => response,
            Err(error) => {
                let status = if error == FetchError::TimedOut { 504 } else { 502 };
                call.event.record_legacy_response(
                    status,
                    elapsed_ms(&self.host, started_at),
                    Err(UnreadableReason::ErrorStatus),
                );
                self.log_event(call.event);
                return Err(legacy_error(timeout_ms)(error));
            }
        };
        let head_ms = elapsed_ms(&self.host, started_at);
        // The response is split into two streams: one goes to the client, the other is read up to a
        // limit.
        let response_copy = UnreadableReason::find_in_head(
            response.status(),
            response.header("content-encoding").as_deref(),
            response.header("content-length").as_deref(),
        )
        .map_or_else(|| response.split().ok_or(UnreadableReason::ConnectionLost), Err);
        let status = response.status();
        // A call that the legacy system refused is not shown to the model, nor is its text.
        let is_accepted = (200..300).contains(&status);
        let shadow_text = self.select_shadow_text(&call).filter(|_| is_accepted);
        let preview_text = self.preview_text(&call).filter(|_| is_accepted);
        let marked_response = self.add_extras(response, &call, ("legacy", head_ms));
        let completion =
            LegacyCompletion { status, head_ms, started_at, shadow_text, preview_text };
        let record = record_legacy(self.host.clone(), call.event, response_copy, completion);
        self.host.wait_until(record);
        Ok(marked_response)
    }

    /// Returns the text for the event's preview, if previews are on.
    fn preview_text(&self, call: &AssignedCall) -> Option<InputText> {
        call.text.as_ref().filter(|_| self.settings.text_preview_enabled).cloned()
    }

    /// Returns the text for a shadow call to the model, for the drawn share of the calls assigned
    /// to stable. Returns `None` while the circuit breaker is open.
    fn select_shadow_text(&self, call: &AssignedCall) -> Option<InputText> {
        let random = u16::from_be_bytes(self.host.random_bytes());
        let is_selected = is_selected_for_shadow(random, self.settings.shadow_share);
        let is_breaker_open =
            self.host.isolate().with_breaker(|breaker| breaker.opened_by()).is_some();
        let is_stable = call.decision.cohort == Cohort::Stable;
        call.text.as_ref().filter(|_| is_selected && !is_breaker_open && is_stable).cloned()
    }

    /// Asks the model, unless this isolate's circuit breaker is open or the text is in quarantine.
    /// Records a failure of the model, and reports a hard one.
    async fn ask_model(
        &self,
        text: &InputText,
        event: &ClassifyEvent,
    ) -> Result<ModelResponse, FallbackReason> {
        let host = &self.host;
        let now = host.now();
        if host.isolate().with_reports(|reports| reports.ms_until_next(now)) == Some(0) {
            self.send_reports();
        }
        let (is_open, should_probe) = host.isolate().with_breaker(|breaker| {
            (breaker.opened_by().is_some(), breaker.start_probe_if_due(now))
        });
        if should_probe {
            host.wait_until(probe_model(host.clone()));
        }
        if is_open {
            return Err(FallbackReason::BreakerOpen);
        }
        if host.isolate().with_quarantine(|quarantine| quarantine.contains(text, now)) {
            self.report_trap(text, event);
            return Err(FallbackReason::Quarantined);
        }
        let model_response = call_model(host, text).await;
        match model_response {
            Err(FallbackReason::HardFailure(HardFailureKind::Trap)) => self.on_trap(text, event),
            Err(FallbackReason::HardFailure(kind))
                if record_hard_failure(host, kind, FailureSource::Anonymous) =>
            {
                self.send_reports();
            }
            Err(FallbackReason::Timeout) => {
                host.isolate().with_breaker(|breaker| breaker.record_timeout(host.now()));
            }
            _ => {}
        }
        model_response
    }

    /// Records the text of a trap, and probes the instance that has taken the place of the one that
    /// trapped.
    fn on_trap(&self, text: &InputText, event: &ClassifyEvent) {
        let host = &self.host;
        record_trap(host, text);
        self.report_trap(text, event);
        if host.isolate().begin_trap_probe(host.now()) {
            host.wait_until(probe_model(host.clone()));
        }
    }

    /// Reports that a subject met a text at which the model traps, once for each subject.
    fn report_trap(&self, text: &InputText, event: &ClassifyEvent) {
        let Some(subject) = event.subject_hash() else { return };
        let isolate = self.host.isolate();
        if isolate.with_quarantine(|quarantine| quarantine.record_subject(text, subject)) {
            let detected_at = self.host.now();
            let trap = HardFailure { kind: HardFailureKind::Trap, detected_at };
            queue_report(&self.host, trap, FailureSource::Subject(subject.to_owned()));
            self.send_reports();
        }
    }

    fn send_reports(&self) {
        let host = self.host.clone();
        self.host.wait_until(async move { rollout::send_reports(&host).await });
    }

    /// Adds the gateway's headers to a response: a signed id, the reason for a refused override, the
    /// cookies of the check, a new subject cookie and, if enabled, the debug headers.
    fn add_extras(
        &self,
        response: H::Response,
        call: &AssignedCall,
        (upstream, latency_ms): (&str, u64),
    ) -> H::Response {
        let settings = &self.settings;
        let cookies = call.check_cookies.iter();
        let mut changes: Vec<_> =
            cookies.map(|cookie| HeaderChange::Append("set-cookie", cookie.clone())).collect();
        if let Some(key) = settings.signing_keys.first() {
            changes.push(HeaderChange::Set("x-jeffrey-id", signed_id::sign(call.id, key)));
        }
        if let Some(error) = &call.override_error {
            changes.push(HeaderChange::Set("x-jeffrey-override", error.to_string()));
        }
        if settings.debug_headers_enabled {
            let cohort = call.decision.cohort.name().to_owned();
            changes.push(HeaderChange::Set("x-jeffrey-cohort", cohort));
            let release = settings.release.as_str().to_owned();
            changes.push(HeaderChange::Set("x-jeffrey-release", release));
            // Appended, because the legacy system may send this header itself.
            let timing = format!("{upstream};dur={latency_ms}");
            changes.push(HeaderChange::Append("server-timing", timing));
        }
        let response = response.change_headers(&changes);
        match &call.caller {
            Some(caller) if caller.needs_cookie => {
                self.add_subject_cookie(response, &caller.subject)
            }
            _ => response,
        }
    }
}

/// Values that complete the event of a call that the legacy system answered.
struct LegacyCompletion {
    status: u16,
    head_ms: u64,
    started_at: UnixMs,
    shadow_text: Option<InputText>,
    preview_text: Option<InputText>,
}

/// Reads the copy of a legacy response, makes the shadow call and stores the event.
async fn record_legacy<H: RequestHost>(
    host: H,
    mut event: ClassifyEvent,
    response_copy: Result<H::Response, UnreadableReason>,
    completion: LegacyCompletion,
) {
    let LegacyCompletion { status, head_ms, started_at, shadow_text, preview_text } = completion;
    let observed = match response_copy {
        Ok(copy) => match copy.read(LEGACY_RESPONSE_BYTES_MAX).await {
            BodyRead::Complete(body) => {
                host.settings().contract.parse_response(&body).ok_or(UnreadableReason::NotJson)
            }
            BodyRead::TooLarge => Err(UnreadableReason::TooLarge),
            BodyRead::Broken => Err(UnreadableReason::ConnectionLost),
        },
        Err(reason) => Err(reason),
    };
    let latency_ms = if observed.is_ok() { elapsed_ms(&host, started_at) } else { head_ms };
    event.record_legacy_response(status, latency_ms, observed.as_ref().map_err(|reason| *reason));
    if let Some(text) = preview_text {
        event.record_preview(mask_preview(text.expose()));
    }
    let shadow_started_at = host.now();
    let is_allowed = |text: &InputText| {
        !host.isolate().with_quarantine(|quarantine| quarantine.contains(text, shadow_started_at))
    };
    if let Some(text) = shadow_text.filter(is_allowed) {
        let model_response = call_model(&host, &text).await;
        if model_response == Err(FallbackReason::HardFailure(HardFailureKind::Trap)) {
            record_trap(&host, &text);
        }
        event.record_shadow(&model_response, elapsed_ms(&host, shadow_started_at));
    }
    log_event(&host, &event).await;
}

fn record_trap<H: Host>(host: &H, text: &InputText) {
    let (random, now) = (host.random_bytes(), host.now());
    host.isolate().with_quarantine(|quarantine| quarantine.record_trap(text, random, now));
}

/// Opens this isolate's breaker and queues a report. Returns `false` if a hard failure had opened the
/// breaker: that one was reported.
fn record_hard_failure<H: Host>(host: &H, kind: HardFailureKind, source: FailureSource) -> bool {
    let failure = HardFailure { kind, detected_at: host.now() };
    let is_first = host
        .isolate()
        .with_breaker(|breaker| breaker.record_hard_failure(kind, failure.detected_at));
    if is_first {
        queue_report(host, failure, source);
    }
    is_first
}

/// Queues a report for the rollout object; [`rollout::send_reports`] sends it.
fn queue_report<H: Host>(host: &H, failure: HardFailure, source: FailureSource) {
    let id = ResponseId::new(failure.detected_at, host.random_bytes()).to_string();
    let report = HardFailureReport { id, failure, source };
    host.isolate().with_reports(|reports| reports.push(report));
}

/// Sends the model a fixed sentence and closes the breaker if the response is valid. A hard failure
/// is reported unless one had opened the breaker.
async fn probe_model<H: Host>(host: H) {
    let Ok(text) = InputText::parse(PROBE_TEXT) else { return };
    let result = call_model(&host, &text).await;
    let has_report = match result {
        Err(FallbackReason::HardFailure(kind)) => {
            record_hard_failure(&host, kind, FailureSource::Probe)
        }
        _ => false,
    };
    host.isolate().with_breaker(|breaker| breaker.record_probe(result.is_ok(), host.now()));
    if has_report {
        rollout::send_reports(&host).await;
    }
}

/// Calls the model worker. Its time limit covers head and body together. A response of another model
/// than the validated one is a hard failure.
async fn call_model<H: Host>(host: &H, text: &InputText) -> Result<ModelResponse, FallbackReason> {
    let body = serde_json::json!({ "text": text.expose() }).to_string();
    let request = HttpRequest {
        target: Target::Model("/v1/classify"),
        method: "POST",
        headers: &[("content-type", "application/json")],
        body: body.as_bytes(),
        timeout_ms: host.settings().model_timeout_ms.unwrap_or(CALL_MS_MAX),
        response_bytes_max: MODEL_RESPONSE_BYTES_MAX,
    };
    let response = host.send(request).await.map_err(|error| match error {
        FetchError::Failed | FetchError::InvalidHeader => FallbackReason::Unavailable,
        FetchError::TimedOut => FallbackReason::Timeout,
    })?;
    if reports_trap(response.status, response.header(MODEL_FAULT_HEADER)) {
        return Err(FallbackReason::HardFailure(HardFailureKind::Trap));
    }
    let body = response.body.as_deref().map_err(|error| match error {
        BodyError::Broken => FallbackReason::Unavailable,
        BodyError::TimedOut => FallbackReason::Timeout,
        BodyError::TooLarge => FallbackReason::InvalidResponse,
    })?;
    let mut model_response = ModelResponse::parse(response.status, body)?;
    let sha256 = response.header(MODEL_SHA256_HEADER);
    match (host.isolate().model_sha256(), sha256) {
        (Some(validated), Some(sha256)) if *validated != *sha256 => {
            return Err(FallbackReason::HardFailure(HardFailureKind::OtherModel));
        }
        // A response of the model worker has the header.
        (Some(_), None) => return Err(FallbackReason::InvalidResponse),
        _ => {}
    }
    model_response.model_sha256 = sha256.map(str::to_owned);
    Ok(model_response)
}

fn elapsed_ms<H: Host>(host: &H, started_at: UnixMs) -> u64 {
    host.now().0.saturating_sub(started_at.0)
}
