//! The one writer of commands to Redis: it writes many commands before their replies are read.
//!
//! A [`writer::Writer`] has one [`server_pipeline::Pipeline`] for each server it writes to: a connection, the
//! [`outgoing`] queue before it, and a thread. What is written together is a [`batch::Batch`]. What the commands are,
//! what their replies mean, and what follows when a command cannot be sent, is said by the feature that uses the
//! writer, with the trait [`carried::Carried`].

pub mod batch;
pub mod carried;
pub mod outgoing;
pub mod server_pipeline;
pub mod writer;

#[cfg(test)]
mod batch_tests;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod writer_tests;
