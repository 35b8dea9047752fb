//! The gateway's platform in one process.
//!
//! A [`Platform`] has a clock that moves only when it is told, random bytes of a seed, Durable
//! Objects on SQLite with the platform's limits, alarms, a queue, and a network that a test
//! answers. [`Platform::isolate`] gives the [`Host`](jeffrey_gateway_service::host::Host) of a new
//! isolate.

mod any_object;

mod database;

mod platform;

mod request;

mod response;

pub use any_object::AnyObject;
pub use database::Database;
pub use platform::{IsolateHost, ObjectPlatform, Platform, RecordedRequest, block_on};
pub use request::IncomingRequest;
pub use response::StoredResponse;
