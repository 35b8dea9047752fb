//! HTTP API of the gateway itself, below `ADMIN_PREFIX`: health, rollout status, metrics, manual
//! changes, rollout commands, feedback and erasure.
//!
//! It also serves the assignment to OpenFeature clients (OFREP,
//! <https://openfeature.dev/docs/reference/technologies/server/ofrep>). This module maps paths to
//! endpoints and roles, parses bodies, and builds responses; [`ApiError`] is the one table of
//! errors, statuses and codes. The Worker in `crates/gateway-worker` calls the event store and the
//! rollout object.

use serde::{Deserialize, Serialize};

use super::access::{AccessError, Role};
use super::circuit_breaker::CircuitBreaker;
use super::legacy::JsonPointer;
use super::messages;
use super::request::RequestHead;
use super::settings::GatewaySettings;
use super::signed_id::SignedIdError;
use super::summary::SummaryByCohort;
use crate::rollout::advance_checks::ModelValidation;
use crate::rollout::assignment::{
    Assignment, AssignmentRules, CanaryEligibility, RequestFacts, assign_cohort,
};
use crate::rollout::progress::OperatorCommand;
use crate::rollout::release_state::{ReleaseChange, ReleaseChangeError, ReleaseState};
use crate::rollout::share_cache::EffectiveShare;
use crate::rollout::status::RolloutStatus;
use jeffrey_terms::{Cohort, Subject, UnixMs};

/// Largest request body of these endpoints, in bytes; a larger one is rejected with 413.
pub const BODY_BYTES_MAX: usize = 16 * 1024;

/// Largest body of a rollout command or a validation report, in bytes. A command may contain a
/// plan.
pub const COMMAND_BYTES_MAX: usize = 128 * 1024;

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

/// Complete HTTP response of one of the gateway's own endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiResponse {
    /// HTTP status of the response.
    pub status: u16,
    /// Header names in lower case, with their values.
    pub headers: Vec<(&'static str, String)>,
    /// Body bytes: JSON unless `content-type` says otherwise; empty for redirects and `HEAD`.
    pub body: Vec<u8>,
}

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
    pub fn to_response(&self) -> ApiResponse {
        #[derive(Serialize)]
        struct ErrorEnvelope<'a> {
            error: ErrorDetail<'a>,
        }
        #[derive(Serialize)]
        struct ErrorDetail<'a> {
            code: &'a str,
            message: &'a str,
        }
        let (status, code) = self.status_and_code();
        let message = self.to_string();
        let mut reply = ApiResponse::json(
            status,
            &ErrorEnvelope { error: ErrorDetail { code, message: &message } },
        );
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

impl ApiResponse {
    /// Builds a JSON response that no cache may store.
    pub fn json<T: Serialize>(status: u16, value: &T) -> Self {
        let headers = [
            ("content-type", "application/json"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
        ];
        let headers = headers.map(|(name, value)| (name, value.to_owned())).to_vec();
        // The gateway's own types have string keys and finite numbers only, so this cannot fail.
        let body = serde_json::to_vec(value).expect("a shape of the gate");
        Self { status, headers, body }
    }
}

/// Parses the subject whose events the caller wants to erase.
///
/// # Errors
/// Returns [`ApiError::InvalidBody`] if the body does not name a subject of 1 to 256 bytes.
pub fn parse_erasure(body: &[u8]) -> Result<Subject, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct ErasureBody {
        subject: String,
    }
    const EXPECTED: &str = "{\"subject\": 1 to 256 bytes}";
    let erasure: ErasureBody =
        serde_json::from_slice(body).map_err(|_| ApiError::InvalidBody { expected: EXPECTED })?;
    Subject::parse(erasure.subject).map_err(|_| ApiError::InvalidBody { expected: EXPECTED })
}

/// Page of numbered rows that a query asks for: events, history entries or minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventsPage {
    /// Exclusive lower bound: the page starts after the row of this number. 0 means from the start.
    pub after_row: u64,
    /// Most rows that the caller wants; the store applies its own upper limit.
    pub limit: u64,
    /// Shard of the event store, from 0; only the events endpoint uses it.
    pub shard: u64,
}

