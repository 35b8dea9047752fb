//! A classify call: read, decide, answer by the model or hand on, and keep one event.
//!
//! Both cohorts are timed alike: from handing the request on until the end of the answer that was read
//! (to its headers where it is not read), across an awaited subrequest, because a deployed worker's
//! clock stands still without one.

use std::rc::Rc;

use worker::Env;
use worker::worker_sys::web_sys;

use super::http::{self, NoAnswer, Outgoing, Parts, Read, Target};
use super::{Call, MEMORY, draw, keep, no_answer, now, rollout, stable_p95_ms, stage};
use jeffrey_edge::gate::answer::{Answer, Fallback};
use jeffrey_edge::gate::breaker::PROBE;
use jeffrey_edge::gate::contract::Asked as Request;
use jeffrey_edge::gate::event::{Event, Thresholds, Unobserved};
use jeffrey_edge::gate::overrides::{self, OverrideError};
use jeffrey_edge::gate::own::{OwnError, rules};
use jeffrey_edge::gate::settings::Settings;
use jeffrey_edge::gate::subject::{self, Found};
use jeffrey_edge::gate::{ANSWER_BYTES_MAX, REQUEST_BYTES_MAX, receipt};
use jeffrey_edge::rollout::decision::{Answerable, Asked, Decision, decide};
use jeffrey_edge::rollout::standing::{Breach, BreachKind};
use jeffrey_mask::mask;
use jeffrey_terms::{AnswerId, Cohort, Text, UnixMs};

/// Largest answer of the model that is read: eight scores and names.
const MODEL_BYTES_MAX: usize = 16 * 1024;

/// What goes back beside the answer.
struct Marks {
    id: AnswerId,
    decision: Decision,
    found: Option<Found>,
    /// Why a cohort that was asked for is not given.
    refused: Option<OverrideError>,
}

/// Answers a classify call; `held` says whether its body is read.
pub(super) async fn answer(call: Call, held: bool) -> Result<web_sys::Response, OwnError> {
    let at = now();
    let settings = Rc::clone(&call.settings);
    // It declared a length within the limit.
    let body = if held { Some(call.body(REQUEST_BYTES_MAX).await?) } else { None };
    let request = body.as_deref().map(|body| settings.contract.read(body));
    let foreign = call.head.foreign_origin();
    let open = |origin| settings.cors_origins.iter().any(|open| open == origin);
    let (text, user, answerable) = match request {
        None => (None, None, Answerable::Streamed),
        Some(Request { text: None, user }) => (None, user, Answerable::NoText),
        Some(Request { text, user }) if foreign.is_some_and(|origin| !open(origin)) => {
            (text, user, Answerable::ForeignOrigin)
        }
        Some(Request { text, user }) => (text, user, Answerable::Yes),
    };
    let found = subject::find(&call.head, user, true, &settings, draw());
    call.limit(found.as_ref().filter(|found| !found.new).map(|found| &found.subject)).await?;

    let in_force = call.in_force().await;
    let wanted = overrides::asked(&call.head, &settings, at);
    let granted = wanted.as_ref().ok().and_then(Option::as_ref);
    let asked = Asked {
        subject: found.as_ref().map(|found| &found.subject),
        wanted: granted.map(|(cohort, permission)| (*cohort, permission)),
        sticky: found.as_ref().is_some_and(|found| !found.new),
        answerable,
    };
    let decision = decide(&asked, &rules(&settings, in_force));
    let hash = settings.keys.first().zip(found.as_ref());
    let hash = hash.map(|(key, found)| subject::hashed(&found.subject, key, &settings.release));
    let id = AnswerId::new(at, draw());
    let shown = text.as_ref().filter(|_| settings.preview);
    let preview = shown.map(|text| mask(text.expose()).preview());
    let thresholds = Thresholds::new(in_force.share, stage(), stable_p95_ms());
    let mut event = Event::new(id, at, &settings.release, &decision, hash, preview, thresholds);
    let refused = overrides::refusal(&wanted, &decision);
    let marks = Marks { id, decision, found, refused };

    let began = now();
    if let (Cohort::Canary, Some(text)) = (decision.cohort, &text) {
        match model(&call, text).await {
            Ok(answer) => {
                let latency_ms = since(began);
                event.answered(&answer, latency_ms);
                call.keep(&event);
                let body = answer.body(settings.response_shape, latency_ms);
                let mut headers = vec![
                    ("content-type", "application/json".to_owned()),
                    ("cache-control", "no-store".to_owned()),
                ];
                if let Some(origin) = call.head.foreign_origin() {
                    headers.push(("access-control-allow-origin", origin.to_owned()));
                    headers.push(("vary", "origin".to_owned()));
                }
                let response = http::response(200, &headers, &body);
                // Headers and bytes of ours make a response.
                let response = response.map_err(|_| OwnError::OldSystemUnreachable)?;
                return Ok(marked(&call, response, &marks, ("model", latency_ms)));
            }
            Err(fallback) => event.fell_back(fallback),
        }
    }
    forward(call, body, text, marks, event, began).await
}

