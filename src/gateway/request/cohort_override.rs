//! Cohort overrides: a caller names a cohort in a header and proves the permission with a signed
//! token.
//!
//! A missing or invalid token does not fail the request. The normal assignment applies, and the
//! gateway reports the [`OverrideError`] in `x-jeffrey-override`.
//! [`crate::rollout::override_token`] signs and verifies the tokens.

use crate::gateway::config::GatewaySettings;
use crate::rollout::assignment::{Assignment, AssignmentReason};
use crate::rollout::override_token::{self, OverridePermission, OverrideTokenError};
use jeffrey_http_core::head::RequestHead;
use jeffrey_terms::{Cohort, UnixMs};

/// Request header that names the requested cohort.
pub const COHORT_HEADER: &str = "x-jeffrey-cohort";

/// Request header with the token that permits the override.
pub const TOKEN_HEADER: &str = "x-jeffrey-token";

/// Reason why the gateway does not grant a requested cohort.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// The settings do not say who decides whether the canary may answer a caller.
    #[error("the canary is disabled until CANARY_AUTH is declared")]
    AuthUndeclared,
    /// The call has credentials that the settings leave to the legacy system.
    #[error("the call has credentials that CANARY_AUTH leaves to the legacy system")]
    HasCredentials,
    /// The legacy system's verdict on the caller does not admit it.
    #[error("the legacy system does not admit the caller (CANARY_AUTH=check)")]
    NotAdmitted,
    /// The release is disabled, and the token does not permit overrides of a disabled release.
    #[error("release is closed, and the token does not open it")]
    ReleaseDisabled,
    /// The caller is above a rate limit.
    #[error("caller is above a rate limit")]
    RateLimited,
    /// The header names neither `canary` nor `stable`.
    #[error("{COHORT_HEADER} is neither `canary` nor `stable`")]
    UnknownCohort,
    /// The request names a cohort but has no token.
    #[error("{COHORT_HEADER} needs a token in {TOKEN_HEADER}")]
    TokenMissing,
    /// The token is invalid, expired, or for another release.
    #[error(transparent)]
    Token(#[from] OverrideTokenError),
}

/// Returns the requested cohort with the verified permission; `None` if the request names no
/// cohort.
///
/// # Errors
/// Returns [`OverrideError`] if the cohort is unknown, or the token is missing or invalid.
pub fn verify_override(
    head: &RequestHead,
    settings: &GatewaySettings,
    now: UnixMs,
) -> Result<Option<(Cohort, OverridePermission)>, OverrideError> {
    let Some(cohort) = head.header(COHORT_HEADER) else { return Ok(None) };
    let cohort = Cohort::from_name(cohort.trim()).ok_or(OverrideError::UnknownCohort)?;
    let token = head.header(TOKEN_HEADER).ok_or(OverrideError::TokenMissing)?;
    let permission =
        override_token::verify(token, &settings.override_signing_keys, &settings.release, now)?;
    Ok(Some((cohort, permission)))
}

/// Returns the error to report to a caller whose override was not granted; `None` if it was granted
/// or not requested.
pub fn override_error(
    requested: &Result<Option<(Cohort, OverridePermission)>, OverrideError>,
    decision: &Assignment,
) -> Option<OverrideError> {
    match requested {
        Err(error) => Some(error.clone()),
        Ok(Some(_)) => match decision.reason {
            AssignmentReason::AuthUndeclared => Some(OverrideError::AuthUndeclared),
            AssignmentReason::HasCredentials => Some(OverrideError::HasCredentials),
            AssignmentReason::ReleaseDisabled => Some(OverrideError::ReleaseDisabled),
            AssignmentReason::RateLimited => Some(OverrideError::RateLimited),
            _ => None,
        },
        Ok(None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::config::WorkerVariables;
    use crate::rollout::override_token::sign;
    use crate::rollout::signing_key::SigningKey;

    const NOW: UnixMs = UnixMs(1_790_000_000_000);
    const KEY: &str = "0123456789abcdef";

    #[test]
    fn a_cohort_is_given_by_token_and_a_refusal_says_why() {
        let variables = [("JEFFREY_OVERRIDE_SIGNING_KEY", KEY.to_owned())];
        let settings = GatewaySettings::parse(&WorkerVariables(variables.into()));
        let expires = UnixMs(NOW.0 + 1_000);
        let release = settings.release.clone();
        let permission =
            OverridePermission { release, expires_at: expires, allow_rolled_back: false };
        let token = sign(&permission, &SigningKey::parse(KEY).unwrap());
        let parse = |headers: &[(&str, &str)]| {
            let headers = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            verify_override(
                &RequestHead::new("POST".into(), "http://h/", headers).unwrap(),
                &settings,
                NOW,
            )
        };
        assert_eq!(parse(&[]), Ok(None));
        assert_eq!(parse(&[(TOKEN_HEADER, &token)]), Ok(None));
        assert_eq!(parse(&[(COHORT_HEADER, "canary")]), Err(OverrideError::TokenMissing));
        assert_eq!(
            parse(&[(COHORT_HEADER, "beta"), (TOKEN_HEADER, &token)]),
            Err(OverrideError::UnknownCohort)
        );
        let forged = Err(OverrideError::Token(OverrideTokenError::Malformed));
        assert_eq!(parse(&[(COHORT_HEADER, "canary"), (TOKEN_HEADER, "x")]), forged);
        let granted = parse(&[(COHORT_HEADER, "canary"), (TOKEN_HEADER, &token)]);
        assert_eq!(granted, Ok(Some((Cohort::Canary, permission))));

        let decision = |by| Assignment {
            cohort: Cohort::Stable,
            reason: by,
            bucket: None,
            is_evidence: false,
        };
        assert_eq!(
            override_error(&granted, &decision(AssignmentReason::ReleaseDisabled)),
            Some(OverrideError::ReleaseDisabled)
        );
        assert_eq!(
            override_error(&granted, &decision(AssignmentReason::RateLimited)),
            Some(OverrideError::RateLimited)
        );
        assert_eq!(override_error(&granted, &decision(AssignmentReason::OverrideToken)), None);
        assert_eq!(override_error(&Ok(None), &decision(AssignmentReason::ReleaseDisabled)), None);
    }
}