/// Parses the page that a query asks for: `since` (default 0), `limit` (default 1,000) and `shard`
/// (default 0). A value that is not a number counts as missing.
pub fn parse_events_page(head: &RequestHead) -> EventsPage {
    let number_or = |name, default| {
        head.query_param(name).and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    EventsPage {
        after_row: number_or("since", 0),
        limit: number_or("limit", 1_000),
        shard: number_or("shard", 0),
    }
}

/// Upper bound of every minute number: the largest integer that JavaScript keeps exactly, 2^53 - 1.
/// A Durable Object's SQL takes its integers through JavaScript.
pub const MINUTE_NUMBER_MAX: u64 = (1 << 53) - 1;

/// Parses the range of minutes that a query asks for: after `since` and before `before`, both
/// exclusive. A missing or invalid value sets no bound on its side.
pub fn parse_minute_range(head: &RequestHead) -> (u64, u64) {
    let number = |name| head.query_param(name).and_then(|value| value.parse().ok());
    (
        number("since").unwrap_or(0).min(MINUTE_NUMBER_MAX),
        number("before").unwrap_or(MINUTE_NUMBER_MAX).min(MINUTE_NUMBER_MAX),
    )
}

/// Builds the health response. The status is 503 while a variable is rejected, because the canary
/// is then disabled, and 200 otherwise. `status` in the body is `failed`, `degraded` (the isolate's
/// circuit breaker is open) or `ok`.
pub fn health_response(
    settings: &GatewaySettings,
    effective: EffectiveShare,
    circuit_breaker: &CircuitBreaker,
) -> ApiResponse {
    #[derive(Serialize)]
    struct GatewayHealth<'a> {
        status: &'static str,
        release: &'a str,
        share_basis_points: u16,
        disabled: bool,
        breaker: Option<&'static str>,
        faults: Vec<String>,
        /// Describes how to make a classify call, for the page that makes one.
        classify: Option<ClassifyCallInfo<'a>>,
        version: &'static str,
    }
    #[derive(Serialize)]
    struct ClassifyCallInfo<'a> {
        method: &'a str,
        path: &'a str,
        text: &'a JsonPointer,
        user: Option<&'a JsonPointer>,
        label: Option<&'a JsonPointer>,
        confidence: Option<&'a JsonPointer>,
    }
    let contract = &settings.contract;
    let classify = contract.classify_endpoints.first().map(|(method, path)| ClassifyCallInfo {
        method,
        path,
        text: &contract.text_pointer,
        user: contract.user_pointer.as_ref(),
        label: contract.label_pointer.as_ref(),
        confidence: contract.confidence_pointer.as_ref(),
    });
    let faults: Vec<String> = settings.setting_errors.iter().map(ToString::to_string).collect();
    let opened_by = circuit_breaker.opened_by();
    let status = match (faults.is_empty(), opened_by) {
        (false, _) => "failed",
        (true, Some(_)) => "degraded",
        (true, None) => "ok",
    };
    let health = GatewayHealth {
        status,
        release: settings.release.as_str(),
        share_basis_points: effective.share.basis_points(),
        disabled: effective.disabled || settings.is_canary_disabled(),
        breaker: opened_by.map(|kind| kind.name()),
        faults,
        classify,
        version: env!("CARGO_PKG_VERSION"),
    };
    ApiResponse::json(if health.faults.is_empty() { 200 } else { 503 }, &health)
}

/// Builds the status response of a release. `status` is `None` if the release has no plan.
/// `figures` summarizes both cohorts since the stage began; it is `None` without a plan, or if the
/// event store did not respond.
pub fn status_response(
    settings: &GatewaySettings,
    state: &ReleaseState,
    status: Option<&RolloutStatus>,
    figures: Option<&SummaryByCohort>,
) -> ApiResponse {
    #[derive(Serialize)]
    struct RolloutStatusBody<'a> {
        release: &'a str,
        #[serde(flatten)]
        state: &'a ReleaseState,
        /// Status of the release as one English sentence.
        message: String,
        message_fr: String,
        /// Commands that are allowed while the release has no plan. With a plan, `rollout` lists
        /// them.
        allowed_commands: &'a [&'a str],
        rollout: Option<&'a RolloutStatus>,
        figures: Option<&'a SummaryByCohort>,
    }
    let release = settings.release.as_str();
    let message = messages::status_line(release, state.share, state.killed, status);
    let message_fr = messages::status_line_fr(release, state.share, state.killed, status);
    let allowed_commands: &[&str] = if status.is_none() { &["start"] } else { &[] };
    ApiResponse::json(
        200,
        &RolloutStatusBody {
            release,
            state,
            message,
            message_fr,
            allowed_commands,
            rollout: status,
            figures,
        },
    )
}

