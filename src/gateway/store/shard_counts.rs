//! Everything that one shard counts, in memory.
//!
//! [`ShardCounts::select`] tells which events of a batch are new, and [`ShardCounts::apply`] counts them
//! once they are stored. Both read and change only what [`ShardCounts::missing`] did not name:
//! the caller loads that first. [`ShardCounts::unsaved`] is what the next checkpoint has to store.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::event_ids::{EventId, MinuteIds};
use super::minute_record::MinuteRecord;
use super::subject_hits::SubjectHits;
use super::subject_runs::{SubjectBits, SubjectRuns};
use crate::gateway::aggregate::minute_stats::{EventContribution, count_event};
use crate::gateway::events::stored::{EventKey, StoredEvent};
use crate::gateway::export::prometheus::series_increments;
use crate::rollout::counts::Metric;
use crate::rollout::time_scale::TimeScale;
use jeffrey_terms::{Cohort, UnixMs};

/// Largest number of events after a checkpoint: a restart counts them again.
const UNSAVED_EVENTS_MAX: u64 = 1_000;

/// Longest time from an event to the checkpoint that has it, in milliseconds, while events arrive.
const UNSAVED_MS_MAX: u64 = 60_000;

/// Minutes that stay in memory after a checkpoint: the gates look back an hour from each.
const MINUTES_KEPT: usize = 130;

/// Ids that stay in memory after a checkpoint; a later duplicate of another event is looked up.
const IDS_KEPT_MAX: usize = 200_000;

/// Counters by the name of their series.
pub type Counters = BTreeMap<String, u64>;

/// Number of a minute since 1970, and a release.
pub type MinuteKey = (u64, String);

/// An event as it arrives at a shard.
#[derive(Clone, Debug)]
pub struct ArrivedEvent<'a> {
    /// The event as a line of JSON.
    pub line: &'a str,
    key: EventKey,
    id: EventId,
    increments: Vec<(String, u64)>,
    contribution: Option<EventContribution>,
}

impl<'a> ArrivedEvent<'a> {
    /// Returns the minute in which the event counts, and its release; `None` if it counts in none.
    pub fn minute(&self) -> Option<(u64, &str)> {
        self.contribution.as_ref().map(|added| (added.minute, added.release.as_str()))
    }

    /// Reads an event; `None` if the line is none. An event of an unknown kind counts for nothing.
    pub fn read(line: &'a str, time_scale: TimeScale) -> Option<Self> {
        let key = serde_json::from_slice::<EventKey>(line.as_bytes()).ok()?;
        let id = EventId::new(&key.id, key.time_ms);
        let event = serde_json::from_slice::<StoredEvent>(line.as_bytes()).ok();
        let increments = event.as_ref().map(series_increments).unwrap_or_default();
        let contribution = event.as_ref().and_then(|event| count_event(event, time_scale));
        Some(Self { line, key, id, increments, contribution })
    }
}

/// The parts that the caller has to load before it counts events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Minutes whose records are to be loaded.
    pub minutes: Vec<MinuteKey>,
    /// Minutes whose ids are to be loaded.
    pub ids: Vec<u64>,
    /// Releases whose subjects are to be loaded.
    pub releases: Vec<String>,
}

/// Events of a batch that are stored, and how many are not.
#[derive(Clone, Debug, Default)]
pub struct Selection<'a> {
    /// Events that are new, in the order of the batch.
    pub new: Vec<ArrivedEvent<'a>>,
    /// Events of an erased subject, made before the erasure.
    pub erased: u64,
}

/// The part of a checkpoint that has no rows of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Number of the first event that the checkpoint does not have; numbers begin at 1.
    pub next_seq: u64,
    /// Number of events that are stored.
    pub events: u64,
    /// Size of the stored batches, compressed, in bytes.
    pub batch_bytes: u64,
    /// Size of the stored ids, in bytes.
    pub ids_bytes: u64,
    /// Releases of which an event was stored, with the minute of the newest.
    pub releases: BTreeMap<String, u64>,
    /// Time when expired data was deleted last, in milliseconds since 1970.
    pub pruned_ms: u64,
    /// Totals since the shard was created.
    pub counters: Counters,
}

