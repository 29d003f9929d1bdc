//! The engine of one connected stream. It starts its parts, connects them, and stops them in order.

use crate::error::{Error, Fate};
use crate::foundation::payload::guarantee::Guarantee;
use crate::foundation::payload::id::Id;
use crate::foundation::redis::client_name::Purpose;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::group_consumer::consumer::GroupConsumer;
use crate::foundation::redis::group_consumer::session;
use crate::foundation::redis::group_consumer::take_over::TakeOver;
use crate::foundation::redis::master_watch::MasterWatch;
use crate::foundation::redis::record::writer::RecordWriter;
use crate::foundation::redis::running::Running;
use crate::foundation::redis::server_check::open_checked;
use crate::foundation::runtime::id_source::IdSource;
use crate::foundation::runtime::news::News;
use crate::foundation::runtime::nudge::Nudge;
use crate::foundation::runtime::reports::Mailbox;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::threads::{join, spawn};
use crate::foundation::runtime::waker::Waker;
use crate::request_reply::asking::calls::Calls;
use crate::request_reply::asking::reply_reader::ReplyReader;
use crate::request_reply::asking::reply_session;
use crate::request_reply::housekeeper::Housekeeper;
use crate::request_reply::membership::inbox::Inbox;
use crate::request_reply::membership::instance::Instance;
use crate::request_reply::membership::options::Options;
use crate::request_reply::membership::presence::Presence;
use crate::request_reply::membership::registry::Registry;
use crate::request_reply::membership::reply_stream::ReplyStream;
use crate::request_reply::portrait::Portrait;
use crate::request_reply::sending::Sender;
use crate::request_reply::sending::acceptance::Acceptance;
use crate::request_reply::sending::command_context::CommandContext;
use crate::request_reply::sending::explainer::Explainer;
use crate::request_reply::sending::reply_room::ReplyRoom;
use crate::request_reply::serving::admission::Admission;
use crate::request_reply::serving::dead_letters::GroupLetters;
use crate::request_reply::serving::service::{InboxReader, Service};
use crate::request_reply::serving::suspect_marks::SuspectMarks;
use crate::request_reply::tracking::in_flight::InFlight;
use crate::request_reply::tracking::ledger::Ledger;
use crate::request_reply::tracking::request_queue::RequestQueue;
use crate::request_reply::tracking::suspects::Suspects;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A connected stream: one instance of a group.
pub struct Engine {
    instance: Arc<Instance>,
    registry: Arc<Registry>,
    record: Arc<RecordWriter>,
    /// The part that makes calls.
    pub calls: Arc<Calls>,
    /// The part that serves requests.
    pub service: Arc<Service>,
    reply_reader: Arc<ReplyReader>,
    sender: Arc<Sender>,
    /// Reads the inbox. `None` without a handler.
    reader: Option<Arc<InboxReader>>,
    marks: Arc<SuspectMarks>,
    /// The ends of calls for which fibers wait. They have a queue of their own, so that no
    /// callback of the user delays them.
    pub wakes: Mailbox<Id>,
    reader_thread: Mutex<Option<JoinHandle<()>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    quiet: AtomicBool,
    closed: AtomicBool,
}

/// The state that the parts of an engine share.
struct Parts {
    instance: Arc<Instance>,
    registry: Arc<Registry>,
    inbox: Arc<Inbox>,
    replies: Arc<ReplyStream>,
    consumer: Arc<GroupConsumer>,
    serves: bool,
}

impl Parts {
    fn new(instance: Instance, serves: bool) -> Self {
        let instance = Arc::new(instance);
        Self {
            registry: Arc::new(Registry::new(Arc::clone(&instance), serves)),
            inbox: Arc::new(Inbox::new(Arc::clone(&instance))),
            replies: Arc::new(ReplyStream::new(Arc::clone(&instance))),
            consumer: Arc::new(instance.group_consumer()),
            serves,
            instance,
        }
    }

