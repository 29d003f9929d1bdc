//! Opens connections for one purpose.

use crate::foundation::net::attempt::Attempt;
use crate::foundation::redis::client_name::Purpose;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::connector::Connector;
use crate::foundation::runtime::stop::Stop;
use redis::RedisResult;
use std::time::Duration;

/// Opens connections with the name of a purpose. See [`Connector::opener`].
#[derive(Clone, Copy)]
pub struct Opener<'a> {
    connector: &'a Connector,
    purpose: Purpose,
}

impl<'a> Opener<'a> {
    /// Creates the opener of connections for `purpose`.
    pub fn new(connector: &'a Connector, purpose: Purpose) -> Self {
        Self { connector, purpose }
    }

    /// Opens a connection to the server at `route`.
    pub fn open(self, route: &Route) -> RedisResult<Connection> {
        self.within(route, &self.connector.attempt())
    }

    /// Opens a connection to the server of `key`.
    pub fn open_for(self, key: &str) -> RedisResult<Connection> {
        self.open(&self.connector.route(key)?)
    }

    /// Opens a connection to the server that the slot of `key` belongs to, wherever an `ASK` sent the key.
    pub fn open_owner(self, key: &str) -> RedisResult<Connection> {
        self.open(&self.connector.owner(key)?)
    }

    /// Opens a connection to the server at `route`, but none once `stop` is raised.
    pub fn open_unless(self, route: &Route, stop: &Stop) -> RedisResult<Connection> {
        self.within(route, &self.connector.attempt().unless(stop))
    }

    /// Opens a connection to the server of `key` whose reads may block for `block` before Redis answers. It opens
    /// none once `stop` is raised.
    pub fn open_blocking(self, key: &str, block: Duration, stop: &Stop) -> RedisResult<Connection> {
        let route = self.connector.route(key)?;
        let connection = self.open_unless(&route, stop)?;
        self.connector.reads_block(&connection, key, route, block)?;
        Ok(connection)
    }

    fn within(self, route: &Route, attempt: &Attempt) -> RedisResult<Connection> {
        self.connector.open_within(route, self.purpose, attempt)
    }
}
