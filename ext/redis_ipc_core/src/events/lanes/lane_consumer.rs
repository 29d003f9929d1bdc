//! One process's part in an ordered consumer. It starts its parts, hands out events, and stops the parts in order.

use crate::error::{Error, ErrorKind, Fate, Place};
use crate::events::common::consumer::{Consumer, Progress};
use crate::events::common::dead_event::DeadEvent;
use crate::events::common::events_key;
use crate::events::common::in_flight::InFlight;
use crate::events::common::key_hash::hash;
use crate::events::common::one_order;
use crate::events::common::options::{ConsumerOptions, From, Order};
use crate::events::common::pause::Pause;
use crate::events::common::retries::Retries;
use crate::events::common::stream_facts;
use crate::events::common::stream_facts::Facts;
use crate::events::common::streams::Streams;
use crate::events::lanes::checkpoint::{Checkpoint, Starts, Tries};
use crate::events::lanes::keeper::{Due, Keeper};
use crate::events::lanes::protocol::{self, Decision};
use crate::events::lanes::reader::Source;
use crate::events::lanes::readers::Readers;
use crate::events::lanes::schedule::Schedule;
use crate::foundation::payload::key_part;
use crate::foundation::payload::limits::check_name;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::client_name::Purpose;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::group_consumer::dead_letters::DeadLetters;
use crate::foundation::redis::pool::Pool;
use crate::foundation::redis::server_check::open_checked;
use crate::foundation::runtime::id_source::IdSource;
use crate::foundation::runtime::news::News;
use crate::foundation::runtime::reports::{Mailbox, Report};
use crate::foundation::runtime::stats::Counter;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::threads::{join, spawn};
use crate::foundation::runtime::waiting::Interrupt;
use redis::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The number of pooled connections, for everything but the reads.
const POOL: u32 = 5;
/// After this time an event is tried again if its dead letter could not be written.
const LATER: Duration = Duration::from_secs(1);

/// One process's part in an ordered consumer.
pub struct LaneConsumer {
    keeper: Arc<Keeper>,
    schedule: Arc<Schedule>,
    pause: Pause,
    holds_keys: bool,
    batch_size: usize,
    has_made_group: bool,
    keeper_thread: Mutex<Option<JoinHandle<()>>>,
    quiet: AtomicBool,
    closed: AtomicBool,
}

impl LaneConsumer {
    /// Joins the consumer, claims a share of its lanes, and begins to read.
    ///
    /// # Errors
    ///
    /// See `events::start`.
    pub fn start(stream: &str, group: &str, options: ConsumerOptions) -> Result<Self, Error> {
        check_name("stream", stream)?;
        check_name("group", group)?;
        let place =
            Place { stream: Some(stream.to_owned()), group: Some(group.to_owned()), ..Place::default() };
        let endpoint = Arc::new(Endpoint::new(place, &options.redis));
        Self::connect(&endpoint, stream, group, options)
            .map_err(|error| endpoint.locate(error.of_connecting()))
    }

