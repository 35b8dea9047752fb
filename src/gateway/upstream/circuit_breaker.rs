//! Circuit breaker of one isolate.
//!
//! A hard failure opens the breaker, and so do three timeouts in a minute. A trap at a caller's text does
//! not: the next text meets a new instance. While the breaker is open, the isolate sends no caller's
//! request to the model. The breaker stays open until a new deployment replaces the isolate, or until a probe succeeds after the
//! cool-down. The probe classifies a fixed sentence beside a request, so no caller's request is
//! used to test the model.

use crate::rollout::release_state::HardFailureKind;
use jeffrey_terms::UnixMs;

/// Time without a probe after the breaker opened or a probe failed, in milliseconds.
pub const COOL_DOWN_MS: u64 = 30_000;

/// Time after which a probe without a result is sent again, in milliseconds. The request that
/// started it may have been terminated.
pub const PROBE_TIMEOUT_MS: u64 = 10_000;

/// Sentence that a probe classifies; not a user's text.
pub const PROBE_TEXT: &str = "The parcel arrived on Monday.";

/// Timeouts of the model within [`TIMEOUT_WINDOW_MS`] that open the breaker: each makes a caller
/// wait for the whole time limit.
pub const TIMEOUTS_MAX: usize = 3;

/// Time within which timeouts count together, in milliseconds.
pub const TIMEOUT_WINDOW_MS: u64 = 60_000;

/// What opened a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenCause {
    /// A hard failure of the model; the rollout object is told.
    HardFailure(HardFailureKind),
    /// Several timeouts in a short time. Each is an error in the evidence.
    Timeouts,
}

impl OpenCause {
    /// Returns the name that `GET /health` uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HardFailure(kind) => kind.name(),
            Self::Timeouts => "timeouts",
        }
    }
}

/// State of one isolate's circuit breaker. The default is closed: the isolate calls the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CircuitBreaker {
    state: CircuitState,
    /// Times of the last timeouts, latest first.
    timeouts: [Option<UnixMs>; TIMEOUTS_MAX - 1],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum CircuitState {
    #[default]
    Closed,
    Open {
        cause: OpenCause,
        since: UnixMs,
    },
    Probing {
        cause: OpenCause,
        since: UnixMs,
    },
}

impl CircuitBreaker {
    /// Returns what opened the breaker; `None` while it is closed.
    pub const fn opened_by(&self) -> Option<OpenCause> {
        match self.state {
            CircuitState::Closed => None,
            CircuitState::Open { cause, .. } | CircuitState::Probing { cause, .. } => Some(cause),
        }
    }

    /// Records a hard failure and opens the breaker. Returns whether this is the first one since the
    /// breaker was closed, so that the caller reports only that one.
    pub fn record_hard_failure(&mut self, kind: HardFailureKind, now: UnixMs) -> bool {
        let is_first = !matches!(self.opened_by(), Some(OpenCause::HardFailure(_)));
        if is_first {
            self.state = CircuitState::Open { cause: OpenCause::HardFailure(kind), since: now };
        }
        is_first
    }

    /// Records that the model did not respond in time, and opens the breaker if this is the last of
    /// [`TIMEOUTS_MAX`] timeouts within [`TIMEOUT_WINDOW_MS`].
    pub fn record_timeout(&mut self, now: UnixMs) {
        let is_recent =
            |time: &Option<UnixMs>| time.is_some_and(|at| now.0.abs_diff(at.0) < TIMEOUT_WINDOW_MS);
        if self.opened_by().is_none() && self.timeouts.iter().all(is_recent) {
            *self = Self {
                state: CircuitState::Open { cause: OpenCause::Timeouts, since: now },
                timeouts: Default::default(),
            };
            return;
        }
        self.timeouts.rotate_right(1);
        self.timeouts[0] = Some(now);
    }

    /// Returns whether a probe is due at `now`, and if so marks it as sent.
    pub fn start_probe_if_due(&mut self, now: UnixMs) -> bool {
        let (cause, since, wait_ms) = match self.state {
            CircuitState::Closed => return false,
            CircuitState::Open { cause, since } => (cause, since, COOL_DOWN_MS),
            CircuitState::Probing { cause, since } => (cause, since, PROBE_TIMEOUT_MS),
        };
        let is_due = now.0.abs_diff(since.0) >= wait_ms;
        if is_due {
            self.state = CircuitState::Probing { cause, since: now };
        }
        is_due
    }

    /// Records the result of a probe: success closes the breaker, failure starts another cool-down.
    /// Does nothing if no probe is running.
    pub fn record_probe(&mut self, succeeded: bool, now: UnixMs) {
        if let CircuitState::Probing { cause, .. } = self.state {
            *self = if succeeded {
                Self::default()
            } else {
                Self { state: CircuitState::Open { cause, since: now }, ..*self }
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
        assert_eq!(breaker.opened_by(), Some(OpenCause::HardFailure(HardFailureKind::Trap)));
        assert!(!breaker.start_probe_if_due(UnixMs(30_999)));
        assert!(breaker.start_probe_if_due(UnixMs(31_000)));
        assert!(!breaker.start_probe_if_due(UnixMs(31_001)), "one probe at a time");
        breaker.record_probe(false, UnixMs(31_500));
        assert_eq!(breaker.opened_by(), Some(OpenCause::HardFailure(HardFailureKind::Trap)));
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

    #[test]
    fn three_timeouts_in_a_minute_open_it_and_a_good_probe_closes_it() {
        let mut breaker = CircuitBreaker::default();
        for at_ms in [0, 30_000, 60_000, 119_999] {
            breaker.record_timeout(UnixMs(at_ms));
            assert_eq!(breaker.opened_by(), None, "{at_ms}: one of three is a minute old");
        }
        breaker.record_timeout(UnixMs(119_999));
        assert_eq!(breaker.opened_by(), Some(OpenCause::Timeouts));
        assert!(!breaker.start_probe_if_due(UnixMs(149_998)));
        assert!(breaker.start_probe_if_due(UnixMs(149_999)));
        breaker.record_probe(true, UnixMs(150_000));
        assert_eq!(breaker, CircuitBreaker::default(), "earlier timeouts are forgotten");
    }

    #[test]
    fn a_hard_failure_while_timeouts_keep_it_open_is_reported() {
        let mut breaker = CircuitBreaker::default();
        (0..3).for_each(|at_ms| breaker.record_timeout(UnixMs(at_ms)));
        assert!(breaker.record_hard_failure(HardFailureKind::NonFinite, UnixMs(10)));
        assert!(!breaker.record_hard_failure(HardFailureKind::Trap, UnixMs(11)));
        let cause = OpenCause::HardFailure(HardFailureKind::NonFinite);
        assert_eq!(breaker.opened_by(), Some(cause));
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
