//! The platform of one incoming request as a trait: body, streamed responses, rate limiters, files of
//! pages.

use futures_util::Stream;

use crate::host::{FetchError, Host};
use jeffrey_edge::gateway::request::forwarded_headers::HeaderChanges;
use jeffrey_edge::gateway::request::subject_trust::ClientCertificate;
use jeffrey_http_core::body::BodyRead;
use jeffrey_http_core::reply::HttpReply;

/// Rate limiters of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimiter {
    /// Requests from one IP address.
    Address,
    /// Requests of one subject.
    Subject,
}

/// Sources of the files of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageSource {
    /// The gateway's own assets: the dashboard.
    Assets,
    /// The model worker: the playground.
    Model,
}

/// Change of one header of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderChange {
    /// Adds a value and keeps those that are there.
    Append(&'static str, String),
    /// Removes all values of a header.
    Remove(&'static str),
    /// Replaces all values of a header by one.
    Set(&'static str, String),
}

/// The request on its way to the legacy system.
#[derive(Clone, Copy, Debug)]
pub struct LegacyFetch<'a> {
    /// Origin, path and query.
    pub url: &'a str,
    /// Changes of the incoming request's headers.
    pub header_changes: &'a HeaderChanges,
    /// Body that was read; `None` passes the incoming stream on.
    pub buffered: Option<&'a [u8]>,
    /// Time limit for the response's head, in milliseconds; `None` for no limit.
    pub timeout_ms: Option<u64>,
}

/// A response whose body is a stream.
pub trait StreamedResponse: Sized + 'static {
    /// Returns the HTTP status.
    fn status(&self) -> u16;

    /// Returns a header's value; several values are joined by commas.
    fn header(&self, name: &str) -> Option<String>;

    /// Returns the values of all `set-cookie` headers.
    fn cookies(&self) -> Vec<String>;

    /// Changes headers; the body stays the same stream. Without changes, or if the platform cannot
    /// make them, the response is returned as it is.
    fn change_headers(self, changes: &[HeaderChange]) -> Self;

    /// Splits the body's stream in two and returns the second; `None` if the platform cannot.
    fn split(&mut self) -> Option<Self>;

    /// Reads the whole body, of at most `bytes_max` bytes.
    fn read(self, bytes_max: usize) -> impl Future<Output = BodyRead>;
}

/// The platform of one incoming request.
pub trait RequestHost: Host {
    /// Responses of this platform.
    type Response: StreamedResponse;

    /// Tells what is forwarded to the legacy system: URL and changes of the headers. A platform that
    /// can answer without this program, after a panic, forwards that.
    fn prepare_forward(&self, url: &str, changes: &HeaderChanges) {
        let _ = (url, changes);
    }

    /// Returns what the platform says about the client's certificate; `None` if it says nothing.
    fn client_certificate(&self) -> Option<ClientCertificate> {
        None
    }

    /// Reads the incoming request's body, of at most `bytes_max` bytes.
    fn read_body(&self, bytes_max: usize) -> impl Future<Output = BodyRead>;

    /// Runs a future in the background; the response does not wait for it.
    fn wait_until(&self, future: impl Future<Output = ()> + 'static);

    /// Counts a call and returns whether the limiter refuses it. A limiter that is not bound or
    /// fails refuses nothing.
    fn is_over_limit(&self, limiter: RateLimiter, key: String) -> impl Future<Output = bool>;

    /// Returns whether the legacy system is a Worker behind a service binding.
    fn has_legacy_binding(&self) -> bool;

    /// Sends the incoming request to the legacy system.
    fn fetch_legacy(
        &self,
        fetch: LegacyFetch<'_>,
    ) -> impl Future<Output = Result<Self::Response, FetchError>>;

    /// Fetches a file of a page, with a time limit in milliseconds for its head.
    fn fetch_page_file(
        &self,
        source: PageSource,
        path: &str,
        timeout_ms: u64,
    ) -> impl Future<Output = Result<Self::Response, FetchError>>;

    /// Builds a response of the gateway itself.
    ///
    /// # Errors
    /// Returns [`FetchError::Failed`] if the platform refuses a header.
    fn new_response(&self, response: &HttpReply) -> Result<Self::Response, FetchError>;

    /// Builds a response with status 200 whose body is the chunks of a stream.
    ///
    /// # Errors
    /// As [`RequestHost::new_response`].
    fn stream_response(
        &self,
        headers: &[(&str, &str)],
        chunks: impl Stream<Item = Vec<u8>> + 'static,
    ) -> Result<Self::Response, FetchError>;
}
