//! Status of the event store and its sinks, for each shard and summed over all shards.
//!
//! Every shard reports a [`ShardStatus`]. [`sum_shards`] combines them into the
//! [`EventStoreStatus`] that the gateway's API returns. Counts of a sink are summed. Its failures
//! are those of the worst shard, and its next attempt is the earliest of any shard.

use serde::{Deserialize, Serialize};

use crate::gateway::export::delivery_cursor::DeliveryCursor;
use jeffrey_terms::UnixMs;

/// Events and sink progress of one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStatus {
    /// Number of events that the shard keeps now.
    pub events: u64,
    /// Number of the newest event that the shard keeps; 0 if it keeps no event.
    pub newest_event_number: u64,
    /// Number of events that isolates could not deliver to the event store, as reported to this
    /// shard.
    pub lost_events: u64,
    /// Number of events in which an erased subject is still to be searched; 0 once erasure is complete.
    pub erasing_events: u64,
    /// Delivery progress of each sink in this shard.
    pub sinks: Vec<SinkStatus>,
}

/// Delivery progress of one sink in one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// Unique name of the sink.
    pub name: String,
    /// Number of events that are neither delivered nor dropped yet.
    pub pending_events: u64,
    /// Position of the sink, and its retry state.
    #[serde(flatten)]
    pub cursor: DeliveryCursor,
}

/// Events and sink progress of all shards together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventStoreStatus {
    events: u64,
    lost_events: u64,
    erasing_events: u64,
    sinks: Vec<SinkTotals>,
    /// Status of each shard, in the order of the shards.
    shards: Vec<ShardStatus>,
}

/// Delivery progress of one sink over all shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct SinkTotals {
    name: String,
    pending_events: u64,
    delivered: u64,
    dropped: u64,
    /// Failed attempts in a row, in the shard with the most.
    failures: u32,
    /// Earliest time at which any shard tries the sink.
    next_ms: UnixMs,
}

/// Sums the status of all shards; sinks are matched by name.
pub fn sum_shards(shards: Vec<ShardStatus>) -> EventStoreStatus {
    let mut sinks: Vec<SinkTotals> = Vec::new();
    for SinkStatus { name, pending_events, cursor } in shards.iter().flat_map(|shard| &shard.sinks)
    {
        let DeliveryCursor { delivered, dropped, failures, next_attempt_at, .. } = *cursor;
        match sinks.iter_mut().find(|sink| sink.name == *name) {
            Some(sink) => {
                sink.pending_events += pending_events;
                sink.delivered += delivered;
                sink.dropped += dropped;
                sink.failures = sink.failures.max(failures);
                sink.next_ms = UnixMs(sink.next_ms.0.min(next_attempt_at.0));
            }
            None => sinks.push(SinkTotals {
                name: name.clone(),
                pending_events: *pending_events,
                delivered,
                dropped,
                failures,
                next_ms: next_attempt_at,
            }),
        }
    }
    EventStoreStatus {
        events: shards.iter().map(|shard| shard.events).sum(),
        lost_events: shards.iter().map(|shard| shard.lost_events).sum(),
        erasing_events: shards.iter().map(|shard| shard.erasing_events).sum(),
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
            newest_event_number: 9,
            lost_events: 1,
            erasing_events: 0,
            sinks: vec![SinkStatus {
                name: "logs".to_owned(),
                pending_events: 2,
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
        assert_eq!((status.events, status.lost_events, status.shards.len()), (10, 2, 2));
        let [sink] = &status.sinks[..] else { panic!("{status:?}") };
        assert_eq!((sink.pending_events, sink.delivered, sink.dropped), (4, 10, 2));
        assert_eq!((sink.failures, sink.next_ms), (4, UnixMs(30)));
    }
}
