//! One incoming request: proxied, answered as a classify call, or answered by the gateway's own API.
//!
//! The core decides what happens with a request; this module reads, calls and sends. If the model,
//! the rollout object or the event store fails, a request that can go to the legacy system goes
//! there.

mod admin;

mod classify;

use std::rc::Rc;

use crate::host::{FetchError, Host};
use crate::request_host::{HeaderChange, LegacyFetch, RateLimiter, RequestHost, StreamedResponse};
use crate::{events_queue, rollout};
use jeffrey_edge::gateway::api::error::ApiError;
use jeffrey_edge::gateway::config::{GatewaySettings, SubjectCookiePolicy};
use jeffrey_edge::gateway::events::event::{ClassifyEvent, UnreadableReason};
use jeffrey_edge::gateway::events::thresholds::Thresholds;
use jeffrey_edge::gateway::request::classify::{RequestKind, request_kind};
use jeffrey_edge::gateway::request::forwarded_headers::{self, HeaderChanges};
use jeffrey_edge::gateway::request::subject;
use jeffrey_edge::rollout::assignment::Assignment;
use jeffrey_edge::rollout::share_cache::{EffectiveShare, Refresh};
use jeffrey_http_core::body::BodyRead;
use jeffrey_http_core::head::RequestHead;
use jeffrey_terms::{ResponseId, Subject};

/// Period of both rate limiters in `wrangler.toml`, in seconds.
const RATE_LIMIT_PERIOD_S: u64 = 10;

/// Origin in the URL of a request to a legacy system behind a service binding, if none is set: the
/// binding leads to its Worker whatever the host.
const BOUND_LEGACY_ORIGIN: &str = "http://legacy";

/// One incoming request, with everything that is needed to answer it.
pub struct GatewayRequest<H> {
    host: H,
    settings: Rc<GatewaySettings>,
    head: RequestHead,
    /// URL and header changes of the request if it is forwarded.
    forward: (String, HeaderChanges),
}

impl<H: RequestHost> GatewayRequest<H> {
    /// Creates a request from its head; the host has its body.
    pub fn new(host: H, head: RequestHead) -> Self {
        let settings = host.settings();
        let origin = settings.legacy_origin.as_deref().unwrap_or(BOUND_LEGACY_ORIGIN);
        let url = format!("{origin}{}", head.target);
        let changes = forwarded_headers::header_changes(&head, client_address(&head));
        Self { host, settings, head, forward: (url, changes) }
    }

    /// Answers the request; a failure becomes a response with its status.
    ///
    /// # Errors
    /// Returns [`FetchError::Failed`] if the platform refuses the response that says what failed.
    pub async fn respond(&self) -> Result<H::Response, FetchError> {
        match self.respond_or_fail().await {
            Ok(response) => Ok(response),
            Err(error) => {
                let mut response = error.to_response();
                if self.head.method == "HEAD" {
                    response.body.clear();
                }
                self.host.new_response(&response)
            }
        }
    }

    async fn respond_or_fail(&self) -> Result<H::Response, ApiError> {
        let has_no_legacy =
            self.settings.legacy_origin.is_none() && !self.host.has_legacy_binding();
        match request_kind(&self.head, &self.settings) {
            RequestKind::Admin(path) => self.answer_admin(path).await,
            _ if has_no_legacy => Err(ApiError::LegacyNotConfigured),
            kind => {
                let (url, changes) = &self.forward;
                self.host.prepare_forward(url, changes);
                match kind {
                    RequestKind::Classify { buffered } => self.answer_classify(buffered).await,
                    _ => self.proxy().await,
                }
            }
        }
    }

    /// Streams the request to the legacy system and its response to the caller. Adds a subject
    /// cookie if every response gets one, except to a WebSocket upgrade (status 101).
    async fn proxy(&self) -> Result<H::Response, ApiError> {
        let response = self.fetch_legacy(None, None).await.map_err(legacy_error(None))?;
        if self.settings.subject_cookie != SubjectCookiePolicy::All || response.status() == 101 {
            return Ok(response);
        }
        let random = self.host.random_bytes();
        let caller = subject::resolve(&self.head, None, false, &self.settings, random);
        match caller.filter(|caller| caller.is_new) {
            Some(caller) => Ok(self.add_subject_cookie(response, &caller.subject)),
            None => Ok(response),
        }
    }

    /// Sends the request to the legacy system, with the buffered body or with the incoming stream.
    /// `timeout_ms` limits the wait for the response's head; `None` sets no limit.
    async fn fetch_legacy(
        &self,
        buffered: Option<&[u8]>,
        timeout_ms: Option<u64>,
    ) -> Result<H::Response, FetchError> {
        let (url, header_changes) = &self.forward;
        let fetch = LegacyFetch { url, header_changes, buffered, timeout_ms };
        self.host.fetch_legacy(fetch).await.map(strip_subject_cookie)
    }

    /// Reads the whole body, of at most `bytes_max` bytes.
    async fn read_body(&self, bytes_max: usize) -> Result<Vec<u8>, ApiError> {
        match self.host.read_body(bytes_max).await {
            BodyRead::Complete(body) => Ok(body),
            // The connection is gone, so no caller reads this reply.
            BodyRead::Broken => Err(ApiError::InvalidBody { expected: "complete" }),
            BodyRead::TooLarge => Err(ApiError::BodyTooLarge { limit: bytes_max }),
        }
    }

