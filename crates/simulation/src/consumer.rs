//! The queue of events: at least once, in any order, with a dead-letter queue.

use std::rc::Rc;

use futures_channel::oneshot;
use futures_util::future::{Either, select};

use crate::executor::Owner;
use crate::fault::QueueFault;
use crate::host::SimulatedHost;
use crate::queue::Message;
use crate::simulation::Simulation;
use jeffrey_gateway_service::events_queue::{BatchOutcome, store_batch};
use jeffrey_gateway_service::host::QueueSend;

/// Names of the queues, and their settings in `wrangler.toml`.
const QUEUE: &str = "jeffrey-events";
const DEAD_LETTER_QUEUE: &str = "jeffrey-events-dead";
const BATCH_MAX: usize = 100;
const BATCH_INTERVAL_MS: u64 = 1_000;
const RETRIES_MAX: u32 = 10;
const DEAD_LETTER_RETRIES_MAX: u32 = 100;

/// Time limit of a consumer, in milliseconds
/// (<https://developers.cloudflare.com/queues/platform/limits/>).
const CONSUMER_MS_MAX: u64 = 15 * 60_000;

impl Simulation {
    /// Sends an event to the queue.
    pub(crate) async fn send_to_queue(self: &Rc<Self>, event: &str) -> QueueSend {
        let send_ms = self.conditions.draw_between(2, 20);
        self.record.check_privacy("the queue", event.as_bytes());
        self.executor.sleep(send_ms).await;
        let now_ms = self.now_ms();
        if self.conditions.has_queue_fault(QueueFault::Refuses, now_ms) {
            return QueueSend::Failed;
        }
        let message = Message { event: event.into(), retries: 0, not_before_ms: now_ms };
        self.queue.messages.borrow_mut().push(message);
        if self.conditions.has_queue_fault(QueueFault::RefusesLate, now_ms) {
            return QueueSend::Failed;
        }
        self.executor.sleep(send_ms).await;
        QueueSend::Sent
    }

    /// Hands due messages to a consumer, once a second.
    pub(crate) async fn run_queue(self: Rc<Self>) {
        loop {
            self.executor.sleep(BATCH_INTERVAL_MS).await;
            if self.conditions.has_queue_fault(QueueFault::Stops, self.now_ms()) {
                continue;
            }
            self.start_consumer(false);
            self.start_consumer(true);
        }
    }

    fn start_consumer(self: &Rc<Self>, is_dead_letter: bool) {
        let now_ms = self.now_ms();
        let store = if is_dead_letter { &self.queue.dead_letters } else { &self.queue.messages };
        let mut batch = Vec::new();
        store.borrow_mut().retain(|message| {
            let is_taken = message.not_before_ms <= now_ms && batch.len() < BATCH_MAX;
            if is_taken {
                batch.push(message.clone());
            }
            !is_taken
        });
        if batch.is_empty() {
            return;
        }
        // The queue promises no order.
        for place in 0..batch.len() {
            let other = self.conditions.draw_between(0, place as u64) as usize;
            batch.swap(place, other);
        }
        self.queue.in_flight.set(self.queue.in_flight.get() + batch.len());
        let simulation = Rc::clone(self);
        self.executor.spawn(Owner::Surroundings, async move {
            simulation.consume(batch, is_dead_letter).await;
        });
    }

    /// Runs a consumer on one batch. Messages that it does not acknowledge, or all of them if its
    /// isolate ends, come again.
    async fn consume(self: &Rc<Self>, batch: Vec<Message>, is_dead_letter: bool) {
        let (sender, receiver) = oneshot::channel::<BatchOutcome>();
        if let Some(isolate) = self.pick_isolate() {
            let host = SimulatedHost::new(self, &isolate);
            let lines: Vec<Option<String>> =
                batch.iter().map(|message| Some(message.event.to_string())).collect();
            let name = if is_dead_letter { DEAD_LETTER_QUEUE } else { QUEUE };
            self.executor.spawn(isolate.owner, async move {
                let _ = sender.send(store_batch(&host, name, &lines).await);
            });
        }
        let limit = self.executor.sleep(CONSUMER_MS_MAX);
        let outcome = match select(receiver, limit).await {
            Either::Left((outcome, _)) => outcome.ok(),
            Either::Right(_) => None,
        };
        self.queue.in_flight.set(self.queue.in_flight.get() - batch.len());
        let now_ms = self.now_ms();
        for (place, mut message) in batch.into_iter().enumerate() {
            let is_stored = outcome.as_ref().is_some_and(|outcome| outcome.stored[place]);
            if is_stored {
                if self.conditions.has_queue_fault(QueueFault::Redelivers, now_ms) {
                    message.not_before_ms = now_ms + self.conditions.draw_between(0, 120_000);
                    self.queue.messages.borrow_mut().push(message);
                }
                continue;
            }
            let delay_s = outcome.as_ref().map_or(5, |outcome| outcome.retry_delay_s);
            message.retries += 1;
            message.not_before_ms = now_ms + u64::from(delay_s) * 1_000;
            self.requeue(message, is_dead_letter);
        }
    }

    fn requeue(&self, mut message: Message, is_dead_letter: bool) {
        if is_dead_letter && message.retries > DEAD_LETTER_RETRIES_MAX {
            self.queue.given_up.set(self.queue.given_up.get() + 1);
        } else if is_dead_letter {
            self.queue.dead_letters.borrow_mut().push(message);
        } else if message.retries > RETRIES_MAX {
            message.retries = 0;
            self.queue.dead_letters.borrow_mut().push(message);
        } else {
            self.queue.messages.borrow_mut().push(message);
        }
    }
}
