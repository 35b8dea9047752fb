//! The gate worker: one fetch handler over `jeffrey_edge::gate`, and the object that holds the release.
//!
//! It reads heads, bounded bodies, variables, clock and randomness, fetches, streams and stores; what
//! is done with a request is decided in the core. Whatever fails on our side, a request that can go to
//! the old system goes there.

mod classify;

mod events_queue;

mod http;

mod ledger;

mod ledger_object;

mod own;

mod rollout;

mod rollout_object;

mod sql;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use worker::js_sys;
use worker::wasm_bindgen::prelude::*;
use worker::worker_sys::ext::HeadersExt;
use worker::worker_sys::web_sys;
use worker::{
    Context, Date, Env, Result, ScheduleContext, ScheduledEvent, console_error, console_log, event,
};

use self::http::{NoAnswer, Outgoing, Parts, Read, Target};
use jeffrey_edge::gate::breaker::Breaker;
use jeffrey_edge::gate::event::Event;
use jeffrey_edge::gate::forward;
use jeffrey_edge::gate::intake::{Head, Kind, kind};
use jeffrey_edge::gate::own::OwnError;
use jeffrey_edge::gate::settings::{Settings, SubjectCookie, VARIABLES, Variables};
use jeffrey_edge::gate::subject;
use jeffrey_edge::rollout::share::{Ask, Heard, InForce, in_force};
use jeffrey_terms::{Subject, UnixMs};
use jeffrey_wasm_host::{panics, random};

/// What an isolate remembers. Borrowed between awaits only, never across one.
#[derive(Default)]
struct Memory {
    /// Variables do not change while an isolate lives.
    settings: Option<Rc<Settings>>,
    heard: Option<Heard>,
    /// When a question to the rollout object last found no answer.
    failed: Option<UnixMs>,
    /// When the rollout object was last asked, while its answer is awaited.
    asking: Option<UnixMs>,
    breaker: Breaker,
    /// Events that could not be handed to the ledger, and were not yet told to it.
    lost: u64,
    /// The number of the plan's stage, as last heard.
    stage: Option<u32>,
    /// Stable's P95 as the ledger last told it, in milliseconds, and when.
    stable_p95: Option<(f64, UnixMs)>,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// How long a question to the rollout object may be under way before another request asks too: the
/// one that asked may have died.
const ASKING_MS: u64 = 2_000;

/// The period of both limiters in `wrangler.toml`.
const LIMIT_PERIOD_S: u64 = 10;

#[event(start)]
fn start() {
    panics::report_places_only();
}

/// The platform's clock rings once a minute: an object that lost its alarm looks at its minutes again.
#[event(scheduled)]
async fn scheduled(_event: ScheduledEvent, env: Env, _context: ScheduleContext) {
    rollout::wake(&env).await;
}

#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, context: Context) -> Result<web_sys::Response> {
    panics::report_places_only_from_now();
    random::ask_the_host();
    let call = Call::new(request, env, context)?;
    match call.answer().await {
        Ok(response) => Ok(response),
        Err(error) => Ok(http::reply(&error.reply())?),
    }
}

/// One request with all that is needed to answer it.
struct Call {
    request: web_sys::Request,
    env: Env,
    context: Context,
    settings: Rc<Settings>,
    head: Head,
    legacy: Target,
}

impl Call {
    fn new(request: web_sys::Request, env: Env, context: Context) -> Result<Self> {
        let legacy = match http::binding(&env, "LEGACY") {
            Some(binding) => Target::Bound(binding),
            None => Target::Network,
        };
        let settings = remembered_settings(&env);
        let head = Head::new(request.method(), &request.url(), headers(&request));
        let head = head.ok_or_else(|| worker::Error::RustError("no absolute URL".to_owned()))?;
        Ok(Self { request, env, context, settings, head, legacy })
    }

    async fn answer(self) -> std::result::Result<web_sys::Response, OwnError> {
        match kind(&self.head, &self.settings) {
            Kind::Own(path) => {
                let path = path.to_owned();
                own::answer(&self, &path).await
            }
            _ if self.has_no_legacy() => Err(OwnError::NoOldSystem),
            Kind::Classify { held } => classify::answer(self, held).await,
            Kind::Forward => self.pass_on().await,
        }
    }

    fn has_no_legacy(&self) -> bool {
        matches!(self.legacy, Target::Network) && self.settings.legacy_origin.is_none()
    }