/// The old system's turn.
async fn forward(
    call: Call,
    body: Option<Vec<u8>>,
    text: Option<Text>,
    marks: Marks,
    mut event: Event,
    began: UnixMs,
) -> Result<web_sys::Response, OwnError> {
    let settings = Rc::clone(&call.settings);
    let timeout_ms = settings.legacy_timeout_ms;
    // How long a streamed body takes is its sender's matter.
    let within_ms = body.is_some().then_some(timeout_ms);
    let response = match call.forward(body.as_deref(), within_ms).await {
        Ok(response) => response,
        Err(reason) => {
            let status = if reason == NoAnswer::Late { 504 } else { 502 };
            event.forwarded(status, since(began), Err(Unobserved::Failed));
            call.keep(&event);
            return Err(no_answer(timeout_ms)(reason));
        }
    };
    let head_ms = since(began);
    // Two streams of one answer: one goes to the client, of the other at most so much is read.
    let copy = readable(&response).and_then(|()| response.clone().map_err(|_| Unobserved::Broken));
    let status = response.status();
    let shadow = shadow(&settings, &marks.decision, text);
    let marked = marked(&call, response, &marks, ("legacy", head_ms));
    let env = call.env.clone();
    call.context.wait_until(async move {
        let seen = match copy {
            Ok(copy) => match http::read(copy.body(), ANSWER_BYTES_MAX).await {
                Read::Whole(body) => settings.contract.observe(&body).ok_or(Unobserved::NotJson),
                Read::TooLarge => Err(Unobserved::TooLarge),
                Read::Broken => Err(Unobserved::Broken),
            },
            Err(reason) => Err(reason),
        };
        let latency_ms = if seen.is_ok() { since(began) } else { head_ms };
        event.forwarded(status, latency_ms, seen.as_ref().map_err(|reason| *reason));
        if let Some(text) = shadow {
            let began = now();
            let answer = ask_model(&env, &settings, &text).await;
            event.shadowed(&answer, since(began));
        }
        keep(env, &settings, &event).await;
    });
    Ok(marked)
}

/// Whether an answer is read beside its stream.
fn readable(response: &web_sys::Response) -> Result<(), Unobserved> {
    let header = |name: &str| response.headers().get(name).ok().flatten();
    let length = header("content-length").and_then(|length| length.parse::<usize>().ok());
    if !response.ok() {
        return Err(Unobserved::Failed);
    }
    if header("content-encoding").is_some_and(|encoding| encoding != "identity") {
        return Err(Unobserved::Encoded);
    }
    if length.is_some_and(|length| length > ANSWER_BYTES_MAX) {
        return Err(Unobserved::TooLarge);
    }
    Ok(())
}

/// The text that the model is asked about as well, for the drawn share of what was not canary's.
fn shadow(settings: &Settings, decision: &Decision, text: Option<Text>) -> Option<Text> {
    let [high, low] = draw::<2>();
    // 65,536 places over 10,000: the first 5,536 points are a tenth of a basis point likelier.
    let drawn = u16::from_be_bytes([high, low]) % 10_000 < settings.shadow.basis_points();
    let open = MEMORY.with_borrow(|memory| memory.breaker.open()).is_some();
    text.filter(|_| drawn && !open && decision.cohort == Cohort::Stable)
}

