//! One subscription at one server, over any number of connections.

use crate::foundation::net::address::Address;
use crate::foundation::net::socket::Socket;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::{Connection, Tend};
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::link::is_refusal;
use crate::foundation::redis::read_cancel::ReadCancel;
use crate::foundation::redis::resp::push::{Push, PushKind};
use crate::foundation::redis::resp::replies::unexpected;
use crate::foundation::redis::subscription::counters::{Count, Counters};
use crate::foundation::redis::subscription::sampler::{self, Sampler};
use crate::foundation::redis::subscription::spot::Spot;
use crate::foundation::redis::subscription::topics::{TopicKind, Topics};
use crate::foundation::redis::subscription::window::{Known, Window};
use crate::foundation::runtime::news::News;
use crate::foundation::runtime::stop::Stop;
use redis::{RedisError, RedisResult};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a PING is sent, and the server's counters are read; these half as often while nothing comes.
const BEAT: Duration = Duration::from_secs(1);

/// What a thread that reads messages does before it waits for more: it hands on what it has. Returns true if it had to
/// wait for room.
pub type HandOn<'a> = &'a mut dyn FnMut() -> bool;

/// What is done on a new connection before it subscribes.
pub type Prepare<'a> = &'a dyn Fn(&mut Connection) -> RedisResult<()>;

/// One subscription at one server. One thread owns it.
pub struct Subscriber {
    endpoint: Arc<Endpoint>,
    topics: Topics,
    spot: Spot,
    route: Route,
    /// How often it has tried to connect in vain.
    turn: usize,
    /// The most bytes of a payload that are kept.
    room: usize,
    connection: Option<Connection>,
    push: Push,
    pulse: Pulse,
    /// Ends a read from another thread.
    pub read_cancel: Arc<ReadCancel>,
}

/// The signs of life of the server, and what they prove.
struct Pulse {
    endpoint: Arc<Endpoint>,
    route: Route,
    sampler: Sampler,
    /// How long the answer to a PING may take, where nothing else arrives meanwhile.
    patience: Duration,
    known: Option<Known>,
    /// What is known once the next PING is answered, where that is later (see [`Topics::is_late`]).
    late: Option<Known>,
    is_late: bool,
    /// The counters of the server that it is connected to, read on the same connection.
    own: Option<Counters>,
    /// The PING that is not answered yet, and what is known once it is.
    asked: Option<(u64, Instant, Known)>,
    number: u64,
    beaten: Instant,
    heard: Instant,
    was_full: bool,
    has_moved: bool,
    /// Whether the last PING was sent without new counters.
    has_skipped: bool,
    /// How many messages the server had got from other nodes before it was subscribed at. `None` if that is not known.
    relayed: Option<u64>,
    /// Whether other nodes may send it messages, which it does not count.
    has_relays: bool,
    /// Up to where it is certain that everything was received, in ms since 1970.
    proved: Arc<AtomicU64>,
    news: News,
}

impl Subscriber {
    /// Creates one without a connection.
    pub fn new(endpoint: &Arc<Endpoint>, topics: Topics, spot: Spot, room: usize) -> Self {
        let route = Route::Server;
        let pulse = Pulse {
            endpoint: Arc::clone(endpoint),
            route: route.clone(),
            sampler: Sampler::new(Arc::clone(&endpoint.connector)),
            patience: endpoint.connector.read_timeout(),
            known: None,
            late: None,
            is_late: topics.is_late,
            own: None,
            asked: None,
            number: 0,
            beaten: Instant::now(),
            heard: Instant::now(),
            was_full: false,
            has_moved: false,
            has_skipped: false,
            relayed: None,
            has_relays: topics.kind == TopicKind::Shard && endpoint.connector.is_cluster(),
            proved: Arc::default(),
            news: News::default(),
        };
        Self {
            endpoint: Arc::clone(endpoint),
            topics,
            spot,
            route,
            turn: 0,
            room,
            connection: None,
            push: Push::default(),
            pulse,
            read_cancel: Arc::default(),
        }
    }

    /// Subscribes on a new connection. Returns the time since the connection before, in which messages can have been
    /// missed; `None` if this is the first one.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or refuses.
    pub fn connect(&mut self, stop: &Stop, prepare: Prepare<'_>) -> RedisResult<Option<Window>> {
        let turn = self.turn;
        self.turn += 1;
        let window = self.subscribe(turn, stop, prepare)?;
        self.turn = turn;
        Ok(window)
    }

