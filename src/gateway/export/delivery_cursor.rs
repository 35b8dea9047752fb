//! Tracks which events of the event store a sink has received, and when to try the sink again.
//!
//! The event store numbers its events. A sink receives them in order, one batch at a time. Its
//! cursor moves on only when the sink has accepted a batch or rejected it for good, so delivery is
//! at least once. Each sink has its own cursor, so a sink that is down does not delay the others.
//! Events that a sink rejects for good are dropped and counted, so that one bad event does not
//! block the rest.

use serde::{Deserialize, Serialize};

use jeffrey_terms::UnixMs;

/// Largest number of events in one batch.
pub const BATCH_EVENTS_MAX: usize = 500;

/// Pause after the first failure, in milliseconds; each further failure doubles it.
pub const BACKOFF_MS_MIN: u64 = 1_000;

/// Longest pause that the backoff reaches, in milliseconds. A sink can ask for a longer pause, up
/// to [`RETRY_AFTER_MS_MAX`].
pub const BACKOFF_MS_MAX: u64 = 5 * 60 * 1_000;

/// Longest pause that a sink can ask for, in milliseconds; a longer one is cut to this.
pub const RETRY_AFTER_MS_MAX: u64 = 60 * 60 * 1_000;

/// Delivery progress of one sink in one shard of the event store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryCursor {
    /// Number of the last event that was delivered or dropped; 0 before the first.
    pub place: u64,
    /// Number of events that the sink has accepted.
    pub delivered: u64,
    /// Number of events that the sink rejected for good or that expired before delivery.
    pub dropped: u64,
    /// Failed attempts in a row; 0 after a batch was accepted or rejected for good.
    pub failures: u32,
    /// Earliest time of the next attempt.
    #[serde(rename = "next_ms")]
    pub next_attempt_at: UnixMs,
    /// Largest size of the next batch, in events: halved when a batch is too large, and reset when
    /// the cursor moves on.
    pub next_batch_size: usize,
}

/// Result of sending one batch to a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The sink accepted the whole batch.
    Delivered,
    /// The sink accepted the batch, except for events that it will never accept.
    PartlyDelivered {
        /// Number of events rejected for good.
        rejected: u64,
    },
    /// The sink may accept the batch later; holds the pause in milliseconds if it asked for one.
    Retry(Option<u64>),
    /// The sink will never accept the batch.
    Rejected,
    /// The batch is too large, but a smaller one may be accepted.
    TooLarge,
}

/// Returns the outcome that an HTTP response stands for. `status` is `None` if there was no
/// response. `retry_after` is the value of the `Retry-After` header.
pub fn delivery_outcome(
    status: Option<u16>,
    retry_after: Option<&str>,
    now: UnixMs,
) -> DeliveryOutcome {
    let retry_after_ms = retry_after.and_then(|value| parse_retry_after_ms(value, now));
    let retry_after_ms = retry_after_ms.map(|ms| ms.min(RETRY_AFTER_MS_MAX));
    match status {
        Some(200..=299) => DeliveryOutcome::Delivered,
        Some(413) => DeliveryOutcome::TooLarge,
        None | Some(408 | 429 | 500..=599) => DeliveryOutcome::Retry(retry_after_ms),
        // A redirect names another address than the configured one; events never go there.
        Some(_) => DeliveryOutcome::Rejected,
    }
}

/// Returns the pause after a failure that follows `failures` others in a row, in milliseconds:
/// doubled each time, up to [`BACKOFF_MS_MAX`].
pub fn backoff_ms(failures: u32) -> u64 {
    (BACKOFF_MS_MIN << failures.min(20)).min(BACKOFF_MS_MAX)
}

/// Parses a `Retry-After` value, in seconds or as a date (RFC 9110, section 10.2.3), into
/// milliseconds; `None` if it is neither.
fn parse_retry_after_ms(retry_after: &str, now: UnixMs) -> Option<u64> {
    let value = retry_after.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let since_1970 = date.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Some(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX).saturating_sub(now.0))
}

impl Default for DeliveryCursor {
    fn default() -> Self {
        Self {
            place: 0,
            delivered: 0,
            dropped: 0,
            failures: 0,
            next_attempt_at: UnixMs(0),
            next_batch_size: BATCH_EVENTS_MAX,
        }
    }
}

