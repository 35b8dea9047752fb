//! Who may read and who may change: bearer tokens, each role with at most two while one takes the
//! other's place.

use super::intake::Head;
use super::settings::Settings;

/// What somebody wants to do with the release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Change it.
    Admin,
    /// See it.
    Viewer,
}

/// A request without the right to what it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// No bearer token is shown.
    #[error("a bearer token is needed")]
    Missing,
    /// No token has this role: it is off.
    #[error("no {variable} is set, so this is switched off")]
    Off {
        /// The variable that would switch it on.
        variable: &'static str,
    },
    /// The token has not this role.
    #[error("the token does not allow this")]
    Wrong,
}

/// Whether the request's `Authorization` gives the role. An admin may also read.
///
/// # Errors
/// [`AccessError`] says why it does not.
pub fn check(head: &Head, role: Role, settings: &Settings) -> Result<(), AccessError> {
    let (tokens, variable) = match role {
        Role::Admin => (Vec::from_iter(&settings.admin_tokens), "JEFFREY_ADMIN_TOKEN"),
        Role::Viewer => {
            let both = settings.viewer_tokens.iter().chain(&settings.admin_tokens);
            (both.collect(), "JEFFREY_VIEWER_TOKEN")
        }
    };
    if tokens.is_empty() {
        return Err(AccessError::Off { variable });
    }
    let shown = head.header("authorization").and_then(|value| value.split_once(' '));
    let shown = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let (_, shown) = shown.ok_or(AccessError::Missing)?;
    // All are compared, in constant time each.
    let found = tokens.iter().fold(false, |found, token| token.is(shown.trim().as_bytes()) | found);
    if found { Ok(()) } else { Err(AccessError::Wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::settings::Variables;

    const VIEWER: &str = "viewer-0123456789";
    const ADMIN: &str = "admin-0123456789, admin-of-tomorrow";

    fn settings(tokens: &[(&'static str, &str)]) -> Settings {
        let tokens = tokens.iter().map(|(name, value)| (*name, (*value).to_owned()));
        Settings::parse(&Variables(tokens.collect()))
    }

    fn head(authorization: Option<&str>) -> Head {
        let headers = authorization.map(|value| ("authorization".to_owned(), value.to_owned()));
        Head::new("GET".to_owned(), "http://h/", headers.into_iter().collect()).unwrap()
    }

    #[test]
    fn each_token_opens_its_role_and_no_more() {
        let both = settings(&[("JEFFREY_VIEWER_TOKEN", VIEWER), ("JEFFREY_ADMIN_TOKEN", ADMIN)]);
        assert_eq!(both.faults, []);
        let rows = [
            (None, Err(AccessError::Missing), Err(AccessError::Missing)),
            (Some("Basic eDp5"), Err(AccessError::Missing), Err(AccessError::Missing)),
            (Some("Bearer viewer-0123456789"), Ok(()), Err(AccessError::Wrong)),
            (Some("bearer admin-0123456789"), Ok(()), Ok(())),
            (Some("Bearer admin-of-tomorrow"), Ok(()), Ok(())),
            (Some("Bearer viewer-012345678"), Err(AccessError::Wrong), Err(AccessError::Wrong)),
            (Some("Bearer "), Err(AccessError::Wrong), Err(AccessError::Wrong)),
        ];
        for (shown, viewer, admin) in rows {
            assert_eq!(check(&head(shown), Role::Viewer, &both), viewer, "{shown:?}");
            assert_eq!(check(&head(shown), Role::Admin, &both), admin, "{shown:?}");
        }
    }

    #[test]
    fn a_role_without_a_token_is_off() {
        let none = settings(&[]);
        let shown = head(Some("Bearer "));
        let off = |variable| Err(AccessError::Off { variable });
        assert_eq!(check(&shown, Role::Viewer, &none), off("JEFFREY_VIEWER_TOKEN"));
        assert_eq!(check(&shown, Role::Admin, &none), off("JEFFREY_ADMIN_TOKEN"));
        let viewer = settings(&[("JEFFREY_VIEWER_TOKEN", VIEWER)]);
        assert_eq!(check(&shown, Role::Admin, &viewer), off("JEFFREY_ADMIN_TOKEN"));
    }
}
