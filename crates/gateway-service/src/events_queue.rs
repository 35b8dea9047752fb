//! The queue between classify calls and the event store.
//!
//! [`enqueue_event`] sends one event; [`store_batch`] hands a batch to the event store. If the queue
//! refuses an event, the event goes to the event store at once. If the event store does not accept a
//! message, the queue sends it again. The event store counts an event once by its id, so a duplicate
//! does no harm.

use crate::event_store;
use crate::host::{Host, ObjectClass, QueueSend};
use jeffrey_edge::gateway::events::stored::event_age_ms;

/// Suffix of the dead-letter queue's name.
const DEAD_LETTER_SUFFIX: &str = "-dead";

/// Delay before a message is retried that the event store did not accept, in seconds; a dead letter
/// waits longer.
const RETRY_DELAY_S: u32 = 5;
const DEAD_LETTER_RETRY_DELAY_S: u32 = 3_600;

/// Outcome of one batch of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchOutcome {
    /// `true` for each message that is stored and acknowledged; the queue sends the others again.
    pub stored: Vec<bool>,
    /// Delay before a message is retried, in seconds.
    pub retry_delay_s: u32,
}

/// Sends an event to the queue. Without a queue, or if the queue fails, the event goes to the event
/// store. Without an event store it is dropped.
pub async fn enqueue_event<H: Host>(host: &H, event: &str) {
    match host.send_to_queue(event).await {
        QueueSend::Sent => {}
        QueueSend::Failed => event_store::append_event(host, event, true).await,
        QueueSend::NotBound if host.has_objects(ObjectClass::EventStore) => {
            event_store::append_event(host, event, false).await;
        }
        QueueSend::NotBound => {}
    }
}

/// Hands a batch to the event store. `None` stands for a message that is not text; the event store
/// counts it as malformed.
pub async fn store_batch<H: Host>(
    host: &H,
    queue: &str,
    messages: &[Option<String>],
) -> BatchOutcome {
    let is_dead_letter = queue.ends_with(DEAD_LETTER_SUFFIX);
    let lines: Vec<String> = messages
        .iter()
        .map(|message| message.as_deref().unwrap_or("{}").replace('\n', " "))
        .collect();
    let now = host.now();
    let lag_ms = lines.iter().map(|line| event_age_ms(line, now)).max().unwrap_or(0);
    let stored = event_store::append_batch(host, &lines, lag_ms, is_dead_letter).await;
    let retry_delay_s = if is_dead_letter { DEAD_LETTER_RETRY_DELAY_S } else { RETRY_DELAY_S };
    BatchOutcome { stored, retry_delay_s }
}
