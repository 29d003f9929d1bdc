//! A connection that reads new entries of a group: asks for them, and reads what Redis says.

use crate::foundation::payload::stream_entry::RawEntry;
use crate::foundation::redis::appetite::Appetite;
use crate::foundation::redis::connection::{Connection, Wait, is_unreadable};
use crate::foundation::redis::group_consumer::consumer::GroupConsumer;
use crate::foundation::runtime::busy_poll::BusyPoll;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::waker::{Heard, Waker};
use redis::{Cmd, RedisResult};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a read waits for an entry before it asks again. Never for ever: servers before Redis 7 do not wake a reader
/// whose key vanishes.
pub const BLOCK: Duration = Duration::from_secs(10);

/// What a read brought.
pub struct Read {
    /// The entries, which are pending under this consumer now.
    pub entries: Vec<RawEntry>,
    count: usize,
}

impl Read {
    /// Whether it brought as many as were asked for: more may be waiting.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.count
    }
}

/// A read that Redis was asked for.
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
    appetite: Arc<Mutex<Appetite>>,
    asked: Option<Asked>,
}

impl GroupSession {
    /// On a connection on which nothing was asked yet. `appetite` outlives it.
    pub fn new(
        consumer: Arc<GroupConsumer>,
        connection: Connection,
        busy_poll: BusyPoll,
        appetite: Arc<Mutex<Appetite>>,
    ) -> Self {
        Self { consumer, connection, busy_poll, appetite, asked: None }
    }

    /// Whether the server has closed the connection while nothing was asked on it.
    pub fn is_gone(&mut self) -> bool {
        self.asked.is_none() && self.connection.is_gone()
    }

    /// What to wait for where reading must not get stuck.
    pub fn awaited(&self) -> Option<BorrowedFd<'_>> {
        self.connection.awaited()
    }

    /// Waits for an entry, or for `waker`, at most until `until`; `None` where that is not possible.
    pub fn wait(&mut self, waker: &Waker, until: Instant) -> io::Result<Option<Heard>> {
        let Some(socket) = self.connection.awaited() else { return Ok(None) };
        waker.wait_looking(&mut self.busy_poll, socket, until).map(Some)
    }

    /// Whether a read was asked for that nobody has waited for to its end.
    pub fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// When an answer of Redis's is overdue.
    pub fn overdue(&self) -> Instant {
        let asked = self.asked.map_or_else(Instant::now, |asked| asked.at);
        asked + BLOCK + self.consumer.endpoint.connector.read_timeout()
    }

    /// Unless it is asked already, asks Redis for up to `count` entries.
    pub fn ask(&mut self, count: usize) -> RedisResult<()> {
        if self.asked.is_none() {
            let count = count.min(self.appetite.lock().count(Instant::now()));
            self.connection.write_all(&[command(&self.consumer, count)])?;
            self.asked = Some(Asked { count, at: Instant::now() });
        }
        Ok(())
    }

    /// Reads what was asked for, and waits for it: without getting stuck, if `wait` is given (see
    /// [`Connection::receive_entries`]).
    pub fn receive(&mut self, wait: Option<Wait<'_>>) -> RedisResult<Read> {
        let count = self.asked.take().map_or(1, |asked| asked.count);
        let entries = self.connection.receive_entries(wait, self.consumer.room);
        match &entries {
            Ok(entries) => self.appetite.lock().ate(count, entries.len()),
            // What was delivered is fetched by its ids.
            Err(error) if is_unreadable(error) => self.appetite.lock().choked(count, Instant::now()),
            Err(_) => {}
        }
        let entries = entries?;
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
