//! The model worker: one fetch handler over [`ClassifierService`].
//!
//! The handler reads request heads, bounded bodies, variables, the clock and random bytes, and
//! sends the service's replies; it decides nothing. The model loads when the module starts, before
//! the first request, when a Worker may neither fetch nor draw random bytes
//! (`crates/wasm-host/src/random.rs`). After a panic the platform makes a new instance for the next
//! request, which waits for the load.

use std::cell::RefCell;

use worker::js_sys::Reflect;
use worker::{Context, Date, Env, Headers, Request, Response, Result, console_error, event};

use jeffrey_http_api::{
    BODY_BYTES_MAX, BuildInfo, ClassifierService, HTML_PAGE_HEADERS, IdSeed, InstanceInfo,
    ModelWorkerSettings, RequestHeadAction, VARIABLES, rate_limit_key,
};
use jeffrey_http_core::body::BodyRead;
use jeffrey_http_core::head::RequestHead;
use jeffrey_http_core::reply::HttpReply;
use jeffrey_http_core::settings::WorkerVariables;
use jeffrey_terms::UnixMs;
use jeffrey_wasm_host::{instance, panics, random};
use jeffrey_worker_http::{read_chunks, read_head, to_response};

thread_local! {
    /// A borrow of the service never lasts across an `.await`.
    static SERVICE: RefCell<ClassifierService> = RefCell::new(load_service());
}

const RATE_LIMIT_BINDING: &str = "ADDRESS_LIMIT";

const BUILD: BuildInfo =
    BuildInfo { version: env!("CARGO_PKG_VERSION"), commit: jeffrey_shipped::COMMIT };

/// Loads the model when the module starts, before the first request.
#[event(start)]
fn start() {
    panics::install_panic_hook();
    SERVICE.with_borrow(ClassifierService::warm_up);
}

fn load_service() -> ClassifierService {
    let service = ClassifierService::load(&jeffrey_shipped::model_files(), BUILD);
    if let Some(reason) = service.model_load_error() {
        console_error!("the model is refused, answering by keyword patterns: {}", reason);
    }
    service
}

#[event(fetch)]
async fn fetch(mut request: Request, env: Env, _: Context) -> Result<Response> {
    panics::reinstall_panic_hook_on_first_request();
    random::use_host_randomness();
    name_instance_on_first_request()?;

    let settings = ModelWorkerSettings::parse(&read_variables(&env));
    let head = read_head(request.inner());
    let head = head.ok_or_else(|| worker::Error::RustError("no absolute URL".to_owned()))?;
    match SERVICE.with_borrow_mut(|service| service.handle_request_head(&head, &settings)) {
        RequestHeadAction::Reply(reply) => reply_to_response(&reply),
        RequestHeadAction::FetchPage => serve_page(request, &env, &head, &settings).await,
        RequestHeadAction::ReadBody(endpoint) => {
            if is_over_rate_limit(&env, &head).await {
                return reply_to_response(&SERVICE.with_borrow_mut(|service| {
                    service.reply_over_rate_limit(endpoint, &head, &settings)
                }));
            }
            let body = read_body(&mut request).await;
            let id_seed = new_id_seed()?;
            mark_work(&request, true);
            let reply = SERVICE.with_borrow_mut(|service| {
                service.handle_body(endpoint, &head, &settings, body, id_seed)
            });
            mark_work(&request, false);
            reply_to_response(&reply)
        }
    }
}

/// Marks a request while its body is worked on: if the instance dies then, its text is the cause
/// (`entry.js`).
fn mark_work(request: &Request, is_in_work: bool) {
    let _ = Reflect::set(request.inner(), &"isInWork".into(), &is_in_work.into());
}

/// Draws the id of this instance that `/health` reports, once.
fn name_instance_on_first_request() -> Result<()> {
    if SERVICE.with_borrow(ClassifierService::has_instance) {
        return Ok(());
    }
    let info = InstanceInfo::new(random_bytes()?, instance::record_start());
    SERVICE.with_borrow_mut(|service| service.set_instance(info));
    Ok(())
}

/// Returns whether the caller's address sends too many requests. Only a public deployment has the
/// binding (`wrangler.public-api.toml`); a limit that fails to answer refuses no call.
async fn is_over_rate_limit(env: &Env, head: &RequestHead) -> bool {
    let Ok(limiter) = env.rate_limiter(RATE_LIMIT_BINDING) else { return false };
    limiter.limit(rate_limit_key(head)).await.is_ok_and(|outcome| !outcome.success)
}

/// Reads a body of at most [`BODY_BYTES_MAX`] bytes; a longer one is dropped up to twice the limit.
async fn read_body(request: &mut Request) -> BodyRead {
    match request.stream() {
        Ok(chunks) => read_chunks(chunks, BODY_BYTES_MAX, 2 * BODY_BYTES_MAX).await,
        // A request without a body has no stream.
        Err(_) => BodyRead::Complete(Vec::new()),
    }
}

/// Serves a file of the page with [`HTML_PAGE_HEADERS`], or the service's reply if there is no such
/// file.
async fn serve_page(
    request: Request,
    env: &Env,
    head: &RequestHead,
    settings: &ModelWorkerSettings,
) -> Result<Response> {
    let file = match env.assets("ASSETS") {
        Ok(assets) => Some(assets.fetch_request(request).await?),
        // This deployment has no `ASSETS` binding, so no page.
        Err(_) => None,
    };
    let status = file.as_ref().map_or(404, Response::status_code);
    let replacement =
        SERVICE.with_borrow_mut(|service| service.reply_for_missing_page(head, settings, status));
    match (file, replacement) {
        (Some(file), None) => {
            let headers = Headers::new();
            for (name, value) in file.headers().entries() {
                headers.append(&name, &value)?;
            }
            for (name, value) in HTML_PAGE_HEADERS {
                headers.set(name, value)?;
            }
            Ok(file.with_headers(headers))
        }
        (_, Some(reply)) => reply_to_response(&reply),
        // The service always has a reply for 404.
        (None, None) => Response::error("no page", 404),
    }
}

fn reply_to_response(reply: &HttpReply) -> Result<Response> {
    Ok(to_response(reply)?.into())
}

fn read_variables(env: &Env) -> WorkerVariables {
    let read_variable = |name: &&'static str| Some((*name, env.var(name).ok()?.to_string()));
    WorkerVariables(VARIABLES.iter().filter_map(read_variable).collect())
}

/// Reads the clock, which this Worker does nowhere else, and draws ten random bytes.
fn new_id_seed() -> Result<IdSeed> {
    Ok(IdSeed { now: UnixMs(Date::now().as_millis()), random: random_bytes()? })
}

fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| worker::Error::RustError(error.to_string()))?;
    Ok(bytes)
}
