//! Reads the stream for the lanes of this instance. Two readers run: the head waits at the end of the stream for the
//! lanes that are up to date; the other one reads again for those that are behind, so that they delay nobody.

use crate::error::Error;
use crate::events::common::dead_event::{UNREADABLE, not_whole};
use crate::events::common::in_flight::{InFlight, InLane};
use crate::events::common::options::Order;
use crate::events::common::stream_facts::{self, Facts};
use crate::events::lanes::keyer::{hash, lane};
use crate::events::lanes::schedule::{Candidate, Role, Schedule, Start};
use crate::foundation::payload::fields::{Fields, Room};
use crate::foundation::payload::loss::{Cause, Loss};
use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::connection::{Connection, is_unreadable};
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::link::Link;
use crate::foundation::redis::pool::Pool;
use crate::foundation::redis::read_cancel::ReadCancel;
use crate::foundation::redis::read_size::ReadSize;
use crate::foundation::redis::resp::replies;
use crate::foundation::runtime::stats::Counter;
use crate::foundation::runtime::stop::Stop;
use crate::foundation::runtime::sync::Mutex;
use redis::{Cmd, RedisResult};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The most entries that one read requests.
const MOST: usize = 512;
/// The most bytes that one read requests, if the entries are as large as those of late.
const AT_ONCE: usize = 8 << 20;
/// How long the head waits for an entry. Meanwhile it notices neither that it is to begin elsewhere nor a loss.
const BLOCK: Duration = Duration::from_secs(1);
/// How often the head checks whether the stream has lost what it has not read.
const CHECK: Duration = Duration::from_secs(1);

/// What both readers share.
pub struct Source {
    /// The access to Redis.
    pub endpoint: Arc<Endpoint>,
    /// The connections for everything but the reads that wait.
    pub connections: Arc<Pool>,
    /// The stream.
    pub stream: String,
    /// How its events are ordered.
    pub order: Order,
    /// How many lanes there are.
    pub lanes: u16,
    /// How much of an entry is kept when it is read.
    pub room: Room,
    /// Where its events go.
    pub schedule: Arc<Schedule>,
    /// How many losses were told.
    pub losses: Counter,
}

impl Source {
    /// Returns what is known of the stream.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn facts(&self) -> Result<Option<Facts>, Error> {
        self.connections.with(&self.stream, |connection| {
            stream_facts::read(&connection.run(&stream_facts::command(&self.stream))?)
        })
    }

    /// Checks like [`Source::check_on`], on a pooled connection.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn check(&self, role: Role, start: Start) -> Result<bool, Error> {
        self.connections.with(&self.stream, |connection| self.check_on(connection, role, start))
    }

    /// Checks whether the stream has lost entries that were not read here, and tells of that. Returns true if the reader
    /// is to ask where it begins.
    fn check_on(&self, connection: &mut Connection, role: Role, start: Start) -> RedisResult<bool> {
        let Self { endpoint, stream, schedule, .. } = self;
        let facts = stream_facts::read(&connection.run(&stream_facts::command(stream))?)?;
        match compare(facts, start) {
            Finding::Nothing => Ok(false),
            Finding::Counted(ordinal) => {
                schedule.count(role, start, ordinal);
                Ok(true)
            }
            Finding::Trimmed { is_exact, ordinal, until } => {
                if let Some(gap) = schedule.skip(start, until.previous(), ordinal) {
                    let is_exact = is_exact && gap.is_exact && schedule.owns_all(self.lanes);
                    self.tell(Cause::Trimmed, gap.after, until.ms, gap.at_most, is_exact);
                }
                Ok(true)
            }
            Finding::RolledBack { position, ordinal, at_most } => {
                if schedule.roll_back(position, ordinal) {
                    self.tell(Cause::RolledBack, position, start.after.ms, at_most, false);
                }
                Ok(true)
            }
            Finding::Flushed => {
                if schedule.roll_back(StreamId::default(), Some(0)) {
                    self.tell(Cause::Flushed, start.after, endpoint.clock.now(), None, false);
                }
                Ok(true)
            }
        }
    }

    fn tell(&self, cause: Cause, after: StreamId, until_ms: u64, at_most: Option<u64>, is_exact: bool) {
        let Self { endpoint, stream, losses, .. } = self;
        losses.increment();
        endpoint.report_loss(Loss {
            source: stream.clone(),
            node: endpoint.connector.address().to_owned(),
            cause,
            since_ms: (after != StreamId::default()).then_some(after.ms),
            until_ms,
            at_most,
            is_exact,
        });
    }
}

