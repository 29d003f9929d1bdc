//! The keys of this instance: makes those that must exist, and gives each its expiry, so that nothing is left of the
//! dead.

use crate::error::Error;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::resp::replies::{self, refused, unexpected};
use crate::request_reply::membership::member::Member;
use crate::request_reply::protocol::keys;
use redis::{Cmd, RedisResult, Value};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long the reply stream outlives the last sign of life.
const LIFETIME: Duration = Duration::from_secs(30);

/// Makes the reply stream if it is missing (true), so that XADD NOMKSTREAM finds it, and gives it its expiry.
pub fn make_replies(connection: &mut Connection, member: &Member) -> RedisResult<bool> {
    let key = &member.replies;
    if connection.run(&keep_replies(key))? != Value::Int(0) {
        return Ok(false);
    }
    // The way to an empty stream: a group makes it, and is not needed. In one transaction: a connection that broke in
    // between would leave a stream that never expires.
    let group = |word: &str| redis::cmd("XGROUP").arg(word).arg(key).arg("new").clone();
    let replies = connection.run_all(&[
        redis::cmd("MULTI"),
        group("CREATE").arg("$").arg("MKSTREAM").clone(),
        group("DESTROY"),
        keep_replies(key),
        redis::cmd("EXEC"),
    ])?;
    for reply in replies {
        // EXEC says what became of each.
        let Value::Array(results) = refused(reply)? else { continue };
        for result in results {
            match refused(result) {
                // One whose connection broke half-way left its group: here it is destroyed.
                Err(error) if error.code() != Some("BUSYGROUP") => return Err(error),
                _ => {}
            }
        }
    }
    member.replies_made.fetch_add(1, Ordering::SeqCst);
    Ok(true)
}

/// [`make_replies`], on a connection of the pool: without the stream every answer is dropped, so it is looked after
/// wherever that may have happened.
pub fn restore_replies(member: &Member) -> Result<bool, Error> {
    member.connections.with(&member.replies, |connection| make_replies(connection, member))
}

/// Keeps a reply stream for another [`LIFETIME`].
fn keep_replies(key: &str) -> Cmd {
    let mut command = redis::cmd("PEXPIRE");
    command.arg(key).arg(LIFETIME.as_millis() as u64);
    command
}

/// Makes the inbox and the group ARGV[1] where they are missing, and the consumer ARGV[2] in it. The group starts at
/// the first request, for an asker may have been earlier.
///
/// The last delivered id of the group ARGV[3], which nobody reads in, is the last id that the inbox had when the group
/// ARGV[1] was made: it is 0 for the first one, and moves on if that is destroyed and made again. A request that was
/// added later and that the group has not come to yet was delivered to nobody.
///
/// A script because whoever asks in between must not see one without the other, and because the last member that leaves
/// takes an empty inbox along. Returns the groups.
const JOIN: &str = r"
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP', 1, true) then return made end
local since = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[3], made.err and '$' or '0')
if since.err and not made.err then redis.call('XGROUP', 'SETID', KEYS[1], ARGV[3], '$') end
redis.call('XGROUP', 'CREATECONSUMER', KEYS[1], ARGV[1], ARGV[2])
return redis.call('XINFO', 'GROUPS', KEYS[1])
";

/// Makes the inbox again if the last id it gave is ARGV[2], the last possible one: Redis adds nothing to it any more.
/// XSETID does not do, as it respects deleted entries. What is in the inbox keeps its id, and what is pending stays so.
/// Returns 1 if it was made again, 0 if that is not necessary or this user has not the right to look, and -1 if it
/// holds too much for one script; as nothing is added, that passes.
const RENEW_IDS: &str = r"
local inbox, group, last = KEYS[1], ARGV[1], ARGV[2]
local function facts(flat)
  local found = {}
  for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
  return found
