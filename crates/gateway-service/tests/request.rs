//! One incoming request over the in-process platform: proxying, classify calls and their events, and
//! the gateway's own endpoints.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

#[path = "support/gateway.rs"]
mod gateway;

use std::rc::Rc;

use serde_json::{Map, Value, json};

use crate::gateway::{
    ADMIN, ALL_CANARY, ALL_SHADOW, Answer, BODY, GATEWAY, Gateway, HALF_CANARY, Headers, KEY,
    LEGACY, LEGACY_BODY, LIVE, MINUTE_MS, MODEL_BODY, OVERRIDE_KEY, RELEASE, SECOND_MS, START,
    VIEWER, legacy_response, model_answer, non_finite_answer, sha256, user,
};
use jeffrey_edge::gateway::events::signed_id;
use jeffrey_edge::gateway::store::event_batch::decompress_lines;
use jeffrey_edge::rollout::bucket::ReleaseName;
use jeffrey_edge::rollout::override_token::{OverridePermission, VALID_MS_MAX, sign};
use jeffrey_edge::rollout::signing_key::SigningKey;
use jeffrey_gateway_service::host::{FetchError, ObjectClass, QueueSend};
use jeffrey_gateway_service::request_host::{RateLimiter, StreamedResponse};
use jeffrey_http_core::body::BodyRead;
use jeffrey_native_host::{RecordedRequest, StoredResponse, block_on};
use jeffrey_terms::{ResponseId, UnixMs};

const SINK: &str = "https://sink.example/in";

fn header_of<'a>(request: &'a RecordedRequest, name: &str) -> Option<&'a str> {
    let mut headers = request.headers.iter().filter(|(key, _)| key == name);
    let value = headers.next().map(|(_, value)| value.as_str());
    assert_eq!(headers.next(), None, "{name} comes twice");
    value
}

/// An override token for a release, valid for `ms` from the start.
fn token(key: &str, release: &str, ms: u64, allow_rolled_back: bool) -> String {
    let release = ReleaseName::parse(release).unwrap();
    let permission =
        OverridePermission { release, expires_at: UnixMs(START.0 + ms), allow_rolled_back };
    sign(&permission, &SigningKey::parse(key).unwrap())
}

