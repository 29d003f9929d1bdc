//! A consumer of a live source. It starts its parts, hands out events, and stops the parts in order.

use crate::error::{Error, ErrorKind, Fate, Place};
use crate::events::backlog::queue::{Backlog, Limits};
use crate::events::common::consumer::{Consumer, Progress};
use crate::events::common::dead_event::DeadEvent;
use crate::events::common::in_flight::InFlight;
use crate::events::common::live_options::{LiveOptions, LiveOrder};
use crate::events::common::options::{ConsumerOptions, From};
use crate::events::live::feed::Shared;
use crate::events::live::reading::Reading;
use crate::events::live::roster::Roster;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::master_watch::{self, MasterWatch};
use crate::foundation::redis::server_check::open_checked;
use crate::foundation::runtime::reports::{Mailbox, Report};
use crate::foundation::runtime::stats::Counter;
use crate::foundation::runtime::stop::Stop;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::threads::{join, spawn};
use crate::foundation::runtime::waiting::Interrupt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A consumer of a live source.
pub struct LiveConsumer {
    endpoint: Arc<Endpoint>,
    backlog: Arc<Backlog>,
    roster: Arc<Roster>,
    quiet: Stop,
    threads: Mutex<Vec<JoinHandle<()>>>,
    batch_size: usize,
    failed: Counter,
    is_closed: AtomicBool,
}

impl LiveConsumer {
    /// Subscribes, and begins to read.
    ///
    /// # Errors
    ///
    /// See `events::start`.
    pub fn start(source: &str, options: &ConsumerOptions, live: LiveOptions) -> Result<Self, Error> {
        let place = Place { stream: Some(source.to_owned()), ..Place::default() };
        let endpoint = Arc::new(Endpoint::new(place, &options.redis));
        Self::connect(&endpoint, source, options, live)
            .map_err(|error| endpoint.locate(error.of_connecting()))
    }

    fn connect(
        endpoint: &Arc<Endpoint>,
        source: &str,
        options: &ConsumerOptions,
        live: LiveOptions,
    ) -> Result<Self, Error> {
        // It also finds out whether this is a cluster.
        drop(
            open_checked(&endpoint.connector, "")
                .map_err(|error| endpoint.connector.explain(&error, Fate::NotSent))?,
        );
        let limits = Limits { events: options.prefetch, bytes: options.prefetch_bytes };
        let backlog =
            Arc::new(Backlog::new(live.order != LiveOrder::None, live.overflow, limits, source.to_owned()));
        let quiet = Stop::default();
        let shared = Arc::new(Shared {
            endpoint: Arc::clone(endpoint),
            backlog: Arc::clone(&backlog),
            reading: Reading::new(&live),
            live,
            source: source.to_owned(),
            room: options.max_event_size,
            numbers: AtomicU64::new(0),
            quiet: quiet.clone(),
        });
        let started = Self {
            endpoint: Arc::clone(endpoint),
            backlog,
            roster: Arc::new(Roster::new(shared)),
            quiet,
            threads: Mutex::default(),
            batch_size: options.batch_size,
            failed: Counter::default(),
            is_closed: AtomicBool::new(false),
        };
        let begun = started.roster.start(options.redis.db).and_then(|()| started.start_threads());
        begun.inspect_err(|_| started.close())?;
        Ok(started)
    }

    /// Starts the threads that notice which servers serve now.
    fn start_threads(&self) -> Result<(), Error> {
        let endpoint = &self.endpoint;
        if endpoint.connector.has_sentinels() {
            let (roster, quiet) = (Arc::clone(&self.roster), self.quiet.clone());
            let (connector, watch) = (Arc::clone(&endpoint.connector), MasterWatch::default());
            let leave = move || {
                while !quiet.pause(master_watch::INTERVAL) {
                    if let Some(master) = watch.moved(&connector) {
                        roster.leave_unless_at(&master);
                    }
                }
            };
            self.threads.lock().push(spawn("event-master", endpoint, leave)?);
        }
        if self.roster.follows_nodes() {
            let roster = Arc::clone(&self.roster);
            self.threads.lock().push(spawn("event-nodes", endpoint, move || roster.follow_nodes())?);
        }
        Ok(())
    }

    fn stopped(&self) -> Error {
        let message = "the consumer was stopped";
        self.endpoint.locate(Error::new(ErrorKind::Closed(Fate::NotSent), message))
    }

    /// Returns the error of what only a stream can do.
    fn keeps_nothing<T>(&self, what: &str) -> Result<T, Error> {
        let message = format!("{what} needs a stream: a live source keeps no events");
        Err(self.endpoint.locate(Error::new(ErrorKind::Configuration, message)))
    }
}

impl Consumer for LiveConsumer {
    fn take(&self, most: usize, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        self.backlog.take(most, interrupt)
    }

