//! Reads the streams for the lanes of this instance. A single stream has two readers. The *head* waits at the end of
//! the stream for the lanes that are up to date. The *catch-up reader* reads again for the lanes that are behind, so
//! that they delay no other. With partitions, each lane has a reader of its own.

use crate::error::{Error, ErrorKind};
use crate::events::common::dead_event::{DeadEvent, UNREADABLE, not_whole};
use crate::events::common::in_flight::{InFlight, InLane};
use crate::events::common::options::Order;
use crate::events::common::stream_facts::{self, Facts};
use crate::events::common::streams::Streams;
use crate::events::lanes::keyer::Spot;
use crate::events::lanes::protocol;
use crate::events::lanes::schedule::{Candidate, Role, Schedule, Share, Start};
use crate::foundation::payload::fields::{Fields, Room};
use crate::foundation::payload::loss::{Cause, Loss};
use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::client_name::Purpose;
use crate::foundation::redis::connection::{Connection, is_unreadable};
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::link::Link;
use crate::foundation::redis::pool::Pool;
use crate::foundation::redis::read_cancel::ReadCancel;
use crate::foundation::redis::read_size::ReadSize;
use crate::foundation::redis::resp::replies;
use crate::foundation::redis::rights;
use crate::foundation::runtime::stats::Counter;
use crate::foundation::runtime::stop::Stop;
use crate::foundation::runtime::sync::Mutex;
use redis::{RedisResult, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The most entries that one read requests.
const MOST: usize = 512;
/// The most bytes that one read requests, if entries are as large as recent ones.
const AT_ONCE: usize = 8 << 20;
/// How long the head waits for an entry. While it waits, it notices no loss, and not that it should begin elsewhere.
const BLOCK: Duration = Duration::from_secs(1);
/// How long the reader of an idle partition waits. There may be many of them, and each costs two commands each time.
const BLOCK_IDLE: Duration = Duration::from_secs(5);
/// How often a reader checks whether the stream has lost entries that it has not read.
const CHECK: Duration = Duration::from_secs(1);

/// What all readers share.
pub struct Source {
    /// The access to Redis.
    pub endpoint: Arc<Endpoint>,
    /// The connections for everything but blocking reads.
    pub connections: Arc<Pool>,
    /// The streams.
    pub streams: Streams,
    /// The name of the consumer.
    pub group: String,
    /// How its events are ordered.
    pub order: Order,
    /// How many lanes there are.
    pub lanes: u16,
    /// How much of an entry is kept when it is read.
    pub room: Room,
    /// The schedule that gets the events.
    pub schedule: Arc<Schedule>,
    /// How many losses were reported.
    pub losses: Counter,
    /// How many entries were in another partition than their keys say.
    pub misplaced: Counter,
}

impl Source {
    /// Returns what is known about each stream.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn facts(&self) -> Result<Vec<Option<Facts>>, Error> {
        self.streams.iter().map(|stream| self.facts_of(stream)).collect()
    }

    fn facts_of(&self, stream: &str) -> Result<Option<Facts>, Error> {
        self.connections
            .with(stream, |connection| stream_facts::read(&connection.run(&stream_facts::command(stream))?))
    }

    /// Returns the readers that are needed.
    pub fn roles(&self) -> Vec<Role> {
        if self.streams.are_partitions() {
            self.schedule.partitions().into_iter().map(|(role, _)| role).collect()
        } else {
            vec![Role::Head, Role::CatchUp]
        }
    }

    /// Checks each stream like [`Source::check_on`], on pooled connections.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn check(&self) -> Result<(), Error> {
        let places = if self.streams.are_partitions() {
            self.schedule.partitions()
        } else {
            vec![(Role::Head, self.schedule.head())]
        };
        for (role, start) in places {
            let stream = self.stream_of(role);
            self.connections.with(stream, |connection| self.check_on(connection, role, start))?;
        }
        Ok(())
    }

    fn stream_of(&self, role: Role) -> &str {
        match role {
            Role::Head | Role::CatchUp => self.streams.name(),
            Role::Partition(lane, _) => self.streams.of(lane),
        }
    }

    /// Returns the place of the event of a dead letter. Returns `None` if it belongs to another stream.
    pub fn spot_of(&self, dead: &DeadEvent, entry: StreamId) -> Option<Spot> {
        if !self.streams.are_partitions() {
            return Some(self.order.spot(entry, &dead.fields, self.lanes));
        }
        let partition = self.streams.partition(dead.stream.as_ref()?.as_bytes())?;
        Some(self.order.spot_in(partition, entry, &dead.fields, self.lanes).0)
    }

    /// Reads a dead letter.
    pub fn dead_event(&self, letter: RawEntry) -> Option<DeadEvent> {
        if self.streams.are_partitions() {
            DeadEvent::read_of_partition(letter)
        } else {
            DeadEvent::read(letter)
        }
    }

    /// Returns how much of a dead letter is kept when it is read.
    pub fn room_of_letter(&self) -> Room {
        self.room.and_fields(usize::from(self.streams.are_partitions()))
    }

    /// Returns the place of an event that a reader has read.
    fn spot(&self, role: Role, id: StreamId, fields: &Fields) -> Spot {
        let Role::Partition(partition, _) = role else { return self.order.spot(id, fields, self.lanes) };
        let (spot, is_at_home) = self.order.spot_in(partition, id, fields, self.lanes);
        if !is_at_home {
            self.note_misplaced(partition, id);
        }
        spot
    }

    /// Reports if the stream of the next partition exists, because nobody here would read what is added to it. If the
    /// server does not allow the question, nothing is reported.
    pub fn look_beyond(&self) {
        let Some(beyond) = self.streams.beyond() else { return };
        let mut exists = redis::cmd("EXISTS");
        exists.arg(&beyond);
        if self.connections.run(&beyond, &exists).is_ok_and(|found| found == Value::Int(1)) {
            let message = format!(
                "the stream {beyond:?} is there, and this consumer has {} partitions: it reads nothing of what publishers \
                 with more of them add to that stream and to those after it",
                self.lanes
            );
            self.endpoint.report(Error::new(ErrorKind::Configuration, message));
        }
    }

    fn note_misplaced(&self, partition: u16, id: StreamId) {
        let is_first = self.misplaced.get() == 0;
        self.misplaced.increment();
        if is_first {
            let message = format!(
                "the key of this event belongs to another one of the {} partitions: its publisher has another number of \
                 them, or picks them by something else. Events of one key are in order only within a partition. This is \
                 told once, and counted (misplaced)",
                self.lanes
            );
            self.report_of(partition, Error::new(ErrorKind::Configuration, message).entry(id));
        }
    }

    /// Reports an error that concerns an event of a lane.
    pub fn report_of(&self, lane: u16, error: Error) {
        let mut located = self.endpoint.locate(error);
        located.place.stream = Some(self.streams.of(lane).to_owned());
        self.endpoint.report_located(located);
    }

    /// Checks whether the stream has lost entries that were not read here, and reports that. Returns whether there is a
    /// stream. Returns `None` if the reader must ask again where it begins.
    fn check_on(&self, connection: &mut Connection, role: Role, start: Start) -> RedisResult<Option<bool>> {
        let Self { endpoint, schedule, streams, .. } = self;
        let stream = self.stream_of(role);
        let facts = stream_facts::read(&connection.run(&stream_facts::command(stream))?)?;
        match compare(facts, start) {
            Finding::Nothing => return Ok(Some(facts.is_some())),
            Finding::Counted(ordinal) => schedule.count(role, start, ordinal),
            Finding::Trimmed { is_exact, ordinal, until } => {
                if let Some(gap) = schedule.skip(role, start, until.previous(), ordinal) {
                    let is_alone = streams.are_partitions() || schedule.owns_all(self.lanes);
                    let is_exact = is_exact && gap.is_exact && is_alone;
                    self.tell(stream, Cause::Trimmed, gap.after, until.ms, gap.at_most, is_exact);
                }
            }
            Finding::RolledBack { position, ordinal, at_most } => {
                if schedule.roll_back(role, position, ordinal) {
                    self.tell(stream, Cause::RolledBack, position, start.after.ms, at_most, false);
                }
            }
            Finding::Flushed => {
                if schedule.roll_back(role, StreamId::default(), Some(0)) {
                    self.tell(stream, Cause::Flushed, start.after, endpoint.clock.now(), None, false);
                }
            }
        }
        Ok(None)
    }

    fn tell(
        &self,
        stream: &str,
        cause: Cause,
        after: StreamId,
        until_ms: u64,
        at_most: Option<u64>,
        is_exact: bool,
    ) {
        let Self { endpoint, losses, .. } = self;
        losses.increment();
        endpoint.report_loss(Loss {
            source: stream.to_owned(),
            node: endpoint.connector.address().to_owned(),
            cause,
            since_ms: (after != StreamId::default()).then_some(after.ms),
            until_ms,
            at_most,
            is_exact,
        });
    }
}

