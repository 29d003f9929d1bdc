//! Adds events to streams.

use crate::error::{Error, Place};
use crate::events::options::PublisherOptions;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::pool::Pool;
use crate::foundation::redis::resp::replies::{self, refused, unexpected};
use crate::foundation::runtime::reports;
use crate::foundation::runtime::stats::Stats;
use redis::RedisResult;
use std::sync::Arc;
use std::time::Duration;

/// How often Redis's clock is read. Old entries are trimmed by it.
const CLOCK: Duration = Duration::from_secs(10);

/// The entries that are removed from a stream when an event is added. Redis removes whole nodes of its tree, so the
/// limit is approximate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trim {
    /// No entries.
    Nothing,
    /// The oldest entries, while there are more than this many.
    Longer(u64),
    /// Entries that are older than this.
    Older(Duration),
}

/// Adds events to streams, from any number of threads.
pub struct Publisher {
    endpoint: Endpoint,
    connections: Pool,
}

impl Publisher {
    /// Creates a publisher without a connection. The first event opens one.
    pub fn new(options: &PublisherOptions) -> Self {
        let stats = Arc::new(Stats::default());
        // The caller gets the error.
        let (reporter, _reports) = reports::reports(&stats);
        let endpoint = Endpoint::new(Place::default(), &options.redis, reporter, stats);
        let connections = Pool::new(Arc::clone(&endpoint.connector), options.pool_size);
        Self { endpoint, connections }
    }

    /// Adds events in one round trip. Each is a list that alternates names and values. Returns their ids.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached, or refuses one of them. After a refusal the events before it are in the stream. If
    /// the connection broke, it is not known which ones are.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use redis_ipc_core::events::{Publisher, PublisherOptions, Trim};
    ///
    /// # fn main() -> Result<(), redis_ipc_core::Error> {
    /// let options = PublisherOptions::parse(serde_json::json!({}), Some("redis://localhost:6379"))?;
    /// let publisher = Publisher::new(&options);
    /// let event = vec![b"type".to_vec(), b"order.paid".to_vec()];
    /// let ids = publisher.publish("orders", &[event], Trim::Longer(10_000))?;
    /// println!("{}", ids[0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn publish(&self, stream: &str, events: &[Vec<Vec<u8>>], trim: Trim) -> Result<Vec<StreamId>, Error> {
        let published = self.connections.with(stream, |connection| {
            if matches!(trim, Trim::Older(_)) && self.endpoint.clock.is_due(CLOCK) {
                self.endpoint.clock.read(connection)?;
            }
            let commands: Vec<_> = events.iter().map(|event| self.add(stream, event, trim)).collect();
            let id = |reply| replies::id(&refused(reply)?).ok_or_else(unexpected);
            connection.run_all(&commands)?.into_iter().map(id).collect::<RedisResult<Vec<_>>>()
        });
        published.map_err(|mut error| {
            error.place.stream = Some(stream.to_owned());
            error
        })
    }

    fn add(&self, stream: &str, event: &[Vec<u8>], trim: Trim) -> redis::Cmd {
        let mut add = redis::cmd("XADD");
        add.arg(stream);
        match trim {
            Trim::Nothing => {}
            Trim::Longer(most) => drop(add.arg("MAXLEN").arg("~").arg(most)),
            Trim::Older(age) => {
                let oldest = self.endpoint.clock.now().saturating_sub(age.as_millis() as u64);
                add.arg("MINID").arg("~").arg(oldest);
            }
        }
        add.arg("*").arg(event);
        add
    }

    /// Returns its sockets, for a forked child to close.
    pub fn inherited_sockets(&self) -> Vec<std::os::fd::RawFd> {
        self.endpoint.connector.sockets().inherited()
    }

    /// Closes its connections. Later events fail.
    pub fn close(&self) {
        self.connections.close();
    }
}
