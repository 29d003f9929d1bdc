//! What `RedisIPC::JSONRPC` calls: clients and servers of queues.

pub mod client;
pub mod server;
