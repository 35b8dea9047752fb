//! Requests from the gateway to the rollout object of its release.
//!
//! [`RolloutRequest`] names each request and its path for both sides. The object's snapshot is
//! cached in the isolate's state. Any failure is [`ApiError::RolloutUnavailable`]; a classify call
//! then goes on with the cached share.

use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use worker::Env;

use super::http::{self, OutboundBody};
use super::{ISOLATE_STATE, IsolateState, cached_settings, now};
use jeffrey_edge::gateway::api::COMMAND_BYTES_MAX;
use jeffrey_edge::gateway::api::error::ApiError;
use jeffrey_edge::gateway::config::GatewaySettings;
use jeffrey_edge::gateway::http::reply::ApiResponse;
use jeffrey_edge::rollout::release_state::{HardFailure, ReleaseState};
use jeffrey_edge::rollout::share_cache::{CachedShare, pick_newer};
use jeffrey_edge::rollout::status::RolloutStatus;
use jeffrey_terms::Share;

/// Name of the Durable Object's binding.
const BINDING: &str = "ROLLOUT";

/// Time limit for a request of an isolate, in milliseconds.
const TIMEOUT_MS: u64 = 1_500;

/// Time limit for an operator's request, in milliseconds: each webhook that is called before a
/// share increase may take five seconds.
const COMMAND_TIMEOUT_MS: u64 = 15_000;

/// Largest response that is read, in bytes: a page of the history.
const RESPONSE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Requests that the object answers, each with its path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RolloutRequest {
    HardFailure,
    ManualChange,
    History,
    StableP95,
    ReleaseSnapshot,
    TestAlert,
    Validation,
    Status,
    Wake,
    Command,
}

impl RolloutRequest {
    const ALL: [Self; 10] = [
        Self::HardFailure,
        Self::ManualChange,
        Self::History,
        Self::StableP95,
        Self::ReleaseSnapshot,
        Self::TestAlert,
        Self::Validation,
        Self::Status,
        Self::Wake,
        Self::Command,
    ];

    const fn path(self) -> &'static str {
        match self {
            Self::HardFailure => "/hard-failure",
            Self::ManualChange => "/manual-change",
            Self::History => "/history",
            Self::StableP95 => "/stable-p95",
            Self::ReleaseSnapshot => "/snapshot",
            Self::TestAlert => "/test-alert",
            Self::Validation => "/validation",
            Self::Status => "/status",
            Self::Wake => "/wake",
            Self::Command => "/command",
        }
    }

    pub(super) fn from_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|request| request.path() == path)
    }
}

/// State that the object sends to isolates: the release state, and the values that calls are
/// decided and measured by.
#[derive(Deserialize, Serialize)]
pub(super) struct ReleaseSnapshot {
    pub(super) release_state: ReleaseState,
    /// The plan's holdout; zero without a plan. An object of an earlier version does not send it.
    #[serde(default = "none")]
    pub(super) holdout: Share,
    /// Whether the plan's phase is rolled back, whatever the cause.
    pub(super) rolled_back: bool,
    /// Index of the plan's stage; `None` while no plan moves the share.
    pub(super) stage: Option<u32>,
    pub(super) stable_p95_ms: Option<f64>,
}

const fn none() -> Share {
    Share::NONE
}

/// The release snapshot, and the rollout status if the release has a plan.
#[derive(Deserialize, Serialize)]
pub(super) struct StatusResponse {
    pub(super) snapshot: ReleaseSnapshot,
    pub(super) status: Option<RolloutStatus>,
}

type RolloutResult<T> = Result<T, ApiError>;

/// Fetches the release snapshot and caches it. A failure is recorded with its time.
pub(super) async fn refresh_share(env: Env, settings: Rc<GatewaySettings>) {
    let snapshot = send_request(&env, &settings, RolloutRequest::ReleaseSnapshot, "", &[]).await;
    let snapshot = snapshot.and_then(|(_, body)| parse_json::<ReleaseSnapshot>(&body));
    ISOLATE_STATE.with_borrow_mut(|state| {
        state.refresh_started_at = None;
        match snapshot {
            Ok(snapshot) => cache_snapshot(state, &snapshot),
            Err(_) => state.refresh_failed_at = Some(now()),
        }
    });
}

fn cache_snapshot(state: &mut IsolateState, snapshot: &ReleaseSnapshot) {
    let ReleaseState { version, share, killed, .. } = snapshot.release_state;
    let disabled = killed || snapshot.rolled_back;
    let received =
        CachedShare { version, share, holdout: snapshot.holdout, disabled, received_at: now() };
    state.cached_share = Some(pick_newer(state.cached_share, received));
    state.stage = snapshot.stage;
    let p95 = snapshot.stable_p95_ms.map(|p95| (p95, now()));
    state.stable_p95 = p95.or(state.stable_p95);
}

