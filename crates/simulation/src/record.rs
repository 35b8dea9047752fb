//! Observations of a run, and the violations found in it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::executor::Owner;
use crate::fault::Hop;
use crate::invariants::{Invariant, Violation};
use crate::isolate::Isolate;
use jeffrey_gateway_service::host::{FetchError, ObjectCall, ObjectClass};
use jeffrey_gateway_service::request_host::StreamedResponse;
use jeffrey_gateway_service::sql::SqlValue;
use jeffrey_native_host::StoredResponse;

/// Beginning of every text and every user's name in a run; a byte sequence that nothing else has.
pub(crate) const RAW_MARK: &[u8] = b"zq-raw-";

/// Violations of each invariant that are kept in detail; further ones are counted.
const VIOLATIONS_MAX: u64 = 5;

/// A request that left the gateway.
#[derive(Clone, Debug)]
pub(crate) struct OutgoingRequest {
    /// The value of `authorization`, if it has one.
    pub(crate) authorization: Option<String>,
    pub(crate) url: String,
    pub(crate) body: Vec<u8>,
}

/// Response of the legacy system, and the time that it took.
pub(crate) struct LegacyReply {
    pub(crate) service_ms: u64,
    pub(crate) response: StoredResponse,
}

/// Observations of one call by the systems around the gateway.
#[derive(Default)]
pub(crate) struct CallWatch {
    /// How often the legacy system got it.
    pub(crate) legacy_requests: Cell<u32>,
    /// Whether a response of the legacy system failed, timed out or was a 5xx.
    pub(crate) legacy_failed: Cell<bool>,
    /// Time that the legacy system took, in milliseconds.
    pub(crate) legacy_ms: Cell<u64>,
    /// Whether the legacy system would have answered after the gateway's time limit.
    pub(crate) would_answer: Cell<bool>,
    /// The call has left for the legacy system.
    pub(crate) is_sent: Cell<bool>,
    /// Result of the legacy system that is not taken yet.
    upstream: RefCell<Option<Result<StoredResponse, FetchError>>>,
}

impl CallWatch {
    pub(crate) fn put_upstream(&self, result: Result<StoredResponse, FetchError>) {
        self.upstream.replace(Some(result));
    }

    pub(crate) fn take_upstream(&self) -> Option<Result<StoredResponse, FetchError>> {
        self.upstream.take()
    }
}

/// A response with its body.
pub(crate) struct ClientResponse {
    pub(crate) status: u16,
    pub(crate) head: StoredResponse,
    pub(crate) body: Vec<u8>,
}

