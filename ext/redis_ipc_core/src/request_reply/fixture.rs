//! The parts of an instance for tests, with a fake Redis.

use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::fake_server::FakeServer;
use crate::foundation::runtime::id_source::IdSource;
use crate::foundation::runtime::news::News;
use crate::foundation::runtime::nudge::Nudge;
use crate::foundation::runtime::reports::{Fetched, Report};
use crate::foundation::runtime::waker::Waker;
use crate::request_reply::asking::calls::Calls;
use crate::request_reply::asking::reply_reader::ReplyReader;
use crate::request_reply::membership::inbox::Inbox;
use crate::request_reply::membership::instance::Instance;
use crate::request_reply::membership::options::Options;
use crate::request_reply::membership::registry::Registry;
use crate::request_reply::membership::reply_stream::ReplyStream;
use crate::request_reply::sending::Sender;
use crate::request_reply::sending::acceptance::Acceptance;
use crate::request_reply::sending::command_context::CommandContext;
use crate::request_reply::sending::explainer::Explainer;
use crate::request_reply::sending::reply_room::ReplyRoom;
use crate::request_reply::serving::admission::Admission;
use crate::request_reply::serving::suspect_marks::SuspectMarks;
use crate::request_reply::tracking::ledger::Ledger;
use crate::request_reply::tracking::request_queue::RequestQueue;
use crate::request_reply::tracking::suspects::Suspects;
use serde_json::{Value, json};
use std::sync::Arc;

/// The instance of the group `child` on the stream `s`.
pub struct Fixture {
    /// The fake Redis.
    pub server: FakeServer,
    /// The instance, with its names, options and counters.
    pub instance: Arc<Instance>,
    /// The requests that it holds.
    pub queue: Arc<RequestQueue>,
    /// The writer; its thread runs.
    pub sender: Arc<Sender>,
    /// The admission of requests.
    pub admission: Admission,
    /// The reader of answers. It has no thread.
    pub reply_reader: Arc<ReplyReader>,
    /// The marks of requests that may crash their process.
    pub marks: Arc<SuspectMarks>,
    /// Is given when there is something to explain, or marks to remove.
    pub nudge: Arc<Nudge>,
    /// Explains timeouts. It has no thread.
    pub explainer: Arc<Explainer>,
    /// The caller's side.
    pub calls: Calls,
}

impl Fixture {
    /// Creates the parts with these options. They leave out those of Redis.
    pub fn new(mut options: Value) -> Self {
        let server = FakeServer::start();
        options["redis_options"] = server.redis_options();
        options["pool_size"] = json!(1);
        let options = Options::parse(options, None, &[]).unwrap();
        let instance = Arc::new(Instance::new("s", "child", options).unwrap());
        let replies = Arc::new(ReplyStream::new(Arc::clone(&instance)));
        let consumer = Arc::new(instance.group_consumer());
        let (ledger, queue) = (Arc::new(Ledger::default()), Arc::new(RequestQueue::new(3)));
        let acceptance = Arc::new(Acceptance::default());
        let registry = Arc::new(Registry::new(Arc::clone(&instance), true));
        let nudge = Arc::<Nudge>::default();
        let explainer =
            Arc::new(Explainer::new(Arc::clone(&instance), Arc::clone(&registry), Arc::clone(&nudge)));
        let suspects = Arc::new(Suspects::new(instance.options.consumer.lease, Arc::clone(&nudge)));
        let marks = Arc::new(SuspectMarks::new(
            Arc::clone(&instance),
            Arc::clone(&consumer),
            registry,
            Arc::clone(&suspects),
        ));
        let context = CommandContext {
            instance: Arc::clone(&instance),
            replies: Arc::clone(&replies),
            ledger: Arc::clone(&ledger),
            queue: Arc::clone(&queue),
            acceptance: Arc::clone(&acceptance),
            reply_room: ReplyRoom::new(1_000),
            explainer: Arc::clone(&explainer),
            suspects,
            unacknowledged: News::default(),
            unwithdrawn: News::default(),
            unkept: News::default(),
        };
        let connection = instance.endpoint.connector.open(&Route::Server).unwrap();
        let sender = Arc::new(Sender::new(context, Some(connection)));
        sender.start().unwrap();
        let inbox = Arc::new(Inbox::new(Arc::clone(&instance)));
        let waker = Waker::new(instance.endpoint.connector.sockets()).unwrap();
        let (held, sending) = (Arc::clone(&queue), Arc::clone(&sender));
        let reply_reader =
            ReplyReader::new(Arc::clone(&instance), replies, Arc::clone(&ledger), Arc::clone(&sender), waker);
        let reply_reader = Arc::new(reply_reader);
        let (asking, answers) = (Arc::clone(&sender), Arc::clone(&reply_reader));
        Self {
            admission: Admission::new(
                Arc::clone(&instance),
                inbox,
                consumer,
                held,
                sending,
                acceptance,
                Arc::clone(&marks),
            ),
            marks,
            nudge,
            calls: Calls {
                instance: Arc::clone(&instance),
                ledger,
                sender: asking,
                reply_reader: answers,
                ids: IdSource::default(),
            },
            explainer,
            server,
            instance,
            queue,
            sender,
            reply_reader,
        }
    }

    /// Creates a request that was added just now, without the field `without` and with the fields `with`.
    pub fn request(&self, without: &str, with: &[(&str, &str)]) -> RawEntry {
        let fields = [
            ("id", "7f"),
            ("instance_id", "asker"),
            ("status", "pending"),
            ("content", "1"),
            ("source_group", "parent"),
            ("destination_group", "child"),
            ("reply_to", "s:replies:parent:asker"),
            ("ttl", "60000"),
        ];
        let kept = fields.iter().filter(|(name, _)| *name != without).chain(with);
        let id = StreamId { ms: self.instance.endpoint.clock.now(), seq: 1 };
        RawEntry { id, fields: Some(kept.copied().collect()) }
    }

    /// Returns the last report.
    pub fn reported(&self) -> String {
        let (_never, interrupt) = crossbeam_channel::bounded(1);
        match self.instance.endpoint.reports.fetch(&interrupt) {
            Fetched::Message(Report::Failure(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.instance.endpoint.stop.stop();
        self.reply_reader.restart();
        self.sender.stop();
    }
}
