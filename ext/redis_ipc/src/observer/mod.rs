//! The border to `redis_ipc_core::observer`.

pub mod answer;
#[allow(clippy::module_inception)]
pub mod observer;
pub mod query;
