//! A complete HTTP response of the gateway itself.

use serde::Serialize;

/// Complete HTTP response of one of the gateway's own endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiResponse {
    /// HTTP status of the response.
    pub status: u16,
    /// Header names in lower case, with their values.
    pub headers: Vec<(&'static str, String)>,
    /// Body bytes: JSON unless `content-type` says otherwise; empty for redirects and `HEAD`.
    pub body: Vec<u8>,
}

impl ApiResponse {
    /// Builds a JSON response that no cache may store.
    pub fn json<T: Serialize>(status: u16, value: &T) -> Self {
        let headers = [
            ("content-type", "application/json"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
        ];
        let headers = headers.map(|(name, value)| (name, value.to_owned())).to_vec();
        // The gateway's own types have string keys and finite numbers only, so this cannot fail.
        let body = serde_json::to_vec(value).expect("a shape of the gate");
        Self { status, headers, body }
    }
}
