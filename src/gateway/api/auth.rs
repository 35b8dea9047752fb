//! Access control of the gateway's own endpoints by bearer tokens.
//!
//! Each role has at most two tokens: the current one, and the next one during a rotation. A role
//! without a token is disabled. An admin token also grants the viewer role.

use crate::gateway::config::GatewaySettings;
use jeffrey_http_core::head::RequestHead;

/// Role that an endpoint requires of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// May change the release, read events and erase subjects, in addition to all that a viewer may
    /// do.
    Admin,
    /// May read status, history and metrics of the release, and evaluate its flag.
    Viewer,
}

/// Reason why a request is not authorized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The request has no `Authorization` header with a bearer token.
    #[error("a bearer token is needed")]
    TokenMissing,
    /// No token is configured for this role, so its endpoints are disabled.
    #[error("no {variable} is set, so this is switched off")]
    Disabled {
        /// Name of the secret that enables the role.
        variable: &'static str,
    },
    /// The bearer token does not grant this role.
    #[error("the token does not allow this")]
    TokenInvalid,
}

/// Checks that the bearer token of the request grants a role. An admin token also grants
/// [`Role::Viewer`].
///
/// # Errors
/// Returns [`AccessError`] if no token is configured for the role, or the request's token is
/// missing or does not match.
pub fn authorize(
    head: &RequestHead,
    role: Role,
    settings: &GatewaySettings,
) -> Result<(), AccessError> {
    let (tokens, variable) = match role {
        Role::Admin => (Vec::from_iter(&settings.admin_tokens), "JEFFREY_ADMIN_TOKEN"),
        Role::Viewer => {
            let accepted = settings.viewer_tokens.iter().chain(&settings.admin_tokens);
            (accepted.collect(), "JEFFREY_VIEWER_TOKEN")
        }
    };
    if tokens.is_empty() {
        return Err(AccessError::Disabled { variable });
    }
    let credentials = head.header("authorization").and_then(|value| value.split_once(' '));
    let credentials = credentials.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let (_, bearer_token) = credentials.ok_or(AccessError::TokenMissing)?;
    // Compares with every token, each in constant time, so that timing does not reveal a match.
    let is_accepted = tokens.iter().fold(false, |matched, token| {
        token.is_same_secret(bearer_token.trim().as_bytes()) | matched
    });
    if is_accepted { Ok(()) } else { Err(AccessError::TokenInvalid) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::config::WorkerVariables;

    const VIEWER: &str = "viewer-0123456789";
    const ADMIN: &str = "admin-0123456789, admin-of-tomorrow";

    fn settings(tokens: &[(&'static str, &str)]) -> GatewaySettings {
        let tokens = [("CANARY_AUTH", "none_required")].iter().chain(tokens);
        let tokens = tokens.map(|(name, value)| (*name, (*value).to_owned()));
        GatewaySettings::parse(&WorkerVariables(tokens.collect()))
    }

    fn head(authorization: Option<&str>) -> RequestHead {
        let headers = authorization.map(|value| ("authorization".to_owned(), value.to_owned()));
        RequestHead::new("GET".to_owned(), "http://h/", headers.into_iter().collect()).unwrap()
    }

    #[test]
    fn each_token_opens_its_role_and_no_more() {
        let configured =
            settings(&[("JEFFREY_VIEWER_TOKEN", VIEWER), ("JEFFREY_ADMIN_TOKEN", ADMIN)]);
        assert_eq!(configured.setting_errors, []);
        let rows = [
            (None, Err(AccessError::TokenMissing), Err(AccessError::TokenMissing)),
            (Some("Basic eDp5"), Err(AccessError::TokenMissing), Err(AccessError::TokenMissing)),
            (Some("Bearer viewer-0123456789"), Ok(()), Err(AccessError::TokenInvalid)),
            (Some("bearer admin-0123456789"), Ok(()), Ok(())),
            (Some("Bearer admin-of-tomorrow"), Ok(()), Ok(())),
            (
                Some("Bearer viewer-012345678"),
                Err(AccessError::TokenInvalid),
                Err(AccessError::TokenInvalid),
            ),
            (Some("Bearer "), Err(AccessError::TokenInvalid), Err(AccessError::TokenInvalid)),
        ];
        for (authorization, viewer, admin) in rows {
            assert_eq!(
                authorize(&head(authorization), Role::Viewer, &configured),
                viewer,
                "{authorization:?}"
            );
            assert_eq!(
                authorize(&head(authorization), Role::Admin, &configured),
                admin,
                "{authorization:?}"
            );
        }
    }

    #[test]
    fn a_role_without_a_token_is_off() {
        let no_tokens = settings(&[]);
        let request = head(Some("Bearer "));
        let disabled = |variable| Err(AccessError::Disabled { variable });
        assert_eq!(authorize(&request, Role::Viewer, &no_tokens), disabled("JEFFREY_VIEWER_TOKEN"));
        assert_eq!(authorize(&request, Role::Admin, &no_tokens), disabled("JEFFREY_ADMIN_TOKEN"));
        let viewer = settings(&[("JEFFREY_VIEWER_TOKEN", VIEWER)]);
        assert_eq!(authorize(&request, Role::Admin, &viewer), disabled("JEFFREY_ADMIN_TOKEN"));
    }
}
