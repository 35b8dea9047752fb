//! Who answers a request, and by what: the gate's one decision, a function of its arguments.
//!
//! In this order: a request that the canary could not answer as well as the old system is never its
//! own: one whose body is not held could not be handed over if the model failed, one without a text is
//! the old system's to refuse, and what a foreign origin may see only the old system knows. A release that was killed or rolled back is closed,
//! except to a permission that says so. Then what was asked for by name: a signed override, a forced
//! subject. A caller without a subject has no place on the line and stays stable. Everybody else goes
//! where the bucket says. Only they count as evidence, and only if they will come back under the same
//! subject: the others were not drawn.

use super::bucket::{Bucket, ReleaseName, SubjectAssignment, assign_subject};
use super::override_token::OverridePermission;
use jeffrey_terms::{Cohort, Share, Subject};

/// The rules in force.
#[derive(Clone, Copy, Debug)]
pub struct AssignmentRules<'a> {
    /// The release that subjects are drawn by.
    pub release: &'a ReleaseName,
    /// The canary's share.
    pub share: Share,
    /// The share that stays stable in every release.
    pub holdout: Share,
    /// Whether the release was killed or rolled back.
    pub disabled: bool,
    /// Subjects that have a cohort whatever their bucket.
    pub cohort_overrides: &'a [(Subject, Cohort)],
}

/// What is known of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// Who asks; `None` for a caller that gave no key and holds no cookie.
    pub subject: Option<&'a Subject>,
    /// The cohort asked for by header, with the verified permission to ask.
    pub requested_cohort: Option<(Cohort, &'a OverridePermission)>,
    /// Whether the subject came with the request. One that the gate has just made, for a cookie,
    /// may never be seen again.
    pub is_sticky: bool,
    /// Whether both could answer it.
    pub eligibility: CanaryEligibility,
}

/// Whether the canary could answer a request as well as the old system, and hand it over if it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanaryEligibility {
    /// A browser asks from another origin, and only the old system knows what it lets that one see.
    ForeignOrigin,
    /// There is no text where one should be: the old system's to refuse.
    NoText,
    /// The body is streamed on, and cannot be had again.
    Streamed,
    /// The body is held, and has a text.
    Eligible,
}

/// Who answers, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Who answers.
    pub cohort: Cohort,
    /// By what.
    pub reason: AssignmentReason,
    /// The subject's place for this release, if there is a subject.
    pub bucket: Option<Bucket>,
    /// Whether the request is evidence for or against the release: drawn, not chosen, and by a
    /// subject that lasts.
    pub is_evidence: bool,
}

/// Why a request went where it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssignmentReason {
    /// The bucket and the share.
    Bucket,
    /// The release was killed or rolled back.
    ReleaseDisabled,
    /// A list of subjects.
    CohortOverride,
    /// A browser asks from an origin that only the old system knows.
    ForeignOrigin,
    /// The holdout, whatever the share.
    Holdout,
    /// No subject to draw by.
    NoSubject,
    /// No text to classify.
    NoText,
    /// A signed permission.
    OverrideToken,
    /// The body is streamed and cannot be had again.
    Streamed,
}

impl AssignmentReason {
    /// The name used in every event and answer.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bucket => "bucket",
            Self::ReleaseDisabled => "closed",
            Self::CohortOverride => "forced",
            Self::ForeignOrigin => "foreign_origin",
            Self::Holdout => "holdout",
            Self::NoSubject => "no_subject",
            Self::NoText => "no_text",
            Self::OverrideToken => "override",
            Self::Streamed => "streamed",
        }
    }
}

