//! What one sink has had of the ledger, and when it is asked again.
//!
//! The ledger numbers its events; a sink takes them in order, a batch at a time, and its place moves
//! on only when it has said that it has the batch: at least once. Sinks do not know of each other, so
//! one that is down holds up nobody. What it refuses for good is set aside and counted, so that one bad
//! event does not stop the rest.

use serde::{Deserialize, Serialize};

use jeffrey_terms::UnixMs;

/// Events in one batch at most.
pub const BATCH_EVENTS_MAX: usize = 500;

/// The first pause after a failure; each further one is twice as long.
pub const PAUSE_MS_MIN: u64 = 1_000;

/// The longest pause of ours. A sink that asks for a longer one gets it, up to [`ASKED_MS_MAX`].
pub const PAUSE_MS_MAX: u64 = 5 * 60 * 1_000;

/// The longest pause that a sink may ask for.
pub const ASKED_MS_MAX: u64 = 60 * 60 * 1_000;

/// A sink's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outbox {
    /// Number of the last event that it has had, or that was set aside.
    pub place: u64,
    /// Events that it has taken.
    pub delivered: u64,
    /// Events that it refused for good, or that grew too old for it.
    pub dropped: u64,
    /// Failures in a row.
    pub failures: u32,
    /// It is not asked before.
    #[serde(rename = "next_ms")]
    pub next: UnixMs,
    /// How many events the next batch may have: halved when one is too large.
    pub batch: usize,
}

/// What a sink said to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has it.
    Delivered,
    /// It has it, but for some that it will never take.
    Partly {
        /// How many.
        rejected: u64,
    },
    /// It may take it later, in so many milliseconds if it said.
    Later(Option<u64>),
    /// It will never take it.
    Refused,
    /// It is too large.
    TooLarge,
}

/// What a status means; `None` where no answer came. `retry_after` is the header.
pub fn outcome(status: Option<u16>, retry_after: Option<&str>, now: UnixMs) -> Outcome {
    let asked_ms = retry_after.and_then(|value| pause_ms(value, now));
    let asked_ms = asked_ms.map(|ms| ms.min(ASKED_MS_MAX));
    match status {
        Some(200..=299) => Outcome::Delivered,
        Some(413) => Outcome::TooLarge,
        None | Some(408 | 429 | 500..=599) => Outcome::Later(asked_ms),
        // A redirect is another address than the one configured: nobody's events go there.
        Some(_) => Outcome::Refused,
    }
}

/// The pause after so many failures in a row before this one: doubled each time, up to [`PAUSE_MS_MAX`].
pub fn backoff_ms(failures: u32) -> u64 {
    (PAUSE_MS_MIN << failures.min(20)).min(PAUSE_MS_MAX)
}

/// The pause that a `Retry-After` asks for: seconds, or a date (RFC 9110, section 10.2.3).
fn pause_ms(retry_after: &str, now: UnixMs) -> Option<u64> {
    let value = retry_after.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    Some(u64::try_from(at.as_millisecond()).unwrap_or(0).saturating_sub(now.0))
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            place: 0,
            delivered: 0,
            dropped: 0,
            failures: 0,
            next: UnixMs(0),
            batch: BATCH_EVENTS_MAX,
        }
    }
}

impl Outbox {
    /// After a batch of `events` that ended at number `last`. `random` spreads the pauses of sinks
    /// that failed together: between half of one and all of it.
    pub fn after(self, outcome: Outcome, events: u64, last: u64, now: UnixMs, random: u16) -> Self {
        let moved = Self { place: last, failures: 0, next: now, batch: BATCH_EVENTS_MAX, ..self };
        match outcome {
            Outcome::Delivered => Self { delivered: self.delivered + events, ..moved },
            Outcome::Partly { rejected } => {
                let rejected = rejected.min(events);
                let (delivered, dropped) = (events - rejected, self.dropped + rejected);
                Self { delivered: self.delivered + delivered, dropped, ..moved }
            }
            Outcome::TooLarge if events > 1 => {
                Self { batch: usize::try_from(events / 2).unwrap_or(1), next: now, ..self }
            }
            Outcome::Refused | Outcome::TooLarge => {
                Self { dropped: self.dropped + events, ..moved }
            }
            Outcome::Later(asked_ms) => {
                let pause_ms = backoff_ms(self.failures);
                let spread_ms =
                    pause_ms / 2 + pause_ms / 2 * u64::from(random) / u64::from(u16::MAX);
                let next = UnixMs(now.0 + asked_ms.unwrap_or(0).max(spread_ms));
                Self { failures: self.failures.saturating_add(1), next, ..self }
            }
        }
    }

