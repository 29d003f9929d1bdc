//! One connection the sender writes on, and what waits for it. Who may write, who reads, and when there is none, is
//! decided here; the work is done by the sender.

use crate::error::Error;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::pipeline::outgoing::{Broken, Outbound, Outgoing};
use crate::foundation::runtime::sync::{Condvar, Mutex};
use crate::request_reply::membership::member::Member;
use crate::request_reply::sending::batch::{Batch, Expiries};
use crate::request_reply::sending::command::Command;
use std::time::{Duration, Instant};

/// The most bytes a bringing thread writes itself: they fit the socket's buffer, so the write cannot block.
const DIRECT_BYTES: usize = 16 << 10;
/// The largest buffer that is kept for later.
const KEPT_BYTES: usize = 256 << 10;
/// How long replies to a lone command may stay unread.
const LEISURE: Duration = Duration::from_millis(1);
/// A lane to a node of a cluster that nothing was written on for this long is given up.
const UNUSED: Duration = Duration::from_secs(60);

/// A connection, and what belongs to it.
pub struct Wire {
    /// The connection.
    pub connection: Connection,
    /// The inboxes whose expiry was renewed on it.
    pub expiries: Expiries,
    /// For the bytes of the next batch; empty.
    pub buffer: Vec<u8>,
    /// Its number: no other connection of this instance's sender has it.
    pub number: u64,
    losses: usize,
}

impl Wire {
    /// Nothing was written on it yet.
    pub fn new(connection: Connection, member: &Member) -> Box<Self> {
        let (expiries, losses) = (Expiries::new(), member.links.losses());
        Box::new(Self { connection, expiries, buffer: Vec::new(), number: member.links.next_wire(), losses })
    }

    /// Keeps a buffer for the next batch, unless it is a large one.
    pub fn keep(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= KEPT_BYTES {
            buffer.clear();
            self.buffer = buffer;
        }
    }
}

/// Where the connection of a lane is.
pub enum Hold {
    /// Free, and nothing is unread on it.
    Parked(Box<Wire>),
    /// Some thread has it.
    Out,
    /// A batch was written on it; its replies are to be read.
    Written(Box<Wire>, Batch),
    /// There is none (any more); these commands were on it, and this is why, if there was one.
    Missing(Vec<Command>, Option<Error>),
    /// There will be no other.
    Ended,
}

/// What became of a command that was offered to a lane.
pub enum Offered {
    /// It is to be written by who brought it.
    Direct(Box<Wire>, Command),
    /// As [`Offered::Direct`], once the replies to this batch have been read: if they are here.
    Unread(Box<Wire>, Batch, Command),
    /// It goes out with the next batch.
    Queued,
    /// The lane has ended.
    Refused(Command),
}

/// What the lane's thread is to do next.
pub enum Work {
    /// Read the replies to a batch.
    Read(Box<Wire>, Batch),
    /// Write these.
    Write(Box<Wire>, Vec<Command>),
    /// Connect; these commands were on a connection that broke because of the error.
    Connect(Vec<Command>, Option<Error>),
    /// Connect: another connection broke, so this one was not to be trusted.
    Replace,
    /// End.
    Stop,
}

struct State {
    hold: Hold,
    queue: Outgoing<Command>,
    /// To be tried again when `due`.
    delayed: Vec<Command>,
    due: Instant,
    stopping: bool,
    /// Since when nobody was told of replies that are to be read, lately.
    unread: Option<Instant>,
    /// Till when commands are expected to queue up, as some just did.
    busy: Instant,
    /// The lane's thread sleeps until it is told.
    resting: bool,
    /// When something was last written.
    used: Instant,
}

impl State {
    fn is_busy(&self) -> bool {
        Instant::now() < self.busy
    }

    /// Whether the lane's thread is to read what was written.
    fn is_to_read(&self) -> bool {
        let is_due = |since: Instant| since.elapsed() >= LEISURE;
        self.stopping || !self.queue.is_empty() || self.unread.is_none_or(is_due)
    }
}

/// The way to one server.
pub struct Lane {
    /// Which server.
    pub route: Route,
    state: Mutex<State>,
    work: Condvar,
}

impl Lane {
    /// A lane that starts with `hold`.
    pub fn new(route: Route, hold: Hold) -> Self {
        let now = Instant::now();
        let state = State {
            hold,
            queue: Outgoing::default(),
            delayed: Vec::new(),
            due: now,
            stopping: false,
            unread: None,
            busy: now,
            resting: false,
            used: now,
        };
        Self { route, state: Mutex::new(state), work: Condvar::new() }
    }

    /// Brings a command: it is to be written at once if the connection is free, else with the next batch.
    pub fn offer(&self, command: Command, member: &Member) -> Offered {
        let mut state = self.state.lock();
        if matches!(state.hold, Hold::Ended) {
            return Offered::Refused(command);
        }
        let small = state.queue.is_empty() && command.size() <= DIRECT_BYTES;
        let direct = small
            && match &state.hold {
                Hold::Parked(wire) => self.trusts(wire, member),
                Hold::Written(wire, _) => {
                    state.unread.is_some() && !state.is_busy() && self.trusts(wire, member)
                }
                _ => false,
            };
        let hold = if direct { std::mem::replace(&mut state.hold, Hold::Out) } else { Hold::Out };
        match hold {
            Hold::Parked(wire) => Offered::Direct(wire, command),
            Hold::Written(wire, batch) => Offered::Unread(wire, batch, command),
            _ => {
                state.queue.push([command]);
                state.busy = Instant::now() + LEISURE;
                drop(state);
                self.work.notify_one();
                Offered::Queued
            }
        }
    }

