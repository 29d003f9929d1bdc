//! Reads the rows that tables have, before the log is streamed.
//!
//! All tables of a run are read in one transaction, after the slot was taken. What that transaction sees is in the log,
//! too, if it was committed after the slot began. If nothing of the table was handled before, it is left out of the
//! log: so the rows and the log have neither a gap nor an overlap. Else it is marked, because rows may have been
//! deleted that are known. Once all rows of a table were handled, that is recorded in the database. Until then the slot
//! is confirmed nothing.

use crate::events::common::in_flight::InFlight;
use crate::events::wal::assembly::{Assembly, now_ms};
use crate::events::wal::published::Published;
use crate::events::wal::reader::Shared;
use crate::events::wal::snapshot_records::{self as records, Cover, Covered, Records};
use crate::events::wal::table::Table;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::postgres::connection::{Answered, Connection, cell, literal};
use crate::foundation::postgres::failure::Failure;
use crate::foundation::postgres::pgoutput::lsn::Lsn;
use crate::foundation::postgres::pgoutput::tuple::of_row;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// How many events are put into the backlog at once.
const TOGETHER: usize = 64;
/// Until it ends, everything sees the same rows. No limit of the server's ends it while handlers are slow.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0; \
                     SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL row_security = off";
const SEEN: &str = "SELECT pg_current_snapshot(), pg_current_wal_insert_lsn()";

/// Keeps the connection to the log alive. It returns when that is to be done again.
pub type Pulse<'a> = &'a mut dyn FnMut() -> Result<Instant, Failure>;

/// What of the snapshot is done.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Whether all tables that were there were read, or were recorded.
    is_complete: bool,
    /// The transaction that lets nothing be confirmed until all is recorded.
    gate: Option<u64>,
    /// Tables whose rows were read here, and are not recorded.
    read: Vec<Read>,
    /// The tables at the top of those that were read here.
    roots: HashMap<u32, String>,
    /// The tables whose reading was begun.
    covers: HashMap<u32, Cover>,
}

/// A table whose rows were read.
#[derive(Debug)]
struct Read {
    relation: u32,
    name: String,
    /// The transaction whose events its rows are.
    number: u64,
}

/// What is the same for all rows of a run.
struct Run {
    connection: Connection,
    covered: Arc<Covered>,
    /// Whether nothing was streamed from the slot yet.
    is_fresh: bool,
    /// From where on the log is streamed.
    start: Lsn,
    at_ms: u64,
}

impl Snapshot {
    /// Whether there may be tables to be read.
    pub fn is_due(&self) -> bool {
        !self.is_complete
    }

    /// Whether tables were read that are not recorded.
    pub fn has_news(&self) -> bool {
        self.gate.is_some() && self.is_complete || !self.read.is_empty()
    }

    /// Forgets what was read: there is another slot, or another log.
    pub fn forget(&mut self, shared: &Shared) {
        if let Some(gate) = std::mem::take(self).gate {
            shared.progress.lock().end(gate, Lsn(0));
        }
    }

    /// Reads the tables that are not recorded, and has their rows handled. It ends early if the consumer stops.
    ///
    /// # Errors
    ///
    /// A connection breaks, or the server refuses. What was read as a whole is not read again.
    pub fn take(
        &mut self,
        shared: &Shared,
        assembly: &mut Assembly,
        pulse: Pulse<'_>,
    ) -> Result<(), Failure> {
        let mut connection = shared.connect()?;
        let options = &shared.options;
        let Records { is_fresh, covers, handled } = if options.is_temporary {
            Records { is_fresh: true, ..Records::default() }
        } else {
            records::load(&mut connection, &options.slot)?
        };
        self.covers.extend(covers);
        self.covers.iter().for_each(|(relation, cover)| assembly.cover(*relation, cover.clone()));
        let mut tables = Published::find(&mut connection, &options.publication, &options.tables)?;
        tables.retain(|table| {
            let id = table.relation.id;
            let is_read = self.read.iter().any(|one| one.relation == id);
            !is_read && !handled.contains(&id) && !handled.contains(&table.root)
        });
        shared.unread.store((self.read.len() + tables.len()) as u64, Ordering::SeqCst);
        if !tables.is_empty() {
            if self.gate.is_none() {
                self.gate = Some(shared.progress.lock().begin());
            }
            let mut run = Run::begin(connection, &options.slot, &tables, is_fresh)?;
            for table in tables {
                if !self.read_one(shared, assembly, &mut run, &table, pulse)? {
                    return Ok(());
                }
            }
        }
        if is_fresh && !options.is_temporary {
            records::stream(&mut shared.connect()?, &options.slot)?;
        }
        self.is_complete = true;
        Ok(())
    }