/// Rollout command of an operator, as the body of `POST /v1/admin/rollout` carries it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutCommand {
    /// Command to apply to the rollout.
    pub command: CommandName,
    /// Reason for the command, at most 500 characters; empty if not given.
    #[serde(default)]
    pub reason: String,
    /// Name of the operator, at most 500 characters. It is recorded as given and not verified.
    #[serde(default)]
    pub actor: String,
    /// Text of a plan to activate. Without it the current plan stays; `start` uses the shipped plan
    /// if the release has none yet.
    pub plan: Option<String>,
}

/// Names of the rollout commands.
#[allow(missing_docs, reason = "each is a command of the state machine, `apply_plan` aside")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandName {
    Abort,
    Advance,
    Approve,
    Pause,
    /// Activates the given plan and sends no command to the state machine.
    ApplyPlan,
    Resume,
    Rollback,
    Start,
}

impl RolloutCommand {
    /// Converts to the command of the state machine; returns `None` for [`CommandName::ApplyPlan`].
    pub fn to_operator_command(&self) -> Option<OperatorCommand> {
        let reason = self.reason.clone();
        Some(match self.command {
            CommandName::Abort => OperatorCommand::Abort { reason },
            CommandName::Advance => OperatorCommand::Advance { reason },
            CommandName::Approve => OperatorCommand::Approve,
            CommandName::Pause => OperatorCommand::Pause { reason },
            CommandName::ApplyPlan => return None,
            CommandName::Resume => OperatorCommand::Resume { reason },
            CommandName::Rollback => OperatorCommand::RollBack { reason },
            CommandName::Start => OperatorCommand::Start,
        })
    }
}

/// Parses a rollout command.
///
/// # Errors
/// Returns [`ApiError::InvalidBody`] if the body is not a rollout command, or if the reason or the
/// operator's name is longer than 500 characters.
pub fn parse_rollout_command(body: &[u8]) -> Result<RolloutCommand, ApiError> {
    const EXPECTED: &str = "{\"command\": \"start\", \"plan\", \"approve\", \"pause\", \"resume\", \"advance\", \"rollback\" or \
                            \"abort\", \"reason\"?: up to 500 characters, \"actor\"?: the same, \"plan\"?: a plan's text}";
    let expected = ApiError::InvalidBody { expected: EXPECTED };
    let command: RolloutCommand = serde_json::from_slice(body).map_err(|_| expected.clone())?;
    let is_within_limit = |text: &str| text.chars().count() <= 500;
    if is_within_limit(&command.reason) && is_within_limit(&command.actor) {
        Ok(command)
    } else {
        Err(expected)
    }
}

/// Parses a report of `jeffrey validate --json`: the model's SHA-256 and whether the model passed.
/// `now` becomes the time of receipt.
///
/// # Errors
/// Returns [`ApiError::InvalidBody`] if the body is not such a report, or if the SHA-256 is not 64
/// hexadecimal digits.
pub fn parse_model_validation(body: &[u8], now: UnixMs) -> Result<ModelValidation, ApiError> {
    #[derive(Deserialize)]
    struct ValidationBody {
        passed: bool,
        model: ValidatedModel,
    }
    #[derive(Deserialize)]
    struct ValidatedModel {
        sha256: String,
    }
    const EXPECTED: &str = "a report of `jeffrey validate --json` with the model's sha256";
    let report: ValidationBody =
        serde_json::from_slice(body).map_err(|_| ApiError::InvalidBody { expected: EXPECTED })?;
    let sha256 = report.model.sha256;
    if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ApiError::InvalidBody { expected: EXPECTED });
    }
    Ok(ModelValidation { model_sha256: sha256, passed: report.passed, received_at: now })
}

/// Parses a manual change of the share or the kill flag.
///
/// # Errors
/// Returns [`ApiError::InvalidBody`] if the body is not a [`ReleaseChange`].
pub fn parse_share_change(body: &[u8]) -> Result<ReleaseChange, ApiError> {
    const EXPECTED: &str = "{\"version\": number, \"share\"?: \"10%\", \"killed\"?: true or false}";
    serde_json::from_slice(body).map_err(|_| ApiError::InvalidBody { expected: EXPECTED })
}

