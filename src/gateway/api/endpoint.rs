//! Endpoints below `ADMIN_PREFIX`: their paths, methods and roles.

use crate::gateway::api::auth::Role;
use crate::gateway::api::error::ApiError;

/// Response headers of every dashboard file. They allow the page to load from and connect to the
/// gateway only.
pub const HTML_PAGE_HEADERS: [(&str, &str); 4] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
];

/// Endpoints of the gateway, without its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayEndpoint<'a> {
    /// `DELETE /v1/admin/subjects`: erases the events of one subject.
    EraseSubject,
    /// `GET /v1/admin/events`: a page of events of one shard.
    Events,
    /// `POST /v1/feedback`: user feedback on one response.
    Feedback,
    /// `GET /health`: health of the gateway and its settings.
    Health,
    /// `GET /metrics`: metrics in the Prometheus text format.
    Metrics,
    /// `GET /v1/minutes`: counters of closed minutes, at most 120.
    Minutes,
    /// `POST /ofrep/v1/evaluate/flags/{key}`: OpenFeature evaluation of one subject.
    EvaluateFlag(&'a str),
    /// `POST /v1/admin/rollout`: a rollout command of an operator.
    RolloutCommand,
    /// `GET /dashboard/…`: a file of the dashboard; the path below `/dashboard`.
    Dashboard(&'a str),
    /// `GET /playground/…`: a file of the model worker's page; the path below `/playground`.
    Playground(&'a str),
    /// `GET /v1/rollout/decisions`: past decisions as sentences.
    Decisions,
    /// `GET /v1/rollout/history`: entries of the rollout's history.
    History,
    /// `GET /v1/rollout/live`: rollout status once a second, for ten minutes.
    Live,
    /// `GET /v1/rollout`: current rollout status.
    RolloutStatus,
    /// `POST /v1/admin/alerts/test`: sends a test alert to every alert target.
    TestAlert,
    /// `POST /v1/admin/validation`: stores a report of `jeffrey validate --json`.
    RecordValidation,
    /// `PUT /v1/admin/share`: sets the share or the kill flag by hand.
    SetShare,
    /// `GET /v1/series`: closed minutes as points of a chart, at most 120.
    Series,
    /// `GET /v1/sinks`: delivery state of each sink.
    Sinks,
    /// `GET /v1/totals`: totals of both cohorts over a range of minutes.
    Totals,
}

impl<'a> GatewayEndpoint<'a> {
    /// Returns the endpoint of a path below the prefix. `HEAD` is accepted wherever `GET` is.
    ///
    /// # Errors
    /// Returns [`ApiError::NotFound`] if no endpoint has this path, or
    /// [`ApiError::MethodNotAllowed`] with the method that the path accepts.
    pub fn from_request(method: &str, path: &'a str) -> Result<Self, ApiError> {
        // The version prefix `/v1` is optional.
        let unversioned_path =
            path.strip_prefix("/v1").filter(|rest| rest.starts_with('/')).unwrap_or(path);
        let (endpoint, allowed_method) = match unversioned_path {
            "/admin/events" => (Self::Events, "GET"),
            "/admin/share" => (Self::SetShare, "PUT"),
            "/admin/subjects" => (Self::EraseSubject, "DELETE"),
            "/feedback" => (Self::Feedback, "POST"),
            "/health" => (Self::Health, "GET"),
            "/metrics" => (Self::Metrics, "GET"),
            "/minutes" => (Self::Minutes, "GET"),
            "/admin/alerts/test" => (Self::TestAlert, "POST"),
            "/admin/rollout" => (Self::RolloutCommand, "POST"),
            "/admin/validation" => (Self::RecordValidation, "POST"),
            "/rollout" => (Self::RolloutStatus, "GET"),
            "/rollout/decisions" => (Self::Decisions, "GET"),
            "/rollout/history" => (Self::History, "GET"),
            "/rollout/live" => (Self::Live, "GET"),
            "/series" => (Self::Series, "GET"),
            "/sinks" => (Self::Sinks, "GET"),
            "/totals" => (Self::Totals, "GET"),
            _ => {
                let file_in = |folder| {
                    path.strip_prefix(folder)
                        .filter(|file: &&str| file.is_empty() || file.starts_with('/'))
                };
                let key = path.strip_prefix("/ofrep/v1/evaluate/flags/");
                let key = key.filter(|key| !key.is_empty() && !key.contains('/'));
                let playground = file_in("/playground").filter(|file| is_playground_file(file));
                match (file_in("/dashboard"), playground, key) {
                    (Some(file), ..) => (Self::Dashboard(file), "GET"),
                    (None, Some(file), _) => (Self::Playground(file), "GET"),
                    (None, None, Some(key)) => (Self::EvaluateFlag(key), "POST"),
                    (None, None, None) => return Err(ApiError::NotFound),
                }
            }
        };
        if method == allowed_method || (method == "HEAD" && allowed_method == "GET") {
            Ok(endpoint)
        } else {
            Err(ApiError::MethodNotAllowed { takes: allowed_method })
        }
    }

    /// Returns the role that a caller needs; `None` if the endpoint needs no token.
    pub const fn required_role(self) -> Option<Role> {
        match self {
            // The page itself holds no data: it fetches its data with a token. Feedback needs a
            // signed id.
            Self::Dashboard(_) | Self::Playground(_) | Self::Feedback | Self::Health => None,
            Self::Decisions
            | Self::History
            | Self::Live
            | Self::Metrics
            | Self::Minutes
            | Self::EvaluateFlag(_)
            | Self::RolloutStatus
            | Self::Series
            | Self::Sinks
            | Self::Totals => Some(Role::Viewer),
            Self::RolloutCommand
            | Self::EraseSubject
            | Self::Events
            | Self::SetShare
            | Self::TestAlert
            | Self::RecordValidation => Some(Role::Admin),
        }
    }
}

/// Returns whether `file` belongs to the model worker's page. The playground needs no token, so no
/// other path of the model worker may be reachable through it.
fn is_playground_file(file: &str) -> bool {
    let extensions = [".css", ".js", ".svg"];
    matches!(file, "" | "/")
        || file.starts_with("/models/")
        || file.starts_with("/wasm/")
        || (file.rfind('/') == Some(0)
            && extensions.iter().any(|extension| file.ends_with(extension)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_takes_its_method_and_asks_for_its_role() {
        let rows = [
            ("GET", "/health", Ok(GatewayEndpoint::Health)),
            ("HEAD", "/health", Ok(GatewayEndpoint::Health)),
            ("POST", "/health", Err(ApiError::MethodNotAllowed { takes: "GET" })),
            ("GET", "/v1/rollout", Ok(GatewayEndpoint::RolloutStatus)),
            ("GET", "/rollout", Ok(GatewayEndpoint::RolloutStatus)),
            ("GET", "/v1", Err(ApiError::NotFound)),
            ("GET", "/v1/v1/rollout", Err(ApiError::NotFound)),
            ("GET", "/metrics", Ok(GatewayEndpoint::Metrics)),
            ("POST", "/v1/feedback", Ok(GatewayEndpoint::Feedback)),
            ("DELETE", "/admin/subjects", Ok(GatewayEndpoint::EraseSubject)),
            ("GET", "/admin/events", Ok(GatewayEndpoint::Events)),
            ("PUT", "/v1/admin/share", Ok(GatewayEndpoint::SetShare)),
            ("GET", "/v1/admin/share", Err(ApiError::MethodNotAllowed { takes: "PUT" })),
            ("POST", "/ofrep/v1/evaluate/flags/e1", Ok(GatewayEndpoint::EvaluateFlag("e1"))),
            ("POST", "/ofrep/v1/evaluate/flags/", Err(ApiError::NotFound)),
            ("POST", "/ofrep/v1/evaluate/flags/a/b", Err(ApiError::NotFound)),
            ("GET", "", Err(ApiError::NotFound)),
            ("GET", "/", Err(ApiError::NotFound)),
            ("GET", "/health/", Err(ApiError::NotFound)),
            ("GET", "/dashboard/app.js", Ok(GatewayEndpoint::Dashboard("/app.js"))),
            ("GET", "/playground", Ok(GatewayEndpoint::Playground(""))),
            ("GET", "/playground/", Ok(GatewayEndpoint::Playground("/"))),
            ("GET", "/playground/app.js", Ok(GatewayEndpoint::Playground("/app.js"))),
            (
                "GET",
                "/playground/models/index.json",
                Ok(GatewayEndpoint::Playground("/models/index.json")),
            ),
            ("GET", "/playgrounds", Err(ApiError::NotFound)),
            ("GET", "/playground/metrics", Err(ApiError::NotFound)),
            ("GET", "/playground/health", Err(ApiError::NotFound)),
            ("GET", "/playground/v1/a.js", Err(ApiError::NotFound)),
            ("POST", "/playground/", Err(ApiError::MethodNotAllowed { takes: "GET" })),
        ];
        for (method, path, expected) in rows {
            assert_eq!(GatewayEndpoint::from_request(method, path), expected, "{method} {path}");
        }
        assert_eq!(GatewayEndpoint::SetShare.required_role(), Some(Role::Admin));
        assert_eq!(GatewayEndpoint::RolloutStatus.required_role(), Some(Role::Viewer));
        assert_eq!(GatewayEndpoint::EvaluateFlag("e1").required_role(), Some(Role::Viewer));
        assert_eq!(GatewayEndpoint::EraseSubject.required_role(), Some(Role::Admin));
        assert_eq!(GatewayEndpoint::Events.required_role(), Some(Role::Admin));
        assert_eq!(GatewayEndpoint::Metrics.required_role(), Some(Role::Viewer));
        assert_eq!(GatewayEndpoint::Sinks.required_role(), Some(Role::Viewer));
        assert_eq!(GatewayEndpoint::Health.required_role(), None);
        assert_eq!(GatewayEndpoint::Feedback.required_role(), None);
    }
}
