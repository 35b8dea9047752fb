//! The outcome of a step and of a whole scenario, from responses of the gateway.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::record::ClientResponse;
use jeffrey_gateway_service::request_host::StreamedResponse;

/// Fields of an event that are part of the outcome, in the order of the group's name.
const EVENT_FIELDS: [&str; 14] = [
    "event",
    "cohort",
    "destination",
    "status",
    "reason",
    "fallback_reason",
    "unreadable_response_reason",
    "is_evidence",
    "new_cookie",
    "model_sha256",
    "shadow",
    "share_basis_points",
    "stage",
    "good",
];

/// Counters that are part of the outcome.
const COUNTERS: [&str; 6] = [
    "jeffrey_events_erased_total",
    "jeffrey_events_lost_total",
    "jeffrey_events_malformed_total",
    "jeffrey_fallbacks_total",
    "jeffrey_feedback_total",
    "jeffrey_requests_total",
];

/// Returns the outcome of a call: what its client and the legacy system saw of it.
pub(super) fn of_call(response: &ClientResponse, legacy_requests: u32) -> Value {
    let timing = response.head.header("server-timing").unwrap_or_default();
    let upstream = ["model", "legacy"].into_iter().find(|name| timing.starts_with(name));
    let cookies = response.head.cookies();
    json!({
        "status": response.status,
        "cohort": response.head.header("x-jeffrey-cohort"),
        "upstream": upstream,
        "error": response.json()["error"]["code"],
        "override": response.head.header("x-jeffrey-override"),
        "allow_origin": response.head.header("access-control-allow-origin"),
        "new_cookie": cookies.iter().any(|cookie| cookie.starts_with("jeffrey_subject=")),
        "complete": !response.head.is_broken(),
        "legacy_requests": legacy_requests,
    })
}

/// Returns the outcome of a request whose response is the status of the release, or an error.
pub(super) fn of_status(response: &ClientResponse) -> Value {
    let status = response.json();
    json!({
        "status": response.status,
        "error": status["error"]["code"],
        "phase": status["rollout"]["phase"],
        "share_basis_points": status["share_basis_points"],
        "killed": status["killed"],
        "hard_failures": status["hard_failures"],
        "last_hard_failure": status["last_hard_failure"]["kind"],
    })
}

/// Returns the outcome of a look at the health of a gateway.
pub(super) fn of_health(response: &ClientResponse) -> Value {
    let health = response.json();
    json!({
        "status": response.status,
        "health": health["status"],
        "breaker": health["breaker"],
        "disabled": health["disabled"],
        "share_basis_points": health["share_basis_points"],
    })
}

/// Counts stored events by their group.
pub(super) fn count_events(lines: &[u8]) -> BTreeMap<String, u64> {
    let lines = String::from_utf8_lossy(lines).into_owned();
    let mut groups = BTreeMap::new();
    for event in lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        *groups.entry(group_of(&event)).or_default() += 1;
    }
    groups
}

/// Returns the name of an event's group: its fields that are not `null`.
fn group_of(event: &Value) -> String {
    let fields = EVENT_FIELDS.iter().filter_map(|name| {
        let value = match *name {
            "shadow" if event["shadow"].is_null() => Value::Null,
            "shadow" if event["shadow"]["fallback_reason"].is_null() => "answered".into(),
            "shadow" => event["shadow"]["fallback_reason"].clone(),
            "share_basis_points" | "stage" if !event["thresholds"][*name].is_null() => {
                event["thresholds"][*name].clone()
            }
            name => event[name].clone(),
        };
        match value {
            Value::Null => None,
            Value::String(text) => Some(format!(
                "{name}={}",
                text.get(..4).filter(|_| *name == "model_sha256").unwrap_or(&text)
            )),
            value => Some(format!("{name}={value}")),
        }
    });
    fields.collect::<Vec<_>>().join(" ")
}

/// Returns the counters of a text in the format of Prometheus.
pub(super) fn read_counters(text: &[u8]) -> BTreeMap<String, u64> {
    let text = String::from_utf8_lossy(text).into_owned();
    let counters = text.lines().filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        let metric = name.split('{').next()?;
        Some((name.to_owned(), value.parse().ok()?)).filter(|_| COUNTERS.contains(&metric))
    });
    counters.collect()
}

/// Replaces each count by 1, which says that there is one at all.
pub(super) fn forget_counts(counts: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    counts.into_keys().map(|name| (name, 1)).collect()
}

/// Adds a sentence for each part of `expected` that `actual` does not have. `null` expects nothing,
/// an object expects its fields, and an object in place of a list expects them of each element.
pub(super) fn compare(path: &str, expected: &Value, actual: &Value, found: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Null, _) => {}
        (Value::Object(fields), Value::Object(_)) => {
            for (name, value) in fields {
                if value.is_null() && !actual[name].is_null() {
                    found.push(format!("{path}/{name} is {}, not null", actual[name]));
                }
                compare(&format!("{path}/{name}"), value, &actual[name], found);
            }
        }
        (Value::Object(_), Value::Array(elements)) => {
            for (place, element) in elements.iter().enumerate() {
                compare(&format!("{path}/{place}"), expected, element, found);
            }
        }
        (Value::Array(rows), Value::Array(elements)) if rows.len() == elements.len() => {
            for (place, (row, element)) in rows.iter().zip(elements).enumerate() {
                compare(&format!("{path}/{place}"), row, element, found);
            }
        }
        _ if expected == actual => {}
        _ => found.push(format!("{path} is {actual}, not {expected}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expectation_is_a_part_of_the_outcome() {
        let actual =
            json!({"steps": [{"calls": [{"status": 200, "error": null}, {"status": 502}]}]});
        let unexpected = |expected: Value| {
            let mut found = Vec::new();
            compare("", &expected, &actual, &mut found);
            found
        };
        let none: Vec<String> = Vec::new();
        assert_eq!(unexpected(json!({"steps": [{"calls": [{"status": 200}, null]}]})), none);
        assert_eq!(unexpected(json!({"steps": [{"calls": [{"error": null}, {}]}]})), none);
        assert_eq!(
            unexpected(json!({"steps": [{"calls": {"status": 200}}]})),
            ["/steps/0/calls/1/status is 502, not 200"]
        );
        assert_eq!(unexpected(json!({"steps": [{"calls": [{"status": null}, null]}]})).len(), 1);
        assert_eq!(unexpected(json!({"steps": []})).len(), 1);
        assert_eq!(unexpected(json!({"end": {}})).len(), 1);
    }

    #[test]
    fn events_of_one_kind_are_one_group() {
        let line = r#"{"event":"classify","cohort":"canary","status":200,"fallback_reason":null,"model_sha256":"abcdef","thresholds":{"share_basis_points":5000,"stage":null},"shadow":null}"#;
        let groups = count_events(format!("{line}\n{line}\n").as_bytes());
        let name =
            "event=classify cohort=canary status=200 model_sha256=abcd share_basis_points=5000";
        assert_eq!(groups, BTreeMap::from([(name.to_owned(), 2)]));
    }

    #[test]
    fn only_the_compared_counters_are_read() {
        let text =
            b"# TYPE x counter\njeffrey_requests_total{a=\"b c\"} 3\njeffrey_labels_total{} 1\n";
        let counters = read_counters(text);
        assert_eq!(counters, BTreeMap::from([("jeffrey_requests_total{a=\"b c\"}".to_owned(), 3)]));
    }
}
