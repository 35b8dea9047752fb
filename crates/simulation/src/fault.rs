//! Faults of the platform and of the systems around the gateway, on a schedule.

use std::fmt;

use crate::random::Stream;

/// A connection of the gateway that can be disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hop {
    /// Webhooks that get alerts or are asked before a share increase.
    Alerts,
    /// Calls to the legacy system.
    Legacy,
    /// Calls to the model worker.
    Model,
    /// Messages to Durable Objects.
    Objects,
    /// Batches to sinks of events.
    Sinks,
}

impl Hop {
    /// All hops, by their names.
    pub const ALL: [Self; 5] =
        [Self::Alerts, Self::Legacy, Self::Model, Self::Objects, Self::Sinks];
}

/// Effects of a disturbed connection on a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// The request arrives, and the connection is closed without a response.
    Closed,
    /// The response's body breaks off in the middle.
    CutBody,
    /// The call arrives twice.
    Doubled,
    /// The call is refused at once.
    Failed,
    /// The request arrives, and its response is lost.
    ResponseLost,
    /// Nothing arrives, and nothing says so.
    Silent,
    /// Each direction takes this much longer, in milliseconds.
    Slow(u64),
}

/// Responses of a legacy system that is not well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegacyFault {
    /// A response with status 500.
    Error,
    /// A response with status 200 that is no JSON.
    NotJson,
}

/// Replies of a model worker that is not well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelFault {
    /// A reported dimension mismatch.
    DimensionMismatch,
    /// Bytes that are no reply.
    Garbage,
    /// A score that is no number.
    NonFinite,
    /// Another model answers, under another sha256.
    OtherModel,
    /// A reply with status 429.
    Refused,
    /// More than the 200 ms that a gate allows.
    Slow,
    /// The model's program ends at the text, and its script says so.
    Trap,
}

impl ModelFault {
    /// All faults of the model.
    pub const ALL: [Self; 7] = [
        Self::DimensionMismatch,
        Self::Garbage,
        Self::NonFinite,
        Self::OtherModel,
        Self::Refused,
        Self::Slow,
        Self::Trap,
    ];
}

/// Faults of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueFault {
    /// Messages that were acknowledged come again, in other batches.
    Redelivers,
    /// `send` fails and the message is not in the queue.
    Refuses,
    /// `send` fails though the message is in the queue.
    RefusesLate,
    /// No message is delivered.
    Stops,
}

/// Commands and requests of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorAction {
    /// Erases the events of a subject.
    Erase,
    /// Sets the kill flag, and clears it after ten minutes.
    Kill,
    /// Pauses the release, and resumes it after ten minutes.
    Pause,
    /// Reads status, minutes, metrics and history.
    Read,
    /// Rolls the release back.
    RollBack,
    /// Sends a test alert.
    TestAlert,
}

/// One fault of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Alert webhooks answer with this status for a while.
    AlertsRefused {
        /// HTTP status of their responses.
        status: u16,
        /// Duration of the fault in milliseconds.
        duration_ms: u64,
    },
    /// A part of the calls over a connection is disturbed for a while.
    Calls {
        /// Connection that is disturbed.
        hop: Hop,
        /// Effect on a disturbed call.
        disturbance: Disturbance,
        /// Calls in a thousand.
        permille: u32,
        /// Duration of the fault in milliseconds.
        duration_ms: u64,
    },
    /// The clock of an isolate jumps.
    ClockStep {
        /// Number that picks the isolate.
        isolate: u32,
        /// Jump of the clock in milliseconds.
        by_ms: i64,
    },
    /// A new version replaces the isolates one by one, and restarts the objects.
    Deploy,
    /// An isolate ends after some runs of its tasks, with everything that is under way.
    IsolateEnds {
        /// Number that picks the isolate.
        isolate: u32,
        /// Runs of its tasks until then.
        runs: u32,
    },
    /// An idle object is evicted from memory.
    ObjectEvicted {
        /// Number that picks the object.
        object: u32,
    },
    /// An object restarts after some runs of its tasks; writes that are not durable are lost.
    ObjectRestarts {
        /// Number that picks the object.
        object: u32,
        /// Runs of its tasks until then.
        runs: u32,
    },
    /// A part of the model worker's replies is not well for a while.
    Model {
        /// Fault of the replies.
        fault: ModelFault,
        /// Replies in a thousand.
        permille: u32,
        /// Duration of the fault in milliseconds.
        duration_ms: u64,
    },
    /// An operator does something.
    Operator(OperatorAction),
    /// A fault of the queue, for a while.
    Queue {
        /// Fault that happens then.
        fault: QueueFault,
        /// Messages in a thousand.
        permille: u32,
        /// Duration of the fault in milliseconds.
        duration_ms: u64,
    },
    /// A statement of an object fails.
    Statement {
        /// Number that picks the object.
        object: u32,
        /// Statements that come before it.
        statements_before: u64,
        /// Whether the failed statement still takes effect.
        has_effect: bool,
    },
    /// A commit takes this long for a while.
    StorageSlow {
        /// Duration of a commit in milliseconds.
        commit_ms: u64,
        /// Duration of the fault in milliseconds.
        duration_ms: u64,
    },
}

/// A fault and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduledFault {
    /// Time after the start, in milliseconds.
    pub at_ms: u64,
    /// Fault that happens then.
    pub fault: Fault,
}

impl fmt::Display for ScheduledFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3} s  {:?}", self.at_ms as f64 / 1e3, self.fault)
    }
}

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;

/// Mean time between two faults.
const MEAN_DISTANCE_MS: f64 = 12.0 * MINUTE_MS as f64;

