//! The faults that are active now, and what they do to a call, a message or a reply.

use std::cell::{Cell, RefCell};

use crate::fault::{Disturbance, Hop, LegacyFault, ModelFault, QueueFault};
use crate::random::Stream;

/// A fault that ends by itself.
struct Active<T> {
    fault: T,
    permille: u32,
    until_ms: u64,
}

/// Way of one call: its time in each direction, and what happens to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passage {
    pub(crate) request_ms: u64,
    pub(crate) response_ms: u64,
    pub(crate) disturbance: Option<Disturbance>,
}

/// Active faults, and the random numbers of connections.
pub(crate) struct Conditions {
    calls: RefCell<Vec<Active<(Hop, Disturbance)>>>,
    legacy: Cell<Option<LegacyFault>>,
    model: RefCell<Vec<Active<ModelFault>>>,
    queue: RefCell<Vec<Active<QueueFault>>>,
    alerts: RefCell<Vec<Active<u16>>>,
    commits: RefCell<Vec<Active<u64>>>,
    /// Verdict of the webhook that is asked before an increase; `None` for its approval.
    verdict: RefCell<Option<String>>,
    stream: RefCell<Stream>,
    /// Time at which each hop was last disturbed, by its place in [`Hop::ALL`]; 0 for never.
    disturbed_at_ms: [Cell<u64>; Hop::ALL.len()],
}

impl Conditions {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            calls: RefCell::default(),
            legacy: Cell::default(),
            model: RefCell::default(),
            queue: RefCell::default(),
            alerts: RefCell::default(),
            commits: RefCell::default(),
            verdict: RefCell::default(),
            stream: RefCell::new(Stream::new(seed, "network", 0)),
            disturbed_at_ms: Default::default(),
        }
    }

    pub(crate) fn disturb_calls(
        &self,
        hop: Hop,
        disturbance: Disturbance,
        permille: u32,
        until_ms: u64,
    ) {
        let fault = (hop, disturbance);
        self.calls.borrow_mut().push(Active { fault, permille, until_ms });
    }

    pub(crate) fn disturb_legacy(&self, fault: LegacyFault) {
        self.legacy.set(Some(fault));
    }

    pub(crate) fn disturb_model(&self, fault: ModelFault, permille: u32, until_ms: u64) {
        self.model.borrow_mut().push(Active { fault, permille, until_ms });
    }

    pub(crate) fn disturb_queue(&self, fault: QueueFault, permille: u32, until_ms: u64) {
        self.queue.borrow_mut().push(Active { fault, permille, until_ms });
    }

    pub(crate) fn refuse_alerts(&self, status: u16, until_ms: u64) {
        let permille = 1_000;
        self.alerts.borrow_mut().push(Active { fault: status, permille, until_ms });
    }

    /// Lets the webhook that is asked before an increase give this verdict from now on.
    pub(crate) fn set_verdict(&self, verdict: String) {
        self.verdict.replace(Some(verdict));
    }

    pub(crate) fn slow_commits(&self, commit_ms: u64, until_ms: u64) {
        let permille = 1_000;
        self.commits.borrow_mut().push(Active { fault: commit_ms, permille, until_ms });
    }

    /// Ends every fault that is active.
    pub(crate) fn heal(&self) {
        self.calls.borrow_mut().clear();
        self.legacy.set(None);
        self.model.borrow_mut().clear();
        self.queue.borrow_mut().clear();
        self.alerts.borrow_mut().clear();
        self.commits.borrow_mut().clear();
    }

    /// Returns the time at which a call over a hop was last disturbed; 0 for never.
    pub(crate) fn disturbed_at_ms(&self, hop: Hop) -> u64 {
        self.disturbed_at_ms[hop as usize].get()
    }

    /// Draws the way of a call.
    pub(crate) fn draw_passage(&self, hop: Hop, now_ms: u64) -> Passage {
        let mut stream = self.stream.borrow_mut();
        let (low, high) = match hop {
            Hop::Model => (1, 3),
            Hop::Objects => (1, 15),
            Hop::Legacy => (2, 10),
            Hop::Alerts | Hop::Sinks => (5, 60),
        };
        let (mut request_ms, mut response_ms) =
            (stream.between(low, high), stream.between(low, high));
        let mut disturbance = None;
        for active in in_force(&mut self.calls.borrow_mut(), now_ms) {
            let (disturbed_hop, kind) = active.fault;
            if disturbed_hop == hop && stream.chance(active.permille) {
                disturbance = Some(kind);
                if let Disturbance::Slow(by_ms) = kind {
                    request_ms += by_ms;
                    response_ms += by_ms;
                }
            }
        }
        if disturbance.is_some() {
            self.disturbed_at_ms[hop as usize].set(now_ms);
        }
        Passage { request_ms, response_ms, disturbance }
    }

    /// Returns the fault of the legacy system's responses; `None` if they have none.
    pub(crate) const fn legacy_fault(&self) -> Option<LegacyFault> {
        self.legacy.get()
    }

    /// Returns the verdict of the webhook that is asked before an increase.
    pub(crate) fn verdict(&self) -> String {
        self.verdict.borrow().clone().unwrap_or_else(|| "approve".to_owned())
    }

    /// Draws whether a fault of the model worker applies to a reply.
    pub(crate) fn draw_model_fault(&self, now_ms: u64) -> Option<ModelFault> {
        let mut stream = self.stream.borrow_mut();
        let mut model = self.model.borrow_mut();
        let mut faults = in_force(&mut model, now_ms);
        faults.find(|active| stream.chance(active.permille)).map(|active| active.fault)
    }

    /// Draws whether a fault of the queue applies to a message.
    pub(crate) fn has_queue_fault(&self, fault: QueueFault, now_ms: u64) -> bool {
        let mut stream = self.stream.borrow_mut();
        in_force(&mut self.queue.borrow_mut(), now_ms)
            .any(|active| active.fault == fault && stream.chance(active.permille))
    }

    /// Returns the status with which alert webhooks refuse everything; `None` if they do not.
    pub(crate) fn alert_status(&self, now_ms: u64) -> Option<u16> {
        in_force(&mut self.alerts.borrow_mut(), now_ms).next().map(|active| active.fault)
    }

    /// Draws the time until an object's writes are durable.
    pub(crate) fn draw_commit_ms(&self, now_ms: u64) -> u64 {
        let slow = in_force(&mut self.commits.borrow_mut(), now_ms).next().map(|slow| slow.fault);
        slow.unwrap_or_else(|| self.stream.borrow_mut().between(1, 6))
    }

    /// Draws a number from `low` to `high`.
    pub(crate) fn draw_between(&self, low: u64, high: u64) -> u64 {
        self.stream.borrow_mut().between(low, high)
    }
}

/// Returns the faults that have not ended, and forgets the others.
fn in_force<T>(active: &mut Vec<Active<T>>, now_ms: u64) -> impl Iterator<Item = &Active<T>> {
    active.retain(|fault| now_ms < fault.until_ms);
    active.iter()
}
