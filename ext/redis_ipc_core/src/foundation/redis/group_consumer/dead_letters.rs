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
use crate::foundation::runtime::incidents::Incident;
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
/// The field that tells which consumers had the entry, as a JSON array, for features that tell it.
pub const HOLDERS: &str = "dead_holders";
/// The field of a letter that was written before its entry was given up on, because the entry may crash its consumer.
pub const SUSPECT: &str = "dead_suspect";

/// The most letters that a search for suspects reads, and how many at a time.
const SEARCHED: usize = 1_000;
const PAGE: usize = 100;
/// How much of each letter is kept in such a search: the added fields.
const SEARCH_ROOM: Room = Room { value: 8 << 10, bytes: 16 << 10, fields: ADDED.len() + 2 };
/// The clock of the node with the letters may differ by this many ms from that of the node with the entries.
const SKEW: u64 = 60_000;

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

/// An entry that is to be kept.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// Its id and its deliveries.
    pub entry: Delivered,
    /// As much of it as was read.
    pub fields: &'a Fields,
    /// Why it is kept.
    pub reason: &'a str,
    /// The consumers that had it, as a JSON array. `None` if the feature does not tell that.
    pub holders: Option<&'a str>,
    /// Whether it is not given up on yet.
    pub is_suspect: bool,
}

impl<'a> Letter<'a> {
    /// Creates the letter of an entry that was given up on.
    pub fn new(entry: Delivered, fields: &'a Fields, reason: &'a str) -> Self {
        Self { entry, fields, reason, holders: None, is_suspect: false }
    }

    fn add_command(&self, key: &str, now: u64) -> Cmd {
        let mut add = redis::cmd("XADD");
        add.arg(key).arg("MAXLEN").arg("~").arg(KEPT).arg("*");
        let [id, why, deliveries, at] = ADDED;
        add.arg(id).arg(self.entry.id.to_string()).arg(why).arg(self.reason);
        add.arg(deliveries).arg(self.entry.deliveries).arg(at).arg(now);
        if let Some(holders) = self.holders {
            add.arg(HOLDERS).arg(holders);
        }
        if self.is_suspect {
            add.arg(SUSPECT).arg(1);
        }
        for (name, value) in self.fields.iter().filter(|(name, _)| !self.is_forged(name)) {
            add.arg(name).arg(value);
        }
        add
    }

    /// Whether an entry brings a field that only this library writes.
    fn is_forged(&self, name: &[u8]) -> bool {
        self.holders.is_some() && [HOLDERS.as_bytes(), SUSPECT.as_bytes()].contains(&name)
    }
}

/// A letter of an entry that may crash its consumers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// The letter's id.
    pub letter: StreamId,
    /// The entry's id.
    pub entry: StreamId,
    /// The consumers that had it, as a JSON array.
    pub holders: String,
}

/// The result of adding letters.
#[derive(Debug, Default)]
pub struct Added {
    /// The ids of the letters.
    pub ids: Vec<StreamId>,
    /// What Redis refused of the rest.
    pub refusal: Option<RedisError>,
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

    /// Adds entries: first the fields [`ADDED`] and those of the feature, then as much of the entry as was read. It
    /// replaces the letters with the ids `outdated`. Then it removes the oldest letters while there are too many, they
    /// use too much memory, or they are too old. If the entries were kept but Redis refused the rest, this returns that
    /// refusal.
    ///
    /// # Errors
    ///
    /// An entry was not kept.
    pub fn add(
        &self,
        letters: &[Letter<'_>],
        outdated: &[StreamId],
        clock: &Clock,
        limits: &Limits,
    ) -> Result<Added, Error> {
        let mut commands: Vec<Cmd> =
            letters.iter().map(|letter| letter.add_command(&self.key, clock.now())).collect();
        if !outdated.is_empty() {
            commands.push(self.delete_command(outdated));
        }
        let keep = limits.keep.as_millis() as u64;
        let mut trim = redis::cmd("XTRIM");
        trim.arg(&self.key).arg("MINID").arg(clock.now().saturating_sub(keep));
        let mut expire = redis::cmd("PEXPIRE");
        expire.arg(&self.key).arg(keep);
        commands.extend([trim, expire]);
        let is_measured = self.is_to_measure(letters, limits.max_size);
        if is_measured {
            commands.push(memory(&self.key));
        }
        self.connections.with(&self.key, |connection| {
            let mut replies = connection.run_all(&commands)?.into_iter().map(refused);
            let ids = replies.by_ref().take(letters.len());
            let ids =
                ids.map(|reply| replies::id(&reply?).ok_or_else(unexpected)).collect::<RedisResult<_>>()?;
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
                rest => Ok(Added { ids, refusal: rest.err() }),
            }
        })
    }