    fn connect(
        endpoint: &Arc<Endpoint>,
        stream: &str,
        group: &str,
        options: ConsumerOptions,
    ) -> Result<Self, Error> {
        let explain = |error| endpoint.connector.explain(&error, Fate::NotSent);
        drop(open_checked(&endpoint.connector, Purpose::Lanes, stream).map_err(explain)?);
        endpoint.report_eviction(stream_facts::EVICTED, false);
        let connections = Arc::new(Pool::of(Arc::clone(&endpoint.connector), Purpose::Lanes, POOL));
        let key = events_key::of(stream, group);
        let streams = Streams::new(stream, options.partitions);
        one_order::check(&connections, &streams, group, true)?;
        connections.with(&key, |connection| endpoint.clock.read(connection))?;
        let schedule = Arc::new(Schedule::new(options.prefetch, options.attempts, options.remember_ids));
        let room = options.room();
        let ConsumerOptions { order, lanes, from, .. } = options;
        let source = Arc::new(Source {
            endpoint: Arc::clone(endpoint),
            connections: Arc::clone(&connections),
            streams,
            group: group.to_owned(),
            order: order.unwrap_or(Order::Source),
            lanes,
            room,
            schedule: Arc::clone(&schedule),
            losses: Counter::default(),
            misplaced: Counter::default(),
        });
        let dead = format!("{stream}:dead:{}", key_part::encode(group));
        let keeper = Arc::new(Keeper {
            readers: Readers::new(Arc::clone(&source)),
            start: starts_at(from, source.facts()?),
            source,
            key,
            instance: IdSource::default().next()?.to_string(),
            lease: options.lease,
            retries: Retries::new(),
            dead_letters: DeadLetters::new(connections, dead),
            limits: options.dead_letters,
            beat_news: News::default(),
            news: News::default(),
            due: Mutex::new(Due::now()),
            has_joined: AtomicBool::new(false),
        });
        let has_made_group = keeper.beat()?;
        let started = Self {
            keeper,
            schedule,
            pause: Pause::default(),
            holds_keys: options.holds_keys,
            batch_size: options.batch_size,
            has_made_group,
            keeper_thread: Mutex::default(),
            quiet: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        };
        started.start_threads().inspect_err(|_| started.close())?;
        started.keeper.source.look_beyond();
        Ok(started)
    }

    fn start_threads(&self) -> Result<(), Error> {
        let endpoint = &self.keeper.source.endpoint;
        self.keeper.readers.tend()?;
        let keeper = Arc::clone(&self.keeper);
        *self.keeper_thread.lock() = Some(spawn("event-keeper", endpoint, move || keeper.run())?);
        Ok(())
    }

    /// Takes events. Takes none while the consumer is paused.
    fn take_unpaused(
        &self,
        interrupt: &Interrupt,
        take: impl Fn() -> Option<Vec<Arc<InFlight>>>,
    ) -> Option<Vec<Arc<InFlight>>> {
        loop {
            if !self.pause.wait(interrupt) {
                return Some(Vec::new());
            }
            let events = take()?;
            if !self.pause.is_set() || events.is_empty() {
                events.iter().for_each(|event| self.note_taken(event));
                return Some(events);
            }
            self.schedule.give_back(&events);
        }
    }

    fn note_taken(&self, event: &InFlight) {
        let stats = &self.keeper.source.endpoint.stats;
        stats.taken.increment();
        if event.is_redelivered() {
            stats.redelivered.increment();
        }
    }

    fn stopped(&self) -> Error {
        let message = "the consumer was stopped before this could be written";
        self.keeper.source.endpoint.locate(Error::new(ErrorKind::Closed(Fate::NotSent), message))
    }

    fn rest(&self, event: &Arc<InFlight>, counts: bool, due: Instant) {
        let count = if counts { event.deliveries } else { event.deliveries.saturating_sub(1) };
        self.schedule.rest(event, Tries { count, is_held: false });
        self.keeper.retries.add(Arc::clone(event), due);
        self.schedule.call_keeper();
    }

