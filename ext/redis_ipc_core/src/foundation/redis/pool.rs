//! A pool of connections for every command that does not block.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::redis::client_name::Purpose;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::connector::Connector;
use crate::foundation::runtime::sync::{Condvar, Mutex};
use redis::{Cmd, RedisResult, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A pooled connection that has not been used for this long is closed.
const UNUSED: Duration = Duration::from_secs(60);
/// How often a command follows a redirection to another node of a cluster.
const REDIRECTIONS: u32 = 5;

/// Connections for commands that do not block, opened on demand.
///
/// This is not r2d2: r2d2's locks do not survive a fork (see [`crate::foundation::runtime::sync`]), it opens
/// connections in a thread of its own, and it hides a refused connection until its timeout.
pub struct Pool {
    connector: Arc<Connector>,
    purpose: Purpose,
    most: u32,
    state: Mutex<State>,
    returned: Condvar,
}

/// A connection taken from the pool, until it is dropped.
struct Lent<'a> {
    pool: &'a Pool,
    route: Route,
    connection: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        match self.connection.take() {
            Some(connection) if !std::thread::panicking() => {
                self.pool.give_back(connection, self.route.clone())
            }
            // After a panic a reply may be left unread on it.
            _ => self.pool.forget(),
        }
    }
}

#[derive(Default)]
struct State {
    idle: Vec<Idle>,
    open: u32,
    closed: bool,
}

struct Idle {
    connection: Connection,
    route: Route,
    since: Instant,
}

impl State {
    /// Closes the idle connections that `unwanted` picks.
    fn close_idle(&mut self, unwanted: impl Fn(&Idle) -> bool) {
        let before = self.idle.len();
        self.idle.retain(|idle| !unwanted(idle));
        self.open -= (before - self.idle.len()) as u32;
    }

    fn take_idle(&mut self, route: &Route) -> Option<Connection> {
        let latest = self.idle.iter().rposition(|idle| idle.route == *route)?;
        Some(self.idle.remove(latest).connection)
    }
}

impl Pool {
    /// Creates an empty pool of at most this many connections for short commands.
    pub fn new(connector: Arc<Connector>, most: u32) -> Self {
        Self::of(connector, Purpose::Work, most)
    }

    /// Creates an empty pool of at most this many connections for `purpose`.
    pub fn of(connector: Arc<Connector>, purpose: Purpose, most: u32) -> Self {
        Self { connector, purpose, most, state: Mutex::default(), returned: Condvar::new() }
    }

    /// Runs `work` on a pooled connection to the server of `key`. Waits at most `connect_timeout` for the connection.
    /// It runs `work` again on another connection if the key has moved to another node of a cluster.
    pub fn with<T>(
        &self,
        key: &str,
        mut work: impl FnMut(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, Error> {
        let mut redirections = 0;
        loop {
            let explain = |error| self.connector.explain(&error, Fate::NotSent);
            let mut lent = self.lend(self.connector.route(key).map_err(explain)?)?;
            let Some(connection) = &mut lent.connection else {
                return Err(Error::new(ErrorKind::Internal, "a lent connection vanished"));
            };
            let error = match work(connection) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            drop(lent);
            match self.connector.redirected(key, &error) {
                Some(pause) if redirections < REDIRECTIONS => std::thread::sleep(pause),
                _ => return Err(self.connector.explain(&error, Fate::Unknown)),
            }
            redirections += 1;
        }
    }

    /// Runs `work` once on a pooled connection to the server at `route`.
    ///
    /// # Errors
    ///
    /// There is no connection, or `work` failed.
    pub fn at<T>(
        &self,
        route: Route,
        work: impl FnOnce(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, Error> {
        let mut lent = self.lend(route)?;
        let Some(connection) = &mut lent.connection else {
            return Err(Error::new(ErrorKind::Internal, "a lent connection vanished"));
        };
        let done = work(connection);
        drop(lent);
        done.map_err(|error| self.connector.explain(&error, Fate::Unknown))
    }

    /// Runs one command about `key` like [`Pool::with`].
    pub fn run(&self, key: &str, command: &Cmd) -> Result<Value, Error> {
        self.with(key, |connection| connection.run(command))
    }

    /// Takes a connection. One that the server closed while it was idle is replaced.
    fn lend(&self, route: Route) -> Result<Lent<'_>, Error> {
        loop {
            let mut connection = self.take(&route)?;
            if !connection.is_gone() {
                return Ok(Lent { pool: self, route, connection: Some(connection) });
            }
            self.forget();
        }
    }

    fn take(&self, route: &Route) -> Result<Connection, Error> {
        let until = Instant::now() + self.connector.patience();
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return Err(Error::new(ErrorKind::Closed(Fate::NotSent), "the stream was disconnected"));
            }
            state.close_idle(|idle| idle.since.elapsed() >= UNUSED);
            if let Some(connection) = state.take_idle(route) {
                return Ok(connection);
            }
            if state.open >= self.most && !state.idle.is_empty() {
                // The connection goes to another node.
                state.idle.remove(0);
                state.open -= 1;
            }
            if state.open < self.most {
                state.open += 1;
                break;
            }
            if Instant::now() >= until {
                let message = format!("all {} pooled connections stayed in use (pool_size)", self.most);
                return Err(Error::new(ErrorKind::Connection(Fate::NotSent), message)
                    .address(self.connector.address()));
            }
            state = self.returned.wait_until(state, until);
        }
        drop(state);
        self.connector.opener(self.purpose).open(route).map_err(|error| {
            self.forget();
            self.connector.explain(&error, Fate::NotSent)
        })
    }

    fn give_back(&self, connection: Connection, route: Route) {
        if connection.is_broken() {
            self.connector.mark_stale(&route);
        }
        let mut state = self.state.lock();
        if connection.is_broken() {
            state.open -= 1;
            // The idle connections are no better, because they go to the same server.
            state.close_idle(|idle| idle.route == route);
        } else if state.closed {
            state.open -= 1;
        } else {
            state.idle.push(Idle { connection, route, since: Instant::now() });
        }
        drop(state);
        self.returned.notify_one();
    }

    fn forget(&self) {
        self.state.lock().open -= 1;
        self.returned.notify_one();
    }

    /// Closes the connections that are not in use.
    pub fn close_idle(&self) {
        self.state.lock().close_idle(|_| true);
    }

    /// Closes every connection. Those in use are closed when they are returned.
    pub fn close(&self) {
        self.connector.close();
        let mut state = self.state.lock();
        state.closed = true;
        state.close_idle(|_| true);
        drop(state);
        self.returned.notify_all();
    }
}
