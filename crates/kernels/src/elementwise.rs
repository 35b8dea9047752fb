//! Operations on one value at a time, in place.
//!
//! The slices may have any shape. The result replaces the first one, so nothing is allocated.

/// Replaces each value by the larger of it and 0; NaN becomes 0.
pub fn relu(values: &mut [f32]) {
    for value in values {
        *value = if *value > 0.0 { *value } else { 0.0 };
    }
}

/// Adds element by element: `sum[i] += addend[i]`.
///
/// # Panics
/// If the lengths differ.
pub fn add(sum: &mut [f32], addend: &[f32]) {
    assert_eq!(sum.len(), addend.len());
    for (sum, addend) in sum.iter_mut().zip(addend) {
        *sum += addend;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relu_keeps_what_is_above_zero() {
        let mut values = [-1.0, -0.0, 0.5, f32::INFINITY, f32::NEG_INFINITY];
        relu(&mut values);
        assert_eq!(values, [0.0, 0.0, 0.5, f32::INFINITY, 0.0]);
    }

    #[test]
    fn add_adds_place_by_place() {
        let mut sum = [1.0, 2.0, 3.0, 4.0, 5.0];
        add(&mut sum, &[10.0, 20.0, 30.0, 40.0, 50.0]);
        assert_eq!(sum, [11.0, 22.0, 33.0, 44.0, 55.0]);
    }
}
