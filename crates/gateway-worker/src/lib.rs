//! The gateway Worker: a fetch handler, a queue consumer, a cron trigger and two Durable Objects.
//!
//! It reads request heads, bounded bodies, variables, the clock and random bytes; it fetches,
//! streams and stores. The core, `jeffrey_edge::gateway`, decides what happens with a request. If
//! the model, the rollout object or the event store fails, a request that can go to the legacy
//! system goes there.

mod classify;

mod events_queue;

mod http;

mod event_store;

mod event_store_object;

mod api;

mod rollout;

mod rollout_object;

mod sql;

use std::cell::RefCell;
use std::rc::Rc;

use worker::js_sys;
use worker::wasm_bindgen::prelude::*;
use worker::worker_sys::ext::HeadersExt;
use worker::worker_sys::web_sys;
use worker::{
    Context, Date, Env, Result, ScheduleContext, ScheduledEvent, console_error, console_log, event,
};

use self::http::{BodyRead, FetchError, FetchTarget, OutboundBody, OutboundRequest};
use jeffrey_edge::gateway::api::error::ApiError;
use jeffrey_edge::gateway::config::{
    GatewaySettings, GatewayVariables, RENAMED_VARIABLES, SubjectCookiePolicy, VARIABLES,
};
use jeffrey_edge::gateway::events::event::ClassifyEvent;
use jeffrey_edge::gateway::http::head::RequestHead;
use jeffrey_edge::gateway::request::classify::{RequestKind, request_kind};
use jeffrey_edge::gateway::request::forwarded_headers;
use jeffrey_edge::gateway::request::subject;
use jeffrey_edge::gateway::upstream::circuit_breaker::CircuitBreaker;
use jeffrey_edge::rollout::share_cache::{CachedShare, EffectiveShare, Refresh, effective_share};
use jeffrey_terms::{Subject, UnixMs};
use jeffrey_wasm_host::{panics, random};

/// State of one isolate. A borrow never lasts across an `.await`.
#[derive(Default)]
struct IsolateState {
    /// Parsed once: variables do not change while an isolate lives.
    settings: Option<Rc<GatewaySettings>>,
    cached_share: Option<CachedShare>,
    /// Time of the last refresh that failed; a later success does not clear it.
    refresh_failed_at: Option<UnixMs>,
    /// Start of the background refresh under way; `None` if there is no such refresh.
    refresh_started_at: Option<UnixMs>,
    breaker: CircuitBreaker,
    /// Events that this isolate could not store and has not reported yet.
    lost_events: u64,
    /// Index of the plan's stage in the last snapshot; `None` while no plan moves the share.
    stage: Option<u32>,
    /// Stable's p95 latency in milliseconds, and when this isolate received it.
    stable_p95: Option<(f64, UnixMs)>,
}

thread_local! {
    static ISOLATE_STATE: RefCell<IsolateState> = RefCell::default();
}

/// Age in milliseconds at which a background refresh no longer blocks another one: the request that
/// started it may have died.
const REFRESH_TIMEOUT_MS: u64 = 2_000;

/// Period of both rate limiters in `wrangler.toml`, in seconds.
const RATE_LIMIT_PERIOD_S: u64 = 10;

#[event(start)]
fn start() {
    panics::install_panic_hook();
}

