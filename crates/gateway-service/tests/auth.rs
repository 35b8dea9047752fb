//! Authentication, trusted subjects and the accepted model, over the in-process platform.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

#[path = "support/gateway.rs"]
mod gateway;

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::{Value, json};

use crate::gateway::{
    ADMIN, ALL_CANARY, BODY, Gateway, LEGACY, MODEL_BODY, MODEL_CLASSIFY, SECOND_MS, model_answer,
    sha256,
};
use jeffrey_edge::rollout::bucket::{Bucket, ReleaseName, bucket_salt};
use jeffrey_edge::rollout::signing_key::SigningKey;
use jeffrey_gateway_service::host::{FetchError, HttpResponse};
use jeffrey_native_host::{RecordedRequest, StoredResponse};
use jeffrey_terms::{Cohort, Share, Subject};

const CHECK: [(&str, &str); 2] =
    [("CANARY_AUTH", "check"), ("CANARY_AUTH_CHECK", "GET /session?of=predict")];
const CACHE: [(&str, &str); 2] =
    [("CANARY_AUTH_CACHE", "60"), ("CANARY_AUTH_HEADERS", "authorization")];
const REFUSAL: &[u8] = b"{ \"error\":  \"who are you?\" }";

/// The legacy system of these tests: what it answers to the check, and which checks came.
#[derive(Clone)]
struct Legacy {
    checks: Rc<RefCell<Vec<RecordedRequest>>>,
    answer: Rc<RefCell<Result<HttpResponse, FetchError>>>,
}

fn check_answer(status: u16, cookies: &[&str]) -> Result<HttpResponse, FetchError> {
    let headers = cookies.iter().map(|cookie| ("set-cookie", (*cookie).to_owned())).collect();
    Ok(HttpResponse { status, headers, body: Ok(Vec::new()) })
}

impl Legacy {
    fn answer(&self, answer: Result<HttpResponse, FetchError>) {
        *self.answer.borrow_mut() = answer;
    }

    /// Number of checks since the last call of this function.
    fn take_checks(&self) -> usize {
        self.checks.take().len()
    }
}

