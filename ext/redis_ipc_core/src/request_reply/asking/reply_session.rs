//! A connection that reads the reply stream, and how far it has come: asks for answers, and reads what Redis says.

use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::connection::{Connection, Wait, is_unreadable};
use crate::foundation::redis::read_size::ReadSize;
use crate::foundation::redis::resp::replies::{self, refused};
use crate::foundation::runtime::busy_poll::BusyPoll;
use crate::foundation::runtime::waker::{Heard, Waker};
use crate::request_reply::membership::reply_stream::ReplyStream;
use redis::RedisResult;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

const BLOCK: Duration = Duration::from_secs(10);
const BLOCK_IN_CLUSTER: Duration = Duration::from_secs(2);
/// How many answers are read at once.
const COUNT: usize = 512;
/// The group by which an answer is passed by that cannot be read.
const PASSER_BY: &str = "skip";
/// After so many answers, or this long, the ones read are trimmed.
const TRIM_COUNT: usize = 128;
const TRIM_BYTES: usize = 1 << 20;
const TRIM_INTERVAL: Duration = Duration::from_secs(1);

/// How long a read waits for an answer before it asks again. In a cluster not for long: a reply stream on the move is
/// gone from its old node before that sends its readers away.
pub fn block(replies: &ReplyStream) -> Duration {
    if replies.connector().is_cluster() { BLOCK_IN_CLUSTER } else { BLOCK }
}

/// What was read and not trimmed yet.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    /// Which of the reply streams made so far it is about.
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
    /// The beginning of the stream.
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

    /// Goes back to the beginning if the stream was made anew: Redis's clock may be behind the last id.
    pub fn follow(&mut self, replies: &ReplyStream) {
        let made = replies.times_made();
        if self.made != made {
            (self.made, self.last) = (made, StreamId::default());
        }
    }

    /// Decides, on a new connection, whether the next answer is what broke the ones before.
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

    /// Notes that no connection can be made.
    pub fn cannot_connect(&mut self) {
        self.read_size.acquit();
    }

    /// Notes that the answer with this id and size was read.
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

/// A read that Redis was asked for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    trims: bool,
    count: usize,
}

/// The reader's connection, and where it is.
pub struct ReplySession {
    connection: Connection,
    /// How far it has read.
    pub position: Position,
    busy_poll: BusyPoll,
    asked: Option<Asked>,
}

impl ReplySession {
    /// Goes on from `position` on a connection on which nothing was asked yet.
    pub fn new(connection: Connection, position: Position, busy_poll: BusyPoll) -> Self {
        Self { connection, position, busy_poll, asked: None }
    }

    /// What to wait for where reading must not get stuck.
    pub fn awaited(&self) -> Option<BorrowedFd<'_>> {
        self.connection.awaited()
    }

    /// Waits for an answer, or for `waker`, at most until `until`; `None` where that is not possible.
    pub fn wait(&mut self, waker: &Waker, until: Instant) -> io::Result<Option<Heard>> {
        let Some(socket) = self.connection.awaited() else { return Ok(None) };
        waker.wait_looking(&mut self.busy_poll, socket, until).map(Some)
    }

    /// Unless it is asked already, asks Redis for answers, and to trim what was read before if that is worth it.
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
        // With answers left to trim it comes back soon for them.
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

    /// Whether the server has closed the connection while nothing was asked on it.
    pub fn is_gone(&mut self) -> bool {
        self.asked.is_none() && self.connection.is_gone()
    }

    /// Reads what was asked for, and waits for it: without getting stuck, if `wait` is given (see
    /// [`Connection::receive_entries`]). Then it may be nothing, and the answers are still to come.
    pub fn receive(&mut self, replies: &ReplyStream, wait: Option<Wait<'_>>) -> RedisResult<Vec<RawEntry>> {
        let Some(asked) = self.asked.take() else { return Ok(Vec::new()) };
        let answers = self.receive_asked(asked, replies, wait);
        match &answers {
            // The answers are still to come.
            Ok(_) if self.asked.is_some() => {}
            Ok(answers) => self.position.read_size.succeeded(asked.count, answers.len()),
            Err(error) if is_unreadable(error) => self.position.read_size.broke(asked.count, Instant::now()),
            Err(_) => {}
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
            refused(self.connection.receive_own(wait)?)?;
            let position = &mut self.position;
            (position.untrimmed, position.bytes, position.trimmed) = (0, 0, Instant::now());
            if wait.is_some() && !self.connection.has_unread() {
                // Only this is answered at once.
                self.asked = Some(Asked { trims: false, ..asked });
                return Ok(Vec::new());
            }
        }
        self.connection.receive_entries(wait, replies.room())
    }
}

/// Passes the next answer by if it breaks every connection that reads it, and returns its id. A consumer group tells
/// the id: what is delivered to it can be listed without its content, even if the delivery did not arrive.
pub fn skip_unreadable(position: &mut Position, replies: &ReplyStream) -> RedisResult<Option<StreamId>> {
    if !position.is_stuck {
        return Ok(None);
    }
    let (connector, key) = (replies.connector(), replies.key());
    let group = |action: &str| redis::cmd("XGROUP").arg(action).arg(key).arg(PASSER_BY).clone();
    let mut connection = connector.open_for(key)?;
    position.is_stuck = false;
    connection.run(&group("DESTROY"))?;
    connection.run(group("CREATE").arg(position.last.to_string()))?;
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP").arg(PASSER_BY).arg(PASSER_BY).arg("COUNT").arg(1).arg("STREAMS").arg(key).arg(">");
    connection.write_all(&[read])?;
    let is_read = match connection.receive_entries(None, replies.room()) {
        Err(error) if !is_unreadable(&error) => return Err(error),
        read => read.is_ok(),
    };
    let mut connection = connector.open_for(key)?;
    let mut pending = redis::cmd("XPENDING");
    pending.arg(key).arg(PASSER_BY).arg("-").arg("+").arg(1);
    let reply = connection.run(&pending)?;
    connection.run(&group("DESTROY"))?;
    if is_read {
        return Ok(None);
    }
    let skipped = replies::pending_ids(&reply).first().copied();
    if let Some(id) = skipped {
        position.pass(id, 0);
    }
    Ok(skipped)
}

/// Drops all answers that wait: without the rights that [`skip_unreadable`] needs there is no other way past one that
/// cannot be read.
pub fn drop_waiting(replies: &ReplyStream) -> RedisResult<()> {
    let mut connection = replies.connector().open_for(replies.key())?;
    connection.run(redis::cmd("XTRIM").arg(replies.key()).arg("MAXLEN").arg(0)).map(drop)
}
