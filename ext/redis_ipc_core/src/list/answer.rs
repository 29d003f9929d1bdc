//! What a server sends: an answer, and that a request is done with.

use crate::error::{Error, Fate};
use crate::list::job::Job;
use crate::list::outbox::{Parcel, may_pass};
use crate::list::party::Party;
use crate::list::work_queue::WorkQueue;
use redis::{Cmd, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What answers of one server have in common.
pub struct Desk {
    /// The server.
    pub party: Arc<Party>,
    /// The requests it holds.
    pub queue: Arc<WorkQueue>,
    /// The list of what it holds; none with at-most-once.
    pub processing: Option<String>,
    /// How long an answer that nobody fetches is kept.
    pub expiry: Duration,
}

/// The end of a request.
pub struct Answer {
    /// The request.
    pub job: Arc<Job>,
    /// Where its answer goes, and the answer.
    pub reply: Option<(String, Vec<u8>)>,
    /// When nobody waits for the answer any more.
    pub until: Instant,
    /// The server's.
    pub desk: Arc<Desk>,
}

impl Parcel for Answer {
    fn size(&self) -> usize {
        let reply = self.reply.as_ref().map_or(0, |(key, text)| 2 * key.len() + text.len());
        let removal = self.desk.processing.as_ref().map_or(0, |_| self.job.text.len());
        reply + removal + 200
    }

    fn each_command(&self, mut run: impl FnMut(&Cmd)) {
        if let Some((key, text)) = &self.reply {
            run(redis::cmd("LPUSH").arg(key).arg(text.as_slice()));
            run(redis::cmd("PEXPIRE").arg(key).arg(self.desk.expiry.as_millis() as u64));
        }
        if let Some(processing) = &self.desk.processing {
            // From the right, where the oldest are: they are done first.
            run(redis::cmd("LREM").arg(processing).arg(-1).arg(self.job.text.as_slice()));
        }
    }

    fn settle(self, replies: Vec<Value>) -> Option<Self> {
        match replies.first() {
            Some(Value::ServerError(error)) if self.may_pass(error.code()) => return Some(self),
            Some(Value::ServerError(error)) => {
                let error = self.desk.party.explain(&error.clone().into(), Fate::NotSent);
                self.fail(&error);
                return None;
            }
            _ => {}
        }
        if self.reply.is_some() {
            self.desk.party.stats.answers_sent.increment();
        }
        match replies.last() {
            // The slot left in between: the request still stands among those that this server holds.
            Some(Value::ServerError(error))
                if self.desk.processing.is_some() && self.may_pass(error.code()) =>
            {
                Some(Self { reply: None, ..self })
            }
            _ => {
                self.desk.queue.finish(self.job.number);
                None
            }
        }
    }

    /// A second answer does no harm: the client takes the first.
    fn broken(self, _written: bool) -> Option<Self> {
        Some(self)
    }

    fn is_hopeless(&self) -> bool {
        Instant::now() >= self.until
    }

    fn fail(self, error: &Error) {
        self.desk.queue.finish(self.job.number);
        if self.reply.is_some() {
            self.desk.party.stats.answers_dropped.increment();
            let message = format!("an answer was lost: {}", error.message);
            self.desk.party.reporter.failure(Error { message, ..error.clone() });
        }
    }
}

impl Answer {
    /// Whether it is worth trying again after this refusal.
    fn may_pass(&self, code: &str) -> bool {
        may_pass(code) || (code == "OOM" && !self.is_hopeless())
    }
}