impl ClientResponse {
    /// Reads the whole response.
    pub(crate) async fn read(mut head: StoredResponse) -> Self {
        let mut body = Vec::new();
        while let Some(chunk) = head.next_chunk().await {
            body.extend(chunk);
        }
        Self { status: head.status(), head, body }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A classify call's answer, as its client got it.
#[derive(Clone, Debug)]
pub(crate) struct SeenAnswer {
    pub(crate) by_model: bool,
    pub(crate) status: u16,
    pub(crate) has_new_cookie: bool,
    /// Value of the debug header with the cohort.
    pub(crate) cohort: Option<String>,
}

/// A write that the record notes once it is durable.
#[derive(Clone, Debug)]
pub(crate) enum StoredChange {
    /// A notification for an alert webhook, as JSON.
    Notification { target: String, json: String },
    /// The release state, or the plan's controller.
    Release,
}

impl StoredChange {
    pub(crate) fn of_statement(
        class: ObjectClass,
        query: &str,
        values: &[SqlValue],
    ) -> Option<Self> {
        if class != ObjectClass::Rollout {
            return None;
        }
        let text = |place: usize| match values.get(place) {
            Some(SqlValue::Text(text)) => text.clone(),
            _ => String::new(),
        };
        if query.starts_with("INSERT INTO pending_notification") {
            return Some(Self::Notification { target: text(0), json: text(1) });
        }
        let is_release = query.contains("release_state") || query.contains("stored_value");
        is_release.then_some(Self::Release)
    }
}

/// State of the release from one commit to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InForce {
    pub(crate) since_ms: u64,
    pub(crate) version: u64,
    pub(crate) share: u16,
    /// Whether it was killed or rolled back.
    pub(crate) is_disabled: bool,
    pub(crate) is_rolled_back: bool,
    /// Whether a hard failure of the model worker is the cause.
    pub(crate) is_by_trap: bool,
}

impl InForce {
    /// Returns the share that calls may have by this state.
    pub(crate) const fn open_share(self) -> u16 {
        if self.is_disabled { 0 } else { self.share }
    }
}

/// State of an event that an isolate made.
#[derive(Clone, Debug)]
pub(crate) struct EventWatch {
    pub(crate) isolate: u32,
    pub(crate) made_at_ms: u64,
    /// Whether the queue or the event store acknowledged the event.
    pub(crate) is_acknowledged: bool,
    /// Keyed hash of its subject.
    pub(crate) subject: Option<String>,
}

/// Alerts that are under way, by the object that sends them, URL and body.
type AlertsInFlight = Rc<RefCell<Vec<(Owner, String, Vec<u8>)>>>;

/// An alert that is under way to a webhook, until it is dropped.
pub(crate) struct AlertInFlight {
    alerts: AlertsInFlight,
    key: (Owner, String, Vec<u8>),
}

impl Drop for AlertInFlight {
    fn drop(&mut self) {
        self.alerts.borrow_mut().retain(|key| *key != self.key);
    }
}

/// Counts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Calls that clients made.
    pub calls: u64,
    /// Calls that the model answered.
    pub by_model: u64,
    /// Calls that the legacy system answered.
    pub by_legacy: u64,
    /// Calls that the gateway itself answered.
    pub by_gateway: u64,
    /// Calls whose isolate ended before it answered.
    pub interrupted: u64,
    /// Events that isolates made.
    pub events: u64,
    /// Tasks behind a response that the platform cut.
    pub cut_tasks: u64,
    /// Faults that were injected.
    pub faults: u64,
    /// Rollbacks that were stored.
    pub rollbacks: u64,
    /// Releases that were promoted.
    pub promotions: u64,
}

/// Observations of a run, and its violations.
#[derive(Default)]
pub(crate) struct Record {
    violations: RefCell<Vec<Violation>>,
    violation_counts: RefCell<BTreeMap<Invariant, u64>>,
    now_ms: Cell<u64>,
    pub(crate) counts: Cell<Counts>,
    /// Order and time of all answers as a hash: two runs of one scenario have the same.
    pub(crate) digest: Cell<u64>,
    pub(crate) in_force: RefCell<Vec<InForce>>,
    pub(crate) events: RefCell<BTreeMap<String, EventWatch>>,
    /// How often each notification was stored, by webhook and JSON.
    pub(crate) notifications: RefCell<BTreeMap<(String, String), u64>>,
    alerts_in_flight: AlertsInFlight,
    /// Bodies that a webhook accepted, where the response arrived, by URL and body.
    pub(crate) accepted_alerts: RefCell<BTreeMap<(String, Vec<u8>), u64>>,
    /// Last time at which an isolate ended.
    pub(crate) isolate_ends: RefCell<BTreeMap<u32, u64>>,
    /// Hashes of erased subjects, with the time at which their erasure was asked for.
    pub(crate) erased: RefCell<Vec<(String, u64)>>,
    /// Hashes of subjects whose erasure was asked for, with or without success.
    pub(crate) erasures_asked: RefCell<BTreeSet<String>>,
    /// Number of the user who called last.
    pub(crate) last_user: Cell<u64>,
    /// Answers to classify calls, by the id of their event.
    pub(crate) answers: RefCell<BTreeMap<String, SeenAnswer>>,
    /// Classify calls that an isolate answered, and events that it made.
    pub(crate) classify_answers: RefCell<BTreeMap<u32, u64>>,
    pub(crate) events_by_isolate: RefCell<BTreeMap<u32, u64>>,
    /// Alerts that fired and did not resolve, by webhook and key.
    active_alerts: RefCell<BTreeSet<(String, String)>>,
    /// Time at which the released model last answered `/health`; 0 for never.
    pub(crate) healthy_at_ms: Cell<u64>,
    /// Time of the first hard failure of a canary call; 0 for none.
    pub(crate) hard_failed_at_ms: Cell<u64>,
    /// Whether the model worker itself ever failed.
    pub(crate) model_failed: Cell<bool>,
    /// Whether a webhook refused an alert with a status that ends its retries.
    pub(crate) refused_alerts: Cell<bool>,
    /// Last minute that the rollout object folded, and when it did.
    pub(crate) folded_minute: Cell<u64>,
    pub(crate) folded_at_ms: Cell<u64>,
    /// Time of the last canary answer.
    pub(crate) canary_at_ms: Cell<u64>,
    /// Commands of operators that were applied, with their time.
    pub(crate) commands: RefCell<Vec<(&'static str, u64)>>,
}

/// Returns the id of an event's line.
pub(crate) fn event_id(line: &str) -> Option<&str> {
    let start = line.find("\"id\":\"")? + 6;
    line.get(start..start + 36)
}

/// Returns the subject's hash of an event's line.
fn event_subject(line: &str) -> Option<&str> {
    let start = line.find("\"subject\":\"")? + 11;
    line.get(start..start + 32)
}

impl Record {
    /// Counts an answered classify call for the isolate that makes its event.
    pub(crate) fn expect_event(&self, isolate: u32) {
        *self.classify_answers.borrow_mut().entry(isolate).or_default() += 1;
    }

