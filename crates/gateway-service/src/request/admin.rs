//! The gateway's own endpoints, below its path prefix.
//!
//! `answer_admin` authorises the caller, reads the body, calls the rollout object and the event store,
//! and sends the reply that the core builds. Files of the dashboard and the playground come from
//! service bindings; the live status is a stream.

use futures_util::stream;

use super::{GatewayRequest, RATE_LIMIT_PERIOD_S};
use crate::host::Host;
use crate::request_host::{HeaderChange, PageSource, RequestHost, StreamedResponse};
use crate::rollout::messages::{ChangeOutcome, RolloutRequest, StatusResponse};
use crate::{event_store, rollout};
use jeffrey_edge::gateway::aggregate::summary::SummaryByCohort;
use jeffrey_edge::gateway::aggregate::totals::CohortTotals;
use jeffrey_edge::gateway::api::endpoint::{GatewayEndpoint, HTML_PAGE_HEADERS};
use jeffrey_edge::gateway::api::error::ApiError;
use jeffrey_edge::gateway::api::health::health_response;
use jeffrey_edge::gateway::api::ofrep::evaluate_flag;
use jeffrey_edge::gateway::api::query::{
    EventsPage, parse_erasure, parse_events_page, parse_minute_range,
};
use jeffrey_edge::gateway::api::rollout::{
    parse_model_validation, parse_rollout_command, parse_share_change, status_response,
};
use jeffrey_edge::gateway::api::{BODY_BYTES_MAX, COMMAND_BYTES_MAX};
use jeffrey_edge::gateway::api::{auth, feedback};
use jeffrey_edge::gateway::export::prometheus;
use jeffrey_edge::gateway::notify::history;
use jeffrey_http_core::prometheus::CONTENT_TYPE;
use jeffrey_http_core::reply::{HttpReply, NDJSON};
use jeffrey_terms::EXACT_INTEGER_MAX;

/// Interval between two updates of a live stream, in milliseconds.
const LIVE_INTERVAL_MS: u64 = 1_000;

/// Largest number of subrequests that the updates of one live stream make. The platform fails every
/// subrequest of a request above its limit
/// (<https://developers.cloudflare.com/workers/platform/limits/#subrequests>): for years 1,000 on the
/// paid plan, now 10,000 unless an account sets less. This stays below the former and leaves 100
/// for the rest of the request.
const LIVE_SUBREQUESTS_MAX: u64 = 900;

/// Largest number of updates of one live stream: ten minutes.
const LIVE_UPDATES_MAX: u64 = 600;

/// Time limit for a file of a page, in milliseconds.
const FILE_TIMEOUT_MS: u64 = 5_000;

impl<H: RequestHost> GatewayRequest<H> {
    /// Answers a request to one of the gateway's own endpoints; `path` is below the prefix. Fails if
    /// the caller does not have the endpoint's role.
    pub(super) async fn answer_admin(&self, path: &str) -> Result<H::Response, ApiError> {
        let endpoint = GatewayEndpoint::from_request(&self.head.method, path)?;
        if let Some(role) = endpoint.required_role() {
            auth::authorize(&self.head, role, &self.settings)?;
        }
        let mut reply = match endpoint {
            GatewayEndpoint::Dashboard(file) => return self.serve_dashboard_file(file).await,
            GatewayEndpoint::Playground(_) if !self.settings.playground_enabled => {
                return Err(ApiError::NotFound);
            }
            GatewayEndpoint::Playground(file) => return self.serve_playground_file(file).await,
            GatewayEndpoint::Live => return self.stream_status(),
            GatewayEndpoint::Decisions => self.fetch_decisions().await?,
            GatewayEndpoint::EraseSubject => self.erase_subject().await?,
            GatewayEndpoint::EvaluateFlag(key) => self.evaluate_flag(key).await?,
            GatewayEndpoint::Events => self.fetch_events().await?,
            GatewayEndpoint::Feedback => self.record_feedback().await?,
            GatewayEndpoint::Health => self.report_health().await,
            GatewayEndpoint::History => self.fetch_history().await?,
            GatewayEndpoint::Metrics => self.build_metrics().await?,
            GatewayEndpoint::Minutes => self.fetch_minutes().await?,
            GatewayEndpoint::RecordValidation => self.record_validation().await?,
            GatewayEndpoint::RolloutCommand => self.apply_command().await?,
            GatewayEndpoint::RolloutStatus => self.fetch_status().await?,
            GatewayEndpoint::Series => self.fetch_series().await?,
            GatewayEndpoint::SetShare => self.set_share().await?,
            GatewayEndpoint::Sinks => {
                HttpReply::json(200, &event_store::fetch_status(&self.host).await?)
            }
            GatewayEndpoint::TestAlert => {
                HttpReply::json(200, &rollout::send_test_alert(&self.host).await?)
            }
            GatewayEndpoint::Totals => self.fetch_totals().await?,
        };
        if self.head.method == "HEAD" {
            reply.body.clear();
        }
        self.host.new_response(&reply).map_err(|_| ApiError::RolloutUnavailable)
    }

