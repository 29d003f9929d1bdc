//! The commands that add events to a stream. Sending them again adds no event twice.

use crate::events::common::recent_ids::ID;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::resp::replies::{self, refused, unexpected};
use crate::foundation::runtime::sync::Mutex;
use redis::{Cmd, RedisResult, Value};
use std::time::{Duration, Instant};

/// How much the clocks of a server and its successor may differ, in ms.
const SLACK: u64 = 2_000;
/// The most entries that are searched for an earlier copy of an event.
const SEARCHED: u64 = 20_000;
/// The most events that one script adds. Redis serves no other client meanwhile.
const AT_ONCE: usize = 500;
/// How many ids of one producer Redis is expected to remember. The default of IDMP-MAXSIZE is 100; half of that leaves
/// room for a stream with a lower setting.
const PER_PRODUCER: usize = 50;

/// Adds events to the stream KEYS[1], except those that it already has.
///
/// ARGV: how many ms ago the events were first sent, or -1 if this is the first time; SLACK; SEARCHED; for how many
/// seconds ids are remembered; then for each event: its id, how many names and values follow, and these. KEYS[1 + n] is
/// the key that remembers the id of event n if the application gave that id; otherwise it is the stream itself. Returns
/// the ids of the entries.
const ADD: &str = r"
local stream, known = KEYS[1], {}
if tonumber(ARGV[1]) >= 0 then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local from = string.format('%.0f', math.max(now - ARGV[1] - ARGV[2], 0))
  local left = tonumber(ARGV[3])
  repeat
    local rows = redis.call('XRANGE', stream, from, '+', 'COUNT', 100)
    for _, row in ipairs(rows) do
      for i = 1, #row[2], 2 do
        if row[2][i] == 'id' then known[row[2][i + 1]] = row[1] end
      end
      from = '(' .. row[1]
    end
    left = left - #rows
    if left <= 0 then return redis.error_reply('UNDECIDED the connection broke, and too many entries came since to find out whether the events were added') end
  until #rows < 100
end
local added, at = {}, 5
for event = 1, #KEYS - 1 do
  local id, count = ARGV[at], tonumber(ARGV[at + 1])
  local key = KEYS[1 + event]
  local entry = known[id] or (key ~= stream and redis.call('GET', key))
  if not entry then
    entry = redis.call('XADD', stream, '*', unpack(ARGV, at + 2, at + 1 + count))
    known[id] = entry
  end
  if key ~= stream then redis.call('SET', key, entry, 'NX', 'EX', ARGV[4]) end
  added[event] = entry
  at = at + 2 + count
end
return added
";

/// An event to be added.
#[derive(Debug, Clone, Default)]
pub struct NewEvent {
    /// Its names and values, alternating.
    pub fields: Vec<Vec<u8>>,
    /// The id that the application gave it. Of several events with the same id, one is added.
    pub id: Option<String>,
}

/// How the server recognizes an event that was sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// By the name of the producer and the producer's number of the event (Redis 8.6 and later).
    Producer,
    /// By the id in the entry. The stream is searched for it only if the event is sent again.
    Id,
}

/// The names by which Redis 8.6 knows the producer of an event.
///
/// Redis remembers the last 100 ids of each producer. Each call under way has producers of its own: otherwise the
/// events of other calls would displace its ids before it sends its events again.
#[derive(Debug, Default)]
pub struct Producers {
    name: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    free: Vec<usize>,
    made: usize,
    events: u64,
}

/// The producers of one call. They are returned when this is dropped.
pub struct Lent<'a> {
    producers: &'a Producers,
    numbers: Vec<usize>,
    /// The number of the first event.
    first: u64,
}

impl Producers {
    /// Creates the producers of the publisher `name`, which no other publisher has.
    pub fn new(name: String) -> Self {
        Self { name, state: Mutex::default() }
    }

    /// Lends enough producers for this many events.
    pub fn lend(&self, events: usize) -> Lent<'_> {
        let mut state = self.state.lock();
        let numbers = (0..events.div_ceil(PER_PRODUCER))
            .map(|_| {
                state.free.pop().unwrap_or_else(|| {
                    state.made += 1;
                    state.made
                })
            })
            .collect();
        let first = state.events;
        state.events += events as u64;
        Lent { producers: self, numbers, first }
    }
}

impl Lent<'_> {
    /// Returns the producer and the number for the event `index` of the call.
    fn of(&self, index: usize) -> (String, String) {
        let number = self.numbers.get(index / PER_PRODUCER).copied().unwrap_or_default();
        (format!("{}-{number:x}", self.producers.name), format!("{:x}", self.first + index as u64))
    }

    /// Returns an id that no other event has.
    fn id(&self, index: usize) -> String {
        format!("{}-{:x}", self.producers.name, self.first + index as u64)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.producers.state.lock().free.append(&mut self.numbers);
    }
}

