//! The pipeline to one server: its connection, and what waits for it. Which thread may write, which one reads, and what
//! is done when there is no connection, is decided here. The work is done by the writer.

use crate::error::Error;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::health::Health;
use crate::foundation::redis::pipeline::batch::Batch;
use crate::foundation::redis::pipeline::carried::Carried;
use crate::foundation::redis::pipeline::outgoing::{Broken, Outgoing};
use crate::foundation::runtime::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// The most bytes that the thread that brings them writes itself: they fit the socket's buffer, so the write cannot
/// block.
const DIRECT_BYTES: usize = 16 << 10;
/// The largest buffer that is kept for later.
const KEPT_BYTES: usize = 256 << 10;
/// How long replies to a lone command may stay unread.
const LEISURE: Duration = Duration::from_millis(1);
/// A pipeline to a node of a cluster that nothing was written on for this long is given up.
const UNUSED: Duration = Duration::from_secs(60);

/// A connection, and what belongs to it.
pub struct PipelineConnection<T: Carried> {
    /// The connection.
    pub connection: Connection,
    /// What is remembered for as long as it stands.
    pub remembered: T::Remembered,
    /// For the bytes of the next batch; empty.
    pub buffer: Vec<u8>,
    /// Its number: no other connection of the endpoint that something is written on has it.
    pub number: u64,
    losses: usize,
}

impl<T: Carried> PipelineConnection<T> {
    /// A connection on which nothing was written yet. `losses` is how many connections of the endpoint had broken
    /// before it was made.
    pub fn new(connection: Connection, health: &Health, losses: usize) -> Box<Self> {
        let (remembered, number) = (T::Remembered::default(), health.next_number());
        Box::new(Self { connection, remembered, buffer: Vec::new(), number, losses })
    }

    /// Keeps a buffer for the next batch, unless it is a large one.
    pub fn keep(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= KEPT_BYTES {
            buffer.clear();
            self.buffer = buffer;
        }
    }
}

/// What the connection of a pipeline is doing.
pub enum ConnectionState<T: Carried> {
    /// Free, and nothing is unread on it.
    Idle(Box<PipelineConnection<T>>),
    /// Some thread has it.
    InUse,
    /// A batch was written on it; its replies are to be read.
    Written(Box<PipelineConnection<T>>, Batch<T>),
    /// There is none (any more); these commands were on it, and this is why, if there was one.
    Broken(Vec<T>, Option<Error>),
    /// There will be no other.
    Closed,
}

/// What became of a command that was offered to a pipeline.
pub enum Offered<T: Carried> {
    /// It is to be written by who brought it.
    Direct(Box<PipelineConnection<T>>, T),
    /// As [`Offered::Direct`], once the replies to this batch have been read: if they are here.
    Unread(Box<PipelineConnection<T>>, Batch<T>, T),
    /// It goes out with the next batch.
    Queued,
    /// The pipeline has ended.
    Refused(T),
}

/// What the pipeline's thread is to do next.
pub enum Work<T: Carried> {
    /// Read the replies to a batch.
    Read(Box<PipelineConnection<T>>, Batch<T>),
    /// Write these.
    Write(Box<PipelineConnection<T>>, Vec<T>),
    /// Connect. If there is an error, the connection broke because of it, and these commands were on it; else it was
    /// given up, since nothing that is written on it would arrive.
    Connect(Vec<T>, Option<Error>),
    /// End.
    Stop,
}

struct State<T: Carried> {
    connection: ConnectionState<T>,
    queue: Outgoing<T>,
    /// To be tried again when `due`.
    delayed: Vec<T>,
    due: Instant,
    stopping: bool,
    /// Since when nobody was told of replies that are to be read, lately.
    unread: Option<Instant>,
    /// Till when commands are expected to queue up, as some just did.
    busy: Instant,
    /// The pipeline's thread sleeps until it is told.
    resting: bool,
    /// When something was last written.
    used: Instant,
}

impl<T: Carried> State<T> {
    fn is_busy(&self) -> bool {
        Instant::now() < self.busy
    }

    /// Whether the pipeline's thread is to read what was written.
    fn is_to_read(&self) -> bool {
        let is_due = |since: Instant| since.elapsed() >= LEISURE;
        self.stopping || !self.queue.is_empty() || self.unread.is_none_or(is_due)
    }
}

/// The way to one server.
pub struct Pipeline<T: Carried> {
    /// Which server.
    pub route: Route,
    /// The other connections of the endpoint lead there, too.
    is_shared: bool,
    state: Mutex<State<T>>,
    work: Condvar,
}

impl<T: Carried> Pipeline<T> {
    /// A pipeline that starts with `connection`. `is_shared` tells whether the other connections of the endpoint lead
    /// to the same server.
    pub fn new(route: Route, is_shared: bool, connection: ConnectionState<T>) -> Self {
        let now = Instant::now();
        let state = State {
            connection,
            queue: Outgoing::default(),
            delayed: Vec::new(),
            due: now,
            stopping: false,
            unread: None,
            busy: now,
            resting: false,
            used: now,
        };
        Self { route, is_shared, state: Mutex::new(state), work: Condvar::new() }
    }

