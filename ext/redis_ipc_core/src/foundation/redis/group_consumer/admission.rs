//! The feature's part of a group consumer: what an entry is, and whether it is to run.

use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::group_consumer::consumer::Delivered;
use crate::foundation::runtime::work_queue::Held;
use redis::{RedisError, RedisResult};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An entry that is held until it is finished.
pub trait HeldEntry: Held<Key = StreamId> + Send + Sync + 'static {
    /// Returns how often it has been delivered, this time included.
    fn deliveries(&self) -> u32;

    /// Returns when it was taken.
    fn taken(&self) -> Instant;
}

/// The earlier deliveries of an entry that was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// How often it has been delivered, this time included.
    pub deliveries: u32,
    /// The consumer that had it before. It is empty if that is not known.
    pub holder: String,
}

/// Decides what happens to an entry that was taken.
pub trait Admission: Send + Sync + 'static {
    /// An entry that is to run.
    type Held: HeldEntry;

    /// Creates the stream and its group if they are missing. It runs before the first read on a new connection.
    ///
    /// # Errors
    ///
    /// Redis refused.
    fn prepare(&self, connection: &mut Connection) -> RedisResult<()>;

    /// Whether a read that ended with `error` only needs [`Admission::prepare`], which also reports what has happened.
    /// Otherwise the connection counts as lost.
    fn is_mended(&self, _error: &RedisError) -> bool {
        false
    }

    /// Returns how long to take no more entries. `None` if entries may be taken now.
    fn pause(&self) -> Option<Duration>;

    /// Returns the entries among `entries` that are to run, and finishes the others. It examines an entry only if it
    /// is not held by then, because another thread may take it while the ones before it are examined. `earlier` has
    /// the earlier deliveries of those that had been delivered before.
    fn admit(&self, entries: Vec<RawEntry>, earlier: &HashMap<StreamId, Earlier>) -> Vec<Arc<Self::Held>>;

    /// Whether the entry would not run: it was deleted, or its time is over.
    fn would_end(&self, entry: &RawEntry) -> bool;

    /// Gives up on entries that break each connection that reads them.
    fn give_up_unreadable(&self, entries: &[Delivered]);
}
