//! A response with its whole body, or with a stream that has not been read yet.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};

use jeffrey_gateway_service::request_host::{HeaderChange, StreamedResponse};
use jeffrey_http_core::body::BodyRead;
use jeffrey_http_core::reply::HttpReply;

/// Body of a response.
enum Body {
    /// The stream breaks off.
    Broken,
    Bytes(Vec<u8>),
    Stream(Pin<Box<dyn Stream<Item = Vec<u8>>>>),
}

/// A response with its whole body, or with a stream that has not been read yet.
pub struct StoredResponse {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
}

impl StoredResponse {
    /// Creates a response. Header names are in lower case.
    pub fn new(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let to_owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let headers = headers.iter().map(to_owned).collect();
        Self { status, headers, body: Body::Bytes(body.to_vec()) }
    }

    /// Creates the response that a reply of the gateway describes.
    pub fn from_reply(reply: &HttpReply) -> Self {
        let headers = reply.headers.iter().map(|(name, value)| (*name, value.as_str()));
        Self::new(reply.status, &headers.collect::<Vec<_>>(), &reply.body)
    }

    /// Takes the chunks of a stream as the body.
    #[must_use]
    pub fn with_stream(self, chunks: impl Stream<Item = Vec<u8>> + 'static) -> Self {
        Self { body: Body::Stream(Box::pin(chunks)), ..self }
    }

    /// Lets the body break off before its end.
    #[must_use]
    pub fn with_broken_body(self) -> Self {
        Self { body: Body::Broken, ..self }
    }

    /// Returns whether the body breaks off before its end.
    pub const fn is_broken(&self) -> bool {
        matches!(self.body, Body::Broken)
    }

    /// Returns the next chunk of a stream; `None` at its end.
    pub async fn next_chunk(&mut self) -> Option<Vec<u8>> {
        match &mut self.body {
            Body::Broken => None,
            Body::Bytes(bytes) => Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty()),
            Body::Stream(chunks) => chunks.next().await,
        }
    }
}

impl StreamedResponse for StoredResponse {
    fn status(&self) -> u16 {
        self.status
    }

    fn header(&self, name: &str) -> Option<String> {
        let values = self.headers.iter().filter(|(key, _)| key == name);
        let values: Vec<&str> = values.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    fn cookies(&self) -> Vec<String> {
        let cookies = self.headers.iter().filter(|(name, _)| name == "set-cookie");
        cookies.map(|(_, value)| value.clone()).collect()
    }

    fn change_headers(mut self, changes: &[HeaderChange]) -> Self {
        for change in changes {
            match change {
                HeaderChange::Append(name, value) => {
                    self.headers.push(((*name).to_owned(), value.clone()));
                }
                HeaderChange::Remove(name) => self.headers.retain(|(key, _)| key != name),
                HeaderChange::Set(name, value) => {
                    self.headers.retain(|(key, _)| key != name);
                    self.headers.push(((*name).to_owned(), value.clone()));
                }
            }
        }
        self
    }

    fn split(&mut self) -> Option<Self> {
        let body = match &self.body {
            Body::Broken => Body::Broken,
            Body::Bytes(bytes) => Body::Bytes(bytes.clone()),
            Body::Stream(_) => return None,
        };
        Some(Self { status: self.status, headers: self.headers.clone(), body })
    }

    async fn read(mut self, bytes_max: usize) -> BodyRead {
        if matches!(self.body, Body::Broken) {
            return BodyRead::Broken;
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.next_chunk().await {
            bytes.extend(chunk);
            if bytes.len() > bytes_max {
                return BodyRead::TooLarge;
            }
        }
        BodyRead::Complete(bytes)
    }
}
