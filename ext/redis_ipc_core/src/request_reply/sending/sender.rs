//! Writes commands to Redis, as few round trips as there is work: over one connection, or one to each node of a
//! cluster that is written to.
//!
//! A lone command is written by the thread that brings it, so it waits for nobody; its reply is read by the thread that
//! brings the next one, or by the lane's own after a while. While a round trip is under way further commands queue up,
//! and go out together in the next one.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::{Connection, is_close};
use crate::foundation::redis::connector::Connector;
use crate::foundation::redis::health::STABLE;
use crate::foundation::redis::link::Linked;
use crate::foundation::redis::pipeline::outgoing::{closes_connection, too_large};
use crate::foundation::runtime::backoff::Backoff;
use crate::foundation::runtime::failpoint;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::threads;
use crate::request_reply::books::ledger::{Ledger, Sent};
use crate::request_reply::books::request_queue::RequestQueue;
use crate::request_reply::membership::key_expiry;
use crate::request_reply::membership::member::Member;
use crate::request_reply::sending::batch::{Batch, Leftover, Remains, Server};
use crate::request_reply::sending::command::Command;
use crate::request_reply::sending::command_context::Scene;
use crate::request_reply::sending::pipeline::{Hold, Lane, Offered, Wire, Work};
use redis::{RedisError, Value};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The pause before something is tried again that Redis refuses for now.
const RETRY: Duration = Duration::from_millis(50);
/// How many connections are tried for what is left to send at the end.
const LAST_CHANCES: u32 = 2;

/// The way out of this instance.
pub struct Sender {
    member: Arc<Member>,
    ledger: Arc<Ledger>,
    queue: Arc<RequestQueue>,
    /// The lane to the only server; a cluster has lanes on demand.
    only: Option<Arc<Lane>>,
    lanes: Mutex<Lanes>,
    closed: AtomicBool,
}

#[derive(Default)]
struct Lanes {
    to_nodes: HashMap<Route, Arc<Lane>>,
    threads: Vec<JoinHandle<()>>,
}

/// Who has the connection of a lane puts it back; a panic in between counts as a broken connection.
struct Borrowed<'a> {
    lane: &'a Lane,
    back: Option<Hold>,
    /// What was written is a lone command.
    lone: bool,
}

impl<'a> Borrowed<'a> {
    fn from(lane: &'a Lane) -> Self {
        Self { lane, back: None, lone: false }
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let panicked = || Error::new(ErrorKind::Internal, "the sender panicked");
        match self.back.take() {
            Some(Hold::Written(wire, batch)) if self.lone => self.lane.put_unread(wire, batch),
            Some(hold) => self.lane.put(hold),
            None => self.lane.put(Hold::Missing(Vec::new(), Some(panicked()))),
        }
    }
}

/// How fast a lane's thread connects again.
struct Pace {
    connected: Instant,
    backoff: Backoff,
    /// How often it still tries once it is to stop.
    chances: u32,
}

impl Sender {
    /// A sender that writes on `connection`; without one, to the nodes of a cluster.
    pub fn new(
        member: Arc<Member>,
        ledger: Arc<Ledger>,
        queue: Arc<RequestQueue>,
        connection: Option<Connection>,
    ) -> Self {
        let only = connection.map(|connection| {
            Arc::new(Lane::new(Route::Server, Hold::Parked(Wire::new(connection, &member))))
        });
        Self { member, ledger, queue, only, lanes: Mutex::default(), closed: AtomicBool::new(false) }
    }

    /// Starts its thread; one to each node of a cluster follows when it is written to.
    pub fn start(self: &Arc<Self>) -> Result<(), Error> {
        if let Some(lane) = &self.only {
            let thread = self.spawn(lane)?;
            self.lanes.lock().threads.push(thread);
        }
        Ok(())
    }

    fn spawn(self: &Arc<Self>, lane: &Arc<Lane>) -> Result<JoinHandle<()>, Error> {
        let (sender, lane) = (Arc::clone(self), Arc::clone(lane));
        threads::spawn("ipc-sender", &self.member, move || sender.run(&lane))
    }

    /// Sends `command`: at once if the connection is free, else with the next batch. Never waits for Redis. False if
    /// it failed because the sender is closed.
    pub fn send(self: &Arc<Self>, command: Command) -> bool {
        if self.closed.load(Ordering::SeqCst) {
            self.scene().fail(command, &closed());
            return false;
        }
        self.try_forward(command)
    }

    fn forward(self: &Arc<Self>, command: Command) {
        self.try_forward(command);
    }

