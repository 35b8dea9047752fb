//! The gateway Worker: a fetch handler, a queue consumer, a cron trigger and two Durable Objects.
//!
//! It reads request heads, bounded bodies, variables, the clock and random bytes; it fetches,
//! streams and stores. The core, `jeffrey_edge::gateway`, decides what happens with a request. If
//! the model, the rollout object or the event store fails, a request that can go to the legacy
//! system goes there.

mod api;

mod classify;

mod host;

mod http;

mod objects;

use std::rc::Rc;

use worker::js_sys::{self, JsString};
use worker::wasm_bindgen::prelude::*;
use worker::worker_sys::ext::HeadersExt;
use worker::worker_sys::web_sys;
use worker::{
    Context, Env, MessageBatch, MessageExt, QueueRetryOptionsBuilder, Result, ScheduleContext,
    ScheduledEvent, event,
};

use self::host::WorkerHost;
use self::http::{BodyRead, FetchTarget, OutboundBody, OutboundRequest};
use jeffrey_edge::gateway::api::error::ApiError;
use jeffrey_edge::gateway::config::{GatewaySettings, SubjectCookiePolicy};
use jeffrey_edge::gateway::events::event::ClassifyEvent;
use jeffrey_edge::gateway::http::head::RequestHead;
use jeffrey_edge::gateway::request::classify::{RequestKind, request_kind};
use jeffrey_edge::gateway::request::forwarded_headers;
use jeffrey_edge::gateway::request::subject;
use jeffrey_edge::rollout::share_cache::{EffectiveShare, Refresh};
use jeffrey_gateway_service::host::{FetchError, Host};
use jeffrey_gateway_service::{events_queue, rollout};
use jeffrey_terms::Subject;
use jeffrey_wasm_host::{panics, random};

/// Period of both rate limiters in `wrangler.toml`, in seconds.
const RATE_LIMIT_PERIOD_S: u64 = 10;

#[event(start)]
fn start() {
    panics::install_panic_hook();
}

/// Wakes the rollout object once a minute, so that an object that lost its alarm sets it again.
#[event(scheduled)]
async fn scheduled(_event: ScheduledEvent, env: Env, _context: ScheduleContext) {
    rollout::wake_object(&WorkerHost::new(env)).await;
}

#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, context: Context) -> Result<web_sys::Response> {
    panics::reinstall_panic_hook_on_first_request();
    random::use_host_randomness();
    let context = RequestContext::new(request, env, context)?;
    match context.handle().await {
        Ok(response) => Ok(response),
        Err(error) => Ok(http::reply_to_response(&error.to_response())?),
    }
}

/// Hands a batch of events to the event store. Never fails: a message that its shard did not accept
/// is retried.
#[event(queue)]
async fn queue(batch: MessageBatch<String>, env: Env, _context: Context) -> Result<()> {
    let messages: Vec<_> = batch.raw_iter().collect();
    let texts: Vec<Option<String>> = messages
        .iter()
        .map(|message| message.body().dyn_into::<JsString>().map(String::from).ok())
        .collect();
    let outcome = events_queue::store_batch(&WorkerHost::new(env), &batch.queue(), &texts).await;
    let options = QueueRetryOptionsBuilder::new().with_delay_seconds(outcome.retry_delay_s).build();
    for (message, is_stored) in messages.iter().zip(outcome.stored) {
        if is_stored {
            message.ack();
        } else {
            message.retry_with_options(&options);
        }
    }
    Ok(())
}

/// One request, with everything that is needed to answer it.
struct RequestContext {
    request: web_sys::Request,
    host: WorkerHost,
    worker_context: Context,
    settings: Rc<GatewaySettings>,
    head: RequestHead,
    legacy_target: FetchTarget,
}

impl RequestContext {
    fn new(request: web_sys::Request, env: Env, context: Context) -> Result<Self> {
        let legacy = match http::service_binding(&env, "LEGACY") {
            Some(binding) => FetchTarget::Binding(binding),
            None => FetchTarget::Network,
        };
        let host = WorkerHost::new(env);
        let settings = host.settings();
        let head = RequestHead::new(request.method(), &request.url(), read_headers(&request));
        let head = head.ok_or_else(|| worker::Error::RustError("no absolute URL".to_owned()))?;
        Ok(Self { request, host, worker_context: context, settings, head, legacy_target: legacy })
    }

