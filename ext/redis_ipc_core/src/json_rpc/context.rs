//! One side of a queue, a server or a client: its names, its clock, its counters and its way to Redis. Every thread of
//! it shares one.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::redis::clock::Clock;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::connector::Connector;
use crate::foundation::redis::health::Health;
use crate::foundation::redis::link::Linked;
use crate::foundation::redis::pipeline::carried::Instance;
use crate::foundation::redis::redis_options::RedisOptions;
use crate::foundation::redis::server_check::check_server;
use crate::foundation::runtime::id_source::IdSource;
use crate::foundation::runtime::reports::Reporter;
use crate::foundation::runtime::stats::Stats;
use crate::foundation::runtime::stop::Stop;
use crate::foundation::runtime::threads::Guard;
use crate::json_rpc::names::Names;
use redis::{Arg, Cmd, RedisError, RedisResult, Value};
use std::sync::Arc;
use std::time::Duration;

/// How often Redis's clock is read.
pub const CLOCK_READING: Duration = Duration::from_secs(10);

/// How often Redis's clock is read where requests go out, or look expired: a step is noticed this soon.
pub const CLOCK_LOOK: Duration = Duration::from_millis(500);

/// How long a connection that is gone for its server may still take something: its read waits in Redis for 10 s at
/// most, and the network may hold back what was sent. (The kernel gives up after 3 s, see dialer.rs; what stands
/// between may keep it longer.)
pub const SETTLED: Duration = Duration::from_secs(60);

/// The longest that a read waits in Redis.
const BLOCK: Duration = Duration::from_secs(10);
const BLOCK_IN_CLUSTER: Duration = Duration::from_secs(2);

/// A server or a client of one queue.
pub struct Party {
    /// The queue's keys.
    pub names: Names,
    /// Its unguessable name.
    pub id: String,
    /// Opens connections.
    pub connector: Connector,
    /// Redis's time.
    pub clock: Clock,
    /// Counters.
    pub stats: Arc<Stats>,
    /// Reports for the user.
    pub reporter: Reporter,
    /// Raised at the end.
    pub stop: Stop,
    /// The long-lived connections.
    pub health: Health,
}

impl Party {
    /// A new party of `names`.
    pub fn new(
        names: Names,
        redis: &RedisOptions,
        reporter: Reporter,
        stats: Arc<Stats>,
    ) -> Result<Self, Error> {
        let id = IdSource::new().next()?;
        Ok(Self {
            names,
            id: id.to_string(),
            connector: Connector::new(redis),
            clock: Clock::new(),
            stats,
            reporter,
            stop: Stop::new(),
            health: Health::default(),
        })
    }

    /// Says that an error is about this queue.
    pub fn locate(&self, mut error: Error) -> Error {
        error.place.stream = Some(self.names.queue().to_owned());
        error
    }

    /// What an error of Redis means here.
    pub fn explain(&self, error: &redis::RedisError, fate: Fate) -> Error {
        self.locate(self.connector.explain(error, fate))
    }

    /// A connection to the server of the queue.
    pub fn open(&self) -> RedisResult<Connection> {
        self.connector.open_owner(self.names.queue())
    }

    /// Runs a command about one key on what [`Party::open`] opened, or where its key went while the slot is moving.
    pub fn run(&self, connection: &mut Connection, command: &Cmd) -> RedisResult<Value> {
        match connection.run(command) {
            Err(refusal) if refusal.code() == Some("ASK") => match self.asked_route(command, &refusal) {
                Some(route) => self.connector.open(&route)?.run(command),
                None => Err(refusal),
            },
            reply => reply,
        }
    }

    /// The node to which an `ASK` sends us with a command about one key.
    fn asked_route(&self, command: &Cmd, refusal: &RedisError) -> Option<Route> {
        let Some(Arg::Simple(key)) = command.args_iter().nth(1) else { return None };
        let key = std::str::from_utf8(key).ok()?;
        self.connector.redirected(key, refusal)?;
        Some(self.connector.known_route(key))
    }

    /// How long a read waits for something before it asks again. In a cluster a read that waits is not told that its
    /// key has left.
    pub fn block(&self) -> Duration {
        if self.connector.is_cluster() { BLOCK_IN_CLUSTER } else { BLOCK }
    }

    /// The first connection, which tells whether Redis can be used.
    pub fn first_connection(&self) -> RedisResult<Connection> {
        let mut first = self.open()?;
        if !check_server(&mut first)? {
            return Ok(first);
        }
        self.connector.is_node_of_cluster();
        if !self.names.share_a_slot() {
            let why = "on a Redis Cluster the queue's name needs a part in braces, as in {jobs}";
            return Err((redis::ErrorKind::InvalidClientConfig, "queue", why.to_owned()).into());
        }
        self.open()
    }
}

impl Linked for Party {
    fn connector(&self) -> &Connector {
        &self.connector
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

impl Instance for Party {
    fn closed(&self) -> Error {
        let message = "the connection to the queue was closed before this could be sent";
        Error::new(ErrorKind::Closed(Fate::NotSent), message)
    }

    fn connected(&self, _route: &Route, connection: &mut Connection) -> RedisResult<()> {
        self.clock.read(connection)
    }

    /// All keys of a queue are in one slot.
    fn shares_server(&self, _route: &Route) -> bool {
        true
    }
}

impl Guard for Party {
    fn panicked(&self, error: Error) {
        self.reporter.failure(self.locate(error));
    }

    fn pause(&self, time: Duration) -> bool {
        self.stop.pause(time)
    }
}

/// The texts in a reply to `BLMPOP`: before them stands the list's name.
pub fn popped(reply: Value) -> Vec<Vec<u8>> {
    texts(reply).into_iter().skip(1).collect()
}

/// The texts in a reply: those of a list, or one alone; nothing else is expected.
pub fn texts(reply: Value) -> Vec<Vec<u8>> {
    match reply {
        Value::BulkString(text) => vec![text],
        Value::Array(items) => items.into_iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}