    fn try_forward(self: &Arc<Self>, command: Command) -> bool {
        let Some(lane) = &self.only else {
            self.distribute(command);
            return true;
        };
        let refused = self.bring(lane, command);
        let taken = refused.is_none();
        refused.into_iter().for_each(|command| self.scene().fail(command, &closed()));
        taken
    }

    /// Brings a command to a lane; returns it if the lane has ended.
    fn bring(self: &Arc<Self>, lane: &Lane, command: Command) -> Option<Command> {
        match lane.offer(command, &self.member) {
            Offered::Direct(wire, command) => self.write_lone(Borrowed::from(lane), wire, command),
            Offered::Unread(wire, batch, command) => self.read_and_write(lane, wire, batch, command),
            Offered::Queued => {}
            Offered::Refused(command) => return Some(command),
        }
        None
    }

    /// Brings a command to the lane to the node that serves its key.
    fn distribute(self: &Arc<Self>, command: Command) {
        let mut undelivered = Some(command);
        while let Some(command) = undelivered {
            let route = self.connector().known_route(&command.key(&self.member));
            let lane = self.lanes.lock().to_nodes.get(&route).cloned();
            undelivered = match lane {
                None => self.open_lane(route, command),
                Some(lane) => self.bring(&lane, command).inspect(|_| self.forget(&lane)),
            };
        }
    }

    /// Makes a lane that begins with `command`; returns that if another thread was faster.
    fn open_lane(self: &Arc<Self>, route: Route, command: Command) -> Option<Command> {
        let mut lanes = self.lanes.lock();
        if lanes.to_nodes.contains_key(&route) {
            return Some(command);
        }
        let lane = Arc::new(Lane::new(route.clone(), Hold::Missing(Vec::new(), None)));
        lane.queue(vec![command]);
        if self.closed.load(Ordering::SeqCst) {
            lane.stop();
        }
        match self.spawn(&lane) {
            Ok(thread) => {
                lanes.threads.retain(|thread| !thread.is_finished());
                lanes.threads.push(thread);
                lanes.to_nodes.insert(route, lane);
            }
            Err(failure) => {
                drop(lanes);
                lane.abandon().into_iter().for_each(|command| self.scene().fail(command, &failure));
            }
        }
        None
    }

    fn forget(&self, ended: &Lane) {
        let mut lanes = self.lanes.lock();
        if lanes.to_nodes.get(&ended.route).is_some_and(|lane| std::ptr::eq(&**lane, ended)) {
            lanes.to_nodes.remove(&ended.route);
        }
    }

    fn write_lone(self: &Arc<Self>, mut borrowed: Borrowed<'_>, wire: Box<Wire>, command: Command) {
        borrowed.lone = true;
        self.write(borrowed, wire, vec![command]);
    }

    /// Writes a lone command after one whose replies nobody has read yet, if they are here.
    fn read_and_write(self: &Arc<Self>, lane: &Lane, mut wire: Box<Wire>, batch: Batch, command: Command) {
        let mut borrowed = Borrowed::from(lane);
        let hold = match wire.connection.receive_arrived(batch.replies()) {
            Ok(Some(replies)) => self.settle(lane, wire, batch, &replies),
            Ok(None) => Hold::Written(wire, batch),
            Err(error) => self.break_off(lane, batch, &[], usize::MAX, &error),
        };
        match hold {
            Hold::Parked(wire) if lane.trusts(&wire, &self.member) => {
                self.write_lone(borrowed, wire, command)
            }
            hold => {
                borrowed.back = Some(hold);
                lane.queue(vec![command]);
            }
        }
    }

    fn write(self: &Arc<Self>, mut borrowed: Borrowed<'_>, mut wire: Box<Wire>, commands: Vec<Command>) {
        let lane = borrowed.lane;
        failpoint::point();
        if wire.connection.is_gone() {
            borrowed.back = Some(Hold::Missing(commands, None));
            return;
        }
        let mut bytes = std::mem::take(&mut wire.buffer);
        let server = Server { route: &lane.route, connection: wire.number };
        let batch = Batch::pack(commands, &mut bytes, server, &self.member, &mut wire.expiries);
        borrowed.back = Some(if bytes.is_empty() {
            Hold::Parked(wire)
        } else {
            let written = wire.connection.send_counting(&bytes);
            wire.keep(bytes);
            match written {
                Ok(()) => Hold::Written(wire, batch),
                Err(failure) => {
                    let replies = wire.connection.receive_left(batch.replies());
                    let error = wire.connection.lost(failure.error.into());
                    self.break_off(lane, batch, &replies, failure.written, &error)
                }
            }
        });
    }

