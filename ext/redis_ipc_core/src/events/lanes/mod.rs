//! Consumers with an order, by key or of a whole source, across processes. No consumer group of Redis can keep such an
//! order.
//!
//! A key belongs to one of several *lanes*, by its hash. One instance at a time owns a lane, by a lease with an epoch
//! ([`ownership`], [`protocol`]). Every instance reads the whole stream ([`reader`]) and keeps the events of its lanes
//! ([`schedule`]). Alternatively each lane is a stream of its own, a *partition*, which only its owner reads. The
//! events of one key run one after the other. A checkpoint for each lane records what is done ([`progress`],
//! [`checkpoint`]); a stale owner cannot write it. The [`keeper`] does the periodic work.

mod checkpoint;
mod keeper;
mod keyer;
pub mod lane_consumer;
mod lane_queue;
pub mod operating;
mod ownership;
mod progress;
mod protocol;
mod reader;
mod readers;
mod schedule;
#[cfg(test)]
mod schedule_tests;
#[cfg(test)]
mod takeover_model;
