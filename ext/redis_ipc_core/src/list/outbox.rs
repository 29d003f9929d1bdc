//! Writes commands to Redis from a thread of its own: whatever is waiting goes out in one round trip.

use crate::cluster::Route;
use crate::connection::Connection;
use crate::connector::is_passing;
use crate::error::{Error, ErrorKind, Fate};
use crate::link::Link;
use crate::list::party::Party;
use crate::sync::{Condvar, Mutex};
use redis::{Cmd, RedisError, RedisResult, Value};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The most bytes and the most parcels written before their replies are read.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_PARCELS: usize = 512;
/// The pause before something is tried again that Redis had no memory for.
const RETRY: Duration = Duration::from_millis(50);
/// How many connections are tried for what is left to send at the end.
const LAST_CHANCES: u32 = 2;

/// Something to send: a few commands, and what follows from their replies.
pub trait Parcel: Send + Sized + 'static {
    /// About how many bytes it takes.
    fn size(&self) -> usize;
    /// Calls `run` for each of its commands, which are about one key each; none if it is not wanted any more.
    fn each_command(&self, run: impl FnMut(&Cmd));
    /// Acts on the replies; what is returned is tried again after a while.
    fn settle(self, replies: Vec<Value>) -> Option<Self>;
    /// The connection broke before the replies came; `written` if some of it may have left. What is returned is sent
    /// again.
    fn broken(self, written: bool) -> Option<Self>;
    /// Whether it has waited for Redis too long.
    fn is_hopeless(&self) -> bool;
    /// It is not sent, because of `error`.
    fn fail(self, error: &Error);
}

struct State<P> {
    queue: VecDeque<P>,
    stopping: bool,
    ended: bool,
}

