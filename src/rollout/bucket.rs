//! A subject's fixed bucket, 0 to 9,999, and the cohort that a share makes of it.
//!
//! The rule is the second version of flagd's fractional evaluation
//! (<https://flagd.dev/reference/specifications/custom-operations/fractional-operation-spec/>):
//! MurmurHash3 of the release name and the subject, both as UTF-8, scaled to the buckets without
//! the bias of a remainder. The canary has the lowest buckets, so a growing share only adds
//! subjects, and a smaller one brings back the same ones. Another release draws anew. The holdout
//! has a hash of its own, the same for every release.
//!
//! With a salt the hash is HMAC-SHA256, of which the first 32 bits count. Without the salt a
//! bucket cannot be computed. Anyone can still try an id and see who answers.

use std::fmt;
use std::io::Cursor;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::signing_key::SigningKey;
use jeffrey_terms::{Cohort, Share, Subject};

/// Name of a release, which is part of the hash that draws its subjects: 1 to
/// [`ReleaseName::BYTES_MAX`] ASCII letters, digits, dashes, dots and underscores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReleaseName(String);

impl ReleaseName {
    /// Longest name that is accepted, in bytes.
    pub const BYTES_MAX: usize = 64;

    /// Checks a name and returns it as a type.
    ///
    /// # Errors
    /// [`ReleaseNameError`] when the name is empty, too long, or has a character that is not
    /// allowed: the name is part of paths, headers and file names.
    pub fn parse(name: impl Into<String>) -> Result<Self, ReleaseNameError> {
        let name = name.into();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > Self::BYTES_MAX || !name.bytes().all(allowed) {
            return Err(ReleaseNameError { name });
        }
        Ok(Self(name))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReleaseName {
    type Err = ReleaseNameError;

    fn from_str(name: &str) -> Result<Self, ReleaseNameError> {
        Self::parse(name)
    }
}

/// Error for a text that is not the name of a release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "release `{name}` is not 1 to {} letters, digits, dashes, dots and underscores",
    ReleaseName::BYTES_MAX
)]
pub struct ReleaseNameError {
    name: String,
}

impl TryFrom<String> for ReleaseName {
    type Error = ReleaseNameError;

    fn try_from(name: String) -> Result<Self, ReleaseNameError> {
        Self::parse(name)
    }
}

impl From<ReleaseName> for String {
    fn from(release: ReleaseName) -> Self {
        release.0
    }
}

/// A subject's place among [`Bucket::COUNT`] buckets, 0 to 9,999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket(u16);

impl Bucket {
    /// Number of buckets: one for each basis point of a share.
    pub const COUNT: u16 = 10_000;

    /// Returns the bucket of a subject for one release; `salt` is a [`bucket_salt`].
    pub fn from_subject(
        release: &ReleaseName,
        subject: &Subject,
        salt: Option<&SigningKey>,
    ) -> Self {
        Self::from_key(release.as_str(), subject, salt)
    }

    fn from_key(key: &str, subject: &Subject, salt: Option<&SigningKey>) -> Self {
        let bytes = [key.as_bytes(), subject.expose().as_bytes()].concat();
        let hash = match salt {
            Some(salt) => {
                let [a, b, c, d, ..] = salt.compute_tag(&bytes);
                u32::from_be_bytes([a, b, c, d])
            }
            // Reading from memory cannot fail.
            None => murmur3::murmur3_32(&mut Cursor::new(bytes), 0).expect("bytes in memory"),
        };
        Self(((u64::from(hash) * u64::from(Self::COUNT)) >> 32) as u16)
    }

    /// Returns the bucket as a number, 0 to 9,999.
    pub const fn index(self) -> u16 {
        self.0
    }

