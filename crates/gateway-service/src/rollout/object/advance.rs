//! Inputs of the checks before a share increase.
//!
//! The checks need the last validation, the deployed model's sha256, the readiness of the stage's
//! canary responses, and the verdicts of webhooks. [`check_advance`] decides. The webhooks are
//! called only if everything else passes.

use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::json;

use super::{PlannedRelease, RolloutObject};
use crate::event_store;
use crate::host::{HttpRequest, HttpResponse, ObjectHost, Target};
use crate::sql::StorageResult;
use jeffrey_edge::gateway::notify::webhook::{self, WebhookTarget};
use jeffrey_edge::rollout::advance_checks::{
    AdvanceBlocked, AdvanceInputs, WebhookResponse, WebhookVerdict, check_advance,
};
use jeffrey_edge::rollout::plan::Plan;
use jeffrey_terms::EXACT_INTEGER_MAX;

/// Time limit for the model worker and for each webhook, in milliseconds.
const CHECK_TIMEOUT_MS: u64 = 5_000;

/// Largest response that is read, in bytes.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;

impl<H: ObjectHost> RolloutObject<H> {
    /// Returns the reason, apart from the gates, why the share may not increase now; `None` if it
    /// may. `requested_plan` is a plan that a command brings.
    ///
    /// # Errors
    /// Returns the storage's error: a release check that cannot be read is not a missing one.
    pub(super) async fn advance_blocked_by(
        &self,
        requested_plan: Option<&Plan>,
    ) -> StorageResult<Option<AdvanceBlocked>> {
        let planned_release = self.planned_release()?;
        let planned_release = planned_release.as_deref();
        let validation = self.validation()?;
        let payload = self.webhook_payload(planned_release, requested_plan)?;
        let deployed_sha256 = self.deployed_model_sha256().await;
        let analysis = match planned_release.filter(|release| release.is_live()) {
            Some(PlannedRelease { controller, .. }) => {
                let minutes = (controller.stage_entered_after_minute, EXACT_INTEGER_MAX);
                let totals =
                    event_store::totals_between(&self.host, &self.settings.release, minutes).await;
                // Stats that cannot be read are not ready.
                let sums = totals.map(|totals| totals.canary.prediction_sums());
                Some(sums.unwrap_or_default().readiness())
            }
            None => None,
        };
        let inputs = AdvanceInputs {
            validation: validation.as_ref(),
            deployed_model: deployed_sha256.as_deref(),
            readiness: analysis,
            webhook_responses: &[],
        };
        if let Some(blocked_by) = check_advance(&inputs, self.host.now()) {
            return Ok(Some(blocked_by));
        }
        let targets = &self.settings.confirm_traffic_increase_webhooks;
        let requests = targets.iter().map(|target| ask_webhook(&self.host, target, &payload));
        let responses: Vec<WebhookResponse> = join_all(requests).await;
        let inputs = AdvanceInputs { webhook_responses: &responses, ..inputs };
        Ok(check_advance(&inputs, self.host.now()))
    }

    /// Builds the body that a confirm webhook gets: the share now and after the increase.
    fn webhook_payload(
        &self,
        planned_release: Option<&PlannedRelease>,
        requested_plan: Option<&Plan>,
    ) -> StorageResult<String> {
        let (share, next_stage) = match planned_release {
            Some(release) => {
                let state = &release.controller.state;
                let next_stage = if release.is_live() { state.stage + 1 } else { 0 };
                (state.share(&release.plan), next_stage)
            }
            None => (self.release_state()?.share, 0),
        };
        let plan = requested_plan.or(planned_release.map(|release| &*release.plan));
        let next_share = plan.and_then(|plan| plan.stage(next_stage)).map(|stage| stage.share);
        let payload = json!({
            "release": self.settings.release.as_str(),
            "from_basis_points": share.basis_points(),
            "to_basis_points": next_share.map(|share| share.basis_points()),
            "stage": next_stage,
        });
        Ok(payload.to_string())
    }

    /// Returns the deployed model's sha256 from the model worker's `/health`; `None` if it does not
    /// report one in time.
    async fn deployed_model_sha256(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct ModelHealth {
            model: DeployedModel,
        }
        #[derive(Deserialize)]
        struct DeployedModel {
            sha256: String,
        }
        let request = HttpRequest {
            target: Target::Model("/health"),
            method: "GET",
            headers: &[],
            body: &[],
            timeout_ms: CHECK_TIMEOUT_MS,
            response_bytes_max: RESPONSE_BYTES_MAX,
        };
        let response = self.host.send(request).await.ok()?;
        let health = serde_json::from_slice::<ModelHealth>(response.body_or_empty()).ok()?;
        Some(health.model.sha256)
    }
}

async fn ask_webhook<H: ObjectHost>(
    host: &H,
    target: &WebhookTarget,
    body: &str,
) -> WebhookResponse {
    let verdict = match post_webhook(host, target, body.as_bytes()).await {
        Some(response) => webhook::parse_verdict(response.status, response.body_or_empty()),
        None => WebhookVerdict::Retry,
    };
    WebhookResponse { name: target.name.clone(), verdict }
}

/// Posts a body to a webhook target and returns its response; `None` if no response came in time.
pub(super) async fn post_webhook<H: ObjectHost>(
    host: &H,
    target: &WebhookTarget,
    body: &[u8],
) -> Option<HttpResponse> {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(target.authorization.as_deref().map(|value| ("authorization", value)));
    let request = HttpRequest {
        target: Target::Url(&target.url),
        method: "POST",
        headers: &headers,
        body,
        timeout_ms: CHECK_TIMEOUT_MS,
        response_bytes_max: RESPONSE_BYTES_MAX,
    };
    host.send(request).await.ok()
}
