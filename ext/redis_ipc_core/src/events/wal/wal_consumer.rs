//! A consumer of a log. It starts its parts, hands out events, and stops the parts in order.

use crate::error::{Error, ErrorKind, Fate};
use crate::events::backlog::backlog_consumer::{BacklogConsumer, Handout};
use crate::events::backlog::queue::{Backlog, Limits};
use crate::events::common::in_flight::InFlight;
use crate::events::common::live_options::Overflow;
use crate::events::common::options::ConsumerOptions;
use crate::events::common::wal_options::{WalOptions, WalOrder};
use crate::events::wal::log::Log;
use crate::events::wal::reader::{Reader, Shared};
use crate::events::wal::source::Source;
use crate::foundation::postgres::connection::{Connection, cell, literal};
use crate::foundation::postgres::failure::Failure;
use crate::foundation::runtime::reports::{Mailbox, Report};
use crate::foundation::runtime::stop::Stop;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::threads::{join, spawn};
use crate::foundation::runtime::waker::Waker;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A consumer of a log.
pub struct WalConsumer {
    shared: Arc<Shared>,
    handout: Handout,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl WalConsumer {
    /// Connects, and begins to read. If another consumer has the slot, waits for it.
    ///
    /// # Errors
    ///
    /// See `events::start`.
    pub fn start(name: &str, options: ConsumerOptions, wal: WalOptions) -> Result<Self, Error> {
        let source = Arc::new(Source::new(name, wal.connection.redacted()));
        let limits = Limits { events: options.prefetch, bytes: options.prefetch_bytes };
        let is_serial = wal.order != WalOrder::None;
        let backlog = Backlog::new(is_serial, Overflow::Block, limits, name.to_owned())
            .handing_out_transactions(wal.by_transaction);
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
            log: Mutex::default(),
            quiet: Stop::default(),
            waker,
            is_standby: AtomicBool::new(false),
            is_stale: AtomicBool::new(false),
            unread: AtomicU64::new(0),
        });
        let mut reader = Reader::new(Arc::clone(&shared));
        reader.start()?;
        // The mutex is only for the case that the thread starts again after a panic.
        let reader = Mutex::new(reader);
        let thread = spawn("event-wal", &source, move || reader.lock().run())?;
        let handout = Handout::new(Arc::clone(&shared.backlog), options.batch_size);
        Ok(Self { shared, handout, thread: Mutex::new(Some(thread)) })
    }

    /// Returns which log is read.
    pub fn log(&self) -> Log {
        self.shared.log.lock().clone()
    }

    /// Returns what its threads share.
    pub fn source(&self) -> &Arc<Source> {
        &self.shared.source
    }

    /// Has the connection made again, because another log is read than it was made for.
    pub fn connect_again(&self) {
        self.shared.is_stale.store(true, Ordering::SeqCst);
        self.shared.waker.wake();
    }

    /// Runs queries on another connection, because the one of the log streams.
    ///
    /// # Errors
    ///
    /// PostgreSQL cannot be reached, or refuses.
    pub fn query<T>(&self, ask: impl FnOnce(&mut Connection) -> Result<T, Failure>) -> Result<T, Error> {
        let Shared { source, options, limit, .. } = &*self.shared;
        source
            .open(&options.connection, *limit)
            .and_then(|mut connection| ask(&mut connection))
            .map_err(|failure| source.explain(&failure))
    }

    /// Stops reading, and waits for nothing.
    fn abandon(&self) {
        self.shared.source.dialer.closing.begin();
        self.stop_reading();
        self.shared.source.stop.stop();
        self.shared.waker.wake();
    }
}

impl BacklogConsumer for WalConsumer {
    const KEEPS_NOTHING: &'static str = "a slot of PostgreSQL has its own position";

    fn handout(&self) -> &Handout {
        &self.handout
    }

    fn locate(&self, error: Error) -> Error {
        self.shared.source.locate(error)
    }

    fn settle(&self, events: &[Arc<InFlight>], longest: Duration) {
        let mut progress = self.shared.progress.lock();
        events.iter().filter_map(|event| event.transaction).for_each(|number| progress.done(number));
        drop(progress);
        self.handout.backlog.finish(events, longest);
    }

    /// Returns how many bytes of the log have not been confirmed to the slot. Returns `None` if there is no slot.
    fn behind(&self) -> Result<Option<u64>, Error> {
        let sql = format!(
            "SELECT pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() \
             END, confirmed_flush_lsn) FROM pg_replication_slots WHERE slot_name = {}",
            literal(&self.shared.options.slot)
        );
        let rows = self.query(|connection| connection.query(&sql))?;
        let bytes = cell(&rows, 0).and_then(|bytes| bytes.parse::<i64>().ok());
        // The slot may have been confirmed since the position was read.
        Ok(bytes.map(|bytes| u64::try_from(bytes).unwrap_or(0)))
    }

    fn numbers(&self) -> Vec<(&'static str, u64)> {
        let counts = &self.shared.source.counts;
        let (open, confirmed) = {
            let progress = self.shared.progress.lock();
            (progress.open(), progress.confirmed())
        };
        let mut numbers = vec![
            ("taken", counts.taken.get()),
            ("done", self.handout.done.get()),
            ("failed", self.handout.failed.get()),
            ("losses", counts.losses.get()),
            ("reconnections", counts.reconnections.get()),
            ("reports_dropped", counts.reports_dropped.get()),
        ];
        numbers.extend(self.handout.backlog.counts().held());
        numbers.extend([
            ("transactions", open as u64),
            ("standby", u64::from(self.shared.is_standby.load(Ordering::SeqCst))),
            ("snapshot_tables", self.shared.unread.load(Ordering::SeqCst)),
            ("confirmed_lsn", confirmed.0),
        ]);
        numbers
    }

    fn stop_reading(&self) {
        self.shared.quiet.stop();
        self.handout.backlog.close();
        self.shared.waker.wake();
    }

    fn end(&self) {
        self.abandon();
        join(self.thread.lock().take());
        if self.handout.close() {
            self.shared.source.reports.close();
        }
    }

    fn has_keys(&self) -> bool {
        matches!(self.shared.options.order, WalOrder::Key(_))
    }

    fn mailbox(&self) -> &Mailbox<Report> {
        &self.shared.source.reports
    }

    fn descriptors(&self) -> Vec<RawFd> {
        self.shared.source.dialer.sockets.inherited()
    }

    fn is_up(&self) -> bool {
        !self.shared.quiet.is_stopped() && self.shared.source.health.are_up()
    }
}

impl Drop for WalConsumer {
    /// Stops the thread of a consumer that was not closed, and does not wait for it.
    fn drop(&mut self) {
        self.abandon();
        self.shared.source.reports.close();
    }
}