    fn subscribe(&mut self, turn: usize, stop: &Stop, prepare: Prepare<'_>) -> RedisResult<Option<Window>> {
        self.connection = None;
        let connector = &self.endpoint.connector;
        self.route = self.spot.route(connector, turn)?;
        self.pulse.route = self.route.clone();
        let mut connection = connector.open_unless(&self.route, stop)?;
        self.read_cancel.on(&connection);
        self.endpoint.clock.read(&mut connection)?;
        prepare(&mut connection)?;
        // Read before it subscribes: all that is published after that is counted after that.
        let counters = self.pulse.read(&mut connection)?;
        let relayed = self.pulse.read_relayed(&mut connection)?;
        let since_ms = self.endpoint.clock.now();
        connection.write_all(std::slice::from_ref(&self.topics.command()))?;
        for _ in &self.topics.names {
            connection.receive_push(
                self.room,
                &mut self.push,
                &mut Patient(Instant::now() + self.pulse.patience),
            )?;
            match std::mem::take(&mut self.push.kind) {
                PushKind::Subscribed => {}
                PushKind::Refused(error) => return Err(error),
                _ => return Err(unexpected()),
            }
        }
        let until_ms = self.endpoint.clock.now();
        connection.shorten_reads(BEAT)?;
        let known = Known { since_ms, address: connection.address().clone(), counters, received: 0 };
        let window = self.pulse.begin(known, until_ms, &self.topics.counts);
        self.pulse.relayed = relayed;
        self.connection = Some(connection);
        Ok(window)
    }

    /// Waits for the next message, or for the end of a subscription, which [`Subscriber::last`] then is.
    ///
    /// # Errors
    ///
    /// The connection has broken. What can have been missed is told by the next [`Subscriber::connect`].
    pub fn next(&mut self, hand_on: HandOn<'_>) -> RedisResult<()> {
        let Some(connection) = &mut self.connection else { return Err(closed()) };
        loop {
            let mut tending = Tending { pulse: &mut self.pulse, hand_on };
            connection.receive_push(self.room, &mut self.push, &mut tending)?;
            match &self.push.kind {
                PushKind::Message => {
                    if self.topics.stands_alone(self.push.pattern()) {
                        self.pulse.note_received();
                    }
                    return Ok(());
                }
                PushKind::Invalidated | PushKind::Flushed => return Ok(()),
                PushKind::Unsubscribed => {
                    self.pulse.has_moved = true;
                    return Ok(());
                }
                PushKind::Pong => self.pulse.answered(self.push.payload()),
                PushKind::Refused(_) => {
                    let PushKind::Refused(error) = std::mem::take(&mut self.push.kind) else { continue };
                    return Err(error);
                }
                PushKind::Subscribed => {}
            }
        }
    }

    /// Returns where it is.
    pub fn spot(&self) -> &Spot {
        &self.spot
    }

    /// Returns the route of its last connection.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Returns up to where it is certain that everything was received, in ms since 1970. It goes on with each PING.
    pub fn proved(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.pulse.proved)
    }

    /// Whether it has a connection.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Closes the connection.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Returns the address of the server that it is connected to.
    pub fn address(&self) -> Option<&Address> {
        self.connection.as_ref().map(Connection::address)
    }

    /// Returns what was read last.
    pub fn last(&self) -> &Push {
        &self.push
    }

    /// Returns what is subscribed to.
    pub fn topics(&self) -> &Topics {
        &self.topics
    }
}

fn closed() -> RedisError {
    io::Error::from(io::ErrorKind::NotConnected).into()
}

impl Pulse {
    /// Reads the counters on a connection that does not subscribe yet. What Redis refuses is not known.
    fn read(&self, connection: &mut Connection) -> RedisResult<Option<Counters>> {
        match sampler::read(connection) {
            Ok(counters) => Ok(Some(counters)),
            Err(error) if connection.is_broken() => Err(error),
            Err(error) => {
                self.note("INFO", &error);
                Ok(None)
            }
        }
    }

    /// Reads what other nodes have sent, likewise.
    fn read_relayed(&self, connection: &mut Connection) -> RedisResult<Option<u64>> {
        if !self.has_relays {
            return Ok(None);
        }
        match sampler::relayed(connection) {
            Ok(count) => Ok(Some(count)),
            Err(error) if connection.is_broken() => Err(error),
            Err(error) => {
                self.note("CLUSTER INFO", &error);
                Ok(None)
            }
        }
    }

