//! A small feature for the tests of a group consumer. It records what the consumer does with its entries.

use crate::foundation::payload::fields::Room;
use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::fake_server::FakeServer;
use crate::foundation::redis::group_consumer::admission::{Admission, Earlier, HeldEntry};
use crate::foundation::redis::group_consumer::consumer::{Delivered, GroupConsumer};
use crate::foundation::redis::pool::Pool;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::work_queue::{Held, WorkQueue};
use redis::RedisResult;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// An entry that is held.
#[derive(Debug)]
pub struct Job {
    id: StreamId,
    deliveries: u32,
    taken: Instant,
    /// Whether it is finished.
    pub answered: AtomicBool,
}

impl Held for Job {
    type Key = StreamId;

    fn key(&self) -> StreamId {
        self.id
    }

    fn is_answered(&self) -> bool {
        self.answered.load(Ordering::SeqCst)
    }
}

impl HeldEntry for Job {
    fn deliveries(&self) -> u32 {
        self.deliveries
    }

    fn taken(&self) -> Instant {
        self.taken
    }
}

/// Admits every entry that is not held.
pub struct Office {
    queue: Arc<WorkQueue<Job>>,
    /// The sequence numbers of the entries that it was asked about and admitted.
    pub admitted: Mutex<Vec<u64>>,
    /// The sequence numbers of the entries that would not run.
    pub ends: Mutex<Vec<u64>>,
    /// It takes no entries for now.
    pub paused: AtomicBool,
    /// The entries that it was told to give up on.
    pub given_up: Mutex<Vec<Delivered>>,
}

impl Admission for Office {
    type Held = Job;

    fn prepare(&self, connection: &mut Connection) -> RedisResult<()> {
        connection.run(&redis::cmd("PREPARE")).map(drop)
    }

    fn pause(&self) -> Option<Duration> {
        self.paused.load(Ordering::SeqCst).then_some(Duration::from_millis(1))
    }

    fn admit(&self, entries: Vec<RawEntry>, earlier: &HashMap<StreamId, Earlier>) -> Vec<Arc<Job>> {
        let is_new = |entry: &RawEntry| self.queue.held(entry.id).is_none();
        let job = |entry: RawEntry| {
            self.admitted.lock().push(entry.id.seq);
            let deliveries = earlier.get(&entry.id).map_or(1, |earlier| earlier.deliveries);
            Arc::new(Job {
                id: entry.id,
                deliveries,
                taken: Instant::now(),
                answered: AtomicBool::new(false),
            })
        };
        entries.into_iter().filter(is_new).map(job).collect()
    }

    fn would_end(&self, entry: &RawEntry) -> bool {
        self.ends.lock().contains(&entry.id.seq)
    }

    fn give_up_unreadable(&self, entries: &[Delivered]) {
        self.given_up.lock().extend(entries);
    }
}

/// The parts of a consumer of the group `g` on `s`.
pub struct Fixture {
    /// The fake Redis.
    pub server: FakeServer,
    /// The consumer, named `me`.
    pub consumer: Arc<GroupConsumer>,
    /// The entries it holds.
    pub queue: Arc<WorkQueue<Job>>,
    /// The admission.
    pub office: Arc<Office>,
}

impl Fixture {
    /// Creates a consumer that holds nothing.
    pub fn new() -> Self {
        let server = FakeServer::start();
        let endpoint = server.endpoint();
        let pool = Arc::new(Pool::new(Arc::clone(&endpoint.connector), 1));
        let (stream, group, name) = ("s".to_owned(), "g".into(), "me".into());
        let room = Room::for_content(1_000);
        let queue = Arc::new(WorkQueue::new(3));
        // Without a run time only waiting workers are room.
        queue.note_run(Duration::from_millis(1));
        let office = Arc::new(Office {
            queue: Arc::clone(&queue),
            admitted: Mutex::default(),
            ends: Mutex::default(),
            paused: AtomicBool::new(false),
            given_up: Mutex::default(),
        });
        Self {
            consumer: Arc::new(GroupConsumer::new(endpoint, pool, stream, group, name, room)),
            queue,
            office,
            server,
        }
    }

    /// Holds the entry `1-seq`, which was delivered once.
    pub fn hold(&self, seq: u64) {
        let (id, answered) = (StreamId { ms: 1, seq }, AtomicBool::new(false));
        self.queue.push(Arc::new(Job { id, deliveries: 1, taken: Instant::now(), answered }));
    }

    /// Returns the sequence numbers of the held entries.
    pub fn held(&self) -> Vec<u64> {
        let mut held = self.queue.pick(|job| Some(job.id.seq));
        held.sort_unstable();
        held
    }
}

/// Returns the entry `1-seq` with this number of deliveries.
pub fn delivered(seq: u64, deliveries: u32) -> Delivered {
    Delivered { id: StreamId { ms: 1, seq }, deliveries }
}
