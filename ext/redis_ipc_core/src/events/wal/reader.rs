//! The thread that owns the connection. It reads the log, and confirms what is done, even while handlers are slow.

use crate::error::Error;
use crate::events::backlog::queue::Backlog;
use crate::events::common::in_flight::InFlight;
use crate::events::common::wal_options::{TableName, WalOptions};
use crate::events::wal::assembly::{Assembly, now_ms};
use crate::events::wal::log::Log;
use crate::events::wal::preparation::{Preparation, Ready};
use crate::events::wal::progress::Progress;
use crate::events::wal::snapshot::Snapshot;
use crate::events::wal::snapshot_records;
use crate::events::wal::source::Source;
use crate::foundation::payload::loss::{Cause, Loss};
use crate::foundation::postgres::connection::{Connection, Streamed, literal, quoted};
use crate::foundation::postgres::failure::Failure;
use crate::foundation::postgres::pgoutput::lsn::Lsn;
use crate::foundation::postgres::pgoutput::message::Message;
use crate::foundation::postgres::pgoutput::relation::Relation;
use crate::foundation::runtime::backoff::Backoff;
use crate::foundation::runtime::health::STABLE;
use crate::foundation::runtime::reports::Report;
use crate::foundation::runtime::stop::Stop;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::waker::Waker;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// At least this often the server is told up to where everything is done.
const STATUS: Duration = Duration::from_secs(10);
/// While that position changes, the server is told this often.
const NEWS: Duration = Duration::from_secs(1);
/// How often a standby tries to get the slot.
const TURN: Duration = Duration::from_secs(1);
/// The most events that are put into the backlog at once.
const TOGETHER: usize = 64;
/// How long the thread rests while more is coming. The server sends each row by itself. A thread that waited for each
/// would be woken for each, which takes longer than to read it, for both.
const REST: Duration = Duration::from_micros(200);
/// After so many rests in which nothing came the thread waits for what comes.
const RESTS: usize = 5;
/// So many changes of a transaction, or events that wait for handlers, make it rest. A few are handed on at once.
const MANY: usize = 64;
/// The SQLSTATE for a slot that another connection uses.
const IN_USE: &str = "55006";

/// The state that the thread shares with the consumer.
pub struct Shared {
    /// The source.
    pub source: Arc<Source>,
    /// Its options.
    pub options: WalOptions,
    /// The most bytes of a change.
    pub limit: usize,
    /// The backlog that gets the events.
    pub backlog: Arc<Backlog>,
    /// The position up to which everything is done.
    pub progress: Arc<Mutex<Progress>>,
    /// Which log is read.
    pub log: Mutex<Log>,
    /// Set when nothing more is to be read.
    pub quiet: Stop,
    /// Wakes the thread.
    pub waker: Waker,
    /// Whether another connection has the slot.
    pub is_standby: AtomicBool,
    /// Whether another log is read than the connection was made for: it is to be made again.
    pub is_stale: AtomicBool,
    /// How many tables have rows of a snapshot that are not all handled.
    pub unread: AtomicU64,
}

impl Shared {
    /// Opens a connection beside the one that streams, which takes no queries.
    ///
    /// # Errors
    ///
    /// PostgreSQL cannot be reached, or does not let it in.
    pub fn connect(&self) -> Result<Connection, Failure> {
        let mut connection = self.source.open(&self.options.connection, self.limit)?;
        connection.is_ready()?;
        Ok(connection)
    }

    /// Puts events into the backlog while there is room, and waits for it until `until`.
    pub fn offer(&self, ready: &mut VecDeque<Arc<InFlight>>, until: Instant) {
        let before = ready.len();
        self.backlog.offer(ready, until);
        self.source.counts.taken.add((before - ready.len()) as u64);
    }
}