/// Who answers this request.
pub fn assign_cohort(request: &RequestFacts<'_>, rules: &AssignmentRules<'_>) -> Assignment {
    let assignment = request
        .subject
        .map(|subject| assign_subject(rules.release, subject, rules.share, rules.holdout));
    let bucket = assignment.map(|assignment| assignment.bucket);
    let assign = |cohort, reason| {
        let is_randomized = matches!(reason, AssignmentReason::Bucket | AssignmentReason::Holdout);
        Assignment { cohort, reason, bucket, is_evidence: is_randomized && request.is_sticky }
    };
    match request.eligibility {
        CanaryEligibility::ForeignOrigin => {
            return assign(Cohort::Stable, AssignmentReason::ForeignOrigin);
        }
        CanaryEligibility::NoText => return assign(Cohort::Stable, AssignmentReason::NoText),
        CanaryEligibility::Streamed => return assign(Cohort::Stable, AssignmentReason::Streamed),
        CanaryEligibility::Eligible => {}
    }
    let requested_cohort = request
        .requested_cohort
        .filter(|(_, permission)| !rules.disabled || permission.allow_rolled_back);
    if let Some((cohort, _)) = requested_cohort {
        return assign(cohort, AssignmentReason::OverrideToken);
    }
    if rules.disabled {
        return assign(Cohort::Stable, AssignmentReason::ReleaseDisabled);
    }
    let (Some(subject), Some(assignment)) = (request.subject, assignment) else {
        return assign(Cohort::Stable, AssignmentReason::NoSubject);
    };
    if let Some((_, cohort)) = rules.cohort_overrides.iter().find(|(forced, _)| forced == subject) {
        return assign(*cohort, AssignmentReason::CohortOverride);
    }
    let SubjectAssignment { cohort, is_held_out: held_out, .. } = assignment;
    assign(cohort, if held_out { AssignmentReason::Holdout } else { AssignmentReason::Bucket })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeffrey_terms::UnixMs;

    fn subject(name: &str) -> Subject {
        Subject::parse(name).unwrap()
    }

    fn permission(allow_rolled_back: bool) -> OverridePermission {
        let release = ReleaseName::parse("e1").unwrap();
        OverridePermission { release, expires_at: UnixMs(1), allow_rolled_back }
    }

    #[test]
    fn each_rule_comes_before_the_next() {
        use Cohort::{Canary, Stable};
        let release = ReleaseName::parse("e1").unwrap();
        let (anyone, forced) = (subject("anyone"), subject("forced"));
        let list = [(forced.clone(), Canary)];
        let (plain, reopening) = (permission(false), permission(true));
        let bucket = |name: &str| Some(Bucket::from_subject(&release, &subject(name)));
        // share, holdout, closed; subject, wanted, answerable; expected
        let (all, none) = (Share::ALL, Share::NONE);
        let canary_requested = Some((Canary, &plain));
        let rows = [
            (
                all,
                none,
                false,
                Some(&anyone),
                None,
                CanaryEligibility::Eligible,
                Canary,
                AssignmentReason::Bucket,
            ),
            (
                none,
                none,
                false,
                Some(&anyone),
                None,
                CanaryEligibility::Eligible,
                Stable,
                AssignmentReason::Bucket,
            ),
            (
                all,
                all,
                false,
                Some(&anyone),
                None,
                CanaryEligibility::Eligible,
                Stable,
                AssignmentReason::Holdout,
            ),
            (
                all,
                none,
                false,
                None,
                None,
                CanaryEligibility::Eligible,
                Stable,
                AssignmentReason::NoSubject,
            ),
            (
                none,
                none,
                false,
                Some(&forced),
                None,
                CanaryEligibility::Eligible,
                Canary,
                AssignmentReason::CohortOverride,
            ),
            (
                none,
                all,
                false,
                Some(&forced),
                None,
                CanaryEligibility::Eligible,
                Canary,
                AssignmentReason::CohortOverride,
            ),
            (
                none,
                none,
                false,
                Some(&anyone),
                canary_requested,
                CanaryEligibility::Eligible,
                Canary,
                AssignmentReason::OverrideToken,
            ),
            (
                all,
                none,
                false,
                None,
                Some((Stable, &plain)),
                CanaryEligibility::Eligible,
                Stable,
                AssignmentReason::OverrideToken,
            ),
            (
                all,
                none,
                false,
                Some(&forced),
                Some((Stable, &plain)),
                CanaryEligibility::Eligible,
                Stable,
                AssignmentReason::OverrideToken,
            ),
            (
                all,
                none,
                true,
                Some(&anyone),
                None,
                CanaryEligibility::Eligible,
                Stable,
                AssignmentReason::ReleaseDisabled,
            ),
            (
                all,
                none,
                true,
                Some(&forced),
                None,
                CanaryEligibility::Eligible,
                Stable,
                AssignmentReason::ReleaseDisabled,
            ),
            (
                all,
                none,
                true,
                Some(&anyone),
                canary_requested,
                CanaryEligibility::Eligible,
                Stable,
                AssignmentReason::ReleaseDisabled,
            ),
            (
                none,
                none,
                true,
                None,
                Some((Canary, &reopening)),
                CanaryEligibility::Eligible,
                Canary,
                AssignmentReason::OverrideToken,
            ),
            (
                all,
                none,
                false,
                Some(&anyone),
                canary_requested,
                CanaryEligibility::Streamed,
                Stable,
                AssignmentReason::Streamed,
            ),
            (
                all,
                none,
                true,
                Some(&forced),
                None,
                CanaryEligibility::Streamed,
                Stable,
                AssignmentReason::Streamed,
            ),
            (
                all,
                none,
                false,
                Some(&anyone),
                canary_requested,
                CanaryEligibility::NoText,
                Stable,
                AssignmentReason::NoText,
            ),
            (
                all,
                none,
                false,
                Some(&anyone),
                canary_requested,
                CanaryEligibility::ForeignOrigin,
                Stable,
                AssignmentReason::ForeignOrigin,
            ),
        ];
        for (number, row) in rows.into_iter().enumerate() {
            let (share, holdout, disabled, subject, requested_cohort, eligibility, cohort, reason) =
                row;
            let rules = AssignmentRules {
                release: &release,
                share,
                holdout,
                disabled,
                cohort_overrides: &list,
            };
            let bucket = subject.and_then(|subject| bucket(subject.expose()));
            for is_sticky in [true, false] {
                let assignment = assign_cohort(
                    &RequestFacts { subject, requested_cohort, is_sticky, eligibility },
                    &rules,
                );
                let is_evidence = is_sticky
                    && matches!(reason, AssignmentReason::Bucket | AssignmentReason::Holdout);
                assert_eq!(
                    assignment,
                    Assignment { cohort, reason, bucket, is_evidence },
                    "row {number}"
                );
            }
        }
    }
}
