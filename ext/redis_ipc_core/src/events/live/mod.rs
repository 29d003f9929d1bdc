//! Live sources: what Redis publishes and does not keep.
//!
//! A [`feed`] keeps a subscription at one server and puts what it reads, and what can have been missed, into the
//! [`backlog`], from which workers take. Nothing is acknowledged, and nothing comes again.

mod backlog;
#[cfg(test)]
mod backlog_tests;
mod feed;
mod keyspace;
mod line;
pub mod live_consumer;
mod plan;
mod reading;
mod roster;
