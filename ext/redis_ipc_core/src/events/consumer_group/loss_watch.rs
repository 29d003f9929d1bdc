//! Detects that a stream has lost entries that were not delivered to the group.

use crate::error::Error;
use crate::events::common::events_key;
use crate::events::common::stream_facts::{self, Facts, Position};
use crate::events::consumer_group::group::Group;
use crate::foundation::payload::loss::{Cause, Loss};
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::group_consumer::consumer::GroupConsumer;
use crate::foundation::redis::resp::replies;
use crate::foundation::runtime::stats::Counter;
use crate::foundation::runtime::sync::Mutex;
use redis::{Cmd, RedisResult, Value};
use std::sync::Arc;

/// Claims a loss, so that one process reports it for all. The field ARGV[1] of the hash KEYS[1] holds what was reported
/// last; ARGV[2] is what is to be reported now. Returns what was reported last. Returns nil if that covers the loss:
/// then it begins with a number that is at least ARGV[3].
const CLAIM: &str = r"
local told = redis.call('HGET', KEYS[1], ARGV[1])
if told and tonumber(string.match(told, '^%d+')) >= tonumber(ARGV[3]) then return false end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return told or ''
";

/// The names of the fields of the hash. This one holds, as of the last report, how many entries were gone from the
/// beginning of the stream, and how many of those had been delivered.
const TRIMMED: &str = "trimmed";
/// How many entries fewer the group had read than the stream has had, as of the last report.
const PASSED_OVER: &str = "passed_over";
/// Exists if the server was seen to count only the entries that were delivered to a group, and not those that it
/// skipped.
const COUNTS_DELIVERED: &str = "counts_delivered";
/// When it was last reported that the stream is another one or an older one, in ms on Redis's clock.
const CHANGED: &str = "changed";

/// Watches the stream of a group for losses.
pub struct LossWatch {
    consumer: Arc<GroupConsumer>,
    /// The key of the hash by which the processes of the group agree on who reports a loss.
    key: String,
    /// How many losses this process reported.
    pub told: Counter,
    seen: Mutex<Seen>,
}

/// What the previous checks found.
#[derive(Debug, Default)]
struct Seen {
    /// The last entry that had been delivered to the group at the last check. `None` before the first check.
    delivered: Option<StreamId>,
    /// The state of the group when it was last at the end of the stream, on a connection that has not broken since.
    end: Option<End>,
    /// When the group is next at the end, the shared hash starts anew from there.
    begins_anew: bool,
    /// How many connections had broken at the last check.
    broken: usize,
    /// When the stream was last seen to have all that was delivered to the group, in ms on Redis's clock.
    sound_at: u64,
    /// A change of the stream that is still to be reported.
    change: Option<Change>,
}

/// The state of a group at the end of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    delivered: StreamId,
    /// How many entries fewer the group has read than the stream has had, as Redis counts. It skipped them, or Redis
    /// has lost the count: Redis 7.0 may not know after a restart or a promotion what a group has read.
    behind: u64,
}

/// How a stream differs from the one that was read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The server has an older state of it. What came after the first entry is lost, at least up to the second one.
    RolledBack(StreamId, StreamId),
    /// It was deleted, and perhaps created again. This is the last entry that had been delivered.
    Flushed(StreamId),
}

/// What a comparison shows to be missing.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    Nothing,
    /// `gone` entries are missing from the beginning of the stream, and only `read` of these were delivered to the
    /// group.
    Trimmed {
        gone: u64,
        read: u64,
    },
    /// The group is at the end of the stream. Redis 7.0 counts only delivered entries as read, which shows those that
    /// the group skipped. Newer versions count those as read, too.
    AtEnd(End),
}

impl LossWatch {
    /// Creates the watch of a consumer's group.
    pub fn new(consumer: Arc<GroupConsumer>) -> Self {
        let key = events_key::of(&consumer.stream, &consumer.group);
        Self { consumer, key, told: Counter::default(), seen: Mutex::default() }
    }

