//! The consumer group in Redis. It is created if it is missing, and the consumers of dead processes are deleted.

use crate::error::{Error, ErrorKind, Fate};
use crate::events::common::in_flight::InFlight;
use crate::events::common::options::From;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::group_consumer::consumer::GroupConsumer;
use crate::foundation::redis::resp::replies::{self, unexpected};
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::work_queue::{Held, WorkQueue};
use redis::RedisResult;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A consumer that was inactive for this long is deleted once it has no pending entries. A living consumer reads every
/// 10 s.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// Deletes the consumers other than ARGV[2] that have not been active for ARGV[3] ms, and with ARGV[4] = 1 also
/// ARGV[2] itself, if they have no pending entries.
///
/// This is a script because deleting a consumer deletes its pending entries, and an entry may become pending between
/// the check and the deletion.
const SWEEP: &str = r"
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then return 0 end
for _, flat in ipairs(consumers) do
  local consumer = {}
  for i = 1, #flat, 2 do consumer[flat[i]] = flat[i + 1] end
  local is_own = consumer.name == ARGV[2]
  local is_gone = is_own and ARGV[4] == '1' or not is_own and consumer.idle >= tonumber(ARGV[3])
  if is_gone and consumer.pending == 0 then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name) end
end
return 1
";

/// Creates the group ARGV[1] again, after the id ARGV[2]. If the stream has no id as high as that, the stream was
/// deleted and begins anew, so the group starts at its beginning. Returns 0 if the group exists, 1 if it was created,
/// and 2 if the stream was created, too.
const MAKE_AGAIN: &str = r"
local created = redis.call('EXISTS', KEYS[1]) == 0 and 2 or 1
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '$', 'MKSTREAM')
if made.err then return string.find(made.err, 'BUSYGROUP', 1, true) and 0 or made end
local function id(text)
  local ms, seq = string.match(text, '^(%d+)-(%d+)$')
  return string.rep('0', 20 - #ms) .. ms .. string.rep('0', 20 - #seq) .. seq
end
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for i = 1, #flat, 2 do group[flat[i]] = flat[i + 1] end
  if group.name == ARGV[1] then
    local start = id(group['last-delivered-id']) < id(ARGV[2]) and '0' or ARGV[2]
    redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], start)
  end
end
return created
";

/// Creates the group ARGV[1] of the stream KEYS[1] at ARGV[2]. If it is known how many entries the stream has had up to
/// there, tells Redis that number: without it, trimmed entries could not be told from read ones. Returns 0 if the group
/// exists.
const MAKE: &str = r"
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[2], 'MKSTREAM')
if made.err then return string.find(made.err, 'BUSYGROUP', 1, true) and 0 or made end
local flat, facts = redis.call('XINFO', 'STREAM', KEYS[1]), {}
for i = 1, #flat, 2 do facts[flat[i]] = flat[i + 1] end
local added = facts['entries-added']
local read = added and (ARGV[2] == '$' and added or ARGV[2] == '0' and added - facts.length)
if read then
  redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[2] == '$' and facts['last-generated-id'] or '0', 'ENTRIESREAD', read)
end
return 1
";

/// The consumer group of one consumer.
pub struct Group {
    consumer: Arc<GroupConsumer>,
    from: From,
    /// The last entry that was delivered to the group, as far as is known. `None` before the first connection. It may
    /// be a position without an entry, if the group began there or was moved there.
    reached: Mutex<Option<StreamId>>,
    /// The last entry that was delivered to this process, if the stream is still the same one.
    seen: Mutex<Option<StreamId>>,
    /// The group did not exist when this consumer started.
    is_made_here: AtomicBool,
}

impl Group {
    /// Creates the access to the group of `consumer`. A new group begins at `from`.
    pub fn new(consumer: Arc<GroupConsumer>, from: From) -> Self {
        Self {
            consumer,
            from,
            reached: Mutex::default(),
            seen: Mutex::default(),
            is_made_here: AtomicBool::new(false),
        }
    }

    /// Creates the stream, the group and the consumer if they are missing. If the group has vanished, creates it again
    /// after the last entry that is known to be finished, and reports that. `has_changed` says that this is another
    /// stream than before, so the group's position in Redis counts.
    pub fn join(
        &self,
        connection: &mut Connection,
        queue: &WorkQueue<InFlight>,
        has_changed: bool,
    ) -> RedisResult<()> {
        let reached = *self.reached.lock();
        match reached {
            None => self.make(connection)?,
            Some(reached) => {
                let held = queue.pick(|event| (!event.is_answered()).then(|| event.given_back(false)));
                let lowest = held.iter().map(|event| event.id.previous()).min();
                let after = lowest.map_or(reached, |lowest| lowest.min(reached));
                self.make_again(connection, after, has_changed)?;
                self.consumer.hold_again(connection, &held)?;
            }
        }
        let GroupConsumer { stream, group, name, .. } = &*self.consumer;
        connection.run(redis::cmd("XGROUP").arg("CREATECONSUMER").arg(stream).arg(group).arg(name))?;
        let groups = connection.run(redis::cmd("XINFO").arg("GROUPS").arg(stream))?;
        let delivered = replies::last_delivered(&groups).ok_or_else(unexpected)?.get(&**group).copied();
        let delivered = delivered.unwrap_or_default();
        if has_changed {
            self.begin_anew(delivered)
        } else {
            self.note(delivered)
        }
        Ok(())
    }

