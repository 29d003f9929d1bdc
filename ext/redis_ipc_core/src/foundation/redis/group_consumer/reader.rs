//! Reads new entries of a group, as many as there is room for.

use crate::error::Error;
use crate::foundation::redis::appetite::Appetite;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::group_consumer::admission::{Admission, admit};
use crate::foundation::redis::group_consumer::consumer::GroupConsumer;
use crate::foundation::redis::group_consumer::session::{BLOCK, GroupSession, Read};
use crate::foundation::redis::link::Link;
use crate::foundation::redis::read_cancel::ReadCancel;
use crate::foundation::runtime::busy_poll::BusyPoll;
use crate::foundation::runtime::failpoint;
use crate::foundation::runtime::shared_reader::SharedReader;
use crate::foundation::runtime::stop::Stop;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::waiting::Interrupt;
use crate::foundation::runtime::waker::{Heard, Waker};
use crate::foundation::runtime::work_queue::WorkQueue;
use redis::RedisResult;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How long a handler takes at most whose worker may read for itself: nobody reads meanwhile.
const QUICK: Duration = Duration::from_micros(500);
/// How long reading is left to workers, once none has come to read.
const LEFT_ALONE: Duration = Duration::from_millis(1);
/// The most entries that are asked for at once.
const MOST: usize = 512;

/// The reader of one group's new entries.
pub struct GroupReader<A: Admission> {
    consumer: Arc<GroupConsumer>,
    queue: Arc<WorkQueue<A::Held>>,
    admission: Arc<A>,
    /// The read under way.
    pub read_cancel: Arc<ReadCancel>,
    shared: SharedReader<GroupSession>,
    appetite: Arc<Mutex<Appetite>>,
    busy_poll: bool,
    quiet: Stop,
}

impl<A: Admission> GroupReader<A> {
    /// A reader that fills `queue` by way of `admission`. `waker` wakes workers that read for themselves; with
    /// `busy_poll` one that waits alone looks for an entry for a while before it sleeps.
    pub fn new(
        consumer: Arc<GroupConsumer>,
        queue: Arc<WorkQueue<A::Held>>,
        admission: Arc<A>,
        waker: Waker,
        busy_poll: bool,
    ) -> Self {
        let appetite = Arc::new(Mutex::new(Appetite::new(MOST)));
        let (read_cancel, shared, quiet) = (Arc::default(), SharedReader::new(waker), Stop::new());
        Self { consumer, queue, admission, read_cancel, shared, appetite, busy_poll, quiet }
    }

    /// Its thread: reads until [`GroupReader::stop`].
    pub fn run(&self, mut first: Option<Connection>) {
        let mut link = Link::new(&self.consumer.endpoint, &self.consumer.stream, first.is_some());
        while !self.quiet.is_stopped() {
            if let Err(error) = self.session(first.take(), &mut link)
                && !self.quiet.is_stopped()
            {
                link.lost(&error);
            }
        }
        self.shared.end();
    }

    /// Takes nothing more; a read under way ends at once.
    pub fn stop(&self) {
        self.quiet.stop();
        self.read_cancel.end();
        self.shared.recall();
    }

    fn session(&self, first: Option<Connection>, link: &mut Link<'_>) -> RedisResult<()> {
        let again = first.is_none();
        let mut connection = match first {
            Some(connection) => connection,
            None => {
                self.consumer.endpoint.connector.open_blocking(&self.consumer.stream, BLOCK, &self.quiet)?
            }
        };
        self.read_cancel.on(&connection);
        if again {
            // It may be another server, with another clock.
            self.consumer.endpoint.clock.read(&mut connection)?;
        }
        self.admission.prepare(&mut connection)?;
        self.recover(&mut connection)?;
        link.up();
        let (consumer, appetite) = (Arc::clone(&self.consumer), Arc::clone(&self.appetite));
        let mut session = GroupSession::new(consumer, connection, BusyPoll::new(self.busy_poll), appetite);
        while !self.quiet.is_stopped() {
            // What a visitor asked for may have been delivered already: room or not, it is held from when it is read.
            let room = if session.is_asked() { 1 } else { self.queue.wait_for_room(BLOCK) };
            failpoint::point();
            if session.is_gone() {
                return Ok(());
            }
            if let Some(pause) = self.admission.pause().filter(|_| !session.is_asked()) {
                // What is taken now could not be dealt with, and would only be lost with this process.
                self.quiet.pause(pause);
            } else if room > 0 && !self.quiet.is_stopped() {
                session.ask(room)?;
                let read = session.receive(None)?;
                let count = read.entries.len();
                self.queue.push_all(self.admit(read));
                if count == 1 && self.is_calm() && session.awaited().is_some() {
                    session = self.lend(session)?;
                }
            }
        }
        Ok(())
    }

    fn admit(&self, read: Read) -> Vec<Arc<A::Held>> {
        self.queue.note_pressure(read.is_full());
        admit(&*self.admission, &self.queue, read.entries, &HashMap::new())
    }

    /// Whether a worker that takes an entry is soon back for the next, and has time for it.
    fn is_calm(&self) -> bool {
        self.queue.is_calm(QUICK) && !self.quiet.is_stopped() && self.admission.pause().is_none()
    }

    /// Lets workers read new entries themselves, while these come one by one.
    fn lend(&self, session: GroupSession) -> RedisResult<GroupSession> {
        self.shared.lend(session, LEFT_ALONE, || !self.is_calm()).into_result()
    }

    /// Reads in a worker's thread, if nobody else does, until there is an entry for it. `None` if it is to look at the
    /// queue.
    pub fn read_for_worker(&self, interrupt: &Interrupt) -> Option<Arc<A::Held>> {
        let read = |session: &mut GroupSession, waker: &Arc<Waker>| {
            let held = self.read_one(session, waker, interrupt);
            self.queue.unhang();
            held
        };
        self.shared.visit()?.read(read, || !self.is_calm()).flatten()
    }

    fn read_one(
        &self,
        session: &mut GroupSession,
        waker: &Arc<Waker>,
        interrupt: &Interrupt,
    ) -> RedisResult<Option<Arc<A::Held>>> {
        while self.admission.pause().is_none() {
            session.ask(self.queue.room() + 1)?;
            if self.queue.hang(waker) || interrupt.is_set() {
                break;
            }
            let Some(heard) = session.wait(waker, session.overdue())? else { break };
            match heard {
                Heard::Socket => {
                    let rest = waker.wait_for_rest(session.overdue(), || interrupt.is_set());
                    let read = session.receive(Some(&rest))?;
                    failpoint::visit();
                    self.queue.unhang();
                    let held = self.queue.push_but_first(self.admit(read));
                    if held.is_some() {
                        return Ok(held);
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
        let mut missing = self.consumer.pending(connection)?;
        missing.retain(|entry| entry.deliveries == 1 && self.queue.held(entry.id).is_none());
        let fetched = self.consumer.fetch(&missing).map_err(|error: Error| io::Error::other(error))?;
        self.admission.give_up_unreadable(&fetched.unreadable);
        self.queue.push_all(admit(&*self.admission, &self.queue, fetched.entries, &HashMap::new()));
        Ok(())
    }
}
