//! The timers of a server: its heartbeat, the take-over from dead servers, and Redis's clock.

use crate::error::{Error, ErrorKind};
use crate::foundation::payload::guarantee::Guarantee;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::link::Link;
use crate::foundation::redis::record::writer::{EVERY, RecordWriter, SOONEST};
use crate::foundation::runtime::handling::Run;
use crate::json_rpc::heartbeat::{Heartbeat, beat};
use crate::json_rpc::in_flight::InFlight;
use crate::json_rpc::instance::{CLOCK_READING, Instance, SETTLED, texts};
use crate::json_rpc::options::ServerOptions;
use crate::json_rpc::portrait::Portrait;
use crate::json_rpc::queue_reader::QueueReader;
use crate::json_rpc::request_queue::RequestQueue;
use crate::json_rpc::watch::{Silent, Watch};
use redis::{RedisResult, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How many requests of a dead server are moved in one step.
const MOVED_AT_ONCE: usize = 100;
/// How long Redis remembers that a request was put back.
pub const REMEMBERED: Duration = Duration::from_secs(86_400);
/// The most dead letters of a queue.
const DEAD_LETTERS: usize = 10_000;
/// The most servers that are checked, those that have been silent for longest first. Any client that may serve can
/// add any number.
const MOST: usize = 10_000;

/// Puts back the requests of a dead server, newest first, so that the oldest is served next. A request that has been
/// put back too often goes to the dead letters.
///
/// This is a script because the server may send a heartbeat in between. Of equal texts only the oldest is counted;
/// otherwise one death would count once for each of them. A request that was given up on is counted from 0 again, in
/// case it is moved back; the entry stays in the counts, which tells its client that the request may have run. The
/// server is forgotten only once no read of its own can wait in Redis any more.
const TAKE_OVER: &str = r"
if redis.call('ZSCORE', KEYS[5], ARGV[1]) ~= ARGV[2] then return {0, {}} end
local moved, given_up = 0, {}
for i = 1, tonumber(ARGV[3]) do
  local text = redis.call('LINDEX', KEYS[1], 0)
  if not text then break end
  local digest = redis.sha1hex(text)
  local oldest = not redis.call('LPOS', KEYS[1], text, 'RANK', 2)
  local count = oldest and redis.call('HINCRBY', KEYS[3], digest, 1) or 0
  if count >= tonumber(ARGV[4]) then
    redis.call('LPOP', KEYS[1])
    redis.call('LPUSH', KEYS[4], text)
    redis.call('LTRIM', KEYS[4], 0, tonumber(ARGV[6]) - 1)
    redis.call('HINCRBY', KEYS[3], digest, -count)
    given_up[#given_up + 1] = text
  else
    redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', 'RIGHT')
    moved = moved + 1
  end
  redis.call('PEXPIRE', KEYS[3], ARGV[5])
end
if ARGV[7] == '1' and redis.call('LLEN', KEYS[1]) == 0 then redis.call('ZREM', KEYS[5], ARGV[1]) end
return {moved, given_up}
";

/// The timers of one server.
pub struct Housekeeper {
    /// The server.
    pub instance: Arc<Instance>,
    /// The requests that it holds.
    pub queue: Arc<RequestQueue>,
    /// Its options.
    pub options: ServerOptions,
    /// Its heartbeats.
    pub heartbeat: Arc<Heartbeat>,
    /// Whether the last check found too many servers to check them all.
    pub flooded: AtomicBool,
    /// Writes the record, also while methods hang.
    pub record: Arc<RecordWriter>,
    /// What the record says.
    pub portrait: Portrait,
    /// Reads the queue, unless that is paused.
    pub queue_reader: Arc<QueueReader>,
}

/// Something that is done again and again.
struct Timer {
    every: Duration,
    due: Instant,
}

impl Timer {
    fn new(every: Duration) -> Self {
        Self { every, due: Instant::now() }
    }

    /// Whether it is due. Then it is due again later.
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.due <= now;
        if is_due {
            self.due = now + self.every;
        }
        is_due
    }
}

/// Reads a reply of `ZRANGE ... WITHSCORES`.
fn scored(reply: Value) -> Vec<(String, Vec<u8>)> {
    let mut texts = texts(reply).into_iter();
    let mut found = Vec::new();
    while let (Some(id), Some(score)) = (texts.next(), texts.next()) {
        found.push((String::from_utf8_lossy(&id).into_owned(), score));
    }
    found
}

impl Housekeeper {
    /// Runs the housekeeper's thread until the server closes.
    pub fn run(&self) {
        let mut link = Link::new(&self.instance.endpoint, self.instance.names.queue(), true);
        while !self.instance.endpoint.stop.is_stopped() {
            if let Err(error) = self.session(&mut link) {
                link.lost(&error);
            }
        }
    }

    fn session(&self, link: &mut Link<'_>) -> RedisResult<()> {
        let mut connection = self.instance.open()?;
        link.up();
        let holds = self.options.guarantee == Guarantee::AtLeastOnce;
        let every = if holds { self.options.lease / 2 } else { CLOCK_READING };
        let (mut watch, mut clock, mut observes) = (Watch::new(self.options.lease), None, false);
        let [mut beats, mut records] = [every, EVERY].map(Timer::new);
        let mut looks = Timer::new(self.options.lease.clamp(SOONEST, EVERY));
        // The first record was written before the threads were started.
        records.is_due();
        while !self.instance.endpoint.stop.is_stopped() {
            if connection.is_gone() {
                connection = self.instance.open()?;
                clock = None;
            }
            if clock.is_none_or(|read: Instant| read.elapsed() >= CLOCK_READING) {
                self.instance.endpoint.clock.read(&mut connection)?;
                clock = Some(Instant::now());
            }
            self.tell_overruns();
            if records.is_due() {
                self.record.end_period(&self.portrait);
                self.obey(self.record.write(&self.portrait, &mut connection), &mut connection)?;
            } else if looks.is_due() {
                self.look_at_slow();
                self.obey(self.record.write_in_trouble(&self.portrait, &mut connection), &mut connection)?;
            }
            if holds && beats.is_due() {
                let asked = Instant::now();
                self.instance.run(&mut connection, &beat(&self.instance, &self.heartbeat))?;
                self.heartbeat.shown(asked);
                watch.reached(Instant::now());
                if observes {
                    self.take_over_from_dead(&mut connection, &mut watch)?;
                }
                observes = !observes;
            }
            let next = records.due.min(looks.due).min(if holds { beats.due } else { records.due });
            self.instance.endpoint.stop.pause(next.saturating_duration_since(Instant::now()));
        }
        // Nothing depends on it: records end by themselves.
        let _ = self.record.remove(&mut connection);
        Ok(())
    }

    /// Ends a read that waits in Redis and would still take a request, if this server is to pause from now on.
    fn obey(&self, is_to_pause: bool, connection: &mut Connection) -> RedisResult<()> {
        if is_to_pause { self.queue_reader.unblock_once(connection) } else { Ok(()) }
    }

    /// Reports the methods that run on after the deadline of their request.
    fn tell_overruns(&self) {
        let clock = &self.instance.endpoint.clock;
        let has_overrun = |held: &Arc<InFlight>| held.has_overrun(|deadline| clock.until(deadline).is_none());
        let overrun = self.portrait.handling.running().into_iter().filter(has_overrun);
        overrun.for_each(|held| self.instance.endpoint.report_overrun(held.number.to_string()));
    }

    /// Has somebody look where the methods are that run for longer than a lease.
    fn look_at_slow(&self) {
        let is_slow = |held: &Arc<InFlight>| held.run(Run::is_to_look) == Some(true);
        let slow = self.portrait.handling.running().into_iter().filter(is_slow);
        slow.for_each(|held| self.instance.endpoint.report_slow(held.number));
    }

    fn take_over_from_dead(&self, connection: &mut Connection, watch: &mut Watch) -> RedisResult<()> {
        let mut range = redis::cmd("ZRANGE");
        range.arg(self.instance.names.servers()).arg(0).arg(MOST).arg("WITHSCORES");
        let asked = Instant::now();
        let mut servers = scored(self.instance.run(connection, &range)?);
        self.report_flood(servers.len() > MOST);
        servers.truncate(MOST);
        let mut silent = watch.observe(servers, asked, Instant::now());
        silent.retain(|dead| dead.id != self.instance.id);
        for dead in self.worth_taking_over(connection, silent)? {
            while self.take_over(connection, &dead)? >= MOVED_AT_ONCE {}
        }
        Ok(())
    }

    /// Reports a flood once, until it is over.
    fn report_flood(&self, is_flooded: bool) {
        if self.flooded.swap(is_flooded, Ordering::SeqCst) || !is_flooded {
            return;
        }
        let message = format!(
            "{:?} has more than {MOST} rows, so servers that died may be noticed late; find out with \
             ZRANGE which client adds them, and remove them with ZREM",
            self.instance.names.servers()
        );
        self.instance.endpoint.report(Error::new(ErrorKind::Malformed, message));
    }

    /// Returns the servers among `silent` that hold requests, or are to be forgotten. The others stay known for a
    /// minute, and every server checks each of them in every lease. So this reads all of their lengths at once.
    fn worth_taking_over(
        &self,
        connection: &mut Connection,
        silent: Vec<Silent>,
    ) -> RedisResult<Vec<Silent>> {
        let length = |dead: &Silent| {
            let mut length = redis::cmd("LLEN");
            length.arg(self.instance.names.processing(&dead.id));
            length
        };
        let lengths = connection.run_all(&silent.iter().map(length).collect::<Vec<_>>())?;
        let silent = silent.into_iter().zip(lengths);
        // A refusal (the slot is moving) says nothing.
        let worth = silent.filter(|(dead, held)| self.takes_nothing(dead) || *held != Value::Int(0));
        Ok(worth.map(|(dead, _)| dead).collect())
    }

    /// Whether no read of this server can wait in Redis any more.
    fn takes_nothing(&self, dead: &Silent) -> bool {
        dead.since >= SETTLED + self.options.lease
    }

    /// Takes over the requests of a dead server. Returns how many were moved.
    fn take_over(&self, connection: &mut Connection, dead: &Silent) -> RedisResult<usize> {
        let names = &self.instance.names;
        let mut script = redis::cmd("EVAL");
        script.arg(TAKE_OVER).arg(5);
        script.arg(names.processing(&dead.id)).arg(names.queue()).arg(names.deliveries());
        script.arg(names.dead()).arg(names.servers());
        script.arg(&dead.id).arg(dead.score.as_slice()).arg(MOVED_AT_ONCE).arg(self.options.max_deliveries);
        script.arg(REMEMBERED.as_millis() as u64).arg(DEAD_LETTERS).arg(u8::from(self.takes_nothing(dead)));
        let reply = match connection.run(&script) {
            Ok(Value::Array(reply)) => reply,
            // The slot is moving, and its keys are on two nodes.
            Err(error) if !matches!(error.code(), Some("ASK" | "TRYAGAIN")) => return Err(error),
            _ => return Ok(0),
        };
        let mut reply = reply.into_iter();
        let moved = match reply.next() {
            Some(Value::Int(moved)) => moved as usize,
            _ => 0,
        };
        let given_up = reply.next().map(texts).unwrap_or_default();
        let count = given_up.len();
        self.instance.endpoint.stats.redelivered.add(moved as u64);
        self.instance.endpoint.stats.dead_lettered.add(count as u64);
        for _ in &given_up {
            let message = format!(
                "a request was given up on after {} deliveries; it is in {}",
                self.options.max_deliveries,
                names.dead()
            );
            self.instance.endpoint.report(Error::new(ErrorKind::DeadLettered, message));
        }
        // When closing, no writer is left to tell the callers. Their timeouts end their calls.
        let _ = self.queue.push_texts(given_up, true);
        Ok(moved + count)
    }
}
