//! Packs the sender's commands for Redis, and makes sense of the replies.

use crate::error::{Error, Fate};
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::error_codes::{Remedy, remedy};
use crate::foundation::redis::pipeline::outgoing::{Broken, Outbound, closes_connection, too_large};
use crate::foundation::redis::resp::encode::{self, Packing};
use crate::foundation::redis::resp::replies;
use crate::request_reply::books::in_flight::Claim;
use crate::request_reply::books::ledger::Ticket;
use crate::request_reply::membership::key_expiry::keep_inbox;
use crate::request_reply::membership::member::Member;
use crate::request_reply::protocol::entry::{Answer, Question, Sender as From};
use crate::request_reply::protocol::keys;
use crate::request_reply::sending::command::Command;
use crate::request_reply::sending::command_context::{Scene, fit, timed_out};
use redis::{Cmd, Value};
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often an inbox that is in use has its expiry renewed, and is trimmed.
const RENEW_EXPIRY: Duration = Duration::from_secs(30);

/// When the expiry of each inbox was last renewed; one per connection.
pub type Expiries = HashMap<String, Instant>;

/// Where a batch goes.
#[derive(Debug, Clone, Copy)]
pub struct Server<'a> {
    /// Which server it is.
    pub route: &'a Route,
    /// The number of the connection to it.
    pub connection: u64,
}

/// A command that was written.
struct Waiting {
    command: Command,
    /// How many replies will come.
    replies: usize,
    /// Where it ends among the bytes of the batch.
    end: usize,
}

/// Commands written together, waiting for their replies.
#[derive(Default)]
pub struct Batch {
    waiting: Vec<Waiting>,
    acknowledged: Vec<StreamId>,
    /// Of these the requests that are held until they are acknowledged.
    held: Vec<StreamId>,
    /// Answers are acknowledged only once they are in: Redis refused some lately, or the inbox is on another node.
    answers_first: bool,
    /// Each command is preceded by ASKING.
    asking: bool,
    /// The number of the connection it was written on.
    connection: u64,
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
    /// The refusal behind `later`.
    pub deferral: Option<Error>,
}

/// What is left of a batch whose connection broke.
#[derive(Default)]
pub struct Remains {
    /// What follows from the replies that came; what is to be sent again is in `broken`.
    pub leftover: Leftover,
    /// What is to be sent again.
    pub broken: Broken<Command>,
    /// The command over which Redis says that it closes the connection, with the error for it.
    pub culprit: Option<(Command, Error)>,
}

impl Batch {
    /// Packs `commands` into `bytes` for `server`; those that are no longer wanted are left out.
    pub fn pack(
        commands: Vec<Command>,
        bytes: &mut Vec<u8>,
        server: Server<'_>,
        member: &Member,
        expiries: &mut Expiries,
    ) -> Self {
        let mut batch = Self {
            waiting: Vec::with_capacity(commands.len()),
            answers_first: *server.route != Route::Server || member.acceptance.pause().is_some(),
            asking: matches!(server.route, Route::Asking(_)),
            connection: server.connection,
            ..Self::default()
        };
        bytes.reserve(commands.iter().map(Command::size).sum());
        let mut packer = Packer { bytes, asking: batch.asking };
        for command in commands {
            let command = fit(command, member);
            batch.add(command, &mut packer, member, expiries);
        }
        if !batch.acknowledged.is_empty() {
            packer.acknowledge(&batch.acknowledged, member);
        }
        batch
    }

    /// How many replies will come.
    pub fn replies(&self) -> usize {
        let acknowledgements =
            if self.acknowledged.is_empty() { 0 } else { 2 * (1 + usize::from(self.asking)) };
        self.waiting.iter().map(|waiting| waiting.replies).sum::<usize>() + acknowledgements
    }

    fn add(&mut self, command: Command, packer: &mut Packer<'_>, member: &Member, expiries: &mut Expiries) {
        let replies = match &command {
            Command::Ask(ticket, question) => {
                // Whoever waits for it is told at its deadline that it was not sent.
                let Some(ttl) = ticket.whole_ms_left() else { return };
                let Some(resent) = ticket.sending() else { return };
                packer.ask(ticket, question, ttl, resent, member, expiries)
            }
            Command::Answer(claim, answer) => {
                if !self.answers_first {
                    self.acknowledged.push(claim.id());
                }
                packer.answer(claim, answer, member)
            }
            Command::Acknowledge(ids) => {
                self.acknowledged.extend(ids);
                self.held.extend(ids);
                return;
            }
            Command::Withdraw(ticket, redis_id) => packer.withdraw(ticket, *redis_id, member),
            Command::Measure(group) => packer.run(redis::cmd("XLEN").arg(member.keys.inbox(group))),
        };
        self.waiting.push(Waiting { command, replies, end: packer.bytes.len() });
    }

