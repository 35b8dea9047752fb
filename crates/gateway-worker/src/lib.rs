//! The gateway Worker: a fetch handler, a queue consumer, a cron trigger and two Durable Objects.
//!
//! It implements the traits of `jeffrey_gateway_service` on Cloudflare's runtime. What happens with
//! a request is written there; what is decided, in the core.

mod binding;

mod call;

mod host;

mod http;

mod objects;

mod request;

use worker::js_sys::futures::future_to_promise;
use worker::js_sys::{JsString, Promise};
use worker::wasm_bindgen::prelude::*;
use worker::{
    Context, Env, MessageBatch, MessageExt, QueueRetryOptionsBuilder, Result, ScheduleContext,
    ScheduledEvent, event,
};

use self::call::Call;
use self::host::WorkerHost;
use self::request::WorkerRequest;
use jeffrey_gateway_service::request::{GatewayRequest, record_gateway_fault as record_fault};
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

/// Answers a request. The promise is rejected if the runtime refuses the request or the response;
/// `guard.js` then answers, as it does after a panic.
#[wasm_bindgen]
pub fn respond(call: Call) -> Promise {
    prepare_instance();
    future_to_promise(async move {
        let (request, head) = WorkerRequest::read(call)?;
        request.panic_if_planted("start");
        let response = GatewayRequest::new(request, head).respond().await;
        let refused = |_| JsValue::from_str("the runtime refused a response");
        response.map(|response| response.into_inner().into()).map_err(refused)
    })
}

/// Stores the event of a classify call that `guard.js` answered with `status` after `latency_ms`
/// milliseconds, because an instance died.
#[wasm_bindgen]
pub fn record_gateway_fault(call: Call, status: u16, latency_ms: u32) -> Promise {
    prepare_instance();
    future_to_promise(async move {
        let (request, head) = WorkerRequest::read(call)?;
        record_fault(&request, &head, status, latency_ms.into()).await;
        Ok(JsValue::UNDEFINED)
    })
}

fn prepare_instance() {
    panics::reinstall_panic_hook_on_first_request();
    random::use_host_randomness();
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