/// One of the two readers.
pub struct Reader {
    source: Arc<Source>,
    role: Role,
    read_size: Mutex<ReadSize>,
    /// The size of the largest entries of late, in bytes.
    usual_size: AtomicUsize,
    /// Cancels the current read.
    pub read_cancel: Arc<ReadCancel>,
    quiet: Stop,
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
        }
    }

    /// Runs the reader's thread until [`Reader::stop`].
    pub fn run(&self) {
        let Source { endpoint, stream, .. } = &*self.source;
        let mut link = Link::new(endpoint, stream, true);
        while !self.quiet.is_stopped() {
            if let Err(error) = self.session(&mut link)
                && !self.quiet.is_stopped()
            {
                link.lost(&error);
            }
        }
    }

    /// Ends the current read, and reads no more.
    pub fn stop(&self) {
        self.quiet.stop();
        self.read_cancel.end();
    }

    /// Reads on one connection until that breaks.
    fn session(&self, link: &mut Link<'_>) -> RedisResult<()> {
        let Source { endpoint, stream, schedule, .. } = &*self.source;
        // The reader that catches up has a connection only while it has something to do.
        let Some(mut start) = self.wait_for_room() else { return Ok(()) };
        let mut connection = endpoint.connector.open_blocking(stream, BLOCK, &self.quiet)?;
        self.read_cancel.on(&connection);
        endpoint.clock.read(&mut connection)?;
        self.judge(&mut connection, start)?;
        link.up();
        let mut checked: Option<(Instant, u64)> = None;
        loop {
            // Where it begins elsewhere, it is not known yet how many entries there were up to there.
            let is_known = checked
                .is_some_and(|(at, generation)| at.elapsed() < CHECK && generation == start.generation);
            if self.role == Role::CatchUp || !is_known {
                checked = Some((Instant::now(), start.generation));
                if self.source.check_on(&mut connection, self.role, start)? {
                    let Some(again) = self.wait_for_room() else { return Ok(()) };
                    start = again;
                    continue;
                }
            }
            self.read(&mut connection, start)?;
            match schedule.wait_for_room(self.role, BLOCK) {
                Some(next) => start = next,
                // The connection of the reader that catches up is not kept while nothing is behind.
                None if self.role == Role::CatchUp || self.quiet.is_stopped() => return Ok(()),
                None => match self.wait_for_room() {
                    Some(next) if !connection.is_gone() => start = next,
                    _ => return Ok(()),
                },
            }
        }
    }

    fn wait_for_room(&self) -> Option<Start> {
        while !self.quiet.is_stopped() && !self.source.schedule.is_closed() {
            if let Some(start) = self.source.schedule.wait_for_room(self.role, BLOCK) {
                return Some(start);
            }
        }
        None
    }

    fn read(&self, connection: &mut Connection, start: Start) -> RedisResult<()> {
        let Source { stream, room, schedule, .. } = &*self.source;
        let usual = (AT_ONCE / self.usual_size.load(Ordering::Relaxed).max(1)).clamp(1, MOST);
        let count = self.read_size.lock().count(Instant::now()).min(usual);
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(count);
        if self.role == Role::Head && !self.read_size.lock().is_probing() {
            read.arg("BLOCK").arg(BLOCK.as_millis() as u64);
        }
        read.arg("STREAMS").arg(stream).arg(start.after.to_string());
        connection.write_all(&[read])?;
        let entries = match connection.receive_entries(None, *room) {
            Err(error) if is_unreadable(&error) => {
                self.read_size.lock().broke(count, Instant::now());
                return Err(error);
            }
            entries => entries?,
        };
        self.read_size.lock().succeeded(count, entries.len());
        if let Some(bytes) = entries.iter().flat_map(|entry| &entry.fields).map(Fields::size).max() {
            let usual = self.usual_size.load(Ordering::Relaxed);
            self.usual_size.store(bytes.max(usual - usual / 8), Ordering::Relaxed);
        }
        let is_end = entries.len() < count;
        let candidates = self.candidates(entries, start.ordinal);
        schedule.admit(self.role, start, candidates, is_end);
        Ok(())
    }

    fn candidates(&self, entries: Vec<RawEntry>, ordinal: Option<u64>) -> Vec<Candidate> {
        let Source { endpoint, order, lanes, .. } = &*self.source;
        let received = endpoint.clock.now();
        let numbered = entries.into_iter().zip(1..);
        numbered
            .filter_map(|(entry, number)| {
                let fields = entry.fields?;
                let spot = order.spot(entry.id, &fields, *lanes);
                let refusal = fields.cut_from().map(|whole| not_whole(&whole));
                let event = candidate(entry.id, fields, received, spot.lane, spot.key);
                Some(Candidate { event, ordinal: ordinal.map(|ordinal| ordinal + number), refusal })
            })
            .collect()
    }

    /// Gives up on the next entry if it breaks each connection that reads it. Its key is not known, so it belongs to a
    /// lane by its id.
    fn judge(&self, connection: &mut Connection, start: Start) -> RedisResult<()> {
        if !self.read_size.lock().is_to_judge() {
            return Ok(());
        }
        let serves = connection.serves_promptly()?;
        if !self.read_size.lock().judge(serves) {
            return Ok(());
        }
        let Some(id) = replies::id(&connection.run(&next_id(&self.source.stream, start.after))?) else {
            return Ok(());
        };
        let name = id.to_string();
        let received = self.source.endpoint.clock.now();
        let place = lane(name.as_bytes(), self.source.lanes);
        let event = candidate(id, Fields::default(), received, place, hash(&id));
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

fn next_id(stream: &str, after: StreamId) -> Cmd {
    let mut next = redis::cmd("EVAL_RO");
    next.arg("local found = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', 1) return found[1] and found[1][1]");
    next.arg(1).arg(stream).arg(format!("({after}"));
    next
}

/// What the facts of a stream mean for a reader.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    Nothing,
    /// It is known by now how many entries the stream has had up to where the reader is.
    Counted(u64),
    /// Entries are gone that were not read. The next one is `until`.
    Trimmed {
        is_exact: bool,
        ordinal: u64,
        until: StreamId,
    },
    /// The stream ends before what was read.
    RolledBack {
        position: StreamId,
        ordinal: Option<u64>,
        at_most: Option<u64>,
    },
    /// The stream was deleted, and perhaps made again.
    Flushed,
}

/// Compares where a reader is with what the stream has, by counting: Redis counts the entries that a stream has ever had.
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
        // It was made again, with ids after those of before: what was read is no longer there, and was not trimmed.
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
    // At the end it is not known where they were, so an entry that was deleted by its id may be one of them.
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
