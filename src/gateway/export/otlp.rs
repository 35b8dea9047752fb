//! Encodes events as OpenTelemetry log records and totals as OpenTelemetry metrics, in OTLP/HTTP
//! JSON.
//!
//! The format follows the protocol's JSON mapping
//! (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>): lower camel case names,
//! and 64-bit integers as decimal strings. Log records follow the semantic conventions for feature
//! flags (`feature_flag.evaluation`). Other fields of an event are exported under `jeffrey.`.
//! Events contain only fields from an allowlist, so no other data can be exported.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::gateway::events::event::EventKind;
use crate::gateway::events::open_enum::OpenEnum;
use crate::gateway::export::prometheus::{
    LATENCY_BOUNDS_MS, LatencyHistogram, MetricFamily, MetricLabels, MetricPoints, group_by_family,
};
use crate::rollout::assignment::AssignmentReason;
use jeffrey_terms::UnixMs;

/// Returns the body of `POST /v1/logs` for some events. Lines that are not JSON objects with a time
/// are left out; the event store keeps no such lines.
pub fn encode_logs(events: &[&str]) -> String {
    let records: Vec<Value> = events.iter().filter_map(|event| to_log_record(event)).collect();
    json!({"resourceLogs": [{
        "resource": {"attributes": [string_attribute("service.name", "jeffrey-edge")]},
        "scopeLogs": [{"scope": instrumentation_scope(), "logRecords": records}],
    }]})
    .to_string()
}

/// Returns the body of `POST /v1/metrics`: the totals of one shard since `started_at`, when it was
/// created.
///
/// Totals are cumulative, so a later batch makes up for one that a collector missed. Each shard is
/// a service instance of its own (`instance`), so the sum over all instances is the total of the
/// event store.
pub fn encode_metrics(
    totals: &[(String, u64)],
    instance: &str,
    started_at: UnixMs,
    now: UnixMs,
) -> String {
    let to_nanos = |time: UnixMs| (u128::from(time.0) * 1_000_000).to_string();
    let (start_nanos, now_nanos) = (to_nanos(started_at), to_nanos(now));
    let number_point = |(labels, number): &(MetricLabels<'_>, u64)| {
        json!({
            "attributes": string_attributes(labels), "startTimeUnixNano": start_nanos, "timeUnixNano": now_nanos,
            "asInt": number.to_string(),
        })
    };
    let histogram_point = |(labels, histogram): &(MetricLabels<'_>, LatencyHistogram)| {
        json!({
            "attributes": string_attributes(labels), "startTimeUnixNano": start_nanos, "timeUnixNano": now_nanos,
            "count": histogram.counts.iter().sum::<u64>().to_string(),
            "sum": histogram.sum_ms as f64 / 1_000.0,
            "bucketCounts": histogram.counts.map(|count| count.to_string()),
            "explicitBounds": LATENCY_BOUNDS_MS.map(|ms| ms as f64 / 1_000.0),
        })
    };
    let to_metric = |MetricFamily { name, unit, help, points }: MetricFamily<'_>| {
        let (kind, data) = match points {
            MetricPoints::Sums(sums) => {
                let points: Vec<Value> = sums.iter().map(number_point).collect();
                let data = json!({
                    "dataPoints": points, "aggregationTemporality": TEMPORALITY_CUMULATIVE, "isMonotonic": true,
                });
                ("sum", data)
            }
            MetricPoints::Gauges(gauges) => {
                let points: Vec<Value> = gauges.iter().map(number_point).collect();
                ("gauge", json!({ "dataPoints": points }))
            }
            MetricPoints::Histograms(histograms) => {
                let points: Vec<Value> = histograms.iter().map(histogram_point).collect();
                (
                    "histogram",
                    json!({"dataPoints": points, "aggregationTemporality": TEMPORALITY_CUMULATIVE}),
                )
            }
        };
        json!({"name": name, "unit": unit, "description": help, kind: data})
    };
    let metrics: Vec<Value> = group_by_family(totals).into_iter().map(to_metric).collect();
    let resource = [
        string_attribute("service.name", "jeffrey-edge"),
        string_attribute("service.instance.id", instance),
    ];
    json!({"resourceMetrics": [{
        "resource": {"attributes": resource},
        "scopeMetrics": [{"scope": instrumentation_scope(), "metrics": metrics}],
    }]})
    .to_string()
}

