//! Adds entries to the stream, or to its partitions, and moves the checkpoint of each.

use crate::error::{Error, ErrorKind, Fate, Place};
use crate::events::backlog::backlog_consumer::BacklogConsumer;
use crate::events::common::forward_options::{ForwardOptions, Naming};
use crate::events::common::in_flight::InFlight;
use crate::events::common::options::ConsumerOptions;
use crate::events::common::recent_ids::ID;
use crate::events::common::streams::{self, Streams};
use crate::events::common::trimming::{self, Trim, Trimmed, Trimmings};
use crate::events::forward::checkpoint::{self, Addition, Checkpoint, Outcome, Position};
use crate::events::forward::entry::{Entries, Entry};
use crate::events::forward::history::History;
use crate::events::wal::log::{Log, LogName};
use crate::events::wal::now_ms;
use crate::events::wal::wal_consumer::WalConsumer;
use crate::foundation::payload::loss::{Cause, Loss};
use crate::foundation::postgres::connection::cell;
use crate::foundation::postgres::pgoutput::lsn::Lsn;
use crate::foundation::redis::client_name::{ClientNames, Purpose};
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::pool::Pool;
use crate::foundation::runtime::news::News;
use crate::foundation::runtime::reports::Report;
use crate::foundation::runtime::stats::Counter;
use redis::{Cmd, Value};
use std::sync::Arc;
use std::time::Duration;

/// The most bytes of entries that one script adds, unless one entry has more. The script blocks Redis meanwhile.
const AT_ONCE: usize = 1 << 20;
/// How often Redis's clock is read. Old entries are trimmed by it.
const CLOCK: Duration = Duration::from_secs(10);
/// How many connections are kept.
const CONNECTIONS: u32 = 4;

/// What was counted since the consumer started.
#[derive(Debug, Default)]
pub struct Counts {
    /// Changes that were added to the stream.
    pub forwarded: Counter,
    /// Changes that were in the stream already.
    pub repeated: Counter,
    /// Entries that were trimmed.
    pub trimmed: Counter,
}

/// What a forwarder needs, and others look at.
pub struct Target {
    /// The log.
    pub wal: WalConsumer,
    /// Redis.
    pub endpoint: Arc<Endpoint>,
    /// The connections to it.
    pub connections: Pool,
    /// Counters.
    pub counts: Counts,
    options: ForwardOptions,
    slot: String,
    trimmings: Trimmings,
    refusals: News,
}

impl Target {
    /// Creates one that has not connected to Redis.
    pub fn new(wal: WalConsumer, options: &ConsumerOptions, forward: ForwardOptions, slot: String) -> Self {
        let names = ClientNames::new(&forward.stream, &slot);
        let endpoint = Arc::new(Endpoint::named(Place::default(), &options.redis, names));
        let connections = Pool::of(Arc::clone(&endpoint.connector), Purpose::Sender, CONNECTIONS);
        Self {
            wal,
            endpoint,
            connections,
            counts: Counts::default(),
            options: forward,
            slot,
            trimmings: Trimmings::default(),
            refusals: News::default(),
        }
    }

    fn tell(&self, loss: Loss) {
        let source = self.wal.source();
        source.counts.losses.increment();
        self.wal.handout().losses.note(&loss);
        source.reports.send(Report::Loss(loss));
    }
}

/// One of the streams.
struct Part {
    stream: String,
    key: String,
    /// What is known to be in the stream.
    known: Option<Checkpoint>,
    /// When it was last seen there, in ms.
    seen_ms: Option<u64>,
}

/// Adds entries, by one thread at a time.
pub struct Forwarder {
    target: Arc<Target>,
    entries: Entries,
    parts: Vec<Part>,
    /// The number of the log of which the checkpoints are.
    settled: Option<u64>,
}

impl Forwarder {
    /// Creates one that knows no checkpoint.
    pub fn new(target: Arc<Target>) -> Self {
        let streams = Streams::new(&target.options.stream, target.options.partitions);
        let part = |stream: &str| Part {
            stream: stream.to_owned(),
            key: checkpoint::key(stream, &target.slot),
            known: None,
            seen_ms: None,
        };
        let parts = streams.iter().map(part).collect();
        let entries = Entries::new(target.options.clone());
        Self { target, entries, parts, settled: None }
    }

