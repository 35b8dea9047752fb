//! The counters of one closed minute, as the gates read them, and the metrics made of them.
//!
//! A request is counted for the cohort that its subject was assigned to, even if the other system
//! answered it. Requests that are no evidence are left out before: those with an override token,
//! with a cohort override, or without a lasting subject. The event store counts; this module only
//! adds and divides.

use serde::{Deserialize, Serialize};

use jeffrey_anytime::Proportion;
use jeffrey_terms::by_cohort::ByCohort;
use jeffrey_terms::{Cohort, Label, Share};

/// Counts of one cohort in one minute, or in several minutes after [`CohortCounts::add`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CohortCounts {
    /// All requests of the cohort; most of the other counts are parts of them.
    pub requests: u64,
    /// Requests answered with a status of 500 or above, without those that failed open.
    pub errors_5xx: u64,
    /// Canary requests that the legacy system answered after the canary failed, whatever it answered.
    pub fallbacks: u64,
    /// Of these, requests for which the model could not be reached in time: it was away, broke off,
    /// took too long, or the circuit breaker was open.
    pub model_unavailable: u64,
    /// Answers that could be read: those that give their route or their confidence.
    pub scored_responses: u64,
    /// Answers given by keywords alone.
    pub regex: u64,
    /// Answers given by prototypes.
    pub prototypes: u64,
    /// Answers with low confidence.
    pub low_confidence: u64,
    /// Answers that the tie-break changed.
    pub rule_applied: u64,
    /// Requests whose embedding had another size than the head or the prototypes.
    pub dimension_mismatches: u64,
    /// Requests that took longer than [`SLOW_MS`].
    pub slow: u64,
    /// Canary requests above 1.2 times stable's P95, or stable requests above stable's P95. The P95
    /// is the one known before the minute began.
    pub slower_than_stable: u64,
    /// User feedback that called an answer right.
    pub feedback_good: u64,
    /// User feedback that called an answer wrong.
    pub feedback_bad: u64,
    /// Answers with each label, in the order of [`Label::ALL`].
    pub labels: [u64; Label::ALL.len()],
}

impl CohortCounts {
    /// Adds other counts to these; a sum stops at the highest number.
    pub fn add(&mut self, other: &Self) {
        let Self {
            requests,
            errors_5xx,
            fallbacks: failed_open,
            model_unavailable,
            scored_responses: answers,
            regex,
            prototypes,
            low_confidence,
            rule_applied,
            dimension_mismatches,
            slow,
            slower_than_stable,
            feedback_good,
            feedback_bad,
            labels,
        } = self;
        for (sum, more) in [
            (requests, other.requests),
            (errors_5xx, other.errors_5xx),
            (failed_open, other.fallbacks),
            (model_unavailable, other.model_unavailable),
            (answers, other.scored_responses),
            (regex, other.regex),
            (prototypes, other.prototypes),
            (low_confidence, other.low_confidence),
            (rule_applied, other.rule_applied),
            (dimension_mismatches, other.dimension_mismatches),
            (slow, other.slow),
            (slower_than_stable, other.slower_than_stable),
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

/// Latency above which a request is slow, in milliseconds.
pub const SLOW_MS: u64 = 200;

/// Subjects that a metric hit in this minute for the first time since an hour began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AffectedSubjects {
    /// Metric that hit the subjects; one of [`SUBJECT_METRICS`].
    pub metric: Metric,
    /// Hour since which the metric had not hit them: minutes since 1970, divided by 60.
    pub since_hour: u64,
    /// Number of subjects; those of the holdout count as stable.
    pub subjects: ByCohort<u64>,
}

/// Concentration of the canary's errors on few subjects, over the last sixty minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopSubjects {
    /// All requests of the canary.
    pub canary_requests: u64,
    /// All errors of the canary.
    pub canary_errors: u64,
    /// Errors of the two canary subjects with the most errors.
    pub two_worst_subjects_errors: u64,
    /// All requests of stable.
    pub stable_requests: u64,
    /// All errors of stable.
    pub stable_errors: u64,
}

impl TopSubjects {
    /// Returns whether at most two subjects account for more than half of the canary's errors
    /// beyond stable's rate.
    pub fn is_dominated_by_two_subjects(self) -> bool {
        let stable = Proportion::new(self.stable_errors, self.stable_requests);
        let expected = stable.rate().unwrap_or(0.0) * self.canary_requests as f64;
        let excess = self.canary_errors as f64 - expected;
        self.two_worst_subjects_errors > 2
            && excess > 0.0
            && self.two_worst_subjects_errors as f64 > excess / 2.0
    }
}

/// Counts of one closed minute, for both cohorts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedMinute {
    /// Number of the minute, in minutes since 1970; a minute with the same number counts once.
    pub minute: u64,
    /// The canary's share; `None` if it changed within the minute. Subjects are no evidence then.
    #[serde(default, rename = "share_basis_points")]
    pub share: Option<Share>,
    /// Counts of the canary.
    #[serde(default)]
    pub canary: CohortCounts,
    /// Counts of stable, the holdout included.
    #[serde(default)]
    pub stable: CohortCounts,
    /// Subjects that were never seen before, without those of the holdout.
    #[serde(default)]
    pub new_subjects: ByCohort<u64>,
    /// Newly affected subjects, one entry for each metric and each hour that still counts.
    #[serde(default)]
    pub newly_affected: Vec<AffectedSubjects>,
    /// Requests that both cohorts' models scored, exactly one of them with low confidence: the
    /// canary alone, or stable alone.
    #[serde(default)]
    pub discordant_pairs: ByCohort<u64>,
    /// Concentration of the canary's errors over the last sixty minutes.
    #[serde(default)]
    pub top_subjects: TopSubjects,
}