    /// Hands the request to the old system and its answer to the caller, both streamed.
    async fn pass_on(&self) -> std::result::Result<web_sys::Response, OwnError> {
        let response = self.forward(None, None).await.map_err(no_answer(0))?;
        if self.settings.subject_cookie != SubjectCookie::All || response.status() == 101 {
            return Ok(response);
        }
        let found = subject::find(&self.head, None, false, &self.settings, draw());
        match found.filter(|found| found.new) {
            Some(found) => Ok(self.with_cookie(response, &found.subject)),
            None => Ok(response),
        }
    }

    /// The request as the old system gets it: held bytes, or the stream that comes in.
    async fn forward(
        &self,
        held: Option<&[u8]>,
        within_ms: Option<u64>,
    ) -> std::result::Result<web_sys::Response, NoAnswer> {
        let origin = self.settings.legacy_origin.as_deref();
        // A binding has no host of its own: the name says where it goes.
        let origin = match &self.legacy {
            Target::Bound(_) => origin.unwrap_or("http://legacy"),
            Target::Network => origin.ok_or(NoAnswer::Failed)?,
        };
        let changes = forward::changes(&self.head, self.address());
        let headers = http::changed(&self.request.headers(), &changes)?;
        let body = match (held, self.request.body()) {
            (Some(bytes), _) => Outgoing::Held(bytes),
            (None, Some(_)) => Outgoing::Stream(&self.request),
            (None, None) => Outgoing::None,
        };
        let url = format!("{origin}{}", self.head.target);
        let parts = Parts { method: &self.head.method, url: &url, headers: &headers, body };
        parts.send(&self.legacy, within_ms).await.map(without_our_cookie)
    }

    /// The whole body, of at most so many bytes.
    async fn body(&self, bytes_max: usize) -> std::result::Result<Vec<u8>, OwnError> {
        match http::read(self.request.body(), bytes_max).await {
            Read::Whole(body) => Ok(body),
            // Nobody is left to read the answer.
            Read::Broken => Err(OwnError::NotJson { expected: "complete" }),
            Read::TooLarge => Err(OwnError::TooLarge { limit: bytes_max }),
        }
    }

    /// The caller's address, as the platform knows it.
    fn address(&self) -> Option<&str> {
        self.head.header("cf-connecting-ip")
    }

    /// The answer with a cookie, unless others may get the same answer.
    fn with_cookie(&self, response: web_sys::Response, subject: &Subject) -> web_sys::Response {
        let headers = response.headers();
        let get = |name: &str| headers.get(name).ok().flatten();
        let control = get("cache-control");
        let expires = get("expires").is_some();
        if !subject::may_carry_cookie(&self.head.method, control.as_deref(), expires) {
            return response;
        }
        let cookie = subject::set_cookie(subject, &self.head, self.settings.subject_cookie_days);
        let Ok(copy) = http::mutable(&response) else { return response };
        let _ = copy.headers().append("set-cookie", &cookie);
        copy
    }

    /// Keeps an event beside the answer.
    fn keep(&self, event: &Event) {
        let (env, settings, event) = (self.env.clone(), Rc::clone(&self.settings), event.clone());
        self.context.wait_until(async move { keep(env, &settings, &event).await });
    }

    /// Refuses a caller that asks too often: by subject and by address, both hashed. Without a key or
    /// a limiter nobody is limited; a limiter that fails limits nobody.
    async fn limit(&self, subject: Option<&Subject>) -> std::result::Result<(), OwnError> {
        let (true, Some(key)) = (self.settings.rate_limits, self.settings.keys.first()) else {
            return Ok(());
        };
        let subject = subject.map(|subject| subject::hashed(subject, key, &self.settings.release));
        let address = self.address().map(|address| subject::address_hashed(address, key));
        for (name, caller) in [("SUBJECT_LIMIT", subject), ("ADDRESS_LIMIT", address)] {
            let (Some(caller), Ok(limiter)) = (caller, self.env.rate_limiter(name)) else {
                continue;
            };
            if limiter.limit(caller).await.is_ok_and(|outcome| !outcome.success) {
                return Err(OwnError::Limited { per_s: LIMIT_PERIOD_S });
            }
        }
        Ok(())
    }

    /// The share in force, after asking for it where nothing is known, or beside the request where it
    /// is no longer fresh.
    async fn in_force(&self) -> InForce {
        let found = remembered();
        let now = now();
        let hear = || rollout::hear(self.env.clone(), Rc::clone(&self.settings));
        match found.ask {
            Ask::No => found,
            Ask::Before => {
                hear().await;
                remembered()
            }
            Ask::Beside => {
                let free = MEMORY.with_borrow_mut(|memory| {
                    let free = memory.asking.is_none_or(|at| now.0.abs_diff(at.0) >= ASKING_MS);
                    memory.asking = if free { Some(now) } else { memory.asking };
                    free
                });
                if free {
                    self.context.wait_until(hear());
                }
                found
            }
        }
    }
}

