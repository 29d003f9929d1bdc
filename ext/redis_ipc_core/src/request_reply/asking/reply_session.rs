//! A connection that reads the reply stream, and its position in the stream.

use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::client_name::Purpose;
use crate::foundation::redis::connection::{Connection, Wait, is_unreadable};
use crate::foundation::redis::read_size::ReadSize;
use crate::foundation::redis::resp::replies::{self, refused};
use crate::foundation::redis::rights;
use crate::foundation::runtime::busy_poll::BusyPoll;
use crate::foundation::runtime::waker::{WaitEnd, Waker};
use crate::request_reply::membership::reply_stream::ReplyStream;
use redis::RedisResult;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

const BLOCK: Duration = Duration::from_secs(10);
const BLOCK_IN_CLUSTER: Duration = Duration::from_secs(2);
/// The most answers in one read.
const COUNT: usize = 512;
/// The consumer group that is used to skip an unreadable answer.
const SKIP_GROUP: &str = "skip";
/// The number of read answers after which they are trimmed.
const TRIM_COUNT: usize = 128;
/// The bytes of read answers after which they are trimmed.
const TRIM_BYTES: usize = 1 << 20;
/// The longest time until read answers are trimmed.
const TRIM_INTERVAL: Duration = Duration::from_secs(1);

/// Returns how long a read waits for an answer before it is repeated. In a cluster that is short: a reply stream that
/// moves vanishes from its old node before that node redirects its readers.
pub fn block(replies: &ReplyStream) -> Duration {
    if replies.connector().is_cluster() { BLOCK_IN_CLUSTER } else { BLOCK }
}

/// The reader's position, and the answers that were read and not trimmed yet.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    /// The reply stream that this position belongs to, as [`ReplyStream::times_made`] counts them.
    made: usize,
    last: StreamId,
    untrimmed: usize,
    bytes: usize,
    trimmed: Instant,
    read_size: ReadSize,
    /// The next answer breaks every connection that reads it.
    is_stuck: bool,
}

impl Position {
    /// Starts at the beginning of the stream.
    pub fn new(replies: &ReplyStream) -> Self {
        let made = replies.times_made();
        Self {
            made,
            last: StreamId::default(),
            untrimmed: 0,
            bytes: 0,
            trimmed: Instant::now(),
            read_size: ReadSize::new(COUNT),
            is_stuck: false,
        }
    }

    /// Returns to the beginning if the stream was made anew, because Redis's clock may be behind the last id.
    pub fn follow(&mut self, replies: &ReplyStream) {
        let made = replies.times_made();
        if self.made != made {
            (self.made, self.last) = (made, StreamId::default());
        }
    }

    /// Decides, on a new connection, whether the next answer broke the last ones.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn judge(&mut self, connection: &mut Connection) -> RedisResult<()> {
        if self.read_size.is_to_judge() {
            self.is_stuck |= self.read_size.judge(connection.serves_promptly()?);
        }
        Ok(())
    }

    /// Records that no connection can be made.
    pub fn cannot_connect(&mut self) {
        self.read_size.acquit();
    }

    /// Records that the answer with this id and size was read.
    pub fn pass(&mut self, id: StreamId, size: usize) {
        self.last = id;
        self.untrimmed += 1;
        self.bytes += size;
    }

    fn is_to_trim(&self) -> bool {
        self.untrimmed > 0
            && (self.untrimmed >= TRIM_COUNT
                || self.bytes >= TRIM_BYTES
                || self.trimmed.elapsed() >= TRIM_INTERVAL)
    }
}

/// A read whose reply has not been received.
#[derive(Debug, Clone, Copy)]
struct Asked {
    trims: bool,
    count: usize,
}

/// The reader's connection and position.
pub struct ReplySession {
    connection: Connection,
    /// The position in the stream.
    pub position: Position,
    busy_poll: BusyPoll,
    asked: Option<Asked>,
}

impl ReplySession {
    /// Continues from `position` on a connection without an open read.
    pub fn new(connection: Connection, position: Position, busy_poll: BusyPoll) -> Self {
        Self { connection, position, busy_poll, asked: None }
    }

