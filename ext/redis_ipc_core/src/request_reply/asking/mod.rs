//! Making calls, and reading their answers.

pub mod calls;
pub mod dispatcher;
pub mod reply_session;