/// One of the readers.
pub struct Reader {
    source: Arc<Source>,
    /// Which lanes it reads for.
    pub role: Role,
    read_size: Mutex<ReadSize>,
    /// The size of the largest recent entries in bytes.
    usual_size: AtomicUsize,
    /// Cancels the current read.
    pub read_cancel: Arc<ReadCancel>,
    quiet: Stop,
    /// The position that the marker group of its partition shows.
    shown: Mutex<Option<StreamId>>,
}

impl Reader {
    /// Creates a reader.
    pub fn new(source: Arc<Source>, role: Role) -> Self {
        let read_size = Mutex::new(ReadSize::new(MOST));
        Self {
            source,
            role,
            read_size,
            usual_size: AtomicUsize::new(0),
            read_cancel: Arc::default(),
            quiet: Stop::default(),
            shown: Mutex::default(),
        }
    }

    /// Returns the name of its thread.
    pub fn name(&self) -> &'static str {
        if self.role == Role::CatchUp { "event-catchup" } else { "event-reader" }
    }

    /// Runs the reader's thread until [`Reader::stop`].
    pub fn run(&self) {
        let stream = self.source.stream_of(self.role);
        let mut link = Link::new(&self.source.endpoint, stream, true);
        while !self.quiet.is_stopped() {
            if let Err(error) = self.session(&mut link)
                && !self.quiet.is_stopped()
            {
                link.lost(&error);
            }
        }
    }

    /// Cancels the current read, and reads no more.
    pub fn stop(&self) {
        self.quiet.stop();
        self.read_cancel.end();
    }

    /// Reads on one connection until it breaks.
    fn session(&self, link: &mut Link<'_>) -> RedisResult<()> {
        let Source { endpoint, schedule, .. } = &*self.source;
        let stream = self.source.stream_of(self.role);
        // The catch-up reader has a connection only while it has something to do.
        let Some(mut start) = self.wait_for_room() else { return Ok(()) };
        let mut connection =
            endpoint.connector.opener(Purpose::Reader).open_blocking(stream, BLOCK_IDLE, &self.quiet)?;
        self.read_cancel.on(&connection);
        if self.quiet.is_stopped() {
            return Ok(());
        }
        // The clocks of the nodes of a cluster differ. With partitions, only the clock that the keeper reads counts.
        if !self.is_of_partition() {
            endpoint.clock.read(&mut connection)?;
        }
        self.judge(&mut connection, start)?;
        link.up();
        let mut checked: Option<(Instant, u64)> = None;
        let mut block = BLOCK;
        loop {
            // After the reader was moved, it does not know how many entries the stream has had up to there.
            let is_known = checked
                .is_some_and(|(at, generation)| at.elapsed() < CHECK && generation == start.generation);
            if self.role == Role::CatchUp || !is_known {
                checked = Some((Instant::now(), start.generation));
                let Some(is_there) = self.source.check_on(&mut connection, self.role, start)? else {
                    let Some(again) = self.wait_for_room() else { return Ok(()) };
                    start = again;
                    continue;
                };
                let is_idle =
                    if is_there { self.mark(&mut connection, start)? } else { self.is_of_partition() };
                block = if is_idle { BLOCK_IDLE } else { BLOCK };
            }
            if self.read(&mut connection, start, block)? > 0 {
                block = BLOCK;
            }
            match schedule.wait_for_room(self.role, BLOCK) {
                Some(next) => start = next,
                // The catch-up reader closes its connection while no lane is behind.
                None if self.role == Role::CatchUp || self.quiet.is_stopped() => return Ok(()),
                None => match self.wait_with(&mut connection, start)? {
                    Some(next) if !connection.is_gone() => start = next,
                    _ => return Ok(()),
                },
            }
        }
    }

    fn is_of_partition(&self) -> bool {
        matches!(self.role, Role::Partition(..))
    }

    /// Shows the position of the partition in a consumer group of Redis, for those who trim the stream. Returns whether
    /// everything read up to `start` is done.
    fn mark(&self, connection: &mut Connection, start: Start) -> RedisResult<bool> {
        let Role::Partition(lane, epoch) = self.role else { return Ok(false) };
        let Source { schedule, group, streams, .. } = &*self.source;
        let Some(durable) = schedule.durable(lane, epoch) else { return Ok(false) };
        let position = durable.position;
        if self.shown.lock().is_none_or(|shown| shown != position) {
            let is_there =
                connection.run(&protocol::mark(streams.of(lane), group, &durable))? == Value::Int(1);
            *self.shown.lock() = is_there.then_some(position);
        }
        Ok(position == start.after)
    }

    /// Waits for room. Meanwhile it keeps showing the position of the partition.
    fn wait_with(&self, connection: &mut Connection, start: Start) -> RedisResult<Option<Start>> {
        while !self.quiet.is_stopped() && !self.source.schedule.is_closed() {
            self.mark(connection, start)?;
            if let Some(next) = self.source.schedule.wait_for_room(self.role, BLOCK) {
                return Ok(Some(next));
            }
        }
        Ok(None)
    }

    fn wait_for_room(&self) -> Option<Start> {
        while !self.quiet.is_stopped() && !self.source.schedule.is_closed() {
            if let Some(start) = self.source.schedule.wait_for_room(self.role, BLOCK) {
                return Some(start);
            }
        }
        None
    }

    /// Reads the entries after `start`. Waits for them at most for `block`. Returns how many there were.
    fn read(&self, connection: &mut Connection, start: Start, block: Duration) -> RedisResult<usize> {
        let Source { room, schedule, .. } = &*self.source;
        let Share { events, bytes } = schedule.room(self.role);
        let usual = bytes.min(AT_ONCE) / self.usual_size.load(Ordering::Relaxed).max(1);
        let usual = usual.min(events).clamp(1, MOST);
        let count = self.read_size.lock().count(Instant::now()).min(usual);
        let stream = self.source.stream_of(self.role);
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(count);
        if self.role != Role::CatchUp && !self.read_size.lock().is_probing() {
            read.arg("BLOCK").arg(block.as_millis() as u64);
        }
        read.arg("STREAMS").arg(stream).arg(start.after.to_string());
        connection.write_all(&[read])?;
        let entries = match connection.receive_entries(None, *room) {
            Err(error) if is_unreadable(&error) => {
                self.read_size.lock().broke(count, Instant::now());
                return Err(error);
            }
            entries => entries.map_err(|error| rights::with_rule(&error, stream, "+xread"))?,
        };
        self.read_size.lock().succeeded(count, entries.len());
        if let Some(bytes) = entries.iter().flat_map(|entry| &entry.fields).map(Fields::size).max() {
            let usual = self.usual_size.load(Ordering::Relaxed);
            self.usual_size.store(bytes.max(usual - usual / 8), Ordering::Relaxed);
        }
        let found = entries.len();
        let candidates = self.candidates(entries, start.ordinal);
        schedule.admit(self.role, start, candidates, found < count);
        Ok(found)
    }

    fn candidates(&self, entries: Vec<RawEntry>, ordinal: Option<u64>) -> Vec<Candidate> {
        let received = self.source.endpoint.clock.now();
        let numbered = entries.into_iter().zip(1..);
        numbered
            .filter_map(|(entry, number)| {
                let fields = entry.fields?;
                let spot = self.source.spot(self.role, entry.id, &fields);
                let refusal = fields.cut_from().map(|whole| not_whole(&whole));
                let event = candidate(entry.id, fields, received, spot.lane, spot.key);
                Some(Candidate { event, ordinal: ordinal.map(|ordinal| ordinal + number), refusal })
            })
            .collect()
    }

    /// Gives up on the next entry if it breaks each connection that reads it. Its key is not known, so its id
    /// determines the lane.
    fn judge(&self, connection: &mut Connection, start: Start) -> RedisResult<()> {
        if !self.read_size.lock().is_to_judge() {
            return Ok(());
        }
        let serves = connection.serves_promptly()?;
        if !self.read_size.lock().judge(serves) {
            return Ok(());
        }
        let next = stream_facts::first_after(self.source.stream_of(self.role), start.after);
        let Some(id) = replies::id(&connection.run(&next)?) else { return Ok(()) };
        let spot = self.source.spot(self.role, id, &Fields::default());
        let received = self.source.endpoint.clock.now();
        let event = candidate(id, Fields::default(), received, spot.lane, spot.key);
        let ordinal = start.ordinal.map(|ordinal| ordinal + 1);
        let one = Candidate { event, ordinal, refusal: Some(UNREADABLE.to_owned()) };
        self.source.schedule.admit(self.role, start, vec![one], false);
        Ok(())
    }
}

