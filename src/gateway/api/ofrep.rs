//! The assignment for OpenFeature clients (OFREP,
//! <https://openfeature.dev/docs/reference/technologies/server/ofrep>).

use serde::{Deserialize, Serialize};

use crate::gateway::config::{GatewaySettings, SubjectTrust};
use crate::gateway::request::rules::assignment_rules;
use crate::rollout::assignment::{Assignment, CanaryEligibility, RequestFacts, assign_cohort};
use crate::rollout::share_cache::EffectiveShare;
use jeffrey_http_core::reply::HttpReply;
use jeffrey_terms::{Cohort, Subject};

/// Answers an OFREP evaluation with the assignment that a classify call of this subject would get.
/// `flag_key` must be the name of the release (404 otherwise); an invalid body gets 400.
pub fn evaluate_flag(
    flag_key: &str,
    body: &[u8],
    settings: &GatewaySettings,
    effective: EffectiveShare,
) -> HttpReply {
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
        HttpReply::json(status, &EvaluationFailure { key: flag_key, error_code, error_details })
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
        // The settings say whose word counts, and this caller has a token.
        is_subject_trusted: settings.subject_trust != SubjectTrust::Anyone,
        requested_cohort: None,
        is_sticky: true,
        eligibility: CanaryEligibility::Eligible,
        is_over_limit: false,
    };
    HttpReply::json(
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
    reason: String,
    metadata: EvaluationMetadata,
}

#[derive(Serialize)]
struct EvaluationMetadata {
    assignment_reason: &'static str,
    bucket: Option<u16>,
}

fn flag_evaluation<'a>(flag_key: &'a str, decision: &Assignment) -> FlagEvaluation<'a> {
    FlagEvaluation {
        key: flag_key,
        value: decision.cohort == Cohort::Canary,
        variant: decision.cohort,
        // OFREP writes the reasons in upper case, OpenTelemetry in lower case.
        reason: decision.reason.openfeature_reason().to_ascii_uppercase(),
        metadata: EvaluationMetadata {
            assignment_reason: decision.reason.name(),
            bucket: decision.bucket.map(|bucket| bucket.index()),
        },
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::gateway::config::WorkerVariables;
    use crate::gateway::request::rules::tests::effective_share;

    pub(in crate::gateway::api) fn body_json(response: &HttpReply) -> serde_json::Value {
        serde_json::from_slice(&response.body).unwrap()
    }

    #[test]
    fn an_evaluation_is_the_decision_of_a_classify_call() {
        let variables = [("CANARY_AUTH", "none_required".to_owned())];
        let settings = GatewaySettings::parse(&WorkerVariables(variables.into()));
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
}