    /// Returns false if the consumer stops.
    fn read_one(
        &mut self,
        shared: &Shared,
        assembly: &mut Assembly,
        run: &mut Run,
        published: &Published,
        pulse: Pulse<'_>,
    ) -> Result<bool, Failure> {
        let (relation, name) = (published.relation.id, published.name());
        let cover = self.covers.entry(relation).or_insert_with(|| Cover {
            left_out: run.is_fresh.then(|| Arc::clone(&run.covered)),
            seen: None,
        });
        cover.seen = Some(Arc::clone(&run.covered));
        assembly.cover(relation, cover.clone());
        if !shared.options.is_temporary {
            records::begin(&mut shared.connect()?, &shared.options.slot, (relation, &name), cover)?;
        }
        let table = Table::new(&published.relation, true, &shared.options.order);
        let number = shared.progress.lock().begin();
        let is_read = run.rows(shared, assembly, (&published.rows(), &table), number, pulse);
        // The rows that were read are handled, whether there are more or not.
        shared.progress.lock().end(number, Lsn(0));
        if !is_read? {
            return Ok(false);
        }
        self.roots.insert(published.root, published.name());
        self.read.push(Read { relation, name, number });
        Ok(true)
    }

    /// Records the tables all of whose rows were handled. When there is none left, the slot may be confirmed.
    ///
    /// # Errors
    ///
    /// The database cannot be reached, or refuses. Then it is tried again later.
    pub fn record(&mut self, shared: &Shared) -> Result<(), Failure> {
        let (open, done): (Vec<Read>, Vec<Read>) = {
            let progress = shared.progress.lock();
            std::mem::take(&mut self.read).into_iter().partition(|one| progress.is_open(one.number))
        };
        let is_last = self.is_complete && open.is_empty();
        self.read = open;
        if done.is_empty() && !is_last {
            return Ok(());
        }
        let written = self.write(shared, &done, is_last);
        if written.is_err() {
            self.read.extend(done);
            return written;
        }
        shared.unread.fetch_sub(done.len() as u64, Ordering::SeqCst);
        if let Some(gate) = self.gate.take_if(|_| is_last) {
            shared.progress.lock().end(gate, Lsn(0));
        }
        Ok(())
    }

    fn write(&self, shared: &Shared, done: &[Read], is_last: bool) -> Result<(), Failure> {
        // A temporary slot is never resumed.
        if shared.options.is_temporary {
            return Ok(());
        }
        let mut connection = shared.connect()?;
        let slot = &shared.options.slot;
        records::finish(&mut connection, slot, done.iter().map(|one| (one.relation, one.name.as_str())))?;
        if is_last {
            // Partitions that are made later need no snapshot.
            let roots = self.roots.iter().map(|(root, name)| (*root, name.as_str()));
            records::finish(&mut connection, slot, roots)?;
        }
        Ok(())
    }
}

impl Run {
    /// Begins to see the rows. Until the end nobody can take them away, as an ALTER TABLE or a TRUNCATE would.
    fn begin(
        mut connection: Connection,
        slot: &str,
        tables: &[Published],
        is_fresh: bool,
    ) -> Result<Self, Failure> {
        const UNTOLD: Failure = Failure::Protocol("no snapshot");
        let sql = format!(
            "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = {}",
            literal(slot)
        );
        let rows = connection.query(&sql)?;
        let start = cell(&rows, 0).and_then(Lsn::parse).ok_or(UNTOLD)?;
        connection.query(BEGIN)?;
        let names: HashSet<String> = tables.iter().map(Published::source).collect();
        let names: Vec<String> = names.into_iter().collect();
        connection.query(&format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", ")))?;
        let rows = connection.query(SEEN)?;
        let covered = cell(&rows, 0).zip(cell(&rows, 1));
        let covered = covered.and_then(|(snapshot, until)| Covered::read(snapshot, until));
        let covered = Arc::new(covered.ok_or(UNTOLD)?);
        Ok(Self { connection, covered, is_fresh, start, at_ms: now_ms() })
    }

    /// Returns false if the consumer stops.
    fn rows(
        &mut self,
        shared: &Shared,
        assembly: &Assembly,
        (sql, table): (&str, &Table),
        number: u64,
        pulse: Pulse<'_>,
    ) -> Result<bool, Failure> {
        let id = StreamId { ms: self.at_ms, seq: self.start.0 };
        let mut ready: VecDeque<Arc<InFlight>> = VecDeque::new();
        let mut is_over = false;
        self.connection.send_query(sql)?;
        while !is_over || !ready.is_empty() {
            if shared.quiet.is_stopped() || shared.source.stop.is_stopped() {
                return Ok(false);
            }
            let until = pulse()?;
            if !ready.is_empty() && (is_over || ready.len() >= TOGETHER || !self.connection.has_next()) {
                shared.offer(&mut ready, until);
                continue;
            }
            match self.connection.next_row()? {
                Answered::Row(row) => {
                    shared.progress.lock().add(number);
                    ready.push_back(assembly.row_of_snapshot(id, number, table, &of_row(row)?));
                }
                Answered::Nothing => {
                    if !self.connection.read_arrived()? {
                        shared.waker.wait(self.connection.descriptor(), until)?;
                        shared.waker.clear();
                    }
                }
                Answered::Other => {}
                Answered::End => is_over = true,
            }
        }
        Ok(true)
    }
}
