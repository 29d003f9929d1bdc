//! How far a log is in a stream: a hash beside the stream, which moves with the entries.

use crate::events::wal::log::LogName;
use crate::foundation::postgres::pgoutput::lsn::Lsn;
use crate::foundation::redis::resp::replies::{refused, unexpected};
use redis::{Cmd, RedisResult, Value};

/// The fields of the hash: the system and the time line of the log, the position of the last change that is in the
/// stream (its commit, and its index in the transaction), and how many changes were added.
const FIELDS: [&str; 4] = ["log", "lsn", "index", "count"];

/// Adds those entries to the stream KEYS[1] that are beyond the checkpoint KEYS[2], and moves that.
///
/// ARGV: the log; the position that the caller knows to be in the stream, as two arguments, or "" and ""; then of each
/// entry, in the order of the log: its position, as two arguments, or "" and "" of one that is added whatever the
/// checkpoint is; how many names and values follow, and these. Returns what became of it, the checkpoint, and how many
/// entries were added. It adds nothing where the checkpoint is gone ("gone"), is behind what the caller knows ("back"),
/// or is of another log ("other").
///
/// If Redis refuses an entry, the checkpoint is at the one before it: what was added is never added again.
const ADD: &str = r"
local stream, key = KEYS[1], KEYS[2]
local function parts(lsn)
  local high, low = string.match(lsn, '^(%x+)/(%x+)$')
  return tonumber(high, 16), tonumber(low, 16)
end
local function is_before(lsn, index, other, place)
  local high, low = parts(lsn)
  local other_high, other_low = parts(other)
  if high ~= other_high then return high < other_high end
  if low ~= other_low then return low < other_low end
  return tonumber(index) < tonumber(place)
end
local log, lsn, index, count = unpack(redis.call('HMGET', key, 'log', 'lsn', 'index', 'count'))
if not log then
  if ARGV[2] ~= '' then return {'gone'} end
  count = '0'
elseif log ~= ARGV[1] then
  return {'other', log, lsn, index, count}
elseif ARGV[2] ~= '' and is_before(lsn, index, ARGV[2], ARGV[3]) then
  return {'back', log, lsn, index, count}
end
local at, added, is_beyond, refusal = 4, 0, not log, nil
while ARGV[at] and not refusal do
  local last = at + 2 + tonumber(ARGV[at + 2])
  local has_place = ARGV[at] ~= ''
  if has_place then is_beyond = is_beyond or is_before(lsn, index, ARGV[at], ARGV[at + 1]) end
  if is_beyond or not has_place then
    local reply = redis.pcall('XADD', stream, '*', unpack(ARGV, at + 3, last))
    if type(reply) == 'table' and reply.err then
      refusal = reply
    else
      added = added + 1
      if has_place then lsn, index = ARGV[at], ARGV[at + 1] end
    end
  end
  at = last + 1
end
if not lsn then return refusal or {'unmarked', added} end
count = string.format('%.0f', tonumber(count) + added)
if added > 0 then redis.call('HSET', key, 'log', ARGV[1], 'lsn', lsn, 'index', index, 'count', count) end
return refusal or {'added', ARGV[1], lsn, index, count, added}
";

/// Makes the checkpoint KEYS[1] one of the log ARGV[2], at ARGV[3] and ARGV[4], if it is still one of the log ARGV[1]
/// at ARGV[5] and ARGV[6]. Returns whether it was.
const MOVE: &str = r"
local log, lsn, index = unpack(redis.call('HMGET', KEYS[1], 'log', 'lsn', 'index'))
if log ~= ARGV[1] or lsn ~= ARGV[5] or index ~= ARGV[6] then return 0 end
redis.call('HSET', KEYS[1], 'log', ARGV[2], 'lsn', ARGV[3], 'index', ARGV[4])
return 1
";

/// Where a change is in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Where its transaction was committed; of a message outside of transactions where it is.
    pub lsn: Lsn,
    /// Its place in the transaction; of a message outside of transactions [`BEFORE_ALL`].
    pub index: i64,
}

/// The place of a message outside of transactions. Its position is that of its end, and a commit may begin there.
pub const BEFORE_ALL: i64 = -1;

/// How far a log is in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log.
    pub log: LogName,
    /// The last change that is in the stream.
    pub position: Position,
    /// How many changes were added since there is a checkpoint.
    pub count: u64,
}

/// What became of entries that were to be added.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// So many of them were added, and the others are there already. There is no checkpoint before the first change.
    Added(Option<Checkpoint>, u64),
    /// There is no checkpoint any more.
    Gone,
    /// The checkpoint is behind what was known.
    Back(Checkpoint),
    /// The checkpoint is of another log.
    Other,
}

/// Returns the key of the checkpoint of a slot. It is in the slot of the stream in a cluster.
pub fn key(stream: &str, slot: &str) -> String {
    let is_tagged = stream
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .is_some_and(|(tag, _)| !tag.is_empty());
    if is_tagged {
        format!("{stream}:events:{slot}:forwarded")
    } else {
        format!("{{{stream}}}:events:{slot}:forwarded")
    }
}

/// Returns the command that reads a checkpoint.
pub fn get(key: &str) -> Cmd {
    let mut get = redis::cmd("HMGET");
    get.arg(key).arg(&FIELDS);
    get
}

