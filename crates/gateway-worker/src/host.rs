//! Cloudflare's runtime as a [`Host`]: variables, clock, randomness, network, objects, queue.

use std::cell::RefCell;
use std::rc::Rc;

use worker::worker_sys::web_sys;
use worker::{Date, Env, console_error, console_log};

use super::binding::service_binding;
use super::http::{self, FetchTarget, OutboundBody, OutboundRequest};
use jeffrey_edge::gateway::config::{
    GatewaySettings, RENAMED_VARIABLES, VARIABLES, WorkerVariables,
};
use jeffrey_gateway_service::host::{
    BodyError, FetchError, Host, HttpRequest, HttpResponse, ObjectCall, ObjectClass, QueueSend,
    READ_RESPONSE_HEADERS, Target,
};
use jeffrey_gateway_service::isolate::IsolateState;
use jeffrey_http_core::body::BodyRead;
use jeffrey_terms::UnixMs;

/// Name of the queue's binding.
const QUEUE_BINDING: &str = "EVENTS";

/// Values that an isolate keeps between requests.
struct Isolate {
    /// Parsed once: variables do not change while an isolate lives.
    settings: Rc<GatewaySettings>,
    state: IsolateState,
}

thread_local! {
    static ISOLATE: RefCell<Option<Rc<Isolate>>> = const { RefCell::new(None) };
}

/// The platform, with the bindings of one request or object.
#[derive(Clone)]
pub(super) struct WorkerHost {
    env: Env,
    isolate: Rc<Isolate>,
    /// Place where this request is to panic, for tests; `None` outside them.
    pub(super) planted_panic: Option<Rc<str>>,
}

impl WorkerHost {
    pub(super) fn new(env: Env) -> Self {
        let isolate = ISOLATE.with_borrow_mut(|isolate| {
            let isolate = isolate.get_or_insert_with(|| {
                let (settings, state) = (Rc::new(read_settings(&env)), IsolateState::default());
                Rc::new(Isolate { settings, state })
            });
            Rc::clone(isolate)
        });
        Self { env, isolate, planted_panic: None }
    }

    pub(super) const fn env(&self) -> &Env {
        &self.env
    }

    /// Panics if the request asks for it, for tests.
    pub(super) fn panic_if_planted(&self, place: &str) {
        assert!(self.planted_panic.as_deref() != Some(place), "planted");
    }
}

impl Host for WorkerHost {
    fn now(&self) -> UnixMs {
        UnixMs(Date::now().as_millis())
    }

    fn random_bytes<const N: usize>(&self) -> [u8; N] {
        self.panic_if_planted("random");
        let mut bytes = [0; N];
        // The host supplies random bytes during a request. Without them no id could be signed, so a
        // failure is a bug.
        getrandom::fill(&mut bytes).expect("randomness of the host");
        bytes
    }

    fn settings(&self) -> Rc<GatewaySettings> {
        Rc::clone(&self.isolate.settings)
    }

    fn isolate(&self) -> &IsolateState {
        &self.isolate.state
    }

    fn log(&self, line: &str) {
        console_log!("{}", line);
    }

    fn log_error(&self, line: &str) {
        console_error!("{}", line);
    }

    async fn sleep(&self, ms: u64) {
        http::sleep(ms).await;
    }

    async fn send(&self, request: HttpRequest<'_>) -> Result<HttpResponse, FetchError> {
        self.panic_if_planted("model");
        let model_url;
        let (target, url) = match request.target {
            Target::Legacy(url) => {
                let binding = service_binding(&self.env, http::LEGACY_BINDING);
                (binding.map_or(FetchTarget::Network, FetchTarget::Binding), url)
            }
            Target::Url(url) => (FetchTarget::Network, url),
            Target::Model(path) => {
                let binding =
                    service_binding(&self.env, http::MODEL_BINDING).ok_or(FetchError::Failed)?;
                model_url = format!("http://model{path}");
                (FetchTarget::Binding(binding), model_url.as_str())
            }
        };
        let headers = http::new_headers(request.headers)?;
        let body = if request.body.is_empty() {
            OutboundBody::None
        } else {
            OutboundBody::Buffered(request.body)
        };
        let outbound = OutboundRequest { method: request.method, url, headers: &headers, body };
        let started_at = self.now();
        let response = outbound.send(&target, Some(request.timeout_ms)).await?;
        let (status, headers) = (response.status(), read_headers(&response.headers()));
        let remaining_ms =
            request.timeout_ms.saturating_sub(self.now().0.saturating_sub(started_at.0));
        let body = http::read_body(response.body(), request.response_bytes_max);
        let body = match http::with_timeout(remaining_ms, body).await {
            Some(BodyRead::Complete(body)) => Ok(body),
            Some(BodyRead::Broken) => Err(BodyError::Broken),
            Some(BodyRead::TooLarge) => Err(BodyError::TooLarge),
            None => Err(BodyError::TimedOut),
        };
        self.panic_if_planted("model_response");
        Ok(HttpResponse { status, headers, body })
    }

    fn has_objects(&self, class: ObjectClass) -> bool {
        self.env.durable_object(binding_name(class)).is_ok()
    }

    async fn call_object(&self, call: ObjectCall<'_>) -> Result<Vec<u8>, FetchError> {
        self.panic_if_planted("object");
        let object = (binding_name(call.class), call.name);
        http::call_object(&self.env, object, call.message, call.timeout_ms, call.reply_bytes_max)
            .await
    }

    async fn send_to_queue(&self, event: &str) -> QueueSend {
        self.panic_if_planted("queue");
        match self.env.queue(QUEUE_BINDING) {
            Ok(queue) if queue.send(event).await.is_ok() => QueueSend::Sent,
            Ok(_) => QueueSend::Failed,
            Err(_) => QueueSend::NotBound,
        }
    }
}

/// Returns the headers that the gateway reads; each `set-cookie` is an entry of its own.
fn read_headers(headers: &web_sys::Headers) -> Vec<(&'static str, String)> {
    let values = |name: &str| match name {
        "set-cookie" => http::read_cookies(headers),
        _ => headers.get(name).ok().flatten().into_iter().collect(),
    };
    let pairs = |name: &'static str| values(name).into_iter().map(move |value| (name, value));
    READ_RESPONSE_HEADERS.into_iter().flat_map(pairs).collect()
}

const fn binding_name(class: ObjectClass) -> &'static str {
    match class {
        ObjectClass::EventStore => "EVENT_STORE",
        ObjectClass::Rollout => "ROLLOUT",
    }
}

fn read_settings(env: &Env) -> GatewaySettings {
    let former = RENAMED_VARIABLES.iter().map(|(name, _)| *name);
    let names = VARIABLES.iter().copied().chain(former);
    // `var` reads variables and secrets alike.
    let read_variable = |name: &'static str| Some((name, env.var(name).ok()?.to_string()));
    let variables = WorkerVariables(names.filter_map(read_variable).collect());
    let has_legacy_binding = service_binding(env, http::LEGACY_BINDING).is_some();
    let settings = GatewaySettings::parse(&variables).with_legacy_binding(has_legacy_binding);
    for fault in &settings.setting_errors {
        console_error!("setting refused, no request is canary until it is corrected: {}", fault);
    }
    settings
}
