//! What the sender writes: packs each command for Redis and makes sense of the replies.

use crate::claim::Claim;
use crate::connections::is_passing;
use crate::entry::{Answer, Question, Sender as From, StreamId};
use crate::error::{Error, ErrorKind, Fate};
use crate::ledger::{Ledger, Ticket};
use crate::member::Member;
use crate::stream_reply;
use redis::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often an inbox that is in use has its expiry renewed.
const RENEW_EXPIRY: Duration = Duration::from_secs(30);

/// Something for Redis.
#[derive(Debug)]
pub enum Command {
    /// Put a request into an inbox.
    Ask(Arc<Ticket>, Question),
    /// Put an answer into the asker's reply stream, and be done with the request.
    Answer(Arc<Claim>, Answer),
    /// Be done with requests of the own inbox that need no answer.
    Acknowledge(Vec<StreamId>),
    /// Take a request back. The call ends with what Redis says of it, unless it has ended already.
    Withdraw(Arc<Ticket>, StreamId),
}

impl Command {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        match self {
            Command::Ask(_, question) => question.content.len() + 400,
            Command::Answer(_, answer) => answer.content.len() + 400,
            Command::Acknowledge(ids) => ids.len() * 64 + 100,
            Command::Withdraw(..) => 400,
        }
    }
}

/// What to do about a refusal by Redis.
enum Verdict {
    Done,
    /// This server cannot serve now: try again on another connection.
    Retry,
}

/// When the expiry of each inbox was last renewed; one per connection.
pub type Expiries = HashMap<String, Instant>;

/// Commands written together, waiting for their replies.
#[derive(Default)]
pub struct Batch {
    /// The bytes to write.
    pub packed: Vec<u8>,
    waiting: Vec<Waiting>,
    acknowledged: Vec<StreamId>,
}

/// A command in a batch.
struct Waiting {
    command: Command,
    replies: usize,
    /// No earlier copy of it was ever written.
    first: bool,
}

/// What is left of a batch after its replies.
#[derive(Default)]
pub struct Leftover {
    /// Commands to be sent again.
    pub again: Vec<Command>,
    /// Commands that follow from the replies.
    pub follow: Vec<Command>,
    /// The refusal behind `again`.
    pub refusal: Option<Error>,
}

impl Batch {
    /// Packs `commands`; those that are no longer wanted are left out.
    pub fn pack(commands: Vec<Command>, member: &Member, expiries: &mut Expiries) -> Self {
        let mut batch = Self::default();
        for command in commands {
            batch.add(command, member, expiries);
        }
        if !batch.acknowledged.is_empty() {
            let mut acknowledge = redis::cmd("XACK");
            acknowledge.arg(&member.inbox).arg(&member.group);
            let mut delete = redis::cmd("XDEL");
            delete.arg(&member.inbox);
            for id in &batch.acknowledged {
                let id = id.to_string();
                acknowledge.arg(&id);
                delete.arg(&id);
            }
            acknowledge.write_packed_command(&mut batch.packed);
            delete.write_packed_command(&mut batch.packed);
        }
        batch
    }

    /// How many replies will come.
    pub fn replies(&self) -> usize {
        let acknowledgements = if self.acknowledged.is_empty() { 0 } else { 2 };
        self.waiting.iter().map(|waiting| waiting.replies).sum::<usize>() + acknowledgements
    }

    fn add(&mut self, command: Command, member: &Member, expiries: &mut Expiries) {
        let mut first = true;
        let replies = match &command {
            Command::Ask(ticket, question) => {
                let Some(resent) = ticket.sending() else { return };
                first = !resent;
                self.pack_ask(ticket, question, resent, member, expiries)
            }
            Command::Answer(claim, answer) => {
                let mut add = redis::cmd("XADD");
                add.arg(&claim.request.reply_to).arg("NOMKSTREAM").arg("*");
                for (name, value) in answer.fields() {
                    add.arg(name).arg(value);
                }
                add.write_packed_command(&mut self.packed);
                self.acknowledged.push(claim.id());
                1
            }
            Command::Acknowledge(ids) => {
                self.acknowledged.extend(ids);
                return;
            }
            Command::Withdraw(ticket, redis_id) => self.pack_withdrawal(ticket, *redis_id, member),
        };
        self.waiting.push(Waiting { command, replies, first });
    }

    fn pack_ask(
        &mut self,
        ticket: &Ticket,
        question: &Question,
        resent: bool,
        member: &Member,
        expiries: &mut Expiries,
    ) -> usize {
        let inbox = member.keys.inbox(&question.to);
        let left = ticket.deadline.saturating_duration_since(Instant::now());
        if resent {
            member.stats.resent.increment();
        }
        let from = From { instance_id: &member.instance, group: &member.group, reply_to: &member.replies };
        let mut add = redis::cmd("XADD");
        add.arg(&inbox).arg("MINID").arg("~").arg(member.oldest_alive().ms).arg("*");
        let ttl = left.as_millis().max(1) as u64;
        question.write(&from, &ticket.id.to_string(), ttl, resent, |name, value| {
            add.arg(name).arg(value);
        });
        add.write_packed_command(&mut self.packed);
        if expiries.get(&inbox).is_some_and(|renewed| renewed.elapsed() < RENEW_EXPIRY) {
            return 1;
        }
        let lifetime = member.options.inbox_lifetime().as_millis() as u64;
        for condition in ["NX", "GT"] {
            let mut expire = redis::cmd("PEXPIRE");
            expire.arg(&inbox).arg(lifetime).arg(condition);
            expire.write_packed_command(&mut self.packed);
        }
        expiries.retain(|_, renewed| renewed.elapsed() < RENEW_EXPIRY);
        expiries.insert(inbox, Instant::now());
        3
    }

