//! Builds the response of `GET /health`.

use serde::Serialize;

use crate::gateway::api::auth::{Role, authorize};
use crate::gateway::config::{GatewaySettingError, GatewaySettings};
use crate::gateway::upstream::circuit_breaker::{CircuitBreaker, OpenCause};
use crate::gateway::upstream::json_pointer::JsonPointer;
use crate::rollout::share_cache::EffectiveShare;
use jeffrey_http_core::head::RequestHead;
use jeffrey_http_core::reply::HttpReply;

/// Builds the health response for a request. The status is 503 while a variable is rejected, because
/// the canary is then disabled, and 200 otherwise. `status` in the body is `failed`, `degraded` (the
/// isolate's circuit breaker is open) or `ok`. A rejected variable is named to everybody; a reason that
/// shows the beginning of its value is for viewers. A salt other than the release's counts as a rejected
/// variable.
pub fn health_response(
    head: &RequestHead,
    settings: &GatewaySettings,
    effective: EffectiveShare,
    has_other_bucket_salt: bool,
    circuit_breaker: &CircuitBreaker,
) -> HttpReply {
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
    let is_viewer = authorize(head, Role::Viewer, settings).is_ok();
    let describe = |error: &GatewaySettingError| {
        if is_viewer { error.to_string() } else { error.to_public_string() }
    };
    let other_salt = has_other_bucket_salt.then(|| OTHER_BUCKET_SALT.to_owned());
    let faults: Vec<String> =
        settings.setting_errors.iter().map(describe).chain(other_salt).collect();
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
        breaker: opened_by.map(OpenCause::name),
        faults,
        classify,
        version: env!("CARGO_PKG_VERSION"),
    };
    HttpReply::json(if health.faults.is_empty() { 200 } else { 503 }, &health)
}

/// Fault of a gateway that draws subjects by another salt than its release.
const OTHER_BUCKET_SALT: &str = "BUCKET_SALT: it is not the one with which this release got its first \
    share, and another one would move subjects; set it back, or give the gateway a new RELEASE";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::api::ofrep::tests::body_json;
    use crate::gateway::config::WorkerVariables;
    use crate::gateway::request::rules::tests::effective_share;

    #[test]
    fn health_fails_while_a_variable_is_refused_and_names_it() {
        let variables = [
            ("CANARY_AUTH", "none_required".to_owned()),
            ("HOLDOUT", "lots".to_owned()),
            ("JEFFREY_VIEWER_TOKEN", "viewer-0123456789".to_owned()),
        ];
        let settings = GatewaySettings::parse(&WorkerVariables(variables.into()));
        let respond = |settings: &GatewaySettings, headers: Vec<(String, String)>| {
            let head = RequestHead::new("GET".to_owned(), "https://gateway.example/", headers);
            let breaker = CircuitBreaker::default();
            health_response(&head.unwrap(), settings, effective_share(1_000), false, &breaker)
        };
        let response = respond(&settings, vec![]);
        assert_eq!(response.status, 503);
        assert_eq!(body_json(&response)["disabled"], true);
        let fault = |response: &HttpReply| body_json(response)["faults"][0].to_string();
        assert!(fault(&response).starts_with("\"HOLDOUT: ") && !fault(&response).contains("lots"));
        let token = "Bearer viewer-0123456789".to_owned();
        let response = respond(&settings, vec![("authorization".to_owned(), token)]);
        assert!(fault(&response).starts_with("\"HOLDOUT: share `lots`"));
        let variables = [("CANARY_AUTH", "none_required".to_owned())];
        let valid = GatewaySettings::parse(&WorkerVariables(variables.into()));
        let response = respond(&valid, vec![]);
        assert_eq!(
            (response.status, &body_json(&response)["share_basis_points"]),
            (200, &1_000.into())
        );
        let classify = &body_json(&response)["classify"];
        assert_eq!([&classify["path"], &classify["text"]], ["/predict", "/text"]);
    }
}
