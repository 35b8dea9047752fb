//! Endpoints below `ADMIN_PREFIX`: their paths, methods and roles.

use crate::gateway::api::auth::Role;
use crate::gateway::api::error::ApiError;
use jeffrey_http_core::head::accepts_method;
use jeffrey_http_core::page::page_headers;

/// Response headers of every dashboard file. They allow the page to load from and connect to the
/// gateway only.
pub const HTML_PAGE_HEADERS: [(&str, &str); 4] = page_headers(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Documentation of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointDoc {
    /// Name of the endpoint, as its variant has it.
    pub name: &'static str,
    /// HTTP method that the endpoint takes.
    pub method: &'static str,
    /// Path below the prefix, with its query parameters.
    pub path: &'static str,
    /// Role that a caller needs; `None` if the endpoint needs no token.
    pub role: Option<Role>,
    /// What the endpoint does, as Markdown.
    pub meaning: &'static str,
}

macro_rules! role {
    (public) => {
        None
    };
    (viewer) => {
        Some(Role::Viewer)
    };
    (admin) => {
        Some(Role::Admin)
    };
}

/// Declares every endpoint once: variant, method, path, documented path, role and meaning. The enum,
/// the match of fixed paths, the roles and the table of the documentation come from this. The
/// optional version prefix `/v1` is left out of a fixed path.
macro_rules! gateway_endpoints {
    (
        fixed {
            $($(#[$doc:meta])* $fixed:ident
                = $method:literal, $path:literal, $shown:literal, $role:ident, $meaning:literal;)*
        }
        with_parameter {
            $($(#[$parameter_doc:meta])* $variant:ident
                = $parameter_method:literal, $parameter_path:literal, $parameter_role:ident,
                    $parameter_meaning:literal;)*
        }
    ) => {
        /// Endpoints of the gateway, without its prefix.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum GatewayEndpoint<'a> {
            $($(#[$doc])* $fixed,)*
            $($(#[$parameter_doc])* $variant(&'a str),)*
        }

        /// Documentation of every endpoint.
        pub const ENDPOINT_DOCS: &[EndpointDoc] = &[
            $(EndpointDoc {
                name: stringify!($fixed),
                method: $method,
                path: $shown,
                role: role!($role),
                meaning: $meaning,
            },)*
            $(EndpointDoc {
                name: stringify!($variant),
                method: $parameter_method,
                path: $parameter_path,
                role: role!($parameter_role),
                meaning: $parameter_meaning,
            },)*
        ];

        impl GatewayEndpoint<'_> {
            /// Returns the endpoint of a fixed path without version; `None` if there is none.
            fn from_fixed_path(path: &str) -> Option<Self> {
                match path {
                    $($path => Some(Self::$fixed),)*
                    _ => None,
                }
            }

            /// Returns the method that the endpoint takes.
            const fn method(self) -> &'static str {
                match self {
                    $(Self::$fixed => $method,)*
                    $(Self::$variant(_) => $parameter_method,)*
                }
            }

            /// Returns the role that a caller needs; `None` if the endpoint needs no token.
            pub const fn required_role(self) -> Option<Role> {
                match self {
                    $(Self::$fixed => role!($role),)*
                    $(Self::$variant(_) => role!($parameter_role),)*
                }
            }
        }
    };
}

gateway_endpoints! {
    fixed {
        /// `GET /health`: health of the gateway and its settings.
        Health = "GET", "/health", "/health", public,
            "200, or 503 while a variable is refused. `status` is `ok`, `degraded` (this isolate's circuit breaker is open, by `breaker`) or `failed`: `faults` names each refused variable, and shows a part of its value to viewers only. `disabled` says whether the release is disabled; `classify` describes a classify call";
        /// `POST /v1/feedback`: user feedback on one response.
        Feedback = "POST", "/feedback", "/v1/feedback", public,
            "`{\"id\": \"…\", \"ok\": true}` or `{\"id\": \"…\", \"correct_label\": \"joy\"}` with the response's `x-jeffrey-id`: feedback, once for each response, within seven days";
        /// `GET /v1/rollout`: current rollout status.
        RolloutStatus = "GET", "/rollout", "/v1/rollout", viewer,
            "state of the release: the fields shown above. With a plan, `rollout` has stages, phase, gates and allowed commands (`allowed_commands`), and `figures` summarises both cohorts since the stage began";
        /// `GET /v1/rollout/live`: rollout status once a second.
        Live = "GET", "/rollout/live", "/v1/rollout/live", viewer,
            "the same, as one line of JSON a second. The response ends after 450 lines with one shard of the event store and after 27 with 32, so that it stays below 1,000 subrequests; connect again";
        /// `GET /v1/rollout/history`: entries of the rollout's history.
        History = "GET", "/rollout/history", "/v1/rollout/history?since=N&limit=1000", viewer,
            "history entries after entry N as lines of JSON, at most 1,000";
        /// `GET /v1/rollout/decisions`: past decisions as messages.
        Decisions = "GET", "/rollout/decisions", "/v1/rollout/decisions?since=N&limit=1000", viewer,
            "the decisions among them as [messages](#messages), with the gates' results; continue with `since` = `after`";
        /// `GET /v1/minutes`: counters of closed minutes, at most 120.
        Minutes = "GET", "/minutes", "/v1/minutes?since=N", viewer,
            "at most 120 closed minutes after minute N (since 1970), as the gates read them ([telemetry.md](telemetry.md))";
        /// `GET /v1/series`: closed minutes as points of a chart, at most 120.
        Series = "GET", "/series", "/v1/series?since=N", viewer,
            "the same minutes as rates and latencies for a chart";
        /// `GET /v1/totals`: totals of both cohorts over a range of minutes.
        Totals = "GET", "/totals", "/v1/totals?since=N&before=M", viewer,
            "counters of both cohorts after minute N and before minute M, p50, p95 and p99 latency within 5 %, mean confidence";
        /// `GET /v1/sinks`: delivery state of each sink.
        Sinks = "GET", "/sinks", "/v1/sinks", viewer,
            "for each sink: events delivered, waiting and dropped. `lost_events` counts events that never reached the event store, `erasing_events` those in which an erased subject is still to be searched; `shards` has each shard";
        /// `GET /metrics`: metrics in the Prometheus text format.
        Metrics = "GET", "/metrics", "/metrics", viewer,
            "totals of the event store, share and hard failures in Prometheus' text format; needs the event store and the rollout object";
        /// `PUT /v1/admin/share`: sets the share or the kill flag by hand.
        SetShare = "PUT", "/admin/share", "/v1/admin/share", admin,
            "`{\"version\": N, \"share\": \"20%\", \"killed\": false}`, the last two optional but not both. 409 if N is not the current version, or for `share` while a plan sends traffic to the canary; `killed` works at any time";
        /// `POST /v1/admin/rollout`: a rollout command of an operator.
        RolloutCommand = "POST", "/admin/rollout", "/v1/admin/rollout", admin,
            "`{\"command\": \"start\", \"reason\": \"…\", \"actor\": \"…\", \"plan\": \"…\", \"version\": N}`, the commands of [rollout.md](rollout.md); only `command` is needed. 409 `version_conflict` if N is not the current version, 409 `not_done` with the reason if the command is refused";
        /// `POST /v1/admin/validation`: stores a report of `jeffrey validate --json`.
        RecordValidation = "POST", "/admin/validation", "/v1/admin/validation", admin,
            "stores a report of `jeffrey validate --json`";
        /// `POST /v1/admin/alerts/test`: sends a test alert to every alert target.
        TestAlert = "POST", "/admin/alerts/test", "/v1/admin/alerts/test", admin,
            "sends a test alert to every webhook target of `ALERT_WEBHOOKS` and returns the results";
        /// `GET /v1/admin/events`: a page of events of one shard.
        Events = "GET", "/admin/events", "/v1/admin/events?since=N&limit=1000&shard=0", admin,
            "events of one shard after event N as lines of JSON, at most 10,000, each with its number `seq`. `x-jeffrey-shards` is the number of shards";
        /// `DELETE /v1/admin/subjects`: erases the events of one subject.
        EraseSubject = "DELETE", "/admin/subjects", "/v1/admin/subjects", admin,
            "`{\"subject\": \"…\"}`: erases a subject from the event store ([privacy.md](privacy.md))";
    }
    // The pages need no token: they hold no data, and fetch it with a token.
    with_parameter {
        /// `GET /dashboard/`: a file of the dashboard; the path below `/dashboard`.
        Dashboard = "GET", "/dashboard/", public,
            "the dashboard page, without data ([dashboard.md](dashboard.md)); `/dashboard/openapi.json` is this API in OpenAPI 3.1 ([gateway-openapi.json](gateway-openapi.json))";
        /// `GET /playground/`: a file of the model worker's page; the path below `/playground`.
        Playground = "GET", "/playground/", public,
            "the model worker's page, if `SERVE_PLAYGROUND` is on ([playground.md](playground.md))";
        /// `POST /ofrep/v1/evaluate/flags/{RELEASE}`: OpenFeature evaluation of one subject; the key of the flag.
        EvaluateFlag = "POST", "/ofrep/v1/evaluate/flags/{RELEASE}", viewer,
            "[OpenFeature remote evaluation](https://openfeature.dev/docs/reference/technologies/server/ofrep): `{\"context\": {\"targetingKey\": \"…\"}}`; `value` is `true` for canary";
    }
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
        let endpoint = Self::from_fixed_path(unversioned_path)
            .or_else(|| Self::from_parameter_path(path))
            .ok_or(ApiError::NotFound)?;
        let takes = endpoint.method();
        if accepts_method(takes, method) {
            Ok(endpoint)
        } else {
            Err(ApiError::MethodNotAllowed { takes })
        }
    }

    /// Returns the endpoint of a path that has a parameter; `None` if there is none.
    fn from_parameter_path(path: &'a str) -> Option<Self> {
        let file_in = |folder| {
            path.strip_prefix(folder).filter(|file: &&str| file.is_empty() || file.starts_with('/'))
        };
        if let Some(file) = file_in("/dashboard") {
            return Some(Self::Dashboard(file));
        }
        if let Some(file) = file_in("/playground").filter(|file| is_playground_file(file)) {
            return Some(Self::Playground(file));
        }
        let key = path.strip_prefix("/ofrep/v1/evaluate/flags/")?;
        (!key.is_empty() && !key.contains('/')).then_some(Self::EvaluateFlag(key))
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