    /// Reads the checkpoints.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn look(&self) -> Result<Vec<Option<Checkpoint>>, Error> {
        let held = |part: &Part| {
            let get = checkpoint::get(&part.key);
            self.target.connections.with(&part.key, |connection| checkpoint::read(connection.run(&get)?))
        };
        self.parts.iter().map(held).collect()
    }

    /// Adds the entries of changes that are not in the stream yet. If it fails, it can be called again with the same.
    ///
    /// # Errors
    ///
    /// Redis or PostgreSQL cannot be reached or refuses, or a checkpoint is of another PostgreSQL.
    pub fn write(&mut self, events: &[Arc<InFlight>], namings: &[Naming]) -> Result<(), Error> {
        let log = self.target.wal.log();
        if self.settled != Some(log.number) {
            self.settle(&log)?;
        }
        let unsaid = Naming::default();
        let mut divided: Vec<Vec<Entry>> = self.parts.iter().map(|_| Vec::new()).collect();
        for (index, event) in events.iter().enumerate() {
            // What was read from another log comes again from this one, if it has it.
            if event.transaction.is_some_and(|number| number < log.first) {
                continue;
            }
            let Some(mut entry) = self.entries.make(event, namings.get(index).unwrap_or(&unsaid)) else {
                return Err(Error::new(ErrorKind::Internal, "a change could not be made an entry"));
            };
            if let Some(position) = entry.position {
                let id = checkpoint::id(&self.target.slot, &log.name, position);
                entry.fields.push((ID, id.into_bytes()));
            }
            divided[self.part_of(&entry)].push(entry);
        }
        for (part, entries) in divided.iter().enumerate().filter(|(_, entries)| !entries.is_empty()) {
            for chunk in chunks(entries) {
                self.add(part, chunk, &log.name)?;
            }
        }
        Ok(())
    }

    fn part_of(&self, entry: &Entry) -> usize {
        match self.target.options.partitions {
            Some(partitions) => usize::from(streams::lane(&entry.place, partitions)),
            None => 0,
        }
    }

    fn add(&mut self, part: usize, entries: &[Entry], log: &LogName) -> Result<(), Error> {
        let target = Arc::clone(&self.target);
        let additions: Vec<Addition<'_>> =
            entries.iter().map(|entry| (entry.position, entry.fields.as_slice())).collect();
        loop {
            let part = &mut self.parts[part];
            let known = part.known.as_ref().map(|known| known.position);
            let command = checkpoint::add(&part.stream, &part.key, log, known, &additions);
            let (outcome, trimmed) = send(&target, &part.stream, command, entries.len())?;
            if let Some(trimmed) = trimmed {
                note(&target, &trimmed);
            }
            match outcome {
                Outcome::Added(held, added) => {
                    target.counts.forwarded.add(added);
                    target.counts.repeated.add((entries.len() as u64).saturating_sub(added));
                    part.known = held.or(part.known.take());
                    part.seen_ms = Some(now_ms());
                    return Ok(());
                }
                Outcome::Gone => {
                    let loss = part.loss(&target, Cause::Flushed, None);
                    part.known = None;
                    target.tell(loss);
                }
                Outcome::Back(held) => {
                    let count = part.known.as_ref().map(|known| known.count.saturating_sub(held.count));
                    let loss = part.loss(&target, Cause::RolledBack, count);
                    part.known = Some(held);
                    target.tell(loss);
                }
                Outcome::Other => {
                    self.settled = None;
                    let message = "the checkpoint beside the stream is of another log now";
                    return Err(Error::new(ErrorKind::Command(Fate::NotSent), message));
                }
            }
        }
    }

    /// Finds out what the checkpoints mean in the log that is read now.
    fn settle(&mut self, log: &Log) -> Result<(), Error> {
        // In this order: the end of the log only grows.
        let held = self.look()?;
        let server = self.target.wal.query(|connection| {
            let system = connection.query("IDENTIFY_SYSTEM")?;
            let name = LogName::of(&system);
            let is_first = held.iter().flatten().all(|held| held.log.timeline == log.name.timeline);
            let history = if is_first || name.timeline == 1 {
                History::default()
            } else {
                let rows = connection.query(&format!("TIMELINE_HISTORY {}", name.timeline))?;
                History::read(cell(&rows, 1).unwrap_or_default())
            };
            Ok((name, cell(&system, 2).and_then(Lsn::parse).unwrap_or_default(), history))
        })?;
        let (name, end, history) = server;
        if name != log.name {
            self.target.wal.connect_again();
            let message = "PostgreSQL has another log than the one that is read: it has failed over";
            return Err(Error::new(ErrorKind::Connection(Fate::NotSent), message));
        }
        for (part, held) in held.into_iter().enumerate() {
            self.parts[part].known = match held {
                Some(held) => Some(self.settle_one(part, held, &log.name, end, &history)?),
                None => None,
            };
        }
        self.settled = Some(log.number);
        Ok(())
    }

    fn settle_one(
        &self,
        part: usize,
        held: Checkpoint,
        log: &LogName,
        end: Lsn,
        history: &History,
    ) -> Result<Checkpoint, Error> {
        let (target, part) = (&self.target, &self.parts[part]);
        if held.log.system != log.system {
            let message = format!(
                "the checkpoint {} is one of another PostgreSQL (system {}), so nothing is forwarded: forward to another \
                 stream or from a slot of another name, or delete that key to begin anew here",
                part.key, held.log.system
            );
            return Err(Error::new(ErrorKind::Configuration, message));
        }
        if held.log.timeline > log.timeline {
            // Moved back, it would let changes in again that the stream has from the server that took over.
            let message = format!(
                "the checkpoint {} is one of the time line {}, and this server has the time line {}: another server has taken \
                 over, or this one was restored from an older copy. Nothing is forwarded. To begin anew here, delete that key",
                part.key, held.log.timeline, log.timeline
            );
            return Err(Error::new(ErrorKind::Configuration, message));
        }
        // Up to here the two logs are the same.
        let shared = match held.log.timeline == log.timeline {
            true => Some(end),
            false => history.left(held.log.timeline).map(|left| left.min(end)),
        };
        let is_ahead = shared.is_none_or(|shared| held.position.lsn > shared);
        if !is_ahead && held.log == *log {
            return Ok(held);
        }
        let position = if is_ahead {
            Position { lsn: shared.unwrap_or_default(), index: i64::from(u32::MAX) }
        } else {
            held.position
        };
        let change = checkpoint::change(&part.key, &held, log, position);
        target.connections.run(&part.key, &change)?;
        if is_ahead {
            target.tell(Loss {
                source: target.wal.source().name.clone(),
                node: target.wal.source().address.clone(),
                cause: Cause::RolledBack,
                since_ms: None,
                until_ms: now_ms(),
                at_most: None,
                is_exact: false,
            });
        }
        Ok(Checkpoint { log: log.clone(), position, count: held.count })
    }
}