/// The thread's own state.
pub struct Reader {
    shared: Arc<Shared>,
    assembly: Assembly,
    ready: VecDeque<Arc<InFlight>>,
    link: Link,
    snapshot: Snapshot,
    /// How often the thread has rested since something came.
    rests: usize,
    /// What is known about the server, once it had the slot.
    server: Option<Ready>,
    /// When the connection broke.
    lost_at: Option<Instant>,
    backoff: Backoff,
    has_run: bool,
}

/// The connection to the log.
struct Link {
    connection: Option<Connection>,
    told: Told,
    received: Lsn,
    /// How often the server must hear something.
    interval: Duration,
}

/// What was last sent to the server.
struct Told {
    at: Instant,
    done: Lsn,
}

/// Why a session ended.
enum End {
    /// Something is wrong with the connection.
    Failed(Failure),
    /// The server lacks something that the consumer needs.
    Refused(Error),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Reader {
    /// Creates a reader that is not connected.
    pub fn new(shared: Arc<Shared>) -> Self {
        let assembly = Assembly::new(shared.options.order.clone(), Arc::clone(&shared.progress));
        Self {
            shared,
            assembly,
            ready: VecDeque::new(),
            link: Link {
                connection: None,
                told: Told { at: Instant::now(), done: Lsn(0) },
                received: Lsn(0),
                interval: STATUS,
            },
            snapshot: Snapshot::default(),
            rests: 0,
            server: None,
            lost_at: None,
            backoff: Backoff::default(),
            has_run: false,
        }
    }

    /// Connects. Begins to stream, or to wait for the slot.
    ///
    /// # Errors
    ///
    /// PostgreSQL cannot be reached, or lacks something.
    pub fn start(&mut self) -> Result<(), Error> {
        self.connect().and_then(|()| self.begin()).map(drop).map_err(|end| self.explain(end))
    }

    fn explain(&self, end: End) -> Error {
        match end {
            End::Failed(failure) => self.shared.source.explain(&failure),
            End::Refused(error) => self.shared.source.locate(error),
        }
    }

    /// Runs until the consumer closes.
    pub fn run(&mut self) {
        if std::mem::replace(&mut self.has_run, true) {
            // The thread panicked before, perhaps in the middle of a message.
            self.link.connection = None;
        }
        let stop = self.shared.source.stop.clone();
        while !stop.is_stopped() {
            match self.session() {
                Ok(()) => break,
                Err(end) => self.lost(end),
            }
        }
        if let Some(mut connection) = self.link.connection.take() {
            // What could not be recorded or confirmed comes again.
            if let Err(failure) = self.snapshot.record(&self.shared) {
                self.shared.source.report(self.shared.source.explain(&failure));
            }
            let done = self.shared.progress.lock().confirmed();
            // If the position cannot be confirmed, the server sends those events again.
            if self.server.is_some() && connection.confirm(self.link.received.max(done), done).is_ok() {
                connection.finish();
            }
        }
    }

    fn session(&mut self) -> Result<(), End> {
        while self.link.connection.is_none() || self.shared.is_standby.load(Ordering::SeqCst) {
            if self.link.connection.is_none() {
                self.connect()?;
            } else if self.shared.source.stop.pause(TURN) {
                return Ok(());
            }
            self.begin()?;
        }
        self.up();
        if self.shared.options.has_snapshot && self.snapshot.is_due() {
            let Self { shared, assembly, link, snapshot, .. } = self;
            snapshot.take(shared, assembly, &mut || link.stay_alive(shared))?;
        }
        self.stream()
    }

    fn connect(&mut self) -> Result<(), End> {
        let shared = &self.shared;
        let mut connection = shared.source.open(&shared.options.connection, shared.limit)?;
        let preparation = Preparation::new(&shared.source, &shared.options, &mut connection);
        let ready = preparation.run(self.server.is_some()).map_err(End::Refused)?;
        connection.is_ready().map_err(Failure::Io)?;
        if self.server.as_ref().is_some_and(|before| before.log != ready.log) {
            // Positions of the previous log mean nothing in this one. Transactions under way are sent once more.
            self.assembly.forget();
            self.snapshot.forget(shared);
            let first = self.shared.progress.lock().restart(ready.start);
            self.follow(&ready, first);
        } else {
            self.assembly.begin_again();
            self.shared.progress.lock().reached(ready.start);
            if self.server.is_none() {
                self.follow(&ready, 0);
            }
        }
        if ready.is_replaced {
            self.snapshot.forget(&self.shared);
            self.tell_loss();
        }
        self.link.interval = ready.timeout.map_or(STATUS, |timeout| STATUS.min(timeout / 3));
        self.server = Some(ready);
        self.link.connection = Some(connection);
        Ok(())
    }

    /// Records which log is read from now on.
    fn follow(&self, ready: &Ready, first: u64) {
        let mut log = self.shared.log.lock();
        *log = log.next(&ready.log, first);
    }

    /// Reports a loss: what was committed since the last position of the lost slot is missing.
    fn tell_loss(&self) {
        let source = &self.shared.source;
        source.counts.losses.increment();
        let until_ms = now_ms();
        let outage = self.lost_at.map(|lost| u64::try_from(lost.elapsed().as_millis()).unwrap_or(0));
        self.shared.backlog.push_loss(Loss {
            source: source.name.clone(),
            node: source.address.clone(),
            cause: Cause::SlotLost,
            since_ms: outage.map(|outage| until_ms.saturating_sub(outage)),
            until_ms,
            at_most: None,
            is_exact: false,
        });
    }

    /// Begins to stream, or to wait for the slot if another connection has it.
    fn begin(&mut self) -> Result<(), End> {
        let Some(connection) = &mut self.link.connection else { return Ok(()) };
        let options = &self.shared.options;
        let start = self.shared.progress.lock().confirmed();
        let command = format!(
            "START_REPLICATION SLOT {} LOGICAL {start} (proto_version '1', publication_names {}, messages 'true')",
            quoted(&options.slot),
            literal(&quoted(&options.publication))
        );
        let is_standby = match connection.stream(&command) {
            Ok(()) => false,
            Err(failure) if failure.code() == Some(IN_USE) => true,
            Err(failure) => return Err(failure.into()),
        };
        if !is_standby {
            self.link.told = Told { at: Instant::now(), done: start };
        }
        self.shared.is_standby.store(is_standby, Ordering::SeqCst);
        Ok(())
    }

    fn up(&mut self) {
        if let Some(lost_at) = self.lost_at.take() {
            if lost_at.elapsed() >= STABLE {
                self.backoff.reset();
            }
            let source = &self.shared.source;
            source.counts.reconnections.increment();
            if let Some(outage) = source.health.restored() {
                source.reports.send(Report::Reconnected(outage));
            }
        }
    }

    fn lost(&mut self, end: End) {
        self.link.connection = None;
        self.shared.is_standby.store(false, Ordering::SeqCst);
        let source = Arc::clone(&self.shared.source);
        if source.stop.is_stopped() {
            return;
        }
        let is_refused = match &end {
            End::Failed(failure) => failure.is_refusal(),
            End::Refused(_) => true,
        };
        let error = self.explain(end);
        if self.lost_at.is_none() {
            self.lost_at = Some(Instant::now());
            if source.health.lost() {
                source.report(error);
            }
        } else if is_refused && source.health.refused(&error.message) {
            source.report(error);
        }
        source.stop.pause(self.backoff.pause());
    }

    fn stream(&mut self) -> Result<(), End> {
        let (stop, quiet) = (self.shared.source.stop.clone(), self.shared.quiet.clone());
        while !stop.is_stopped() {
            if self.snapshot.has_news() {
                self.snapshot.record(&self.shared)?;
            }
            if self.shared.is_stale.swap(false, Ordering::SeqCst) {
                return Err(Failure::Protocol("the server was promoted, and has another log now").into());
            }
            let look = self.link.stay_alive(&self.shared)?;
            if quiet.is_stopped() {
                // Handlers may still finish events.
                stop.pause(look.saturating_duration_since(Instant::now()));
                continue;
            }
            let Some(connection) = &self.link.connection else { return Ok(()) };
            if !self.ready.is_empty() && (self.ready.len() >= TOGETHER || !connection.has_next()) {
                self.shared.offer(&mut self.ready, look);
                continue;
            }
            self.read(look)?;
            for _ in 0..TOGETHER {
                let has_next = self.link.connection.as_ref().is_some_and(Connection::has_next);
                if self.ready.len() >= TOGETHER || !has_next {
                    break;
                }
                self.read(look)?;
            }
        }
        Ok(())
    }

    /// Takes the next message, or waits for it until `until`.
    fn read(&mut self, until: Instant) -> Result<(), End> {
        let Self { link, shared, assembly, ready, rests, .. } = self;
        let Link { connection: Some(connection), received, .. } = link else { return Ok(()) };
        match connection.next()? {
            Streamed::Change(lsn, bytes) => {
                *received = lsn.max(*received);
                let is_wanted = |relation: &Relation| is_wanted(shared, relation);
                let message = Message::read(bytes).map_err(Failure::from)?;
                assembly.take(lsn, message, ready, is_wanted)?;
            }
            Streamed::Alive(lsn, asks) => {
                *received = lsn.max(*received);
                if !assembly.is_inside() {
                    shared.progress.lock().reached(lsn);
                }
                if asks {
                    link.confirm(shared)?;
                }
            }
            Streamed::Nothing => {
                if connection.read_arrived()? {
                    *rests = 0;
                } else if *rests < RESTS
                    && (assembly.came() >= MANY || shared.backlog.counts().waiting >= MANY)
                {
                    *rests += 1;
                    std::thread::sleep(REST);
                } else {
                    let waited = shared.waker.wait(connection.descriptor(), until);
                    waited.map_err(Failure::Io)?;
                    shared.waker.clear();
                }
            }
            Streamed::Other => {}
            Streamed::End => return Err(Failure::Protocol("the stream has ended").into()),
        }
        Ok(())
    }
}

impl Link {
    /// Tells the server how far everything is done, if that is due. Returns when to look again.
    fn stay_alive(&mut self, shared: &Shared) -> Result<Instant, Failure> {
        loop {
            let (due, look) = self.next_status(shared);
            if Instant::now() < due {
                return Ok(look);
            }
            self.confirm(shared)?;
        }
    }

