//! A connection that reads the inbox: asks for requests, and reads what Redis says.

use crate::connection::Connection;
use crate::entry::RawEntry;
use crate::member::Member;
use crate::stream_reply::{self, unexpected};
use redis::{RedisResult, Value};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// How long a read waits for a request before it asks again. Never for ever: servers before Redis 7 do not wake
/// a reader whose key vanishes.
pub const BLOCK: Duration = Duration::from_secs(10);

/// What a read brought.
pub struct Read {
    /// The entries, which are pending under this member now.
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
pub struct InboxSession {
    connection: Connection,
    asked: Option<Asked>,
}

impl InboxSession {
    /// On a connection on which nothing was asked yet.
    pub fn new(connection: Connection) -> Self {
        Self { connection, asked: None }
    }

    /// What to wait for where reading must not get stuck.
    pub fn awaited(&self) -> Option<BorrowedFd<'_>> {
        self.connection.awaited()
    }

    /// When an answer of Redis's is overdue.
    pub fn overdue(&self, member: &Member) -> Instant {
        let asked = self.asked.map_or_else(Instant::now, |asked| asked.at);
        asked + BLOCK + member.options.redis.read_timeout
    }

    /// Unless it is asked already, asks Redis for up to `count` requests.
    pub fn ask(&mut self, member: &Member, count: usize) -> RedisResult<()> {
        if self.asked.is_none() {
            self.connection.write_all(&[command(member, count)])?;
            self.asked = Some(Asked { count, at: Instant::now() });
        }
        Ok(())
    }

    /// Reads what was asked for; waits for it.
    pub fn receive(&mut self) -> RedisResult<Read> {
        let Some(asked) = self.asked.take() else { return Ok(Read { entries: Vec::new(), count: 1 }) };
        let replies = self.connection.read_all(1)?;
        take_in(asked, replies)
    }

    /// As [`InboxSession::receive`], with `wait` called before anything is read from the socket.
    pub fn receive_by(&mut self, wait: &dyn Fn(BorrowedFd<'_>) -> io::Result<()>) -> RedisResult<Read> {
        let Some(asked) = self.asked.take() else { return Ok(Read { entries: Vec::new(), count: 1 }) };
        let replies = self.connection.read_all_by(1, wait)?;
        take_in(asked, replies)
    }
}

fn take_in(asked: Asked, mut replies: Vec<Value>) -> RedisResult<Read> {
    let reply = replies.pop().map(stream_reply::refused).transpose()?;
    let entries = reply.and_then(stream_reply::read).ok_or_else(unexpected)?;
    Ok(Read { entries, count: asked.count })
}

/// Reads new entries of the inbox as this member's consumer.
pub fn read(connection: &mut Connection, member: &Member, count: usize) -> RedisResult<Vec<RawEntry>> {
    stream_reply::read(connection.run(&command(member, count))?).ok_or_else(unexpected)
}

fn command(member: &Member, count: usize) -> redis::Cmd {
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP").arg(&member.group).arg(&member.consumer);
    read.arg("COUNT").arg(count).arg("BLOCK").arg(BLOCK.as_millis() as u64);
    read.arg("STREAMS").arg(&member.inbox).arg(">");
    read
}
