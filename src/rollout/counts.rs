//! The counters of one closed minute, as the gates read them, and the metrics made of them.
//!
//! Plain numbers: who counts them, and from what, is not known here. A request is counted for the cohort
//! that its subject was assigned to, whoever answered it; those that are no evidence (overridden, forced,
//! without a lasting subject) are left out before.

use serde::{Deserialize, Serialize};

use jeffrey_anytime::Proportion;
use jeffrey_terms::{Cohort, Label, Share};

/// What one cohort did in one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CohortCounts {
    /// All requests; each of the following counts a part of them.
    pub requests: u64,
    /// Answered with a status of 500 or above, those that failed open aside.
    pub errors_5xx: u64,
    /// Meant for the canary, answered by the old system after the canary failed; whatever it answered.
    pub failed_open: u64,
    /// Answers that could be read: those that name their route and confidence.
    pub answers: u64,
    /// Of the answers: by keywords alone.
    pub regex: u64,
    /// Of the answers: by prototypes.
    pub prototypes: u64,
    /// Of the answers: those without confidence.
    pub low_confidence: u64,
    /// Of the answers: those that the tie-break changed.
    pub rule_applied: u64,
    /// Embeddings of another size than the head's or the prototypes'.
    pub mismatches: u64,
    /// Requests that took longer than [`SLOW_MS`].
    pub slow: u64,
    /// The canary's requests above 1.2 times stable's P95, stable's above its P95; both by the P95 known
    /// before the minute began.
    pub slow_beside_stable: u64,
    /// Verdicts of readers: good.
    pub feedback_good: u64,
    /// Verdicts of readers: bad.
    pub feedback_bad: u64,
    /// Of the answers: each label, in the order of [`Label::ALL`].
    pub labels: [u64; Label::ALL.len()],
}

impl CohortCounts {
    /// Adds what another has counted.
    pub fn add(&mut self, other: &Self) {
        let Self {
            requests,
            errors_5xx,
            failed_open,
            answers,
            regex,
            prototypes,
            low_confidence,
            rule_applied,
            mismatches,
            slow,
            slow_beside_stable,
            feedback_good,
            feedback_bad,
            labels,
        } = self;
        for (sum, more) in [
            (requests, other.requests),
            (errors_5xx, other.errors_5xx),
            (failed_open, other.failed_open),
            (answers, other.answers),
            (regex, other.regex),
            (prototypes, other.prototypes),
            (low_confidence, other.low_confidence),
            (rule_applied, other.rule_applied),
            (mismatches, other.mismatches),
            (slow, other.slow),
            (slow_beside_stable, other.slow_beside_stable),
            (feedback_good, other.feedback_good),
            (feedback_bad, other.feedback_bad),
        ] {
            *sum = sum.saturating_add(more);
        }
        for (sum, more) in labels.iter_mut().zip(other.labels) {
            *sum = sum.saturating_add(more);
        }
    }
}

/// Above this a request is slow.
pub const SLOW_MS: u64 = 200;

/// Subjects of either cohort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountByCohort {
    /// Of the canary.
    pub canary: u64,
    /// Of stable.
    pub stable: u64,
}

/// Subjects that a metric hit in this minute for the first time since an hour began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AffectedSubjects {
    /// What hit them; one of [`SUBJECT_METRICS`].
    pub metric: Metric,
    /// The hour since which it had not: minutes since 1970, divided by 60.
    pub since_hour: u64,
    /// How many; the holdout's count as stable.
    pub subjects: CountByCohort,
}

/// Who made the canary's errors of the last sixty minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopSubjects {
    /// All of the canary's requests.
    pub requests: u64,
    /// All of its errors.
    pub errors: u64,
    /// Those of the two subjects with the most.
    pub of_two: u64,
    /// Stable's requests.
    pub stable_requests: u64,
    /// Stable's errors.
    pub stable_errors: u64,
}