    /// Returns how the stream differs from the one in which the entry `seen` was delivered. It must run on each new
    /// connection before anything is read, because later entries would hide the difference.
    ///
    /// # Errors
    ///
    /// Redis refused.
    pub fn change(&self, connection: &mut Connection, seen: Option<StreamId>) -> RedisResult<Option<Change>> {
        self.seen.lock().reconnected(self.consumer.endpoint.health.losses());
        let Some(seen) = seen else { return Ok(None) };
        let stream = &self.consumer.stream;
        let facts = stream_facts::read(&connection.run(&stream_facts::command(stream))?)?;
        let last = replies::id(&connection.run(&stream_facts::last_up_to(stream, seen))?);
        Ok(changed(facts, last.unwrap_or_default(), seen))
    }

    /// Records the position of the group before anything is read on a new connection.
    ///
    /// # Errors
    ///
    /// Redis refused.
    pub fn begin(&self, connection: &mut Connection) -> RedisResult<()> {
        let GroupConsumer { stream, group, .. } = &*self.consumer;
        let now = self.consumer.endpoint.clock.now();
        let reply = connection.run(&stream_facts::command_with_group(stream, group))?;
        let mut seen = self.seen.lock();
        if seen.sound_at == 0 {
            seen.sound_at = now;
        }
        if let Some((facts, Some(position))) = stream_facts::read_with_group(&reply)?
            && let Finding::AtEnd(end) = compare(&facts, position, None)
        {
            seen.end = Some(end);
        }
        Ok(())
    }

    /// Lets the next check report a change of the stream, unless another process of the group has reported it.
    pub fn note_change(&self, change: Change) {
        self.seen.lock().change.get_or_insert(change);
    }

    fn tell_change(&self, now: u64) -> Result<(), Error> {
        let (change, sound_at) = {
            let seen = self.seen.lock();
            (seen.change, seen.sound_at)
        };
        let Some(change) = change else { return Ok(()) };
        if self.claim(CHANGED, &now.to_string(), sound_at)?.is_some() {
            // These numbers belong to the stream before the change.
            self.run(redis::cmd("HDEL").arg(&self.key).arg(TRIMMED).arg(PASSED_OVER))?;
            match change {
                Change::RolledBack(last, seen) => self.tell(Cause::RolledBack, last, seen.ms, None, false),
                Change::Flushed(seen) => self.tell(Cause::Flushed, seen, now, None, false),
            }
        }
        self.seen.lock().change = None;
        Ok(())
    }

