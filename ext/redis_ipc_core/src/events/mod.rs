//! Events: the core of `RedisIPC::Events`.
//!
//! [`start`] starts a [`Consumer`], which is one process's part in handling the events of a source:
//!
//! - The entries of a Redis Stream are shared by a group of processes. Without an order this is a consumer group of
//!   Redis. Like request/reply, it uses the group consumer of the foundation for reading, leases, take-over and dead
//!   letters. With an order the processes share lanes instead.
//! - The events of a live source (channels, keys) and of PostgreSQL's log are not shared: each consumer reads them all.
//!   One of a log may write what it reads into a stream.
//!
//! A [`Publisher`] adds events to streams.

mod backlog;
mod common;
mod consumer_group;
mod forward;
mod lanes;
mod live;
mod operating;
mod publisher;
mod recorded;
mod sending;
mod start;
mod wal;

/// The exports for [`crate::observer`].
pub(crate) mod observing {
    pub use super::common::events_key::of as key;
    pub use super::common::stream_facts::{command as facts, first_after};
    pub use super::consumer_group::lag::{command as lag, progress};
    pub use super::operating::OperatedGroup;
}

pub use crate::foundation::postgres::pgoutput::tuple::{Tuple as Row, Value as RowValue};
pub use common::consumer::{Consumer, Progress};
pub use common::dead_event::DeadEvent;
pub use common::forward_options::{Naming, Said};
pub use common::in_flight::{InFlight, InLane};
pub use common::options::{ConsumerOptions, From, MOST_PARTITIONS, Order, PublisherOptions};
pub use common::streams::lane as partition_of;
pub use common::trimming::{Limit, Trim, Trimmed};
pub use publisher::{PublishOptions, Published, Publisher};
pub use sending::NewEvent;
pub use start::start;
pub use wal::inspection::ask;