fn string_attributes(labels: &[(&str, &str)]) -> Vec<Value> {
    labels.iter().map(|(key, value)| string_attribute(key, value)).collect()
}

fn instrumentation_scope() -> Value {
    json!({"name": "jeffrey-edge", "version": env!("CARGO_PKG_VERSION")})
}

fn string_attribute(key: &str, text: &str) -> Value {
    json!({"key": key, "value": {"stringValue": text}})
}

/// Returns the number of log records that a collector rejects for good in a successful response; 0
/// if the response gives no number. Rejected records must not be sent again.
pub fn parse_rejected_records(response_body: &[u8]) -> u64 {
    let response: Value = serde_json::from_slice(response_body).unwrap_or_default();
    match &response["partialSuccess"]["rejectedLogRecords"] {
        Value::String(number) => number.parse().unwrap_or(0),
        number => number.as_u64().unwrap_or(0),
    }
}

fn to_log_record(event: &str) -> Option<Value> {
    let fields: Map<String, Value> = serde_json::from_slice(event.as_bytes()).ok()?;
    let nanos = fields.get("time_ms")?.as_u64()?.checked_mul(1_000_000)?.to_string();
    let mut attributes = Vec::new();
    let mut add = |key: &str, value: &Value| {
        attributes.extend(to_any_value(value).map(|value| json!({"key": key, "value": value})));
    };
    add("feature_flag.provider.name", &json!("jeffrey-edge"));
    for (key, field) in [
        ("feature_flag.key", "release"),
        ("feature_flag.result.variant", "cohort"),
        ("feature_flag.context.id", "subject"),
        ("http.response.status_code", "status"),
    ] {
        add(key, fields.get(field).unwrap_or(&Value::Null));
    }
    if let Some(reason) = read_field(&fields, "reason") {
        add("feature_flag.result.reason", &json!(evaluation_reason(reason)));
    }
    if let Some(ms) = fields.get("latency_ms").and_then(Value::as_f64) {
        add("http.server.request.duration", &json!(ms / 1_000.0));
    }
    for (name, value) in &fields {
        if ["release", "cohort", "subject", "status", "latency_ms", "time_ms"]
            .contains(&name.as_str())
        {
            continue;
        }
        match value {
            Value::Object(nested) => {
                for (key, value) in nested {
                    add(&format!("jeffrey.{name}.{key}"), value);
                }
            }
            value => add(&format!("jeffrey.{name}"), value),
        }
    }
    let name = match read_field(&fields, "event") {
        Some(OpenEnum::Known(EventKind::Classify)) => "feature_flag.evaluation",
        Some(OpenEnum::Known(EventKind::Feedback)) => "jeffrey.feedback",
        Some(OpenEnum::Unrecognized) | None => "jeffrey.event",
    };
    Some(json!({
        "timeUnixNano": nanos,
        "observedTimeUnixNano": nanos,
        "severityNumber": SEVERITY_INFO,
        "eventName": name,
        "attributes": attributes,
    }))
}

/// Reads a field that holds the name of a variant; `None` if the field is missing or null.
fn read_field<T: DeserializeOwned>(fields: &Map<String, Value>, name: &str) -> Option<OpenEnum<T>> {
    Option::deserialize(fields.get(name)?).ok()?
}

/// Returns OpenFeature's name of an assignment's reason; `unknown` for a reason that this version
/// does not know.
fn evaluation_reason(reason: OpenEnum<AssignmentReason>) -> &'static str {
    reason.known().map_or("unknown", AssignmentReason::openfeature_reason)
}

/// Converts a JSON value to an OTLP `AnyValue`; `None` for null and for objects.
fn to_any_value(value: &Value) -> Option<Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(truth) => json!({ "boolValue": truth }),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => json!({ "intValue": integer.to_string() }),
            None => json!({ "doubleValue": number }),
        },
        Value::String(text) => json!({ "stringValue": text }),
        Value::Array(values) => {
            let values: Vec<Value> = values.iter().filter_map(to_any_value).collect();
            json!({ "arrayValue": { "values": values } })
        }
        Value::Object(_) => return None,
    })
}

