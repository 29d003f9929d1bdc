//! An event that this process has taken and not finished.

use crate::events::common::recent_ids;
use crate::foundation::payload::fields::Fields;
use crate::foundation::payload::loss::Loss;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::postgres::pgoutput::tuple::Tuple;
use crate::foundation::redis::group_consumer::admission::HeldEntry;
use crate::foundation::redis::group_consumer::consumer::Delivered;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::work_queue::Held;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The state of a held event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    /// It waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// It is being given up on.
    Settling,
    /// It failed, and waits for its next try.
    Resting,
    /// It is finished or given up on, and is to be acknowledged.
    Done,
}

/// Where an event of an ordered consumer belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InLane {
    /// The lane.
    pub lane: u16,
    /// The epoch of the lane's owner.
    pub epoch: u64,
    /// The hash of the key: its events run one after the other.
    pub key: u64,
    /// The previous owner of the lane may have begun it.
    pub may_have_run: bool,
}

/// The table of a row in a log.
#[derive(Debug, PartialEq, Eq)]
pub struct Described {
    /// Distinguishes it from all others of the process.
    pub number: u64,
    /// The table as JSON: its schema, its name, its identity, and the name, the type and the part in the identity of
    /// each column.
    pub text: Box<[u8]>,
}

/// The name of the field that holds the table of a row.
const TABLE: &[u8] = b"table";

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
    /// Its place in the order. `None` without an order.
    pub spot: Option<InLane>,
    /// The dead letter that this event was read from, if an ordered consumer tries it again.
    pub letter: Option<StreamId>,
    /// For an event of a live source or a log: the hash of what it is ordered by. `None` without an order.
    pub line: Option<u64>,
    /// The hash of the key by which an operator pauses it. `None` if it has no key.
    pub key: Option<u64>,
    /// For a live event: the address of the server that it came from.
    pub node: Option<Arc<str>>,
    /// For an event of a log: the number of its transaction, counted in the order of reading.
    pub transaction: Option<u64>,
    /// The table of a row in a log. All rows of a table share it.
    pub table: Option<Arc<Described>>,
    /// More events of its transaction come after it.
    pub is_followed: bool,
    /// It is handled after all events before it, and before all events after it.
    pub stands_alone: bool,
    /// If this is not an event: what may be missing at this place.
    pub loss: Option<Box<Loss>>,
    /// Its number in the order in which events came into the backlog.
    place: AtomicU64,
    stage: AtomicU8,
    /// When a worker took it, and how many other events that worker handles first.
    started: Mutex<(Instant, usize)>,
    /// It was tried here before, so it is not an event that crashes its consumers.
    is_retry: bool,
    /// The next try does not count as an attempt, because this one did not end by a fault of the event.
    is_uncounted: AtomicBool,
}

impl InFlight {
    /// Creates the state of an event that was just taken.
    pub fn new(id: StreamId, fields: Fields, deliveries: u32, received_ms: u64) -> Self {
        let (stage, taken) = (AtomicU8::new(Stage::Queued as u8), Instant::now());
        Self {
            id,
            fields,
            deliveries,
            taken,
            received_ms,
            spot: None,
            letter: None,
            line: None,
            key: None,
            node: None,
            transaction: None,
            table: None,
            is_followed: false,
            stands_alone: false,
            loss: None,
            place: AtomicU64::new(0),
            stage,
            started: Mutex::new((taken, 0)),
            is_retry: false,
            is_uncounted: AtomicBool::new(false),
        }
    }

    /// Returns the same event for its next try.
    pub fn again(&self) -> Self {
        let counts = !self.is_uncounted.load(Ordering::SeqCst);
        let deliveries = self.deliveries.saturating_add(u32::from(counts));
        let again = Self::new(self.id, self.fields.clone(), deliveries, self.received_ms);
        let node = self.node.clone();
        Self {
            is_retry: true,
            spot: self.spot,
            letter: self.letter,
            line: self.line,
            key: self.key,
            node,
            transaction: self.transaction,
            table: self.table.clone(),
            is_followed: self.is_followed,
            stands_alone: self.stands_alone,
            place: AtomicU64::new(self.place()),
            ..again
        }
    }

    /// Returns the hash of what it is ordered by. `None` without an order.
    pub fn key_hash(&self) -> Option<u64> {
        self.spot.map(|spot| spot.key).or(self.line)
    }

