//! The table in the database that says what a consumer has done of its snapshot. It outlives the process.

use crate::foundation::postgres::connection::{Connection, Row, cell, literal};
use crate::foundation::postgres::failure::Failure;
use crate::foundation::postgres::pgoutput::lsn::Lsn;
use crate::foundation::postgres::visibility::Visibility;
use std::collections::HashMap;
use std::sync::Arc;

/// Its name.
pub const TABLE: &str = "redis_ipc_snapshots";
/// The statement that creates it.
pub const CREATE: &str = "CREATE TABLE redis_ipc_snapshots (slot text, relation oid, name text NOT NULL, left_out text, \
                          left_out_until pg_lsn, seen text, seen_until pg_lsn, begun_at timestamptz NOT NULL DEFAULT \
                          now(), handled_at timestamptz, PRIMARY KEY (slot, relation))";
/// What the consumer's user must be allowed.
pub const RIGHTS: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];
/// Stands for a slot from which nothing was streamed yet. No table has this id.
const FRESH: u32 = 0;

/// What the rows of a table had in them when they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered {
    visibility: Visibility,
    /// As the server writes it.
    text: String,
    /// All transactions that it sees were committed before this position.
    until: Lsn,
}

impl Covered {
    /// Reads what the server tells of a snapshot.
    pub fn read(snapshot: &str, until: &str) -> Option<Self> {
        let (visibility, until) = (Visibility::parse(snapshot)?, Lsn::parse(until)?);
        Some(Self { visibility, text: snapshot.to_owned(), until })
    }

    fn has(&self, commit: Lsn, xid: u32) -> bool {
        commit < self.until && self.visibility.sees(xid)
    }
}

/// What becomes of the changes in the log that the rows of a table had when they were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cover {
    /// These are left out: nothing of the table was handled before it was read with them.
    pub left_out: Option<Arc<Covered>>,
    /// These are marked.
    pub seen: Option<Arc<Covered>>,
}

impl Cover {
    /// Whether the changes of this transaction are left out.
    pub fn leaves_out(&self, commit: Lsn, xid: u32) -> bool {
        self.left_out.as_ref().is_some_and(|covered| covered.has(commit, xid))
    }

    /// Whether the rows had what this transaction has changed.
    pub fn has(&self, commit: Lsn, xid: u32) -> bool {
        self.seen.as_ref().is_some_and(|covered| covered.has(commit, xid))
    }
}

/// What is known of one slot.
#[derive(Debug, Default)]
pub struct Records {
    /// Whether nothing was streamed from it yet.
    pub is_fresh: bool,
    /// The tables whose reading was begun, by their ids.
    pub covers: HashMap<u32, Cover>,
    /// The tables all of whose rows were handled, and those at the top of partitions that were.
    pub handled: Vec<u32>,
}

/// Whether the table is there, and may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is there.
    Usable,
    /// The user lacks rights.
    Forbidden,
    /// There is none.
    Missing,
}

/// Looks for the table.
///
/// # Errors
///
/// The server refuses, or the connection breaks.
pub fn state(connection: &mut Connection) -> Result<State, Failure> {
    let rights = RIGHTS.map(|right| format!("has_table_privilege(t, '{right}')")).join(" AND ");
    let rows = connection.query(&format!("SELECT {rights} FROM to_regclass('{TABLE}') t"))?;
    Ok(match cell(&rows, 0) {
        None => State::Missing,
        Some("t") => State::Usable,
        Some(_) => State::Forbidden,
    })
}

/// Returns what was recorded for a slot.
///
/// # Errors
///
/// The server refuses, or the connection breaks.
pub fn load(connection: &mut Connection, slot: &str) -> Result<Records, Failure> {
    let sql = format!(
        "SELECT relation, left_out, left_out_until, seen, seen_until, handled_at IS NOT NULL FROM {TABLE} WHERE slot = {}",
        literal(slot)
    );
    let mut records = Records::default();
    for row in connection.query(&sql)? {
        let (relation, cover, is_handled) =
            read(&row).ok_or(Failure::Protocol("a broken row of redis_ipc_snapshots"))?;
        if relation == FRESH {
            records.is_fresh = true;
            continue;
        }
        records.covers.insert(relation, cover);
        if is_handled {
            records.handled.push(relation);
        }
    }
    Ok(records)
}

