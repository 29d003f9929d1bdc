//! The commands on the hash that the instances of a consumer share. It holds the instances, who owns which lane until
//! when, and the checkpoint of each lane. It is a single key, so that one script sees all of it, with any name of a
//! stream and in a cluster.
//!
//! | field | value |
//! |---|---|
//! | `lanes` | how many lanes there are; `N partitions` if each is a stream of its own |
//! | `start` | where a lane without a checkpoint begins: a [`Checkpoint`], or [`Starts`] of partitions |
//! | `i:INSTANCE` | `EXPIRES JOINED`: when the instance counts as gone, and when it came, in ms on Redis's clock |
//! | `o:LANE` | `INSTANCE EPOCH EXPIRES`; the instance is `-` once the lane was released |
//! | `c:LANE` | the [`Checkpoint`] |
//! | `x:LANE` | how many owners in a row have died or hung without finishing an event of the lane |
//! | `a:LANE:ID` | what an operator decided about a dead letter: `retry LETTER` or `drop LETTER` |

use crate::events::common::events_key;
use crate::events::lanes::checkpoint::{Checkpoint, Starts};
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::resp::replies::unexpected;
use redis::{Cmd, RedisResult, Value};
use std::collections::HashMap;

/// Registers the instance, renews its leases, and gives it free lanes, up to its share.
///
/// Arguments: the instance, the lease (ms), `lanes`, `start`, then for each lane that it has, the lane and its epoch.
/// An epoch is never below the time in ms, so that epochs grow even if Redis has lost the last one.
const BEAT: &str = r"
local key, me, lease, count = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(string.match(ARGV[3], '^%d+'))
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local all, flat = {}, redis.call('HGETALL', key)
for i = 1, #flat, 2 do all[flat[i]] = flat[i + 1] end
if not all.lanes then
  redis.call('HSET', key, 'lanes', ARGV[3], 'start', ARGV[4])
  all.start = ARGV[4]
elseif all.lanes ~= ARGV[3] then
  return redis.error_reply('LANES ' .. all.lanes)
