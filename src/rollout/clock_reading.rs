//! Times of an isolate whose clock may be set back while it runs.
//!
//! An isolate has only the wall clock: the platform offers no other time that goes on between
//! requests. Each [`ClockReading`] therefore counts how often the clock was seen to be set back
//! before it. Two readings with the same count have an age; between other readings the time is
//! unknown, so that nothing counts as fresh that may be old.
//!
//! A clock that is set back between two readings by less than the time between them is not noticed:
//! such a time looks shorter than it was, by the step.

use jeffrey_terms::UnixMs;

/// Difference up to which an earlier time is no step of the clock, in milliseconds: on Cloudflare,
/// each request keeps the time of its last I/O, and the requests of an isolate alternate.
const STEP_BACK_MS_MIN: u64 = 1_000;

/// Reading of an isolate's clock. Readings of one isolate are in the order in which they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClockReading {
    /// How often the clock was seen to be set back so far.
    set_backs: u32,
    /// Time of the reading; the latest one since the clock was last set back.
    time: UnixMs,
}

impl ClockReading {
    /// Builds the first reading of an isolate.
    pub const fn first(now: UnixMs) -> Self {
        Self { set_backs: 0, time: now }
    }

    /// Returns the reading that follows this one when the clock shows `now`.
    pub fn next(self, now: UnixMs) -> Self {
        if now.0.saturating_add(STEP_BACK_MS_MIN) < self.time.0 {
            return Self { set_backs: self.set_backs.saturating_add(1), time: now };
        }
        Self { time: self.time.max(now), ..self }
    }

    /// Returns the time since an earlier reading in milliseconds; `None` if the clock was set back
    /// between the two, or if `earlier` is the later one.
    pub fn ms_since(self, earlier: Self) -> Option<u64> {
        if self.set_backs != earlier.set_backs {
            return None;
        }
        self.time.0.checked_sub(earlier.time.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_clock_that_was_set_back_makes_earlier_ages_unknown_and_no_later_one() {
        let first = ClockReading::first(UnixMs(100_000));
        let later = first.next(UnixMs(130_000));
        assert_eq!(later.ms_since(first), Some(30_000));
        let set_back = later.next(UnixMs(100_000));
        assert_eq!((set_back.ms_since(first), set_back.ms_since(later)), (None, None));
        let next = set_back.next(UnixMs(131_000));
        assert_eq!((next.ms_since(set_back), next.ms_since(first)), (Some(31_000), None));
        assert!(first < later && later < set_back && set_back < next);
    }

    #[test]
    fn the_times_of_alternating_requests_are_no_step() {
        let first = ClockReading::first(UnixMs(100_000));
        let earlier = first.next(UnixMs(100_000 - STEP_BACK_MS_MIN));
        assert_eq!(earlier.ms_since(first), Some(0));
        let set_back = first.next(UnixMs(100_000 - STEP_BACK_MS_MIN - 1));
        assert_eq!(set_back.ms_since(first), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// Readings are ordered, and an age is never shorter than the clock says.
        #[test]
        fn readings_are_in_their_order(times in prop::collection::vec(0_u64..100_000, 2..20)) {
            let mut readings = vec![ClockReading::first(UnixMs(times[0]))];
            for time in &times[1..] {
                readings.push(readings[readings.len() - 1].next(UnixMs(*time)));
            }
            prop_assert!(readings.is_sorted());
            let (last, now) = (readings[readings.len() - 1], times[times.len() - 1]);
            for (reading, time) in readings.iter().zip(&times) {
                if let Some(age) = last.ms_since(*reading) {
                    prop_assert!(age + STEP_BACK_MS_MIN >= now.saturating_sub(*time));
                }
            }
        }
    }
}