/// Builds the assignment rules for one request from the settings and the effective share.
pub fn assignment_rules(
    settings: &GatewaySettings,
    effective: EffectiveShare,
) -> AssignmentRules<'_> {
    AssignmentRules {
        release: &settings.release,
        share: effective.share,
        // A plan has its own holdout, with which its gates compare at the last stage. A plan whose
        // holdout is smaller than the setting is rejected.
        holdout: settings.holdout.max(effective.holdout),
        disabled: effective.disabled || settings.is_canary_disabled(),
        cohort_overrides: &settings.cohort_overrides,
    }
}

/// Answers an OFREP evaluation with the assignment that a classify call of this subject would get.
/// `flag_key` must be the name of the release (404 otherwise); an invalid body gets 400.
pub fn evaluate_flag(
    flag_key: &str,
    body: &[u8],
    settings: &GatewaySettings,
    effective: EffectiveShare,
) -> ApiResponse {
    #[derive(Deserialize)]
    struct EvaluationRequest {
        context: Option<EvaluationContext>,
    }
    #[derive(Deserialize)]
    struct EvaluationContext {
        #[serde(rename = "targetingKey")]
        targeting_key: Option<String>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct EvaluationFailure<'a> {
        key: &'a str,
        error_code: &'static str,
        error_details: &'static str,
    }
    let failure = |status, error_code, error_details| {
        ApiResponse::json(status, &EvaluationFailure { key: flag_key, error_code, error_details })
    };
    if flag_key != settings.release.as_str() {
        return failure(404, "FLAG_NOT_FOUND", "the flag's key is the name of the release");
    }
    let Ok(request) = serde_json::from_slice::<EvaluationRequest>(body) else {
        return failure(400, "PARSE_ERROR", "the body is not {\"context\": {\"targetingKey\": …}}");
    };
    let subject = request.context.and_then(|context| context.targeting_key);
    let Some(subject) = subject.filter(|subject| !subject.is_empty()) else {
        return failure(400, "TARGETING_KEY_MISSING", "context.targetingKey is missing or empty");
    };
    let Ok(subject) = Subject::parse(subject) else {
        return failure(400, "INVALID_CONTEXT", "context.targetingKey is above 256 bytes");
    };
    let facts = RequestFacts {
        subject: Some(&subject),
        requested_cohort: None,
        is_sticky: true,
        eligibility: CanaryEligibility::Eligible,
    };
    ApiResponse::json(
        200,
        &flag_evaluation(flag_key, &assign_cohort(&facts, &assignment_rules(settings, effective))),
    )
}

#[derive(Serialize)]
struct FlagEvaluation<'a> {
    key: &'a str,
    /// Whether the subject is assigned to the canary.
    value: bool,
    variant: Cohort,
    reason: &'static str,
    metadata: EvaluationMetadata,
}

#[derive(Serialize)]
struct EvaluationMetadata {
    assignment_reason: &'static str,
    bucket: Option<u16>,
}

