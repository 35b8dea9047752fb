//! The whole door without its platform: heads and bodies in, replies out.

use serde_json::{Value, json};

use super::*;
use crate::{DEPTH_MAX, Variables};
use jeffrey_terms::UnixMs;

const BUILD: Build = Build { version: "0.0.0", commit: "none" };

/// A service whose model failed its checks: what is tested here does not depend on a model.
fn service() -> Service {
    let none: &[u8] = b"";
    Service::load(
        &ModelFiles {
            manifest: none,
            config: none,
            tokenizer: none,
            encoder: none,
            head: none,
            prototypes: none,
        },
        BUILD,
    )
}

fn head<'a>(method: &'a str, path: &'a str) -> Head<'a> {
    Head { method, path, origin: None, requested_method: None, content_length: None }
}

fn ask_with(settings: &Settings, head: &Head<'_>, body: &[u8]) -> Reply {
    let mut service = service();
    match service.receive(head, settings) {
        Received::Reply(reply) => reply,
        Received::Page => service.page_reply(head, settings, 404).unwrap(),
        Received::Read(endpoint) => {
            let moment = Moment { now: UnixMs(1_645_557_742_000), random: [7; 10] };
            service.respond(endpoint, head, settings, Body::Whole(body.to_vec()), moment)
        }
    }
}

fn ask(method: &str, path: &str, body: &[u8]) -> Reply {
    ask_with(&Settings::default(), &head(method, path), body)
}

fn value(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    let found = reply.headers.iter().find(|(seen, _)| *seen == name);
    found.map(|(_, value)| value.as_str())
}

#[test]
fn an_answer_has_every_field_of_its_shape() {
    let reply = ask("POST", "/v1/classify", "{\"text\": \"Je suis furieux !\"}".as_bytes());
    assert_eq!(reply.status, 200);
    assert_eq!(header(&reply, "content-type"), Some("application/json"));
    assert_eq!(header(&reply, "cache-control"), Some("no-store"));
    let answer = value(&reply);
    let fields: Vec<&String> = answer.as_object().unwrap().keys().collect();
    let expected = [
        "confidence",
        "id",
        "low_confidence",
        "model",
        "primary",
        "route",
        "rule_applied",
        "scores",
        "skipped",
        "top2",
        "truncated",
    ];
    assert_eq!(fields, expected);
    assert_eq!(answer["id"].as_str().unwrap()[..15], *"017f22e2-79b0-7");
    assert_eq!(answer["route"], "regex");
    assert_eq!(answer["model"], Value::Null);
    assert_eq!(answer["top2"].as_array().unwrap().len(), 2);
}

