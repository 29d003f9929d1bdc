//! The events that wait for workers in this process, in their order, and the losses in their places.

pub mod backlog_consumer;
mod line;
pub mod queue;
#[cfg(test)]
mod queue_tests;
