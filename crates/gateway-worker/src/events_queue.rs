//! The queue between requests and the ledger: an event is sent, a batch is handed over.
//!
//! An event that cannot be sent is written to the ledger at once. A batch that the ledger does not take comes
//! again; events count once by their id, so that twice is no harm.

use worker::js_sys::JsString;
use worker::wasm_bindgen::JsCast;
use worker::{Context, Env, MessageBatch, MessageExt, QueueRetryOptionsBuilder, Result, event};

use super::{ledger, now};
use jeffrey_edge::gate::event::age_ms;

/// Name of the binding, and how the name of the queue of what was given up ends.
const BINDING: &str = "EVENTS";
const DEAD: &str = "-dead";

/// How long a batch waits that the ledger did not take, in seconds; one that was given up before waits longer.
const PAUSE_S: u32 = 5;
const DEAD_PAUSE_S: u32 = 3_600;

/// Hands an event on: to the queue, or where there is none or it fails, to the ledger. A gate without a ledger
/// keeps none.
pub(super) async fn send(env: Env, event: String) {
    match env.queue(BINDING) {
        Ok(queue) if queue.send(&event).await.is_ok() => {}
        Ok(_) => ledger::append(env, event, true).await,
        Err(_) if ledger::is_bound(&env) => ledger::append(env, event, false).await,
        Err(_) => {}
    }
}

/// A batch for the ledger. Never fails: what a part of the ledger did not take is asked for again.
#[event(queue)]
async fn queue(batch: MessageBatch<String>, env: Env, _context: Context) -> Result<()> {
    let dead = batch.queue().ends_with(DEAD);
    let (mut messages, mut lines) = (Vec::new(), Vec::new());
    let mut lag_ms = 0;
    for message in batch.raw_iter() {
        // What is no text is no event; the ledger counts an empty object as broken.
        let line = message.body().dyn_into::<JsString>().map(String::from);
        let line = line.unwrap_or_else(|_| "{}".to_owned()).replace('\n', " ");
        lag_ms = lag_ms.max(age_ms(&line, now()));
        lines.push(line);
        messages.push(message);
    }
    let pause = if dead { DEAD_PAUSE_S } else { PAUSE_S };
    let options = QueueRetryOptionsBuilder::new().with_delay_seconds(pause).build();
    for (message, taken) in messages.iter().zip(ledger::take(&env, &lines, lag_ms, dead).await) {
        if taken {
            message.ack();
        } else {
            message.retry_with_options(&options);
        }
    }
    Ok(())
}