/// The changes since the last checkpoint.
#[derive(Clone, Debug)]
pub struct Unsaved {
    /// The part that has no rows of its own.
    pub summary: Summary,
    /// Records of the changed minutes.
    pub minutes: Vec<(MinuteKey, MinuteRecord)>,
    /// Encoded ids, by their minute.
    pub ids: Vec<(u64, Vec<u8>)>,
    /// Encoded runs of subjects, by their release.
    pub subjects: Vec<(String, Vec<u8>)>,
    /// Encoded hits, by their release and hour.
    pub hits: Vec<(String, u64, Vec<u8>)>,
}

/// The last erasure of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Time of the erasure; events from before it that are still on their way are not stored.
    pub at: UnixMs,
    /// Number of the last event that was stored by then.
    pub last_seq: u64,
    /// Number of the last event that was searched for events of the subject.
    pub searched_seq: u64,
}

#[derive(Clone, Debug, Default)]
struct TrackedMinute {
    record: MinuteRecord,
    is_saved: bool,
}

#[derive(Clone, Debug, Default)]
struct ReleaseSubjects {
    seen: SubjectRuns,
    hits: SubjectHits,
}

/// Counts of one shard.
#[derive(Clone, Debug)]
pub struct ShardCounts {
    summary: Summary,
    minutes: BTreeMap<MinuteKey, TrackedMinute>,
    ids: BTreeMap<u64, MinuteIds>,
    releases: BTreeMap<String, ReleaseSubjects>,
    /// Erasures by the hash of their subject.
    erasures: HashMap<String, Erasure>,
    unsaved_events: u64,
    /// Time of the first event that the last checkpoint does not have.
    unsaved_since: Option<UnixMs>,
}

impl ShardCounts {
    /// Returns the counts of a checkpoint, without the parts that are loaded as they are needed.
    pub fn new(summary: Summary, erasures: HashMap<String, Erasure>) -> Self {
        Self {
            summary: Summary { next_seq: summary.next_seq.max(1), ..summary },
            minutes: BTreeMap::new(),
            ids: BTreeMap::new(),
            releases: BTreeMap::new(),
            erasures,
            unsaved_events: 0,
            unsaved_since: None,
        }
    }

    /// Number of the next event.
    pub const fn next_seq(&self) -> u64 {
        self.summary.next_seq
    }

    /// Number of events that are stored.
    pub const fn events(&self) -> u64 {
        self.summary.events
    }

    /// Size of the stored batches, in bytes.
    pub const fn batch_bytes(&self) -> u64 {
        self.summary.batch_bytes
    }

    /// Size of the stored ids, in bytes.
    pub const fn ids_bytes(&self) -> u64 {
        self.summary.ids_bytes
    }

    /// Releases of which an event was stored.
    pub fn releases(&self) -> impl Iterator<Item = &str> {
        self.summary.releases.keys().map(String::as_str)
    }

    /// Forgets the releases whose newest event is from before `minute`, and returns them.
    pub fn forget_releases(&mut self, minute: u64) -> Vec<String> {
        let releases = std::mem::take(&mut self.summary.releases);
        let (kept, old) = releases.into_iter().partition(|(_, newest)| *newest >= minute);
        self.summary.releases = kept;
        BTreeMap::into_keys(old).collect()
    }

    /// Time when expired data was deleted last.
    pub const fn pruned_at(&self) -> UnixMs {
        UnixMs(self.summary.pruned_ms)
    }

    /// Notes that expired data was deleted at `now`.
    pub const fn set_pruned_at(&mut self, now: UnixMs) {
        self.summary.pruned_ms = now.0;
    }

    /// Totals since the shard was created.
    pub const fn counters(&self) -> &Counters {
        &self.summary.counters
    }