#[test]
fn bad_input_has_a_status_and_a_stable_code() {
    let long = |bytes: usize| format!("{{\"text\":\"{}\"}}", "a".repeat(bytes)).into_bytes();
    let escaped = format!("{{\"text\":\"{}\"}}", "\\u0061".repeat(65_536)).into_bytes();
    let deep = format!("{{\"text\":{}", "[".repeat(DEPTH_MAX + 1)).into_bytes();
    let rows: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("nothing", b"".to_vec(), 400, "not_json"),
        ("form", b"text=hello".to_vec(), 400, "not_json"),
        ("text alone", b"\"hello\"".to_vec(), 400, "wrong_type"),
        ("list", b"[]".to_vec(), 400, "wrong_type"),
        ("null", b"null".to_vec(), 400, "wrong_type"),
        ("no text", b"{}".to_vec(), 400, "missing_text"),
        ("other field", b"{\"Text\":\"a\"}".to_vec(), 400, "missing_text"),
        ("null text", b"{\"text\":null}".to_vec(), 400, "wrong_type"),
        ("number", b"{\"text\":1e3}".to_vec(), 400, "wrong_type"),
        ("huge number", b"{\"text\":1e999}".to_vec(), 400, "not_json"),
        ("list of text", b"{\"text\":[\"a\"]}".to_vec(), 400, "wrong_type"),
        ("twice", b"{\"text\":\"a\",\"text\":\"b\"}".to_vec(), 400, "duplicate_field"),
        ("latin-1", b"{\"text\":\"caf\xe9\"}".to_vec(), 400, "invalid_utf8"),
        ("surrogate", b"{\"text\":\"\\ud83d\"}".to_vec(), 400, "lone_surrogate"),
        ("deep", deep, 400, "too_deep"),
        ("too long", long(65_537), 413, "text_too_long"),
        ("too large", long(BODY_BYTES_MAX), 413, "body_too_large"),
        ("longest", long(65_536), 200, ""),
        ("longest, escaped", escaped, 200, ""),
        ("empty text", b"{\"text\":\"\"}".to_vec(), 200, ""),
        ("zero byte", b"{\"text\":\"a\\u0000b\"}".to_vec(), 200, ""),
        ("mark", b"\xef\xbb\xbf{\"text\":\"a\"}".to_vec(), 200, ""),
        ("unread field", b"{\"text\":\"a\",\"x\":[1,{\"y\":2}]}".to_vec(), 200, ""),
    ];
    for (name, body, status, code) in rows {
        let reply = ask("POST", "/v1/classify", &body);
        assert_eq!(reply.status, status, "{name}");
        let seen = value(&reply);
        assert_eq!(seen["error"]["code"].as_str().unwrap_or_default(), code, "{name}");
        let message = seen["error"]["message"].as_str().unwrap_or("a");
        assert!(!message.is_empty() && !message.ends_with('.'), "{name}: {message}");
    }
}

