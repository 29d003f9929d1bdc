//! Request and reply over Redis streams: what `RedisIPC::Stream` and `RedisIPC::Channel` stand on.
//!
//! [`Engine`] is one connected stream. The folders below import only what stands before them in this list:
//! `protocol`, `membership`, `books`, `sending`, then `asking` and `serving` side by side.

mod asking;
mod books;
mod engine;
mod housekeeper;
mod membership;
mod protocol;
mod sending;
mod serving;

#[cfg(test)]
mod recovery_tests;

pub use asking::calls::Calls;
pub use books::in_flight::{Answered, InFlight};
pub use books::ledger::{Outcome, Ticket, Waited};
pub use engine::Engine;
pub use membership::options::Options;
pub use membership::presence::Presence;
pub use protocol::content::Content;
pub use protocol::entry::{Answer, Context, Question, Status};
pub use serving::service::Service;

/// For [`crate::readers`].
pub(crate) mod readers {
    pub use super::protocol::{entry::Request, keys::Keys};
}
