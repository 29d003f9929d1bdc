//! Reads a server's counters, on a connection of its own: one that subscribes takes no INFO.

use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::connector::Connector;
use crate::foundation::redis::subscription::bases::Sample;
use crate::foundation::redis::subscription::counters::{self, Counters};
use redis::{ErrorKind, RedisError, RedisResult};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a sample may take. The thread that takes it reads no messages meanwhile.
const TIME: Duration = Duration::from_millis(500);
/// How long no sample is tried after one that failed. It grows to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// Reads the counters of one server.
pub struct Sampler {
    connector: Arc<Connector>,
    connection: Option<(Route, Connection)>,
    pause: Duration,
    not_before: Option<Instant>,
}

impl Sampler {
    /// Creates one without a connection.
    pub fn new(connector: Arc<Connector>) -> Self {
        Self { connector, connection: None, pause: FIRST, not_before: None }
    }

    /// Reads the counters of the server at `route`. `None` if that failed a short time ago.
    ///
    /// # Errors
    ///
    /// The server cannot be reached quickly, or refuses.
    pub fn sample(&mut self, route: &Route) -> RedisResult<Option<Counters>> {
        if self.not_before.is_some_and(|time| Instant::now() < time) {
            return Ok(None);
        }
        match self.read(route) {
            Ok(counters) => {
                (self.pause, self.not_before) = (FIRST, None);
                Ok(Some(counters))
            }
            Err(error) => {
                self.connection = None;
                self.not_before = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(LONGEST);
                Err(error)
            }
        }
    }

    /// Returns how many messages of shards that server has got from other nodes, which its counters leave out. `None`
    /// if that cannot be read.
    pub fn relayed(&mut self) -> Option<u64> {
        let (route, mut connection) = self.connection.take()?;
        let count = relayed(&mut connection).ok();
        self.connection = count.is_some().then_some((route, connection));
        count
    }

    /// Asks the node whose counters were just read what else a sample has. `None` if that failed.
    pub fn complete(&mut self, counters: &Counters, at_ms: u64) -> Option<Sample> {
        let relayed = self.relayed()?;
        let (_, connection) = self.connection.as_mut()?;
        let view = self.connector.slot_view(connection);
        if view.is_err() {
            self.connection = None;
        }
        Some(Sample { counters: counters.clone(), relayed, at_ms, view: view.ok()? })
    }

    /// Leaves the server that it is connected to.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Tries again at once the next time: the server has just been reached.
    pub fn hasten(&mut self) {
        self.not_before = None;
    }

    fn read(&mut self, route: &Route) -> RedisResult<Counters> {
        if let Some((at, mut connection)) = self.connection.take().filter(|(at, _)| at == route)
            && let Ok(counters) = read(&mut connection)
        {
            self.connection = Some((at, connection));
            return Ok(counters);
        }
        let mut connection = self.open(route)?;
        let counters = read(&mut connection)?;
        self.connection = Some((route.clone(), connection));
        Ok(counters)
    }

    fn open(&self, route: &Route) -> RedisResult<Connection> {
        let connection = self.connector.open_quickly(route, TIME)?;
        connection.set_timeouts(TIME, TIME)?;
        Ok(connection)
    }
}

/// Reads how many messages of shards the server at the other end of `connection` has got from other nodes.
///
/// # Errors
///
/// The connection breaks, or the server refuses or does not tell.
pub fn relayed(connection: &mut Connection) -> RedisResult<u64> {
    let reply = connection.run(&counters::relayed_command())?;
    counters::relayed(&reply).ok_or_else(|| {
        RedisError::from((ErrorKind::UnexpectedReturnType, "CLUSTER INFO tells no messages of other nodes"))
    })
}

/// Reads the counters of the server at the other end of `connection`.
///
/// # Errors
///
/// The connection breaks, or the server refuses or tells none.
pub fn read(connection: &mut Connection) -> RedisResult<Counters> {
    let reply = connection.run(&counters::command())?;
    Counters::read(&reply).ok_or_else(|| {
        RedisError::from((ErrorKind::UnexpectedReturnType, "INFO tells no run_id of the server"))
    })
}
