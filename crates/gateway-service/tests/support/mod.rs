//! Events for the tests of the event store, of the queue and of the rollout, and readings of the
//! store.

use serde_json::{Value, json};

use jeffrey_gateway_service::event_store;
use jeffrey_native_host::{IsolateHost, block_on};
use jeffrey_terms::{ResponseId, UnixMs};

/// Start of a minute, 2026-01-01.
pub(crate) const START: UnixMs = UnixMs(1_767_225_600_000);

/// Id of the response with a number.
pub(crate) fn id_of(number: u16) -> ResponseId {
    let mut random = [0; 10];
    random[8..].copy_from_slice(&number.to_be_bytes());
    ResponseId::new(START, random)
}

/// Event of a canary call at the start, after `edit`.
pub(crate) fn event_with(number: u16, edit: impl FnOnce(&mut Value)) -> String {
    let mut event = json!({
        "event": "classify", "id": id_of(number).to_string(), "time_ms": START.0, "release": "e1-small",
        "cohort": "canary", "reason": "bucket", "is_evidence": true, "subject": "5ab1", "destination": "canary",
        "fallback_reason": null, "status": 200, "latency_ms": 150, "label": "joy", "confidence": 0.9,
        "low_confidence": false, "route": "linear_head", "rule_applied": false, "rule": null, "shadow": null,
        "thresholds": {"slow_ms": 200, "stable_p95_ms": 100.0, "canary_slow_ms": 120.0,
            "share_basis_points": 1000, "stage": null},
    });
    edit(&mut event);
    event.to_string()
}

/// Returns the number of events in all shards.
pub(crate) fn stored_events(host: &IsolateHost) -> u64 {
    let status = block_on(event_store::fetch_status(host)).unwrap();
    serde_json::to_value(&status).unwrap()["events"].as_u64().unwrap()
}

/// Returns the value of a counter; 0 if it was never counted.
pub(crate) fn counter(host: &IsolateHost, name: &str) -> u64 {
    let counters = block_on(event_store::fetch_counters(host)).unwrap();
    counters.iter().find(|(series, _)| series == name).map_or(0, |(_, number)| *number)
}