impl Part {
    /// What the stream is missing that was in it.
    fn loss(&self, target: &Target, cause: Cause, count: Option<u64>) -> Loss {
        Loss {
            source: self.stream.clone(),
            node: target.endpoint.connector.address().to_owned(),
            cause,
            since_ms: None,
            until_ms: self.seen_ms.unwrap_or_else(now_ms),
            at_most: count,
            is_exact: count.is_some(),
        }
    }
}

/// Sends a script, and what trims the stream after it.
fn send(
    target: &Target,
    stream: &str,
    command: Cmd,
    entries: usize,
) -> Result<(Outcome, Option<Trimmed>), Error> {
    let mut commands = vec![command];
    let trim = target.options.trim;
    let is_due = trim != Trim::Nothing && target.trimmings.are_due(stream, entries);
    target.connections.with(stream, |connection| {
        commands.truncate(1);
        if is_due {
            if trim.needs_clock() && target.endpoint.clock.is_due(CLOCK) {
                target.endpoint.clock.read(connection)?;
            }
            commands.extend(trimming::after(stream, trim, target.endpoint.clock.now()));
        }
        let mut replies = connection.run_all(&commands)?;
        let trimmed = if replies.len() > 1 { replies.pop().map(|reply| Trimmed::read(&reply)) } else { None };
        let outcome = Outcome::read(replies.pop().unwrap_or(Value::Nil))?;
        Ok((outcome, trimmed))
    })
}

/// The stream's consumers are told what they miss. Here it is only told why Redis refused.
fn note(target: &Target, trimmed: &Trimmed) {
    target.counts.trimmed.add(trimmed.removed);
    if let Some(why) = &trimmed.refused
        && target.refusals.is_new(why)
    {
        let message = format!("the stream could not be trimmed: {why}");
        target.wal.source().report(Error::new(ErrorKind::Command(Fate::NotSent), message));
    }
}

/// Divides entries into parts of bounded size.
fn chunks(entries: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|entry| {
            let is_first = bytes == 0;
            bytes += entry.fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() + 1;
            is_first || bytes <= AT_ONCE
        });
        let (chunk, others) = rest.split_at(fits.count());
        rest = others;
        (!chunk.is_empty()).then_some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_an_entry_and_is_bounded() {
        let entry =
            |size: usize| Entry { fields: vec![("", vec![0; size])], place: Vec::new(), position: None };
        let sizes = |entries: &[Entry]| chunks(entries).map(<[Entry]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[entry(AT_ONCE * 2), entry(AT_ONCE * 2), entry(1), entry(1)]), [1, 1, 2]);
        assert_eq!(sizes(&[entry(AT_ONCE / 2), entry(AT_ONCE / 3), entry(AT_ONCE / 3)]), [2, 1]);
    }
}