end
local stream = redis.pcall('XINFO', 'STREAM', inbox)
if stream.err or facts(stream)['last-generated-id'] ~= last then return 0 end
if redis.call('XLEN', inbox) > tonumber(ARGV[3]) then return -1 end
local groups = redis.call('XINFO', 'GROUPS', inbox)
local pending = redis.call('XPENDING', inbox, group, '-', '+', ARGV[3])
local entries, newest = redis.call('XRANGE', inbox, '-', '+'), '0-0'
redis.call('DEL', inbox)
redis.call('XGROUP', 'CREATE', inbox, group, '0', 'MKSTREAM')
for _, entry in ipairs(entries) do
  -- One with more fields is no request.
  if entry[1] ~= last and #entry[2] <= 128 then
    redis.call('XADD', inbox, entry[1], unpack(entry[2]))
    newest = entry[1]
  end
end
for _, flat in ipairs(groups) do
  local found = facts(flat)
  local id = found['last-delivered-id']
  redis.pcall('XGROUP', 'CREATE', inbox, found.name, '0')
  redis.call('XGROUP', 'SETID', inbox, found.name, id == last and newest or id)
end
for _, row in ipairs(pending) do
  redis.call('XCLAIM', inbox, group, row[2], 0, row[1], 'IDLE', row[3], 'RETRYCOUNT', row[4], 'FORCE', 'JUSTID')
end
return 1
";

/// How much an inbox may hold that is made again.
const MOVED: usize = 1_000;

/// Makes the inbox again (true) if its ids are used up. Whoever may add to it can do that, with an id of its own
/// choice.
pub fn renew_ids(member: &Member) -> Result<bool, Error> {
    let mut renew = redis::cmd("EVAL");
    renew
        .arg(RENEW_IDS)
        .arg(1)
        .arg(&member.inbox)
        .arg(&member.group)
        .arg(StreamId::LAST.to_string())
        .arg(MOVED);
    let reply = member.connections.with(&member.inbox, |connection| {
        let reply = connection.run(&renew)?;
        if reply == Value::Int(1) {
            connection.run_all(&keep_inbox(&member.inbox, member))?;
        }
        Ok(reply)
    })?;
    member.inbox_exhausted.store(reply == Value::Int(-1), Ordering::SeqCst);
    Ok(reply == Value::Int(1))
}

/// Makes the inbox, its group and the member's consumer in it where they are missing.
pub fn join_group(connection: &mut Connection, member: &Member) -> RedisResult<()> {
    let mut join = redis::cmd("EVAL");
    join.arg(JOIN).arg(1).arg(&member.inbox).arg(&member.group).arg(&member.instance);
    join.arg(keys::since(&member.group));
    match connection.run(&join) {
        // Redis looks at its memory first; a group that is there needs none.
        Err(error) if error.code() == Some("OOM") && has_group(connection, member) => {}
        groups => note_group(member, &groups?)?,
    }
    connection.run_all(&keep_inbox(&member.inbox, member)).map(drop)
}

/// Looks when the group was made: another instance may have made it again.
pub fn look_at_group(member: &Member) -> Result<(), Error> {
    let mut groups = redis::cmd("XINFO");
    groups.arg("GROUPS").arg(&member.inbox);
    member.connections.with(&member.inbox, |connection| {
        let groups = connection.run(&groups)?;
        note_group(member, &groups)
    })
}

fn note_group(member: &Member, groups: &Value) -> RedisResult<()> {
    let last_ids = replies::last_delivered(groups).ok_or_else(unexpected)?;
    let made = last_ids.get(&keys::since(&member.group)).copied();
    *member.group_made.lock() = made.unwrap_or_default();
    Ok(())
}

fn has_group(connection: &mut Connection, member: &Member) -> bool {
    connection.run(redis::cmd("XINFO").arg("CONSUMERS").arg(&member.inbox).arg(&member.group)).is_ok()
}

/// Gives an inbox its expiry, and never shortens one that another member with longer deadlines gave it.
pub fn keep_inbox(inbox: &str, member: &Member) -> [Cmd; 2] {
    ["NX", "GT"].map(|condition| {
        let mut expire = redis::cmd("PEXPIRE");
        expire.arg(inbox).arg(member.options.inbox_lifetime().as_millis() as u64).arg(condition);
        expire
    })
}