    /// Checks once. Returns false if the stream or the group is gone.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn check(&self, group: &Group) -> Result<bool, Error> {
        let GroupConsumer { stream, connections, group: name, endpoint, .. } = &*self.consumer;
        let (now, seen) = (endpoint.clock.now(), group.seen());
        self.tell_change(now)?;
        // The reader may not have reconnected yet, so this counts the breaks itself.
        let broken = endpoint.health.losses();
        self.seen.lock().note_broken(broken);
        let found = connections.with(stream, |connection| {
            stream_facts::read_with_group(&connection.run(&stream_facts::command_with_group(stream, name))?)
        })?;
        let Some((facts, Some(position))) = found else { return Ok(false) };
        if endpoint.health.losses() != broken {
            return Ok(true);
        }
        if let Some(seen) = seen.filter(|seen| facts.last < *seen)
            && let Some(change) = changed(Some(facts), facts.last, seen)
        {
            group.begin_anew(position.delivered);
            self.note_change(change);
            return self.tell_change(now).map(|()| true);
        }
        let (before, end) = self.seen.lock().note(position.delivered, now);
        if let Some(end) = end {
            self.begin_anew(end)?;
        }
        match compare(&facts, position, end) {
            Finding::Nothing => {}
            Finding::Trimmed { gone, read } => {
                let until = if facts.length == 0 { now } else { facts.first.ms };
                let is_exact = end.is_some() && facts.deleted <= position.delivered;
                let behind = gone - read + end.map_or(0, |end| end.behind);
                if self.has(COUNTS_DELIVERED)? {
                    let so_far = end.map_or(0, |end| end.behind);
                    self.tell_behind(behind, so_far, (position.delivered, until), is_exact)?;
                } else {
                    let is_exact = is_exact && before == Some(position.delivered);
                    self.tell_trimmed((gone, read), (position.delivered, until), is_exact)?;
                }
            }
            Finding::AtEnd(found) => self.compare_ends(end, found, facts.deleted == StreamId::default())?,
        }
        Ok(true)
    }

    fn tell_trimmed(
        &self,
        (gone, read): (u64, u64),
        (since, until): (StreamId, u64),
        is_exact: bool,
    ) -> Result<(), Error> {
        let Some(told) = self.claim(TRIMMED, &format!("{gone} {read}"), gone)? else { return Ok(()) };
        let (at_most, is_certain) = missing(gone, read, pair(&told));
        self.tell(Cause::Trimmed, since, until, Some(at_most), is_certain && is_exact);
        // Redis 7.0 will later show these entries as skipped. They must not be reported twice.
        self.run(redis::cmd("HINCRBY").arg(&self.key).arg(PASSED_OVER).arg(at_most)).map(drop)
    }

    /// Compares the group at the end of the stream with its state when it was there last, and reports what it has
    /// skipped.
    fn compare_ends(&self, before: Option<End>, now: End, is_exact: bool) -> Result<(), Error> {
        match before {
            None => self.begin_anew(now)?,
            Some(end) if now.behind > end.behind => {
                self.run(redis::cmd("HSET").arg(&self.key).arg(COUNTS_DELIVERED).arg(1))?;
                self.tell_behind(now.behind, end.behind, (end.delivered, now.delivered.ms), is_exact)?;
            }
            Some(_) => {}
        }
        self.seen.lock().end = Some(now);
        Ok(())
    }

    /// Reports what is missing if the group has read `behind` entries fewer than the stream has had. At `so_far` fewer,
    /// nothing was missing yet.
    fn tell_behind(
        &self,
        behind: u64,
        so_far: u64,
        (since, until): (StreamId, u64),
        is_exact: bool,
    ) -> Result<(), Error> {
        if let Some(told) = self.claim(PASSED_OVER, &behind.to_string(), behind)? {
            let told = told.parse().unwrap_or(0).max(so_far);
            self.tell(Cause::Trimmed, since, until, Some(behind - told), is_exact);
        }
        Ok(())
    }

    fn has(&self, field: &str) -> Result<bool, Error> {
        Ok(self.run(redis::cmd("HGET").arg(&self.key).arg(field))? != Value::Nil)
    }

    fn begin_anew(&self, end: End) -> Result<(), Error> {
        if self.seen.lock().begins_anew {
            self.run(redis::cmd("HDEL").arg(&self.key).arg(COUNTS_DELIVERED))?;
            self.run(redis::cmd("HSET").arg(&self.key).arg(PASSED_OVER).arg(end.behind))?;
            self.seen.lock().begins_anew = false;
        }
        Ok(())
    }

    fn run(&self, command: &Cmd) -> Result<Value, Error> {
        self.consumer.connections.run(&self.key, command)
    }

    /// Returns what was reported last, if this process is to report the rest.
    fn claim(&self, field: &str, value: &str, covered_from: u64) -> Result<Option<String>, Error> {
        let mut claim = redis::cmd("EVAL");
        claim.arg(CLAIM).arg(1).arg(&self.key).arg(field).arg(value).arg(covered_from);
        Ok(told(&self.run(&claim)?))
    }

    fn tell(&self, cause: Cause, since: StreamId, until_ms: u64, at_most: Option<u64>, is_exact: bool) {
        self.told.increment();
        let endpoint = &self.consumer.endpoint;
        endpoint.report_loss(Loss {
            source: self.consumer.stream.clone(),
            node: endpoint.connector.address().to_owned(),
            cause,
            since_ms: (since != StreamId::default()).then_some(since.ms),
            until_ms,
            at_most,
            is_exact,
        });
    }
}

