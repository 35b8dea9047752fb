//! Checks of the stored events against what the clients saw, and of the tables beside the events.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::event_fields::EventFields;
use crate::fault::Hop;
use crate::invariants::Invariant;
use crate::isolate::Isolate;
use crate::object_cell::ObjectCell;
use crate::record::{ClientResponse, SeenAnswer, event_id};
use crate::reference_bucket;
use crate::simulation::Simulation;
use jeffrey_edge::gateway::events::signed_id;
use jeffrey_edge::gateway::request::subject::hash_subject;
use jeffrey_edge::gateway::store::subject_runs::{SubjectBits, decode_run};
use jeffrey_edge::rollout::bucket::ReleaseName;
use jeffrey_edge::rollout::signing_key::SigningKey;
use jeffrey_gateway_service::host::ObjectClass;
use jeffrey_gateway_service::request_host::StreamedResponse;
use jeffrey_terms::{Cohort, Subject, UnixMs};

/// Time that an isolate may need to learn the share again after it could not reach the rollout
/// object, in milliseconds.
const RECOVERY_MS: u64 = 60_000;

impl Simulation {
    /// Notes the answer to a classify call, and whether it gave its caller a subject.
    pub(crate) fn note_answer(
        &self,
        isolate: &Isolate,
        response: &ClientResponse,
        by_model: bool,
        has_new_cookie: bool,
    ) {
        self.record.expect_event(isolate.number);
        let Some(signed) = response.head.header("x-jeffrey-id") else { return };
        // A clock that was set forward makes ids of the future.
        let now = UnixMs(self.now_ms() + 60 * 60_000);
        let Ok(id) = signed_id::verify(&signed, &self.settings.signing_keys, now) else { return };
        let answer = SeenAnswer {
            by_model,
            status: response.status,
            has_new_cookie,
            cohort: response.head.header("x-jeffrey-cohort"),
        };
        self.record.answers.borrow_mut().insert(id.to_string(), answer);
    }

    /// Checks a stored classify event against the answer that its client got.
    pub(crate) fn check_event(&self, event: &EventFields) {
        let violate = |what: &str| {
            self.record
                .violate(Invariant::EventsTellTruth, || format!("event {}: {what}", event.id));
        };
        let is_by_model = event.destination == Some(Cohort::Canary);
        let has_cause = event.fallback_reason.is_some() || event.is_kept_out();
        if event.cohort == Cohort::Canary && !is_by_model && !has_cause {
            violate("the legacy system answered a canary call for no reason");
        }
        if is_by_model && event.fallback_reason.is_some() {
            violate("the model answered, and there is a fallback");
        }
        if is_by_model && event.is_kept_out() {
            violate("the model answered a caller who was not admitted");
        }
        let is_drawn = matches!(event.reason.as_deref(), Some("bucket" | "holdout"));
        if event.is_evidence && !is_drawn {
            violate("evidence, though its cohort was not drawn");
        }
        let answers = self.record.answers.borrow();
        let Some(answer) = answers.get(&event.id) else { return };
        if answer.by_model != is_by_model {
            violate("another system answered");
        }
        if answer.status != event.status {
            violate("the status is another");
        }
        if answer.cohort.as_deref().is_some_and(|cohort| cohort != event.cohort.name()) {
            violate("the cohort is another");
        }
        if answer.has_new_cookie && event.is_evidence {
            violate("evidence, though the cookie is new");
        }
    }

    /// Checks that each answered call made one event; an isolate that ended may have made fewer.
    pub(crate) fn check_event_counts(&self) {
        let made = self.record.events_by_isolate.borrow();
        let ends = self.record.isolate_ends.borrow();
        let (mut missing, mut surplus) = (0, 0);
        for (isolate, answers) in self.record.classify_answers.borrow().iter() {
            let events = made.get(isolate).copied().unwrap_or(0);
            if ends.contains_key(isolate) {
                continue;
            }
            missing += answers.saturating_sub(events);
            surplus += events.saturating_sub(*answers);
        }
        if missing > self.record.counts.get().cut_tasks || surplus > 0 {
            self.record.violate(Invariant::OneEventPerCall, || {
                format!("{missing} calls without an event, {surplus} events without a call")
            });
        }
    }