    /// Opens every connection that an engine must have, and prepares Redis on them.
    fn open_connections(&self) -> Result<Opened, Error> {
        let (names, endpoint) = (&self.instance.names, &self.instance.endpoint);
        let (connections, connector) = (&self.instance.connections, &endpoint.connector);
        let explain = |error| connector.explain(&error, Fate::NotSent);
        let first = open_checked(connector, Purpose::Sender, &names.inbox).map_err(explain)?;
        connections.with(&names.inbox, |connection| {
            endpoint.clock.read(connection)?;
            if self.serves { self.inbox.join(connection) } else { Ok(()) }
        })?;
        self.replies.restore()?;
        self.registry.announce()?;
        let new_waker = || Waker::new(connector.sockets()).map_err(|error| explain(error.into()));
        let inbox = || {
            let inbox = connector
                .opener(Purpose::Reader)
                .open_blocking(&names.inbox, session::BLOCK, &endpoint.stop)
                .map_err(explain)?;
            Ok((new_waker()?, inbox))
        };
        Ok(Opened {
            sender: (!connector.is_cluster()).then_some(first),
            replies: connector
                .opener(Purpose::Replies)
                .open_blocking(&names.replies, reply_session::block(&self.replies), &endpoint.stop)
                .map_err(explain)?,
            caller_waker: new_waker()?,
            inbox: self.serves.then(inbox).transpose()?,
        })
    }
}

struct Opened {
    sender: Option<Connection>,
    replies: Connection,
    caller_waker: Waker,
    /// The waker and the connection of the inbox's reader. `None` without a handler.
    inbox: Option<(Waker, Connection)>,
}

impl Engine {
    /// Connects `group` to `stream`. Returns when the engine is ready. With `serves` it takes requests; without, it
    /// only makes calls.
    ///
    /// # Errors
    ///
    /// A name is not valid, the system has no random numbers or no thread, Redis cannot be reached, or Redis refuses.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use redis_ipc_core::Running;
    /// use redis_ipc_core::request_reply::{Engine, Options};
    ///
    /// # fn main() -> Result<(), redis_ipc_core::Error> {
    /// let options = Options::parse(serde_json::json!({}), Some("redis://localhost:6379"), &[])?;
    /// let engine = Engine::start("house", "child", options, true)?;
    /// assert!(engine.is_connected());
    /// engine.close();
    /// # Ok(())
    /// # }
    /// ```
    pub fn start(stream: &str, group: &str, options: Options, serves: bool) -> Result<Self, Error> {
        let parts = Parts::new(Instance::new(stream, group, options)?, serves);
        let opened = parts
            .open_connections()
            .map_err(|error| parts.instance.endpoint.locate(error.of_connecting()))?;
        Self::assemble(&parts, opened)
    }

