//! Signs of life, and cleaning up after the dead and after oneself.

use crate::error::{Error, ErrorKind};
use crate::foundation::redis::resp::replies::unexpected;
use crate::request_reply::membership::key_expiry;
use crate::request_reply::membership::member::Member;
use crate::request_reply::protocol::keys::{self, Keys};
use redis::{Cmd, Value};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often an instance renews its reply stream and reads Redis's clock: a third of the reply stream's expiry.
pub const RENEWAL: Duration = Duration::from_secs(10);
/// An instance not heard of for this long counts as dead, unless leases are shorter or longer than usual.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// No instance has a longer lease, in ms: a stranger could keep everybody from taking over.
const LONGEST_LEASE: u64 = 86_400_000;
/// A sign of life that lies further ahead is none: it would never end. Redis's clock may be set back by so much.
const AHEAD: Duration = Duration::from_secs(86_400);

/// The most rows of S:instances that are read: whoever may show presence can add any number. An instance that serves
/// has two.
const MOST: usize = 50_000;

/// Deletes consumers of the inbox under which nothing is pending: the one named ARGV[2], and with ARGV[3] = 1 those not
/// named among the living (from ARGV[5] on); with ARGV[4] = 1 also an empty inbox without consumers. In a script
/// because a request may arrive between the look and the deletion, and deleting a consumer deletes what is pending
/// under it.
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
    if show(member)? {
        *member.presence_lost.lock() = Some(Instant::now());
    }
    Ok(())
}

/// Whether the own presence had to be shown anew lately: that of others may be missing still.
fn was_lost(member: &Member) -> bool {
    let lost = *member.presence_lost.lock();
    lost.is_some_and(|at| at.elapsed() < RENEWAL)
}

/// True if it was not there.
fn show(member: &Member) -> Result<bool, Error> {
    let instances = member.keys.instances();
    let mut add = redis::cmd("ZADD");
    add.arg(&instances);
    for name in own_names(member) {
        add.arg(member.clock.now()).arg(name);
    }
    let added = member.connections.with(&instances, |connection| connection.run(&add))?;
    Ok(!matches!(added, Value::Int(0)))
}

/// Looks what the longest lease in the group is. What a dead instance had is its own for as long as it said, too.
pub fn look_at_leases(member: &Member) -> Result<(), Error> {
    let instances = member.keys.instances();
    let range = rows_since(member, ago(member, DEAD_AFTER));
    let names: Vec<Vec<u8>> = member.connections.with(&instances, |connection| connection.query(&range))?;
    let longest = names.iter().filter_map(|name| lease_of(name, &member.group)).max().unwrap_or(0);
    // Where this instance was missing, others are, until they show themselves again; others may stand after the last
    // row that is read.
    let is_incomplete = was_lost(member) || names.len() > MOST;
    let known = if is_incomplete { member.longest_lease.load(Ordering::Relaxed) } else { 0 };
    member.longest_lease.store(longest.max(known), Ordering::Relaxed);
    Ok(())
}

/// The lease in ms that a name in S:instances tells, if it is of an instance of `group`.
fn lease_of(name: &[u8], group: &str) -> Option<u64> {
    let (of, lease) = parse_lease(name)?;
    (keys::decode(of) == group).then_some(lease)
}

/// The encoded group and the lease in ms that a name in S:instances tells.
fn parse_lease(name: &[u8]) -> Option<(&str, u64)> {
    let parts: Vec<&str> = std::str::from_utf8(name).ok()?.split(':').collect();
    let [of, _, _, _, lease] = parts.as_slice() else { return None };
    lease.parse().ok().filter(|lease| *lease <= LONGEST_LEASE).map(|lease| (*of, lease))
}

/// Reads the clock that deadlines count by again: of the server that holds the inbox.
pub fn renew(member: &Member) -> Result<(), Error> {
    member.connections.with(&member.inbox, |connection| member.clock.read(connection))
}

/// Shows for the first time that `member` is alive.
pub fn announce(member: &Member) -> Result<(), Error> {
    show(member)?;
    keep_instances(member)
}

/// Renews the shared key, and removes what nobody would otherwise: signs of life from a far future.
fn keep_instances(member: &Member) -> Result<(), Error> {
    let instances = member.keys.instances();
    let mut keep = redis::cmd("PEXPIRE");
    keep.arg(&instances).arg((DEAD_AFTER * 3).as_millis() as u64);
    let mut remove = redis::cmd("ZREMRANGEBYSCORE");
    remove.arg(&instances).arg(format!("({}", latest(member))).arg("+inf");
    member.connections.with(&instances, |connection| {
        connection.run(&keep)?;
        connection.run(&remove)
    })?;
    Ok(())
}

