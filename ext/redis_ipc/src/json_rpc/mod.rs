//! What `RedisIPC::JSONRPC` calls: the server and the client of a list.

pub mod client;
pub mod server;
