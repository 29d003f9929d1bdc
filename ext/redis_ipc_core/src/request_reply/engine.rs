//! One connected stream: starts the parts, holds them together, and takes them down in order.

use crate::error::{Error, Fate};
use crate::foundation::payload::id::Id;
use crate::foundation::payload::limits::check_name;
use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::master_watch::MasterWatch;
use crate::foundation::redis::server_check::check_server;
use crate::foundation::runtime::reports::{self, Mailbox, Report, Watcher};
use crate::foundation::runtime::stats::Stats;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::threads::{join, spawn};
use crate::foundation::runtime::waker::Waker;
use crate::request_reply::asking::calls::Calls;
use crate::request_reply::asking::dispatcher::Dispatcher;
use crate::request_reply::asking::reply_session;
use crate::request_reply::books::in_flight::Claim;
use crate::request_reply::books::ledger::Ledger;
use crate::request_reply::books::request_queue::RequestQueue;
use crate::request_reply::housekeeper::{Housekeeper, Steady};
use crate::request_reply::membership::key_expiry;
use crate::request_reply::membership::member::Member;
use crate::request_reply::membership::options::Options;
use crate::request_reply::membership::presence::{self, Presence};
use crate::request_reply::protocol::keys::Keys;
use crate::request_reply::sending::Sender;
use crate::request_reply::sending::command_context::CommandContext;
use crate::request_reply::serving::admission::Admission;
use crate::request_reply::serving::dead_letters;
use crate::request_reply::serving::inbox_session;
use crate::request_reply::serving::intake::Intake;
use crate::request_reply::serving::service::Service;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A connected stream.
pub struct Engine {
    member: Arc<Member>,
    calls: Arc<Calls>,
    service: Arc<Service>,
    dispatcher: Arc<Dispatcher>,
    sender: Arc<Sender>,
    /// Reads the inbox, if there is a handler.
    intake: Option<Arc<Intake>>,
    reports: Mailbox<Report>,
    waker: Watcher,
    wakes: Mailbox<Id>,
    reader_thread: Mutex<Option<JoinHandle<()>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    quiet: AtomicBool,
    closed: AtomicBool,
}

impl Engine {
    /// Connects `group` to `stream`. With `serves` it takes requests; without, it only asks. Returns when it is ready;
    /// fails if Redis cannot be reached or refuses.
    pub fn start(stream: &str, group: &str, options: Options, serves: bool) -> Result<Self, Error> {
        let keys = Keys::new(stream)?;
        check_name("group", group)?;
        let stats = Arc::new(Stats::default());
        let (reporter, reports) = reports::reports(&stats);
        let member = Arc::new(Member::new(keys, group, serves, options, reporter, stats)?);
        let opened = open_connections(&member).map_err(|error| member.locate(error.of_connecting()))?;
        Self::assemble(member, reports, opened)
    }

    fn assemble(member: Arc<Member>, reports: Mailbox<Report>, opened: Opened) -> Result<Self, Error> {
        let (waker, wakes) = reports::ends();
        let ledger = Arc::new(Ledger::default());
        let queue = Arc::new(RequestQueue::new(member.options.consumer.pool_size));
        let context = CommandContext {
            member: Arc::clone(&member),
            ledger: Arc::clone(&ledger),
            queue: Arc::clone(&queue),
        };
        let sender = Arc::new(Sender::new(context, opened.sender));
        let dispatcher = Arc::new(Dispatcher::new(
            Arc::clone(&member),
            Arc::clone(&ledger),
            Arc::clone(&sender),
            opened.caller_waker,
        ));
        let calls =
            Arc::new(Calls::new(Arc::clone(&member), ledger, Arc::clone(&sender), Arc::clone(&dispatcher)));
        let admission =
            Arc::new(Admission::new(Arc::clone(&member), Arc::clone(&queue), Arc::clone(&sender)));
        let (consumer_waker, inbox) = opened.inbox.unzip();
        let intake = consumer_waker.map(|waker| {
            let admission = Arc::clone(&admission);
            Arc::new(Intake::new(Arc::clone(&member), Arc::clone(&queue), admission, waker))
        });
        let service = Arc::new(Service::new(
            Arc::clone(&member),
            Arc::clone(&queue),
            Arc::clone(&sender),
            intake.clone(),
        ));
        let housekeeper = Housekeeper {
            member: Arc::clone(&member),
            calls: Arc::clone(&calls),
            service: Arc::clone(&service),
            queue,
            admission,
            readings: [&dispatcher.read_cancel]
                .into_iter()
                .chain(intake.iter().map(|intake| &intake.read_cancel))
                .cloned()
                .collect(),
            master_watch: MasterWatch::default(),
            look: Mutex::default(),
            steady: Mutex::new(Steady::new()),
            restarted: Mutex::default(),
            told: Mutex::default(),
        };
        let engine = Self {
            member,
            calls,
            service,
            dispatcher,
            sender,
            intake,
            reports,
            waker,
            wakes,
            reader_thread: Mutex::default(),
            threads: Mutex::default(),
            quiet: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        };
        let started = engine.start_threads(housekeeper, opened.dispatcher, inbox);
        started.map_err(|error| {
            engine.close();
            engine.member.locate(error)
        })?;
        Ok(engine)
    }

