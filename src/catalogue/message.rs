//! Messages as the code of a sentence with its arguments.

use serde::Serialize;
use serde_json::{Map, Value};

use super::code::MessageCode;

/// Sentence about a release, independent of a language.
///
/// An argument is a JSON value: text, an integer, a number, `null` if it is not known, another
/// message as `{"code": …, "args": …}`, or a list of these. A share is in basis points and a time
/// in milliseconds since 1970, as the name of the argument says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Message {
    /// Code that says what happened.
    pub code: MessageCode,
    /// Arguments by name; empty if the code needs none.
    pub args: Map<String, Value>,
}

impl Message {
    /// Creates a message without arguments.
    pub fn new(code: MessageCode) -> Self {
        Self { code, args: Map::new() }
    }

    /// Adds an argument, or replaces the one of the same name.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.args.insert(name.to_owned(), value.into());
        self
    }
}

impl From<Message> for Value {
    /// Converts a message to the argument of another one.
    fn from(Message { code, args }: Message) -> Self {
        let mut object = Map::new();
        object.insert("code".to_owned(), code.name().into());
        object.insert("args".to_owned(), args.into());
        Self::Object(object)
    }
}