    /// Reads the counters on the other connection, which may still go to the server before a failover.
    fn sample(&mut self) -> Option<Counters> {
        for _ in 0..2 {
            match self.sampler.sample(&self.route) {
                Ok(None) => return None,
                Ok(Some(counters)) if self.own.as_ref().is_some_and(|own| own.is_same_run(&counters)) => {
                    return Some(counters);
                }
                Ok(Some(_)) => self.sampler.disconnect(),
                Err(error) => {
                    if is_refusal(&error) {
                        self.note("INFO", &error);
                    }
                    return None;
                }
            }
        }
        None
    }

    fn note(&self, command: &str, error: &RedisError) {
        let mut error = self.endpoint.connector.explain(error, crate::error::Fate::Unknown);
        error.message = format!("losses have no bound, because {command} cannot be read: {}", error.message);
        self.endpoint.report_news(error, &self.news);
    }

    /// Records that another connection has subscribed.
    fn begin(&mut self, known: Known, until_ms: u64, counts: &[Count]) -> Option<Window> {
        let address = known.address.clone();
        self.own.clone_from(&known.counters);
        let before = self.known.take();
        let window = before.map(|before| {
            self.sampler.hasten();
            let counters = self.sample();
            // If nobody has published by other nodes since it was subscribed, nobody has done so in the window.
            let is_relayed =
                self.has_relays && (self.relayed.is_none() || self.sampler.relayed() != self.relayed);
            let (was_full, has_moved) = (self.was_full, self.has_moved);
            Window {
                before,
                until_ms,
                address,
                counters,
                was_full,
                has_moved,
                is_relayed,
                counts: counts.to_vec(),
            }
        });
        let now = Instant::now();
        self.proved.store(known.since_ms, Ordering::SeqCst);
        (self.known, self.late, self.asked) = (Some(known), None, None);
        (self.was_full, self.has_moved) = (false, false);
        (self.beaten, self.heard) = (now, now);
        window
    }

    fn note_received(&mut self) {
        if let Some(known) = &mut self.known {
            known.received += 1;
        }
    }

    /// What Redis published before it answered has arrived before the answer, unless it sends that late.
    fn answered(&mut self, number: &[u8]) {
        let is_it = |(asked, ..): &(u64, Instant, Known)| asked.to_string().as_bytes() == number;
        let Some((_, _, asked)) = self.asked.take_if(|asked| is_it(asked)) else { return };
        let known = if self.is_late { self.late.replace(asked) } else { Some(asked) };
        if let Some(known) = known {
            self.proved.store(known.since_ms, Ordering::SeqCst);
            (self.known, self.was_full) = (Some(known.after(self.known.take())), false);
        }
    }

    /// Whether the counters that are known will do: nothing was received since the last PING. It is not said twice in a
    /// row, because what is published elsewhere counts, too.
    fn may_skip(&self) -> bool {
        let is_idle = |known: &Known| known.counters.is_some() && known.received == 0;
        !self.has_skipped && self.known.as_ref().is_some_and(is_idle)
    }

    fn beat(&mut self, socket: &mut Socket) -> io::Result<()> {
        let now = Instant::now();
        if let Some((_, since, _)) = &self.asked {
            let silent = now.saturating_duration_since(self.heard.max(*since));
            return if silent > self.patience { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) };
        }
        let Some(address) = self.known.as_ref().map(|known| known.address.clone()) else { return Ok(()) };
        if now.saturating_duration_since(self.beaten) < BEAT {
            return Ok(());
        }
        // First the counters: what they count has arrived before the answer to the PING.
        self.has_skipped = self.may_skip();
        let counters = if self.has_skipped { None } else { self.sample() };
        let since_ms = self.endpoint.clock.now();
        self.number += 1;
        self.beaten = Instant::now();
        self.asked = Some((self.number, self.beaten, Known { since_ms, address, counters, received: 0 }));
        let mut ping = Vec::new();
        redis::cmd("PING").arg(self.number).write_packed_command(&mut ping);
        socket.write_all(&ping)?;
        socket.flush()
    }
}

struct Tending<'a, 'b> {
    pulse: &'a mut Pulse,
    hand_on: &'a mut (dyn FnMut() -> bool + 'b),
}

impl Tend for Tending<'_, '_> {
    fn wait(&mut self, socket: &mut Socket) -> io::Result<()> {
        if (self.hand_on)() {
            // Nothing was read meanwhile.
            (self.pulse.was_full, self.pulse.heard) = (true, Instant::now());
        }
        self.pulse.beat(socket)
    }

    fn arrived(&mut self) {
        self.pulse.heard = Instant::now();
    }
}

/// Waits for confirmations until a time.
struct Patient(Instant);

impl Tend for Patient {
    fn wait(&mut self, _socket: &mut Socket) -> io::Result<()> {
        if Instant::now() < self.0 { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
    }

    fn arrived(&mut self) {}
}
