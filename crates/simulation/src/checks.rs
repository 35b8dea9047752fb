//! The checks of the promises: at each answer and each commit, and at the end of a run, when faults
//! have ended and the queue is empty.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::Deserialize;

use crate::event_fields::EventFields;
use crate::fault::ModelFault;
use crate::invariants::Invariant;
use crate::isolate::Isolate;
use crate::object_cell::ObjectCell;
use crate::record::{CallWatch, InForce, StoredChange};
use crate::reference_bucket;
use crate::simulation::Simulation;
use jeffrey_edge::gateway::notify::webhook::Notification;
use jeffrey_edge::gateway::store::event_batch::decompress_lines;
use jeffrey_edge::gateway::store::minute_record::MinuteRecord;
use jeffrey_edge::gateway::store::shard_counts::Summary;
use jeffrey_edge::rollout::history::{HistoryEntry, RolloutInput};
use jeffrey_edge::rollout::phase::Phase;
use jeffrey_edge::rollout::replay::replay;
use jeffrey_gateway_service::host::ObjectClass;
use jeffrey_terms::Cohort;

/// Time from a stored rollback to the last canary answer while the rollout object can be reached, in
/// milliseconds.
const ROLLBACK_MS: u64 = 10_000;

/// The same while it cannot: the longest use of a snapshot, the model's time limit, and the call's
/// own way.
const ROLLBACK_AWAY_MS: u64 = 30_000 + 2_000 + 1_500;

/// Entries that the history of a promoted release may have, without commands.
const PROMOTED_ENTRIES_MAX: u64 = 100;

/// Time without a newly folded minute after which a canary that answers calls is blind, in
/// milliseconds.
const BLIND_MS: u64 = 75 * 60_000;

/// Delay of a call of stable, beyond the legacy system's time, that is a wait, in milliseconds.
const STABLE_DELAY_MS: u64 = 300;

/// How long an isolate counts as cut off from the rollout object after a failed call, in
/// milliseconds.
const TROUBLE_MS: u64 = 40_000;

#[derive(Deserialize)]
struct TextRow {
    text: String,
}

#[derive(Deserialize)]
struct ReleaseStateFields {
    version: u64,
    share_basis_points: u16,
    killed: bool,
}

#[derive(Deserialize)]
struct ControllerFields {
    state: PhaseHolder,
    last_minute: u64,
}

#[derive(Deserialize)]
struct PhaseHolder {
    phase: PhaseFields,
}

#[derive(Deserialize)]
struct PhaseFields {
    phase: String,
    #[serde(default)]
    cause: Option<serde_json::Value>,
}

/// An answer to a call, as its client got it.
pub(crate) struct CanaryAnswer<'a> {
    pub(crate) subject: &'a str,
    pub(crate) isolate: &'a Isolate,
    pub(crate) at_ms: u64,
}

impl Simulation {
    /// Notes what a commit made durable.
    pub(crate) fn record_commit(&self, cell: &ObjectCell, changes: Vec<StoredChange>) {
        let mut has_release = false;
        for change in changes {
            match change {
                StoredChange::Release => has_release = true,
                StoredChange::Notification { target, json } => {
                    self.record.notification_stored(target, json);
                }
            }
        }
        if has_release && let Some(next) = self.read_in_force(cell) {
            self.note_in_force(next);
        }
    }

