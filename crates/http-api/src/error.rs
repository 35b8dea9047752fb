//! Faults of a request, and the one table from fault to status and code.
//!
//! A message names the value seen, the limit and the unit. Messages are written here and hold only
//! numbers and names of this interface, never text of the request: a parser's own message may quote
//! it.

use std::fmt;

use serde::Serialize;

use jeffrey_http_core::reply::{error_json, to_json};
use jeffrey_terms::InputTextError;

/// JSON format of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorFormat {
    /// The native format, `{"error": {"code", "message"}}`.
    Native,
    /// The format of text-embeddings-inference and its clients, `{"error", "error_type"}`.
    Tei,
}

/// Reason why a request gets no prediction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassifyApiError {
    /// A Worker variable is outside its range; the operator has to correct it.
    #[error("{faults}")]
    BadSetting {
        /// Every fault, with the variable, the value and the range.
        faults: String,
    },
    /// The batch holds no text.
    #[error("`inputs` is an empty list")]
    BatchEmpty,
    /// The batch holds more texts than the limit.
    #[error("`inputs` has {texts} texts, above the limit of {limit} texts")]
    BatchTooLong {
        /// Number of texts in the batch.
        texts: usize,
        /// Largest number of texts in a batch.
        limit: usize,
    },
    /// The connection broke while the body was read.
    #[error("the body ended before it was complete")]
    BodyBroken,
    /// The body is above the limit and was not read to its end.
    #[error("the body is above the limit of {limit} bytes")]
    BodyTooLarge {
        /// Largest body, in bytes.
        limit: usize,
    },
    /// A field that is read occurs more than once.
    #[error("the field `{field}` is there more than once")]
    DuplicateField {
        /// Name of the repeated field.
        field: &'static str,
    },
    /// The body is not UTF-8.
    #[error("the body is not UTF-8 at byte {at}")]
    InvalidUtf8 {
        /// Offset of the first invalid byte, from 0.
        at: usize,
    },
    /// A `\uD800`-like escape lacks the other half of its surrogate pair.
    #[error("the escape at byte {at} is half of a surrogate pair, which no text can hold")]
    LoneSurrogate {
        /// Offset of the backslash in bytes, from 0.
        at: usize,
    },
    /// The path exists, but takes other methods.
    #[error("this path takes {allow}")]
    MethodNotAllowed {
        /// The path's methods, as in the `Allow` header.
        allow: &'static str,
    },
    /// A required field is missing.
    #[error("the field `{field}` is missing; expected {expected}")]
    MissingField {
        /// Name of the missing field.
        field: &'static str,
        /// The shape expected, as JSON.
        expected: &'static str,
    },
    /// No endpoint has the path.
    #[error("no such path; see /openapi.json")]
    NotFound,
    /// The body is not JSON.
    #[error("the body is not JSON at line {line}, column {column}; expected {expected}")]
    NotJson {
        /// Line of the fault, from 1; 0 for an empty body.
        line: usize,
        /// Column of the fault in bytes, from 1; 0 at the start of a line.
        column: usize,
        /// The shape expected, as JSON.
        expected: &'static str,
    },
    /// `inputs` is a list of two texts, which text-embeddings-inference reads as one pair.
    #[error("`inputs` is a pair of texts; this model takes single texts: send [[\"…\"], [\"…\"]]")]
    Pair,
    /// The text is longer than [`InputText::BYTES_MAX`](jeffrey_terms::InputText::BYTES_MAX).
    #[error("{0}")]
    TextTooLong(#[from] InputTextError),
    /// Lists and objects are nested too deep.
    #[error("lists and objects are nested deeper than {limit} levels")]
    TooDeep {
        /// Largest number of levels.
        limit: usize,
    },
    /// The caller made too many requests.
    #[error("too many requests from this address; try again in {period_s} s")]
    RateLimited {
        /// Period of the limit, in seconds.
        period_s: u64,
    },
    /// The texts of the request have more tokens in sum than the operator allows. The rest of the
    /// texts was not tokenized, and the encoder read none.
    #[error(
        "the texts of the request have at least {tokens} tokens, above the limit of {limit} tokens \
         for one request, begin and end marks included"
    )]
    RequestTokens {
        /// Tokens of the texts up to the first that exceeds the limit.
        tokens: usize,
        /// Largest number of tokens of one request.
        limit: usize,
    },
    /// The text is above the token limit and the caller did not allow it to be cut.
    #[error(
        "`inputs` is over the limit of {limit} tokens, begin and end marks included; \
         send \"truncate\": true to have it cut"
    )]
    TooManyTokens {
        /// Largest number of tokens, begin and end marks included.
        limit: usize,
    },
    /// The path names a model that is not served here.
    #[error("no such model here; see /info")]
    UnknownModel,
    /// A field's value is outside its range.
    #[error("`{field}` is not {expected}")]
    WrongValue {
        /// Name of the wrong field.
        field: &'static str,
        /// The values that the field takes.
        expected: &'static str,
    },
    /// A field's value has the wrong type.
    #[error("`{field}` is {seen}, not {expected}")]
    WrongType {
        /// Name of the field, or `the body`.
        field: &'static str,
        /// JSON type that was sent.
        seen: JsonType,
        /// JSON type that the field takes.
        expected: &'static str,
    },
}