#[test]
fn the_other_dialect_has_its_own_errors() {
    let rows: [(&str, &str, u16, &str); 9] = [
        ("/predict", "oops", 400, "Validation"),
        ("/predict", "{}", 422, "Validation"),
        ("/predict", r#"{"inputs":["a","b"]}"#, 422, "Validation"),
        ("/predict", r#"{"inputs":[]}"#, 400, "Empty"),
        ("/predict", r#"{"inputs":"a","truncate":"yes"}"#, 422, "Validation"),
        ("/", r#"{"inputs":1}"#, 422, "Validation"),
        ("/", r#"{"inputs":[]}"#, 400, "Empty"),
        ("/", r#"{"inputs":"a","parameters":{"top_k":0}}"#, 422, "Validation"),
        ("/models/no-such", r#"{"inputs":"a"}"#, 404, "Validation"),
    ];
    for (path, body, status, kind) in rows {
        let reply = ask("POST", path, body.as_bytes());
        assert_eq!(reply.status, status, "{path} {body}");
        let seen = value(&reply);
        assert_eq!(seen["error_type"], kind, "{path} {body}");
        assert!(seen["error"].is_string(), "{path} {body}");
    }
}

#[test]
fn one_text_is_nested_for_hugging_face_and_flat_for_the_other() {
    let nested = value(&ask("POST", "/", br#"{"inputs":"furious","parameters":{}}"#));
    assert_eq!(nested.as_array().unwrap().len(), 1);
    assert_eq!(nested[0].as_array().unwrap().len(), 8);
    let flat = value(&ask("POST", "/predict", br#"{"inputs":"furious"}"#));
    assert_eq!(flat, nested[0]);
    let scores: Vec<f64> =
        flat.as_array().unwrap().iter().map(|one| one["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    let batch = value(&ask("POST", "/predict", br#"{"inputs":[["furious"],["a"]]}"#));
    assert_eq!(batch[0], flat);
    assert_eq!(batch.as_array().unwrap().len(), 2);
    let two = ask("POST", "/", br#"{"inputs":["furious","a"],"parameters":{"top_k":2}}"#);
    let two = value(&two);
    assert_eq!(two.as_array().unwrap().len(), 2);
    assert_eq!(two[0].as_array().unwrap().len(), 2);
}

#[test]
fn a_body_that_declares_too_much_is_refused_unread() {
    let mut service = service();
    let declared = Head { content_length: Some("524289"), ..head("POST", "/v1/classify") };
    let Received::Reply(reply) = service.receive(&declared, &Settings::default()) else {
        panic!("the body was asked for")
    };
    assert_eq!(reply.status, 413);
    assert_eq!(value(&reply)["error"]["code"], "body_too_large");
    for length in ["524288", "0", "-1", "many", ""] {
        let honest = Head { content_length: Some(length), ..declared };
        let next = service.receive(&honest, &Settings::default());
        assert!(matches!(next, Received::Read(Endpoint::Classify)), "{length}");
    }
}

#[test]
fn a_wrong_method_is_405_and_names_the_right_ones() {
    let reply = ask("GET", "/v1/classify", b"");
    assert_eq!((reply.status, header(&reply, "allow")), (405, Some("POST, OPTIONS")));
    assert_eq!(value(&reply)["error"]["code"], "method_not_allowed");
    let reply = ask("POST", "/nowhere", b"");
    assert_eq!((reply.status, value(&reply)["error"]["code"].as_str()), (404, Some("not_found")));
    let reply = ask("GET", "/nowhere", b"");
    assert_eq!((reply.status, value(&reply)["error"]["code"].as_str()), (404, Some("not_found")));
    let reply = ask("OPTIONS", "/predict", b"");
    assert_eq!((reply.status, header(&reply, "allow")), (204, Some("POST, OPTIONS")));
}

#[test]
fn head_is_get_without_its_body() {
    let get = ask("GET", "/info", b"");
    let head = ask("HEAD", "/info", b"");
    assert_eq!((head.status, &head.headers), (get.status, &get.headers));
    assert!(head.body.is_empty() && !get.body.is_empty());
}

#[test]
fn an_error_is_readable_from_an_allowed_origin_too() {
    let variables =
        Variables { allowed_origins: Some("https://a.example".into()), ..Variables::default() };
    let settings = Settings::parse(&variables);
    let from = Head { origin: Some("https://a.example"), ..head("POST", "/v1/classify") };
    let reply = ask_with(&settings, &from, b"oops");
    assert_eq!(reply.status, 400);
    assert_eq!(header(&reply, "access-control-allow-origin"), Some("https://a.example"));
    assert_eq!(header(&reply, "vary"), Some("Origin"));
}

#[test]
fn a_refused_variable_answers_500_and_is_named_in_health() {
    let settings = |delta: &str| {
        Settings::parse(&Variables { tie_break_delta: Some(delta.into()), ..Default::default() })
    };
    let bad = settings("2");
    let paths = [("/v1/classify", r#"{"text":"a"}"#), ("/predict", r#"{"inputs":"a"}"#)];
    for (path, body) in paths {
        let reply = ask_with(&bad, &head("POST", path), body.as_bytes());
        assert_eq!(reply.status, 500, "{path}");
        let body = String::from_utf8(reply.body).unwrap();
        let message = "JEFFREY_TIEBREAK_DELTA of `2` is not a number from 0 to 1";
        assert!(body.contains(message), "{path} {body}");
    }
    let reply = ask_with(&bad, &head("GET", "/health"), b"");
    assert_eq!((reply.status, &value(&reply)["status"]), (503, &json!("failed")));
    let fault = json!({
        "code": "bad_setting",
        "message": "JEFFREY_TIEBREAK_DELTA of `2` is not a number from 0 to 1",
    });
    assert!(value(&reply)["faults"].as_array().unwrap().contains(&fault));
    assert_eq!(ask_with(&settings("0.2"), &head("GET", "/health"), b"").status, 200);
}

#[test]
fn a_model_that_failed_its_checks_is_named_and_the_service_answers() {
    let reply = ask("GET", "/health", b"");
    assert_eq!(reply.status, 200);
    let health = value(&reply);
    assert_eq!((&health["status"], &health["model"]), (&json!("degraded"), &Value::Null));
    assert_eq!(health["faults"][0]["code"], "model_refused");
    let answer = value(&ask("POST", "/v1/classify", br#"{"text":"I am furious"}"#));
    assert_eq!(answer["route"], "regex");
    assert_eq!(answer["skipped"][0], json!({"route": "linear_head", "reason": "no_model"}));
}

#[test]
fn no_reply_to_bad_input_holds_a_word_of_it() {
    const SECRET: &str = "Zanzibar-7731";
    let bodies = [
        SECRET.to_owned(),
        format!("\"{SECRET}\""),
        format!("{{\"{SECRET}\": \"{SECRET}\"}}"),
        format!("{{\"text\": {SECRET}}}"),
        format!("{{\"text\": [\"{SECRET}\"], \"inputs\": {{\"{SECRET}\": 1}}}}"),
        format!("{{\"text\": \"{SECRET}\\ud800\", \"inputs\": \"{SECRET}\\ud800\"}}"),
        format!("{{\"text\": \"{SECRET}\", \"text\": 1, \"inputs\": [\"{SECRET}\", \"a\", 1]}}"),
        format!("{{\"inputs\": \"{SECRET}\", \"parameters\": {{\"top_k\": \"{SECRET}\"}}}}"),
        format!("{{\"inputs\": \"{SECRET}\", \"parameters\": \"{SECRET}\"}}"),
        format!("{{\"inputs\": [[\"{SECRET}\"], \"{SECRET}\"], \"truncate\": \"{SECRET}\"}}"),
        format!("{{\"text\": \"{}\", \"inputs\": 1}}", SECRET.repeat(6000)),
    ];
    let path = format!("/{SECRET}");
    for path in ["/v1/classify", "/predict", "/", "/models/Zanzibar-7731", &path] {
        for body in &bodies {
            let reply = ask("POST", path, body.as_bytes());
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            assert!(!text.contains("Zanzibar") && !text.contains("7731"), "{path} {text}");
            assert!(!format!("{reply:?} {:?}", reply.headers).contains("Zanzibar"));
        }
    }
}

#[test]
fn metrics_count_replies_and_routes_and_nothing_else() {
    let mut service = service();
    let settings = Settings::default();
    let post = head("POST", "/v1/classify");
    for body in ["{\"text\":\"my own words\"}", "{}"] {
        let Received::Read(endpoint) = service.receive(&post, &settings) else { panic!() };
        let moment = Moment { now: UnixMs(0), random: [0; 10] };
        service.respond(endpoint, &post, &settings, Body::Whole(body.into()), moment);
    }
    let Received::Reply(reply) = service.receive(&head("GET", "/metrics"), &settings) else {
        panic!()
    };
    let text = String::from_utf8(reply.body).unwrap();
    for line in [
        "jeffrey_requests_total{endpoint=\"classify\",code=\"200\"} 1",
        "jeffrey_requests_total{endpoint=\"classify\",code=\"400\"} 1",
        "jeffrey_answers_total{route=\"regex\"} 1",
        "jeffrey_skips_total{route=\"linear_head\",reason=\"no_model\"} 1",
        "jeffrey_model_loaded 0",
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line}\n{text}");
    }
    assert!(!text.contains("words"));
}

#[test]
fn the_description_names_every_endpoint_and_the_manual_every_code() {
    let described: Value = serde_json::from_str(OPEN_API).unwrap();
    let paths: Vec<&String> = described["paths"].as_object().unwrap().keys().collect();
    let expected = [
        "/",
        "/health",
        "/info",
        "/metrics",
        "/models/{id}",
        "/openapi.json",
        "/predict",
        "/v1/classify",
    ];
    assert_eq!(paths, expected);
    let manual = include_str!("../../../../docs/api.md");
    let codes = [
        "bad_setting",
        "body_broken",
        "body_too_large",
        "duplicate_field",
        "invalid_utf8",
        "lone_surrogate",
        "method_not_allowed",
        "missing_text",
        "not_found",
        "not_json",
        "text_too_long",
        "too_deep",
        "wrong_type",
    ];
    for code in codes {
        assert!(manual.contains(&format!("`{code}`")), "{code}");
        assert!(OPEN_API.contains(&format!("\"{code}\"")), "{code}");
    }
}
