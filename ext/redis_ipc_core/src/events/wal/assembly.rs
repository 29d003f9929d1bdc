//! Makes events of the messages of the log.

use crate::events::common::in_flight::{Described, InFlight};
use crate::events::common::key_hash::hash;
use crate::events::common::wal_options::WalOrder;
use crate::events::wal::progress::Progress;
use crate::events::wal::snapshot_records::Cover;
use crate::events::wal::table::Table;
use crate::foundation::payload::fields::FieldsBuilder;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::postgres::connection::EPOCH_US;
use crate::foundation::postgres::failure::Failure;
use crate::foundation::postgres::pgoutput::lsn::Lsn;
use crate::foundation::postgres::pgoutput::message::{Message, Old};
use crate::foundation::postgres::pgoutput::relation::Relation;
use crate::foundation::postgres::pgoutput::tuple::Tuple;
use crate::foundation::runtime::sync::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

/// How many fields an event has at most.
const FIELDS: usize = 7;
/// How many bytes an event has at most, beside its rows: positions, times and names.
const REST: usize = 192;

/// Makes events of the messages of the log. A new connection sends messages again; those that already became events are
/// left out.
pub struct Assembly {
    order: WalOrder,
    progress: Arc<Mutex<Progress>>,
    tables: HashMap<u32, Arc<Table>>,
    /// What the rows of tables had in them when they were read, before the log.
    covers: HashMap<u32, Cover>,
    current: Option<Transaction>,
    /// A transaction that a connection had sent only in part when it broke.
    interrupted: Option<Transaction>,
    /// The last event. It waits here until it is known whether it ends its transaction.
    last: Option<Draft>,
    /// The commit of the last transaction that was read to its end.
    read: Option<Lsn>,
    /// The last message outside of transactions.
    last_message: Option<Lsn>,
}

#[derive(Debug, Clone)]
struct Transaction {
    /// The number of the transaction in `progress`. `None` if all of it was read before.
    number: Option<u64>,
    commit: Lsn,
    committed_us: i64,
    xid: u32,
    /// How many of its events this connection has sent.
    came: usize,
    /// How many of its events were made on this connection.
    made: usize,
    /// How many of its events were made on earlier connections.
    known: usize,
    /// The index of the first event that was made, on any connection.
    first: Option<usize>,
}

/// An event that is being made.
struct Draft {
    fields: FieldsBuilder,
    table: Option<Arc<Described>>,
    line: u64,
    /// The hash of its key.
    key: Option<u64>,
    stands_alone: bool,
    index: usize,
}

impl Draft {
    /// Begins one whose rows or content have this many bytes.
    fn new(operation: &[u8], size: usize, table: Option<&Table>, line: u64) -> Self {
        let mut fields = FieldsBuilder::with_room(FIELDS, size + REST);
        fields.add("op", operation);
        let table = table.map(|table| Arc::clone(&table.described));
        Self { fields, table, line, key: None, stands_alone: false, index: 0 }
    }

    /// Adds the position.
    fn at(mut self, lsn: Lsn) -> Self {
        self.fields.write("lsn", format_args!("{lsn}"));
        self
    }

    fn mark(&mut self, name: &str, is_so: bool) {
        if is_so {
            self.fields.add(name, b"");
        }
    }
}

impl Assembly {
    /// Creates an assembly that has read nothing.
    pub fn new(order: WalOrder, progress: Arc<Mutex<Progress>>) -> Self {
        Self {
            order,
            progress,
            tables: HashMap::new(),
            covers: HashMap::new(),
            current: None,
            interrupted: None,
            last: None,
            read: None,
            last_message: None,
        }
    }

    /// Begins on a new connection, which sends everything again from the confirmed position on.
    pub fn begin_again(&mut self) {
        self.last = None;
        // The server describes the tables again.
        self.tables.clear();
        if let Some(broken) = self.current.take().filter(|broken| broken.number.is_some()) {
            self.interrupted = Some(Transaction { known: broken.known.max(broken.made), ..broken });
        }
    }

    /// Forgets what was read, because positions of another log mean nothing here.
    pub fn forget(&mut self) {
        self.begin_again();
        self.covers.clear();
        (self.interrupted, self.read, self.last_message) = (None, None, None);
    }

    /// Leaves out of the log, or marks, what the rows of a table had in them when they were read.
    pub fn cover(&mut self, relation: u32, cover: Cover) {
        self.covers.insert(relation, cover);
    }

    /// Whether a transaction has begun and not ended.
    pub fn is_inside(&self) -> bool {
        self.current.is_some()
    }

    /// Returns how many changes of the transaction that has begun and not ended were read.
    pub fn came(&self) -> usize {
        self.current.as_ref().map_or(0, |current| current.came)
    }

