//! The keys of this instance: makes those that must exist, and gives each its expiry, so that nothing is left of the
//! dead.

use crate::connection::Connection;
use crate::error::Error;
use crate::member::Member;
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

/// How often joining begins anew before it counts as refused.
const ATTEMPTS: usize = 20;

/// Makes the inbox and its group where they are missing; the group starts at the first request, for an asker may
/// have been earlier.
pub fn join_group(connection: &mut Connection, member: &Member) -> RedisResult<()> {
    let mut attempt = 1;
    loop {
        make_group(connection, member)?;
        match enter_group(connection, member) {
            // The last member left just now, and took the empty inbox along.
            Err(error) if matches!(error.code(), Some("ERR" | "NOGROUP")) && attempt < ATTEMPTS => {
                attempt += 1
            }
            other => break other?,
        }
    }
    connection.run_all(&keep_inbox(&member.inbox, member)).map(drop)
}

fn make_group(connection: &mut Connection, member: &Member) -> RedisResult<()> {
    let mut create = redis::cmd("XGROUP");
    create.arg("CREATE").arg(&member.inbox).arg(&member.group).arg("0").arg("MKSTREAM");
    match connection.run(&create) {
        Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
        // Redis looks at its memory first; a group that is there needs none.
        Err(error) if error.code() == Some("OOM") && has_group(connection, member) => Ok(()),
        other => other.map(drop),
    }
}

/// Makes the member known from now on, so that others of the group see whether it serves.
fn enter_group(connection: &mut Connection, member: &Member) -> RedisResult<()> {
    let mut join = redis::cmd("XGROUP");
    join.arg("CREATECONSUMER").arg(&member.inbox).arg(&member.group).arg(&member.consumer);
    match connection.run(&join) {
        Err(error) if error.code() == Some("OOM") => Ok(()),
        other => other.map(drop),
    }
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