    /// Atomic, so that nobody can take the request between the look and the deletion.
    fn pack_withdrawal(&mut self, ticket: &Ticket, redis_id: StreamId, member: &Member) -> usize {
        let (inbox, id) = (member.keys.inbox(&ticket.to), redis_id.to_string());
        let mut pending = redis::cmd("XPENDING");
        pending.arg(&inbox).arg(&ticket.to).arg(&id).arg(&id).arg(1);
        let mut delete = redis::cmd("XDEL");
        delete.arg(&inbox).arg(&id);
        for command in [redis::cmd("MULTI"), pending, delete, redis::cmd("EXEC")] {
            command.write_packed_command(&mut self.packed);
        }
        4
    }

    /// As [`Batch::into_commands`], where not one byte of the batch was written.
    pub fn into_unsent(self) -> Vec<Command> {
        for waiting in self.waiting.iter().filter(|waiting| waiting.first) {
            if let Command::Ask(ticket, _) = &waiting.command {
                ticket.not_sent();
            }
        }
        self.into_commands()
    }

    /// Everything in it, to be sent again on another connection.
    pub fn into_commands(self) -> Vec<Command> {
        let mut commands: Vec<Command> = self.waiting.into_iter().map(|waiting| waiting.command).collect();
        if !self.acknowledged.is_empty() {
            commands.push(Command::Acknowledge(self.acknowledged));
        }
        commands
    }

    /// Acts on the replies, one call's worth after the other.
    pub fn settle(self, replies: Vec<Value>, member: &Member, ledger: &Ledger) -> Leftover {
        let mut leftover = Leftover::default();
        let mut replies = replies.into_iter();
        for Waiting { command, replies: count, .. } in self.waiting {
            let own: Vec<Value> = replies.by_ref().take(count).collect();
            match settle(&command, own, member, ledger, &mut leftover) {
                Verdict::Done => {}
                Verdict::Retry => leftover.again.push(command),
            }
        }
        leftover
    }
}

fn settle(
    command: &Command,
    replies: Vec<Value>,
    member: &Member,
    ledger: &Ledger,
    leftover: &mut Leftover,
) -> Verdict {
    let first = replies.first();
    if let Some(Value::ServerError(error)) = first {
        let error = redis::RedisError::from(error.clone());
        let refusal = member.connections.connector().explain(&error, Fate::NotSent);
        if error.code().is_some_and(is_passing) {
            if let Command::Ask(ticket, _) = command {
                ticket.not_sent();
            }
            leftover.refusal = Some(refusal);
            return Verdict::Retry;
        }
        refuse(command, refusal, member, ledger);
        return Verdict::Done;
    }
    match command {
        Command::Ask(ticket, _) => {
            let id = first.and_then(stream_reply::id);
            if let Some(id) = id
                && !ticket.confirmed(id)
            {
                leftover.follow.push(Command::Withdraw(Arc::clone(ticket), id));
            }
        }
        Command::Answer(..) => match first {
            Some(Value::Nil) => member.stats.answers_dropped.increment(),
            _ => member.stats.answers_sent.increment(),
        },
        Command::Withdraw(ticket, _) => {
            let fate = fate_of_withdrawal(replies.last());
            if fate == Fate::Unclaimed {
                member.asked_in_vain.lock().insert(ticket.to.clone());
            }
            ticket.finish(Err(timed_out(ticket, fate, member)));
        }
        Command::Acknowledge(_) => {}
    }
    Verdict::Done
}

/// What a refusal that trying again will not change means for whoever waits.
fn refuse(command: &Command, refusal: Error, member: &Member, ledger: &Ledger) {
    match command {
        Command::Ask(ticket, question) => {
            ticket.not_sent();
            if ledger.close(ticket.id).is_some() {
                member.stats.failed.increment();
                ticket.finish(Err(refusal.at(member.keys.stream(), &question.to).entry(ticket.id)));
            }
        }
        Command::Answer(claim, _) => {
            member.stats.answers_dropped.increment();
            let error = member.locate(refusal).entry(claim.id());
            member
                .reporter
                .failure(Error { message: format!("an answer was lost: {}", error.message), ..error });
        }
        Command::Withdraw(ticket, _) => {
            ticket.finish(Err(timed_out(ticket, Fate::Unknown, member)));
        }
        Command::Acknowledge(_) => {}
    }
}

/// The reply to EXEC: what XPENDING and XDEL said.
fn fate_of_withdrawal(reply: Option<&Value>) -> Fate {
    let Some(Value::Array(both)) = reply else { return Fate::Unknown };
    match both.as_slice() {
        // Nobody has it, and now it is gone.
        [Value::Array(pending), Value::Int(1)] if pending.is_empty() => Fate::Unclaimed,
        // NOGROUP: there is no group to have taken it.
        [Value::ServerError(error), Value::Int(1)] if error.code() == "NOGROUP" => Fate::Unclaimed,
        _ => Fate::Unknown,
    }
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
