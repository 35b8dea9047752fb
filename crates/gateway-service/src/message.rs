//! Encoding of a message to a Durable Object, and of its reply.
//!
//! A message is one line of JSON, a variant of the object's request type, and a payload after the
//! line. During a deploy two versions run side by side, so an object may get a message that it does
//! not know. It replies [`ObjectReply::UNSUPPORTED`], and the caller acts as if the object were
//! away.

use serde::Serialize;
use serde::de::DeserializeOwned;

use jeffrey_http_core::reply::to_json;

/// Reply of a Durable Object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectReply {
    /// 200, or the status of an error.
    pub status: u16,
    /// JSON, or lines of JSON.
    pub body: Vec<u8>,
}

impl ObjectReply {
    /// Body of the reply to an unknown message or field; its status is 501.
    pub const UNSUPPORTED: &'static [u8] = br#"{"error":"unsupported"}"#;

    /// Builds the reply to a message that this version does not know.
    pub fn unsupported() -> Self {
        Self { status: 501, body: Self::UNSUPPORTED.to_vec() }
    }

    /// Builds a reply with a value as JSON.
    pub fn json(value: &impl Serialize) -> Self {
        Self { status: 200, body: to_json(value) }
    }

    /// Builds a reply from bytes that are JSON already.
    pub const fn from_bytes(body: Vec<u8>) -> Self {
        Self { status: 200, body }
    }
}

/// Encodes a message with its payload.
pub fn encode_message(request: &impl Serialize, payload: &[u8]) -> Vec<u8> {
    let mut message = to_json(request);
    message.push(b'\n');
    message.extend_from_slice(payload);
    message
}

/// Decodes a message to a request and its payload; `None` if its variant or a field is unknown.
pub fn decode_message<T: DeserializeOwned>(message: &[u8]) -> Option<(T, &[u8])> {
    let end = message.iter().position(|byte| *byte == b'\n')?;
    let request = serde_json::from_slice(&message[..end]).ok()?;
    Some((request, &message[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    #[serde(rename_all = "snake_case", deny_unknown_fields)]
    enum Request {
        Append { count: u64 },
        Status,
    }

    #[test]
    fn a_message_is_decoded_to_what_was_encoded() {
        for (request, payload) in [
            (Request::Append { count: 2 }, &b"{}\n{}"[..]),
            (Request::Status, b""),
            (Request::Status, b"\n"),
        ] {
            let message = encode_message(&request, payload);
            assert_eq!(decode_message(&message), Some((request, payload)));
        }
    }

    #[test]
    fn a_message_of_a_later_version_is_not_decoded() {
        for message in [
            &b"\"prune\"\n"[..],
            b"{\"append\":{\"count\":1,\"packed\":true}}\n",
            b"{\"append\":{}}\n",
            b"\"status\"",
            b"",
        ] {
            assert_eq!(decode_message::<Request>(message), None);
        }
    }
}