impl DeliveryCursor {
    /// Returns the cursor after a batch of `event_count` events that ended at number `last_seq`.
    ///
    /// `random` spreads the retries of sinks that failed together: the pause is between half the
    /// backoff and all of it. A longer pause that the sink asked for takes precedence.
    pub fn record_batch(
        self,
        outcome: DeliveryOutcome,
        event_count: u64,
        last_seq: u64,
        now: UnixMs,
        random: u16,
    ) -> Self {
        let advanced = Self {
            place: last_seq,
            failures: 0,
            next_attempt_at: now,
            next_batch_size: BATCH_EVENTS_MAX,
            ..self
        };
        match outcome {
            DeliveryOutcome::Delivered => {
                Self { delivered: self.delivered + event_count, ..advanced }
            }
            DeliveryOutcome::PartlyDelivered { rejected } => {
                let rejected = rejected.min(event_count);
                let (delivered, dropped) = (event_count - rejected, self.dropped + rejected);
                Self { delivered: self.delivered + delivered, dropped, ..advanced }
            }
            DeliveryOutcome::TooLarge if event_count > 1 => Self {
                next_batch_size: usize::try_from(event_count / 2).unwrap_or(1),
                next_attempt_at: now,
                ..self
            },
            DeliveryOutcome::Rejected | DeliveryOutcome::TooLarge => {
                Self { dropped: self.dropped + event_count, ..advanced }
            }
            DeliveryOutcome::Retry(retry_after_ms) => {
                let pause_ms = backoff_ms(self.failures);
                let jittered_ms =
                    pause_ms / 2 + pause_ms / 2 * u64::from(random) / u64::from(u16::MAX);
                let next_attempt_at = UnixMs(now.0 + retry_after_ms.unwrap_or(0).max(jittered_ms));
                Self { failures: self.failures.saturating_add(1), next_attempt_at, ..self }
            }
        }
    }

