//! Assigns events to the shards of the event store, and merges the shards' minutes.
//!
//! The keyed hash of an event's subject decides the shard. All events of one subject are in one
//! shard, so the counts of first-seen and newly affected subjects can be summed over shards like
//! all other counts. An event without a subject is assigned by its id. A duplicate of an event has
//! the same subject and id, so it reaches the same shard.

use serde::{Deserialize, Serialize};

use crate::gateway::aggregate::minute_stats::{self, CohortStats, sum_newly_affected_subjects};
use crate::gateway::events::stored::EventKey;
use crate::rollout::counts::{ClosedMinute, Metric, TopSubjects};
use jeffrey_terms::by_cohort::ByCohort;
use jeffrey_terms::{Cohort, Share};

/// Largest number of shards. `docs/scale.md` says how much load one shard carries.
pub const SHARDS_MAX: u64 = 32;

/// Largest number of minutes that are read at once.
pub const MINUTES_PER_READ_MAX: usize = 120;

/// Returns the shard that keeps an event line, from 0 to `shards` - 1.
///
/// The shard is the first byte of the subject's hash modulo `shards`; without a subject, the last
/// byte of the id. A line that is no event, or whose byte is not hexadecimal, is kept in shard 0.
pub fn shard_of_event_line(line: &str, shards: u64) -> u64 {
    if shards <= 1 {
        return 0;
    }
    let Ok(key) = serde_json::from_slice::<EventKey>(line.as_bytes()) else { return 0 };
    let id_suffix = key.id.len().checked_sub(2).and_then(|start| key.id.get(start..));
    let hex_byte = match &key.subject {
        Some(hash) => hash.get(..2),
        None => id_suffix,
    };
    let byte_value = hex_byte.and_then(|byte| u64::from_str_radix(byte, 16).ok());
    byte_value.unwrap_or(0) % shards
}

/// Counts that one shard holds for one minute of a release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShardMinute {
    /// Number of the minute, in minutes since 1970.
    pub minute: u64,
    /// Stats of the minute, one entry for each cohort and share.
    pub cohort_stats: Vec<(Cohort, Share, CohortStats)>,
    /// Subjects that the release saw for the first time, without the holdout.
    pub new_subjects: ByCohort<u64>,
    /// Newly affected subjects: metric, hour since whose beginning this is their first hit (minutes
    /// since 1970, divided by 60), cohort, number of subjects.
    pub newly_affected: Vec<(Metric, u64, Cohort, u64)>,
    /// Requests and errors of the 60 minutes that end with this minute; `top_two_errors` is set only when
    /// shards are merged.
    pub top_subjects: TopSubjects,
    /// Errors of the shard's two canary subjects with the most errors in those 60 minutes; shorter
    /// if fewer had errors.
    pub two_highest_error_counts: Vec<u64>,
}

/// Merges the counts that the shards hold for a minute into the closed minute that the gates read.
pub fn merge_shards(minute: u64, shards: &[ShardMinute]) -> ClosedMinute {
    let stats: Vec<_> =
        shards.iter().flat_map(|shard| shard.cohort_stats.iter().cloned()).collect();
    let mut merged = minute_stats::sum_minute(minute, &stats);
    let mut top_errors: Vec<u64> = Vec::new();
    for ShardMinute {
        new_subjects: first_seen,
        top_subjects,
        two_highest_error_counts: shard_errors,
        ..
    } in shards
    {
        merged.new_subjects.canary += first_seen.canary;
        merged.new_subjects.stable += first_seen.stable;
        merged.top_subjects.canary_requests += top_subjects.canary_requests;
        merged.top_subjects.canary_errors += top_subjects.canary_errors;
        merged.top_subjects.stable_requests += top_subjects.stable_requests;
        merged.top_subjects.stable_errors += top_subjects.stable_errors;
        top_errors.extend(shard_errors);
    }
    top_errors.sort_unstable();
    merged.top_subjects.two_worst_subjects_errors = top_errors.iter().rev().take(2).sum();
    merged.newly_affected = sum_newly_affected_subjects(
        shards.iter().flat_map(|shard| shard.newly_affected.iter().copied()),
    );
    merged
}

