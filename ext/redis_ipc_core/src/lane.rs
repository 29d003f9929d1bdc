//! One connection the sender writes on, and what waits for it. Who may write, who reads, and when there is none, is
//! decided here; the work is done by the sender.

use crate::batch::{Batch, Expiries};
use crate::cluster::Route;
use crate::command::Command;
use crate::connection::Connection;
use crate::error::Error;
use crate::member::Member;
use crate::sync::{Condvar, Mutex};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The most bytes written before their replies are read, and the most a bringing thread writes itself: it fits
/// the socket's buffer, so the write cannot block.
const BATCH_BYTES: usize = 1 << 20;
const DIRECT_BYTES: usize = 16 << 10;
/// The largest buffer that is kept for later.
const KEPT_BYTES: usize = 256 << 10;
/// The most commands in a batch.
const BATCH_COMMANDS: usize = 512;
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
    losses: usize,
}

impl Wire {
    /// Nothing was written on it yet.
    pub fn new(connection: Connection, member: &Member) -> Box<Self> {
        let (expiries, losses) = (Expiries::new(), member.links.losses());
        Box::new(Self { connection, expiries, buffer: Vec::new(), losses })
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
    /// A thread wrote a batch on it; its replies are to be read.
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
    queue: VecDeque<Command>,
    /// To be tried again when `due`.
    delayed: Vec<Command>,
    due: Instant,
    stopping: bool,
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
        let state =
            State { hold, queue: VecDeque::new(), delayed: Vec::new(), due: Instant::now(), stopping: false };
        Self { route, state: Mutex::new(state), work: Condvar::new() }
    }

    /// Brings a command: it is to be written at once if the connection is free, else with the next batch.
    pub fn offer(&self, command: Command, member: &Member) -> Offered {
        let mut state = self.state.lock();
        if matches!(state.hold, Hold::Ended) {
            return Offered::Refused(command);
        }
        let small = state.queue.is_empty() && command.size() <= DIRECT_BYTES;
        let direct = small && matches!(&state.hold, Hold::Parked(wire) if self.trusts(wire, member));
        let hold = if direct { std::mem::replace(&mut state.hold, Hold::Out) } else { Hold::Out };
        let Hold::Parked(wire) = hold else {
            state.queue.push_back(command);
            drop(state);
            self.work.notify_one();
            return Offered::Queued;
        };
        Offered::Direct(wire, command)
    }

    /// Whether no other connection broke since this one was made. In a cluster others go to other nodes, and tell
    /// nothing about this one.
    fn trusts(&self, wire: &Wire, member: &Member) -> bool {
        self.route != Route::Server || wire.losses == member.links.losses()
    }

    /// Puts the connection back, or tells what became of it.
    pub fn put(&self, hold: Hold) {
        self.state.lock().hold = hold;
        self.work.notify_one();
    }

    /// Waits for something to do.
    pub fn next_work(&self, member: &Member) -> Work {
        let unused = Instant::now() + UNUSED;
        let mut state = self.state.lock();
        loop {
            if state.due <= Instant::now() || state.stopping {
                let delayed = std::mem::take(&mut state.delayed);
                state.queue.extend(delayed);
            }
            let is_idle = state.queue.is_empty() && state.delayed.is_empty();
            let ends = is_idle && (state.stopping || (self.is_of_cluster() && unused <= Instant::now()));
            match std::mem::replace(&mut state.hold, Hold::Out) {
                Hold::Written(wire, batch) => return Work::Read(wire, batch),
                Hold::Missing(commands, error) => return Work::Connect(commands, error),
                Hold::Parked(wire) if !state.queue.is_empty() => {
                    if !self.trusts(&wire, member) {
                        return Work::Replace;
                    }
                    return Work::Write(wire, take_batch(&mut state.queue));
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
            state = match (state.delayed.is_empty(), self.is_of_cluster()) {
                (false, _) => {
                    let due = state.due;
                    self.work.wait_until(state, due)
                }
                (true, true) => self.work.wait_until(state, unused),
                (true, false) => self.work.wait(state),
            };
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
        self.state.lock().queue.extend(commands);
        self.work.notify_one();
    }

    /// Queues commands before all others: there is no connection. Those that were to wait need not any more.
    pub fn requeue(&self, commands: Vec<Command>) {
        let mut state = self.state.lock();
        let delayed = std::mem::take(&mut state.delayed);
        state.queue.extend(delayed);
        for command in commands.into_iter().rev() {
            state.queue.push_front(command);
        }
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
        let all = std::mem::take(&mut state.queue);
        let (removed, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(picked);
        state.queue = kept.into();
        removed
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
        state.queue.drain(..).collect()
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

fn take_batch(queue: &mut VecDeque<Command>) -> Vec<Command> {
    let mut bytes = 0;
    let mut count = 0;
    for command in queue.iter().take(BATCH_COMMANDS) {
        bytes += command.size();
        if count > 0 && bytes > BATCH_BYTES {
            break;
        }
        count += 1;
    }
    queue.drain(..count).collect()
}
