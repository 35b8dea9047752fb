//! The gateway's own endpoints, below its path prefix.
//!
//! [`handle`] authorises the caller, reads the body, calls the rollout object and the event store,
//! and sends the reply that the core builds. Files of the dashboard and the playground come from
//! service bindings; the live status is a stream.

use worker::worker_sys::web_sys;

use futures_util::stream;
use worker::Env;

use super::RequestContext;
use super::host::WorkerHost;
use super::http::{self, FetchTarget, OutboundBody, OutboundRequest};
use jeffrey_edge::gateway::aggregate::summary::SummaryByCohort;
use jeffrey_edge::gateway::aggregate::totals::TotalsByCohort;
use jeffrey_edge::gateway::api::endpoint::{GatewayEndpoint, HTML_PAGE_HEADERS};
use jeffrey_edge::gateway::api::error::ApiError;
use jeffrey_edge::gateway::api::health::health_response;
use jeffrey_edge::gateway::api::ofrep::evaluate_flag;
use jeffrey_edge::gateway::api::query::{
    EventsPage, MINUTE_NUMBER_MAX, parse_erasure, parse_events_page, parse_minute_range,
};
use jeffrey_edge::gateway::api::rollout::{
    parse_model_validation, parse_rollout_command, parse_share_change, status_response,
};
use jeffrey_edge::gateway::api::{BODY_BYTES_MAX, COMMAND_BYTES_MAX};
use jeffrey_edge::gateway::api::{auth, feedback};
use jeffrey_edge::gateway::export::prometheus;
use jeffrey_edge::gateway::http::reply::ApiResponse;
use jeffrey_edge::gateway::notify::history;
use jeffrey_edge::gateway::request::subject;
use jeffrey_gateway_service::host::Host;
use jeffrey_gateway_service::rollout::messages::{ChangeOutcome, RolloutRequest, StatusResponse};
use jeffrey_gateway_service::{event_store, rollout};

