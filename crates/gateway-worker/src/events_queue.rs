//! The queue between classify calls and the event store.
//!
//! [`enqueue_event`] sends one event; the consumer hands batches to the event store. An event that
//! the queue refuses goes to the event store at once. A message that the event store does not
//! accept is retried. The event store counts an event once by its id, so a duplicate does no harm.

use worker::js_sys::JsString;
use worker::wasm_bindgen::JsCast;
use worker::{Context, Env, MessageBatch, MessageExt, QueueRetryOptionsBuilder, Result, event};

use super::{event_store, now};
use jeffrey_edge::gateway::events::stored::event_age_ms;

/// Name of the queue's binding, and the suffix of the dead-letter queue's name.
const BINDING: &str = "EVENTS";
const DEAD_LETTER_SUFFIX: &str = "-dead";

/// Delay before a message is retried that the event store did not accept, in seconds; a dead letter
/// waits longer.
const RETRY_DELAY_S: u32 = 5;
const DEAD_LETTER_RETRY_DELAY_S: u32 = 3_600;

/// Sends an event to the queue. Without a queue, or if the queue fails, the event goes to the event
/// store. Without an event store it is dropped.
pub(super) async fn enqueue_event(env: Env, event: String) {
    match env.queue(BINDING) {
        Ok(queue) if queue.send(&event).await.is_ok() => {}
        Ok(_) => event_store::append_event(env, event, true).await,
        Err(_) if event_store::is_bound(&env) => event_store::append_event(env, event, false).await,
        Err(_) => {}
    }
}

/// Hands a batch to the event store. Never fails: a message that its shard did not accept is
/// retried.
#[event(queue)]
async fn queue(batch: MessageBatch<String>, env: Env, _context: Context) -> Result<()> {
    let is_dead_letter = batch.queue().ends_with(DEAD_LETTER_SUFFIX);
    let (mut messages, mut lines) = (Vec::new(), Vec::new());
    let mut lag_ms = 0;
    for message in batch.raw_iter() {
        // A message that is not text cannot be an event; the event store counts an empty object as
        // broken.
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
