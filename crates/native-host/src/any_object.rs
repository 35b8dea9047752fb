//! A Durable Object of any class.

use jeffrey_gateway_service::event_store::object::EventStoreObject;
use jeffrey_gateway_service::host::{ObjectClass, ObjectHost};
use jeffrey_gateway_service::message::ObjectReply;
use jeffrey_gateway_service::rollout::object::RolloutObject;
use jeffrey_gateway_service::sql::StorageResult;

/// A Durable Object of any class, on a host.
pub enum AnyObject<H> {
    /// A shard of the event store.
    EventStore(Box<EventStoreObject<H>>),
    /// The rollout of a release.
    Rollout(RolloutObject<H>),
}

impl<H: ObjectHost> AnyObject<H> {
    /// Creates an object on its host, after a start or a restart of the platform.
    pub fn new(class: ObjectClass, host: H) -> Self {
        match class {
            ObjectClass::EventStore => Self::EventStore(Box::new(EventStoreObject::new(host))),
            ObjectClass::Rollout => Self::Rollout(RolloutObject::new(host)),
        }
    }

    /// Replies to an encoded message.
    ///
    /// # Errors
    /// Returns the storage's error.
    pub async fn reply_to(&self, message: &[u8]) -> StorageResult<ObjectReply> {
        match self {
            Self::EventStore(object) => object.reply_to(message).await,
            Self::Rollout(object) => object.reply_to(message).await,
        }
    }

    /// Runs the alarm of the object.
    ///
    /// # Errors
    /// Returns the storage's error; the platform then runs the alarm again.
    pub async fn on_alarm(&self) -> StorageResult<()> {
        match self {
            Self::EventStore(object) => object.on_alarm().await,
            Self::Rollout(object) => object.on_alarm().await,
        }
    }
}
