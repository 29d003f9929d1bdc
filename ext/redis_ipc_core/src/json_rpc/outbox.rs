//! Writes commands to Redis from a thread of its own: whatever is waiting goes out in one round trip.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::{Connection, is_close};
use crate::foundation::redis::error_codes::{Remedy, is_passing, remedy};
use crate::foundation::redis::link::Link;
use crate::foundation::redis::pipeline::outgoing::{
    Broken, Outbound, Outgoing, closes_connection, too_large,
};
use crate::foundation::runtime::sync::{Condvar, Mutex};
use crate::json_rpc::context::{CLOCK_LOOK, Party};
use redis::{Cmd, RedisError, RedisResult, Value};
use std::sync::Arc;
use std::time::Duration;

/// The pause before something is tried again that Redis refuses for now.
const RETRY: Duration = Duration::from_millis(50);
/// How many connections are tried for what is left to send at the end.
const LAST_CHANCES: u32 = 2;

/// Something to send: a few commands, and what follows from their replies.
pub trait Parcel: Outbound + Send + Sized + 'static {
    /// How many bytes of content it carries.
    fn content_size(&self) -> usize;
    /// Calls `run` for each of its commands, which are about one key each; none if it is not wanted any more.
    fn each_command(&self, run: impl FnMut(&Cmd));
    /// Acts on the replies; what is returned is tried again after a while. `connection` is the number of the connection
    /// they came by, if it was one alone.
    fn settle(self, replies: Vec<Value>, connection: Option<u64>) -> Option<Self>;
    /// The connection broke before the replies came; `written` if some of it may have left. What is returned is sent
    /// again.
    fn broken(self, written: bool) -> Option<Self>;
    /// Whether it has waited for Redis too long.
    fn is_hopeless(&self) -> bool;
    /// It is not sent, because of `error`. What is returned is to be sent all the same.
    fn fail(self, error: &Error) -> Option<Self>;
    /// Redis does not take it, because of `error`. What is returned is sent instead.
    fn refuse_large(self, error: &Error) -> Option<Self>;
}

struct State<P> {
    queue: Outgoing<P>,
    stopping: bool,
    ended: bool,
}

/// A connection, and how many connections of the party had broken when it was made: where another broke since, it is
/// not to be trusted.
struct Lane {
    connection: Connection,
    /// No other connection of this outbox has it.
    number: u64,
    losses: usize,
    /// The node that the slot of the queue is moving to.
    asked: Option<(Route, Connection)>,
}

/// The way out.
pub struct Outbox<P> {
    party: Arc<Party>,
    state: Mutex<State<P>>,
    work: Condvar,
}

impl<P: Parcel> Outbox<P> {
    /// An empty outbox.
    pub fn new(party: Arc<Party>) -> Self {
        let state = State { queue: Outgoing::default(), stopping: false, ended: false };
        Self { party, state: Mutex::new(state), work: Condvar::new() }
    }

    /// Sends `parcel` with the next round trip. Never waits for Redis.
    pub fn send(&self, parcel: P) {
        let mut state = self.state.lock();
        if state.ended {
            drop(state);
            parcel.fail(&self.closed());
            return;
        }
        state.queue.push([parcel]);
        drop(state);
        self.work.notify_one();
    }

    /// Lets the thread end once everything queued is out.
    pub fn stop(&self) {
        self.state.lock().stopping = true;
        self.work.notify_all();
    }

    /// Its thread: returns once [`Outbox::stop`] was called and everything queued is out.
    pub fn run(&self, first: Option<Connection>) {
        let mut link = Link::new(&self.party, self.party.names.queue(), first.is_some());
        let mut lane = first.map(|connection| self.lane(connection, self.party.health.losses()));
        let mut chances = LAST_CHANCES;
        loop {
            let result = match lane.take() {
                None => self.open(),
                Some(open) => match self.next_batch() {
                    None => return,
                    Some(batch) => self.deliver(batch, open),
                },
            };
            match result {
                Ok(open) => {
                    link.up();
                    lane = Some(open);
                }
                Err(error) => {
                    if self.state.lock().stopping {
                        if chances == 0 {
                            return self.abandon();
                        }
                        chances -= 1;
                    }
                    self.give_up(&self.party.explain(&error, Fate::NotSent));
                    link.lost(&error);
                }
            }
        }
    }

