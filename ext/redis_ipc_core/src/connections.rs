//! Makes connections: finds the server, logs in, and keeps a pool for everything that does not block.

use crate::connection::Connection;
use crate::error::{Error, ErrorKind, Fate};
use crate::options::Options;
use crate::redis_options::{Address, RedisOptions, SentinelOptions};
use parking_lot::Mutex;
use r2d2::{HandleError, ManageConnection, Pool, PooledConnection};
use redis::{RedisError, RedisResult};
use scheduled_thread_pool::ScheduledThreadPool;
use std::sync::Arc;
use std::time::Duration;

/// Opens connections to the server that `redis_options` describe.
#[derive(Debug, Clone)]
pub struct Connector {
    options: Arc<RedisOptions>,
    redacted: Arc<str>,
}

impl Connector {
    /// A connector for `options`.
    pub fn new(options: &RedisOptions) -> Self {
        Self { redacted: options.redacted().into(), options: Arc::new(options.clone()) }
    }

    /// A new connection.
    pub fn open(&self) -> RedisResult<Connection> {
        let options = &self.options;
        let address = match &options.sentinel {
            Some(sentinel) => master_address(sentinel, options)?,
            None => options.address.clone(),
        };
        Connection::open(&address, &options.credentials, options.db, options)
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
        Error::new(kind, format!("{what}: {error}")).address(&self.redacted)
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
fn master_address(sentinel: &SentinelOptions, options: &RedisOptions) -> RedisResult<Address> {
    let mut last = RedisError::from((redis::ErrorKind::Client, "no sentinel knows the master"));
    for (host, port) in &sentinel.addresses {
        let asked = Connection::open(&Address::Tcp(host.clone(), *port), &sentinel.credentials, 0, options)
            .and_then(|mut connection| {
                redis::cmd("SENTINEL")
                    .arg("get-master-addr-by-name")
                    .arg(&sentinel.name)
                    .query::<Option<(String, u16)>>(&mut connection)
            });
        match asked {
            Ok(Some((host, port))) => return Ok(Address::Tcp(host, port)),
            Ok(None) => {}
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// r2d2's view of [`Connector`].
#[derive(Debug)]
pub struct Manager(Connector);

impl ManageConnection for Manager {
    type Connection = Connection;
    type Error = RedisError;

    fn connect(&self) -> RedisResult<Connection> {
        self.0.open()
    }

    fn is_valid(&self, _connection: &mut Connection) -> RedisResult<()> {
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.is_broken()
    }
}

/// r2d2 logs failures to nobody here; the waiting caller gets them as an error.
#[derive(Debug)]
struct Quiet;

impl HandleError<RedisError> for Quiet {
    fn handle_error(&self, _error: RedisError) {}
}

/// Connections for commands that do not block, opened on demand.
pub struct Connections {
    connector: Connector,
    pool: Mutex<Option<Pool<Manager>>>,
}

impl Connections {
    /// An empty pool.
    pub fn new(connector: Connector, options: &Options) -> Self {
        let pool = Pool::builder()
            .max_size(options.max_pool_size.unwrap_or(options.pool_size))
            .min_idle(Some(0))
            .test_on_check_out(false)
            // r2d2 would start three threads to open connections with.
            .thread_pool(Arc::new(
                ScheduledThreadPool::builder().num_threads(1).thread_name_pattern("ipc-connect").build(),
            ))
            .connection_timeout(connector.patience())
            .idle_timeout(Some(Duration::from_secs(60)))
            .error_handler(Box::new(Quiet))
            .build_unchecked(Manager(connector.clone()));
        Self { connector, pool: Mutex::new(Some(pool)) }
    }

    /// A connection, waited for at most `connect_timeout`.
    pub fn get(&self) -> Result<PooledConnection<Manager>, Error> {
        let Some(pool) = self.pool.lock().clone() else {
            return Err(Error::new(ErrorKind::Closed(Fate::NotSent), "the stream was disconnected"));
        };
        pool.get().map_err(|error| {
            Error::new(ErrorKind::Connection(Fate::NotSent), format!("Redis cannot be reached: {error}"))
                .address(self.connector.address())
        })
    }

    /// Closes the pool: its connections and its thread do not wait for the garbage collector.
    pub fn close(&self) {
        drop(self.pool.lock().take());
    }

    /// Runs `work` on a pooled connection.
    pub fn with<T>(&self, work: impl FnOnce(&mut Connection) -> RedisResult<T>) -> Result<T, Error> {
        let mut connection = self.get()?;
        work(&mut connection).map_err(|error| self.connector.explain(&error, Fate::Unknown))
    }

    /// Opens connections outside the pool.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }
}
