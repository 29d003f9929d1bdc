//! The one writer of commands to Redis. It writes many commands before it reads their replies.
//!
//! A [`writer::Writer`] has one [`server_pipeline::Pipeline`] for each server it writes to: a connection, the
//! [`outgoing`] queue before it, and a thread. Commands that are written together form a [`batch::Batch`]. The
//! feature that uses the writer implements the trait [`carried::Carried`]: it defines the commands, the meaning of
//! their replies, and what happens when a command cannot be sent.

pub mod batch;
pub mod carried;
pub mod encoder;
pub mod outgoing;
pub mod server_pipeline;
pub mod writer;

#[cfg(test)]
mod batch_tests;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod writer_tests;