/// The latest sign of life that can be one, in ms on Redis's clock.
fn latest(member: &Member) -> u64 {
    member.clock.now() + AHEAD.as_millis() as u64
}

/// Removes the dead: their presence, and their consumers once nothing is pending under them. Renews the shared keys.
pub fn sweep(member: &Member) -> Result<(), Error> {
    let instances = member.keys.instances();
    // Other groups may have longer leases, so their presence is removed only after the longest time.
    let mut remove = redis::cmd("ZREMRANGEBYSCORE");
    remove.arg(&instances).arg("-inf").arg(ago(member, DEAD_AFTER));
    member.connections.with(&instances, |connection| connection.run(&remove))?;
    if member.serves {
        sweep_consumers(member)?;
    }
    keep_instances(member)
}

/// Removes the consumers of the dead from the own group, and keeps the inbox.
fn sweep_consumers(member: &Member) -> Result<(), Error> {
    // While there are too many rows to know who is alive, nobody is taken for dead.
    let sweep = list_since(member, ago(member, dead_after(member)))?.map(|living| {
        let own = living.into_iter().filter(|presence| presence.group == member.group);
        let mut sweep = sweep_command(member, "", true, false);
        sweep.arg(own.map(|presence| presence.instance).collect::<Vec<_>>());
        sweep
    });
    member.connections.with(&member.inbox, |connection| {
        if let Some(sweep) = &sweep {
            connection.run(sweep)?;
        }
        connection.run_all(&key_expiry::keep_inbox(&member.inbox, member))
    })?;
    Ok(())
}

fn sweep_command(member: &Member, own: &str, dead_too: bool, last: bool) -> Cmd {
    let mut sweep = redis::cmd("EVAL");
    sweep.arg(SWEEP).arg(1).arg(&member.inbox).arg(&member.group);
    sweep.arg(own).arg(u8::from(dead_too)).arg(u8::from(last));
    sweep
}

/// Removes what this instance leaves behind, and the empty inboxes of the groups it asked in vain.
pub fn leave(member: &Member) -> Result<(), Error> {
    let run = |key: &str, command: &Cmd| member.connections.with(key, |connection| connection.run(command));
    let instances = member.keys.instances();
    run(&instances, redis::cmd("ZREM").arg(&instances).arg(own_names(member)))?;
    run(&member.replies, redis::cmd("DEL").arg(&member.replies))?;
    if member.serves {
        run(&member.inbox, &sweep_command(member, &member.instance, false, true))?;
    }
    for group in member.take_asked_in_vain() {
        let inbox = member.keys.inbox(&group);
        run(&inbox, redis::cmd("EVAL").arg(DISCARD).arg(1).arg(&inbox))?;
    }
    Ok(())
}

fn ago(member: &Member, time: Duration) -> u64 {
    member.clock.now().saturating_sub(time.as_millis() as u64)
}

/// Who is alive on the stream.
///
/// # Errors
///
/// If Redis cannot be asked, or there are more than [`MOST`] rows.
pub fn list(member: &Member) -> Result<Vec<Presence>, Error> {
    let mut found = list_since(member, ago(member, DEAD_AFTER))?.ok_or_else(|| too_many(member))?;
    let own = ago(member, dead_after(member));
    found.retain(|presence| presence.group != member.group || presence.seen >= own);
    Ok(found)
}

/// Reads the rows with a sign of life since `since`, and if there are more than [`MOST`], one more than that.
fn rows_since(member: &Member, since: u64) -> Cmd {
    let mut range = redis::cmd("ZRANGE");
    range.arg(member.keys.instances()).arg(since).arg(latest(member)).arg("BYSCORE");
    range.arg("LIMIT").arg(0).arg(MOST + 1);
    range
}

/// None, told once, if there are more than [`MOST`] rows: those that are left out may be of anybody.
fn list_since(member: &Member, since: u64) -> Result<Option<Vec<Presence>>, Error> {
    let instances = member.keys.instances();
    let mut range = rows_since(member, since);
    range.arg("WITHSCORES");
    let reply = member.connections.with(&instances, |connection| connection.run(&range))?;
    let is_flooded = matches!(&reply, Value::Array(flat) if flat.len() / 2 > MOST);
    tell_once(member, &member.presence_flooded, is_flooded, || too_many(member));
    if is_flooded {
        return Ok(None);
    }
    let rows = rows(&reply).ok_or_else(|| Error::new(ErrorKind::Internal, unexpected().to_string()))?;
    let (known, unreadable): (Vec<_>, Vec<_>) = rows.into_iter().partition(Option::is_some);
    let count = unreadable.len();
    tell_once(member, &member.presence_unreadable, count > 0, || unreadable_rows(member, count));
    Ok(Some(known.into_iter().flatten().collect()))
}

