//! What Redis knows of a stream, from which it can be told what was lost.

use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::resp::replies::{self, unexpected};
use redis::{Cmd, RedisResult, Value};

/// Returns what is known of a stream without its entries: how many it has had, how many it has, the ids of the first
/// and the last, and the highest that was deleted by its id. Nil if there is none.
const FACTS: &str = r"
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local info, facts = redis.call('XINFO', 'STREAM', KEYS[1]), {}
for i = 1, #info, 2 do facts[info[i]] = info[i + 1] end
local first = facts['first-entry']
return { facts['entries-added'] or -1, facts.length, first and first[1] or '0-0', facts['last-generated-id'],
  facts['max-deleted-entry-id'] or '0-0' }
";

/// What is known of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// How many entries it has had. `None` if the server does not know.
    pub added: Option<u64>,
    /// How many it has.
    pub length: u64,
    /// The id of the first one; zero if there is none.
    pub first: StreamId,
    /// The id of the last one that was added.
    pub last: StreamId,
    /// The highest id that was deleted by its id.
    pub deleted: StreamId,
}

impl Facts {
    /// Those of a stream that has never had an entry.
    pub const NONE: Self = Self {
        added: Some(0),
        length: 0,
        first: StreamId { ms: 0, seq: 0 },
        last: StreamId { ms: 0, seq: 0 },
        deleted: StreamId { ms: 0, seq: 0 },
    };

    /// Returns how many entries are gone from the beginning of the stream, and others that were deleted.
    pub fn gone(&self) -> Option<u64> {
        self.added?.checked_sub(self.length)
    }
}

/// Returns the command that asks for the [`Facts`] of a stream.
pub fn command(stream: &str) -> Cmd {
    let mut facts = redis::cmd("EVAL_RO");
    facts.arg(FACTS).arg(1).arg(stream);
    facts
}

/// Reads the reply to [`command`]. `None` if there is no stream.
///
/// # Errors
///
/// The reply has another shape.
pub fn read(reply: &Value) -> RedisResult<Option<Facts>> {
    if *reply == Value::Nil {
        return Ok(None);
    }
    let parse = || {
        let Value::Array(facts) = reply else { return None };
        let [Value::Int(added), Value::Int(length), first, last, deleted] = facts.as_slice() else {
            return None;
        };
        Some(Facts {
            added: u64::try_from(*added).ok(),
            length: u64::try_from(*length).ok()?,
            first: replies::id(first)?,
            last: replies::id(last)?,
            deleted: replies::id(deleted)?,
        })
    };
    parse().map(Some).ok_or_else(unexpected)
}
