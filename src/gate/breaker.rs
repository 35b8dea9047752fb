//! One isolate's breaker: after something that no canary may do even once, it gives no further
//! canary answer until the release changes (which is a new deployment, and new isolates), or until a probe
//! after a cool-down has succeeded.
//!
//! The probe is a sentence of ours, asked beside a request: no caller is the first to try.

use crate::rollout::standing::BreachKind;
use jeffrey_terms::UnixMs;

/// How long nothing is tried after a breach or a failed probe.
pub const COOL_DOWN_MS: u64 = 30_000;

/// How long a probe may be under way before another is sent: its request may have died with it.
pub const PROBE_MS: u64 = 10_000;

/// The sentence that a probe asks about.
pub const PROBE: &str = "The parcel arrived on Monday.";

/// Whether the model is asked. A new one is closed: the model is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker(State);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open {
        kind: BreachKind,
        since: UnixMs,
    },
    Probing {
        kind: BreachKind,
        since: UnixMs,
    },
}

impl Breaker {
    /// What opened it; `None` while it is closed.
    pub const fn open(&self) -> Option<BreachKind> {
        match self.0 {
            State::Closed => None,
            State::Open { kind, .. } | State::Probing { kind, .. } => Some(kind),
        }
    }

    /// After a breach. Returns whether this one opened it, so that it is told once.
    pub fn breached(&mut self, kind: BreachKind, now: UnixMs) -> bool {
        let first = self.open().is_none();
        if first {
            self.0 = State::Open { kind, since: now };
        }
        first
    }

    /// Whether a probe is due now; if so, it counts as sent.
    pub fn probe(&mut self, now: UnixMs) -> bool {
        let (kind, since, wait) = match self.0 {
            State::Closed => return false,
            State::Open { kind, since } => (kind, since, COOL_DOWN_MS),
            State::Probing { kind, since } => (kind, since, PROBE_MS),
        };
        let due = now.0.abs_diff(since.0) >= wait;
        if due {
            self.0 = State::Probing { kind, since: now };
        }
        due
    }

    /// After a probe's end: closed if it was answered well, else open for another cool-down.
    pub fn probed(&mut self, well: bool, now: UnixMs) {
        if let State::Probing { kind, .. } = self.0 {
            self.0 = if well { State::Closed } else { State::Open { kind, since: now } };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_opens_once_and_closes_after_a_good_probe_only() {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.open(), None);
        assert!(!breaker.probe(UnixMs(0)), "a closed breaker needs no probe");
        assert!(breaker.breached(BreachKind::Trap, UnixMs(1_000)));
        assert!(!breaker.breached(BreachKind::NonFinite, UnixMs(2_000)), "told once");
        assert_eq!(breaker.open(), Some(BreachKind::Trap));
        assert!(!breaker.probe(UnixMs(30_999)));
        assert!(breaker.probe(UnixMs(31_000)));
        assert!(!breaker.probe(UnixMs(31_001)), "one probe at a time");
        breaker.probed(false, UnixMs(31_500));
        assert_eq!(breaker.open(), Some(BreachKind::Trap));
        assert!(!breaker.probe(UnixMs(61_499)));
        assert!(breaker.probe(UnixMs(61_500)));
        breaker.probed(true, UnixMs(61_600));
        assert_eq!(breaker, Breaker::default());
    }

    #[test]
    fn a_probe_that_never_ended_does_not_keep_it_open_for_good() {
        let mut breaker = Breaker::default();
        breaker.breached(BreachKind::Trap, UnixMs(0));
        assert!(breaker.probe(UnixMs(30_000)));
        assert!(breaker.probe(UnixMs(40_000)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// Whatever happens in whatever order: open after a breach, closed by a good probe alone.
        #[test]
        fn only_a_good_probe_closes_it(steps in prop::collection::vec((0_u8..4, 0_u64..40_000), 0..60)) {
            let mut breaker = Breaker::default();
            let (mut now, mut open, mut sent) = (0, false, false);
            for (step, pause) in steps {
                now += pause;
                match step {
                    0 => {
                        prop_assert_eq!(breaker.breached(BreachKind::Trap, UnixMs(now)), !open);
                        open = true;
                    }
                    1 => {
                        let due = breaker.probe(UnixMs(now));
                        prop_assert!(open || !due);
                        sent |= due;
                    }
                    well => {
                        breaker.probed(well == 2, UnixMs(now));
                        open &= !(sent && well == 2);
                        sent = false;
                    }
                }
                prop_assert_eq!(breaker.open().is_some(), open);
            }
        }
    }
}