    /// Returns the descriptor to wait for where a read must not block.
    pub fn awaited(&self) -> Option<BorrowedFd<'_>> {
        self.connection.awaited()
    }

    /// Waits for an answer or for `waker`, at most until `until`. Returns `None` if that is not possible.
    pub fn wait(&mut self, waker: &Waker, until: Instant) -> io::Result<Option<WaitEnd>> {
        let Some(socket) = self.connection.awaited() else { return Ok(None) };
        waker.wait_polling(&mut self.busy_poll, socket, until).map(Some)
    }

    /// Requests answers, unless a read is open already. It also trims the answers read before, if there are enough.
    pub fn ask(&mut self, replies: &ReplyStream) -> RedisResult<()> {
        if self.asked.is_some() {
            return Ok(());
        }
        let trims = self.position.is_to_trim();
        let mut commands = Vec::with_capacity(2);
        if trims {
            let mut trim = redis::cmd("XTRIM");
            trim.arg(replies.key()).arg("MINID").arg(self.position.last.next().to_string());
            commands.push(trim);
        }
        // With answers left to trim the read ends soon, so that they are trimmed.
        let count = self.position.read_size.count(Instant::now());
        let block = if self.position.untrimmed > 0 && !trims { TRIM_INTERVAL } else { block(replies) };
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(count);
        if !self.position.read_size.is_probing() {
            read.arg("BLOCK").arg(block.as_millis() as u64);
        }
        read.arg("STREAMS").arg(replies.key()).arg(self.position.last.to_string());
        commands.push(read);
        self.connection.write_all(&commands)?;
        self.asked = Some(Asked { trims, count });
        Ok(())
    }

    /// Whether the server has closed the connection while no read was open.
    pub fn is_gone(&mut self) -> bool {
        self.asked.is_none() && self.connection.is_gone()
    }

    /// Receives the requested answers, and waits for them. With `wait` it never blocks in a read (see
    /// [`Connection::receive_entries`]). Then it may return none while the answers are still to come.
    pub fn receive(&mut self, replies: &ReplyStream, wait: Option<Wait<'_>>) -> RedisResult<Vec<RawEntry>> {
        let Some(asked) = self.asked.take() else { return Ok(Vec::new()) };
        let answers = self.receive_asked(asked, replies, wait);
        // Else the answers are still to come.
        if self.asked.is_none() {
            self.position.read_size.note(asked.count, &answers);
        }
        answers
    }

    fn receive_asked(
        &mut self,
        asked: Asked,
        replies: &ReplyStream,
        wait: Option<Wait<'_>>,
    ) -> RedisResult<Vec<RawEntry>> {
        if asked.trims {
            refused(self.connection.receive_own(wait)?)
                .map_err(|error| rights::with_rule(&error, replies.key(), "+xtrim"))?;
            let position = &mut self.position;
            (position.untrimmed, position.bytes, position.trimmed) = (0, 0, Instant::now());
            if wait.is_some() && !self.connection.has_unread() {
                // Only this part is answered at once.
                self.asked = Some(Asked { trims: false, ..asked });
                return Ok(Vec::new());
            }
        }
        let entries = self.connection.receive_entries(wait, replies.room());
        entries.map_err(|error| rights::with_rule(&error, replies.key(), "+xread"))
    }
}

/// Skips the next answer if it breaks every connection that reads it, and returns its id. A consumer group provides
/// the id: an entry that was delivered to it can be listed without its content, even if the delivery did not arrive.
pub fn skip_unreadable(position: &mut Position, replies: &ReplyStream) -> RedisResult<Option<StreamId>> {
    if !position.is_stuck {
        return Ok(None);
    }
    let (connector, key) = (replies.connector(), replies.key());
    let group = |action: &str| redis::cmd("XGROUP").arg(action).arg(key).arg(SKIP_GROUP).clone();
    let mut connection = connector.opener(Purpose::Work).open_for(key)?;
    position.is_stuck = false;
    connection.run(&group("DESTROY"))?;
    connection.run(group("CREATE").arg(position.last.to_string()))?;
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP").arg(SKIP_GROUP).arg(SKIP_GROUP).arg("COUNT").arg(1).arg("STREAMS").arg(key).arg(">");
    connection.write_all(&[read])?;
    let is_read = match connection.receive_entries(None, replies.room()) {
        Err(error) if !is_unreadable(&error) => return Err(rights::with_rule(&error, key, "+xreadgroup")),
        read => read.is_ok(),
    };
    let mut connection = connector.opener(Purpose::Work).open_for(key)?;
    let mut pending = redis::cmd("XPENDING");
    pending.arg(key).arg(SKIP_GROUP).arg("-").arg("+").arg(1);
    let reply = connection.run(&pending)?;
    connection.run(&group("DESTROY"))?;
    if is_read {
        return Ok(None);
    }
    let skipped = replies::pending(&reply).first().map(|entry| entry.id);
    if let Some(id) = skipped {
        position.pass(id, 0);
    }
    Ok(skipped)
}
