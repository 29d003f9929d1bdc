//! Events from Redis Streams, the core of `RedisIPC::Events`.
//!
//! An [`EventConsumer`] is one process's part in a consumer group whose entries are events. Like request/reply it
//! uses the group consumer of the foundation for reading, leases, take-over and dead letters. A [`Publisher`] adds
//! entries.

mod acknowledgement;
mod admission;
mod event_consumer;
mod group;
mod in_flight;
mod lag;
mod options;
mod pause;
mod publisher;
mod recent_ids;
mod retries;
mod sending;
mod timer;
mod trimming;

pub use event_consumer::{DeadEvent, EventConsumer, Progress};
pub use in_flight::InFlight;
pub use options::{ConsumerOptions, From, PublisherOptions};
pub use publisher::{PublishOptions, Published, Publisher};
pub use sending::NewEvent;
pub use trimming::{Limit, Trim, Trimmed};
