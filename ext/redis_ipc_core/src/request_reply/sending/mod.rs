//! The commands that an instance writes to Redis, and the meaning of their replies.

pub mod acceptance;
pub mod batch;
pub mod command;
pub mod command_context;
pub mod explainer;
pub mod reply_room;

/// The writer of an instance's requests, answers and acknowledgements.
pub type Sender = crate::foundation::redis::pipeline::writer::Writer<command::Command>;
