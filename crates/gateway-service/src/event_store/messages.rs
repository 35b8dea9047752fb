//! Messages to a shard of the event store, and the replies that are more than a value of the core.

use serde::{Deserialize, Serialize};

use jeffrey_edge::gateway::events::feedback::Feedback;

/// Message to one shard.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EventStoreRequest {
    /// Stores the events in the payload, one line each. The reply is the number of new events.
    Append {
        /// Age of the oldest event of a queue's batch, in milliseconds; `None` for an event that
        /// did not come from the queue.
        queue_lag_ms: Option<u64>,
        /// Earlier events that the sender could not store.
        lost_events: u64,
        /// Events that the queue refused.
        queue_failures: u64,
        /// Events that come from the dead-letter queue.
        dead_letters: u64,
    },
    /// Asks for the value of every counter, by the name of its series.
    Counters,
    /// Erases the events of the subject in the payload. The reply is an [`ErasureProgress`].
    EraseSubject,
    /// Asks for the events after event number `since`, as lines of JSON.
    Events {
        /// Number of the last event that the caller has.
        since: u64,
        /// Largest number of events in the reply.
        limit: u64,
    },
    /// Stores feedback on one response. The reply is a [`FeedbackOutcome`].
    Feedback {
        /// Id of the response.
        id: String,
        /// Judgement of the response by the user.
        feedback: Feedback,
    },
    /// Asks for the minutes that have stats, earliest first.
    Minutes {
        /// Name of the release.
        release: String,
        /// Lower bound of the minutes, exclusive.
        since: u64,
        /// Upper bound of the minutes, exclusive.
        before: u64,
    },
    /// Asks for what this shard counted in each of some minutes.
    ShardMinutes {
        /// Name of the release.
        release: String,
        /// Minutes of the reply, counted since 1970.
        minutes: Vec<u64>,
    },
    /// Asks for stable's latency sketch of one minute.
    StableLatency {
        /// Name of the release.
        release: String,
        /// Minute of the sketch, counted since 1970.
        minute: u64,
    },
    /// Asks how many events are stored and lost, and how far each sink has got.
    Status,
    /// Asks for the stats of both cohorts over a range of minutes.
    TotalsBetween {
        /// Name of the release.
        release: String,
        /// Lower bound of the minutes, exclusive.
        since: u64,
        /// Upper bound of the minutes, exclusive.
        before: u64,
    },
}

/// Progress of the erasure of a subject, at one shard or summed over all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ErasureProgress {
    /// Events that are erased.
    pub erased: u64,
    /// Stored events that are still to be searched for more; no read shows those of the subject.
    pub pending_events: u64,
}

/// Outcome of feedback at one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedbackOutcome {
    /// The response had feedback already.
    Exists,
    /// The feedback is stored.
    Stored,
    /// This shard does not have the response.
    UnknownId,
}
