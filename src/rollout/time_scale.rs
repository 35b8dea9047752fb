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
pub struct TimeScale(u64);

impl TimeScale {
    /// As a clock's.
    pub const REAL_TIME: Self = Self(1);

    /// The fastest.
    pub const FACTOR_MAX: u64 = 600;

    /// So many times as fast, at most [`TimeScale::FACTOR_MAX`].
    pub fn new(factor: u64) -> Self {
        Self(factor.clamp(1, Self::FACTOR_MAX))
    }

    /// How many times as fast.
    pub const fn factor(self) -> u64 {
        self.0
    }

    /// The rehearsal's time when a clock shows this.
    pub fn scale(self, clock: UnixMs) -> UnixMs {
        match clock.0.checked_sub(ANCHOR_MS) {
            Some(elapsed_ms) if self.0 > 1 => UnixMs(ANCHOR_MS + elapsed_ms.saturating_mul(self.0)),
            _ => clock,
        }
    }

    /// The minute, since 1970, that something at this time of a clock counts for.
    pub fn minute_of(self, clock: UnixMs) -> u64 {
        self.scale(clock).0 / 60_000
    }

    /// The first minute that is not closed yet.
    pub fn first_open_minute(self, clock: UnixMs) -> u64 {
        self.minute_of(UnixMs(clock.0.saturating_sub(GRACE_MS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_a_clocks_pace_nothing_moves_and_a_minute_closes_five_seconds_after_its_end() {
        let open = [119_999, 124_999, 125_000, 184_999]
            .map(|ms| TimeScale::REAL_TIME.first_open_minute(UnixMs(ms)));
        assert_eq!(open, [1, 1, 2, 2]);
        assert_eq!(TimeScale::REAL_TIME.scale(UnixMs(ANCHOR_MS + 7)), UnixMs(ANCHOR_MS + 7));
    }

    #[test]
    fn a_rehearsal_of_sixty_has_a_minute_a_second() {
        let scale = TimeScale::new(60);
        let begin = UnixMs(ANCHOR_MS + 86_400_000);
        let minute = scale.minute_of(begin);
        assert_eq!(scale.minute_of(UnixMs(begin.0 + 999)), minute);
        assert_eq!(scale.minute_of(UnixMs(begin.0 + 1_000)), minute + 1);
        assert_eq!(scale.scale(UnixMs(begin.0 + 60_000)).0 - scale.scale(begin).0, 3_600_000);
        // Events are on their way as long as ever.
        assert_eq!(scale.first_open_minute(begin), minute - 5);
        assert_eq!(
            (TimeScale::new(0), TimeScale::new(9_999).factor()),
            (TimeScale::REAL_TIME, TimeScale::FACTOR_MAX)
        );
    }
}