/// Draws the faults of a run.
pub fn draw_schedule(seed: u64, duration_ms: u64) -> Vec<ScheduledFault> {
    let mut stream = Stream::new(seed, "faults", 0);
    let mut faults = Vec::new();
    let mut at_ms = 0;
    loop {
        at_ms += stream.exponential_ms(MEAN_DISTANCE_MS);
        if at_ms >= duration_ms {
            return faults;
        }
        if stream.chance(40) {
            faults.extend(draw_pair(&mut stream, at_ms));
            continue;
        }
        // Faults come alone, or in a burst of up to four within seconds.
        let burst = if stream.chance(250) { stream.between(2, 4) } else { 1 };
        for _ in 0..burst {
            faults.push(ScheduledFault { at_ms, fault: draw_fault(&mut stream) });
            at_ms += stream.between(0, 3 * SECOND_MS);
        }
    }
}

/// Draws two faults that do harm only together, and seldom meet by chance.
fn draw_pair(stream: &mut Stream, at_ms: u64) -> [ScheduledFault; 2] {
    let duration_ms = stream.between(MINUTE_MS, 3 * MINUTE_MS);
    let calls = |hop, disturbance| Fault::Calls { hop, disturbance, permille: 1_000, duration_ms };
    let queue = |fault| Fault::Queue { fault, permille: 1_000, duration_ms };
    let (first, second) = match stream.between(0, 3) {
        // The share changes while no isolate can hear of it.
        0 => {
            let roll_back = Fault::Operator(OperatorAction::RollBack);
            (calls(Hop::Objects, Disturbance::ResponseLost), roll_back)
        }
        // Neither the queue nor the event store takes an event; then the event store does.
        1 => {
            let (hop, disturbance) = (Hop::Objects, Disturbance::Failed);
            let duration_ms = duration_ms / 2;
            let outage = Fault::Calls { hop, disturbance, permille: 1_000, duration_ms };
            (queue(QueueFault::Refuses), outage)
        }
        // An event comes again after its subject was erased.
        2 => (queue(QueueFault::Redelivers), Fault::Operator(OperatorAction::Erase)),
        // An alert waits while the object that holds it restarts.
        _ => {
            let refused = Fault::AlertsRefused { status: 503, duration_ms };
            (refused, Fault::Operator(OperatorAction::RollBack))
        }
    };
    let second_ms = at_ms + stream.between(500, 5 * SECOND_MS);
    [ScheduledFault { at_ms, fault: first }, ScheduledFault { at_ms: second_ms, fault: second }]
}

fn draw_fault(stream: &mut Stream) -> Fault {
    let duration_ms = match stream.between(0, 9) {
        0..=5 => stream.between(SECOND_MS, MINUTE_MS),
        6..=8 => stream.between(MINUTE_MS, 10 * MINUTE_MS),
        _ => stream.between(10 * MINUTE_MS, 60 * MINUTE_MS),
    };
    let permille = *pick(stream, &[1_000, 1_000, 500, 100, 10, 1]);
    let number = stream.between(0, 1_000) as u32;
    let runs = stream.between(1, 40) as u32;
    match stream.between(0, 99) {
        0..=19 => Fault::IsolateEnds { isolate: number, runs },
        20..=33 => Fault::ObjectRestarts { object: number, runs },
        34..=37 => Fault::ObjectEvicted { object: number },
        38..=59 => {
            let hop = *pick(stream, &Hop::ALL);
            let disturbance = draw_disturbance(stream);
            Fault::Calls { hop, disturbance, permille, duration_ms }
        }
        60..=66 => {
            let fault = *pick(stream, &ModelFault::ALL);
            Fault::Model { fault, permille, duration_ms }
        }
        67..=74 => {
            let faults = [
                QueueFault::Redelivers,
                QueueFault::Refuses,
                QueueFault::RefusesLate,
                QueueFault::Stops,
            ];
            Fault::Queue { fault: *pick(stream, &faults), permille, duration_ms }
        }
        75..=80 => Fault::Statement {
            object: number,
            statements_before: stream.between(0, 30),
            has_effect: stream.chance(500),
        },
        81..=83 => Fault::StorageSlow { commit_ms: stream.between(100, 4_000), duration_ms },
        84..=86 => {
            let ten_minutes = 10 * MINUTE_MS as i64;
            let by_ms = *pick(stream, &[-ten_minutes, ten_minutes, -45_000, 45_000]);
            Fault::ClockStep { isolate: number, by_ms }
        }
        87..=89 => Fault::Deploy,
        90..=92 => {
            let status = *pick(stream, &[500, 503, 429]);
            Fault::AlertsRefused { status, duration_ms }
        }
        _ => {
            let actions = [
                OperatorAction::Erase,
                OperatorAction::Erase,
                OperatorAction::Kill,
                OperatorAction::Pause,
                OperatorAction::Read,
                OperatorAction::RollBack,
                OperatorAction::TestAlert,
            ];
            Fault::Operator(*pick(stream, &actions))
        }
    }
}

fn draw_disturbance(stream: &mut Stream) -> Disturbance {
    match stream.between(0, 5) {
        0 => Disturbance::CutBody,
        1 => Disturbance::Doubled,
        2 => Disturbance::Failed,
        3 => Disturbance::ResponseLost,
        4 => Disturbance::Silent,
        _ => Disturbance::Slow(stream.between(50, 5_000)),
    }
}

fn pick<'a, T>(stream: &mut Stream, of: &'a [T]) -> &'a T {
    &of[stream.index(of.len())]
}
