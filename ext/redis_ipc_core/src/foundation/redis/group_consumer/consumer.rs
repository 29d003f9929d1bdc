//! One consumer of a group, and the commands on its pending entries.

use crate::error::Error;
use crate::foundation::payload::fields::Room;
use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::payload::text::Text;
use crate::foundation::redis::connection::{Connection, is_unreadable};
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::pool::Pool;
use crate::foundation::redis::read_size::{self, ReadSize};
use crate::foundation::redis::resp::replies::{self, refused, unexpected};
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::work_queue::{Held, WorkQueue};
use redis::{Cmd, RedisResult, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An idle time in ms that exceeds any lease. An entry with it may be taken at once by any consumer.
pub const AT_ONCE: u64 = 7 * 86_400_000;
/// The most entries in one command.
pub const STEP: usize = 100;
/// The most entries, among those delivered before, that one command fetches.
const FETCHED: usize = 100;

/// A pending entry, and its number of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Its id.
    pub id: StreamId,
    /// How often it has been delivered, the last time included.
    pub deliveries: u32,
}

/// The result of a fetch.
#[derive(Debug, Default)]
pub struct Fetched {
    /// The entries that could be read. Those that were deleted meanwhile are missing.
    pub entries: Vec<RawEntry>,
    /// The entries that break each connection that reads them.
    pub unreadable: Vec<Delivered>,
}

/// Restarts leases after Redis's clock was set back, for whichever consumer holds the entry. Without that a lease
/// that began before the step would last longer by the length of the step. An entry that was claimed in the future
/// has an idle time of 0 ms.
const RESTART: &str = r"
local start = '-'
repeat
  local rows = redis.call('XPENDING', KEYS[1], ARGV[1], start, '+', 1000)
  for _, row in ipairs(rows) do
    if row[3] == 0 then redis.call('XCLAIM', KEYS[1], ARGV[1], row[2], 0, row[1], 'JUSTID') end
    start = '(' .. row[1]
  end
until #rows < 1000
";

/// Makes entries pending under the consumer ARGV[2] that are pending under none. They follow with their delivery counts.
const HOLD_AGAIN: &str = r"
for i = 3, #ARGV, 2 do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1) == 0 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'RETRYCOUNT', ARGV[i + 1], 'FORCE', 'JUSTID')
  end
end
";

/// One consumer of a group of a stream.
pub struct GroupConsumer {
    /// The access to Redis.
    pub endpoint: Arc<Endpoint>,
    /// The connections for everything but the blocking read.
    pub connections: Arc<Pool>,
    /// The stream's key.
    pub stream: String,
    /// The group.
    pub group: Text,
    /// Its own name in the group.
    pub name: Text,
    /// How much of an entry is kept when it is read.
    pub room: Room,
    fetching: Mutex<ReadSize>,
}

impl GroupConsumer {
    /// Creates the consumer `name` of `group`, which reads the stream at the key `stream`.
    pub fn new(
        endpoint: Arc<Endpoint>,
        connections: Arc<Pool>,
        stream: String,
        group: Text,
        name: Text,
        room: Room,
    ) -> Self {
        let fetching = Mutex::new(ReadSize::new(FETCHED));
        Self { endpoint, connections, stream, group, name, room, fetching }
    }

    fn run(&self, command: &Cmd) -> Result<Value, Error> {
        self.connections.run(&self.stream, command)
    }

    /// Reads the clock of the server that has the stream.
    pub fn read_clock(&self) -> Result<(), Error> {
        self.connections.with(&self.stream, |connection| self.endpoint.clock.read(connection))
    }

    /// Renews the leases on `held`.
    pub fn renew(&self, held: &[StreamId]) -> Result<(), Error> {
        if held.is_empty() {
            return Ok(());
        }
        // JUSTID does not change the number of deliveries.
        self.run(&self.claim_command(held, &["JUSTID"])).map(drop)
    }