    /// Writes what was queued, except what another node has come to serve meanwhile.
    fn write_queued(self: &Arc<Self>, lane: &Lane, wire: Box<Wire>, commands: Vec<Command>) {
        let (own, others): (Vec<_>, Vec<_>) =
            commands.into_iter().partition(|command| self.belongs(command, lane));
        self.write(Borrowed::from(lane), wire, own);
        others.into_iter().for_each(|command| self.forward(command));
    }

    fn belongs(&self, command: &Command, lane: &Lane) -> bool {
        self.only.is_some() || self.connector().known_route(&command.key(&self.member)) == lane.route
    }

    fn connector(&self) -> &Connector {
        self.member.connections.connector()
    }

    fn explain(&self, error: &redis::RedisError) -> Error {
        self.connector().explain(error, Fate::Unknown)
    }

    fn scene(&self) -> Scene<'_> {
        Scene { member: &self.member, ledger: &self.ledger, queue: &self.queue }
    }

    /// A lane's thread: returns once it is to stop and everything queued is out, or nothing was to do for long.
    fn run(self: &Arc<Self>, lane: &Lane) {
        let mut pace = Pace { connected: Instant::now(), backoff: Backoff::new(), chances: LAST_CHANCES };
        loop {
            match lane.next_work(&self.member) {
                Work::Read(wire, batch) => self.read(lane, wire, batch),
                Work::Write(wire, commands) => self.write_queued(lane, wire, commands),
                Work::Connect(commands, error) => self.connect(lane, commands, error, &mut pace),
                Work::Replace => self.connect(lane, Vec::new(), Some(self.distrust()), &mut pace),
                Work::Stop => return self.forget(lane),
            }
        }
    }

    fn read(self: &Arc<Self>, lane: &Lane, mut wire: Box<Wire>, batch: Batch) {
        let mut borrowed = Borrowed::from(lane);
        failpoint::point();
        let mut replies = Vec::with_capacity(batch.replies());
        while replies.len() < batch.replies() {
            match wire.connection.receive() {
                Ok(reply) => replies.push(reply),
                Err(error) => {
                    borrowed.back = Some(self.break_off(lane, batch, &replies, usize::MAX, &error));
                    return;
                }
            }
        }
        borrowed.back = Some(self.settle(lane, wire, batch, &replies));
    }

    /// The connection broke while a batch was under way: acts on the replies that came, and decides in which order the
    /// rest is sent again.
    fn break_off(
        self: &Arc<Self>,
        lane: &Lane,
        batch: Batch,
        replies: &[Value],
        written: usize,
        error: &RedisError,
    ) -> Hold {
        let Remains { leftover, broken, culprit } = batch.settle_broken(replies, written, &self.scene());
        self.follow_up(lane, leftover);
        let convicted = lane.take_back(broken, is_close(error)).into_iter().map(|command| {
            let error = too_large(command.content_size(), None);
            (command, error)
        });
        let instead = convicted
            .chain(culprit)
            .filter_map(|(command, failure)| self.scene().refuse_large(command, &failure));
        Hold::Missing(instead.collect(), Some(self.explain(error)))
    }

    /// Acts on the replies to a batch: what becomes of the connection.
    fn settle(self: &Arc<Self>, lane: &Lane, wire: Box<Wire>, batch: Batch, replies: &[Value]) -> Hold {
        if replies.iter().any(closes_connection) {
            return self.break_off(lane, batch, replies, usize::MAX, &wire.connection.closed());
        }
        let mut leftover = batch.settle(replies, &self.scene());
        let (again, refusal) = (std::mem::take(&mut leftover.again), leftover.refusal.take());
        self.follow_up(lane, leftover);
        match refusal {
            Some(error) => Hold::Missing(again, Some(error)),
            None => Hold::Parked(wire),
        }
    }

    /// Sends what follows from replies, each at its time and to its place.
    fn follow_up(self: &Arc<Self>, lane: &Lane, leftover: Leftover) {
        if self.only.is_some() {
            lane.queue(leftover.follow);
        } else {
            leftover.follow.into_iter().for_each(|command| self.forward(command));
        }
        // It is not tried again while stopping: what Redis waits for may take long.
        let hopeless = lane.delay(leftover.later, RETRY);
        if let Some(error) = leftover.deferral {
            hopeless.into_iter().for_each(|command| self.scene().fail(command, &error));
        }
        self.redirect(lane, leftover.elsewhere, leftover.pause);
    }

    /// Sends commands on to the nodes that their own one named, after a pause.
    fn redirect(self: &Arc<Self>, lane: &Lane, commands: Vec<Command>, pause: Duration) {
        let now = if pause.is_zero() { commands } else { lane.delay(commands, pause) };
        now.into_iter().for_each(|command| self.forward(command));
    }

    /// Connects (again), and gives up on commands that have waited longer than it may take.
    fn connect(self: &Arc<Self>, lane: &Lane, commands: Vec<Command>, error: Option<Error>, pace: &mut Pace) {
        lane.requeue(commands);
        let mut lost = error.is_some();
        if let Some(error) = error {
            self.connector().doubt(&lane.route);
            self.give_up(lane, &error);
            self.member.link_lost(error);
            if pace.connected.elapsed() >= STABLE {
                pace.backoff.reset();
            } else {
                self.member.stop.pause(pace.backoff.pause());
            }
        }
        loop {
            if lane.is_stopping() {
                if pace.chances == 0 {
                    return lane
                        .abandon()
                        .into_iter()
                        .for_each(|command| self.scene().fail(command, &closed()));
                }
                pace.chances -= 1;
            }
            if self.hand_over(lane) {
                if lost {
                    self.member.links.restored();
                }
                return;
            }
            match self.connector().open(&lane.route) {
                Ok(connection) => {
                    self.restore_replies(lane);
                    if lost {
                        self.member.link_restored();
                    }
                    pace.connected = Instant::now();
                    return lane.put(Hold::Parked(Wire::new(connection, &self.member)));
                }
                Err(error) => {
                    let error = self.explain(&error);
                    self.give_up(lane, &error);
                    if !lost {
                        self.member.link_lost(error);
                        lost = true;
                    }
                }
            }
            self.member.stop.pause(pace.backoff.pause());
        }
    }

    /// It may be another server, or the same one without its data: what is asked now may be answered before the reader
    /// of answers is back.
    fn restore_replies(&self, lane: &Lane) {
        if self.connector().known_route(&self.member.replies) == lane.route {
            // The pool may begin with a connection that broke unnoticed; if both fail, that reader says why.
            let _ = key_expiry::restore_replies(&self.member)
                .or_else(|_| key_expiry::restore_replies(&self.member));
        }
    }

    /// Passes on what is served by other nodes by now. True if that was all, and the lane has ended.
    fn hand_over(self: &Arc<Self>, lane: &Lane) -> bool {
        if self.only.is_some() {
            return false;
        }
        // Without a map, the next attempt asks for it again.
        let _ = self.connector().look();
        let others = lane.remove(|command| !self.belongs(command, lane));
        others.into_iter().for_each(|command| self.forward(command));
        lane.end_if_idle()
    }

    /// Ends the calls that have waited for Redis longer than connecting may take, and drops answers that are too late.
    fn give_up(&self, lane: &Lane, error: &Error) {
        let patience = self.connector().patience();
        let given_up = lane.remove(|command| self.is_hopeless(command, patience));
        given_up.into_iter().for_each(|command| self.scene().fail(command, error));
    }

    fn is_hopeless(&self, command: &Command, patience: Duration) -> bool {
        match command {
            // What was perhaps sent may still be answered: its caller waits until the deadline.
            Command::Ask(ticket, _) => ticket.sent() == Sent::No && ticket.asked.elapsed() >= patience,
            Command::Answer(claim, _) => claim.request.is_past(),
            Command::Withdraw(ticket, _) => ticket.deadline + patience <= Instant::now(),
            Command::Acknowledge(_) | Command::Measure(_) => false,
        }
    }

    fn distrust(&self) -> Error {
        Error::new(ErrorKind::Connection(Fate::Unknown), "another connection to Redis was lost")
            .address(self.connector().address())
    }

    /// Takes nothing more, and lets the threads end once everything queued is out.
    pub fn stop(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let lanes = self.lanes.lock();
        self.only.iter().chain(lanes.to_nodes.values()).for_each(|lane| lane.stop());
    }

    /// [`Sender::stop`], and waits for the threads to end.
    pub fn close(&self) {
        self.stop();
        loop {
            // What one of them has to say at its end may open another.
            let threads = std::mem::take(&mut self.lanes.lock().threads);
            if threads.is_empty() {
                return;
            }
            threads.into_iter().for_each(|thread| threads::join(Some(thread)));
        }
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed(Fate::NotSent), "the stream was disconnected before this could be sent")
}