    /// Whether no other connection broke since this one was made. In a cluster others go to other nodes, and tell
    /// nothing about this one.
    pub fn trusts(&self, wire: &Wire, member: &Member) -> bool {
        self.route != Route::Server || wire.losses == member.links.losses()
    }

    /// Puts the connection back, or tells what became of it.
    pub fn put(&self, hold: Hold) {
        let mut state = self.state.lock();
        state.hold = hold;
        state.unread = None;
        state.used = Instant::now();
        drop(state);
        self.work.notify_one();
    }

    /// As [`Lane::put`] of a connection on which a lone command was written: its replies can wait for whoever brings
    /// the next one, for that spares waking a thread for them. After [`LEISURE`] the lane's thread reads them.
    pub fn put_unread(&self, wire: Box<Wire>, batch: Batch) {
        let mut state = self.state.lock();
        let lone = state.queue.is_empty() && !state.is_busy() && wire.connection.awaited().is_some();
        state.hold = Hold::Written(wire, batch);
        state.used = Instant::now();
        state.unread = lone.then_some(state.used);
        let tell = !lone || state.resting;
        drop(state);
        if tell {
            self.work.notify_one();
        }
    }

    /// Waits for something to do.
    pub fn next_work(&self, member: &Member) -> Work {
        let mut state = self.state.lock();
        loop {
            if state.due <= Instant::now() || state.stopping {
                let delayed = std::mem::take(&mut state.delayed);
                state.queue.push(delayed);
            }
            let is_idle = state.queue.is_empty() && state.delayed.is_empty();
            let ends =
                is_idle && (state.stopping || (self.is_of_cluster() && state.used.elapsed() >= UNUSED));
            match std::mem::replace(&mut state.hold, Hold::Out) {
                Hold::Written(wire, batch) if state.is_to_read() => return Work::Read(wire, batch),
                Hold::Missing(commands, error) => return Work::Connect(commands, error),
                Hold::Parked(wire) if !state.queue.is_empty() => {
                    if !self.trusts(&wire, member) {
                        return Work::Replace;
                    }
                    return Work::Write(wire, state.queue.take_batch());
                }
                Hold::Ended => {
                    state.hold = Hold::Ended;
                    return Work::Stop;
                }
                Hold::Parked(_) if ends => {
                    state.hold = Hold::Ended;
                    return Work::Stop;
                }
                other => state.hold = other,
            }
            // While lone commands come, it looks now and then, so that they need not tell it.
            if !matches!(state.hold, Hold::Written(..)) {
                state.unread = state.unread.filter(|since| since.elapsed() < LEISURE);
            }
            state.resting = state.unread.is_none();
            let until = [
                (!state.delayed.is_empty()).then_some(state.due),
                self.is_of_cluster().then(|| state.used + UNUSED),
                state.unread.map(|since| since + LEISURE),
            ];
            state = match until.into_iter().flatten().min() {
                Some(until) => self.work.wait_until(state, until),
                None => self.work.wait(state),
            };
            state.resting = false;
        }
    }

    fn is_of_cluster(&self) -> bool {
        self.route != Route::Server
    }

    /// Queues commands behind the others.
    pub fn queue(&self, commands: Vec<Command>) {
        if commands.is_empty() {
            return;
        }
        self.state.lock().queue.push(commands);
        self.work.notify_one();
    }

    /// Queues commands before all others: there is no connection. Those that were to wait need not any more.
    pub fn requeue(&self, commands: Vec<Command>) {
        let mut state = self.state.lock();
        let delayed = std::mem::take(&mut state.delayed);
        state.queue.push(delayed);
        state.queue.push_first(commands);
    }

    /// Queues what is left of a batch whose connection broke. Returns what must be the cause; see
    /// [`Outgoing::take_back`].
    pub fn take_back(&self, broken: Broken<Command>, is_close: bool) -> Vec<Command> {
        self.state.lock().queue.take_back(broken, is_close)
    }

    /// Queues commands once `pause` is over. Returns those that it makes no sense for: the lane is to stop.
    pub fn delay(&self, commands: Vec<Command>, pause: Duration) -> Vec<Command> {
        let mut state = self.state.lock();
        if state.stopping || commands.is_empty() {
            return commands;
        }
        let due = Instant::now() + pause;
        state.due = if state.delayed.is_empty() { due } else { due.min(state.due) };
        state.delayed.extend(commands);
        drop(state);
        self.work.notify_one();
        Vec::new()
    }

    /// Takes out the queued commands that `picked` picks.
    pub fn remove(&self, picked: impl Fn(&Command) -> bool) -> Vec<Command> {
        let mut state = self.state.lock();
        state.queue.remove(picked)
    }

    /// Ends the lane if nothing is queued.
    pub fn end_if_idle(&self) -> bool {
        let mut state = self.state.lock();
        if state.queue.is_empty() {
            state.hold = Hold::Ended;
        }
        state.queue.is_empty()
    }

    /// Ends the lane. Returns what was queued.
    pub fn abandon(&self) -> Vec<Command> {
        let mut state = self.state.lock();
        state.hold = Hold::Ended;
        state.queue.remove(|_| true)
    }

    /// Lets the lane end once everything queued is out.
    pub fn stop(&self) {
        self.state.lock().stopping = true;
        self.work.notify_all();
    }

    /// Whether it is to end.
    pub fn is_stopping(&self) -> bool {
        self.state.lock().stopping
    }
}
