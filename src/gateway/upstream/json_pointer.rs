//! JSON Pointers (RFC 6901) to fields of the legacy system.

use serde::Serialize;
use serde_json::Value;

/// JSON pointer to one value in a document (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct JsonPointer(pub(super) String);

impl JsonPointer {
    /// Checks the syntax of a JSON pointer.
    ///
    /// # Errors
    /// Returns [`JsonPointerError`] unless `pointer` begins with a slash and each `~` is part of
    /// `~0` or `~1`.
    pub fn parse(pointer: &str) -> Result<Self, JsonPointerError> {
        let escapes_valid = pointer.split('~').skip(1).all(|escape| escape.starts_with(['0', '1']));
        if pointer.starts_with('/') && escapes_valid {
            return Ok(Self(pointer.to_owned()));
        }
        Err(JsonPointerError { pointer: pointer.chars().take(40).collect() })
    }

    pub(super) fn resolve<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        document.pointer(&self.0)
    }
}

/// Error for a string that is not a JSON pointer; it keeps the first 40 characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{pointer}` is not a JSON pointer such as /prediction/primary")]
pub struct JsonPointerError {
    pointer: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_checked_when_they_are_read() {
        for valid in ["/a", "/a/0/b", "/", "/a~1b~0c"] {
            assert!(JsonPointer::parse(valid).is_ok(), "{valid}");
        }
        for invalid in ["", "a", "/a~2", "/a~", "$.a"] {
            assert!(JsonPointer::parse(invalid).is_err(), "{invalid}");
        }
    }
}
