//! What the sender writes to Redis.

use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::pipeline::carried::Carried;
use crate::foundation::redis::pipeline::outgoing::Outbound;
use crate::request_reply::protocol::entry::{Answer, Question};
use crate::request_reply::tracking::in_flight::InFlight;
use crate::request_reply::tracking::ledger::Ticket;
use std::sync::Arc;

/// Something for Redis.
#[derive(Debug)]
pub enum Command {
    /// Put a request into an inbox.
    Ask(Arc<Ticket>, Question),
    /// Put an answer into the asker's reply stream, and be done with the request.
    Answer(Arc<InFlight>, Answer),
    /// Be done with requests of the own inbox that need no answer.
    Acknowledge(Vec<StreamId>),
    /// Ask how many requests wait for a group.
    Measure(String),
    /// Take a request back. The call ends with what Redis says of it, unless it has ended already.
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