    pub(crate) fn set_now(&self, now_ms: u64) {
        self.now_ms.set(now_ms);
    }

    /// Returns the violations by their invariant.
    pub(crate) fn violation_counts(&self) -> BTreeMap<Invariant, u64> {
        self.violation_counts.borrow().clone()
    }

    /// Adds a violation at the current time.
    pub(crate) fn violate(&self, invariant: Invariant, detail: impl FnOnce() -> String) {
        let count = *self
            .violation_counts
            .borrow_mut()
            .entry(invariant)
            .and_modify(|count| *count += 1)
            .or_insert(1);
        let mut violations = self.violations.borrow_mut();
        if count <= VIOLATIONS_MAX {
            violations.push(Violation { invariant, at_ms: self.now_ms.get(), detail: detail() });
        }
    }

    /// Returns whether a promise is broken that no known fault breaks.
    pub(crate) fn has_error(&self) -> bool {
        let counts = self.violation_counts.borrow();
        counts.keys().any(|invariant| invariant.known_fault().is_none())
    }

    pub(crate) fn take_violations(&self) -> Vec<Violation> {
        self.violations.take()
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }

    pub(crate) fn count_cut_task(&self) {
        self.count(|counts| counts.cut_tasks += 1);
    }

    /// Mixes a number into the digest.
    pub(crate) fn digest(&self, number: u64) {
        let mixed = (self.digest.get() ^ number).wrapping_mul(0x0100_0000_01b3);
        self.digest.set(mixed ^ (mixed >> 29));
    }

    /// Checks bytes that leave the gateway for anything but model and legacy system.
    pub(crate) fn check_privacy(&self, destination: &str, bytes: &[u8]) {
        if bytes.windows(RAW_MARK.len()).any(|window| window == RAW_MARK) {
            self.violate(Invariant::NothingRawLeaves, || {
                format!("a raw value reached {destination}")
            });
        }
    }

    /// Checks the body that goes to the legacy system.
    pub(crate) fn check_forwarded(&self, received: Option<&[u8]>, sent: Option<&[u8]>) {
        if received != sent {
            self.violate(Invariant::ForwardedUntouched, || {
                let length = |body: Option<&[u8]>| body.map_or(0, <[u8]>::len);
                format!("{} bytes came, {} bytes went on", length(received), length(sent))
            });
        }
    }

