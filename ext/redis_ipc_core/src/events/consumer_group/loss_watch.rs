//! Finds out that a stream has lost entries that the group was not delivered.

use crate::error::Error;
use crate::events::common::stream_facts::{self, Facts};
use crate::events::consumer_group::group::Group;
use crate::foundation::payload::loss::{Cause, Loss};
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::group_consumer::consumer::GroupConsumer;
use crate::foundation::redis::resp::replies;
use crate::foundation::runtime::stats::Counter;
use crate::foundation::runtime::sync::Mutex;
use redis::{Cmd, Value};
use std::sync::Arc;

/// Lets one process tell a loss for all. The hash KEYS[1] has under ARGV[1] what was told last; ARGV[2] is to be told now.
/// Returns what was told before, or nil if this was. With `is` in ARGV[3] anything else is new, else a larger number is.
const CLAIM: &str = r"
local told = redis.call('HGET', KEYS[1], ARGV[1])
local is_told
if ARGV[3] == 'is' then is_told = told == ARGV[2] else is_told = tonumber(string.match(told or '0', '^%d+')) >= tonumber(string.match(ARGV[2], '^%d+')) end
if is_told then return false end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return told or ''
";

/// Watches the stream of a group.
pub struct LossWatch {
    /// The consumer.
    pub consumer: Arc<GroupConsumer>,
    /// The key of the hash by which the processes of the group agree who tells a loss.
    pub key: String,
    /// How many losses were told here.
    pub losses: Counter,
    /// What the group had been delivered at the last check.
    pub last: Mutex<StreamId>,
}

/// What is missing.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    Nothing,
    /// So many entries are gone from the beginning of the stream, and the group was delivered only `read` of these.
    Trimmed {
        gone: u64,
        read: u64,
    },
    /// The stream ends before what the group was delivered.
    RolledBack,
}

impl LossWatch {
    /// Checks once.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn check(&self, group: &Group) -> Result<(), Error> {
        let GroupConsumer { stream, connections, group: name, .. } = &*self.consumer;
        let reached = group.reached();
        let found = connections.with(stream, |connection| {
            let groups = connection.run(redis::cmd("XINFO").arg("GROUPS").arg(stream))?;
            Ok((groups, stream_facts::read(&connection.run(&stream_facts::command(stream))?)?))
        })?;
        let (groups, Some(facts)) = found else { return Ok(()) };
        let Some((delivered, read)) = position(&groups, name) else { return Ok(()) };
        // What was passed over since the last check is not counted.
        let is_at_rest = std::mem::replace(&mut *self.last.lock(), delivered) == delivered;
        match compare(&facts, delivered, read, reached) {
            Finding::Nothing => Ok(()),
            Finding::Trimmed { gone, read } => {
                let Some(told) = self.claim("trimmed", &format!("{gone} {read}"), "more")? else {
                    return Ok(());
                };
                let (at_most, is_certain) = missing(gone, read, pair(&told));
                let is_exact = is_certain && is_at_rest && facts.deleted <= delivered;
                self.tell(Cause::Trimmed, delivered, facts.first, Some(at_most), is_exact);
                Ok(())
            }
            Finding::RolledBack => {
                group.move_to(facts.last);
                if self.claim("rolled_back", &format!("{} {reached}", facts.last), "is")?.is_some() {
                    self.tell(Cause::RolledBack, facts.last, reached, None, false);
                }
                Ok(())
            }
        }
    }

    /// Returns what was told before, if this process is to tell the rest.
    fn claim(&self, field: &str, value: &str, mode: &str) -> Result<Option<String>, Error> {
        let mut claim = redis::cmd("EVAL");
        claim.arg(CLAIM).arg(1).arg(&self.key).arg(field).arg(value).arg(mode);
        Ok(told(&self.run(&claim)?))
    }

    fn run(&self, command: &Cmd) -> Result<Value, Error> {
        self.consumer.connections.run(&self.key, command)
    }

    fn tell(&self, cause: Cause, since: StreamId, until: StreamId, at_most: Option<u64>, is_exact: bool) {
        self.losses.increment();
        let endpoint = &self.consumer.endpoint;
        endpoint.report_loss(Loss {
            source: self.consumer.stream.clone(),
            node: endpoint.connector.address().to_owned(),
            cause,
            since_ms: (since != StreamId::default()).then_some(since.ms),
            until_ms: if until == StreamId::default() { endpoint.clock.now() } else { until.ms },
            at_most,
            is_exact,
        });
    }
}

