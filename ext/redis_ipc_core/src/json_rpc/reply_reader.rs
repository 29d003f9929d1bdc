//! Reads the answers from a client's list and hands each to its call.

use crate::error::{Error, ErrorKind};
use crate::foundation::redis::client_name::Purpose;
use crate::foundation::redis::connection::{Connection, is_unreadable};
use crate::foundation::redis::error_codes::{Remedy, remedy};
use crate::foundation::redis::link::Link;
use crate::foundation::redis::read_cancel::ReadCancel;
use crate::foundation::redis::read_size::{ReadSize, gives_up};
use crate::foundation::redis::resp::replies::refused;
use crate::foundation::runtime::sync::Mutex;
use crate::json_rpc::envelope_scan::{ScannedEnvelope, scan_envelopes};
use crate::json_rpc::instance::{CLOCK_READING, Instance, texts};
use crate::json_rpc::pending::PendingCalls;
use redis::RedisResult;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The most answers in one read.
const PAGE: usize = 512;
/// An answer of more bytes is not transferred twice to save a round trip.
const LARGE: usize = 16 << 10;
/// The pause between reads while Redis refuses to wait.
const REFUSED: Duration = Duration::from_millis(50);
/// How much of a foreign answer is shown.
const SHOWN: usize = 200;

/// The reader's position in the list of answers.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    /// How many answers at its right end were read and are to be removed.
    read: usize,
    /// The answers read last were large.
    is_large: bool,
}

/// The reader of one client's answers.
pub struct ReplyReader {
    instance: Arc<Instance>,
    calls: Arc<PendingCalls>,
    replies: String,
    max_size: usize,
    /// Ends the current read.
    pub read_cancel: ReadCancel,
    read_size: Mutex<ReadSize>,
    /// The next answer breaks each connection that reads it.
    is_stuck: AtomicBool,
}

impl ReplyReader {
    /// Creates a reader of the client's own list.
    pub fn new(instance: Arc<Instance>, calls: Arc<PendingCalls>, max_size: usize) -> Self {
        let replies = instance.names.reply(&instance.id);
        Self {
            instance,
            calls,
            replies,
            max_size,
            read_cancel: ReadCancel::default(),
            read_size: Mutex::new(ReadSize::new(PAGE)),
            is_stuck: AtomicBool::new(false),
        }
    }

    /// Runs the reader's thread until the client closes.
    pub fn run(&self, mut first: Option<Connection>) {
        let mut link = Link::new(&self.instance.endpoint, &self.replies, first.is_some());
        while !self.instance.endpoint.stop.is_stopped() {
            if let Err(error) = self.session(first.take(), &mut link)
                && !self.instance.endpoint.stop.is_stopped()
            {
                link.lost(&error);
            }
        }
    }

    fn session(&self, first: Option<Connection>, link: &mut Link<'_>) -> RedisResult<()> {
        let is_first = first.is_some();
        let open = || {
            let (endpoint, block) = (&self.instance.endpoint, self.instance.block());
            let opened = endpoint.connector.opener(Purpose::Replies).open_blocking(
                &self.replies,
                block,
                &endpoint.stop,
            );
            opened.inspect_err(|_| self.read_size.lock().acquit())
        };
        let mut connection = first.map_or_else(open, Ok)?;
        self.read_cancel.on(&connection);
        // Whether the next answer broke the last connections is decided on a new connection.
        if gives_up(&self.read_size, || connection.serves_promptly())? {
            self.is_stuck.store(true, Ordering::SeqCst);
        }
        if !is_first {
            // It may be another server's clock than before.
            self.instance.endpoint.clock.read(&mut connection)?;
        }
        self.skip_stuck(&mut connection)?;
        link.up();
        let (mut position, mut clock) = (Position::default(), Instant::now());
        while !self.instance.endpoint.stop.is_stopped() {
            self.read(&mut connection, &mut position)?.into_iter().for_each(|text| self.accept(text));
            if clock.elapsed() >= CLOCK_READING {
                self.instance.endpoint.clock.read(&mut connection)?;
                clock = Instant::now();
            }
        }
        Ok(())
    }

