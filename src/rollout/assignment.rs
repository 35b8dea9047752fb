//! The assignment of one request to a cohort, as a pure function of the request and the rules.
//!
//! The first rule that applies decides:
//!
//! 1. A request that the canary could not answer as well as the legacy system is stable. Without its
//!    whole body it could not be handed over if the model failed; the legacy system refuses a request
//!    without a text; only the legacy system knows what a foreign origin may see, and what credentials
//!    are worth if it is not asked.
//! 2. A caller above a rate limit is stable: the limit guards the canary, and the legacy system has its
//!    own.
//! 3. A signed override token chooses the cohort. If the release was killed or rolled back, only a
//!    token that allows it does, and every other request is stable.
//! 4. A request without a subject is stable. A cohort override decides for the subjects that it
//!    names.
//! 5. The holdout, the bucket and the share decide.
//!
//! Only requests that rule 5 decided are evidence, and only if their subject will come back: the
//! others were not drawn.

use super::bucket::{Bucket, BucketAssignment, ReleaseName, assign_cohort_by_bucket};
use super::override_token::OverridePermission;
use super::signing_key::SigningKey;
use jeffrey_terms::{Cohort, Share, Subject};
use serde::{Deserialize, Serialize};

/// Current rules of the assignment.
#[derive(Clone, Copy, Debug)]
pub struct AssignmentRules<'a> {
    /// Release whose name is part of the subjects' draw.
    pub release: &'a ReleaseName,
    /// Key of the buckets of subjects that are not trusted; `None` draws them by the public hash.
    pub bucket_salt: Option<&'a SigningKey>,
    /// The canary's share of the traffic.
    pub share: Share,
    /// Share of the subjects that stay stable in every release.
    pub holdout: Share,
    /// Whether the release was killed or rolled back.
    pub disabled: bool,
    /// Subjects that have a cohort whatever their bucket.
    pub cohort_overrides: &'a [(Subject, Cohort)],
}

/// Facts about a request that its assignment depends on.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// Subject of the request; `None` for a caller that gave no key and has no cookie.
    pub subject: Option<&'a Subject>,
    /// `true` if a trusted server named the subject, which is then drawn by the public hash.
    pub is_subject_trusted: bool,
    /// Cohort that the request's header asks for, with the permission of its verified token.
    pub requested_cohort: Option<(Cohort, &'a OverridePermission)>,
    /// Whether the subject came with the request. A subject that the gateway has just made, for a
    /// cookie, may never be seen again.
    pub is_sticky: bool,
    /// Whether the canary could answer the request.
    pub eligibility: CanaryEligibility,
    /// Whether the caller is above a rate limit, in whatever cohort it would be.
    pub is_over_limit: bool,
}

/// Whether the canary could answer a request as well as the legacy system, and hand it over if the
/// model fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanaryEligibility {
    /// The settings do not say who decides whether the canary may answer a caller.
    AuthUndeclared,
    /// A browser asks from another origin, and only the legacy system knows what that origin may see.
    ForeignOrigin,
    /// The call has credentials that the settings leave to the legacy system.
    HasCredentials,
    /// The request has no text where one should be; the legacy system refuses it.
    NoText,
    /// The body is streamed to the legacy system and cannot be read again.
    Streamed,
    /// The whole body is buffered, and has a text.
    Eligible,
}

/// Cohort of one request, with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Cohort that answers the request.
    pub cohort: Cohort,
    /// Rule that decided the cohort.
    pub reason: AssignmentReason,
    /// The subject's bucket for this release; `None` without a subject.
    pub bucket: Option<Bucket>,
    /// Whether the request is evidence for or against the release: its cohort was drawn, not
    /// chosen, and its subject will come back.
    pub is_evidence: bool,
}

impl Assignment {
    /// Assignment of a request that the gateway failed to assign: the legacy system answered it.
    pub const GATEWAY_FAULT: Self = Self {
        cohort: Cohort::Stable,
        reason: AssignmentReason::GatewayFault,
        bucket: None,
        is_evidence: false,
    };
}

/// Rule that decided the cohort of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssignmentReason {
    /// The settings do not say who decides whether the canary may answer a caller.
    AuthUndeclared,
    /// The subject's bucket and the share.
    Bucket,
    /// The release was killed or rolled back.
    #[serde(rename = "disabled")]
    ReleaseDisabled,
    /// A list of subjects with a fixed cohort.
    CohortOverride,
    /// A browser asks from an origin that only the legacy system knows.
    ForeignOrigin,
    /// The gateway failed, and the request went to the legacy system without it.
    GatewayFault,
    /// The call has credentials that the settings leave to the legacy system.
    HasCredentials,
    /// The subject is in the holdout, whatever the share.
    Holdout,
    /// The request has no subject to draw by.
    NoSubject,
    /// The request has no text to classify.
    NoText,
    /// A signed override token.
    OverrideToken,
    /// The caller is above a rate limit.
    RateLimited,
    /// The body is streamed and cannot be read again.
    Streamed,
}

impl AssignmentReason {
    /// All reasons, in the order of their declaration.
    pub const ALL: [Self; 13] = [
        Self::AuthUndeclared,
        Self::Bucket,
        Self::ReleaseDisabled,
        Self::CohortOverride,
        Self::ForeignOrigin,
        Self::GatewayFault,
        Self::HasCredentials,
        Self::Holdout,
        Self::NoSubject,
        Self::NoText,
        Self::OverrideToken,
        Self::RateLimited,
        Self::Streamed,
    ];

