//! How the commands of a record get to Redis.

use crate::error::{Error, Fate};
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::pool::Pool;
use crate::foundation::redis::resp::replies::refused;
use redis::{Cmd, RedisResult, Value};
use std::sync::Arc;

/// A command, and the key that it is about.
pub type AboutKey<'a> = (&'a String, Cmd);

/// The refusals of a node of a cluster that does not have the key now.
const MOVING: [&str; 3] = ["ASK", "MOVED", "TRYAGAIN"];
/// The most bytes of a string in a reply that are kept. Any client that writes records can write longer ones.
const ROOM: usize = 128 << 10;

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
                self.with(key, |connection| {
                    let replies = connection.run_all_within(std::slice::from_ref(command), ROOM)?;
                    replies.into_iter().map(followed).collect::<RedisResult<Vec<_>>>()
                })
            };
            return commands.iter().map(one).collect::<Result<Vec<_>, _>>().map(|replies| replies.concat());
        }
        self.with(key, |connection| connection.run_all_within(&alone(commands), ROOM))
    }
}

/// On a connection to the server that has all keys.
impl Access for Connection {
    fn run_about(&mut self, endpoint: &Endpoint, commands: &[AboutKey<'_>]) -> Result<Vec<Value>, Error> {
        self.run_all_within(&alone(commands), ROOM)
            .map_err(|error| endpoint.connector.explain(&error, Fate::Unknown))
    }
}

/// Whether a node of a cluster refused a command because it does not have the key now.
pub fn is_elsewhere(reply: &Value) -> bool {
    matches!(reply, Value::ServerError(error) if MOVING.contains(&error.code()))
}

/// Makes the reply that names another node the error that a [`Pool`] follows.
fn followed(reply: Value) -> RedisResult<Value> {
    if is_elsewhere(&reply) { refused(reply) } else { Ok(reply) }
}

fn alone(commands: &[AboutKey<'_>]) -> Vec<Cmd> {
    commands.iter().map(|(_, command)| command.clone()).collect()
}
