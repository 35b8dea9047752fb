//! Rules for one classify call: its eligibility for the canary, its assignment, its shadow call.

use crate::gateway::config::{CanaryAuth, GatewaySettings};
use crate::gateway::request::subject::strip_subject_cookie;
use crate::gateway::upstream::legacy::LegacyRequest;
use crate::rollout::assignment::{AssignmentRules, CanaryEligibility};
use crate::rollout::share_cache::EffectiveShare;
use jeffrey_http_core::head::RequestHead;
use jeffrey_terms::Share;

/// Builds the assignment rules for one request from the settings and the effective share.
pub fn assignment_rules(
    settings: &GatewaySettings,
    effective: EffectiveShare,
) -> AssignmentRules<'_> {
    AssignmentRules {
        release: &settings.release,
        bucket_salt: settings.bucket_salt.as_ref(),
        share: effective.share,
        // A plan has its own holdout, with which its gates compare at the last stage. A plan whose
        // holdout is smaller than the setting is rejected.
        holdout: settings.holdout.max(effective.holdout),
        disabled: effective.disabled || settings.is_canary_disabled(),
        cohort_overrides: &settings.cohort_overrides,
    }
}

/// Returns whether the model can answer a call. `request` is `None` if the body is streamed. A page
/// of another origin is eligible only if `CORS_ORIGINS` has that origin: the gateway writes the CORS
/// headers of the canary's responses. Without a declaration of authentication no call is eligible.
pub fn canary_eligibility(
    request: Option<&LegacyRequest>,
    head: &RequestHead,
    settings: &GatewaySettings,
) -> CanaryEligibility {
    let is_allowed = |origin: &str| settings.cors_origins.iter().any(|allowed| allowed == origin);
    match request {
        None => CanaryEligibility::Streamed,
        Some(request) if request.text.is_none() => CanaryEligibility::NoText,
        Some(_) if head.foreign_origin().is_some_and(|origin| !is_allowed(origin)) => {
            CanaryEligibility::ForeignOrigin
        }
        Some(_) => match settings.canary_auth {
            None => CanaryEligibility::AuthUndeclared,
            Some(declared) if stays_stable(head, declared, &settings.stable_headers) => {
                CanaryEligibility::HasCredentials
            }
            Some(_) => CanaryEligibility::Eligible,
        },
    }
}

/// Returns whether a call has credentials that keep it stable, even if they are empty: one of the listed
/// headers or, if that is declared, `Authorization` or a cookie that is not the gateway's.
fn stays_stable(head: &RequestHead, declared: CanaryAuth, stable_headers: &[String]) -> bool {
    let has = |name: &str| head.header(name).is_some();
    let has_usual =
        || has("authorization") || head.header("cookie").and_then(strip_subject_cookie).is_some();
    stable_headers.iter().any(|name| has(name))
        || declared == CanaryAuth::CredentialsStayStable && has_usual()
}

/// Returns whether a call is in the share that the model answers in the shadow; `random` is drawn
/// for each call.
///
/// 65,536 values modulo 10,000: points 0 to 5,535 come up 7 times in 65,536, the others 6 times,
/// which is 0.15 basis points less.
pub const fn is_selected_for_shadow(random: u16, share: Share) -> bool {
    random % 10_000 < share.basis_points()
}

#[cfg(test)]
pub(in crate::gateway) mod tests {
    use super::*;
    use crate::gateway::config::WorkerVariables;
    use crate::rollout::share_cache::Refresh;

    /// Share of the canary, without a holdout.
    pub(in crate::gateway) fn effective_share(points: u16) -> EffectiveShare {
        let share = Share::from_basis_points(points).unwrap();
        EffectiveShare { share, holdout: Share::NONE, disabled: false, refresh: Refresh::Fresh }
    }

