//! Whether a caller asks for a cohort by name, and may.

use super::intake::Head;
use super::settings::Settings;
use crate::rollout::decision::{By, Decision};
use crate::rollout::token::{self, Permission, TokenError};
use jeffrey_terms::{Cohort, UnixMs};

/// Header of the cohort asked for.
pub const COHORT: &str = "x-jeffrey-cohort";

/// Header of the token that permits it.
pub const TOKEN: &str = "x-jeffrey-token";

/// Why a cohort that is asked for is not given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// The release is closed.
    #[error("release is closed, and the token does not open it")]
    Closed,
    /// The cohort is none.
    #[error("{COHORT} is neither `canary` nor `stable`")]
    Cohort,
    /// There is no token.
    #[error("{COHORT} needs a token in {TOKEN}")]
    Missing,
    /// The token permits nothing.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// The cohort asked for and the permission; nothing where none is asked for.
///
/// # Errors
/// [`OverrideError`] says why it cannot be given.
pub fn asked(
    head: &Head,
    settings: &Settings,
    now: UnixMs,
) -> Result<Option<(Cohort, Permission)>, OverrideError> {
    let Some(cohort) = head.header(COHORT) else { return Ok(None) };
    let cohort = Cohort::from_name(cohort.trim()).ok_or(OverrideError::Cohort)?;
    let token = head.header(TOKEN).ok_or(OverrideError::Missing)?;
    let permission = token::verify(token, &settings.override_keys, &settings.release, now)?;
    Ok(Some((cohort, permission)))
}

/// What to tell a caller who asked for a cohort and may have been given another.
pub fn refusal(
    asked: &Result<Option<(Cohort, Permission)>, OverrideError>,
    decision: &Decision,
) -> Option<OverrideError> {
    match asked {
        Err(error) => Some(error.clone()),
        Ok(Some(_)) if decision.by == By::Closed => Some(OverrideError::Closed),
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::settings::Variables;
    use crate::rollout::key::Key;
    use crate::rollout::token::sign;

    const NOW: UnixMs = UnixMs(1_790_000_000_000);
    const KEY: &str = "0123456789abcdef";

    #[test]
    fn a_cohort_is_given_by_token_and_a_refusal_says_why() {
        let variables = [("JEFFREY_OVERRIDE_KEY", KEY.to_owned())];
        let settings = Settings::parse(&Variables(variables.into()));
        let expires = UnixMs(NOW.0 + 1_000);
        let release = settings.release.clone();
        let permission = Permission { release, expires, allow_rolled_back: false };
        let token = sign(&permission, &Key::parse(KEY).unwrap());
        let ask = |headers: &[(&str, &str)]| {
            let headers = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            asked(&Head::new("POST".into(), "http://h/", headers).unwrap(), &settings, NOW)
        };
        assert_eq!(ask(&[]), Ok(None));
        assert_eq!(ask(&[(TOKEN, &token)]), Ok(None));
        assert_eq!(ask(&[(COHORT, "canary")]), Err(OverrideError::Missing));
        assert_eq!(ask(&[(COHORT, "beta"), (TOKEN, &token)]), Err(OverrideError::Cohort));
        let forged = Err(OverrideError::Token(TokenError::Form));
        assert_eq!(ask(&[(COHORT, "canary"), (TOKEN, "x")]), forged);
        let given = ask(&[(COHORT, "canary"), (TOKEN, &token)]);
        assert_eq!(given, Ok(Some((Cohort::Canary, permission))));

        let decision = |by| Decision { cohort: Cohort::Stable, by, bucket: None, counts: false };
        assert_eq!(refusal(&given, &decision(By::Closed)), Some(OverrideError::Closed));
        assert_eq!(refusal(&given, &decision(By::Override)), None);
        assert_eq!(refusal(&Ok(None), &decision(By::Closed)), None);
    }
}
