//! Embedding table with 8 bits for each number.
//!
//! Only the requested rows become floats, so memory holds the table at a quarter of its float size.

use crate::{WeightError, validate_length, validate_values};

/// Rows of 8-bit numbers with a scale for each column.
#[derive(Clone, Debug)]
pub struct EmbeddingTable {
    /// Numbers of shape `[rows, width]`.
    values: Vec<i8>,
    /// Scale of each column, shape `[width]`.
    scale: Vec<f32>,
}

impl EmbeddingTable {
    /// Builds a table from `values` `[rows, width]` and the scale of each column.
    ///
    /// # Errors
    /// [`WeightError`] when a length does not fit, there is no row, or a scale is not finite.
    pub fn new(values: Vec<i8>, scale: Vec<f32>) -> Result<Self, WeightError> {
        let width = scale.len();
        validate_values("scale", &scale, width)?;
        let rows = values.len().checked_div(width).unwrap_or(0);
        validate_length("table", values.len(), rows.max(1) * width.max(1))?;
        Ok(Self { values, scale })
    }

    /// Number of rows; valid ids are below it.
    pub fn rows(&self) -> usize {
        self.values.len() / self.width()
    }

    /// Number of floats in a row.
    pub fn width(&self) -> usize {
        self.scale.len()
    }

    /// Writes the rows of `ids` into `out`, one after the other.
    ///
    /// # Errors
    /// The first id that is below 0 or not below [`EmbeddingTable::rows`].
    ///
    /// # Panics
    /// If `out` is not `ids.len()` rows long.
    pub fn lookup(&self, ids: &[i64], out: &mut [f32]) -> Result<(), i64> {
        let width = self.width();
        assert_eq!(out.len(), ids.len() * width);
        for (id, out) in ids.iter().zip(out.chunks_exact_mut(width)) {
            let row = usize::try_from(*id).ok().filter(|row| *row < self.rows()).ok_or(*id)?;
            let values = &self.values[row * width..][..width];
            for ((out, value), scale) in out.iter_mut().zip(values).zip(&self.scale) {
                *out = f32::from(*value) * scale;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_widened_in_the_order_asked_for() {
        let table = EmbeddingTable::new(vec![1, -2, 3, 4, -128, 127], vec![0.5, 2.0]).unwrap();
        assert_eq!((table.rows(), table.width()), (3, 2));
        let mut out = [0.0; 4];
        table.lookup(&[2, 0], &mut out).unwrap();
        assert_eq!(out, [-64.0, 254.0, 0.5, -4.0]);
    }

    #[test]
    fn an_id_outside_is_named() {
        let table = EmbeddingTable::new(vec![1, 2], vec![1.0]).unwrap();
        assert_eq!(table.lookup(&[1, 2], &mut [0.0; 2]), Err(2));
        assert_eq!(table.lookup(&[-1], &mut [0.0]), Err(-1));
    }

    #[test]
    fn a_table_that_is_no_whole_number_of_rows_is_refused() {
        assert!(EmbeddingTable::new(vec![1, 2, 3], vec![1.0, 1.0]).is_err());
        assert!(EmbeddingTable::new(vec![], vec![1.0]).is_err());
        assert!(EmbeddingTable::new(vec![], vec![]).is_err());
        assert!(EmbeddingTable::new(vec![1], vec![f32::INFINITY]).is_err());
    }
}
