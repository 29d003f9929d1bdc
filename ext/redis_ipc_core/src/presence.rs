//! Signs of life, and cleaning up after the dead and after oneself.

use crate::connection::Connection;
use crate::error::Error;
use crate::keys::{self, Keys};
use crate::member::{Member, WITHOUT_HANDLER};
use crate::upkeep;
use redis::{Cmd, RedisResult, Value};
use std::time::{Duration, Instant};

/// How often an instance renews its reply stream and reads Redis's clock: a third of the reply stream's expiry.
pub const RENEWAL: Duration = Duration::from_secs(10);
/// An instance not heard of for this long counts as dead, unless leases are shorter or longer than usual.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// Deletes consumers of the inbox under which nothing is pending: the one named ARGV[2], and with ARGV[3] = 1 those not
/// named among the living (from ARGV[5] on); with ARGV[4] = 1 also an empty inbox without consumers. In a script because
/// a request may arrive between the look and the deletion, and deleting a consumer deletes what is pending under it.
const SWEEP: &str = r"
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then return -1 end
local alive, left = {}, 0
for i = 5, #ARGV do alive[ARGV[i]] = true end
for _, flat in ipairs(consumers) do
  local consumer = {}
  for i = 1, #flat, 2 do consumer[flat[i]] = flat[i + 1] end
  local gone = consumer.name == ARGV[2] or (ARGV[3] == '1' and not alive[consumer.name])
  if gone and consumer.pending == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
  else
    left = left + 1
  end
end
if ARGV[4] == '1' and left == 0 and redis.call('XLEN', KEYS[1]) == 0 then redis.call('DEL', KEYS[1]) end
return left
";

/// Deletes an inbox that is empty and that no group has ever joined: what a call to nobody leaves behind.
const DISCARD: &str = r"
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
if not groups.err and #groups == 0 and redis.call('XLEN', KEYS[1]) == 0 then return redis.call('DEL', KEYS[1]) end
return 0
";

/// One instance that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// Its group.
    pub group: String,
    /// Its name.
    pub instance: String,
    /// Its host's name.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// Its last sign of life, in ms on Redis's clock.
    pub seen: u64,
}

/// How often an instance shows that it is alive.
pub fn heartbeat_interval(member: &Member) -> Duration {
    member.options.consumer.lease.min(RENEWAL)
}

/// After how long without a sign of life an instance counts as dead, and its traces are removed.
pub fn dead_after(member: &Member) -> Duration {
    (heartbeat_interval(member) * 30).clamp(Duration::from_secs(3), DEAD_AFTER)
}

/// Shows that `member` is alive.
pub fn heartbeat(member: &Member) -> Result<(), Error> {
    let reply = member.connections.with(|connection| connection.run(&sign_of_life(member)))?;
    if reply == Value::Int(1) {
        *member.presence_lost.lock() = Some(Instant::now());
    }
    Ok(())
}

/// Whether the own presence had to be shown anew within `time`: that of others may be missing still.
pub fn was_lost(member: &Member, time: Duration) -> bool {
    let lost = *member.presence_lost.lock();
    lost.is_some_and(|at| at.elapsed() < time)
}

fn sign_of_life(member: &Member) -> Cmd {
    let mut add = redis::cmd("ZADD");
    add.arg(member.keys.instances()).arg(member.clock.now()).arg(own_name(member));
    add
}

/// Reads Redis's clock again.
pub fn renew(member: &Member) -> Result<(), Error> {
    member.connections.with(|connection| read_clock(connection, member))
}

/// Shows for the first time that `member` is alive.
pub fn announce(connection: &mut Connection, member: &Member) -> RedisResult<()> {
    connection.run(&sign_of_life(member))?;
    keep_shared(connection, member)
}

/// Gives the keys shared with others their expiry.
fn keep_shared(connection: &mut Connection, member: &Member) -> RedisResult<()> {
    let mut instances = redis::cmd("PEXPIRE");
    instances.arg(member.keys.instances()).arg((DEAD_AFTER * 3).as_millis() as u64);
    let [new, longer] = upkeep::keep_inbox(&member.inbox, member);
    connection.run_all(&[instances, new, longer]).map(drop)
}

/// Reads Redis's clock.
pub fn read_clock(connection: &mut Connection, member: &Member) -> RedisResult<()> {
    let asked = Instant::now();
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query(connection)?;
    member.clock.adjust(seconds * 1_000 + micros / 1_000, asked);
    Ok(())
}

/// Removes the dead: their presence, and their consumers once nothing is pending under them. Renews the shared keys.
pub fn sweep(member: &Member) -> Result<(), Error> {
    member.connections.with(|connection| {
        // Other groups may have longer leases, so their presence is removed only after the longest time.
        let mut remove = redis::cmd("ZREMRANGEBYSCORE");
        remove.arg(member.keys.instances()).arg("-inf").arg(ago(member, DEAD_AFTER));
        connection.run(&remove)?;
        let alive = living_consumers(connection, member, ago(member, dead_after(member)))?;
        let mut sweep = sweep_command(member, "", true, false);
        sweep.arg(alive);
        connection.run(&sweep)?;
        keep_shared(connection, member)
    })
}

