//! The messages of the queue and of its dead-letter queue.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// An event on its way to the event store.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) event: Rc<str>,
    pub(crate) retries: u32,
    pub(crate) not_before_ms: u64,
}

/// Both queues with their messages.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) messages: RefCell<Vec<Message>>,
    pub(crate) dead_letters: RefCell<Vec<Message>>,
    /// Messages that a consumer has now.
    pub(crate) in_flight: Cell<usize>,
    /// Messages that even the dead-letter queue gave up.
    pub(crate) given_up: Cell<u64>,
}

impl Queue {
    /// Returns whether no message waits or is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight.get() == 0
            && self.messages.borrow().is_empty()
            && self.dead_letters.borrow().is_empty()
    }
}