fn told(reply: &Value) -> Option<String> {
    match reply {
        Value::BulkString(told) => Some(String::from_utf8_lossy(told).into_owned()),
        _ => None,
    }
}

/// Reads how many entries were gone, and how many of them delivered, when a loss was told.
fn pair(told: &str) -> Option<(u64, u64)> {
    let (gone, read) = told.split_once(' ')?;
    Some((gone.parse().ok()?, read.parse().ok()?))
}

/// Returns how many entries are missing besides those that were told, at most, and whether it is exactly as many.
///
/// After a group has read on behind a gap, its `entries-read` has the gap in newer versions of Redis, and not in 7.0.
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

/// Returns what was last delivered to the group, and how many entries the stream has had up to there.
fn position(groups: &Value, name: &str) -> Option<(StreamId, Option<u64>)> {
    let Value::Array(groups) = groups else { return None };
    groups.iter().find_map(|group| {
        let Value::Array(facts) = group else { return None };
        let Some(Value::BulkString(found)) = replies::fact(facts, b"name") else { return None };
        if found != name.as_bytes() {
            return None;
        }
        let delivered = replies::fact(facts, b"last-delivered-id").and_then(replies::id)?;
        let read = match replies::fact(facts, b"entries-read") {
            Some(Value::Int(read)) => u64::try_from(*read).ok(),
            _ => None,
        };
        Some((delivered, read))
    })
}

fn compare(facts: &Facts, delivered: StreamId, read: Option<u64>, reached: StreamId) -> Finding {
    if facts.last < reached {
        return Finding::RolledBack;
    }
    let (Some(gone), Some(read)) = (facts.gone(), read) else { return Finding::Nothing };
    let is_before_all = facts.length == 0 || delivered < facts.first;
    if is_before_all && gone > read { Finding::Trimmed { gone, read } } else { Finding::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> StreamId {
        StreamId { ms, seq: 0 }
    }

    #[test]
    fn what_was_told_is_not_told_again() {
        assert_eq!(missing(6, 2, None), (4, true));
        assert_eq!(missing(9, 2, Some((6, 2))), (3, true), "nothing was delivered since");
        assert_eq!(missing(9, 3, Some((6, 2))), (2, true), "Redis 7.0: one was delivered since");
        assert_eq!(missing(9, 7, Some((6, 2))), (2, false), "newer: one was delivered since; 7.0: five");
        assert_eq!((pair("9 3"), pair(""), pair("9")), (Some((9, 3)), None, None));
    }

    #[test]
    fn what_was_trimmed_undelivered_is_counted() {
        // Ten entries were added, with the ids 1 to 10; the first six were trimmed.
        let facts = Facts { added: Some(10), length: 4, first: id(7), last: id(10), deleted: id(0) };
        let found = |delivered, read| compare(&facts, id(delivered), read, id(delivered));
        assert_eq!(found(2, Some(2)), Finding::Trimmed { gone: 6, read: 2 });
        assert_eq!(found(6, Some(6)), Finding::Nothing);
        assert_eq!(found(8, Some(8)), Finding::Nothing);
        assert_eq!(found(2, None), Finding::Nothing, "it is not known how many were delivered");
        assert_eq!(compare(&facts, id(10), Some(10), id(12)), Finding::RolledBack);
    }
}