    /// Checks that an event which an isolate makes says `disabled` only for a cause.
    pub(crate) fn check_disabled(&self, isolate: &Isolate, line: &str) {
        if !line.contains("\"reason\":\"disabled\"") {
            return;
        }
        let now_ms = self.now_ms();
        let is_recent = |at_ms: u64| at_ms > 0 && now_ms.saturating_sub(at_ms) < RECOVERY_MS;
        let has_cause = is_recent(isolate.rollout_trouble_at_ms.get())
            || is_recent(isolate.clock_stepped_at_ms.get())
            || is_recent(self.conditions.disturbed_at_ms(Hop::Objects))
            || self
                .record
                .in_force
                .borrow()
                .last()
                .is_none_or(|last| last.is_disabled || is_recent(last.since_ms));
        if !has_cause {
            self.record.violate(Invariant::DisabledForCause, || {
                format!("isolate {}: event {}", isolate.number, event_id(line).unwrap_or_default())
            });
        }
    }

    /// Checks that a subject is new once, in all shards together.
    pub(crate) fn check_first_seen(&self) {
        let objects = self.objects.borrow();
        let mut seen = BTreeSet::new();
        for shard in objects.iter().filter(|cell| cell.class == ObjectClass::EventStore) {
            let runs = shard.database.inspect_blobs("SELECT subjects FROM subject_run");
            for subject in runs.iter().flat_map(|run| decode_run(run)) {
                if !seen.insert(subject) {
                    self.record.violate(Invariant::SubjectsNewOnce, || {
                        format!("{subject:?} is new twice")
                    });
                }
            }
        }
    }

    /// Checks that no minute and no hit of before an erasure names its subject, and nothing at all names
    /// one that made no call after its erasure. The subjects in `seen_after` made one.
    pub(crate) fn check_erased_rows(&self, shard: &ObjectCell, seen_after: &BTreeSet<String>) {
        #[derive(Deserialize)]
        struct MinuteRow {
            minute: u64,
            json: String,
        }
        #[derive(Deserialize)]
        struct HourRow {
            hour: u64,
        }
        let minutes = shard.database.inspect::<MinuteRow>("SELECT minute, json FROM minute");
        let runs = shard.database.inspect_blobs("SELECT subjects FROM subject_run");
        let order = "FROM subject_hits ORDER BY hour, release, saved_seq";
        let hours = shard.database.inspect::<HourRow>(&format!("SELECT hour {order}"));
        let hits = shard.database.inspect_blobs(&format!("SELECT hits {order}"));
        for (subject, at_ms) in self.record.erased.borrow().iter() {
            let bits = SubjectBits::new(subject);
            let names = |blob: &[u8], entry_bytes: usize| {
                blob.chunks(entry_bytes).any(|entry| entry.starts_with(&bits.0.to_be_bytes()))
            };
            // A later event of the same minute or hour may have named it again.
            let may_be_named = seen_after.contains(subject) || self.has_pruned_events();
            let is_over = |end_ms: u64| !may_be_named || end_ms < *at_ms;
            let member = format!("\"{}\":", bits.0);
            let is_left = minutes
                .iter()
                .any(|row| is_over((row.minute + 1) * 60_000) && row.json.contains(&member))
                || hours
                    .iter()
                    .zip(&hits)
                    .any(|(row, hits)| is_over((row.hour + 1) * 3_600_000) && names(hits, 9))
                || !may_be_named && runs.iter().any(|run| names(run, 8));
            if is_left {
                self.record.violate(Invariant::ErasedStaysErased, || {
                    format!("a row of {} names an erased subject", shard.name)
                });
            }
        }
    }

    /// Checks that feedback counts once for each response.
    pub(crate) fn check_feedback(&self, classify_ids: &BTreeMap<String, u64>) {
        for (id, count) in classify_ids.iter().filter(|(_, count)| **count > 1) {
            self.record
                .violate(Invariant::FeedbackOnce, || format!("{count} events of feedback on {id}"));
        }
    }

    /// Checks that a subject's hash needs the key, and differs between releases.
    pub(crate) fn check_hash(&self) {
        let subject = Subject::parse("zq-raw-user-0").expect("the subject is valid");
        let other_key =
            SigningKey::parse("another key of the simulation").expect("it is long enough");
        let other_release = ReleaseName::parse("another").expect("the name is valid");
        let key = self.settings.signing_keys.first().expect("each run has a key");
        let hash = hash_subject(&subject, key, &self.release);
        let others = [
            hash_subject(&subject, &other_key, &self.release),
            hash_subject(&subject, key, &other_release),
        ];
        if others.contains(&hash) {
            self.record.violate(Invariant::HashesNeedTheKey, || {
                "another key or another release gives the same hash".to_owned()
            });
        }
    }

    /// Returns whether the plan's holdout keeps a subject stable.
    pub(crate) fn is_held_out(&self, subject: &str) -> bool {
        reference_bucket::is_held_out(subject, self.holdout.basis_points())
    }
}