    /// Acts on the replies that came before the connection broke. `written` is how many bytes of the batch were
    /// written: Redis has executed no command that ends later.
    pub fn settle_broken(self, mut replies: &[Value], written: usize, scene: &Scene<'_>) -> Remains {
        let (mut remains, mut start) = (Remains::default(), 0);
        // The acknowledgement was not confirmed, so it follows.
        let how = How { answers_first: true, connection: self.connection };
        for Waiting { command, replies: count, end } in self.waiting {
            let (own, others) = replies.split_at(count.min(replies.len()));
            replies = others;
            if let Some(said) = own.iter().find(|reply| closes_connection(reply)) {
                not_executed(&command);
                let error = too_large(command.content_size(), Some(said));
                remains.culprit = Some((command, error));
            } else if own.len() == count {
                let own = own.get(usize::from(self.asking)..).unwrap_or_default();
                let verdict = settle(&command, own, how, scene, &mut remains.leftover);
                remains.leftover.note(command, verdict, scene);
            } else {
                let may_be_executed = remains.culprit.is_none() && end <= written;
                if !may_be_executed {
                    not_executed(&command);
                }
                let is_begun = remains.culprit.is_none() && start < written;
                let broken = &mut remains.broken;
                let rest = if is_begun { &mut broken.unanswered } else { &mut broken.unsent };
                rest.push(command);
            }
            start = end;
        }
        remains.broken.refused = std::mem::take(&mut remains.leftover.again);
        if !self.held.is_empty() {
            remains.broken.unsent.push(Command::Acknowledge(self.held));
        }
        remains
    }

    /// Acts on the replies, one command's worth after the other.
    pub fn settle(self, replies: &[Value], scene: &Scene<'_>) -> Leftover {
        let mut leftover = Leftover::default();
        let mut replies = replies;
        let how = How { answers_first: self.answers_first, connection: self.connection };
        for Waiting { command, replies: count, .. } in self.waiting {
            let (own, others) = replies.split_at(count.min(replies.len()));
            replies = others;
            // The first reply is the one to ASKING.
            let own = own.get(usize::from(self.asking)..).unwrap_or_default();
            let verdict = settle(&command, own, how, scene, &mut leftover);
            leftover.note(command, verdict, scene);
        }
        // What is left are the replies to the acknowledgements.
        let refusal = match replies.get(usize::from(self.asking)) {
            Some(Value::ServerError(error)) => Some(redis::RedisError::from(error.clone())),
            _ => None,
        };
        let Some(error) = refusal else {
            self.held.iter().for_each(|id| scene.queue.finish(*id));
            return leftover;
        };
        // The requests of refused answers are acknowledged with the next attempt to answer them.
        let later = |command: &Command| match command {
            Command::Answer(claim, _) => Some(claim.id()),
            _ => None,
        };
        let deferred: Vec<StreamId> = leftover.later.iter().filter_map(later).collect();
        let mut ids = self.acknowledged;
        ids.retain(|id| !deferred.contains(id));
        if ids.is_empty() {
            return leftover;
        }
        let again = Command::Acknowledge(ids);
        let verdict = refused(&again, &error, scene, &mut leftover);
        leftover.note(again, verdict, scene);
        leftover
    }
}

impl Leftover {
    fn note(&mut self, command: Command, verdict: Verdict, scene: &Scene<'_>) {
        match verdict {
            Verdict::Done => {}
            Verdict::Retry => self.again.push(command),
            Verdict::Later => self.later.push(command),
            Verdict::Elsewhere(pause) => {
                self.elsewhere.push(command);
                self.pause = self.pause.max(pause);
            }
            Verdict::Failed(error) => scene.fail(command, &error),
        }
    }
}

/// Notes that Redis has not executed the last copy of a request.
fn not_executed(command: &Command) {
    if let Command::Ask(ticket, _) = command {
        ticket.not_sent();
    }
}

/// Writes commands; each of its methods tells how many replies will come.
struct Packer<'a> {
    bytes: &'a mut Vec<u8>,
    asking: bool,
}

