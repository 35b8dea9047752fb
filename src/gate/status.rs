//! What the ledger has and what each sink has had of it: of one part, and of all together.

use serde::{Deserialize, Serialize};

use super::outbox::Outbox;
use jeffrey_terms::UnixMs;

/// What one part of the ledger has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartStatus {
    /// Events that are kept.
    pub events: u64,
    /// Number of the last one.
    pub last: u64,
    /// Events that isolates could not hand over.
    pub lost: u64,
    /// By sink, what it has had.
    pub sinks: Vec<SinkStatus>,
}

/// What a sink has had of one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// The sink's name.
    pub name: String,
    /// Events that wait for it.
    pub waiting: u64,
    /// Its place.
    #[serde(flatten)]
    pub outbox: Outbox,
}

/// What all parts have together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LedgerStatus {
    events: u64,
    lost: u64,
    sinks: Vec<SinkSum>,
    /// Each part, in its order.
    shards: Vec<PartStatus>,
}

/// What a sink has had of all parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct SinkSum {
    name: String,
    waiting: u64,
    delivered: u64,
    dropped: u64,
    /// Failures in a row, of the part that had most.
    failures: u32,
    /// When the first part asks it again.
    next_ms: UnixMs,
}

/// The parts together. All have the same sinks, in one order.
pub fn whole(shards: Vec<PartStatus>) -> LedgerStatus {
    let mut sinks: Vec<SinkSum> = Vec::new();
    for SinkStatus { name, waiting, outbox } in shards.iter().flat_map(|part| &part.sinks) {
        let Outbox { delivered, dropped, failures, next, .. } = *outbox;
        match sinks.iter_mut().find(|sink| sink.name == *name) {
            Some(sink) => {
                sink.waiting += waiting;
                sink.delivered += delivered;
                sink.dropped += dropped;
                sink.failures = sink.failures.max(failures);
                sink.next_ms = UnixMs(sink.next_ms.0.min(next.0));
            }
            None => sinks.push(SinkSum {
                name: name.clone(),
                waiting: *waiting,
                delivered,
                dropped,
                failures,
                next_ms: next,
            }),
        }
    }
    LedgerStatus {
        events: shards.iter().map(|part| part.events).sum(),
        lost: shards.iter().map(|part| part.lost).sum(),
        sinks,
        shards,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_sums_and_the_worst_of_a_sink_is_shown() {
        let part = |events, failures, next| PartStatus {
            events,
            last: 9,
            lost: 1,
            sinks: vec![SinkStatus {
                name: "logs".to_owned(),
                waiting: 2,
                outbox: Outbox {
                    delivered: 5,
                    dropped: 1,
                    failures,
                    next: UnixMs(next),
                    ..Outbox::default()
                },
            }],
        };
        let whole = whole(vec![part(7, 0, 40), part(3, 4, 30)]);
        assert_eq!((whole.events, whole.lost, whole.shards.len()), (10, 2, 2));
        let [sink] = &whole.sinks[..] else { panic!("{whole:?}") };
        assert_eq!((sink.waiting, sink.delivered, sink.dropped), (4, 10, 2));
        assert_eq!((sink.failures, sink.next_ms), (4, UnixMs(30)));
    }
}
