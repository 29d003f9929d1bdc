//! The keys of this instance: makes those that must exist, and gives each its expiry, so that nothing is left of the
//! dead.

use crate::connection::Connection;
use crate::error::Error;
use crate::keys;
use crate::member::Member;
use crate::stream_reply::{self, unexpected};
use redis::{Cmd, RedisResult, Value};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long the reply stream outlives the last sign of life.
pub const LIFETIME: Duration = Duration::from_secs(30);

/// Makes the reply stream if it is missing (true), so that XADD NOMKSTREAM finds it, and gives it its expiry.
pub fn make_replies(connection: &mut Connection, member: &Member) -> RedisResult<bool> {
    let key = &member.replies;
    if connection.run(&keep_replies(key))? != Value::Int(0) {
        return Ok(false);
    }
    // The way to an empty stream: a group makes it, and is not needed.
    match connection.run(redis::cmd("XGROUP").arg("CREATE").arg(key).arg("new").arg("$").arg("MKSTREAM")) {
        // Another thread is at it.
        Err(error) if error.code() == Some("BUSYGROUP") => {}
        other => drop(other?),
    }
    connection.run(redis::cmd("XGROUP").arg("DESTROY").arg(key).arg("new"))?;
    connection.run(&keep_replies(key))?;
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

/// Makes the inbox and the group ARGV[1] where they are missing, and the consumer ARGV[2] in it. The group starts at the
/// first request, for an asker may have been earlier.
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

/// Makes the inbox and its group where they are missing, and makes the member known in it, so that others of the group
/// see whether it serves.
pub fn join_group(connection: &mut Connection, member: &Member) -> RedisResult<()> {
    let mut join = redis::cmd("EVAL");
    join.arg(JOIN).arg(1).arg(&member.inbox).arg(&member.group).arg(&member.consumer);
    let since = keys::since(&member.group);
    join.arg(&since);
    match connection.run(&join) {
        // Redis looks at its memory first; a group that is there needs none.
        Err(error) if error.code() == Some("OOM") && has_group(connection, member) => {}
        groups => {
            let last_ids = stream_reply::last_delivered(&groups?).ok_or_else(unexpected)?;
            *member.group_made.lock() = last_ids.get(&since).copied().unwrap_or_default();
        }
    }
    connection.run_all(&keep_inbox(&member.inbox, member)).map(drop)
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
