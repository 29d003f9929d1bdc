//! Encodes an instance's commands, handles their replies, and acknowledges requests at the end of a batch.

use crate::error::Error;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::pipeline::carried::{Carried, Delivery, Leftover, Tail, Writing};
use crate::foundation::redis::pipeline::encoder::Encoder;
use crate::foundation::redis::pipeline::outgoing::SUSPICIOUS;
use crate::foundation::redis::resp::replies;
use crate::request_reply::membership::inbox;
use crate::request_reply::membership::instance::Instance;
use crate::request_reply::protocol::entry::{Answer, Question};
use crate::request_reply::sending::command::Command;
use crate::request_reply::sending::command_context::CommandContext;
use crate::request_reply::sending::explainer::timed_out;
use crate::request_reply::sending::reply_room::ReplyRoom;
use crate::request_reply::tracking::in_flight::InFlight;
use crate::request_reply::tracking::ledger::{Sent, Ticket};
use crate::request_reply::tracking::rejection::{self, Cause};
use crate::request_reply::tracking::whereabouts::Whereabouts;
use redis::{RedisResult, Value};
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often an inbox in use is trimmed, and has its expiry renewed.
const RENEW_EXPIRY: Duration = Duration::from_secs(30);

/// How many replies the transaction of a withdrawal has. The last is that to EXEC.
const TRANSACTION: usize = 4;

/// When the expiry of each inbox was last renewed, on one connection.
pub type Expiries = HashMap<String, Instant>;

/// The requests of the own inbox that a batch finishes, with one XDEL and one XACK at its end.
pub struct Acknowledgements {
    ids: Vec<StreamId>,
    /// Those among them that are held until they are acknowledged.
    held: Vec<StreamId>,
    /// Answers are acknowledged only once Redis has accepted them, because it refused some recently, or the inbox is
    /// on another node.
    answers_first: bool,
}

impl Tail<Command> for Acknowledgements {
    fn begin(route: &Route, context: &CommandContext) -> Self {
        let answers_first = *route != Route::Server || context.acceptance.pause().is_some();
        Self { ids: Vec::new(), held: Vec::new(), answers_first }
    }

    /// It deletes the requests before it acknowledges them. A caller that withdraws a request in between finds it
    /// pending, which is true.
    fn encode(&mut self, encoder: &mut Encoder<'_>, context: &CommandContext) {
        if self.ids.is_empty() {
            return;
        }
        let names = &context.instance.names;
        let mut delete = encoder.command(2 + self.ids.len());
        delete.word("XDEL").word(&names.inbox);
        for id in &self.ids {
            delete.id(*id);
        }
        let mut acknowledge = encoder.command(3 + self.ids.len());
        acknowledge.word("XACK").word(&names.inbox).word(&names.group);
        for id in &self.ids {
            acknowledge.id(*id);
        }
    }

    fn settle(self, replies: &[Value], leftover: &mut Leftover<Command>, context: &CommandContext) {
        let refusal = replies.iter().find(|reply| matches!(reply, Value::ServerError(_)));
        let Some(Value::ServerError(error)) = refusal else {
            context.queue.finish_all(self.held);
            context.suspects.finished(&self.ids);
            return;
        };
        // The requests of refused answers are acknowledged with the next attempt to answer them.
        let later = |command: &Command| match command {
            Command::Answer(held, _) => Some(held.id()),
            _ => None,
        };
        let deferred: Vec<StreamId> = leftover.later.iter().filter_map(later).collect();
        let mut ids = self.ids;
        ids.retain(|id| !deferred.contains(id));
        if !ids.is_empty() {
            leftover.refuse(Command::Acknowledge(ids), &error.clone().into(), context);
        }
    }

    /// The acknowledgement was not confirmed, so it is sent again.
    fn broken(&mut self) {
        self.answers_first = true;
    }

    fn unsent(self) -> Option<Command> {
        (!self.held.is_empty()).then_some(Command::Acknowledge(self.held))
    }
}

impl Carried for Command {
    type Context = CommandContext;
    type Remembered = Expiries;
    type Tail = Acknowledgements;

    fn content_size(&self) -> usize {
        match self {
            Command::Ask(_, question) => question.content.len(),
            Command::Answer(_, answer) => answer.content.size(),
            Command::Acknowledge(_) | Command::Withdraw(..) => 0,
        }
    }

    fn key(&self, context: &CommandContext) -> String {
        let names = &context.instance.names;
        match self {
            Command::Ask(_, question) => names.keys.inbox(&question.to),
            Command::Answer(held, _) => held.request.reply_to.to_string(),
            Command::Acknowledge(_) => names.inbox.clone(),
            Command::Withdraw(ticket, _) => names.keys.inbox(&ticket.to),
        }
    }

