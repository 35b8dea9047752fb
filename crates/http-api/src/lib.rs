//! Every JSON shape that enters or leaves the model worker, its size limits, and the one table from
//! error to status.
//!
//! Pure: bytes and strings in, bytes and strings out. A shell reads and sends them, supplies the
//! time and random bytes, and decides nothing. A [`RequestHead`](jeffrey_http_core::head::RequestHead), a
//! [`BodyRead`](jeffrey_http_core::body::BodyRead) and [`ModelWorkerSettings`] come in; an
//! [`HttpReply`](jeffrey_http_core::reply::HttpReply) goes out. Error messages never quote the
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

mod rate_limit;

pub use classify_response::ClassifyResponse;
pub use cors::{AllowedOrigins, OriginError};
pub use endpoint::{MODEL_ENDPOINT_DOCS, ModelEndpoint, ModelEndpointDoc};
pub use error::{ClassifyApiError, ErrorFormat, JsonType};
pub use hf_api::BATCH_MAX;
pub use info::{BuildInfo, InstanceInfo};
pub use json::DEPTH_MAX;
pub use rate_limit::rate_limit_key;
pub use service::{ClassifierService, RequestHeadAction};
pub use settings::{ModelWorkerSettingError, ModelWorkerSettings, VARIABLE_DOCS, VARIABLES};

use jeffrey_http_core::page::page_headers;
use jeffrey_terms::UnixMs;

/// Largest request body, in bytes. The longest text is 64 KiB; JSON may write each of its bytes
/// with six (`\u0061`), which makes 384 KiB. The rest is for field names and spaces. The limit
/// applies to a batch as a whole.
pub const BODY_BYTES_MAX: usize = 512 * 1024;

/// Headers of every file of the page. The page may load and call only its own origin.
pub const HTML_PAGE_HEADERS: [(&str, &str); 4] = page_headers(
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
     connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);

/// Time and random bytes for a response id, supplied by the shell.
#[derive(Clone, Copy, Debug)]
pub struct IdSeed {
    /// Time of the request, in Unix milliseconds.
    pub now: UnixMs,
    /// Ten random bytes, fresh for each request.
    pub random: [u8; 10],
}
