//! The shared part of consumers whose sources keep no events. Their events wait in a backlog in memory.

use crate::error::{Error, ErrorKind, Fate};
use crate::events::backlog::queue::Backlog;
use crate::events::common::consumer::{Consumer, Progress};
use crate::events::common::dead_event::DeadEvent;
use crate::events::common::forward_options::Naming;
use crate::events::common::in_flight::InFlight;
use crate::events::common::key_hash::hash;
use crate::events::common::options::From;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::runtime::losses::Losses;
use crate::foundation::runtime::reports::{Mailbox, Report};
use crate::foundation::runtime::stats::Counter;
use crate::foundation::runtime::waiting::Interrupt;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The backlog of a consumer, and what became of the events that it handed out.
pub struct Handout {
    /// The events that wait.
    pub backlog: Arc<Backlog>,
    /// How many events were handled.
    pub done: Counter,
    /// How many events were given up on.
    pub failed: Counter,
    /// The last losses that were reported, and not handed to a worker.
    pub losses: Losses,
    batch_size: usize,
    is_closed: AtomicBool,
}

impl Handout {
    /// Creates the handout of a backlog.
    pub fn new(backlog: Arc<Backlog>, batch_size: usize) -> Self {
        let (done, failed, losses) = Default::default();
        Self { backlog, done, failed, losses, batch_size, is_closed: AtomicBool::new(false) }
    }

    /// Stops all retries. Returns true the first time.
    pub fn close(&self) -> bool {
        !self.is_closed.swap(true, Ordering::SeqCst)
    }
}

/// What differs between the consumers whose events wait in a backlog. Each implements [`Consumer`] by this.
pub trait BacklogConsumer: Send + Sync {
    /// Why it cannot do what needs a stream. It ends an error message.
    const KEEPS_NOTHING: &'static str;

    /// Returns its backlog and counters.
    fn handout(&self) -> &Handout;

    /// Adds the source to an error.
    fn locate(&self, error: Error) -> Error;

    /// Finishes events that ran, of which the longest took `longest`.
    fn settle(&self, events: &[Arc<InFlight>], longest: Duration) {
        self.handout().backlog.finish(events, longest);
    }

    /// Returns how many bytes it is behind.
    ///
    /// # Errors
    ///
    /// The source does not know, or the server cannot be reached.
    fn behind(&self) -> Result<Option<u64>, Error> {
        self.only_of_streams("lag")
    }

    /// Does what [`Consumer::forward`] does.
    ///
    /// # Errors
    ///
    /// It does not forward, or is closed.
    fn write(&self, _events: &[Arc<InFlight>], _namings: &[Naming]) -> Result<(), Error> {
        let message = "only a consumer of PostgreSQL's log that says forward writes into a stream";
        Err(self.locate(Error::new(ErrorKind::Configuration, message)))
    }

    /// Returns the counters for [`Consumer::stats`].
    fn numbers(&self) -> Vec<(&'static str, u64)>;

    /// Reads nothing more, and hands out nothing.
    fn stop_reading(&self);

    /// Stops everything, and waits for its threads.
    fn end(&self);

    /// Does what [`Consumer::endpoint`] does.
    fn redis(&self) -> Option<&Arc<Endpoint>> {
        None
    }

    /// Whether its events are ordered by keys, which can be paused.
    fn has_keys(&self) -> bool {
        false
    }

    /// Returns the queue of its reports.
    fn mailbox(&self) -> &Mailbox<Report>;

    /// Returns the descriptors of its sockets, for a forked child to close.
    fn descriptors(&self) -> Vec<RawFd>;

    /// Whether it reads, and its connections are up.
    fn is_up(&self) -> bool;

    /// Returns the error for what needs a stream.
    ///
    /// # Errors
    ///
    /// Always.
    fn only_of_streams<T>(&self, what: &str) -> Result<T, Error> {
        let message = format!("{what} needs a stream: {}", Self::KEEPS_NOTHING);
        Err(self.locate(Error::new(ErrorKind::Configuration, message)))
    }
}

impl<C: BacklogConsumer> Consumer for C {
    fn take(&self, most: usize, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        self.handout().backlog.take(most, interrupt)
    }

