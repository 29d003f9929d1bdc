//! A server or a client of one queue: its names, and its way to Redis. All of its threads share one.

use crate::error::{Error, ErrorKind, Fate, Place};
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::redis_options::RedisOptions;
use crate::foundation::redis::server_check::check_server;
use crate::foundation::runtime::id_source::IdSource;
use crate::foundation::runtime::reports::Reporter;
use crate::foundation::runtime::stats::Stats;
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
pub struct Instance {
    /// The queue's keys.
    pub names: Names,
    /// Its unguessable name.
    pub id: String,
    /// How it reaches Redis, and where it tells what happens.
    pub endpoint: Arc<Endpoint>,
}

impl Instance {
    /// A new instance of `names`.
    pub fn new(
        names: Names,
        redis: &RedisOptions,
        reporter: Reporter,
        stats: Arc<Stats>,
    ) -> Result<Self, Error> {
        let id = IdSource::new().next()?.to_string();
        let place = Place { stream: Some(names.queue().to_owned()), ..Place::default() };
        Ok(Self { names, id, endpoint: Arc::new(Endpoint::new(place, redis, reporter, stats)) })
    }

    /// A connection to the server of the queue.
    pub fn open(&self) -> RedisResult<Connection> {
        self.endpoint.connector.open_owner(self.names.queue())
    }

    /// Runs a command about one key on what [`Instance::open`] opened, or where its key went while the slot is moving.
    pub fn run(&self, connection: &mut Connection, command: &Cmd) -> RedisResult<Value> {
        match connection.run(command) {
            Err(refusal) if refusal.code() == Some("ASK") => match self.asked_route(command, &refusal) {
                Some(route) => self.endpoint.connector.open(&route)?.run(command),
                None => Err(refusal),
            },
            reply => reply,
        }
    }

    /// The node to which an `ASK` sends us with a command about one key.
    fn asked_route(&self, command: &Cmd, refusal: &RedisError) -> Option<Route> {
        let Some(Arg::Simple(key)) = command.args_iter().nth(1) else { return None };
        let key = std::str::from_utf8(key).ok()?;
        self.endpoint.connector.redirected(key, refusal)?;
        Some(self.endpoint.connector.known_route(key))
    }

    /// How long a read waits for something before it asks again. In a cluster a read that waits is not told that its
    /// key has left.
    pub fn block(&self) -> Duration {
        if self.endpoint.connector.is_cluster() { BLOCK_IN_CLUSTER } else { BLOCK }
    }

    /// The first connection, which tells whether Redis can be used.
    pub fn first_connection(&self) -> RedisResult<Connection> {
        let mut first = self.open()?;
        if !check_server(&mut first)? {
            return Ok(first);
        }
        self.endpoint.connector.is_node_of_cluster();
        if !self.names.share_a_slot() {
            let why = "on a Redis Cluster the queue's name needs a part in braces, as in {jobs}";
            return Err((redis::ErrorKind::InvalidClientConfig, "queue", why.to_owned()).into());
        }
        self.open()
    }

    /// The error of what is sent after the end.
    pub fn closed() -> Error {
        let message = "the connection to the queue was closed before this could be sent";
        Error::new(ErrorKind::Closed(Fate::NotSent), message)
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
