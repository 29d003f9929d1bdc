//! The tables of a publication, as they are now, and what of their rows is published.

use crate::events::common::wal_options::TableName;
use crate::events::wal::snapshot_records;
use crate::foundation::postgres::connection::{Connection, Row, literal, quoted};
use crate::foundation::postgres::failure::Failure;
use crate::foundation::postgres::pgoutput::relation::{Column, Identity, Relation};

/// The first version that publishes columns and rows of a table, and tells which.
const WITH_FILTERS: u32 = 15;
/// The first version that may publish generated columns.
const WITH_GENERATED: u32 = 18;

/// A table that is published: as such, or for its partitions if the publication says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// What the log calls it.
    pub relation: Relation,
    /// The table at the top, if it is a partition; else itself.
    pub root: u32,
    /// Whether it has partitions, whose rows are its rows.
    has_partitions: bool,
    /// Whether the consumer's user may read it.
    pub is_readable: bool,
    /// The condition of the rows that are published, as SQL.
    filter: Option<String>,
}

impl Published {
    /// Asks for those of `publication` that are wanted: `tables` and their partitions, or all if there are none.
    ///
    /// # Errors
    ///
    /// The server refuses, or the connection breaks.
    pub fn find(
        connection: &mut Connection,
        publication: &str,
        tables: &[TableName],
    ) -> Result<Vec<Self>, Failure> {
        let mut found: Vec<Self> = Vec::new();
        for row in connection.query(&sql(connection.version, publication, tables))? {
            let (table, column) = read(row).ok_or(Failure::Protocol("a broken description of a table"))?;
            match found.last_mut().filter(|last| last.relation.id == table.relation.id) {
                Some(last) => last.relation.columns.push(column),
                None => {
                    let mut table = table;
                    table.relation.columns.push(column);
                    found.push(table);
                }
            }
        }
        Ok(found)
    }

    /// Returns its name, as SQL has it.
    pub fn name(&self) -> String {
        format!("{}.{}", quoted(&self.relation.schema), quoted(&self.relation.table))
    }

    /// Returns what is read of it: without the rows of tables that inherit from it, which are published as such.
    pub fn source(&self) -> String {
        if self.has_partitions { self.name() } else { format!("ONLY {}", self.name()) }
    }

    /// Returns the query of its rows: those columns and rows that are published.
    pub fn rows(&self) -> String {
        let columns: Vec<String> = self.relation.columns.iter().map(|column| quoted(&column.name)).collect();
        let filter = self.filter.as_ref().map(|filter| format!(" WHERE ({filter})")).unwrap_or_default();
        format!("SELECT {} FROM {}{filter}", columns.join(", "), self.source())
    }
}

/// The query has a row for each column of each table.
fn sql(version: u32, publication: &str, tables: &[TableName]) -> String {
    let filters = version >= WITH_FILTERS;
    let columns = if filters { " AND a.attname = ANY (p.attnames)" } else { "" };
    let generated = if version >= WITH_GENERATED { "" } else { " AND a.attgenerated = ''" };
    let names: Vec<String> = tables
        .iter()
        .map(|table| format!("({}, {})", literal(&table.schema), literal(&table.table)))
        .collect();
    let wanted = if names.is_empty() {
        format!("c.relname <> {}", literal(snapshot_records::TABLE))
    } else {
        format!(
            "EXISTS (SELECT FROM pg_class o JOIN pg_namespace s ON s.oid = o.relnamespace WHERE (o.oid = c.oid OR o.oid IN \
             (SELECT pg_partition_ancestors(c.oid))) AND (s.nspname, o.relname) IN ({}))",
            names.join(", ")
        )
    };
    format!(
        "SELECT c.oid, n.nspname, c.relname, c.relreplident, COALESCE(pg_partition_root(c.oid), c.oid)::oid, c.relkind = 'p', \
         has_table_privilege(c.oid, 'SELECT'), {}, a.attname, a.atttypid, \
         c.relreplident = 'f' OR COALESCE(a.attnum = ANY (i.indkey), false) \
         FROM pg_publication_tables p JOIN pg_namespace n ON n.nspname = p.schemaname \
         JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename \
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped{generated}{columns} \
         LEFT JOIN pg_index i ON i.indrelid = c.oid AND (c.relreplident = 'd' AND i.indisprimary AND i.indimmediate \
         OR c.relreplident = 'i' AND i.indisreplident) \
         WHERE p.pubname = {} AND {wanted} ORDER BY n.nspname, c.relname, a.attnum",
        if filters { "p.rowfilter" } else { "NULL" },
        literal(publication)
    )
}

fn read(row: Row) -> Option<(Published, Column)> {
    let mut cells = row.into_iter();
    let mut next = || cells.next()?;
    let id = next()?.parse().ok()?;
    let (schema, table) = (next()?, next()?);
    let identity = next()?.bytes().next().and_then(Identity::of)?;
    let root = next()?.parse().ok()?;
    let (has_partitions, is_readable) = (next()? == "t", next()? == "t");
    let filter = next();
    let column = Column { name: next()?, type_id: next()?.parse().ok()?, is_key: next()? == "t" };
    let relation = Relation { id, schema, table, identity, columns: Vec::new() };
    Some((Published { relation, root, has_partitions, is_readable, filter }, column))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[Option<&str>]) -> Row {
        cells.iter().map(|cell| cell.map(str::to_owned)).collect()
    }

    #[test]
    fn a_table_is_read_as_it_is_published() {
        let cells = ["7", "public", "a\"b", "d", "7", "f", "t"].map(Some);
        let (mut table, column) =
            read(row(&[&cells[..], &[Some("(x > 1)"), Some("id"), Some("23"), Some("t")]].concat())).unwrap();
        table.relation.columns.push(column);
        assert_eq!(table.rows(), "SELECT \"id\" FROM ONLY \"public\".\"a\"\"b\" WHERE ((x > 1))");
        assert_eq!((table.relation.columns[0].is_key, table.is_readable), (true, true));
        table.has_partitions = true;
        table.filter = None;
        assert_eq!(table.rows(), "SELECT \"id\" FROM \"public\".\"a\"\"b\"");
        assert_eq!(read(row(&cells)), None);
    }
}
