//! An event that this process has taken and not finished.

use crate::foundation::payload::fields::Fields;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::group_consumer::admission::HeldEntry;
use crate::foundation::redis::group_consumer::consumer::Delivered;
use crate::foundation::runtime::work_queue::Held;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// The state of a held event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    /// It waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// It failed, and waits for its next try.
    Resting,
    /// It is finished or given up on, and is to be acknowledged.
    Done,
}

/// An event that this process holds.
#[derive(Debug)]
pub struct InFlight {
    /// Redis's id of it.
    pub id: StreamId,
    /// Its fields.
    pub fields: Fields,
    /// How often it has been delivered, this time included.
    pub deliveries: u32,
    /// When it was taken.
    pub taken: Instant,
    /// When it was taken, in ms on Redis's clock.
    pub received_ms: u64,
    stage: AtomicU8,
    started: OnceLock<Instant>,
}

impl InFlight {
    /// Creates the state of an event that was taken just now.
    pub fn new(id: StreamId, fields: Fields, deliveries: u32, received_ms: u64) -> Self {
        let stage = AtomicU8::new(Stage::Queued as u8);
        Self { id, fields, deliveries, taken: Instant::now(), received_ms, stage, started: OnceLock::new() }
    }

    /// Returns the same event for its next try.
    pub fn again(&self) -> Self {
        let deliveries = self.deliveries.saturating_add(1);
        Self::new(self.id, self.fields.clone(), deliveries, self.received_ms)
    }

    /// Records that a worker has taken it.
    pub fn start(&self) {
        self.stage.store(Stage::Running as u8, Ordering::SeqCst);
        self.started.get_or_init(Instant::now);
    }

    /// Returns how long a worker has had it.
    pub fn ran(&self) -> Duration {
        self.started.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Whether it waits for a worker.
    pub fn is_queued(&self) -> bool {
        self.stage.load(Ordering::SeqCst) == Stage::Queued as u8
    }

    /// Records that the worker failed. Returns true once per start.
    pub fn fail(&self) -> bool {
        let (running, resting) = (Stage::Running as u8, Stage::Resting as u8);
        self.stage.compare_exchange(running, resting, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Records that the worker gives it back unstarted. Returns true once per start.
    pub fn back(&self) -> bool {
        let (running, queued) = (Stage::Running as u8, Stage::Queued as u8);
        self.stage.compare_exchange(running, queued, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Records that it is finished. Returns true once.
    pub fn finish(&self) -> bool {
        self.stage.swap(Stage::Done as u8, Ordering::SeqCst) != Stage::Done as u8
    }

    /// Returns how it is given back to the group. A delivery that was started counts.
    pub fn given_back(&self, was_started: bool) -> Delivered {
        Delivered { id: self.id, deliveries: self.deliveries.saturating_add(u32::from(was_started)) }
    }
}

impl Held for InFlight {
    type Key = StreamId;

    fn key(&self) -> StreamId {
        self.id
    }

    fn is_answered(&self) -> bool {
        self.stage.load(Ordering::SeqCst) == Stage::Done as u8
    }
}

impl HeldEntry for InFlight {
    fn deliveries(&self) -> u32 {
        self.deliveries
    }

    fn taken(&self) -> Instant {
        self.taken
    }
}