    fn rights(&self) -> &'static str {
        match self {
            Command::Ask(..) | Command::Answer(..) => "+xadd",
            Command::Acknowledge(_) => "+xdel +xack",
            Command::Withdraw(..) => "+xinfo|groups +xdel",
        }
    }

    fn encode(self, to: &mut Writing<'_, Self>) -> Option<Self> {
        let Writing { encoder, tail: acknowledgements, remembered: expiries, context } = to;
        let names = &context.instance.names;
        let command = context.fit(self);
        match &command {
            Command::Ask(ticket, question) => {
                // The caller is told at its deadline that the request was not sent.
                let ttl = ticket.whole_ms_left()?;
                let resent = ticket.sending()?;
                ask(encoder, ticket, question, Ask { ttl, resent }, &context.instance, expiries);
            }
            Command::Answer(held, answer) => {
                if !acknowledgements.answers_first {
                    acknowledgements.ids.push(held.id());
                }
                self::answer(encoder, held, answer, &context.reply_room);
            }
            Command::Acknowledge(ids) => {
                acknowledgements.ids.extend(ids);
                acknowledgements.held.extend(ids);
                return None;
            }
            Command::Withdraw(ticket, redis_id) => {
                withdraw(encoder, &names.keys.inbox(&ticket.to), ticket, *redis_id)
            }
        }
        Some(command)
    }

    fn settle(&mut self, replies: &[Value], delivery: &Delivery<'_, Self>) -> RedisResult<Option<Self>> {
        let context = delivery.context;
        let first = replies.first();
        // A command in a transaction is refused when it is queued, or with EXEC. Other second replies belong to
        // commands that may fail.
        let refusal = match self {
            Command::Withdraw(..) => {
                replies.iter().take(TRANSACTION).find(|reply| matches!(reply, Value::ServerError(_)))
            }
            _ => first,
        };
        if let Some(Value::ServerError(error)) = refusal {
            return Err(error.clone().into());
        }
        let stats = &context.instance.endpoint.stats;
        match self {
            Command::Ask(ticket, _) => {
                context.note_unkept(replies.get(1..).unwrap_or_default(), &ticket.to);
                let id = first.and_then(replies::id);
                if let Some(id) = id
                    && !ticket.confirmed(id, delivery.connection)
                {
                    return Ok(Some(Command::Withdraw(Arc::clone(ticket), id)));
                }
            }
            Command::Answer(held, _) => {
                match first {
                    Some(Value::Nil) => stats.answers_dropped.increment(),
                    _ => stats.answers_sent.increment(),
                }
                context.acceptance.accepted();
                if replies.len() > 1
                    && let Some(used) = replies.last()
                {
                    context.reply_room.measured(&held.request.reply_to, used);
                }
                if delivery.tail.answers_first {
                    // It is held until it is acknowledged.
                    return Ok(Some(Command::Acknowledge(vec![held.id()])));
                }
                context.queue.finish(held.id());
            }
            // Nobody asks what became of it: its caller has been told something else.
            Command::Withdraw(ticket, _) if ticket.ending.has_ended() => {}
            Command::Withdraw(ticket, id) => {
                if let (true, [.., pending], Some(transaction)) =
                    (ticket.was_confirmed_on(delivery.connection), replies, replies.get(TRANSACTION - 1))
                {
                    ticket.withdrawn(Whereabouts::of_withdrawal(transaction, pending, &ticket.to, *id));
                    context.explainer.refused(pending, &ticket.to);
                }
                context.explainer.explain(ticket);
            }
            Command::Acknowledge(_) => {}
        }
        Ok(None)
    }

    fn not_executed(&self) {
        if let Command::Ask(ticket, _) = self {
            ticket.not_sent();
        }
    }

    /// A command that may have been executed is sent again too. The instance that takes the request knows of the
    /// other copy.
    fn broken(self, may_be_executed: bool, _context: &CommandContext) -> Option<Self> {
        if !may_be_executed {
            self.not_executed();
        }
        Some(self)
    }

    /// A caller is told at once that its request was refused.
    fn waits_for_redis(&self, context: &CommandContext) -> bool {
        let waits = match self {
            Command::Answer(held, _) => !held.request.is_past(),
            // A request that is not acknowledged would run again.
            Command::Acknowledge(_) => true,
            Command::Ask(..) | Command::Withdraw(..) => false,
        };
        if waits {
            context.acceptance.refused();
        }
        waits
    }

    fn is_hopeless(&self, patience: Duration, _context: &CommandContext) -> bool {
        match self {
            // A request that may have been sent may still be answered, so its caller waits until the deadline.
            Command::Ask(ticket, _) => ticket.sent() == Sent::No && ticket.asked.elapsed() >= patience,
            Command::Answer(held, _) => held.request.is_past(),
            Command::Withdraw(ticket, _) => ticket.deadline + patience <= Instant::now(),
            Command::Acknowledge(_) => false,
        }
    }

    fn fail(self, error: &Error, context: &CommandContext) -> Option<Self> {
        match self {
            Command::Ask(ticket, _) => context.fail_ask(&ticket, error),
            Command::Answer(held, _) => {
                context.queue.finish(held.id());
                context.lose_answer(held.id(), error);
            }
            Command::Withdraw(ticket, _) => {
                context.fail_withdrawal(error);
                ticket.finish(Err(timed_out(&ticket, &Whereabouts::Unknown, None, &context.instance)));
            }
            Command::Acknowledge(ids) => {
                context.queue.finish_all(ids);
                context.fail_acknowledgement(error);
            }
        }
        None
    }

    /// A short rejection replaces the answer, so that the caller hears of it at once.
    fn refuse_large(self, error: &Error, context: &CommandContext) -> Option<Self> {
        match &self {
            Command::Answer(held, answer) if answer.content.size() >= SUSPICIOUS => {
                let reason = format!("the answer could not be sent: {}", error.message);
                context.lose_answer(held.id(), error);
                let rejection = rejection::of(&held.request, Cause::Command, &reason, &context.instance);
                Some(Command::Answer(Arc::clone(held), rejection))
            }
            _ => self.fail(error, context),
        }
    }
}

