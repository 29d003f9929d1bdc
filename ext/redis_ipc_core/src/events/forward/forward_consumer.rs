//! A consumer of a log that writes what it reads into a stream.

use crate::error::{Error, ErrorKind, Fate};
use crate::events::backlog::backlog_consumer::{BacklogConsumer, Handout};
use crate::events::common::consumer::Consumer;
use crate::events::common::forward_options::{ForwardOptions, Naming};
use crate::events::common::in_flight::InFlight;
use crate::events::common::options::ConsumerOptions;
use crate::events::common::wal_options::{WalOptions, WalOrder};
use crate::events::forward::forwarder::{Forwarder, Target};
use crate::events::wal::wal_consumer::WalConsumer;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::runtime::backoff::Backoff;
use crate::foundation::runtime::reports::{Mailbox, Report};
use crate::foundation::runtime::stop::Stop;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::threads::{join, spawn};
use crate::foundation::runtime::waiting::Interrupt;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// The most changes that are written at once.
const TOGETHER: usize = 500;

/// A consumer of a log that writes what it reads into a stream: by a thread of its own, or when it is asked to.
pub struct ForwardConsumer {
    work: Arc<Work>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread shares with the consumer.
struct Work {
    target: Arc<Target>,
    /// One thread writes. The mutex is for a thread that starts again after a panic, and for workers of Ruby.
    forwarder: Mutex<Forwarder>,
    /// What the thread has taken and not finished.
    taken: Mutex<Vec<Arc<InFlight>>>,
    stop: Stop,
}

impl ForwardConsumer {
    /// Connects to both servers, and begins to read the log; or waits for the slot, if another consumer has it.
    ///
    /// # Errors
    ///
    /// See `events::start`.
    pub fn start(
        name: &str,
        options: ConsumerOptions,
        mut wal: WalOptions,
        forward: ForwardOptions,
    ) -> Result<Self, Error> {
        let (slot, is_asked) = (wal.slot.clone(), forward.is_asked);
        // What comes before the checkpoint is taken for written.
        wal.order = WalOrder::Source;
        let log = WalConsumer::start(name, options.clone(), wal)?;
        let target = Arc::new(Target::new(log, &options, forward, slot));
        let forwarder = Forwarder::new(Arc::clone(&target));
        forwarder.look()?;
        let work = Arc::new(Work {
            target,
            forwarder: Mutex::new(forwarder),
            taken: Mutex::default(),
            stop: Stop::default(),
        });
        let thread = if is_asked {
            None
        } else {
            let body = Arc::clone(&work);
            Some(spawn("event-forward", work.target.wal.source(), move || body.run())?)
        };
        Ok(Self { work, thread: Mutex::new(thread) })
    }
}

impl Work {
    fn run(&self) {
        let interrupt = Interrupt::default();
        loop {
            // After a panic there is something already.
            let mut taken = self.taken.lock().clone();
            if taken.is_empty() {
                let backlog = &self.target.wal.handout().backlog;
                let Some(events) = backlog.take_batch(TOGETHER, Duration::ZERO, &interrupt) else { return };
                self.taken.lock().clone_from(&events);
                taken = events;
            }
            let losses = taken.iter().filter_map(|event| event.loss.as_deref());
            losses.for_each(|loss| {
                self.target.wal.handout().losses.note(loss);
                self.target.wal.source().reports.send(Report::Loss(loss.clone()));
            });
            let changes: Vec<_> = taken.iter().filter(|event| event.loss.is_none()).cloned().collect();
            let written = self.write(&changes, &[]).and_then(|()| self.target.wal.done(&taken));
            self.taken.lock().clear();
            if written.is_err() {
                return;
            }
        }
    }

    /// Writes until Redis has it, or the consumer closes.
    fn write(&self, events: &[Arc<InFlight>], namings: &[Naming]) -> Result<(), Error> {
        let mut forwarder = self.forwarder.lock();
        let (mut backoff, mut is_down) = (Backoff::default(), false);
        loop {
            let error = match forwarder.write(events, namings) {
                Ok(()) => break,
                Err(error) => error,
            };
            self.failed(error, std::mem::replace(&mut is_down, true));
            if self.stop.pause(backoff.pause()) {
                let message = "the consumer was stopped before the changes were written";
                return Err(Error::new(ErrorKind::Closed(Fate::Unknown), message));
            }
        }
        let health = &self.target.endpoint.health;
        if is_down && let Some(outage) = health.restored() {
            let source = self.target.wal.source();
            source.counts.reconnections.increment();
            source.reports.send(Report::Reconnected(outage));
        }
        Ok(())
    }

    fn failed(&self, error: Error, was_down: bool) {
        let health = &self.target.endpoint.health;
        let is_news = if was_down { health.refused(&error.message) } else { health.lost() };
        if is_news && !self.stop.is_stopped() {
            // Another error that says the same is none.
            health.refused(&error.message);
            self.target.wal.source().report(error);
        }
    }
}

impl BacklogConsumer for ForwardConsumer {
    const KEEPS_NOTHING: &'static str = WalConsumer::KEEPS_NOTHING;

    fn handout(&self) -> &Handout {
        self.work.target.wal.handout()
    }

    fn locate(&self, error: Error) -> Error {
        self.work.target.wal.locate(error)
    }

    fn settle(&self, events: &[Arc<InFlight>], longest: Duration) {
        self.work.target.wal.settle(events, longest);
    }

    fn behind(&self) -> Result<Option<u64>, Error> {
        self.work.target.wal.behind()
    }

    fn write(&self, events: &[Arc<InFlight>], namings: &[Naming]) -> Result<(), Error> {
        self.work.write(events, namings)?;
        self.done(events)
    }

    fn redis(&self) -> Option<&Arc<Endpoint>> {
        Some(&self.work.target.endpoint)
    }

    fn numbers(&self) -> Vec<(&'static str, u64)> {
        let counts = &self.work.target.counts;
        let mut numbers = self.work.target.wal.numbers();
        numbers.extend([
            ("forwarded", counts.forwarded.get()),
            ("repeated", counts.repeated.get()),
            ("trimmed", counts.trimmed.get()),
        ]);
        numbers
    }

    fn stop_reading(&self) {
        self.work.target.wal.stop_reading();
    }

    fn end(&self) {
        self.stop_reading();
        self.work.stop.stop();
        join(self.thread.lock().take());
        // What was written is confirmed to PostgreSQL.
        self.work.target.wal.end();
        self.work.target.connections.close();
    }

    fn mailbox(&self) -> &Mailbox<Report> {
        self.work.target.wal.mailbox()
    }

    fn descriptors(&self) -> Vec<RawFd> {
        let mut descriptors = self.work.target.wal.descriptors();
        descriptors.extend(self.work.target.endpoint.connector.sockets().inherited());
        descriptors
    }

    fn is_up(&self) -> bool {
        self.work.target.wal.is_up() && self.work.target.endpoint.health.are_up()
    }
}

impl Drop for ForwardConsumer {
    /// A consumer that was not closed lets its threads end by themselves.
    fn drop(&mut self) {
        self.stop_reading();
        self.work.stop.stop();
    }
}
