//! How fast a rehearsal's time passes.
//!
//! A plan takes days. To walk through one in minutes, every time that minutes and stages are counted by is moved away
//! from a fixed one, so many times as fast; latencies are not, nor when a minute's last events have come.

use jeffrey_terms::UnixMs;

/// 2026-01-01 00:00 UTC: a whole minute, hour and day.
const ANCHOR_MS: u64 = 1_767_225_600_000;

/// How long after its end a minute is closed, in milliseconds: events are on their way for so long.
const GRACE_MS: u64 = 5_000;

/// How many times as fast as a clock's time passes; 1 where it is no rehearsal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace(u64);

impl Pace {
    /// As a clock's.
    pub const REAL: Self = Self(1);

    /// The fastest.
    pub const MAX: u64 = 600;

    /// So many times as fast, at most [`Pace::MAX`].
    pub fn new(times: u64) -> Self {
        Self(times.clamp(1, Self::MAX))
    }

    /// How many times as fast.
    pub const fn times(self) -> u64 {
        self.0
    }

    /// The rehearsal's time when a clock shows this.
    pub fn at(self, clock: UnixMs) -> UnixMs {
        match clock.0.checked_sub(ANCHOR_MS) {
            Some(since) if self.0 > 1 => UnixMs(ANCHOR_MS + since.saturating_mul(self.0)),
            _ => clock,
        }
    }

    /// The minute, since 1970, that something at this time of a clock counts for.
    pub fn minute(self, clock: UnixMs) -> u64 {
        self.at(clock).0 / 60_000
    }

    /// The first minute that is not closed yet.
    pub fn open_from(self, clock: UnixMs) -> u64 {
        self.minute(UnixMs(clock.0.saturating_sub(GRACE_MS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_a_clocks_pace_nothing_moves_and_a_minute_closes_five_seconds_after_its_end() {
        let open = [119_999, 124_999, 125_000, 184_999].map(|ms| Pace::REAL.open_from(UnixMs(ms)));
        assert_eq!(open, [1, 1, 2, 2]);
        assert_eq!(Pace::REAL.at(UnixMs(ANCHOR_MS + 7)), UnixMs(ANCHOR_MS + 7));
    }

    #[test]
    fn a_rehearsal_of_sixty_has_a_minute_a_second() {
        let pace = Pace::new(60);
        let begin = UnixMs(ANCHOR_MS + 86_400_000);
        let minute = pace.minute(begin);
        assert_eq!(pace.minute(UnixMs(begin.0 + 999)), minute);
        assert_eq!(pace.minute(UnixMs(begin.0 + 1_000)), minute + 1);
        assert_eq!(pace.at(UnixMs(begin.0 + 60_000)).0 - pace.at(begin).0, 3_600_000);
        // Events are on their way as long as ever.
        assert_eq!(pace.open_from(begin), minute - 5);
        assert_eq!((Pace::new(0), Pace::new(9_999).times()), (Pace::REAL, Pace::MAX));
    }
}