    /// Takes a message. Adds to `ready` the events that are complete by it. `is_wanted` says whether the changes of a
    /// table are wanted.
    ///
    /// # Errors
    ///
    /// The message makes no sense here, or `is_wanted` fails.
    pub fn take(
        &mut self,
        lsn: Lsn,
        message: Message<'_>,
        ready: &mut VecDeque<Arc<InFlight>>,
        is_wanted: impl FnOnce(&Relation) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        match message {
            Message::Begin { commit, committed_us, xid } => self.begin(commit, committed_us, xid)?,
            Message::Commit { end } => self.commit(end, ready)?,
            Message::Relation(relation) => {
                let mut table = Table::new(&relation, is_wanted(&relation)?, &self.order);
                table.cover = self.covers.get(&relation.id).cloned().unwrap_or_default();
                self.tables.insert(relation.id, Arc::new(table));
            }
            Message::Insert { relation, new } => self.row(lsn, relation, b"I", None, Some(new), ready)?,
            Message::Update { relation, old, new } => self.row(lsn, relation, b"U", old, Some(new), ready)?,
            Message::Delete { relation, old } => self.row(lsn, relation, b"D", Some(old), None, ready)?,
            Message::Truncate { relations, is_cascade, restarts } => {
                for relation in relations {
                    let table = self.table(relation)?;
                    if self.is_left_out(&table) {
                        self.count()?;
                    } else if table.is_wanted {
                        let mut draft = Draft::new(b"T", 0, Some(&table), table.line());
                        draft.mark("cascade", is_cascade);
                        draft.mark("restart", restarts);
                        draft.mark("in_snapshot", self.is_in_snapshot(&table));
                        draft.stands_alone = true;
                        self.add(lsn, draft, ready)?;
                    }
                }
            }
            Message::Logical { is_transactional, prefix, content } => {
                let mut draft = Draft::new(b"M", prefix.len() + content.len(), None, hash(&prefix));
                draft.fields.add("prefix", prefix.as_bytes());
                draft.fields.add("content", content);
                if is_transactional {
                    self.add(lsn, draft, ready)?;
                } else {
                    self.message(lsn, draft, ready);
                }
            }
            Message::Other => {}
        }
        Ok(())
    }

    fn begin(&mut self, commit: Lsn, committed_us: i64, xid: u32) -> Result<(), Failure> {
        if self.current.is_some() {
            return Err(Failure::Protocol("a transaction within another"));
        }
        let is_known = self.read.is_some_and(|read| commit <= read);
        let interrupted = if is_known { None } else { self.interrupted.take() };
        let (number, known, first) = match interrupted {
            _ if is_known => (None, 0, None),
            Some(broken) if broken.commit == commit => (broken.number, broken.known, broken.first),
            broken => {
                let mut progress = self.progress.lock();
                // The rest of the broken transaction does not come any more: the log is another one, or the publication
                // has changed.
                if let Some(number) = broken.and_then(|broken| broken.number) {
                    progress.end(number, Lsn(0));
                }
                (Some(progress.begin()), 0, None)
            }
        };
        self.current =
            Some(Transaction { number, commit, committed_us, xid, came: 0, made: 0, known, first });
        Ok(())
    }

    fn commit(&mut self, end: Lsn, ready: &mut VecDeque<Arc<InFlight>>) -> Result<(), Failure> {
        self.complete(true, ready);
        let current = self.current.take().ok_or(Failure::Protocol("a commit without a transaction"))?;
        if let Some(number) = current.number {
            self.read = Some(current.commit);
            self.progress.lock().end(number, end);
        }
        Ok(())
    }

    fn table(&self, relation: u32) -> Result<Arc<Table>, Failure> {
        self.tables
            .get(&relation)
            .cloned()
            .ok_or(Failure::Protocol("a row of a table that was not described"))
    }

    fn row(
        &mut self,
        lsn: Lsn,
        relation: u32,
        operation: &[u8],
        old: Option<Old<'_>>,
        new: Option<Tuple<'_>>,
        ready: &mut VecDeque<Arc<InFlight>>,
    ) -> Result<(), Failure> {
        let table = self.table(relation)?;
        let rows = [old.map(Old::tuple), new].into_iter().flatten();
        if rows.clone().any(|row| row.width() != table.width) {
            return Err(Failure::Protocol("a row with another number of columns than its table"));
        }
        if !table.is_wanted {
            return Ok(());
        }
        if self.is_left_out(&table) {
            return self.count().map(drop);
        }
        let size = rows.clone().map(|row| row.bytes.len()).sum();
        let mut orderings = rows.map(|row| table.ordering_of(row));
        let ordering = orderings.next().unwrap_or_default();
        let line = table.line_of(&ordering);
        // A row whose key changes belongs to the lines of the old and of the new key.
        let moves = orderings.next().is_some_and(|other| table.line_of(&other) != line);
        let mut draft = Draft::new(operation, size, Some(&table), line);
        if let Some(new) = new {
            draft.fields.add("new", new.bytes);
        }
        match old {
            Some(Old::Key(tuple)) => draft.fields.add("key", tuple.bytes),
            Some(Old::Row(tuple)) => draft.fields.add("old", tuple.bytes),
            None => {}
        }
        draft.mark("in_snapshot", self.is_in_snapshot(&table));
        draft.stands_alone = moves;
        draft.key = table.key_of(&ordering);
        self.add(lsn, draft, ready)
    }

