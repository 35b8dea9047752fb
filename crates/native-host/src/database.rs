//! The SQLite database of one object, with the limits of the platform.
//!
//! The limits are those of Durable Objects
//! (<https://developers.cloudflare.com/durable-objects/platform/limits/>): 100 parameters, 100,000
//! bytes of SQL, patterns of 50 bytes and values of 2 MB; compound selects of five and no statement
//! that begins or ends a transaction are those of workerd. An integer that a double would round is
//! refused.

use std::cell::Cell;

use rusqlite::limits::Limit;
use rusqlite::types::{ToSql, ToSqlOutput, Value as SqliteValue, ValueRef};
use rusqlite::{Connection, params_from_iter};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use jeffrey_gateway_service::sql::{SqlRow, SqlValue, StorageError, StorageResult};
use jeffrey_terms::EXACT_INTEGER_MAX;

const LIMITS: [(Limit, i32); 5] = [
    (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 100),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, 100_000),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 5),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 50),
    (Limit::SQLITE_LIMIT_LENGTH, 2_000_000),
];

/// Size of a page of a database, in bytes.
const PAGE_BYTES: u32 = 8_192;

/// Compiled statements that are kept: more than an object has.
const STATEMENTS_CACHED: usize = 128;

/// Statements that the platform refuses: it begins and ends transactions itself.
const REFUSED_STATEMENTS: [&str; 6] =
    ["BEGIN", "SAVEPOINT", "COMMIT", "ROLLBACK", "RELEASE", "END"];

/// The database of one object; it outlives restarts of the object.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    /// The statement that is to fail; `None` if none is.
    failure: Cell<Option<StatementFailure>>,
}

/// A statement that is to fail, by what is before it.
#[derive(Clone, Copy, Debug)]
struct StatementFailure {
    /// Statements that come before it.
    statements_before: u64,
    /// Whether the failed statement still takes effect.
    has_effect: bool,
}

struct Parameter(SqlValue);

