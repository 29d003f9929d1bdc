//! The events that wait for workers in this process, in their order, each loss in its place between them.

pub mod backlog_consumer;
mod line;
pub mod queue;
#[cfg(test)]
mod queue_tests;