    fn settings_of(variables: &[(&'static str, &str)]) -> GatewaySettings {
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
        GatewaySettings::parse(&WorkerVariables(variables.collect()))
    }

    #[test]
    fn credentials_keep_a_call_stable_only_where_that_is_declared() {
        let eligibility = |declared: &str, headers: &[(&str, &str)]| {
            let variables = [
                ("CANARY_AUTH", declared),
                ("CANARY_AUTH_CHECK", "GET /session"),
                ("CANARY_AUTH_STABLE_HEADERS", "x-api-key"),
            ];
            let settings = settings_of(&variables);
            let request = settings.contract.parse_request(br#"{"text":"hello"}"#);
            let headers = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let head = RequestHead::new("POST".to_owned(), "https://gateway/predict", headers);
            canary_eligibility(Some(&request), &head.unwrap(), &settings)
        };
        let rows: [(&[(&str, &str)], bool); 8] = [
            (&[], false),
            (&[("x-user-id", "alice")], false),
            (&[("cookie", "jeffrey_subject=AAAAAAAAAAAAAAAAAAAAAA")], false),
            (&[("cookie", "jeffrey_subject=AAAAAAAAAAAAAAAAAAAAAA; session=x")], true),
            (&[("Cookie", "session=x")], true),
            (&[("Authorization", "")], true),
            (&[("X-Api-Key", "k")], true),
            (&[("x-api-keys", "k")], false),
        ];
        for (headers, has_credentials) in rows {
            let expected = if has_credentials {
                CanaryEligibility::HasCredentials
            } else {
                CanaryEligibility::Eligible
            };
            assert_eq!(eligibility("credentials_stay_stable", headers), expected, "{headers:?}");
            // A listed header keeps a call stable whatever is declared.
            let is_listed = headers.iter().any(|(name, _)| *name == "X-Api-Key");
            for declared in ["none_required", "check"] {
                let found = eligibility(declared, headers);
                let stays_stable = found == CanaryEligibility::HasCredentials;
                assert_eq!(stays_stable, is_listed, "{declared} {headers:?}");
            }
            let undeclared = eligibility("", headers);
            assert_eq!(undeclared, CanaryEligibility::AuthUndeclared, "{headers:?}");
        }
    }

    #[test]
    fn the_larger_holdout_is_in_force() {
        let settings = |holdout: &str| settings_of(&[("HOLDOUT", holdout)]);
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
    fn a_call_is_eligible_with_a_text_and_without_a_foreign_origin() {
        let variables = [("CORS_ORIGINS", "https://app.example"), ("CANARY_AUTH", "none_required")];
        let settings = settings_of(&variables);
        let rows = [
            // body, origin, eligibility
            (None, "", CanaryEligibility::Streamed),
            (Some("{}"), "", CanaryEligibility::NoText),
            (Some("{\"text\":7}"), "", CanaryEligibility::NoText),
            (Some("{\"text\":\"hello\"}"), "", CanaryEligibility::Eligible),
            (Some("{\"text\":\"hello\"}"), "https://gateway", CanaryEligibility::Eligible),
            (Some("{\"text\":\"hello\"}"), "https://app.example", CanaryEligibility::Eligible),
            (
                Some("{\"text\":\"hello\"}"),
                "https://evil.example",
                CanaryEligibility::ForeignOrigin,
            ),
            (Some("{\"text\":\"hello\"}"), "null", CanaryEligibility::ForeignOrigin),
            // Without a text the origin does not matter.
            (Some("{}"), "https://evil.example", CanaryEligibility::NoText),
        ];
        for (body, origin, expected) in rows {
            let headers = if origin.is_empty() {
                Vec::new()
            } else {
                vec![("origin".to_owned(), origin.to_owned())]
            };
            let head = RequestHead::new("POST".to_owned(), "https://gateway/predict", headers);
            let request = body.map(|body| settings.contract.parse_request(body.as_bytes()));
            let found = canary_eligibility(request.as_ref(), &head.unwrap(), &settings);
            assert_eq!(found, expected, "{body:?} {origin}");
        }
    }

    #[test]
    fn the_shadow_takes_its_share_of_all_draws() {
        for points in [0, 1, 1_000, 5_000, 9_999, 10_000] {
            let share = Share::from_basis_points(points).unwrap();
            let selected = (0..=u16::MAX).filter(|random| is_selected_for_shadow(*random, share));
            let found = selected.count() as f64 / 65_536.0;
            let expected = f64::from(points) / 10_000.0;
            assert!((found - expected).abs() < 0.05, "{points}: {found}");
            let is_exact = points == 0 || points == 10_000;
            assert!(!is_exact || (found - expected).abs() < 1e-12, "{points}: {found}");
        }
    }
}
