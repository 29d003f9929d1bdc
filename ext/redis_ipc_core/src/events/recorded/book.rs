//! What a consumer has taken and what became of it, for its record.

use crate::error::Error;
use crate::events::common::consumer::{Consumer, Progress};
use crate::events::common::in_flight::InFlight;
use crate::events::recorded::source::Source;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::postgres::pgoutput::lsn::Lsn;
use crate::foundation::redis::record::subject::{RunningHandler, Subject};
use crate::foundation::runtime::histogram::Histogram;
use crate::foundation::runtime::losses::Losses;
use crate::foundation::runtime::series::Totals;
use crate::foundation::runtime::stats::Counter;
use crate::foundation::runtime::sync::Mutex;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How many events that were taken are known at least before those that are over are forgotten.
const FEW: usize = 256;

/// What is known of the position of a consumer.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    lag: Option<u64>,
    progress: Option<Progress>,
}

/// What a consumer has taken and what became of it.
pub struct Book {
    consumer: Arc<dyn Consumer>,
    source: Source,
    /// The events that were taken, and may be over.
    taken: Mutex<Vec<Weak<InFlight>>>,
    /// Events that were handled.
    pub handled: Counter,
    /// How often the handling of an event failed.
    pub failed: Counter,
    wait: Histogram,
    run: Histogram,
    /// The losses that workers were handed.
    losses: Losses,
    position: Mutex<Position>,
    /// The events whose handlers have run for long.
    slow: Mutex<HashMap<StreamId, Slow>>,
}

/// A handler that has run for long.
#[derive(Debug, Default)]
struct Slow {
    /// After this long it is looked at again.
    next_look: Duration,
    /// The line of the application where it was.
    frame: Option<String>,
}

impl Book {
    /// Begins the book of a consumer.
    pub fn new(consumer: Arc<dyn Consumer>, source: Source) -> Self {
        Self {
            consumer,
            source,
            taken: Mutex::default(),
            handled: Counter::default(),
            failed: Counter::default(),
            wait: Histogram::default(),
            run: Histogram::default(),
            losses: Losses::default(),
            position: Mutex::default(),
            slow: Mutex::default(),
        }
    }

    /// Records that a worker has taken events at this time (ms on Redis's clock).
    pub fn take(&self, events: &[Arc<InFlight>], now: u64) {
        for event in events {
            match &event.loss {
                Some(loss) => self.losses.note(loss),
                None => self.wait.record(Duration::from_millis(now.saturating_sub(event.came_at()))),
            }
        }
        let mut taken = self.taken.lock();
        if taken.len() + events.len() > taken.capacity().max(FEW) {
            taken.retain(|event| event.upgrade().is_some_and(|event| event.is_running()));
            // Room for as many again, so that this is not done for each event while many run.
            let room = taken.len().max(FEW);
            taken.reserve(room);
        }
        taken.extend(events.iter().map(Arc::downgrade));
    }

    /// Returns how long events waited and handlers took.
    pub fn details(&self) -> Value {
        json!({ "histograms": { "wait": self.wait.to_json(), "run": self.run.to_json() } })
    }

    /// Records that events were handled, which took them so long together.
    pub fn done(&self, events: &[Arc<InFlight>], longest: Option<Duration>) {
        let count = events.iter().filter(|event| event.loss.is_none()).count() as u64;
        self.handled.add(count);
        if let Some(longest) = longest {
            self.run.record_many(longest, count);
        }
    }

    /// Records that the handling of an event failed, after this time.
    pub fn fail(&self, ran: Duration) {
        self.failed.increment();
        self.run.record(ran);
    }

    /// Looks how far the consumer has come.
    pub fn look(&self) {
        if self.source.has_position {
            let found: Result<_, Error> = self.consumer.position();
            // A failure is told by the other threads; then nothing is known.
            let found = found.ok();
            *self.position.lock() = Position {
                lag: found.and_then(|(lag, _)| lag),
                progress: found.map(|(_, progress)| progress),
            };
        }
    }

    /// Returns the ids of the events whose handlers have run for so long that they are to be looked at. Each is looked at
    /// less and less often.
    pub fn slow(&self) -> Vec<StreamId> {
        let running = self.running();
        let mut slow = self.slow.lock();
        slow.retain(|id, _| running.iter().any(|event| event.id == *id));
        let mut is_due = |event: &Arc<InFlight>| {
            let ran = event.started().0.elapsed();
            let known = slow.entry(event.id).or_insert(Slow { next_look: self.source.lease, frame: None });
            let is_due = ran >= known.next_look;
            if is_due {
                known.next_look = ran * 2;
            }
            is_due
        };
        running.into_iter().filter(|event| is_due(event)).map(|event| event.id).collect()
    }

    /// Notes where the handler of an event is that runs for long.
    pub fn note_frame(&self, id: StreamId, frame: Option<String>) {
        if let Some(slow) = self.slow.lock().get_mut(&id) {
            slow.frame = frame;
        }
    }

    /// Returns the events that run: of those that a worker has taken together, the first that is not over.
    pub fn running(&self) -> Vec<Arc<InFlight>> {
        let mut first: BTreeMap<Instant, (usize, Arc<InFlight>)> = BTreeMap::new();
        let mut taken = self.taken.lock();
        taken.retain(|event| {
            let Some(event) = event.upgrade().filter(|event| event.is_running()) else { return false };
            let (at, before) = event.started();
            match first.get(&at) {
                Some((least, _)) if *least <= before => {}
                _ => {
                    first.insert(at, (before, event));
                }
            }
            true
        });
        first.into_values().map(|(_, event)| event).collect()
    }
}

impl Subject for Book {
    fn kind(&self) -> &'static str {
        "events"
    }

    fn settings(&self) -> Map<String, Value> {
        self.source.settings.clone()
    }

    fn handlers(&self) -> usize {
        self.source.workers
    }

    fn running(&self) -> Vec<RunningHandler> {
        let row = |event: Arc<InFlight>| RunningHandler {
            id: event.id.to_string(),
            from: String::new(),
            event: None,
            delivery: event.deliveries,
            since: event.started().0,
            frame: self.slow.lock().get(&event.id).and_then(|slow| slow.frame.clone()),
        };
        Book::running(self).into_iter().map(row).collect()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.consumer.stats()
    }

    fn totals(&self) -> Totals {
        let (answered, failed) = (self.handled.get(), self.failed.get());
        Totals { asked: 0, answered, failed, run_ms: self.run.sum_ms() }
    }

    fn histograms(&self) -> Vec<(&'static str, &Histogram)> {
        vec![("wait", &self.wait), ("run", &self.run)]
    }

    fn events(&self) -> Option<Value> {
        let Position { lag, progress } = *self.position.lock();
        let stats = self.consumer.stats();
        let stat = |wanted: &str| stats.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
        let is_behind =
            lag.is_some_and(|lag| lag > 0) || progress.is_some_and(|progress| progress.pending > 0);
        let confirmed = stat("confirmed_lsn").map(|lsn| Lsn(lsn).to_string());
        let mut losses = self.consumer.losses();
        losses.extend(self.losses.rows());
        Some(json!({
            "source": self.source.name,
            "handled": self.handled.get(),
            "failed": self.failed.get(),
            "lag": lag,
            "oldest": progress.filter(|_| is_behind).map(|progress| progress.floor.ms),
            "lanes": self.source.lanes.map(|of| json!({"owned": stat("lanes"), "of": of})),
            "losses": losses,
            "checkpoint": progress.map(|progress| progress.floor.to_string()).or(confirmed),
        }))
    }
}
