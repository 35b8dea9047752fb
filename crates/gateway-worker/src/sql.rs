//! Queries on the SQLite database of a Durable Object.
//!
//! An object implements [`SqlTables::sql`]; the other methods run statements and deserialise rows.
//! Errors are the platform's own.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use worker::{Result, SqlStorage, SqlStorageValue};

#[derive(Deserialize)]
pub(super) struct SqlNumber {
    pub(super) number: Option<u64>,
}

/// Statements and queries on an object's tables.
pub(super) trait SqlTables {
    fn sql(&self) -> SqlStorage;

    /// Runs a statement and returns how many rows it wrote.
    fn execute(&self, query: &str, values: Vec<SqlStorageValue>) -> Result<usize> {
        Ok(self.sql().exec(query, values)?.rows_written())
    }

    fn query_rows<T: DeserializeOwned>(
        &self,
        query: &str,
        values: Vec<SqlStorageValue>,
    ) -> Result<Vec<T>> {
        self.sql().exec(query, values)?.to_array()
    }

    /// Returns column `number` of the first row; 0 if there is no row or the column is `NULL`.
    fn query_number(&self, query: &str, values: Vec<SqlStorageValue>) -> Result<u64> {
        let rows: Vec<SqlNumber> = self.query_rows(query, values)?;
        Ok(rows.first().and_then(|row| row.number).unwrap_or(0))
    }
}

/// Largest integer that a value can have on its way to SQLite: JavaScript keeps it exactly.
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Converts a number to a SQLite integer; a larger one than [`INTEGER_MAX`] becomes it.
pub(super) fn sql_integer(value: u64) -> SqlStorageValue {
    SqlStorageValue::Integer(value.min(INTEGER_MAX) as i64)
}
