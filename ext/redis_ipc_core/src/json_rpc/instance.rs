//! A server or a client of one queue: its names, and its access to Redis. All of its threads share it.

use crate::error::{Error, Place};
use crate::foundation::redis::client_name::Purpose;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::redis_options::RedisOptions;
use crate::foundation::redis::server_check::check_server;
use crate::foundation::runtime::id_source::IdSource;
use crate::json_rpc::missing_rights::MissingRights;
use crate::json_rpc::names::Names;
use redis::{Arg, Cmd, RedisError, RedisResult, Value};
use std::sync::Arc;
use std::time::Duration;

/// How often Redis's clock is read.
pub const CLOCK_READING: Duration = Duration::from_secs(10);

/// How often Redis's clock is read while requests are sent, or look expired. A step of the clock is noticed within
/// this time.
pub const CLOCK_CHECK: Duration = Duration::from_millis(500);

/// How long a connection that its server has given up on may still take a request. Its read waits in Redis for at
/// most 10 s, and the network may delay the command. (The kernel gives up after 3 s, see dialer.rs; a proxy may take
/// longer.)
pub const SETTLED: Duration = Duration::from_secs(60);

/// Why what is sent after the end fails.
pub const CLOSED: &str = "the connection to the queue was closed before this could be sent";
/// The longest time that a read waits in Redis.
const BLOCK: Duration = Duration::from_secs(10);
/// The same in a cluster.
const BLOCK_IN_CLUSTER: Duration = Duration::from_secs(2);

/// A server or a client of one queue.
pub struct Instance {
    /// The queue's keys.
    pub names: Names,
    /// Its unguessable id.
    pub id: String,
    /// The access to Redis, and the receiver of reports.
    pub endpoint: Arc<Endpoint>,
    /// The rights that are missing for commands whose refusal is no other error.
    pub missing_rights: MissingRights,
}

impl Instance {
    /// Creates an instance of `names`.
    pub fn new(names: Names, redis: &RedisOptions) -> Result<Self, Error> {
        let id = IdSource::default().next()?.to_string();
        let place = Place { stream: Some(names.queue().to_owned()), ..Place::default() };
        let endpoint = Arc::new(Endpoint::new(place, redis));
        Ok(Self { names, id, endpoint, missing_rights: MissingRights::default() })
    }

    /// Opens a connection to the server of the queue.
    pub fn open(&self) -> RedisResult<Connection> {
        self.open_as(Purpose::Work)
    }

    fn open_as(&self, purpose: Purpose) -> RedisResult<Connection> {
        self.endpoint.connector.opener(purpose).open_owner(self.names.queue())
    }

    /// Runs a command about one key on a connection of [`Instance::open`]. While the slot is moving, it follows the
    /// key.
    pub fn run(&self, connection: &mut Connection, command: &Cmd) -> RedisResult<Value> {
        match connection.run(command) {
            Err(refusal) if refusal.code() == Some("ASK") => match self.asked_route(command, &refusal) {
                Some(route) => self.endpoint.connector.open(&route)?.run(command),
                None => Err(refusal),
            },
            reply => reply,
        }
    }

    /// Returns the node that an `ASK` names for a command about one key.
    fn asked_route(&self, command: &Cmd, refusal: &RedisError) -> Option<Route> {
        let Some(Arg::Simple(key)) = command.args_iter().nth(1) else { return None };
        let key = std::str::from_utf8(key).ok()?;
        self.endpoint.connector.redirected(key, refusal)?;
        Some(self.endpoint.connector.known_route(key))
    }

    /// Returns how long a read waits before it is repeated. It is shorter in a cluster, where a waiting read is not
    /// told that its key has moved.
    pub fn block(&self) -> Duration {
        if self.endpoint.connector.is_cluster() { BLOCK_IN_CLUSTER } else { BLOCK }
    }

    /// Opens the first connection, which shows whether Redis can be used.
    fn first_connection(&self) -> RedisResult<Connection> {
        let mut first = self.open_as(Purpose::Sender)?;
        let is_cluster = check_server(&mut first)?;
        self.endpoint.connector.note_eviction(&mut first);
        if !is_cluster {
            return Ok(first);
        }
        self.endpoint.connector.is_node_of_cluster();
        if !self.names.share_a_slot() {
            let why = "on a Redis Cluster the queue's name needs a part in braces, as in {jobs}";
            return Err((redis::ErrorKind::InvalidClientConfig, "queue", why.to_owned()).into());
        }
        self.open_as(Purpose::Sender)
    }

    /// Opens the connections that a client or a server must have: one to write on, unless this is a cluster, and one
    /// for `purpose` that waits for `block` at `key`. `prepare` runs on the first.
    pub fn open_both(
        &self,
        purpose: Purpose,
        key: &str,
        block: Duration,
        prepare: impl FnOnce(&mut Connection) -> RedisResult<()>,
    ) -> RedisResult<(Option<Connection>, Connection)> {
        let connector = &self.endpoint.connector;
        let mut first = self.first_connection()?;
        self.endpoint.clock.read(&mut first)?;
        prepare(&mut first)?;
        self.endpoint.report_eviction("requests, answers and the signs of life of the servers", true);
        let second = connector.opener(purpose).open_blocking(key, block, &self.endpoint.stop)?;
        Ok(((!connector.is_cluster()).then_some(first), second))
    }
}

/// Reads a reply to `BLMPOP`, whose texts follow the list's name.
pub fn popped(reply: Value) -> Vec<Vec<u8>> {
    texts(reply).into_iter().skip(1).collect()
}

/// Reads the texts in a reply: those of a list, or a single one.
pub fn texts(reply: Value) -> Vec<Vec<u8>> {
    match reply {
        Value::BulkString(text) => vec![text],
        Value::Array(items) => items.into_iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}
