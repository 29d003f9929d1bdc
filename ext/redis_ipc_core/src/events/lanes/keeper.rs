//! The keeper thread of an ordered consumer: leases, checkpoints, retries, and events that cannot be handled.

use crate::error::{Error, ErrorKind, Fate};
use crate::events::common::dead_event::with_stream;
use crate::events::common::in_flight::InFlight;
use crate::events::common::retries::Retries;
use crate::events::lanes::checkpoint::{Checkpoint, Starts};
use crate::events::lanes::ownership::Change;
use crate::events::lanes::protocol::{self, Beat, Decision, Save, Share};
use crate::events::lanes::reader::Source;
use crate::events::lanes::readers::Readers;
use crate::events::lanes::schedule::Finished;
use crate::foundation::redis::group_consumer::consumer::Delivered;
use crate::foundation::redis::group_consumer::dead_letters::{DeadLetters, Letter, Limits};
use crate::foundation::runtime::failpoint;
use crate::foundation::runtime::news::News;
use crate::foundation::runtime::sync::Mutex;
use redis::{RedisError, Value};
use std::collections::HashMap;
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often checkpoints are written.
const SAVE: Duration = Duration::from_millis(200);
/// The pause before another attempt after Redis refused something or could not be reached.
const LATER: Duration = Duration::from_secs(1);
/// How often the position of the consumer is shown to those who trim the stream.
const MARK: Duration = Duration::from_secs(1);
/// How often Redis's clock is read.
const READ_CLOCK: Duration = Duration::from_secs(10);

/// The keeper of the lanes of this instance.
pub struct Keeper {
    /// The source of the events.
    pub source: Arc<Source>,
    /// The threads that read it.
    pub readers: Readers,
    /// The key of the hash that the instances share.
    pub key: String,
    /// The name of this instance.
    pub instance: String,
    /// How long an instance owns a lane after its last heartbeat.
    pub lease: Duration,
    /// Where a new consumer begins.
    pub start: Starts,
    /// The events that failed and are tried again.
    pub retries: Retries,
    /// The events that were given up on.
    pub dead_letters: DeadLetters,
    /// The limits on the dead letters.
    pub limits: Limits,
    /// The last reported failure of a heartbeat.
    pub beat_news: News,
    /// The last reported failure of anything else.
    pub news: News,
    /// When the thread has something to do.
    pub due: Mutex<Due>,
    /// Whether a heartbeat has succeeded.
    pub has_joined: AtomicBool,
}

/// The times at which the thread has something to do.
pub struct Due {
    beat: Instant,
    save: Instant,
    clock: Instant,
    mark: Instant,
    /// After Redis has refused a dead letter: the time of the next attempt to write it.
    give_up: Instant,
}

impl Due {
    /// Makes everything due, except the checkpoints and the clock: there is nothing to save yet, and the clock was just
    /// read.
    pub fn now() -> Self {
        let now = Instant::now();
        Self { beat: now, save: now + SAVE, clock: now + READ_CLOCK, mark: now, give_up: now }
    }
}

impl Keeper {
    /// Runs the keeper's thread until the consumer closes.
    pub fn run(&self) {
        loop {
            let next = {
                let due = self.due.lock();
                due.beat.min(due.save)
            };
            let next = self.retries.next_due().map_or(next, |retry| retry.min(next));
            let pause = next.saturating_duration_since(Instant::now());
            if self.source.endpoint.stop.pause_or(pause, self.source.schedule.urgent()) {
                return;
            }
            failpoint::point();
            self.work();
        }
    }

    fn work(&self) {
        let now = Instant::now();
        if self.due.lock().beat <= now && !self.source.schedule.is_closed() {
            // This is set before the heartbeat, because someone may ask for another one while it is under way.
            self.due.lock().beat = now + self.lease / 3;
            if let Err(error) = self.beat() {
                self.source.endpoint.report_news(error, &self.beat_news);
                self.due.lock().beat = now + (self.lease / 10).min(LATER);
            }
        }
        if self.due.lock().give_up <= now {
            self.give_up();
        }
        self.try_alone();
        self.forget_finished();
        if self.due.lock().save <= now || self.source.schedule.is_closed() {
            let saved = self.save(false);
            self.tell(saved);
            self.due.lock().save = now + SAVE;
        }
        self.tell(self.readers.tend());
        if self.due.lock().mark <= now {
            self.tell(self.mark());
            self.due.lock().mark = now + MARK;
        }
        if self.due.lock().clock <= now {
            let Source { connections, endpoint, .. } = &*self.source;
            self.tell(connections.with(&self.key, |connection| endpoint.clock.read(connection)));
            self.due.lock().clock = now + READ_CLOCK;
        }
        for event in self.retries.take_due() {
            self.source.schedule.again(Arc::new(event.again()));
        }
    }