    fn read_in_force(&self, cell: &ObjectCell) -> Option<InForce> {
        let text = |query: &str| -> Option<String> {
            cell.database.inspect::<TextRow>(query).into_iter().next().map(|row| row.text)
        };
        let state = text("SELECT json AS text FROM release_state");
        let state = state.and_then(|json| serde_json::from_str::<ReleaseStateFields>(&json).ok());
        let controller = text("SELECT json AS text FROM stored_value WHERE name = 'control'");
        let controller =
            controller.and_then(|json| serde_json::from_str::<ControllerFields>(&json).ok());
        if let Some(controller) = &controller {
            self.note_folded_minute(controller.last_minute);
        }
        let phase = controller.map(|controller| controller.state.phase);
        let phase_name = phase.as_ref().map(|phase| phase.phase.as_str());
        let is_rolled_back = phase_name == Some("rolled_back");
        let is_promoted = phase_name == Some("promoted");
        let is_by_trap = phase
            .is_some_and(|phase| phase.cause.is_some_and(|cause| cause["hard_failure"] == "trap"));
        if !self.was_promoted.replace(is_promoted) && is_promoted {
            self.record.count(|counts| counts.promotions += 1);
        }
        let (version, share, killed) = state
            .map_or((0, 0, false), |state| (state.version, state.share_basis_points, state.killed));
        let is_disabled = killed || is_rolled_back;
        let since_ms = self.now_ms();
        Some(InForce { since_ms, version, share, is_disabled, is_rolled_back, is_by_trap })
    }

    fn note_in_force(&self, next: InForce) {
        let last = self.record.in_force.borrow().last().copied();
        if last.is_some_and(|last| InForce { since_ms: next.since_ms, ..last } == next) {
            return;
        }
        self.trace(|| {
            let InForce { version, share, is_disabled, is_rolled_back, .. } = next;
            format!("stored: version {version}, {share} points, disabled {is_disabled}, rolled back {is_rolled_back}")
        });
        if let Some(last) = last {
            let is_changed = next.share != last.share;
            if next.version < last.version || is_changed && next.version == last.version {
                self.record.violate(Invariant::VersionsGrow, || {
                    format!("from {} to {}", last.version, next.version)
                });
            }
            if next.is_rolled_back && !last.is_rolled_back {
                self.record.count(|counts| counts.rollbacks += 1);
                if next.is_by_trap && !self.record.model_failed.get() {
                    self.record.violate(Invariant::TransportIsNoVerdict, || {
                        "the model worker answered every call that reached it".to_owned()
                    });
                }
            }
            self.check_increase(last, next);
            let reopens = last.is_rolled_back && !next.is_rolled_back;
            let commands = self.record.commands.borrow();
            let was_commanded = commands.iter().any(|(name, at_ms)| {
                matches!(*name, "resume" | "start" | "abort") && *at_ms >= last.since_ms
            });
            if reopens && !was_commanded {
                self.record
                    .violate(Invariant::RollbackLatched, || "it opened by itself".to_owned());
            }
        }
        self.record.in_force.borrow_mut().push(next);
    }

    /// Checks an answer of the model against the states that may have been active.
    pub(crate) fn check_canary_answer(&self, answer: &CanaryAnswer<'_>) {
        let bucket = reference_bucket::bucket(self.release.as_str(), answer.subject);
        if self.is_held_out(answer.subject) && self.has_plan_share() {
            self.record.violate(Invariant::HoldoutStaysStable, || {
                format!("{} got the canary", answer.subject)
            });
        }
        let isolate = answer.isolate;
        let is_cut_off = |at_ms: u64| at_ms > 0 && answer.at_ms.saturating_sub(at_ms) < TROUBLE_MS;
        let is_away = is_cut_off(isolate.rollout_trouble_at_ms.get())
            || is_cut_off(isolate.clock_stepped_at_ms.get());
        let bound_ms = if is_away { ROLLBACK_AWAY_MS } else { ROLLBACK_MS };
        let since_ms = answer.at_ms.saturating_sub(bound_ms);
        let in_force = self.record.in_force.borrow();
        let mut share_max = 0;
        for state in in_force.iter().rev() {
            share_max = share_max.max(state.open_share());
            if state.since_ms <= since_ms {
                break;
            }
        }
        if share_max == 0 {
            self.record.violate(Invariant::CanaryStops, || {
                let last = in_force.iter().rev().find(|state| state.open_share() > 0);
                let closed_ms = in_force
                    .iter()
                    .rev()
                    .take_while(|state| state.open_share() == 0)
                    .last()
                    .map_or(0, |state| answer.at_ms.saturating_sub(state.since_ms));
                format!("isolate {} answered {closed_ms} ms after the end of {last:?}, bound {bound_ms} ms", isolate.number)
            });
        } else if bucket >= share_max {
            self.record.violate(Invariant::ShareRespected, || {
                format!("bucket {bucket} got the canary at a share of {share_max}")
            });
        }
    }

