//! A consumer of a live source. It starts its parts, hands out events, and stops the parts in order.

use crate::error::{Error, Fate, Place};
use crate::events::backlog::backlog_consumer::{BacklogConsumer, Handout};
use crate::events::backlog::queue::{Backlog, Limits};
use crate::events::common::live_options::{LiveOptions, LiveOrder};
use crate::events::common::options::ConsumerOptions;
use crate::events::live::feed::Shared;
use crate::events::live::reading::Reading;
use crate::events::live::roster::Roster;
use crate::foundation::redis::client_name::Purpose;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::master_watch::{self, MasterWatch};
use crate::foundation::redis::server_check::open_checked;
use crate::foundation::runtime::reports::{Mailbox, Report};
use crate::foundation::runtime::stop::Stop;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::threads::{join, spawn};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;

/// A consumer of a live source.
pub struct LiveConsumer {
    endpoint: Arc<Endpoint>,
    handout: Handout,
    roster: Arc<Roster>,
    quiet: Stop,
    threads: Mutex<Vec<JoinHandle<()>>>,
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
        // This connection also finds out whether the server is a cluster.
        drop(
            open_checked(&endpoint.connector, Purpose::Work, "")
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
            handout: Handout::new(backlog, options.batch_size),
            roster: Arc::new(Roster::new(shared)),
            quiet,
            threads: Mutex::default(),
        };
        let begun = started.roster.start(options.redis.db).and_then(|()| started.start_threads());
        begun.inspect_err(|_| started.end())?;
        Ok(started)
    }

    /// Starts the threads that notice when other servers take over.
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
        if self.roster.follows_slots() {
            let roster = Arc::clone(&self.roster);
            self.threads.lock().push(spawn("event-nodes", endpoint, move || roster.follow_slots())?);
        }
        if self.roster.follows_nodes() {
            let roster = Arc::clone(&self.roster);
            self.threads.lock().push(spawn("event-nodes", endpoint, move || roster.follow_nodes())?);
        }
        Ok(())
    }
}

impl BacklogConsumer for LiveConsumer {
    const KEEPS_NOTHING: &'static str = "a live source keeps no events";

    fn handout(&self) -> &Handout {
        &self.handout
    }

    fn locate(&self, error: Error) -> Error {
        self.endpoint.locate(error)
    }

    fn redis(&self) -> Option<&Arc<Endpoint>> {
        Some(&self.endpoint)
    }

    fn numbers(&self) -> Vec<(&'static str, u64)> {
        let (stats, counts) = (&self.endpoint.stats, self.handout.backlog.counts());
        let mut numbers = vec![
            ("taken", stats.taken.get()),
            ("done", self.handout.done.get()),
            ("failed", self.handout.failed.get()),
            ("dropped", counts.dropped),
            ("too_large", stats.malformed.get()),
            ("losses", counts.losses),
            ("reconnections", stats.reconnections.get()),
            ("reports_dropped", stats.reports_dropped.get()),
        ];
        numbers.extend(counts.held());
        numbers
    }

    fn stop_reading(&self) {
        self.quiet.stop();
        self.handout.backlog.close();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            join(Some(thread));
        }
        self.roster.stop();
    }

    fn end(&self) {
        self.endpoint.connector.closing().begin();
        self.stop_reading();
        if self.handout.close() {
            self.endpoint.stop.stop();
            self.endpoint.reports.close();
        }
    }

    fn mailbox(&self) -> &Mailbox<Report> {
        &self.endpoint.reports
    }

    fn descriptors(&self) -> Vec<RawFd> {
        self.endpoint.connector.sockets().inherited()
    }

    fn is_up(&self) -> bool {
        !self.quiet.is_stopped() && self.endpoint.health.are_up()
    }
}

impl Drop for LiveConsumer {
    /// Stops the threads of a consumer that was not closed, and does not wait for them.
    fn drop(&mut self) {
        self.quiet.stop();
        self.handout.backlog.close();
        self.roster.abandon();
        self.endpoint.stop.stop();
        self.endpoint.reports.close();
    }
}
