//! Every JSON shape that enters or leaves, its size limits, and the one table from error to status.
//!
//! Pure: bytes and strings in, bytes and strings out; a shell reads and sends them, hands in time
//! and randomness, and decides nothing. Enters a [`ModelRequestHead`], a [`RequestBody`] and [`ModelWorkerSettings`]; leaves a
//! [`ModelWorkerReply`]. Messages never hold a word of the request.

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
pub use error::{ClassifyApiError, ErrorFormat};
pub use hf_api::BATCH_MAX;
pub use info::BuildInfo;
pub use json::{DEPTH_MAX, JsonType};
pub use service::{ClassifierService, HeadAction};
pub use settings::{ModelWorkerSettingError, ModelWorkerSettings, ModelWorkerVariables};

use serde::Serialize;

use jeffrey_terms::UnixMs;

/// Longest body in bytes. The longest text is 64 KiB; JSON may write each of its bytes with six
/// (`\u0061`), which makes 384 KiB, and the rest is room for names and spaces. It bounds a batch as
/// a whole.
pub const BODY_BYTES_MAX: usize = 512 * 1024;

/// Headers of every file of the page: it loads and reaches nothing but itself.
pub const PAGE_HEADERS: [(&str, &str); 4] = [
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

/// A request as far as it is looked at before its body.
#[derive(Clone, Copy, Debug)]
pub struct ModelRequestHead<'a> {
    /// The method, as sent.
    pub method: &'a str,
    /// The path of the URL, without the query.
    pub path: &'a str,
    /// `Origin`
    pub origin: Option<&'a str>,
    /// `Access-Control-Request-Method`
    pub requested_method: Option<&'a str>,
    /// `ReplyContent-Length`
    pub content_length: Option<&'a str>,
}

impl ModelRequestHead<'_> {
    /// Whether a browser asks what another origin may do.
    const fn is_preflight(&self) -> bool {
        matches!(self.method.as_bytes(), b"OPTIONS")
            && self.origin.is_some()
            && self.requested_method.is_some()
    }
}

/// What the shell read of a body.
#[derive(Clone, PartialEq, Eq)]
pub enum RequestBody {
    /// The stream broke.
    Broken,
    /// It is above [`BODY_BYTES_MAX`], and none of it was kept.
    TooLarge,
    /// All of it.
    Complete(Vec<u8>),
}

/// What a shell adds to a request: its time and ten random bytes.
#[derive(Clone, Copy, Debug)]
pub struct IdSeed {
    /// Now.
    pub now: UnixMs,
    /// Fresh for each request.
    pub random: [u8; 10],
}

/// A whole reply.
#[derive(Clone, PartialEq, Eq)]
pub struct ModelWorkerReply {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty for `HEAD`.
    pub body: Vec<u8>,
}

/// JSON of one of our own shapes, which hold nothing that JSON cannot: finite numbers, string keys.
fn serialize_json<T: Serialize>(value: &T) -> Vec<u8> {
    // The only failures are keys that are no strings and maps that change while they are read.
    serde_json::to_vec(value).expect("a shape of this module")
}
