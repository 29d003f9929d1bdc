//! Live sources: what Redis publishes and does not keep.
//!
//! A [`feed`] keeps a subscription at one server and puts what it reads, and what can have been missed, into the
//! `Backlog`, from which workers take. Nothing is acknowledged, and nothing comes again.

mod feed;
mod keyspace;
pub mod live_consumer;
mod plan;
mod reading;
mod roster;