    async fn fetch_decisions(&self) -> Result<HttpReply, ApiError> {
        let EventsPage { after_row: since, limit, .. } = parse_events_page(&self.head);
        let lines = rollout::fetch_history(&self.host, since, limit).await?;
        Ok(HttpReply::json(200, &history::parse_decisions(&lines, since)))
    }

    async fn erase_subject(&self) -> Result<HttpReply, ApiError> {
        let subject = parse_erasure(&self.read_body(BODY_BYTES_MAX).await?)?;
        let progress = event_store::erase_subject(&self.host, &subject).await?;
        Ok(HttpReply::json(200, &progress))
    }

    async fn evaluate_flag(&self, key: &str) -> Result<HttpReply, ApiError> {
        let body = self.read_body(BODY_BYTES_MAX).await?;
        Ok(evaluate_flag(key, &body, &self.settings, self.effective_share().await))
    }

    async fn fetch_events(&self) -> Result<HttpReply, ApiError> {
        let EventsPage { after_row: since, limit, shard } = parse_events_page(&self.head);
        let (lines, shards) = event_store::fetch_events(&self.host, shard, since, limit).await?;
        let mut reply = HttpReply::from_bytes(NDJSON, lines);
        reply.headers.push(("x-jeffrey-shards", shards.to_string()));
        Ok(reply)
    }

    async fn report_health(&self) -> HttpReply {
        let effective = self.effective_share().await;
        let has_other_salt = self.has_other_bucket_salt();
        self.host.isolate().with_breaker(|breaker| {
            health_response(&self.head, &self.settings, effective, has_other_salt, breaker)
        })
    }

    async fn fetch_history(&self) -> Result<HttpReply, ApiError> {
        let EventsPage { after_row: since, limit, .. } = parse_events_page(&self.head);
        let lines = rollout::fetch_history(&self.host, since, limit).await?;
        Ok(HttpReply::from_bytes(NDJSON, lines))
    }

    async fn fetch_minutes(&self) -> Result<HttpReply, ApiError> {
        let since = parse_events_page(&self.head).after_row;
        let minutes = event_store::fetch_minutes(&self.host, &self.settings.release, since);
        Ok(HttpReply::json(200, &minutes.await?))
    }

    async fn record_validation(&self) -> Result<HttpReply, ApiError> {
        let body = self.read_body(COMMAND_BYTES_MAX).await?;
        let validation = parse_model_validation(&body, self.host.now())?;
        Ok(HttpReply::json(200, &rollout::record_validation(&self.host, validation).await?))
    }

    async fn apply_command(&self) -> Result<HttpReply, ApiError> {
        let command = parse_rollout_command(&self.read_body(COMMAND_BYTES_MAX).await?)?;
        self.apply_change(&RolloutRequest::Command(command)).await
    }

    async fn fetch_status(&self) -> Result<HttpReply, ApiError> {
        let status = rollout::fetch_status(&self.host).await?;
        Ok(build_status_reply(&self.host, &status).await)
    }

    async fn fetch_series(&self) -> Result<HttpReply, ApiError> {
        let since = parse_events_page(&self.head).after_row;
        let minutes = event_store::fetch_series(&self.host, &self.settings.release, since);
        Ok(HttpReply::json(200, &minutes.await?))
    }

    async fn set_share(&self) -> Result<HttpReply, ApiError> {
        let change = parse_share_change(&self.read_body(BODY_BYTES_MAX).await?)?;
        self.apply_change(&RolloutRequest::ManualChange(change)).await
    }

    async fn fetch_totals(&self) -> Result<HttpReply, ApiError> {
        let range = parse_minute_range(&self.head);
        let stats = event_store::totals_between(&self.host, &self.settings.release, range).await?;
        Ok(HttpReply::json(200, &stats.map(CohortTotals::from_stats)))
    }

    /// Stores a user's feedback, within the caller's rate limits.
    async fn record_feedback(&self) -> Result<HttpReply, ApiError> {
        let (host, settings) = (&self.host, &*self.settings);
        if settings.signing_keys.is_empty() {
            return Err(ApiError::KeyNotSet);
        }
        let caller = self.resolve_caller(None, false);
        let known_caller = caller.as_ref().filter(|caller| !caller.is_new);
        if self.is_over_limit(known_caller.map(|caller| &caller.subject)).await {
            return Err(ApiError::RateLimited { per_s: RATE_LIMIT_PERIOD_S });
        }
        let body = self.read_body(BODY_BYTES_MAX).await?;
        let (id, verdict) = feedback::parse(&body, &settings.signing_keys, host.now())?;
        event_store::record_feedback(host, id, verdict).await?;
        Ok(HttpReply::json(200, &serde_json::json!({})))
    }

    /// Builds the metrics in the Prometheus text format.
    async fn build_metrics(&self) -> Result<HttpReply, ApiError> {
        let status = rollout::fetch_status(&self.host).await?;
        let release_state = status.snapshot.release_state;
        let counters = event_store::fetch_counters(&self.host).await?;
        let gauges = prometheus::rollout_gauges(release_state.share, release_state.hard_failures);
        let text = prometheus::write_store_exposition(counters, gauges);
        Ok(HttpReply::from_bytes(CONTENT_TYPE, text.into_bytes()))
    }

