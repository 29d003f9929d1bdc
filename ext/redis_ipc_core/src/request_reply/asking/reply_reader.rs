//! Reads this instance's reply stream and hands each answer to the call that waits for it.

use crate::error::{Error, ErrorKind};
use crate::foundation::payload::id::Id;
use crate::foundation::payload::stream_entry::RawEntry;
use crate::foundation::redis::client_name::Purpose;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::link::Link;
use crate::foundation::redis::read_cancel::ReadCancel;
use crate::foundation::runtime::busy_poll::BusyPoll;
use crate::foundation::runtime::failpoint;
use crate::foundation::runtime::shared_reader::{Back, SharedReader};
use crate::foundation::runtime::staggered_wake::StaggeredWake;
use crate::foundation::runtime::waiting::Interrupt;
use crate::foundation::runtime::waker::{self, WaitEnd, Waker};
use crate::request_reply::asking::reply_session::{self, Position, ReplySession};
use crate::request_reply::membership::instance::Instance;
use crate::request_reply::membership::reply_stream::ReplyStream;
use crate::request_reply::protocol::entry::{Answer, Status};
use crate::request_reply::sending::Sender;
use crate::request_reply::sending::command::Command;
use crate::request_reply::tracking::ledger::{Ledger, Sent, Ticket, Waited};
use redis::RedisResult;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long callers may read their answers themselves once none of them does.
const LEFT_ALONE: Duration = Duration::from_secs(1);

/// The reader of one reply stream.
pub struct ReplyReader {
    instance: Arc<Instance>,
    replies: Arc<ReplyStream>,
    ledger: Arc<Ledger>,
    sender: Arc<Sender>,
    /// Cancels the current read.
    pub read_cancel: Arc<ReadCancel>,
    /// The callers whose answers have arrived.
    pub staggered_wake: StaggeredWake<Ticket>,
    shared: SharedReader<ReplySession>,
}

impl ReplyReader {
    /// Creates a reader for the calls in `ledger`. `waker` wakes callers that read for themselves.
    pub fn new(
        instance: Arc<Instance>,
        replies: Arc<ReplyStream>,
        ledger: Arc<Ledger>,
        sender: Arc<Sender>,
        waker: Waker,
    ) -> Self {
        Self {
            instance,
            replies,
            ledger,
            sender,
            read_cancel: Arc::default(),
            staggered_wake: StaggeredWake::default(),
            shared: SharedReader::new(waker),
        }
    }

    /// Runs the reader's thread until the engine stops. It starts with the connection `first` and opens others as
    /// needed.
    pub fn run(&self, mut first: Option<Connection>) {
        let mut position = Position::new(&self.replies);
        let mut link = Link::new(&self.instance.endpoint, self.replies.key(), first.is_some());
        // These were left if the thread panicked.
        self.staggered_wake.all();
        while !self.instance.endpoint.stop.is_stopped() {
            let ended = self.session(first.take(), &mut position, &mut link);
            self.staggered_wake.all();
            if let Err(error) = ended {
                link.lost(&error);
            }
        }
        self.shared.end();
    }

    /// Ends the current read. The next one starts on a new connection.
    pub fn restart(&self) {
        self.read_cancel.end();
        self.shared.recall();
    }

    /// Requires the connection back for the reader's own thread, because a call was made whose caller does not wait
    /// for it.
    pub fn recall(&self) {
        self.shared.recall();
    }

    fn session(
        &self,
        first: Option<Connection>,
        position: &mut Position,
        link: &mut Link<'_>,
    ) -> RedisResult<()> {
        let open = || self.open().inspect_err(|_| position.cannot_connect());
        let mut connection = first.map_or_else(open, Ok)?;
        self.read_cancel.on(&connection);
        position.judge(&mut connection)?;
        self.replies.make(&mut connection)?;
        position.follow(&self.replies);
        self.skip_unreadable(position)?;
        link.up();
        let busy_poll = BusyPoll::new(self.instance.options.ledger.busy_poll);
        let mut session = ReplySession::new(connection, *position, busy_poll);
        while !self.instance.endpoint.stop.is_stopped() {
            if session.is_gone() {
                return Ok(());
            }
            session.ask(&self.replies)?;
            self.wake_in_time(&session)?;
            let answers = session.receive(&self.replies, None);
            *position = session.position;
            let answers = answers?;
            failpoint::point();
            let found = !answers.is_empty();
            self.take_in(&mut session, answers);
            self.staggered_wake.start();
            *position = session.position;
            if found && self.ledger.is_empty() && session.awaited().is_some() {
                session = self.lend(session, position)?;
            }
        }
        Ok(())
    }

    fn open(&self) -> RedisResult<Connection> {
        let (connector, block) = (self.replies.connector(), reply_session::block(&self.replies));
        connector.opener(Purpose::Replies).open_blocking(
            self.replies.key(),
            block,
            &self.instance.endpoint.stop,
        )
    }

