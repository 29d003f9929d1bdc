//! Packs the sender's commands for Redis, and makes sense of the replies.

use crate::cluster::Route;
use crate::command::{Command, acknowledge};
use crate::connector::is_passing;
use crate::entry::{Question, Sender as From, StreamId};
use crate::error::{Error, Fate};
use crate::ledger::Ticket;
use crate::member::Member;
use crate::scene::{Scene, timed_out};
use crate::stream_reply;
use crate::upkeep::keep_inbox;
use redis::{Cmd, Value};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often an inbox that is in use has its expiry renewed.
const RENEW_EXPIRY: Duration = Duration::from_secs(30);

/// When the expiry of each inbox was last renewed; one per connection.
pub type Expiries = HashMap<String, Instant>;

/// Commands written together, waiting for their replies.
#[derive(Default)]
pub struct Batch {
    /// The bytes to write.
    pub packed: Vec<u8>,
    waiting: Vec<(Command, usize)>,
    acknowledged: Vec<StreamId>,
    /// Of these the requests that are held until they are acknowledged.
    held: Vec<StreamId>,
    /// Answers are acknowledged only once they are in: Redis is short of memory, or the inbox is on another node.
    answers_first: bool,
    /// Each command is preceded by ASKING.
    asking: bool,
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
    /// Commands to be sent to another node of the cluster, after `pause`.
    pub elsewhere: Vec<Command>,
    /// How long those are to wait.
    pub pause: Duration,
    /// The refusal behind `again`.
    pub refusal: Option<Error>,
}

impl Batch {
    /// Packs `commands` for the server at `route`; those that are no longer wanted are left out.
    pub fn pack(commands: Vec<Command>, route: &Route, member: &Member, expiries: &mut Expiries) -> Self {
        let mut batch = Self {
            answers_first: *route != Route::Server || member.memory.shortage().is_some(),
            asking: matches!(route, Route::Asking(_)),
            ..Self::default()
        };
        for command in commands {
            batch.add(command, member, expiries);
        }
        if !batch.acknowledged.is_empty() {
            for command in acknowledge(&batch.acknowledged, member) {
                batch.write(&command);
            }
        }
        batch
    }

    /// Packs a command; tells how many replies will come.
    fn write(&mut self, command: &Cmd) -> usize {
        if self.asking {
            redis::cmd("ASKING").write_packed_command(&mut self.packed);
        }
        command.write_packed_command(&mut self.packed);
        1 + usize::from(self.asking)
    }