impl TopSubjects {
    /// Whether at most two subjects carry more than half of what the canary has beyond stable's rate.
    pub fn is_one_client(self) -> bool {
        let stable = Proportion::new(self.stable_errors, self.stable_requests);
        let expected = stable.rate().unwrap_or(0.0) * self.requests as f64;
        let excess = self.errors as f64 - expected;
        self.of_two > 2 && excess > 0.0 && self.of_two as f64 > excess / 2.0
    }
}

/// One closed minute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedMinute {
    /// Minutes since 1970: the minute's name, under which it counts once.
    pub minute: u64,
    /// The canary's share; `None` when it changed within the minute, and subjects are no evidence then.
    #[serde(default, rename = "share_basis_points")]
    pub share: Option<Share>,
    /// The canary's counters.
    #[serde(default)]
    pub canary: CohortCounts,
    /// Stable's counters, the holdout's included.
    #[serde(default)]
    pub stable: CohortCounts,
    /// Subjects never seen before, the holdout's left out.
    #[serde(default)]
    pub first_seen: CountByCohort,
    /// Newly affected subjects, one entry for each start that still counts.
    #[serde(default)]
    pub first_affected: Vec<AffectedSubjects>,
    /// Requests scored by both: where the canary alone, and where stable alone, was bad.
    #[serde(default)]
    pub discordant: CountByCohort,
    /// Who made the canary's errors lately.
    #[serde(default)]
    pub concentration: TopSubjects,
}

/// The metrics whose subjects are counted: those that the old system has too, feedback aside, which
/// counts one verdict an answer.
pub const SUBJECT_METRICS: [Metric; 5] = [
    Metric::Errors,
    Metric::LowConfidence,
    Metric::RuleApplied,
    Metric::Slow,
    Metric::SlowBesideStable,
];

/// What a gate looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// 5xx and failed open, of the requests.
    Errors,
    /// Failed open, of the requests.
    FailedOpen,
    /// Bad verdicts, of all verdicts.
    FeedbackBad,
    /// Low confidence, of the answers.
    LowConfidence,
    /// Dimension mismatches, of the requests.
    Mismatches,
    /// By prototypes or keywords, of the answers.
    NotLinearHead,
    /// By prototypes, of the answers.
    Prototypes,
    /// By keywords, of the answers.
    Regex,
    /// Changed by the tie-break, of the answers.
    RuleApplied,
    /// Subjects seen for the first time.
    SampleRatio,
    /// The canary alone bad, of the requests where one alone was.
    ShadowWorse,
    /// Above [`SLOW_MS`], of the requests.
    Slow,
    /// Above 1.2 times (the canary) or once (stable) stable's P95, of the requests.
    SlowBesideStable,
}

impl Metric {
    /// All of them, by name.
    pub const ALL: [Self; 13] = [
        Self::Errors,
        Self::FailedOpen,
        Self::FeedbackBad,
        Self::LowConfidence,
        Self::Mismatches,
        Self::NotLinearHead,
        Self::Prototypes,
        Self::Regex,
        Self::RuleApplied,
        Self::SampleRatio,
        Self::ShadowWorse,
        Self::Slow,
        Self::SlowBesideStable,
    ];

