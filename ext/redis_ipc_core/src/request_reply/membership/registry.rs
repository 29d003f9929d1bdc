//! The living instances of a stream. It shows that this instance is alive, and removes the traces of dead instances
//! and of itself.

use crate::error::{Error, ErrorKind};
use crate::foundation::redis::resp::replies::unexpected;
use crate::foundation::runtime::sync::Mutex;
use crate::request_reply::membership::inbox;
use crate::request_reply::membership::instance::Instance;
use crate::request_reply::membership::presence::{self, DEAD_AFTER, Presence, RENEWAL};
use redis::{Cmd, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A heartbeat that lies further ahead is not valid, because it would never expire. Redis's clock may be set back by
/// this much.
const AHEAD: Duration = Duration::from_secs(86_400);
/// The most rows of S:instances that are read, because any client that may show presence can add any number. A
/// serving instance has two rows.
const MOST: usize = 50_000;

/// Deletes consumers of the inbox without pending entries: the one named ARGV[2], and with ARGV[3] = 1 those not
/// named among the living (from ARGV[5] on). With ARGV[4] = 1 it also deletes an empty inbox without consumers.
///
/// This is a script because a request may arrive between the check and the deletion, and deleting a consumer deletes
/// its pending entries.
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

/// The living instances of a stream, as one of them sees them.
pub struct Registry {
    instance: Arc<Instance>,
    /// The lease of this instance. `None` if it only makes calls.
    lease: Option<Duration>,
    /// When a heartbeat last found that this instance was missing among the living.
    lost: Mutex<Option<Instant>>,
    /// Whether an entry among the living could not be read the last time.
    unreadable: AtomicBool,
    /// Whether there were too many entries among the living to read them all.
    flooded: AtomicBool,
    /// The longest known lease in ms of an instance of the group.
    longest_lease: AtomicU64,
}

impl Registry {
    /// Creates the registry of `instance`, which takes requests if it `serves`.
    pub fn new(instance: Arc<Instance>, serves: bool) -> Self {
        Self {
            lease: serves.then_some(instance.options.consumer.lease),
            instance,
            lost: Mutex::default(),
            unreadable: AtomicBool::new(false),
            flooded: AtomicBool::new(false),
            longest_lease: AtomicU64::new(0),
        }
    }

    fn key(&self) -> String {
        self.instance.names.keys.instances()
    }

    fn run(&self, key: &str, command: &Cmd) -> Result<Value, Error> {
        self.instance.connections.run(key, command)
    }

    /// Returns how often an instance sends a heartbeat.
    pub fn heartbeat_interval(&self) -> Duration {
        presence::heartbeat_interval(self.instance.options.consumer.lease)
    }

    /// Returns after how long without a heartbeat an instance counts as dead, and its traces are removed.
    pub fn dead_after(&self) -> Duration {
        presence::dead_after(self.instance.options.consumer.lease)
    }

    /// Sends the first heartbeat of this instance.
    pub fn announce(&self) -> Result<(), Error> {
        self.show()?;
        self.keep()
    }

    /// Sends a heartbeat.
    pub fn heartbeat(&self) -> Result<(), Error> {
        if self.show()? {
            *self.lost.lock() = Some(Instant::now());
        }
        Ok(())
    }

    /// Writes the presence. Returns true if it was missing.
    fn show(&self) -> Result<bool, Error> {
        let key = self.key();
        let mut add = redis::cmd("ZADD");
        add.arg(&key);
        for name in presence::names_of(&self.instance.names, self.lease) {
            add.arg(self.instance.endpoint.clock.now()).arg(name);
        }
        Ok(!matches!(self.run(&key, &add)?, Value::Int(0)))
    }

    /// Whether this instance's presence was missing recently. That of other instances may be missing still.
    fn was_lost(&self) -> bool {
        let lost = *self.lost.lock();
        lost.is_some_and(|at| at.elapsed() < RENEWAL)
    }

    /// Returns the lease by which other instances of the group are judged: the longest one, because each instance
    /// renews the leases of its requests as often as its own lease requires. A dead instance keeps its requests for
    /// its own lease, too.
    pub fn group_lease(&self) -> Result<Duration, Error> {
        let range = self.rows_since(self.ago(DEAD_AFTER));
        let names: Vec<Vec<u8>> =
            self.instance.connections.with(&self.key(), |connection| connection.query(&range))?;
        let group = &self.instance.names.group;
        let longest = names.iter().filter_map(|name| presence::lease_of(name, group)).max().unwrap_or(0);
        // If this instance was missing, others are missing until they show themselves again. Others may also be
        // behind the last row that is read.
        let is_incomplete = self.was_lost() || names.len() > MOST;
        let known = if is_incomplete { self.longest_lease.load(Ordering::Relaxed) } else { 0 };
        let longest = longest.max(known);
        self.longest_lease.store(longest, Ordering::Relaxed);
        Ok(Duration::from_millis(longest).max(self.instance.options.consumer.lease))
    }

    /// Renews the shared key, and removes heartbeats from a far future, which would never expire.
    fn keep(&self) -> Result<(), Error> {
        let key = self.key();
        let mut keep = redis::cmd("PEXPIRE");
        keep.arg(&key).arg((DEAD_AFTER * 3).as_millis() as u64);
        let mut remove = redis::cmd("ZREMRANGEBYSCORE");
        remove.arg(&key).arg(format!("({}", self.latest())).arg("+inf");
        self.run(&key, &keep)?;
        self.run(&key, &remove).map(drop)
    }

    /// Returns the latest valid time of a heartbeat, in ms on Redis's clock.
    fn latest(&self) -> u64 {
        self.instance.endpoint.clock.now() + AHEAD.as_millis() as u64
    }

    fn ago(&self, time: Duration) -> u64 {
        self.instance.endpoint.clock.now().saturating_sub(time.as_millis() as u64)
    }

    /// Removes the dead: their presence, and their consumers once those have no pending entries. It also renews the
    /// shared keys.
    pub fn sweep(&self) -> Result<(), Error> {
        let key = self.key();
        // Other groups may have longer leases, so their presence is removed only after the longest time.
        let mut remove = redis::cmd("ZREMRANGEBYSCORE");
        remove.arg(&key).arg("-inf").arg(self.ago(DEAD_AFTER));
        self.run(&key, &remove)?;
        if self.lease.is_some() {
            self.sweep_consumers()?;
        }
        self.keep()
    }

    /// Removes the consumers of dead instances from the own group, and keeps the inbox from expiring.
    fn sweep_consumers(&self) -> Result<(), Error> {
        let names = &self.instance.names;
        // While there are too many rows to know all living instances, no instance is taken for dead.
        let sweep = self.list_since(self.ago(self.dead_after()))?.map(|living| {
            let own = living.into_iter().filter(|presence| presence.group == *names.group);
            let mut sweep = self.sweep_command("", true, false);
            sweep.arg(own.map(|presence| presence.instance).collect::<Vec<_>>());
            sweep
        });
        self.instance.connections.with(&names.inbox, |connection| {
            if let Some(sweep) = &sweep {
                connection.run(sweep)?;
            }
            connection.run_all(&inbox::keep(&names.inbox, &self.instance.options)).map(drop)
        })
    }

    fn sweep_command(&self, own: &str, dead_too: bool, last: bool) -> Cmd {
        let names = &self.instance.names;
        let mut sweep = redis::cmd("EVAL");
        sweep.arg(SWEEP).arg(1).arg(&names.inbox).arg(&names.group);
        sweep.arg(own).arg(u8::from(dead_too)).arg(u8::from(last));
        sweep
    }

    /// Removes the traces of this instance.
    pub fn leave(&self) -> Result<(), Error> {
        let (key, names) = (self.key(), &self.instance.names);
        self.run(&key, redis::cmd("ZREM").arg(&key).arg(presence::names_of(names, self.lease)))?;
        self.run(&names.replies, redis::cmd("DEL").arg(&names.replies))?;
        if self.lease.is_some() {
            self.run(&names.inbox, &self.sweep_command(&names.instance_id, false, true))?;
        }
        Ok(())
    }

    /// Returns the living instances of the stream.
    ///
    /// # Errors
    ///
    /// Redis cannot be asked, or there are more than [`MOST`] rows.
    pub fn list(&self) -> Result<Vec<Presence>, Error> {
        let mut found = self.list_since(self.ago(DEAD_AFTER))?.ok_or_else(|| self.too_many())?;
        let own = self.ago(self.dead_after());
        found.retain(|presence| presence.group != *self.instance.names.group || presence.seen >= own);
        Ok(found)
    }

    /// Returns the instances of the stream that have shown themselves within a minute, alive or not.
    ///
    /// # Errors
    ///
    /// Redis cannot be asked, or there are more than [`MOST`] rows.
    pub fn recent(&self) -> Result<Vec<Presence>, Error> {
        self.list_since(self.ago(DEAD_AFTER))?.ok_or_else(|| self.too_many())
    }

    /// Reads the rows with a heartbeat since `since`. If there are more than [`MOST`], it reads one more than that.
    fn rows_since(&self, since: u64) -> Cmd {
        let mut range = redis::cmd("ZRANGE");
        range.arg(self.key()).arg(since).arg(self.latest()).arg("BYSCORE");
        range.arg("LIMIT").arg(0).arg(MOST + 1);
        range
    }

    /// Returns the living instances. Returns `None`, and reports it once, if there are more than [`MOST`] rows: the
    /// rows beyond may belong to any instance.
    fn list_since(&self, since: u64) -> Result<Option<Vec<Presence>>, Error> {
        let mut range = self.rows_since(since);
        range.arg("WITHSCORES");
        let reply = self.run(&self.key(), &range)?;
        let is_flooded = matches!(&reply, Value::Array(flat) if flat.len() / 2 > MOST);
        self.report_once(&self.flooded, is_flooded, || self.too_many());
        if is_flooded {
            return Ok(None);
        }
        let rows = presence::rows(&reply)
            .ok_or_else(|| Error::new(ErrorKind::Internal, unexpected().to_string()))?;
        let (known, unreadable): (Vec<_>, Vec<_>) = rows.into_iter().partition(Option::is_some);
        let count = unreadable.len();
        self.report_once(&self.unreadable, count > 0, || self.unreadable_rows(count));
        Ok(Some(known.into_iter().flatten().collect()))
    }

    /// Reports a condition once, until it is over. Any client that may write here can cause it.
    fn report_once(&self, reported: &AtomicBool, is_so: bool, error: impl FnOnce() -> Error) {
        if !reported.swap(is_so, Ordering::SeqCst) && is_so {
            self.instance.endpoint.report(error());
        }
    }

    fn unreadable_rows(&self, count: usize) -> Error {
        let key = self.key();
        let message = format!(
            "{count} members of {key:?} are not instances of this protocol, and are skipped; look with ZRANGE, and \
             remove them with ZREM"
        );
        self.instance.endpoint.locate(Error::new(ErrorKind::Malformed, message))
    }

    fn too_many(&self) -> Error {
        let key = self.key();
        let message = format!(
            "{key:?} has more than {MOST} rows, so it is not known which instances are alive; find out \
             with ZRANGE which client adds them, and remove the key with DEL: each instance shows itself again at its \
             next heartbeat"
        );
        self.instance.endpoint.locate(Error::new(ErrorKind::Malformed, message))
    }
}
