//! Entries that a group has given up on. They are kept in a stream of their own, with the reason.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::payload::fields::{Fields, Room};
use crate::foundation::payload::option_reader::OptionReader;
use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::clock::Clock;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::group_consumer::consumer::Delivered;
use crate::foundation::redis::pool::Pool;
use crate::foundation::redis::resp::replies::{self, refused, unexpected};
use redis::{Cmd, ErrorKind as RedisErrorKind, RedisError, RedisResult, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The most dead letters of a group. The oldest are removed first. Without a bound, any client that may add requests
/// could fill Redis.
const KEPT: usize = 10_000;
/// Redis is asked for the memory use of the letters when they have grown by this share of the limit. It measures each
/// letter, which takes 0.5 ms for 10,000 letters of 12 kB.
const SHARE: u64 = 128;
/// The estimated size of a letter beside its fields, in bytes.
const OVERHEAD: usize = 256;
const DAY: Duration = Duration::from_secs(86_400);

/// The fields that a dead letter has before those of its entry.
pub const ADDED: [&str; 4] = ["dead_id", "dead_reason", "dead_deliveries", "dead_at"];

/// Limits on what is kept.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long a dead letter is kept.
    pub keep: Duration,
    /// The most bytes of memory that Redis uses for all letters of a group. The oldest are removed first.
    pub max_size: u64,
}

impl Limits {
    /// Reads the section `dead_letters` of the options.
    ///
    /// # Errors
    ///
    /// An option is unknown, or has a value that it cannot have.
    pub fn parse(mut section: OptionReader) -> Result<Self, Error> {
        let limits = Self {
            keep: section.seconds("keep", 3_650 * DAY)?.unwrap_or(7 * DAY).max(Duration::from_millis(1)),
            max_size: section.integer("max_size", 1..=1 << 40)?.unwrap_or(128 << 20),
        };
        section.finish()?;
        Ok(limits)
    }
}

/// The dead letters of one group.
pub struct DeadLetters {
    connections: Arc<Pool>,
    key: String,
    unmeasured: AtomicU64,
}

impl DeadLetters {
    /// Creates the access to the dead letters in the stream at `key`.
    pub fn new(connections: Arc<Pool>, key: String) -> Self {
        // This value makes the first letter trigger a measurement.
        Self { connections, key, unmeasured: AtomicU64::new(u64::MAX / 2) }
    }

    /// Adds an entry: first the fields [`ADDED`], then as much of the entry as was read. Then it removes the oldest
    /// letters while there are too many, they use too much memory, or they are too old. If the entry was kept but
    /// Redis refused the rest, this returns that refusal.
    ///
    /// # Errors
    ///
    /// The entry was not kept.
    pub fn add(
        &self,
        entry: Delivered,
        fields: &Fields,
        reason: &str,
        clock: &Clock,
        limits: &Limits,
    ) -> Result<Option<RedisError>, Error> {
        let mut add = redis::cmd("XADD");
        add.arg(&self.key).arg("MAXLEN").arg("~").arg(KEPT).arg("*");
        let [id, why, deliveries, at] = ADDED;
        add.arg(id).arg(entry.id.to_string()).arg(why).arg(reason);
        add.arg(deliveries).arg(entry.deliveries).arg(at).arg(clock.now());
        for (name, value) in fields.iter() {
            add.arg(name).arg(value);
        }
        let keep = limits.keep.as_millis() as u64;
        let mut trim = redis::cmd("XTRIM");
        trim.arg(&self.key).arg("MINID").arg(clock.now().saturating_sub(keep));
        let mut expire = redis::cmd("PEXPIRE");
        expire.arg(&self.key).arg(keep);
        let mut commands = vec![add, trim, expire];
        let is_measured = self.is_to_measure(fields, limits.max_size);
        if is_measured {
            commands.push(memory(&self.key));
        }
        self.connections.with(&self.key, |connection| {
            let mut replies = connection.run_all(&commands)?.into_iter().map(refused);
            replies.next().transpose()?;
            let rest = replies.collect::<RedisResult<Vec<_>>>().and_then(|rest| {
                let used = rest.last().filter(|_| is_measured).map_or(0, number);
                // This leaves free what may be added before the next measurement.
                shrink(connection, &self.key, used, limits.max_size - limits.max_size / SHARE)
            });
            match rest {
                Err(error)
                    if !matches!(error.kind(), RedisErrorKind::Server(_) | RedisErrorKind::Extension) =>
                {
                    Err(error)
                }
                rest => Ok(rest.err()),
            }
        })
    }

