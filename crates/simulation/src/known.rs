//! Faults of the gateway that are known and not mended yet, each with a scenario that shows it.
//!
//! A scenario must break its promise. When a fault is mended, its scenario breaks nothing any more,
//! the test of this list fails, and the row leaves the list: then nothing may break the promise.

use crate::fault::{Disturbance, Fault, Hop, OperatorAction, QueueFault, ScheduledFault};
use crate::invariants::Invariant;
use crate::scenario::Scenario;

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// A known fault of the gateway.
pub struct KnownFault {
    /// Number in the list of faults that the review of the gateway found.
    pub number: u32,
    /// Promise that it breaks.
    pub invariant: Invariant,
    /// Description of the fault, as one sentence.
    pub what: &'static str,
    /// Scenario that shows it.
    pub scenario: fn() -> Scenario,
}

/// All known faults, by their numbers.
pub const KNOWN_FAULTS: [KnownFault; 6] = [
    KnownFault {
        number: 8,
        invariant: Invariant::StableNeverWaits,
        what: "a call of stable waits for the rollout object when the share is older than five seconds",
        scenario: || {
            let slow = calls(Hop::Objects, Disturbance::Slow(600), 5 * MINUTE_MS);
            minutes(10).with_faults(vec![at(MINUTE_MS, slow)])
        },
    },
    KnownFault {
        number: 10,
        invariant: Invariant::AlertsNeverDropped,
        what: "an alert that its webhook answers with 404 is deleted",
        scenario: || {
            let refused = Fault::AlertsRefused { status: 404, duration_ms: HOUR_MS };
            let roll_back = Fault::Operator(OperatorAction::RollBack);
            minutes(30).with_faults(vec![at(MINUTE_MS, refused), at(5 * MINUTE_MS, roll_back)])
        },
    },
    KnownFault {
        number: 11,
        invariant: Invariant::BlindEnds,
        what: "the canary keeps its share while no event is counted",
        scenario: || {
            let stop = queue(QueueFault::Stops, 3 * HOUR_MS);
            minutes(180).with_faults(vec![at(20 * MINUTE_MS, stop)])
        },
    },
    KnownFault {
        number: 17,
        invariant: Invariant::EvidenceComplete,
        what: "events that come after the close of their minute are no evidence",
        scenario: || {
            let stop = queue(QueueFault::Stops, 90 * SECOND_MS);
            minutes(40).with_faults(vec![at(20 * MINUTE_MS, stop)])
        },
    },
    KnownFault {
        number: 19,
        invariant: Invariant::StoreBounded,
        what: "the table of seen subjects grows without end",
        scenario: || Scenario {
            users: 1_000_000,
            calls_per_second: 10.0,
            variables: vec![("EVENT_STORE_MAX_MB", "1".to_owned())],
            ..minutes(120)
        },
    },
    KnownFault {
        number: 23,
        invariant: Invariant::HistoryBounded,
        what: "a promoted release adds an entry a minute to its history",
        scenario: || minutes(11 * 60),
    },
];

/// Returns a healthy release under traffic for some minutes.
fn minutes(count: u64) -> Scenario {
    let seed = 1;
    Scenario { duration_ms: count * MINUTE_MS, ..Scenario::healthy(seed, 0.0) }
}

const fn at(at_ms: u64, fault: Fault) -> ScheduledFault {
    ScheduledFault { at_ms, fault }
}

const fn calls(hop: Hop, disturbance: Disturbance, duration_ms: u64) -> Fault {
    Fault::Calls { hop, disturbance, permille: 1_000, duration_ms }
}

const fn queue(fault: QueueFault, duration_ms: u64) -> Fault {
    Fault::Queue { fault, permille: 1_000, duration_ms }
}