    /// Returns what has to be loaded before `events` can be selected and counted.
    pub fn missing(&self, events: &[ArrivedEvent<'_>]) -> Missing {
        let mut missing = Missing::default();
        for event in events {
            let minute = event.id.minute;
            if !self.ids.contains_key(&minute) && !missing.ids.contains(&minute) {
                missing.ids.push(minute);
            }
            let Some(contribution) = &event.contribution else { continue };
            let key = (contribution.minute, contribution.release.clone());
            if !self.minutes.contains_key(&key) && !missing.minutes.contains(&key) {
                missing.minutes.push(key);
            }
            let release = &contribution.release;
            if !self.releases.contains_key(release) && !missing.releases.contains(release) {
                missing.releases.push(release.clone());
            }
        }
        missing
    }

    /// Adds the loaded record of a minute; a minute without a record has the default.
    pub fn add_minute(&mut self, key: MinuteKey, record: MinuteRecord) {
        self.minutes.entry(key).or_insert(TrackedMinute { record, is_saved: true });
    }

    /// Adds the loaded ids of a minute.
    pub fn add_ids(&mut self, minute: u64, ids: MinuteIds) {
        self.ids.entry(minute).or_insert(ids);
    }

    /// Adds the loaded subjects of a release.
    pub fn add_release(&mut self, release: String, seen: SubjectRuns, hits: SubjectHits) {
        self.releases.entry(release).or_insert(ReleaseSubjects { seen, hits });
    }

    /// Returns the minutes of a release in a range that are in memory.
    pub fn minutes_between(
        &self,
        release: &str,
        since: u64,
        before: u64,
    ) -> impl Iterator<Item = (u64, &MinuteRecord)> {
        let range = (since.saturating_add(1), String::new())..(before, String::new());
        let minutes = (since < before).then(|| self.minutes.range(range)).into_iter().flatten();
        minutes
            .filter(move |((_, of_release), _)| of_release == release)
            .map(|((minute, _), tracked)| (*minute, &tracked.record))
    }

    /// Returns the number of the first event in the batch that has the event of an id; `None` if there is
    /// none or the ids of its minute are not loaded.
    pub fn batch_of(&self, id: EventId) -> Option<u64> {
        self.ids.get(&id.minute)?.batch_of(id)
    }

    /// Returns whether the ids of a minute are in memory.
    pub fn has_ids(&self, minute: u64) -> bool {
        self.ids.contains_key(&minute)
    }

    /// Returns whether an event is erased: its time or its number is from before the erasure of its
    /// subject.
    pub fn is_erased(&self, key: &EventKey, seq: Option<u64>) -> bool {
        let erasure = key.subject.as_ref().and_then(|subject| self.erasures.get(subject));
        erasure.is_some_and(|erasure| {
            key.time_ms <= erasure.at.0 || seq.is_some_and(|seq| seq <= erasure.last_seq)
        })
    }

    /// Returns whether stored events are still to be searched for an erased subject.
    pub fn has_pending_erasures(&self) -> bool {
        self.erasures.values().any(|erasure| erasure.searched_seq < erasure.last_seq)
    }

    /// Notes that the events up to number `seq` were searched for every erased subject.
    pub fn set_searched(&mut self, seq: u64) {
        for erasure in self.erasures.values_mut() {
            erasure.searched_seq = erasure.searched_seq.max(seq.min(erasure.last_seq));
        }
    }

    /// Tells the events that are new from duplicates and from those of erased subjects.
    pub fn select<'a>(&self, events: Vec<ArrivedEvent<'a>>) -> Selection<'a> {
        let mut selection = Selection::default();
        let mut ids = HashSet::new();
        for event in events {
            if self.is_erased(&event.key, None) {
                selection.erased += 1;
            } else if self.batch_of(event.id).is_none() && ids.insert(event.id) {
                selection.new.push(event);
            }
        }
        selection
    }

    /// Counts `events`, which are stored as a batch of `numbers` numbers from [`next_seq`](Self::next_seq)
    /// on and of `bytes` bytes, and adds `increments` to counters. Without events there may be no batch.
    pub fn apply(
        &mut self,
        events: Vec<ArrivedEvent<'_>>,
        (numbers, bytes): (u64, u64),
        increments: Counters,
        now: UnixMs,
    ) {
        let first_seq = self.summary.next_seq;
        self.summary.next_seq += numbers;
        self.summary.events += events.len() as u64;
        self.summary.batch_bytes += bytes;
        self.unsaved_events += numbers;
        self.unsaved_since.get_or_insert(now);
        self.add_to_counters(increments);
        for ArrivedEvent { key, id, increments, contribution, .. } in events {
            self.ids.entry(id.minute).or_default().insert(id, first_seq);
            let newest_minute = self.summary.releases.entry(key.release).or_default();
            *newest_minute = id.minute.max(*newest_minute);
            self.add_to_counters(increments);
            if let Some(contribution) = contribution {
                self.count_contribution(contribution);
            }
        }
    }

    fn add_to_counters(&mut self, increments: impl IntoIterator<Item = (String, u64)>) {
        for (name, number) in increments {
            *self.summary.counters.entry(name).or_default() += number;
        }
    }

    fn count_contribution(&mut self, contribution: EventContribution) {
        let EventContribution { release, minute, cohort, share, stats, .. } = contribution;
        let subjects = self.releases.entry(release.clone()).or_default();
        let tracked = self.minutes.entry((minute, release)).or_default();
        tracked.is_saved = false;
        let record = &mut tracked.record;
        record.add_stats(cohort, share, &stats);
        let Some(subject) = contribution.subject.as_deref().map(SubjectBits::new) else { return };
        if !contribution.in_holdout && subjects.seen.insert(subject) {
            record.new_subjects[cohort] += 1;
        }
        for metric in &contribution.affected_metrics {
            for hour in subjects.hits.add(subject, *metric, minute) {
                record.add_newly_affected((*metric, hour, cohort), 1);
            }
        }
        if cohort == Cohort::Canary && contribution.affected_metrics.contains(&Metric::Errors) {
            record.add_errors(subject, 1);
        }
    }

    /// Notes that `events` stored events were erased or deleted, and `bytes` bytes of batches.
    pub const fn remove_events(&mut self, events: u64, bytes: u64) {
        self.summary.events = self.summary.events.saturating_sub(events);
        self.summary.batch_bytes = self.summary.batch_bytes.saturating_sub(bytes);
    }

    /// Notes that `bytes` bytes of stored ids were deleted.
    pub const fn remove_ids(&mut self, bytes: u64) {
        self.summary.ids_bytes = self.summary.ids_bytes.saturating_sub(bytes);
    }

    /// Returns whether a checkpoint is due.
    pub fn is_checkpoint_due(&self, now: UnixMs) -> bool {
        self.unsaved_events >= UNSAVED_EVENTS_MAX
            || self.unsaved_since.is_some_and(|since| now.0.abs_diff(since.0) >= UNSAVED_MS_MAX)
    }

    /// Returns whether the last checkpoint lacks anything.
    pub const fn has_unsaved(&self) -> bool {
        self.unsaved_since.is_some()
    }

    /// Returns what the next checkpoint has to store.
    pub fn unsaved(&self) -> Unsaved {
        let minutes = self.minutes.iter().filter(|(_, tracked)| !tracked.is_saved);
        let ids = self.ids.iter().filter(|(_, ids)| !ids.is_saved());
        let subjects = self
            .releases
            .iter()
            .map(|(release, subjects)| (release.clone(), subjects.seen.encode_unsaved()));
        let hits = self.releases.iter().flat_map(|(release, subjects)| {
            let hits = subjects.hits.encode_unsaved();
            hits.into_iter().map(|(hour, hits)| (release.clone(), hour, hits))
        });
        let ids: Vec<_> = ids.map(|(minute, ids)| (*minute, ids.encode_unsaved())).collect();
        let ids_bytes: usize = ids.iter().map(|(_, ids)| ids.len()).sum();
        let mut summary = self.summary.clone();
        summary.ids_bytes += ids_bytes as u64;
        Unsaved {
            summary,
            minutes: minutes.map(|(key, tracked)| (key.clone(), tracked.record.clone())).collect(),
            ids,
            subjects: subjects.filter(|(_, run)| !run.is_empty()).collect(),
            hits: hits.collect(),
        }
    }

    /// Notes that a checkpoint has everything up to `summary`, and lets go of what is old.
    pub fn mark_saved(&mut self, summary: Summary) {
        self.summary = summary;
        (self.unsaved_events, self.unsaved_since) = (0, None);
        self.minutes.values_mut().for_each(|tracked| tracked.is_saved = true);
        self.ids.values_mut().for_each(MinuteIds::mark_saved);
        let newest_minute = self.minutes.keys().next_back().map_or(0, |(minute, _)| *minute);
        for subjects in self.releases.values_mut() {
            subjects.seen.mark_saved();
            subjects.hits.mark_saved();
            subjects.hits.forget_before(newest_minute);
        }
        while self.minutes.len() > MINUTES_KEPT {
            self.minutes.pop_first();
        }
        let mut ids: usize = self.ids.values().map(MinuteIds::len).sum();
        while ids > IDS_KEPT_MAX && self.ids.len() > 1 {
            ids -= self.ids.pop_first().map_or(0, |(_, ids)| ids.len());
        }
    }
}
