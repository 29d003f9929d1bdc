//! Reads new entries of a group, as many as there is room for.

use crate::error::Error;
use crate::foundation::redis::client_name::Purpose;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::group_consumer::admission::Admission;
use crate::foundation::redis::group_consumer::consumer::GroupConsumer;
use crate::foundation::redis::group_consumer::session::{BLOCK, GroupSession, Read};
use crate::foundation::redis::link::Link;
use crate::foundation::redis::read_cancel::ReadCancel;
use crate::foundation::redis::read_size::ReadSize;
use crate::foundation::runtime::busy_poll::BusyPoll;
use crate::foundation::runtime::failpoint;
use crate::foundation::runtime::shared_reader::SharedReader;
use crate::foundation::runtime::stop::Stop;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::waiting::Interrupt;
use crate::foundation::runtime::waker::{WaitEnd, Waker};
use crate::foundation::runtime::work_queue::WorkQueue;
use redis::RedisResult;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The longest run time of a handler whose worker may read for itself. While the handler runs, no thread reads.
const QUICK: Duration = Duration::from_micros(500);
/// How long reading is left to workers once no worker reads.
const LEFT_ALONE: Duration = Duration::from_millis(1);
/// The pause before a read is repeated whose group had vanished.
const MENDED: Duration = Duration::from_millis(5);
/// The most entries that one read requests.
const MOST: usize = 512;

/// The reader of one group's new entries.
pub struct GroupReader<A: Admission> {
    consumer: Arc<GroupConsumer>,
    queue: Arc<WorkQueue<A::Held>>,
    admission: Arc<A>,
    /// Cancels the current read.
    pub read_cancel: Arc<ReadCancel>,
    shared: SharedReader<GroupSession>,
    read_size: Arc<Mutex<ReadSize>>,
    busy_poll: bool,
    quiet: Stop,
    /// The current read was ended on purpose, so the connection is not lost.
    is_renewing: AtomicBool,
}

impl<A: Admission> GroupReader<A> {
    /// Creates a reader that fills `queue` through `admission`. `waker` wakes workers that read for themselves. With
    /// `busy_poll` a worker that waits alone polls for an entry before it sleeps.
    pub fn new(
        consumer: Arc<GroupConsumer>,
        queue: Arc<WorkQueue<A::Held>>,
        admission: Arc<A>,
        waker: Waker,
        busy_poll: bool,
    ) -> Self {
        let read_size = Arc::new(Mutex::new(ReadSize::new(MOST)));
        let (read_cancel, shared, quiet) = (Arc::default(), SharedReader::new(waker), Stop::default());
        Self {
            consumer,
            queue,
            admission,
            read_cancel,
            shared,
            read_size,
            busy_poll,
            quiet,
            is_renewing: AtomicBool::new(false),
        }
    }

    /// Runs the reader's thread until [`GroupReader::stop`].
    pub fn run(&self, mut first: Option<Connection>) {
        let mut link = Link::new(&self.consumer.endpoint, &self.consumer.stream, first.is_some());
        while !self.quiet.is_stopped() {
            if let Err(error) = self.session(first.take(), &mut link)
                && !self.quiet.is_stopped()
                && !self.is_renewing.swap(false, Ordering::SeqCst)
            {
                if self.admission.is_mended(&error) {
                    self.quiet.pause(MENDED);
                } else {
                    link.lost(&error);
                }
            }
        }
        self.shared.end();
    }

    /// Ends the current read, and reads again. A blocked XREADGROUP does not notice that the group was moved.
    pub fn renew(&self) {
        self.is_renewing.store(true, Ordering::SeqCst);
        self.read_cancel.end();
    }

    /// Takes no more entries. The current read ends at once.
    pub fn stop(&self) {
        self.quiet.stop();
        self.read_cancel.end();
        self.shared.recall();
    }