    /// Returns the name that every event and response uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AuthUndeclared => "auth_undeclared",
            Self::Bucket => "bucket",
            Self::ReleaseDisabled => "disabled",
            Self::CohortOverride => "cohort_override",
            Self::ForeignOrigin => "foreign_origin",
            Self::GatewayFault => "gateway_fault",
            Self::HasCredentials => "has_credentials",
            Self::Holdout => "holdout",
            Self::NoSubject => "no_subject",
            Self::NoText => "no_text",
            Self::OverrideToken => "override_token",
            Self::RateLimited => "rate_limited",
            Self::Streamed => "streamed",
        }
    }

    /// Returns the reason in the vocabulary of OpenFeature, in lower case
    /// (<https://openfeature.dev/specification/types/#resolution-reason>).
    pub const fn openfeature_reason(self) -> &'static str {
        match self {
            Self::Bucket | Self::Holdout => "split",
            Self::CohortOverride | Self::OverrideToken => "targeting_match",
            Self::ReleaseDisabled => "disabled",
            Self::AuthUndeclared
            | Self::ForeignOrigin
            | Self::GatewayFault
            | Self::HasCredentials
            | Self::NoSubject
            | Self::NoText
            | Self::RateLimited
            | Self::Streamed => "default",
        }
    }
}

/// Assigns a request to a cohort, by the first rule that applies.
pub fn assign_cohort(request: &RequestFacts<'_>, rules: &AssignmentRules<'_>) -> Assignment {
    let salt = rules.bucket_salt.filter(|_| !request.is_subject_trusted);
    let AssignmentRules { release, share, holdout, .. } = *rules;
    let assignment = request
        .subject
        .map(|subject| assign_cohort_by_bucket(release, subject, salt, share, holdout));
    let bucket = assignment.map(|assignment| assignment.bucket);
    let assign = |cohort, reason| {
        let is_randomized = matches!(reason, AssignmentReason::Bucket | AssignmentReason::Holdout);
        Assignment { cohort, reason, bucket, is_evidence: is_randomized && request.is_sticky }
    };
    let ineligible = match request.eligibility {
        CanaryEligibility::AuthUndeclared => Some(AssignmentReason::AuthUndeclared),
        CanaryEligibility::ForeignOrigin => Some(AssignmentReason::ForeignOrigin),
        CanaryEligibility::HasCredentials => Some(AssignmentReason::HasCredentials),
        CanaryEligibility::NoText => Some(AssignmentReason::NoText),
        CanaryEligibility::Streamed => Some(AssignmentReason::Streamed),
        CanaryEligibility::Eligible => None,
    };
    if let Some(reason) = ineligible {
        return assign(Cohort::Stable, reason);
    }
    if request.is_over_limit {
        return assign(Cohort::Stable, AssignmentReason::RateLimited);
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
    let BucketAssignment { cohort, is_held_out: held_out, .. } = assignment;
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
    fn the_name_of_a_reason_is_its_json_and_leads_back_to_it() {
        let names = AssignmentReason::ALL.map(AssignmentReason::name);
        assert_eq!(
            names,
            [
                "auth_undeclared",
                "bucket",
                "disabled",
                "cohort_override",
                "foreign_origin",
                "gateway_fault",
                "has_credentials",
                "holdout",
                "no_subject",
                "no_text",
                "override_token",
                "rate_limited",
                "streamed"
            ]
        );
        for (reason, name) in AssignmentReason::ALL.into_iter().zip(names) {
            let json = format!("\"{name}\"");
            assert_eq!(serde_json::to_string(&reason).unwrap(), json);
            assert_eq!(serde_json::from_str::<AssignmentReason>(&json).unwrap(), reason);
        }
    }

    #[test]
    fn a_caller_above_a_limit_is_stable_and_no_evidence_in_whatever_cohort_it_would_be() {
        let release = ReleaseName::parse("e1").unwrap();
        let (anyone, allowed) = (subject("anyone"), permission(true));
        for (share, requested_cohort) in [
            (Share::FULL, None),
            (Share::NONE, None),
            (Share::FULL, Some((Cohort::Canary, &allowed))),
        ] {
            let request = RequestFacts {
                subject: Some(&anyone),
                requested_cohort,
                is_sticky: true,
                is_subject_trusted: false,
                eligibility: CanaryEligibility::Eligible,
                is_over_limit: true,
            };
            let rules = AssignmentRules {
                release: &release,
                bucket_salt: None,
                share,
                holdout: Share::NONE,
                disabled: false,
                cohort_overrides: &[],
            };
            let assignment = assign_cohort(&request, &rules);
            assert_eq!(assignment.cohort, Cohort::Stable);
            assert_eq!(
                (assignment.reason, assignment.is_evidence),
                (AssignmentReason::RateLimited, false)
            );
        }
    }

    #[test]
    fn each_rule_comes_before_the_next() {
        use Cohort::{Canary, Stable};
        let release = ReleaseName::parse("e1").unwrap();
        let (anyone, forced) = (subject("anyone"), subject("forced"));
        let list = [(forced.clone(), Canary)];
        let (plain, reopening) = (permission(false), permission(true));
        let bucket = |name: &str| Some(Bucket::from_subject(&release, &subject(name), None));
        // share, holdout, disabled; subject, requested cohort, eligibility; expected
        let (all, none) = (Share::FULL, Share::NONE);
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
                bucket_salt: None,
                share,
                holdout,
                disabled,
                cohort_overrides: &list,
            };
            let bucket = subject.and_then(|subject| bucket(subject.expose()));
            for is_sticky in [true, false] {
                let assignment = assign_cohort(
                    &RequestFacts {
                        subject,
                        requested_cohort,
                        is_sticky,
                        is_subject_trusted: false,
                        eligibility,
                        is_over_limit: false,
                    },
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