impl ClassifyApiError {
    /// Returns the HTTP status of the error in a format. text-embeddings-inference answers 422 if
    /// the JSON is valid but its shape is not.
    pub fn status(&self, format: ErrorFormat) -> u16 {
        let shape_status = if format == ErrorFormat::Tei { 422 } else { 400 };
        match self {
            Self::BadSetting { .. } => 500,
            Self::BatchEmpty => 400,
            Self::BatchTooLong { .. } => 413,
            Self::BodyBroken => 400,
            Self::BodyTooLarge { .. } => 413,
            Self::DuplicateField { .. } => shape_status,
            Self::InvalidUtf8 { .. } => 400,
            Self::LoneSurrogate { .. } => 400,
            Self::MethodNotAllowed { .. } => 405,
            Self::MissingField { .. } => shape_status,
            Self::NotFound => 404,
            Self::NotJson { .. } => 400,
            Self::Pair => 422,
            Self::RateLimited { .. } => 429,
            Self::RequestTokens { .. } => 413,
            Self::TextTooLong(_) => 413,
            Self::TooDeep { .. } => 400,
            Self::TooManyTokens { .. } => 413,
            Self::UnknownModel => 404,
            Self::WrongType { .. } => shape_status,
            Self::WrongValue { .. } => shape_status,
        }
    }

    /// Returns the stable code of the native format. Programs may compare codes; messages may
    /// change.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadSetting { .. } => "invalid_setting",
            Self::BatchEmpty => "batch_empty",
            Self::BatchTooLong { .. } => "batch_too_long",
            Self::BodyBroken => "incomplete_body",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::DuplicateField { .. } => "duplicate_field",
            Self::InvalidUtf8 { .. } => "invalid_utf8",
            Self::LoneSurrogate { .. } => "lone_surrogate",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::MissingField { field, .. } => match field.as_bytes() {
                b"text" => "missing_text",
                _ => "missing_inputs",
            },
            Self::NotFound => "not_found",
            Self::NotJson { .. } => "not_json",
            Self::Pair => "pair",
            Self::RateLimited { .. } => "rate_limited",
            Self::RequestTokens { .. } => "too_many_request_tokens",
            Self::TextTooLong(_) => "text_too_long",
            Self::TooDeep { .. } => "too_deep",
            Self::TooManyTokens { .. } => "too_many_tokens",
            Self::UnknownModel => "unknown_model",
            Self::WrongType { .. } => "wrong_type",
            Self::WrongValue { .. } => "wrong_value",
        }
    }

    /// Returns the `error_type` of text-embeddings-inference that fits best.
    const fn tei_error_type(&self) -> &'static str {
        match self {
            Self::BadSetting { .. } => "Unhealthy",
            Self::BatchEmpty => "Empty",
            Self::RateLimited { .. } => "Overloaded",
            _ => "Validation",
        }
    }

    /// Returns the reply's body in a format.
    pub(super) fn body(&self, format: ErrorFormat) -> Vec<u8> {
        let message = self.to_string();
        match format {
            ErrorFormat::Native => error_json(self.code(), &message),
            ErrorFormat::Tei => {
                to_json(&TeiErrorBody { error: message, error_type: self.tei_error_type() })
            }
        }
    }
}

#[derive(Serialize)]
struct TeiErrorBody {
    error: String,
    error_type: &'static str,
}
/// The type of a JSON value, as messages name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonType {
    /// A list, written as `[…]`.
    Array,
    /// Either `true` or `false`.
    Bool,
    /// The JSON value `null`.
    Null,
    /// A number of any kind.
    Number,
    /// An object, written as `{…}`.
    Object,
    /// A string, written as `"…"`.
    String,
}

impl fmt::Display for JsonType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Array => "a list",
            Self::Bool => "a boolean",
            Self::Null => "null",
            Self::Number => "a number",
            Self::Object => "an object",
            Self::String => "a string",
        })
    }
}