/// Reads the reply to [`get`].
///
/// # Errors
///
/// It is no checkpoint.
pub fn read(reply: Value) -> RedisResult<Option<Checkpoint>> {
    let Value::Array(values) = refused(reply)? else { return Err(unexpected()) };
    if values.first() == Some(&Value::Nil) {
        return Ok(None);
    }
    checkpoint(&values).map(Some)
}

/// A field of an entry that is added: its name and its value.
pub type Field = (&'static str, Vec<u8>);

/// An entry that is added: its position, if it has one, and its fields.
pub type Addition<'a> = (Option<Position>, &'a [Field]);

/// Returns the command that adds entries, of which this caller knows `known` to be in the stream.
pub fn add(stream: &str, key: &str, log: &LogName, known: Option<Position>, entries: &[Addition<'_>]) -> Cmd {
    let mut add = redis::cmd("EVAL");
    add.arg(ADD).arg(2).arg(stream).arg(key).arg(log.to_string());
    write(known, &mut add);
    for (position, fields) in entries {
        write(*position, &mut add);
        add.arg(2 * fields.len()).arg(*fields);
    }
    add
}

/// Returns the command that makes the checkpoint `from` one of another log.
pub fn change(key: &str, from: &Checkpoint, log: &LogName, position: Position) -> Cmd {
    let mut change = redis::cmd("EVAL");
    change.arg(MOVE).arg(1).arg(key).arg(from.log.to_string()).arg(log.to_string());
    write(Some(position), &mut change);
    write(Some(from.position), &mut change);
    change
}

fn write(position: Option<Position>, command: &mut Cmd) {
    match position {
        Some(Position { lsn, index }) => command.arg(lsn.to_string()).arg(index),
        None => command.arg("").arg(""),
    };
}

impl Outcome {
    /// Reads the reply to [`add`].
    ///
    /// # Errors
    ///
    /// Redis refused.
    pub fn read(reply: Value) -> RedisResult<Self> {
        let Value::Array(values) = refused(reply)? else { return Err(unexpected()) };
        let Some((word, rest)) = values.split_first() else { return Err(unexpected()) };
        let added = || match rest.last() {
            Some(Value::Int(added)) => u64::try_from(*added).map_err(|_| unexpected()),
            _ => Err(unexpected()),
        };
        match text(word).as_deref() {
            Some("added") => Ok(Self::Added(Some(checkpoint(rest)?), added()?)),
            Some("unmarked") => Ok(Self::Added(None, added()?)),
            Some("gone") => Ok(Self::Gone),
            Some("back") => Ok(Self::Back(checkpoint(rest)?)),
            Some("other") => Ok(Self::Other),
            _ => Err(unexpected()),
        }
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

fn checkpoint(values: &[Value]) -> RedisResult<Checkpoint> {
    let value = |place: usize| values.get(place).and_then(text);
    let read = || {
        let position = Position { lsn: Lsn::parse(&value(1)?)?, index: value(2)?.parse().ok()? };
        Some(Checkpoint { log: LogName::parse(&value(0)?)?, position, count: value(3)?.parse().ok()? })
    };
    read().ok_or_else(unexpected)
}

/// Returns the id of an entry: no other entry of the stream has it.
pub fn id(slot: &str, log: &LogName, position: Position) -> String {
    format!("{slot}:{}:{}:{}", log.timeline, position.lsn, position.index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::redis::slots::slot;

    #[test]
    fn a_checkpoint_is_in_the_slot_of_its_stream() {
        for stream in ["orders", "{shop}:orders", "a{b}c", "orders{", "orders:7"] {
            assert_eq!(slot(key(stream, "ipc").as_bytes()), slot(stream.as_bytes()), "{stream}");
        }
    }

    #[test]
    fn replies_of_any_kind_are_read() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let held = ["7 1", "0/10", "3", "9"].map(bulk);
        let log = LogName { system: "7".to_owned(), timeline: 1 };
        let expected = Checkpoint { log, position: Position { lsn: Lsn(16), index: 3 }, count: 9 };
        let reply = |word: &str, more: &[Value]| Value::Array([&[bulk(word)], more].concat());
        assert_eq!(Outcome::read(reply("gone", &[])).unwrap(), Outcome::Gone);
        assert_eq!(Outcome::read(reply("back", &held)).unwrap(), Outcome::Back(expected.clone()));
        let added = reply("added", &[&held[..], &[Value::Int(2)]].concat());
        assert_eq!(Outcome::read(added).unwrap(), Outcome::Added(Some(expected.clone()), 2));
        let unmarked = reply("unmarked", &[Value::Int(3)]);
        assert_eq!(Outcome::read(unmarked).unwrap(), Outcome::Added(None, 3));
        assert_eq!(read(Value::Array(held.to_vec())).unwrap(), Some(expected));
        assert_eq!(read(Value::Array(vec![Value::Nil; 4])).unwrap(), None);
        for bad in [
            Value::Nil,
            reply("unmarked", &[]),
            reply("added", &held),
            reply("else", &[]),
            reply("back", &[bulk("7")]),
        ] {
            assert!(Outcome::read(bad).is_err());
        }
    }
}
