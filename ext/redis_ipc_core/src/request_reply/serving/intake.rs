//! Reads requests from the group's inbox, as many as there is room for.

use crate::foundation::redis::appetite::Appetite;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::link::Link;
use crate::foundation::redis::read_cancel::ReadCancel;
use crate::foundation::runtime::busy_poll::BusyPoll;
use crate::foundation::runtime::failpoint;
use crate::foundation::runtime::shared_reader::SharedReader;
use crate::foundation::runtime::stop::Stop;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::waiting::Interrupt;
use crate::foundation::runtime::waker::{Heard, Waker};
use crate::request_reply::books::in_flight::Claim;
use crate::request_reply::books::request_queue::RequestQueue;
use crate::request_reply::membership::key_expiry;
use crate::request_reply::membership::member::Member;
use crate::request_reply::serving::admission::Admission;
use crate::request_reply::serving::inbox_session::{BLOCK, InboxSession};
use crate::request_reply::serving::lease;
use redis::RedisResult;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How long a handler takes at most whose consumer may read for itself: nobody reads meanwhile.
const QUICK: Duration = Duration::from_micros(500);
/// How long the inbox is left to consumers, once none has come to read it.
const LEFT_ALONE: Duration = Duration::from_millis(1);

/// The most requests that are asked for at once.
const MOST: usize = 512;

/// The reader of one inbox.
pub struct Intake {
    member: Arc<Member>,
    queue: Arc<RequestQueue>,
    admission: Arc<Admission>,
    /// The read under way.
    pub read_cancel: Arc<ReadCancel>,
    turn: SharedReader<InboxSession>,
    appetite: Arc<Mutex<Appetite>>,
    quiet: Stop,
}

impl Intake {
    /// A reader that fills `queue` by way of `admission`. `waker` wakes consumers that read for themselves.
    pub fn new(
        member: Arc<Member>,
        queue: Arc<RequestQueue>,
        admission: Arc<Admission>,
        waker: Waker,
    ) -> Self {
        let (read_cancel, turn, quiet) = (Arc::default(), SharedReader::new(waker), Stop::new());
        let appetite = Arc::new(Mutex::new(Appetite::new(MOST)));
        Self { member, queue, admission, read_cancel, turn, appetite, quiet }
    }

    /// Its thread: reads until [`Intake::stop`].
    pub fn run(&self, mut first: Option<Connection>) {
        let mut link = Link::new(&self.member, &self.member.inbox, first.is_some());
        while !self.quiet.is_stopped() {
            if let Err(error) = self.session(first.take(), &mut link)
                && !self.quiet.is_stopped()
            {
                link.lost(&error);
            }
        }
        self.turn.end();
    }

    /// Takes nothing more; a read under way ends at once.
    pub fn stop(&self) {
        self.quiet.stop();
        self.read_cancel.end();
        self.turn.recall();
    }

    fn session(&self, first: Option<Connection>, link: &mut Link<'_, Member>) -> RedisResult<()> {
        let again = first.is_none();
        let mut connection = match first {
            Some(connection) => connection,
            None => {
                self.member.connections.connector().open_blocking(&self.member.inbox, BLOCK, &self.quiet)?
            }
        };
        self.read_cancel.on(&connection);
        if again {
            // It may be another server, with another clock.
            self.member.clock.read(&mut connection)?;
        }
        key_expiry::join_group(&mut connection, &self.member)?;
        self.recover(&mut connection)?;
        link.up();
        let busy_poll = BusyPoll::new(self.member.options.consumer.busy_poll);
        let mut session = InboxSession::new(connection, busy_poll, Arc::clone(&self.appetite));
        while !self.quiet.is_stopped() {
            // What a visitor asked for may have been delivered already: room or not, it is held from when it is read.
            let room = if session.is_asked() { 1 } else { self.queue.wait_for_room(BLOCK) };
            failpoint::point();
            if session.is_gone() {
                return Ok(());
            }
            if let Some(pause) = self.member.acceptance.pause().filter(|_| !session.is_asked()) {
                // Answers could not be written: what is taken now would only be lost with this process.
                self.quiet.pause(pause);
            } else if room > 0 && !self.quiet.is_stopped() {
                session.ask(&self.member, room)?;
                let read = session.receive(&self.member, None)?;
                self.queue.note_pressure(read.is_full());
                let count = read.entries.len();
                self.admission.receive(read.entries, &HashMap::new());
                if count == 1 && self.is_calm() && session.awaited().is_some() {
                    session = self.lend(session)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a consumer that takes a request is soon back for the next, and has time for it.
    fn is_calm(&self) -> bool {
        self.queue.is_calm(QUICK) && !self.quiet.is_stopped() && self.member.acceptance.pause().is_none()
    }

    /// Lets consumers read the inbox themselves, while requests come one by one.
    fn lend(&self, session: InboxSession) -> RedisResult<InboxSession> {
        self.turn.lend(session, LEFT_ALONE, || !self.is_calm()).into_result()
    }

    /// Reads the inbox in a consumer's thread, if nobody else does, until there is a request for it. `None` if it is to
    /// look at the queue.
    pub fn take_reading(&self, interrupt: &Interrupt) -> Option<Arc<Claim>> {
        let read = |session: &mut InboxSession, waker: &Arc<Waker>| {
            let claim = self.read_for_consumer(session, waker, interrupt);
            self.queue.unhang();
            claim
        };
        self.turn.visit()?.read(read, || !self.is_calm()).flatten()
    }

    fn read_for_consumer(
        &self,
        session: &mut InboxSession,
        waker: &Arc<Waker>,
        interrupt: &Interrupt,
    ) -> RedisResult<Option<Arc<Claim>>> {
        while self.member.acceptance.pause().is_none() {
            session.ask(&self.member, self.queue.room() + 1)?;
            if self.queue.hang(waker) || interrupt.is_set() {
                break;
            }
            let overdue = session.overdue(&self.member);
            let Some(heard) = session.wait(waker, overdue)? else { break };
            match heard {
                Heard::Socket => {
                    let rest = waker.wait_for_rest(session.overdue(&self.member), || interrupt.is_set());
                    let read = session.receive(&self.member, Some(&rest))?;
                    failpoint::visit();
                    self.queue.unhang();
                    self.queue.note_pressure(read.is_full());
                    let admitted = self.admission.admit(read.entries, &HashMap::new());
                    let claim = self.queue.push_but_first(admitted);
                    if claim.is_some() {
                        return Ok(claim);
                    }
                }
                Heard::Waker => waker.silence(),
                Heard::TimeUp => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            }
        }
        Ok(None)
    }

    /// What was delivered on a connection that broke before it arrived is pending under our name. What was delivered
    /// before to others may still be running there: that is left to the leases.
    fn recover(&self, connection: &mut Connection) -> RedisResult<()> {
        let mut missing = lease::pending(connection, &self.member)?;
        missing.retain(|(id, deliveries)| *deliveries == 1 && self.queue.held(*id).is_none());
        let fetched = lease::fetch(&self.member, &missing).map_err(io::Error::other)?;
        self.admission.bury_unreadable(&fetched.unreadable);
        self.admission.receive(fetched.entries, &HashMap::new());
        Ok(())
    }
}
