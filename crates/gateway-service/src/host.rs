//! What the gateway needs of its platform: clock, randomness, network, objects, timers, alarms.
//!
//! The Worker implements these traits on Cloudflare's runtime; the tests implement them in memory.
//! An error holds no message of the platform, because it may quote a URL.

use std::rc::Rc;

use crate::isolate::IsolateState;
use crate::sql::{Sql, StorageResult};
use jeffrey_edge::gateway::config::GatewaySettings;
use jeffrey_edge::gateway::export::cloudflare::AnalyticsDataPoint;
use jeffrey_edge::gateway::export::sink::Sink;
use jeffrey_terms::UnixMs;

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
    /// Time limit for the head, and again for the body, in milliseconds.
    pub timeout_ms: u64,
    /// Largest body of a response that is read, in bytes.
    pub response_bytes_max: usize,
}

/// Response to an [`HttpRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResponse {
    /// HTTP status of the response.
    pub status: u16,
    /// Value of the header `retry-after`.
    pub retry_after: Option<String>,
    /// Empty if the body was too large, broke off or came too late; the head still counts.
    pub body: Vec<u8>,
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

    /// Returns random bytes that nobody can predict.
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
