//! Events, the core of `RedisIPC::Events`.
//!
//! [`start`] starts a [`Consumer`]. Of a Redis Stream it is one process's part in a group whose entries are events.
//! Without an order that is a consumer group of Redis: like request/reply it uses the group consumer of the foundation for
//! reading, leases, take-over and dead letters. With an order the instances share lanes instead. A consumer of a live
//! source (channels, keys) or of PostgreSQL's log is alone. A [`Publisher`] adds entries to a stream.

mod backlog;
mod common;
mod consumer_group;
mod lanes;
mod live;
mod publisher;
mod sending;
mod start;
mod trimming;
mod wal;

pub use common::consumer::{Consumer, Progress};
pub use common::dead_event::DeadEvent;
pub use common::in_flight::{InFlight, InLane};
pub use common::options::{ConsumerOptions, From, MOST_PARTITIONS, Order, PublisherOptions};
pub use lanes::partition_of;
pub use publisher::{PublishOptions, Published, Publisher};
pub use sending::NewEvent;
pub use start::start;
pub use trimming::{Limit, Trim, Trimmed};