    fn open(&self) -> RedisResult<Lane> {
        let losses = self.party.health.losses();
        let mut connection = self.party.open()?;
        // It may be another server's.
        self.party.clock.read(&mut connection)?;
        Ok(self.lane(connection, losses))
    }

    fn lane(&self, connection: Connection, losses: usize) -> Lane {
        let number = self.party.health.next_wire();
        Lane { connection, number, losses, asked: None }
    }

    fn next_batch(&self) -> Option<Vec<P>> {
        let mut state = self.state.lock();
        loop {
            if !state.queue.is_empty() {
                return Some(state.queue.take_batch());
            }
            if state.stopping {
                state.ended = true;
                return None;
            }
            state = self.work.wait(state);
        }
    }

    fn deliver(&self, batch: Vec<P>, mut lane: Lane) -> RedisResult<Lane> {
        // TCP lets a first write to a server that is gone succeed.
        if lane.losses != self.party.health.losses() || lane.connection.is_gone() {
            self.requeue(batch);
            return self.open();
        }
        let mut packed = Vec::new();
        let batch: Vec<Packed<P>> = batch.into_iter().map(|parcel| pack(parcel, &mut packed)).collect();
        let expected = batch.iter().map(|packed| packed.replies).sum();
        if let Err(failure) = lane.connection.send_counting(&packed) {
            let replies = lane.connection.receive_left(expected);
            let error = lane.connection.lost(failure.error.into());
            self.break_off(batch, replies, failure.written, &lane, &error);
            return Err(error);
        }
        let mut replies = Vec::with_capacity(expected);
        while replies.len() < expected {
            match lane.connection.receive() {
                Ok(reply) => replies.push(reply),
                Err(error) => {
                    self.break_off(batch, replies, usize::MAX, &lane, &error);
                    return Err(error);
                }
            }
        }
        if replies.iter().any(closes_connection) {
            let error = lane.connection.closed();
            self.break_off(batch, replies, usize::MAX, &lane, &error);
            return Err(error);
        }
        // The server cannot serve now: another may, or this one later.
        let passing = replies.iter().find_map(passing);
        let refusal = replies.iter().find_map(refusal);
        let mut replies = replies.into_iter();
        let mut settle = |Packed { parcel, replies: count, .. }: Packed<P>| {
            let mut own: Vec<Value> = replies.by_ref().take(count).collect();
            match self.follow(&parcel, &mut own, &mut lane) {
                Ok(was_followed) => parcel.settle(own, (!was_followed).then_some(lane.number)),
                Err(_) => parcel.broken(true),
            }
        };
        let later: Vec<P> = batch.into_iter().filter_map(&mut settle).collect();
        let is_deferred = !later.is_empty();
        self.requeue(later);
        match (passing, refusal) {
            (Some(error), _) => return Err(error),
            (None, Some(refusal)) if is_deferred => {
                if self.state.lock().stopping {
                    // Who leaves does not wait until Redis takes writes again: the last chances are counted.
                    return Err(refusal);
                }
                self.party.stop.pause(RETRY);
                self.give_up(&self.party.explain(&refusal, Fate::NotSent));
            }
            _ => {}
        }
        // Now, while nobody waits for it.
        if self.party.clock.is_due(CLOCK_LOOK) {
            self.party.clock.read(&mut lane.connection)?;
        }
        Ok(lane)
    }

    /// The connection broke while a batch was under way: acts on the replies that came, and decides in which order the
    /// rest is sent again. `written` is how many bytes were written: Redis has executed no command that ends later.
    fn break_off(
        &self,
        batch: Vec<Packed<P>>,
        replies: Vec<Value>,
        written: usize,
        lane: &Lane,
        error: &RedisError,
    ) {
        let mut replies = replies.into_iter();
        let (mut broken, mut culprit, mut start) = (Broken::default(), None, 0);
        for Packed { parcel, replies: count, end } in batch {
            let own: Vec<Value> = replies.by_ref().take(count).collect();
            if let Some(said) = own.iter().find(|reply| closes_connection(reply)) {
                let error = too_large(parcel.content_size(), Some(said));
                culprit = parcel.broken(false).map(|parcel| (parcel, error));
            } else if own.len() == count {
                broken.refused.extend(parcel.settle(own, Some(lane.number)));
            } else {
                let is_begun = culprit.is_none() && start < written;
                let rest = if is_begun { &mut broken.unanswered } else { &mut broken.unsent };
                rest.extend(parcel.broken(culprit.is_none() && end <= written));
            }
            start = end;
        }
        // Replies come in the order of the commands: with a culprit nothing is unanswered.
        let convicted = self.state.lock().queue.take_back(broken, is_close(error));
        let convicted = convicted.into_iter().map(|parcel| {
            let error = too_large(parcel.content_size(), None);
            (parcel, error)
        });
        for (parcel, error) in convicted.chain(culprit) {
            if let Some(instead) = parcel.refuse_large(&self.party.locate(error)) {
                self.requeue(vec![instead]);
            }
        }
    }

