//! The commands of an instance.

use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::pipeline::carried::Carried;
use crate::foundation::redis::pipeline::outgoing::Outbound;
use crate::request_reply::protocol::entry::{Answer, Question};
use crate::request_reply::tracking::in_flight::InFlight;
use crate::request_reply::tracking::ledger::Ticket;
use std::sync::Arc;

/// A command for Redis.
#[derive(Debug)]
pub enum Command {
    /// Puts a request into an inbox.
    Ask(Arc<Ticket>, Question),
    /// Puts an answer into the caller's reply stream, and finishes the request.
    Answer(Arc<InFlight>, Answer),
    /// Finishes requests of the own inbox that need no answer.
    Acknowledge(Vec<StreamId>),
    /// Withdraws a request. The call ends with Redis's reply, unless it has ended already.
    Withdraw(Arc<Ticket>, StreamId),
}

impl Outbound for Command {
    fn size(&self) -> usize {
        match self {
            Command::Acknowledge(ids) => ids.len() * 64 + 100,
            _ => self.content_size() + 400,
        }
    }
}
