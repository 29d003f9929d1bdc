//! The caller's side: it opens calls, waits for them, and ends them when their time is over.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::payload::limits::check_name;
use crate::foundation::runtime::id_source::IdSource;
use crate::foundation::runtime::waiting::Interrupt;
use crate::request_reply::asking::reply_reader::ReplyReader;
use crate::request_reply::membership::instance::Instance;
use crate::request_reply::protocol::entry::Question;
use crate::request_reply::sending::Sender;
use crate::request_reply::sending::command::Command;
use crate::request_reply::sending::explainer::timed_out;
use crate::request_reply::tracking::ledger::{Ledger, Sent, Ticket, Waited};
use crate::request_reply::tracking::whereabouts::Whereabouts;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long past its deadline a call waits for Redis to say whether its request was withdrawn.
const GRACE: Duration = Duration::from_millis(250);

/// The calls made by one instance.
pub struct Calls {
    pub(crate) instance: Arc<Instance>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) sender: Arc<Sender>,
    pub(crate) reply_reader: Arc<ReplyReader>,
    pub(crate) ids: IdSource,
}

impl Calls {
    /// Sends a request to a group. Without `timeout` the configured one applies. The calling thread must
    /// [`Calls::wait`] for the answer now. If it does not, use [`Calls::ask_ahead`].
    ///
    /// # Errors
    ///
    /// Nothing was sent: the group's name is blank or too long, the content is larger than `max_content_size`, the
    /// timeout is out of range, too many calls are open (a [`crate::ErrorKind::Overloaded`] error), or the system has
    /// no random numbers. If Redis cannot be reached, this succeeds, and the call ends with the error.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use redis_ipc_core::Interrupt;
    /// use redis_ipc_core::request_reply::{Context, Engine, Options, Question, Waited};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), redis_ipc_core::Error> {
    /// # let options = Options::parse(serde_json::json!({}), None, &[])?;
    /// let engine = Engine::start("house", "parent", options, false)?;
    /// let question =
    ///     Question { to: "child".to_owned(), content: br#""Hello""#.to_vec(), context: Context::default() };
    /// let ticket = engine.calls.ask(question, Some(Duration::from_secs(5)))?;
    /// if let Waited::Done(outcome) = engine.calls.wait(&ticket, None, &Interrupt::default()) {
    ///     let answer = outcome?;
    ///     println!("{}: {}", answer.status.name(), String::from_utf8_lossy(&answer.content.share()));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn ask(&self, question: Question, timeout: Option<Duration>) -> Result<Arc<Ticket>, Error> {
        let options = &self.instance.options;
        let to = &question.to;
        check_name("destination group", to)?;
        if question.content.len() > options.max_content_size {
            return Err(self.instance.too_large(question.content.len(), to));
        }
        let timeout = options.ledger.check_timeout(timeout.unwrap_or(options.ledger.entry_timeout))?;
        let ticket = self.open_ticket(to, timeout)?;
        self.instance.endpoint.stats.requests.increment();
        self.sender.send(Command::Ask(Arc::clone(&ticket), question));
        Ok(ticket)
    }

    /// Sends a request like [`Calls::ask`], for a caller that does not wait for the answer at once.
    ///
    /// # Errors
    ///
    /// Those of [`Calls::ask`].
    pub fn ask_ahead(&self, question: Question, timeout: Option<Duration>) -> Result<Arc<Ticket>, Error> {
        let ticket = self.ask(question, timeout)?;
        self.reply_reader.recall();
        Ok(ticket)
    }

    fn open_ticket(&self, to: &str, timeout: Duration) -> Result<Arc<Ticket>, Error> {
        let options = &self.instance.options.ledger;
        let most = options.max_open_calls.unwrap_or(usize::MAX);
        self.ledger.open(self.ids.next()?, to, timeout, most).ok_or_else(|| {
            let message = format!("{most} calls are open already (ledger.max_open_calls); nothing was sent");
            self.instance.endpoint.stats.overloaded.increment();
            self.instance.error(ErrorKind::Overloaded, message, to)
        })
    }

    /// Waits for the end of a call, at most until `until`. Without `until` it waits for the call's deadline.
    pub fn wait(&self, ticket: &Ticket, until: Option<Instant>, interrupt: &Interrupt) -> Waited {
        if !ticket.ending.has_ended() {
            self.reply_reader.staggered_wake.next();
        }
        let mut due = ticket.deadline;
        loop {
            let by = until.map_or(due, |until| until.min(due));
            let waited = self.reply_reader.wait_reading(ticket, by, interrupt);
            match waited.unwrap_or_else(|| ticket.ending.wait(by, interrupt)) {
                Waited::TimeUp if until.is_some_and(|until| until < due) => return Waited::TimeUp,
                Waited::TimeUp => due = self.check_deadline(ticket).unwrap_or(due),
                waited => return waited,
            }
        }
    }

    /// Does what is due for a call, without waiting. At the deadline it withdraws the request, and a while later it
    /// ends the call with what is known then. Returns when to call this next. `None` once the call has ended.
    pub fn check_deadline(&self, ticket: &Ticket) -> Option<Instant> {
        if ticket.ending.has_ended() {
            return None;
        }
        let (now, last) = (Instant::now(), ticket.deadline + GRACE);
        if now < ticket.deadline {
            return Some(ticket.deadline);
        }
        self.time_up(ticket);
        if now >= last {
            ticket.finish(Err(timed_out(ticket, &ticket.whereabouts(), None, &self.instance)));
        }
        (!ticket.ending.has_ended()).then_some(last)
    }

    /// Ends every call whose deadline has passed, also those for which no thread waits.
    pub(crate) fn end_overdue(&self) {
        for ticket in self.ledger.close_overdue(Instant::now()) {
            self.end(&ticket);
        }
    }

    fn time_up(&self, ticket: &Ticket) {
        if let Some(ticket) = self.ledger.close(ticket.id) {
            self.end(&ticket);
        }
    }

    fn end(&self, ticket: &Arc<Ticket>) {
        self.instance.endpoint.stats.timed_out.increment();
        if ticket.finish_unsent(|| Err(timed_out(ticket, &Whereabouts::NotSent, None, &self.instance))) {
            return;
        }
        if let Sent::Yes(id) = ticket.sent() {
            self.sender.send(Command::Withdraw(Arc::clone(ticket), id));
            return;
        }
        // The sender withdraws it once Redis confirms it, unless Redis has confirmed it just now.
        ticket.finish(Err(timed_out(ticket, &Whereabouts::Unknown, None, &self.instance)));
        if let Sent::Yes(id) = ticket.sent() {
            self.sender.send(Command::Withdraw(Arc::clone(ticket), id));
        }
    }

    /// Ends a call before its deadline, because its caller gave up. Its request is withdrawn.
    pub fn cancel(&self, ticket: &Ticket) {
        let Some(ticket) = self.ledger.close(ticket.id) else { return };
        self.instance.endpoint.stats.cancelled.increment();
        let error =
            self.instance.error(ErrorKind::Closed(Fate::Unknown), "the call was interrupted", &ticket.to);
        ticket.finish(Err(error.entry(ticket.id)));
        if let Sent::Yes(id) = ticket.sent() {
            self.sender.send(Command::Withdraw(ticket, id));
        }
    }

    /// Ends every call, because the stream is being disconnected.
    pub(crate) fn end_all(&self) {
        for ticket in self.ledger.close_all() {
            self.instance.endpoint.stats.failed.increment();
            let fate = if ticket.sent() == Sent::No { Fate::NotSent } else { Fate::Unknown };
            let message = "the stream was disconnected while the call was waiting for its answer";
            ticket.finish(Err(self
                .instance
                .error(ErrorKind::Closed(fate), message, &ticket.to)
                .entry(ticket.id)));
            if let Sent::Yes(id) = ticket.sent() {
                self.sender.send(Command::Withdraw(ticket, id));
            }
        }
    }
}