/// A connection, and how many connections of the party had broken when it was made: where another broke since, it is
/// not to be trusted.
struct Lane {
    connection: Connection,
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
        let state = State { queue: VecDeque::new(), stopping: false, ended: false };
        Self { party, state: Mutex::new(state), work: Condvar::new() }
    }

    /// Sends `parcel` with the next round trip. Never waits for Redis.
    pub fn send(&self, parcel: P) {
        let mut state = self.state.lock();
        if state.ended {
            drop(state);
            return parcel.fail(&self.closed());
        }
        state.queue.push_back(parcel);
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
        let mut lane =
            first.map(|connection| Lane { connection, losses: self.party.links.losses(), asked: None });
        let mut chances = LAST_CHANCES;
        loop {
            let result = match lane.take() {
                None => self.open(),
                Some(open) => match self.next_batch() {
                    None => return,
                    // TCP lets a first write to a server that is gone succeed.
                    Some(batch) if open.losses != self.party.links.losses() => {
                        self.requeue(batch);
                        self.open()
                    }
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
        let losses = self.party.links.losses();
        Ok(Lane { connection: self.party.open()?, losses, asked: None })
    }

    fn next_batch(&self) -> Option<Vec<P>> {
        let mut state = self.state.lock();
        loop {
            if !state.queue.is_empty() {
                return Some(take_batch(&mut state.queue));
            }
            if state.stopping {
                state.ended = true;
                return None;
            }
            state = self.work.wait(state);
        }
    }

    fn deliver(&self, batch: Vec<P>, mut lane: Lane) -> RedisResult<Lane> {
        let mut packed = Vec::new();
        let counts: Vec<usize> = batch.iter().map(|parcel| pack(parcel, &mut packed)).collect();
        if let Err(failure) = lane.connection.send_counting(&packed) {
            self.broken(batch, !failure.nothing_left);
            return Err(failure.error.into());
        }
        let replies = counts.iter().map(|count| (0..*count).map(|_| lane.connection.receive()).collect());
        let replies = match replies.collect::<RedisResult<Vec<Vec<Value>>>>() {
            Ok(replies) => replies,
            Err(error) => {
                self.broken(batch, true);
                return Err(error);
            }
        };
        // The server cannot serve now: another may, or this one later.
        let passing = replies.iter().flatten().find_map(passing);
        let settle =
            |(parcel, mut replies): (P, Vec<Value>)| match self.follow(&parcel, &mut replies, &mut lane) {
                Ok(()) => parcel.settle(replies),
                Err(_) => parcel.broken(true),
            };
        let later: Vec<P> = batch.into_iter().zip(replies).filter_map(settle).collect();
        let full = !later.is_empty();
        self.requeue(later);
        match passing {
            Some(error) => return Err(error),
            None if full => {
                self.party.stop.pause(RETRY);
                let why = "Redis had no memory for it, or its slot is moving";
                self.give_up(&Error::new(ErrorKind::Command(Fate::NotSent), why));
            }
            None => {}
        }
        Ok(lane)
    }

    /// Runs what was refused for its key is moving where it was sent with it, and puts the reply in place of the
    /// refusal. Fails if that may have been run and the reply did not come.
    fn follow(&self, parcel: &P, replies: &mut [Value], lane: &mut Lane) -> RedisResult<()> {
        if !replies.iter().any(|reply| asking(reply).is_some()) {
            return Ok(());
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
        result
    }

    /// `None` if the node cannot be reached: nothing was run.
    fn run_asked(&self, command: &Cmd, refusal: &RedisError, lane: &mut Lane) -> RedisResult<Option<Value>> {
        let Some(route) = self.party.asked_route(command, refusal) else { return Ok(None) };
        let mut connection = match lane.asked.take() {
            Some((known, connection)) if known == route => connection,
            _ => match self.party.connector.open(&route) {
                Ok(connection) => connection,
                Err(_) => return Ok(None),
            },
        };
        let reply = connection.run_all(std::slice::from_ref(command))?.pop();
        lane.asked = Some((route, connection));
        Ok(reply)
    }

    fn broken(&self, batch: Vec<P>, written: bool) {
        self.requeue(batch.into_iter().filter_map(|parcel| parcel.broken(written)).collect());
    }

    fn requeue(&self, parcels: Vec<P>) {
        let mut state = self.state.lock();
        parcels.into_iter().rev().for_each(|parcel| state.queue.push_front(parcel));
    }

    /// Ends what has waited for Redis too long.
    fn give_up(&self, error: &Error) {
        let hopeless: Vec<P> = {
            let mut state = self.state.lock();
            let (hopeless, kept): (Vec<P>, Vec<P>) =
                std::mem::take(&mut state.queue).into_iter().partition(Parcel::is_hopeless);
            state.queue = kept.into();
            hopeless
        };
        hopeless.into_iter().for_each(|parcel| parcel.fail(error));
    }

    fn abandon(&self) {
        let rest = {
            let mut state = self.state.lock();
            state.ended = true;
            std::mem::take(&mut state.queue)
        };
        rest.into_iter().for_each(|parcel| parcel.fail(&self.closed()));
    }

    fn closed(&self) -> Error {
        let message = "the connection to the queue was closed before this could be sent";
        self.party.locate(Error::new(ErrorKind::Closed(Fate::NotSent), message))
    }
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

fn asking(reply: &Value) -> Option<RedisError> {
    match reply {
        Value::ServerError(error) if error.code() == "ASK" => Some(error.clone().into()),
        _ => None,
    }
}

fn pack(parcel: &impl Parcel, packed: &mut Vec<u8>) -> usize {
    let mut count = 0;
    parcel.each_command(|command| {
        command.write_packed_command(packed);
        count += 1;
    });
    count
}

fn take_batch<P: Parcel>(queue: &mut VecDeque<P>) -> Vec<P> {
    let (mut bytes, mut count) = (0, 0);
    for parcel in queue.iter().take(BATCH_PARCELS) {
        bytes += parcel.size();
        if count > 0 && bytes > BATCH_BYTES {
            break;
        }
        count += 1;
    }
    queue.drain(..count).collect()
}