    /// Adds a subject cookie, unless a shared cache may give the same response to other callers.
    fn add_subject_cookie(&self, response: H::Response, subject: &Subject) -> H::Response {
        let cache_control = response.header("cache-control");
        let has_expires = response.header("expires").is_some();
        if !subject::may_set_cookie(&self.head.method, cache_control.as_deref(), has_expires) {
            return response;
        }
        let days = self.settings.subject_cookie_days;
        let cookie = subject::format_subject_cookie(subject, &self.head, days);
        response.change_headers(&[HeaderChange::Append("set-cookie", cookie)])
    }

    /// Stores an event in the background: the response does not wait for it.
    fn log_event(&self, event: ClassifyEvent) {
        let host = self.host.clone();
        self.host.wait_until(async move { log_event(&host, &event).await });
    }

    /// Returns whether a caller sends too many requests. One limit counts by address, the other by
    /// subject and address together: a caller cannot use up the limit of a subject at another address.
    /// Both keys are hashes. Without a signing key there is no limit.
    async fn is_over_limit(&self, subject: Option<&Subject>) -> bool {
        let (true, Some(key)) =
            (self.settings.rate_limits_enabled, self.settings.signing_keys.first())
        else {
            return false;
        };
        let address = client_address(&self.head).map(|address| subject::hash_address(address, key));
        let subject = subject.map(|subject| {
            let hash = subject::hash_subject(subject, key, &self.settings.release);
            format!("{hash}@{}", address.as_deref().unwrap_or_default())
        });
        for (limiter, caller) in [(RateLimiter::Subject, subject), (RateLimiter::Address, address)]
        {
            if let Some(caller) = caller
                && self.host.is_over_limit(limiter, caller).await
            {
                return true;
            }
        }
        false
    }

    /// Returns the effective share. Asks the rollout object first if the cached share is missing or
    /// too old, and in the background if it is no longer fresh.
    async fn effective_share(&self) -> EffectiveShare {
        let isolate = self.host.isolate();
        let effective = isolate.effective_share(self.host.now());
        match effective.refresh {
            Refresh::Fresh => effective,
            Refresh::Blocking => {
                rollout::refresh_share(&self.host).await;
                isolate.effective_share(self.host.now())
            }
            Refresh::Background => {
                if isolate.begin_background_refresh(self.host.now()) {
                    let host = self.host.clone();
                    self.host.wait_until(async move { rollout::refresh_share(&host).await });
                }
                effective
            }
        }
    }
}

/// Stores the event of a classify call that the platform answered with `status` after `latency_ms`
/// milliseconds, because this program failed. Any other request leaves no event.
pub async fn record_gateway_fault<H: RequestHost>(
    host: &H,
    head: &RequestHead,
    status: u16,
    latency_ms: u64,
) {
    let settings = host.settings();
    if !matches!(request_kind(head, &settings), RequestKind::Classify { .. }) {
        return;
    }
    let now = host.now();
    let isolate = host.isolate();
    let thresholds = Thresholds::new(
        isolate.effective_share(now).share,
        isolate.stage(),
        isolate.stable_p95_ms(now),
    );
    let id = ResponseId::new(now, host.random_bytes());
    let decision = Assignment::GATEWAY_FAULT;
    let mut event = ClassifyEvent::new(id, now, &settings.release, &decision, None, thresholds);
    event.record_legacy_response(status, latency_ms, Err(UnreadableReason::GatewayFault));
    log_event(host, &event).await;
}

/// Returns the caller's IP address as the platform reports it.
fn client_address(head: &RequestHead) -> Option<&str> {
    head.header("cf-connecting-ip")
}

/// Stores an event, and writes it as one line to the Worker's log if event logging is enabled. An
/// event holds no subject, at most a keyed hash of one.
async fn log_event<H: Host>(host: &H, event: &ClassifyEvent) {
    let Ok(event) = serde_json::to_string(event) else { return };
    if host.settings().logs_events_to_console {
        host.log(&event);
    }
    events_queue::enqueue_event(host, &event).await;
}

/// Removes the subject cookie from a legacy response, because only this gateway issues it.
/// Everything else stays as it is.
fn strip_subject_cookie<R: StreamedResponse>(response: R) -> R {
    let cookies = response.cookies();
    if !cookies.iter().any(|cookie| subject::sets_subject_cookie(cookie)) {
        return response;
    }
    let kept = cookies.into_iter().filter(|cookie| !subject::sets_subject_cookie(cookie));
    let mut changes = vec![HeaderChange::Remove("set-cookie")];
    changes.extend(kept.map(|cookie| HeaderChange::Append("set-cookie", cookie)));
    response.change_headers(&changes)
}

/// Maps a failed request to the legacy system, with its time limit, to the error that the caller
/// gets.
fn legacy_error(timeout_ms: Option<u64>) -> impl Fn(FetchError) -> ApiError {
    move |error| match (error, timeout_ms) {
        (FetchError::TimedOut, Some(timeout_ms)) => ApiError::LegacyTimeout { timeout_ms },
        _ => ApiError::LegacyUnreachable,
    }
}
