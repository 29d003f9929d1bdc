//! The inbox of the group. It is created where it or its group is missing, kept from expiring, and its ids are
//! watched.

use crate::error::Error;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::resp::replies::{self, unexpected};
use crate::foundation::runtime::sync::Mutex;
use crate::request_reply::membership::arrivals::{Arrivals, TOLERATED};
use crate::request_reply::membership::instance::Instance;
use crate::request_reply::membership::options::Options;
use crate::request_reply::protocol::keys;
use redis::{Cmd, RedisResult, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Creates the inbox and the group ARGV[1] where they are missing, and the consumer ARGV[2] in it. The group starts
/// at the first request, because a caller may have come earlier.
///
/// The last delivered id of the group ARGV[3], in which nobody reads, is the last id that the inbox had when the
/// group ARGV[1] was created. It is 0 for the first group, and moves on if the group is destroyed and created again.
/// A request that was added later, and that the group has not reached yet, was delivered to nobody.
///
/// This is a script because a caller must not see one group without the other, and because the last member that
/// leaves removes an empty inbox. Returns the groups.
const JOIN: &str = r"
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP', 1, true) then return made end
local since = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[3], made.err and '$' or '0')
if since.err and not made.err then redis.call('XGROUP', 'SETID', KEYS[1], ARGV[3], '$') end
redis.call('XGROUP', 'CREATECONSUMER', KEYS[1], ARGV[1], ARGV[2])
return redis.call('XINFO', 'GROUPS', KEYS[1])
";

/// Creates the inbox again if its last id is ARGV[2], the last possible one, because Redis adds nothing to it any
/// more. XSETID does not work, as it respects deleted entries. The entries keep their ids, and pending ones stay
/// pending. Returns 1 if it was created again, 0 if that is not necessary or this user has no right to check, and -1
/// if it holds too much for one script. As nothing is added, the last case passes.
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

/// The most entries of an inbox that is created again.
const MOVED: usize = 1_000;

/// Reads the last id of the inbox, for [`Arrivals`], from a group that begins there. XINFO STREAM would transfer the
/// last entry as well, however large it is.
const LAST: &str = r"
redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '$')
local groups = redis.call('XINFO', 'GROUPS', KEYS[1])
redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1])
return groups
";

/// The inbox of a group, for one of its serving instances.
pub struct Inbox {
    instance: Arc<Instance>,
    /// The last id that the inbox had when its group was created. It is 0 for the first group.
    group_made: Mutex<StreamId>,
    /// Whether the inbox was seen to have used up its ids.
    exhausted: AtomicBool,
    arrivals: Arrivals,
}

impl Inbox {
    /// Creates the access to the inbox of the group of `instance`.
    pub fn new(instance: Arc<Instance>) -> Self {
        Self {
            instance,
            group_made: Mutex::default(),
            exhausted: AtomicBool::new(false),
            arrivals: Arrivals::default(),
        }
    }

    fn key(&self) -> &str {
        &self.instance.names.inbox
    }

    fn group(&self) -> &str {
        &self.instance.names.group
    }

    /// Creates the inbox, its group and the instance's consumer where they are missing.
    pub fn join(&self, connection: &mut Connection) -> RedisResult<()> {
        let mut join = redis::cmd("EVAL");
        join.arg(JOIN).arg(1).arg(self.key()).arg(self.group()).arg(&self.instance.names.instance_id);
        join.arg(keys::since(self.group()));
        match connection.run(&join) {
            // Redis checks its memory first. A group that exists needs none.
            Err(error) if error.code() == Some("OOM") && self.has_group(connection) => {}
            groups => self.note_group(&groups?)?,
        }
        connection.run_all(&keep(self.key(), &self.instance.options)).map(drop)
    }

    fn has_group(&self, connection: &mut Connection) -> bool {
        connection.run(redis::cmd("XINFO").arg("CONSUMERS").arg(self.key()).arg(self.group())).is_ok()
    }

    /// Reads when the group was created, because another instance may have created it again.
    pub fn check_group(&self) -> Result<(), Error> {
        let mut groups = redis::cmd("XINFO");
        groups.arg("GROUPS").arg(self.key());
        self.instance.connections.with(self.key(), |connection| {
            let groups = connection.run(&groups)?;
            self.note_group(&groups)
        })
    }

    fn note_group(&self, groups: &Value) -> RedisResult<()> {
        let last_ids = replies::last_delivered(groups).ok_or_else(unexpected)?;
        let made = last_ids.get(&keys::since(self.group())).copied();
        *self.group_made.lock() = made.unwrap_or_default();
        Ok(())
    }

    /// Whether the request with this id was there before the group was created. Then an earlier group may have had
    /// it.
    pub fn outlived_group(&self, id: StreamId) -> bool {
        id <= *self.group_made.lock()
    }

    /// Records that an entry with this id was taken.
    pub fn note_taken(&self, id: StreamId) {
        if id == StreamId::LAST {
            self.exhausted.store(true, Ordering::SeqCst);
        }
    }

    /// Whether its ids were seen to be used up.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted.load(Ordering::SeqCst)
    }

    /// Creates the inbox again if its ids are used up. Returns whether it did. A client that may add to the inbox can
    /// use up the ids, by adding an entry with an id of its own choice.
    pub fn renew_ids(&self) -> Result<bool, Error> {
        let mut renew = redis::cmd("EVAL");
        renew.arg(RENEW_IDS).arg(1).arg(self.key()).arg(self.group());
        renew.arg(StreamId::LAST.to_string()).arg(MOVED);
        let reply = self.instance.connections.with(self.key(), |connection| {
            let reply = connection.run(&renew)?;
            if reply == Value::Int(1) {
                connection.run_all(&keep(self.key(), &self.instance.options))?;
            }
            Ok(reply)
        })?;
        self.exhausted.store(reply == Value::Int(-1), Ordering::SeqCst);
        Ok(reply == Value::Int(1))
    }

    /// Returns how long the request with this id has been in the inbox, as far as is known, if its id is ahead of the
    /// clock. Otherwise `None`, because the id itself tells.
    pub fn age_if_ahead(&self, id: StreamId) -> Option<Duration> {
        self.is_ahead(id).then(|| self.arrivals.age(id))
    }

    /// Whether this id is ahead of the clock.
    pub fn is_ahead(&self, id: StreamId) -> bool {
        id.ms > self.instance.endpoint.clock.now().saturating_add(TOLERATED)
    }

    /// Whether ids have been ahead recently, so that [`Inbox::read_last_id`] is needed.
    pub fn is_watched(&self) -> bool {
        self.arrivals.are_watched()
    }

    /// Reads and records the last id of the inbox.
    pub fn read_last_id(&self) -> Result<(), Error> {
        let name = format!("{}:last", self.group());
        let mut look = redis::cmd("EVAL");
        look.arg(LAST).arg(1).arg(self.key()).arg(&name);
        let groups = self.instance.connections.run(self.key(), &look)?;
        if let Some(last) = replies::last_delivered(&groups).and_then(|ids| ids.get(&name).copied()) {
            self.arrivals.note(last);
        }
        Ok(())
    }
}

/// Returns the commands that give an inbox its expiry. They never shorten one that another instance with longer
/// deadlines gave it.
pub fn keep(inbox: &str, options: &Options) -> [Cmd; 2] {
    ["NX", "GT"].map(|condition| {
        let mut expire = redis::cmd("PEXPIRE");
        expire.arg(inbox).arg(options.inbox_lifetime().as_millis() as u64).arg(condition);
        expire
    })
}