/// Returns the minutes to read next, from the minute numbers that each shard lists: the earliest
/// ones, at most [`MINUTES_PER_READ_MAX`].
///
/// A shard that lists [`MINUTES_PER_READ_MAX`] minutes may have more after its last one. Minutes after that
/// one wait for the next call.
pub fn next_minutes_to_merge(named_minutes: &[Vec<u64>]) -> Vec<u64> {
    let full = named_minutes.iter().filter(|minutes| minutes.len() >= MINUTES_PER_READ_MAX);
    let last_known_minute =
        full.filter_map(|minutes| minutes.last()).min().copied().unwrap_or(u64::MAX);
    let mut minutes: Vec<u64> = named_minutes
        .iter()
        .flatten()
        .copied()
        .filter(|minute| *minute <= last_known_minute)
        .collect();
    minutes.sort_unstable();
    minutes.dedup();
    minutes.truncate(MINUTES_PER_READ_MAX);
    minutes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_events_of_one_subject_are_in_one_shard_whatever_the_id() {
        let line = |id: &str, subject: Option<&str>| {
            json!({"id": id, "time_ms": 1, "release": "e1", "subject": subject}).to_string()
        };
        for (hash, shards, shard) in
            [("00ff", 4, 0), ("0300", 4, 3), ("ff00", 4, 3), ("ff", 32, 31), ("07", 1, 0)]
        {
            for id in ["017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "x"] {
                assert_eq!(shard_of_event_line(&line(id, Some(hash)), shards), shard, "{hash}");
            }
        }
        assert_eq!(shard_of_event_line(&line("017f22e2-79b0-7cc3-98c4-dc0c0c07398f", None), 4), 3);
    }

    #[test]
    fn a_malformed_line_is_in_the_first_shard() {
        let malformed = [
            json!({"id": "zz", "time_ms": 1, "release": "e1"}).to_string(),
            json!({"id": "ré", "time_ms": 1, "release": "e1", "subject": "é"}).to_string(),
            json!({"id": "", "time_ms": 1, "release": "e1"}).to_string(),
            "no event".to_owned(),
        ];
        for line in malformed {
            assert_eq!(shard_of_event_line(&line, 4), 0, "{line}");
        }
    }

    #[test]
    fn the_two_subjects_with_most_errors_are_found_across_shards() {
        let shard_minute = |most: &[u64]| ShardMinute {
            two_highest_error_counts: most.to_vec(),
            ..ShardMinute::default()
        };
        let merged =
            merge_shards(7, &[shard_minute(&[9, 2]), shard_minute(&[8, 7]), shard_minute(&[])]);
        assert_eq!((merged.minute, merged.top_subjects.two_worst_subjects_errors), (7, 17));
    }

    #[test]
    fn a_full_page_of_minutes_hides_the_later_ones() {
        let full_page: Vec<u64> = (1..=MINUTES_PER_READ_MAX as u64).map(|i| 2 * i).collect();
        let later_page = vec![1, 239, 240, 241, 500];
        let next = next_minutes_to_merge(&[full_page.clone(), later_page]);
        assert_eq!((next.len(), next[0], next[1]), (MINUTES_PER_READ_MAX, 1, 2));
        assert!(next.iter().all(|minute| *minute <= 240), "{next:?}");
        assert_eq!(next_minutes_to_merge(&[vec![3, 5], vec![3, 4], vec![]]), [3, 4, 5]);
        assert_eq!(next_minutes_to_merge(std::slice::from_ref(&full_page)), full_page);
    }

    #[test]
    fn shards_differ_by_at_most_one_of_256_byte_values() {
        for shards in 1..=SHARDS_MAX {
            let mut events_by_shard = vec![0_u32; shards as usize];
            for byte in 0..=255_u8 {
                let event = json!({"id": format!("{byte:02x}"), "time_ms": 1, "release": "e1"});
                events_by_shard[shard_of_event_line(&event.to_string(), shards) as usize] += 1;
            }
            let (least, most) =
                (events_by_shard.iter().min().unwrap(), events_by_shard.iter().max().unwrap());
            assert!(most - least <= 1, "{shards}: {events_by_shard:?}");
        }
    }
}