    /// Skips an answer that breaks every connection that reads it. Its content names its call, but cannot be read. If
    /// only one call is open, the answer belongs to that one.
    fn skip_unreadable(&self, position: &mut Position) -> RedisResult<()> {
        let Some(id) = reply_session::skip_unreadable(position, &self.replies)? else { return Ok(()) };
        self.instance.endpoint.stats.malformed.increment();
        let message = "an answer cannot be read and was skipped. It breaks each connection that reads it: it exceeds \
                       client-output-buffer-limit of Redis, or the limits in security.md";
        let error = self.instance.endpoint.locate(Error::new(ErrorKind::Malformed, message)).entry(id);
        self.instance.endpoint.report_located(error.clone());
        if let Some(ticket) = self.ledger.close_only() {
            self.instance.endpoint.stats.failed.increment();
            ticket.finish(Err(error));
        }
        Ok(())
    }

    /// Wakes the callers that are due, until there is an answer to read.
    fn wake_in_time(&self, session: &ReplySession) -> io::Result<()> {
        while let Some(due) = self.staggered_wake.due() {
            match session.awaited() {
                Some(socket) if Instant::now() < due => {
                    if waker::is_readable(socket, due)? {
                        return Ok(());
                    }
                }
                _ => self.staggered_wake.all(),
            }
        }
        Ok(())
    }

    /// Lends the connection to callers that wait alone, while there are any.
    fn lend(&self, session: ReplySession, position: &mut Position) -> RedisResult<ReplySession> {
        self.staggered_wake.all();
        let needed = || !self.ledger.is_empty() || self.instance.endpoint.stop.is_stopped();
        let back = self.shared.lend(session, LEFT_ALONE, needed);
        if let Back::Whole(session) | Back::Broken(session, _) = &back {
            *position = session.position;
        }
        back.into_result()
    }

    /// Reads answers in the thread that waits for `ticket`, if no other thread reads, until the call has ended, at
    /// most until `until`. Returns `None` if the caller is to wait while another thread reads.
    pub fn wait_reading(&self, ticket: &Ticket, until: Instant, interrupt: &Interrupt) -> Option<Waited> {
        if until <= Instant::now() {
            return None;
        }
        self.shared.follow()?.read(
            |session, waker| {
                let waited = self.read_for(session, waker, ticket, until, interrupt);
                ticket.ending.unregister_waker();
                waited
            },
            || !self.ledger.is_empty(),
        )
    }

    fn read_for(
        &self,
        session: &mut ReplySession,
        waker: &Arc<Waker>,
        ticket: &Ticket,
        until: Instant,
        interrupt: &Interrupt,
    ) -> RedisResult<Waited> {
        loop {
            session.ask(&self.replies)?;
            if let Some(outcome) = ticket.ending.register_waker(waker) {
                return Ok(Waited::Done(outcome));
            }
            if interrupt.take() {
                return Ok(Waited::Interrupted);
            }
            match session.wait(waker, until)?.unwrap_or(WaitEnd::TimeUp) {
                WaitEnd::Socket => {
                    let rest = waker.wait_for_rest(until, || interrupt.is_set());
                    let answers = session.receive(&self.replies, Some(&rest))?;
                    failpoint::follower();
                    // The caller reads its own answer, so it needs no wake-up.
                    ticket.ending.unregister_waker();
                    self.take_in(session, answers);
                    self.staggered_wake.all();
                }
                WaitEnd::Waker => waker.clear(),
                WaitEnd::TimeUp => return Ok(Waited::TimeUp),
            }
        }
    }

    /// Hands answers to their calls. The callers are still to be woken.
    fn take_in(&self, session: &mut ReplySession, answers: Vec<RawEntry>) {
        if answers.is_empty() {
            session.position.follow(&self.replies);
        }
        for answer in answers {
            let id = answer.id;
            let size = self.route(answer);
            session.position.pass(id, size);
        }
    }

    /// Hands an answer to its call. Returns its size.
    fn route(&self, raw: RawEntry) -> usize {
        let Some(fields) = raw.fields else { return 0 };
        let size = fields.whole_size();
        // The id is looked up first, because a malformed answer to an open call must end that call.
        let id = fields.get("id").and_then(Id::parse);
        let Some(ticket) = id.and_then(|id| self.ledger.close(id)) else {
            self.instance.endpoint.stats.answers_unmatched.increment();
            return size;
        };
        match Answer::decode(raw.id, &fields, self.instance.options.max_content_size) {
            Ok(answer) => {
                let counter = match answer.status {
                    Status::Fulfilled => &self.instance.endpoint.stats.fulfilled,
                    _ => &self.instance.endpoint.stats.rejected,
                };
                counter.increment();
                ticket.finish_quietly(Ok(Arc::new(answer)));
                if let (true, Sent::Yes(id)) = (ticket.has_earlier_copy(), ticket.sent()) {
                    // Whichever copy was answered, the other is no longer wanted.
                    self.sender.send(Command::Withdraw(Arc::clone(&ticket), id));
                }
                self.staggered_wake.put(ticket);
            }
            Err(error) => {
                self.instance.endpoint.stats.malformed.increment();
                self.instance.endpoint.stats.failed.increment();
                let message = format!("the answer from {:?} is malformed: {error}", ticket.to);
                let error = self.instance.error(ErrorKind::Malformed, message, &ticket.to).entry(raw.id);
                self.instance.endpoint.report_located(error.clone());
                ticket.finish(Err(error));
            }
        }
        size
    }
}
