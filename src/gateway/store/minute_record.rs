//! The counts of one shard for one minute of a release.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::subject_runs::SubjectBits;
use crate::gateway::aggregate::minute_stats::CohortStats;
use crate::rollout::counts::Metric;
use jeffrey_terms::by_cohort::ByCohort;
use jeffrey_terms::{Cohort, Share};

/// Largest number of subjects whose errors are counted in a minute; among more of them, no two have
/// most of the errors.
const ERRING_SUBJECTS_MAX: usize = 2_000;

/// Counts of one minute of a release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MinuteRecord {
    /// Stats of the minute, one entry for each cohort and share.
    pub stats: Vec<(Cohort, Share, CohortStats)>,
    /// Subjects that the release saw for the first time, without the holdout.
    pub new_subjects: ByCohort<u64>,
    /// Newly affected subjects: metric, hour since whose beginning this is their first hit, cohort,
    /// number.
    newly_affected: Vec<(Metric, u64, Cohort, u64)>,
    /// Errors of the canary's subjects, by the subject's bits.
    subject_errors: BTreeMap<u64, u64>,
}

impl MinuteRecord {
    /// Adds stats of a cohort at a share.
    pub fn add_stats(&mut self, cohort: Cohort, share: Share, stats: &CohortStats) {
        let is_same = |(of_cohort, of_share, _): &&mut (Cohort, Share, CohortStats)| {
            (*of_cohort, *of_share) == (cohort, share)
        };
        match self.stats.iter_mut().find(is_same) {
            Some((.., sum)) => sum.add(stats),
            None => self.stats.push((cohort, share, stats.clone())),
        }
    }

    /// Adds `number` subjects of a cohort that a metric newly affected since an hour began.
    pub fn add_newly_affected(&mut self, key: (Metric, u64, Cohort), number: u64) {
        let (metric, hour, cohort) = key;
        let search = self
            .newly_affected
            .binary_search_by_key(&key, |(metric, hour, cohort, _)| (*metric, *hour, *cohort));
        match search {
            Ok(index) => self.newly_affected[index].3 += number,
            Err(index) => self.newly_affected.insert(index, (metric, hour, cohort, number)),
        }
    }

    /// Adds `number` errors of a subject of the canary.
    pub fn add_errors(&mut self, subject: SubjectBits, number: u64) {
        let is_known = self.subject_errors.contains_key(&subject.0);
        if is_known || self.subject_errors.len() < ERRING_SUBJECTS_MAX {
            *self.subject_errors.entry(subject.0).or_default() += number;
        }
    }

    /// Removes what is known of a subject by its bits, and returns whether there was anything. Counts
    /// stay.
    pub fn erase_subject(&mut self, subject: SubjectBits) -> bool {
        self.subject_errors.remove(&subject.0).is_some()
    }

    /// Newly affected subjects: metric, hour, cohort, number; sorted.
    pub fn newly_affected(&self) -> &[(Metric, u64, Cohort, u64)] {
        &self.newly_affected
    }

    /// Errors of the canary's subjects.
    pub fn subject_errors(&self) -> impl Iterator<Item = (SubjectBits, u64)> {
        self.subject_errors.iter().map(|(subject, errors)| (SubjectBits(*subject), *errors))
    }
}
