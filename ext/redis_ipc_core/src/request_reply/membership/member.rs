//! This instance's place in its stream: its names, its clock, its counters and its way to Redis.
//! Every thread of an engine shares one.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::payload::id::Id;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::payload::text::Text;
use crate::foundation::redis::appetite::Appetite;
use crate::foundation::redis::clock::Clock;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::connector::Connector;
use crate::foundation::redis::health::Health;
use crate::foundation::redis::link::Linked;
use crate::foundation::redis::pipeline::carried::Instance;
use crate::foundation::redis::pool::Pool;
use crate::foundation::runtime::id_source::IdSource;
use crate::foundation::runtime::reports::Reporter;
use crate::foundation::runtime::stats::Stats;
use crate::foundation::runtime::stop::Stop;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::threads::Guard;
use crate::request_reply::membership::acceptance::Acceptance;
use crate::request_reply::membership::arrivals::{Arrivals, TOLERATED};
use crate::request_reply::membership::backpressure::Backpressure;
use crate::request_reply::membership::key_expiry;
use crate::request_reply::membership::options::Options;
use crate::request_reply::membership::reply_room::ReplyRoom;
use crate::request_reply::protocol::keys::Keys;
use redis::RedisResult;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The most requests that are fetched at once of those that were delivered before.
const FETCHED: usize = 100;

/// How many inboxes of groups that did not answer are tidied away when leaving.
const TIDIED: usize = 1_000;

/// One instance of a group on a stream.
pub struct Member {
    /// The stream's keys.
    pub keys: Keys,
    /// The group.
    pub group: Text,
    /// The unguessable name of this instance. It takes requests under it, too.
    pub instance: Text,
    /// Whether it takes requests: it has a handler.
    pub serves: bool,
    /// The key of the group's inbox.
    pub inbox: String,
    /// The key of this instance's reply stream.
    pub replies: String,
    /// How often the reply stream was made: a new one is read from its beginning.
    pub replies_made: AtomicUsize,
    /// The options.
    pub options: Options,
    /// Connections to Redis.
    pub connections: Pool,
    /// Redis's time.
    pub clock: Clock,
    /// When requests came whose ids do not say so.
    pub arrivals: Arrivals,
    /// The longest lease that an instance of the group has, in ms, as far as it is known.
    pub longest_lease: AtomicU64,
    /// Counters.
    pub stats: Arc<Stats>,
    /// Reports for the user.
    pub reporter: Reporter,
    /// New ids.
    pub ids: IdSource,
    /// Raised when the engine ends.
    pub stop: Stop,
    /// Groups that left a request unclaimed: their inboxes may be ours to tidy away.
    asked_in_vain: Mutex<HashSet<String>>,
    /// How many requests wait for the groups that were asked.
    pub backpressure: Backpressure,
    /// The last id that the inbox had when its group was made; 0 if it is the first one.
    pub group_made: Mutex<StreamId>,
    /// When a heartbeat last found this instance missing among the living.
    pub presence_lost: Mutex<Option<Instant>>,
    /// Whether something among the living could not be read when they were last looked at.
    pub presence_unreadable: AtomicBool,
    /// Whether there were too many among the living to read them all.
    pub presence_flooded: AtomicBool,
    /// Whether the inbox was seen to have used up its ids.
    pub inbox_exhausted: AtomicBool,
    /// How many requests are fetched at once of those that were delivered before.
    pub fetching: Mutex<Appetite>,
    /// How many bytes of dead letters were added since they were last measured.
    pub letters_unmeasured: AtomicU64,
    /// How full the reply streams are to which answers go.
    pub reply_room: ReplyRoom,
    /// Whether Redis took the last answers.
    pub acceptance: Acceptance,
    /// The long-lived connections.
    pub health: Health,
}

impl Member {
    /// A new instance of `group`, which serves requests or only asks.
    pub fn new(
        keys: Keys,
        group: &str,
        serves: bool,
        options: Options,
        reporter: Reporter,
        stats: Arc<Stats>,
    ) -> Result<Self, Error> {
        let most = options.max_pool_size.unwrap_or(options.pool_size);
        let connections = Pool::new(Connector::new(&options.redis), most);
        let ids = IdSource::new();
        let reply_room = ReplyRoom::new(options.max_content_size);
        let instance: Text = ids.next()?.to_string().into();
        Ok(Self {
            inbox: keys.inbox(group),
            replies: keys.replies(group, &instance),
            replies_made: AtomicUsize::new(0),
            group: group.into(),
            serves,
            keys,
            instance,
            options,
            connections,
            clock: Clock::new(),
            arrivals: Arrivals::default(),
            longest_lease: AtomicU64::new(0),
            stats,
            reporter,
            ids,
            stop: Stop::new(),
            asked_in_vain: Mutex::default(),
            backpressure: Backpressure::default(),
            group_made: Mutex::default(),
            presence_lost: Mutex::default(),
            presence_unreadable: AtomicBool::new(false),
            presence_flooded: AtomicBool::new(false),
            inbox_exhausted: AtomicBool::new(false),
            fetching: Mutex::new(Appetite::new(FETCHED)),
            // The first one is.
            letters_unmeasured: AtomicU64::new(u64::MAX / 2),
            reply_room,
            acceptance: Acceptance::default(),
            health: Health::default(),
        })
    }

