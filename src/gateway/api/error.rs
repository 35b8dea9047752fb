//! Errors of the gateway, each with its HTTP status and code: [`ApiError`] is the one table of them.

use crate::gateway::api::auth::AccessError;
use crate::gateway::events::signed_id::SignedIdError;
use crate::rollout::release_state::ReleaseChangeError;
use jeffrey_http_core::reply::{HttpReply, error_json};

/// Errors that the gateway itself returns. No message contains any part of a classify request or
/// response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The caller's token is missing or does not grant the required role.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The manual change conflicts with the release state, or is invalid.
    #[error(transparent)]
    Change(#[from] ReleaseChangeError),
    /// The caller exceeded the rate limit of its subject or address.
    #[error("too many requests: the most is set for {per_s} seconds, try again after them")]
    RateLimited {
        /// Period of the limit, in seconds; also sent as `retry-after`.
        per_s: u64,
    },
    /// The path exists, but for another method.
    #[error("this path takes {takes}")]
    MethodNotAllowed {
        /// Method that the path accepts; also sent as `allow`.
        takes: &'static str,
    },
    /// No endpoint has this path, or the requested file does not exist.
    #[error("no such path below the admin prefix")]
    NotFound,
    /// The rollout rejected the operator's command or plan.
    #[error("{why}")]
    CommandRejected {
        /// Reason for the rejection, as one sentence for the operator.
        why: String,
    },
    /// The request body does not have the expected form.
    #[error("the body is not {expected}")]
    InvalidBody {
        /// Description of the form that the endpoint expects.
        expected: &'static str,
    },
    /// The legacy system did not send its response headers in time.
    #[error("the legacy system did not respond within {timeout_ms} ms")]
    LegacyTimeout {
        /// Time limit, in milliseconds (`LEGACY_TIMEOUT_MS`).
        timeout_ms: u64,
    },
    /// The legacy system cannot be reached, or its response is not valid HTTP.
    #[error("the legacy system could not be reached or sent an invalid response")]
    LegacyUnreachable,
    /// Neither `LEGACY_ORIGIN` nor a service binding `LEGACY` is set.
    #[error("the legacy system is not configured: set LEGACY_ORIGIN or bind LEGACY")]
    LegacyNotConfigured,
    /// The event store did not respond, or its response could not be read.
    #[error("the event store did not respond")]
    EventStoreUnavailable,
    /// The response already has feedback, and each response accepts it once.
    #[error("this response has its feedback already")]
    FeedbackExists,
    /// `JEFFREY_SIGNING_KEY` is not set, so the gateway never issued a signed id.
    #[error("no JEFFREY_SIGNING_KEY is set, so this is switched off")]
    KeyNotSet,
    /// The signed id of a response is malformed, forged, expired or from the future.
    #[error(transparent)]
    SignedId(SignedIdError),
    /// The rollout object did not respond, or its response could not be read.
    #[error("the rollout object did not answer")]
    RolloutUnavailable,
    /// The event store does not hold the response: it was never stored, has expired or was erased.
    #[error("no answer of this id is kept")]
    UnknownId,
    /// The event store has no shard of this number.
    #[error("shard {part} is not one of the event store's {shards}, counted from 0")]
    InvalidShard {
        /// Shard number that the caller asked for.
        part: u64,
        /// Number of shards; valid shard numbers are below it.
        shards: u64,
    },
    /// The request body is larger than the endpoint accepts.
    #[error("the body is above the limit of {limit} bytes")]
    BodyTooLarge {
        /// Size limit of the endpoint, in bytes.
        limit: usize,
    },
}

impl ApiError {
    /// Returns the HTTP status and the `code` of an error. This is the only such table.
    const fn status_and_code(&self) -> (u16, &'static str) {
        match self {
            Self::Access(AccessError::TokenMissing) => (401, "token_missing"),
            Self::Access(AccessError::Disabled { .. }) => (403, "switched_off"),
            Self::Access(AccessError::TokenInvalid) => (403, "token_invalid"),
            Self::Change(ReleaseChangeError::Conflict { .. }) => (409, "version_conflict"),
            Self::Change(ReleaseChangeError::Empty) => (400, "change_empty"),
            Self::Change(ReleaseChangeError::PlanActive) => (409, "plan_active"),
            Self::Change(ReleaseChangeError::Share(_)) => (400, "share_invalid"),
            Self::FeedbackExists => (409, "feedback_exists"),
            Self::EventStoreUnavailable => (503, "event_store_unavailable"),
            Self::RateLimited { .. } => (429, "too_many_requests"),
            Self::MethodNotAllowed { .. } => (405, "method_not_allowed"),
            Self::KeyNotSet => (403, "switched_off"),
            Self::LegacyNotConfigured => (503, "legacy_not_configured"),
            Self::CommandRejected { .. } => (409, "not_done"),
            Self::NotFound => (404, "not_found"),
            Self::InvalidBody { .. } => (400, "body_invalid"),
            Self::LegacyTimeout { .. } => (504, "legacy_timeout"),
            Self::LegacyUnreachable => (502, "legacy_unreachable"),
            Self::SignedId(SignedIdError::InFuture { .. } | SignedIdError::Malformed) => {
                (400, "id_invalid")
            }
            Self::SignedId(SignedIdError::Forged) => (403, "id_forged"),
            Self::SignedId(SignedIdError::Expired { .. }) => (410, "id_expired"),
            Self::RolloutUnavailable => (503, "rollout_unavailable"),
            Self::InvalidShard { .. } => (400, "shard_invalid"),
            Self::BodyTooLarge { .. } => (413, "body_too_large"),
            Self::UnknownId => (404, "id_unknown"),
        }
    }

    /// Builds the response for this error: status, `code`, `message`, and the header that the
    /// status requires.
    pub fn to_response(&self) -> HttpReply {
        let (status, code) = self.status_and_code();
        let mut reply = HttpReply::from_json_bytes(status, error_json(code, &self.to_string()));
        let extra_header = match self {
            Self::Access(AccessError::TokenMissing) => {
                Some(("www-authenticate", "Bearer".to_owned()))
            }
            Self::RateLimited { per_s } => Some(("retry-after", per_s.to_string())),
            Self::MethodNotAllowed { takes } => Some(("allow", (*takes).to_owned())),
            _ => None,
        };
        reply.headers.extend(extra_header);
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_to_do_in_its_headers() {
        let status_and_header = |error: ApiError, name| {
            let response = error.to_response();
            let header = response.headers.iter().find(|(key, _)| *key == name).cloned();
            (response.status, header.map(|(_, value)| value))
        };
        let rate_limited = status_and_header(ApiError::RateLimited { per_s: 10 }, "retry-after");
        assert_eq!(rate_limited, (429, Some("10".into())));
        let method = status_and_header(ApiError::MethodNotAllowed { takes: "PUT" }, "allow");
        assert_eq!(method, (405, Some("PUT".into())));
        let missing = status_and_header(AccessError::TokenMissing.into(), "www-authenticate");
        assert_eq!(missing, (401, Some("Bearer".into())));
    }
}