    /// Sends an operator's change or command to the rollout object. Returns the new status, or the
    /// object's refusal.
    async fn apply_change(&self, request: &RolloutRequest) -> Result<HttpReply, ApiError> {
        Ok(match rollout::apply_change(&self.host, request).await? {
            ChangeOutcome::Rejected { status, body } => {
                HttpReply::from_json_bytes(status, body.into_bytes())
            }
            ChangeOutcome::Applied(status) => build_status_reply(&self.host, &status).await,
        })
    }

    /// Streams the rollout status as one line of JSON a second, for [`live_updates`] lines. A failed
    /// update becomes a line with the error.
    fn stream_status(&self) -> Result<H::Response, ApiError> {
        let updates = live_updates(self.settings.event_store_shards);
        let lines = stream::unfold((self.host.clone(), 0), move |(host, sent)| async move {
            if sent == updates {
                return None;
            }
            if sent > 0 {
                host.sleep(LIVE_INTERVAL_MS).await;
            }
            let mut line = match rollout::fetch_status(&host).await {
                Ok(status) => build_status_reply(&host, &status).await.body,
                Err(error) => error.to_response().body,
            };
            line.push(b'\n');
            Some((line, (host, sent + 1)))
        });
        let headers = [("content-type", NDJSON), ("cache-control", "no-store")];
        self.host.stream_response(&headers, lines).map_err(|_| ApiError::RolloutUnavailable)
    }

    /// Serves a file of the dashboard with [`HTML_PAGE_HEADERS`]. A missing file is
    /// [`ApiError::NotFound`].
    async fn serve_dashboard_file(&self, file: &str) -> Result<H::Response, ApiError> {
        if file.is_empty() {
            return self.redirect_to_folder("dashboard/");
        }
        let file = self.fetch_file(PageSource::Assets, &format!("/dashboard{file}")).await?;
        let headers = HTML_PAGE_HEADERS.map(|(name, value)| HeaderChange::Set(name, value.into()));
        Ok(file.change_headers(&headers))
    }

    /// Serves a file of the model worker's page, with the headers that worker sets. The page is
    /// served by the gateway so that it can call the same endpoints as a caller.
    async fn serve_playground_file(&self, file: &str) -> Result<H::Response, ApiError> {
        if file.is_empty() {
            self.redirect_to_folder("playground/")
        } else {
            self.fetch_file(PageSource::Model, file).await
        }
    }

    /// Redirects to the address with a slash at its end, so that the page's relative links stay
    /// below it.
    fn redirect_to_folder(&self, folder: &str) -> Result<H::Response, ApiError> {
        let headers = vec![("location", folder.to_owned())];
        let response = HttpReply { status: 308, headers, body: Vec::new() };
        self.host.new_response(&response).map_err(|_| ApiError::NotFound)
    }

    /// Fetches a file of a page. Any status but 200 is [`ApiError::NotFound`].
    async fn fetch_file(&self, source: PageSource, path: &str) -> Result<H::Response, ApiError> {
        let file = self.host.fetch_page_file(source, path, FILE_TIMEOUT_MS).await;
        file.ok().filter(|file| file.status() == 200).ok_or(ApiError::NotFound)
    }
}

/// Returns the number of updates of a live stream, so that they stay within
/// [`LIVE_SUBREQUESTS_MAX`]. An update asks the rollout object and each shard of the event store.
const fn live_updates(event_store_shards: u64) -> u64 {
    let updates = LIVE_SUBREQUESTS_MAX / (1 + event_store_shards);
    if updates < LIVE_UPDATES_MAX { updates } else { LIVE_UPDATES_MAX }
}

/// Builds the status reply, with a summary of both cohorts since the stage began. Without a plan,
/// or if the event store cannot be reached, the summary is left out.
async fn build_status_reply<H: Host>(
    host: &H,
    StatusResponse { snapshot, status }: &StatusResponse,
) -> HttpReply {
    let settings = host.settings();
    let summary = match status {
        Some(status) => {
            let minutes = (status.stage_start_minute, EXACT_INTEGER_MAX);
            let stats = event_store::totals_between(host, &settings.release, minutes).await;
            stats
                .ok()
                .map(|stats| SummaryByCohort::from_totals(&stats.map(CohortTotals::from_stats)))
        }
        None => None,
    };
    status_response(&settings, &snapshot.release_state, status.as_ref(), summary.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeffrey_edge::gateway::aggregate::shard::SHARDS_MAX;

    #[test]
    fn a_live_stream_stays_below_the_subrequest_limit_with_any_number_of_shards() {
        for shards in 1..=SHARDS_MAX {
            let updates = live_updates(shards);
            let subrequests = updates * (1 + shards);
            assert!(subrequests < 1_000, "{shards} shards: {subrequests} subrequests");
            // A reconnection costs one more request, so a stream is as long as the limit allows.
            assert!(subrequests + 1 + shards > LIVE_SUBREQUESTS_MAX, "{shards} shards: {updates}");
        }
        assert_eq!((live_updates(1), live_updates(SHARDS_MAX)), (450, 27));
    }
}
