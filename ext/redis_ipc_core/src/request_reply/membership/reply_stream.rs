//! The reply stream of this instance: made where it is missing, and kept from expiring.

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

/// How long the reply stream outlives the last sign of life.
const LIFETIME: Duration = Duration::from_secs(30);

/// The reply stream of one instance.
pub struct ReplyStream {
    instance: Arc<Instance>,
    made: AtomicUsize,
}

impl ReplyStream {
    /// That of `instance`, which may not exist yet.
    pub fn new(instance: Arc<Instance>) -> Self {
        Self { instance, made: AtomicUsize::new(0) }
    }

    /// Opens connections to it.
    pub fn connector(&self) -> &Connector {
        &self.instance.endpoint.connector
    }

    /// How much of an answer is kept when it is read.
    pub fn room(&self) -> Room {
        self.instance.options.room()
    }

    /// Its key.
    pub fn key(&self) -> &str {
        &self.instance.names.replies
    }

    /// How often it was made: a new one is read from its beginning.
    pub fn times_made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    /// Makes it if it is missing (true), so that XADD NOMKSTREAM finds it, and gives it its expiry.
    pub fn make(&self, connection: &mut Connection) -> RedisResult<bool> {
        let key = self.key();
        if connection.run(&keep(key))? != Value::Int(0) {
            return Ok(false);
        }
        // The way to an empty stream: a group makes it, and is not needed. In one transaction: a connection that broke
        // in between would leave a stream that never expires.
        let group = |word: &str| redis::cmd("XGROUP").arg(word).arg(key).arg("new").clone();
        let replies = connection.run_all(&[
            redis::cmd("MULTI"),
            group("CREATE").arg("$").arg("MKSTREAM").clone(),
            group("DESTROY"),
            keep(key),
            redis::cmd("EXEC"),
        ])?;
        for reply in replies {
            // EXEC says what became of each.
            let Value::Array(results) = refused(reply)? else { continue };
            for result in results {
                match refused(result) {
                    // One whose connection broke half-way left its group: here it is destroyed.
                    Err(error) if error.code() != Some("BUSYGROUP") => return Err(error),
                    _ => {}
                }
            }
        }
        self.made.fetch_add(1, Ordering::SeqCst);
        Ok(true)
    }

    /// [`ReplyStream::make`], on a connection of the pool. Without the stream every answer is dropped, so this is done
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
