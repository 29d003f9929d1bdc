//! The pipeline to one server: its connection, and the commands that wait for it. It decides which thread may write,
//! which one reads, and what happens without a connection. The writer does the work.

use crate::error::Error;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::pipeline::batch::Batch;
use crate::foundation::redis::pipeline::carried::Carried;
use crate::foundation::redis::pipeline::outgoing::{Broken, Outgoing};
use crate::foundation::runtime::health::Health;
use crate::foundation::runtime::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// The most bytes that a sending thread writes itself. They fit the socket's buffer, so the write cannot block.
const DIRECT_BYTES: usize = 16 << 10;
/// The largest buffer that is kept for reuse.
const KEPT_BYTES: usize = 256 << 10;
/// How long the replies to a lone command may stay unread.
const LEISURE: Duration = Duration::from_millis(1);
/// A pipeline to a node of a cluster is closed after this long without a write.
const UNUSED: Duration = Duration::from_secs(60);

/// A connection and the state that belongs to it.
pub struct PipelineConnection<T: Carried> {
    /// The connection.
    pub connection: Connection,
    /// The state that lasts as long as the connection.
    pub remembered: T::Remembered,
    /// The empty buffer for the bytes of the next batch.
    pub buffer: Vec<u8>,
    /// The number of the connection. It is unique within the endpoint.
    pub number: u64,
    losses: usize,
}

impl<T: Carried> PipelineConnection<T> {
    /// Creates the state of a connection without writes. `losses` is how many connections of the endpoint had broken
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

/// The state of a pipeline's connection.
pub enum ConnectionState<T: Carried> {
    /// It is free, and no reply is unread on it.
    Idle(Box<PipelineConnection<T>>),
    /// A thread uses it.
    InUse,
    /// A batch was written on it, and its replies are to be read.
    Written(Box<PipelineConnection<T>>, Batch<T>),
    /// It broke. These commands were on it, and this is the reason, if there was one.
    Broken(Vec<T>, Option<Error>),
    /// The pipeline has no connection any more, and makes no other.
    Closed,
}

/// The result of offering a command to a pipeline.
pub enum Offered<T: Carried> {
    /// The offering thread is to write it.
    Direct(Box<PipelineConnection<T>>, T),
    /// The offering thread is to write it once the replies to this batch have been read, if they have arrived.
    Unread(Box<PipelineConnection<T>>, Batch<T>, T),
    /// The next batch includes it.
    Queued,
    /// The pipeline is closed.
    Refused(T),
}

/// The next task of the pipeline's thread.
pub enum Work<T: Carried> {
    /// Read the replies to a batch.
    Read(Box<PipelineConnection<T>>, Batch<T>),
    /// Write these commands.
    Write(Box<PipelineConnection<T>>, Vec<T>),
    /// Connect. If there is an error, the connection broke because of it, and these commands were on it. Without one
    /// the connection was dropped because nothing written on it would arrive.
    Connect(Vec<T>, Option<Error>),
    /// End the thread.
    Stop,
}

struct State<T: Carried> {
    connection: ConnectionState<T>,
    queue: Outgoing<T>,
    /// Commands to try again when `due` has come.
    delayed: Vec<T>,
    due: Instant,
    stopping: bool,
    /// Since when replies wait of which the pipeline's thread was not notified.
    unread: Option<Instant>,
    /// Until then more commands are expected to queue up, because some just did.
    busy: Instant,
    /// The pipeline's thread sleeps until it is notified.
    resting: bool,
    /// When a command was last written.
    used: Instant,
}

impl<T: Carried> State<T> {
    fn is_busy(&self) -> bool {
        Instant::now() < self.busy
    }

    /// Whether the pipeline's thread is to read the replies.
    fn is_to_read(&self) -> bool {
        let is_due = |since: Instant| since.elapsed() >= LEISURE;
        self.stopping || !self.queue.is_empty() || self.unread.is_none_or(is_due)
    }
}

/// The pipeline to one server.
pub struct Pipeline<T: Carried> {
    /// The route of the server.
    pub route: Route,
    /// The other connections of the endpoint lead to the same server.
    is_shared: bool,
    state: Mutex<State<T>>,
    work: Condvar,
}

impl<T: Carried> Pipeline<T> {
    /// Creates a pipeline that starts with `connection`. `is_shared` says whether the other connections of the
    /// endpoint lead to the same server.
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

    /// Offers a command. It is written at once if the connection is free, and otherwise with the next batch.
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

    /// Returns the connection to the pipeline, or records its state.
    pub fn put(&self, connection: ConnectionState<T>) {
        let mut state = self.state.lock();
        state.connection = connection;
        state.unread = None;
        state.used = Instant::now();
        drop(state);
        self.work.notify_one();
    }

    /// Returns a connection on which a lone command was written. The thread that brings the next command can read its
    /// replies, which spares waking a thread for them. After [`LEISURE`] the pipeline's thread reads them.
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

    /// Waits for the next task of the pipeline's thread.
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
            // While lone commands come, the thread checks periodically, so that they need not notify it.
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

    /// Queues commands before all others, because there is no connection. Delayed commands need not wait any more.
    pub fn requeue(&self, commands: Vec<T>) {
        let mut state = self.state.lock();
        let delayed = std::mem::take(&mut state.delayed);
        state.queue.push(delayed);
        state.queue.push_first(commands);
    }

    /// Queues the remains of a batch whose connection broke. Returns the commands that must be the cause; see
    /// [`Outgoing::take_back`].
    pub fn take_back(&self, broken: Broken<T>, is_close: bool) -> Vec<T> {
        self.state.lock().queue.take_back(broken, is_close)
    }

    /// Queues commands once `pause` is over. If the pipeline is to stop that makes no sense, and this returns them.
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

    /// Removes the queued commands that `picked` picks and returns them.
    pub fn remove(&self, picked: impl Fn(&T) -> bool) -> Vec<T> {
        let mut state = self.state.lock();
        state.queue.remove(picked)
    }

    /// Closes the pipeline if nothing is queued. Returns whether it did.
    pub fn end_if_idle(&self) -> bool {
        let mut state = self.state.lock();
        if state.queue.is_empty() {
            state.connection = ConnectionState::Closed;
        }
        state.queue.is_empty()
    }

    /// Closes the pipeline. Returns the queued commands.
    pub fn abandon(&self) -> Vec<T> {
        let mut state = self.state.lock();
        state.connection = ConnectionState::Closed;
        state.queue.remove(|_| true)
    }

    /// Lets the pipeline end once every queued command is written.
    pub fn stop(&self) {
        self.state.lock().stopping = true;
        self.work.notify_all();
    }

    /// Whether the pipeline is to end.
    pub fn is_stopping(&self) -> bool {
        self.state.lock().stopping
    }
}