/// Severity number of INFO; the JSON mapping writes enums as numbers.
const SEVERITY_INFO: u8 = 9;

/// Number of the aggregation temporality CUMULATIVE.
const TEMPORALITY_CUMULATIVE: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"event":"classify","schema_version":3,"id":"x","time_ms":1795514400500,"release":"e1",
        "cohort":"canary","reason":"bucket","is_evidence":true,"subject":"5ab1","preview":null,"destination":"canary",
        "status":200,"latency_ms":41,"confidence":0.9,"top2":[["joy",0.9],["neutral",0.05]],
        "thresholds":{"slow_ms":200,"stable_p95_ms":null}}"#;

    fn attribute_value(record: &Value, key: &str) -> Value {
        let attributes = record["attributes"].as_array().unwrap();
        let attribute = attributes.iter().find(|attribute| attribute["key"] == key);
        attribute.map_or(Value::Null, |attribute| attribute["value"].clone())
    }

    #[test]
    fn an_event_is_a_feature_flag_evaluation_with_extra_attributes() {
        let body: Value = serde_json::from_str(&encode_logs(&[EVENT, "no event"])).unwrap();
        let records = body["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap();
        let [record] = &records[..] else { panic!("{body}") };
        assert_eq!(record["timeUnixNano"], "1795514400500000000");
        assert_eq!(
            (&record["severityNumber"], &record["eventName"]),
            (&9.into(), &"feature_flag.evaluation".into())
        );
        let rows = [
            ("feature_flag.key", json!({"stringValue": "e1"})),
            ("feature_flag.result.variant", json!({"stringValue": "canary"})),
            ("feature_flag.result.reason", json!({"stringValue": "split"})),
            ("feature_flag.context.id", json!({"stringValue": "5ab1"})),
            ("http.response.status_code", json!({"intValue": "200"})),
            ("http.server.request.duration", json!({"doubleValue": 0.041})),
            ("jeffrey.is_evidence", json!({"boolValue": true})),
            ("jeffrey.confidence", json!({"doubleValue": 0.9})),
            ("jeffrey.thresholds.slow_ms", json!({"intValue": "200"})),
            ("jeffrey.thresholds.stable_p95_ms", Value::Null),
            ("jeffrey.preview", Value::Null),
        ];
        for (key, expected) in rows {
            assert_eq!(attribute_value(record, key), expected, "{key}");
        }
        let top2 = attribute_value(record, "jeffrey.top2");
        let first = &top2["arrayValue"]["values"][0]["arrayValue"]["values"];
        assert_eq!(*first, json!([{"stringValue": "joy"}, {"doubleValue": 0.9}]));
    }

    #[test]
    fn sums_are_cumulative_metrics_of_one_instance() {
        let totals: Vec<(String, u64)> = [
            ("jeffrey_feedback_total{cohort=\"canary\",good=\"true\"}", 4),
            ("jeffrey_sink_pending_events{sink=\"logs\"}", 7),
            ("jeffrey_request_duration_seconds_bucket{cohort=\"stable\",le=\"0.2\"}", 3),
            ("jeffrey_request_duration_seconds_bucket{cohort=\"stable\",le=\"+Inf\"}", 1),
            ("jeffrey_request_duration_seconds_sum{cohort=\"stable\"}", 12_500),
        ]
        .map(|(name, number)| (name.to_owned(), number))
        .into();
        let body = encode_metrics(&totals, "event-store-1", UnixMs(1_000), UnixMs(61_000));
        let body: Value = serde_json::from_str(&body).unwrap();
        let resource = &body["resourceMetrics"][0];
        assert_eq!(resource["resource"]["attributes"][1]["value"]["stringValue"], "event-store-1");
        let metrics = resource["scopeMetrics"][0]["metrics"].as_array().unwrap();
        let metric = |name: &str| metrics.iter().find(|metric| metric["name"] == name).unwrap();
        let feedback = &metric("jeffrey_feedback")["sum"];
        assert_eq!(
            (&feedback["aggregationTemporality"], &feedback["isMonotonic"]),
            (&2.into(), &true.into())
        );
        let point = &feedback["dataPoints"][0];
        assert_eq!(
            (&point["asInt"], &point["startTimeUnixNano"]),
            (&"4".into(), &"1000000000".into())
        );
        assert_eq!(attribute_value(point, "good"), json!({"stringValue": "true"}));
        assert_eq!(metric("jeffrey_sink_pending_events")["gauge"]["dataPoints"][0]["asInt"], "7");
        let latency = metric("jeffrey_request_duration");
        assert_eq!(latency["unit"], "s");
        let point = &latency["histogram"]["dataPoints"][0];
        assert_eq!((&point["count"], &point["sum"]), (&"4".into(), &12.5.into()));
        assert_eq!(
            (&point["bucketCounts"][5], &point["bucketCounts"][11]),
            (&"3".into(), &"1".into())
        );
        // The protocol requires one more bucket count than bounds.
        assert_eq!(point["explicitBounds"].as_array().unwrap().len(), 11);
        assert_eq!(point["bucketCounts"].as_array().unwrap().len(), 12);
    }

    #[test]
    fn a_partial_success_says_how_many_were_not_taken() {
        let rows: [(&[u8], u64); 6] = [
            (br#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"x"}}"#, 3),
            (br#"{"partialSuccess":{"rejectedLogRecords":2}}"#, 2),
            (br#"{"partialSuccess":{}}"#, 0),
            (b"{}", 0),
            (b"", 0),
            (b"\xff", 0),
        ];
        for (answer, expected) in rows {
            assert_eq!(
                parse_rejected_records(answer),
                expected,
                "{}",
                String::from_utf8_lossy(answer)
            );
        }
    }

    fn record_of(change: impl FnOnce(&mut Value)) -> Value {
        let mut event: Value = serde_json::from_str(EVENT).unwrap();
        change(&mut event);
        to_log_record(&event.to_string()).unwrap()
    }

    #[test]
    fn every_reason_has_its_name_in_openfeature_and_an_unrecognized_one_is_unknown() {
        let rows = [
            ("auth_undeclared", "default"),
            ("bucket", "split"),
            ("has_credentials", "default"),
            ("holdout", "split"),
            ("cohort_override", "targeting_match"),
            ("override_token", "targeting_match"),
            ("disabled", "disabled"),
            ("foreign_origin", "default"),
            ("gateway_fault", "default"),
            ("no_subject", "default"),
            ("no_text", "default"),
            ("rate_limited", "default"),
            ("streamed", "default"),
            ("from_the_future", "unknown"),
        ];
        assert_eq!(rows.len(), AssignmentReason::ALL.len() + 1);
        for (reason, expected) in rows {
            let record = record_of(|event| event["reason"] = reason.into());
            let evaluation = attribute_value(&record, "feature_flag.result.reason");
            assert_eq!(evaluation, json!({ "stringValue": expected }), "{reason}");
            // The event's own word is exported as well, so a collector can tell new reasons apart.
            let own = attribute_value(&record, "jeffrey.reason");
            assert_eq!(own, json!({ "stringValue": reason }));
        }
        for missing in [
            record_of(|event| event["reason"] = Value::Null),
            record_of(|event| drop(event.as_object_mut().unwrap().remove("reason"))),
        ] {
            assert_eq!(attribute_value(&missing, "feature_flag.result.reason"), Value::Null);
        }
    }

    #[test]
    fn the_kind_of_an_event_names_its_record() {
        let rows = [
            (json!("classify"), "feature_flag.evaluation"),
            (json!("feedback"), "jeffrey.feedback"),
            (json!("from_the_future"), "jeffrey.event"),
            (Value::Null, "jeffrey.event"),
        ];
        for (kind, expected) in rows {
            let record = record_of(|event| event["event"] = kind.clone());
            assert_eq!(record["eventName"], expected, "{kind}");
        }
    }
}