fn candidate(id: StreamId, fields: Fields, received: u64, lane: u16, key: u64) -> InFlight {
    let mut event = InFlight::new(id, fields, 1, received);
    event.spot = Some(InLane { lane, epoch: 0, key, may_have_run: false });
    event
}

/// What the facts about a stream mean for a reader.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    Nothing,
    /// It is now known how many entries the stream has had up to the reader's position.
    Counted(u64),
    /// Entries are gone that were not read. The next existing one is `until`.
    Trimmed {
        is_exact: bool,
        ordinal: u64,
        until: StreamId,
    },
    /// The stream ends before the reader's position.
    RolledBack {
        position: StreamId,
        ordinal: Option<u64>,
        at_most: Option<u64>,
    },
    /// The stream was deleted, and perhaps created again.
    Flushed,
}

/// Compares the position of a reader with the stream by counting, because Redis counts the entries that a stream has
/// ever had.
fn compare(facts: Option<Facts>, start: Start) -> Finding {
    let has_read = start.after != StreamId::default();
    let Some(facts) = facts else {
        return match (has_read, start.ordinal) {
            (true, _) => Finding::Flushed,
            (false, None) => Finding::Counted(0),
            (false, Some(_)) => Finding::Nothing,
        };
    };
    if facts.last < start.after {
        let at_most = start.ordinal.zip(facts.added).map(|(ordinal, added)| ordinal.saturating_sub(added));
        return Finding::RolledBack { position: facts.last, ordinal: facts.added, at_most };
    }
    let (Some(added), Some(gone)) = (facts.added, facts.gone()) else { return Finding::Nothing };
    let is_at_end = facts.last == start.after;
    let is_before_all = facts.length == 0 || start.after < facts.first;
    let Some(ordinal) = start.ordinal else {
        return match (is_at_end, is_before_all) {
            (true, _) => Finding::Counted(added),
            (_, true) => Finding::Counted(gone),
            _ => Finding::Nothing,
        };
    };
    if added < ordinal || is_before_all && gone < ordinal {
        // The stream was created again, with ids after the old ones. What was read no longer exists, but was not
        // trimmed.
        return Finding::Flushed;
    }
    let lost = match (is_at_end, is_before_all) {
        (true, _) => added - ordinal,
        (_, true) => gone.saturating_sub(ordinal),
        _ => 0,
    };
    if lost == 0 {
        return Finding::Nothing;
    }
    let until = if is_at_end || facts.length == 0 { facts.last.next() } else { facts.first };
    // At the end of the stream it is not known where the missing entries were. One of them may have been deleted by
    // XDEL.
    let before = if is_at_end { StreamId::default() } else { start.after };
    Finding::Trimmed { is_exact: facts.deleted <= before, ordinal: ordinal + lost, until }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> StreamId {
        StreamId { ms, seq: 0 }
    }

    fn facts(added: u64, length: u64, first: u64, last: u64, deleted: u64) -> Option<Facts> {
        let (first, last, deleted) = (id(first), id(last), id(deleted));
        Some(Facts { added: Some(added), length, first, last, deleted })
    }

    fn at(after: u64, ordinal: impl Into<Option<u64>>) -> Start {
        Start { after: id(after), ordinal: ordinal.into(), ..Start::default() }
    }

    fn trimmed(ordinal: u64, is_exact: bool, until: u64) -> Finding {
        Finding::Trimmed { is_exact, ordinal, until: id(until) }
    }

    #[test]
    fn what_was_trimmed_unread_is_counted() {
        // Ten entries were added, with the ids 1 to 10; the first six were trimmed.
        let stream = facts(10, 4, 7, 10, 0);
        assert_eq!(compare(stream, at(2, 2)), trimmed(6, true, 7));
        assert_eq!(compare(facts(10, 4, 7, 10, 5), at(2, 2)), trimmed(6, false, 7), "some were deleted");
        assert_eq!(compare(stream, at(6, 6)), Finding::Nothing);
        assert_eq!(compare(stream, at(8, 8)), Finding::Nothing);
        assert_eq!(compare(stream, at(10, 10)), Finding::Nothing);
        let after_all = Finding::Trimmed { is_exact: true, ordinal: 10, until: id(10).next() };
        assert_eq!(compare(stream, at(10, 9)), after_all, "one went while it read");
        assert_eq!(compare(facts(10, 0, 0, 10, 0), at(4, 4)), after_all);
    }

    #[test]
    fn where_it_is_is_counted_once_that_is_known() {
        let stream = facts(10, 4, 7, 10, 0);
        assert_eq!(compare(stream, at(10, None)), Finding::Counted(10));
        assert_eq!(compare(stream, at(3, None)), Finding::Counted(6));
        assert_eq!(compare(stream, at(8, None)), Finding::Nothing);
    }

    #[test]
    fn a_stream_that_came_back_older_or_new_is_seen() {
        let back = Finding::RolledBack { position: id(7), ordinal: Some(7), at_most: Some(3) };
        assert_eq!(compare(facts(7, 7, 1, 7, 0), at(10, 10)), back);
        assert_eq!(compare(facts(3, 3, 20, 22, 0), at(10, 10)), Finding::Flushed);
        assert_eq!(compare(None, at(10, 10)), Finding::Flushed);
        assert_eq!(
            compare(facts(12, 12, 20, 31, 0), at(10, 10)),
            Finding::Flushed,
            "it has more than before"
        );
        assert_eq!(compare(None, at(0, 0)), Finding::Nothing);
        assert_eq!(compare(None, at(0, None)), Finding::Counted(0));
    }
}
