//! A complete reply, and the JSON of an error.

use serde::Serialize;

/// Content type of JSON.
pub const JSON: &str = "application/json";

/// Content type of lines of JSON.
pub const NDJSON: &str = "application/x-ndjson";

/// Complete HTTP reply, ready to send.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpReply {
    /// HTTP status of the reply.
    pub status: u16,
    /// Header names in lower case, with their values.
    pub headers: Vec<(&'static str, String)>,
    /// Body bytes; empty for redirects and `HEAD`.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for HttpReply {
    /// Writes the status and the length only: the body may describe a user's text.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HttpReply({}, {} bytes)", self.status, self.body.len())
    }
}

impl HttpReply {
    /// Builds a reply with status 200 from bytes of a content type.
    pub fn from_bytes(content_type: &str, body: Vec<u8>) -> Self {
        Self { status: 200, headers: vec![("content-type", content_type.to_owned())], body }
    }

    /// Builds a JSON reply that no cache may store.
    pub fn json<T: Serialize>(status: u16, value: &T) -> Self {
        Self::from_json_bytes(status, to_json(value))
    }

    /// Builds a reply that no cache may store from bytes that are JSON.
    pub fn from_json_bytes(status: u16, body: Vec<u8>) -> Self {
        let headers = [
            ("content-type", JSON),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
        ];
        let headers = headers.map(|(name, value)| (name, value.to_owned())).to_vec();
        Self { status, headers, body }
    }
}

/// Serialises one of the Workers' own values, which have string keys and finite numbers only.
pub fn to_json<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    // Serialising fails only for keys that are not strings and maps that change while they are
    // read; the Workers' values have neither.
    serde_json::to_vec(value).expect("a value of a Worker")
}

/// Returns the JSON of an error: `{"error": {"code", "message"}}`.
pub fn error_json(code: &str, message: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct ErrorEnvelope<'a> {
        error: ErrorDetail<'a>,
    }
    #[derive(Serialize)]
    struct ErrorDetail<'a> {
        code: &'a str,
        message: &'a str,
    }
    to_json(&ErrorEnvelope { error: ErrorDetail { code, message } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_a_code_and_a_message_that_json_escapes() {
        let body = error_json("not_found", "no such path: \"a\"");
        let expected = r#"{"error":{"code":"not_found","message":"no such path: \"a\""}}"#;
        assert_eq!(String::from_utf8(body).as_deref(), Ok(expected));
    }

    #[test]
    fn a_reply_shows_no_byte_of_its_body() {
        let reply = HttpReply::json(200, &["geheimnis"]);
        assert_eq!(format!("{reply:?}"), "HttpReply(200, 13 bytes)");
    }
}
