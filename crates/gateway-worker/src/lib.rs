//! The gateway Worker: a fetch handler, a queue consumer, a cron trigger and two Durable Objects.
//!
//! It implements the traits of `jeffrey_gateway_service` on Cloudflare's runtime. What happens with
//! a request is written there; what is decided, in the core.

mod host;

mod http;

mod objects;

mod request;

use worker::js_sys::JsString;
use worker::wasm_bindgen::prelude::*;
use worker::worker_sys::web_sys;
use worker::{
    Context, Env, MessageBatch, MessageExt, QueueRetryOptionsBuilder, Result, ScheduleContext,
    ScheduledEvent, event,
};

use self::host::WorkerHost;
use self::request::WorkerRequest;
use jeffrey_gateway_service::request::GatewayRequest;
use jeffrey_gateway_service::{events_queue, rollout};
use jeffrey_wasm_host::{panics, random};

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
    let request = WorkerRequest::new(WorkerHost::new(env), request, context);
    let head = request.head();
    let head = head.ok_or_else(|| worker::Error::RustError("no absolute URL".to_owned()))?;
    let response = GatewayRequest::new(request, head).respond().await;
    let refused = |_| worker::Error::RustError("the runtime refused a response".to_owned());
    response.map(|response| response.0).map_err(refused)
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