/// Metrics whose subjects are counted: those that the legacy system reports too, except feedback,
/// which counts once for each answer.
pub const SUBJECT_METRICS: [Metric; 5] = [
    Metric::Errors,
    Metric::LowConfidence,
    Metric::RuleApplied,
    Metric::Slow,
    Metric::SlowerThanStable,
];

/// Metric that a gate counts, as a fraction of requests, answers, feedback or subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Requests with a status of 500 or above or that failed open, of all requests; without those of
    /// [`Metric::ModelUnavailable`].
    Errors,
    /// Requests that failed open, of all requests.
    Fallbacks,
    /// Feedback that called an answer wrong, of all feedback.
    FeedbackBad,
    /// Answers with low confidence, of all answers.
    LowConfidence,
    /// Requests with an embedding of the wrong size, of all requests.
    DimensionMismatches,
    /// Requests for which the model could not be reached in time, of all requests.
    ModelUnavailable,
    /// Answers given by prototypes or keywords, of all answers.
    NotLinearHead,
    /// Answers given by prototypes, of all answers.
    Prototypes,
    /// Answers given by keywords alone, of all answers.
    Regex,
    /// Answers that the tie-break changed, of all answers.
    RuleApplied,
    /// New subjects in the cohort, of all subjects seen for the first time.
    SampleRatio,
    /// Requests that only the canary scored with low confidence, of those that exactly one cohort
    /// did.
    ShadowWorse,
    /// Requests that took longer than [`SLOW_MS`], of all requests.
    Slow,
    /// Requests above stable's P95 (stable) or 1.2 times that (the canary), of all requests.
    SlowerThanStable,
}

impl Metric {
    /// All metrics, in the order of messages that list them.
    pub const ALL: [Self; 14] = [
        Self::Errors,
        Self::Fallbacks,
        Self::FeedbackBad,
        Self::LowConfidence,
        Self::DimensionMismatches,
        Self::ModelUnavailable,
        Self::NotLinearHead,
        Self::Prototypes,
        Self::Regex,
        Self::RuleApplied,
        Self::SampleRatio,
        Self::ShadowWorse,
        Self::Slow,
        Self::SlowerThanStable,
    ];