end
local joined = all['i:' .. me] and string.match(all['i:' .. me], ' (%d+)$') or string.format('%.0f', now)
redis.call('HSET', key, 'i:' .. me, string.format('%.0f %s', now + lease, joined))
local members, again = { { me, tonumber(joined) } }, {}
for name, value in pairs(all) do
  local kind = string.sub(name, 1, 2)
  if kind == 'i:' and name ~= 'i:' .. me then
    local expires, since = string.match(value, '^(%d+) (%d+)$')
    if tonumber(expires) < now then redis.call('HDEL', key, name)
    else members[#members + 1] = { string.sub(name, 3), tonumber(since) } end
  elseif kind == 'a:' then again[#again + 1] = name .. ' ' .. value end
end
table.sort(members, function(a, b) return a[2] < b[2] or a[2] == b[2] and a[1] < b[1] end)
local target = math.floor(count / #members)
for rank, member in ipairs(members) do
  if member[1] == me and rank <= count % #members then target = target + 1 end
end
local kept, held, mine = {}, {}, 0
for i = 5, #ARGV, 2 do
  local owner = all['o:' .. ARGV[i]]
  local name, epoch = string.match(owner or '', '^(%S+) (%d+) ')
  if name == me and epoch == ARGV[i + 1] then
    redis.call('HSET', key, 'o:' .. ARGV[i], string.format('%s %s %.0f', me, epoch, now + lease))
    kept[#kept + 1] = ARGV[i]
    held[ARGV[i]] = true
    mine = mine + 1
  end
end
local claims = {}
for lane = 0, count - 1 do
  local field = string.format('%d', lane)
  local name, epoch, expires = string.match(all['o:' .. field] or '- 0 0', '^(%S+) (%d+) (%d+)$')
  -- What this instance has and does not name was given to it by a reply that it never got.
  if mine < target and not held[field] and (tonumber(expires) < now or name == me) then
    local fresh = string.format('%.0f', math.max(tonumber(epoch) + 1, now))
    redis.call('HSET', key, 'o:' .. field, string.format('%s %s %.0f', me, fresh, now + lease))
    local crashes = all['x:' .. field] or '0'
    if name ~= '-' and name ~= me then crashes = tostring(redis.call('HINCRBY', key, 'x:' .. field, 1)) end
    claims[#claims + 1] = { field, fresh, all['c:' .. field] or '', crashes }
    mine = mine + 1
  end
end
return { tostring(#members), tostring(target), all.lanes and '' or 'new', all.start, kept, claims, again }
";

/// Writes the checkpoints of lanes that the instance still owns. Returns the other lanes.
///
/// Arguments: the instance, then for each lane its number, its epoch, the checkpoint, and one of `keep`, `calm` (this
/// owner finishes events, so previous crashes no longer count) or `free` (it gives the lane up).
const SAVE: &str = r"
local refused = {}
for i = 2, #ARGV, 4 do
  local lane, epoch, checkpoint, what = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local name, current = string.match(redis.call('HGET', KEYS[1], 'o:' .. lane) or '', '^(%S+) (%d+) ')
  if name == ARGV[1] and current == epoch then
    redis.call('HSET', KEYS[1], 'c:' .. lane, checkpoint)
    if what ~= 'keep' then redis.call('HDEL', KEYS[1], 'x:' .. lane) end
    if what == 'free' then redis.call('HSET', KEYS[1], 'o:' .. lane, '- ' .. epoch .. ' 0') end
  else refused[#refused + 1] = lane end
end
return refused
";

/// Takes every lane from its owner, and lets all of them begin elsewhere. Arguments: a [`Checkpoint`] for each
/// partition, or one for all lanes. Returns 0 if there is no hash.
const SEEK: &str = r"
local lanes = tonumber(string.match(redis.call('HGET', KEYS[1], 'lanes') or '', '^%d+'))
if not lanes then return 0 end
for lane = 0, lanes - 1 do
  local epoch = string.match(redis.call('HGET', KEYS[1], 'o:' .. lane) or '', ' (%d+) ') or '0'
  redis.call('HSET', KEYS[1], 'o:' .. lane, '- ' .. epoch .. ' 0', 'c:' .. lane, ARGV[1 + lane] or ARGV[1])
  redis.call('HDEL', KEYS[1], 'x:' .. lane)
end
return lanes
";

/// Moves a consumer group of Redis to the position of the slowest lane: the group ARGV[1] to the position ARGV[2], up
/// to which the stream has had ARGV[3] entries (-1 if that is not known). Nobody reads by that group.
const MARK: &str = r"
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[2])
if ARGV[3] == '-1' then redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[2])
else redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[2], 'ENTRIESREAD', ARGV[3]) end
return 1
";

/// The heartbeat of an instance, sent every third of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Beat {
    /// The instance.
    pub instance: String,
    /// The lease in ms.
    pub lease: u64,
    /// How many lanes the consumer has.
    pub lanes: u16,
    /// Whether each lane is a stream of its own.
    pub are_partitions: bool,
    /// Where a lane without a checkpoint begins if the consumer is new.
    pub start: Starts,
    /// The lanes that it owns, with their epochs.
    pub held: Vec<(u16, u64)>,
}

/// The reply to a [`Beat`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Share {
    /// How many instances there are.
    pub instances: u16,
    /// How many lanes this instance should own.
    pub target: usize,
    /// The hash did not exist before.
    pub is_new: bool,
    /// Where a lane without a checkpoint begins.
    pub start: Starts,
    /// The lanes whose leases were renewed.
    pub kept: Vec<u16>,
    /// The lanes that this instance owns from now on.
    pub claims: Vec<Claim>,
    /// What operators decided about dead letters.
    pub decisions: Vec<Decision>,
}

/// A lane that an instance has claimed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The lane.
    pub lane: u16,
    /// The epoch of its owner from now on.
    pub epoch: u64,
    /// How far the previous owner had come. `None` if there was none.
    pub checkpoint: Option<Checkpoint>,
    /// How many owners in a row have died or hung without finishing one of its events.
    pub crashes: u32,
}

/// What an operator decided about a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decision {
    /// The lane of the event.
    pub lane: u16,
    /// The event.
    pub entry: StreamId,
    /// The dead letter.
    pub letter: StreamId,
    /// The event is tried again. Otherwise it counts as done.
    pub is_retry: bool,
}

/// A checkpoint to be written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Save {
    /// The lane.
    pub lane: u16,
    /// The epoch of its owner.
    pub epoch: u64,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// What happens to the lane.
    pub then: Then,
}

/// What happens to a lane whose checkpoint is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Then {
    /// Its owner keeps it, and may still crash as the previous owner did.
    Keep,
    /// Its owner keeps it, and has finished events.
    Calm,
    /// Its owner gives it up.
    Free,
}

impl Beat {
    /// Returns the command that sends it.
    pub fn command(&self, key: &str) -> Cmd {
        self.scripted(BEAT, key)
    }

    /// Returns the command with another clock than Redis's.
    #[cfg(all(test, feature = "live-tests"))]
    pub fn command_at(&self, now: u64, key: &str) -> Cmd {
        let time = format!("{{ {}, {} }}", now / 1_000, now % 1_000 * 1_000);
        self.scripted(&BEAT.replace("redis.call('TIME')", &time), key)
    }

    fn scripted(&self, script: &str, key: &str) -> Cmd {
        let mut beat = redis::cmd("EVAL");
        beat.arg(script).arg(1).arg(key);
        let lanes = described(self.lanes, self.are_partitions);
        beat.arg(&self.instance).arg(self.lease).arg(lanes).arg(self.start.to_string());
        for (lane, epoch) in &self.held {
            beat.arg(lane).arg(epoch);
        }
        beat
    }
}