    fn locate<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| self.keeper.source.endpoint.locate(error))
    }

    fn decide(&self, entry: StreamId, letter: StreamId, lane: u16, is_retry: bool) -> Result<bool, Error> {
        let decision = Decision { lane, entry, letter, is_retry };
        let set =
            self.keeper.source.connections.run(&self.keeper.key, &decision.command(&self.keeper.key))?;
        self.keeper.hasten();
        Ok(set == Value::Int(1))
    }

    /// Returns the event of a dead letter, with its id and its lane.
    fn dead_event(&self, id: StreamId) -> Result<Option<(DeadEvent, StreamId, u16)>, Error> {
        let source = &self.keeper.source;
        let letter = self.keeper.dead_letters.find(id, source.room_of_letter())?;
        Ok(letter.and_then(|letter| source.dead_event(letter)).and_then(|dead| {
            let entry = StreamId::parse(dead.entry_id.as_bytes())?;
            let lane = source.spot_of(&dead, entry)?.lane;
            Some((dead, entry, lane))
        }))
    }

    /// Asks the owner of the lane to try the event of a dead letter again. The event is handled with the fields in the
    /// letter.
    fn retry_letter(&self, id: StreamId) -> Result<bool, Error> {
        match self.dead_event(id)? {
            Some((dead, entry, lane)) => {
                dead.must_be_whole(id)?;
                self.decide(entry, id, lane, true)
            }
            None => Ok(false),
        }
    }

    fn discard_letter(&self, id: StreamId) -> Result<bool, Error> {
        // The lane's owner may delete the letter before this reads it.
        let is_decided = match self.dead_event(id)? {
            Some((_, entry, lane)) if self.holds_keys => self.decide(entry, id, lane, false)?,
            _ => false,
        };
        Ok(self.keeper.dead_letters.discard(id)? || is_decided)
    }

    /// Takes every lane from its owner, and lets all of them begin at another position.
    fn move_to(&self, to: From) -> Result<StreamId, Error> {
        let Keeper { source, key, .. } = &*self.keeper;
        let facts = source.facts()?;
        let checkpoints: Vec<Checkpoint> = facts.iter().map(|facts| start_at(to, *facts)).collect();
        source.connections.run(key, &protocol::seek(key, &checkpoints))?;
        self.keeper.hasten();
        let places = facts.into_iter().zip(checkpoints.into_iter().map(|checkpoint| vec![checkpoint]));
        Ok(reached(&places.collect::<Vec<_>>()).delivered)
    }

    /// Returns the positions of the consumer in each stream.
    fn places(&self) -> Result<Vec<PlaceInStream>, Error> {
        let facts = self.keeper.source.facts()?;
        let mut checkpoints = self.keeper.checkpoints()?.into_iter();
        let each = if facts.len() == 1 { usize::MAX } else { 1 };
        Ok(facts.into_iter().map(|facts| (facts, checkpoints.by_ref().take(each).collect())).collect())
    }
}

/// What is known of a stream, and the checkpoints of its lanes.
type PlaceInStream = (Option<Facts>, Vec<Checkpoint>);

/// Returns how far the consumer has come in all of its streams.
///
/// That is its position in the stream in which it has come least far, of the streams that it has not read to their
/// ends. Ids are times, so what came before that position is handled in the other streams, too.
pub fn reached(places: &[PlaceInStream]) -> Progress {
    let last_of = |facts: &Option<Facts>| facts.map(|facts| facts.last).unwrap_or_default();
    let lowest = |lanes: &[Checkpoint]| lanes.iter().map(|lane| lane.position).min().unwrap_or_default();
    let last = places.iter().map(|(facts, _)| last_of(facts)).max().unwrap_or_default();
    let behind = places.iter().filter(|(facts, lanes)| lowest(lanes) < last_of(facts));
    let ends = places.iter().map(|(_, lanes)| lowest(lanes)).max();
    let delivered = behind.map(|(_, lanes)| lowest(lanes)).min().or(ends).unwrap_or_default();
    Progress { last, delivered, pending: 0, floor: delivered }
}

/// Returns how many entries come after its positions in all streams.
fn whole_lag(places: &[PlaceInStream]) -> Option<u64> {
    places.iter().map(|(facts, lanes)| facts.map_or(Some(0), |facts| lag(facts, lanes))).sum()
}

/// Returns how many entries come after the lowest position.
fn lag(facts: Facts, positions: &[Checkpoint]) -> Option<u64> {
    let lowest = positions.iter().min_by_key(|checkpoint| checkpoint.position)?;
    if lowest.position >= facts.last {
        return Some(0);
    }
    if lowest.position < facts.first {
        return Some(facts.length);
    }
    let behind = facts.added?.saturating_sub(lowest.ordinal?);
    Some(behind.min(facts.length))
}

