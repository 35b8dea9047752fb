//! Requests from the gateway to the rollout object of its release.
//!
//! The object's snapshot is cached in the isolate's state. Any failure is
//! [`ApiError::RolloutUnavailable`]; a classify call then goes on with the cached share.

pub mod messages;

pub mod object;

use serde::de::DeserializeOwned;

use self::messages::{
    ChangeOutcome, ReleaseSnapshot, RolloutRequest, StatusResponse, TestAlertResult,
};
use crate::host::{Host, ObjectCall, ObjectClass};
use crate::message::encode_message;
use jeffrey_edge::gateway::api::error::ApiError;
use jeffrey_edge::rollout::advance_checks::ModelValidation;

/// Time limit for a request of an isolate, in milliseconds.
const TIMEOUT_MS: u64 = 1_500;

/// Time limit for an operator's request, in milliseconds: each webhook that is called before a
/// share increase may take five seconds.
const COMMAND_TIMEOUT_MS: u64 = 15_000;

/// Time for which one request goes on sending reports, in milliseconds: the platform ends work behind a
/// response after 30 s.
const REPORTING_MS_MAX: u64 = 20_000;

/// Largest reply that is read, in bytes: a page of the history.
const REPLY_BYTES_MAX: usize = 32 * 1024 * 1024;

type RolloutResult<T> = Result<T, ApiError>;

/// Fetches the release snapshot and caches it. A failure is recorded with its time.
pub async fn refresh_share<H: Host>(host: &H) {
    let asked_at = host.isolate().begin_fetch(host.now());
    let snapshot = fetch::<_, ReleaseSnapshot>(host, &RolloutRequest::Snapshot).await;
    host.isolate().end_refresh(snapshot.ok().as_ref(), asked_at, host.now());
}

/// Fetches the release snapshot, and the rollout status if the release has a plan.
///
/// # Errors
/// [`ApiError::RolloutUnavailable`] if the object does not answer.
pub async fn fetch_status<H: Host>(host: &H) -> RolloutResult<StatusResponse> {
    fetch(host, &RolloutRequest::Status).await
}

/// Sends stable's p95 of the last closed minute to the object, which passes it to the isolates that
/// ask for the snapshot. A failure is ignored: the next minute's value follows.
pub async fn send_stable_p95<H: Host>(host: &H, p95_ms: f64) {
    let _ = call(host, &RolloutRequest::StableP95 { p95_ms }).await;
}

/// Sends a manual change or a command to the object and caches the new snapshot in this isolate at
/// once; it counts as old as the message, because the reply may take seconds. Other isolates get it
/// when they refresh their cached share.
///
/// # Errors
/// [`ApiError::RolloutUnavailable`] if the object does not answer.
pub async fn apply_change<H: Host>(
    host: &H,
    request: &RolloutRequest,
) -> RolloutResult<ChangeOutcome> {
    let asked_at = host.isolate().begin_fetch(host.now());
    let outcome = fetch(host, request).await?;
    if let ChangeOutcome::Applied(status) = &outcome {
        host.isolate().cache_snapshot(&status.snapshot, asked_at, host.now());
    }
    Ok(outcome)
}

/// Fetches the history's entries after entry `since`, as lines of JSON.
///
/// # Errors
/// [`ApiError::RolloutUnavailable`] if the object does not answer.
pub async fn fetch_history<H: Host>(host: &H, since: u64, limit: u64) -> RolloutResult<Vec<u8>> {
    call(host, &RolloutRequest::History { since, limit }).await
}

/// Sends a test alert to every webhook target and returns the results.
///
/// # Errors
/// [`ApiError::RolloutUnavailable`] if the object does not answer.
pub async fn send_test_alert<H: Host>(host: &H) -> RolloutResult<Vec<TestAlertResult>> {
    fetch(host, &RolloutRequest::TestAlert).await
}

/// Stores a release check in the object and returns it.
///
/// # Errors
/// [`ApiError::RolloutUnavailable`] if the object does not answer.
pub async fn record_validation<H: Host>(
    host: &H,
    validation: ModelValidation,
) -> RolloutResult<ModelValidation> {
    fetch(host, &RolloutRequest::Validation(validation)).await
}

/// Sends the waiting reports of hard failures that are due, until each is acknowledged or
/// 20 seconds have passed. A report that still waits then goes with a later request of this
/// isolate.
pub async fn send_reports<H: Host>(host: &H) {
    let started_at = host.now();
    loop {
        let now = host.now();
        if let Some(report) = host.isolate().with_reports(|reports| reports.take_due(now)) {
            let id = report.id.clone();
            if call(host, &RolloutRequest::HardFailure(report)).await.is_ok() {
                host.isolate().with_reports(|reports| reports.acknowledge(&id));
            }
            continue;
        }
        let pause_ms = host.isolate().with_reports(|reports| reports.ms_until_next(now));
        let Some(pause_ms) = pause_ms else { return };
        if now.0.abs_diff(started_at.0) + pause_ms > REPORTING_MS_MAX {
            return;
        }
        host.sleep(pause_ms).await;
    }
}

/// Asks the object to set its alarm again if it lost it.
pub async fn wake_object<H: Host>(host: &H) {
    let _ = call(host, &RolloutRequest::Wake).await;
}

async fn fetch<H: Host, T: DeserializeOwned>(
    host: &H,
    request: &RolloutRequest,
) -> RolloutResult<T> {
    let body = call(host, request).await?;
    serde_json::from_slice(&body).map_err(|_| ApiError::RolloutUnavailable)
}

async fn call<H: Host>(host: &H, request: &RolloutRequest) -> RolloutResult<Vec<u8>> {
    let timeout_ms = match request {
        RolloutRequest::Command(_)
        | RolloutRequest::History { .. }
        | RolloutRequest::ManualChange(_)
        | RolloutRequest::TestAlert => COMMAND_TIMEOUT_MS,
        RolloutRequest::HardFailure(_)
        | RolloutRequest::Snapshot
        | RolloutRequest::StableP95 { .. }
        | RolloutRequest::Status
        | RolloutRequest::Validation(_)
        | RolloutRequest::Wake => TIMEOUT_MS,
    };
    let settings = host.settings();
    let call = ObjectCall {
        class: ObjectClass::Rollout,
        name: settings.release.as_str(),
        message: &encode_message(request, &[]),
        timeout_ms,
        reply_bytes_max: REPLY_BYTES_MAX,
    };
    host.call_object(call).await.map_err(|_| ApiError::RolloutUnavailable)
}
