//! The bucket of a subject, written a second time, so that a fault of the shipped one is found.
//!
//! MurmurHash3 with 32 bits and seed 0 (<https://github.com/aappleby/smhasher/wiki/MurmurHash3>) of
//! the key and the subject, scaled to 10,000 buckets. The key is the name of the release, or
//! `holdout:` for the buckets of the holdout.

/// Key of the holdout's buckets.
const HOLDOUT_KEY: &str = "holdout:";

/// Number of buckets of a release.
const BUCKETS: u64 = 10_000;

/// Returns a subject's bucket for a release.
pub(crate) fn bucket(release: &str, subject: &str) -> u16 {
    let hash = murmur3(&[release.as_bytes(), subject.as_bytes()].concat());
    ((u64::from(hash) * BUCKETS) >> 32) as u16
}

/// Returns whether a subject is in the holdout, which has this many basis points.
pub(crate) fn is_held_out(subject: &str, holdout: u16) -> bool {
    bucket(HOLDOUT_KEY, subject) < holdout
}

fn murmur3(bytes: &[u8]) -> u32 {
    let scramble =
        |block: u32| block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let mut hash = 0_u32;
    let chunks = bytes.chunks_exact(4);
    let rest = chunks.remainder();
    for chunk in chunks {
        let block = chunk.iter().rev().fold(0, |block, byte| block << 8 | u32::from(*byte));
        hash = (hash ^ scramble(block)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    hash ^= scramble(rest.iter().rev().fold(0, |block, byte| block << 8 | u32::from(*byte)));
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_buckets_are_met() {
        let rows = include_str!("../../../tests/data/buckets.tsv");
        for row in rows.lines().skip(1) {
            let fields: Vec<&str> = row.split('\t').collect();
            let [key, subject, expected] = fields[..] else { panic!("{row}") };
            assert_eq!(bucket(key, subject).to_string(), expected, "{key} {subject}");
        }
    }
}