    fn start_threads(
        &self,
        housekeeper: Housekeeper,
        replies: Connection,
        inbox: Option<Connection>,
    ) -> Result<(), Error> {
        self.sender.start()?;
        let (dispatcher, first) = (Arc::clone(&self.dispatcher), Mutex::new(Some(replies)));
        let replies = spawn("ipc-replies", &self.member, move || dispatcher.run(first.lock().take()))?;
        if let Some(intake) = &self.intake {
            let (intake, first) = (Arc::clone(intake), Mutex::new(inbox));
            *self.reader_thread.lock() =
                Some(spawn("ipc-inbox", &self.member, move || intake.run(first.lock().take()))?);
        }
        let housekeeper = spawn("ipc-house", &self.member, move || housekeeper.run())?;
        self.threads.lock().extend([replies, housekeeper]);
        Ok(())
    }

    /// The asking side.
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// The answering side.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// What there is to tell the user.
    pub fn reports(&self) -> &Mailbox<Report> {
        &self.reports
    }

    /// The unguessable name of this instance.
    pub fn instance(&self) -> &str {
        &self.member.instance
    }

    /// Redis's time, in ms since 1970.
    pub fn now(&self) -> u64 {
        self.member.clock.now()
    }

    /// Has the ends of calls among the reports.
    pub fn reporter(&self) -> Watcher {
        self.member.reporter.watcher()
    }

    /// Has the ends of calls that fibers wait for among the wakes, by a way of its own: no callback of the user's is
    /// before it.
    pub fn waker(&self) -> Watcher {
        self.waker.clone()
    }

    /// The calls that have ended and had the waker told.
    pub fn wakes(&self) -> &Mailbox<Id> {
        &self.wakes
    }

    /// The options it was started with.
    pub fn options(&self) -> &Options {
        &self.member.options
    }

    /// Its sockets, as a forked child sees them (which must touch nothing else of its parent's engine).
    pub fn inherited_sockets(&self) -> Vec<std::os::fd::RawFd> {
        self.member.connections.connector().sockets().inherited()
    }

    /// Whether it takes part: not stopped, and every connection stands.
    pub fn is_connected(&self) -> bool {
        !self.quiet.load(Ordering::SeqCst) && self.member.health.are_up()
    }

    /// The counters, and how many calls are open and requests held now.
    pub fn stats(&self) -> Vec<(&'static str, u64)> {
        let mut stats = self.member.stats.snapshot();
        stats.push(("open_calls", self.calls.open() as u64));
        stats.push(("held_requests", self.service.held() as u64));
        stats
    }

    /// Who is alive on the stream.
    pub fn instances(&self) -> Result<Vec<Presence>, Error> {
        presence::list(&self.member).map_err(|error| self.member.locate(error))
    }

    /// Up to `count` dead letters of `group` after the one with the id `after`.
    pub fn dead_letters(
        &self,
        group: &str,
        after: Option<StreamId>,
        count: usize,
    ) -> Result<Vec<RawEntry>, Error> {
        dead_letters::page(&self.member, group, after, count)
    }

