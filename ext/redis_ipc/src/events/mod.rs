//! What `RedisIPC::Events` calls: consumers, events and publishers.

pub mod consumer;
pub mod event;
pub mod publisher;
mod row;