/// The model's answer, unless this isolate's breaker is open or this opens it.
async fn model(call: &Call, text: &Text) -> Result<Answer, Fallback> {
    let at = now();
    let (open, probe) = MEMORY
        .with_borrow_mut(|memory| (memory.breaker.open().is_some(), memory.breaker.probe(at)));
    if probe {
        call.context.wait_until(self::probe(call.env.clone(), Rc::clone(&call.settings)));
    }
    if open {
        return Err(Fallback::BreakerOpen);
    }
    let answer = ask_model(&call.env, &call.settings, text).await;
    if let Err(Fallback::Breach(kind)) = answer {
        breached(call, kind);
    }
    answer
}

fn breached(call: &Call, kind: BreachKind) {
    let breach = Breach { kind, at: now() };
    let first = MEMORY.with_borrow_mut(|memory| memory.breaker.breached(kind, breach.at));
    if first {
        let report = rollout::report(call.env.clone(), Rc::clone(&call.settings), breach);
        call.context.wait_until(report);
    }
}

/// Asks about a sentence of ours and closes the breaker if that is answered well.
async fn probe(env: Env, settings: Rc<Settings>) {
    let text = Text::parse(PROBE);
    let well = match text {
        Ok(text) => ask_model(&env, &settings, &text).await.is_ok(),
        Err(_) => false,
    };
    MEMORY.with_borrow_mut(|memory| memory.breaker.probed(well, now()));
}

async fn ask_model(env: &Env, settings: &Settings, text: &Text) -> Result<Answer, Fallback> {
    const AWAY: Fallback = Fallback::Breach(BreachKind::Trap);
    let target = Target::Bound(http::binding(env, "MODEL").ok_or(AWAY)?);
    let headers = web_sys::Headers::new().map_err(|_| AWAY)?;
    headers.set("content-type", "application/json").map_err(|_| AWAY)?;
    let body = serde_json::json!({ "text": text.expose() }).to_string();
    let parts = Parts {
        method: "POST",
        url: "http://model/v1/classify",
        headers: &headers,
        body: Outgoing::Held(body.as_bytes()),
    };
    let within_ms = settings.model_timeout_ms;
    let began = now();
    let response = parts.send(&target, Some(within_ms)).await.map_err(|reason| match reason {
        NoAnswer::Failed => AWAY,
        NoAnswer::Late => Fallback::Timeout,
    })?;
    // One limit for head and body together.
    let left_ms = within_ms.saturating_sub(since(began));
    let body = http::before(left_ms, http::read(response.body(), MODEL_BYTES_MAX)).await;
    match body.ok_or(Fallback::Timeout)? {
        Read::Whole(body) => {
            let mut answer = Answer::parse(response.status(), &body)?;
            answer.model_sha256 = response.headers().get("x-model-sha256").ok().flatten();
            Ok(answer)
        }
        Read::TooLarge => Err(Fallback::Garbled),
        Read::Broken => Err(AWAY),
    }
}

/// The answer with what the gate adds: an id, a cookie, and who answered where that is switched on.
fn marked(
    call: &Call,
    response: web_sys::Response,
    marks: &Marks,
    (who, ms): (&str, u64),
) -> web_sys::Response {
    let settings = &call.settings;
    let mut headers: Vec<(&str, String)> = Vec::new();
    headers.extend(settings.keys.first().map(|key| ("x-jeffrey-id", receipt::sign(marks.id, key))));
    headers.extend(marks.refused.as_ref().map(|error| ("x-jeffrey-override", error.to_string())));
    if settings.debug_headers {
        headers.push(("x-jeffrey-cohort", marks.decision.cohort.name().to_owned()));
        headers.push(("x-jeffrey-release", settings.release.as_str().to_owned()));
    }
    let mut response = response;
    if !headers.is_empty()
        && let Ok(copy) = http::mutable(&response)
    {
        for (name, value) in headers {
            let _ = copy.headers().set(name, &value);
        }
        if settings.debug_headers {
            // The old system may say something there too.
            let _ = copy.headers().append("server-timing", &format!("{who};dur={ms}"));
        }
        response = copy;
    }
    match &marks.found {
        Some(found) if found.new => call.with_cookie(response, &found.subject),
        _ => response,
    }
}

fn since(began: UnixMs) -> u64 {
    now().0.saturating_sub(began.0)
}