/// Keeps an event: in the ledger, and as one line for whoever reads the worker's log where that is
/// switched on. Nothing in it names anybody.
async fn keep(env: Env, settings: &Settings, event: &Event) {
    let Ok(event) = serde_json::to_string(event) else { return };
    if settings.log_events {
        console_log!("{}", event);
    }
    events_queue::send(env, event).await;
}

/// Stable's P95 of the last closed minute that this isolate has heard of, unless that is too long ago.
fn stable_p95_ms() -> Option<f64> {
    let (p95, at) = MEMORY.with_borrow(|memory| memory.stable_p95)?;
    (now().0.saturating_sub(at.0) < P95_KEPT_MS).then_some(p95)
}

/// The number of the plan's stage that this isolate has heard of.
fn stage() -> Option<u32> {
    MEMORY.with_borrow(|memory| memory.stage)
}

/// How long stable's P95 is held against: a gate that is seldom asked hears of it seldom.
const P95_KEPT_MS: u64 = 5 * 60_000;

/// What this isolate acts on now.
fn remembered() -> InForce {
    MEMORY.with_borrow(|memory| in_force(memory.heard, memory.failed, now()))
}

/// The old system's answer as it is, but for a cookie of our name: that one is ours to give.
fn without_our_cookie(response: web_sys::Response) -> web_sys::Response {
    let lines = response.headers().get_all("set-cookie");
    let lines: Vec<String> = lines.iter().filter_map(|line| line.as_string()).collect();
    if !lines.iter().any(|line| subject::gives_our_cookie(line)) {
        return response;
    }
    let Ok(copy) = http::mutable(&response) else { return response };
    let _ = copy.headers().delete("set-cookie");
    for line in lines.iter().filter(|line| !subject::gives_our_cookie(line)) {
        let _ = copy.headers().append("set-cookie", line);
    }
    copy
}

/// What the caller is told when the old system gives no answer.
fn no_answer(timeout_ms: u64) -> impl Fn(NoAnswer) -> OwnError {
    move |reason| match reason {
        NoAnswer::Failed => OwnError::OldSystemUnreachable,
        NoAnswer::Late => OwnError::OldSystemSlow { timeout_ms },
    }
}

/// The settings, read once in the life of an isolate.
fn remembered_settings(env: &Env) -> Rc<Settings> {
    MEMORY.with_borrow_mut(|memory| {
        let settings = memory.settings.get_or_insert_with(|| {
            let bound = http::binding(env, "LEGACY").is_some();
            Rc::new(settings(env, bound))
        });
        Rc::clone(settings)
    })
}

fn settings(env: &Env, bound: bool) -> Settings {
    let read = |(name, _): &(&'static str, &str)| {
        // Variables and secrets are read alike.
        Some((*name, env.var(name).ok()?.to_string()))
    };
    let variables = Variables(VARIABLES.iter().filter_map(read).collect::<BTreeMap<_, _>>());
    let settings = Settings::parse(&variables).with_binding(bound);
    for fault in &settings.faults {
        console_error!("refused, nobody is canary until it is corrected: {}", fault);
    }
    settings
}

fn headers(request: &web_sys::Request) -> Vec<(String, String)> {
    let entries = js_sys::try_iter(&request.headers()).ok().flatten();
    let pair = |entry: JsValue| {
        let entry = js_sys::Array::from(&entry);
        Some((entry.get(0).as_string()?, entry.get(1).as_string()?))
    };
    let mut headers: Vec<_> =
        entries.into_iter().flatten().filter_map(|entry| pair(entry.ok()?)).collect();
    // The platform keeps what the client accepts beside the request, and writes its own list over it.
    let field = |of: &JsValue, name: &str| js_sys::Reflect::get(of, &name.into()).ok();
    if let Some(cf) = field(request, "cf").filter(JsValue::is_object) {
        let own = field(&cf, "clientAcceptEncoding").and_then(|value| value.as_string());
        headers.retain(|(name, _)| name != "accept-encoding");
        let own = own.filter(|own| !own.is_empty());
        headers.extend(own.map(|own| ("accept-encoding".to_owned(), own)));
    }
    headers
}

/// The only clock of this shell.
fn now() -> UnixMs {
    UnixMs(Date::now().as_millis())
}

/// Its only dice.
fn draw<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // The host answers while a request is being answered; without it nothing could be signed.
    getrandom::fill(&mut bytes).expect("randomness of the host");
    bytes
}
