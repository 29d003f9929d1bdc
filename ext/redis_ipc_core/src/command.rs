//! What the sender writes to Redis.

use crate::claim::Claim;
use crate::entry::{Answer, Question, StreamId};
use crate::ledger::Ticket;
use crate::member::Member;
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

impl Command {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        match self {
            Command::Ask(_, question) => question.content.len() + 400,
            Command::Answer(_, answer) => answer.content.size() + 400,
            Command::Acknowledge(ids) => ids.len() * 64 + 100,
            Command::Withdraw(..) | Command::Measure(_) => 400,
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
