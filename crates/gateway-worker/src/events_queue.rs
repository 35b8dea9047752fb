//! The queue between requests and the ledger: an event is sent, a batch is handed over.
//!
//! An event that cannot be sent is written to the ledger at once. A batch that the ledger does not take comes
//! again; events count once by their id, so that twice is no harm.

use worker::js_sys::JsString;
use worker::wasm_bindgen::JsCast;
use worker::{Context, Env, MessageBatch, MessageExt, QueueRetryOptionsBuilder, Result, event};

use super::{event_store, now};
use jeffrey_edge::gateway::event::event_age_ms;

/// Name of the binding, and how the name of the queue of what was given up ends.
const BINDING: &str = "EVENTS";
const DEAD_LETTER_SUFFIX: &str = "-dead";

/// How long a batch waits that the ledger did not take, in seconds; one that was given up before waits longer.
const RETRY_DELAY_S: u32 = 5;
const DEAD_LETTER_RETRY_DELAY_S: u32 = 3_600;

/// Hands an event on: to the queue, or where there is none or it fails, to the ledger. A gate without a ledger
/// keeps none.
pub(super) async fn enqueue_event(env: Env, event: String) {
    match env.queue(BINDING) {
        Ok(queue) if queue.send(&event).await.is_ok() => {}
        Ok(_) => event_store::append_event(env, event, true).await,
        Err(_) if event_store::is_bound(&env) => event_store::append_event(env, event, false).await,
        Err(_) => {}
    }
}

/// A batch for the ledger. Never fails: what a part of the ledger did not take is asked for again.
#[event(queue)]
async fn queue(batch: MessageBatch<String>, env: Env, _context: Context) -> Result<()> {
    let is_dead_letter = batch.queue().ends_with(DEAD_LETTER_SUFFIX);
    let (mut messages, mut lines) = (Vec::new(), Vec::new());
    let mut lag_ms = 0;
    for message in batch.raw_iter() {
        // What is no text is no event; the ledger counts an empty object as broken.
        let line = message.body().dyn_into::<JsString>().map(String::from);
        let line = line.unwrap_or_else(|_| "{}".to_owned()).replace('\n', " ");
        lag_ms = lag_ms.max(event_age_ms(&line, now()));
        lines.push(line);
        messages.push(message);
    }
    let delay_s = if is_dead_letter { DEAD_LETTER_RETRY_DELAY_S } else { RETRY_DELAY_S };
    let options = QueueRetryOptionsBuilder::new().with_delay_seconds(delay_s).build();
    for (message, is_stored) in
        messages.iter().zip(event_store::append_batch(&env, &lines, lag_ms, is_dead_letter).await)
    {
        if is_stored {
            message.ack();
        } else {
            message.retry_with_options(&options);
        }
    }
    Ok(())
}
