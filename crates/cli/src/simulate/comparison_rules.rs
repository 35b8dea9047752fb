//! Rollback rules of other tools, applied to the same simulated minutes for comparison.
//!
//! Each rule is re-implemented from the published description of its tool; the tools themselves
//! were not run. A rule gets the proportions of one metric minute by minute and a fixed limit, and
//! returns the minute in which it would have rolled back.

use std::collections::VecDeque;

use super::mann_whitney::MannWhitneyTest;
use jeffrey_anytime::Proportion;
use jeffrey_terms::by_cohort::ByCohort;

/// One rule of another tool with its state; it rolls back at most once.
#[derive(Clone, Debug)]
pub(super) struct ComparisonRule {
    /// Name in reports and in the JSON output.
    pub(super) name: &'static str,
    kind: ComparisonRuleKind,
    rollback_minute: Option<u64>,
}

#[derive(Clone, Debug)]
enum ComparisonRuleKind {
    /// Fails when the canary's rate over the last `minutes` minutes is above the limit.
    TrailingWindow { minutes: usize, window: VecDeque<Proportion> },
    /// Fails after `minutes` consecutive minutes that are each above the limit.
    ConsecutiveMinutes { minutes: u32, consecutive_bad: u32 },
    /// Checks the minutes since the last check every `interval_minutes`, and fails when more than
    /// `failure_limit` checks have been above the limit.
    FailureLimit {
        interval_minutes: u64,
        failure_limit: u32,
        failure_count: u32,
        since_last_check: Proportion,
    },
    /// Tests all minutes of both cohorts so far, once an hour.
    MannWhitney(MannWhitneyTest),
}

/// Number of comparison rules, and length of the arrays of their results.
pub(super) const COMPARISON_RULE_COUNT: usize = 5;

/// Returns all comparison rules in their initial state.
pub(super) fn comparison_rules() -> [ComparisonRule; COMPARISON_RULE_COUNT] {
    let rule = |name, kind| ComparisonRule { name, kind, rollback_minute: None };
    [
        rule(
            "trailing_15m",
            ComparisonRuleKind::TrailingWindow { minutes: 15, window: VecDeque::new() },
        ),
        rule(
            "consecutive_15m",
            ComparisonRuleKind::ConsecutiveMinutes { minutes: 15, consecutive_bad: 0 },
        ),
        // Flagger: `interval: 1m`, `threshold: 5`; the counter of failed checks is never reset
        // (https://docs.flagger.app/usage/how-it-works).
        rule("flagger_1m_5", failure_limit_rule(1, 4)),
        // Argo Rollouts: `interval: 5m`, `failureLimit: 3`; more than 3 failed checks are a failure
        // (https://argo-rollouts.readthedocs.io/en/stable/features/analysis/).
        rule("argo_5m_3", failure_limit_rule(5, 3)),
        rule("kayenta_1h", ComparisonRuleKind::MannWhitney(MannWhitneyTest::default())),
    ]
}

fn failure_limit_rule(interval_minutes: u64, failure_limit: u32) -> ComparisonRuleKind {
    ComparisonRuleKind::FailureLimit {
        interval_minutes,
        failure_limit,
        failure_count: 0,
        since_last_check: Proportion::default(),
    }
}

impl ComparisonRule {
    /// Returns the minute in which the rule rolled back; `None` if it has not.
    pub(super) fn rollback_minute(&self) -> Option<u64> {
        self.rollback_minute
    }

    /// Folds one closed minute of both cohorts into the rule. The limit is a
    /// rate from 0 to 1. After a rollback the rule ignores further minutes.
    pub(super) fn fold_minute(
        &mut self,
        minute: u64,
        proportions: ByCohort<Proportion>,
        limit: f64,
    ) {
        if self.rollback_minute.is_some() {
            return;
        }
        let canary = proportions.canary;
        let exceeds_limit =
            |proportion: Proportion| proportion.rate().is_some_and(|rate| rate > limit);
        let is_failed = match &mut self.kind {
            ComparisonRuleKind::TrailingWindow { minutes, window } => {
                window.push_back(canary);
                if window.len() > *minutes {
                    window.pop_front();
                }
                let sum = window
                    .iter()
                    .fold(Proportion::default(), |sum, proportion| sum.merge(*proportion));
                window.len() == *minutes && exceeds_limit(sum)
            }
            ComparisonRuleKind::ConsecutiveMinutes { minutes, consecutive_bad } => {
                *consecutive_bad = if exceeds_limit(canary) { *consecutive_bad + 1 } else { 0 };
                *consecutive_bad >= *minutes
            }
            ComparisonRuleKind::FailureLimit {
                interval_minutes,
                failure_limit,
                failure_count,
                since_last_check,
            } => {
                *since_last_check = since_last_check.merge(canary);
                if (minute + 1).is_multiple_of(*interval_minutes) {
                    *failure_count += u32::from(exceeds_limit(*since_last_check));
                    *since_last_check = Proportion::default();
                }
                *failure_count > *failure_limit
            }
            ComparisonRuleKind::MannWhitney(test) => {
                test.fold_minute(proportions);
                (minute + 1).is_multiple_of(60) && test.is_canary_higher()
            }
        };
        if is_failed {
            self.rollback_minute = Some(minute);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns each rule's rollback minute; the canary has 100 requests a minute, the limit is 2 %.
    fn rollback_minutes(
        canary_errors: impl Fn(u64) -> u64,
    ) -> [Option<u64>; COMPARISON_RULE_COUNT] {
        let mut rules = comparison_rules();
        for minute in 0..600 {
            // Stable has 1 or 3 errors in 200 requests.
            let stable = Proportion::new(1 + 2 * (minute % 2), 200);
            let canary = Proportion::new(canary_errors(minute), 100);
            rules
                .iter_mut()
                .for_each(|rule| rule.fold_minute(minute, ByCohort { canary, stable }, 0.02));
        }
        rules.each_ref().map(ComparisonRule::rollback_minute)
    }

    #[test]
    fn each_rule_rolls_back_when_its_description_says() {
        assert_eq!(rollback_minutes(|_| 0), [None; COMPARISON_RULE_COUNT]);
        assert_eq!(rollback_minutes(|_| 2)[..4], [None; 4], "at the limit is not above it");
        assert_eq!(rollback_minutes(|_| 2)[4], Some(59), "and above stable");
        assert_eq!(rollback_minutes(|_| 3), [Some(14), Some(14), Some(4), Some(19), Some(59)]);
        // Two bad minutes an hour: only the rule whose counter is never reset rolls back.
        let rare = rollback_minutes(|minute| if minute % 60 < 2 { 4 } else { 0 });
        assert_eq!(rare, [None, None, Some(120), None, None]);
        // Every other minute is bad; the mean is 1.5 times the limit.
        let mixed = rollback_minutes(|minute| if minute % 2 == 0 { 6 } else { 0 });
        assert_eq!(mixed[..4], [Some(14), None, Some(8), Some(19)]);
    }
}
