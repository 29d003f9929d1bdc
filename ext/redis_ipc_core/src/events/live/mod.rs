//! Live sources: what Redis publishes and does not keep.
//!
//! A [`feed`] keeps a subscription at one server. It puts the messages into the `Backlog`, and what may have been
//! missed. Workers take from there. Nothing is acknowledged, and nothing is delivered again.

mod feed;
mod keyspace;
pub mod live_consumer;
mod plan;
mod reading;
mod roster;
mod shards;
mod text_list;
mod tracking;
mod values;