    fn assemble(parts: &Parts, opened: Opened) -> Result<Self, Error> {
        let Parts { instance, registry, inbox, replies, consumer, serves } = parts;
        let options = &instance.options.consumer;
        let (ledger, acceptance) = (Arc::new(Ledger::default()), Arc::new(Acceptance::default()));
        let queue = Arc::new(RequestQueue::new(options.pool_size));
        let nudge = Arc::<Nudge>::default();
        let explainer =
            Arc::new(Explainer::new(Arc::clone(instance), Arc::clone(registry), Arc::clone(&nudge)));
        let suspects = Arc::new(Suspects::new(options.lease, Arc::clone(&nudge)));
        let context = CommandContext {
            instance: Arc::clone(instance),
            replies: Arc::clone(replies),
            ledger: Arc::clone(&ledger),
            queue: Arc::clone(&queue),
            acceptance: Arc::clone(&acceptance),
            reply_room: ReplyRoom::new(instance.options.max_content_size),
            explainer: Arc::clone(&explainer),
            suspects: Arc::clone(&suspects),
            unacknowledged: News::default(),
            unwithdrawn: News::default(),
            unkept: News::default(),
        };
        let sender = Arc::new(Sender::new(context, opened.sender));
        let reply_reader = Arc::new(ReplyReader::new(
            Arc::clone(instance),
            Arc::clone(replies),
            Arc::clone(&ledger),
            Arc::clone(&sender),
            opened.caller_waker,
        ));
        let calls = Arc::new(Calls {
            instance: Arc::clone(instance),
            ledger,
            sender: Arc::clone(&sender),
            reply_reader: Arc::clone(&reply_reader),
            ids: IdSource::default(),
        });
        let marks = Arc::new(SuspectMarks::new(
            Arc::clone(instance),
            Arc::clone(consumer),
            Arc::clone(registry),
            Arc::clone(&suspects),
        ));
        let admission = Arc::new(Admission::new(
            Arc::clone(instance),
            Arc::clone(inbox),
            Arc::clone(consumer),
            Arc::clone(&queue),
            Arc::clone(&sender),
            acceptance,
            Arc::clone(&marks),
        ));
        let (consumer_waker, inbox_connection) = opened.inbox.unzip();
        let reader = consumer_waker.map(|waker| {
            let (consumer, queue, admission) =
                (Arc::clone(consumer), Arc::clone(&queue), Arc::clone(&admission));
            Arc::new(InboxReader::new(consumer, queue, admission, waker, options.busy_poll))
        });
        let service = Arc::new(Service {
            instance: Arc::clone(instance),
            inbox: Arc::clone(inbox),
            consumer: Arc::clone(consumer),
            queue: Arc::clone(&queue),
            handling: Arc::default(),
            sender: Arc::clone(&sender),
            suspects: Arc::clone(&suspects),
            reader: reader.clone(),
        });
        // With at-most-once delivery no request is started twice.
        let max_deliveries = (options.delivery == Guarantee::AtLeastOnce).then_some(options.max_deliveries);
        let record = Arc::new(instance.record());
        let portrait =
            Portrait { service: Arc::clone(&service), ledger: Arc::clone(&calls.ledger), serves: *serves };
        let blocking_reads = [&reply_reader.read_cancel].into_iter();
        let housekeeper = Housekeeper {
            instance: Arc::clone(instance),
            registry: Arc::clone(registry),
            replies: Arc::clone(replies),
            consumer: Arc::clone(consumer),
            calls: Arc::clone(&calls),
            service: Arc::clone(&service),
            serves: *serves,
            inbox: Arc::clone(inbox),
            take_over: TakeOver::new(Arc::clone(consumer), queue, admission, options.lease, max_deliveries),
            blocking_reads: blocking_reads
                .chain(reader.iter().map(|reader| &reader.read_cancel))
                .cloned()
                .collect(),
            explainer,
            suspects,
            marks: Arc::clone(&marks),
            nudge,
            master_watch: MasterWatch::default(),
            news: News::default(),
            record: Arc::clone(&record),
            portrait,
        };
        instance.endpoint.report_eviction("requests, answers and the signs of life of the instances", true);
        // Before the first request is taken: the group may have been told to pause.
        record.write(&housekeeper.portrait, &mut Arc::clone(&instance.connections));
        let engine = Self {
            instance: Arc::clone(instance),
            registry: Arc::clone(registry),
            record,
            calls,
            service,
            reply_reader,
            sender,
            reader,
            marks,
            wakes: Mailbox::default(),
            reader_thread: Mutex::default(),
            threads: Mutex::default(),
            quiet: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        };
        let started = engine.start_threads(housekeeper, opened.replies, inbox_connection);
        started.map_err(|error| {
            engine.close();
            engine.instance.endpoint.locate(error)
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
        let endpoint = &self.instance.endpoint;
        let (reader, first) = (Arc::clone(&self.reply_reader), Mutex::new(Some(replies)));
        let replies = spawn("ipc-replies", endpoint, move || reader.run(first.lock().take()))?;
        if let Some(reader) = &self.reader {
            let (reader, first) = (Arc::clone(reader), Mutex::new(inbox));
            *self.reader_thread.lock() =
                Some(spawn("ipc-inbox", endpoint, move || reader.run(first.lock().take()))?);
        }
        let housekeeper = spawn("ipc-house", endpoint, move || housekeeper.run())?;
        self.threads.lock().extend([replies, housekeeper]);
        Ok(())
    }

    /// Returns the unguessable id of this instance.
    pub fn instance(&self) -> &str {
        &self.instance.names.instance_id
    }

    /// Returns Redis's time, in ms since 1970.
    pub fn now(&self) -> u64 {
        self.instance.endpoint.clock.now()
    }

    /// Returns the options it was started with.
    pub fn options(&self) -> &Options {
        &self.instance.options
    }

    /// Returns the living instances of the stream.
    ///
    /// # Errors
    ///
    /// Redis cannot be asked, or lists too many instances.
    pub fn instances(&self) -> Result<Vec<Presence>, Error> {
        self.registry.list().map_err(|error| self.instance.endpoint.locate(error))
    }

    /// Returns the dead letters of `group`. That its name is not valid, or that Redis cannot be asked, they say when
    /// they are asked.
    pub fn dead_letters<'a>(&'a self, group: &'a str) -> GroupLetters<'a> {
        GroupLetters::new(&self.instance, group)
    }

    fn stop_reading(&self) {
        self.reader.iter().for_each(|reader| reader.stop());
    }

    fn leave(&self, open: &[Arc<InFlight>]) -> Result<(), Error> {
        if self.reader.is_some() {
            self.service.hand_on_open(open)?;
            self.service.hand_on_rest()?;
            self.service.suspects.leave();
            self.marks.clear()?;
        }
        self.registry.leave()?;
        self.record.remove(&mut Arc::clone(&self.instance.connections))
    }
}

impl Running for Engine {
    fn endpoint(&self) -> &Endpoint {
        &self.instance.endpoint
    }

    fn stats(&self) -> Vec<(&'static str, u64)> {
        let mut stats = self.instance.endpoint.stats.snapshot();
        stats.push(("open_calls", self.calls.ledger.len() as u64));
        stats.push(("held_requests", self.service.queue.len() as u64));
        stats.push(("paused", u64::from(self.instance.control.is_paused())));
        stats
    }

    fn details(&self) -> Value {
        let (outcomes, handling) = (&self.calls.ledger.outcomes, &self.service.handling);
        let (wait, run) = (handling.wait.to_json(), handling.run.to_json());
        let histograms = json!({ "call": outcomes.call.to_json(), "wait": wait, "run": run });
        json!({ "histograms": histograms, "outcomes": outcomes.to_json() })
    }

    fn has_stopped(&self) -> bool {
        self.quiet.load(Ordering::SeqCst)
    }

    /// Takes no more requests, and gives back the unstarted ones.
    fn quiet(&self) {
        if self.quiet.swap(true, Ordering::SeqCst) {
            return;
        }
        self.service.queue.close();
        self.stop_reading();
        let thread = self.reader_thread.lock().take();
        join(thread);
        let closing = self.instance.endpoint.connector.closing();
        if self.reader.is_some()
            && let Err(error) = closing.with_short_limit(|| self.service.hand_on_unstarted())
        {
            self.instance.endpoint.report(error);
        }
    }

    /// Sends what is queued, ends open calls, hands on unanswered requests, removes this instance from the stream's
    /// keys, and closes.
    fn close(&self) {
        self.quiet();
        if self.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        let open = self.service.seal();
        self.instance.endpoint.connector.closing().begin();
        self.calls.end_all();
        self.sender.close();
        // Calls that were made meanwhile end too, because no command is sent any more.
        self.calls.end_all();
        self.instance.endpoint.stop.stop();
        self.reply_reader.restart();
        let threads = std::mem::take(&mut *self.threads.lock());
        threads.into_iter().for_each(|thread| join(Some(thread)));
        if let Err(error) = self.leave(&open) {
            self.instance.endpoint.report(error);
        }
        self.instance.connections.close();
        self.instance.endpoint.reports.close();
        self.wakes.close();
    }
}

impl Drop for Engine {
    /// An engine that was not closed lets its threads end by themselves.
    fn drop(&mut self) {
        self.service.queue.close();
        self.stop_reading();
        self.sender.stop();
        self.instance.endpoint.stop.stop();
        self.reply_reader.restart();
        self.instance.endpoint.reports.close();
        self.wakes.close();
    }
}