    fn make(&self, connection: &mut Connection) -> RedisResult<()> {
        let GroupConsumer { stream, group, .. } = &*self.consumer;
        let mut create = redis::cmd("EVAL");
        create.arg(MAKE).arg(1).arg(stream).arg(group).arg(self.from.argument());
        if connection.run(&create)? == redis::Value::Int(1) {
            self.is_made_here.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Returns the last entry that was delivered to this process. Returns `None` if there was none in this stream.
    pub fn seen(&self) -> Option<StreamId> {
        *self.seen.lock()
    }

    /// Whether the group did not exist when this consumer started.
    pub fn is_made_here(&self) -> bool {
        self.is_made_here.load(Ordering::Relaxed)
    }

    /// Records that the group was moved to this position.
    pub fn move_to(&self, position: StreamId) {
        *self.reached.lock() = Some(position);
    }

    /// Records the group's position in another stream, or in an older state of the same one.
    pub fn begin_anew(&self, position: StreamId) {
        self.move_to(position);
        *self.seen.lock() = None;
    }

    fn make_again(&self, connection: &mut Connection, after: StreamId, has_changed: bool) -> RedisResult<()> {
        let GroupConsumer { stream, group, endpoint, .. } = &*self.consumer;
        let mut make = redis::cmd("EVAL");
        make.arg(MAKE_AGAIN).arg(1).arg(stream).arg(group).arg(after.to_string());
        let made = connection.run(&make)?;
        if made != redis::Value::Int(0) {
            *self.reached.lock() = Some(StreamId::default());
            let why = if has_changed || made == redis::Value::Int(2) {
                "and the stream with it: it was deleted, flushed, or set back by a failover or a restart. What it had is \
                 lost (see on_loss)"
            } else {
                "but the stream is there (XGROUP DESTROY, or somebody made the stream again)"
            };
            let message = format!(
                "the consumer group was gone, {why}. It has been made again after {after}, or at the beginning of a \
                 stream that begins anew; events that others had taken and not finished may be delivered again"
            );
            let error = Error::new(ErrorKind::Command(Fate::Unknown), message);
            endpoint.report(error.address(endpoint.connector.address()));
        }
        Ok(())
    }

    /// Records that the entry with this id was delivered to this process.
    pub fn note_entry(&self, id: StreamId) {
        self.note(id);
        raise(&self.seen, id);
    }

    fn note(&self, id: StreamId) {
        raise(&self.reached, id);
    }

    /// Deletes the consumers of dead processes.
    pub fn sweep(&self) -> Result<(), Error> {
        self.delete_consumers(false)
    }

    /// Deletes the consumer of this process, unless it has pending entries that no other consumer has taken yet.
    pub fn leave(&self) -> Result<(), Error> {
        self.delete_consumers(true)
    }

    fn delete_consumers(&self, own_too: bool) -> Result<(), Error> {
        let GroupConsumer { stream, group, name, connections, .. } = &*self.consumer;
        let mut sweep = redis::cmd("EVAL");
        sweep.arg(SWEEP).arg(1).arg(stream).arg(group).arg(name);
        sweep.arg(DEAD_AFTER.as_millis() as u64).arg(u8::from(own_too));
        connections.run(stream, &sweep).map(drop)
    }
}

fn raise(known: &Mutex<Option<StreamId>>, id: StreamId) {
    let mut known = known.lock();
    *known = Some(known.map_or(id, |known| known.max(id)));
}

#[cfg(all(test, feature = "live-tests"))]
mod tests {
    use super::*;
    use crate::foundation::redis::live_server::LiveServer;

    #[test]
    fn a_consumer_with_pending_entries_is_never_deleted() {
        let server = LiveServer::start();
        let run = |text: &str| {
            let mut command = redis::Cmd::new();
            command.arg(text.split(' ').collect::<Vec<_>>());
            server.run(&command)
        };
        run("XGROUP CREATE s g 0 MKSTREAM");
        run("XADD s 1-1 a b");
        run("XREADGROUP GROUP g holding STREAMS s >");
        run("XGROUP CREATECONSUMER s g gone");
        run("XGROUP CREATECONSUMER s g me");
        for (after, own_too, left) in [(60_000, 0, 3), (0, 0, 2), (0, 1, 1)] {
            let mut sweep = redis::cmd("EVAL");
            sweep.arg(SWEEP).arg(1).arg("s").arg("g").arg("me").arg(after).arg(own_too);
            server.run(&sweep);
            let redis::Value::Array(consumers) = run("XINFO CONSUMERS s g") else { panic!() };
            assert_eq!(consumers.len(), left, "after {after} ms, the own one {own_too}");
        }
        let redis::Value::Array(rows) = run("XPENDING s g - + 10 holding") else { panic!() };
        assert_eq!(rows.len(), 1);
    }
}