/// The parameters of a request that is written.
struct Ask {
    /// How long it is valid, in ms.
    ttl: NonZeroU64,
    /// An earlier copy may have reached Redis.
    resent: bool,
}

fn ask(
    encoder: &mut Encoder<'_>,
    ticket: &Ticket,
    question: &Question,
    how: Ask,
    instance: &Instance,
    expiries: &mut Expiries,
) {
    let names = &instance.names;
    let inbox = names.keys.inbox(&question.to);
    if how.resent {
        instance.endpoint.stats.resent.increment();
    }
    let id = ticket.id.digits();
    let write = |put: &mut dyn FnMut(&str, &[u8])| question.write(names, &id, how.ttl.get(), how.resent, put);
    let is_renewed = expiries.get(&inbox).is_some_and(|renewed| renewed.elapsed() < RENEW_EXPIRY);
    let mut add = encoder.command(if is_renewed { 3 } else { 6 } + words(write));
    add.word("XADD").word(&inbox);
    if !is_renewed {
        // It does not trim each time, because reading the oldest entry takes Redis 10 ms if that has two million
        // fields.
        add.word("MINID").word("~").number(instance.oldest_alive().ms);
    }
    add.word("*");
    write(&mut |name, value| {
        add.word(name).word(value);
    });
    if is_renewed {
        return;
    }
    for expire in inbox::keep(&inbox, &instance.options) {
        encoder.run(&expire);
    }
    expiries.retain(|_, renewed| renewed.elapsed() < RENEW_EXPIRY);
    expiries.insert(inbox, Instant::now());
}

fn answer(encoder: &mut Encoder<'_>, held: &InFlight, answer: &Answer, reply_room: &ReplyRoom) {
    let write = |put: &mut dyn FnMut(&str, &[u8])| answer.write(put);
    let mut add = encoder.command(4 + words(write));
    add.word("XADD").word(&held.request.reply_to).word("NOMKSTREAM").word("*");
    write(&mut |name, value| {
        add.word(name).word(value);
    });
    if reply_room.is_to_measure(answer.content.size()) {
        // With samples Redis measures only the oldest entries, and assumes the same size for the others.
        let mut measure = encoder.command(5);
        measure.word("MEMORY").word("USAGE").word(&held.request.reply_to).word("SAMPLES").word("0");
    }
}

/// Deletes the request in a transaction, so that no consumer can take it between the check and the deletion. Then asks
/// who holds it, if its caller waits for that.
fn withdraw(encoder: &mut Encoder<'_>, inbox: &str, ticket: &Ticket, redis_id: StreamId) {
    encoder.command(1).word("MULTI");
    encoder.inner_command(3).word("XINFO").word("GROUPS").word(inbox);
    encoder.inner_command(3).word("XDEL").word(inbox).id(redis_id);
    encoder.inner_command(1).word("EXEC");
    if !ticket.ending.has_ended() {
        let mut pending = encoder.command(6);
        pending.word("XPENDING").word(inbox).word(&ticket.to).id(redis_id).id(redis_id).word("1");
    }
}

/// Returns how many words the fields are that `write` passes on.
fn words(write: impl FnOnce(&mut dyn FnMut(&str, &[u8]))) -> usize {
    let mut words = 0;
    write(&mut |_, _| words += 2);
    words
}