/// Answers a request to one of the gateway's own endpoints; `path` is below the prefix. Fails if
/// the caller does not have the endpoint's role.
pub(super) async fn handle(
    context: &RequestContext,
    path: &str,
) -> Result<web_sys::Response, ApiError> {
    let settings = &context.settings;
    let endpoint = GatewayEndpoint::from_request(&context.head.method, path)?;
    if let Some(role) = endpoint.required_role() {
        auth::authorize(&context.head, role, settings)?;
    }
    let mut reply = match endpoint {
        GatewayEndpoint::EraseSubject => {
            let subject = parse_erasure(&context.read_body(BODY_BYTES_MAX).await?)?;
            let erased = event_store::erase_subject(&context.host, &subject).await?;
            ApiResponse::json(200, &serde_json::json!({ "erased": erased }))
        }
        GatewayEndpoint::Events => {
            let EventsPage { after_row: since, limit, shard } = parse_events_page(&context.head);
            let (lines, shards) =
                event_store::fetch_events(&context.host, shard, since, limit).await?;
            let headers =
                vec![("content-type", NDJSON.to_owned()), ("x-jeffrey-shards", shards.to_string())];
            ApiResponse { headers, ..json_reply(lines) }
        }
        GatewayEndpoint::Feedback => {
            if settings.signing_keys.is_empty() {
                return Err(ApiError::KeyNotSet);
            }
            let caller =
                subject::resolve(&context.head, None, false, settings, context.host.random_bytes());
            context
                .check_rate_limit(
                    caller.filter(|caller| !caller.is_new).as_ref().map(|caller| &caller.subject),
                )
                .await?;
            let (id, verdict) = feedback::parse(
                &context.read_body(BODY_BYTES_MAX).await?,
                &settings.signing_keys,
                context.host.now(),
            )?;
            event_store::record_feedback(&context.host, id, verdict).await?;
            json_reply(b"{}".to_vec())
        }
        GatewayEndpoint::Health => {
            let effective = context.effective_share().await;
            let isolate = context.host.isolate();
            isolate.with_breaker(|breaker| health_response(settings, effective, breaker))
        }
        GatewayEndpoint::Metrics => {
            let release_state = rollout::fetch_status(&context.host).await?.snapshot.release_state;
            let mut gauges =
                prometheus::rollout_gauges(release_state.share, release_state.hard_failures);
            let mut totals = Vec::new();
            for (name, number) in event_store::fetch_counters(&context.host).await? {
                // Gauges are recognised by their names; all other numbers are counters.
                if name == prometheus::QUEUE_LAG_SERIES {
                    gauges.push(("jeffrey_queue_lag_seconds".to_owned(), number as f64 / 1_000.0));
                } else if name.starts_with("jeffrey_sink_pending_events") {
                    gauges.push((name, number as f64));
                } else {
                    totals.push((name, number));
                }
            }
            let text = prometheus::write_exposition(&totals, &gauges);
            let content_type = "text/plain; version=0.0.4; charset=utf-8".to_owned();
            ApiResponse {
                headers: vec![("content-type", content_type)],
                ..json_reply(text.into_bytes())
            }
        }
        GatewayEndpoint::Minutes => {
            let EventsPage { after_row: since, .. } = parse_events_page(&context.head);
            ApiResponse::json(
                200,
                &event_store::fetch_minutes(&context.host, &settings.release, since).await?,
            )
        }
        GatewayEndpoint::EvaluateFlag(key) => {
            let body = context.read_body(BODY_BYTES_MAX).await?;
            let effective = context.effective_share().await;
            evaluate_flag(key, &body, settings, effective)
        }
        GatewayEndpoint::RolloutStatus => {
            let status = rollout::fetch_status(&context.host).await?;
            build_status_reply(&context.host, &status).await
        }
        GatewayEndpoint::History => {
            let EventsPage { after_row: since, limit, .. } = parse_events_page(&context.head);
            let lines = rollout::fetch_history(&context.host, since, limit).await?;
            ApiResponse { headers: vec![("content-type", NDJSON.to_owned())], ..json_reply(lines) }
        }
        GatewayEndpoint::RolloutCommand => {
            let body = context.read_body(COMMAND_BYTES_MAX).await?;
            let command = parse_rollout_command(&body)?;
            apply_change(context, &RolloutRequest::Command(command)).await?
        }
        GatewayEndpoint::TestAlert => {
            ApiResponse::json(200, &rollout::send_test_alert(&context.host).await?)
        }
        GatewayEndpoint::RecordValidation => {
            let body = context.read_body(COMMAND_BYTES_MAX).await?;
            let validation = parse_model_validation(&body, context.host.now())?;
            ApiResponse::json(200, &rollout::record_validation(&context.host, validation).await?)
        }
        GatewayEndpoint::Dashboard(file) => {
            return serve_dashboard_file(context.host.env(), file).await;
        }
        GatewayEndpoint::Playground(_) if !settings.playground_enabled => {
            return Err(ApiError::NotFound);
        }
        GatewayEndpoint::Playground(file) => {
            return serve_playground_file(context.host.env(), file).await;
        }
        GatewayEndpoint::Decisions => {
            let EventsPage { after_row: since, limit, .. } = parse_events_page(&context.head);
            let lines = rollout::fetch_history(&context.host, since, limit).await?;
            ApiResponse::json(200, &history::parse_decisions(&lines, since))
        }
        GatewayEndpoint::Live => return stream_status(context),
        GatewayEndpoint::Series => {
            let EventsPage { after_row: since, .. } = parse_events_page(&context.head);
            ApiResponse::json(
                200,
                &event_store::fetch_series(&context.host, &settings.release, since).await?,
            )
        }
        GatewayEndpoint::Totals => {
            let stats = event_store::totals_between(
                &context.host,
                &settings.release,
                parse_minute_range(&context.head),
            )
            .await?;
            ApiResponse::json(200, &TotalsByCohort::from_stats(stats))
        }
        GatewayEndpoint::Sinks => {
            ApiResponse::json(200, &event_store::fetch_status(&context.host).await?)
        }
        GatewayEndpoint::SetShare => {
            let body = context.read_body(BODY_BYTES_MAX).await?;
            let change = parse_share_change(&body)?;
            apply_change(context, &RolloutRequest::ManualChange(change)).await?
        }
    };
    if context.head.method == "HEAD" {
        reply.body.clear();
    }
    http::reply_to_response(&reply).map_err(|_| ApiError::RolloutUnavailable)
}

/// Interval between two updates of a live stream, and the number of updates in one response: the
/// platform limits how many subrequests a request may make.
const LIVE_INTERVAL_MS: u64 = 1_000;
const LIVE_UPDATES_MAX: u32 = 600;

