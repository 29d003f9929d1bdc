//! Writes commands to Redis over one connection, as few round trips as there is work.
//!
//! A lone command is written by the thread that brings it, so it waits for nobody; the sender's own thread reads
//! the reply. While a round trip is under way further commands queue up, and go out together in the next one.

use crate::backoff::Backoff;
use crate::command::{Batch, Command, Expiries, Scene};
use crate::connection::Connection;
use crate::consumer_queue::ConsumerQueue;
use crate::error::{Error, ErrorKind, Fate};
use crate::ledger::{Ledger, Sent};
use crate::links::STABLE;
use crate::member::Member;
use crate::sync::{Condvar, Mutex};
use crate::upkeep;
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
/// The pause before something is tried again that Redis had no memory for.
const RETRY: Duration = Duration::from_millis(50);
/// How many connections are tried for what is left to send at the end.
const LAST_CHANCES: u32 = 2;

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
    /// To be tried again when `due`.
    delayed: Vec<Command>,
    due: Instant,
    stopping: bool,
}

/// The way out of this instance.
pub struct Sender {
    member: Arc<Member>,
    ledger: Arc<Ledger>,
    queue: Arc<ConsumerQueue>,
    state: Mutex<State>,
    work: Condvar,
}

enum Work {
    Read(Box<Lane>, Batch),
    Write(Box<Lane>, Vec<Command>),
    Reconnect(Vec<Command>, Error),
    Stop,
}

/// Who has the lane puts it back; a panic in between counts as a broken connection.
struct Borrowed<'a> {
    sender: &'a Sender,
    back: Option<LaneState>,
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let lost = || LaneState::Lost(Vec::new(), Error::new(ErrorKind::Internal, "the sender panicked"));
        self.sender.state.lock().lane = self.back.take().unwrap_or_else(lost);
        self.sender.work.notify_one();
    }
}

impl Sender {
    /// A sender that writes on `connection`.
    pub fn new(
        member: Arc<Member>,
        ledger: Arc<Ledger>,
        queue: Arc<ConsumerQueue>,
        connection: Connection,
    ) -> Self {
        let lane = LaneState::Parked(Lane::new(connection, &member));
        let state =
            State { lane, queue: VecDeque::new(), delayed: Vec::new(), due: Instant::now(), stopping: false };
        Self { member, ledger, queue, state: Mutex::new(state), work: Condvar::new() }
    }

    /// Sends `command`: at once if the connection is free, else with the next batch. Never waits for Redis.
    pub fn send(&self, command: Command) {
        let mut state = self.state.lock();
        if state.stopping {
            drop(state);
            return self.scene().fail(command, &closed());
        }
        let small = state.queue.is_empty() && command.size() <= DIRECT_BYTES;
        let direct = small && matches!(&state.lane, LaneState::Parked(lane) if lane.is_trusted(&self.member));
        let lane = if direct { std::mem::replace(&mut state.lane, LaneState::Out) } else { LaneState::Out };
        let LaneState::Parked(lane) = lane else {
            state.queue.push_back(command);
            drop(state);
            self.work.notify_one();
            return;
        };
        drop(state);
        self.write(lane, vec![command]);
    }

    fn write(&self, mut lane: Box<Lane>, commands: Vec<Command>) {
        let mut borrowed = Borrowed { sender: self, back: None };
        let batch = Batch::pack(commands, &self.member, &mut lane.expiries);
        borrowed.back = Some(if batch.packed.is_empty() {
            LaneState::Parked(lane)
        } else {
            match lane.connection.send_counting(&batch.packed) {
                Ok(()) => LaneState::Written(lane, batch),
                Err(failure) => {
                    let error = self.explain(&failure.error.into());
                    let commands =
                        if failure.nothing_left { batch.into_unsent() } else { batch.into_commands() };
                    LaneState::Lost(commands, error)
                }
            }
        });
    }

    fn explain(&self, error: &redis::RedisError) -> Error {
        self.member.connections.connector().explain(error, Fate::Unknown)
    }

