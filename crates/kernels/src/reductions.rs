//! Sums of floats in four lanes, so that the compiler may use them: it must keep the order of a plain
//! sum. The order is fixed here, so every platform gets the same bits.

const LANES: usize = 4;

/// `sum of f(x)`.
#[inline(always)]
pub(crate) fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (whole, rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for x in whole {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum += f(*x);
        }
    }
    let rest: f32 = rest.iter().map(|x| f(*x)).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// The largest value; minus infinity of none.
#[inline(always)]
pub(crate) fn highest(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (whole, rest) = x.as_chunks::<LANES>();
    let mut highest = [f32::NEG_INFINITY; LANES];
    for x in whole {
        for (highest, x) in highest.iter_mut().zip(x) {
            *highest = larger(*highest, *x);
        }
    }
    rest.iter().chain(&highest).fold(f32::NEG_INFINITY, |highest, x| larger(highest, *x))
}

/// `sum of a[i] b[i]`.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// `to[i] += x[i] by`.
#[inline(always)]
pub(crate) fn add_scaled(to: &mut [f32], x: &[f32], by: f32) {
    for (to, x) in to.iter_mut().zip(x) {
        *to += x * by;
    }
}
