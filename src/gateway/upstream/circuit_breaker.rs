//! Circuit breaker of one isolate.
//!
//! A hard failure opens the breaker, and the isolate then sends no caller's request to the model.
//! It stays open until a new deployment replaces the isolate, or until a probe succeeds after the
//! cool-down. The probe classifies a fixed sentence beside a request, so no caller's request is
//! used to test the model.

use crate::rollout::release_state::HardFailureKind;
use jeffrey_terms::UnixMs;

/// Time without a probe after a hard failure or a failed probe, in milliseconds.
pub const COOL_DOWN_MS: u64 = 30_000;

/// Time after which a probe without a result is sent again, in milliseconds. The request that
/// started it may have been terminated.
pub const PROBE_TIMEOUT_MS: u64 = 10_000;

/// Sentence that a probe classifies; not a user's text.
pub const PROBE_TEXT: &str = "The parcel arrived on Monday.";

/// State of one isolate's circuit breaker. The default is closed: the isolate calls the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CircuitBreaker(CircuitState);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum CircuitState {
    #[default]
    Closed,
    Open {
        kind: HardFailureKind,
        since: UnixMs,
    },
    Probing {
        kind: HardFailureKind,
        since: UnixMs,
    },
}

impl CircuitBreaker {
    /// Returns the hard failure that opened the breaker; `None` while it is closed.
    pub const fn opened_by(&self) -> Option<HardFailureKind> {
        match self.0 {
            CircuitState::Closed => None,
            CircuitState::Open { kind, .. } | CircuitState::Probing { kind, .. } => Some(kind),
        }
    }

    /// Records a hard failure and opens the breaker. Returns whether this failure opened it, so
    /// that the caller reports only the first one.
    pub fn record_hard_failure(&mut self, kind: HardFailureKind, now: UnixMs) -> bool {
        let opens = self.opened_by().is_none();
        if opens {
            self.0 = CircuitState::Open { kind, since: now };
        }
        opens
    }

    /// Returns whether a probe is due at `now`, and if so marks it as sent.
    pub fn start_probe_if_due(&mut self, now: UnixMs) -> bool {
        let (kind, since, wait_ms) = match self.0 {
            CircuitState::Closed => return false,
            CircuitState::Open { kind, since } => (kind, since, COOL_DOWN_MS),
            CircuitState::Probing { kind, since } => (kind, since, PROBE_TIMEOUT_MS),
        };
        let is_due = now.0.abs_diff(since.0) >= wait_ms;
        if is_due {
            self.0 = CircuitState::Probing { kind, since: now };
        }
        is_due
    }

    /// Records the result of a probe: success closes the breaker, failure starts another cool-down.
    /// Does nothing if no probe is running.
    pub fn record_probe(&mut self, succeeded: bool, now: UnixMs) {
        if let CircuitState::Probing { kind, .. } = self.0 {
            self.0 = if succeeded {
                CircuitState::Closed
            } else {
                CircuitState::Open { kind, since: now }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_opens_once_and_closes_after_a_good_probe_only() {
        let mut breaker = CircuitBreaker::default();
        assert_eq!(breaker.opened_by(), None);
        assert!(!breaker.start_probe_if_due(UnixMs(0)), "a closed breaker needs no probe");
        assert!(breaker.record_hard_failure(HardFailureKind::Trap, UnixMs(1_000)));
        assert!(
            !breaker.record_hard_failure(HardFailureKind::NonFinite, UnixMs(2_000)),
            "told once"
        );
        assert_eq!(breaker.opened_by(), Some(HardFailureKind::Trap));
        assert!(!breaker.start_probe_if_due(UnixMs(30_999)));
        assert!(breaker.start_probe_if_due(UnixMs(31_000)));
        assert!(!breaker.start_probe_if_due(UnixMs(31_001)), "one probe at a time");
        breaker.record_probe(false, UnixMs(31_500));
        assert_eq!(breaker.opened_by(), Some(HardFailureKind::Trap));
        assert!(!breaker.start_probe_if_due(UnixMs(61_499)));
        assert!(breaker.start_probe_if_due(UnixMs(61_500)));
        breaker.record_probe(true, UnixMs(61_600));
        assert_eq!(breaker, CircuitBreaker::default());
    }

    #[test]
    fn a_probe_that_never_ended_does_not_keep_it_open_for_good() {
        let mut breaker = CircuitBreaker::default();
        breaker.record_hard_failure(HardFailureKind::Trap, UnixMs(0));
        assert!(breaker.start_probe_if_due(UnixMs(30_000)));
        assert!(breaker.start_probe_if_due(UnixMs(40_000)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// Applies random steps in random order: a hard failure opens it, only a good probe closes
        /// it.
        #[test]
        fn only_a_good_probe_closes_it(steps in prop::collection::vec((0_u8..4, 0_u64..40_000), 0..60)) {
            let mut breaker = CircuitBreaker::default();
            let (mut now, mut is_open, mut is_probing) = (0, false, false);
            for (step, pause) in steps {
                now += pause;
                match step {
                    0 => {
                        prop_assert_eq!(breaker.record_hard_failure(HardFailureKind::Trap, UnixMs(now)), !is_open);
                        is_open = true;
                    }
                    1 => {
                        let is_due = breaker.start_probe_if_due(UnixMs(now));
                        prop_assert!(is_open || !is_due);
                        is_probing |= is_due;
                    }
                    outcome => {
                        breaker.record_probe(outcome == 2, UnixMs(now));
                        is_open &= !(is_probing && outcome == 2);
                        is_probing = false;
                    }
                }
                prop_assert_eq!(breaker.opened_by().is_some(), is_open);
            }
        }
    }
}
