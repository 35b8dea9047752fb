//! SQLite of a Durable Object, as a trait.
//!
//! [`Sql`] runs statements and returns rows; the Worker implements it on the platform's storage, and
//! the tests on SQLite itself. Statements and values pass through unchanged, and an error names no
//! value.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use jeffrey_terms::EXACT_INTEGER_MAX;

/// Reason why stored data could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// A later version of this program wrote the database: its rows could be misread.
    #[error("the database has schema version {found}; this version knows {known}")]
    LaterVersion {
        /// Schema version of the database.
        found: u64,
        /// Latest schema version of this program.
        known: u64,
    },
    /// A stored value is not what this program stores.
    #[error("a stored value cannot be read: {what}")]
    Malformed {
        /// Position and kind of the fault, without the value.
        what: String,
    },
    /// The platform refused the statement.
    #[error("the storage failed: {message}")]
    Refused {
        /// Message of the platform.
        message: String,
    },
}

impl From<serde_json::Error> for StorageError {
    fn from(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        Self::Malformed { what: format!("{:?} at {line}:{column}", error.classify()) }
    }
}

/// Result of an access to the storage.
pub type StorageResult<T> = Result<T, StorageError>;

/// Value of a statement's parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SqlValue {
    /// Absence of a value, SQL `NULL`.
    Null,
    /// Integer of at most 53 bits: [`sql_integer`] makes it.
    Integer(i64),
    /// Text that SQLite stores as UTF-8.
    Text(String),
}

impl From<&str> for SqlValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for SqlValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// Converts a number to a SQLite integer; a larger one than [`EXACT_INTEGER_MAX`] becomes it.
pub const fn sql_integer(value: u64) -> SqlValue {
    SqlValue::Integer(if value > EXACT_INTEGER_MAX { EXACT_INTEGER_MAX } else { value } as i64)
}

/// The database of one Durable Object.
pub trait Sql {
    /// Runs a statement and returns how many rows it wrote, index rows included.
    ///
    /// # Errors
    /// Returns [`StorageError::Refused`] with the platform's message.
    fn execute(&self, query: &str, values: Vec<SqlValue>) -> StorageResult<usize>;

    /// Runs a statement and deserialises its rows, by the names of their columns.
    ///
    /// # Errors
    /// Returns [`StorageError::Refused`] if the platform refuses the statement or a row has another
    /// form than `T`.
    fn query_rows<T: DeserializeOwned>(
        &self,
        query: &str,
        values: Vec<SqlValue>,
    ) -> StorageResult<Vec<T>>;

    /// Returns the size of the database, in bytes.
    fn database_bytes(&self) -> u64;

    /// Runs `work` as one transaction: if it fails, nothing of it is stored.
    ///
    /// # Errors
    /// Returns the error of `work`, or [`StorageError::Refused`] if the platform cannot commit.
    fn transaction<T>(&self, work: impl FnOnce() -> StorageResult<T>) -> StorageResult<T>;

    /// Returns column `number` of the first row; 0 if there is no row or the column is `NULL`.
    ///
    /// # Errors
    /// As [`Sql::query_rows`].
    fn query_number(&self, query: &str, values: Vec<SqlValue>) -> StorageResult<u64> {
        let rows: Vec<NumberRow> = self.query_rows(query, values)?;
        Ok(rows.first().and_then(|row| row.number).unwrap_or(0))
    }
}

/// Parses stored JSON. Parsed as bytes, as messages are: text would be a second copy of each type's
/// deserialiser in the wasm.
///
/// # Errors
/// Returns [`StorageError::Malformed`] if the text is not what this program stores.
pub(crate) fn parse_stored<T: DeserializeOwned>(json: &str) -> StorageResult<T> {
    Ok(serde_json::from_slice(json.as_bytes())?)
}

/// Row with one column, `number`.
#[derive(Deserialize)]
pub(crate) struct NumberRow {
    pub(crate) number: Option<u64>,
}

/// Row with one column, `text`.
#[derive(Deserialize)]
pub(crate) struct TextRow {
    pub(crate) text: String,
}
