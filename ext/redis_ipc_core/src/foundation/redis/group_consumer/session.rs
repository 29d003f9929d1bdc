//! A connection that reads new entries of a group.

use crate::foundation::payload::stream_entry::RawEntry;
use crate::foundation::redis::connection::{Connection, Wait};
use crate::foundation::redis::group_consumer::consumer::GroupConsumer;
use crate::foundation::redis::read_size::ReadSize;
use crate::foundation::redis::rights;
use crate::foundation::runtime::busy_poll::BusyPoll;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::waker::{WaitEnd, Waker};
use redis::{Cmd, RedisResult};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a read waits for an entry before it is repeated. It never waits for ever, because servers before Redis 7
/// do not wake a reader whose key vanishes.
pub const BLOCK: Duration = Duration::from_secs(10);

/// The result of a read.
pub struct Read {
    /// The entries, which are now pending under this consumer.
    pub entries: Vec<RawEntry>,
    count: usize,
}

impl Read {
    /// Whether it returned as many entries as were requested. Then more may be waiting.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.count
    }
}

/// A read whose reply has not been received.
#[derive(Debug, Clone, Copy)]
struct Asked {
    count: usize,
    at: Instant,
}

/// The reader's connection.
pub struct GroupSession {
    consumer: Arc<GroupConsumer>,
    connection: Connection,
    busy_poll: BusyPoll,
    read_size: Arc<Mutex<ReadSize>>,
    asked: Option<Asked>,
}

impl GroupSession {
    /// Creates a session on a connection without an open read. `read_size` outlives it.
    pub fn new(
        consumer: Arc<GroupConsumer>,
        connection: Connection,
        busy_poll: BusyPoll,
        read_size: Arc<Mutex<ReadSize>>,
    ) -> Self {
        Self { consumer, connection, busy_poll, read_size, asked: None }
    }

    /// Whether the server has closed the connection while no read was open.
    pub fn is_gone(&mut self) -> bool {
        self.asked.is_none() && self.connection.is_gone()
    }

    /// Returns the descriptor to wait for where a read must not block.
    pub fn awaited(&self) -> Option<BorrowedFd<'_>> {
        self.connection.awaited()
    }

    /// Waits for an entry or for `waker`, at most until `until`. Returns `None` if that is not possible.
    pub fn wait(&mut self, waker: &Waker, until: Instant) -> io::Result<Option<WaitEnd>> {
        let Some(socket) = self.connection.awaited() else { return Ok(None) };
        waker.wait_polling(&mut self.busy_poll, socket, until).map(Some)
    }

    /// Whether a read was requested whose reply has not been received.
    pub fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Returns when a reply of Redis is overdue.
    pub fn overdue(&self) -> Instant {
        let asked = self.asked.map_or_else(Instant::now, |asked| asked.at);
        asked + BLOCK + self.consumer.endpoint.connector.read_timeout()
    }

    /// Requests up to `count` entries, unless a read is open already.
    pub fn ask(&mut self, count: usize) -> RedisResult<()> {
        if self.asked.is_none() {
            let count = count.min(self.read_size.lock().count(Instant::now()));
            self.connection.write_all(&[command(&self.consumer, count)])?;
            self.asked = Some(Asked { count, at: Instant::now() });
        }
        Ok(())
    }

    /// Receives the requested entries, and waits for them. With `wait` it never blocks in a read (see
    /// [`Connection::receive_entries`]).
    pub fn receive(&mut self, wait: Option<Wait<'_>>) -> RedisResult<Read> {
        let count = self.asked.take().map_or(1, |asked| asked.count);
        let entries = self.connection.receive_entries(wait, self.consumer.room);
        // After a broken read, the entries that were delivered are fetched by their ids instead.
        self.read_size.lock().note(count, &entries);
        let named = |error| rights::with_rule(&error, &self.consumer.stream, "+xreadgroup");
        let entries = entries.map_err(named)?;
        if entries.len() > 1 {
            self.busy_poll.note_crowd();
        }
        Ok(Read { entries, count })
    }
}

fn command(consumer: &GroupConsumer, count: usize) -> Cmd {
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP").arg(&consumer.group).arg(&consumer.name);
    read.arg("COUNT").arg(count).arg("BLOCK").arg(BLOCK.as_millis() as u64);
    read.arg("STREAMS").arg(&consumer.stream).arg(">");
    read
}