    /// After `events` up to number `last` grew too old to be kept.
    pub fn outlived(self, events: u64, last: u64) -> Self {
        if last <= self.place {
            return self;
        }
        Self { place: last, dropped: self.dropped + events, ..self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_status_says_whether_to_come_again() {
        let rows = [
            (Some(200), None, Outcome::Delivered),
            (Some(202), None, Outcome::Delivered),
            (Some(301), None, Outcome::Refused),
            (Some(400), None, Outcome::Refused),
            (Some(401), None, Outcome::Refused),
            (Some(408), None, Outcome::Later(None)),
            (Some(413), None, Outcome::TooLarge),
            (Some(429), Some("7"), Outcome::Later(Some(7_000))),
            (Some(429), Some("99999999999999999999"), Outcome::Later(None)),
            (Some(503), Some("86400"), Outcome::Later(Some(ASKED_MS_MAX))),
            (Some(503), Some("Wed, 21 Oct 2026 07:28:09 GMT"), Outcome::Later(Some(9_000))),
            (Some(503), Some("Wed, 21 Oct 2026 07:27:00 GMT"), Outcome::Later(Some(0))),
            (Some(503), Some("Wed, 21 Oct 2099 07:28:00 GMT"), Outcome::Later(Some(ASKED_MS_MAX))),
            (Some(503), Some("soon"), Outcome::Later(None)),
            (Some(500), None, Outcome::Later(None)),
            (None, None, Outcome::Later(None)),
        ];
        for (status, retry_after, expected) in rows {
            let now = UnixMs(1_792_567_680_000); // 2026-10-21 07:28:00 UTC
            assert_eq!(outcome(status, retry_after, now), expected, "{status:?} {retry_after:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_five_minutes_and_end_with_a_success() {
        let mut outbox = Outbox::default();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            outbox = outbox.after(Outcome::Later(None), 5, 5, UnixMs(0), u16::MAX);
            pauses.push(outbox.next.0);
        }
        assert_eq!(pauses[..4], [1_000, 2_000, 4_000, 8_000]);
        assert_eq!(pauses[11], PAUSE_MS_MAX);
        let after = outbox.after(Outcome::Delivered, 5, 5, UnixMs(9), 0);
        assert_eq!(
            (after.place, after.delivered, after.failures, after.next),
            (5, 5, 0, UnixMs(9))
        );
        let again = after.after(Outcome::Later(None), 5, 10, UnixMs(0), 0);
        assert_eq!((again.place, again.next), (5, UnixMs(500)));
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
        let asked = |ms| Outbox::default().after(Outcome::Later(Some(ms)), 1, 1, UnixMs(0), 0).next;
        assert_eq!(asked(7_000), UnixMs(7_000));
        assert_eq!(asked(0), UnixMs(500));
    }

    #[test]
    fn a_batch_that_is_too_large_is_halved_down_to_the_one_event_that_is_set_aside() {
        let mut outbox = Outbox::default();
        let mut sizes = Vec::new();
        for _ in 0..20 {
            let events = outbox.batch as u64;
            sizes.push(events);
            outbox = outbox.after(Outcome::TooLarge, events, 500, UnixMs(0), 0);
            if events == 1 {
                break;
            }
        }
        assert_eq!(sizes, [500, 250, 125, 62, 31, 15, 7, 3, 1]);
        assert_eq!((outbox.dropped, outbox.place, outbox.batch), (1, 500, BATCH_EVENTS_MAX));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// Whatever a sink says: its place never goes back, and every event passed is counted once.
        #[test]
        fn every_event_is_delivered_or_dropped_or_still_ahead(
            said in prop::collection::vec((0_u8..5, any::<u16>()), 1..80),
        ) {
            const EVENTS: u64 = 1_000;
            let mut outbox = Outbox::default();
            let mut now = 0;
            for (what, random) in said {
                let events = (EVENTS - outbox.place).min(outbox.batch as u64);
                let outcome = match what {
                    0 => Outcome::Delivered,
                    1 => Outcome::Later(None),
                    2 => Outcome::Refused,
                    3 => Outcome::Partly { rejected: u64::from(random) },
                    _ => Outcome::TooLarge,
                };
                let before = outbox;
                if events > 0 {
                    let last = outbox.place + events;
                    outbox = outbox.after(outcome, events, last, UnixMs(now), random);
                }
                prop_assert!(outbox.place >= before.place && outbox.batch >= 1);
                prop_assert_eq!(outbox.delivered + outbox.dropped, outbox.place);
                now = now.max(outbox.next.0);
            }
        }
    }
}
