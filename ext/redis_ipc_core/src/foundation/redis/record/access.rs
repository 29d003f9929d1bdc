//! How the commands of a record get to Redis.

use crate::error::{Error, Fate};
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::pool::Pool;
use redis::{Cmd, Value};
use std::sync::Arc;

/// A command, and the key that it is about.
pub type AboutKey<'a> = (&'a String, Cmd);

/// Runs the commands of a record, in one round trip where that is possible.
pub trait Access {
    /// Returns the replies; a refusal is one of them.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached.
    fn run_about(&mut self, endpoint: &Endpoint, commands: &[AboutKey<'_>]) -> Result<Vec<Value>, Error>;
}

/// On pooled connections. In a cluster the keys of a stream are on different nodes.
impl Access for Arc<Pool> {
    fn run_about(&mut self, endpoint: &Endpoint, commands: &[AboutKey<'_>]) -> Result<Vec<Value>, Error> {
        let Some((key, _)) = commands.first() else { return Ok(Vec::new()) };
        if endpoint.connector.is_cluster() {
            let one = |(key, command): &AboutKey<'_>| {
                self.with(key, |connection| connection.run_all(std::slice::from_ref(command)))
            };
            return commands.iter().map(one).collect::<Result<Vec<_>, _>>().map(|replies| replies.concat());
        }
        self.with(key, |connection| connection.run_all(&alone(commands)))
    }
}

/// On a connection to the server that has all keys.
impl Access for Connection {
    fn run_about(&mut self, endpoint: &Endpoint, commands: &[AboutKey<'_>]) -> Result<Vec<Value>, Error> {
        self.run_all(&alone(commands)).map_err(|error| endpoint.connector.explain(&error, Fate::Unknown))
    }
}

fn alone(commands: &[AboutKey<'_>]) -> Vec<Cmd> {
    commands.iter().map(|(_, command)| command.clone()).collect()
}
