//! Writes commands to Redis over one connection, as few round trips as there is work.
//!
//! A lone command is written by the thread that brings it, so it waits for nobody; the sender's own thread reads
//! the reply. While a round trip is under way further commands queue up, and go out together in the next one.

use crate::backoff::Backoff;
use crate::command::{Batch, Command, Expiries};
use crate::connection::Connection;
use crate::error::{Error, ErrorKind, Fate};
use crate::ledger::{Ledger, Sent};
use crate::member::Member;
use parking_lot::{Condvar, Mutex};
use redis::{RedisResult, Value};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most bytes written before their replies are read, and the most a bringing thread writes itself: it fits
/// the socket's buffer, so the write cannot block.
const BATCH_BYTES: usize = 1 << 20;
const DIRECT_BYTES: usize = 16 << 10;
/// The most commands in a batch.
const BATCH_COMMANDS: usize = 512;
/// The pause before another connection is made where the last one has just been: a server that accepts
/// connections and refuses commands is not worth a tight loop.
const RETRY: Duration = Duration::from_millis(50);

/// A connection, and what belongs to it.
struct Lane {
    connection: Connection,
    expiries: Expiries,
    losses: usize,
}

impl Lane {
    fn new(connection: Connection, member: &Member) -> Box<Self> {
        Box::new(Self { connection, expiries: Expiries::new(), losses: member.links.losses() })
    }

    /// Whether no other connection broke since this one was made.
    fn is_trusted(&self, member: &Member) -> bool {
        self.losses == member.links.losses()
    }
}

enum LaneState {
    /// Free, and nothing is unread on it.
    Parked(Box<Lane>),
    /// Some thread has it.
    Out,
    /// A thread wrote a batch on it; its replies are to be read.
    Written(Box<Lane>, Batch),
    /// It broke, and these commands were on it.
    Lost(Vec<Command>, Error),
    /// There will be no other.
    Ended,
}

struct State {
    lane: LaneState,
    queue: VecDeque<Command>,
    stopping: bool,
}

/// The way out of this instance.
pub struct Sender {
    member: Arc<Member>,
    ledger: Arc<Ledger>,
    state: Mutex<State>,
    work: Condvar,
}

enum Work {
    Read(Box<Lane>, Batch),
    Write(Box<Lane>, Vec<Command>),
    Reconnect(Vec<Command>, Error),
    Stop,
}

impl Sender {
    /// A sender that writes on `connection`.
    pub fn new(member: Arc<Member>, ledger: Arc<Ledger>, connection: Connection) -> Self {
        let lane = LaneState::Parked(Lane::new(connection, &member));
        let state = State { lane, queue: VecDeque::new(), stopping: false };
        Self { member, ledger, state: Mutex::new(state), work: Condvar::new() }
    }

    /// Sends `command`: at once if the connection is free, else with the next batch. Never waits for Redis.
    pub fn send(&self, command: Command) {
        let mut state = self.state.lock();
        if state.stopping {
            drop(state);
            return self.refuse(command);
        }
        let small = state.queue.is_empty() && command.size() <= DIRECT_BYTES;
        let direct = small && matches!(&state.lane, LaneState::Parked(lane) if lane.is_trusted(&self.member));
        let lane = if direct { std::mem::replace(&mut state.lane, LaneState::Out) } else { LaneState::Out };
        let LaneState::Parked(mut lane) = lane else {
            state.queue.push_back(command);
            drop(state);
            self.work.notify_one();
            return;
        };
        drop(state);
        let batch = Batch::pack(vec![command], &self.member, &mut lane.expiries);
        let after = self.write(lane, batch);
        self.state.lock().lane = after;
        self.work.notify_one();
    }

    fn write(&self, mut lane: Box<Lane>, batch: Batch) -> LaneState {
        if batch.packed.is_empty() {
            return LaneState::Parked(lane);
        }
        match lane.connection.send_counting(&batch.packed) {
            Ok(()) => LaneState::Written(lane, batch),
            Err(failure) => {
                let error = self.explain(&failure.error.into());
                let commands = if failure.nothing_left { batch.into_unsent() } else { batch.into_commands() };
                LaneState::Lost(commands, error)
            }
        }
    }

    fn explain(&self, error: &redis::RedisError) -> Error {
        self.member.connections.connector().explain(error, Fate::Unknown)
    }

    /// The sender's thread: returns once [`Sender::stop`] was called and everything queued is out.
    pub fn run(&self) {
        let mut connected = Instant::now();
        loop {
            match self.next_work() {
                Work::Read(lane, batch) => self.read(lane, batch),
                Work::Write(mut lane, commands) => {
                    let batch = Batch::pack(commands, &self.member, &mut lane.expiries);
                    let after = self.write(lane, batch);
                    self.state.lock().lane = after;
                }
                Work::Reconnect(commands, error) => {
                    self.requeue(commands);
                    if connected.elapsed() < RETRY {
                        self.member.stop.pause(RETRY);
                    }
                    self.reconnect(error);
                    connected = Instant::now();
                }
                Work::Stop => return,
            }
        }
    }

    fn next_work(&self) -> Work {
        let mut state = self.state.lock();
        loop {
            match std::mem::replace(&mut state.lane, LaneState::Out) {
                LaneState::Written(lane, batch) => return Work::Read(lane, batch),
                LaneState::Lost(commands, error) => return Work::Reconnect(commands, error),
                LaneState::Parked(lane) if !state.queue.is_empty() && !lane.is_trusted(&self.member) => {
                    return Work::Reconnect(Vec::new(), self.distrust());
                }
                LaneState::Parked(lane) if !state.queue.is_empty() => {
                    return Work::Write(lane, take_batch(&mut state.queue));
                }
                LaneState::Parked(_) if state.stopping => {
                    state.lane = LaneState::Ended;
                    return Work::Stop;
                }
                LaneState::Ended => {
                    state.lane = LaneState::Ended;
                    return Work::Stop;
                }
                other => state.lane = other,
            }
            self.work.wait(&mut state);
        }
    }

