//! What the sender writes to Redis.

use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::pipeline::outgoing::Outbound;
use crate::request_reply::books::in_flight::Claim;
use crate::request_reply::books::ledger::Ticket;
use crate::request_reply::membership::member::Member;
use crate::request_reply::protocol::entry::{Answer, Question};
use std::sync::Arc;

/// Something for Redis.
#[derive(Debug)]
pub enum Command {
    /// Put a request into an inbox.
    Ask(Arc<Ticket>, Question),
    /// Put an answer into the asker's reply stream, and be done with the request.
    Answer(Arc<Claim>, Answer),
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

impl Command {
    /// How many bytes of content it carries.
    pub fn content_size(&self) -> usize {
        match self {
            Command::Ask(_, question) => question.content.len(),
            Command::Answer(_, answer) => answer.content.size(),
            Command::Acknowledge(_) | Command::Withdraw(..) | Command::Measure(_) => 0,
        }
    }

    /// The key it is about.
    pub fn key(&self, member: &Member) -> String {
        match self {
            Command::Ask(_, question) => member.keys.inbox(&question.to),
            Command::Answer(claim, _) => claim.request.reply_to.to_string(),
            Command::Acknowledge(_) => member.inbox.clone(),
            Command::Withdraw(ticket, _) => member.keys.inbox(&ticket.to),
            Command::Measure(group) => member.keys.inbox(group),
        }
    }
}
