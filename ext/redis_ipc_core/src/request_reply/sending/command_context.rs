//! What the sender's commands are about, and how those end that cannot be sent.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::pipeline::outgoing::SUSPICIOUS;
use crate::request_reply::books::dead_letter;
use crate::request_reply::books::ledger::{Ledger, Sent, Ticket};
use crate::request_reply::books::request_queue::RequestQueue;
use crate::request_reply::membership::member::Member;
use crate::request_reply::membership::reply_room::NoRoom;
use crate::request_reply::protocol::entry::Question;
use crate::request_reply::sending::command::Command;
use std::sync::Arc;
use std::time::Duration;

/// What commands and their replies are about.
pub struct Scene<'a> {
    /// This instance.
    pub member: &'a Member,
    /// The calls made here.
    pub ledger: &'a Ledger,
    /// The requests held here.
    pub queue: &'a RequestQueue,
}

impl Scene<'_> {
    /// What a refusal means.
    pub fn explain(&self, error: &redis::RedisError) -> Error {
        self.member.connections.connector().explain(error, Fate::NotSent)
    }

    /// How long to wait before sending a command to the node that `error` names; `None` if it names none.
    pub fn redirected(&self, command: &Command, error: &redis::RedisError) -> Option<Duration> {
        self.member.connections.connector().redirected(&command.key(self.member), error)
    }

    /// Ends what hangs on a command that is not sent, because of `error`.
    pub fn fail(&self, command: Command, error: &Error) {
        match command {
            Command::Ask(ticket, question) => self.fail_ask(&ticket, &question, error),
            Command::Answer(claim, _) => {
                self.queue.finish(claim.id());
                self.lose_answer(claim.id(), error);
            }
            Command::Withdraw(ticket, _) => {
                ticket.finish(Err(timed_out(&ticket, Fate::Unknown, self.member)));
            }
            Command::Acknowledge(ids) => ids.into_iter().for_each(|id| self.queue.finish(id)),
            Command::Measure(_) => {}
        }
    }

    /// Ends what hangs on a command that Redis does not take, because of `error`. In place of an answer goes the short
    /// rejection that is returned, so that the asker hears of it at once.
    pub fn refuse_large(&self, command: Command, error: &Error) -> Option<Command> {
        let Command::Answer(claim, answer) = &command else {
            self.fail(command, error);
            return None;
        };
        if answer.content.size() < SUSPICIOUS {
            self.fail(command, error);
            return None;
        }
        let reason = format!("the answer could not be sent: {}", error.message);
        self.lose_answer(claim.id(), error);
        let rejection = dead_letter::rejection(self.member, &claim.request, dead_letter::COMMAND, &reason);
        Some(Command::Answer(Arc::clone(claim), rejection))
    }

    fn lose_answer(&self, id: StreamId, error: &Error) {
        self.member.stats.answers_dropped.increment();
        let lost = self.member.locate(error.clone()).entry(id);
        let message = format!("an answer was lost: {}", lost.message);
        self.member.reporter.failure(Error { message, ..lost });
    }

    fn fail_ask(&self, ticket: &Ticket, question: &Question, error: &Error) {
        if self.ledger.close(ticket.id).is_none() {
            return;
        }
        let fate = if ticket.sent() == Sent::No { Fate::NotSent } else { Fate::Unknown };
        let error = Error { kind: error.kind.of_call(fate), ..error.clone() };
        self.member.stats.failed.increment();
        ticket.finish(Err(error.at(self.member.keys.stream(), &question.to).entry(ticket.id)));
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
