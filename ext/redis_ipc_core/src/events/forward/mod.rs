//! Writes the changes of PostgreSQL's log into a Redis Stream, each of them once.
//!
//! A [`forward_consumer`] reads the log like any consumer of it. Its [`forwarder`] makes an [`entry`] of each change,
//! and adds entries by a script that moves a [`checkpoint`] beside the stream with them. What is not beyond the
//! checkpoint is there already, and is left out.

mod checkpoint;
mod entry;
pub mod forward_consumer;
mod forwarder;
mod history;