    /// Reads the oldest answers without removing them, so that an answer that does not arrive is read again. The next
    /// read removes them. No other client removes any, so their positions are known.
    ///
    /// One round trip reads answers and waits for one. If the read finds some, the wait ends at once and transfers
    /// the oldest of them again. To avoid that, the reader alternates between the two where answers are large.
    fn read(&self, connection: &mut Connection, position: &mut Position) -> RedisResult<Vec<Vec<u8>>> {
        let mut commands = Vec::with_capacity(3);
        if position.read > 0 {
            let mut remove = redis::cmd("LTRIM");
            remove.arg(&self.replies).arg(0).arg(-(position.read as i64) - 1);
            commands.push(remove);
        }
        let (count, is_probing) = {
            let mut read_size = self.read_size.lock();
            (read_size.count(Instant::now()), read_size.is_probing())
        };
        let reads = is_probing || !position.is_large || position.read > 0;
        let waits = !is_probing && (!position.is_large || position.read == 0);
        if reads {
            let mut range = redis::cmd("LRANGE");
            range.arg(&self.replies).arg(-(count as i64)).arg(-1);
            commands.push(range);
        }
        if waits {
            // Moving from the right end to the right end only waits and reads.
            let mut wait = redis::cmd("BLMOVE");
            wait.arg(&self.replies).arg(&self.replies).arg("RIGHT").arg("RIGHT");
            wait.arg(self.instance.block().as_secs());
            commands.push(wait);
        }
        let asked = if reads { count } else { 1 };
        let mut replies = match connection.run_all(&commands) {
            Err(error) if is_unreadable(&error) => {
                self.read_size.lock().broke(asked, Instant::now());
                return Err(error);
            }
            replies => replies?,
        };
        let awaited = if waits { replies.pop() } else { None };
        let page = if reads { replies.pop() } else { None };
        replies.into_iter().try_for_each(|removed| refused(removed).map(drop))?;
        let mut found = page.map(refused).transpose()?.map(texts).unwrap_or_default();
        let mut is_large = position.is_large;
        match awaited.filter(|_| found.is_empty()).map(refused).transpose() {
            // At `maxmemory` Redis refuses BLMOVE, though it adds nothing. Reads without a wait continue.
            Err(error) if remedy(error.code().unwrap_or_default()) == Remedy::Wait => {
                is_large = false;
                self.instance.endpoint.stop.pause(REFUSED);
            }
            awaited => found.extend(awaited?.map(texts).unwrap_or_default()),
        }
        self.read_size.lock().succeeded(asked, found.len());
        if !found.is_empty() {
            is_large = found.iter().any(|text| text.len() > LARGE);
        }
        *position = Position { read: found.len(), is_large };
        found.reverse();
        Ok(found)
    }

    /// Removes the answer that cannot be read. Its text names its call, but cannot be read. If only one call is open,
    /// the answer belongs to that one.
    fn skip_stuck(&self, connection: &mut Connection) -> RedisResult<()> {
        if !self.is_stuck.load(Ordering::SeqCst) {
            return Ok(());
        }
        connection.run(redis::cmd("LTRIM").arg(&self.replies).arg(0).arg(-2))?;
        self.is_stuck.store(false, Ordering::SeqCst);
        let message = "an answer cannot be read and was skipped: it breaks each connection that reads it \
                       (client-output-buffer-limit of Redis, or the limits in security.md)";
        let error = self.instance.endpoint.locate(Error::new(ErrorKind::Malformed, message));
        self.instance.endpoint.report_located(error.clone());
        if let Some(pending) = self.calls.close_only() {
            pending.finish(Err(error), &self.instance.endpoint.stats);
        }
        Ok(())
    }

    fn accept(&self, text: Vec<u8>) {
        let scanned = scan_envelopes(&text);
        let Some(pending) = self.calls.close(scanned.iter().filter_map(ScannedEnvelope::number)) else {
            return self.refuse(&text, &scanned);
        };
        let outcome = if text.len() <= self.max_size {
            Ok(Arc::new(text))
        } else {
            let message =
                format!("the answer has {} bytes, the limit is {} (max_size)", text.len(), self.max_size);
            Err(self.instance.endpoint.locate(Error::new(ErrorKind::Malformed, message)))
        };
        pending.finish(outcome, &self.instance.endpoint.stats);
    }

    /// Counts late and duplicate answers. It also reports an answer that names no request, because a caller may miss
    /// it.
    fn refuse(&self, text: &[u8], scanned: &[ScannedEnvelope]) {
        self.instance.endpoint.stats.answers_unmatched.increment();
        if scanned.iter().all(|answer| answer.number().is_none()) {
            let shown = String::from_utf8_lossy(text.get(..SHOWN).unwrap_or(text)).into_owned();
            let message = format!("an answer arrived that names no request of this client: {shown}");
            self.instance.endpoint.report(Error::new(ErrorKind::Malformed, message));
        }
    }
}