/// The events of one call.
pub struct Sending<'a> {
    stream: &'a str,
    events: &'a [NewEvent],
    remember: Duration,
    lent: Lent<'a>,
    /// When the events were first sent.
    first: Option<Instant>,
    /// What `first` was before the last commands.
    before: Option<Instant>,
}

impl<'a> Sending<'a> {
    /// Prepares to send `events`. Redis remembers the ids that the application gave for as long as `remember`.
    pub fn new(stream: &'a str, events: &'a [NewEvent], remember: Duration, lent: Lent<'a>) -> Self {
        Self { stream, events, remember, lent, first: None, before: None }
    }

    /// Whether the application gave an id to one of the events.
    pub fn has_ids(&self) -> bool {
        self.events.iter().any(|event| event.id.is_some())
    }

    /// Returns the commands that send the events, for the first time or again.
    pub fn commands(&mut self, form: Form, trim: &dyn Fn(&mut Cmd)) -> Vec<Cmd> {
        self.before = self.first;
        let since = self.first.map(|first| first.elapsed());
        self.first.get_or_insert_with(Instant::now);
        match form {
            _ if self.has_ids() => self.scripts(since),
            Form::Id if since.is_some() => self.scripts(since),
            Form::Id => self.each(|index, add| {
                trim(add);
                add.arg("*").arg(&self.events[index].fields).arg(ID).arg(self.lent.id(index));
            }),
            Form::Producer => self.each(|index, add| {
                let (producer, number) = self.lent.of(index);
                add.arg("IDMP").arg(producer).arg(number);
                trim(add);
                add.arg("*").arg(&self.events[index].fields);
            }),
        }
    }

    /// Records that Redis refused the last commands as a whole, so that none of the events was sent.
    pub fn undo(&mut self) {
        self.first = self.before;
    }

    fn each(&self, finish: impl Fn(usize, &mut Cmd)) -> Vec<Cmd> {
        let add = |index| {
            let mut add = redis::cmd("XADD");
            add.arg(self.stream);
            finish(index, &mut add);
            add
        };
        (0..self.events.len()).map(add).collect()
    }

    fn scripts(&self, since: Option<Duration>) -> Vec<Cmd> {
        let pages = self.events.chunks(AT_ONCE).enumerate();
        pages.map(|(page, events)| self.script(page * AT_ONCE, events, since)).collect()
    }

    fn script(&self, offset: usize, events: &[NewEvent], since: Option<Duration>) -> Cmd {
        let mut add = redis::cmd("EVAL");
        add.arg(ADD).arg(1 + events.len()).arg(self.stream);
        for event in events {
            add.arg(event.id.as_ref().map_or_else(|| self.stream.to_owned(), |id| id_key(self.stream, id)));
        }
        let ago = since.map_or_else(|| "-1".to_owned(), |since| since.as_millis().to_string());
        add.arg(ago).arg(SLACK).arg(SEARCHED).arg(self.remember.as_secs().max(1));
        for (index, event) in events.iter().enumerate() {
            let id = event.id.clone().unwrap_or_else(|| self.lent.id(offset + index));
            add.arg(&id).arg(event.fields.len() + 2).arg(&event.fields).arg(ID).arg(&id);
        }
        add
    }

    /// Reads the ids of the entries from the replies to [`Sending::commands`].
    ///
    /// # Errors
    ///
    /// Redis refused one of them.
    pub fn ids(replies: impl IntoIterator<Item = Value>) -> RedisResult<Vec<StreamId>> {
        let mut ids = Vec::new();
        for reply in replies {
            match refused(reply)? {
                Value::Array(entries) => {
                    for entry in &entries {
                        ids.push(replies::id(entry).ok_or_else(unexpected)?);
                    }
                }
                entry => ids.push(replies::id(&entry).ok_or_else(unexpected)?),
            }
        }
        Ok(ids)
    }
}

/// Returns the key that remembers an id of the application. It is in the same slot as the stream.
fn id_key(stream: &str, id: &str) -> String {
    let is_tagged = stream
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .is_some_and(|(tag, _)| !tag.is_empty());
    if is_tagged { format!("{stream}:events:id:{id}") } else { format!("{{{stream}}}:events:id:{id}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::redis::slots::slot;

    #[test]
    fn an_id_is_remembered_in_the_slot_of_its_stream() {
        for stream in ["orders", "{shop}:orders", "a{b}c", "orders{"] {
            assert_eq!(slot(id_key(stream, "7{x}").as_bytes()), slot(stream.as_bytes()), "{stream}");
        }
    }

    #[test]
    fn calls_under_way_have_producers_of_their_own_and_events_numbers_of_their_own() {
        let producers = Producers::new("p".to_owned());
        let (first, second) = (producers.lend(60), producers.lend(1));
        assert_eq!(
            (first.of(0).0, first.of(59).0, second.of(0).0),
            ("p-1".into(), "p-2".into(), "p-3".into())
        );
        assert_eq!((first.of(59).1, second.of(0).1), ("3b".into(), "3c".into()));
        drop(second);
        assert_eq!(producers.lend(1).of(0), ("p-3".into(), "3d".into()));
    }
}
