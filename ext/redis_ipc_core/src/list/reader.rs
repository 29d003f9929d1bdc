//! Reads the answers from a client's list and gives each to the call it belongs to.

use crate::connection::Connection;
use crate::error::{Error, ErrorKind};
use crate::link::Link;
use crate::list::party::{CLOCK_READING, Party, popped};
use crate::list::pending::PendingCalls;
use crate::list::skim::{Skimmed, ids, skim};
use crate::socket::Closer;
use crate::sync::Mutex;
use redis::RedisResult;
use std::sync::Arc;
use std::time::Instant;

/// How many answers are read at once.
const PAGE: usize = 512;
/// How much of a foreign answer is shown.
const SHOWN: usize = 200;

/// The reader of one client's answers.
pub struct Reader {
    party: Arc<Party>,
    calls: Arc<PendingCalls>,
    replies: String,
    max_size: usize,
    closer: Mutex<Option<Closer>>,
}

impl Reader {
    /// A reader of the client's own list.
    pub fn new(party: Arc<Party>, calls: Arc<PendingCalls>, max_size: usize) -> Self {
        let replies = party.names.reply(&party.id);
        Self { party, calls, replies, max_size, closer: Mutex::default() }
    }

    /// Its thread: reads until the client's end.
    pub fn run(&self, mut first: Option<Connection>) {
        let mut link = Link::new(&self.party, &self.replies, first.is_some());
        while !self.party.stop.is_stopped() {
            if let Err(error) = self.session(first.take(), &mut link)
                && !self.party.stop.is_stopped()
            {
                link.lost(&error);
            }
        }
    }

    /// Ends the read under way.
    pub fn interrupt(&self) {
        if let Some(closer) = self.closer.lock().take() {
            closer.close();
        }
    }

    fn session(&self, first: Option<Connection>, link: &mut Link<'_, Party>) -> RedisResult<()> {
        let mut connection = match first {
            Some(connection) => connection,
            None => {
                self.party.connector.open_blocking(&self.replies, self.party.block(), &self.party.stop)?
            }
        };
        *self.closer.lock() = Some(connection.closer());
        link.up();
        let mut pop = redis::cmd("BLMPOP");
        pop.arg(self.party.block().as_secs()).arg(1).arg(&self.replies).arg("RIGHT").arg("COUNT").arg(PAGE);
        let mut clock = Instant::now();
        while !self.party.stop.is_stopped() {
            let reply = connection.run(&pop)?;
            popped(reply).into_iter().for_each(|text| self.accept(text));
            if clock.elapsed() >= CLOCK_READING {
                self.party.clock.read(&mut connection)?;
                clock = Instant::now();
            }
        }
        Ok(())
    }

    fn accept(&self, text: Vec<u8>) {
        let skimmed = skim(&text);
        let open = self.calls.close(skimmed.iter().filter_map(Skimmed::number));
        // One that is no JSON ends its call, too: nothing better will come.
        let Some(pending) = open.or_else(|| self.calls.close(ids(&text))) else {
            return self.refuse(&text, &skimmed);
        };
        let outcome = if text.len() <= self.max_size {
            Ok(Arc::new(text))
        } else {
            let message =
                format!("the answer has {} bytes, the limit is {} (max_size)", text.len(), self.max_size);
            Err(self.party.locate(Error::new(ErrorKind::Malformed, message)))
        };
        pending.finish(outcome, &self.party.stats);
    }

    /// Late and duplicate answers are only counted; one that names no request may be what a caller misses.
    fn refuse(&self, text: &[u8], skimmed: &[Skimmed]) {
        self.party.stats.answers_unmatched.increment();
        if skimmed.iter().all(|answer| answer.number().is_none()) {
            let shown = String::from_utf8_lossy(text.get(..SHOWN).unwrap_or(text)).into_owned();
            let message = format!("an answer came that names no request of this client: {shown}");
            self.party.reporter.failure(self.party.locate(Error::new(ErrorKind::Malformed, message)));
        }
    }
}
