//! What the sender writes: packs each command for Redis and makes sense of the replies.

use crate::claim::Claim;
use crate::connections::is_passing;
use crate::consumer_queue::ConsumerQueue;
use crate::entry::{Answer, Question, Sender as From, StreamId};
use crate::error::{Error, ErrorKind, Fate};
use crate::ledger::{Ledger, Sent, Ticket};
use crate::member::Member;
use crate::stream_reply;
use crate::upkeep::keep_inbox;
use redis::{Cmd, Value};
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
            Command::Answer(_, answer) => answer.content.len() + 400,
            Command::Acknowledge(ids) => ids.len() * 64 + 100,
            Command::Withdraw(..) | Command::Measure(_) => 400,
        }
    }
}

/// What to do about a refusal by Redis.
enum Verdict {
    Done,
    /// This server cannot serve now: try again on another connection.
    Retry,
    /// It has no memory now: try again after a while.
    Later,
    /// Trying again will not change it.
    Failed(Error),
}

/// When the expiry of each inbox was last renewed; one per connection.
pub type Expiries = HashMap<String, Instant>;

/// Commands written together, waiting for their replies.
#[derive(Default)]
pub struct Batch {
    /// The bytes to write.
    pub packed: Vec<u8>,
    waiting: Vec<(Command, usize)>,
    acknowledged: Vec<StreamId>,
    /// Answers are acknowledged only once they are in: Redis is short of memory.
    answers_first: bool,
}

/// What is left of a batch after its replies.
#[derive(Default)]
pub struct Leftover {
    /// Commands to be sent again.
    pub again: Vec<Command>,
    /// Commands to be sent again after a while.
    pub later: Vec<Command>,
    /// Commands that follow from the replies.
    pub follow: Vec<Command>,
    /// The refusal behind `again`.
    pub refusal: Option<Error>,
}

impl Batch {
    /// Packs `commands`; those that are no longer wanted are left out.
    pub fn pack(commands: Vec<Command>, member: &Member, expiries: &mut Expiries) -> Self {
        let mut batch = Self { answers_first: member.memory.shortage().is_some(), ..Self::default() };
        for command in commands {
            batch.add(command, member, expiries);
        }
        if !batch.acknowledged.is_empty() {
            for command in acknowledge(&batch.acknowledged, member) {
                command.write_packed_command(&mut batch.packed);
            }
        }
        batch
    }

    /// How many replies will come.
    pub fn replies(&self) -> usize {
        let acknowledgements = if self.acknowledged.is_empty() { 0 } else { 2 };
        self.waiting.iter().map(|(_, replies)| replies).sum::<usize>() + acknowledgements
    }

    fn add(&mut self, command: Command, member: &Member, expiries: &mut Expiries) {
        let replies = match &command {
            Command::Ask(ticket, question) => {
                let Some(resent) = ticket.sending() else { return };
                self.pack_ask(ticket, question, resent, member, expiries)
            }
            Command::Answer(claim, answer) => {
                let mut add = redis::cmd("XADD");
                add.arg(&claim.request.reply_to).arg("NOMKSTREAM").arg("*");
                for (name, value) in answer.fields() {
                    add.arg(name).arg(value);
                }
                add.write_packed_command(&mut self.packed);
                // While Redis is short of memory the request is kept until its answer is in.
                if !self.answers_first {
                    self.acknowledged.push(claim.id());
                }
                1
            }
            Command::Acknowledge(ids) => {
                self.acknowledged.extend(ids);
                return;
            }
            Command::Withdraw(ticket, redis_id) => self.pack_withdrawal(ticket, *redis_id, member),
            Command::Measure(group) => {
                redis::cmd("XLEN").arg(member.keys.inbox(group)).write_packed_command(&mut self.packed);
                1
            }
        };
        self.waiting.push((command, replies));
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
        for expire in keep_inbox(&inbox, member) {
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
        for (command, _) in &self.waiting {
            if let Command::Ask(ticket, _) = command {
                ticket.not_sent();
            }
        }
        self.into_commands()
    }

    /// Everything in it, to be sent again on another connection.
    pub fn into_commands(self) -> Vec<Command> {
        let mut commands: Vec<Command> = self.waiting.into_iter().map(|(command, _)| command).collect();
        if !self.acknowledged.is_empty() {
            commands.push(Command::Acknowledge(self.acknowledged));
        }
        commands
    }

    /// Acts on the replies, one command's worth after the other.
    pub fn settle(self, replies: Vec<Value>, scene: &Scene<'_>) -> Leftover {
        let mut leftover = Leftover::default();
        let mut replies = replies.into_iter();
        for (command, count) in self.waiting {
            let own: Vec<Value> = replies.by_ref().take(count).collect();
            match settle(&command, own, self.answers_first, scene, &mut leftover) {
                Verdict::Done => {}
                Verdict::Retry => leftover.again.push(command),
                Verdict::Later => leftover.later.push(command),
                Verdict::Failed(error) => scene.fail(command, &error),
            }
        }
        // What is left are the replies to the acknowledgements.
        if let Some(Value::ServerError(error)) = replies.next()
            && is_passing(error.code())
        {
            leftover.again.push(Command::Acknowledge(self.acknowledged));
            leftover.refusal.get_or_insert_with(|| scene.explain(&error.into()));
        }
        leftover
    }
}

/// The commands that are done with requests of the own inbox. Deleted before it is acknowledged: whoever takes a request back in between finds it pending, which it is.
pub fn acknowledge(ids: &[StreamId], member: &Member) -> [Cmd; 2] {
    let mut delete = redis::cmd("XDEL");
    delete.arg(&member.inbox);
    let mut acknowledge = redis::cmd("XACK");
    acknowledge.arg(&member.inbox).arg(&member.group);
    for id in ids {
        let id = id.to_string();
        delete.arg(&id);
        acknowledge.arg(&id);
    }
    [delete, acknowledge]
}

/// What replies are about.
pub struct Scene<'a> {
    /// This instance.
    pub member: &'a Member,
    /// The calls made here.
    pub ledger: &'a Ledger,
    /// The requests held here.
    pub queue: &'a ConsumerQueue,
}

