//! What Redis knows about a stream and a group. From this it follows what was lost.

use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::resp::replies::{self, unexpected};
use redis::{Cmd, RedisResult, Value};

/// What a server that evicts keys may take from a consumer of a stream.
pub const EVICTED: &str = "events, positions and dead letters";

/// Returns what is known about a stream without reading its entries: how many it has ever had, how many it has now, the
/// ids of the first and the last, the highest id that was deleted by XDEL, and the position of the group ARGV[1], if
/// that exists. Returns nil if there is no stream.
const FACTS: &str = r"
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local function facts(flat)
  local found = {}
  for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
  return found
end
local stream = facts(redis.call('XINFO', 'STREAM', KEYS[1]))
local first, position = stream['first-entry'], {}
if ARGV[1] then
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local group = facts(flat)
    if group.name == ARGV[1] then position = { group['last-delivered-id'], group['entries-read'] or -1 } end
  end
end
return { stream['entries-added'] or -1, stream.length, first and first[1] or '0-0', stream['last-generated-id'],
  stream['max-deleted-entry-id'] or '0-0', position }
";

/// Returns the id of the last entry up to ARGV[1]. Returns nil if there is none.
const LAST_UP_TO: &str = r"
local found = redis.call('XREVRANGE', KEYS[1], ARGV[1], '-', 'COUNT', 1)
return found[1] and found[1][1]
";

/// Returns the id of the first entry from ARGV[1] on. Returns nil if there is none.
const FIRST_FROM: &str = r"
local found = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', 1)
return found[1] and found[1][1]
";

/// What is known about a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// How many entries it has ever had. `None` if the server does not know.
    pub added: Option<u64>,
    /// How many entries it has now.
    pub length: u64,
    /// The id of the first one; zero if there is none.
    pub first: StreamId,
    /// The id of the last one that was added.
    pub last: StreamId,
    /// The highest id that was deleted by XDEL.
    pub deleted: StreamId,
}

impl Facts {
    /// The facts of a stream that has never had an entry.
    pub const NONE: Self = Self {
        added: Some(0),
        length: 0,
        first: StreamId { ms: 0, seq: 0 },
        last: StreamId { ms: 0, seq: 0 },
        deleted: StreamId { ms: 0, seq: 0 },
    };

    /// Returns how many entries are missing: those trimmed from the beginning, and those deleted in between.
    pub fn gone(&self) -> Option<u64> {
        self.added?.checked_sub(self.length)
    }
}

/// How far a group has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The id of the last entry that was delivered to it.
    pub delivered: StreamId,
    /// How many entries it has read, as far as Redis knows. Servers differ in whether that includes entries that were
    /// trimmed before it came to them.
    pub read: Option<u64>,
}

/// Returns the command that asks for the [`Facts`] of a stream.
pub fn command(stream: &str) -> Cmd {
    let mut facts = redis::cmd("EVAL_RO");
    facts.arg(FACTS).arg(1).arg(stream);
    facts
}

/// Returns the command that asks for the [`Facts`] of a stream and the [`Position`] of a group at the same moment.
pub fn command_with_group(stream: &str, group: &str) -> Cmd {
    let mut facts = command(stream);
    facts.arg(group);
    facts
}

/// Returns the command that asks for the id of the last entry up to `id`.
pub fn last_up_to(stream: &str, id: StreamId) -> Cmd {
    let mut last = redis::cmd("EVAL_RO");
    last.arg(LAST_UP_TO).arg(1).arg(stream).arg(id.to_string());
    last
}

/// Returns the command that asks for the id of the first entry after `id`.
pub fn first_after(stream: &str, id: StreamId) -> Cmd {
    let mut first = redis::cmd("EVAL_RO");
    first.arg(FIRST_FROM).arg(1).arg(stream).arg(format!("({id}"));
    first
}

/// Reads the reply to [`command`]. `None` if there is no stream.
///
/// # Errors
///
/// The reply has another shape.
pub fn read(reply: &Value) -> RedisResult<Option<Facts>> {
    Ok(read_with_group(reply)?.map(|(facts, _)| facts))
}

/// Reads the reply to [`command_with_group`]. `None` if there is no stream; no position if there is no group.
///
/// # Errors
///
/// The reply has another shape.
pub fn read_with_group(reply: &Value) -> RedisResult<Option<(Facts, Option<Position>)>> {
    if *reply == Value::Nil {
        return Ok(None);
    }
    let parse = || {
        let Value::Array(facts) = reply else { return None };
        let [Value::Int(added), Value::Int(length), first, last, deleted, Value::Array(position)] =
            facts.as_slice()
        else {
            return None;
        };
        let facts = Facts {
            added: u64::try_from(*added).ok(),
            length: u64::try_from(*length).ok()?,
            first: replies::id(first)?,
            last: replies::id(last)?,
            deleted: replies::id(deleted)?,
        };
        let position = match position.as_slice() {
            [delivered, Value::Int(read)] => {
                Some(Position { delivered: replies::id(delivered)?, read: u64::try_from(*read).ok() })
            }
            _ => None,
        };
        Some((facts, position))
    };
    parse().map(Some).ok_or_else(unexpected)
}
