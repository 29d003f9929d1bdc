//! What an instance writes to Redis: which commands there are, and what their replies mean.

pub mod acceptance;
pub mod backpressure;
pub mod batch;
pub mod command;
pub mod command_context;
pub mod reply_room;

/// The way to Redis of an instance's requests, answers and acknowledgements.
pub type Sender = crate::foundation::redis::pipeline::writer::Writer<command::Command>;
