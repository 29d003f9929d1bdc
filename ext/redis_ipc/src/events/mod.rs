//! What `RedisIPC::Events` calls: a consumer and a publisher of Redis Streams, and an event.

pub mod consumer;
pub mod event;
pub mod publisher;
