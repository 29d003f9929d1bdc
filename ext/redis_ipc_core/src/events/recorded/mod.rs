//! A consumer of any kind with its record: what it does and what it is told are the same for all of them.

mod book;
mod pausing;
pub mod recorded_consumer;
mod source;