    /// Returns whether the release ever had a share.
    fn has_plan_share(&self) -> bool {
        self.record.in_force.borrow().iter().any(|state| state.share > 0)
    }

    fn note_folded_minute(&self, minute: u64) {
        if self.record.folded_minute.replace(minute) != minute {
            self.record.folded_at_ms.set(self.now_ms());
        }
    }

    /// Checks that a canary which answers calls is observed.
    pub(crate) fn check_observed(&self) {
        let last = self.record.in_force.borrow().last().copied();
        let (now_ms, folded_ms) = (self.now_ms(), self.record.folded_at_ms.get());
        let Some(last) = last.filter(|last| last.open_share() > 0) else {
            self.record.folded_at_ms.set(now_ms);
            return;
        };
        let blind_ms = now_ms.saturating_sub(folded_ms.max(last.since_ms));
        let is_answering = now_ms.saturating_sub(self.record.canary_at_ms.get()) < 5 * 60_000;
        if blind_ms > BLIND_MS && is_answering {
            // If the store has old minutes, the rollout object did not read them.
            let unread = self.record.folded_minute.get().max(last.since_ms / 60_000) + 1
                ..now_ms.saturating_sub(BLIND_MS / 2) / 60_000;
            let is_unread =
                !unread.is_empty() && self.stored_requests().range(unread).next().is_some();
            let invariant =
                if is_unread { Invariant::MinutesAreRead } else { Invariant::BlindEnds };
            self.record.violate(invariant, || {
                format!("{} points, no minute counted for {blind_ms} ms", last.share)
            });
            self.record.folded_at_ms.set(now_ms);
        }
    }

    /// Checks the time and the status of a call of stable.
    pub(crate) fn check_stable_answer(&self, status: u16, total_ms: u64, watch: &CallWatch) {
        let delay_ms = total_ms.saturating_sub(watch.legacy_ms.get());
        if delay_ms > STABLE_DELAY_MS && watch.legacy_requests.get() > 0 {
            self.record.violate(Invariant::StableNeverWaits, || format!("{delay_ms} ms"));
        }
        if status == 504 && watch.would_answer.get() {
            self.record.violate(Invariant::LegacyHasItsTime, || format!("504 after {total_ms} ms"));
        }
    }

    /// Checks everything that holds at the end: the faults are over and the queue is empty.
    pub(crate) fn check_end(self: &Rc<Self>) {
        let objects = self.objects.borrow().clone();
        let shards = objects.iter().filter(|cell| cell.class == ObjectClass::EventStore);
        let mut stored = BTreeMap::<String, u64>::new();
        let mut lost = self.unreported_lost_events() + self.queue.given_up.get();
        let mut cohorts = SubjectShares::default();
        for shard in shards {
            let (events, shard_lost) = self.check_shard(shard, &mut cohorts);
            lost += shard_lost;
            for id in events {
                *stored.entry(id).or_default() += 1;
            }
        }
        self.check_events(&stored, lost);
        self.check_event_counts();
        self.check_first_seen();
        self.check_hash();
        self.check_hard_failure();
        cohorts.check(self);
        for rollout in objects.iter().filter(|cell| cell.class == ObjectClass::Rollout) {
            self.check_history(rollout);
            self.check_alerts(rollout);
        }
        self.check_outcome();
    }

    fn unreported_lost_events(&self) -> u64 {
        let isolates = self.isolates_of_all_time.borrow();
        isolates.iter().map(|isolate| isolate.state.take_lost_events()).sum()
    }

