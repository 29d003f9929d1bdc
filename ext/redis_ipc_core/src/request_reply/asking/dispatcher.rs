//! Reads this instance's reply stream and routes each answer to the call that waits for it.

use crate::error::{Error, ErrorKind};
use crate::foundation::payload::id::Id;
use crate::foundation::payload::stream_entry::RawEntry;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::link::Link;
use crate::foundation::redis::read_cancel::ReadCancel;
use crate::foundation::runtime::busy_poll::BusyPoll;
use crate::foundation::runtime::failpoint;
use crate::foundation::runtime::shared_reader::{Back, SharedReader};
use crate::foundation::runtime::staggered_wake::StaggeredWake;
use crate::foundation::runtime::waiting::Interrupt;
use crate::foundation::runtime::waker::{self, Heard, Waker};
use crate::request_reply::asking::reply_session::{self, Position, ReplySession};
use crate::request_reply::books::ledger::{Ledger, Sent, Ticket, Waited};
use crate::request_reply::membership::key_expiry;
use crate::request_reply::membership::member::Member;
use crate::request_reply::protocol::entry::{Answer, Status};
use crate::request_reply::sending::Sender;
use crate::request_reply::sending::command::Command;
use redis::RedisResult;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the answers are left to callers that read them themselves, once none has come to.
const LEFT_ALONE: Duration = Duration::from_secs(1);

/// The reader of one reply stream.
pub struct Dispatcher {
    member: Arc<Member>,
    ledger: Arc<Ledger>,
    sender: Arc<Sender>,
    /// The read under way.
    pub read_cancel: Arc<ReadCancel>,
    /// The callers whose answers are here.
    pub wakes: StaggeredWake<Ticket>,
    turn: SharedReader<ReplySession>,
}

impl Dispatcher {
    /// A dispatcher for the calls in `ledger`. `waker` wakes callers that read for themselves.
    pub fn new(member: Arc<Member>, ledger: Arc<Ledger>, sender: Arc<Sender>, waker: Waker) -> Self {
        Self {
            member,
            ledger,
            sender,
            read_cancel: Arc::default(),
            wakes: StaggeredWake::default(),
            turn: SharedReader::new(waker),
        }
    }

    /// Its thread: reads until the engine stops, over `first` and as many more connections as it takes.
    pub fn run(&self, mut first: Option<Connection>) {
        let mut position = Position::new(&self.member);
        let mut link = Link::new(&self.member, &self.member.replies, first.is_some());
        // Those that are left if it panicked.
        self.wakes.all();
        while !self.member.stop.is_stopped() {
            let ended = self.session(first.take(), &mut position, &mut link);
            self.wakes.all();
            if let Err(error) = ended {
                link.lost(&error);
            }
        }
        self.turn.end();
    }

    /// Ends the read under way; the next one starts on a new connection.
    pub fn restart(&self) {
        self.read_cancel.end();
        self.turn.recall();
    }

    /// Leaves the answers to the thread of this reader: a call was made whose caller does not wait for it here.
    pub fn read_at_home(&self) {
        self.turn.recall();
    }

    fn session(
        &self,
        first: Option<Connection>,
        position: &mut Position,
        link: &mut Link<'_, Member>,
    ) -> RedisResult<()> {
        let mut connection = match first {
            Some(connection) => connection,
            None => self.open().inspect_err(|_| position.cannot_connect())?,
        };
        self.read_cancel.on(&connection);
        position.judge(&mut connection)?;
        key_expiry::make_replies(&mut connection, &self.member)?;
        position.follow(&self.member);
        self.skip_unreadable(position)?;
        link.up();
        let busy_poll = BusyPoll::new(self.member.options.ledger.busy_poll);
        let mut session = ReplySession::new(connection, *position, busy_poll);
        while !self.member.stop.is_stopped() {
            if session.is_gone() {
                return Ok(());
            }
            session.ask(&self.member)?;
            self.wake_in_time(&session)?;
            let answers = session.receive(&self.member, None);
            *position = session.position;
            let answers = answers?;
            failpoint::point();
            let found = !answers.is_empty();
            self.take_in(&mut session, answers);
            self.wakes.start();
            *position = session.position;
            if found && self.ledger.is_empty() && session.awaited().is_some() {
                session = self.lend(session, position)?;
            }
        }
        Ok(())
    }

    fn open(&self) -> RedisResult<Connection> {
        let (connector, block) = (self.member.connections.connector(), reply_session::block(&self.member));
        connector.open_blocking(&self.member.replies, block, &self.member.stop)
    }

