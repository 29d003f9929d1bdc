//! The core of the redis_ipc gem: request/reply between processes over Redis, and JSON-RPC over Redis lists.
//!
//! There is no Ruby in it. [`request_reply`] and [`json_rpc`] are features: neither imports the other. Both stand on
//! [`foundation`], which imports no feature. spec/house_spec.rb checks that. docs/protocol.md describes what is said to
//! Redis, docs/internals.md which thread owns what.

pub mod error;
pub mod foundation;
pub mod json_rpc;
pub mod request_reply;
