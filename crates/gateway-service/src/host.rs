//! The gateway's platform as traits: clock, randomness, network, objects, timers, alarms.
//!
//! The Worker implements these traits on Cloudflare's runtime; the tests implement them in memory.
//! An error holds no message of the platform, because it may quote a URL.

use std::rc::Rc;

use crate::isolate::IsolateState;
use crate::sql::{Sql, StorageResult};
pub use jeffrey_edge::gateway::config::GatewaySettings;
use jeffrey_edge::gateway::export::cloudflare::AnalyticsDataPoint;
use jeffrey_edge::gateway::export::sink::Sink;
pub use jeffrey_terms::UnixMs;

/// Reason why a request got no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// The connection failed, or the target cannot be reached.
    Failed,
    /// A header's value, such as the configured `Authorization`, is not a valid one.
    InvalidHeader,
    /// No response came within the time limit.
    TimedOut,
}

/// Destination of a request whose whole response is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// The legacy system, by its URL: through its service binding if it has one, else over the network.
    Legacy(&'a str),
    /// The host of a URL, over the network.
    Url(&'a str),
    /// A path of the model worker, through its service binding.
    Model(&'a str),
}

/// A request whose whole response is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpRequest<'a> {
    /// Destination of the request, its path included.
    pub target: Target<'a>,
    /// HTTP method, in upper case.
    pub method: &'a str,
    /// Header names in lower case, with their values.
    pub headers: &'a [(&'a str, &'a str)],
    /// Body; empty for none.
    pub body: &'a [u8],
    /// Time limit for the response's head and body together, in milliseconds.
    pub timeout_ms: u64,
    /// Largest body of a response that is read, in bytes.
    pub response_bytes_max: usize,
}

/// Headers of a response that the gateway reads; a host gives these, if they are there.
pub const READ_RESPONSE_HEADERS: [&str; 4] =
    ["retry-after", "set-cookie", "x-model-fault", "x-model-sha256"];

/// Response to an [`HttpRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// HTTP status of the response.
    pub status: u16,
    /// Values of [`READ_RESPONSE_HEADERS`], by their names; each `set-cookie` is an entry of its own.
    pub headers: Vec<(&'static str, String)>,
    /// The body, or why it could not be read; the head counts in any case.
    pub body: Result<Vec<u8>, BodyError>,
}

impl HttpResponse {
    /// Returns a header's value; `name` is one of [`READ_RESPONSE_HEADERS`].
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }

    /// Returns the values of all `set-cookie` headers.
    pub fn cookies(&self) -> impl Iterator<Item = &str> {
        let cookies = self.headers.iter().filter(|(key, _)| *key == "set-cookie");
        cookies.map(|(_, value)| value.as_str())
    }

    /// Returns the body; empty if it could not be read.
    pub fn body_or_empty(&self) -> &[u8] {
        self.body.as_deref().unwrap_or_default()
    }
}

/// Reason why a response's body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// The stream broke before its end.
    Broken,
    /// The body did not end within the time limit.
    TimedOut,
    /// The body is above the limit of its size.
    TooLarge,
}

/// Classes of Durable Objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectClass {
    /// One shard of the event store.
    EventStore,
    /// The rollout of one release.
    Rollout,
}

/// A message to a Durable Object, and the limits of its reply.
#[derive(Clone, Copy, Debug)]
pub struct ObjectCall<'a> {
    /// Class of the object.
    pub class: ObjectClass,
    /// Name of the object within its class.
    pub name: &'a str,
    /// Message in the encoding of [`crate::message`].
    pub message: &'a [u8],
    /// Time limit for the head of the reply, and again for its body, in milliseconds.
    pub timeout_ms: u64,
    /// Largest reply that is read, in bytes.
    pub reply_bytes_max: usize,
}

/// Result of sending an event to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueSend {
    /// The queue refused the event or did not answer.
    Failed,
    /// No queue is bound.
    NotBound,
    /// The queue has the event.
    Sent,
}