    /// A new request id.
    pub fn new_id(&self) -> Result<Id, Error> {
        self.ids.next()
    }

    /// An error about a group of this stream.
    pub fn error(&self, kind: ErrorKind, message: impl Into<String>, group: &str) -> Error {
        Error::new(kind, message).at(self.keys.stream(), group)
    }

    /// Adds the stream and the group to an error.
    pub fn locate(&self, error: Error) -> Error {
        error.at(self.keys.stream(), &self.group)
    }

    /// Notes that nobody took a request for `group`. Beyond so many groups the expiry of their inboxes has to do.
    pub fn asked_in_vain(&self, group: &str) {
        let mut groups = self.asked_in_vain.lock();
        if groups.len() < TIDIED && !groups.contains(group) {
            groups.insert(group.to_owned());
        }
    }

    /// The groups noted so, once.
    pub fn take_asked_in_vain(&self) -> HashSet<String> {
        std::mem::take(&mut *self.asked_in_vain.lock())
    }

    /// How long the request with this id has been there for, as far as it is known, if its id is ahead of the clock;
    /// else `None`, as the id says it.
    pub fn age_if_ahead(&self, id: StreamId) -> Option<Duration> {
        self.is_ahead(id).then(|| self.arrivals.age(id))
    }

    /// Whether this id is from the future.
    pub fn is_ahead(&self, id: StreamId) -> bool {
        id.ms > self.clock.now().saturating_add(TOLERATED)
    }

    /// The lease that takeovers go by: the longest in the group, as each instance renews what it holds as often as its
    /// own lease asks for.
    pub fn group_lease(&self) -> Duration {
        let longest = Duration::from_millis(self.longest_lease.load(Ordering::Relaxed));
        longest.max(self.options.consumer.lease)
    }

    /// The refusal of content over the limit.
    pub fn too_large(&self, size: usize, group: &str) -> Error {
        let limit = self.options.max_content_size;
        let message =
            format!("the content has {size} bytes of JSON, the limit is {limit} (max_content_size)");
        self.error(ErrorKind::Content, message, group)
    }

    /// Drops requests older than any deadline: the net under askers that died (XADD's MINID).
    pub fn oldest_alive(&self) -> StreamId {
        let lifetime = self.options.inbox_lifetime().as_millis() as u64;
        StreamId { ms: self.clock.now().saturating_sub(lifetime), seq: 0 }
    }
}

impl Linked for Member {
    fn connector(&self) -> &Connector {
        self.connections.connector()
    }

    fn stop(&self) -> &Stop {
        &self.stop
    }

    fn health(&self) -> &Health {
        &self.health
    }

    fn link_lost(&self, error: Error) {
        if self.health.lost() && !self.stop.is_stopped() {
            self.reporter.failure(self.locate(error));
        }
    }

    fn link_refused(&self, error: Error) {
        if self.health.refused(&error.message) && !self.stop.is_stopped() {
            self.reporter.failure(self.locate(error));
        }
    }

    fn link_restored(&self) {
        self.stats.reconnections.increment();
        if let Some(outage) = self.health.restored() {
            self.reporter.reconnected(outage);
        }
    }
}

impl Instance for Member {
    fn closed(&self) -> Error {
        let message = "the stream was disconnected before this could be sent";
        Error::new(ErrorKind::Closed(Fate::NotSent), message)
    }

    /// Makes the reply stream again if it is gone: what is asked now may be answered before the reader of answers is
    /// back.
    fn connected(&self, route: &Route, _connection: &mut Connection) -> RedisResult<()> {
        if self.connector().known_route(&self.replies) == *route {
            // The pool may begin with a connection that broke unnoticed; if both fail, that reader says why.
            let _ = key_expiry::restore_replies(self).or_else(|_| key_expiry::restore_replies(self));
        }
        Ok(())
    }
}

impl Guard for Member {
    fn panicked(&self, error: Error) {
        self.reporter.failure(self.locate(error));
    }

    fn pause(&self, time: Duration) -> bool {
        self.stop.pause(time)
    }
}