    async fn handle(self) -> std::result::Result<web_sys::Response, ApiError> {
        match request_kind(&self.head, &self.settings) {
            RequestKind::Admin(path) => {
                let path = path.to_owned();
                api::handle(&self, &path).await
            }
            _ if self.has_no_legacy() => Err(ApiError::LegacyNotConfigured),
            RequestKind::Classify { buffered } => classify::handle(self, buffered).await,
            RequestKind::Proxy => self.proxy().await,
        }
    }

    fn has_no_legacy(&self) -> bool {
        matches!(self.legacy_target, FetchTarget::Network) && self.settings.legacy_origin.is_none()
    }

    /// Streams the request to the legacy system and its response to the caller. Adds a subject
    /// cookie if every response gets one, except to a WebSocket upgrade (status 101).
    async fn proxy(&self) -> std::result::Result<web_sys::Response, ApiError> {
        let response = self.fetch_legacy(None, None).await.map_err(legacy_error(0))?;
        if self.settings.subject_cookie != SubjectCookiePolicy::All || response.status() == 101 {
            return Ok(response);
        }
        let caller =
            subject::resolve(&self.head, None, false, &self.settings, self.host.random_bytes());
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
    ) -> std::result::Result<web_sys::Response, FetchError> {
        let origin = self.settings.legacy_origin.as_deref();
        // A service binding leads to its Worker whatever the host; this name is used if no origin
        // is set.
        let origin = match &self.legacy_target {
            FetchTarget::Binding(_) => origin.unwrap_or("http://legacy"),
            FetchTarget::Network => origin.ok_or(FetchError::Failed)?,
        };
        let changes = forwarded_headers::header_changes(&self.head, self.client_address());
        let headers = http::apply_header_changes(&self.request.headers(), &changes)?;
        let body = match (buffered, self.request.body()) {
            (Some(bytes), _) => OutboundBody::Buffered(bytes),
            (None, Some(_)) => OutboundBody::Stream(&self.request),
            (None, None) => OutboundBody::None,
        };
        let url = format!("{origin}{}", self.head.target);
        let outbound =
            OutboundRequest { method: &self.head.method, url: &url, headers: &headers, body };
        outbound.send(&self.legacy_target, timeout_ms).await.map(strip_subject_cookie)
    }

    /// Reads the whole body, of at most `bytes_max` bytes.
    async fn read_body(&self, bytes_max: usize) -> std::result::Result<Vec<u8>, ApiError> {
        match http::read_body(self.request.body(), bytes_max).await {
            BodyRead::Complete(body) => Ok(body),
            // The connection is gone, so no caller reads this reply.
            BodyRead::Broken => Err(ApiError::InvalidBody { expected: "complete" }),
            BodyRead::TooLarge => Err(ApiError::BodyTooLarge { limit: bytes_max }),
        }
    }

    /// Returns the caller's IP address as the platform reports it.
    fn client_address(&self) -> Option<&str> {
        self.head.header("cf-connecting-ip")
    }

    /// Adds a subject cookie, unless a shared cache may give the same response to other callers.
    fn add_subject_cookie(
        &self,
        response: web_sys::Response,
        subject: &Subject,
    ) -> web_sys::Response {
        let headers = response.headers();
        let header = |name: &str| headers.get(name).ok().flatten();
        let cache_control = header("cache-control");
        let has_expires = header("expires").is_some();
        if !subject::may_set_cookie(&self.head.method, cache_control.as_deref(), has_expires) {
            return response;
        }
        let cookie =
            subject::format_subject_cookie(subject, &self.head, self.settings.subject_cookie_days);
        let Ok(copy) = http::clone_mutable(&response) else { return response };
        let _ = copy.headers().append("set-cookie", &cookie);
        copy
    }

