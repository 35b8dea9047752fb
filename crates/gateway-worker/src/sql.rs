//! An object's own SQLite.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use worker::{Result, SqlStorage, SqlStorageValue};

#[derive(Deserialize)]
pub(super) struct SqlNumber {
    pub(super) number: Option<u64>,
}

/// What an object asks of its tables.
pub(super) trait SqlTables {
    fn sql(&self) -> SqlStorage;

    /// Runs a statement; how many rows it wrote.
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

    /// The column `number` of the first row; 0 where there is none.
    fn query_number(&self, query: &str, values: Vec<SqlStorageValue>) -> Result<u64> {
        let rows: Vec<SqlNumber> = self.query_rows(query, values)?;
        Ok(rows.first().and_then(|row| row.number).unwrap_or(0))
    }
}

/// A number of ours as SQLite has them: far below 2^53, which JavaScript keeps exactly.
pub(super) fn sql_integer(value: u64) -> SqlStorageValue {
    SqlStorageValue::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}
