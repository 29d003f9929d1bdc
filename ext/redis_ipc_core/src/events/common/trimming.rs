//! Trims streams without losing what a group has not acknowledged.

use crate::foundation::runtime::sync::Mutex;
use redis::{Cmd, Value};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The shortest time between two trimmings of a stream by one process.
const EVERY: Duration = Duration::from_secs(1);
/// After this many events a stream is trimmed sooner.
const EVENTS: usize = 100;
/// The most streams whose last trimming is remembered.
const STREAMS: usize = 1_000;
/// The most entries that one trimming removes, so that it does not block Redis for long.
const AT_ONCE: u64 = 100_000;
/// If a group keeps a stream at this many times its limit, that is reported.
const REPORTED: u64 = 2;

/// Trims the stream KEYS[1]. It removes nothing that a group has not acknowledged, until the stream exceeds its bound.
///
/// ARGV: "maxlen" or "minid"; the limit, in entries or ms; the bound, in the same unit, or ""; the most entries to
/// remove; the multiple of the limit that is reported. Returns how many entries were removed, at most how many of them
/// were not acknowledged, and the group that keeps the stream that long, or "".
///
/// Redis trims whole nodes of a stream (`~`), so the limit is approximate.
const TRIM: &str = r"
local stream, mode, most = KEYS[1], ARGV[1], ARGV[4]
local limit, bound = tonumber(ARGV[2]), tonumber(ARGV[3])
local function sortable(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return string.rep('0', 20 - #ms) .. ms .. string.rep('0', 20 - #seq) .. seq
end
local function after(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  if #seq > 15 then return string.format('%.0f-0', tonumber(ms) + 1) end
  return string.format('%s-%.0f', ms, tonumber(seq) + 1)
end
local needed, holder
local function needs(who, id)
  if needed == nil or sortable(id) < sortable(needed) then needed, holder = id, who end
end
local groups = redis.pcall('XINFO', 'GROUPS', stream)
if groups.err then return {0, 0, ''} end
for _, flat in ipairs(groups) do
  local group = {}
  for i = 1, #flat, 2 do group[flat[i]] = flat[i + 1] end
  local first = group.pending > 0 and redis.call('XPENDING', stream, group.name)[2]
  needs(group.name, first or after(group['last-delivered-id']))
end
local removed, lost, kept_by = 0, 0, ''
if mode == 'maxlen' then
  local excess = redis.call('XLEN', stream) - limit
  if excess > 0 then
    local count = string.format('%.0f', math.min(excess, tonumber(most)))
    if needed then removed = redis.call('XTRIM', stream, 'MINID', '~', needed, 'LIMIT', count)
    else removed = redis.call('XTRIM', stream, 'MAXLEN', '~', ARGV[2], 'LIMIT', count) end
  end
  if bound and needed then lost = redis.call('XTRIM', stream, 'MAXLEN', '~', ARGV[3], 'LIMIT', most) end
  local left = redis.call('XLEN', stream)
  local is_long = left > limit * tonumber(ARGV[5]) + 100 and excess < tonumber(most)
  if needed and (lost > 0 or is_long) then kept_by = holder end
else
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local function before(age) return string.format('%.0f-0', math.max(now - age, 0)) end
  local oldest = before(limit)
  if needed and sortable(needed) < sortable(oldest) then oldest = needed end
  removed = redis.call('XTRIM', stream, 'MINID', '~', oldest, 'LIMIT', most)
  if bound and needed and sortable(needed) < sortable(before(bound)) then
    lost = redis.call('XTRIM', stream, 'MINID', '~', before(bound), 'LIMIT', most)
    if lost > 0 then kept_by = holder end
  end
  if needed and sortable(needed) < sortable(before(limit * tonumber(ARGV[5]))) then
    local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    if first and sortable(first[1]) < sortable(before(limit * tonumber(ARGV[5]))) then kept_by = holder end
  end
end
return {removed + lost, lost, kept_by}
";

/// How much of a stream is kept. Redis removes whole nodes of its tree, so the limit is approximate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// This many entries.
    Entries(u64),
    /// Entries that are at most this old.
    Age(Duration),
}

impl Limit {
    /// Returns the word of XADD and XTRIM for it, and the number that follows. `now` is the time on Redis's clock in
    /// ms.
    pub fn words(self, now: u64) -> (&'static str, u64) {
        match self {
            Self::Entries(most) => ("MAXLEN", most),
            Self::Age(age) => ("MINID", now.saturating_sub(millis(age))),
        }
    }
}

/// What is removed from a stream when events are added.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trim {
    /// No entries.
    Nothing,
    /// The oldest entries beyond the limit, whether or not groups have read them.
    All(Limit),
    /// The oldest entries beyond the limit that every group has acknowledged. Those that a group has not acknowledged
    /// are kept up to this many times the limit; `None` keeps them for ever.
    Acknowledged(Limit, Option<f64>),
}

impl Trim {
    /// Returns what is removed if a stream keeps so many entries, or entries of such an age: all of the others if
    /// `drops`, or else as `bound` says of those that a group has not acknowledged.
    pub fn to(most: Option<u64>, age: Option<Duration>, bound: Option<f64>, drops: bool) -> Self {
        match most.map(Limit::Entries).or(age.map(Limit::Age)) {
            None => Self::Nothing,
            Some(limit) if drops => Self::All(limit),
            Some(limit) => Self::Acknowledged(limit, bound),
        }
    }

    /// Whether the command for it has a time on Redis's clock in it.
    pub fn needs_clock(self) -> bool {
        matches!(self, Self::All(Limit::Age(_)))
    }
}

/// What a trimming did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trimmed {
    /// How many entries were removed.
    pub removed: u64,
    /// The most of these that a group had not acknowledged.
    pub lost: u64,
    /// The group that keeps the stream at a multiple of its limit that is worth a report.
    pub kept_by: Option<String>,
    /// Why Redis refused. The events were added all the same.
    pub refused: Option<String>,
}