/// The platform of one isolate. A clone is the same platform.
pub trait Host: Clone + 'static {
    /// Returns the current time.
    fn now(&self) -> UnixMs;

    /// Returns random bytes that no caller can predict.
    fn random_bytes<const N: usize>(&self) -> [u8; N];

    /// Returns the settings, which are parsed once per isolate.
    fn settings(&self) -> Rc<GatewaySettings>;

    /// Returns the state of this isolate.
    fn isolate(&self) -> &IsolateState;

    /// Writes a line to the Worker's log.
    fn log(&self, line: &str);

    /// Writes a line to the Worker's log, as an error.
    fn log_error(&self, line: &str);

    /// Waits for `ms` milliseconds.
    fn sleep(&self, ms: u64) -> impl Future<Output = ()>;

    /// Sends a request and reads its whole response.
    fn send(
        &self,
        request: HttpRequest<'_>,
    ) -> impl Future<Output = Result<HttpResponse, FetchError>>;

    /// Returns whether a class of objects is bound.
    fn has_objects(&self, class: ObjectClass) -> bool;

    /// Sends a message to an object and reads its whole reply. A reply with a status other than 200,
    /// such as `unsupported`, is [`FetchError::Failed`].
    fn call_object(
        &self,
        call: ObjectCall<'_>,
    ) -> impl Future<Output = Result<Vec<u8>, FetchError>>;

    /// Sends an event to the queue.
    fn send_to_queue(&self, event: &str) -> impl Future<Output = QueueSend>;
}

/// The platform of a Durable Object.
pub trait ObjectHost: Host + Sql {
    /// Returns the object's id: it is unique among all objects.
    fn object_id(&self) -> String;

    /// Returns the time of the alarm; `None` if no alarm is set.
    fn alarm(&self) -> impl Future<Output = StorageResult<Option<UnixMs>>>;

    /// Sets the alarm to `delay_ms` milliseconds from now, in place of the alarm that is set.
    fn set_alarm(&self, delay_ms: u64) -> impl Future<Output = StorageResult<()>>;

    /// Runs a future after the reply; the object lives at least until it ends.
    fn wait_until(&self, future: impl Future<Output = ()> + 'static);

    /// Returns the platform's own stores that are bound, as sinks.
    fn platform_sinks(&self) -> Vec<Sink>;

    /// Writes data points to Analytics Engine and returns whether it took them all.
    fn write_data_points(&self, points: Vec<AnalyticsDataPoint>) -> bool;

    /// Stores an object in the archive and returns whether it did.
    fn archive(&self, key: String, body: Vec<u8>) -> impl Future<Output = bool>;
}

/// Implements [`Host`] for a type by its field that is a host.
#[macro_export]
macro_rules! forward_host {
    ($type:ty, $field:ident) => {
        impl $crate::host::Host for $type {
            fn now(&self) -> $crate::host::UnixMs {
                self.$field.now()
            }

            fn random_bytes<const N: usize>(&self) -> [u8; N] {
                self.$field.random_bytes()
            }

            fn settings(&self) -> ::std::rc::Rc<$crate::host::GatewaySettings> {
                self.$field.settings()
            }

            fn isolate(&self) -> &$crate::isolate::IsolateState {
                self.$field.isolate()
            }

            fn log(&self, line: &str) {
                self.$field.log(line);
            }

            fn log_error(&self, line: &str) {
                self.$field.log_error(line);
            }

            async fn sleep(&self, ms: u64) {
                self.$field.sleep(ms).await;
            }

            async fn send(
                &self,
                request: $crate::host::HttpRequest<'_>,
            ) -> ::std::result::Result<$crate::host::HttpResponse, $crate::host::FetchError> {
                self.$field.send(request).await
            }

            fn has_objects(&self, class: $crate::host::ObjectClass) -> bool {
                self.$field.has_objects(class)
            }

            async fn call_object(
                &self,
                call: $crate::host::ObjectCall<'_>,
            ) -> ::std::result::Result<Vec<u8>, $crate::host::FetchError> {
                self.$field.call_object(call).await
            }

            async fn send_to_queue(&self, event: &str) -> $crate::host::QueueSend {
                self.$field.send_to_queue(event).await
            }
        }
    };
}
