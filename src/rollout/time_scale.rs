//! The time scale of a scaled-time rollout.
//!
//! A plan takes days. A scaled-time rollout takes minutes or hours: every time that minutes and stages are
//! counted by is scaled from a fixed anchor by a factor. Latencies are not scaled, and neither is
//! the time that a minute's last events may take to arrive.

use jeffrey_terms::UnixMs;

/// Anchor of the scale, 2026-01-01 00:00 UTC: the start of a minute, an hour and a day.
const ANCHOR_MS: u64 = 1_767_225_600_000;

/// Time from a minute's end until it is closed, in milliseconds: its last events may take so long
/// to arrive.
const GRACE_MS: u64 = 5_000;

/// Factor by which time passes faster than the clock; 1 in real time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeScale(u64);

impl TimeScale {
    /// Time as the clock shows it: factor 1.
    pub const REAL_TIME: Self = Self(1);

    /// Largest factor; a larger one is cut to it.
    pub const FACTOR_MAX: u64 = 600;

    /// Returns a scale with this factor, cut to 1 to [`TimeScale::FACTOR_MAX`].
    pub fn new(factor: u64) -> Self {
        Self(factor.clamp(1, Self::FACTOR_MAX))
    }

    /// Returns the factor by which time passes faster than the clock.
    pub const fn factor(self) -> u64 {
        self.0
    }

    /// Returns the scaled time of a clock time; clock times before the anchor stay as they are.
    pub fn scaled_time(self, clock: UnixMs) -> UnixMs {
        match clock.0.checked_sub(ANCHOR_MS) {
            Some(elapsed_ms) if self.0 > 1 => UnixMs(ANCHOR_MS + elapsed_ms.saturating_mul(self.0)),
            _ => clock,
        }
    }

    /// Returns the minute that an event at this clock time counts for, in minutes since 1970 of the
    /// scaled time.
    pub fn minute_of(self, clock: UnixMs) -> u64 {
        self.scaled_time(clock).0 / 60_000
    }

    /// Returns the first minute that is not closed at this clock time, in minutes since 1970 of the
    /// scaled time.
    pub fn first_open_minute(self, clock: UnixMs) -> u64 {
        self.minute_of(UnixMs(clock.0.saturating_sub(GRACE_MS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_real_time_nothing_is_scaled_and_a_minute_closes_five_seconds_after_its_end() {
        let open = [119_999, 124_999, 125_000, 184_999]
            .map(|ms| TimeScale::REAL_TIME.first_open_minute(UnixMs(ms)));
        assert_eq!(open, [1, 1, 2, 2]);
        assert_eq!(TimeScale::REAL_TIME.scaled_time(UnixMs(ANCHOR_MS + 7)), UnixMs(ANCHOR_MS + 7));
    }

    #[test]
    fn a_rehearsal_of_sixty_has_a_minute_a_second() {
        let scale = TimeScale::new(60);
        let begin = UnixMs(ANCHOR_MS + 86_400_000);
        let minute = scale.minute_of(begin);
        assert_eq!(scale.minute_of(UnixMs(begin.0 + 999)), minute);
        assert_eq!(scale.minute_of(UnixMs(begin.0 + 1_000)), minute + 1);
        assert_eq!(
            scale.scaled_time(UnixMs(begin.0 + 60_000)).0 - scale.scaled_time(begin).0,
            3_600_000
        );
        // The time that events take to arrive is not scaled.
        assert_eq!(scale.first_open_minute(begin), minute - 5);
        assert_eq!(
            (TimeScale::new(0), TimeScale::new(9_999).factor()),
            (TimeScale::REAL_TIME, TimeScale::FACTOR_MAX)
        );
    }
}
