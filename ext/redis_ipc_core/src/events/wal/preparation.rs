//! Checks that a server has what a consumer needs. The error names the statement that creates what is missing.

use crate::error::{Error, ErrorKind};
use crate::events::common::wal_options::{SlotLost, TableName, WalOptions};
use crate::events::wal::log::LogName;
use crate::events::wal::published::Published;
use crate::events::wal::snapshot_records::{self as records, State};
use crate::events::wal::source::Source;
use crate::foundation::postgres::connection::{Connection, Row, cell, literal, quoted};
use crate::foundation::postgres::pgoutput::lsn::Lsn;
use std::time::Duration;

/// The oldest version of PostgreSQL whose plugin sends logical messages.
const OLDEST: u32 = 14;
/// The oldest version of PostgreSQL that copies slots to standbys.
const FAILOVER: u32 = 17;
/// The oldest version of PostgreSQL that decodes the log of a standby.
const ON_STANDBYS: u32 = 16;

/// The identity of the server, and the position from which its log is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// The server's log.
    pub log: LogName,
    /// Everything before this position was confirmed.
    pub start: Lsn,
    /// Whether the slot was just created in place of a lost one.
    pub is_replaced: bool,
    /// The server ends the connection if it hears nothing for this long.
    pub timeout: Option<Duration>,
}

/// Checks one server.
pub struct Preparation<'a> {
    source: &'a Source,
    options: &'a WalOptions,
    connection: &'a mut Connection,
}

impl<'a> Preparation<'a> {
    /// Begins to check the server of `connection`.
    pub fn new(source: &'a Source, options: &'a WalOptions, connection: &'a mut Connection) -> Self {
        Self { source, options, connection }
    }

    /// Runs all checks. `had_slot` says whether this consumer had the slot before.
    ///
    /// # Errors
    ///
    /// Something is missing. The message names the statement that creates it.
    pub fn run(mut self, had_slot: bool) -> Result<Ready, Error> {
        if self.connection.version < OLDEST {
            let version = self.connection.version;
            return Err(refuse(format!("PostgreSQL {version} is too old: {OLDEST} or later is needed")));
        }
        // One that is promoted while it is asked has another log then than it says.
        let is_standby = cell(&self.query("SELECT pg_is_in_recovery()")?, 0) == Some("t");
        if self.connection.version < ON_STANDBYS && is_standby {
            let version = self.connection.version;
            return Err(refuse(format!(
                "this server is a standby, whose log PostgreSQL {version} cannot decode: connect to the primary"
            )));
        }
        if self.options.fails_over && self.connection.version < FAILOVER {
            let version = self.connection.version;
            return Err(refuse(format!(
                "failover: true needs PostgreSQL {FAILOVER} or later, which copies slots to standbys; this is {version}"
            )));
        }
        let log = LogName::of(&self.query("IDENTIFY_SYSTEM")?);
        let settings = self.query(
            "SELECT current_setting('wal_level'), (SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout')",
        )?;
        if cell(&settings, 0) != Some("logical") {
            return Err(refuse(
                "wal_level is not logical: run ALTER SYSTEM SET wal_level = 'logical', and start PostgreSQL again",
            ));
        }
        let timeout = cell(&settings, 1).and_then(|ms| ms.parse().ok()).filter(|ms| *ms > 0);
        self.check_publication()?;
        if self.options.has_snapshot {
            self.check_snapshot(is_standby)?;
        }
        let (start, is_replaced) = self.slot(had_slot)?;
        Ok(Ready { log, start, is_replaced, timeout: timeout.map(Duration::from_millis) })
    }

    fn query(&mut self, sql: &str) -> Result<Vec<Row>, Error> {
        self.connection.query(sql).map_err(|failure| self.source.explain(&failure))
    }

    fn check_publication(&mut self) -> Result<(), Error> {
        let name = &self.options.publication;
        let found = self.query(&format!("SELECT 1 FROM pg_publication WHERE pubname = {}", literal(name)))?;
        if !found.is_empty() {
            return self.check_tables();
        }
        let statement = format!("CREATE PUBLICATION {} FOR {}", quoted(name), self.wanted());
        if !self.options.creates {
            return Err(refuse(format!(
                "there is no publication {name:?} in this database: run {statement}, or say create: true"
            )));
        }
        self.check_identities()?;
        self.query(&statement).map(drop)
    }