/// Whoever may write here can write anything: that is told once, until it is over.
fn tell_once(member: &Member, told: &AtomicBool, is_so: bool, error: impl FnOnce() -> Error) {
    if !told.swap(is_so, Ordering::SeqCst) && is_so {
        member.reporter.failure(error());
    }
}

fn unreadable_rows(member: &Member, count: usize) -> Error {
    let key = member.keys.instances();
    let message = format!(
        "{count} members of {key:?} are no instances of this protocol, and are skipped; look with ZRANGE, and remove \
         them with ZREM"
    );
    member.error(ErrorKind::Malformed, message, &member.group)
}

fn too_many(member: &Member) -> Error {
    let key = member.keys.instances();
    let message = format!(
        "{key:?} has more than {MOST} rows, so it is not known which instances are alive; look with ZRANGE who adds \
         them, and remove the key with DEL: each instance shows itself again at its next heartbeat"
    );
    member.error(ErrorKind::Malformed, message, &member.group)
}

/// The instances in the reply of ZRANGE with scores: `None` in place of what is not of this protocol.
fn rows(reply: &Value) -> Option<Vec<Option<Presence>>> {
    let Value::Array(flat) = reply else { return None };
    let tells_lease =
        |pair: &&[Value]| matches!(pair, [Value::BulkString(name), _] if parse_lease(name).is_some());
    let row = |pair: &[Value]| match pair {
        [Value::BulkString(name), Value::BulkString(score)] => {
            let score: f64 = std::str::from_utf8(score).ok()?.parse().ok()?;
            // Saturates: a score may be any double.
            parse_name(std::str::from_utf8(name).ok()?, score as u64)
        }
        _ => None,
    };
    Some(flat.chunks(2).filter(|pair| !tells_lease(pair)).map(row).collect())
}

/// What stands for this instance in S:instances. The second name, of an instance that takes requests, tells its lease;
/// it is none that stands for an instance.
fn own_names(member: &Member) -> Vec<String> {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let name = Keys::member(&member.group, &member.instance, &host, std::process::id());
    if !member.serves {
        return vec![name];
    }
    let lease = format!("{name}:{}", member.options.consumer.lease.as_millis());
    vec![name, lease]
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
        assert_eq!(parse_name("a:b:c:d:1", 9), None);
        assert_eq!(parse_name("a:b:c:d", 9), None);
    }

    #[test]
    fn a_lease_is_told_beside_an_instance() {
        let name = format!("{}:3000", Keys::member("a:b", "7f", "host%1", 42));
        assert_eq!(lease_of(name.as_bytes(), "a:b"), Some(3_000));
        assert_eq!(parse_name(&name, 9), None);
        for other in [&Keys::member("a:b", "7f", "host", 42), &format!("{name}0000000"), &name[1..]] {
            assert_eq!(lease_of(other.as_bytes(), "a:b"), None, "{other}");
        }
        assert_eq!(lease_of(b"\xff:i:h:1:2000", "\u{fffd}"), None);
    }

    #[test]
    fn what_is_no_instance_is_skipped_and_any_score_is_read() {
        let row = |name: &[u8], score: &str| {
            [Value::BulkString(name.to_vec()), Value::BulkString(score.as_bytes().to_vec())]
        };
        let flat = [
            row(b"g:i:h:1", "1700000000000.25"),
            row(b"g:i:h:1", "inf"),
            row(b"g:i:h:1", "-1e300"),
            row(b"\xff:i:h:1", "5"),
            row(b"", "5"),
            row(b"g:i:h:1", "x"),
            row(b"g:i:h:1:2000", "5"),
        ]
        .concat();
        let seen = |row: &Option<Presence>| row.as_ref().map(|presence| presence.seen);
        let found: Vec<_> = rows(&Value::Array(flat)).unwrap().iter().map(seen).collect();
        assert_eq!(found, [Some(1_700_000_000_000), Some(u64::MAX), Some(0), None, None, None]);
        assert_eq!(rows(&Value::Nil), None);
        assert_eq!(rows(&Value::Array(vec![Value::Int(1)])), Some(vec![None]));
    }
}
