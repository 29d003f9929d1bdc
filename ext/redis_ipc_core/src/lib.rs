//! The core of the redis_ipc gem: request/reply between processes over Redis, JSON-RPC over Redis lists, and
//! events from Redis streams, Pub/Sub, keyspace notifications, invalidations and PostgreSQL's write-ahead log.
//!
//! There is no Ruby in it. [`request_reply`], [`json_rpc`] and [`events`] are features: none imports another. All stand on
//! `foundation`, which imports no feature. spec/house_spec.rb checks that. docs/protocol.md describes what is said to
//! Redis, docs/internals.md which thread owns what.

mod error;
pub mod events;
mod foundation;
pub mod json_rpc;
pub mod observer;
pub mod request_reply;

pub use error::{Error, ErrorKind, Fate, Place};
pub use foundation::payload::fields::Fields;
pub use foundation::payload::guarantee::Guarantee;
pub use foundation::payload::json;
pub use foundation::payload::loss::{Cause, Loss};
pub use foundation::payload::stream_entry::{RawEntry, StreamId};
pub use foundation::redis::logins;
pub use foundation::redis::redis_options::RedisOptions;
pub use foundation::redis::running::Running;
pub use foundation::runtime::reports::{Fetched, Mailbox, Report};
pub use foundation::runtime::threads::panic_message;
pub use foundation::runtime::waiting::{Interrupt, Waited};
pub use foundation::runtime::work_queue::Taken;

/// The exports for the tests of the protocol's readers only.
#[doc(hidden)]
pub mod readers {
    pub use crate::foundation::payload::fields::{Fields, Room};
    pub use crate::foundation::postgres::pgoutput::message::{Message, Old};
    pub use crate::foundation::postgres::pgoutput::tuple::Tuple;
    pub use crate::foundation::redis::resp::push::{Push, PushKind};
    pub use crate::foundation::redis::resp::{decode::Replies, replies};
    pub use crate::request_reply::readers::{Keys, Request};
}
