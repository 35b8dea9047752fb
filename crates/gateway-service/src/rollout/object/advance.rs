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
use jeffrey_edge::gateway::api::query::MINUTE_NUMBER_MAX;
use jeffrey_edge::gateway::notify::webhook::{self, WebhookTarget};
use jeffrey_edge::rollout::advance_checks::{
    AdvanceBlocked, AdvanceInputs, WebhookResponse, WebhookVerdict, check_advance,
};

/// Time limit for the model worker and for each webhook, in milliseconds.
const CHECK_TIMEOUT_MS: u64 = 5_000;

/// Largest response that is read, in bytes.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;

impl<H: ObjectHost> RolloutObject<H> {
    /// Returns the reason, apart from the gates, why the share may not increase now; `None` if it
    /// may.
    pub(super) async fn advance_blocked_by(&self) -> Option<AdvanceBlocked> {
        let planned_release = self.planned_release().ok().flatten();
        let planned_release = planned_release.as_deref();
        let validation = self.validation().ok().flatten();
        let deployed_sha256 = self.deployed_model_sha256().await;
        let active_release = planned_release.filter(|planned_release| planned_release.is_live());
        let analysis = match active_release {
            Some(PlannedRelease { controller, .. }) => {
                let minutes = (controller.stage_entered_after_minute, MINUTE_NUMBER_MAX);
                let stats =
                    event_store::totals_between(&self.host, &self.settings.release, minutes).await;
                // Stats that cannot be read are not ready.
                Some(
                    stats
                        .map(|totals| totals.canary.prediction_sums())
                        .unwrap_or_default()
                        .readiness(),
                )
            }
            None => None,
        };
        let (validation, deployed_sha256) = (validation.as_ref(), deployed_sha256.as_deref());
        let inputs = AdvanceInputs {
            validation,
            deployed_model: deployed_sha256,
            readiness: analysis,
            webhook_responses: &[],
        };
        if let Some(blocked_by) = check_advance(&inputs, self.host.now()) {
            return Some(blocked_by);
        }
        let payload = planned_release.map(|planned_release| {
            let PlannedRelease { plan, controller } = planned_release;
            let next = if planned_release.is_live() { controller.state.stage + 1 } else { 0 };
            json!({
                "release": self.settings.release.as_str(),
                "from_basis_points": controller.state.share(plan).basis_points(),
                "to_basis_points": plan.stage(next).map(|stage| stage.share.basis_points()),
                "stage": next,
            })
        });
        let body = payload.unwrap_or_default().to_string();
        let requests = self
            .settings
            .confirm_traffic_increase_webhooks
            .iter()
            .map(|target| ask_webhook(&self.host, target, &body));
        let responses: Vec<WebhookResponse> = join_all(requests).await;
        check_advance(&AdvanceInputs { webhook_responses: &responses, ..inputs }, self.host.now())
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
