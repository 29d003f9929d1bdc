//! What a group consumer needs to know of its entries.

use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::group_consumer::consumer::Delivered;
use crate::foundation::runtime::work_queue::{Held, WorkQueue};
use redis::RedisResult;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An entry that is held until it is dealt with.
pub trait HeldEntry: Held<Key = StreamId> + Send + Sync + 'static {
    /// How often it has been delivered, this time included.
    fn deliveries(&self) -> u32;

    /// When it was taken.
    fn taken(&self) -> Instant;
}

/// Decides what becomes of an entry that was taken.
pub trait Admission: Send + Sync + 'static {
    /// An entry that is to run.
    type Held: HeldEntry;

    /// Makes the stream and its group where they are missing, before something is read on a new connection.
    ///
    /// # Errors
    ///
    /// The refusal by Redis.
    fn prepare(&self, connection: &mut Connection) -> RedisResult<()>;

    /// How long nothing more is to be taken; `None` if it may be now.
    fn pause(&self) -> Option<Duration>;

    /// The entries among `entries` that are to run; the others are dealt with. `deliveries` says how often those were
    /// delivered that had been delivered before.
    fn admit(&self, entries: Vec<RawEntry>, deliveries: &HashMap<StreamId, u32>) -> Vec<Arc<Self::Held>>;

    /// Whether the entry would not run: it was deleted, or its time is over.
    fn would_end(&self, entry: &RawEntry) -> bool;

    /// Gives up on entries that break each connection that reads them.
    fn give_up_unreadable(&self, entries: &[Delivered]);
}

/// Admits the entries that are not held yet.
pub fn admit<A: Admission>(
    admission: &A,
    queue: &WorkQueue<A::Held>,
    mut entries: Vec<RawEntry>,
    deliveries: &HashMap<StreamId, u32>,
) -> Vec<Arc<A::Held>> {
    entries.retain(|entry| queue.held(entry.id).is_none());
    admission.admit(entries, deliveries)
}
