//! The reply stream of this instance. It is created where it is missing, and kept from expiring.

use crate::error::Error;
use crate::foundation::payload::fields::Room;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::connector::Connector;
use crate::foundation::redis::resp::replies::refused;
use crate::request_reply::membership::instance::Instance;
use redis::{Cmd, RedisResult, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long the reply stream outlives the last renewal.
const LIFETIME: Duration = Duration::from_secs(30);

/// The reply stream of one instance.
pub struct ReplyStream {
    instance: Arc<Instance>,
    made: AtomicUsize,
}

impl ReplyStream {
    /// Creates the access to the reply stream of `instance`, which may not exist yet.
    pub fn new(instance: Arc<Instance>) -> Self {
        Self { instance, made: AtomicUsize::new(0) }
    }

    /// Returns the connector to its server.
    pub fn connector(&self) -> &Connector {
        &self.instance.endpoint.connector
    }

    /// Returns how much of an answer is kept when it is read.
    pub fn room(&self) -> Room {
        self.instance.options.room()
    }

    /// Returns its key.
    pub fn key(&self) -> &str {
        &self.instance.names.replies
    }

    /// Returns how often it was created. A new one is read from its beginning.
    pub fn times_made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    /// Creates it if it is missing, so that XADD NOMKSTREAM finds it, and sets its expiry. Returns whether it was
    /// missing.
    pub fn make(&self, connection: &mut Connection) -> RedisResult<bool> {
        let key = self.key();
        if connection.run(&keep(key))? != Value::Int(0) {
            return Ok(false);
        }
        // A group is the way to create an empty stream, and is not needed after that. The commands form one
        // transaction, because a connection that broke in between would leave a stream that never expires.
        let group = |word: &str| redis::cmd("XGROUP").arg(word).arg(key).arg("new").clone();
        let replies = connection.run_all(&[
            redis::cmd("MULTI"),
            group("CREATE").arg("$").arg("MKSTREAM").clone(),
            group("DESTROY"),
            keep(key),
            redis::cmd("EXEC"),
        ])?;
        for reply in replies {
            // The reply of EXEC has the result of each command.
            let Value::Array(results) = refused(reply)? else { continue };
            for result in results {
                match refused(result) {
                    // A connection that broke half-way left its group. It is destroyed here.
                    Err(error) if error.code() != Some("BUSYGROUP") => return Err(error),
                    _ => {}
                }
            }
        }
        self.made.fetch_add(1, Ordering::SeqCst);
        Ok(true)
    }

    /// Runs [`ReplyStream::make`] on a pooled connection. Without the stream every answer is dropped, so this runs
    /// wherever it may have vanished.
    pub fn restore(&self) -> Result<bool, Error> {
        self.instance.connections.with(self.key(), |connection| self.make(connection))
    }
}

/// Keeps a reply stream for another [`LIFETIME`].
fn keep(key: &str) -> Cmd {
    let mut command = redis::cmd("PEXPIRE");
    command.arg(key).arg(LIFETIME.as_millis() as u64);
    command
}
