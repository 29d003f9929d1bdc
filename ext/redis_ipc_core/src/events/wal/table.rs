//! A table whose changes are read.

use crate::events::common::in_flight::Described;
use crate::events::common::wal_options::WalOrder;
use crate::events::wal::snapshot_records::Cover;
use crate::foundation::postgres::json_value;
use crate::foundation::postgres::pgoutput::relation::{Identity, Relation};
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
    /// The columns by which its rows are ordered. Without any, all its rows are handled one after the other.
    columns: Vec<usize>,
    /// The types of all columns.
    types: Vec<u32>,
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
            hash: hash_of(&(&relation.schema, &relation.table)),
            columns: ordering(relation, order),
            types: relation.columns.iter().map(|column| column.type_id).collect(),
            width: relation.columns.len(),
            cover: Cover::default(),
        }
    }

    /// Returns the hash of the line to which all of its rows belong.
    pub fn line(&self) -> u64 {
        self.hash
    }

    /// Returns the hash of the line to which a row belongs.
    pub fn line_of(&self, row: Tuple<'_>) -> u64 {
        if self.columns.is_empty() {
            return self.hash;
        }
        let values: Vec<Value<'_>> = row.values().collect();
        let mut hasher = DefaultHasher::new();
        self.hash.hash(&mut hasher);
        for column in &self.columns {
            match values.get(*column) {
                Some(Value::Text(text)) => text.hash(&mut hasher),
                _ => 0u8.hash(&mut hasher),
            }
        }
        hasher.finish()
    }

    /// Returns the key of this row, by which it is ordered, as an event has it. `None` if it has none.
    pub fn key_of(&self, row: Tuple<'_>) -> Option<Vec<u8>> {
        if self.columns.is_empty() {
            return None;
        }
        let values: Vec<Value<'_>> = row.values().collect();
        let text = |column: &usize| match values.get(*column)? {
            Value::Text(text) => Some(json_value::plain(*self.types.get(*column)?, text)),
            Value::Null => Some(&b""[..]),
            Value::Unchanged => None,
        };
        match self.columns.as_slice() {
            [] => None,
            [column] => text(column).map(<[u8]>::to_vec),
            columns => {
                let mut key = vec![b'['];
                for (place, column) in columns.iter().enumerate() {
                    if place > 0 {
                        key.push(b',');
                    }
                    json_value::write_text(text(column)?, &mut key);
                }
                key.push(b']');
                Some(key)
            }
        }
    }
}

/// Returns the columns by which rows are ordered. A table that is identified by whole rows has none, because each
/// update would change the key.
fn ordering(relation: &Relation, order: &WalOrder) -> Vec<usize> {
    let WalOrder::Key(by) = order else { return Vec::new() };
    let place = |name: &String| relation.columns.iter().position(|column| column.name == *name);
    if let Some(name) = by {
        return place(name).into_iter().collect();
    }
    if !matches!(relation.identity, Identity::Default | Identity::Index) {
        return Vec::new();
    }
    let keys = relation.columns.iter().enumerate().filter(|(_, column)| column.is_key);
    keys.map(|(place, _)| place).collect()
}

/// Returns the hash of a value.
pub fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