    /// Returns the letters of those among `entries` that may crash their consumers. No letter is older than its entry.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn suspects(&self, entries: &[StreamId]) -> Result<Vec<Suspect>, Error> {
        let Some(oldest) = entries.iter().min() else { return Ok(Vec::new()) };
        let (mut found, mut start) = (Vec::new(), oldest.ms.saturating_sub(SKEW).to_string());
        for _ in 0..SEARCHED / PAGE {
            let mut range = redis::cmd("XRANGE");
            range.arg(&self.key).arg(&start).arg("+").arg("COUNT").arg(PAGE);
            let page = self
                .connections
                .with(&self.key, |connection| connection.run_for_entries(&range, SEARCH_ROOM))?;
            found.extend(page.iter().filter_map(suspect).filter(|suspect| entries.contains(&suspect.entry)));
            match page.last().filter(|_| page.len() == PAGE) {
                Some(last) => start = format!("({}", last.id),
                None => break,
            }
        }
        Ok(found)
    }

    /// Keeps an entry as [`DeadLetters::add`] does, counts it, and reports what Redis refused.
    ///
    /// # Errors
    ///
    /// The entry was not kept. That is reported too.
    pub fn keep(
        &self,
        endpoint: &Endpoint,
        letter: Letter<'_>,
        outdated: &[StreamId],
        limits: &Limits,
    ) -> Result<(), Error> {
        let (added, id) = (self.add(&[letter], outdated, &endpoint.clock, limits), letter.entry.id);
        let added = added.inspect_err(|error| endpoint.report(error.clone().entry(id)))?;
        if let Some(refusal) = added.refusal {
            endpoint.report(endpoint.explain(&refusal, Fate::Unknown).entry(id));
        }
        endpoint.stats.dead_lettered.increment();
        // The reason may hold what an exception says, which is not for everybody.
        let text = format!("{id} (delivery {})", letter.entry.deliveries);
        endpoint.note(Incident::DeadLetter, &text);
        Ok(())
    }

    /// Whether to measure the memory use, now that these letters are added.
    fn is_to_measure(&self, letters: &[Letter<'_>], max_size: u64) -> bool {
        let size = letters.iter().map(|letter| OVERHEAD + letter.fields.size()).sum::<usize>();
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
        let room = room.and_fields(ADDED.len() + 2);
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
        self.run(&self.delete_command(&[id]), replies::is_one)
    }

    /// Deletes letters. Returns whether all of them existed.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn discard_all(&self, ids: &[StreamId]) -> Result<bool, Error> {
        if ids.is_empty() {
            return Ok(true);
        }
        self.run(&self.delete_command(ids), |reply| match reply {
            Value::Int(count) => Some(usize::try_from(count) == Ok(ids.len())),
            _ => None,
        })
    }

    fn delete_command(&self, ids: &[StreamId]) -> Cmd {
        let mut delete = redis::cmd("XDEL");
        delete.arg(&self.key);
        for id in ids {
            delete.arg(id.to_string());
        }
        delete
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

/// Reads a letter of an entry that may crash its consumers. Others are `None`.
fn suspect(letter: &RawEntry) -> Option<Suspect> {
    let fields = letter.fields.as_ref()?;
    fields.get(SUSPECT)?;
    let holders = fields.get(HOLDERS).unwrap_or_default();
    Some(Suspect {
        letter: letter.id,
        entry: StreamId::parse(fields.get(ADDED[0])?)?,
        holders: String::from_utf8_lossy(holders).into_owned(),
    })
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
