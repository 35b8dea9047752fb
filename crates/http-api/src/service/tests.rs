//! Tests of the whole service without its platform: heads and bodies in, replies out.
//!
//! No model is loaded, so texts are classified by keyword patterns. The tests cover formats, status
//! codes, headers, counters, and that no reply quotes a bad request.

use serde_json::{Value, json};

use super::*;
use crate::DEPTH_MAX;
use crate::settings::tests::parse as parse_settings;
use jeffrey_terms::UnixMs;

const BUILD: BuildInfo = BuildInfo { version: "0.0.0", commit: "none" };

/// Returns a service whose model failed its checks: these tests do not depend on a model.
fn new_service() -> ClassifierService {
    let empty: &[u8] = b"";
    ClassifierService::load(
        &ModelFiles {
            manifest: empty,
            config: empty,
            tokenizer: empty,
            encoder: empty,
            head: empty,
            prototypes: empty,
        },
        BUILD,
    )
}

fn request_head(method: &str, path: &str) -> RequestHead {
    let url = format!("https://worker.example{path}");
    RequestHead::new(method.to_owned(), &url, Vec::new()).unwrap()
}

fn with_header(mut head: RequestHead, name: &str, value: &str) -> RequestHead {
    head.headers.push((name.to_owned(), value.to_owned()));
    head
}

fn send_with(settings: &ModelWorkerSettings, head: &RequestHead, body: &[u8]) -> HttpReply {
    let mut service = new_service();
    match service.handle_request_head(head, settings) {
        RequestHeadAction::Reply(reply) => reply,
        RequestHeadAction::FetchPage => {
            service.reply_for_missing_page(head, settings, 404).unwrap()
        }
        RequestHeadAction::ReadBody(endpoint) => {
            let id_seed = IdSeed { now: UnixMs(1_645_557_742_000), random: [7; 10] };
            service.handle_body(
                endpoint,
                head,
                settings,
                BodyRead::Complete(body.to_vec()),
                id_seed,
            )
        }
    }
}

fn send(method: &str, path: &str, body: &[u8]) -> HttpReply {
    send_with(&ModelWorkerSettings::default(), &request_head(method, path), body)
}

fn json_body(reply: &HttpReply) -> Value {
    json_body_of(&reply.body)
}

fn json_body_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

fn find_header<'a>(reply: &'a HttpReply, name: &str) -> Option<&'a str> {
    let entry = reply.headers.iter().find(|(header_name, _)| *header_name == name);
    entry.map(|(_, value)| value.as_str())
}

#[test]
fn an_answer_has_every_field_of_its_shape() {
    let reply = send("POST", "/v1/classify", "{\"text\": \"Je suis furieux !\"}".as_bytes());
    assert_eq!(reply.status, 200);
    assert_eq!(find_header(&reply, "content-type"), Some("application/json"));
    assert_eq!(find_header(&reply, "cache-control"), Some("no-store"));
    let response = json_body(&reply);
    let fields: Vec<&String> = response.as_object().unwrap().keys().collect();
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
    assert_eq!(response["id"].as_str().unwrap()[..15], *"017f22e2-79b0-7");
    assert_eq!(response["route"], "regex");
    assert_eq!(response["model"], Value::Null);
    assert_eq!(response["top2"].as_array().unwrap().len(), 2);
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
        let reply = send("POST", "/v1/classify", &body);
        assert_eq!(reply.status, status, "{name}");
        let error_body = json_body(&reply);
        assert_eq!(error_body["error"]["code"].as_str().unwrap_or_default(), code, "{name}");
        let message = error_body["error"]["message"].as_str().unwrap_or("a");
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
    for (path, body, status, error_type) in rows {
        let reply = send("POST", path, body.as_bytes());
        assert_eq!(reply.status, status, "{path} {body}");
        let error_body = json_body(&reply);
        assert_eq!(error_body["error_type"], error_type, "{path} {body}");
        assert!(error_body["error"].is_string(), "{path} {body}");
    }
}