    fn is_left_out(&self, table: &Table) -> bool {
        self.current.as_ref().is_some_and(|current| table.cover.leaves_out(current.commit, current.xid))
    }

    /// Whether the table's rows had what the transaction has changed when they were read.
    fn is_in_snapshot(&self, table: &Table) -> bool {
        self.current.as_ref().is_some_and(|current| table.cover.has(current.commit, current.xid))
    }

    /// Counts a change, and returns its index. One that is left out counts, too: the others keep their indices.
    fn count(&mut self) -> Result<usize, Failure> {
        let current = self.current.as_mut().ok_or(Failure::Protocol("a change without a transaction"))?;
        current.came += 1;
        Ok(current.came - 1)
    }

    fn add(&mut self, lsn: Lsn, draft: Draft, ready: &mut VecDeque<Arc<InFlight>>) -> Result<(), Failure> {
        let index = self.count()?;
        let Some(current) = &self.current else { return Ok(()) };
        if current.number.is_none() || index < current.known {
            return Ok(());
        }
        self.complete(false, ready);
        self.last = Some(Draft { index, ..draft }.at(lsn));
        Ok(())
    }

    /// Makes the event that waited in `last`.
    fn complete(&mut self, is_last: bool, ready: &mut VecDeque<Arc<InFlight>>) {
        let (Some(mut draft), Some(current)) = (self.last.take(), &mut self.current) else { return };
        let Some(number) = current.number else { return };
        let at_us = current.committed_us.saturating_add(EPOCH_US);
        let is_first = *current.first.get_or_insert(draft.index) == draft.index;
        let Transaction { xid, commit, .. } = current;
        let (index, is_last_one) = (draft.index, u8::from(is_last));
        let told = format_args!("{xid} {commit} {index} {is_last_one} {at_us} {}", u8::from(is_first));
        draft.fields.write("tx", told);
        current.made = draft.index + 1;
        let id = StreamId { ms: u64::try_from(at_us / 1000).unwrap_or(0), seq: commit.0 };
        self.progress.lock().add(number);
        let mut event = self.event(id, number, draft);
        event.is_followed = !is_last;
        ready.push_back(Arc::new(event));
    }

    /// Makes an event of a message outside of a transaction.
    fn message(&mut self, lsn: Lsn, draft: Draft, ready: &mut VecDeque<Arc<InFlight>>) {
        if self.last_message.is_some_and(|last| lsn <= last) {
            return;
        }
        self.last_message = Some(lsn);
        let number = {
            let mut progress = self.progress.lock();
            let number = progress.begin();
            progress.add(number);
            // The position of a message is that of its end.
            progress.end(number, lsn);
            number
        };
        let id = StreamId { ms: now_ms(), seq: lsn.0 };
        ready.push_back(Arc::new(self.event(id, number, draft.at(lsn))));
    }

    /// Makes an event of a row that was there before the log, of which `id` tells the time and the position.
    pub fn row_of_snapshot(&self, id: StreamId, number: u64, table: &Table, row: &[u8]) -> Arc<InFlight> {
        let ordering = table.ordering_of(Tuple { bytes: row });
        let mut draft = Draft::new(b"I", row.len(), Some(table), table.line_of(&ordering));
        draft.fields.add("new", row);
        draft.mark("snapshot", true);
        draft.key = table.key_of(&ordering);
        Arc::new(self.event(id, number, draft.at(Lsn(id.seq))))
    }

    fn event(&self, id: StreamId, number: u64, draft: Draft) -> InFlight {
        let mut event = InFlight::new(id, draft.fields.finish(), 1, now_ms());
        event.table = draft.table;
        event.transaction = Some(number);
        event.line = match self.order {
            WalOrder::None => None,
            WalOrder::Source => Some(0),
            WalOrder::Key(_) => Some(draft.line),
        };
        event.key = draft.key;
        event.stands_alone = draft.stands_alone && matches!(self.order, WalOrder::Key(_));
        event
    }
}

/// Returns the time in ms since 1970.
pub fn now_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(0)
}