impl Seen {
    /// Records that there is a new connection. It may lead to another server, which knows less about the group. The
    /// connections that a consumer opens when it starts do not count.
    fn reconnected(&mut self, broken: usize) {
        self.broken = broken;
        if self.delivered.is_some() {
            (self.begins_anew, self.end) = (true, None);
        }
    }

    /// Records how many connections have broken so far.
    fn note_broken(&mut self, broken: usize) {
        if self.broken != broken {
            self.reconnected(broken);
        }
    }

    /// Records a check. Returns the last entry that had been delivered to the group at the previous check, and the
    /// group's last state at the end of the stream.
    fn note(&mut self, delivered: StreamId, now: u64) -> (Option<StreamId>, Option<End>) {
        self.sound_at = now;
        (self.delivered.replace(delivered), self.end)
    }
}

fn told(reply: &Value) -> Option<String> {
    match reply {
        Value::BulkString(told) => Some(String::from_utf8_lossy(told).into_owned()),
        _ => None,
    }
}

/// Reads how many entries were gone and how many of them had been delivered, as of the last report.
fn pair(told: &str) -> Option<(u64, u64)> {
    let (gone, read) = told.split_once(' ')?;
    Some((gone.parse().ok()?, read.parse().ok()?))
}

/// Returns how many entries are missing at most, besides those that were reported, and whether that number is exact.
///
/// Once a group has read on behind a gap, its `entries-read` includes the gap in newer versions of Redis, but not in
/// 7.0.
fn missing(gone: u64, read: u64, told: Option<(u64, u64)>) -> (u64, bool) {
    match told {
        None => (gone.saturating_sub(read), true),
        Some((gone_then, read_then)) if read < gone_then => {
            let delivered = read.saturating_sub(read_then);
            ((gone - gone_then).saturating_sub(delivered), true)
        }
        Some(_) => (gone.saturating_sub(read), false),
    }
}

/// Compares a stream with the one in which the entry `seen` was delivered. `last` is the last entry of this stream up
/// to `seen`.
///
/// Trimming removes entries from the beginning only. If an entry is gone while an earlier one exists, or while nothing
/// was ever removed, then it was never in this stream.
fn changed(facts: Option<Facts>, last: StreamId, seen: StreamId) -> Option<Change> {
    let Some(facts) = facts else { return Some(Change::Flushed(seen)) };
    if last == seen {
        return None;
    }
    if facts.last < seen {
        let is_new = facts.added == Some(0);
        return Some(if is_new { Change::Flushed(seen) } else { Change::RolledBack(facts.last, seen) });
    }
    let has_one_before = facts.length > 0 && facts.first < seen;
    match facts.gone() {
        Some(0) if !has_one_before => Some(Change::Flushed(seen)),
        _ if has_one_before && facts.deleted < seen => Some(Change::RolledBack(last, seen)),
        _ => None,
    }
}