fn read(row: &Row) -> Option<(u32, Cover, bool)> {
    let [Some(relation), left_out, left_until, seen, seen_until, Some(is_handled)] = row.as_slice() else {
        return None;
    };
    let covered = |snapshot: &Option<String>, until: &Option<String>| match (snapshot, until) {
        (Some(snapshot), Some(until)) => {
            Covered::read(snapshot, until).map(|covered| Some(Arc::new(covered)))
        }
        _ => Some(None),
    };
    let cover = Cover { left_out: covered(left_out, left_until)?, seen: covered(seen, seen_until)? };
    Some((relation.parse().ok()?, cover, is_handled == "t"))
}

/// Records that the rows of a table are about to be read. What is left out stays what it was.
///
/// # Errors
///
/// The server refuses, or the connection breaks.
pub fn begin(
    connection: &mut Connection,
    slot: &str,
    (relation, name): (u32, &str),
    cover: &Cover,
) -> Result<(), Failure> {
    let values = [&cover.left_out, &cover.seen].map(|covered| match covered {
        Some(covered) => format!("{}, {}", literal(&covered.text), literal(&covered.until.to_string())),
        None => "NULL, NULL".to_owned(),
    });
    let sql = format!(
        "INSERT INTO {TABLE} (slot, relation, name, left_out, left_out_until, seen, seen_until) VALUES ({}, {relation}, {}, \
         {}) ON CONFLICT (slot, relation) DO UPDATE SET seen = EXCLUDED.seen, seen_until = EXCLUDED.seen_until",
        literal(slot),
        literal(name),
        values.join(", ")
    );
    connection.query(&sql).map(drop)
}

/// Records that all rows of tables were handled.
///
/// # Errors
///
/// The server refuses, or the connection breaks.
pub fn finish<'a>(
    connection: &mut Connection,
    slot: &str,
    tables: impl Iterator<Item = (u32, &'a str)>,
) -> Result<(), Failure> {
    for (relation, name) in tables {
        let sql = format!(
            "INSERT INTO {TABLE} (slot, relation, name, handled_at) VALUES ({}, {relation}, {}, now()) \
             ON CONFLICT (slot, relation) DO UPDATE SET handled_at = COALESCE({TABLE}.handled_at, now())",
            literal(slot),
            literal(name)
        );
        connection.query(&sql)?;
    }
    Ok(())
}

/// Records that nothing was streamed from a slot yet.
///
/// # Errors
///
/// The server refuses, or the connection breaks.
pub fn begin_slot(connection: &mut Connection, slot: &str) -> Result<(), Failure> {
    begin(connection, slot, (FRESH, "nothing was streamed yet"), &Cover::default())
}

/// Records that a slot is being streamed.
///
/// # Errors
///
/// The server refuses, or the connection breaks.
pub fn stream(connection: &mut Connection, slot: &str) -> Result<(), Failure> {
    let sql = format!("DELETE FROM {TABLE} WHERE slot = {} AND relation = {FRESH}", literal(slot));
    connection.query(&sql).map(drop)
}

/// Returns the statement that says whether something was recorded for a slot.
pub fn any(slot: &str) -> String {
    format!("SELECT 1 FROM {TABLE} WHERE slot = {} LIMIT 1", literal(slot))
}

/// Returns the statement that forgets what was recorded for a slot.
pub fn forget(slot: &str) -> String {
    format!("DELETE FROM {TABLE} WHERE slot = {}", literal(slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_snapshot_saw_before_its_end_is_covered() {
        let covered = |text| Covered::read(text, "0/100").map(Arc::new);
        let cover = Cover { left_out: covered("10:20:14,15"), seen: covered("16:30:20") };
        let found = |commit, xid| (cover.leaves_out(Lsn(commit), xid), cover.has(Lsn(commit), xid));
        assert_eq!(
            [11, 14, 19, 20, 25].map(|xid| found(0xff, xid)),
            [(true, true), (false, true), (true, true), (false, false), (false, true)]
        );
        assert_eq!(found(0x100, 11), (false, false), "ids go round");
        assert_eq!(covered("10:20"), None);
    }

    #[test]
    fn rows_are_read_or_refused() {
        let row = |cells: [Option<&str>; 6]| read(&cells.map(|cell| cell.map(str::to_owned)).to_vec());
        let (relation, cover, is_handled) =
            row([Some("7"), Some("1:2:"), Some("0/1"), None, None, Some("t")]).unwrap();
        assert_eq!(
            (relation, cover.left_out.unwrap().until, cover.seen, is_handled),
            (7, Lsn(1), None, true)
        );
        assert_eq!(row([Some("7"), None, None, None, None, Some("f")]), Some((7, Cover::default(), false)));
        assert_eq!(row([Some("x"), None, None, None, None, Some("f")]), None);
        assert_eq!(row([Some("7"), None, None, Some("?"), Some("0/1"), Some("f")]), None);
    }
}