    fn wanted(&self) -> String {
        let names: Vec<String> = self.options.tables.iter().map(full_name).collect();
        if names.is_empty() { "ALL TABLES".to_owned() } else { format!("TABLE {}", names.join(", ")) }
    }

    /// Checks the tables. A partition also counts as its partitioned table.
    fn check_tables(&mut self) -> Result<(), Error> {
        if self.options.tables.is_empty() {
            return Ok(());
        }
        let rows = self.query(&format!(
            "SELECT DISTINCT n.nspname, c.relname FROM pg_publication_tables p \
             JOIN pg_namespace pn ON pn.nspname = p.schemaname \
             JOIN pg_class pc ON pc.relname = p.tablename AND pc.relnamespace = pn.oid \
             JOIN pg_class c ON c.oid IN (pc.oid, pg_partition_root(pc.oid)) \
             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = {}",
            literal(&self.options.publication)
        ))?;
        let published: Vec<TableName> = rows.into_iter().filter_map(table_name).collect();
        let Some(missing) = self.options.tables.iter().find(|table| !published.contains(table)) else {
            return Ok(());
        };
        let (name, table) = (&self.options.publication, full_name(missing));
        Err(refuse(format!(
            "the publication {name:?} does not have the table {table}, or there is no such table: run ALTER PUBLICATION {} \
             ADD TABLE {table}",
            quoted(name)
        )))
    }