    /// Runs what was refused for its key is moving where it was sent with it, and puts the reply in place of the
    /// refusal. Fails if that may have been run and the reply did not come; else it says whether there was any.
    fn follow(&self, parcel: &P, replies: &mut [Value], lane: &mut Lane) -> RedisResult<bool> {
        if !replies.iter().any(|reply| asking(reply).is_some()) {
            return Ok(false);
        }
        let (mut replies, mut result) = (replies.iter_mut(), Ok(()));
        parcel.each_command(|command| {
            let Some(reply) = replies.next() else { return };
            if let Some(refusal) = asking(reply)
                && result.is_ok()
            {
                result = self.run_asked(command, &refusal, lane).map(|followed| {
                    if let Some(followed) = followed {
                        *reply = followed;
                    }
                });
            }
        });
        result.map(|()| true)
    }

    /// `None` if the node cannot be reached: nothing was run.
    fn run_asked(&self, command: &Cmd, refusal: &RedisError, lane: &mut Lane) -> RedisResult<Option<Value>> {
        let Some(route) = self.party.asked_route(command, refusal) else { return Ok(None) };
        let known = lane.asked.take().filter(|(known, _)| *known == route);
        let usable = known.and_then(|(_, mut connection)| (!connection.is_gone()).then_some(connection));
        let mut connection = match usable {
            Some(connection) => connection,
            None => match self.party.connector.open(&route) {
                Ok(connection) => connection,
                Err(_) => return Ok(None),
            },
        };
        let reply = connection.run_all(std::slice::from_ref(command))?.pop();
        lane.asked = Some((route, connection));
        Ok(reply)
    }

    fn requeue(&self, parcels: Vec<P>) {
        self.state.lock().queue.push_first(parcels);
    }

    /// Ends what has waited for Redis too long.
    fn give_up(&self, error: &Error) {
        let hopeless = self.state.lock().queue.remove(P::is_hopeless);
        let still: Vec<P> = hopeless.into_iter().filter_map(|parcel| parcel.fail(error)).collect();
        self.requeue(still);
    }

    fn abandon(&self) {
        let rest = {
            let mut state = self.state.lock();
            state.ended = true;
            state.queue.remove(|_| true)
        };
        for parcel in rest {
            parcel.fail(&self.closed());
        }
    }

    fn closed(&self) -> Error {
        let message = "the connection to the queue was closed before this could be sent";
        self.party.locate(Error::new(ErrorKind::Closed(Fate::NotSent), message))
    }
}

/// A parcel that was packed.
struct Packed<P> {
    parcel: P,
    /// How many replies will come.
    replies: usize,
    /// Where it ends among the bytes of the batch.
    end: usize,
}

/// Whether a refusal says that this server cannot serve now, or that another node of a cluster serves the key.
pub fn may_pass(code: &str) -> bool {
    is_passing(code) || matches!(code, "MOVED" | "ASK")
}

/// An `ASK` is about one key.
fn passing(reply: &Value) -> Option<RedisError> {
    match reply {
        Value::ServerError(error) if may_pass(error.code()) && error.code() != "ASK" => {
            Some(error.clone().into())
        }
        _ => None,
    }
}

fn refusal(reply: &Value) -> Option<RedisError> {
    match reply {
        Value::ServerError(error) if may_pass(error.code()) || remedy(error.code()) == Remedy::Wait => {
            Some(error.clone().into())
        }
        _ => None,
    }
}

fn asking(reply: &Value) -> Option<RedisError> {
    match reply {
        Value::ServerError(error) if error.code() == "ASK" => Some(error.clone().into()),
        _ => None,
    }
}

fn pack<P: Parcel>(parcel: P, packed: &mut Vec<u8>) -> Packed<P> {
    let mut replies = 0;
    parcel.each_command(|command| {
        command.write_packed_command(packed);
        replies += 1;
    });
    Packed { parcel, replies, end: packed.len() }
}