    /// Checks one shard; returns the ids of its events, and how many it counts as lost.
    fn check_shard(&self, shard: &ObjectCell, cohorts: &mut SubjectShares) -> (Vec<String>, u64) {
        let batches = shard.database.inspect_blobs("SELECT lines FROM batch ORDER BY first_seq");
        let batches: String = batches.iter().filter_map(|batch| decompress_lines(batch)).collect();
        let mut seen_after_erasure = BTreeSet::new();
        let mut sums = Sums::default();
        let mut ids = Vec::new();
        let mut rated = BTreeMap::<String, u64>::new();
        for text in batches.lines() {
            self.record.check_privacy("a stored event", text.as_bytes());
            let Ok(event) = serde_json::from_str::<EventFields>(text) else { continue };
            sums.add(&event);
            cohorts.add(self, &event);
            for (subject, erased_ms) in self.record.erased.borrow().iter() {
                if event.subject.as_ref() != Some(subject) {
                    continue;
                }
                seen_after_erasure.insert(subject.clone());
                if event.time_ms <= *erased_ms {
                    self.record.violate(Invariant::ErasedStaysErased, || {
                        format!("event {} of {} came back", event.id, event.time_ms)
                    });
                }
            }
            if event.event == "classify" {
                self.check_event(&event);
                ids.push(event.id);
            } else if let Some(id) = event.classify_id {
                *rated.entry(id).or_default() += 1;
            }
        }
        self.check_feedback(&rated);
        self.check_erased_rows(shard, &seen_after_erasure);
        let summary = shard.database.inspect::<TextRow>("SELECT json AS text FROM checkpoint");
        let summary =
            summary.first().and_then(|row| serde_json::from_str::<Summary>(&row.text).ok());
        let counters = summary.unwrap_or_default().counters;
        sums.check_counters(self, &counters);
        sums.check_stats(self, shard);
        let limit = self.settings.event_store_bytes_max;
        // Between two alarms, an hour of events may come.
        if shard.database.bytes() > limit + limit / 2 {
            self.record.violate(Invariant::StoreBounded, || {
                format!("{} bytes, the limit is {limit}", shard.database.bytes())
            });
        }
        (ids, counters.get("jeffrey_events_lost_total").copied().unwrap_or(0))
    }

    fn check_events(&self, stored: &BTreeMap<String, u64>, lost: u64) {
        if self.has_pruned_events() {
            return;
        }
        let events = self.record.events.borrow();
        let ends = self.record.isolate_ends.borrow();
        let erased = self.record.erasures_asked.borrow();
        let mut missing = 0;
        for (id, watch) in events.iter() {
            match stored.get(id) {
                Some(1) => {}
                Some(times) => self.record.violate(Invariant::EventsCountOnce, || {
                    format!("event {id} is stored {times} times")
                }),
                // Erased events are gone, and queue and isolate could not know.
                None if watch.subject.as_ref().is_some_and(|subject| erased.contains(subject)) => {}
                None if watch.is_acknowledged => {
                    self.record.violate(Invariant::EventsCountOnce, || {
                        format!("event {id} was acknowledged and is not stored")
                    })
                }
                None if ends.get(&watch.isolate).is_some_and(|end| *end >= watch.made_at_ms) => {}
                None => missing += 1,
            }
        }
        let accounted = lost + self.record.counts.get().cut_tasks;
        if missing > accounted {
            self.record.violate(Invariant::EventsCountOnce, || {
                format!("{missing} events are missing, {accounted} are counted as lost")
            });
        }
    }