/// Returns where the lanes of a new consumer begin.
fn starts_at(from: From, facts: Vec<Option<Facts>>) -> Starts {
    Starts::new(facts.into_iter().map(|facts| start_at(from, facts)).collect())
}

/// Returns where a new consumer begins in a stream.
pub fn start_at(from: From, facts: Option<Facts>) -> Checkpoint {
    let facts = facts.unwrap_or(Facts::NONE);
    let (gone, added) = (facts.gone(), facts.added);
    match from {
        From::Beginning => Checkpoint::starting_at(StreamId::default(), gone),
        From::New => Checkpoint::starting_at(facts.last, added),
        // A position beyond the end means the end, because nothing was added after it yet. From a position before the
        // first entry, entries that are already gone do not count as missed.
        From::After(id) if id >= facts.last => Checkpoint::starting_at(facts.last, added),
        From::After(id) if id < facts.first => Checkpoint::starting_at(id, gone),
        From::After(id) => Checkpoint::starting_at(id, None),
    }
}

impl Consumer for LaneConsumer {
    fn take(&self, most: usize, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        self.take_unpaused(interrupt, || self.schedule.take(self.schedule.at_once(most), interrupt))
    }

    fn take_for(&self, handlers: usize, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        self.take_unpaused(interrupt, || self.schedule.take_for(handlers, interrupt))
    }

    fn take_ready(&self) -> Option<Arc<InFlight>> {
        if self.pause.is_set() {
            None
        } else {
            self.schedule.take_ready().inspect(|event| self.note_taken(event))
        }
    }

    fn take_batch(&self, size: usize, within: Duration, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        let size = size.min(self.batch_size);
        self.take_unpaused(interrupt, || self.schedule.take_batch(size, within, interrupt))
    }

    fn give_back(&self, events: &[Arc<InFlight>]) -> Result<(), Error> {
        self.schedule.give_back(events);
        Ok(())
    }

    fn wake(&self) {
        self.pause.wake();
        self.schedule.wake();
    }