fn flag_evaluation<'a>(flag_key: &'a str, decision: &Assignment) -> FlagEvaluation<'a> {
    use crate::rollout::assignment::AssignmentReason;
    let reason = match decision.reason {
        AssignmentReason::Bucket | AssignmentReason::Holdout => "SPLIT",
        AssignmentReason::ReleaseDisabled => "DISABLED",
        AssignmentReason::CohortOverride | AssignmentReason::OverrideToken => "TARGETING_MATCH",
        AssignmentReason::ForeignOrigin
        | AssignmentReason::NoSubject
        | AssignmentReason::NoText
        | AssignmentReason::Streamed => "DEFAULT",
    };
    FlagEvaluation {
        key: flag_key,
        value: decision.cohort == Cohort::Canary,
        variant: decision.cohort,
        reason,
        metadata: EvaluationMetadata {
            assignment_reason: decision.reason.name(),
            bucket: decision.bucket.map(|bucket| bucket.index()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::settings::GatewayVariables;
    use crate::rollout::share_cache::Refresh;
    use jeffrey_terms::Share;

    fn effective_share(points: u16) -> EffectiveShare {
        let share = Share::from_basis_points(points).unwrap();
        EffectiveShare { share, holdout: Share::NONE, disabled: false, refresh: Refresh::Fresh }
    }

    fn body_json(response: &ApiResponse) -> serde_json::Value {
        serde_json::from_slice(&response.body).unwrap()
    }

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

    #[test]
    fn an_evaluation_is_the_decision_of_a_classify_call() {
        let settings = GatewaySettings::parse(&GatewayVariables::default());
        let release = settings.release.as_str().to_owned();
        let evaluate = |points, body: &str| {
            evaluate_flag(&release, body.as_bytes(), &settings, effective_share(points))
        };
        let all = body_json(&evaluate(10_000, r#"{"context":{"targetingKey":"alice"}}"#));
        assert_eq!((&all["value"], &all["variant"]), (&true.into(), &"canary".into()));
        assert_eq!(
            (&all["reason"], &all["metadata"]["assignment_reason"]),
            (&"SPLIT".into(), &"bucket".into())
        );
        let none = body_json(&evaluate(0, r#"{"context":{"targetingKey":"alice"}}"#));
        assert_eq!((&none["value"], &none["variant"]), (&false.into(), &"stable".into()));
        for (body, code) in [
            ("", "PARSE_ERROR"),
            ("{}", "TARGETING_KEY_MISSING"),
            (r#"{"context":{}}"#, "TARGETING_KEY_MISSING"),
            (r#"{"context":{"targetingKey":""}}"#, "TARGETING_KEY_MISSING"),
            (r#"{"context":{"targetingKey":7}}"#, "PARSE_ERROR"),
        ] {
            let response = evaluate(0, body);
            assert_eq!(
                (response.status, &body_json(&response)["errorCode"]),
                (400, &code.into()),
                "{body}"
            );
        }
        let other_flag = evaluate_flag("other", b"{}", &settings, effective_share(0));
        assert_eq!(
            (other_flag.status, &body_json(&other_flag)["errorCode"]),
            (404, &"FLAG_NOT_FOUND".into())
        );
    }

    #[test]
    fn the_larger_holdout_is_in_force() {
        let settings = |holdout: &str| {
            GatewaySettings::parse(&GatewayVariables([("HOLDOUT", holdout.to_owned())].into()))
        };
        for (setting, plan, expected) in [("0%", 100, 100), ("5%", 0, 500), ("1%", 100, 100)] {
            let holdout = Share::from_basis_points(plan).unwrap();
            let holdout = assignment_rules(
                &settings(setting),
                EffectiveShare { holdout, ..effective_share(10_000) },
            )
            .holdout;
            assert_eq!(holdout.basis_points(), expected, "{setting} {plan}");
        }
    }

    #[test]
    fn health_fails_while_a_variable_is_refused_and_names_it() {
        let variables = [("HOLDOUT", "lots".to_owned())];
        let settings = GatewaySettings::parse(&GatewayVariables(variables.into()));
        let response =
            health_response(&settings, effective_share(1_000), &CircuitBreaker::default());
        assert_eq!(response.status, 503);
        assert_eq!(body_json(&response)["disabled"], true);
        assert!(
            body_json(&response)["faults"][0]
                .as_str()
                .unwrap()
                .starts_with("HOLDOUT: share `lots`")
        );
        let valid = GatewaySettings::parse(&GatewayVariables::default());
        let response = health_response(&valid, effective_share(1_000), &CircuitBreaker::default());
        assert_eq!(
            (response.status, &body_json(&response)["share_basis_points"]),
            (200, &1_000.into())
        );
        let classify = &body_json(&response)["classify"];
        assert_eq!([&classify["path"], &classify["text"]], ["/predict", "/text"]);
    }

    #[test]
    fn every_bound_of_a_minute_range_is_an_integer_that_javascript_keeps() {
        let parse = |query: &str| {
            let url = format!("http://gateway/totals{query}");
            let head = RequestHead::new(String::new(), &url, Vec::new()).unwrap();
            parse_minute_range(&head)
        };
        let exact_max = (1 << 53) - 1;
        assert_eq!(parse(""), (0, exact_max));
        assert_eq!(parse("?since=7&before=9"), (7, 9));
        let largest = u64::MAX;
        let bounds = parse(&format!("?since={largest}&before={largest}"));
        assert_eq!(bounds, (exact_max, exact_max));
    }

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
