//! A consumer of a log. It starts its parts, hands out events, and stops the parts in order.

use crate::error::{Error, ErrorKind, Fate};
use crate::events::backlog::queue::{Backlog, Limits};
use crate::events::common::consumer::{Consumer, Progress as Positions};
use crate::events::common::dead_event::DeadEvent;
use crate::events::common::in_flight::InFlight;
use crate::events::common::live_options::Overflow;
use crate::events::common::options::{ConsumerOptions, From};
use crate::events::common::wal_options::{WalOptions, WalOrder};
use crate::events::wal::reader::{Reader, Shared};
use crate::events::wal::source::Source;
use crate::foundation::net::attempt::Attempt;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::postgres::connection::{Connection, literal};
use crate::foundation::runtime::reports::{Mailbox, Report};
use crate::foundation::runtime::stop::Stop;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::threads::{join, spawn};
use crate::foundation::runtime::waiting::Interrupt;
use crate::foundation::runtime::waker::Waker;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A consumer of a log.
pub struct WalConsumer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    batch_size: usize,
    is_closed: AtomicBool,
}

impl WalConsumer {
    /// Connects, and begins to read; or waits for the slot, if another consumer has it.
    ///
    /// # Errors
    ///
    /// See `events::start`.
    pub fn start(name: &str, options: ConsumerOptions, wal: WalOptions) -> Result<Self, Error> {
        let source = Arc::new(Source::new(name, wal.connection.redacted()));
        let limits = Limits { events: options.prefetch, bytes: options.prefetch_bytes };
        let is_serial = wal.order != WalOrder::None;
        let backlog = Backlog::new(is_serial, Overflow::Block, limits, name.to_owned());
        let waker = Waker::new(&source.dialer.sockets).map_err(|error| {
            let message = format!("no socket could be made to wake a thread: {error}");
            source.locate(Error::new(ErrorKind::Connection(Fate::NotSent), message))
        })?;
        let shared = Arc::new(Shared {
            source: Arc::clone(&source),
            options: wal,
            limit: options.max_event_size,
            backlog: Arc::new(backlog),
            progress: Arc::default(),
            quiet: Stop::default(),
            waker,
            is_standby: AtomicBool::new(false),
        });
        let mut reader = Reader::new(Arc::clone(&shared));
        reader.start()?;
        // The mutex is only for a thread that starts again after a panic.
        let reader = Mutex::new(reader);
        let thread = spawn("event-wal", &source, move || reader.lock().run())?;
        let (thread, is_closed) = (Mutex::new(Some(thread)), AtomicBool::new(false));
        Ok(Self { shared, thread, batch_size: options.batch_size, is_closed })
    }

    fn stopped(&self) -> Error {
        let message = "the consumer was stopped";
        self.shared.source.locate(Error::new(ErrorKind::Closed(Fate::NotSent), message))
    }

    /// Returns the error of what only a stream can do.
    fn needs_stream<T>(&self, what: &str) -> Result<T, Error> {
        let message = format!("{what} needs a stream: a slot of PostgreSQL has its own position");
        Err(self.shared.source.locate(Error::new(ErrorKind::Configuration, message)))
    }

    fn settle(&self, events: &[Arc<InFlight>], longest: Duration) {
        let mut progress = self.shared.progress.lock();
        events.iter().filter_map(|event| event.transaction).for_each(|number| progress.done(number));
        drop(progress);
        self.shared.backlog.finish(events, longest);
    }

    fn stop_reading(&self) {
        self.shared.quiet.stop();
        self.shared.backlog.close();
        self.shared.waker.wake();
    }

    fn end(&self) {
        self.shared.source.dialer.closing.begin();
        self.stop_reading();
        self.shared.source.stop.stop();
        self.shared.waker.wake();
    }
}

impl Consumer for WalConsumer {
    fn take(&self, most: usize, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        self.shared.backlog.take(most, interrupt)
    }

    fn take_for(&self, handlers: usize, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        self.shared.backlog.take_for(handlers, interrupt)
    }

    fn take_ready(&self) -> Option<Arc<InFlight>> {
        self.shared.backlog.take_ready()
    }

    fn take_batch(&self, size: usize, within: Duration, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        self.shared.backlog.take_batch(size.min(self.batch_size), within, interrupt)
    }

    fn give_back(&self, events: &[Arc<InFlight>]) -> Result<(), Error> {
        self.shared.backlog.give_back(events);
        Ok(())
    }

    fn wake(&self) {
        self.shared.backlog.wake();
    }

