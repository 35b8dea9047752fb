//! Random numbers of a seed, in streams that do not disturb one another.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// A stream of random numbers. Streams of one seed with different names are independent, so a fault
/// that draws more numbers changes no other stream.
#[derive(Clone, Debug)]
pub struct Stream(Pcg64);

impl Stream {
    /// Creates the stream of a seed, a name and a number.
    pub fn new(seed: u64, name: &str, number: u64) -> Self {
        // FNV-1a (<https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>): the same on every
        // machine.
        let bytes = name.bytes().chain(number.to_le_bytes()).chain(seed.to_le_bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(Pcg64::seed_from_u64(hash))
    }

    /// Returns eight random bytes as a number.
    pub fn number(&mut self) -> u64 {
        self.0.random()
    }

    /// Returns a number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.random_range(low..=high)
    }

    /// Returns an index below `length`, which must not be 0.
    pub fn index(&mut self, length: usize) -> usize {
        self.0.random_range(0..length)
    }

    /// Returns `true` with a probability of `permille` in a thousand.
    pub fn chance(&mut self, permille: u32) -> bool {
        permille > 0 && self.0.random_range(0..1_000) < permille
    }

    /// Returns an exponentially distributed time with this mean, rounded up, in milliseconds: the
    /// distance of two arrivals of a Poisson process.
    pub fn exponential_ms(&mut self, mean_ms: f64) -> u64 {
        let uniform: f64 = self.0.random();
        (-mean_ms * (1.0 - uniform).ln()).ceil().max(1.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_its_seed_its_name_and_its_number() {
        let first = |seed, name, number| Stream::new(seed, name, number).number();
        assert_eq!(first(7, "network", 1), first(7, "network", 1));
        let others = [first(8, "network", 1), first(7, "clients", 1), first(7, "network", 2)];
        assert!(!others.contains(&first(7, "network", 1)));
    }

    #[test]
    fn a_chance_of_none_and_of_all_are_certain() {
        let mut stream = Stream::new(1, "chance", 0);
        assert!((0..1_000).all(|_| !stream.chance(0) && stream.chance(1_000)));
    }

    #[test]
    fn the_mean_of_arrivals_is_the_asked_one() {
        let mut stream = Stream::new(1, "arrivals", 0);
        let sum: u64 = (0..20_000).map(|_| stream.exponential_ms(1_000.0)).sum();
        assert!((970..1_030).contains(&(sum / 20_000)), "{}", sum / 20_000);
    }
}