    /// Checks replica identities: without one, PostgreSQL would refuse updates and deletes of a published table.
    fn check_identities(&mut self) -> Result<(), Error> {
        for table in &self.options.tables {
            let rows = self.query(&format!(
                "SELECT c.relreplident = 'n' OR (c.relreplident = 'd' AND NOT EXISTS \
                 (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)) \
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = {} AND c.relname = {}",
                literal(&table.schema),
                literal(&table.table)
            ))?;
            let name = full_name(table);
            match cell(&rows, 0) {
                None => return Err(refuse(format!("there is no table {name} in this database"))),
                Some("t") => {
                    return Err(refuse(format!(
                        "the table {name} has no primary key, so PostgreSQL would refuse its updates and deletes once it \
                         is published: add a primary key, or run ALTER TABLE {name} REPLICA IDENTITY FULL"
                    )));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn check_snapshot(&mut self, is_standby: bool) -> Result<(), Error> {
        if is_standby {
            return Err(refuse(
                "snapshot: true needs a server that is no standby: a standby cannot tell which transactions it sees",
            ));
        }
        let WalOptions { publication, tables, .. } = self.options;
        let found = Published::find(self.connection, publication, tables);
        let found = found.map_err(|failure| self.source.explain(&failure))?;
        if let Some(hidden) = found.iter().find(|table| !table.is_readable) {
            let name = hidden.name();
            return Err(refuse(format!(
                "snapshot: true reads the table {name}: run GRANT SELECT ON {name} TO its user"
            )));
        }
        if self.options.is_temporary {
            return Ok(());
        }
        let table = records::TABLE;
        match records::state(self.connection).map_err(|failure| self.source.explain(&failure))? {
            State::Usable => Ok(()),
            State::Missing if self.options.creates => self.query(records::CREATE).map(drop),
            State::Missing => Err(refuse(format!(
                "snapshot: true needs a table that says which tables are done: run {}, or say create: true",
                records::CREATE
            ))),
            State::Forbidden => Err(refuse(format!(
                "snapshot: true needs rights on the table {table}: run GRANT {} ON {table} TO its user",
                records::RIGHTS.join(", ")
            ))),
        }
    }

    /// Returns the position at which the slot begins, and whether it replaces a lost slot.
    fn slot(&mut self, had_slot: bool) -> Result<(Lsn, bool), Error> {
        let name = &self.options.slot;
        let rows = self.query(&format!(
            "SELECT plugin, database, confirmed_flush_lsn, wal_status, database = current_database(), \
             to_jsonb(slot)->>'failover' FROM pg_replication_slots slot WHERE slot_name = {}",
            literal(name)
        ))?;
        if rows.is_empty() {
            let had_slot = had_slot || self.has_records()?;
            if had_slot {
                self.may_replace("is not there any more")?;
            } else if !self.options.creates && !self.options.is_temporary {
                return Err(refuse(format!(
                    "there is no replication slot {name:?}: run {} in this database, or say create: true. A slot keeps \
                     the log until it is read or dropped",
                    self.statement()
                )));
            }
            return Ok((self.create_slot(had_slot)?, had_slot));
        }
        if cell(&rows, 0) != Some("pgoutput") || cell(&rows, 4) != Some("t") {
            let plugin = cell(&rows, 0).unwrap_or("none");
            let database = cell(&rows, 1).unwrap_or("none");
            return Err(refuse(format!(
                "the replication slot {name:?} is one of the database {database:?} and the plugin {plugin:?}, and not \
                 of this database and pgoutput: take another name"
            )));
        }
        if cell(&rows, 3) == Some("lost") {
            self.may_replace("is invalidated: PostgreSQL has removed log that it needed")?;
            self.query(&format!("SELECT pg_drop_replication_slot({})", literal(name)))?;
            return Ok((self.create_slot(true)?, true));
        }
        if self.options.fails_over && cell(&rows, 5) != Some("true") {
            return Err(refuse(format!(
                "standbys do not get the replication slot {name:?}: run ALTER_REPLICATION_SLOT {} (FAILOVER true) on a \
                 replication connection (psql \"dbname=... replication=database\") while nobody reads it",
                quoted(name)
            )));
        }
        let start = cell(&rows, 2).and_then(Lsn::parse);
        Ok((start.unwrap_or_default(), false))
    }

    fn may_replace(&self, why: &str) -> Result<(), Error> {
        let name = &self.options.slot;
        if self.options.on_slot_lost == SlotLost::Create || self.options.is_temporary {
            return Ok(());
        }
        Err(refuse(format!(
            "the replication slot {name:?} {why}. Changes are missing. To go on from now, drop it if it is there (SELECT \
             pg_drop_replication_slot({})), and run {}",
            literal(name),
            self.statement()
        )))
    }

    /// Returns the statement that creates the slot.
    fn statement(&self) -> String {
        let failover = if self.options.fails_over { ", failover => true" } else { "" };
        let name = literal(&self.options.slot);
        format!("SELECT pg_create_logical_replication_slot({name}, 'pgoutput'{failover})")
    }

    fn keeps_records(&self) -> bool {
        self.options.has_snapshot && !self.options.is_temporary
    }

    /// Whether a consumer has had a slot of this name.
    fn has_records(&mut self) -> Result<bool, Error> {
        Ok(self.keeps_records() && !self.query(&records::any(&self.options.slot))?.is_empty())
    }

    fn create_slot(&mut self, is_replaced: bool) -> Result<Lsn, Error> {
        if self.keeps_records() {
            let slot = &self.options.slot;
            // It knows nothing of what happened since these tables were read.
            self.query(&records::forget(slot))?;
            if !is_replaced {
                let begun = records::begin_slot(self.connection, slot);
                begun.map_err(|failure| self.source.explain(&failure))?;
            }
        }
        let temporary = if self.options.is_temporary { " TEMPORARY" } else { "" };
        let options =
            if self.options.fails_over { "(SNAPSHOT 'nothing', FAILOVER true)" } else { "NOEXPORT_SNAPSHOT" };
        let rows = self.query(&format!(
            "CREATE_REPLICATION_SLOT {}{temporary} LOGICAL pgoutput {options}",
            quoted(&self.options.slot)
        ))?;
        cell(&rows, 1).and_then(Lsn::parse).ok_or_else(|| {
            Error::new(ErrorKind::Internal, "PostgreSQL has not said where the new slot begins")
        })
    }
}

fn refuse(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Configuration, why)
}

fn table_name(row: Row) -> Option<TableName> {
    let mut cells = row.into_iter();
    Some(TableName { schema: cells.next()??, table: cells.next()?? })
}

fn full_name(table: &TableName) -> String {
    format!("{}.{}", quoted(&table.schema), quoted(&table.table))
}
