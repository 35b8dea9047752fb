//! Library functions as exports that any WebAssembly host can call.
//!
//! [`kernels`] and [`evidence`] hash the bits of many results. The tests below compare the hashes
//! with the ones on record natively; `tests/worker/kernels.test.js` and
//! `tests/worker/evidence.test.js` compare them in Node and in workerd. `make bench` times
//! [`decision`].

pub mod decision;

pub mod evidence;

pub mod kernels;

#[cfg(test)]
mod tests {
    use super::{evidence, kernels};

    #[test]
    fn every_kernel_gives_the_bits_on_record() {
        let digest = format!("{:016x}", kernels::kernels_digest());
        assert_eq!(digest, include_str!("kernels.txt").trim());
    }

    #[test]
    fn ten_thousand_evidence_values_have_the_bits_on_record() {
        let digest = format!("{:016x}", evidence::evidence_digest());
        assert_eq!(digest, include_str!("evidence.txt").trim());
    }
}
