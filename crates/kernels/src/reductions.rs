//! Sums and maxima of floats in four lanes.
//!
//! The compiler must keep the order of a plain sum, so it cannot use vector lanes for it. Here the
//! order is fixed as four lanes: the compiler can use them, and every platform gets the same bits.

const LANES: usize = 4;

/// Returns the sum of `f(x)` over all values.
#[inline(always)]
pub(crate) fn sum_of(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (chunks, tail) = x.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for x in chunks {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum += f(*x);
        }
    }
    let tail: f32 = tail.iter().map(|x| f(*x)).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + tail
}

/// Returns the largest value; minus infinity for an empty slice.
#[inline(always)]
pub(crate) fn max_value(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (chunks, tail) = x.as_chunks::<LANES>();
    let mut maxima = [f32::NEG_INFINITY; LANES];
    for x in chunks {
        for (max, x) in maxima.iter_mut().zip(x) {
            *max = larger(*max, *x);
        }
    }
    tail.iter().chain(&maxima).fold(f32::NEG_INFINITY, |max, x| larger(max, *x))
}

/// Returns the dot product, `sum of a[i] b[i]`.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let tail: f32 = a_tail.iter().zip(b_tail).map(|(a, b)| a * b).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + tail
}

/// Adds a multiple of `x`: `target[i] += x[i] factor`.
#[inline(always)]
pub(crate) fn add_scaled(target: &mut [f32], x: &[f32], factor: f32) {
    for (target, x) in target.iter_mut().zip(x) {
        *target += x * factor;
    }
}