    /// Brings a command: it is to be written at once if the connection is free, else with the next batch.
    pub fn offer(&self, command: T, health: &Health) -> Offered<T> {
        let mut state = self.state.lock();
        if matches!(state.connection, ConnectionState::Closed) {
            return Offered::Refused(command);
        }
        let small = state.queue.is_empty() && command.size() <= DIRECT_BYTES;
        let direct = small
            && match &state.connection {
                ConnectionState::Idle(open) => self.trusts(open, health),
                ConnectionState::Written(open, _) => {
                    state.unread.is_some() && !state.is_busy() && self.trusts(open, health)
                }
                _ => false,
            };
        let connection = if direct {
            std::mem::replace(&mut state.connection, ConnectionState::InUse)
        } else {
            ConnectionState::InUse
        };
        match connection {
            ConnectionState::Idle(open) => Offered::Direct(open, command),
            ConnectionState::Written(open, batch) => Offered::Unread(open, batch, command),
            _ => {
                state.queue.push([command]);
                state.busy = Instant::now() + LEISURE;
                drop(state);
                self.work.notify_one();
                Offered::Queued
            }
        }
    }

    /// Whether no other connection to the same server broke since this one was made.
    pub fn trusts(&self, open: &PipelineConnection<T>, health: &Health) -> bool {
        !self.is_shared || open.losses == health.losses()
    }

    /// Puts the connection back, or tells what became of it.
    pub fn put(&self, connection: ConnectionState<T>) {
        let mut state = self.state.lock();
        state.connection = connection;
        state.unread = None;
        state.used = Instant::now();
        drop(state);
        self.work.notify_one();
    }

    /// As [`Pipeline::put`] of a connection on which a lone command was written. Its replies can wait for the thread
    /// that brings the next one, which spares waking a thread for them. After [`LEISURE`] the pipeline's thread reads
    /// them.
    pub fn put_unread(&self, open: Box<PipelineConnection<T>>, batch: Batch<T>) {
        let mut state = self.state.lock();
        let lone = state.queue.is_empty() && !state.is_busy() && open.connection.awaited().is_some();
        state.connection = ConnectionState::Written(open, batch);
        state.used = Instant::now();
        state.unread = lone.then_some(state.used);
        let tell = !lone || state.resting;
        drop(state);
        if tell {
            self.work.notify_one();
        }
    }

    /// Waits for something to do.
    pub fn next_work(&self, health: &Health) -> Work<T> {
        let mut state = self.state.lock();
        loop {
            if state.due <= Instant::now() || state.stopping {
                let delayed = std::mem::take(&mut state.delayed);
                state.queue.push(delayed);
            }
            let is_idle = state.queue.is_empty() && state.delayed.is_empty();
            let ends =
                is_idle && (state.stopping || (self.is_of_cluster() && state.used.elapsed() >= UNUSED));
            match std::mem::replace(&mut state.connection, ConnectionState::InUse) {
                ConnectionState::Written(open, batch) if state.is_to_read() => {
                    return Work::Read(open, batch);
                }
                ConnectionState::Broken(commands, error) => return Work::Connect(commands, error),
                ConnectionState::Idle(open) if !state.queue.is_empty() => {
                    if !self.trusts(&open, health) {
                        return Work::Connect(Vec::new(), None);
                    }
                    return Work::Write(open, state.queue.take_batch());
                }
                ConnectionState::Closed => {
                    state.connection = ConnectionState::Closed;
                    return Work::Stop;
                }
                ConnectionState::Idle(_) if ends => {
                    state.connection = ConnectionState::Closed;
                    return Work::Stop;
                }
                other => state.connection = other,
            }
            // While lone commands come, it looks now and then, so that they need not tell it.
            if !matches!(state.connection, ConnectionState::Written(..)) {
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
    pub fn queue(&self, commands: Vec<T>) {
        if commands.is_empty() {
            return;
        }
        self.state.lock().queue.push(commands);
        self.work.notify_one();
    }

    /// Queues commands before all others: there is no connection. Those that were to wait need not any more.
    pub fn requeue(&self, commands: Vec<T>) {
        let mut state = self.state.lock();
        let delayed = std::mem::take(&mut state.delayed);
        state.queue.push(delayed);
        state.queue.push_first(commands);
    }

    /// Queues what is left of a batch whose connection broke. Returns what must be the cause; see
    /// [`Outgoing::take_back`].
    pub fn take_back(&self, broken: Broken<T>, is_close: bool) -> Vec<T> {
        self.state.lock().queue.take_back(broken, is_close)
    }

    /// Queues commands once `pause` is over. Returns those that it makes no sense for: the pipeline is to stop.
    pub fn delay(&self, commands: Vec<T>, pause: Duration) -> Vec<T> {
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
    pub fn remove(&self, picked: impl Fn(&T) -> bool) -> Vec<T> {
        let mut state = self.state.lock();
        state.queue.remove(picked)
    }

    /// Ends the pipeline if nothing is queued.
    pub fn end_if_idle(&self) -> bool {
        let mut state = self.state.lock();
        if state.queue.is_empty() {
            state.connection = ConnectionState::Closed;
        }
        state.queue.is_empty()
    }

    /// Ends the pipeline. Returns what was queued.
    pub fn abandon(&self) -> Vec<T> {
        let mut state = self.state.lock();
        state.connection = ConnectionState::Closed;
        state.queue.remove(|_| true)
    }

    /// Lets the pipeline end once everything queued is out.
    pub fn stop(&self) {
        self.state.lock().stopping = true;
        self.work.notify_all();
    }

    /// Whether it is to end.
    pub fn is_stopping(&self) -> bool {
        self.state.lock().stopping
    }
}