    /// Returns a field. The last of several with the same name counts.
    pub fn field(&self, name: &[u8]) -> Option<&[u8]> {
        match &self.table {
            Some(table) if name == TABLE => Some(&table.text),
            _ => self.fields.get_last(name),
        }
    }

    /// Iterates over the names and values of all fields.
    pub fn all_fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let table = self.table.iter().map(|table| (TABLE, &*table.text));
        self.fields.iter().chain(table)
    }

    /// Returns the row in a field.
    pub fn row(&self, name: &[u8]) -> Option<Tuple<'_>> {
        self.fields.get_last(name).map(|bytes| Tuple { bytes })
    }

    /// Whether it has the form of what our publishers write.
    pub fn is_own(&self) -> bool {
        recent_ids::is_own(&self.fields)
    }

    /// Returns the data of an event of our publishers; `None` of any other.
    pub fn own_data(&self) -> Option<&[u8]> {
        self.fields.get_last(recent_ids::DATA).filter(|_| self.is_own())
    }

    /// Whether it may have run before.
    pub fn is_redelivered(&self) -> bool {
        self.deliveries > 1 || self.spot.is_some_and(|spot| spot.may_have_run)
    }

    /// Returns its number in the order in which events came into the backlog.
    pub fn place(&self) -> u64 {
        self.place.load(Ordering::Relaxed)
    }

    /// Records its number in the order in which events came into the backlog.
    pub fn came_as(&self, place: u64) {
        self.place.store(place, Ordering::Relaxed);
    }

    /// Records that a worker took it at `now`, after `before` other events that the worker handles first.
    pub fn start_after(&self, before: usize, now: Instant) {
        self.stage.store(Stage::Running as u8, Ordering::SeqCst);
        *self.started.lock() = (now, before);
    }

    /// Records that a worker has taken it.
    pub fn start(&self) {
        self.start_after(0, Instant::now());
    }

    /// Whether a worker has it.
    pub fn is_running(&self) -> bool {
        self.stage.load(Ordering::SeqCst) == Stage::Running as u8
    }

    /// Returns when a worker took it, and how many other events that worker handles first.
    pub fn started(&self) -> (Instant, usize) {
        *self.started.lock()
    }

    /// Returns when it came into being, in ms: in Redis, or here, if it is of a log.
    pub fn came_at(&self) -> u64 {
        if self.transaction.is_some() { self.received_ms } else { self.id.ms }
    }

    /// Returns how long a worker has had it. The time of events that were taken together is shared among them.
    pub fn ran(&self, now: Instant) -> Duration {
        let (at, before) = *self.started.lock();
        now.saturating_duration_since(at) / u32::try_from(before + 1).unwrap_or(u32::MAX)
    }

    /// Returns the longest time that a worker has had one of these events. Returns `None` if there are none.
    pub fn longest(events: &[Arc<Self>]) -> Option<Duration> {
        let now = Instant::now();
        events.iter().map(|event| event.ran(now)).max()
    }

    /// Whether it waits for a worker.
    pub fn is_queued(&self) -> bool {
        self.stage.load(Ordering::SeqCst) == Stage::Queued as u8
    }

    /// Records that its handler failed. Returns true once per start.
    pub fn fail(&self) -> bool {
        self.moves(Stage::Running, Stage::Resting)
    }

    /// Records that the worker gives it back without having started it. Returns true once per start.
    pub fn back(&self) -> bool {
        self.moves(Stage::Running, Stage::Queued)
    }

    /// Records that it is finished. Returns true once per start.
    pub fn finish(&self) -> bool {
        self.moves(Stage::Running, Stage::Done)
    }

    /// Records that it is being given up on. Returns true once per start.
    pub fn begin_to_settle(&self) -> bool {
        self.moves(Stage::Running, Stage::Settling)
    }

    /// Records that it was given up on. If that failed, it waits for another try, which does not count as an attempt.
    pub fn settle(&self, is_settled: bool) {
        self.is_uncounted.store(!is_settled, Ordering::SeqCst);
        let stage = if is_settled { Stage::Done } else { Stage::Resting };
        self.stage.store(stage as u8, Ordering::SeqCst);
    }

    fn moves(&self, from: Stage, to: Stage) -> bool {
        self.stage.compare_exchange(from as u8, to as u8, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Returns what to report when it is given back to the group. A delivery that was started counts.
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
    /// Returns 1 if the event failed here by an exception before, because then it did not crash this process.
    fn deliveries(&self) -> u32 {
        if self.is_retry { 1 } else { self.deliveries }
    }

    fn taken(&self) -> Instant {
        self.taken
    }
}
