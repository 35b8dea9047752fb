//! The subjects that each metric hit in each of the last hours, so that a subject counts as newly
//! affected once since the beginning of each hour.

use std::collections::{BTreeMap, HashMap};

use super::subject_runs::{SUBJECT_BYTES, SubjectBits};
use crate::gateway::aggregate::minute_stats::newly_affected_hours;
use crate::rollout::counts::{Metric, SUBJECT_METRICS};
use crate::rollout::gate::change_evidence::HOURLY_SUBJECT_MIXTURES_MAX;

/// Subjects that a release's metrics hit, by the hour, for the hours that evidence looks back.
#[derive(Clone, Debug, Default)]
pub struct SubjectHits(BTreeMap<u64, HourHits>);

#[derive(Clone, Debug, Default)]
struct HourHits {
    /// One bit for each metric, in the order of [`SUBJECT_METRICS`].
    metrics: HashMap<SubjectBits, u8>,
    /// Hits that the last checkpoint does not have.
    unsaved: Vec<(SubjectBits, u8)>,
}

/// Bytes of a stored hit: the subject, and its metrics.
const HIT_BYTES: usize = SUBJECT_BYTES + 1;

impl SubjectHits {
    /// Adds a hit and returns each hour (minutes since 1970, divided by 60) since whose beginning it is
    /// the subject's first of the metric.
    pub fn add(
        &mut self,
        subject: SubjectBits,
        metric: Metric,
        minute: u64,
    ) -> std::ops::RangeInclusive<u64> {
        let hour = minute / 60;
        let Some(bit) = metric_bit(metric) else { return newly_affected_hours(minute, u64::MAX) };
        let has_hit = |hits: &HourHits| hits.metrics.get(&subject).is_some_and(|set| set & bit > 0);
        let last_hit_hour =
            self.0.iter().rev().find(|(_, hits)| has_hit(hits)).map(|(hour, _)| *hour);
        if last_hit_hour.is_none_or(|last| last < hour) {
            let hits = self.0.entry(hour).or_default();
            *hits.metrics.entry(subject).or_default() |= bit;
            hits.unsaved.push((subject, bit));
        }
        newly_affected_hours(minute, last_hit_hour.map_or(0, |hour| 60 * (hour + 1)))
    }

    /// Forgets the hours that evidence does not look back to from `minute`.
    pub fn forget_before(&mut self, minute: u64) {
        let first = (minute / 60).saturating_sub(HOURLY_SUBJECT_MIXTURES_MAX);
        self.0 = self.0.split_off(&first);
    }

    /// Number of subjects, summed over the hours.
    pub fn len(&self) -> usize {
        self.0.values().map(|hits| hits.metrics.len()).sum()
    }

    /// Returns whether no subject was hit.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Encodes the hits that the last checkpoint does not have, by their hour.
    pub fn encode_unsaved(&self) -> Vec<(u64, Vec<u8>)> {
        let encode = |(subject, metrics): &(SubjectBits, u8)| {
            subject.0.to_be_bytes().into_iter().chain([*metrics])
        };
        let unsaved = self.0.iter().filter(|(_, hits)| !hits.unsaved.is_empty());
        unsaved
            .map(|(hour, hits)| (*hour, hits.unsaved.iter().flat_map(encode).collect()))
            .collect()
    }

    /// Notes that a checkpoint has every hit.
    pub fn mark_saved(&mut self) {
        self.0.values_mut().for_each(|hits| hits.unsaved.clear());
    }

    /// Adds stored hits of an hour; bytes after the last whole one are ignored.
    pub fn add_saved(&mut self, hour: u64, encoded: &[u8]) {
        let hits = self.0.entry(hour).or_default();
        for [subject @ .., metrics] in encoded.as_chunks::<HIT_BYTES>().0 {
            let subject = subject.first_chunk().copied().unwrap_or_default();
            *hits.metrics.entry(SubjectBits(u64::from_be_bytes(subject))).or_default() |= metrics;
        }
    }
}

/// Returns stored hits without those of a subject.
pub fn without_subject(encoded: &[u8], subject: SubjectBits) -> Vec<u8> {
    let hits = encoded.as_chunks::<HIT_BYTES>().0;
    hits.iter()
        .filter(|hit| hit[..SUBJECT_BYTES] != subject.0.to_be_bytes())
        .copied()
        .flatten()
        .collect()
}

/// Returns the bit of a metric whose subjects are counted; `None` for another.
fn metric_bit(metric: Metric) -> Option<u8> {
    SUBJECT_METRICS.iter().position(|counted| *counted == metric).map(|index| 1 << index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// The hours are those that a table of each subject's last hit gives, whatever is saved when.
        #[test]
        fn the_hours_are_those_since_the_last_hit(
            hits in prop::collection::vec((0_u64..3, 0_usize..5, 0_u64..4_000, any::<bool>()), 0..60),
        ) {
            let mut last_hits: BTreeMap<(u64, usize), u64> = BTreeMap::new();
            let mut tracked = SubjectHits::default();
            let mut stored = Vec::new();
            for (subject, metric, minute, is_restarted) in hits {
                let after = last_hits.entry((subject, metric)).or_default();
                let expected = newly_affected_hours(minute, *after);
                *after = (*after).max(minute + 1);
                let found = tracked.add(SubjectBits(subject), SUBJECT_METRICS[metric], minute);
                prop_assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
                if is_restarted {
                    stored.extend(tracked.encode_unsaved());
                    tracked = SubjectHits::default();
                    stored.iter().for_each(|(hour, hits)| tracked.add_saved(*hour, hits));
                }
            }
        }
    }

    #[test]
    fn hours_that_no_evidence_looks_back_to_are_forgotten() {
        let mut hits = SubjectHits::default();
        hits.add(SubjectBits(1), Metric::Slow, 10);
        hits.add(SubjectBits(1), Metric::Slow, 40 * 60);
        hits.forget_before(40 * 60);
        assert_eq!(hits.len(), 1);
    }
}
