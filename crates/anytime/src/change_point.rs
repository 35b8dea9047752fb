//! Evidence carried from minute to minute, as a few numbers.
//!
//! [`ChangePointEProcess`] looks for a change at any minute of a horizon. Each minute starts one
//! e-process with a part of a single stake, and only their sum is kept for each alternative. A
//! weighted sum of e-processes is an e-process. [`ProductEProcess`] starts once, for a claim about
//! a whole stage. [`EDetector`] has no horizon: it bounds how often it is wrong, not whether it
//! ever is (Shin, Ramdas & Rinaldo 2022, <https://arxiv.org/abs/2203.03532>).

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ALTERNATIVE_COUNT, exp, ln, ln_mean_exp};

/// Sum over all starting minutes for each alternative, and the stake that is not spent yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangePointEProcess {
    sums: HexFloats<ALTERNATIVE_COUNT>,
    unspent: HexFloats<1>,
}

impl ChangePointEProcess {
    /// Returns a process that has not started: the stake of 1 is whole, and the e-value is 1.
    pub const fn new() -> Self {
        Self { sums: HexFloats([0.0; ALTERNATIVE_COUNT]), unspent: HexFloats([1.0]) }
    }

    /// Starts one more e-process with `stake`, or with what is left of it, then multiplies all
    /// started ones by the e-values of a block.
    ///
    /// The stake must not depend on that block.
    pub fn fold_block(&mut self, stake: f64, ln_e: &[f64; ALTERNATIVE_COUNT]) {
        let [unspent] = &mut self.unspent.0;
        let stake = stake.min(*unspent);
        *unspent -= stake;
        for (sum, ln_e) in self.sums.0.iter_mut().zip(ln_e) {
            *sum = multiply_capped(*sum + stake, *ln_e);
        }
    }

    /// Returns the ln e-value. `weights` weigh the alternatives: they sum to 1 and never change.
    pub fn ln_e(&self, weights: &[f64; ALTERNATIVE_COUNT]) -> f64 {
        ln(weighted_sum(&self.sums.0, weights) + self.unspent.0[0])
    }
}

impl Default for ChangePointEProcess {
    fn default() -> Self {
        Self::new()
    }
}

/// Sum over starts without an end: the detector of Shiryaev and Roberts, on e-values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EDetector {
    sums: HexFloats<ALTERNATIVE_COUNT>,
}

impl EDetector {
    /// Returns a detector that has seen no block.
    pub const fn new() -> Self {
        Self { sums: HexFloats([0.0; ALTERNATIVE_COUNT]) }
    }

    /// Starts one more e-process with a stake of 1, then multiplies all by the e-values of a block.
    pub fn fold_block(&mut self, ln_e: &[f64; ALTERNATIVE_COUNT]) {
        for (sum, ln_e) in self.sums.0.iter_mut().zip(ln_e) {
            *sum = multiply_capped(*sum + 1.0, *ln_e);
        }
    }

    /// Returns the logarithm of the statistic. While nothing is wrong, it takes at least `A` blocks
    /// on average to reach `A`.
    pub fn ln_e(&self, weights: &[f64; ALTERNATIVE_COUNT]) -> f64 {
        ln(weighted_sum(&self.sums.0, weights))
    }
}

impl Default for EDetector {
    fn default() -> Self {
        Self::new()
    }
}

/// Product of e-values from one start, for `N` alternatives of equal weight, kept as logarithms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProductEProcess<const N: usize> {
    ln_e_values: HexFloats<N>,
}

impl<const N: usize> ProductEProcess<N> {
    /// Returns a process that has seen no block: its e-value is 1.
    pub const fn new() -> Self {
        Self { ln_e_values: HexFloats([0.0; N]) }
    }

    /// Multiplies the e-values of one block into the product.
    pub fn fold_block(&mut self, ln_e: &[f64; N]) {
        for (sum, ln_e) in self.ln_e_values.0.iter_mut().zip(ln_e) {
            *sum += ln_e;
        }
    }

    /// Returns the ln e-value: the logarithm of the mean over the alternatives.
    pub fn ln_e(&self) -> f64 {
        ln_mean_exp(&self.ln_e_values.0)
    }
}

impl<const N: usize> Default for ProductEProcess<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// Numbers stored with all their bits, as sixteen hexadecimal digits each.
///
/// A decimal that another reader parses may differ in the last bit. Deserialising refuses a value
/// that is not finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HexFloats<const N: usize>(
    /// The numbers, in their order.
    pub [f64; N],
);

impl<const N: usize> Default for HexFloats<N> {
    fn default() -> Self {
        Self([0.0; N])
    }
}

impl<const N: usize> Serialize for HexFloats<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits: String =
            self.0.iter().map(|value| format!("{:016x}", value.to_bits())).collect();
        serializer.serialize_str(&digits)
    }
}

