//! The subjects that a release has seen, so that each counts as new once.
//!
//! A subject is known by 64 bits of its keyed hash. They are kept in sorted runs, which merge as they
//! grow, so a subject costs eight bytes. Among two million subjects, two have the same bits by chance
//! once in ten million releases.

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};

/// Largest number of subjects that are kept in a set, before they become a sorted run.
const RECENT_MAX: usize = 32_768;

/// Largest number of subjects in one stored run: a stored value has two megabytes at most.
pub const RUN_SUBJECTS_MAX: usize = 200_000;

/// Bytes of a subject in a stored run.
pub const SUBJECT_BYTES: usize = 8;

/// The 64 bits by which a subject is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectBits(pub u64);

impl SubjectBits {
    /// Returns the bits of a keyed hash: its first sixteen hexadecimal digits. Any other text is hashed.
    pub fn new(keyed_hash: &str) -> Self {
        let digits = keyed_hash.get(..16).filter(|_| keyed_hash.len() >= 32);
        let bits = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        Self(bits.unwrap_or_else(|| {
            let hash = Sha256::digest(keyed_hash.as_bytes());
            u64::from_be_bytes(hash.first_chunk().copied().unwrap_or_default())
        }))
    }
}

/// Subjects that a release has seen.
#[derive(Clone, Debug, Default)]
pub struct SubjectRuns {
    /// Sorted runs, each at least twice as long as the next.
    runs: Vec<Vec<SubjectBits>>,
    recent: HashSet<SubjectBits>,
    /// Subjects that the last checkpoint does not have.
    unsaved: Vec<SubjectBits>,
}

impl SubjectRuns {
    /// Adds a subject and returns whether it is new.
    pub fn insert(&mut self, subject: SubjectBits) -> bool {
        if self.contains(subject) {
            return false;
        }
        self.unsaved.push(subject);
        self.recent.insert(subject);
        if self.recent.len() >= RECENT_MAX {
            let mut run: Vec<_> = self.recent.drain().collect();
            run.sort_unstable();
            self.push_run(run);
        }
        true
    }

    /// Returns whether the subject was seen.
    pub fn contains(&self, subject: SubjectBits) -> bool {
        self.recent.contains(&subject)
            || self.runs.iter().any(|run| run.binary_search(&subject).is_ok())
    }

    /// Number of subjects that were seen.
    pub fn len(&self) -> usize {
        self.recent.len() + self.runs.iter().map(Vec::len).sum::<usize>()
    }

    /// Returns whether no subject was seen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Encodes the subjects that the last checkpoint does not have; empty if it has all.
    pub fn encode_unsaved(&self) -> Vec<u8> {
        let mut subjects = self.unsaved.clone();
        subjects.sort_unstable();
        encode_run(&subjects)
    }

    /// Notes that a checkpoint has every subject.
    pub fn mark_saved(&mut self) {
        self.unsaved.clear();
    }

    /// Adds a stored run.
    pub fn add_saved(&mut self, encoded: &[u8]) {
        self.push_run(decode_run(encoded));
    }

    fn push_run(&mut self, mut run: Vec<SubjectBits>) {
        while let Some(last) = self.runs.pop_if(|last| last.len() < 2 * run.len()) {
            run = merge_runs(&[last, run]);
        }
        if !run.is_empty() {
            self.runs.push(run);
        }
    }
}

/// Merges sorted runs into one, without duplicates.
pub fn merge_runs(runs: &[Vec<SubjectBits>]) -> Vec<SubjectBits> {
    let mut merged = runs.concat();
    // Sorted parts are found and merged, not sorted again.
    merged.sort();
    merged.dedup();
    merged
}

/// Encodes a sorted run, eight bytes a subject.
pub fn encode_run(run: &[SubjectBits]) -> Vec<u8> {
    run.iter().flat_map(|subject| subject.0.to_be_bytes()).collect()
}

/// Decodes a run; bytes after the last whole subject are ignored.
pub fn decode_run(encoded: &[u8]) -> Vec<SubjectBits> {
    encoded.as_chunks().0.iter().map(|bytes| SubjectBits(u64::from_be_bytes(*bytes))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bits_are_the_first_of_the_hash() {
        let hash = "00000000000000ff1111111111111111";
        assert_eq!(SubjectBits::new(hash), SubjectBits(255));
        assert_ne!(SubjectBits::new("5ab1"), SubjectBits::new("5ab2"));
    }

    #[test]
    fn a_hundred_thousand_subjects_stay_few_runs() {
        let mut subjects = SubjectRuns::default();
        for number in 0..100_000_u64 {
            assert!(subjects.insert(SubjectBits(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
        }
        assert_eq!(subjects.len(), 100_000);
        assert!(subjects.runs.len() <= 4, "{} runs", subjects.runs.len());
        assert!(!subjects.insert(SubjectBits(0)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// Cut into checkpoints and read back at any place, each subject is new once.
        #[test]
        fn each_subject_is_new_once(
            checkpoints in prop::collection::vec(prop::collection::vec(0_u64..60, 0..30), 0..8),
        ) {
            let mut known = HashSet::new();
            let mut stored: Vec<Vec<u8>> = Vec::new();
            let mut subjects = SubjectRuns::default();
            for checkpoint in checkpoints {
                for number in checkpoint {
                    prop_assert_eq!(subjects.insert(SubjectBits(number)), known.insert(number));
                }
                prop_assert_eq!(subjects.len(), known.len());
                stored.push(subjects.encode_unsaved());
                subjects = SubjectRuns::default();
                stored.iter().for_each(|run| subjects.add_saved(run));
            }
        }
    }
}