    fn done(&self, events: &[Arc<InFlight>]) -> Result<(), Error> {
        let Some(longest) = events.iter().map(|event| event.ran(Instant::now())).max() else { return Ok(()) };
        let done: Vec<Arc<InFlight>> = events.iter().filter(|event| event.finish()).cloned().collect();
        let count = done.iter().filter(|event| event.loss.is_none()).count();
        self.shared.source.counts.done.add(count as u64);
        self.settle(&done, longest);
        Ok(())
    }

    fn retry(&self, event: &Arc<InFlight>, wait: Duration) -> Result<bool, Error> {
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(self.stopped());
        }
        let is_running = event.fail();
        if is_running {
            self.shared.backlog.rest(event, Instant::now() + wait);
        }
        Ok(is_running)
    }

    /// Gives up on an event for good: nothing keeps it once its transaction is confirmed.
    fn bury(&self, event: &Arc<InFlight>, _reason: &str) -> Result<(), Error> {
        if event.begin_to_settle() {
            event.settle(true);
            self.shared.source.counts.failed.increment();
            self.settle(std::slice::from_ref(event), event.ran(Instant::now()));
        }
        Ok(())
    }

    fn pause(&self, is_paused: bool) {
        self.shared.backlog.pause(is_paused);
    }

    fn pause_key(&self, _key: &str, _is_paused: bool) -> bool {
        false
    }

    fn progress(&self) -> Result<Positions, Error> {
        self.needs_stream("a position")
    }

    fn seek(&self, _to: From) -> Result<StreamId, Error> {
        self.needs_stream("seek")
    }

    fn has_made_group(&self) -> bool {
        false
    }

    /// Returns how many bytes of the log the slot has not been confirmed yet. `None` if there is no such slot.
    fn lag(&self) -> Result<Option<u64>, Error> {
        let Shared { source, options, limit, .. } = &*self.shared;
        let attempt = Attempt::new(options.connection.connect_timeout, &source.dialer.closing);
        let sql = format!(
            "SELECT pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() \
             END, confirmed_flush_lsn) FROM pg_replication_slots WHERE slot_name = {}",
            literal(&options.slot)
        );
        let rows = Connection::open(&options.connection, &source.dialer, *limit, &attempt)
            .and_then(|mut connection| connection.query(&sql))
            .map_err(|failure| source.explain(&failure))?;
        let bytes = rows.first().and_then(|row| row.first()?.as_deref()?.parse::<i64>().ok());
        // The slot may have been confirmed since the position was read.
        Ok(bytes.map(|bytes| u64::try_from(bytes).unwrap_or(0)))
    }

    fn stats(&self) -> Vec<(&'static str, u64)> {
        let counts = &self.shared.source.counts;
        let held = self.shared.backlog.counts();
        let (open, confirmed) = {
            let progress = self.shared.progress.lock();
            (progress.open(), progress.confirmed())
        };
        vec![
            ("taken", counts.taken.get()),
            ("done", counts.done.get()),
            ("failed", counts.failed.get()),
            ("losses", counts.losses.get()),
            ("reconnections", counts.reconnections.get()),
            ("reports_dropped", counts.reports_dropped.get()),
            ("held", (held.waiting + held.running + held.resting) as u64),
            ("held_bytes", held.bytes as u64),
            ("running", held.running as u64),
            ("resting", held.resting as u64),
            ("transactions", open as u64),
            ("standby", u64::from(self.shared.is_standby.load(Ordering::SeqCst))),
            ("confirmed_lsn", confirmed.0),
        ]
    }

    fn quiet(&self) {
        self.stop_reading();
    }

    fn close(&self) {
        self.end();
        join(self.thread.lock().take());
        if !self.is_closed.swap(true, Ordering::SeqCst) {
            self.shared.source.reports.close();
        }
    }

    fn reports(&self) -> &Mailbox<Report> {
        &self.shared.source.reports
    }

    fn inherited_sockets(&self) -> Vec<std::os::fd::RawFd> {
        self.shared.source.dialer.sockets.inherited()
    }

    fn is_connected(&self) -> bool {
        !self.shared.quiet.is_stopped() && self.shared.source.health.are_up()
    }

    fn dead_letters(&self, _after: Option<StreamId>, _count: usize) -> Result<Vec<DeadEvent>, Error> {
        self.needs_stream("dead_letters")
    }

    fn count_dead_letters(&self) -> Result<u64, Error> {
        self.needs_stream("dead_letters")
    }

    fn retry_dead_letter(&self, _id: StreamId) -> Result<bool, Error> {
        self.needs_stream("retry of a dead letter")
    }

    fn discard_dead_letter(&self, _id: StreamId) -> Result<bool, Error> {
        self.needs_stream("discard of a dead letter")
    }
}

impl Drop for WalConsumer {
    /// A consumer that was not closed lets its thread end by itself.
    fn drop(&mut self) {
        self.end();
        self.shared.source.reports.close();
    }
}