/// Streams the rollout status as one line of JSON a second. A failed update becomes a line with the
/// error.
fn stream_status(context: &RequestContext) -> Result<web_sys::Response, ApiError> {
    let initial = (context.host.clone(), 0);
    let lines = stream::unfold(initial, |(host, sent)| async move {
        if sent == LIVE_UPDATES_MAX {
            return None;
        }
        if sent > 0 {
            http::sleep(LIVE_INTERVAL_MS).await;
        }
        let mut line = match rollout::fetch_status(&host).await {
            Ok(status) => build_status_reply(&host, &status).await.body,
            Err(error) => error.to_response().body,
        };
        line.push(b'\n');
        Some((Ok::<_, worker::Error>(line), (host, sent + 1)))
    });
    let response =
        worker::Response::from_stream(lines).map_err(|_| ApiError::RolloutUnavailable)?;
    let headers = response.headers();
    for (name, value) in [("content-type", NDJSON), ("cache-control", "no-store")] {
        headers.set(name, value).map_err(|_| ApiError::RolloutUnavailable)?;
    }
    Ok(response.into())
}

/// Serves a file of the dashboard with [`HTML_PAGE_HEADERS`]. A missing file is [`ApiError::NotFound`].
async fn serve_dashboard_file(env: &Env, file: &str) -> Result<web_sys::Response, ApiError> {
    let not_found = |_| ApiError::NotFound;
    if file.is_empty() {
        return redirect_to_folder("dashboard/");
    }
    let file = fetch_file(env, "ASSETS", &format!("/dashboard{file}")).await?;
    let response = http::clone_mutable(&file).map_err(not_found)?;
    for (name, value) in HTML_PAGE_HEADERS {
        response.headers().set(name, value).map_err(not_found)?;
    }
    Ok(response)
}

/// Serves a file of the model worker's page, with the headers that worker sets. The page is served
/// by the gateway so that it can call the same endpoints as a caller.
async fn serve_playground_file(env: &Env, file: &str) -> Result<web_sys::Response, ApiError> {
    if file.is_empty() {
        redirect_to_folder("playground/")
    } else {
        fetch_file(env, "MODEL", file).await
    }
}

/// Redirects to the address with a slash at its end, so that the page's relative links stay below
/// it.
fn redirect_to_folder(folder: &str) -> Result<web_sys::Response, ApiError> {
    let headers = vec![("location", folder.to_owned())];
    http::reply_to_response(&ApiResponse { status: 308, headers, body: Vec::new() })
        .map_err(|_| ApiError::NotFound)
}

/// Fetches a file through a service binding. Any status but 200 is [`ApiError::NotFound`].
async fn fetch_file(env: &Env, binding: &str, file: &str) -> Result<web_sys::Response, ApiError> {
    let target =
        FetchTarget::Binding(http::service_binding(env, binding).ok_or(ApiError::NotFound)?);
    let headers = web_sys::Headers::new().map_err(|_| ApiError::NotFound)?;
    let url = format!("http://{}{file}", binding.to_ascii_lowercase());
    let outbound =
        OutboundRequest { method: "GET", url: &url, headers: &headers, body: OutboundBody::None };
    let response =
        outbound.send(&target, Some(FILE_TIMEOUT_MS)).await.map_err(|_| ApiError::NotFound)?;
    if response.status() == 200 { Ok(response) } else { Err(ApiError::NotFound) }
}

/// Time limit for a file of a page, in milliseconds.
const FILE_TIMEOUT_MS: u64 = 5_000;

/// Sends an operator's change or command to the rollout object. Returns the new status, or the
/// object's refusal.
async fn apply_change(
    context: &RequestContext,
    request: &RolloutRequest,
) -> Result<ApiResponse, ApiError> {
    Ok(match rollout::apply_change(&context.host, request).await? {
        ChangeOutcome::Rejected { status, body } => {
            ApiResponse { body: body.into_bytes(), ..ApiResponse::json(status, &()) }
        }
        ChangeOutcome::Applied(status) => build_status_reply(&context.host, &status).await,
    })
}

/// Builds the status reply, with a summary of both cohorts since the stage began. Without a plan,
/// or if the event store cannot be reached, the summary is left out.
async fn build_status_reply(
    host: &WorkerHost,
    StatusResponse { snapshot, status }: &StatusResponse,
) -> ApiResponse {
    let settings = host.settings();
    let summary = match status {
        Some(status) => {
            let minutes = (status.stage_start_minute, MINUTE_NUMBER_MAX);
            let stats = event_store::totals_between(host, &settings.release, minutes).await;
            stats.ok().map(|stats| SummaryByCohort::from_totals(&TotalsByCohort::from_stats(stats)))
        }
        None => None,
    };
    status_response(&settings, &snapshot.release_state, status.as_ref(), summary.as_ref())
}

/// Builds a 200 reply from bytes that are already JSON.
fn json_reply(body: Vec<u8>) -> ApiResponse {
    ApiResponse { body, ..ApiResponse::json(200, &()) }
}

const NDJSON: &str = "application/x-ndjson";