    fn check_history(&self, rollout: &ObjectCell) {
        let rows =
            rollout.database.inspect::<TextRow>("SELECT json AS text FROM history ORDER BY seq");
        if let Err(mismatch) = replay(rows.iter().map(|row| row.text.as_str())) {
            self.record.violate(Invariant::HistoryReplays, || mismatch.to_string());
        }
        let (mut folded, mut of_promoted) = (BTreeMap::new(), 0);
        let mut started_ms = None;
        let mut entries = Vec::new();
        for row in &rows {
            self.record.check_privacy("the history", row.text.as_bytes());
            let Ok(entry) = serde_json::from_str::<HistoryEntry>(&row.text) else { continue };
            started_ms = started_ms.or(Some(entry.now.0));
            let has_command = matches!(entry.input, RolloutInput::Command { .. });
            of_promoted += u64::from(entry.state.phase == Phase::Promoted && !has_command);
            if let RolloutInput::Minute { minute } = &entry.input {
                let requests = minute.canary.requests + minute.stable.requests;
                folded.insert(minute.minute, requests);
            }
            entries.push(entry);
        }
        self.check_stages(&entries);
        if of_promoted > PROMOTED_ENTRIES_MAX {
            self.record.violate(Invariant::HistoryBounded, || {
                format!("{of_promoted} entries of a promoted release")
            });
        }
        if let Some(started_ms) = started_ms {
            let stored = self.stored_requests();
            self.check_minutes_once(&entries, &stored);
            self.check_evidence(&folded, &stored, started_ms);
        }
    }

    /// Returns the requests of each minute, summed over the shards.
    fn stored_requests(&self) -> BTreeMap<u64, u64> {
        #[derive(Deserialize)]
        struct MinuteRow {
            minute: u64,
            json: String,
        }
        let objects = self.objects.borrow();
        let mut stored = BTreeMap::<u64, u64>::new();
        for shard in objects.iter().filter(|cell| cell.class == ObjectClass::EventStore) {
            for row in shard.database.inspect::<MinuteRow>("SELECT minute, json FROM minute") {
                let Ok(record) = serde_json::from_str::<MinuteRecord>(&row.json) else { continue };
                let requests = record.stats.iter().map(|(.., stats)| stats.counts.requests);
                *stored.entry(row.minute).or_default() += requests.sum::<u64>();
            }
        }
        stored
    }

    /// Checks that each folded minute has all events of the minute.
    fn check_evidence(
        &self,
        folded: &BTreeMap<u64, u64>,
        stored: &BTreeMap<u64, u64>,
        started_ms: u64,
    ) {
        let last = folded.keys().next_back().copied().unwrap_or(0);
        // The minute of the start is not evidence.
        let first = started_ms / 60_000 + 1;
        let mut missing = 0;
        for (minute, requests) in stored.range(first.min(last + 1)..last + 1) {
            missing += requests.saturating_sub(folded.get(minute).copied().unwrap_or(0));
        }
        if missing > 0 {
            self.record.violate(Invariant::EvidenceComplete, || {
                format!("{missing} stored requests are in no folded minute")
            });
        }
    }

    /// Checks that each stored notification was accepted by its webhook once, or waits.
    fn check_alerts(&self, rollout: &ObjectCell) {
        let waiting =
            rollout.database.inspect::<TextRow>("SELECT json AS text FROM pending_notification");
        let accepted = self.record.accepted_alerts.borrow();
        for ((target, json), &stored) in self.record.notifications.borrow().iter() {
            let Some(webhook) =
                self.settings.alert_webhooks.iter().find(|webhook| webhook.name == *target)
            else {
                continue;
            };
            let Ok(notification) = serde_json::from_str::<Notification>(json) else { continue };
            let body = notification.to_body(webhook.format);
            let found = accepted.get(&(webhook.url.clone(), body)).copied().unwrap_or(0);
            let is_waiting = waiting.iter().filter(|row| row.text == *json).count() as u64;
            if stored > 1 {
                self.record.violate(Invariant::AlertsToldOnce, || {
                    format!("stored {stored} times for {target}: {json}")
                });
            }
            if found + is_waiting == stored {
                continue;
            }
            // A response may be lost or come late, and then the webhook hears an alert again. An alert
            // that it never accepted has to wait, whatever was lost.
            let is_lost = found + is_waiting < stored;
            if is_lost && self.record.refused_alerts.get() {
                self.record.violate(Invariant::AlertsNeverDropped, || {
                    format!("{target} refused it, and nothing is kept: {json}")
                });
            } else if is_lost || !self.loses_alert_responses() {
                self.record.violate(Invariant::AlertsToldOnce, || {
                    format!(
                        "{target} accepted {found} times what was stored {stored} times, {is_waiting} wait: {json}"
                    )
                });
            }
        }
    }