/// Fetches the release snapshot, and the rollout status if the release has a plan.
pub(super) async fn fetch_status(
    env: &Env,
    settings: &GatewaySettings,
) -> RolloutResult<StatusResponse> {
    parse_json(&send_request(env, settings, RolloutRequest::Status, "", &[]).await?.1)
}

/// Sends stable's p95 of the last closed minute to the object, which passes it to the isolates that
/// ask for the snapshot. A failure is ignored: the next minute's value follows.
pub(super) async fn send_stable_p95(env: &Env, p95_ms: f64) {
    let body = p95_ms.to_string();
    let _ =
        send_request(env, &cached_settings(env), RolloutRequest::StableP95, "", body.as_bytes())
            .await;
}

/// Outcome of an operator's change or command.
pub(super) enum ChangeOutcome {
    /// The object refused; its JSON error with the status.
    Rejected(ApiResponse),
    /// The object applied it; the new status.
    Applied(Box<StatusResponse>),
}

/// Sends a manual change or a command to the object and caches the new snapshot in this isolate at
/// once. Other isolates get it when they refresh their cached share.
pub(super) async fn apply_change(
    env: &Env,
    settings: &GatewaySettings,
    request: RolloutRequest,
    body: &[u8],
) -> RolloutResult<ChangeOutcome> {
    let (status, body) = send_request(env, settings, request, "", body).await?;
    if status != 200 {
        return Ok(ChangeOutcome::Rejected(ApiResponse { body, ..ApiResponse::json(status, &()) }));
    }
    let status: StatusResponse = parse_json(&body)?;
    ISOLATE_STATE.with_borrow_mut(|state| cache_snapshot(state, &status.snapshot));
    Ok(ChangeOutcome::Applied(Box::new(status)))
}

/// Fetches the history's entries after entry `since`, as lines of JSON.
pub(super) async fn fetch_history(
    env: &Env,
    settings: &GatewaySettings,
    since: u64,
    limit: u64,
) -> RolloutResult<Vec<u8>> {
    let query = format!("?since={since}&limit={limit}");
    Ok(send_request(env, settings, RolloutRequest::History, &query, &[]).await?.1)
}

/// Sends a request to the object and returns its reply unchanged.
pub(super) async fn relay(
    env: &Env,
    settings: &GatewaySettings,
    request: RolloutRequest,
    body: &[u8],
) -> RolloutResult<ApiResponse> {
    let (status, body) = send_request(env, settings, request, "", body).await?;
    Ok(ApiResponse { body, ..ApiResponse::json(status, &()) })
}

/// Reports a hard failure to the object. If the report fails, this isolate's circuit breaker is
/// open all the same.
pub(super) async fn report_hard_failure(
    env: Env,
    settings: Rc<GatewaySettings>,
    failure: HardFailure,
) {
    let body = serde_json::to_vec(&failure).unwrap_or_default();
    let _ = send_request(&env, &settings, RolloutRequest::HardFailure, "", &body).await;
}

/// Asks the object to set its alarm again if it lost it.
pub(super) async fn wake_object(env: &Env) {
    let _ = send_request(env, &cached_settings(env), RolloutRequest::Wake, "", &[]).await;
}

async fn send_request(
    env: &Env,
    settings: &GatewaySettings,
    request: RolloutRequest,
    query: &str,
    body: &[u8],
) -> RolloutResult<(u16, Vec<u8>)> {
    let is_read = matches!(
        request,
        RolloutRequest::History
            | RolloutRequest::ReleaseSnapshot
            | RolloutRequest::Status
            | RolloutRequest::Wake
    );
    let (method, body) =
        if is_read { ("GET", OutboundBody::None) } else { ("POST", OutboundBody::Buffered(body)) };
    let timeout_ms = match request {
        RolloutRequest::ManualChange
        | RolloutRequest::History
        | RolloutRequest::TestAlert
        | RolloutRequest::Command => COMMAND_TIMEOUT_MS,
        _ => TIMEOUT_MS,
    };
    let url = format!("http://rollout{}{query}", request.path());
    let object = (BINDING, settings.release.as_str());
    let response_bytes_max = if is_read { RESPONSE_BYTES_MAX } else { COMMAND_BYTES_MAX };
    http::call_object(env, object, (method, &url), body, timeout_ms, response_bytes_max)
        .await
        .map_err(|_| ApiError::RolloutUnavailable)
}

fn parse_json<T: DeserializeOwned>(body: &[u8]) -> RolloutResult<T> {
    serde_json::from_slice(body).map_err(|_| ApiError::RolloutUnavailable)
}