/// The only line of the metrics that begins so, without its value.
fn metric(metrics: &str, series: &str) -> u64 {
    let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

// Requests to the legacy system.

#[test]
fn a_request_that_is_no_classify_call_passes_unchanged_and_so_does_its_response() {
    let gateway = Gateway::new(&[ALL_CANARY]);
    let body: Vec<u8> = (0..=255).collect();
    let headers = [
        ("content-type", "application/octet-stream"),
        ("authorization", "Basic abc"),
        ("cookie", "a=1; b=2"),
        ("accept-encoding", "br, gzip;q=0.5"),
        ("x-odd", "  a,b  "),
        ("x-user-id", "alice"),
    ];
    let reply = body.clone();
    gateway.platform.answer_legacy(move |_| {
        let headers = [
            ("content-type", "image/png"),
            ("set-cookie", "session=1"),
            ("set-cookie", "other=2"),
            ("server-timing", "db;dur=3"),
        ];
        Ok(StoredResponse::new(418, &headers, &reply))
    });
    for (method, target) in [
        ("PUT", "/a%2Fb//c?q=%C3%A9&x=/"),
        ("GET", "/predict"),
        ("POST", "/predict/x"),
        ("DELETE", "/_jeffreys"),
        ("PROPFIND", "/"),
    ] {
        let answer = gateway.send(method, target, &headers, &body);
        let row = format!("{method} {target}");
        let requests = gateway.platform.take_legacy_requests();
        assert_eq!(requests.len(), 1, "{row}");
        let request = &requests[0];
        assert_eq!(request.url, format!("{LEGACY}{target}"), "{row}");
        assert_eq!((request.method.as_str(), &request.body), (method, &body), "{row}");
        for (name, value) in headers {
            assert_eq!(header_of(request, name), Some(value), "{row}: {name}");
        }
        assert_eq!((answer.status, &answer.body), (418, &body), "{row}");
        assert_eq!(answer.header("content-type").as_deref(), Some("image/png"), "{row}");
        assert_eq!(answer.header("server-timing").as_deref(), Some("db;dur=3"), "{row}");
        assert_eq!(answer.cookies(), ["session=1", "other=2"], "{row}");
        assert_eq!(answer.header("x-jeffrey-id"), None, "{row}");
    }
    assert!(gateway.events().is_empty() && gateway.model_texts().is_empty());
}

#[test]
fn hop_by_hop_headers_and_the_gateways_own_are_not_forwarded() {
    let gateway = Gateway::new(&[]);
    let removed = [
        ("connection", "keep-alive, X-Hop, Upgrade"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic abc"),
        ("te", "trailers"),
        ("trailer", "x-sum"),
        ("expect", "100-continue"),
        ("upgrade", "h2c"),
        ("x-jeffrey-cohort", "canary"),
        ("x-jeffrey-token", "v1.a.b"),
    ];
    let subject = "jeffrey_subject=AAAAAAAAAAAAAAAAAAAAAA";
    let cookie = format!("a=1; {subject}; b=2");
    let others = [
        ("cookie", cookie.as_str()),
        ("cf-connecting-ip", "192.0.2.7"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-user-id", "alice"),
    ];
    let headers = [&removed[..], &others[..]].concat();
    gateway.send("GET", "/pages/1", &headers, b"");
    gateway.call(&headers, BODY);
    let requests = gateway.platform.take_legacy_requests();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        let url = &request.url;
        for (name, _) in removed {
            assert_eq!(header_of(request, name), None, "{url}: {name}");
        }
        let forwarded = [
            ("cookie", "a=1; b=2"),
            ("x-forwarded-for", "10.0.0.1, 192.0.2.7"),
            ("x-forwarded-host", "gateway.example"),
            ("x-forwarded-proto", "https"),
            ("via", "1.1 jeffrey-edge"),
            ("x-user-id", "alice"),
        ];
        for (name, value) in forwarded {
            assert_eq!(header_of(request, name), Some(value), "{url}: {name}");
        }
    }
    assert_eq!(requests[1].body, BODY.as_bytes());
}

#[test]
fn a_websocket_passes_on_every_path_and_its_response_gets_no_cookie() {
    let gateway = Gateway::new(&[ALL_CANARY, ("SUBJECT_COOKIE", "all")]);
    let headers = [("cache-control", "no-store")];
    gateway.platform.answer_legacy(move |_| Ok(StoredResponse::new(101, &headers, b"")));
    for target in ["/socket", "/predict"] {
        let upgrade = [
            ("connection", "Upgrade"),
            ("upgrade", "WebSocket"),
            ("content-type", "application/json"),
            ("content-length", "2"),
        ];
        let answer = gateway.send("POST", target, &upgrade, b"{}");
        assert_eq!((answer.status, answer.cookies()), (101, Vec::new()), "{target}");
        let requests = gateway.platform.take_legacy_requests();
        assert_eq!(header_of(&requests[0], "upgrade"), Some("WebSocket"), "{target}");
    }
    assert!(gateway.events().is_empty());
}

#[test]
fn without_a_legacy_system_every_path_but_the_admin_prefix_is_503() {
    let gateway = Gateway::new(&[("LEGACY_ORIGIN", ""), ALL_CANARY]);
    let expected = (503, "legacy_not_configured".to_owned());
    for (method, target) in [("GET", "/"), ("POST", "/predict/x"), ("GET", "/_jeffreys/health")] {
        assert_eq!(gateway.send(method, target, &[], b"").error(), expected, "{method} {target}");
    }
    assert_eq!(gateway.classify("alice").error(), expected);
    let health = gateway.admin("GET", "/health", "", "");
    assert_eq!((health.status, &health.json()["disabled"]), (503, &json!(true)));
    assert!(health.json()["faults"].to_string().contains("LEGACY_ORIGIN"));
    assert_eq!(gateway.admin("GET", "/v1/rollout", VIEWER, "").status, 200);
    let head = gateway.admin("HEAD", "/nope", "", "");
    assert_eq!((head.status, head.body.len()), (404, 0), "HEAD has no body, not even an error's");
    assert!(gateway.events().is_empty());
    assert!(gateway.platform.take_legacy_requests().is_empty());
}

#[test]
fn a_legacy_system_that_fails_is_502_and_a_slow_one_is_504_with_the_limit() {
    let gateway = Gateway::new(&[("LEGACY_TIMEOUT_MS", "1234")]);
    for (error, expected) in [
        (FetchError::Failed, (502, "legacy_unreachable")),
        (FetchError::InvalidHeader, (502, "legacy_unreachable")),
        (FetchError::TimedOut, (504, "legacy_timeout")),
    ] {
        gateway.platform.answer_legacy(move |_| Err(error));
        let expected = (expected.0, expected.1.to_owned());
        let answer = gateway.classify("alice");
        assert_eq!(answer.error(), expected, "{error:?}");
        let names_limit = answer.text().contains("1234 ms");
        assert_eq!(names_limit, error == FetchError::TimedOut, "{}", answer.text());
        let event = gateway.event();
        assert_eq!(event["status"], expected.0, "{error:?}");
        assert_eq!(event["unreadable_response_reason"], "error_status", "{error:?}");
        assert_eq!((&event["destination"], &event["label"]), (&json!("stable"), &Value::Null));
        // A request that is no classify call has no time limit.
        let expected = (502, "legacy_unreachable".to_owned());
        assert_eq!(gateway.send("GET", "/page", &[], b"").error(), expected, "{error:?}");
        assert!(gateway.events().is_empty(), "a page is no event");
    }
}

// Responses to classify calls.

#[test]
fn a_canary_subject_gets_the_models_answer_in_the_legacy_format() {
    let gateway = Gateway::new(&[ALL_CANARY]);
    let answer = gateway.classify("alice");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type").as_deref(), Some("application/json"));
    assert_eq!(answer.header("cache-control").as_deref(), Some("no-store"));
    assert_eq!(answer.json()["prediction"]["primary"], "anger");
    assert_eq!(answer.json()["prediction"]["confidence"], 0.813);
    assert_eq!(answer.json()["route"], "linear_head");
    assert_eq!(answer.json()["encoder"], "e1-small");
    assert!(gateway.platform.take_legacy_requests().is_empty());
    assert_eq!(gateway.model_texts(), ["The parcel is late again."]);
    let event = gateway.event();
    for (field, value) in [
        ("event", json!("classify")),
        ("cohort", json!("canary")),
        ("reason", json!("bucket")),
        ("is_evidence", json!(true)),
        ("destination", json!("canary")),
        ("fallback_reason", Value::Null),
        ("status", json!(200)),
        ("label", json!("anger")),
        ("confidence", json!(0.8125)),
        ("model", json!("e1-small")),
        ("model_sha256", json!(sha256())),
        ("preview", Value::Null),
        ("shadow", Value::Null),
    ] {
        assert_eq!(event[field], value, "{field}");
    }
    let key = SigningKey::parse(KEY).unwrap();
    let id = signed_id::verify(&answer.header("x-jeffrey-id").unwrap(), &[key], START).unwrap();
    assert_eq!(event["id"], id.to_string());
}

#[test]
fn the_models_answer_has_the_format_that_is_set() {
    for (format, pointer) in
        [("v2.4.2", "/prediction/primary"), ("native", "/primary"), ("huggingface", "/0/0/label")]
    {
        let gateway = Gateway::new(&[ALL_CANARY, ("RESPONSE_FORMAT", format)]);
        let answer = gateway.classify("alice");
        assert_eq!(answer.json().pointer(pointer), Some(&json!("anger")), "{format}");
        assert_eq!(answer.body == MODEL_BODY.as_bytes(), format == "native", "{format}");
        assert_eq!(gateway.event()["label"], "anger", "{format}");
    }
}

#[test]
fn a_stable_subject_gets_the_legacy_systems_bytes() {
    let gateway = Gateway::new(&[]);
    let answer = gateway.classify("alice");
    assert!(answer.is_by_legacy(), "{}", answer.text());
    let requests = gateway.platform.take_legacy_requests();
    assert_eq!((requests.len(), requests[0].body.as_slice()), (1, BODY.as_bytes()));
    assert_eq!(requests[0].url, format!("{LEGACY}/predict"));
    assert!(gateway.model_texts().is_empty());
    let event = gateway.event();
    for (field, value) in [
        ("cohort", json!("stable")),
        ("destination", json!("stable")),
        ("fallback_reason", Value::Null),
        ("status", json!(200)),
        ("label", json!("sadness")),
        ("confidence", json!(0.61)),
        ("low_confidence", json!(true)),
        ("route", json!("prototypes")),
        ("rule_applied", json!(false)),
        ("unreadable_response_reason", Value::Null),
        ("model", Value::Null),
    ] {
        assert_eq!(event[field], value, "{field}");
    }
}

#[test]
fn half_of_the_subjects_are_canary_and_each_keeps_its_side_in_every_isolate() {
    let gateway = Gateway::new(&[HALF_CANARY]);
    let other = gateway.other_isolate();
    let mut canary = 0;
    for number in 0..200 {
        let user = user(number);
        let is_canary = gateway.classify(&user).is_by_model();
        canary += u32::from(is_canary);
        for answer in [gateway.classify(&user), other.classify(&user)] {
            assert_eq!(answer.is_by_model(), is_canary, "{user}");
            assert_eq!(answer.is_by_legacy(), !is_canary, "{user}");
        }
    }
    assert!((70..=130).contains(&canary), "{canary} of 200");
    let subjects: std::collections::BTreeSet<String> =
        gateway.events().iter().map(|event| event["subject"].to_string()).collect();
    assert_eq!(subjects.len(), 200);
}

#[test]
fn a_growing_share_moves_no_subject_back_and_the_holdout_stays_stable() {
    let shares = ["0%", "10%", "50%", "90%", "100%"];
    let gateways: Vec<Gateway> = shares
        .into_iter()
        .map(|share| Gateway::new(&[("INITIAL_SHARE", share), ("HOLDOUT", "20%")]))
        .collect();
    let mut held_out = 0;
    for number in 0..200 {
        let user = user(number);
        let is_canary = |gateway: &Gateway| gateway.classify(&user).is_by_model();
        let sides: Vec<bool> = gateways.iter().map(is_canary).collect();
        assert!(sides.is_sorted(), "{user}: {sides:?}");
        assert!(!sides[0], "{user} at 0 %");
        let events: Vec<Value> = gateways.iter().map(Gateway::event).collect();
        let is_held_out = events[4]["reason"] == "holdout";
        assert_eq!(sides[4], !is_held_out, "{user} at 100 %");
        held_out += u32::from(is_held_out);
    }
    assert!((20..=60).contains(&held_out), "{held_out} of 200");
}

#[test]
fn the_latency_is_the_same_in_body_event_and_debug_headers() {
    let gateway = Gateway::new(&[HALF_CANARY, ("DEBUG_HEADERS", "on")]);
    let platform = Rc::downgrade(&gateway.platform);
    let wait = move |ms| platform.upgrade().unwrap().advance(ms).unwrap();
    let legacy_wait = wait.clone();
    gateway.platform.answer_http(move |_| {
        wait(41);
        model_answer(200, MODEL_BODY)
    });
    gateway.platform.answer_legacy(move |_| {
        legacy_wait(73);
        let headers = [("server-timing", "db;dur=3")];
        Ok(StoredResponse::new(200, &headers, LEGACY_BODY.as_bytes()))
    });
    for number in 0..10 {
        let answer = gateway.classify(&user(number));
        let event = gateway.event();
        let (ms, timing) = if answer.is_by_model() {
            assert_eq!(answer.json()["latency_ms"], 41);
            (41, "model;dur=41")
        } else {
            (73, "db;dur=3, legacy;dur=73")
        };
        assert_eq!(event["latency_ms"], ms);
        assert_eq!(answer.header("server-timing").as_deref(), Some(timing));
        let cohort = answer.header("x-jeffrey-cohort");
        assert_eq!(cohort.as_deref(), event["cohort"].as_str());
        assert_eq!(answer.header("x-jeffrey-release").as_deref(), Some(RELEASE));
    }
}

#[test]
fn without_a_key_and_debug_headers_no_header_is_added() {
    for share in ["0%", "100%"] {
        let gateway = Gateway::new(&[("JEFFREY_SIGNING_KEY", ""), ("INITIAL_SHARE", share)]);
        let answer = gateway.classify("alice");
        for name in [
            "x-jeffrey-id",
            "x-jeffrey-cohort",
            "x-jeffrey-release",
            "x-jeffrey-override",
            "server-timing",
            "set-cookie",
            "vary",
            "access-control-allow-origin",
        ] {
            assert_eq!(answer.header(name), None, "{share}: {name}");
        }
        assert_eq!(gateway.event()["subject"], Value::Null, "{share}");
    }
}

// The shadow.

#[test]
fn the_shadow_asks_the_model_after_a_stable_answer_and_changes_only_the_event() {
    let gateway = Gateway::new(&[ALL_SHADOW]);
    let response = block_on(gateway.classify_request(&[("x-user-id", "alice")], BODY).respond());
    assert!(gateway.model_texts().is_empty(), "the response does not wait for the shadow");
    let response = response.unwrap();
    assert_eq!(block_on(response.read(usize::MAX)), BodyRead::Complete(LEGACY_BODY.into()));
    gateway.platform.run_tasks();
    assert_eq!(gateway.model_texts(), ["The parcel is late again."]);
    let event = gateway.event();
    assert_eq!((&event["destination"], &event["label"]), (&json!("stable"), &json!("sadness")));
    assert_eq!(event["shadow"]["label"], "anger");
    assert_eq!(event["shadow"]["agrees"], false);
    assert_eq!(event["shadow"]["fallback_reason"], Value::Null);

    for (model, reason) in
        [(model_answer(500, ""), "unavailable"), (Err(FetchError::TimedOut), "timeout")]
    {
        gateway.answer_model(model);
        assert!(gateway.classify("alice").is_by_legacy(), "{reason}");
        let event = gateway.event();
        assert_eq!(event["shadow"]["fallback_reason"], reason);
        assert_eq!(event["fallback_reason"], Value::Null, "{reason}");
    }
}

#[test]
fn what_the_legacy_system_refused_has_no_shadow_and_no_preview() {
    let gateway = Gateway::new(&[ALL_SHADOW, ("LOG_TEXT_PREVIEW", "on")]);
    for (status, is_shown) in [(200, true), (201, true), (302, false), (401, false), (500, false)] {
        gateway.platform.answer_legacy(move |_| Ok(StoredResponse::new(status, &[], b"{}")));
        assert_eq!(gateway.classify("alice").status, status);
        let event = gateway.event();
        assert_eq!(event["status"], status);
        assert_eq!(event["shadow"].is_object(), is_shown, "{status}: {event}");
        assert_eq!(event["preview"].is_string(), is_shown, "{status}: {event}");
        assert_eq!(gateway.model_texts().len(), usize::from(is_shown), "{status}");
    }
}

#[test]
fn there_is_no_shadow_for_a_canary_call_or_while_the_breaker_is_open() {
    let variables = [ALL_CANARY, ALL_SHADOW, ("COHORT_OVERRIDES", "stays=stable")];
    let gateway = Gateway::new(&variables);
    assert!(gateway.classify("alice").is_by_model());
    assert_eq!(gateway.event()["shadow"], Value::Null);
    assert!(gateway.classify("stays").is_by_legacy());
    assert_eq!(gateway.event()["shadow"]["label"], "anger");
    gateway.model_texts();

    gateway.answer_model(non_finite_answer());
    assert!(gateway.classify("alice").is_by_legacy());
    let event = gateway.event();
    let (reason, shadow) = (&event["fallback_reason"], &event["shadow"]);
    assert_eq!((reason, shadow), (&json!("non_finite"), &Value::Null));
    assert_eq!(gateway.model_texts().len(), 1);
    assert!(gateway.classify("stays").is_by_legacy());
    assert_eq!(gateway.event()["shadow"], Value::Null);
    assert!(gateway.model_texts().is_empty());

    let stable = Gateway::new(&[]);
    stable.classify("alice");
    assert!(stable.model_texts().is_empty(), "no share, no shadow");
}

// Reading of the legacy system's response.

#[test]
fn a_legacy_response_that_cannot_be_read_passes_unchanged_and_the_event_says_why() {
    let large = format!("\"{}\"", "a".repeat(256 * 1024));
    let json = ("content-type", "application/json");
    let rows: [(&str, u16, Headers<'_>, &str, &str); 7] = [
        ("long", 200, &[json], &large, "too_large"),
        ("declared long", 200, &[json, ("content-length", "262147")], &large, "too_large"),
        ("gzip", 200, &[json, ("content-encoding", "gzip")], "\u{1f}\u{8b}", "compressed"),
        ("a page", 200, &[("content-type", "text/html")], "<html>", "not_json"),
        ("empty", 204, &[], "", "not_json"),
        ("an error", 500, &[json], r#"{"prediction":{"primary":"joy"}}"#, "error_status"),
        ("a redirect", 302, &[("location", "/login")], "", "error_status"),
    ];
    for (name, status, headers, body, reason) in rows {
        let gateway = Gateway::new(&[]);
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let legacy_headers: Vec<(String, String)> = headers.iter().map(owned).collect();
        let legacy_body = body.to_owned();
        gateway.platform.answer_legacy(move |_| {
            let headers: Vec<(&str, &str)> =
                legacy_headers.iter().map(|(name, value)| (&**name, &**value)).collect();
            Ok(StoredResponse::new(status, &headers, legacy_body.as_bytes()))
        });
        let answer = gateway.classify("alice");
        assert_eq!(answer.status, status, "{name}");
        assert!(answer.body == body.as_bytes(), "{name}");
        for (header, value) in headers {
            assert_eq!(answer.header(header).as_deref(), Some(*value), "{name}: {header}");
        }
        let event = gateway.event();
        assert_eq!(event["unreadable_response_reason"], reason, "{name}");
        assert_eq!((&event["status"], &event["label"]), (&json!(status), &Value::Null), "{name}");
    }

    let gateway = Gateway::new(&[]);
    gateway.platform.answer_legacy(|_| Ok(legacy_response().with_broken_body()));
    let answer = gateway.classify("alice");
    assert_eq!(answer.status, 200);
    assert_eq!(block_on(answer.head.read(usize::MAX)), BodyRead::Broken);
    assert_eq!(gateway.event()["unreadable_response_reason"], "connection_lost");
}

// Subjects and cookies.

#[test]
fn the_subject_is_that_of_the_header_then_of_the_user_field_then_of_the_cookie() {
    let gateway = Gateway::new(&[]);
    let hash = |headers: Headers<'_>, user: Value| {
        let mut body = json!({"text": "hello"});
        if !user.is_null() {
            body["user_id"] = user;
        }
        let answer = gateway.call(headers, &body.to_string());
        assert_eq!(answer.cookies(), Vec::<String>::new(), "{headers:?} {body}");
        let event = gateway.event();
        assert_eq!(event["is_evidence"], true, "{headers:?} {body}");
        event["subject"].as_str().unwrap().to_owned()
    };
    let cookie = ("cookie", "a=1; jeffrey_subject=AAAAAAAAAAAAAAAAAAAAAA.490896");
    let (alice, bob) = (hash(&[("x-user-id", "alice")], Value::Null), hash(&[], json!("bob")));
    let carol = hash(&[cookie], Value::Null);
    assert!(alice != bob && bob != carol && carol != alice);
    let rows: [(Headers<'_>, Value, &str); 6] = [
        (&[("x-user-id", "alice"), cookie], json!("bob"), &alice),
        (&[("x-user-id", "  alice ")], Value::Null, &alice),
        (&[], json!("alice"), &alice),
        (&[cookie], json!("bob"), &bob),
        (&[("x-user-id", ""), cookie], json!("bob"), &bob),
        (&[cookie], json!(""), &carol),
    ];
    for (headers, user, expected) in rows {
        assert_eq!(hash(headers, user.clone()), expected, "{headers:?} {user}");
    }
    let digits = hash(&[("x-user-id", "7")], Value::Null);
    assert_eq!(hash(&[], json!(7)), digits, "a number is the subject of its digits");
    // SUBJECT_HEADER names another header.
    let renamed = Gateway::new(&[("SUBJECT_HEADER", "X-Account")]);
    renamed.call(&[("x-user-id", "carl"), ("x-account", "alice")], BODY);
    assert_eq!(renamed.event()["subject"], alice.as_str());
}

#[test]
fn an_unknown_caller_gets_a_cookie_once_and_keeps_its_cohort_with_it() {
    let gateway = Gateway::new(&[HALF_CANARY]);
    let mut cookies = Vec::new();
    for _ in 0..20 {
        let first = gateway.call(&[], BODY);
        let line = first.cookies().remove(0);
        let attributes = "; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure";
        assert!(line.ends_with(attributes), "{line}");
        let event = gateway.event();
        let facts = (&event["is_evidence"], &event["new_cookie"]);
        assert_eq!(facts, (&json!(false), &json!(true)), "a new subject may never come back");
        let cookie = first.subject_cookie().unwrap();
        let second = gateway.call(&[("cookie", &cookie)], BODY);
        assert_eq!(second.cookies(), Vec::<String>::new());
        assert_eq!(second.is_by_model(), first.is_by_model());
        let later = gateway.event();
        assert_eq!(later["subject"], event["subject"]);
        assert_eq!((&later["is_evidence"], &later["new_cookie"]), (&json!(true), &json!(false)));
        cookies.push(cookie);
    }
    cookies.sort();
    cookies.dedup();
    assert_eq!(cookies.len(), 20);
    // A cookie that is hours old is given anew, for the same subject, and its call is evidence.
    gateway.platform.advance(2 * 60 * MINUTE_MS).unwrap();
    let renewed = gateway.call(&[("cookie", &cookies[0])], BODY).subject_cookie().unwrap();
    let subject = |cookie: &str| cookie.split('.').next().map(str::to_owned);
    assert_eq!(subject(&renewed), subject(&cookies[0]));
    assert_ne!(renewed, cookies[0]);
    assert_eq!(gateway.event()["is_evidence"], true);
    // Only a value that the gateway could have made is a subject.
    let chosen = gateway.call(&[("cookie", "jeffrey_subject=chosen-by-hand")], BODY);
    assert!(chosen.subject_cookie().is_some());
}

#[test]
fn the_subject_cookie_is_given_to_whom_the_setting_says() {
    let page = |setting: &str, headers: &'static [(&'static str, &'static str)]| {
        let gateway = Gateway::new(&[("SUBJECT_COOKIE", setting), ALL_CANARY]);
        gateway.platform.answer_legacy(move |_| Ok(StoredResponse::new(200, headers, b"page")));
        gateway.send("GET", "/page", &[], b"").cookies().len()
    };
    let private: &[(&str, &str)] = &[("cache-control", "private")];
    let public: &[(&str, &str)] = &[("cache-control", "public, max-age=60")];
    for (setting, headers, expected) in [
        ("off", private, 0),
        ("classify", private, 0),
        ("all", private, 1),
        ("all", public, 0),
        ("all", &[], 0),
    ] {
        assert_eq!(page(setting, headers), expected, "{setting} {headers:?}");
    }
    let gateway = Gateway::new(&[("SUBJECT_COOKIE", "off"), ALL_CANARY]);
    let answer = gateway.call(&[], BODY);
    assert!(answer.is_by_legacy() && answer.cookies().is_empty());
    let event = gateway.event();
    assert_eq!((&event["reason"], &event["subject"]), (&json!("no_subject"), &Value::Null));
    // A classify response that a shared cache may store gets none either.
    let gateway = Gateway::new(&[]);
    gateway.platform.answer_legacy(move |_| {
        Ok(StoredResponse::new(200, &[("cache-control", "public")], LEGACY_BODY.as_bytes()))
    });
    assert_eq!(gateway.call(&[], BODY).cookies(), Vec::<String>::new());
}

#[test]
fn a_subject_cookie_of_the_legacy_system_is_taken_out_and_its_others_stay_in_order() {
    let gateway = Gateway::new(&[]);
    gateway.platform.answer_legacy(|_| {
        let headers = [
            ("set-cookie", "z=1; Path=/"),
            ("set-cookie", "jeffrey_subject=BBBBBBBBBBBBBBBBBBBBBB; Path=/"),
            ("set-cookie", "a=2, b"),
            ("set-cookie", "jeffrey_subjects=3"),
        ];
        Ok(StoredResponse::new(200, &headers, LEGACY_BODY.as_bytes()))
    });
    let others = ["z=1; Path=/", "a=2, b", "jeffrey_subjects=3"];
    assert_eq!(gateway.send("GET", "/page", &[], b"").cookies(), others);
    assert_eq!(gateway.classify("alice").cookies(), others);
    let unknown = gateway.call(&[], BODY);
    assert_eq!(unknown.cookies()[..3], others);
    assert_eq!(unknown.cookies().len(), 4);
    assert!(!unknown.subject_cookie().unwrap().contains("BBBB"), "ours, not theirs");
}

// Overrides, and what closes a release.

#[test]
fn an_override_token_chooses_the_cohort_and_is_no_evidence() {
    let token = token(OVERRIDE_KEY, RELEASE, MINUTE_MS, false);
    for (share, cohort) in [("0%", "canary"), ("100%", "stable"), ("100%", " canary ")] {
        let gateway = Gateway::new(&[("INITIAL_SHARE", share)]);
        let headers =
            [("x-user-id", "alice"), ("x-jeffrey-cohort", cohort), ("x-jeffrey-token", &token)];
        let answer = gateway.call(&headers, BODY);
        let is_canary = cohort.trim() == "canary";
        assert_eq!(answer.is_by_model(), is_canary, "{share} {cohort}");
        assert_eq!(answer.header("x-jeffrey-override"), None, "{share} {cohort}");
        let event = gateway.event();
        assert_eq!(event["cohort"], cohort.trim(), "{share} {cohort}");
        assert_eq!(event["reason"], "override_token", "{share} {cohort}");
        assert_eq!(event["is_evidence"], false, "{share} {cohort}");
    }
}

#[test]
fn a_refused_token_changes_nothing_and_the_response_says_why() {
    let long = token(OVERRIDE_KEY, RELEASE, VALID_MS_MAX + 1, false);
    let rows = [
        ("beta", Some("x".to_owned()), "x-jeffrey-cohort is neither `canary` nor `stable`"),
        ("canary", None, "x-jeffrey-cohort needs a token in x-jeffrey-token"),
        ("canary", Some("x".to_owned()), "token is not a JSON Web Token with `aud` and `exp`"),
        (
            "canary",
            Some(token("another key of the tests", RELEASE, MINUTE_MS, false)),
            "token is not signed by HS256 with a key in use",
        ),
        (
            "canary",
            Some(token(OVERRIDE_KEY, "e2", MINUTE_MS, false)),
            "token is for another release",
        ),
        ("canary", Some(token(OVERRIDE_KEY, RELEASE, 0, false)), "token expired at"),
        ("canary", Some(long), "token is valid for 86400001 ms"),
    ];
    for (cohort, token, reason) in rows {
        let gateway = Gateway::new(&[]);
        let mut headers = vec![("x-user-id", "alice"), ("x-jeffrey-cohort", cohort)];
        headers.extend(token.as_deref().map(|token| ("x-jeffrey-token", token)));
        let answer = gateway.call(&headers, BODY);
        assert!(answer.is_by_legacy(), "{reason}");
        let told = answer.header("x-jeffrey-override").unwrap_or_default();
        assert!(told.starts_with(reason), "{told} is not {reason}");
        let event = gateway.event();
        assert_eq!((&event["reason"], &event["is_evidence"]), (&json!("bucket"), &json!(true)));
    }
}

#[test]
fn a_cohort_override_holds_at_every_share_and_is_no_evidence() {
    for share in ["0%", "100%"] {
        let overrides = ("COHORT_OVERRIDES", "goes=canary, stays=stable");
        let gateway = Gateway::new(&[("INITIAL_SHARE", share), ("HOLDOUT", "50%"), overrides]);
        for (user, cohort) in [("goes", "canary"), ("stays", "stable")] {
            assert_eq!(gateway.classify(user).is_by_model(), cohort == "canary", "{share} {user}");
            let event = gateway.event();
            assert_eq!(event["cohort"], cohort, "{share} {user}");
            assert_eq!(event["reason"], "cohort_override", "{share} {user}");
            assert_eq!(event["is_evidence"], false, "{share} {user}");
        }
    }
}

#[test]
fn a_closed_release_is_stable_for_all_but_a_token_that_opens_it() {
    type Close = fn(&Gateway);
    type Row<'a> = (&'a str, &'a [(&'static str, &'a str)], Close);
    let nothing: Close = |_| {};
    let rows: [Row<'_>; 5] = [
        ("KILL_SWITCH", &[("KILL_SWITCH", "on")], nothing),
        ("a rejected variable", &[("HOLDOUT", "lots")], nothing),
        ("a renamed variable", &[("RATE_LIMITS", "on")], nothing),
        ("the kill flag", &[], |gateway| {
            let change = r#"{"version":0,"killed":true}"#;
            let answer = gateway.admin("PUT", "/v1/admin/share", ADMIN, change);
            assert_eq!((answer.status, &answer.json()["killed"]), (200, &json!(true)));
        }),
        ("a rollback", &[], |gateway| {
            gateway.start_rollout();
            gateway.command("rollback");
        }),
    ];
    for (name, variables, close) in rows {
        let overrides = ("COHORT_OVERRIDES", "goes=canary");
        let gateway = Gateway::new(&[&[ALL_CANARY, overrides][..], variables].concat());
        close(&gateway);
        for user in ["alice", "goes"] {
            assert!(gateway.classify(user).is_by_legacy(), "{name}: {user}");
            assert_eq!(gateway.event()["reason"], "disabled", "{name}: {user}");
        }
        for opens in [false, true] {
            let token = token(OVERRIDE_KEY, RELEASE, MINUTE_MS, opens);
            let headers = [("x-jeffrey-cohort", "canary"), ("x-jeffrey-token", token.as_str())];
            let answer = gateway.call(&headers, BODY);
            assert_eq!(answer.is_by_model(), opens, "{name}: {opens}");
            let refusal = "release is closed, and the token does not open it";
            let expected = (!opens).then(|| refusal.to_owned());
            assert_eq!(answer.header("x-jeffrey-override"), expected, "{name}: {opens}");
        }
        assert_eq!(gateway.send("GET", "/page", &[], b"").status, 200, "{name}");
        assert_eq!(gateway.admin("GET", "/health", "", "").json()["disabled"], true, "{name}");
    }
}

#[test]
fn a_changed_share_is_in_force_at_once_here_and_after_five_seconds_everywhere() {
    let gateway = Gateway::new(&[]);
    let other = gateway.other_isolate();
    assert!(gateway.classify("alice").is_by_legacy() && other.classify("alice").is_by_legacy());
    let change = r#"{"version":0,"share":"100%"}"#;
    assert_eq!(gateway.admin("PUT", "/v1/admin/share", ADMIN, change).status, 200);
    assert!(gateway.classify("alice").is_by_model());
    assert!(other.classify("alice").is_by_legacy(), "its share is still fresh");
    gateway.platform.advance(5 * SECOND_MS).unwrap();
    assert!(other.classify("alice").is_by_model());
    let conflict = gateway.admin("PUT", "/v1/admin/share", ADMIN, change);
    assert_eq!(conflict.error(), (409, "version_conflict".to_owned()));
}

// Rate limits, origins, bodies.

#[test]
fn the_legacy_system_answers_a_subject_above_its_limit_and_the_call_is_no_evidence() {
    let gateway = Gateway::new(&[ALL_CANARY, ("COHORT_OVERRIDES", "stays=stable")]);
    gateway.platform.set_limit(RateLimiter::Subject, 2);
    for call in 0..2 {
        assert!(gateway.classify("alice").is_by_model(), "{call}");
        assert!(gateway.classify("stays").is_by_legacy(), "{call}");
    }
    gateway.events();
    gateway.model_texts();
    for user in ["alice", "stays"] {
        assert!(gateway.classify(user).is_by_legacy(), "{user}");
        let event = gateway.event();
        assert_eq!(
            (&event["cohort"], &event["reason"]),
            (&json!("stable"), &json!("rate_limited"))
        );
        assert_eq!((&event["is_evidence"], &event["status"]), (&json!(false), &json!(200)));
    }
    assert!(gateway.model_texts().is_empty());
    let feedback = gateway.send("POST", "/_jeffrey/v1/feedback", &[("x-user-id", "alice")], b"{}");
    assert_eq!(feedback.error(), (429, "too_many_requests".to_owned()));
    assert_eq!(feedback.header("retry-after").as_deref(), Some("10"));
    assert!(gateway.classify("bob").is_by_model());
    for call in 0..5 {
        assert!(gateway.call(&[], BODY).is_by_model(), "{call}: a new subject has made no call");
    }
}

#[test]
fn nobody_uses_up_the_limit_of_a_name_at_another_address() {
    let gateway = Gateway::new(&[ALL_CANARY]);
    gateway.platform.set_limit(RateLimiter::Subject, 2);
    let call = |address: &str| {
        gateway.call(&[("x-user-id", "victim"), ("cf-connecting-ip", address)], BODY)
    };
    (0..5).for_each(|_| drop(call("192.0.2.66")));
    assert!(call("192.0.2.66").is_by_legacy());
    assert!(call("192.0.2.1").is_by_model());
}

#[test]
fn an_address_is_limited_across_its_users_and_another_address_is_not() {
    let gateway = Gateway::new(&[ALL_CANARY]);
    gateway.platform.set_limit(RateLimiter::Address, 2);
    let rows = [
        ("alice", "192.0.2.1", true),
        ("bob", "192.0.2.1", true),
        ("carol", "192.0.2.1", false),
        ("carol", "192.0.2.2", true),
        ("alice", "2001:db8:1:2::1", true),
        ("alice", "2001:db8:1:2::2", true),
        ("alice", "2001:db8:1:2:ffff::3", false),
        ("alice", "2001:db8:1:3::1", true),
    ];
    for (user, address, is_canary) in rows {
        let answer = gateway.call(&[("x-user-id", user), ("cf-connecting-ip", address)], BODY);
        assert_eq!((answer.status, answer.is_by_model()), (200, is_canary), "{user} {address}");
    }
    for _ in 0..5 {
        assert!(gateway.classify("alice").is_by_model(), "an unknown address is not limited");
    }
}

#[test]
fn without_rate_limiting_or_a_key_there_is_no_limit() {
    for variable in [("RATE_LIMITING", "off"), ("JEFFREY_SIGNING_KEY", "")] {
        let gateway = Gateway::new(&[variable]);
        gateway.platform.set_limit(RateLimiter::Subject, 0);
        gateway.platform.set_limit(RateLimiter::Address, 0);
        let answer =
            gateway.call(&[("x-user-id", "alice"), ("cf-connecting-ip", "192.0.2.1")], BODY);
        assert_eq!(answer.status, 200, "{variable:?}");
    }
}

#[test]
fn a_foreign_origin_is_canary_only_if_cors_origins_has_it() {
    let app = "https://app.example";
    for (allowed, origin, is_canary, header) in [
        ("", app, false, None),
        ("https://other.example", app, false, None),
        ("https://other.example, https://app.example", app, true, Some(app)),
        ("", GATEWAY, true, None),
        (app, "null", false, None),
    ] {
        let gateway = Gateway::new(&[ALL_CANARY, ("CORS_ORIGINS", allowed)]);
        let answer = gateway.call(&[("x-user-id", "alice"), ("origin", origin)], BODY);
        let row = format!("{allowed} {origin}");
        assert_eq!(answer.is_by_model(), is_canary, "{row}");
        let told = answer.header("access-control-allow-origin");
        assert_eq!(told.as_deref(), header, "{row}");
        assert_eq!(answer.header("vary").as_deref(), header.map(|_| "origin"), "{row}");
        let reason = if is_canary { "bucket" } else { "foreign_origin" };
        assert_eq!(gateway.event()["reason"], reason, "{row}");
    }
}

#[test]
fn a_body_that_cannot_be_held_is_streamed_and_never_canary() {
    let gateway = Gateway::new(&[ALL_CANARY]);
    let long = json!({"text": "a".repeat(64 * 1024)}).to_string();
    let long_length = long.len().to_string();
    let length = BODY.len().to_string();
    let json = ("content-type", "application/json");
    let rows: [(&str, Headers<'_>, &str); 5] = [
        ("above 64 KiB", &[json, ("content-length", &long_length)], &long),
        ("no length", &[json], BODY),
        ("chunked", &[json, ("transfer-encoding", "chunked")], BODY),
        ("gzip", &[json, ("content-length", &length), ("content-encoding", "gzip")], BODY),
        ("plain text", &[("content-type", "text/plain"), ("content-length", &length)], BODY),
    ];
    for (name, headers, body) in rows {
        let headers = [headers, &[("x-user-id", "alice")]].concat();
        let answer = gateway.send("POST", "/predict", &headers, body.as_bytes());
        assert!(answer.is_by_legacy(), "{name}");
        let requests = gateway.platform.take_legacy_requests();
        assert!(requests.len() == 1 && requests[0].body == body.as_bytes(), "{name}");
        let event = gateway.event();
        assert_eq!((&event["cohort"], &event["reason"]), (&json!("stable"), &json!("streamed")));
        assert_eq!(event["is_evidence"], false, "{name}");
        assert_eq!(event["label"], "sadness", "{name}");
    }
    // An override token does not change that.
    let token = token(OVERRIDE_KEY, RELEASE, MINUTE_MS, true);
    let headers = [json, ("x-jeffrey-cohort", "canary"), ("x-jeffrey-token", &token)];
    assert!(gateway.send("POST", "/predict", &headers, BODY.as_bytes()).is_by_legacy());
    assert!(gateway.model_texts().is_empty());
}

#[test]
fn a_broken_body_is_400_and_one_that_is_longer_than_it_said_is_413() {
    let gateway = Gateway::new(&[ALL_CANARY]);
    let broken = gateway.classify_request(&[("x-user-id", "alice")], BODY).with_broken_body();
    assert_eq!(gateway.respond(broken).error(), (400, "body_invalid".to_owned()));
    let headers = [("content-type", "application/json"), ("content-length", "9")];
    let answer = gateway.send("POST", "/predict", &headers, &[b'a'; 64 * 1024 + 1]);
    assert_eq!(answer.error(), (413, "body_too_large".to_owned()));
    assert!(gateway.platform.take_legacy_requests().is_empty() && gateway.events().is_empty());
}

#[test]
fn a_call_without_a_text_is_the_legacy_systems_to_refuse() {
    let gateway = Gateway::new(&[ALL_CANARY]);
    let refusal = br#"{"detail":"text is missing"}"#;
    gateway.platform.answer_legacy(move |_| Ok(StoredResponse::new(422, &[], refusal)));
    for body in ["{}", r#"{"text":7}"#, "not json", r#"{"text":null}"#] {
        let answer = gateway.call(&[("x-user-id", "alice")], body);
        assert_eq!((answer.status, answer.body.as_slice()), (422, &refusal[..]), "{body}");
        let event = gateway.event();
        assert_eq!(
            (&event["reason"], &event["status"]),
            (&json!("no_text"), &json!(422)),
            "{body}"
        );
    }
    assert!(gateway.model_texts().is_empty());
}

// The gateway's own endpoints.

/// Every endpoint that needs a role, with a token of that role.
const ENDPOINTS: [(&str, &str, &str); 16] = [
    ("GET", "/metrics", VIEWER),
    ("GET", "/v1/minutes", VIEWER),
    ("GET", "/v1/rollout", VIEWER),
    ("GET", "/v1/rollout/decisions", VIEWER),
    ("GET", "/v1/rollout/history", VIEWER),
    ("GET", "/v1/series", VIEWER),
    ("GET", "/v1/sinks", VIEWER),
    ("GET", "/v1/totals", VIEWER),
    ("POST", "/ofrep/v1/evaluate/flags/e1-small", VIEWER),
    ("GET", LIVE, VIEWER),
    ("GET", "/v1/admin/events", ADMIN),
    ("PUT", "/v1/admin/share", ADMIN),
    ("DELETE", "/v1/admin/subjects", ADMIN),
    ("POST", "/v1/admin/alerts/test", ADMIN),
    ("POST", "/v1/admin/rollout", ADMIN),
    ("POST", "/v1/admin/validation", ADMIN),
];

#[test]
fn each_endpoint_needs_its_role_and_a_viewer_cannot_command() {
    let gateway = Gateway::new(&[]);
    for (method, path, role) in ENDPOINTS {
        let row = format!("{method} {path}");
        let missing = gateway.admin(method, path, "", "{}");
        assert_eq!(missing.error(), (401, "token_missing".to_owned()), "{row}");
        assert_eq!(missing.header("www-authenticate").as_deref(), Some("Bearer"), "{row}");
        let wrong = gateway.admin(method, path, "a token of nobody", "{}");
        assert_eq!(wrong.error(), (403, "token_invalid".to_owned()), "{row}");
        for (token, may) in [(VIEWER, role == VIEWER), (ADMIN, true)] {
            if path == LIVE {
                continue; // its stream is another test
            }
            let status = gateway.admin(method, path, token, "{}").status;
            assert_eq!(status != 403, may, "{row} {token}: {status}");
            assert!(!matches!(status, 401 | 404 | 405 | 500..), "{row} {token}: {status}");
        }
    }
    assert!(gateway.platform.take_legacy_requests().is_empty());
    let closed = Gateway::new(&[("JEFFREY_VIEWER_TOKEN", ""), ("JEFFREY_ADMIN_TOKEN", "")]);
    for (method, path, role) in ENDPOINTS {
        let off = closed.admin(method, path, role, "{}");
        assert_eq!(off.error(), (403, "switched_off".to_owned()), "{method} {path}");
    }
}

#[test]
fn an_unknown_path_is_404_a_wrong_method_405_and_head_has_no_body() {
    let gateway = Gateway::new(&[]);
    for path in ["", "/", "/v1", "/v1/v1/rollout", "/health/", "/v2/rollout"] {
        let answer = gateway.admin("GET", path, ADMIN, "");
        assert_eq!(answer.error(), (404, "not_found".to_owned()), "{path}");
    }
    for (method, path, allowed) in [
        ("POST", "/health", "GET"),
        ("GET", "/v1/admin/share", "PUT"),
        ("GET", "/v1/feedback", "POST"),
        ("POST", "/v1/admin/subjects", "DELETE"),
        ("PATCH", "/metrics", "GET"),
    ] {
        let answer = gateway.admin(method, path, ADMIN, "");
        assert_eq!(answer.error(), (405, "method_not_allowed".to_owned()), "{method} {path}");
        assert_eq!(answer.header("allow").as_deref(), Some(allowed), "{method} {path}");
    }
    for path in ["/health", "/metrics", "/v1/rollout", "/v1/totals", "/v1/admin/events"] {
        let get = gateway.admin("GET", path, ADMIN, "");
        let head = gateway.admin("HEAD", path, ADMIN, "");
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
    let moved = Gateway::new(&[("ADMIN_PREFIX", "/ops")]);
    assert_eq!(moved.send("GET", "/ops/health", &[], b"").status, 200);
    assert!(moved.admin("GET", "/health", "", "").is_by_legacy());
}

#[test]
fn health_needs_no_token_and_names_a_rejected_variable() {
    let gateway = Gateway::new(&[("INITIAL_SHARE", "25%")]);
    let health = gateway.admin("GET", "/health", "", "");
    assert_eq!(health.status, 200);
    assert_eq!(health.header("cache-control").as_deref(), Some("no-store"));
    let health = health.json();
    assert_eq!((&health["status"], &health["release"]), (&json!("ok"), &json!(RELEASE)));
    assert_eq!(
        (&health["share_basis_points"], &health["disabled"]),
        (&json!(2_500), &json!(false))
    );
    assert_eq!(health["classify"]["path"], "/predict");
    let failed = Gateway::new(&[("HOLDOUT", "lots")]).admin("GET", "/health", "", "");
    assert_eq!((failed.status, &failed.json()["status"]), (503, &json!("failed")));
    assert!(failed.json()["faults"][0].as_str().unwrap().starts_with("HOLDOUT: "));
    assert!(!failed.text().contains("lots"), "a stranger sees no part of a value");
    let failed = Gateway::new(&[("HOLDOUT", "lots")]).admin("GET", "/health", VIEWER, "");
    assert!(failed.text().contains("share `lots`"), "{}", failed.text());
}

#[test]
fn the_pages_of_dashboard_and_playground_need_no_token() {
    let gateway = Gateway::new(&[]);
    let app = gateway.admin("GET", "/dashboard/app.js", "", "");
    assert_eq!((app.status, app.text()), (200, "Assets /dashboard/app.js".to_owned()));
    let policy = app.header("content-security-policy").unwrap();
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    let folder = gateway.admin("GET", "/dashboard", "", "");
    assert_eq!((folder.status, folder.header("location").unwrap()), (308, "dashboard/".to_owned()));
    assert_eq!(gateway.admin("GET", "/playground/", "", "").status, 404);
    let playground = Gateway::new(&[("SERVE_PLAYGROUND", "on")]);
    assert_eq!(playground.admin("GET", "/playground/app.js", "", "").text(), "Model /app.js");
    assert_eq!(playground.admin("GET", "/playground/health", "", "").status, 404);
}

#[test]
fn the_metrics_are_text_and_count_the_calls() {
    let overrides = ("COHORT_OVERRIDES", "goes=canary");
    let gateway = Gateway::storing(&[overrides, ALL_SHADOW]);
    for user in ["goes", "goes", "alice", "bob", "carol"] {
        gateway.classify(user);
    }
    gateway.answer_model(Err(FetchError::TimedOut));
    gateway.classify("goes");
    let answer = gateway.admin("GET", "/metrics", VIEWER, "");
    let content_type = answer.header("content-type").unwrap();
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    let metrics = answer.text();
    let sum = |series: &str, part: &str| {
        let lines = metrics.lines().filter(|line| line.starts_with(series) && line.contains(part));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum::<u64>()
    };
    assert_eq!(sum("jeffrey_requests_total", ""), 6, "{metrics}");
    assert_eq!(sum("jeffrey_requests_total", r#"cohort="canary""#), 3, "{metrics}");
    assert_eq!(sum("jeffrey_fallbacks_total", r#"reason="timeout""#), 1, "{metrics}");
    assert_eq!(sum("jeffrey_shadow_total", ""), 3, "{metrics}");
    assert_eq!(metric(&metrics, "jeffrey_events_lost_total"), 0);
    for line in metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let value = line.rsplit(' ').next().unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn every_page_of_the_api_shows_the_traffic() {
    let gateway = Gateway::storing(&[("COHORT_OVERRIDES", "goes=canary")]);
    let change = r#"{"version":0,"share":"50%"}"#;
    assert_eq!(gateway.admin("PUT", "/v1/admin/share", ADMIN, change).status, 200);
    for number in 0..10 {
        gateway.classify(&user(number));
    }
    gateway.platform.advance(2 * MINUTE_MS).unwrap();
    let get = |path: &str| {
        let answer = gateway.admin("GET", path, ADMIN, "");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer
    };
    let events = get("/v1/admin/events");
    assert_eq!(events.header("content-type").as_deref(), Some("application/x-ndjson"));
    assert_eq!(events.header("x-jeffrey-shards").as_deref(), Some("1"));
    assert_eq!(events.text().lines().count(), 10);
    assert_eq!(get("/v1/admin/events?limit=3").text().lines().count(), 3);
    assert_eq!(get("/v1/admin/events?since=8").text().lines().count(), 2);
    let shard = gateway.admin("GET", "/v1/admin/events?shard=1", ADMIN, "");
    assert_eq!(shard.error(), (400, "shard_invalid".to_owned()));
    assert_eq!(get("/v1/minutes").json().as_array().unwrap().len(), 1);
    assert_eq!(get("/v1/series").json().as_array().unwrap().len(), 1);
    assert_eq!(get("/v1/sinks").json()["events"], 10);
    let requests = |answer: &Answer| {
        let totals = answer.json();
        ["canary", "stable"]
            .map(|cohort| totals[cohort]["stats"]["counts"]["requests"].as_u64().unwrap())
    };
    let [canary, stable] = requests(&get("/v1/totals"));
    assert!(canary > 0 && stable > 0 && canary + stable == 10, "{canary} {stable}");
    let later = format!("/v1/totals?since={}", START.0 / MINUTE_MS);
    assert_eq!(requests(&get(&later)), [0, 0]);
    assert_eq!(get("/v1/rollout").json()["share_basis_points"], 5_000);
    let decisions = || get("/v1/rollout/decisions").json()["decisions"].as_array().unwrap().clone();
    assert!(decisions().is_empty(), "no plan, no decision");
    gateway.start_rollout();
    let history = get("/v1/rollout/history");
    assert_eq!(history.header("content-type").as_deref(), Some("application/x-ndjson"));
    let entries = history.text();
    let entries: Vec<Value> =
        entries.lines().map(|entry| serde_json::from_str(entry).unwrap()).collect();
    assert_eq!(entries.len(), 2, "the plan and the command");
    let after_first = format!("/v1/rollout/history?since={}", entries[0]["seq"]);
    assert_eq!(get(&after_first).text().lines().count(), 1);
    assert!(!decisions().is_empty());
    let is_message = |message: &Value| message["code"].is_string() && message["text"].is_string();
    assert!(decisions().iter().all(|decision| is_message(&decision["trigger"])));
    assert!(decisions().iter().all(|decision| is_message(&decision["outcome"])));
}

#[test]
fn a_body_that_an_endpoint_does_not_take_is_refused() {
    let gateway = Gateway::new(&[]);
    let long = format!("\"{}\"", "a".repeat(128 * 1024));
    for (method, path) in [
        ("PUT", "/v1/admin/share"),
        ("POST", "/v1/admin/rollout"),
        ("POST", "/v1/admin/validation"),
        ("DELETE", "/v1/admin/subjects"),
        ("POST", "/v1/feedback"),
    ] {
        let row = format!("{method} {path}");
        for body in ["", "{", "[]", r#"{"unknown":1}"#] {
            let answer = gateway.admin(method, path, ADMIN, body);
            assert_eq!(answer.error(), (400, "body_invalid".to_owned()), "{row} {body}");
        }
        let answer = gateway.admin(method, path, ADMIN, &long);
        assert_eq!(answer.error(), (413, "body_too_large".to_owned()), "{row}");
    }
    assert_eq!(gateway.status()["version"], 0);
}

#[test]
fn feedback_is_stored_once_for_an_id_that_the_gateway_gave() {
    let gateway = Gateway::storing(&[ALL_CANARY]);
    let id = gateway.classify("alice").header("x-jeffrey-id").unwrap();
    let feedback = |id: &str| {
        let body = json!({"id": id, "ok": true}).to_string();
        gateway.admin("POST", "/v1/feedback", "", &body)
    };
    assert_eq!(feedback(&id).status, 200);
    assert_eq!(feedback(&id).error(), (409, "feedback_exists".to_owned()));
    let other_id = ResponseId::new(START, [9; 10]);
    let signed = |key: &str| signed_id::sign(other_id, &SigningKey::parse(key).unwrap());
    let forged = feedback(&signed("another key of the tests"));
    assert_eq!(forged.error(), (403, "id_forged".to_owned()));
    assert_eq!(feedback(&signed(KEY)).error(), (404, "id_unknown".to_owned()));
    assert_eq!(feedback("AAAA").error(), (400, "id_invalid".to_owned()));
    let metrics = gateway.metrics();
    let lines: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with("jeffrey_feedback_total")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].ends_with(" 1") && lines[0].contains("canary"), "{lines:?}");
    gateway.platform.advance(7 * 24 * 60 * MINUTE_MS + 1).unwrap();
    assert_eq!(feedback(&id).error(), (410, "id_expired".to_owned()));
    let without_key = Gateway::new(&[("JEFFREY_SIGNING_KEY", "")]);
    let body = json!({"id": id, "ok": true}).to_string();
    let off = without_key.admin("POST", "/v1/feedback", "", &body);
    assert_eq!(off.error(), (403, "switched_off".to_owned()));
}

#[test]
fn erasure_returns_the_number_of_events_and_leaves_those_of_others() {
    let gateway = Gateway::storing(&[]);
    for user in ["alice", "bob", "alice", "alice"] {
        gateway.classify(user);
    }
    let erase = |user: &str| {
        let body = json!({"subject": user}).to_string();
        let answer = gateway.admin("DELETE", "/v1/admin/subjects", ADMIN, &body);
        assert_eq!(answer.status, 200, "{user}");
        answer.json()
    };
    let erased = |erased: u64| json!({"erased": erased, "pending_events": 0});
    assert_eq!(erase("alice"), erased(3));
    assert_eq!(erase("alice"), erased(0), "they are gone");
    assert_eq!(erase("carol"), erased(0));
    assert_eq!(gateway.admin("GET", "/v1/sinks", VIEWER, "").json()["events"], 1);
    assert_eq!(erase("bob"), erased(1));
}

#[test]
fn a_flag_evaluation_is_the_cohort_of_the_same_subjects_call() {
    let gateway = Gateway::new(&[HALF_CANARY, ("HOLDOUT", "10%")]);
    let path = "/ofrep/v1/evaluate/flags/e1-small";
    for number in 0..200 {
        let user = user(number);
        let body = json!({"context": {"targetingKey": user}}).to_string();
        let evaluation = gateway.admin("POST", path, VIEWER, &body);
        assert_eq!(evaluation.status, 200, "{user}");
        let is_by_model = gateway.classify(&user).is_by_model();
        let event = gateway.event();
        assert_eq!(evaluation.json()["variant"], event["cohort"], "{user}");
        assert_eq!(evaluation.json()["value"], is_by_model, "{user}");
        assert_eq!(evaluation.json()["metadata"]["assignment_reason"], event["reason"], "{user}");
    }
    let kill = r#"{"version":0,"killed":true}"#;
    assert_eq!(gateway.admin("PUT", "/v1/admin/share", ADMIN, kill).status, 200);
    let body = json!({"context": {"targetingKey": "alice"}}).to_string();
    let closed = gateway.admin("POST", path, VIEWER, &body).json();
    assert_eq!((&closed["variant"], &closed["reason"]), (&json!("stable"), &json!("DISABLED")));
    let other = gateway.admin("POST", "/ofrep/v1/evaluate/flags/e2", VIEWER, &body);
    assert_eq!((other.status, &other.json()["errorCode"]), (404, &json!("FLAG_NOT_FOUND")));
}

#[test]
fn the_live_stream_sends_a_status_line_each_second_and_ends_after_450() {
    let gateway = Gateway::new(&[HALF_CANARY]);
    let authorization = format!("Bearer {VIEWER}");
    let headers = [("authorization", authorization.as_str())];
    let url = format!("{GATEWAY}/_jeffrey/v1/rollout/live");
    let mut response = block_on(gateway.request("GET", &url, &headers, b"").respond()).unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.header("content-type").as_deref(), Some("application/x-ndjson"));
    assert_eq!(response.header("cache-control").as_deref(), Some("no-store"));
    for second in 0..450 {
        gateway.platform.set_away(ObjectClass::Rollout, second == 300);
        let line = block_on(response.next_chunk()).unwrap();
        assert_eq!(gateway.platform.now().0, START.0 + second * SECOND_MS, "{second}");
        let line = line.strip_suffix(b"\n").unwrap();
        assert!(!line.contains(&b'\n'), "{second}: one line");
        let line: Value = serde_json::from_slice(line).unwrap();
        if second == 300 {
            assert_eq!(line["error"]["code"], "rollout_unavailable");
        } else {
            assert_eq!(line["share_basis_points"], 5_000, "{second}");
        }
    }
    assert_eq!(block_on(response.next_chunk()), None);
}

#[test]
fn a_live_stream_makes_fewer_than_1_000_calls_to_objects_with_any_number_of_shards() {
    for (shards, expected_lines, expected_calls) in
        [("1", 450, 900), ("2", 300, 900), ("7", 112, 896), ("31", 28, 896), ("32", 27, 891)]
    {
        let gateway = Gateway::new(&[HALF_CANARY, ("EVENT_STORE_SHARDS", shards)]);
        gateway.start_rollout();
        gateway.host.take_object_calls();
        let stream = gateway.admin("GET", LIVE, VIEWER, "");
        let lines = stream.text().lines().count();
        assert_eq!(lines, expected_lines, "{shards} shards");
        assert_eq!(gateway.host.take_object_calls(), expected_calls, "{shards} shards");
        // The client connects again: the next request has a limit of its own.
        assert_eq!(gateway.admin("GET", LIVE, VIEWER, "").text().lines().count(), lines);
    }
}

// Objects that do not answer.

#[test]
fn without_the_rollout_object_the_last_share_holds_for_30_seconds() {
    let gateway = Gateway::new(&[ALL_CANARY]);
    assert!(gateway.classify("alice").is_by_model());
    gateway.platform.set_away(ObjectClass::Rollout, true);
    for (step_ms, is_canary) in [
        (1_000, true),
        (2_000, true),
        (5_000, true),
        (12_000, true),
        (9_999, true),
        (1, false),
        (60_000, false),
    ] {
        gateway.platform.advance(step_ms).unwrap();
        let age_ms = gateway.platform.now().0 - START.0;
        let answer = gateway.classify("alice");
        assert_eq!((answer.status, answer.is_by_model()), (200, is_canary), "{age_ms} ms");
        gateway.events();
    }
    assert_eq!(gateway.admin("GET", "/v1/rollout", VIEWER, "").status, 503);
    assert_eq!(gateway.admin("GET", "/metrics", VIEWER, "").status, 503);
    assert_eq!(gateway.admin("GET", "/health", "", "").json()["disabled"], true);
    // An isolate that never saw the object is stable at once.
    assert!(gateway.other_isolate().classify("alice").is_by_legacy());
    assert_eq!(gateway.event()["reason"], "disabled");
    gateway.platform.set_away(ObjectClass::Rollout, false);
    gateway.platform.advance(5_000).unwrap();
    assert!(gateway.classify("alice").is_by_model());
}

#[test]
fn without_the_event_store_calls_are_answered_and_lost_events_are_counted_later() {
    let gateway = Gateway::storing(&[ALL_CANARY]);
    gateway.platform.set_away(ObjectClass::EventStore, true);
    for user in ["alice", "bob", "carol"] {
        assert!(gateway.classify(user).is_by_model(), "{user}");
    }
    for path in ["/metrics", "/v1/totals", "/v1/minutes", "/v1/series", "/v1/sinks"] {
        let answer = gateway.admin("GET", path, VIEWER, "");
        assert_eq!(answer.error(), (503, "event_store_unavailable".to_owned()), "{path}");
    }
    assert_eq!(gateway.admin("GET", "/v1/rollout", VIEWER, "").status, 200);
    gateway.platform.set_away(ObjectClass::EventStore, false);
    assert_eq!(metric(&gateway.metrics(), "jeffrey_events_lost_total"), 0);
    for _ in 0..2 {
        gateway.classify("alice");
        assert_eq!(metric(&gateway.metrics(), "jeffrey_events_lost_total"), 3);
    }
    assert_eq!(gateway.admin("GET", "/v1/sinks", VIEWER, "").json()["events"], 2);
}

#[test]
fn an_event_that_the_queue_refuses_goes_to_the_event_store() {
    let gateway = Gateway::new(&[]);
    gateway.platform.set_queue(QueueSend::Failed);
    gateway.classify("alice");
    assert_eq!(gateway.admin("GET", "/v1/sinks", VIEWER, "").json()["events"], 1);
    assert_eq!(metric(&gateway.metrics(), "jeffrey_queue_send_failures_total"), 1);
}

// Privacy.

/// All rows of all tables of an object, as JSON, and the lines of compressed batches.
fn stored_rows(gateway: &Gateway, class: ObjectClass, name: &str) -> String {
    let database = gateway.platform.database(class, name).unwrap();
    let query = "SELECT name FROM sqlite_master WHERE type = 'table'";
    let tables: Vec<Map<String, Value>> = database.query_rows(query, Vec::new()).unwrap();
    assert!(!tables.is_empty(), "{name}");
    let rows = tables.iter().map(|table| {
        let query = format!("SELECT * FROM {}", table["name"].as_str().unwrap());
        let rows: Vec<Map<String, Value>> = database.query_rows(&query, Vec::new()).unwrap();
        serde_json::to_string(&rows).unwrap()
    });
    let batches = database.inspect_blobs("SELECT lines FROM batch");
    let lines = batches.iter().map(|batch| decompress_lines(batch).unwrap());
    rows.chain(lines).collect::<Vec<_>>().join("\n")
}

#[test]
fn no_text_subject_address_token_or_cookie_leaves_by_an_event_log_metric_error_or_status() {
    const COOKIE: &str = "Q2VsZXN0aW5lLTMzMzMzMw";
    const SECRETS: [&str; 14] = [
        "marguerite",
        "zanzibar.example",
        "612345678",
        "6 12 34 56 78",
        "anatole-2252",
        "philomene-4474",
        "203.0.113.77",
        "pangolin9912",
        "session=aardvark",
        "civet-4456",
        COOKIE,
        KEY,
        ADMIN,
        VIEWER,
    ];
    let sinks = json!([{"name": "all", "kind": "ndjson", "url": SINK}]).to_string();
    let gateway = Gateway::storing(&[
        HALF_CANARY,
        ALL_SHADOW,
        ("LOG_EVENTS", "on"),
        ("LOG_TEXT_PREVIEW", "on"),
        ("COHORT_OVERRIDES", "philomene-4474=canary"),
        ("SINKS", &sinks),
    ]);
    let text = "Write to marguerite@zanzibar.example or call +33 6 12 34 56 78 soon";
    // It was given in this hour, so no response gives it anew.
    let hour = START.0 / 3_600_000;
    let cookie = format!("session=aardvark; jeffrey_subject={COOKIE}.{hour}");
    let override_token = token("civet-4456 is no key of ours", RELEASE, MINUTE_MS, false);
    let mut seen = String::new();
    let mut see = |answer: &Answer, is_error: bool| {
        assert_eq!(answer.status >= 400, is_error, "{}", answer.text());
        seen += &answer.text();
        for name in ["x-jeffrey-id", "x-jeffrey-override", "set-cookie"] {
            seen += &answer.header(name).unwrap_or_default();
        }
    };
    let users = [json!({"text": text}), json!({"text": text, "user_id": "anatole-2252"})];
    for body in users.iter().map(Value::to_string) {
        for user in ["", "philomene-4474", "anatole-2252"] {
            let mut headers = vec![
                ("cookie", cookie.as_str()),
                ("cf-connecting-ip", "203.0.113.77"),
                ("authorization", "Basic pangolin9912"),
                ("x-jeffrey-cohort", "canary"),
                ("x-jeffrey-token", override_token.as_str()),
            ];
            if !user.is_empty() {
                headers.push(("x-user-id", user));
            }
            see(&gateway.call(&headers, &body), false);
            // The model refuses, and then fails.
            for model in [model_answer(422, text), model_answer(500, text)] {
                gateway.answer_model(model);
                see(&gateway.call(&headers, &body), false);
            }
            // The legacy system fails, and so does the rollout object.
            gateway.platform.answer_legacy(|_| Err(FetchError::Failed));
            gateway.platform.set_away(ObjectClass::Rollout, true);
            see(&gateway.call(&headers, &body), true);
            gateway.platform.set_away(ObjectClass::Rollout, false);
            gateway.platform.answer_legacy(|_| Ok(legacy_response()));
            let broken = gateway.classify_request(&headers, &body).with_broken_body();
            see(&gateway.respond(broken), true);
            for (method, path) in [("POST", "/v1/feedback"), ("GET", "/nothing")] {
                let target = format!("/_jeffrey{path}");
                see(&gateway.send(method, &target, &headers, body.as_bytes()), true);
            }
            gateway.platform.advance(31 * SECOND_MS).unwrap();
            gateway.answer_model(model_answer(200, MODEL_BODY));
        }
    }
    see(&gateway.admin("GET", "/v1/rollout", "civet-4456 of nobody", ""), true);
    see(&gateway.admin("PUT", "/v1/admin/share", ADMIN, text), true);
    see(&gateway.admin("POST", "/v1/admin/rollout", ADMIN, text), true);
    let body = json!({"subject": ["anatole-2252"]}).to_string();
    see(&gateway.admin("DELETE", "/v1/admin/subjects", ADMIN, &body), true);
    let body = json!({"context": {"targetingKey": "anatole-2252"}}).to_string();
    see(&gateway.admin("POST", "/ofrep/v1/evaluate/flags/e1-small", VIEWER, &body), false);
    gateway.platform.advance(2 * MINUTE_MS).unwrap();
    for (method, path, _) in ENDPOINTS.into_iter().filter(|(method, ..)| *method == "GET") {
        if path == LIVE {
            continue;
        }
        see(&gateway.admin(method, path, ADMIN, ""), false);
    }
    see(&gateway.admin("GET", "/health", "", ""), false);

    let log = gateway.platform.take_log().join("\n");
    let requests = gateway.platform.take_requests();
    let sink: Vec<String> = requests
        .iter()
        .filter(|request| !request.url.starts_with("model:"))
        .map(|request| {
            format!(
                "{} {:?} {}",
                request.url,
                request.headers,
                String::from_utf8_lossy(&request.body)
            )
        })
        .collect();
    let rows = stored_rows(&gateway, ObjectClass::EventStore, "event-store")
        + &stored_rows(&gateway, ObjectClass::Rollout, RELEASE);
    for (place, found) in
        [("a response", &seen), ("the log", &log), ("a sink", &sink.join("\n")), ("a table", &rows)]
    {
        // Each place shows that it was searched at the right time: the preview and no secret.
        assert!(found.contains("Write to"), "{place} has no preview");
        let found = found.to_lowercase();
        for secret in SECRETS {
            let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            for form in [secret.to_lowercase(), hex] {
                assert!(!found.contains(&form), "{place} has {form}");
            }
        }
    }
    // The legacy system gets what its callers sent it, but neither our cookie nor a token.
    let legacy = gateway.platform.take_legacy_requests();
    assert!(!legacy.is_empty());
    for request in legacy {
        assert_eq!(header_of(&request, "authorization"), Some("Basic pangolin9912"));
        assert_eq!(header_of(&request, "cookie"), Some("session=aardvark"));
        assert_eq!(header_of(&request, "x-jeffrey-token"), None);
        assert!(String::from_utf8_lossy(&request.body).contains("marguerite"));
    }
}

#[test]
fn an_event_has_a_masked_preview_only_if_it_is_switched_on() {
    let body = json!({"text": "My address is marguerite@zanzibar.example"}).to_string();
    for (switch, share) in [("on", "0%"), ("on", "100%"), ("off", "0%"), ("off", "100%")] {
        let gateway = Gateway::new(&[("LOG_TEXT_PREVIEW", switch), ("INITIAL_SHARE", share)]);
        gateway.call(&[("x-user-id", "alice")], &body);
        let preview = gateway.event()["preview"].clone();
        assert_eq!(preview.is_string(), switch == "on", "{switch} {share}: {preview}");
        assert!(!preview.to_string().contains("marguerite"), "{switch} {share}: {preview}");
        assert!(gateway.platform.take_log().is_empty(), "LOG_EVENTS is off");
    }
}
