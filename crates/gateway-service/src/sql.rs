//! SQLite of a Durable Object, as a trait.
//!
//! [`Sql`] runs statements and returns rows of values; the Worker implements it on the platform's storage, and
//! the tests on SQLite itself. Statements and values pass through unchanged, and an error names no
//! value.

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
    /// The database of an earlier version is being migrated; a later message finds it migrated.
    #[error("the database is being migrated; try again")]
    Migrating,
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
    /// Bytes, at most two megabytes.
    Blob(Vec<u8>),
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

/// Values of one row, in the order of its columns. One type for all rows: a deserialiser of each would be
/// a tenth of the wasm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlRow(pub Vec<SqlValue>);

impl SqlRow {
    /// Returns whether a column has no value.
    pub fn is_null(&self, column: usize) -> bool {
        matches!(self.0.get(column), None | Some(SqlValue::Null))
    }

    /// Returns the value of a column of numbers.
    ///
    /// # Errors
    /// [`StorageError::Malformed`] if it is another value.
    pub fn number(&self, column: usize) -> StorageResult<u64> {
        match self.0.get(column) {
            Some(SqlValue::Integer(number)) => {
                u64::try_from(*number).map_err(|_| malformed_column(column))
            }
            _ => Err(malformed_column(column)),
        }
    }

    /// Returns the value of a column of texts.
    ///
    /// # Errors
    /// [`StorageError::Malformed`] if it is another value.
    pub fn text(&self, column: usize) -> StorageResult<&str> {
        match self.0.get(column) {
            Some(SqlValue::Text(text)) => Ok(text),
            _ => Err(malformed_column(column)),
        }
    }

    /// Returns the value of a column of bytes.
    ///
    /// # Errors
    /// [`StorageError::Malformed`] if it is another value.
    pub fn blob(&self, column: usize) -> StorageResult<&[u8]> {
        match self.0.get(column) {
            Some(SqlValue::Blob(bytes)) => Ok(bytes),
            _ => Err(malformed_column(column)),
        }
    }

    /// Parses the JSON of a column of texts.
    ///
    /// # Errors
    /// [`StorageError::Malformed`] if it is not what this program stores.
    pub fn json<T: DeserializeOwned>(&self, column: usize) -> StorageResult<T> {
        parse_stored(self.text(column)?)
    }
}

fn malformed_column(column: usize) -> StorageError {
    StorageError::Malformed { what: format!("column {column} has another type") }
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

    /// Runs a statement and returns its rows.
    ///
    /// # Errors
    /// Returns [`StorageError::Refused`] with the platform's message.
    fn query(&self, query: &str, values: Vec<SqlValue>) -> StorageResult<Vec<SqlRow>>;

    /// Runs `work` as one transaction: if it fails, nothing of it is stored.
    ///
    /// # Errors
    /// Returns the error of `work`, or [`StorageError::Refused`] if the platform cannot commit.
    fn transaction<T>(&self, work: impl FnOnce() -> StorageResult<T>) -> StorageResult<T>;

    /// Returns the first column of the first row, a number; 0 if there is no row or it is `NULL`.
    ///
    /// # Errors
    /// As [`Sql::query`]; [`StorageError::Malformed`] if the value is no number.
    fn query_number(&self, query: &str, values: Vec<SqlValue>) -> StorageResult<u64> {
        match self.query(query, values)?.first() {
            Some(row) if !row.is_null(0) => row.number(0),
            _ => Ok(0),
        }
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