    fn read(&self, mut lane: Box<Lane>, batch: Batch) {
        let replies =
            (0..batch.replies()).map(|_| lane.connection.receive()).collect::<RedisResult<Vec<Value>>>();
        let replies = match replies {
            Ok(replies) => replies,
            Err(error) => {
                self.state.lock().lane = LaneState::Lost(batch.into_commands(), self.explain(&error));
                return;
            }
        };
        let leftover = batch.settle(replies, &self.member, &self.ledger);
        let mut state = self.state.lock();
        state.queue.extend(leftover.follow);
        state.lane = match leftover.refusal {
            Some(error) => LaneState::Lost(leftover.again, error),
            None => LaneState::Parked(lane),
        };
    }

    /// Connects again, and gives up on commands that have waited longer than it may take.
    fn reconnect(&self, error: Error) {
        self.member.links.lost(&self.member, error);
        let mut backoff = Backoff::new();
        loop {
            match self.member.connections.connector().open() {
                Ok(connection) => {
                    self.member.links.restored(&self.member);
                    self.state.lock().lane = LaneState::Parked(Lane::new(connection, &self.member));
                    return;
                }
                Err(error) => self.give_up(&self.explain(&error)),
            }
            if self.member.stop.pause(backoff.pause()) || self.state.lock().stopping {
                self.abandon();
                return;
            }
        }
    }

    fn requeue(&self, commands: Vec<Command>) {
        let mut state = self.state.lock();
        for command in commands.into_iter().rev() {
            state.queue.push_front(command);
        }
    }

    /// Ends the calls that have waited for Redis longer than connecting may take, and drops answers that are too late.
    fn give_up(&self, error: &Error) {
        let patience = self.member.connections.connector().patience();
        let given_up = {
            let mut state = self.state.lock();
            let all = std::mem::take(&mut state.queue);
            let (given_up, kept): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|command| self.is_hopeless(command, patience));
            state.queue = kept.into();
            given_up
        };
        given_up.into_iter().for_each(|command| self.fail(command, error));
    }

    fn is_hopeless(&self, command: &Command, patience: Duration) -> bool {
        match command {
            // What was perhaps sent may still be answered: its caller waits until the deadline.
            Command::Ask(ticket, _) => ticket.sent() == Sent::No && ticket.asked.elapsed() >= patience,
            Command::Answer(claim, _) => self.member.clock.until(claim.request.deadline()).is_none(),
            Command::Withdraw(ticket, _) => ticket.deadline + patience <= Instant::now(),
            Command::Acknowledge(_) => false,
        }
    }

    /// Ends what hangs on a command that will not be sent.
    fn fail(&self, command: Command, error: &Error) {
        match command {
            Command::Ask(ticket, question) => {
                if self.ledger.close(ticket.id).is_some() {
                    let fate = if ticket.sent() == Sent::No { Fate::NotSent } else { Fate::Unknown };
                    let kind = match error.kind {
                        ErrorKind::Closed(_) => ErrorKind::Closed(fate),
                        ErrorKind::Command(_) => ErrorKind::Command(fate),
                        _ => ErrorKind::Connection(fate),
                    };
                    let error = Error { kind, ..error.clone() };
                    self.member.stats.failed.increment();
                    ticket.finish(Err(error.at(self.member.keys.stream(), &question.to).entry(ticket.id)));
                }
            }
            Command::Answer(claim, _) => {
                self.member.stats.answers_dropped.increment();
                let lost = self.member.locate(error.clone()).entry(claim.id());
                let message = format!("an answer was lost: {}", lost.message);
                self.member.reporter.failure(Error { message, ..lost });
            }
            Command::Withdraw(ticket, _) => {
                let error = crate::command::timed_out(&ticket, Fate::Unknown, &self.member);
                ticket.finish(Err(error));
            }
            Command::Acknowledge(_) => {}
        }
    }

    /// Drops what cannot be sent before the end.
    fn abandon(&self) {
        let rest = {
            let mut state = self.state.lock();
            state.stopping = true;
            state.lane = LaneState::Ended;
            std::mem::take(&mut state.queue)
        };
        rest.into_iter().for_each(|command| self.refuse(command));
    }

    fn refuse(&self, command: Command) {
        self.fail(command, &self.closed());
    }

    fn distrust(&self) -> Error {
        Error::new(ErrorKind::Connection(Fate::Unknown), "another connection to Redis was lost")
            .address(self.member.connections.connector().address())
    }

    fn closed(&self) -> Error {
        Error::new(ErrorKind::Closed(Fate::NotSent), "the stream was disconnected before this could be sent")
    }

    /// Lets the thread end once everything queued is out.
    pub fn stop(&self) {
        self.state.lock().stopping = true;
        self.work.notify_all();
    }
}

fn take_batch(queue: &mut VecDeque<Command>) -> Vec<Command> {
    let mut bytes = 0;
    let mut count = 0;
    for command in queue.iter().take(BATCH_COMMANDS) {
        bytes += command.size();
        if count > 0 && bytes > BATCH_BYTES {
            break;
        }
        count += 1;
    }
    queue.drain(..count).collect()
}
