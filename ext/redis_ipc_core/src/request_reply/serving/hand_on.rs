//! Hands on requests that this instance does not answer, because it closes or has not started them.

use crate::error::Error;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::group_consumer::consumer::{Delivered, STEP};
use crate::request_reply::serving::service::Service;
use redis::{Cmd, RedisResult, Value};

/// Moves the request with the id ARGV[3] to the end of the inbox, where a blocked reader of the group gets it at
/// once. The copy has the same fields and the same deadline (the request is ARGV[5] ms old, if its id does not tell),
/// and with ARGV[4] = 1 also `resent`. The request must be pending under the consumer ARGV[2] and have been delivered
/// once, because a copy starts with a delivery count of 0. Returns 1 if it was moved, 0 if the consumer does not have
/// it any more, and -1 if it cannot be moved.
///
/// This is a script because between the check and the copy the caller may withdraw the request, or another consumer
/// may take it over. Then there must be no copy.
const MOVE: &str = r"
local row = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2])[1]
if not row then return 0 end
if row[4] ~= 1 then return -1 end
local entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'RETRYCOUNT', 1)[1]
if not entry then return 0 end
local fields, has_ttl, resent = entry[2], false, ARGV[4] ~= '1'
if #fields > 128 then return -1 end
local time = redis.call('TIME')
local passed = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(string.match(ARGV[3], '^%d+'))
passed = math.max(passed, tonumber(ARGV[5]))
for i = 1, #fields, 2 do
  if fields[i] == 'ttl' then
    local left = string.match(fields[i + 1], '^%d+$') and tonumber(fields[i + 1]) - passed
    if not left or left <= 0 or left > 1e15 then return -1 end
    fields[i + 1] = string.format('%.0f', left)
    has_ttl = true
  end
  resent = resent or fields[i] == 'resent'
end
if not has_ttl then return -1 end
if not resent then
  fields[#fields + 1] = 'resent'
  fields[#fields + 1] = '1'
end
redis.call('XADD', KEYS[1], '*', unpack(fields))
redis.call('XDEL', KEYS[1], ARGV[3])
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
return 1
";

impl Service {
    /// Hands requests on to the current readers of the inbox. A request that cannot be moved there (it was delivered
    /// before, or this user has no right to `XADD`) is given back with [`GroupConsumer::leave_on`].
    ///
    /// [`GroupConsumer::leave_on`]: crate::foundation::redis::group_consumer::consumer::GroupConsumer::leave_on
    pub(super) fn hand_on(&self, requests: &[Delivered], started: bool) -> Result<(), Error> {
        if requests.is_empty() {
            return Ok(());
        }
        let work = |connection: &mut Connection| self.hand_on_by(connection, requests, started);
        self.consumer.connections.with(&self.consumer.stream, work)
    }

    fn hand_on_by(&self, by: &mut Connection, requests: &[Delivered], started: bool) -> RedisResult<()> {
        let stats = self.stats();
        let (first, mut rest): (Vec<_>, Vec<_>) =
            requests.iter().copied().partition(|request| request.deliveries == 1);
        for page in first.chunks(STEP) {
            let moves: Vec<Cmd> = page.iter().map(|request| self.move_command(request.id, started)).collect();
            for (request, reply) in page.iter().zip(by.run_all(&moves)?) {
                match reply {
                    Value::Int(1) => stats.released.increment(),
                    Value::Int(0) => {}
                    _ => rest.push(*request),
                }
            }
        }
        // A delivery that was started counts.
        rest.iter_mut().for_each(|request| request.deliveries += u32::from(started));
        self.consumer.leave_on(by, &rest)?;
        stats.released.add(rest.len() as u64);
        Ok(())
    }

    fn move_command(&self, id: StreamId, started: bool) -> Cmd {
        let (consumer, age) = (&self.consumer, self.inbox.age_if_ahead(id).unwrap_or_default());
        let mut command = redis::cmd("EVAL");
        command.arg(MOVE).arg(1).arg(&consumer.stream).arg(&consumer.group).arg(&consumer.name);
        command.arg(id.to_string()).arg(u8::from(started)).arg(age.as_millis() as u64);
        command
    }
}