    /// Records how often held entries have been delivered, this time included, and renews their leases.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn count(&self, entries: &[Delivered]) -> Result<(), Error> {
        let commands: Vec<Cmd> = by_deliveries(entries)
            .iter()
            .map(|(deliveries, ids)| {
                self.claim_command(ids, &["RETRYCOUNT", &deliveries.to_string(), "JUSTID"])
            })
            .collect();
        self.connections.with(&self.stream, |connection| {
            connection.run_all(&commands)?.into_iter().try_for_each(|reply| refused(reply).map(drop))
        })
    }

    /// Acknowledges an entry, and waits until Redis has done so.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn acknowledge(&self, id: StreamId) -> Result<(), Error> {
        self.run(redis::cmd("XACK").arg(&self.stream).arg(&self.group).arg(id.to_string())).map(drop)
    }

    /// Makes held entries pending again where they are not: the group was destroyed and made again.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn hold_again(&self, connection: &mut Connection, held: &[Delivered]) -> RedisResult<()> {
        for page in held.chunks(STEP) {
            let mut hold = redis::cmd("EVAL");
            hold.arg(HOLD_AGAIN).arg(1).arg(&self.stream).arg(&self.group).arg(&self.name);
            for entry in page {
                hold.arg(entry.id.to_string()).arg(entry.deliveries);
            }
            connection.run(&hold)?;
        }
        Ok(())
    }

    /// Makes a finished entry pending again. Any consumer may take it, as if for the first time. Returns false if it
    /// is not in the stream any more.
    pub fn make_pending(&self, id: StreamId) -> Result<bool, Error> {
        let options = ["IDLE", &AT_ONCE.to_string(), "RETRYCOUNT", "0", "FORCE", "JUSTID"];
        let claimed = self.run(&self.claim_command(&[id], &options))?;
        Ok(matches!(claimed, Value::Array(ids) if !ids.is_empty()))
    }

    /// Restarts leases after Redis's clock was set back.
    pub fn restart_leases(&self) -> Result<(), Error> {
        let mut restart = redis::cmd("EVAL");
        restart.arg(RESTART).arg(1).arg(&self.stream).arg(&self.group);
        self.run(&restart).map(drop)
    }

    /// Gives entries back to the group, so that another consumer (or this one) takes them soon. The last delivery does not
    /// count; for an entry that was started, pass one delivery more.
    pub fn release(&self, entries: &[Delivered]) -> Result<(), Error> {
        self.leave(entries)?;
        self.endpoint.stats.released.add(entries.len() as u64);
        Ok(())
    }

    /// Undoes a delivery: any consumer may take the entries at once.
    pub fn leave(&self, entries: &[Delivered]) -> Result<(), Error> {
        if entries.is_empty() {
            return Ok(());
        }
        self.connections.with(&self.stream, |connection| self.leave_on(connection, entries))
    }

    /// Runs [`GroupConsumer::leave`] on this connection.
    pub fn leave_on(&self, connection: &mut Connection, entries: &[Delivered]) -> RedisResult<()> {
        for (deliveries, ids) in by_deliveries(entries) {
            let before = deliveries.saturating_sub(1).to_string();
            let options = ["IDLE", &AT_ONCE.to_string(), "RETRYCOUNT", &before, "JUSTID"];
            connection.run(&self.claim_command(&ids, &options))?;
        }
        Ok(())
    }

    /// Reads entries that are pending under this consumer. Sets the number of deliveries of each as given.
    pub fn fetch(&self, entries: &[Delivered]) -> Result<Fetched, Error> {
        let (mut fetched, mut rest) = (Fetched::default(), entries);
        while let Some(first) = rest.first() {
            let count = self.fetching.lock().count(Instant::now()).min(rest.len());
            let (page, later) = rest.split_at(count);
            let entries = self.on_pooled(|connection| match self.fetch_page(connection, page) {
                // A pooled connection that breaks is replaced by another.
                Err(error) if is_unreadable(&error) => Ok(None),
                entries => entries.map(Some),
            })?;
            if let Some(entries) = entries {
                self.fetching.lock().succeeded(count, count);
                fetched.entries.extend(entries);
                rest = later;
                continue;
            }
            self.fetching.lock().broke(count, Instant::now());
            if self.judge()? {
                fetched.unreadable.push(*first);
                rest = rest.get(1..).unwrap_or_default();
            }
        }
        Ok(fetched)
    }

    /// Whether the first of the entries being fetched is what broke the last connections.
    fn judge(&self) -> Result<bool, Error> {
        read_size::gives_up(&self.fetching, || self.on_pooled(Connection::serves_promptly))
    }

    /// Runs `work` on a pooled connection. If that fails, the cause is not an entry.
    fn on_pooled<T>(&self, work: impl FnMut(&mut Connection) -> RedisResult<T>) -> Result<T, Error> {
        self.connections.with(&self.stream, work).inspect_err(|_| self.fetching.lock().acquit())
    }

    fn fetch_page(&self, connection: &mut Connection, entries: &[Delivered]) -> RedisResult<Vec<RawEntry>> {
        let mut fetched = Vec::with_capacity(entries.len());
        for (deliveries, ids) in by_deliveries(entries) {
            let claim = self.claim_command(&ids, &["RETRYCOUNT", &deliveries.to_string()]);
            fetched.extend(connection.run_for_entries(&claim, self.room)?);
        }
        Ok(fetched)
    }

    fn claim_command(&self, ids: &[StreamId], options: &[&str]) -> Cmd {
        let mut claim = redis::cmd("XCLAIM");
        claim.arg(&self.stream).arg(&self.group).arg(&self.name).arg(0);
        for id in ids {
            claim.arg(id.to_string());
        }
        claim.arg(options);
        claim
    }

    /// Whether the group has an entry that was not renewed for `lease`, or was given back. Otherwise there is nothing
    /// to take over, and the check costs only this one command.
    pub fn is_any_idle(&self, lease: Duration) -> Result<bool, Error> {
        let mut pending = redis::cmd("XPENDING");
        pending.arg(&self.stream).arg(&self.group).arg("IDLE").arg(lease.as_millis() as u64);
        pending.arg("-").arg("+").arg(1);
        Ok(!replies::pending(&self.run(&pending)?).is_empty())
    }

    /// Returns the entries that are pending under this consumer and not held in `queue`.
    pub fn pending_but_held<H: Held<Key = StreamId>>(
        &self,
        connection: &mut Connection,
        queue: &WorkQueue<H>,
    ) -> RedisResult<Vec<Delivered>> {
        let mut rest = self.pending(connection)?;
        rest.retain(|entry| queue.held(entry.id).is_none());
        Ok(rest)
    }

    /// Returns the entries pending under this consumer, without those it gave back: any consumer may take those.
    pub fn pending(&self, connection: &mut Connection) -> RedisResult<Vec<Delivered>> {
        let rows = self.rows(connection)?;
        Ok(rows.into_iter().filter(|row| row.idle < AT_ONCE).map(|row| row.entry).collect())
    }

    /// Returns the entries pending under this consumer.
    fn rows(&self, connection: &mut Connection) -> RedisResult<Vec<Row>> {
        let mut found = Vec::new();
        let mut start = StreamId::default().to_string();
        loop {
            let mut pending = redis::cmd("XPENDING");
            pending.arg(&self.stream).arg(&self.group).arg(&start).arg("+");
            pending.arg(STEP).arg(&self.name);
            let page = page(connection.run(&pending)?).ok_or_else(unexpected)?;
            let next = page.last().filter(|_| page.len() == STEP).map(|row| format!("({}", row.entry.id));
            found.extend(page);
            match next {
                Some(next) => start = next,
                None => return Ok(found),
            }
        }
    }
}

fn by_deliveries(entries: &[Delivered]) -> BTreeMap<u32, Vec<StreamId>> {
    let mut groups: BTreeMap<u32, Vec<StreamId>> = BTreeMap::new();
    for entry in entries {
        groups.entry(entry.deliveries).or_default().push(entry.id);
    }
    groups
}

/// A row of XPENDING.
struct Row {
    entry: Delivered,
    /// The idle time in ms.
    idle: u64,
}

/// Reads rows of XPENDING: id, consumer, idle ms, deliveries.
fn page(value: Value) -> Option<Vec<Row>> {
    let Value::Array(rows) = value else { return None };
    let row = |row: &Value| match row {
        Value::Array(columns) => match columns.as_slice() {
            [id, _, Value::Int(idle), Value::Int(deliveries)] => {
                let entry = Delivered { id: replies::id(id)?, deliveries: *deliveries as u32 };
                Some(Row { entry, idle: (*idle).try_into().unwrap_or(0) })
            }
            _ => None,
        },
        _ => None,
    };
    rows.iter().map(row).collect()
}