    /// Notes an event that an isolate hands to the queue.
    pub(crate) fn event_made(&self, isolate: &Rc<Isolate>, line: &str, now_ms: u64) {
        let Some(id) = event_id(line) else { return };
        let subject = event_subject(line).map(str::to_owned);
        let watch = EventWatch {
            isolate: isolate.number,
            made_at_ms: now_ms,
            is_acknowledged: false,
            subject,
        };
        *self.events_by_isolate.borrow_mut().entry(isolate.number).or_default() += 1;
        let is_new = self.events.borrow_mut().insert(id.to_owned(), watch).is_none();
        self.count(|counts| counts.events += 1);
        if !is_new {
            self.violate(Invariant::EventsCountOnce, || format!("two events have the id {id}"));
        }
    }

    pub(crate) fn event_acknowledged(&self, line: &str) {
        if let Some(id) = event_id(line) {
            self.acknowledge(id);
        }
    }

    fn acknowledge(&self, id: &str) {
        if let Some(watch) = self.events.borrow_mut().get_mut(id) {
            watch.is_acknowledged = true;
        }
    }

    /// Returns the events in a message to the event store, and checks the message.
    pub(crate) fn watch_append(&self, call: ObjectCall<'_>) -> Option<Vec<String>> {
        if call.class != ObjectClass::EventStore || !call.message.starts_with(b"{\"append\"") {
            return None;
        }
        self.check_privacy("the event store", call.message);
        let message = std::str::from_utf8(call.message).ok()?;
        Some(message.lines().skip(1).filter_map(event_id).map(str::to_owned).collect())
    }

    pub(crate) fn append_acknowledged(&self, ids: Vec<String>) {
        ids.iter().for_each(|id| self.acknowledge(id));
    }

    /// Notes that an object sends an alert, and checks that it does not send the same one already.
    pub(crate) fn begin_alert(
        &self,
        hop: Hop,
        owner: Owner,
        request: &OutgoingRequest,
    ) -> Option<AlertInFlight> {
        // Two test alerts of one millisecond are the same.
        let is_test = request.body.windows(6).any(|window| window == b"\"test\"");
        if hop != Hop::Alerts || is_test {
            return None;
        }
        let key = (owner, request.url.clone(), request.body.clone());
        if self.alerts_in_flight.borrow().contains(&key) {
            self.violate(Invariant::AlertsToldOnce, || {
                format!("two deliveries at once to {}", request.url)
            });
        }
        self.alerts_in_flight.borrow_mut().push(key.clone());
        Some(AlertInFlight { alerts: Rc::clone(&self.alerts_in_flight), key })
    }

    /// Notes a response that arrived from a webhook.
    pub(crate) fn http_answered(&self, hop: Hop, request: &OutgoingRequest, status: u16) {
        if hop == Hop::Alerts && matches!(status, 300..=428 | 430..=499) {
            self.refused_alerts.set(true);
        }
        if hop == Hop::Alerts && (200..300).contains(&status) {
            let key = (request.url.clone(), request.body.clone());
            *self.accepted_alerts.borrow_mut().entry(key).or_default() += 1;
        }
    }

    /// Notes a notification that was stored for a webhook, and checks that its alert fires and
    /// resolves in turn.
    pub(crate) fn notification_stored(&self, target: String, json: String) {
        #[derive(serde::Deserialize)]
        struct NotificationFields {
            dedup_key: String,
            resolved: bool,
        }
        let fields = serde_json::from_str::<NotificationFields>(&json);
        if let Ok(NotificationFields { dedup_key, resolved }) = fields
            && dedup_key != "promoted"
        {
            let mut active = self.active_alerts.borrow_mut();
            let key = (target.clone(), dedup_key.clone());
            let was_other = if resolved { active.remove(&key) } else { active.insert(key) };
            if !was_other {
                self.violate(Invariant::AlertsToldOnce, || {
                    format!("{dedup_key}, resolved {resolved}, is stored again for {target}")
                });
            }
        }
        *self.notifications.borrow_mut().entry((target, json)).or_default() += 1;
    }

    /// Notes the end of an isolate.
    pub(crate) fn isolate_ended(&self, isolate: &Isolate, now_ms: u64) {
        self.isolate_ends.borrow_mut().insert(isolate.number, now_ms);
    }
}