/// Wakes the rollout object once a minute, so that an object that lost its alarm sets it again.
#[event(scheduled)]
async fn scheduled(_event: ScheduledEvent, env: Env, _context: ScheduleContext) {
    rollout::wake_object(&env).await;
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

/// One request, with everything that is needed to answer it.
struct RequestContext {
    request: web_sys::Request,
    env: Env,
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
        let settings = cached_settings(&env);
        let head = RequestHead::new(request.method(), &request.url(), read_headers(&request));
        let head = head.ok_or_else(|| worker::Error::RustError("no absolute URL".to_owned()))?;
        Ok(Self { request, env, worker_context: context, settings, head, legacy_target: legacy })
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
        let caller = subject::resolve(&self.head, None, false, &self.settings, random_bytes());
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
        let (env, settings, event) = (self.env.clone(), Rc::clone(&self.settings), event.clone());
        self.worker_context.wait_until(async move { log_event(env, &settings, &event).await });
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
            let (Some(caller), Ok(limiter)) = (caller, self.env.rate_limiter(name)) else {
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
        let effective = cached_effective_share();
        let now = now();
        let refresh = || rollout::refresh_share(self.env.clone(), Rc::clone(&self.settings));
        match effective.refresh {
            Refresh::Fresh => effective,
            Refresh::Blocking => {
                refresh().await;
                cached_effective_share()
            }
            Refresh::Background => {
                let may_refresh = ISOLATE_STATE.with_borrow_mut(|state| {
                    let may_refresh = state.refresh_started_at.is_none_or(|started_at| {
                        now.0.abs_diff(started_at.0) >= REFRESH_TIMEOUT_MS
                    });
                    state.refresh_started_at =
                        if may_refresh { Some(now) } else { state.refresh_started_at };
                    may_refresh
                });
                if may_refresh {
                    self.worker_context.wait_until(refresh());
                }
                effective
            }
        }
    }
}

/// Stores an event, and writes it as one line to the Worker's log if event logging is enabled. An
/// event holds no subject, at most a keyed hash of one.
async fn log_event(env: Env, settings: &GatewaySettings, event: &ClassifyEvent) {
    let Ok(event) = serde_json::to_string(event) else { return };
    if settings.logs_events_to_console {
        console_log!("{}", event);
    }
    events_queue::enqueue_event(env, event).await;
}

/// Returns stable's p95 in milliseconds; `None` if this isolate never received it or received it
/// more than [`STABLE_P95_AGE_MS_MAX`] ago.
fn stable_p95_ms() -> Option<f64> {
    let (p95, measured_at) = ISOLATE_STATE.with_borrow(|state| state.stable_p95)?;
    (now().0.saturating_sub(measured_at.0) < STABLE_P95_AGE_MS_MAX).then_some(p95)
}

/// Returns the index of the plan's stage in the last snapshot; `None` while no plan moves the
/// share.
fn current_stage() -> Option<u32> {
    ISOLATE_STATE.with_borrow(|state| state.stage)
}

/// How long a received p95 serves as a threshold, in milliseconds: a gateway with little traffic
/// receives one seldom.
const STABLE_P95_AGE_MS_MAX: u64 = 5 * 60_000;

/// Returns the effective share by this isolate's cache, without a request to the rollout object.
fn cached_effective_share() -> EffectiveShare {
    ISOLATE_STATE
        .with_borrow(|state| effective_share(state.cached_share, state.refresh_failed_at, now()))
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
        FetchError::Failed => ApiError::LegacyUnreachable,
        FetchError::TimedOut => ApiError::LegacyTimeout { timeout_ms },
    }
}

/// Returns the settings, which are parsed once per isolate.
fn cached_settings(env: &Env) -> Rc<GatewaySettings> {
    ISOLATE_STATE.with_borrow_mut(|state| {
        let settings = state.settings.get_or_insert_with(|| {
            let has_legacy_binding = http::service_binding(env, "LEGACY").is_some();
            Rc::new(read_settings(env, has_legacy_binding))
        });
        Rc::clone(settings)
    })
}

fn read_settings(env: &Env, has_legacy_binding: bool) -> GatewaySettings {
    let names = VARIABLES.iter().chain(&RENAMED_VARIABLES).map(|(name, _)| *name);
    // `var` reads variables and secrets alike.
    let read_variable = |name: &'static str| Some((name, env.var(name).ok()?.to_string()));
    let variables = GatewayVariables(names.filter_map(read_variable).collect());
    let settings = GatewaySettings::parse(&variables).with_legacy_binding(has_legacy_binding);
    for fault in &settings.setting_errors {
        console_error!("setting refused, no request is canary until it is corrected: {}", fault);
    }
    settings
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

/// Returns the current time. No other code of this Worker reads the clock.
fn now() -> UnixMs {
    UnixMs(Date::now().as_millis())
}

/// Returns random bytes of the host. No other code of this Worker draws any.
fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // The host supplies random bytes during a request. Without them no id could be signed, so a
    // failure is a bug.
    getrandom::fill(&mut bytes).expect("randomness of the host");
    bytes
}