    /// Keeps an entry as [`DeadLetters::add`] does, counts it, and reports what Redis refused.
    ///
    /// # Errors
    ///
    /// The entry was not kept. That is reported too.
    pub fn keep(
        &self,
        endpoint: &Endpoint,
        entry: Delivered,
        fields: &Fields,
        reason: &str,
        limits: &Limits,
    ) -> Result<(), Error> {
        let kept = self.add(entry, fields, reason, &endpoint.clock, limits);
        let refusal = kept.inspect_err(|error| endpoint.report(error.clone().entry(entry.id)))?;
        if let Some(refusal) = refusal {
            endpoint.report(endpoint.explain(&refusal, Fate::Unknown).entry(entry.id));
        }
        endpoint.stats.dead_lettered.increment();
        Ok(())
    }

    /// Whether to measure the memory use, now that a letter with these fields is added.
    fn is_to_measure(&self, fields: &Fields, max_size: u64) -> bool {
        let size = OVERHEAD + fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        let unmeasured = self.unmeasured.fetch_add(size as u64, Ordering::Relaxed) + size as u64;
        let is_due = unmeasured >= max_size / SHARE;
        if is_due {
            self.unmeasured.store(0, Ordering::Relaxed);
        }
        is_due
    }

    /// Returns up to `count` letters after the id `after`, the oldest first. `room` limits how much of an entry is
    /// kept when it is read.
    pub fn page(&self, after: Option<StreamId>, count: usize, room: Room) -> Result<Vec<RawEntry>, Error> {
        let start = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
        let mut range = redis::cmd("XRANGE");
        range.arg(&self.key).arg(start).arg("+").arg("COUNT").arg(count);
        self.entries(&range, room)
    }

    /// Returns the letter with this id. `None` if it does not exist any more.
    pub fn find(&self, id: StreamId, room: Room) -> Result<Option<RawEntry>, Error> {
        let mut find = redis::cmd("XRANGE");
        find.arg(&self.key).arg(id.to_string()).arg(id.to_string());
        self.entries(&find, room).map(|found| found.into_iter().next())
    }

    fn entries(&self, range: &Cmd, room: Room) -> Result<Vec<RawEntry>, Error> {
        let room = room.and_fields(ADDED.len());
        self.connections.with(&self.key, |connection| connection.run_for_entries(range, room))
    }

    /// Returns how many letters there are.
    pub fn count(&self) -> Result<u64, Error> {
        self.run(redis::cmd("XLEN").arg(&self.key), |reply| match reply {
            Value::Int(count) => u64::try_from(count).ok(),
            _ => None,
        })
    }

    /// Deletes a letter. Returns false if it did not exist any more.
    pub fn discard(&self, id: StreamId) -> Result<bool, Error> {
        let mut delete = redis::cmd("XDEL");
        delete.arg(&self.key).arg(id.to_string());
        self.run(&delete, replies::is_one)
    }

    /// Adds the entry of a letter to `stream` by the command `add`, runs `then`, and deletes the letter. Of concurrent
    /// calls exactly one succeeds; the others take their copy back and return false.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn move_to(&self, stream: &str, id: StreamId, add: &Cmd, then: &[Cmd]) -> Result<bool, Error> {
        let reply = self.connections.run(stream, add)?;
        let added = replies::id(&reply).ok_or_else(no_such_reply)?;
        for command in then {
            self.connections.run(stream, command)?;
        }
        if self.discard(id)? {
            return Ok(true);
        }
        self.connections.run(stream, redis::cmd("XDEL").arg(stream).arg(added.to_string()))?;
        Ok(false)
    }

    fn run<T>(&self, command: &Cmd, read: impl FnOnce(Value) -> Option<T>) -> Result<T, Error> {
        let reply = self.connections.run(&self.key, command)?;
        read(reply).ok_or_else(no_such_reply)
    }
}

/// Removes the oldest letters until the key uses at most `most` bytes. The newest letter stays.
fn shrink(connection: &mut Connection, key: &str, mut used: u64, most: u64) -> RedisResult<()> {
    while used > most {
        let letters = number(&connection.run(redis::cmd("XLEN").arg(key))?);
        if letters <= 1 {
            break;
        }
        let share = (u128::from(letters) * u128::from(most) / u128::from(used)) as u64;
        connection.run(redis::cmd("XTRIM").arg(key).arg("MAXLEN").arg(share.clamp(1, letters - 1)))?;
        used = number(&connection.run(&memory(key))?);
    }
    Ok(())
}

fn no_such_reply() -> Error {
    Error::new(ErrorKind::Internal, unexpected().to_string())
}

fn memory(key: &str) -> Cmd {
    let mut memory = redis::cmd("MEMORY");
    memory.arg("USAGE").arg(key).arg("SAMPLES").arg(0);
    memory
}

fn number(reply: &Value) -> u64 {
    match reply {
        Value::Int(number) => u64::try_from(*number).unwrap_or_default(),
        _ => 0,
    }
}