    fn take_for(&self, handlers: usize, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        self.handout().backlog.take_for(handlers, interrupt)
    }

    fn take_ready(&self) -> Option<Arc<InFlight>> {
        self.handout().backlog.take_ready()
    }

    fn take_batch(&self, size: usize, within: Duration, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        let Handout { backlog, batch_size, .. } = self.handout();
        backlog.take_batch(size.min(*batch_size), within, interrupt)
    }

    fn give_back(&self, events: &[Arc<InFlight>]) -> Result<(), Error> {
        self.handout().backlog.give_back(events);
        Ok(())
    }

    fn wake(&self) {
        self.handout().backlog.wake();
    }

    fn finish(&self, events: &[Arc<InFlight>], longest: Duration) -> Result<(), Error> {
        let done: Vec<Arc<InFlight>> = events.iter().filter(|event| event.finish()).cloned().collect();
        let count = done.iter().filter(|event| event.loss.is_none()).count();
        self.handout().done.add(count as u64);
        self.settle(&done, longest);
        Ok(())
    }

    fn forward(&self, events: &[Arc<InFlight>], namings: &[Naming]) -> Result<(), Error> {
        self.write(events, namings)
    }

    fn retry(&self, event: &Arc<InFlight>, wait: Duration) -> Result<bool, Error> {
        let Handout { backlog, is_closed, .. } = self.handout();
        if is_closed.load(Ordering::SeqCst) {
            let message = "the consumer was stopped";
            return Err(self.locate(Error::new(ErrorKind::Closed(Fate::NotSent), message)));
        }
        let is_running = event.fail();
        if is_running {
            backlog.rest(event, Instant::now() + wait);
        }
        Ok(is_running)
    }

    /// Gives up on an event for good: the source has no dead letters.
    fn bury(&self, event: &Arc<InFlight>, _reason: &str) -> Result<(), Error> {
        if event.begin_to_settle() {
            event.settle(true);
            self.handout().failed.increment();
            self.settle(std::slice::from_ref(event), event.ran(Instant::now()));
        }
        Ok(())
    }

    fn pause(&self, is_paused: bool) {
        self.handout().backlog.pause(is_paused);
    }

    fn pause_key(&self, key: &str, is_paused: bool) -> bool {
        let has_keys = self.has_keys();
        if has_keys {
            self.handout().backlog.pause_key(hash(key.as_bytes()), is_paused);
        }
        has_keys
    }

    fn progress(&self) -> Result<Progress, Error> {
        self.only_of_streams("a position")
    }

    fn seek(&self, _to: From) -> Result<StreamId, Error> {
        self.only_of_streams("seek")
    }

    fn has_made_group(&self) -> bool {
        false
    }

    fn lag(&self) -> Result<Option<u64>, Error> {
        self.behind()
    }

    fn losses(&self) -> Vec<serde_json::Value> {
        self.handout().losses.rows()
    }

    fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        self.redis()
    }

    fn stats(&self) -> Vec<(&'static str, u64)> {
        self.numbers()
    }

    fn quiet(&self) {
        self.stop_reading();
    }

    fn close(&self) {
        self.end();
    }

    fn reports(&self) -> &Mailbox<Report> {
        self.mailbox()
    }

    fn inherited_sockets(&self) -> Vec<RawFd> {
        self.descriptors()
    }

    fn is_connected(&self) -> bool {
        self.is_up()
    }

    fn dead_letters(&self, _after: Option<StreamId>, _count: usize) -> Result<Vec<DeadEvent>, Error> {
        self.only_of_streams("dead_letters")
    }

    fn count_dead_letters(&self) -> Result<u64, Error> {
        self.only_of_streams("dead_letters")
    }

    fn retry_dead_letter(&self, _id: StreamId) -> Result<bool, Error> {
        self.only_of_streams("retry of a dead letter")
    }

    fn discard_dead_letter(&self, _id: StreamId) -> Result<bool, Error> {
        self.only_of_streams("discard of a dead letter")
    }
}