impl<'de, const N: usize> Deserialize<'de> for HexFloats<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = String::deserialize(deserializer)?;
        let mut values = [0.0; N];
        if digits.len() != 16 * N {
            return Err(D::Error::custom("not sixteen digits a number"));
        }
        for (index, value) in values.iter_mut().enumerate() {
            let bits = digits.get(16 * index..16 * (index + 1)).unwrap_or_default();
            let bits = u64::from_str_radix(bits, 16).map_err(D::Error::custom)?;
            *value = f64::from_bits(bits);
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(D::Error::custom("not a finite number"));
        }
        Ok(Self(values))
    }
}

fn weighted_sum(sums: &[f64; ALTERNATIVE_COUNT], weights: &[f64; ALTERNATIVE_COUNT]) -> f64 {
    sums.iter().zip(weights).map(|(sum, weight)| sum * weight).sum()
}

/// Returns `sum * exp(ln_e)`, held below [`EVIDENCE_MAX`]. Capping only loses evidence, so the
/// result remains valid.
fn multiply_capped(sum: f64, ln_e: f64) -> f64 {
    (sum * exp(ln_e.min(LN_E_MAX))).min(EVIDENCE_MAX)
}

/// Cap on a sum. No budget is near `1 / EVIDENCE_MAX`, and `EVIDENCE_MAX * exp(LN_E_MAX)` is
/// finite.
const EVIDENCE_MAX: f64 = 1e100;
const LN_E_MAX: f64 = 400.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ALTERNATIVE_RATIOS, MIXTURE_WEIGHTS_EQUAL, MIXTURE_WEIGHTS_NEAR_LIMIT, Proportion, odds,
    };

    #[test]
    fn weights_are_parts_of_one() {
        for weights in [MIXTURE_WEIGHTS_EQUAL, MIXTURE_WEIGHTS_NEAR_LIMIT] {
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    /// All outcomes of a fair game: each block multiplies by 2 or by (nearly) 0, both equally
    /// likely.
    fn fair_game_outcomes(blocks: u32) -> impl Iterator<Item = Vec<f64>> {
        let gain = |lost: bool| if lost { -700.0 } else { ln(2.0) };
        (0..1_u32 << blocks)
            .map(move |bits| (0..blocks).map(|block| gain(bits >> block & 1 == 1)).collect())
    }

    #[test]
    fn the_mean_over_all_outcomes_is_the_stake() {
        for blocks in 1..=8 {
            let mean = |stake: f64| {
                let total: f64 = fair_game_outcomes(blocks)
                    .map(|games| {
                        let mut starts = ChangePointEProcess::new();
                        games
                            .iter()
                            .for_each(|ln_e| starts.fold_block(stake, &[*ln_e; ALTERNATIVE_COUNT]));
                        exp(starts.ln_e(&MIXTURE_WEIGHTS_EQUAL))
                    })
                    .sum();
                total / f64::from(1_u32 << blocks)
            };
            // The stake may be cut in any way, and it may be used up within these blocks.
            for stake in [1.0, 0.25, 1.0 / 1_440.0] {
                assert!((mean(stake) - 1.0).abs() < 1e-12, "{blocks} blocks, stake {stake}");
            }
        }
    }

    /// Runs the whole test as a gate does, on every course of three small blocks whose rate drifts
    /// and whose share grows.
    #[test]
    fn the_mean_over_every_course_of_small_blocks_is_one() {
        let blocks = [(1_u64, 3_u64, 0.2_f64), (2, 2, 0.6), (3, 1, 0.1)];
        let choose =
            |n: u64, k: u64| -> f64 { (0..k).map(|i| (n - i) as f64 / (k - i) as f64).product() };
        let chance = |n: u64, x: u64, p: f64| {
            choose(n, x) * p.powi(x as i32) * (1.0 - p).powi((n - x) as i32)
        };
        let mut courses = vec![(1.0, ChangePointEProcess::new())];
        for (n1, n0, p) in blocks {
            let mut longer = Vec::new();
            for (probability, starts) in &courses {
                for (x1, x0) in (0..=n1).flat_map(|x1| (0..=n0).map(move |x0| (x1, x0))) {
                    let mut next = starts.clone();
                    next.fold_block(
                        0.25,
                        &odds::ln_e_higher_odds(Proportion::new(x1, n1), Proportion::new(x0, n0)),
                    );
                    longer.push((probability * chance(n1, x1, p) * chance(n0, x0, p), next));
                }
            }
            courses = longer;
            let mean: f64 = courses
                .iter()
                .map(|(probability, e)| probability * exp(e.ln_e(&MIXTURE_WEIGHTS_EQUAL)))
                .sum();
            assert!((mean - 1.0).abs() < 1e-10, "{mean}");
        }
    }

    #[test]
    fn without_the_weight_of_the_start_the_mean_grows() {
        let blocks = 6;
        let total: f64 = fair_game_outcomes(blocks)
            .map(|games| {
                let mut whole = EDetector::new();
                games.iter().for_each(|ln_e| whole.fold_block(&[*ln_e; ALTERNATIVE_COUNT]));
                exp(whole.ln_e(&MIXTURE_WEIGHTS_EQUAL))
            })
            .sum();
        // A stake of 1 each minute is worth the number of minutes: a detector, not an e-process.
        assert!((total / f64::from(1_u32 << blocks) - f64::from(blocks)).abs() < 1e-12);
    }

    /// Runs 60 requests a minute at a rate equal to the limit and looks after each request. Within
    /// a minute, too, the evidence so far is a product of e-values.
    #[test]
    fn looks_at_each_event_are_false_no_more_often_than_the_budget() {
        let (limit, budget, days) = (0.02_f64, 0.01_f64, 100);
        let factors =
            ALTERNATIVE_RATIOS.map(|times| [(1.0 - times * limit) / (1.0 - limit), times]);
        let mut seed = 7_u64;
        let is_false_alarm = |_: &i32| {
            let mut sums = [0.0; ALTERNATIVE_COUNT];
            let mut unspent = 1.0;
            (0..1_440 * 60).any(|event| {
                if event % 60 == 0 {
                    unspent -= 1.0 / 1_440.0;
                    sums.iter_mut().for_each(|sum| *sum += 1.0 / 1_440.0);
                }
                seed = seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let hit = ((seed >> 33) as f64) < limit * f64::from(1_u32 << 31);
                let mut evidence = unspent;
                for (index, sum) in sums.iter_mut().enumerate() {
                    *sum *= factors[index][usize::from(hit)];
                    evidence += MIXTURE_WEIGHTS_NEAR_LIMIT[index] * *sum;
                }
                evidence >= 1.0 / budget
            })
        };
        let alarms = (0..days).filter(is_false_alarm).count();
        // At most one is expected; five or more have a chance below 0.4 %.
        assert!(alarms < 5, "{alarms} of {days}");
    }

    #[test]
    fn a_late_change_is_found_as_fast_as_an_early_one() {
        let minutes_after = |quiet: usize| {
            let mut starts = ChangePointEProcess::new();
            for _ in 0..quiet {
                starts.fold_block(1.0 / 1_440.0, &[-0.3; ALTERNATIVE_COUNT]);
            }
            let minutes = (0..).find(|_| {
                starts.fold_block(1.0 / 1_440.0, &[0.5; ALTERNATIVE_COUNT]);
                starts.ln_e(&MIXTURE_WEIGHTS_EQUAL) > ln(100.0)
            });
            minutes.unwrap()
        };
        assert_eq!(minutes_after(20), minutes_after(1_300));
    }

    #[test]
    fn evidence_that_cannot_be_held_stays_a_number() {
        let mut starts = ChangePointEProcess::new();
        for _ in 0..100 {
            starts.fold_block(0.01, &[5_000.0; ALTERNATIVE_COUNT]);
        }
        assert!(
            starts.ln_e(&MIXTURE_WEIGHTS_EQUAL) > 200.0
                && starts.ln_e(&MIXTURE_WEIGHTS_EQUAL).is_finite()
        );
        for _ in 0..100 {
            starts.fold_block(0.01, &[-5_000.0; ALTERNATIVE_COUNT]);
        }
        // The stake is spent and lost by now: no evidence against the hypothesis remains.
        assert!(starts.ln_e(&MIXTURE_WEIGHTS_EQUAL) < -100.0);
    }

    #[test]
    fn it_is_stored_with_all_its_bits() {
        let mut starts = ChangePointEProcess::new();
        let mut product = ProductEProcess::<3>::new();
        for block in 0..50 {
            starts.fold_block(1.0 / 1_440.0, &[0.1, 0.2, 0.3, -0.1, 1.0 / 3.0, f64::from(block)]);
            product.fold_block(&[0.1, 0.7, -1.0 / 3.0]);
        }
        let json = serde_json::to_string(&starts).unwrap();
        assert_eq!(serde_json::from_str::<ChangePointEProcess>(&json).unwrap(), starts, "{json}");
        let json = serde_json::to_string(&product).unwrap();
        assert_eq!(serde_json::from_str::<ProductEProcess<3>>(&json).unwrap(), product, "{json}");
        let nan = format!("\"{:016x}\"", f64::NAN.to_bits());
        for bad in ["\"\"", "\"123\"", "\"zzzzzzzzzzzzzzzz\"", &nan, "3"] {
            assert!(serde_json::from_str::<HexFloats<1>>(bad).is_err(), "{bad}");
        }
    }
}