    fn scene(&self) -> Scene<'_> {
        Scene { member: &self.member, ledger: &self.ledger, queue: &self.queue }
    }

    /// The sender's thread: returns once [`Sender::stop`] was called and everything queued is out.
    pub fn run(&self) {
        let mut pace = Pace { connected: Instant::now(), backoff: Backoff::new(), chances: LAST_CHANCES };
        loop {
            match self.next_work() {
                Work::Read(lane, batch) => self.read(lane, batch),
                Work::Write(lane, commands) => self.write(lane, commands),
                Work::Reconnect(commands, error) => self.reconnect(commands, error, &mut pace),
                Work::Stop => return,
            }
        }
    }

    fn next_work(&self) -> Work {
        let mut state = self.state.lock();
        loop {
            if state.due <= Instant::now() || state.stopping {
                let delayed = std::mem::take(&mut state.delayed);
                state.queue.extend(delayed);
            }
            match std::mem::replace(&mut state.lane, LaneState::Out) {
                LaneState::Written(lane, batch) => return Work::Read(lane, batch),
                LaneState::Lost(commands, error) => return Work::Reconnect(commands, error),
                LaneState::Parked(lane) if !state.queue.is_empty() => {
                    if !lane.is_trusted(&self.member) {
                        return Work::Reconnect(Vec::new(), self.distrust());
                    }
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
            state = if state.delayed.is_empty() {
                self.work.wait(state)
            } else {
                let due = state.due;
                self.work.wait_until(state, due)
            };
        }
    }

    fn read(&self, mut lane: Box<Lane>, batch: Batch) {
        let mut borrowed = Borrowed { sender: self, back: None };
        let replies =
            (0..batch.replies()).map(|_| lane.connection.receive()).collect::<RedisResult<Vec<Value>>>();
        let replies = match replies {
            Ok(replies) => replies,
            Err(error) => {
                borrowed.back = Some(LaneState::Lost(batch.into_commands(), self.explain(&error)));
                return;
            }
        };
        let leftover = batch.settle(replies, &self.scene());
        let mut state = self.state.lock();
        state.queue.extend(leftover.follow);
        if !leftover.later.is_empty() {
            state.delayed.extend(leftover.later);
            state.due = Instant::now() + RETRY;
            // No use in trying while stopping: nobody frees memory for an answer.
            if state.stopping {
                let hopeless = std::mem::take(&mut state.delayed);
                drop(state);
                let full = Error::new(ErrorKind::Command(Fate::NotSent), "Redis had no memory for it");
                hopeless.into_iter().for_each(|command| self.scene().fail(command, &full));
            }
        }
        borrowed.back = Some(match leftover.refusal {
            Some(error) => LaneState::Lost(leftover.again, error),
            None => LaneState::Parked(lane),
        });
    }

    /// Connects again, and gives up on commands that have waited longer than it may take.
    fn reconnect(&self, commands: Vec<Command>, error: Error, pace: &mut Pace) {
        self.requeue(commands);
        self.give_up(&error);
        self.member.link_lost(error);
        if pace.connected.elapsed() >= STABLE {
            pace.backoff.reset();
        } else {
            self.member.stop.pause(pace.backoff.pause());
        }
        loop {
            if self.state.lock().stopping {
                if pace.chances == 0 {
                    return self.abandon();
                }
                pace.chances -= 1;
            }
            match self.member.connections.connector().open() {
                Ok(connection) => {
                    // Else what is asked now may be answered before the reader of answers is back. If it fails,
                    // that reader says why.
                    let _ = upkeep::restore_replies(&self.member);
                    self.member.link_restored();
                    pace.connected = Instant::now();
                    self.state.lock().lane = LaneState::Parked(Lane::new(connection, &self.member));
                    return;
                }
                Err(error) => self.give_up(&self.explain(&error)),
            }
            self.member.stop.pause(pace.backoff.pause());
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
        given_up.into_iter().for_each(|command| self.scene().fail(command, error));
    }

    fn is_hopeless(&self, command: &Command, patience: Duration) -> bool {
        match command {
            // What was perhaps sent may still be answered: its caller waits until the deadline.
            Command::Ask(ticket, _) => ticket.sent() == Sent::No && ticket.asked.elapsed() >= patience,
            Command::Answer(claim, _) => self.member.clock.until(claim.request.deadline()).is_none(),
            Command::Withdraw(ticket, _) => ticket.deadline + patience <= Instant::now(),
            Command::Acknowledge(_) | Command::Measure(_) => false,
        }
    }

    /// Drops what cannot be sent before the end.
    fn abandon(&self) {
        let rest = {
            let mut state = self.state.lock();
            state.lane = LaneState::Ended;
            std::mem::take(&mut state.queue)
        };
        rest.into_iter().for_each(|command| self.scene().fail(command, &closed()));
    }

    fn distrust(&self) -> Error {
        Error::new(ErrorKind::Connection(Fate::Unknown), "another connection to Redis was lost")
            .address(self.member.connections.connector().address())
    }

    /// Lets the thread end once everything queued is out.
    pub fn stop(&self) {
        self.state.lock().stopping = true;
        self.work.notify_all();
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed(Fate::NotSent), "the stream was disconnected before this could be sent")
}

/// How fast the sender's thread connects again.
struct Pace {
    connected: Instant,
    backoff: Backoff,
    /// How often it still tries once it is to stop.
    chances: u32,
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