    /// Returns the name in plans, findings and every response.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Fallbacks => "fallbacks",
            Self::FeedbackBad => "feedback_bad",
            Self::LowConfidence => "low_confidence",
            Self::DimensionMismatches => "dimension_mismatches",
            Self::ModelUnavailable => "model_unavailable",
            Self::NotLinearHead => "not_linear_head",
            Self::Prototypes => "prototypes",
            Self::Regex => "regex",
            Self::RuleApplied => "rule_applied",
            Self::SampleRatio => "sample_ratio",
            Self::ShadowWorse => "shadow_worse",
            Self::Slow => "slow",
            Self::SlowerThanStable => "slower_than_stable",
        }
    }

    /// Returns the metric with exactly this name; `None` for any other name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// Returns whether the legacy system reports the metric too, so that it can be compared. Routes
    /// are the model's own; the shadow comparison and the sample ratio cover both cohorts at once.
    pub const fn is_reported_by_legacy(self) -> bool {
        match self {
            Self::Errors
            | Self::FeedbackBad
            | Self::LowConfidence
            | Self::RuleApplied
            | Self::Slow
            | Self::SlowerThanStable => true,
            Self::Fallbacks
            | Self::DimensionMismatches
            | Self::ModelUnavailable
            | Self::NotLinearHead
            | Self::Prototypes
            | Self::Regex
            | Self::SampleRatio
            | Self::ShadowWorse => false,
        }
    }

    /// Returns a cohort's hits and total in a minute; 0 of 0 if the metric was not reported.
    pub fn proportion(self, minute: &ClosedMinute, cohort: Cohort) -> Proportion {
        let counts = match cohort {
            Cohort::Canary => &minute.canary,
            Cohort::Stable => &minute.stable,
        };
        let per_requests = |hits| Proportion::new(hits, counts.requests);
        let per_answers = |hits| Proportion::new(hits, counts.scored_responses);
        match self {
            Self::Errors => per_requests(
                counts.errors_5xx + counts.fallbacks.saturating_sub(counts.model_unavailable),
            ),
            Self::Fallbacks => per_requests(counts.fallbacks),
            Self::FeedbackBad => {
                Proportion::new(counts.feedback_bad, counts.feedback_bad + counts.feedback_good)
            }
            Self::LowConfidence => per_answers(counts.low_confidence),
            Self::DimensionMismatches => per_requests(counts.dimension_mismatches),
            Self::ModelUnavailable => per_requests(counts.model_unavailable),
            Self::NotLinearHead => per_answers(counts.prototypes + counts.regex),
            Self::Prototypes => per_answers(counts.prototypes),
            Self::Regex => per_answers(counts.regex),
            Self::RuleApplied => per_answers(counts.rule_applied),
            Self::SampleRatio => cohort_proportion(minute.new_subjects, cohort),
            Self::ShadowWorse => cohort_proportion(minute.discordant_pairs, cohort),
            Self::Slow => per_requests(counts.slow),
            Self::SlowerThanStable => per_requests(counts.slower_than_stable),
        }
    }
}

/// Returns a cohort's count, of the total of both.
fn cohort_proportion(counts: ByCohort<u64>, cohort: Cohort) -> Proportion {
    let total = counts.canary.saturating_add(counts.stable);
    Proportion::new(counts[cohort], total)
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
        let canary = CohortCounts {
            requests: 10,
            errors_5xx: 1,
            fallbacks: 5,
            model_unavailable: 3,
            ..CohortCounts::default()
        };
        let minute = ClosedMinute { canary, ..ClosedMinute::default() };
        assert_eq!(Metric::Errors.proportion(&minute, Cohort::Canary), Proportion::new(3, 10));
        assert_eq!(Metric::Errors.proportion(&minute, Cohort::Stable), Proportion::default());
        let unavailable = Metric::ModelUnavailable.proportion(&minute, Cohort::Canary);
        assert_eq!(unavailable, Proportion::new(3, 10), "the platform's fault may be the cause");
        // No answer was read, so the rate of keywords is unknown rather than 0.
        assert_eq!(Metric::Regex.proportion(&minute, Cohort::Canary).rate(), None);
    }

    #[test]
    fn two_subjects_with_most_of_the_excess_are_one_client() {
        let row = |errors, of_two| TopSubjects {
            canary_requests: 3_600,
            canary_errors: errors,
            two_worst_subjects_errors: of_two,
            stable_requests: 32_400,
            stable_errors: 324,
        };
        assert!(row(72, 30).is_dominated_by_two_subjects());
        assert!(!row(108, 4).is_dominated_by_two_subjects());
        assert!(!row(30, 12).is_dominated_by_two_subjects(), "no excess");
        assert!(!TopSubjects::default().is_dominated_by_two_subjects());
    }

    #[test]
    fn a_minute_may_leave_out_what_it_did_not_count() {
        let minute: ClosedMinute =
            serde_json::from_str(r#"{"minute": 7, "canary": {"requests": 3}}"#).unwrap();
        assert_eq!((minute.minute, minute.canary.requests, minute.share), (7, 3, None));
        assert!(serde_json::from_str::<ClosedMinute>(r#"{"minute": 7, "user": "x"}"#).is_err());
    }
}