    fn finish(&self, events: &[Arc<InFlight>], longest: Duration) -> Result<(), Error> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(self.stopped());
        }
        let done: Vec<Arc<InFlight>> = events.iter().filter(|event| event.finish()).cloned().collect();
        let lost = self.schedule.finish(&done, Some(longest));
        let stats = &self.keeper.source.endpoint.stats;
        stats.answers_sent.add((done.len() - lost) as u64);
        stats.answers_dropped.add(lost as u64);
        Ok(())
    }

    fn retry(&self, event: &Arc<InFlight>, wait: Duration) -> Result<bool, Error> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(self.stopped());
        }
        let is_running = event.fail();
        if is_running {
            self.rest(event, true, Instant::now() + wait);
        }
        Ok(is_running)
    }

    fn bury(&self, event: &Arc<InFlight>, reason: &str) -> Result<(), Error> {
        if !event.begin_to_settle() {
            return Ok(());
        }
        let kept = self.keeper.bury(event, reason);
        event.settle(kept.is_ok());
        if let Err(error) = kept {
            self.rest(event, false, Instant::now() + LATER);
            return Err(error);
        }
        if self.holds_keys && event.letter.is_none() {
            self.schedule.rest(event, Tries { count: event.deliveries, is_held: true });
        } else {
            self.schedule.finish(std::slice::from_ref(event), None);
        }
        Ok(())
    }

    fn pause(&self, is_paused: bool) {
        self.pause.set(is_paused);
    }

    /// Returns false if the whole source has one order, because then there are no keys.
    fn pause_key(&self, key: &str, is_paused: bool) -> bool {
        let has_keys = matches!(self.keeper.source.order, Order::Key { .. });
        if has_keys {
            self.schedule.pause_key(hash(key.as_bytes()), is_paused);
        }
        has_keys
    }

    fn progress(&self) -> Result<Progress, Error> {
        self.locate(self.places().map(|places| reached(&places)))
    }

    fn seek(&self, to: From) -> Result<StreamId, Error> {
        self.locate(self.move_to(to))
    }

    fn has_made_group(&self) -> bool {
        self.has_made_group
    }

    fn lag(&self) -> Result<Option<u64>, Error> {
        self.locate(self.places().map(|places| whole_lag(&places)))
    }

    fn position(&self) -> Result<(Option<u64>, Progress), Error> {
        self.locate(self.places().map(|places| (whole_lag(&places), reached(&places))))
    }

    fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        Some(&self.keeper.source.endpoint)
    }

    fn connections(&self) -> Option<&Arc<Pool>> {
        Some(&self.keeper.source.connections)
    }

    fn instance(&self) -> Option<String> {
        Some(self.keeper.instance.clone())
    }

    fn stats(&self) -> Vec<(&'static str, u64)> {
        let stats = &self.keeper.source.endpoint.stats;
        let counts = self.schedule.counts();
        vec![
            ("taken", stats.taken.get()),
            ("redelivered", stats.redelivered.get()),
            ("done", stats.answers_sent.get()),
            ("done_without_lane", stats.answers_dropped.get()),
            ("dead_lettered", stats.dead_lettered.get()),
            ("suppressed", counts.suppressed),
            ("losses", self.keeper.source.losses.get()),
            ("misplaced", self.keeper.source.misplaced.get()),
            ("reconnections", stats.reconnections.get()),
            ("reports_dropped", stats.reports_dropped.get()),
            ("lanes", counts.lanes as u64),
            ("held", counts.held as u64),
            ("running", counts.running as u64),
            ("resting", self.keeper.retries.len() as u64),
        ]
    }

    fn quiet(&self) {
        if self.quiet.swap(true, Ordering::SeqCst) {
            return;
        }
        self.schedule.close();
        self.pause.set(false);
        self.keeper.readers.stop();
        self.keeper.readers.join();
    }

    fn close(&self) {
        self.quiet();
        if self.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        let endpoint = &self.keeper.source.endpoint;
        let closing = endpoint.connector.closing();
        closing.begin();
        endpoint.stop.stop();
        join(self.keeper_thread.lock().take());
        if let Err(error) = self.keeper.leave() {
            endpoint.report(error);
        }
        self.keeper.source.connections.close();
        self.keeper.source.endpoint.reports.close();
    }

    fn reports(&self) -> &Mailbox<Report> {
        &self.keeper.source.endpoint.reports
    }

    fn inherited_sockets(&self) -> Vec<std::os::fd::RawFd> {
        self.keeper.source.endpoint.connector.sockets().inherited()
    }

    fn is_connected(&self) -> bool {
        !self.quiet.load(Ordering::SeqCst) && self.keeper.source.endpoint.health.are_up()
    }

    fn dead_letters(&self, after: Option<StreamId>, count: usize) -> Result<Vec<DeadEvent>, Error> {
        let Keeper { source, dead_letters, .. } = &*self.keeper;
        let found = self.locate(dead_letters.page(after, count, source.room_of_letter()))?;
        Ok(found.into_iter().filter_map(|letter| source.dead_event(letter)).collect())
    }

    fn count_dead_letters(&self) -> Result<u64, Error> {
        self.locate(self.keeper.dead_letters.count())
    }

    fn retry_dead_letter(&self, id: StreamId) -> Result<bool, Error> {
        self.locate(self.retry_letter(id))
    }

    fn discard_dead_letter(&self, id: StreamId) -> Result<bool, Error> {
        self.locate(self.discard_letter(id))
    }
}

impl Drop for LaneConsumer {
    /// Stops the threads of a consumer that was not closed, and does not wait for them.
    fn drop(&mut self) {
        self.schedule.close();
        self.keeper.readers.stop();
        self.keeper.source.endpoint.stop.stop();
        self.keeper.source.endpoint.reports.close();
    }
}