    /// How many dead letters `group` has.
    pub fn count_dead_letters(&self, group: &str) -> Result<u64, Error> {
        dead_letters::count(&self.member, group)
    }

    /// Puts a dead letter of `group` into its inbox again, good for `ttl`; false if it is gone.
    pub fn retry_dead_letter(&self, group: &str, id: StreamId, ttl: Option<Duration>) -> Result<bool, Error> {
        dead_letters::retry(&self.member, group, id, ttl)
    }

    /// Deletes a dead letter of `group`; false if it was gone.
    pub fn discard_dead_letter(&self, group: &str, id: StreamId) -> Result<bool, Error> {
        dead_letters::discard(&self.member, group, id)
    }

    /// Takes no more requests, and gives back those that were not started. Idempotent.
    pub fn quiet(&self) {
        if self.quiet.swap(true, Ordering::SeqCst) {
            return;
        }
        self.service.stop();
        self.stop_reading();
        let thread = self.reader_thread.lock().take();
        join(thread);
        let closing = self.member.connections.connector().closing();
        if self.member.serves
            && let Err(error) = closing.hurry(|| self.service.hand_on_unstarted())
        {
            self.member.reporter.failure(self.member.locate(error));
        }
    }

    /// Ends everything: sends what is queued, ends open calls, hands on what was not answered, leaves the stream tidy.
    /// Idempotent.
    pub fn close(&self) {
        self.quiet();
        if self.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        let open = self.service.seal();
        self.member.connections.connector().closing().begin();
        self.calls.end_all();
        self.sender.close();
        // Those that came in between: nothing goes out any more.
        self.calls.end_all();
        self.member.stop.stop();
        self.dispatcher.restart();
        let threads = std::mem::take(&mut *self.threads.lock());
        threads.into_iter().for_each(|thread| join(Some(thread)));
        if let Err(error) = self.leave(&open) {
            self.member.reporter.failure(self.member.locate(error));
        }
        self.member.connections.close();
        self.reports.close();
        self.wakes.close();
    }

    fn stop_reading(&self) {
        self.intake.iter().for_each(|intake| intake.stop());
    }

    fn leave(&self, open: &[Arc<Claim>]) -> Result<(), Error> {
        if self.member.serves {
            self.service.hand_on_open(open)?;
            self.service.hand_on_rest()?;
        }
        presence::leave(&self.member)
    }
}

impl Drop for Engine {
    /// An engine nobody closed: its threads end by themselves.
    fn drop(&mut self) {
        self.service.stop();
        self.stop_reading();
        self.sender.stop();
        self.member.stop.stop();
        self.dispatcher.restart();
        self.reports.close();
        self.wakes.close();
    }
}

struct Opened {
    sender: Option<Connection>,
    dispatcher: Connection,
    caller_waker: Waker,
    /// What its reader reads on, and is woken by; none without a handler.
    inbox: Option<(Waker, Connection)>,
}

/// Every connection an engine cannot do without, and the first words on them.
fn open_connections(member: &Member) -> Result<Opened, Error> {
    let connections = &member.connections;
    let connector = connections.connector();
    let explain = |error| connector.explain(&error, Fate::NotSent);
    let mut first = connector.open_for(&member.inbox).map_err(explain)?;
    if check_server(&mut first).map_err(explain)? {
        connector.is_node_of_cluster();
    }
    connections.with(&member.inbox, |connection| {
        member.clock.read(connection)?;
        if member.serves { key_expiry::join_group(connection, member) } else { Ok(()) }
    })?;
    connections.with(&member.replies, |connection| key_expiry::make_replies(connection, member))?;
    presence::announce(member)?;
    let new_waker = || Waker::new(connector.sockets()).map_err(|error| explain(error.into()));
    let inbox = || {
        let inbox =
            connector.open_blocking(&member.inbox, inbox_session::BLOCK, &member.stop).map_err(explain)?;
        Ok((new_waker()?, inbox))
    };
    Ok(Opened {
        sender: (!connector.is_cluster()).then_some(first),
        dispatcher: connector
            .open_blocking(&member.replies, reply_session::block(member), &member.stop)
            .map_err(explain)?,
        caller_waker: new_waker()?,
        inbox: member.serves.then(inbox).transpose()?,
    })
}