impl Packer<'_> {
    /// Begins a command of so many words; with it come [`Packer::replies`].
    fn command(&mut self, words: usize) -> Packing<'_> {
        self.preface();
        encode::command(self.bytes, words)
    }

    fn run(&mut self, command: &Cmd) -> usize {
        self.preface();
        command.write_packed_command(self.bytes);
        self.replies()
    }

    fn preface(&mut self) {
        if self.asking {
            encode::command(self.bytes, 1).word("ASKING");
        }
    }

    fn replies(&self) -> usize {
        1 + usize::from(self.asking)
    }

    fn ask(
        &mut self,
        ticket: &Ticket,
        question: &Question,
        ttl: NonZeroU64,
        resent: bool,
        member: &Member,
        expiries: &mut Expiries,
    ) -> usize {
        let inbox = member.keys.inbox(&question.to);
        if resent {
            member.stats.resent.increment();
        }
        let from = From { instance_id: &member.instance, group: &member.group, reply_to: &member.replies };
        let id = ticket.id.digits();
        let write = |put: &mut dyn FnMut(&str, &[u8])| question.write(&from, &id, ttl.get(), resent, put);
        let is_renewed = expiries.get(&inbox).is_some_and(|renewed| renewed.elapsed() < RENEW_EXPIRY);
        let mut add = self.command(if is_renewed { 3 } else { 6 } + words(write));
        add.word("XADD").word(&inbox);
        if !is_renewed {
            // Not each time: to look at the oldest entry takes Redis 10 ms if that has two million fields.
            add.word("MINID").word("~").number(member.oldest_alive().ms);
        }
        add.word("*");
        write(&mut |name, value| {
            add.word(name).word(value);
        });
        let mut replies = self.replies();
        if is_renewed {
            return replies;
        }
        for expire in keep_inbox(&inbox, member) {
            replies += self.run(&expire);
        }
        expiries.retain(|_, renewed| renewed.elapsed() < RENEW_EXPIRY);
        expiries.insert(inbox, Instant::now());
        replies
    }

    fn answer(&mut self, claim: &Claim, answer: &Answer, member: &Member) -> usize {
        let write = |put: &mut dyn FnMut(&str, &[u8])| answer.write(put);
        let mut add = self.command(4 + words(write));
        add.word("XADD").word(&claim.request.reply_to).word("NOMKSTREAM").word("*");
        write(&mut |name, value| {
            add.word(name).word(value);
        });
        if !member.reply_room.is_to_measure(answer.content.size()) {
            return self.replies();
        }
        // By samples Redis looks at the oldest entries only, and takes the others to be as large.
        let mut measure = self.command(5);
        measure.word("MEMORY").word("USAGE").word(&claim.request.reply_to).word("SAMPLES").word("0");
        2 * self.replies()
    }

    /// Deleted before it is acknowledged: whoever takes a request back in between finds it pending, which it is.
    fn acknowledge(&mut self, ids: &[StreamId], member: &Member) {
        let mut delete = self.command(2 + ids.len());
        delete.word("XDEL").word(&member.inbox);
        for id in ids {
            delete.id(*id);
        }
        let mut acknowledge = self.command(3 + ids.len());
        acknowledge.word("XACK").word(&member.inbox).word(&member.group);
        for id in ids {
            acknowledge.id(*id);
        }
    }

    /// Atomic, so that nobody can take the request between the look and the deletion.
    fn withdraw(&mut self, ticket: &Ticket, redis_id: StreamId, member: &Member) -> usize {
        let inbox = member.keys.inbox(&ticket.to);
        // ASKING counts until EXEC.
        self.command(1).word("MULTI");
        encode::command(self.bytes, 3).word("XINFO").word("GROUPS").word(&inbox);
        encode::command(self.bytes, 3).word("XDEL").word(&inbox).id(redis_id);
        encode::command(self.bytes, 1).word("EXEC");
        self.replies() + 3
    }
}

/// How many words the fields are that `write` hands out.
fn words(write: impl FnOnce(&mut dyn FnMut(&str, &[u8]))) -> usize {
    let mut words = 0;
    write(&mut |_, _| words += 2);
    words
}

/// What to do about a refusal by Redis.
enum Verdict {
    Done,
    /// This server cannot serve now: try again on another connection.
    Retry,
    /// It refuses such commands for now: try again after a while.
    Later,
    /// Another node of the cluster serves its key: try again there, after this long.
    Elsewhere(Duration),
    /// Trying again will not change it.
    Failed(Error),
}

/// How a command was sent.
#[derive(Debug, Clone, Copy)]
struct How {
    /// Answers are acknowledged only once they are in.
    answers_first: bool,
    /// The number of the connection.
    connection: u64,
}