    /// How many replies will come.
    pub fn replies(&self) -> usize {
        let acknowledgements =
            if self.acknowledged.is_empty() { 0 } else { 2 * (1 + usize::from(self.asking)) };
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
                if !self.answers_first {
                    self.acknowledged.push(claim.id());
                }
                self.write(&add)
            }
            Command::Acknowledge(ids) => {
                self.acknowledged.extend(ids);
                self.held.extend(ids);
                return;
            }
            Command::Withdraw(ticket, redis_id) => self.pack_withdrawal(ticket, *redis_id, member),
            Command::Measure(group) => self.write(redis::cmd("XLEN").arg(member.keys.inbox(group))),
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
        let mut replies = self.write(&add);
        if expiries.get(&inbox).is_some_and(|renewed| renewed.elapsed() < RENEW_EXPIRY) {
            return replies;
        }
        for expire in keep_inbox(&inbox, member) {
            replies += self.write(&expire);
        }
        expiries.retain(|_, renewed| renewed.elapsed() < RENEW_EXPIRY);
        expiries.insert(inbox, Instant::now());
        replies
    }

    /// Atomic, so that nobody can take the request between the look and the deletion.
    fn pack_withdrawal(&mut self, ticket: &Ticket, redis_id: StreamId, member: &Member) -> usize {
        let (inbox, id) = (member.keys.inbox(&ticket.to), redis_id.to_string());
        let mut pending = redis::cmd("XPENDING");
        pending.arg(&inbox).arg(&ticket.to).arg(&id).arg(&id).arg(1);
        let mut delete = redis::cmd("XDEL");
        delete.arg(&inbox).arg(&id);
        // ASKING counts until EXEC.
        let replies = self.write(&redis::cmd("MULTI"));
        for command in [pending, delete, redis::cmd("EXEC")] {
            command.write_packed_command(&mut self.packed);
        }
        replies + 3
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
            // The first reply is the one to ASKING.
            let own: Vec<Value> = replies.by_ref().take(count).skip(usize::from(self.asking)).collect();
            match settle(&command, own, self.answers_first, scene, &mut leftover) {
                Verdict::Done => {}
                Verdict::Retry => leftover.again.push(command),
                Verdict::Later => leftover.later.push(command),
                Verdict::Elsewhere(pause) => {
                    leftover.elsewhere.push(command);
                    leftover.pause = leftover.pause.max(pause);
                }
                Verdict::Failed(error) => scene.fail(command, &error),
            }
        }
        // What is left are the replies to the acknowledgements.
        let refusal = match replies.nth(usize::from(self.asking)) {
            Some(Value::ServerError(error)) => Some(redis::RedisError::from(error)),
            _ => None,
        };
        let Some(error) = refusal else {
            self.held.iter().for_each(|id| scene.queue.finish(*id));
            return leftover;
        };
        let again = Command::Acknowledge(self.acknowledged);
        if is_passing(error.code().unwrap_or_default()) {
            leftover.again.push(again);
            leftover.refusal.get_or_insert_with(|| scene.explain(&error));
        } else if let Some(pause) = scene.redirected(&again, &error) {
            leftover.elsewhere.push(again);
            leftover.pause = leftover.pause.max(pause);
        } else {
            scene.fail(again, &scene.explain(&error));
        }
        leftover
    }
}

/// What to do about a refusal by Redis.
enum Verdict {
    Done,
    /// This server cannot serve now: try again on another connection.
    Retry,
    /// It has no memory now: try again after a while.
    Later,
    /// Another node of the cluster serves its key: try again there, after this long.
    Elsewhere(Duration),
    /// Trying again will not change it.
    Failed(Error),
}

fn settle(
    command: &Command,
    replies: Vec<Value>,
    answers_first: bool,
    scene: &Scene<'_>,
    leftover: &mut Leftover,
) -> Verdict {
    let first = replies.first();
    // What is refused within a transaction is refused when it is queued, or with EXEC; other second replies are those
    // to commands that may fail.
    let refusal = match command {
        Command::Withdraw(..) => replies.iter().find(|reply| matches!(reply, Value::ServerError(_))),
        _ => first,
    };
    if let Some(Value::ServerError(error)) = refusal {
        return refused(command, &error.clone().into(), scene, leftover);
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
                // Held until that is done.
                leftover.follow.push(Command::Acknowledge(vec![claim.id()]));
            } else {
                scene.queue.finish(claim.id());
            }
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

/// Redis refused the command: here only, now only, or for good.
fn refused(
    command: &Command,
    error: &redis::RedisError,
    scene: &Scene<'_>,
    leftover: &mut Leftover,
) -> Verdict {
    if let Command::Ask(ticket, _) = command {
        ticket.not_sent();
    }
    let code = error.code().unwrap_or_default();
    if is_passing(code) {
        leftover.refusal = Some(scene.explain(error));
        return Verdict::Retry;
    }
    if let Some(pause) = scene.redirected(command, error) {
        return Verdict::Elsewhere(pause);
    }
    match command {
        Command::Answer(claim, _)
            if code == "OOM" && scene.member.clock.until(claim.request.deadline()).is_some() =>
        {
            scene.member.memory.refused();
            Verdict::Later
        }
        _ => Verdict::Failed(scene.explain(error)),
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
