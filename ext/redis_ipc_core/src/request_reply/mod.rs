//! Request and reply over Redis streams, the core of `RedisIPC::Stream` and `RedisIPC::Channel`.
//!
//! [`Engine`] is one connected stream. Each of the folders below imports only those before it in this list:
//! `protocol`, `membership`, `tracking`, `sending`, then `asking` and `serving` side by side.

mod asking;
mod engine;
mod housekeeper;
mod membership;
mod portrait;
mod protocol;
mod sending;
mod serving;
mod tracking;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod part_tests;
#[cfg(test)]
#[cfg(feature = "live-tests")]
mod recovery_tests;

pub use crate::foundation::redis::group_consumer::dead_letters::{HOLDERS, SUSPECT};
pub use asking::calls::Calls;
pub use engine::Engine;
pub use membership::options::Options;
pub use membership::presence::Presence;
pub use protocol::content::Content;
pub use protocol::entry::{Answer, Context, Question, Status};
pub use serving::service::Service;
pub use tracking::in_flight::{Answered, InFlight};
pub use tracking::ledger::{Outcome, Ticket, Waited};

/// The exports for [`crate::observer`].
pub(crate) mod observing {
    pub use super::membership::instance::Instance;
    pub use super::membership::options::Options;
    pub use super::membership::presence::{Presence, read_all as instances};
    pub use super::protocol::keys::Keys;
    pub use super::protocol::names::Names;
    pub use super::serving::dead_letters::GroupLetters;
}

/// The exports of [`crate::readers`].
pub(crate) mod readers {
    pub use super::protocol::{entry::Request, keys::Keys};
}