/// A gateway with all subjects in the canary. Its legacy system gives each check the answer that the test
/// sets.
fn checked_gateway(variables: &[(&'static str, &str)]) -> (Gateway, Legacy) {
    let gateway = Gateway::new(&[&[ALL_CANARY], &CHECK[..], variables].concat());
    let answer = Rc::new(RefCell::new(check_answer(204, &[])));
    let legacy = Legacy { checks: Rc::default(), answer };
    let told = legacy.clone();
    gateway.platform.answer_http(move |request| {
        if request.url == MODEL_CLASSIFY {
            return model_answer(200, MODEL_BODY);
        }
        assert_eq!(request.url, format!("{LEGACY}/session?of=predict"));
        told.checks.borrow_mut().push(request.clone());
        told.answer.borrow().clone()
    });
    (gateway, legacy)
}

fn call_with(gateway: &Gateway, authorization: &str) -> crate::gateway::Answer {
    gateway.call(&[("x-user-id", "alice"), ("authorization", authorization)], BODY)
}

#[test]
fn only_a_2xx_of_the_check_lets_the_canary_answer() {
    let (gateway, legacy) = checked_gateway(&[]);
    let rows = [
        (check_answer(200, &[]), "admitted"),
        (check_answer(204, &[]), "admitted"),
        (check_answer(302, &[]), "refused"),
        (check_answer(401, &[]), "refused"),
        (check_answer(403, &[]), "refused"),
        (check_answer(404, &[]), "refused"),
        (check_answer(429, &[]), "rate_limited"),
        (check_answer(200, &[]), "admitted"),
        (check_answer(500, &[]), "unavailable"),
        (Err(FetchError::TimedOut), "unavailable"),
        (check_answer(200, &[]), "admitted"),
    ];
    for (answer, verdict) in rows {
        legacy.answer(answer);
        let answer = call_with(&gateway, "Bearer x");
        let event = gateway.event();
        let is_admitted = verdict == "admitted";
        assert_eq!(answer.is_by_model(), is_admitted, "{verdict}");
        assert_eq!(answer.is_by_legacy(), !is_admitted, "{verdict}");
        assert_eq!((&event["auth_verdict"], &event["cohort"]), (&json!(verdict), &json!("canary")));
        assert_eq!(event["fallback_reason"], Value::Null);
        assert_eq!(legacy.take_checks(), 1);
    }
}

#[test]
fn the_check_has_the_callers_headers_and_no_body() {
    let (gateway, legacy) = checked_gateway(&[]);
    let headers = [
        ("x-user-id", "alice"),
        ("cookie", "session=a; jeffrey_subject=AAAAAAAAAAAAAAAAAAAAAA"),
        ("x-api-key", "k"),
        ("cf-connecting-ip", "192.0.2.7"),
    ];
    gateway.call(&headers, BODY);
    let check = legacy.checks.borrow()[0].clone();
    assert_eq!((check.method.as_str(), check.body.as_slice()), ("GET", &b""[..]));
    let value = |name: &str| {
        check.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    };
    assert_eq!(value("cookie"), Some("session=a"));
    assert_eq!(value("x-api-key"), Some("k"));
    assert_eq!(value("x-forwarded-for"), Some("192.0.2.7"));
    assert_eq!((value("content-type"), value("content-length")), (None, None));
}

#[test]
fn a_refused_caller_gets_the_legacy_systems_own_refusal_byte_for_byte() {
    let (gateway, legacy) = checked_gateway(&[]);
    legacy.answer(check_answer(401, &["session=; Max-Age=0"]));
    gateway.platform.answer_legacy(|_| {
        let headers = [("www-authenticate", "Bearer realm=\"x\""), ("set-cookie", "own=1")];
        Ok(StoredResponse::new(401, &headers, REFUSAL))
    });
    let answer = gateway.call(&[("x-user-id", "alice")], BODY);
    assert_eq!((answer.status, answer.body.as_slice()), (401, REFUSAL));
    assert_eq!(answer.header("www-authenticate").as_deref(), Some("Bearer realm=\"x\""));
    assert_eq!(answer.cookies(), ["own=1"]);
    assert_eq!(gateway.model_texts(), Vec::<String>::new());
}

#[test]
fn a_session_that_slides_on_the_check_goes_on_with_the_canarys_answer() {
    let (gateway, legacy) = checked_gateway(&CACHE);
    legacy.answer(check_answer(200, &["session=b; Path=/", "jeffrey_subject=x", "t=1"]));
    let answer = call_with(&gateway, "Bearer x");
    assert!(answer.is_by_model());
    assert_eq!(answer.cookies(), ["session=b; Path=/", "t=1"]);
    // A cached verdict has no cookies: another caller could get them.
    assert_eq!(call_with(&gateway, "Bearer x").cookies(), Vec::<String>::new());
    // A fallback after an admitted check passes them on as well.
    legacy.answer(check_answer(200, &["session=c"]));
    let told = legacy.clone();
    gateway.platform.answer_http(move |request| {
        if request.url == MODEL_CLASSIFY {
            return Err(FetchError::Failed);
        }
        told.answer.borrow().clone()
    });
    let fallback = call_with(&gateway, "Bearer y");
    assert!(fallback.is_by_legacy());
    assert_eq!(fallback.cookies(), ["session=c"]);
}

#[test]
fn without_a_cache_every_answer_is_asked_for_so_quotas_and_one_time_tokens_hold() {
    let (gateway, legacy) = checked_gateway(&[]);
    for _ in 0..3 {
        assert!(call_with(&gateway, "Bearer x").is_by_model());
    }
    assert_eq!(legacy.take_checks(), 3);
    // The third is above its quota.
    legacy.answer(check_answer(429, &[]));
    assert!(call_with(&gateway, "Bearer x").is_by_legacy());
}

#[test]
fn a_cached_verdict_saves_checks_and_lets_a_quota_pass() {
    let (gateway, legacy) = checked_gateway(&CACHE);
    assert!(call_with(&gateway, "Bearer x").is_by_model());
    legacy.answer(check_answer(429, &[]));
    for _ in 0..5 {
        assert!(call_with(&gateway, "Bearer x").is_by_model(), "the price of the cache");
    }
    assert_eq!(legacy.take_checks(), 1);
    // Other credentials, another address and another isolate have no verdict yet.
    assert!(call_with(&gateway, "Bearer y").is_by_legacy());
    let elsewhere = [("authorization", "Bearer x"), ("cf-connecting-ip", "192.0.2.9")];
    assert!(gateway.call(&elsewhere, BODY).is_by_legacy());
    assert!(call_with(&gateway.other_isolate(), "Bearer x").is_by_legacy());
    assert_eq!(legacy.take_checks(), 3);
    gateway.platform.advance(60 * SECOND_MS).unwrap();
    assert!(call_with(&gateway, "Bearer x").is_by_legacy(), "a minute at most");
    // A 429 is not cached, a refusal for five seconds.
    legacy.answer(check_answer(401, &[]));
    assert!(call_with(&gateway, "Bearer x").is_by_legacy());
    legacy.answer(check_answer(200, &[]));
    assert!(call_with(&gateway, "Bearer x").is_by_legacy());
    gateway.platform.advance(5 * SECOND_MS).unwrap();
    assert!(call_with(&gateway, "Bearer x").is_by_model());
}

#[test]
fn a_legacy_system_that_gives_no_verdict_is_left_alone_for_five_seconds() {
    let (gateway, legacy) = checked_gateway(&[]);
    // A 5xx comes at once, and one caller's headers may be its cause.
    legacy.answer(check_answer(500, &[]));
    for _ in 0..10 {
        assert!(call_with(&gateway, "Bearer x").is_by_legacy());
    }
    assert_eq!(legacy.take_checks(), 10);
    legacy.answer(Err(FetchError::TimedOut));
    for _ in 0..10 {
        assert!(call_with(&gateway, "Bearer x").is_by_legacy());
    }
    assert_eq!(legacy.take_checks(), 3);
    legacy.answer(check_answer(200, &[]));
    gateway.platform.advance(5 * SECOND_MS).unwrap();
    assert!(call_with(&gateway, "Bearer x").is_by_model());
}

#[test]
fn a_stable_call_is_not_checked_and_an_override_does_not_open_the_door() {
    let (gateway, legacy) =
        checked_gateway(&[("INITIAL_SHARE", "0%"), ("COHORT_OVERRIDES", "carl=canary")]);
    assert!(call_with(&gateway, "Bearer x").is_by_legacy());
    assert_eq!(legacy.take_checks(), 0);
    legacy.answer(check_answer(403, &[]));
    assert!(gateway.classify("carl").is_by_legacy());
    let token = crate::gateway::override_token(crate::gateway::OVERRIDE_KEY, "e1-small", 60_000);
    let headers =
        [("x-user-id", "alice"), ("x-jeffrey-cohort", "canary"), ("x-jeffrey-token", &token)];
    let answer = gateway.call(&headers, BODY);
    assert!(answer.is_by_legacy());
    let reason = "the legacy system does not admit the caller (CANARY_AUTH=check)";
    assert_eq!(answer.header("x-jeffrey-override").as_deref(), Some(reason));
    assert_eq!(legacy.take_checks(), 2);
}

#[test]
fn undeclared_nobody_is_canary_and_health_says_why() {
    let gateway =
        Gateway::new(&[("CANARY_AUTH", ""), ALL_CANARY, ("COHORT_OVERRIDES", "carl=canary")]);
    let token = crate::gateway::override_token(crate::gateway::OVERRIDE_KEY, "e1-small", 60_000);
    let overriding =
        [("x-user-id", "alice"), ("x-jeffrey-cohort", "canary"), ("x-jeffrey-token", &token)];
    let calls: [&[(&str, &str)]; 3] =
        [&[("x-user-id", "alice")], &[("x-user-id", "carl")], &overriding];
    for headers in calls {
        assert!(gateway.call(headers, BODY).is_by_legacy(), "{headers:?}");
        let event = gateway.event();
        assert_eq!(
            (&event["reason"], &event["is_evidence"]),
            (&json!("auth_undeclared"), &json!(false))
        );
    }
    let health = gateway.admin("GET", "/health", "", "");
    assert_eq!(health.status, 503);
    assert!(health.json()["faults"][0].as_str().unwrap().starts_with("CANARY_AUTH: it is not set"));
}

#[test]
fn a_call_with_credentials_stays_stable_where_that_is_declared() {
    let gateway = Gateway::new(&[
        ALL_CANARY,
        ("CANARY_AUTH", "credentials_stay_stable"),
        ("CANARY_AUTH_STABLE_HEADERS", "x-api-key"),
    ]);
    let with: [(&str, &str); 3] =
        [("authorization", "Bearer x"), ("cookie", "session=a"), ("x-api-key", "k")];
    for header in with {
        assert!(gateway.call(&[("x-user-id", "alice"), header], BODY).is_by_legacy(), "{header:?}");
        let event = gateway.event();
        assert_eq!(
            (&event["reason"], &event["is_evidence"]),
            (&json!("has_credentials"), &json!(false))
        );
    }
    assert!(gateway.classify("alice").is_by_model());
}

#[test]
fn a_call_that_the_legacy_system_refuses_is_evidence_in_neither_cohort() {
    let (gateway, legacy) = checked_gateway(&[("INITIAL_SHARE", "50%")]);
    gateway.platform.set_queue(jeffrey_gateway_service::host::QueueSend::NotBound);
    gateway.platform.answer_legacy(|_| Ok(StoredResponse::new(401, &[], REFUSAL)));
    legacy.answer(check_answer(401, &[]));
    for number in 0..40 {
        gateway.classify(&format!("stranger-{number}"));
    }
    gateway.platform.answer_legacy(|_| Ok(crate::gateway::legacy_response()));
    legacy.answer(check_answer(200, &[]));
    for number in 0..40 {
        gateway.classify(&format!("member-{number}"));
    }
    let totals = gateway.admin("GET", "/v1/totals", ADMIN, "").json();
    let requests = |cohort: &str| totals[cohort]["stats"]["counts"]["requests"].as_u64().unwrap();
    assert_eq!(requests("canary") + requests("stable"), 40);
    assert!(requests("canary") > 10 && requests("stable") > 10, "{totals}");
    let verdicts = gateway.metrics();
    let refused = "jeffrey_auth_checks_total{verdict=\"refused\"}";
    assert!(verdicts.contains(refused), "{verdicts}");
}

#[test]
fn a_subject_that_is_not_trusted_is_drawn_by_the_salt_and_a_trusted_one_by_the_public_hash() {
    let secret = "a subject secret of ours";
    let gateway = Gateway::new(&[
        ("INITIAL_SHARE", "50%"),
        ("BUCKET_SALT", "a salt of the tests"),
        ("SUBJECT_TRUST", "secret"),
        ("JEFFREY_SUBJECT_SECRET", secret),
    ]);
    let release = ReleaseName::parse("e1-small").unwrap();
    let salt = bucket_salt(SigningKey::parse("a salt of the tests").unwrap());
    let half = Share::from_basis_points(5_000).unwrap();
    let is_canary = |subject: &str, salt: Option<&SigningKey>| {
        let subject = Subject::parse(subject).unwrap();
        Bucket::from_subject(&release, &subject, salt).cohort(half) == Cohort::Canary
    };
    let mut differing = 0;
    for number in 0..100 {
        let user = format!("user-{number}");
        let named = [("x-user-id", user.as_str()), ("x-jeffrey-subject-secret", secret)];
        let answer = gateway.call(&named, BODY);
        assert_eq!(answer.is_by_model(), is_canary(&user, None), "{user}");
        // The header of anybody else is no subject: a cookie is given.
        let stranger = gateway.call(&named[..1], BODY);
        let cookie = stranger.subject_cookie().unwrap();
        let value = cookie["jeffrey_subject=".len()..].split('.').next().unwrap();
        assert_eq!(stranger.is_by_model(), is_canary(value, Some(&salt)), "{value}");
        differing += usize::from(is_canary(value, Some(&salt)) != is_canary(value, None));
    }
    assert!(differing > 20, "{differing} of 100: the salt draws otherwise");
}

#[test]
fn another_salt_in_mid_release_stops_the_canary_and_health_says_why() {
    let gateway = Gateway::new(&[ALL_CANARY, ("BUCKET_SALT", "a salt of the tests")]);
    assert!(gateway.classify("alice").is_by_model());
    for changed in [&[("BUCKET_SALT", "another salt of ours")][..], &[]] {
        let next = gateway.redeployed(&[&[ALL_CANARY], changed].concat());
        assert!(next.classify("alice").is_by_legacy());
        let health = next.admin("GET", "/health", "", "");
        assert_eq!(health.status, 503);
        let fault = health.json()["faults"][0].as_str().unwrap().to_owned();
        assert!(fault.starts_with("BUCKET_SALT: it is not the one with which"), "{fault}");
        assert!(!fault.contains("salt of"), "{fault}");
    }
    let back = gateway.redeployed(&[ALL_CANARY, ("BUCKET_SALT", "a salt of the tests")]);
    assert!(back.classify("alice").is_by_model());
    // Before its first share a release may change its salt.
    let fresh = Gateway::new(&[("INITIAL_SHARE", "0%")]);
    assert!(fresh.classify("alice").is_by_legacy());
    let salted =
        fresh.redeployed(&[("INITIAL_SHARE", "0%"), ("BUCKET_SALT", "a salt of the tests")]);
    assert_eq!(salted.admin("GET", "/health", "", "").status, 200);
}

#[test]
fn another_model_than_the_validated_one_answers_nobody_and_takes_the_release_back() {
    let gateway = Gateway::storing(&[("COHORT_OVERRIDES", "carl=canary")]);
    gateway.start_rollout();
    assert!(gateway.classify("carl").is_by_model());
    let other = vec![("x-model-sha256", "cd".repeat(32))];
    let body = Ok(MODEL_BODY.as_bytes().to_vec());
    gateway.answer_model(Ok(HttpResponse { status: 200, headers: other, body: body.clone() }));
    assert!(gateway.classify("carl").is_by_legacy());
    let events = gateway.admin("GET", "/v1/admin/events", ADMIN, "").text();
    assert!(events.contains(r#""fallback_reason":"other_model""#), "{events}");
    assert_eq!(gateway.status()["rollout"]["phase"], "rolled back");
    // A response without the header is no model response.
    let unnamed = Gateway::storing(&[("COHORT_OVERRIDES", "carl=canary")]);
    unnamed.start_rollout();
    unnamed.answer_model(Ok(HttpResponse { status: 200, headers: Vec::new(), body }));
    assert!(unnamed.classify("carl").is_by_legacy());
    assert_ne!(unnamed.status()["rollout"]["phase"], "rolled back");
}

#[test]
fn a_release_check_that_failed_does_not_change_which_model_may_answer() {
    let gateway = Gateway::storing(&[ALL_CANARY]);
    let post = |sha256: String, passed: bool| {
        let report = json!({"passed": passed, "model": {"sha256": sha256}}).to_string();
        gateway.admin("POST", "/v1/admin/validation", ADMIN, &report);
        // The isolate learns it with the next share.
        gateway.platform.advance(6 * SECOND_MS).unwrap();
    };
    assert!(gateway.classify("alice").is_by_model(), "without a release check, any model may");
    post(sha256(), true);
    post("cd".repeat(32), false);
    assert!(gateway.classify("alice").is_by_model());
    post("cd".repeat(32), true);
    assert!(gateway.classify("alice").is_by_legacy());
    // The right one again: a probe closes the breaker.
    post(sha256(), true);
    gateway.platform.advance(30 * SECOND_MS).unwrap();
    assert!(gateway.classify("alice").is_by_legacy());
    assert!(gateway.classify("alice").is_by_model());
}

#[test]
fn a_release_check_of_another_model_holds_a_running_release_and_does_not_stop_it() {
    let gateway = Gateway::storing(&[("COHORT_OVERRIDES", "carl=canary")]);
    gateway.start_rollout();
    let post = |sha256: String| {
        let report = json!({"passed": true, "model": {"sha256": sha256}}).to_string();
        gateway.admin("POST", "/v1/admin/validation", ADMIN, &report);
        gateway.platform.advance(6 * SECOND_MS).unwrap();
    };
    post("cd".repeat(32));
    assert!(gateway.classify("carl").is_by_model());
    assert_ne!(gateway.status()["rollout"]["phase"], "rolled back");
    // Taken back and resumed with a check of the deployed model, that one is accepted.
    gateway.command("rollback");
    post("cd".repeat(32));
    post(sha256());
    let resume = r#"{"command":"resume","reason":"checked again"}"#;
    let resumed = gateway.admin("POST", "/v1/admin/rollout", ADMIN, resume);
    assert_eq!(resumed.status, 200, "{}", resumed.text());
    gateway.platform.advance(6 * SECOND_MS).unwrap();
    assert!(gateway.classify("carl").is_by_model());
}