impl Trimmed {
    /// Reads the reply to `command`.
    pub fn read(reply: &Value) -> Self {
        let count = |value: &Value| match value {
            Value::Int(count) => u64::try_from(*count).unwrap_or(0),
            _ => 0,
        };
        match reply {
            Value::Array(facts) => match facts.as_slice() {
                [removed, lost, Value::BulkString(kept_by)] => Self {
                    removed: count(removed),
                    lost: count(lost),
                    kept_by: Some(String::from_utf8_lossy(kept_by).into_owned())
                        .filter(|name| !name.is_empty()),
                    refused: None,
                },
                _ => Self::default(),
            },
            Value::ServerError(error) => {
                let text = format!("{} {}", error.code(), error.details().unwrap_or_default());
                Self { refused: Some(text.trim_end().to_owned()), ..Self::default() }
            }
            Value::Int(_) => Self { removed: count(reply), ..Self::default() },
            _ => Self::default(),
        }
    }
}

/// Returns the command that trims `stream`.
pub fn command(stream: &str, limit: Limit, bound: Option<f64>) -> Cmd {
    let (mode, amount) = match limit {
        Limit::Entries(most) => ("maxlen", most),
        Limit::Age(age) => ("minid", millis(age)),
    };
    let bound = bound.map_or_else(String::new, |times| ((amount as f64 * times) as u64).to_string());
    let mut trim = redis::cmd("EVAL");
    trim.arg(TRIM).arg(1).arg(stream).arg(mode).arg(amount).arg(bound).arg(AT_ONCE).arg(REPORTED);
    trim
}

/// Returns the command that trims `stream` after events were added, if it is to be trimmed. `now` is the time on
/// Redis's clock in ms.
pub fn after(stream: &str, trim: Trim, now: u64) -> Option<Cmd> {
    let limit = match trim {
        Trim::Nothing => return None,
        Trim::Acknowledged(limit, bound) => return Some(command(stream, limit, bound)),
        Trim::All(limit) => limit,
    };
    let (word, least) = limit.words(now);
    let mut trim = redis::cmd("XTRIM");
    trim.arg(stream).arg(word).arg("~").arg(least);
    Some(trim)
}

/// Converts an age to ms. The longest is a thousand years.
fn millis(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX).min(1000 * 366 * 86_400_000)
}

/// When this process last trimmed each stream.
#[derive(Debug, Default)]
pub struct Trimmings(Mutex<HashMap<String, (Instant, usize)>>);

impl Trimmings {
    /// Whether `stream` is to be trimmed now that this many events are added.
    pub fn are_due(&self, stream: &str, events: usize) -> bool {
        let mut last = self.0.lock();
        if let Some((at, since)) = last.get_mut(stream) {
            *since += events;
            if *since < EVENTS && at.elapsed() < EVERY {
                return false;
            }
        } else if last.len() >= STREAMS {
            last.clear();
        }
        last.insert(stream.to_owned(), (Instant::now(), 0));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_trimmed_after_a_number_of_events() {
        let trimmings = Trimmings::default();
        let due: Vec<bool> = [1, 50, 49, 1, 99, 1].map(|events| trimmings.are_due("a", events)).into();
        assert_eq!(due, [true, false, false, true, false, true]);
        assert!(trimmings.are_due("b", 1));
    }

    #[test]
    fn replies_of_any_kind_are_read() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let read = Trimmed::read(&Value::Array(vec![Value::Int(7), Value::Int(2), bulk("billing")]));
        let expected = Trimmed { removed: 7, lost: 2, kept_by: Some("billing".to_owned()), refused: None };
        assert_eq!(read, expected);
        let none = Trimmed::read(&Value::Array(vec![Value::Int(0), Value::Int(0), bulk("")]));
        assert_eq!((none, Trimmed::read(&Value::Nil)), (Trimmed::default(), Trimmed::default()));
    }
}