fn sweep_command(member: &Member, own: &str, dead_too: bool, last: bool) -> Cmd {
    let mut sweep = redis::cmd("EVAL");
    sweep.arg(SWEEP).arg(1).arg(&member.inbox).arg(&member.group);
    sweep.arg(own).arg(u8::from(dead_too)).arg(u8::from(last));
    sweep
}

/// The names under which instances of the own group take requests that were heard of since `since`.
pub fn living_consumers(
    connection: &mut Connection,
    member: &Member,
    since: u64,
) -> RedisResult<Vec<String>> {
    let own =
        list_since(connection, member, since)?.into_iter().filter(|presence| presence.group == member.group);
    let names =
        own.flat_map(|presence| [format!("{}{WITHOUT_HANDLER}", presence.instance), presence.instance]);
    Ok(names.collect())
}

/// Removes what this instance leaves behind, and the empty inboxes of the groups it asked in vain.
pub fn leave(member: &Member) -> Result<(), Error> {
    let asked = member.take_asked_in_vain();
    member.connections.with(|connection| {
        let commands = [
            redis::cmd("ZREM").arg(member.keys.instances()).arg(own_name(member)).clone(),
            redis::cmd("DEL").arg(&member.replies).clone(),
        ];
        connection.run_all(&commands)?;
        connection.run(&sweep_command(member, &member.consumer, false, true))?;
        for group in &asked {
            let mut discard = redis::cmd("EVAL");
            discard.arg(DISCARD).arg(1).arg(member.keys.inbox(group));
            connection.run(&discard)?;
        }
        Ok(())
    })
}

fn ago(member: &Member, time: Duration) -> u64 {
    member.clock.now().saturating_sub(time.as_millis() as u64)
}

/// Who is alive on the stream.
pub fn list(member: &Member) -> Result<Vec<Presence>, Error> {
    let mut found =
        member.connections.with(|connection| list_since(connection, member, ago(member, DEAD_AFTER)))?;
    let own = ago(member, dead_after(member));
    found.retain(|presence| presence.group != member.group || presence.seen >= own);
    Ok(found)
}

fn list_since(connection: &mut Connection, member: &Member, since: u64) -> RedisResult<Vec<Presence>> {
    let mut range = redis::cmd("ZRANGE");
    range.arg(member.keys.instances()).arg(since).arg("+inf").arg("BYSCORE").arg("WITHSCORES");
    let rows: Vec<(String, u64)> = range.query(connection)?;
    Ok(rows.into_iter().filter_map(|(name, seen)| parse_name(&name, seen)).collect())
}

/// The commands that need it are XAUTOCLAIM's list of deleted ids, and PEXPIRE's NX and GT: in Redis 7.0.
pub fn check_version(connection: &mut Connection) -> RedisResult<()> {
    let Ok(Value::Array(facts)) = connection.run(&redis::cmd("HELLO")) else { return Ok(()) };
    let version = facts.chunks(2).find_map(|pair| match pair {
        [Value::BulkString(name), Value::BulkString(version)] if name == b"version" => {
            Some(String::from_utf8_lossy(version).into_owned())
        }
        _ => None,
    });
    let major = version
        .as_ref()
        .and_then(|version| version.split('.').next())
        .and_then(|major| major.parse::<u32>().ok());
    match (major, version) {
        (Some(major), Some(version)) if major < 7 => Err(redis::RedisError::from((
            redis::ErrorKind::InvalidClientConfig,
            "Redis 7.0 or newer (or Valkey) is needed",
            format!("this server is {version}"),
        ))),
        _ => Ok(()),
    }
}

fn own_name(member: &Member) -> String {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    Keys::member(&member.group, &member.instance, &host, std::process::id())
}

fn parse_name(name: &str, seen: u64) -> Option<Presence> {
    let parts: Vec<&str> = name.split(':').collect();
    let [group, instance, host, pid] = parts.as_slice() else { return None };
    Some(Presence {
        group: keys::decode(group),
        instance: keys::decode(instance),
        host: keys::decode(host),
        pid: pid.parse().ok()?,
        seen,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_instances_read_back() {
        let name = Keys::member("a:b", "7f", "host%1", 42);
        let found = parse_name(&name, 9).unwrap();
        assert_eq!(
            (found.group.as_str(), found.host.as_str(), found.pid, found.seen),
            ("a:b", "host%1", 42, 9)
        );
        assert_eq!(parse_name("a:b", 9), None);
        assert_eq!(parse_name("a:b:c:d", 9), None);
    }
}
