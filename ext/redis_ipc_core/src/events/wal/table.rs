//! A table whose changes are read.

use crate::events::common::in_flight::Described;
use crate::events::common::key_hash::hash;
use crate::events::common::wal_options::WalOrder;
use crate::events::wal::snapshot_records::Cover;
use crate::foundation::postgres::json_value;
use crate::foundation::postgres::pgoutput::relation::{Column, Identity, Relation};
use crate::foundation::postgres::pgoutput::tuple::{Tuple, Value};
use serde_json::json;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many tables were described in this process.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// A table whose changes are read.
#[derive(Debug)]
pub struct Table {
    /// Whether its changes are wanted.
    pub is_wanted: bool,
    /// Its description, which its events share.
    pub described: Arc<Described>,
    /// A hash that distinguishes it from other tables.
    hash: u64,
    /// The columns by which its rows are ordered: the place and the type of each. Without any, all its rows are handled
    /// one after the other.
    columns: Vec<(usize, u32)>,
    /// How many columns it has.
    pub width: usize,
    /// What its rows had in them when they were read, before the log.
    pub cover: Cover,
}

impl Table {
    /// Creates the table that `relation` describes.
    pub fn new(relation: &Relation, is_wanted: bool, order: &WalOrder) -> Self {
        let columns: Vec<_> = relation
            .columns
            .iter()
            .map(|column| json!([column.name, column.type_id, column.is_key]))
            .collect();
        let identity = match relation.identity {
            Identity::Default => "default",
            Identity::Index => "index",
            Identity::Full => "full",
            Identity::Nothing => "nothing",
        };
        let description = json!({
            "schema": relation.schema, "table": relation.table, "identity": identity, "columns": columns,
        });
        Self {
            is_wanted,
            described: Arc::new(Described {
                number: NUMBERS.fetch_add(1, Ordering::Relaxed),
                text: description.to_string().into_bytes().into(),
            }),
            hash: hash(&(&relation.schema, &relation.table)),
            columns: ordering(relation, order),
            width: relation.columns.len(),
            cover: Cover::default(),
        }
    }

    /// Returns the hash of the line to which all of its rows belong.
    pub fn line(&self) -> u64 {
        self.hash
    }

    /// Returns the values of a row by which it is ordered.
    pub fn ordering_of<'a>(&self, row: Tuple<'a>) -> Vec<Value<'a>> {
        if self.columns.is_empty() {
            return Vec::new();
        }
        let values: Vec<Value<'a>> = row.values().collect();
        let value = |(place, _): &(usize, u32)| values.get(*place).copied().unwrap_or(Value::Unchanged);
        self.columns.iter().map(value).collect()
    }

    /// Returns the hash of the line to which a row with this ordering belongs.
    pub fn line_of(&self, ordering: &[Value<'_>]) -> u64 {
        if ordering.is_empty() {
            return self.hash;
        }
        let mut hasher = DefaultHasher::new();
        self.hash.hash(&mut hasher);
        for value in ordering {
            match value {
                Value::Text(text) => text.hash(&mut hasher),
                Value::Null | Value::Unchanged => 0u8.hash(&mut hasher),
            }
        }
        hasher.finish()
    }

    /// Returns the hash of the key of a row with this ordering. `None` if it has none.
    pub fn key_of(&self, ordering: &[Value<'_>]) -> Option<u64> {
        let texts = self.columns.iter().zip(ordering).map(|((_, type_id), value)| match *value {
            Value::Text(text) => Some(json_value::plain(*type_id, text)),
            Value::Null => Some(&b""[..]),
            Value::Unchanged => None,
        });
        json_value::key(texts).map(|key| hash(&*key))
    }
}

/// Returns the columns by which rows are ordered. A table that is identified by whole rows has none, because each
/// update would change the key.
fn ordering(relation: &Relation, order: &WalOrder) -> Vec<(usize, u32)> {
    let WalOrder::Key(by) = order else { return Vec::new() };
    let has_key = matches!(relation.identity, Identity::Default | Identity::Index);
    let is_ordering = |column: &Column| match by {
        Some(name) => column.name == *name,
        None => has_key && column.is_key,
    };
    let columns = relation.columns.iter().enumerate().filter(|(_, column)| is_ordering(column));
    columns.map(|(place, column)| (place, column.type_id)).collect()
}
