//! Failures of the model over the in-process platform: which of them is a verdict on the release, what
//! the caller gets, and how an isolate reports them.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

#[path = "support/gateway.rs"]
mod gateway;

use std::cell::Cell;
use std::rc::Rc;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::gateway::{
    ALL_CANARY, BODY, Gateway, LEGACY_BODY, MODEL_BODY, SECOND_MS, broken_model_answer,
    model_answer, non_finite_answer, trap_answer, user,
};
use jeffrey_gateway_service::host::{BodyError, FetchError, ObjectClass};
use jeffrey_gateway_service::request_host::StreamedResponse;
use jeffrey_http_core::body::BodyRead;
use jeffrey_native_host::block_on;

/// A gateway whose model traps at each text with the word `poison`.
fn poisoned_gateway() -> Gateway {
    let gateway = Gateway::new(&[ALL_CANARY]);
    gateway.platform.answer_http(|request| {
        let body = String::from_utf8_lossy(&request.body);
        if body.contains("poison") { trap_answer() } else { model_answer(200, MODEL_BODY) }
    });
    gateway
}

/// Sends one text for one subject; returns the reason of the fallback.
fn send(gateway: &Gateway, subject: &str, text: &str) -> Value {
    let body = json!({ "text": text }).to_string();
    let answer = gateway.call(&[("x-user-id", subject)], &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    gateway.event()["fallback_reason"].clone()
}

#[test]
fn each_failure_of_the_model_is_answered_by_the_legacy_system_in_the_same_call() {
    let skipped = r#""skipped":[{"route":"linear_head","reason":"dimension_mismatch"}],"route""#;
    let rows = [
        ("connection failed", Err(FetchError::Failed), "unavailable"),
        ("timed out", Err(FetchError::TimedOut), "timeout"),
        ("trap", trap_answer(), "trap"),
        ("status 500", model_answer(500, "{}"), "unavailable"),
        ("status 503", model_answer(503, MODEL_BODY), "unavailable"),
        ("status 422", model_answer(422, "{}"), "refused"),
        ("status 413", model_answer(413, "{}"), "refused"),
        ("not JSON", model_answer(200, "<html>"), "invalid_response"),
        ("no body", model_answer(200, ""), "invalid_response"),
        (
            "unknown label",
            model_answer(200, &MODEL_BODY.replace(r#""primary":"anger""#, r#""primary":"rage""#)),
            "invalid_response",
        ),
        (
            "wrong dimension",
            model_answer(200, &MODEL_BODY.replace(r#""route""#, skipped)),
            "dimension_mismatch",
        ),
        (
            "score not finite",
            model_answer(200, &MODEL_BODY.replace(r#""anger":0.8125"#, r#""anger":null"#)),
            "non_finite",
        ),
        (
            "score above 1",
            model_answer(200, &MODEL_BODY.replace(r#""joy":0.01"#, r#""joy":1.01"#)),
            "non_finite",
        ),
        ("body too large", broken_model_answer(BodyError::TooLarge), "invalid_response"),
        ("body broken", broken_model_answer(BodyError::Broken), "unavailable"),
        ("body late", broken_model_answer(BodyError::TimedOut), "timeout"),
    ];
    for (name, model, reason) in rows {
        let gateway = Gateway::new(&[ALL_CANARY]);
        gateway.answer_model(model);
        let answer = gateway.classify("alice");
        assert!(answer.is_by_legacy(), "{name}: {}", answer.text());
        let event = gateway.event();
        assert_eq!(event["fallback_reason"], reason, "{name}");
        assert_eq!(event["cohort"], "canary", "{name}");
        assert_eq!(event["destination"], "stable", "{name}");
        assert_eq!((&event["label"], &event["model"]), (&json!("sadness"), &Value::Null), "{name}");
        // The probe after the trap met one, too.
        let is_hard = ["trap", "dimension_mismatch", "non_finite"].contains(&reason);
        let failures = gateway.status()["hard_failures"].clone();
        assert_eq!(failures, json!(u64::from(is_hard)), "{name}");
        // A soft failure is that of one call.
        gateway.answer_model(model_answer(200, MODEL_BODY));
        assert_eq!(gateway.classify("alice").is_by_model(), !is_hard, "{name}");
    }
}

#[test]
fn if_both_systems_fail_the_caller_gets_502_and_the_event_names_both_failures() {
    let gateway = Gateway::new(&[ALL_CANARY]);
    gateway.answer_model(Err(FetchError::TimedOut));
    gateway.platform.answer_legacy(|_| Err(FetchError::Failed));
    assert_eq!(gateway.classify("alice").error(), (502, "legacy_unreachable".to_owned()));
    let event = gateway.event();
    assert_eq!((&event["cohort"], &event["destination"]), (&json!("canary"), &json!("stable")));
    assert_eq!(event["fallback_reason"], "timeout");
    assert_eq!((&event["status"], &event["label"]), (&json!(502), &Value::Null));
}

#[test]
fn three_timeouts_in_a_minute_open_the_breaker_and_are_no_hard_failure() {
    let gateway = Gateway::new(&[ALL_CANARY]);
    gateway.answer_model(Err(FetchError::TimedOut));
    for _ in 0..3 {
        assert!(gateway.classify("alice").is_by_legacy());
    }
    assert_eq!(gateway.model_texts().len(), 3);
    gateway.answer_model(model_answer(200, MODEL_BODY));
    assert!(gateway.classify("alice").is_by_legacy());
    assert!(gateway.model_texts().is_empty(), "an open breaker asks no model");
    let reasons: Vec<Value> =
        gateway.events().iter().map(|event| event["fallback_reason"].clone()).collect();
    assert_eq!(reasons, ["timeout", "timeout", "timeout", "breaker_open"]);
    assert_eq!(gateway.status()["hard_failures"], 0);
    let health = gateway.admin("GET", "/health", "", "").json();
    assert_eq!((&health["status"], &health["breaker"]), (&json!("degraded"), &json!("timeouts")));
    gateway.platform.advance(30 * SECOND_MS).unwrap();
    assert!(gateway.classify("alice").is_by_legacy(), "the probe takes no caller's call");
    assert!(gateway.classify("alice").is_by_model());
}

#[test]
fn a_probe_that_fails_hard_after_timeouts_is_reported() {
    let gateway = Gateway::new(&[ALL_CANARY]);
    gateway.answer_model(Err(FetchError::TimedOut));
    for _ in 0..3 {
        gateway.classify("alice");
    }
    gateway.answer_model(trap_answer());
    gateway.platform.advance(30 * SECOND_MS).unwrap();
    gateway.classify("alice");
    assert_eq!(gateway.status()["hard_failures"], 1);
    assert_eq!(gateway.admin("GET", "/health", "", "").json()["breaker"], "trap");
}

#[test]
fn a_hard_failure_opens_the_breaker_once_until_a_probe_succeeds() {
    let gateway = Gateway::new(&[ALL_CANARY]);
    gateway.answer_model(non_finite_answer());
    gateway.classify("alice");
    assert_eq!(gateway.model_texts().len(), 1);
    for user in ["alice", "bob"] {
        assert!(gateway.classify(user).is_by_legacy(), "{user}");
    }
    assert!(gateway.model_texts().is_empty(), "an open breaker asks no model");
    let reasons: Vec<Value> =
        gateway.events().iter().map(|event| event["fallback_reason"].clone()).collect();
    assert_eq!(reasons, ["non_finite", "breaker_open", "breaker_open"]);
    assert_eq!(gateway.status()["hard_failures"], 1);
    assert_eq!(gateway.status()["last_hard_failure"]["kind"], "non_finite");
    let health = gateway.admin("GET", "/health", "", "");
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("degraded")));
    assert_eq!(health.json()["breaker"], "non_finite");

    // A failed probe starts another cool-down.
    for model in [non_finite_answer(), model_answer(200, MODEL_BODY)] {
        gateway.platform.advance(29 * SECOND_MS).unwrap();
        gateway.classify("alice");
        assert!(gateway.model_texts().is_empty(), "no probe within the cool-down");
        gateway.platform.advance(SECOND_MS).unwrap();
        gateway.answer_model(model);
        assert!(gateway.classify("alice").is_by_legacy(), "the probe takes no caller's call");
        assert_eq!(gateway.model_texts(), ["The parcel arrived on Monday."]);
    }
    assert!(gateway.classify("alice").is_by_model());
    assert_eq!(gateway.admin("GET", "/health", "", "").json()["status"], "ok");
    assert_eq!(gateway.status()["hard_failures"], 1, "probes are not reported");
}

#[test]
fn the_breaker_of_one_isolate_does_not_close_another_and_each_reports_its_own() {
    let gateway = Gateway::new(&[ALL_CANARY]);
    let other = gateway.other_isolate();
    gateway.answer_model(non_finite_answer());
    gateway.classify("alice");
    gateway.answer_model(model_answer(200, MODEL_BODY));
    assert!(gateway.classify("alice").is_by_legacy());
    assert!(other.classify("alice").is_by_model());
    other.answer_model(non_finite_answer());
    assert!(other.classify("alice").is_by_legacy());
    assert_eq!(gateway.status()["hard_failures"], 2);
}

#[test]
fn of_50_calls_at_once_of_which_one_traps_all_are_answered() {
    let gateway = Gateway::new(&[ALL_CANARY]);
    let calls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&calls);
    gateway.platform.answer_http(move |_| {
        counted.set(counted.get() + 1);
        if counted.get() == 20 { trap_answer() } else { model_answer(200, MODEL_BODY) }
    });
    let users: Vec<String> = (0..50).map(user).collect();
    let requests =
        users.iter().map(|user| gateway.classify_request(&[("x-user-id", user)], BODY).respond());
    let answers = block_on(join_all(requests));
    gateway.platform.run_tasks();
    for (user, answer) in users.iter().zip(answers) {
        assert_eq!(answer.unwrap().status(), 200, "{user}");
    }
    let events = gateway.events();
    let traps = events.iter().filter(|event| event["fallback_reason"] == "trap").count();
    assert_eq!((events.len(), traps), (50, 1));
    assert_eq!(gateway.status()["hard_failures"], 0, "one subject, and the probe was answered");
}

#[test]
fn a_model_that_fails_50_calls_at_once_is_reported_once() {
    let gateway = Gateway::new(&[ALL_CANARY]);
    gateway.answer_model(non_finite_answer());
    let requests = (0..50).map(|_| gateway.classify_request(&[], BODY).respond());
    let answers = block_on(join_all(requests));
    gateway.platform.run_tasks();
    for answer in answers {
        let answer = block_on(answer.unwrap().read(usize::MAX));
        assert_eq!(answer, BodyRead::Complete(LEGACY_BODY.into()));
    }
    assert_eq!(gateway.events().len(), 50);
    assert_eq!(gateway.status()["hard_failures"], 1);
}

#[test]
fn a_trap_that_three_subjects_meet_within_five_minutes_is_a_hard_failure() {
    let gateway = poisoned_gateway();
    for (number, subject) in ["alice", "bob", "bob"].into_iter().enumerate() {
        assert_eq!(send(&gateway, subject, &format!("poison {number}")), "trap");
        assert_eq!(gateway.status()["hard_failures"], 0, "{subject}");
    }
    assert_eq!(send(&gateway, "carol", "well"), Value::Null, "a trap opens no breaker");
    assert_eq!(send(&gateway, "carol", "poison 3"), "trap");
    let status = gateway.status();
    assert_eq!(
        (&status["hard_failures"], &status["last_hard_failure"]["kind"]),
        (&json!(1), &json!("trap"))
    );
    // The next three have to be others.
    assert_eq!(send(&gateway, "dave", "poison 4"), "trap");
    assert_eq!(gateway.status()["hard_failures"], 1);
}

#[test]
fn three_subjects_with_one_text_are_a_verdict_though_it_is_in_quarantine() {
    let gateway = poisoned_gateway();
    for (subject, reason, failures) in [
        ("alice", "trap", 0),
        ("alice", "trap", 0),
        ("bob", "quarantined", 0),
        ("carol", "quarantined", 1),
    ] {
        assert_eq!(send(&gateway, subject, "poison"), reason, "{subject}");
        assert_eq!(gateway.status()["hard_failures"], failures, "{subject}");
    }
}

#[test]
fn one_client_with_one_text_is_no_verdict_and_soon_costs_the_model_nothing() {
    let gateway = poisoned_gateway();
    let reasons: Vec<Value> = (0..100).map(|_| send(&gateway, "mallory", "poison")).collect();
    assert_eq!(reasons[..2], ["trap", "trap"]);
    assert!(reasons[2..].iter().all(|reason| reason == "quarantined"), "{reasons:?}");
    assert_eq!(gateway.status()["hard_failures"], 0);
    assert_eq!(send(&gateway, "mallory", "another text"), Value::Null);
    gateway.platform.advance(60 * 60 * SECOND_MS).unwrap();
    assert_eq!(send(&gateway, "mallory", "poison"), "trap", "an hour later it is tried again");
}

#[test]
fn a_shadow_call_keeps_to_the_quarantine_and_is_no_verdict() {
    let gateway = Gateway::new(&[("SHADOW_SHARE", "100%")]);
    gateway.answer_model(trap_answer());
    let shadows: Vec<Value> = (0..4)
        .map(|number| {
            gateway.classify(&user(number));
            gateway.event()["shadow"].clone()
        })
        .collect();
    let reasons: Vec<&Value> = shadows.iter().map(|shadow| &shadow["fallback_reason"]).collect();
    assert_eq!(reasons, [&json!("trap"), &json!("trap"), &Value::Null, &Value::Null]);
    assert!(shadows[3].is_null() && gateway.model_texts().len() == 2);
    assert_eq!(gateway.status()["hard_failures"], 0);
}

#[test]
fn lost_connections_are_no_verdict_however_many() {
    let gateway = Gateway::new(&[ALL_CANARY]);
    gateway.answer_model(Err(FetchError::Failed));
    for number in 0..50 {
        assert!(gateway.classify(&user(number)).is_by_legacy());
    }
    assert_eq!(gateway.status()["hard_failures"], 0);
    gateway.answer_model(model_answer(200, MODEL_BODY));
    assert!(gateway.classify("alice").is_by_model());
}

#[test]
fn a_report_that_outlives_its_request_goes_with_a_later_one() {
    let gateway = Gateway::new(&[ALL_CANARY]);
    assert!(gateway.classify("alice").is_by_model());
    gateway.answer_model(non_finite_answer());
    gateway.platform.set_away(ObjectClass::Rollout, true);
    gateway.classify("alice");
    for _ in 0..60 {
        gateway.platform.advance(SECOND_MS).unwrap();
    }
    gateway.platform.set_away(ObjectClass::Rollout, false);
    assert_eq!(gateway.status()["hard_failures"], 0, "no request came to take it along");
    for _ in 0..2 {
        gateway.classify("bob");
        gateway.platform.advance(60 * SECOND_MS).unwrap();
        assert_eq!(gateway.status()["hard_failures"], 1, "and it is sent no more");
    }
}
