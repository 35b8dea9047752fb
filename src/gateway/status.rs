//! What the ledger has and what each sink has had of it: of one part, and of all together.

use serde::{Deserialize, Serialize};

use super::delivery_cursor::DeliveryCursor;
use jeffrey_terms::UnixMs;

/// What one part of the ledger has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStatus {
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
    pub cursor: DeliveryCursor,
}

/// What all parts have together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventStoreStatus {
    events: u64,
    lost: u64,
    sinks: Vec<SinkTotals>,
    /// Each part, in its order.
    shards: Vec<ShardStatus>,
}

/// What a sink has had of all parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct SinkTotals {
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
pub fn sum_shards(shards: Vec<ShardStatus>) -> EventStoreStatus {
    let mut sinks: Vec<SinkTotals> = Vec::new();
    for SinkStatus { name, waiting, cursor } in shards.iter().flat_map(|shard| &shard.sinks) {
        let DeliveryCursor { delivered, dropped, failures, next_attempt_at, .. } = *cursor;
        match sinks.iter_mut().find(|sink| sink.name == *name) {
            Some(sink) => {
                sink.waiting += waiting;
                sink.delivered += delivered;
                sink.dropped += dropped;
                sink.failures = sink.failures.max(failures);
                sink.next_ms = UnixMs(sink.next_ms.0.min(next_attempt_at.0));
            }
            None => sinks.push(SinkTotals {
                name: name.clone(),
                waiting: *waiting,
                delivered,
                dropped,
                failures,
                next_ms: next_attempt_at,
            }),
        }
    }
    EventStoreStatus {
        events: shards.iter().map(|shard| shard.events).sum(),
        lost: shards.iter().map(|shard| shard.lost).sum(),
        sinks,
        shards,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_sums_and_the_worst_of_a_sink_is_shown() {
        let shard_status = |events, failures, next_attempt_ms| ShardStatus {
            events,
            last: 9,
            lost: 1,
            sinks: vec![SinkStatus {
                name: "logs".to_owned(),
                waiting: 2,
                cursor: DeliveryCursor {
                    delivered: 5,
                    dropped: 1,
                    failures,
                    next_attempt_at: UnixMs(next_attempt_ms),
                    ..DeliveryCursor::default()
                },
            }],
        };
        let status = sum_shards(vec![shard_status(7, 0, 40), shard_status(3, 4, 30)]);
        assert_eq!((status.events, status.lost, status.shards.len()), (10, 2, 2));
        let [sink] = &status.sinks[..] else { panic!("{status:?}") };
        assert_eq!((sink.waiting, sink.delivered, sink.dropped), (4, 10, 2));
        assert_eq!((sink.failures, sink.next_ms), (4, UnixMs(30)));
    }
}