    fn take_for(&self, handlers: usize, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        self.backlog.take_for(handlers, interrupt)
    }

    fn take_ready(&self) -> Option<Arc<InFlight>> {
        self.backlog.take_ready()
    }

    fn take_batch(&self, size: usize, within: Duration, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        self.backlog.take_batch(size.min(self.batch_size), within, interrupt)
    }

    fn give_back(&self, events: &[Arc<InFlight>]) -> Result<(), Error> {
        self.backlog.give_back(events);
        Ok(())
    }

    fn wake(&self) {
        self.backlog.wake();
    }

    fn done(&self, events: &[Arc<InFlight>]) -> Result<(), Error> {
        let now = Instant::now();
        let Some(longest) = events.iter().map(|event| event.ran(now)).max() else { return Ok(()) };
        let done: Vec<Arc<InFlight>> = events.iter().filter(|event| event.finish()).cloned().collect();
        let count = done.iter().filter(|event| event.loss.is_none()).count();
        self.endpoint.stats.answers_sent.add(count as u64);
        self.backlog.finish(&done, longest);
        Ok(())
    }

    fn retry(&self, event: &Arc<InFlight>, wait: Duration) -> Result<bool, Error> {
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(self.stopped());
        }
        let is_running = event.fail();
        if is_running {
            self.backlog.rest(event, Instant::now() + wait);
        }
        Ok(is_running)
    }

    /// Gives up on an event for good: nothing keeps it.
    fn bury(&self, event: &Arc<InFlight>, _reason: &str) -> Result<(), Error> {
        if event.begin_to_settle() {
            event.settle(true);
            self.failed.increment();
            self.backlog.finish(std::slice::from_ref(event), event.ran(Instant::now()));
        }
        Ok(())
    }

    fn pause(&self, is_paused: bool) {
        self.backlog.pause(is_paused);
    }

    fn pause_key(&self, _key: &str, _is_paused: bool) -> bool {
        false
    }

    fn progress(&self) -> Result<Progress, Error> {
        self.keeps_nothing("a position")
    }

    fn seek(&self, _to: From) -> Result<StreamId, Error> {
        self.keeps_nothing("seek")
    }

    fn has_made_group(&self) -> bool {
        false
    }

    fn lag(&self) -> Result<Option<u64>, Error> {
        self.keeps_nothing("lag")
    }

    fn stats(&self) -> Vec<(&'static str, u64)> {
        let (stats, counts) = (&self.endpoint.stats, self.backlog.counts());
        vec![
            ("taken", stats.taken.get()),
            ("done", stats.answers_sent.get()),
            ("failed", self.failed.get()),
            ("dropped", counts.dropped),
            ("too_large", stats.malformed.get()),
            ("losses", counts.losses),
            ("reconnections", stats.reconnections.get()),
            ("reports_dropped", stats.reports_dropped.get()),
            ("held", (counts.waiting + counts.running + counts.resting) as u64),
            ("held_bytes", counts.bytes as u64),
            ("running", counts.running as u64),
            ("resting", counts.resting as u64),
        ]
    }

    fn quiet(&self) {
        self.quiet.stop();
        self.backlog.close();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            join(Some(thread));
        }
        self.roster.stop();
    }

    fn close(&self) {
        self.endpoint.connector.closing().begin();
        self.quiet();
        if !self.is_closed.swap(true, Ordering::SeqCst) {
            self.endpoint.stop.stop();
            self.endpoint.reports.close();
        }
    }

    fn reports(&self) -> &Mailbox<Report> {
        &self.endpoint.reports
    }

    fn inherited_sockets(&self) -> Vec<std::os::fd::RawFd> {
        self.endpoint.connector.sockets().inherited()
    }

    fn is_connected(&self) -> bool {
        !self.quiet.is_stopped() && self.endpoint.health.are_up()
    }

    fn dead_letters(&self, _after: Option<StreamId>, _count: usize) -> Result<Vec<DeadEvent>, Error> {
        self.keeps_nothing("dead_letters")
    }

    fn count_dead_letters(&self) -> Result<u64, Error> {
        self.keeps_nothing("dead_letters")
    }

    fn retry_dead_letter(&self, _id: StreamId) -> Result<bool, Error> {
        self.keeps_nothing("retry of a dead letter")
    }

    fn discard_dead_letter(&self, _id: StreamId) -> Result<bool, Error> {
        self.keeps_nothing("discard of a dead letter")
    }
}

impl Drop for LiveConsumer {
    /// A consumer that was not closed lets its threads end by themselves.
    fn drop(&mut self) {
        self.quiet.stop();
        self.backlog.close();
        self.roster.abandon();
        self.endpoint.stop.stop();
        self.endpoint.reports.close();
    }
}