impl Share {
    /// Reads the reply to a [`Beat`].
    ///
    /// # Errors
    ///
    /// The reply has another shape.
    pub fn read(reply: &Value) -> RedisResult<Self> {
        Self::parse(reply).ok_or_else(unexpected)
    }

    fn parse(reply: &Value) -> Option<Self> {
        let [instances, target, new, start, kept, claims, decisions] = items(reply)? else { return None };
        Some(Self {
            instances: number(instances)?,
            target: number(target)?,
            is_new: bytes(new)? == b"new",
            start: Starts::parse(bytes(start)?)?,
            kept: items(kept)?.iter().map(number).collect::<Option<_>>()?,
            claims: items(claims)?.iter().map(claim).collect::<Option<_>>()?,
            // An unreadable decision was written by another program, and is ignored.
            decisions: items(decisions)?.iter().filter_map(decision).collect(),
        })
    }
}

fn claim(row: &Value) -> Option<Claim> {
    let [lane, epoch, checkpoint, crashes] = items(row)? else { return None };
    let checkpoint = bytes(checkpoint)?;
    let checkpoint = if checkpoint.is_empty() { None } else { Some(Checkpoint::parse(checkpoint)?) };
    Some(Claim { lane: number(lane)?, epoch: number(epoch)?, checkpoint, crashes: number(crashes)? })
}

fn decision(row: &Value) -> Option<Decision> {
    let text = std::str::from_utf8(bytes(row)?).ok()?;
    let (field, decided) = text.split_once(' ')?;
    let (lane, entry) = field.strip_prefix("a:")?.split_once(':')?;
    let (what, letter) = decided.split_once(' ')?;
    Some(Decision {
        lane: lane.parse().ok()?,
        entry: StreamId::parse(entry.as_bytes())?,
        letter: StreamId::parse(letter.as_bytes())?,
        is_retry: what == "retry",
    })
}

impl Decision {
    /// Returns the command that records the decision, unless there is one already.
    pub fn command(&self, key: &str) -> Cmd {
        let mut set = redis::cmd("HSETNX");
        let what = if self.is_retry { "retry" } else { "drop" };
        set.arg(key).arg(decision_field(self.lane, self.entry)).arg(format!("{what} {}", self.letter));
        set
    }
}

/// Returns the field of the hash that holds the decision about an event.
pub fn decision_field(lane: u16, entry: StreamId) -> String {
    format!("a:{lane}:{entry}")
}

/// Returns the command that writes checkpoints.
pub fn save(key: &str, instance: &str, saves: &[Save]) -> Cmd {
    let mut save = redis::cmd("EVAL");
    save.arg(SAVE).arg(1).arg(key).arg(instance);
    for one in saves {
        let then = match one.then {
            Then::Keep => "keep",
            Then::Calm => "calm",
            Then::Free => "free",
        };
        save.arg(one.lane).arg(one.epoch).arg(one.checkpoint.to_string()).arg(then);
    }
    save
}

/// Reads the reply to [`save`]: the lanes whose checkpoints were refused.
///
/// # Errors
///
/// The reply has another shape.
pub fn refused(reply: &Value) -> RedisResult<Vec<u16>> {
    let lanes = items(reply).and_then(|lanes| lanes.iter().map(number).collect::<Option<_>>());
    lanes.ok_or_else(unexpected)
}

/// Returns the checkpoint of each lane, as read from the hash.
pub fn positions(hash: &HashMap<String, Value>, lanes: u16) -> Vec<Checkpoint> {
    let read = |name: &str| bytes(hash.get(name)?);
    let starts = read("start").and_then(Starts::parse);
    let start = |lane| starts.as_ref().map(|starts| starts.of(lane));
    let saved = |lane| read(&format!("c:{lane}")).and_then(Checkpoint::parse);
    (0..lanes).filter_map(|lane| saved(lane).or_else(|| start(lane))).collect()
}

/// Returns the command that moves each lane to its checkpoint, or all lanes to the only one.
pub fn seek(key: &str, checkpoints: &[Checkpoint]) -> Cmd {
    let mut seek = redis::cmd("EVAL");
    seek.arg(SEEK).arg(1).arg(key);
    for checkpoint in checkpoints {
        seek.arg(checkpoint.to_string());
    }
    seek
}

/// Returns the command that moves the marker group of `group`.
pub fn mark(stream: &str, group: &str, lowest: &Checkpoint) -> Cmd {
    let mut mark = redis::cmd("EVAL");
    mark.arg(MARK).arg(1).arg(stream).arg(events_key::marker(group)).arg(lowest.position.to_string());
    match lowest.ordinal {
        Some(ordinal) => mark.arg(ordinal),
        None => mark.arg(-1),
    };
    mark
}

/// Returns the text by which the hash holds the number of lanes.
pub fn described(lanes: u16, are_partitions: bool) -> String {
    if are_partitions { format!("{lanes} partitions") } else { lanes.to_string() }
}

fn items(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

fn number<T: std::str::FromStr>(value: &Value) -> Option<T> {
    std::str::from_utf8(bytes(value)?).ok()?.parse().ok()
}
