//! The model worker: one fetch handler over [`Service`].
//!
//! It reads heads, bounded bodies, variables, clock and randomness, and sends what the service
//! replies; it decides nothing. The model loads when the module starts, before the first request,
//! where a worker may neither fetch nor draw random bytes (see `random.rs`). After a panic the
//! platform makes a new instance for the next request, which then waits for the load.

use std::cell::RefCell;

use futures_util::StreamExt;
use worker::{Context, Date, Env, Headers, Request, Response, Result, console_error, event};

use jeffrey_classifier::TieBreak;
use jeffrey_terms::UnixMs;
use jeffrey_wasm_host::{panics, random};
use jeffrey_wire::{
    BODY_BYTES_MAX, Body, Build, Head, Moment, Origins, PAGE_HEADERS, Received, Reply, Service,
    Settings, Variables,
};

thread_local! {
    /// Borrowed between awaits only, never across one.
    static SERVICE: RefCell<Service> = RefCell::new(load());
}

const BUILD: Build = Build { version: env!("CARGO_PKG_VERSION"), commit: jeffrey_shipped::COMMIT };

/// Loads the model before the first request.
#[event(start)]
fn start() {
    panics::report_places_only();
    SERVICE.with_borrow(Service::warm_up);
}

fn load() -> Service {
    let service = Service::load(&jeffrey_shipped::files(), BUILD);
    if let Some(reason) = service.refused() {
        console_error!("the model is refused, answering by keyword patterns: {}", reason);
    }
    service
}

#[event(fetch)]
async fn fetch(mut request: Request, env: Env, _: Context) -> Result<Response> {
    panics::report_places_only_from_now();
    random::ask_the_host();

    let settings = Settings::parse(&variables(&env));
    let (method, path) = (request.inner().method(), request.path());
    let header = |name| request.headers().get(name).ok().flatten();
    let origin = header("origin");
    let requested_method = header("access-control-request-method");
    let content_length = header("content-length");
    let head = Head {
        method: &method,
        path: &path,
        origin: origin.as_deref(),
        requested_method: requested_method.as_deref(),
        content_length: content_length.as_deref(),
    };
    match SERVICE.with_borrow_mut(|service| service.receive(&head, &settings)) {
        Received::Reply(reply) => send(reply),
        Received::Page => page(request, &env, &head, &settings).await,
        Received::Read(endpoint) => {
            let body = read(&mut request).await;
            let moment = moment()?;
            send(SERVICE.with_borrow_mut(|service| {
                service.respond(endpoint, &head, &settings, body, moment)
            }))
        }
    }
}

/// Reads a body chunk by chunk and keeps none above the limit. As much again is read and dropped: a
/// caller that is answered in the middle of its body may see a broken connection instead.
async fn read(request: &mut Request) -> Body {
    let mut whole = Vec::new();
    let mut bytes = 0;
    // A request without a body has no stream.
    let Ok(mut stream) = request.stream() else { return Body::Whole(whole) };
    while let Some(chunk) = stream.next().await {
        let Ok(chunk) = chunk else { return Body::Broken };
        bytes += chunk.len();
        if bytes <= BODY_BYTES_MAX {
            whole.extend_from_slice(&chunk);
        } else if bytes > 2 * BODY_BYTES_MAX {
            break;
        }
    }
    if bytes > BODY_BYTES_MAX { Body::TooLarge } else { Body::Whole(whole) }
}

/// A file of the page with its headers, or what the service says where there is none.
async fn page(
    request: Request,
    env: &Env,
    head: &Head<'_>,
    settings: &Settings,
) -> Result<Response> {
    let file = match env.assets("ASSETS") {
        Ok(assets) => Some(assets.fetch_request(request).await?),
        // A worker without a page.
        Err(_) => None,
    };
    let status = file.as_ref().map_or(404, Response::status_code);
    let instead = SERVICE.with_borrow_mut(|service| service.page_reply(head, settings, status));
    match (file, instead) {
        (Some(file), None) => {
            let headers = Headers::new();
            for (name, value) in file.headers().entries() {
                headers.append(&name, &value)?;
            }
            for (name, value) in PAGE_HEADERS {
                headers.set(name, value)?;
            }
            Ok(file.with_headers(headers))
        }
        (_, Some(reply)) => send(reply),
        // The service always has a reply for 404.
        (None, None) => Response::error("no page", 404),
    }
}

fn send(reply: Reply) -> Result<Response> {
    let headers = Headers::new();
    for (name, value) in reply.headers {
        headers.set(name, &value)?;
    }
    let response =
        if reply.body.is_empty() { Response::empty()? } else { Response::from_bytes(reply.body)? };
    Ok(response.with_status(reply.status).with_headers(headers))
}

fn variables(env: &Env) -> Variables {
    let read = |name| env.var(name).ok().map(|value| value.to_string());
    Variables {
        allowed_origins: read(Origins::VARIABLE),
        fault_injection: read(Settings::FAULT_INJECTION),
        tie_break_enabled: read(TieBreak::ENABLED),
        tie_break_delta: read(TieBreak::DELTA),
        tie_break_extended_delta: read(TieBreak::EXTENDED_DELTA),
    }
}

/// The only clock and the only dice of this shell.
fn moment() -> Result<Moment> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|error| worker::Error::RustError(error.to_string()))?;
    Ok(Moment { now: UnixMs(Date::now().as_millis()), random })
}