    /// The name used in every plan and answer.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::FailedOpen => "failed_open",
            Self::FeedbackBad => "feedback_bad",
            Self::LowConfidence => "low_confidence",
            Self::Mismatches => "mismatches",
            Self::NotLinearHead => "not_linear_head",
            Self::Prototypes => "prototypes",
            Self::Regex => "regex",
            Self::RuleApplied => "rule_applied",
            Self::SampleRatio => "sample_ratio",
            Self::ShadowWorse => "shadow_worse",
            Self::Slow => "slow",
            Self::SlowBesideStable => "slow_beside_stable",
        }
    }

    /// The metric with exactly this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// Whether the old system has it too, so that it can be compared. Routes are the model's own; a
    /// shadow and a sample ratio stand for both sides at once.
    pub const fn has_stable(self) -> bool {
        match self {
            Self::Errors
            | Self::FeedbackBad
            | Self::LowConfidence
            | Self::RuleApplied
            | Self::Slow
            | Self::SlowBesideStable => true,
            Self::FailedOpen
            | Self::Mismatches
            | Self::NotLinearHead
            | Self::Prototypes
            | Self::Regex
            | Self::SampleRatio
            | Self::ShadowWorse => false,
        }
    }

    /// What was counted in a minute; nothing out of nothing where it is not given.
    pub fn proportion(self, minute: &ClosedMinute, cohort: Cohort) -> Proportion {
        let counts = match cohort {
            Cohort::Canary => &minute.canary,
            Cohort::Stable => &minute.stable,
        };
        let per_requests = |hits| Proportion::new(hits, counts.requests);
        let per_answers = |hits| Proportion::new(hits, counts.answers);
        match self {
            Self::Errors => per_requests(counts.errors_5xx + counts.failed_open),
            Self::FailedOpen => per_requests(counts.failed_open),
            Self::FeedbackBad => {
                Proportion::new(counts.feedback_bad, counts.feedback_bad + counts.feedback_good)
            }
            Self::LowConfidence => per_answers(counts.low_confidence),
            Self::Mismatches => per_requests(counts.mismatches),
            Self::NotLinearHead => per_answers(counts.prototypes + counts.regex),
            Self::Prototypes => per_answers(counts.prototypes),
            Self::Regex => per_answers(counts.regex),
            Self::RuleApplied => per_answers(counts.rule_applied),
            Self::SampleRatio => cohort_proportion(minute.first_seen, cohort),
            Self::ShadowWorse => cohort_proportion(minute.discordant, cohort),
            Self::Slow => per_requests(counts.slow),
            Self::SlowBesideStable => per_requests(counts.slow_beside_stable),
        }
    }
}

/// One side of a pair, of both.
fn cohort_proportion(counts: CountByCohort, cohort: Cohort) -> Proportion {
    let total = counts.canary.saturating_add(counts.stable);
    match cohort {
        Cohort::Canary => Proportion::new(counts.canary, total),
        Cohort::Stable => Proportion::new(counts.stable, total),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_one_name() {
        for metric in Metric::ALL {
            assert_eq!(Metric::from_name(metric.name()), Some(metric));
            let json = serde_json::to_string(&metric).unwrap();
            assert_eq!(json, format!("\"{}\"", metric.name()));
        }
    }

    #[test]
    fn a_request_that_failed_open_is_the_canarys_error() {
        let canary =
            CohortCounts { requests: 10, errors_5xx: 1, failed_open: 2, ..CohortCounts::default() };
        let minute = ClosedMinute { canary, ..ClosedMinute::default() };
        assert_eq!(Metric::Errors.proportion(&minute, Cohort::Canary), Proportion::new(3, 10));
        assert_eq!(Metric::Errors.proportion(&minute, Cohort::Stable), Proportion::default());
        // No answer was read: no rate of keywords, rather than one of 0.
        assert_eq!(Metric::Regex.proportion(&minute, Cohort::Canary).rate(), None);
    }

    #[test]
    fn two_subjects_with_most_of_the_excess_are_one_client() {
        let row = |errors, of_two| TopSubjects {
            requests: 3_600,
            errors,
            of_two,
            stable_requests: 32_400,
            stable_errors: 324,
        };
        assert!(row(72, 30).is_one_client());
        assert!(!row(108, 4).is_one_client());
        assert!(!row(30, 12).is_one_client(), "no excess");
        assert!(!TopSubjects::default().is_one_client());
    }

    #[test]
    fn a_minute_may_leave_out_what_it_did_not_count() {
        let minute: ClosedMinute =
            serde_json::from_str(r#"{"minute": 7, "canary": {"requests": 3}}"#).unwrap();
        assert_eq!((minute.minute, minute.canary.requests, minute.share), (7, 3, None));
        assert!(serde_json::from_str::<ClosedMinute>(r#"{"minute": 7, "user": "x"}"#).is_err());
    }
}