    fn tell(&self, result: Result<(), Error>) {
        if let Err(error) = result {
            self.source.endpoint.report_news(error, &self.news);
        }
    }

    /// Sends a heartbeat to Redis. It renews the leases of this instance, and claims its share of the lanes. Returns
    /// whether the consumer is new.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses, or the consumer has another number of lanes in Redis.
    pub fn beat(&self) -> Result<bool, Error> {
        let Source { connections, endpoint, schedule, lanes, streams, .. } = &*self.source;
        let held = schedule.held();
        let is_first = !self.has_joined.load(Ordering::SeqCst);
        let beat = Beat {
            instance: self.instance.clone(),
            lease: self.lease.as_millis() as u64,
            lanes: *lanes,
            are_partitions: streams.are_partitions(),
            // If the hash was deleted while this instance ran, nobody knows what is done, so the lanes begin at the
            // start of the streams.
            start: if is_first { self.start.clone() } else { Starts::default() },
            held,
        };
        let sent = Instant::now();
        let share =
            connections.with(&self.key, |connection| Share::read(&connection.run(&beat.command(&self.key))?));
        let share = share.map_err(|error| self.of_other_lanes(error))?;
        self.has_joined.store(true, Ordering::SeqCst);
        if share.is_new && !is_first {
            // The hash is gone, and perhaps the stream, too. This must be checked now, because after this all lanes
            // begin anew.
            self.source.check()?;
        }
        let change = schedule.renewed(&share, &beat.held, sent, self.lease, endpoint.clock.now());
        self.tell_lost(&change);
        let is_new = share.is_new;
        self.carry_out(share);
        Ok(is_new)
    }

    fn of_other_lanes(&self, error: Error) -> Error {
        let refusal = error.source().and_then(|source| source.downcast_ref::<RedisError>());
        match refusal.filter(|refusal| refusal.code() == Some("LANES")).and_then(RedisError::detail) {
            Some(there) => {
                let Source { lanes, streams, .. } = &*self.source;
                let here = protocol::described(*lanes, streams.are_partitions());
                let [(there, word), (here, _)] = [there, &here].map(option);
                let message = format!(
                    "this consumer has {there} in Redis, and {here} here: that cannot change while events are under way. \
                     Start it with {word}, or under another group"
                );
                Error::new(ErrorKind::Configuration, message)
            }
            None => error,
        }
    }

    fn tell_lost(&self, change: &Change) {
        if change.lost.is_empty() {
            return;
        }
        // The instance takes its share of the free lanes at once.
        self.due.lock().beat = Instant::now();
        // The other lanes were moved by `seek`, or were lost with the rest of Redis. That is reported as a loss.
        if change.expired > 0 {
            let message = format!(
                "the leases of {} lanes ran out here, and they belong to other instances now: this process or Redis stood \
                 still for longer than a lease. Events of them that run here may run there again",
                change.expired
            );
            self.source.endpoint.report(Error::new(ErrorKind::Connection(Fate::Unknown), message));
        }
    }

    /// Shows the position of the slowest lane in a consumer group of Redis, for those who trim the stream. The owner of
    /// lane 0 does that for all instances. The readers of partitions do it themselves.
    fn mark(&self) -> Result<(), Error> {
        let Source { connections, streams, schedule, group, .. } = &*self.source;
        if streams.are_partitions() || !schedule.owns(0) {
            return Ok(());
        }
        let lowest = self.checkpoints()?.into_iter().min_by_key(|checkpoint| checkpoint.position);
        match lowest {
            Some(lowest) => {
                let stream = streams.name();
                connections.run(stream, &protocol::mark(stream, group, &lowest)).map(drop)
            }
            None => Ok(()),
        }
    }

