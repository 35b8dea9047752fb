//! What can be wrong with a request, and the one table from fault to status and code.
//!
//! Messages say what was seen, the limit and the unit. They are written here and hold numbers and
//! names of this interface only, never a word of the request: a parser's own message may quote it.

use serde::Serialize;

use super::json::JsonType;
use jeffrey_terms::InputTextError;

/// Whose error shape an endpoint answers in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorFormat {
    /// `{"error": {"code", "message"}}`
    Native,
    /// `{"error", "error_type"}`, as text-embeddings-inference and its clients have it.
    Tei,
}

/// A request that is not answered with a prediction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassifyApiError {
    /// A variable of the worker is outside its range: ours to correct.
    #[error("{faults}")]
    BadSetting {
        /// Each fault with the variable, the value and the range.
        faults: String,
    },
    /// A batch without texts.
    #[error("`inputs` is an empty list")]
    BatchEmpty,
    /// A batch with too many texts.
    #[error("`inputs` has {texts} texts, above the limit of {limit} texts")]
    BatchTooLong {
        /// The number of texts.
        texts: usize,
        /// The limit.
        limit: usize,
    },
    /// The connection broke while the body was read.
    #[error("the body ended before it was complete")]
    BodyBroken,
    /// The body is above the limit; it was not read to its end.
    #[error("the body is above the limit of {limit} bytes")]
    BodyTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A field that is read is there twice.
    #[error("the field `{field}` is there more than once")]
    DuplicateField {
        /// The field.
        field: &'static str,
    },
    /// The body is not UTF-8.
    #[error("the body is not UTF-8 at byte {at}")]
    InvalidUtf8 {
        /// Place of the first wrong byte, from 0.
        at: usize,
    },
    /// A `\uD800`-like escape without its other half.
    #[error("the escape at byte {at} is half of a surrogate pair, which no text can hold")]
    LoneSurrogate {
        /// Place of the backslash, from 0.
        at: usize,
    },
    /// The path is there, the method is not.
    #[error("this path takes {allow}")]
    MethodNotAllowed {
        /// The methods, as in the `Allow` header.
        allow: &'static str,
    },
    /// A required field is not there.
    #[error("the field `{field}` is missing; expected {expected}")]
    MissingField {
        /// The field.
        field: &'static str,
        /// The shape expected, as JSON.
        expected: &'static str,
    },
    /// No such path.
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
    /// Two texts in one list, which text-embeddings-inference reads as one pair.
    #[error("`inputs` is a pair of texts; this model takes single texts: send [[\"…\"], [\"…\"]]")]
    Pair,
    /// The text is too long.
    #[error("{0}")]
    TextTooLong(#[from] InputTextError),
    /// Lists and objects inside each other.
    #[error("lists and objects are nested deeper than {limit} levels")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// The text is over the token limit and the caller did not allow to cut it.
    #[error(
        "`inputs` is over the limit of {limit} tokens, begin and end marks included; \
         send \"truncate\": true to have it cut"
    )]
    TooManyTokens {
        /// The limit.
        limit: usize,
    },
    /// No such model here.
    #[error("no such model here; see /info")]
    UnknownModel,
    /// A value outside what the field can be.
    #[error("`{field}` is not {expected}")]
    WrongValue {
        /// The field.
        field: &'static str,
        /// What it can be.
        expected: &'static str,
    },
    /// A value of another type.
    #[error("`{field}` is {seen}, not {expected}")]
    WrongType {
        /// The field, or `the body`.
        field: &'static str,
        /// The type seen.
        seen: JsonType,
        /// The type expected.
        expected: &'static str,
    },
}

impl ClassifyApiError {
    /// The status in a dialect. text-embeddings-inference answers 422 where the JSON is sound and
    /// its shape is not.
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
            Self::TextTooLong(_) => 413,
            Self::TooDeep { .. } => 400,
            Self::TooManyTokens { .. } => 413,
            Self::UnknownModel => 404,
            Self::WrongType { .. } => shape_status,
            Self::WrongValue { .. } => shape_status,
        }
    }

    /// The stable code of our own dialect: programs may compare it, messages may change.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadSetting { .. } => "bad_setting",
            Self::BatchEmpty => "batch_empty",
            Self::BatchTooLong { .. } => "batch_too_long",
            Self::BodyBroken => "body_broken",
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
            Self::TextTooLong(_) => "text_too_long",
            Self::TooDeep { .. } => "too_deep",
            Self::TooManyTokens { .. } => "too_many_tokens",
            Self::UnknownModel => "unknown_model",
            Self::WrongType { .. } => "wrong_type",
            Self::WrongValue { .. } => "wrong_value",
        }
    }

    /// The `error_type` of text-embeddings-inference that fits best.
    const fn tei_error_type(&self) -> &'static str {
        match self {
            Self::BadSetting { .. } => "Unhealthy",
            Self::BatchEmpty => "Empty",
            _ => "Validation",
        }
    }

    /// The body in a dialect.
    pub(super) fn body(&self, format: ErrorFormat) -> Vec<u8> {
        let message = self.to_string();
        match format {
            ErrorFormat::Native => super::serialize_json(&NativeErrorBody {
                error: NativeErrorDetail { code: self.code(), message },
            }),
            ErrorFormat::Tei => super::serialize_json(&TeiErrorBody {
                error: message,
                error_type: self.tei_error_type(),
            }),
        }
    }
}

#[derive(Serialize)]
struct NativeErrorBody {
    error: NativeErrorDetail,
}

#[derive(Serialize)]
struct NativeErrorDetail {
    code: &'static str,
    message: String,
}

#[derive(Serialize)]
struct TeiErrorBody {
    error: String,
    error_type: &'static str,
}