    /// Returns when the server is to be told something next, and when to look whether there is something to tell.
    fn next_status(&self, shared: &Shared) -> (Instant, Instant) {
        let (done, open) = {
            let progress = shared.progress.lock();
            (progress.confirmed(), progress.open())
        };
        let at = self.told.at;
        let due = if done > self.told.done { at + NEWS.min(self.interval) } else { at + self.interval };
        (due, if open > 0 { due.min(Instant::now() + NEWS) } else { due })
    }

    fn confirm(&mut self, shared: &Shared) -> Result<(), Failure> {
        let done = shared.progress.lock().confirmed();
        if let Some(connection) = &mut self.connection {
            connection.confirm(self.received.max(done), done)?;
        }
        self.told = Told { at: Instant::now(), done };
        Ok(())
    }
}

/// Whether the changes of a table are wanted: the options name it, or the table of which it is a partition.
fn is_wanted(shared: &Shared, relation: &Relation) -> Result<bool, Failure> {
    let options = &shared.options;
    let named = |schema: &str, table: &str| {
        options.tables.iter().any(|one: &TableName| one.schema == schema && one.table == table)
    };
    if options.tables.is_empty() {
        // A publication of all tables has our own, too.
        return Ok(relation.table != snapshot_records::TABLE);
    }
    if named(&relation.schema, &relation.table) {
        return Ok(true);
    }
    let rows = shared.connect()?.query(&format!(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.oid IN (SELECT pg_partition_ancestors({}))",
        relation.id
    ))?;
    Ok(rows.iter().any(|row| matches!(row.as_slice(), [Some(schema), Some(table)] if named(schema, table))))
}
