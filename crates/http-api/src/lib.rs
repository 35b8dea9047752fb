//! Every JSON shape that enters or leaves the model worker, its size limits, and the one table from
//! error to status.
//!
//! Pure: bytes and strings in, bytes and strings out. A shell reads and sends them, supplies the
//! time and random bytes, and decides nothing. A [`ModelRequestHead`], a [`RequestBody`] and
//! [`ModelWorkerSettings`] come in; a [`ModelWorkerReply`] goes out. Error messages never quote the
//! request.

mod info;

mod classify_response;

mod cors;

mod endpoint;

mod error;

mod hf_api;

mod json;

mod service;

mod settings;

mod prometheus;

pub use classify_response::ClassifyResponse;
pub use cors::{AllowedOrigins, OriginError};
pub use endpoint::ModelEndpoint;
pub use error::{ClassifyApiError, ErrorFormat, JsonType};
pub use hf_api::BATCH_MAX;
pub use info::BuildInfo;
pub use json::DEPTH_MAX;
pub use service::{ClassifierService, RequestHeadAction};
pub use settings::{ModelWorkerSettingError, ModelWorkerSettings, ModelWorkerVariables};

use serde::Serialize;

use jeffrey_terms::UnixMs;

/// Largest request body, in bytes. The longest text is 64 KiB; JSON may write each of its bytes
/// with six (`\u0061`), which makes 384 KiB. The rest is for field names and spaces. The limit
/// applies to a batch as a whole.
pub const BODY_BYTES_MAX: usize = 512 * 1024;

/// Headers of every file of the page. The page may load and call only its own origin.
pub const HTML_PAGE_HEADERS: [(&str, &str); 4] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
         connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
];

/// The parts of a request that are read before its body.
#[derive(Clone, Copy, Debug)]
pub struct ModelRequestHead<'a> {
    /// The HTTP method as sent; case matters.
    pub method: &'a str,
    /// The path of the URL, without the query.
    pub path: &'a str,
    /// The `Origin` header, if the request has one.
    pub origin: Option<&'a str>,
    /// The `Access-Control-Request-Method` header of a CORS preflight.
    pub preflight_method: Option<&'a str>,
    /// The `Content-Length` header as sent; it may not be a number.
    pub content_length: Option<&'a str>,
}

impl ModelRequestHead<'_> {
    /// Returns whether the request is a CORS preflight.
    const fn is_preflight(&self) -> bool {
        matches!(self.method.as_bytes(), b"OPTIONS")
            && self.origin.is_some()
            && self.preflight_method.is_some()
    }
}

/// Body of a request, as far as the shell could read it.
#[derive(Clone, PartialEq, Eq)]
pub enum RequestBody {
    /// The connection broke before the body was complete.
    Broken,
    /// The body is above [`BODY_BYTES_MAX`], and no byte of it was kept.
    TooLarge,
    /// All bytes of the body.
    Complete(Vec<u8>),
}

/// Time and random bytes for a response id, supplied by the shell.
#[derive(Clone, Copy, Debug)]
pub struct IdSeed {
    /// Time of the request, in Unix milliseconds.
    pub now: UnixMs,
    /// Ten random bytes, fresh for each request.
    pub random: [u8; 10],
}

/// A complete reply, ready to send.
#[derive(Clone, PartialEq, Eq)]
pub struct ModelWorkerReply {
    /// HTTP status code of the reply.
    pub status: u16,
    /// Header names in lower case, with their values.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty for `HEAD`.
    pub body: Vec<u8>,
}

/// Serialises one of this crate's own shapes, which hold only finite numbers and string keys.
fn serialize_json<T: Serialize>(value: &T) -> Vec<u8> {
    // Serialising fails only for keys that are not strings and maps that change while they are
    // read; the shapes have neither.
    serde_json::to_vec(value).expect("a shape of this module")
}