    /// Returns the cursor after `event_count` undelivered events up to number `last_seq` expired;
    /// they count as dropped.
    pub fn record_expired(self, event_count: u64, last_seq: u64) -> Self {
        if last_seq <= self.place {
            return self;
        }
        Self { place: last_seq, dropped: self.dropped + event_count, ..self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_status_code_says_whether_to_retry() {
        let rows = [
            (Some(200), None, DeliveryOutcome::Delivered),
            (Some(202), None, DeliveryOutcome::Delivered),
            (Some(301), None, DeliveryOutcome::Rejected),
            (Some(400), None, DeliveryOutcome::Rejected),
            (Some(401), None, DeliveryOutcome::Rejected),
            (Some(408), None, DeliveryOutcome::Retry(None)),
            (Some(413), None, DeliveryOutcome::TooLarge),
            (Some(429), Some("7"), DeliveryOutcome::Retry(Some(7_000))),
            (Some(429), Some("99999999999999999999"), DeliveryOutcome::Retry(None)),
            (Some(503), Some("86400"), DeliveryOutcome::Retry(Some(RETRY_AFTER_MS_MAX))),
            (Some(503), Some("Wed, 21 Oct 2026 07:28:09 GMT"), DeliveryOutcome::Retry(Some(9_000))),
            (
                Some(503),
                Some("Wednesday, 21-Oct-26 07:28:09 GMT"),
                DeliveryOutcome::Retry(Some(9_000)),
            ),
            (Some(503), Some("Wed Oct 21 07:28:09 2026"), DeliveryOutcome::Retry(Some(9_000))),
            (Some(503), Some("Wed, 21 Oct 2026 07:28:09 +0000"), DeliveryOutcome::Retry(None)),
            (Some(503), Some("Wed, 21 Oct 2026 07:27:00 GMT"), DeliveryOutcome::Retry(Some(0))),
            (
                Some(503),
                Some("Wed, 21 Oct 2099 07:28:00 GMT"),
                DeliveryOutcome::Retry(Some(RETRY_AFTER_MS_MAX)),
            ),
            (Some(503), Some("soon"), DeliveryOutcome::Retry(None)),
            (Some(500), None, DeliveryOutcome::Retry(None)),
            (None, None, DeliveryOutcome::Retry(None)),
        ];
        for (status, retry_after, expected) in rows {
            let now = UnixMs(1_792_567_680_000); // 2026-10-21 07:28:00 UTC
            assert_eq!(
                delivery_outcome(status, retry_after, now),
                expected,
                "{status:?} {retry_after:?}"
            );
        }
    }

    #[test]
    fn pauses_double_up_to_five_minutes_and_end_with_a_success() {
        let mut cursor = DeliveryCursor::default();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            cursor = cursor.record_batch(DeliveryOutcome::Retry(None), 5, 5, UnixMs(0), u16::MAX);
            pauses.push(cursor.next_attempt_at.0);
        }
        assert_eq!(pauses[..4], [1_000, 2_000, 4_000, 8_000]);
        assert_eq!(pauses[11], BACKOFF_MS_MAX);
        let delivered = cursor.record_batch(DeliveryOutcome::Delivered, 5, 5, UnixMs(9), 0);
        assert_eq!(
            (delivered.place, delivered.delivered, delivered.failures, delivered.next_attempt_at),
            (5, 5, 0, UnixMs(9))
        );
        let retried = delivered.record_batch(DeliveryOutcome::Retry(None), 5, 10, UnixMs(0), 0);
        assert_eq!((retried.place, retried.next_attempt_at), (5, UnixMs(500)));
    }

    #[test]
    fn pauses_double_up_to_five_minutes() {
        assert_eq!(
            [0, 1, 2, 8, 9, 99].map(backoff_ms),
            [1_000, 2_000, 4_000, 256_000, 300_000, 300_000]
        );
    }

    #[test]
    fn a_sink_gets_the_pause_that_it_asks_for_when_it_is_longer() {
        let next_attempt_after = |ms| {
            DeliveryCursor::default()
                .record_batch(DeliveryOutcome::Retry(Some(ms)), 1, 1, UnixMs(0), 0)
                .next_attempt_at
        };
        assert_eq!(next_attempt_after(7_000), UnixMs(7_000));
        assert_eq!(next_attempt_after(0), UnixMs(500));
    }

    #[test]
    fn a_batch_that_is_too_large_is_halved_down_to_the_one_event_that_is_dropped() {
        let mut cursor = DeliveryCursor::default();
        let mut sizes = Vec::new();
        for _ in 0..20 {
            let events = cursor.next_batch_size as u64;
            sizes.push(events);
            cursor = cursor.record_batch(DeliveryOutcome::TooLarge, events, 500, UnixMs(0), 0);
            if events == 1 {
                break;
            }
        }
        assert_eq!(sizes, [500, 250, 125, 62, 31, 15, 7, 3, 1]);
        assert_eq!(
            (cursor.dropped, cursor.place, cursor.next_batch_size),
            (1, 500, BATCH_EVENTS_MAX)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// After any sequence of outcomes, the cursor has never moved back, and each event that it
        /// passed is counted once.
        #[test]
        fn every_event_is_delivered_or_dropped_or_still_ahead(
            responses in prop::collection::vec((0_u8..5, any::<u16>()), 1..80),
        ) {
            const EVENTS: u64 = 1_000;
            let mut outbox = DeliveryCursor::default();
            let mut now = 0;
            for (response, random) in responses {
                let events = (EVENTS - outbox.place).min(outbox.next_batch_size as u64);
                let outcome = match response {
                    0 => DeliveryOutcome::Delivered,
                    1 => DeliveryOutcome::Retry(None),
                    2 => DeliveryOutcome::Rejected,
                    3 => DeliveryOutcome::PartlyDelivered { rejected: u64::from(random) },
                    _ => DeliveryOutcome::TooLarge,
                };
                let before = outbox;
                if events > 0 {
                    let last = outbox.place + events;
                    outbox = outbox.record_batch(outcome, events, last, UnixMs(now), random);
                }
                prop_assert!(outbox.place >= before.place && outbox.next_batch_size >= 1);
                prop_assert_eq!(outbox.delivered + outbox.dropped, outbox.place);
                now = now.max(outbox.next_attempt_at.0);
            }
        }
    }
}