    /// Returns the cohort of the bucket at a share.
    pub fn cohort(self, share: Share) -> Cohort {
        if self.0 < share.basis_points() { Cohort::Canary } else { Cohort::Stable }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Cohort of a subject, with the bucket and the holdout that decided it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketAssignment {
    /// The subject's bucket for this release.
    pub bucket: Bucket,
    /// Cohort that the subject is assigned to.
    pub cohort: Cohort,
    /// Whether the holdout kept it stable, whatever the share.
    pub is_held_out: bool,
}

/// Derives the key that hashes subjects from an operator's secret.
pub fn bucket_salt(secret: SigningKey) -> SigningKey {
    secret.derive_key("bucket")
}

/// Returns a name of the salt in use that does not show it; `none` without a salt. Two gateways of one
/// release draw alike only if the names are the same.
pub fn bucket_salt_name(salt: Option<&SigningKey>) -> String {
    salt.map_or_else(|| "none".to_owned(), SigningKey::key_id)
}

/// Assigns a subject to a cohort. Subjects in the first `holdout` of the holdout's own buckets stay
/// stable even at a share of 100 %.
pub fn assign_cohort_by_bucket(
    release: &ReleaseName,
    subject: &Subject,
    salt: Option<&SigningKey>,
    share: Share,
    holdout: Share,
) -> BucketAssignment {
    let bucket = Bucket::from_subject(release, subject, salt);
    let holdout_bucket = Bucket::from_key(HOLDOUT_KEY, subject, salt);
    let is_held_out = holdout_bucket.cohort(holdout) == Cohort::Canary;
    let cohort = if is_held_out { Cohort::Stable } else { bucket.cohort(share) };
    BucketAssignment { bucket, cohort, is_held_out }
}

/// Key of the holdout's own buckets. It cannot be the name of a release, which has no colon.
const HOLDOUT_KEY: &str = "holdout:";

#[cfg(test)]
mod tests {
    use super::*;

    const STAGES: [u16; 5] = [1_000, 2_000, 5_000, 7_500, 10_000];

    const SALTED: [(&str, u16, bool); 5] = [
        ("alice", 3_972, true),
        ("bob", 7_210, false),
        ("user-1", 9_719, true),
        ("Zoé", 224, true),
        ("日本", 7_699, false),
    ];

    fn release(name: &str) -> ReleaseName {
        ReleaseName::parse(name).unwrap()
    }

    fn share(points: u16) -> Share {
        Share::from_basis_points(points).unwrap()
    }

    fn subjects(count: usize) -> Vec<Subject> {
        (0..count).map(|number| Subject::parse(format!("user-{number}")).unwrap()).collect()
    }

    /// Subjects in all scripts; their hashes are those of the C reference implementation (Python's
    /// mmh3).
    #[test]
    fn known_answers_are_met() {
        let rows = include_str!("../../tests/data/buckets.tsv");
        let mut count = 0;
        for row in rows.lines().skip(1) {
            let fields: Vec<&str> = row.split('\t').collect();
            let [key, subject, bucket] = fields[..] else { panic!("{row}") };
            let computed =
                Bucket::from_subject(&release(key), &Subject::parse(subject).unwrap(), None);
            assert_eq!(computed.index().to_string(), bucket, "{key} {subject}");
            count += 1;
        }
        assert!(count >= 200, "{count} rows");
    }

    #[test]
    fn a_growing_share_never_moves_a_subject_back_and_a_rollback_finds_the_same_ones() {
        let release = release("e1-small-2026-11");
        let mut moved_back = 0;
        for subject in subjects(1_000_000) {
            let bucket = Bucket::from_subject(&release, &subject, None);
            let mut previous = Cohort::Stable;
            for points in STAGES {
                let cohort = bucket.cohort(share(points));
                moved_back += usize::from(previous == Cohort::Canary && cohort == Cohort::Stable);
                previous = cohort;
            }
            assert_eq!(previous, Cohort::Canary);
            assert_eq!(bucket.cohort(Share::NONE), Cohort::Stable);
            assert_eq!(Bucket::from_subject(&release, &subject, None), bucket);
        }
        assert_eq!(moved_back, 0);
    }

    /// Buckets that Python's `hmac` and `hashlib` compute, with the secret `a salt of the tests`.
    #[test]
    fn a_salted_bucket_is_the_one_that_python_computes() {
        let salt = bucket_salt(SigningKey::parse("a salt of the tests").unwrap());
        for (name, expected, is_held_out) in SALTED {
            let subject = Subject::parse(name).unwrap();
            let holdout = share(5_000);
            let assignment = assign_cohort_by_bucket(
                &release("e1"),
                &subject,
                Some(&salt),
                Share::FULL,
                holdout,
            );
            assert_eq!(assignment.bucket.index(), expected, "{name}");
            assert_eq!(assignment.is_held_out, is_held_out, "{name}");
        }
    }

    #[test]
    fn a_salt_draws_all_buckets_alike_and_another_salt_draws_anew() {
        let salts = ["a salt of the tests", "another salt of theirs"];
        let salts = salts.map(|salt| bucket_salt(SigningKey::parse(salt).unwrap()));
        let tenth = |subject: &Subject, salt| {
            let bucket = Bucket::from_subject(&release("e1"), subject, salt);
            bucket.cohort(share(1_000)) == Cohort::Canary
        };
        let subjects = subjects(100_000);
        let count = |is_in: &dyn Fn(&Subject) -> bool| {
            subjects.iter().filter(|subject| is_in(subject)).count() as f64 / 100_000.0
        };
        let [first, second] = &salts;
        assert!((count(&|subject| tenth(subject, Some(first))) - 0.1).abs() < 0.004);
        let in_both = |other| {
            count(&move |subject: &Subject| tenth(subject, Some(first)) && tenth(subject, other))
        };
        // Independent tenths have a hundredth in common.
        assert!((in_both(Some(second)) - 0.01).abs() < 0.002);
        assert!((in_both(None) - 0.01).abs() < 0.002);
    }

    #[test]
    fn every_bucket_is_canary_from_its_own_share_on() {
        let mut was_canary = vec![false; usize::from(Bucket::COUNT)];
        for points in 0..=Share::FULL.basis_points() {
            let share = share(points);
            for (index, was_canary) in (0..Bucket::COUNT).zip(&mut was_canary) {
                let is_canary = Bucket(index).cohort(share) == Cohort::Canary;
                let is_expected = index < points && is_canary || index >= points && !is_canary;
                let moved_back = *was_canary && !is_canary;
                if moved_back || !is_expected {
                    panic!("bucket {index} at {points} basis points: canary {is_canary}");
                }
                *was_canary = is_canary;
            }
        }
        assert!(was_canary.into_iter().all(|is_canary| is_canary), "everyone at 100 %");
    }

    #[test]
    fn each_of_twenty_releases_takes_its_share_and_another_draw() {
        let count = 1_000_000;
        let subjects = subjects(count);
        let mut first_tenths = Vec::new();
        for number in 0..20 {
            let release = release(&format!("release-{number}"));
            let mut places = vec![0_u32; usize::from(Bucket::COUNT)];
            let mut in_first = 0;
            for (place, subject) in subjects.iter().enumerate() {
                let bucket = Bucket::from_subject(&release, subject, None);
                places[usize::from(bucket.index())] += 1;
                let canary = bucket.cohort(share(1_000)) == Cohort::Canary;
                if number == 0 {
                    first_tenths.push(canary);
                } else {
                    in_first += u32::from(canary && first_tenths[place]);
                }
            }
            for points in STAGES {
                let taken: u32 = places[..usize::from(points)].iter().sum();
                let deviation = f64::from(taken) / count as f64 - f64::from(points) / 10_000.0;
                assert!(deviation.abs() <= 0.002, "{release:?} at {points}: off by {deviation}");
            }
            // Independent tenths have a hundredth in common.
            let overlap = f64::from(in_first) / count as f64;
            assert!(number == 0 || (overlap - 0.01).abs() < 0.001, "{release:?}: {overlap}");
        }
    }

    #[test]
    fn the_holdout_stays_stable_at_any_share_of_any_release() {
        let holdout = share(500);
        let mut held_out_count = 0;
        for subject in subjects(20_000) {
            let a = assign_cohort_by_bucket(&release("a"), &subject, None, Share::FULL, holdout);
            let b = assign_cohort_by_bucket(&release("b"), &subject, None, Share::FULL, holdout);
            assert_eq!((a.cohort, a.is_held_out), (b.cohort, b.is_held_out));
            assert_eq!(a.cohort == Cohort::Stable, a.is_held_out);
            let larger =
                assign_cohort_by_bucket(&release("a"), &subject, None, Share::FULL, share(1_000));
            assert!(larger.is_held_out || !a.is_held_out, "a growing holdout let someone go");
            held_out_count += u32::from(a.is_held_out);
        }
        assert!((f64::from(held_out_count) / 20_000.0 - 0.05).abs() < 0.005, "{held_out_count}");
        let subject = Subject::parse("anyone").unwrap();
        assert!(
            !assign_cohort_by_bucket(&release("a"), &subject, None, Share::FULL, Share::NONE)
                .is_held_out
        );
    }

    #[test]
    fn a_release_has_a_name_that_can_stand_in_a_path() {
        for name in ["e1-small", "v2.4.2", "A_1", &"x".repeat(64)] {
            assert!(ReleaseName::parse(name).is_ok(), "{name}");
        }
        for name in ["", "a b", "a/b", "é", "holdout:", &"x".repeat(65)] {
            let error = ReleaseName::parse(name).unwrap_err().to_string();
            assert!(error.starts_with(&format!("release `{name}` is not 1 to 64")), "{error}");
        }
    }
}