impl Scene<'_> {
    fn explain(&self, error: &redis::RedisError) -> Error {
        self.member.connections.connector().explain(error, Fate::NotSent)
    }

    /// Ends what hangs on a command that is not sent, because of `error`.
    pub fn fail(&self, command: Command, error: &Error) {
        match command {
            Command::Ask(ticket, question) => self.fail_ask(&ticket, &question, error),
            Command::Answer(claim, _) => {
                self.queue.finish(claim.id());
                self.member.stats.answers_dropped.increment();
                let lost = self.member.locate(error.clone()).entry(claim.id());
                let message = format!("an answer was lost: {}", lost.message);
                self.member.reporter.failure(Error { message, ..lost });
            }
            Command::Withdraw(ticket, _) => {
                ticket.finish(Err(timed_out(&ticket, Fate::Unknown, self.member)));
            }
            Command::Acknowledge(_) | Command::Measure(_) => {}
        }
    }

    fn fail_ask(&self, ticket: &Ticket, question: &Question, error: &Error) {
        if self.ledger.close(ticket.id).is_none() {
            return;
        }
        let fate = if ticket.sent() == Sent::No { Fate::NotSent } else { Fate::Unknown };
        let kind = match error.kind {
            ErrorKind::Closed(_) => ErrorKind::Closed(fate),
            ErrorKind::Command(_) => ErrorKind::Command(fate),
            _ => ErrorKind::Connection(fate),
        };
        let error = Error { kind, ..error.clone() };
        self.member.stats.failed.increment();
        ticket.finish(Err(error.at(self.member.keys.stream(), &question.to).entry(ticket.id)));
    }
}

fn settle(
    command: &Command,
    replies: Vec<Value>,
    answers_first: bool,
    scene: &Scene<'_>,
    leftover: &mut Leftover,
) -> Verdict {
    let first = replies.first();
    if let Some(Value::ServerError(error)) = first {
        let code = error.code().to_owned();
        return refused(command, &code, scene.explain(&error.clone().into()), scene, leftover);
    }
    let stats = &scene.member.stats;
    match command {
        Command::Ask(ticket, _) => {
            let id = first.and_then(stream_reply::id);
            if let Some(id) = id
                && !ticket.confirmed(id)
            {
                leftover.follow.push(Command::Withdraw(Arc::clone(ticket), id));
            }
        }
        Command::Answer(claim, _) => {
            match first {
                Some(Value::Nil) => stats.answers_dropped.increment(),
                _ => stats.answers_sent.increment(),
            }
            scene.member.memory.accepted();
            if answers_first {
                leftover.follow.push(Command::Acknowledge(vec![claim.id()]));
            }
            scene.queue.finish(claim.id());
        }
        Command::Withdraw(ticket, _) => {
            let fate = ticket.fate(fate_of_withdrawal(replies.last()));
            if fate == Fate::Unclaimed {
                scene.member.asked_in_vain(&ticket.to);
            }
            ticket.finish(Err(timed_out(ticket, fate, scene.member)));
        }
        Command::Measure(group) => {
            if let Some(Value::Int(waiting)) = first {
                scene.member.backlogs.measured(group, *waiting as u64);
            }
        }
        Command::Acknowledge(_) => {}
    }
    Verdict::Done
}

/// Redis refused the command: now only, or for good.
fn refused(
    command: &Command,
    code: &str,
    error: Error,
    scene: &Scene<'_>,
    leftover: &mut Leftover,
) -> Verdict {
    if let Command::Ask(ticket, _) = command {
        ticket.not_sent();
    }
    if is_passing(code) {
        leftover.refusal = Some(error);
        return Verdict::Retry;
    }
    match command {
        Command::Answer(claim, _)
            if code == "OOM" && scene.member.clock.until(claim.request.deadline()).is_some() =>
        {
            scene.member.memory.refused();
            Verdict::Later
        }
        _ => Verdict::Failed(error),
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