    /// Returns the checkpoint of each lane.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn checkpoints(&self) -> Result<Vec<Checkpoint>, Error> {
        self.source.connections.with(&self.key, |connection| {
            let hash: HashMap<String, Value> = connection.query(redis::cmd("HGETALL").arg(&self.key))?;
            Ok(protocol::positions(&hash, self.source.lanes))
        })
    }

    /// Lets the thread send the next heartbeat at once.
    pub fn hasten(&self) {
        self.due.lock().beat = Instant::now();
        self.source.schedule.call_keeper();
    }

    /// Writes all checkpoints, releases all lanes, and leaves the consumer.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses. Then this instance owns the lanes until their leases run out.
    pub fn leave(&self) -> Result<(), Error> {
        self.source.schedule.count_running();
        self.save(true)?;
        self.forget(&self.source.schedule.take_finished_letters())?;
        let mut leave = redis::cmd("HDEL");
        leave.arg(&self.key).arg(format!("i:{}", self.instance));
        self.source.connections.run(&self.key, &leave).map(drop)
    }

    /// Writes the checkpoints that have changed. With `all`, every lane is released.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn save(&self, all: bool) -> Result<(), Error> {
        let saves = self.source.schedule.saves(all);
        if saves.is_empty() { Ok(()) } else { self.write(saves) }
    }

    fn write(&self, saves: Vec<Save>) -> Result<(), Error> {
        let command = protocol::save(&self.key, &self.instance, &saves);
        let refused = self
            .source
            .connections
            .with(&self.key, |connection| protocol::refused(&connection.run(&command)?))?;
        // If checkpoints were refused, the hash may be gone together with the streams. This must be checked now: an
        // instance that has lost a partition no longer knows its position.
        let checked = if refused.is_empty() { Ok(()) } else { self.source.check() };
        let change = self.source.schedule.saved(saves, &refused);
        self.tell_lost(&change);
        checked
    }

    /// Moves events that cannot be handled to the dead letters.
    fn give_up(&self) {
        let mut condemned = self.source.schedule.take_condemned().into_iter();
        while let Some((event, reason)) = condemned.next() {
            if self.bury(&event, &reason).is_err() {
                // The next attempt is later, because the leases must not wait for it.
                self.due.lock().give_up = Instant::now() + LATER;
                self.source.schedule.condemn([(event, reason)].into_iter().chain(condemned));
                return;
            }
            self.source.endpoint.stats.taken.increment();
            let error = Error::new(ErrorKind::DeadLettered, reason).entry(event.id);
            self.source.report_of(event.spot.map_or(0, |spot| spot.lane), error);
            self.source.schedule.dismiss(&event);
        }
    }

    /// Moves an event to the dead letters.
    ///
    /// # Errors
    ///
    /// The dead letter was not written. That is reported, too.
    pub fn bury(&self, event: &InFlight, reason: &str) -> Result<(), Error> {
        let Source { endpoint, streams, .. } = &*self.source;
        let taken = Delivered { id: event.id, deliveries: event.deliveries };
        let fields = match event.spot {
            Some(spot) if streams.are_partitions() => &with_stream(streams.of(spot.lane), &event.fields),
            _ => &event.fields,
        };
        self.dead_letters.keep(endpoint, Letter::new(taken, fields, reason), &[], &self.limits)
    }

    /// Lets events of careful lanes begin, once Redis has counted the try.
    fn try_alone(&self) {
        let trials = self.source.schedule.trials();
        if trials.is_empty() {
            return;
        }
        match self.save(false) {
            Ok(()) => self.source.schedule.counted(&trials),
            Err(error) => self.tell(Err(error)),
        }
    }

    /// Carries out what operators decided about dead letters of the lanes of this instance.
    fn carry_out(&self, share: Share) {
        for decision in share.decisions {
            if self.source.schedule.may_decide(decision.lane, decision.entry) {
                self.tell(self.decide(&decision));
            }
        }
    }

    fn decide(&self, decision: &Decision) -> Result<(), Error> {
        let (source, Decision { lane, entry, letter, .. }) = (&self.source, *decision);
        let schedule = &source.schedule;
        let room = source.room_of_letter();
        let found = if decision.is_retry { self.dead_letters.find(letter, room)? } else { None };
        let dead = found.and_then(|letter| source.dead_event(letter));
        match dead.and_then(|dead| Some((source.spot_of(&dead, entry)?.key, dead))) {
            Some((key, dead)) => {
                let received = source.endpoint.clock.now();
                let mut event = InFlight::new(entry, dead.fields, 1, received);
                event.letter = Some(letter);
                schedule.try_letter(event, lane, key);
                Ok(())
            }
            // The letter was discarded, by this decision or in the meantime.
            None => {
                schedule.drop_held(lane, entry);
                self.forget(&[Finished { lane, entry, letter }])
            }
        }
    }

    /// Deletes the dead letters whose events are done, and the decisions about them.
    fn forget_finished(&self) {
        let finished = self.source.schedule.take_finished_letters();
        if let Err(error) = self.forget(&finished) {
            self.source.schedule.keep_finished_letters(finished);
            self.tell(Err(error));
        }
    }

    fn forget(&self, finished: &[Finished]) -> Result<(), Error> {
        for one in finished {
            self.dead_letters.discard(one.letter)?;
            let field = protocol::decision_field(one.lane, one.entry);
            self.source.connections.run(&self.key, redis::cmd("HDEL").arg(&self.key).arg(field))?;
        }
        Ok(())
    }
}

/// Returns the number of lanes in words, and the option that sets it, from the text in the hash.
fn option(described: &str) -> (String, String) {
    match described.strip_suffix(" partitions") {
        Some(number) => (described.to_owned(), format!("partitions: {number}")),
        None if described == "1" => ("1 lane".to_owned(), "order :source, or lanes: 1".to_owned()),
        None => (format!("{described} lanes"), format!("lanes: {described}")),
    }
}
