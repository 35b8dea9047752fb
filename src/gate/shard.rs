//! A ledger in parts: which part keeps an event, and what the parts are together.
//!
//! An event's part is that of its subject's keyed hash, so that all that one subject does is in one part, and subjects
//! that are seen or affected for the first time are a sum like everything else; without a subject it is that of
//! its id. A double of an event has the same of both.

use serde::{Deserialize, Serialize};

use super::event::Kept;
use super::tally::{self, Tally, affected};
use crate::rollout::counts::{Concentration, Metric, Minute, Pair};
use jeffrey_terms::{Cohort, Share};

/// The most parts of a ledger. What more would be kept apart for is in `docs/scale.md`.
pub const SHARDS_MAX: u64 = 32;

/// Minutes that are read at once.
pub const MINUTES_MAX: usize = 120;

/// Which of some parts keeps a line; the first what is no event.
pub fn of_line(line: &str, shards: u64) -> u64 {
    if shards <= 1 {
        return 0;
    }
    let Ok(kept) = serde_json::from_str::<Kept>(line) else { return 0 };
    let of_id = kept.id.len().checked_sub(2).and_then(|at| kept.id.get(at..));
    let byte = match &kept.subject {
        Some(hash) => hash.get(..2),
        None => of_id,
    };
    let place = byte.and_then(|byte| u64::from_str_radix(byte, 16).ok());
    place.unwrap_or(0) % shards
}

/// What one part of the ledger has of a minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Minutes since 1970.
    pub minute: u64,
    /// What was counted.
    pub tallies: Vec<(Cohort, Share, Tally)>,
    /// Subjects seen for the first time.
    pub first_seen: Pair,
    /// Subjects newly affected: by what, since the beginning of which hour, of which cohort, how many.
    pub first_affected: Vec<(Metric, u64, Cohort, u64)>,
    /// Requests and errors of the hour that ends with the minute; the most that two subjects of this part had.
    pub concentration: Concentration,
    /// Errors of the two canary subjects of this part that had most in that hour.
    pub most: Vec<u64>,
}

/// The minute that the gates read, of what each part has of it.
pub fn merged(minute: u64, parts: &[Part]) -> Minute {
    let tallies: Vec<_> = parts.iter().flat_map(|part| part.tallies.iter().cloned()).collect();
    let mut whole = tally::minute(minute, &tallies);
    let mut most = Vec::new();
    for Part { first_seen, concentration, most: of_part, .. } in parts {
        whole.first_seen.canary += first_seen.canary;
        whole.first_seen.stable += first_seen.stable;
        whole.concentration.requests += concentration.requests;
        whole.concentration.errors += concentration.errors;
        whole.concentration.stable_requests += concentration.stable_requests;
        whole.concentration.stable_errors += concentration.stable_errors;
        most.extend(of_part);
    }
    most.sort_unstable_by(|a: &u64, b| b.cmp(a));
    whole.concentration.of_two = most.iter().take(2).sum();
    whole.first_affected =
        affected(parts.iter().flat_map(|part| part.first_affected.iter().copied()));
    whole
}

/// The minutes to read next, of the first ones that each part names: the earliest of all, as many as are read at
/// once. A part that names as many as it may has more after its last.
pub fn next_minutes(named: &[Vec<u64>]) -> Vec<u64> {
    let full = named.iter().filter(|part| part.len() >= MINUTES_MAX);
    let known_to = full.filter_map(|part| part.last()).min().copied().unwrap_or(u64::MAX);
    let mut all: Vec<u64> =
        named.iter().flatten().copied().filter(|minute| *minute <= known_to).collect();
    all.sort_unstable();
    all.dedup();
    all.truncate(MINUTES_MAX);
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_of_one_subject_is_in_one_part_whatever_the_id() {
        let line = |id: &str, subject: Option<&str>| {
            json!({"id": id, "time_ms": 1, "release": "e1", "subject": subject}).to_string()
        };
        for (hash, shards, part) in
            [("00ff", 4, 0), ("0300", 4, 3), ("ff00", 4, 3), ("ff", 32, 31), ("07", 1, 0)]
        {
            for id in ["017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "x"] {
                assert_eq!(of_line(&line(id, Some(hash)), shards), part, "{hash}");
            }
        }
        assert_eq!(of_line(&line("017f22e2-79b0-7cc3-98c4-dc0c0c07398f", None), 4), 3);
    }

    #[test]
    fn what_names_no_part_is_in_the_first() {
        let strange = [
            json!({"id": "zz", "time_ms": 1, "release": "e1"}).to_string(),
            json!({"id": "ré", "time_ms": 1, "release": "e1", "subject": "é"}).to_string(),
            json!({"id": "", "time_ms": 1, "release": "e1"}).to_string(),
            "no event".to_owned(),
        ];
        for line in strange {
            assert_eq!(of_line(&line, 4), 0, "{line}");
        }
    }

    #[test]
    fn the_two_that_erred_most_are_found_across_parts() {
        let part = |most: &[u64]| Part { most: most.to_vec(), ..Part::default() };
        let whole = merged(7, &[part(&[9, 2]), part(&[8, 7]), part(&[])]);
        assert_eq!((whole.minute, whole.concentration.of_two), (7, 17));
    }

    #[test]
    fn a_part_that_names_all_it_may_hides_what_lies_after() {
        let full: Vec<u64> = (1..=MINUTES_MAX as u64).map(|at| 2 * at).collect();
        let later = vec![1, 239, 240, 241, 500];
        let next = next_minutes(&[full.clone(), later]);
        assert_eq!((next.len(), next[0], next[1]), (MINUTES_MAX, 1, 2));
        assert!(next.iter().all(|at| *at <= 240), "{next:?}");
        assert_eq!(next_minutes(&[vec![3, 5], vec![3, 4], vec![]]), [3, 4, 5]);
        assert_eq!(next_minutes(std::slice::from_ref(&full)), full);
    }

    #[test]
    fn parts_differ_by_at_most_one_of_256_places() {
        for shards in 1..=SHARDS_MAX {
            let mut places = vec![0_u32; shards as usize];
            for byte in 0..=255_u8 {
                let event = json!({"id": format!("{byte:02x}"), "time_ms": 1, "release": "e1"});
                places[of_line(&event.to_string(), shards) as usize] += 1;
            }
            let (least, most) = (places.iter().min().unwrap(), places.iter().max().unwrap());
            assert!(most - least <= 1, "{shards}: {places:?}");
        }
    }
}
