//! What an instance's commands are about, and how those end that cannot be sent.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::pipeline::carried::Context;
use crate::request_reply::books::dead_letter;
use crate::request_reply::books::ledger::{Ledger, Sent, Ticket};
use crate::request_reply::books::request_queue::RequestQueue;
use crate::request_reply::membership::member::Member;
use crate::request_reply::membership::reply_room::NoRoom;
use crate::request_reply::sending::command::Command;
use std::sync::Arc;

/// What an instance's commands and their replies are about.
pub struct CommandContext {
    /// This instance.
    pub member: Arc<Member>,
    /// The calls made here.
    pub ledger: Arc<Ledger>,
    /// The requests held here.
    pub queue: Arc<RequestQueue>,
}

impl Context for CommandContext {
    type Instance = Member;

    fn instance(&self) -> &Arc<Member> {
        &self.member
    }

    fn thread_name(&self) -> &'static str {
        "ipc-sender"
    }
}

impl CommandContext {
    /// Counts and reports an answer that is lost.
    pub fn lose_answer(&self, id: StreamId, error: &Error) {
        self.member.stats.answers_dropped.increment();
        let lost = self.member.locate(error.clone()).entry(id);
        let message = format!("an answer was lost: {}", lost.message);
        self.member.reporter.failure(Error { message, ..lost });
    }

    /// Ends a call whose request is not sent.
    pub fn fail_ask(&self, ticket: &Ticket, error: &Error) {
        if self.ledger.close(ticket.id).is_none() {
            return;
        }
        let fate = if ticket.sent() == Sent::No { Fate::NotSent } else { Fate::Unknown };
        let error = Error { kind: error.kind.of_call(fate), ..error.clone() };
        self.member.stats.failed.increment();
        ticket.finish(Err(error.at(self.member.keys.stream(), &ticket.to).entry(ticket.id)));
    }
}

/// `command`; in place of an answer for which there is no room, the rejection that says so. Where there is none for that
/// either, the request is done with.
pub fn fit(command: Command, member: &Member) -> Command {
    let Command::Answer(claim, answer) = &command else { return command };
    let room = &member.reply_room;
    let Some(no_room) = room.refusal(&claim.request.reply_to, answer.content.size()) else { return command };
    let (NoRoom::ForAnswer(reason) | NoRoom::ForAnything(reason)) = &no_room;
    member.stats.answers_dropped.increment();
    let error = Error::new(ErrorKind::Command(Fate::Unknown), reason.as_str());
    let error = error.at(member.keys.stream(), &claim.request.source_group).entry(claim.id());
    member.reporter.failure(error);
    if matches!(no_room, NoRoom::ForAnything(_)) {
        return Command::Acknowledge(vec![claim.id()]);
    }
    let rejection = dead_letter::rejection(member, &claim.request, dead_letter::COMMAND, reason);
    Command::Answer(Arc::clone(claim), rejection)
}

/// The error of a call whose deadline passed.
pub fn timed_out(ticket: &Ticket, fate: Fate, member: &Member) -> Error {
    let waited = ticket.deadline.duration_since(ticket.asked).as_secs_f64();
    let what = match fate {
        Fate::NotSent => "the request never reached Redis, so it did not run",
        Fate::Unclaimed => {
            "nobody took the request and it has been withdrawn, so it did not and will not run; is the group connected?"
        }
        Fate::Unknown => "somebody may have taken the request: whether it ran is not known",
    };
    let message = format!("no answer from {:?} within {waited:.3} s: {what}", ticket.to);
    member
        .error(ErrorKind::Timeout(fate), message, &ticket.to)
        .entry(ticket.id)
        .address(member.connections.connector().address())
}
