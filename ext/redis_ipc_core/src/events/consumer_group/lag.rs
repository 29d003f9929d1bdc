//! The lag of a group: how many entries are still to be delivered to it.

use redis::{Cmd, Value};

/// The most entries that are counted from either end of the stream.
const COUNTED: usize = 5_000;
/// About how many bytes of entries are read for counting from either end.
const BYTES: usize = 8 << 20;

/// Returns the lag of the group ARGV[1] of the stream KEYS[1], or nil if Redis cannot tell. A script sends no entries,
/// while XINFO STREAM and XRANGE return whole ones.
///
/// Redis's own `lag` is too high once entries were trimmed before the group read them
/// (<https://github.com/redis/redis/issues/13957>), and nil once entries were deleted in between. So it counts only if
/// the stream still has all entries that were ever added. Otherwise the script counts entries from the nearer end, if
/// that is near enough.
const LAG: &str = r"
local stream, most, bytes = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local function sortable(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return string.rep('0', 20 - #ms) .. ms .. string.rep('0', 20 - #seq) .. seq
end
local group
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local facts = {}
  for i = 1, #flat, 2 do facts[flat[i]] = flat[i + 1] end
  if facts.name == ARGV[1] then group = facts end
end
if not group then return nil end
local delivered, length = group['last-delivered-id'], redis.call('XLEN', stream)
if #redis.call('XRANGE', stream, '(' .. delivered, '+', 'COUNT', 1) == 0 then return 0 end
local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1][1]
if sortable(delivered) < sortable(first) then return length end
local read, lag = group['entries-read'], group['lag']
if read and lag and read + lag == length then return lag end
local usage = redis.pcall('MEMORY', 'USAGE', stream)
local size = type(usage) == 'number' and math.max(usage / length, 1) or 1000
most = math.max(math.min(most, math.floor(bytes / size)), 1)
local page = math.max(math.min(100, math.floor(bytes / size / 10)), 1)
local function count(command, from, to)
  local counted = 0
  repeat
    local rows = redis.call(command, stream, from, to, 'COUNT', page)
    counted = counted + #rows
    if #rows < page then return counted end
    from = '(' .. rows[#rows][1]
  until counted >= most
end
local behind = count('XREVRANGE', '+', '(' .. delivered)
if behind then return behind end
local before = count('XRANGE', '-', delivered)
if before then return length - before end
return lag and math.min(lag, length) or nil
";

/// Returns the last id of the stream KEYS[1], the last id that was delivered to the group ARGV[1], how many entries of
/// the group are pending, and the lowest pending id. Without pending entries that is the last id that was delivered.
const PROGRESS: &str = r"
local facts = redis.call('XINFO', 'STREAM', KEYS[1])
local last = '0-0'
for i = 1, #facts, 2 do if facts[i] == 'last-generated-id' then last = facts[i + 1] end end
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for i = 1, #flat, 2 do group[flat[i]] = flat[i + 1] end
  if group.name == ARGV[1] then
    local delivered = group['last-delivered-id']
    local lowest = redis.call('XPENDING', KEYS[1], ARGV[1])[2] or delivered
    return {last, delivered, group.pending, lowest}
  end
end
return {last, '0-0', 0, '0-0'}
";

/// Returns the command that asks for the lag of `group`.
pub fn command(stream: &str, group: &str) -> Cmd {
    let mut lag = redis::cmd("EVAL_RO");
    lag.arg(LAG).arg(1).arg(stream).arg(group).arg(COUNTED).arg(BYTES);
    lag
}

/// Returns the command that asks how far `group` is.
pub fn progress(stream: &str, group: &str) -> Cmd {
    let mut progress = redis::cmd("EVAL_RO");
    progress.arg(PROGRESS).arg(1).arg(stream).arg(group);
    progress
}

/// Reads the reply to [`command`].
pub fn read(reply: &Value) -> Option<u64> {
    match reply {
        Value::Int(lag) => u64::try_from(*lag).ok(),
        _ => None,
    }
}
