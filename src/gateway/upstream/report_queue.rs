//! Reports of hard failures that the rollout object has not acknowledged.
//!
//! An isolate sends a report again until it is acknowledged, with a pause that doubles. The object
//! counts a report that arrives twice once.

use crate::rollout::hard_failure_report::HardFailureReport;
use jeffrey_terms::UnixMs;

/// Pause after the first attempt that failed, in milliseconds.
pub const RETRY_MS_MIN: u64 = 500;

/// Longest pause between two attempts, in milliseconds.
pub const RETRY_MS_MAX: u64 = 30_000;

/// Reports that an isolate keeps. Of more, the oldest are dropped: three subjects are enough.
pub const REPORTS_MAX: usize = 16;

/// Reports that wait to be sent or acknowledged.
#[derive(Debug, Default)]
pub struct ReportQueue {
    waiting: Vec<WaitingReport>,
}

#[derive(Debug)]
struct WaitingReport {
    report: HardFailureReport,
    failures: u32,
    next_at: UnixMs,
}

impl ReportQueue {
    /// Adds a report, to be sent at once.
    pub fn push(&mut self, report: HardFailureReport) {
        if self.waiting.len() == REPORTS_MAX {
            self.waiting.remove(0);
        }
        self.waiting.push(WaitingReport { report, failures: 0, next_at: UnixMs(0) });
    }

    /// Takes a report that is to be sent now, and sets the time of its next attempt; `None` if no
    /// report is due.
    pub fn take_due(&mut self, now: UnixMs) -> Option<HardFailureReport> {
        // A clock that was set back must not hold a report back for long.
        let is_due = |waiting: &&mut WaitingReport| {
            waiting.next_at <= now || waiting.next_at.0 - now.0 > RETRY_MS_MAX
        };
        let waiting = self.waiting.iter_mut().find(is_due)?;
        let pause_ms = RETRY_MS_MIN.saturating_mul(1 << waiting.failures.min(16));
        waiting.failures += 1;
        waiting.next_at = UnixMs(now.0 + pause_ms.min(RETRY_MS_MAX));
        Some(waiting.report.clone())
    }

    /// Removes a report that was acknowledged.
    pub fn acknowledge(&mut self, id: &str) {
        self.waiting.retain(|waiting| waiting.report.id != id);
    }

    /// Returns the time until the next attempt, in milliseconds; `None` without a report.
    pub fn ms_until_next(&self, now: UnixMs) -> Option<u64> {
        let next = self.waiting.iter().map(|waiting| waiting.next_at).min()?;
        Some(next.0.saturating_sub(now.0).min(RETRY_MS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::hard_failure_report::FailureSource;
    use crate::rollout::release_state::{HardFailure, HardFailureKind};

    fn report(id: &str) -> HardFailureReport {
        let failure = HardFailure { kind: HardFailureKind::Trap, detected_at: UnixMs(1) };
        HardFailureReport { id: id.to_owned(), failure, source: FailureSource::Probe }
    }

    #[test]
    fn a_report_is_sent_until_it_is_acknowledged_with_longer_and_longer_pauses() {
        let mut queue = ReportQueue::default();
        queue.push(report("a"));
        let mut now = UnixMs(10_000);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            assert_eq!(queue.take_due(now), Some(report("a")));
            assert_eq!(queue.take_due(now), None);
            let pause_ms = queue.ms_until_next(now).unwrap();
            pauses.push(pause_ms);
            now = UnixMs(now.0 + pause_ms);
        }
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
        queue.acknowledge("a");
        assert_eq!((queue.take_due(now), queue.ms_until_next(now)), (None, None));
    }

    #[test]
    fn the_newest_reports_are_kept() {
        let mut queue = ReportQueue::default();
        for number in 0..=REPORTS_MAX {
            queue.push(report(&number.to_string()));
        }
        let sent: Vec<_> = std::iter::from_fn(|| queue.take_due(UnixMs(1))).collect();
        assert_eq!((sent.len(), sent[0].id.as_str()), (REPORTS_MAX, "1"));
    }

    #[test]
    fn a_clock_that_was_set_back_holds_no_report_back() {
        let mut queue = ReportQueue::default();
        queue.push(report("a"));
        assert!(queue.take_due(UnixMs(1_000_000)).is_some());
        assert!(queue.take_due(UnixMs(1_000)).is_some());
    }
}