impl ToSql for Parameter {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match &self.0 {
            SqlValue::Null => ToSqlOutput::Owned(SqliteValue::Null),
            SqlValue::Integer(number) => ToSqlOutput::Owned(SqliteValue::Integer(*number)),
            SqlValue::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            SqlValue::Blob(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

impl Database {
    /// Opens an empty database in memory.
    ///
    /// # Errors
    /// Returns SQLite's error.
    pub fn open() -> StorageResult<Self> {
        let connection = Connection::open_in_memory().map_err(|error| refused(&error))?;
        for (limit, value) in LIMITS {
            connection.set_limit(limit, value).map_err(|error| refused(&error))?;
        }
        // SQLite visits each page in memory at a commit: larger ones are fewer.
        connection.pragma_update(None, "page_size", PAGE_BYTES).map_err(|error| refused(&error))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
        Ok(Self { connection, failure: Cell::new(None) })
    }

    /// Lets one statement fail without effect: the one after `statements` others.
    pub fn fail_after(&self, statements: u64) {
        self.failure
            .set(Some(StatementFailure { statements_before: statements, has_effect: false }));
    }

    /// Lets one statement fail after it had its effect: the one after `statements` others.
    pub fn fail_after_effect(&self, statements: u64) {
        self.failure
            .set(Some(StatementFailure { statements_before: statements, has_effect: true }));
    }

    /// Lets no statement fail any more.
    pub fn heal(&self) {
        self.failure.set(None);
    }

    /// Begins to collect writes that [`Database::commit_writes`] makes durable.
    ///
    /// # Errors
    /// Returns [`StorageError::Refused`] if writes are collected already.
    pub fn begin_writes(&self) -> StorageResult<()> {
        self.connection.execute_batch("BEGIN").map_err(|error| refused(&error))
    }

    /// Makes the collected writes durable.
    ///
    /// # Errors
    /// Returns [`StorageError::Refused`] if no writes are collected.
    pub fn commit_writes(&self) -> StorageResult<()> {
        self.connection.execute_batch("COMMIT").map_err(|error| refused(&error))
    }

    /// Forgets the collected writes, as a crash before they are durable does.
    ///
    /// # Errors
    /// Returns [`StorageError::Refused`] if no writes are collected.
    pub fn forget_writes(&self) -> StorageResult<()> {
        self.connection.execute_batch("ROLLBACK").map_err(|error| refused(&error))
    }

    /// Runs a statement and returns how many rows it changed.
    ///
    /// # Errors
    /// Returns [`StorageError::Refused`] if SQLite or a limit of the platform refuses it.
    pub fn execute(&self, query: &str, values: Vec<SqlValue>) -> StorageResult<usize> {
        let (values, fails_after) = self.admit(query, values)?;
        let mut statement =
            self.connection.prepare_cached(query).map_err(|error| refused(&error))?;
        let changed =
            statement.execute(params_from_iter(values)).map_err(|error| refused(&error))?;
        if fails_after { Err(requested_failure()) } else { Ok(changed) }
    }

    /// Runs a statement and returns its rows.
    ///
    /// # Errors
    /// As [`Database::execute`].
    pub fn query(&self, query: &str, values: Vec<SqlValue>) -> StorageResult<Vec<SqlRow>> {
        let (values, fails_after) = self.admit(query, values)?;
        let mut statement =
            self.connection.prepare_cached(query).map_err(|error| refused(&error))?;
        let columns = statement.column_count();
        let mut rows =
            statement.query(params_from_iter(values)).map_err(|error| refused(&error))?;
        let mut result = Vec::new();
        while let Some(row) = rows.next().map_err(|error| refused(&error))? {
            let values = (0..columns)
                .map(|column| from_sqlite(row.get_ref(column).map_err(|error| refused(&error))?));
            result.push(SqlRow(values.collect::<StorageResult<_>>()?));
        }
        if fails_after { Err(requested_failure()) } else { Ok(result) }
    }

    /// Runs a statement and deserialises its rows by the names of their columns, for tests.
    ///
    /// # Errors
    /// As [`Database::execute`]; also if a row has another form than `T`.
    pub fn query_rows<T: DeserializeOwned>(
        &self,
        query: &str,
        values: Vec<SqlValue>,
    ) -> StorageResult<Vec<T>> {
        let statement = self.connection.prepare_cached(query).map_err(|error| refused(&error))?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        drop(statement);
        let to_value = |row: SqlRow| {
            let fields = names.iter().cloned().zip(row.0.into_iter().map(to_json));
            Ok(serde_json::from_value(Value::Object(fields.collect::<Map<_, _>>()))?)
        };
        self.query(query, values)?.into_iter().map(to_value).collect()
    }

    /// Returns the rows of a query, beside the object: no failure that a test asked for counts.
    /// Returns none if the query has another form.
    pub fn inspect<T: DeserializeOwned>(&self, query: &str) -> Vec<T> {
        let failure = self.failure.take();
        let rows = self.query_rows(query, Vec::new());
        self.failure.set(failure);
        rows.unwrap_or_default()
    }

    /// Returns the first column of a query's rows, which holds bytes, as [`Database::inspect`] does.
    pub fn inspect_blobs(&self, query: &str) -> Vec<Vec<u8>> {
        let failure = self.failure.take();
        let rows = self.query(query, Vec::new());
        self.failure.set(failure);
        let blobs = rows.unwrap_or_default().into_iter().filter_map(|row| row.0.into_iter().next());
        blobs
            .filter_map(|value| match value {
                SqlValue::Blob(bytes) => Some(bytes),
                _ => None,
            })
            .collect()
    }

    /// Returns the size of the database without its free pages, in bytes.
    pub fn bytes(&self) -> u64 {
        let pragma = |name: &str| {
            self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap_or(0)
        };
        let pages = pragma("page_count") - pragma("freelist_count");
        u64::try_from(pages * pragma("page_size")).unwrap_or(0)
    }

    /// Runs `work` as one transaction: if it fails, nothing of it is stored.
    ///
    /// # Errors
    /// Returns the error of `work`, or [`StorageError::Refused`] if SQLite cannot commit.
    pub fn transaction<T>(&self, work: impl FnOnce() -> StorageResult<T>) -> StorageResult<T> {
        let run =
            |statement| self.connection.execute_batch(statement).map_err(|error| refused(&error));
        run("SAVEPOINT work")?;
        let result = work();
        if result.is_err() {
            run("ROLLBACK TO work")?;
        }
        run("RELEASE work")?;
        result
    }

    /// Refuses statements and integers that the platform refuses, and the statement that is to fail.
    /// The flag says that the statement is to fail after it had its effect.
    fn admit(&self, query: &str, values: Vec<SqlValue>) -> StorageResult<(Vec<Parameter>, bool)> {
        let first_word = query.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        if REFUSED_STATEMENTS.contains(&first_word.as_str()) {
            return Err(message(format!("{first_word} is not authorised")));
        }
        let fails_after = match self.failure.get() {
            Some(StatementFailure { statements_before: 0, has_effect }) => {
                self.failure.set(None);
                if !has_effect {
                    return Err(requested_failure());
                }
                true
            }
            Some(failure) => {
                let statements_before = failure.statements_before - 1;
                self.failure.set(Some(StatementFailure { statements_before, ..failure }));
                false
            }
            None => false,
        };
        for value in &values {
            if let SqlValue::Integer(number) = value {
                check_integer(*number)?;
            }
        }
        Ok((values.into_iter().map(Parameter).collect(), fails_after))
    }
}

fn from_sqlite(value: ValueRef<'_>) -> StorageResult<SqlValue> {
    Ok(match value {
        ValueRef::Null => SqlValue::Null,
        ValueRef::Integer(number) => {
            check_integer(number)?;
            SqlValue::Integer(number)
        }
        ValueRef::Text(text) => SqlValue::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => SqlValue::Blob(bytes.to_vec()),
        ValueRef::Real(_) => return Err(message("a fraction was read".to_owned())),
    })
}

fn to_json(value: SqlValue) -> Value {
    match value {
        SqlValue::Null => Value::Null,
        SqlValue::Integer(number) => Value::from(number),
        SqlValue::Text(text) => Value::from(text),
        SqlValue::Blob(bytes) => Value::from(bytes),
    }
}

/// Fails for an integer that JavaScript would round.
fn check_integer(number: i64) -> StorageResult<()> {
    if number.unsigned_abs() > EXACT_INTEGER_MAX {
        return Err(message(format!("{number} is not exact as a double")));
    }
    Ok(())
}

const fn message(message: String) -> StorageError {
    StorageError::Refused { message }
}

fn requested_failure() -> StorageError {
    message("a failure that a test asked for".to_owned())
}

fn refused(error: &rusqlite::Error) -> StorageError {
    message(error.to_string())
}
