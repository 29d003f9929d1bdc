//! Events from Redis Streams: what `RedisIPC::Events` stands on.
//!
//! An [`EventConsumer`] is one process's part in a consumer group, whose entries are events. It stands on the group
//! consumer of the foundation, as request/reply does: reading, leases, taking over and dead letters are those. A
//! [`Publisher`] adds entries.

mod acknowledgement;
mod admission;
mod event_consumer;
mod group;
mod in_flight;
mod lag;
mod options;
mod pause;
mod publisher;
mod retries;
mod timer;

pub use event_consumer::{DeadEvent, EventConsumer};
pub use in_flight::InFlight;
pub use options::{ConsumerOptions, From, PublisherOptions};
pub use publisher::{Publisher, Trim};