    fn session(&self, first: Option<Connection>, link: &mut Link<'_>) -> RedisResult<()> {
        let again = first.is_none();
        let consumer = &self.consumer;
        let open = || {
            consumer.endpoint.connector.opener(Purpose::Reader).open_blocking(
                &consumer.stream,
                BLOCK,
                &self.quiet,
            )
        };
        let mut connection = first.map_or_else(open, Ok)?;
        self.is_renewing.store(false, Ordering::SeqCst);
        self.read_cancel.on(&connection);
        if again {
            // It may be another server, with another clock.
            self.consumer.endpoint.clock.read(&mut connection)?;
        }
        self.admission.prepare(&mut connection)?;
        self.recover(&mut connection)?;
        link.up();
        let (consumer, read_size) = (Arc::clone(&self.consumer), Arc::clone(&self.read_size));
        let mut session = GroupSession::new(consumer, connection, BusyPoll::new(self.busy_poll), read_size);
        while !self.quiet.is_stopped() {
            // The entries that a follower requested may have been delivered already. They are held once they are
            // read, even without room.
            let room = if session.is_asked() { 1 } else { self.queue.wait_for_room(BLOCK) };
            failpoint::point();
            if session.is_gone() {
                return Ok(());
            }
            if let Some(pause) = self.admission.pause().filter(|_| !session.is_asked()) {
                // An entry that is taken now could not be finished, and would only be lost with this process.
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
        self.admission.admit(read.entries, &HashMap::new())
    }

    /// Whether a worker that takes an entry soon takes the next one, and so has time to read.
    fn is_calm(&self) -> bool {
        self.queue.is_calm(QUICK) && !self.quiet.is_stopped() && self.admission.pause().is_none()
    }

    /// Lets workers read new entries themselves, while entries come one by one.
    fn lend(&self, session: GroupSession) -> RedisResult<GroupSession> {
        self.shared.lend(session, LEFT_ALONE, || !self.is_calm()).into_result()
    }

    /// Reads in a worker's thread, if no other thread does, until there is an entry for it. Returns `None` if the
    /// worker is to check the queue.
    pub fn read_for_worker(&self, interrupt: &Interrupt) -> Option<Arc<A::Held>> {
        let read = |session: &mut GroupSession, waker: &Arc<Waker>| {
            let held = self.read_one(session, waker, interrupt);
            self.queue.unregister_waker();
            held
        };
        self.shared.follow()?.read(read, || !self.is_calm()).flatten()
    }

    fn read_one(
        &self,
        session: &mut GroupSession,
        waker: &Arc<Waker>,
        interrupt: &Interrupt,
    ) -> RedisResult<Option<Arc<A::Held>>> {
        while self.admission.pause().is_none() {
            session.ask(self.queue.room() + 1)?;
            if self.queue.register_waker(waker) || interrupt.is_set() {
                break;
            }
            let Some(heard) = session.wait(waker, session.overdue())? else { break };
            match heard {
                WaitEnd::Socket => {
                    let rest = waker.wait_for_rest(session.overdue(), || interrupt.is_set());
                    let read = session.receive(Some(&rest))?;
                    failpoint::follower();
                    self.queue.unregister_waker();
                    let held = self.queue.push_but_first(self.admit(read));
                    if held.is_some() {
                        return Ok(held);
                    }
                }
                WaitEnd::Waker => waker.clear(),
                WaitEnd::TimeUp => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            }
        }
        Ok(None)
    }

    /// Takes the entries that were delivered on a connection that broke before they arrived: they are pending under
    /// this consumer's name. Entries that were delivered to others may still run there, so they are left to the
    /// leases.
    fn recover(&self, connection: &mut Connection) -> RedisResult<()> {
        let mut missing = self.consumer.pending_but_held(connection, &self.queue)?;
        missing.retain(|entry| entry.deliveries == 1);
        let fetched = self.consumer.fetch(&missing).map_err(|error: Error| io::Error::other(error))?;
        self.admission.give_up_unreadable(&fetched.unreadable);
        self.queue.push_all(self.admission.admit(fetched.entries, &HashMap::new()));
        Ok(())
    }
}
