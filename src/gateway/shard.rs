//! A ledger in parts: which part keeps an event, and what the parts are together.
//!
//! An event's part is that of its subject's keyed hash, so that all that one subject does is in one part, and subjects
//! that are seen or affected for the first time are a sum like everything else; without a subject it is that of
//! its id. A double of an event has the same of both.

use serde::{Deserialize, Serialize};

use super::event::EventKey;
use super::minute_stats::{self, CohortStats, sum_newly_affected};
use crate::rollout::counts::{ClosedMinute, CountByCohort, Metric, TopSubjects};
use jeffrey_terms::{Cohort, Share};

/// The most parts of a ledger. What more would be kept apart for is in `docs/scale.md`.
pub const SHARDS_MAX: u64 = 32;

/// Minutes that are read at once.
pub const MINUTES_MAX: usize = 120;

/// Which of some parts keeps a line; the first what is no event.
pub fn shard_of_line(line: &str, shards: u64) -> u64 {
    if shards <= 1 {
        return 0;
    }
    let Ok(key) = serde_json::from_str::<EventKey>(line) else { return 0 };
    let id_suffix = key.id.len().checked_sub(2).and_then(|start| key.id.get(start..));
    let hex_byte = match &key.subject {
        Some(hash) => hash.get(..2),
        None => id_suffix,
    };
    let byte_value = hex_byte.and_then(|byte| u64::from_str_radix(byte, 16).ok());
    byte_value.unwrap_or(0) % shards
}

/// What one part of the ledger has of a minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShardMinute {
    /// Minutes since 1970.
    pub minute: u64,
    /// What was counted.
    pub tallies: Vec<(Cohort, Share, CohortStats)>,
    /// Subjects seen for the first time.
    pub first_seen: CountByCohort,
    /// Subjects newly affected: by what, since the beginning of which hour, of which cohort, how many.
    pub first_affected: Vec<(Metric, u64, Cohort, u64)>,
    /// Requests and errors of the hour that ends with the minute; the most that two subjects of this part had.
    pub concentration: TopSubjects,
    /// Errors of the two canary subjects of this part that had most in that hour.
    pub most: Vec<u64>,
}

/// The minute that the gates read, of what each part has of it.
pub fn merge_shards(minute: u64, shards: &[ShardMinute]) -> ClosedMinute {
    let stats: Vec<_> = shards.iter().flat_map(|shard| shard.tallies.iter().cloned()).collect();
    let mut merged = minute_stats::sum_minute(minute, &stats);
    let mut top_errors = Vec::new();
    for ShardMinute { first_seen, concentration, most: shard_errors, .. } in shards {
        merged.first_seen.canary += first_seen.canary;
        merged.first_seen.stable += first_seen.stable;
        merged.concentration.requests += concentration.requests;
        merged.concentration.errors += concentration.errors;
        merged.concentration.stable_requests += concentration.stable_requests;
        merged.concentration.stable_errors += concentration.stable_errors;
        top_errors.extend(shard_errors);
    }
    top_errors.sort_unstable_by(|a: &u64, b| b.cmp(a));
    merged.concentration.of_two = top_errors.iter().take(2).sum();
    merged.first_affected =
        sum_newly_affected(shards.iter().flat_map(|shard| shard.first_affected.iter().copied()));
    merged
}

/// The minutes to read next, of the first ones that each part names: the earliest of all, as many as are read at
/// once. A part that names as many as it may has more after its last.
pub fn next_minutes(named_minutes: &[Vec<u64>]) -> Vec<u64> {
    let full = named_minutes.iter().filter(|minutes| minutes.len() >= MINUTES_MAX);
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
    minutes.truncate(MINUTES_MAX);
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
                assert_eq!(shard_of_line(&line(id, Some(hash)), shards), shard, "{hash}");
            }
        }
        assert_eq!(shard_of_line(&line("017f22e2-79b0-7cc3-98c4-dc0c0c07398f", None), 4), 3);
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
            assert_eq!(shard_of_line(&line, 4), 0, "{line}");
        }
    }

    #[test]
    fn the_two_subjects_with_most_errors_are_found_across_shards() {
        let shard_minute =
            |most: &[u64]| ShardMinute { most: most.to_vec(), ..ShardMinute::default() };
        let merged =
            merge_shards(7, &[shard_minute(&[9, 2]), shard_minute(&[8, 7]), shard_minute(&[])]);
        assert_eq!((merged.minute, merged.concentration.of_two), (7, 17));
    }

    #[test]
    fn a_full_page_of_minutes_hides_the_later_ones() {
        let full_page: Vec<u64> = (1..=MINUTES_MAX as u64).map(|i| 2 * i).collect();
        let later_page = vec![1, 239, 240, 241, 500];
        let next = next_minutes(&[full_page.clone(), later_page]);
        assert_eq!((next.len(), next[0], next[1]), (MINUTES_MAX, 1, 2));
        assert!(next.iter().all(|minute| *minute <= 240), "{next:?}");
        assert_eq!(next_minutes(&[vec![3, 5], vec![3, 4], vec![]]), [3, 4, 5]);
        assert_eq!(next_minutes(std::slice::from_ref(&full_page)), full_page);
    }

    #[test]
    fn shards_differ_by_at_most_one_of_256_byte_values() {
        for shards in 1..=SHARDS_MAX {
            let mut events_by_shard = vec![0_u32; shards as usize];
            for byte in 0..=255_u8 {
                let event = json!({"id": format!("{byte:02x}"), "time_ms": 1, "release": "e1"});
                events_by_shard[shard_of_line(&event.to_string(), shards) as usize] += 1;
            }
            let (least, most) =
                (events_by_shard.iter().min().unwrap(), events_by_shard.iter().max().unwrap());
            assert!(most - least <= 1, "{shards}: {events_by_shard:?}");
        }
    }
}