#[test]
fn one_text_is_nested_for_hugging_face_and_flat_for_the_other() {
    let nested = json_body(&send("POST", "/", br#"{"inputs":"furious","parameters":{}}"#));
    assert_eq!(nested.as_array().unwrap().len(), 1);
    assert_eq!(nested[0].as_array().unwrap().len(), 8);
    let flat = json_body(&send("POST", "/predict", br#"{"inputs":"furious"}"#));
    assert_eq!(flat, nested[0]);
    let scores: Vec<f64> =
        flat.as_array().unwrap().iter().map(|entry| entry["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    let batch = json_body(&send("POST", "/predict", br#"{"inputs":[["furious"],["a"]]}"#));
    assert_eq!(batch[0], flat);
    assert_eq!(batch.as_array().unwrap().len(), 2);
    let two = send("POST", "/", br#"{"inputs":["furious","a"],"parameters":{"top_k":2}}"#);
    let two = json_body(&two);
    assert_eq!(two.as_array().unwrap().len(), 2);
    assert_eq!(two[0].as_array().unwrap().len(), 2);
}

#[test]
fn a_body_that_declares_too_much_is_refused_unread() {
    let mut service = new_service();
    let post = || request_head("POST", "/v1/classify");
    let declared = with_header(post(), "content-length", "524289");
    let RequestHeadAction::Reply(reply) =
        service.handle_request_head(&declared, &ModelWorkerSettings::default())
    else {
        panic!("the body was asked for")
    };
    assert_eq!(reply.status, 413);
    assert_eq!(json_body(&reply)["error"]["code"], "body_too_large");
    for length in ["524288", "0", "-1", "many", ""] {
        let within_limit = with_header(post(), "content-length", length);
        let next = service.handle_request_head(&within_limit, &ModelWorkerSettings::default());
        assert!(matches!(next, RequestHeadAction::ReadBody(ModelEndpoint::Classify)), "{length}");
    }
}

#[test]
fn a_wrong_method_is_405_and_names_the_right_ones() {
    let reply = send("GET", "/v1/classify", b"");
    assert_eq!((reply.status, find_header(&reply, "allow")), (405, Some("POST, OPTIONS")));
    assert_eq!(json_body(&reply)["error"]["code"], "method_not_allowed");
    let reply = send("POST", "/nowhere", b"");
    assert_eq!(
        (reply.status, json_body(&reply)["error"]["code"].as_str()),
        (404, Some("not_found"))
    );
    let reply = send("GET", "/nowhere", b"");
    assert_eq!(
        (reply.status, json_body(&reply)["error"]["code"].as_str()),
        (404, Some("not_found"))
    );
    let reply = send("OPTIONS", "/predict", b"");
    assert_eq!((reply.status, find_header(&reply, "allow")), (204, Some("POST, OPTIONS")));
}

#[test]
fn head_is_get_without_its_body() {
    let get = send("GET", "/info", b"");
    let head = send("HEAD", "/info", b"");
    assert_eq!((head.status, &head.headers), (get.status, &get.headers));
    assert!(head.body.is_empty() && !get.body.is_empty());
}

#[test]
fn an_error_is_readable_from_an_allowed_origin_too() {
    let settings = parse_settings(&[("ALLOWED_ORIGINS", "https://a.example")]);
    let cross_origin =
        with_header(request_head("POST", "/v1/classify"), "origin", "https://a.example");
    let reply = send_with(&settings, &cross_origin, b"oops");
    assert_eq!(reply.status, 400);
    assert_eq!(find_header(&reply, "access-control-allow-origin"), Some("https://a.example"));
    assert_eq!(find_header(&reply, "vary"), Some("Origin"));
}

#[test]
fn a_refused_variable_answers_500_and_is_named_in_health() {
    let settings = |delta: &str| parse_settings(&[("JEFFREY_TIEBREAK_DELTA", delta)]);
    let bad = settings("2");
    let paths = [("/v1/classify", r#"{"text":"a"}"#), ("/predict", r#"{"inputs":"a"}"#)];
    for (path, body) in paths {
        let reply = send_with(&bad, &request_head("POST", path), body.as_bytes());
        assert_eq!(reply.status, 500, "{path}");
        let body = String::from_utf8(reply.body).unwrap();
        let message = "JEFFREY_TIEBREAK_DELTA of `2` is not a number from 0 to 1";
        assert!(body.contains(message), "{path} {body}");
    }
    let reply = send_with(&bad, &request_head("GET", "/health"), b"");
    assert_eq!((reply.status, &json_body(&reply)["status"]), (503, &json!("failed")));
    let fault = json!({
        "code": "invalid_setting",
        "message": "JEFFREY_TIEBREAK_DELTA of `2` is not a number from 0 to 1",
    });
    assert!(json_body(&reply)["faults"].as_array().unwrap().contains(&fault));
    assert_eq!(send_with(&settings("0.2"), &request_head("GET", "/health"), b"").status, 200);
}

#[test]
fn a_model_that_failed_its_checks_is_named_and_the_service_answers() {
    let reply = send("GET", "/health", b"");
    assert_eq!(reply.status, 200);
    let health = json_body(&reply);
    assert_eq!((&health["status"], &health["model"]), (&json!("degraded"), &Value::Null));
    assert_eq!(health["faults"][0]["code"], "model_refused");
    let response = json_body(&send("POST", "/v1/classify", br#"{"text":"I am furious"}"#));
    assert_eq!(response["route"], "regex");
    assert_eq!(response["skipped"][0], json!({"route": "linear_head", "reason": "no_model"}));
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
            let reply = send("POST", path, body.as_bytes());
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            assert!(!text.contains("Zanzibar") && !text.contains("7731"), "{path} {text}");
            assert!(!format!("{reply:?} {:?}", reply.headers).contains("Zanzibar"));
        }
    }
}

#[test]
fn metrics_count_replies_and_routes_and_nothing_else() {
    let mut service = new_service();
    let settings = ModelWorkerSettings::default();
    let post = request_head("POST", "/v1/classify");
    for body in ["{\"text\":\"my own words\"}", "{}"] {
        let RequestHeadAction::ReadBody(endpoint) = service.handle_request_head(&post, &settings)
        else {
            panic!()
        };
        let id_seed = IdSeed { now: UnixMs(0), random: [0; 10] };
        service.handle_body(endpoint, &post, &settings, BodyRead::Complete(body.into()), id_seed);
    }
    let RequestHeadAction::Reply(reply) =
        service.handle_request_head(&request_head("GET", "/metrics"), &settings)
    else {
        panic!()
    };
    let text = String::from_utf8(reply.body).unwrap();
    for line in [
        "jeffrey_requests_total{endpoint=\"classify\",code=\"200\"} 1",
        "jeffrey_requests_total{endpoint=\"classify\",code=\"400\"} 1",
        "jeffrey_predictions_total{route=\"regex\"} 1",
        "jeffrey_skipped_routes_total{route=\"linear_head\",reason=\"no_model\"} 1",
        "jeffrey_model_loaded 0",
    ] {
        assert!(text.lines().any(|text_line| text_line == line), "{line}\n{text}");
    }
    assert!(!text.contains("words"));
}

#[test]
fn a_request_over_the_token_limit_is_refused_before_the_encoder_reads_a_text() {
    let mut service = ClassifierService::load(&jeffrey_shipped::model_files(), BUILD);
    assert_eq!(service.model_load_error(), None);
    let settings = parse_settings(&[("TOKENS_MAX", "12")]);
    let mut send = |path: &str, body: &str| {
        let head = request_head("POST", path);
        let RequestHeadAction::ReadBody(endpoint) = service.handle_request_head(&head, &settings)
        else {
            panic!("{path}")
        };
        let id_seed = IdSeed { now: UnixMs(0), random: [0; 10] };
        service.handle_body(endpoint, &head, &settings, BodyRead::Complete(body.into()), id_seed)
    };
    let long = "word ".repeat(12);
    let over_limit = [
        ("/v1/classify", format!("{{\"text\":\"{long}\"}}"), 14),
        ("/", format!("{{\"inputs\":[\"It is Monday\",\"{long}\"]}}"), 19),
        ("/predict", format!("{{\"inputs\":\"{long}\",\"truncate\":true}}"), 14),
        ("/predict", format!("{{\"inputs\":[[\"{long}\"],[\"{long}\"]]}}"), 14),
    ];
    for (path, body, tokens) in over_limit {
        let reply = send(path, &body);
        assert_eq!(reply.status, 413, "{path}");
        let message = String::from_utf8(reply.body).unwrap();
        let expected = format!("at least {tokens} tokens, above the limit of 12 tokens");
        assert!(message.contains(&expected), "{path} {message}");
        assert!(path != "/v1/classify" || message.contains("\"too_many_request_tokens\""));
    }
    let within_limit = r#"{"inputs":["It is Monday","It is Monday"]}"#;
    assert_eq!(send("/", within_limit).status, 200);
    let info = service.handle_request_head(&request_head("GET", "/info"), &settings);
    let RequestHeadAction::Reply(info) = info else { panic!() };
    assert_eq!(json_body(&info)["max_batch_tokens"], 12);
    let metrics = String::from_utf8(service.metrics_content().body).unwrap();
    assert!(metrics.contains("jeffrey_predictions_total{route=\"linear_head\"} 2\n"), "{metrics}");
}

#[test]
fn a_caller_over_the_rate_limit_is_told_when_to_try_again() {
    let settings = ModelWorkerSettings::default();
    for (path, endpoint, field) in [
        ("/v1/classify", ModelEndpoint::Classify, "/error/code"),
        ("/predict", ModelEndpoint::Predict, "/error_type"),
    ] {
        let head = request_head("POST", path);
        let reply = new_service().reply_over_rate_limit(endpoint, &head, &settings);
        assert_eq!((reply.status, find_header(&reply, "retry-after")), (429, Some("10")), "{path}");
        let is_native = endpoint == ModelEndpoint::Classify;
        let expected = if is_native { "rate_limited" } else { "Overloaded" };
        assert_eq!(json_body(&reply).pointer(field), Some(&json!(expected)), "{path}");
    }
}

#[test]
fn health_names_the_instance_and_its_starts() {
    let mut service = new_service();
    let settings = ModelWorkerSettings::default();
    let health =
        |service: &ClassifierService| json_body_of(&service.health_content(&settings).body);
    assert_eq!(health(&service)["instance"], Value::Null);
    assert!(!service.has_instance());
    service.set_instance(InstanceInfo::new([0, 1, 2, 3, 4, 5, 6, 255], 2));
    assert!(service.has_instance());
    let expected = json!({"id": "00010203040506ff", "starts": 2});
    assert_eq!(health(&service)["instance"], expected);
}

#[test]
fn the_description_and_the_manual_name_every_code() {
    let manual = include_str!("../../../../docs/api.md");
    let codes = [
        "invalid_setting",
        "incomplete_body",
        "body_too_large",
        "duplicate_field",
        "invalid_utf8",
        "lone_surrogate",
        "method_not_allowed",
        "missing_text",
        "not_found",
        "not_json",
        "rate_limited",
        "text_too_long",
        "too_deep",
        "too_many_request_tokens",
        "wrong_type",
    ];
    for code in codes {
        assert!(manual.contains(&format!("`{code}`")), "{code}");
        assert!(OPEN_API.contains(&format!("\"{code}\"")), "{code}");
    }
}
