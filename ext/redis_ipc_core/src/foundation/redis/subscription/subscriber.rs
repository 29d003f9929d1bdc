//! One subscription at one server, over any number of connections.

use crate::foundation::net::address::Address;
use crate::foundation::net::socket::Socket;
use crate::foundation::redis::client_name::Purpose;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::{Connection, Tend};
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::link::is_refusal;
use crate::foundation::redis::read_cancel::ReadCancel;
use crate::foundation::redis::resp::push::{Push, PushKind};
use crate::foundation::redis::resp::replies::unexpected;
use crate::foundation::redis::slots::slot;
use crate::foundation::redis::subscription::bases::{Bases, Sample};
use crate::foundation::redis::subscription::counters::{Count, Counters};
use crate::foundation::redis::subscription::displaced::Displaced;
use crate::foundation::redis::subscription::joins::Joins;
use crate::foundation::redis::subscription::sampler::{self, Sampler};
use crate::foundation::redis::subscription::spot::Spot;
use crate::foundation::redis::subscription::topics::{TopicKind, Topics};
use crate::foundation::redis::subscription::window::{Known, Window};
use crate::foundation::runtime::news::News;
use crate::foundation::runtime::stop::Stop;
use redis::{RedisError, RedisResult};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a PING is sent, and the server's counters are read; these half as often while nothing comes.
const BEAT: Duration = Duration::from_secs(1);

/// How often the node of a cluster is asked which slots it has.
const VIEW: Duration = Duration::from_secs(5);
/// How long a read waits where a thread cannot wait for a socket and for other threads at the same time.
const BLIND: Duration = Duration::from_millis(200);

/// What was read.
#[derive(Debug)]
pub enum Read {
    /// What [`Subscriber::last`] is.
    Message,
    /// The server has ended a subscription for good. The connection is to be closed: on it the answer to an UNSUBSCRIBE
    /// could not be told from this.
    Ended,
    /// The node does not serve these channels any more. The others stay.
    Left(Displaced),
    /// These channels, which were offered, are subscribed to now.
    Joined(Displaced),
    /// The node refuses to subscribe to these channels, which were offered.
    Refused(Displaced, RedisError),
}

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
    moves: Option<Moves>,
    /// Ends a read from another thread.
    pub read_cancel: Arc<ReadCancel>,
}

