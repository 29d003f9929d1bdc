//! Making calls, and reading their answers.

pub mod calls;
pub mod reply_reader;
pub mod reply_session;
