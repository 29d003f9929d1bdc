//! The options of a write-ahead log.

use crate::error::{Error, ErrorKind};
use crate::foundation::payload::option_reader::OptionReader;
use crate::foundation::postgres::settings::Settings;
use serde_json::Value;

/// The most characters of a name in PostgreSQL.
const NAME: usize = 63;
/// The most tables of one consumer.
const TABLES: usize = 10_000;

/// The order in which changes are handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalOrder {
    /// At the same time.
    None,
    /// One after the other for each row. Rows are distinguished by their replica identity, or by this column.
    Key(Option<String>),
    /// One after the other.
    Source,
}

/// What a consumer does if its slot is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotLost {
    /// It reports the loss, and goes on with a new slot.
    Create,
    /// It reports an error, and waits until an operator acts.
    Raise,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableName {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
}

/// The options of a write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalOptions {
    /// How to reach PostgreSQL.
    pub connection: Settings,
    /// The tables whose changes are wanted. Empty means all tables of the publication.
    pub tables: Vec<TableName>,
    /// The publication.
    pub publication: String,
    /// The slot.
    pub slot: String,
    /// Whether the slot lives as long as the connection.
    pub is_temporary: bool,
    /// Whether a missing publication or slot is created.
    pub creates: bool,
    /// Whether standbys have the slot, too, so that a failover does not lose it.
    pub fails_over: bool,
    /// What the consumer does if its slot is lost.
    pub on_slot_lost: SlotLost,
    /// Whether the rows that tables have are read before the log.
    pub has_snapshot: bool,
    /// The order of changes.
    pub order: WalOrder,
    /// Whether the changes of a transaction are handed out together.
    pub by_transaction: bool,
}

impl WalOptions {
    /// Reads the section `wal`.
    ///
    /// # Errors
    ///
    /// An option is unknown, missing or has a wrong type or value.
    pub fn parse(section: Value) -> Result<Self, Error> {
        let mut section = OptionReader::new("wal", Some(section))?;
        let lost = [("create", SlotLost::Create), ("raise", SlotLost::Raise)];
        let by = section.string("by")?;
        let orders = [("none", 0), ("key", 1), ("source", 2)];
        let order = match section.word("order", &orders)? {
            Some(0) => WalOrder::None,
            Some(1) => WalOrder::Key(by),
            _ => WalOrder::Source,
        };
        let slot = section.string("slot")?.ok_or_else(|| section.refuse("slot", "given"))?;
        let is_named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if slot.is_empty() || slot.len() > NAME || !slot.bytes().all(is_named) {
            return Err(section.refuse("slot", "1 to 63 lower case letters, digits and underscores"));
        }
        let publication = section.string("publication")?.unwrap_or_else(|| slot.clone());
        if publication.is_empty() || publication.len() > NAME || publication.contains('\0') {
            return Err(section.refuse("publication", "a name of 1 to 63 bytes"));
        }
        let options = Self {
            connection: Settings::parse(section.section("connection")?)?,
            tables: tables(section.value("tables"), &section)?,
            publication,
            slot,
            is_temporary: section.boolean("temporary")?.unwrap_or(false),
            creates: section.boolean("create")?.unwrap_or(false),
            has_snapshot: section.boolean("snapshot")?.unwrap_or(false),
            fails_over: section.boolean("failover")?.unwrap_or(false),
            on_slot_lost: section.word("on_slot_lost", &lost)?.unwrap_or(SlotLost::Create),
            by_transaction: section.boolean("transactions")?.unwrap_or(false),
            order,
        };
        if options.by_transaction && options.order != WalOrder::Source {
            return Err(section.refuse("transactions", "with the order \"source\""));
        }
        if options.fails_over && options.is_temporary {
            return Err(
                section.refuse("failover", "without temporary: PostgreSQL copies lasting slots to standbys")
            );
        }
        section.finish()?;
        if options.creates && options.tables.is_empty() {
            let message = "wal with create: true needs tables: the publication is created for these";
            return Err(Error::new(ErrorKind::Configuration, message));
        }
        Ok(options)
    }
}

/// Reads names of tables like `accounts` or `billing.accounts`.
fn tables(given: Option<Value>, section: &OptionReader) -> Result<Vec<TableName>, Error> {
    let refuse = || section.refuse("tables", &format!("an Array of at most {TABLES} names of tables"));
    let Some(given) = given else { return Ok(Vec::new()) };
    let Value::Array(given) = given else { return Err(refuse()) };
    if given.len() > TABLES {
        return Err(refuse());
    }
    let mut found = Vec::new();
    for name in given {
        let Value::String(name) = name else { return Err(refuse()) };
        let (schema, table) = name.split_once('.').unwrap_or(("public", &name));
        if [schema, table].iter().any(|part| part.is_empty() || part.len() > NAME || part.contains('\0')) {
            return Err(refuse());
        }
        found.push(TableName { schema: schema.to_owned(), table: table.to_owned() });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(mut section: Value) -> Result<WalOptions, String> {
        section["connection"] = json!({ "options": { "user": "me" } });
        WalOptions::parse(section).map_err(|error| error.message)
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let options = parse(json!({ "slot": "ipc", "tables": ["a", "b.c"] })).unwrap();
        let names: Vec<_> =
            options.tables.iter().map(|one| (one.schema.as_str(), one.table.as_str())).collect();
        assert_eq!(names, [("public", "a"), ("b", "c")]);
        assert_eq!((options.publication.as_str(), options.order), ("ipc", WalOrder::Source));
        assert!(!options.creates && !options.is_temporary);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (section, expected) in [
            (json!({}), "wal.slot must be given"),
            (json!({ "slot": "Ipc" }), "lower case letters"),
            (json!({ "slot": "ipc", "tables": "a" }), "an Array of"),
            (json!({ "slot": "ipc", "tables": ["a."] }), "an Array of"),
            (json!({ "slot": "ipc", "create": true }), "needs tables"),
            (json!({ "slot": "ipc", "order": "key", "transactions": true }), "the order \"source\""),
            (json!({ "slot": "ipc", "failover": true, "temporary": true }), "without temporary"),
            (json!({ "slot": "ipc", "order": "lanes" }), ":none or :key or :source"),
        ] {
            let message = parse(section).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