/// How channels come and go while the connection stands.
struct Moves {
    joins: Arc<Joins>,
    /// What the node was asked for and has not confirmed, in this order.
    asked: VecDeque<Displaced>,
    /// How many channels of the first of these are confirmed.
    confirmed: usize,
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
    /// What the node has counted and which slots it has, where slots can move, and when that was last asked.
    bases: Option<Arc<Bases>>,
    viewed: Option<Instant>,
    /// What was asked with the last PING.
    sample: Option<Sample>,
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
            bases: None,
            viewed: None,
            sample: None,
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
            moves: None,
            read_cancel: Arc::default(),
        }
    }

    /// Lets channels come and go while the connection stands: those of the slots of a node.
    pub fn follow_slots(&mut self, joins: Arc<Joins>, bases: Arc<Bases>) {
        self.moves = Some(Moves { joins, asked: VecDeque::new(), confirmed: 0 });
        self.pulse.bases = Some(bases);
    }

    /// Goes to another node with the next connection.
    pub fn go_to(&mut self, spot: Spot, bases: Arc<Bases>) {
        (self.spot, self.pulse.bases) = (spot, Some(bases));
    }

    /// Returns where it is offered channels.
    pub fn joins(&self) -> Option<&Arc<Joins>> {
        self.moves.as_ref().map(|moves| &moves.joins)
    }

    /// Returns what was offered or asked for, and is not subscribed to.
    pub fn give_back(&mut self) -> Vec<Displaced> {
        let Some(moves) = &mut self.moves else { return Vec::new() };
        moves.confirmed = 0;
        moves.asked.drain(..).chain(moves.joins.take()).collect()
    }

    /// Gives up the channels that are not to be kept.
    pub fn give_up(&mut self, keeps: impl Fn(&str) -> bool) -> Vec<Displaced> {
        self.displace(false, keeps)
    }

    fn displace(&mut self, has_moved: bool, keeps: impl Fn(&str) -> bool) -> Vec<Displaced> {
        let Some(known) = &self.pulse.known else { return Vec::new() };
        let left_at = self.pulse.bases.as_ref().filter(|_| has_moved).map(|bases| bases.received());
        let known = Known { left_at, relayed: self.pulse.relayed, ..known.clone() };
        let (kept, given_up) =
            std::mem::take(&mut self.topics.names).into_iter().partition(|name| keeps(name));
        self.topics.names = kept;
        Displaced::by_slot(given_up, &known, self.pulse.was_full, has_moved)
    }

    /// Returns the time between the subscription that these channels had and this one, which has just begun.
    pub fn window_of(&mut self, displaced: &Displaced) -> Option<Window> {
        let address = self.address()?.clone();
        self.pulse.sampler.hasten();
        let (until_ms, counters) = (self.endpoint.clock.now(), self.pulse.sample());
        Some(Window {
            before: displaced.before.clone(),
            until_ms,
            address,
            counters,
            was_full: displaced.was_full,
            has_moved: displaced.has_moved,
            is_relayed: self.pulse.is_relayed(&displaced.before),
            counts: self.topics.counts.clone(),
        })
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
        let mut connection = connector.opener(Purpose::Subscriber).open_unless(&self.route, stop)?;
        self.read_cancel.on(&connection);
        // Whoever stops this thread ended the connection before it: nobody would end this one.
        if stop.is_stopped() {
            return Err(closed());
        }
        self.endpoint.clock.read(&mut connection)?;
        prepare(&mut connection)?;
        // Read before it subscribes: all that is published after that is counted after that.
        let counters = self.pulse.read(&mut connection)?;
        let relayed = self.pulse.read_relayed(&mut connection)?;
        let since_ms = self.endpoint.clock.now();
        connection.write_all(&self.topics.commands())?;
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
        let is_blind = self.moves.is_some() && connection.awaited().is_none();
        connection.shorten_reads(if is_blind { BLIND } else { BEAT })?;
        let known = Known::new(since_ms, connection.address().clone(), counters);
        let window = self.pulse.begin(known, until_ms, &self.topics.counts);
        self.pulse.relayed = relayed;
        self.connection = Some(connection);
        Ok(window)
    }

    /// Waits for the next message, or until a subscription has begun or ended.
    ///
    /// # Errors
    ///
    /// The connection has broken. What can have been missed is told by the next [`Subscriber::connect`].
    pub fn next(&mut self, hand_on: HandOn<'_>) -> RedisResult<Read> {
        loop {
            let Some(connection) = &mut self.connection else { return Err(closed()) };
            let mut tending = Tending { pulse: &mut self.pulse, moves: &mut self.moves, hand_on };
            connection.receive_push(self.room, &mut self.push, &mut tending)?;
            let read = match std::mem::take(&mut self.push.kind) {
                kind @ (PushKind::Message | PushKind::Invalidated | PushKind::Flushed) => {
                    let is_message = matches!(kind, PushKind::Message);
                    if is_message && self.topics.stands_alone(self.push.pattern()) {
                        self.pulse.note_received();
                    }
                    self.push.kind = kind;
                    Some(Read::Message)
                }
                PushKind::Unsubscribed => self.unsubscribed(),
                PushKind::Pong => {
                    self.pulse.answered(self.push.payload());
                    None
                }
                PushKind::Refused(error) => match self.moves.as_mut().and_then(Moves::refused) {
                    Some(displaced) => Some(Read::Refused(displaced, error)),
                    None => return Err(error),
                },
                PushKind::Subscribed => self.joined(),
            };
            if let Some(read) = read {
                return Ok(read);
            }
        }
    }

    /// All channels of a slot leave together, and each of them is told.
    fn unsubscribed(&mut self) -> Option<Read> {
        if self.moves.is_none() {
            self.pulse.has_moved = true;
            return Some(Read::Ended);
        }
        let left = slot(self.push.channel());
        self.displace(true, |name| slot(name.as_bytes()) != left).pop().map(Read::Left)
    }

    fn joined(&mut self) -> Option<Read> {
        let displaced = self.moves.as_mut().and_then(Moves::confirmed)?;
        self.topics.names.extend(displaced.names.iter().cloned());
        Some(Read::Joined(displaced))
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

    /// Whether messages may have come by other nodes since that subscription began, which the server does not count.
    fn is_relayed(&mut self, before: &Known) -> bool {
        self.has_relays && (before.relayed.is_none() || self.sampler.relayed() != before.relayed)
    }

    /// Asks the node which slots it has, if that is due. The counters were read before.
    fn view(&mut self, counters: &Counters, at_ms: u64) -> Option<Sample> {
        let is_due = self.viewed.is_none_or(|viewed| viewed.elapsed() >= VIEW);
        self.bases.as_ref().filter(|_| is_due)?;
        self.viewed = Some(Instant::now());
        self.sampler.complete(counters, at_ms)
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
        let before = self.known.take().map(|known| Known { relayed: self.relayed, ..known });
        let window = before.map(|before| {
            self.sampler.hasten();
            let counters = self.sample();
            // If nobody has published by other nodes since it was subscribed, nobody has done so in the window.
            let is_relayed = self.is_relayed(&before);
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
        (self.sample, self.viewed) = (None, None);
        (self.beaten, self.heard) = (now, now);
        window
    }

    fn note_received(&mut self) {
        if let Some(known) = &mut self.known {
            known.received += 1;
        }
        if let Some(bases) = &self.bases {
            bases.note_received();
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
        if let (Some(bases), Some(sample)) = (&self.bases, self.sample.take()) {
            bases.keep(sample, true);
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
        self.sample = counters.as_ref().and_then(|counters| self.view(counters, since_ms));
        self.number += 1;
        self.beaten = Instant::now();
        self.asked = Some((self.number, self.beaten, Known::new(since_ms, address, counters)));
        let mut ping = Vec::new();
        redis::cmd("PING").arg(self.number).write_packed_command(&mut ping);
        socket.write_all(&ping)?;
        socket.flush()
    }
}

impl Moves {
    /// Asks the node for what was offered.
    fn ask(&mut self, socket: &mut Socket) -> io::Result<()> {
        let offered = self.joins.take();
        if offered.is_empty() {
            return Ok(());
        }
        let mut commands = Vec::new();
        offered.iter().for_each(|displaced| displaced.command().write_packed_command(&mut commands));
        self.asked.extend(offered);
        socket.write_all(&commands)?;
        socket.flush()
    }

    /// Records that a channel is subscribed to. Returns what it was offered with once all of it is.
    fn confirmed(&mut self) -> Option<Displaced> {
        self.confirmed += 1;
        if self.asked.front()?.names.len() > self.confirmed {
            return None;
        }
        self.confirmed = 0;
        self.asked.pop_front()
    }

    /// The answers come in the order of the commands.
    fn refused(&mut self) -> Option<Displaced> {
        self.confirmed = 0;
        self.asked.pop_front()
    }
}

struct Tending<'a, 'b> {
    pulse: &'a mut Pulse,
    moves: &'a mut Option<Moves>,
    hand_on: &'a mut (dyn FnMut() -> bool + 'b),
}

impl Tend for Tending<'_, '_> {
    fn wait(&mut self, socket: &mut Socket) -> io::Result<()> {
        if (self.hand_on)() {
            // Nothing was read meanwhile.
            (self.pulse.was_full, self.pulse.heard) = (true, Instant::now());
        }
        loop {
            self.pulse.beat(socket)?;
            let Some(moves) = &mut self.moves else { return Ok(()) };
            moves.ask(socket)?;
            if moves.joins.wait(socket, BEAT)? {
                return Ok(());
            }
        }
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
