//! Writing commands to Redis: which commands there are, and what their replies mean.

pub mod batch;
pub mod command;
pub mod command_context;
pub mod pipeline;
pub mod sender;
