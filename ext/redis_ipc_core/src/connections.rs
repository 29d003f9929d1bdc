//! Makes connections: finds the server, logs in, and keeps a pool for everything that does not block.

use crate::connection::Connection;
use crate::error::{Error, ErrorKind, Fate};
use crate::open_sockets::OpenSockets;
use crate::options::Options;
use crate::redis_options::{Address, RedisOptions, SentinelOptions};
use crate::sync::{Condvar, Mutex};
use redis::{RedisError, RedisResult};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A pooled connection that has not been used for this long is closed.
const UNUSED: Duration = Duration::from_secs(60);

/// Opens connections to the server that `redis_options` describe.
#[derive(Debug, Clone)]
pub struct Connector {
    options: Arc<RedisOptions>,
    redacted: Arc<str>,
    sockets: OpenSockets,
}

impl Connector {
    /// A connector for `options`.
    pub fn new(options: &RedisOptions) -> Self {
        Self {
            redacted: options.redacted().into(),
            options: Arc::new(options.clone()),
            sockets: OpenSockets::default(),
        }
    }

    /// A new connection.
    pub fn open(&self) -> RedisResult<Connection> {
        let options = &self.options;
        let address = match &options.sentinel {
            Some(sentinel) => master_address(sentinel, options, &self.sockets)?,
            None => options.address.clone(),
        };
        Connection::open(&address, &options.credentials, options.db, options, &self.sockets)
    }

    /// A new connection whose reads may block for `block` before Redis answers.
    pub fn open_blocking(&self, block: Duration) -> RedisResult<Connection> {
        let connection = self.open()?;
        // Well above the block time: a read that times out first would swallow the next message.
        connection.set_timeouts(block + self.options.read_timeout, self.options.write_timeout)?;
        Ok(connection)
    }

    /// How long connecting may take, and how long a call waits for Redis to be reachable.
    pub fn patience(&self) -> Duration {
        self.options.connect_timeout
    }

    /// The sockets opened here.
    pub fn sockets(&self) -> &OpenSockets {
        &self.sockets
    }

    /// The address without credentials.
    pub fn address(&self) -> &str {
        &self.redacted
    }

    /// What `error` means to a caller.
    pub fn explain(&self, error: &RedisError, fate: Fate) -> Error {
        let (kind, what) = match error.code() {
            Some(code) if !is_passing(code) => (ErrorKind::Command(fate), "Redis refused the command"),
            _ => (ErrorKind::Connection(fate), "Redis cannot be reached"),
        };
        let why = if error.is_timeout() { "no answer in time".to_owned() } else { error.to_string() };
        Error::new(kind, format!("{what}: {why}")).address(&self.redacted)
    }
}

/// Whether a refusal says that this server cannot serve now, rather than that the command is wrong.
pub fn is_passing(code: &str) -> bool {
    matches!(
        code,
        "LOADING" | "READONLY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "UNBLOCKED" | "NOREPLICAS"
    )
}

/// Asks each sentinel in turn (Redis Sentinel client guidelines, step 1 and 2).
fn master_address(
    sentinel: &SentinelOptions,
    options: &RedisOptions,
    sockets: &OpenSockets,
) -> RedisResult<Address> {
    let mut last = RedisError::from((redis::ErrorKind::Client, "no sentinel knows the master"));
    for (host, port) in &sentinel.addresses {
        let asked =
            Connection::open(&Address::Tcp(host.clone(), *port), &sentinel.credentials, 0, options, sockets)
                .and_then(|mut connection| {
                    redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(&sentinel.name).query::<Option<(
                        String,
                        u16,
                    )>>(
                        &mut connection
                    )
                });
        match asked {
            Ok(Some((host, port))) => return Ok(Address::Tcp(host, port)),
            Ok(None) => {}
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Connections for commands that do not block, opened on demand.
///
/// Not r2d2: its locks do not survive a fork (see [`crate::sync`]), it opens connections in a thread of its own, and
/// it hides a refused connection until its timeout.
pub struct Connections {
    connector: Connector,
    most: u32,
    state: Mutex<State>,
    returned: Condvar,
}

/// A connection out of the pool, until it is dropped.
struct Lent<'a> {
    pool: &'a Connections,
    connection: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        match self.connection.take() {
            Some(connection) if !std::thread::panicking() => self.pool.give_back(connection),
            // After a panic something may be left unread on it.
            _ => self.pool.forget(),
        }
    }
}

#[derive(Default)]
struct State {
    idle: Vec<(Connection, Instant)>,
    open: u32,
    closed: bool,
}

impl Connections {
    /// An empty pool.
    pub fn new(connector: Connector, options: &Options) -> Self {
        let most = options.max_pool_size.unwrap_or(options.pool_size);
        Self { connector, most, state: Mutex::default(), returned: Condvar::new() }
    }

    /// Runs `work` on a connection of the pool, which is waited for at most `connect_timeout`.
    pub fn with<T>(&self, work: impl FnOnce(&mut Connection) -> RedisResult<T>) -> Result<T, Error> {
        let mut lent = Lent { pool: self, connection: Some(self.take()?) };
        let Some(connection) = &mut lent.connection else {
            return Err(Error::new(ErrorKind::Internal, "a lent connection vanished"));
        };
        work(connection).map_err(|error| self.connector.explain(&error, Fate::Unknown))
    }

    fn take(&self) -> Result<Connection, Error> {
        let until = Instant::now() + self.connector.patience();
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return Err(Error::new(ErrorKind::Closed(Fate::NotSent), "the stream was disconnected"));
            }
            let now = Instant::now();
            let before = state.idle.len();
            state.idle.retain(|(_, used)| now.duration_since(*used) < UNUSED);
            state.open -= (before - state.idle.len()) as u32;
            if let Some((connection, _)) = state.idle.pop() {
                return Ok(connection);
            }
            if state.open < self.most {
                state.open += 1;
                break;
            }
            if now >= until {
                let message = format!("all {} pooled connections stayed in use (pool_size)", self.most);
                return Err(Error::new(ErrorKind::Connection(Fate::NotSent), message)
                    .address(self.connector.address()));
            }
            state = self.returned.wait_until(state, until);
        }
        drop(state);
        self.connector.open().map_err(|error| {
            self.forget();
            self.connector.explain(&error, Fate::NotSent)
        })
    }

    fn give_back(&self, connection: Connection) {
        let mut state = self.state.lock();
        if connection.is_broken() || state.closed {
            state.open -= 1;
            // What is idle is no better: it went to the same server.
            let broken = if connection.is_broken() { std::mem::take(&mut state.idle) } else { Vec::new() };
            state.open -= broken.len() as u32;
        } else {
            state.idle.push((connection, Instant::now()));
        }
        drop(state);
        self.returned.notify_one();
    }

    fn forget(&self) {
        self.state.lock().open -= 1;
        self.returned.notify_one();
    }

    /// Closes every connection; those in use follow when they are given back.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let idle = std::mem::take(&mut state.idle);
        state.open -= idle.len() as u32;
        drop(state);
        self.returned.notify_all();
    }

    /// Opens connections outside the pool.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }
}
