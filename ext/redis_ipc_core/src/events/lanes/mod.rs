//! Order by key, or of a whole source, across processes: which no consumer group of Redis can keep.
//!
//! A key belongs to one of so many *lanes*, by its hash. A lane is owned by one instance at a time, by a lease with an
//! epoch ([`ownership`], [`protocol`]). Every instance reads the stream ([`reader`]) and keeps what belongs to its lanes
//! ([`schedule`]). Or each lane is a stream of its own, a *partition*, that only its owner reads. The events of one key run one after the other. What is done is written as a checkpoint for each lane
//! ([`progress`], [`checkpoint`]), which a stale owner cannot write. The [`keeper`] does all of that in time.

mod checkpoint;
mod keeper;
mod keyer;
pub mod lane_consumer;
mod lane_queue;
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

pub use keyer::lane as partition_of;