fn settle(
    command: &Command,
    replies: &[Value],
    how: How,
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
            let id = first.and_then(replies::id);
            if let Some(id) = id
                && !ticket.confirmed(id, how.connection)
            {
                leftover.follow.push(Command::Withdraw(Arc::clone(ticket), id));
            }
        }
        Command::Answer(claim, _) => {
            match first {
                Some(Value::Nil) => stats.answers_dropped.increment(),
                _ => stats.answers_sent.increment(),
            }
            scene.member.acceptance.accepted();
            if replies.len() > 1
                && let Some(used) = replies.last()
            {
                scene.member.reply_room.measured(&claim.request.reply_to, used);
            }
            if how.answers_first {
                // Held until that is done.
                leftover.follow.push(Command::Acknowledge(vec![claim.id()]));
            } else {
                scene.queue.finish(claim.id());
            }
        }
        Command::Withdraw(ticket, id) => {
            let is_same = ticket.was_confirmed_on(how.connection);
            let known =
                if is_same { fate_of_withdrawal(replies.last(), &ticket.to, *id) } else { Fate::Unknown };
            let fate = ticket.fate(known);
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
    not_executed(command);
    let remedy = remedy(error.code().unwrap_or_default());
    if remedy == Remedy::Reconnect {
        leftover.refusal.get_or_insert_with(|| scene.explain(error));
        return Verdict::Retry;
    }
    if let Some(pause) = scene.redirected(command, error) {
        return Verdict::Elsewhere(pause);
    }
    if remedy == Remedy::Wait && is_worth_waiting(command) {
        scene.member.acceptance.refused();
        leftover.deferral.get_or_insert_with(|| scene.explain(error));
        return Verdict::Later;
    }
    Verdict::Failed(scene.explain(error))
}

/// Whether a command is kept until Redis takes it. A caller is rather told at once that its request was refused.
fn is_worth_waiting(command: &Command) -> bool {
    match command {
        Command::Answer(claim, _) => !claim.request.is_past(),
        // A request that is not acknowledged would run again.
        Command::Acknowledge(_) => true,
        Command::Ask(..) | Command::Withdraw(..) | Command::Measure(_) => false,
    }
}

/// The reply to EXEC: the groups of the inbox, and whether the request with this id was deleted.
///
/// A group hands out requests by their ids. So it has given this one to nobody if it has not come to it, and if it is
/// the only one that there was since the request was added: `G:since` says so. An inbox without either of the two
/// groups never had one.
fn fate_of_withdrawal(reply: Option<&Value>, group: &str, id: StreamId) -> Fate {
    let Some(Value::Array(both)) = reply else { return Fate::Unknown };
    let [groups, Value::Int(1)] = both.as_slice() else { return Fate::Unknown };
    let Some(last_ids) = replies::last_delivered(groups) else { return Fate::Unknown };
    match [last_ids.get(group), last_ids.get(&keys::since(group))] {
        [None, None] => Fate::Unclaimed,
        [Some(delivered), Some(made)] if id > *delivered && id > *made => Fate::Unclaimed,
        _ => Fate::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(groups: &[(&str, &str)], deleted: i64) -> Fate {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let row = |(name, last): &(&str, &str)| {
            Value::Array(vec![bulk("name"), bulk(name), bulk("last-delivered-id"), bulk(last)])
        };
        let groups = Value::Array(groups.iter().map(row).collect());
        let id = StreamId { ms: 5, seq: 1 };
        fate_of_withdrawal(Some(&Value::Array(vec![groups, Value::Int(deleted)])), "child", id)
    }

    #[test]
    fn nobody_took_what_the_only_group_there_was_has_not_come_to() {
        for groups in [
            &[][..],
            &[("child", "5-0"), ("child:since", "0-0")],
            &[("child", "0-0"), ("child:since", "5-0")],
        ] {
            assert_eq!(fate(groups, 1), Fate::Unclaimed, "{groups:?}");
            assert_eq!(fate(groups, 0), Fate::Unknown, "{groups:?}");
        }
    }

    #[test]
    fn what_a_group_has_come_to_or_was_there_before_it_may_have_run() {
        for groups in [
            &[("child", "5-1"), ("child:since", "0-0")][..],
            &[("child", "6-0"), ("child:since", "0-0")],
            &[("child", "0-0"), ("child:since", "5-1")],
            &[("child", "0-0")],
            &[("child:since", "0-0")],
        ] {
            assert_eq!(fate(groups, 1), Fate::Unknown, "{groups:?}");
        }
        assert_eq!(fate_of_withdrawal(Some(&Value::Nil), "child", StreamId::default()), Fate::Unknown);
        assert_eq!(fate_of_withdrawal(None, "child", StreamId::default()), Fate::Unknown);
    }
}