    /// Stores an event in the background: the response does not wait for it.
    fn log_event(&self, event: &ClassifyEvent) {
        let (host, event) = (self.host.clone(), event.clone());
        self.worker_context.wait_until(async move { log_event(&host, &event).await });
    }

    /// Refuses a caller that sends too many requests, counted by subject and by address, both
    /// hashed. Without a signing key or a limiter there is no limit. A limiter that fails lets the
    /// request pass.
    async fn check_rate_limit(
        &self,
        subject: Option<&Subject>,
    ) -> std::result::Result<(), ApiError> {
        let (true, Some(key)) =
            (self.settings.rate_limits_enabled, self.settings.signing_keys.first())
        else {
            return Ok(());
        };
        let subject =
            subject.map(|subject| subject::hash_subject(subject, key, &self.settings.release));
        let address = self.client_address().map(|address| subject::hash_address(address, key));
        for (name, caller) in [("SUBJECT_LIMIT", subject), ("ADDRESS_LIMIT", address)] {
            let (Some(caller), Ok(limiter)) = (caller, self.host.env().rate_limiter(name)) else {
                continue;
            };
            if limiter.limit(caller).await.is_ok_and(|outcome| !outcome.success) {
                return Err(ApiError::RateLimited { per_s: RATE_LIMIT_PERIOD_S });
            }
        }
        Ok(())
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
                    let refresh = async move { rollout::refresh_share(&host).await };
                    self.worker_context.wait_until(refresh);
                }
                effective
            }
        }
    }
}

/// Stores an event, and writes it as one line to the Worker's log if event logging is enabled. An
/// event holds no subject, at most a keyed hash of one.
async fn log_event(host: &WorkerHost, event: &ClassifyEvent) {
    let Ok(event) = serde_json::to_string(event) else { return };
    if host.settings().logs_events_to_console {
        host.log(&event);
    }
    events_queue::enqueue_event(host, &event).await;
}

/// Removes the subject cookie from a legacy response, because only this gateway issues it.
/// Everything else stays as it is.
fn strip_subject_cookie(response: web_sys::Response) -> web_sys::Response {
    let cookies = response.headers().get_all("set-cookie");
    let cookies: Vec<String> = cookies.iter().filter_map(|cookie| cookie.as_string()).collect();
    if !cookies.iter().any(|cookie| subject::sets_subject_cookie(cookie)) {
        return response;
    }
    let Ok(copy) = http::clone_mutable(&response) else { return response };
    let _ = copy.headers().delete("set-cookie");
    for cookie in cookies.iter().filter(|cookie| !subject::sets_subject_cookie(cookie)) {
        let _ = copy.headers().append("set-cookie", cookie);
    }
    copy
}

/// Maps a failed request to the legacy system to the error that the caller gets.
fn legacy_error(timeout_ms: u64) -> impl Fn(FetchError) -> ApiError {
    move |error| match error {
        FetchError::Failed | FetchError::InvalidHeader => ApiError::LegacyUnreachable,
        FetchError::TimedOut => ApiError::LegacyTimeout { timeout_ms },
    }
}

fn read_headers(request: &web_sys::Request) -> Vec<(String, String)> {
    let entries = js_sys::try_iter(&request.headers()).ok().flatten();
    let to_pair = |entry: JsValue| {
        let entry = js_sys::Array::from(&entry);
        Some((entry.get(0).as_string()?, entry.get(1).as_string()?))
    };
    let mut headers: Vec<_> =
        entries.into_iter().flatten().filter_map(|entry| to_pair(entry.ok()?)).collect();
    // The platform overwrites `accept-encoding` with its own list and keeps the client's in
    // `cf.clientAcceptEncoding`.
    let property = |object: &JsValue, name: &str| js_sys::Reflect::get(object, &name.into()).ok();
    if let Some(cf) = property(request, "cf").filter(JsValue::is_object) {
        let accept_encoding =
            property(&cf, "clientAcceptEncoding").and_then(|value| value.as_string());
        headers.retain(|(name, _)| name != "accept-encoding");
        let accept_encoding = accept_encoding.filter(|value| !value.is_empty());
        headers.extend(accept_encoding.map(|value| ("accept-encoding".to_owned(), value)));
    }
    headers
}