/// Compares a group with its stream. `end` is the group's last state at the end of the stream.
fn compare(facts: &Facts, position: Position, end: Option<End>) -> Finding {
    let (Some(added), Some(gone), Some(read)) = (facts.added, facts.gone(), position.read) else {
        return Finding::Nothing;
    };
    if position.delivered == facts.last {
        return Finding::AtEnd(End { delivered: position.delivered, behind: added.saturating_sub(read) });
    }
    let read = read + end.map_or(0, |end| end.behind);
    let is_before_all = facts.length == 0 || position.delivered < facts.first;
    if is_before_all && gone > read { Finding::Trimmed { gone, read } } else { Finding::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> StreamId {
        StreamId { ms, seq: 0 }
    }

    fn facts(added: u64, length: u64, first: u64, last: u64, deleted: u64) -> Facts {
        let (first, last, deleted) = (id(first), id(last), id(deleted));
        Facts { added: Some(added), length, first, last, deleted }
    }

    #[test]
    fn what_was_told_is_not_told_again() {
        assert_eq!(missing(6, 2, None), (4, true));
        assert_eq!(missing(9, 2, Some((6, 2))), (3, true), "nothing was delivered since");
        assert_eq!(missing(9, 3, Some((6, 2))), (2, true), "Redis 7.0: one was delivered since");
        assert_eq!(missing(9, 7, Some((6, 2))), (2, false), "newer: one was delivered since; 7.0: five");
        assert_eq!((pair("9 3"), pair(""), pair("9")), (Some((9, 3)), None, None));
    }

    fn at(delivered: u64, read: impl Into<Option<u64>>) -> Position {
        Position { delivered: id(delivered), read: read.into() }
    }

    #[test]
    fn what_was_trimmed_undelivered_is_counted() {
        // Ten entries were added, with the ids 1 to 10; the first six were trimmed.
        let stream = facts(10, 4, 7, 10, 0);
        assert_eq!(compare(&stream, at(2, 2), None), Finding::Trimmed { gone: 6, read: 2 });
        assert_eq!(compare(&stream, at(6, 6), None), Finding::Nothing);
        assert_eq!(compare(&stream, at(8, 8), None), Finding::Nothing);
        assert_eq!(
            compare(&stream, at(2, None), None),
            Finding::Nothing,
            "it is not known how many it has read"
        );
        let emptied = facts(10, 0, 0, 10, 0);
        assert_eq!(compare(&emptied, at(4, 4), None), Finding::Trimmed { gone: 10, read: 4 });
    }

    #[test]
    fn a_count_that_was_too_low_at_the_end_is_so_later() {
        let stream = facts(10, 4, 7, 10, 0);
        let end = End { delivered: id(2), behind: 2 };
        assert_eq!(compare(&stream, at(2, 0), Some(end)), Finding::Trimmed { gone: 6, read: 2 });
        assert_eq!(compare(&stream, at(6, 4), Some(end)), Finding::Nothing);
        let now = End { delivered: id(10), behind: 2 };
        assert_eq!(compare(&stream, at(10, 8), Some(end)), Finding::AtEnd(now));
    }

    #[test]
    fn what_is_known_of_the_end_counts_while_no_connection_breaks() {
        let end = End { delivered: id(2), behind: 0 };
        let mut seen = Seen { end: Some(end), ..Seen::default() };
        seen.reconnected(0);
        assert_eq!((seen.end, seen.begins_anew), (Some(end), false), "it is starting");
        seen.note(id(2), 1_000);
        seen.note_broken(0);
        assert_eq!(seen.end, Some(end));
        seen.note_broken(1);
        assert_eq!((seen.end, seen.begins_anew), (None, true), "the server may have lost its count");
    }

    #[test]
    fn a_stream_that_is_not_what_it_was_is_seen() {
        let stream = facts(10, 4, 7, 10, 0);
        assert_eq!(changed(Some(stream), id(8), id(8)), None);
        assert_eq!(changed(Some(stream), id(0), id(5)), None, "it was trimmed");
        assert_eq!(changed(Some(facts(10, 3, 7, 10, 8)), id(7), id(8)), None, "it was deleted by its id");
        assert_eq!(changed(Some(facts(10, 0, 0, 10, 0)), id(0), id(10)), None, "all were trimmed");
        assert_eq!(changed(None, id(0), id(8)), Some(Change::Flushed(id(8))));
    }

    #[test]
    fn a_new_stream_is_told_from_an_older_one_though_it_has_gone_on() {
        assert_eq!(changed(Some(facts(0, 0, 0, 0, 0)), id(0), id(8)), Some(Change::Flushed(id(8))));
        assert_eq!(
            changed(Some(facts(2, 2, 20, 21, 0)), id(0), id(8)),
            Some(Change::Flushed(id(8))),
            "with later ids"
        );
        assert_eq!(changed(Some(facts(6, 6, 1, 6, 0)), id(6), id(8)), Some(Change::RolledBack(id(6), id(8))));
        assert_eq!(
            changed(Some(facts(8, 8, 1, 21, 0)), id(6), id(8)),
            Some(Change::RolledBack(id(6), id(8)))
        );
        assert_eq!(
            changed(Some(facts(8, 5, 4, 21, 0)), id(6), id(8)),
            Some(Change::RolledBack(id(6), id(8))),
            "trimmed too"
        );
    }
}