    /// Passes by an answer that breaks every connection that reads it. Whose it is stands in it; if only one call is
    /// open, it is that one's.
    fn skip_unreadable(&self, position: &mut Position) -> RedisResult<()> {
        let (id, what) = match reply_session::skip_unreadable(position, &self.member) {
            Ok(None) => return Ok(()),
            Ok(id) => (id, "was skipped"),
            Err(error) if error.code() == Some("NOPERM") => {
                reply_session::drop_waiting(&self.member)?;
                let what = "was dropped with all others that waited: to skip it alone, this user needs XREADGROUP and \
                            XPENDING on its reply stream";
                (None, what)
            }
            Err(error) => return Err(error),
        };
        self.member.stats.malformed.increment();
        let message = format!(
            "an answer cannot be read and {what}. It breaks each connection that reads it: it exceeds \
             client-output-buffer-limit of Redis, or the limits in security.md"
        );
        let error = self.member.error(ErrorKind::Malformed, message, &self.member.group);
        let error = id.into_iter().fold(error, Error::entry);
        self.member.reporter.failure(error.clone());
        if let Some(ticket) = self.ledger.close_only() {
            self.member.stats.failed.increment();
            ticket.finish(Err(error));
        }
        Ok(())
    }

    /// Wakes the callers whose turn it is to wake, until there is something to read.
    fn wake_in_time(&self, session: &ReplySession) -> io::Result<()> {
        while let Some(due) = self.wakes.due() {
            match session.awaited() {
                Some(socket) if Instant::now() < due => {
                    if waker::is_readable(socket, due)? {
                        return Ok(());
                    }
                }
                _ => self.wakes.all(),
            }
        }
        Ok(())
    }

    /// Lets callers that wait alone read their answers themselves, while there are any.
    fn lend(&self, session: ReplySession, position: &mut Position) -> RedisResult<ReplySession> {
        self.wakes.all();
        let needed = || !self.ledger.is_empty() || self.member.stop.is_stopped();
        let back = self.turn.lend(session, LEFT_ALONE, needed);
        if let Back::Whole(session) | Back::Broken(session, _) = &back {
            *position = session.position;
        }
        back.into_result()
    }

    /// Reads answers in the thread that waits for `ticket`, if nobody else does: until the call has ended, at most
    /// until `until`. `None` if it is to wait as others read.
    pub fn wait_reading(&self, ticket: &Ticket, until: Instant, interrupt: &Interrupt) -> Option<Waited> {
        if until <= Instant::now() {
            return None;
        }
        self.turn.visit()?.read(
            |session, waker| {
                let waited = self.read_for(session, waker, ticket, until, interrupt);
                ticket.unhang();
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
            session.ask(&self.member)?;
            if let Some(outcome) = ticket.hang(waker) {
                return Ok(Waited::Done(outcome));
            }
            if interrupt.take() {
                return Ok(Waited::Interrupted);
            }
            match session.wait(waker, until)?.unwrap_or(Heard::TimeUp) {
                Heard::Socket => {
                    let rest = waker.wait_for_rest(until, || interrupt.is_set());
                    let answers = session.receive(&self.member, Some(&rest))?;
                    failpoint::visit();
                    // What it reads itself need not be woken for.
                    ticket.unhang();
                    self.take_in(session, answers);
                    self.wakes.all();
                }
                Heard::Waker => waker.silence(),
                Heard::TimeUp => return Ok(Waited::TimeUp),
            }
        }
    }

    /// Hands answers to their calls, whose callers are still to be woken.
    fn take_in(&self, session: &mut ReplySession, answers: Vec<RawEntry>) {
        if answers.is_empty() {
            session.position.follow(&self.member);
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
        // The id is looked up first: a malformed answer to an open call must end that call.
        let id = fields.get("id").and_then(Id::parse);
        let Some(ticket) = id.and_then(|id| self.ledger.close(id)) else {
            self.member.stats.answers_unmatched.increment();
            return size;
        };
        match Answer::decode(raw.id, &fields, self.member.options.max_content_size) {
            Ok(answer) => {
                let counter = match answer.status {
                    Status::Fulfilled => &self.member.stats.fulfilled,
                    _ => &self.member.stats.rejected,
                };
                counter.increment();
                ticket.finish_quietly(Ok(Arc::new(answer)));
                if let (true, Sent::Yes(id)) = (ticket.has_earlier_copy(), ticket.sent()) {
                    // Whichever copy was answered, the other is not wanted any more.
                    self.sender.send(Command::Withdraw(Arc::clone(&ticket), id));
                }
                self.wakes.put(ticket);
            }
            Err(error) => {
                self.member.stats.malformed.increment();
                self.member.stats.failed.increment();
                let message = format!("the answer from {:?} is malformed: {error}", ticket.to);
                let error = self.member.error(ErrorKind::Malformed, message, &ticket.to).entry(raw.id);
                self.member.reporter.failure(error.clone());
                ticket.finish(Err(error));
            }
        }
        size
    }
}
