//! One incoming request: proxied, answered as a classify call, or answered by the gateway's own API.
//!
//! The core decides what happens with a request; this module reads, calls and sends. If the model,
//! the rollout object or the event store fails, a request that can go to the legacy system goes
//! there.

mod admin;

mod admission;

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
use jeffrey_edge::gateway::request::client_address::client_address;
use jeffrey_edge::gateway::request::forwarded_headers::{self, HeaderChanges};
use jeffrey_edge::gateway::request::handed_on::{self, CALLER_HEADER};
use jeffrey_edge::gateway::request::subject::{self, CallerFacts, ResolvedSubject};
use jeffrey_edge::gateway::request::subject_trust::is_subject_trusted;
use jeffrey_edge::rollout::assignment::Assignment;
use jeffrey_edge::rollout::bucket::bucket_salt_name;
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
    /// Subject that the gateway before this one in a chain hands on.
    handed_on_subject: Option<ResolvedSubject>,
}

impl<H: RequestHost> GatewayRequest<H> {
    /// Creates a request from its head; the host has its body. If a gateway before this one hands on who
    /// calls, the head gets the origin that the client called.
    pub fn new(host: H, mut head: RequestHead) -> Self {
        let settings = host.settings();
        let header = head.header(CALLER_HEADER).filter(|_| !settings.chain_keys.is_empty());
        let handed_on =
            header.and_then(|header| handed_on::verify(header, &settings.chain_keys, host.now()));
        let handed_on_subject = handed_on.and_then(|caller| {
            (head.scheme, head.host) = (caller.scheme, caller.host);
            caller.subject
        });
        let url = format!("{}{}", legacy_origin(&settings), head.target);
        let address = client_address(&head, &settings.client_address_header);
        let changes = forwarded_headers::header_changes(&head, address);
        let mut request = Self { host, settings, head, forward: (url, changes), handed_on_subject };
        if let Some(changes) = request.hand_on(None) {
            request.forward.1 = changes;
        }
        request
    }

    /// Returns the header changes of a request that is forwarded to the next gateway of a chain; `None` if
    /// the legacy system is no gateway.
    fn hand_on(&self, caller: Option<&ResolvedSubject>) -> Option<HeaderChanges> {
        let key = self.settings.chain_keys.first().filter(|_| self.host.has_legacy_binding())?;
        let header = handed_on::sign(&self.head, caller, key, self.host.now());
        let mut changes = self.forward.1.clone();
        changes.set.retain(|(name, _)| *name != CALLER_HEADER);
        changes.set.push((CALLER_HEADER, header));
        Some(changes)
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
        let changes = &self.forward.1;
        let response = self.fetch_legacy(changes, None, None).await;
        let response = response.map_err(legacy_error(None))?;
        if self.settings.subject_cookie != SubjectCookiePolicy::All || response.status() == 101 {
            return Ok(response);
        }
        match self.resolve_caller(None, false).filter(|caller| caller.needs_cookie) {
            Some(caller) => Ok(self.add_subject_cookie(response, &caller.subject)),
            None => Ok(response),
        }
    }

    fn client_address(&self) -> Option<&str> {
        client_address(&self.head, &self.settings.client_address_header)
    }

    /// Returns the caller's subject; `user` is the one in the body.
    fn resolve_caller(&self, user: Option<Subject>, is_classify: bool) -> Option<ResolvedSubject> {
        if let Some(caller) = &self.handed_on_subject {
            return Some(caller.clone());
        }
        let (host, settings, head) = (&self.host, &*self.settings, &self.head);
        let certificate = host.client_certificate();
        let is_trusted = is_subject_trusted(head, certificate.as_ref(), settings);
        let facts = CallerFacts { head, user, is_classify, is_trusted };
        subject::resolve(facts, settings, host.random_bytes(), host.now())
    }

    /// Sends the request to the legacy system, with the buffered body or with the incoming stream.
    /// `timeout_ms` limits the wait for the response's head; `None` sets no limit.
    async fn fetch_legacy(
        &self,
        header_changes: &HeaderChanges,
        buffered: Option<&[u8]>,
        timeout_ms: Option<u64>,
    ) -> Result<H::Response, FetchError> {
        let url = &self.forward.0;
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
        let now = self.host.now();
        let cookie = subject::format_subject_cookie(subject, &self.head, days, now);
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
        let address = self.client_address().map(|address| subject::hash_address(address, key));
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

    /// Returns the effective share; the release is disabled if it draws its subjects by another salt than
    /// this gateway has, because subjects would change their cohort.
    async fn effective_share(&self) -> EffectiveShare {
        let effective = self.refreshed_share().await;
        EffectiveShare { disabled: effective.disabled || self.has_other_bucket_salt(), ..effective }
    }

    fn has_other_bucket_salt(&self) -> bool {
        let name = bucket_salt_name(self.settings.bucket_salt.as_ref());
        self.host.isolate().has_other_bucket_salt(&name)
    }

    /// Returns the share of the last snapshot. Asks the rollout object first if the cached share is missing or
    /// too old, and in the background if it is no longer fresh.
    async fn refreshed_share(&self) -> EffectiveShare {
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

/// Returns the origin of the legacy system's URLs.
fn legacy_origin(settings: &GatewaySettings) -> &str {
    settings.legacy_origin.as_deref().unwrap_or(BOUND_LEGACY_ORIGIN)
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