    fn check_outcome(&self) {
        let counts = self.record.counts.get();
        let is_broken = self.scenario.model.is_some();
        if is_broken && counts.promotions > 0 {
            self.record.violate(Invariant::BrokenNeverPromoted, || {
                format!("promoted {} times with {:?}", counts.promotions, self.scenario.model)
            });
        }
        let is_shown =
            self.scenario.model.is_some_and(|(fault, _)| fault != ModelFault::OtherModel)
                && self.scenario.faults.is_empty()
                && self.scenario.duration_ms >= 12 * 3_600_000
                && self.record.canary_at_ms.get() > 0;
        if is_shown && counts.rollbacks == 0 {
            self.record.violate(Invariant::BrokenRollsBack, || {
                format!("no rollback with {:?}", self.scenario.model)
            });
        }
        let is_undisturbed = self.scenario.faults.is_empty()
            && self.scenario.plan.is_some()
            && self.scenario.duration_ms >= 12 * 3_600_000;
        if !is_broken && is_undisturbed && counts.promotions == 0 {
            self.record.violate(Invariant::HealthyPromoted, || {
                let last = self.record.in_force.borrow().last().copied();
                format!("not promoted, {} rollbacks, last {last:?}", counts.rollbacks)
            });
        }
    }
}

/// Minute, release, cohort and share.
type StatsKey = (u64, String, &'static str, u16);

/// Plain sums over the events of a shard.
#[derive(Default)]
struct Sums {
    requests: BTreeMap<String, u64>,
    fallbacks: BTreeMap<String, u64>,
    feedback: u64,
    /// By minute, release, cohort and share: requests, errors, fallbacks.
    stats: BTreeMap<StatsKey, (u64, u64, u64)>,
}

impl Sums {
    fn add(&mut self, event: &EventFields) {
        if event.event == "feedback" {
            self.feedback += 1;
            return;
        }
        let cohort = event.cohort.name();
        let destination = event.destination.map_or("", Cohort::name);
        let series = format!(
            "jeffrey_requests_total{{cohort=\"{cohort}\",destination=\"{destination}\",code=\"{}\"",
            event.status
        );
        *self.requests.entry(series).or_default() += 1;
        if let Some(reason) = &event.fallback_reason {
            let series = format!("jeffrey_fallbacks_total{{reason=\"{reason}\"}}");
            *self.fallbacks.entry(series).or_default() += 1;
        }
        if event.is_evidence && !event.is_refused() {
            let share =
                event.thresholds.as_ref().and_then(|thresholds| thresholds.share_basis_points);
            let minute = event.time_ms / 60_000;
            let key = (minute, event.release.clone(), cohort, share.unwrap_or(0));
            let (requests, errors, fallbacks) = self.stats.entry(key).or_default();
            let is_fallback = event.cohort == Cohort::Canary && event.fallback_reason.is_some();
            *requests += 1;
            *errors += u64::from(event.status >= 500 && !is_fallback);
            *fallbacks += u64::from(is_fallback);
        }
    }

    fn check_counters(&self, simulation: &Simulation, counters: &BTreeMap<String, u64>) {
        let sum_of = |prefix: &str| -> u64 {
            let matching = counters.iter().filter(|(name, _)| name.starts_with(prefix));
            matching.map(|(_, number)| number).sum()
        };
        if simulation.has_pruned_events() {
            return;
        }
        // Counters keep what they counted of an erased subject.
        let has_erasure = !simulation.record.erasures_asked.borrow().is_empty();
        let is_wrong =
            |found: u64, expected: u64| found < expected || found != expected && !has_erasure;
        for (prefix, expected) in self.requests.iter().chain(&self.fallbacks) {
            let found = sum_of(prefix);
            if is_wrong(found, *expected) {
                simulation.record.violate(Invariant::CountersAreSums, || {
                    format!("{prefix} is {found}, the events sum to {expected}")
                });
            }
        }
        let (found, expected) = (sum_of("jeffrey_feedback_total"), self.feedback);
        if is_wrong(found, expected) {
            simulation.record.violate(Invariant::CountersAreSums, || {
                format!("feedback is {found}, the events sum to {expected}")
            });
        }
    }

    fn check_stats(&self, simulation: &Simulation, shard: &ObjectCell) {
        #[derive(Deserialize)]
        struct StatsRow {
            minute: u64,
            release: String,
            json: String,
        }
        if simulation.has_pruned_events() || !simulation.record.erasures_asked.borrow().is_empty() {
            return;
        }
        let rows = shard.database.inspect::<StatsRow>("SELECT minute, release, json FROM minute");
        let mut found = BTreeMap::<StatsKey, (u64, u64, u64)>::new();
        for row in rows {
            let Ok(record) = serde_json::from_str::<MinuteRecord>(&row.json) else { continue };
            for (cohort, share, stats) in record.stats {
                if stats.counts.requests == 0 {
                    continue;
                }
                let key = (row.minute, row.release.clone(), cohort.name(), share.basis_points());
                let (requests, errors, fallbacks) = found.entry(key).or_default();
                *requests += stats.counts.requests;
                *errors += stats.counts.errors_5xx;
                *fallbacks += stats.counts.fallbacks;
            }
        }
        if found != self.stats {
            let difference = self.stats.iter().find(|(key, sums)| found.get(*key) != Some(sums));
            simulation.record.violate(Invariant::CountersAreSums, || {
                let stored = difference.and_then(|(key, _)| found.get(key));
                format!("minutes hold {stored:?}, the events sum to {difference:?}")
            });
        }
    }
}

/// Shares at which each subject was seen in a cohort by its bucket.
#[derive(Default)]
struct SubjectShares {
    /// By the subject's hash: smallest share at which it was canary, largest at which it was stable.
    seen: BTreeMap<String, (Option<u16>, Option<u16>)>,
}

impl SubjectShares {
    fn add(&mut self, simulation: &Simulation, event: &EventFields) {
        let (Some(subject), Some("bucket")) = (&event.subject, event.reason.as_deref()) else {
            return;
        };
        let share = event.thresholds.as_ref().and_then(|thresholds| thresholds.share_basis_points);
        let Some(share) = share else { return };
        let raw = simulation.subjects_by_hash.borrow().get(subject).cloned();
        if let Some(raw) = raw {
            let bucket = reference_bucket::bucket(simulation.release.as_str(), &raw);
            let expected = if bucket < share { Cohort::Canary } else { Cohort::Stable };
            if expected != event.cohort {
                simulation.record.violate(Invariant::CohortByBucket, || {
                    format!(
                        "event {} has {:?}, the bucket says {expected:?}",
                        event.id, event.cohort
                    )
                });
            }
        }
        let (canary_from, stable_to) = self.seen.entry(subject.clone()).or_default();
        match event.cohort {
            Cohort::Canary => {
                *canary_from = Some(canary_from.map_or(share, |from| from.min(share)))
            }
            Cohort::Stable => *stable_to = Some(stable_to.map_or(share, |to| to.max(share))),
        }
    }

    fn check(&self, simulation: &Simulation) {
        for (subject, seen) in &self.seen {
            if let (Some(canary_from), Some(stable_to)) = seen
                && stable_to >= canary_from
            {
                simulation.record.violate(Invariant::GrowthMovesNobodyBack, || {
                    format!("{subject} was canary at {canary_from} and stable at {stable_to}")
                });
            }
        }
    }
}
