//! Makes the entry of a change: what `Events.publish` writes, and the field `change` with what only a change has.

use crate::events::common::forward_options::{ForwardOptions, KeyRule, Naming, TypeRule};
use crate::events::common::in_flight::InFlight;
use crate::events::forward::checkpoint::{BEFORE_ALL, Field, Position};
use crate::foundation::payload::fields::Fields;
use crate::foundation::postgres::json_value::{self, write_text};
use crate::foundation::postgres::pgoutput::lsn::Lsn;
use crate::foundation::postgres::pgoutput::tuple::{Tuple, Value};
use std::borrow::Cow;
use std::sync::Arc;

/// Fields that an event has where something is so, and what that is called.
const MARKS: [(&str, &str); 4] = [
    ("cascade", "cascade"),
    ("restart", "restart_identity"),
    ("snapshot", "snapshot"),
    ("in_snapshot", "in_snapshot"),
];

/// An entry that is to be added.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its fields, without the id.
    pub fields: Vec<Field>,
    /// By what it is ordered: its key, or else its table.
    pub place: Vec<u8>,
    /// Where it is in the log. `None` of a row that was there before the log.
    pub position: Option<Position>,
}

/// Makes entries.
pub struct Entries {
    options: ForwardOptions,
    /// The table of the last change: mostly it is that of the next one, too.
    table: Option<Arc<Table>>,
}

impl Entries {
    /// Creates one that has seen no table.
    pub fn new(options: ForwardOptions) -> Self {
        Self { options, table: None }
    }

    /// Makes the entry of a change. Returns `None` of a change that cannot be read.
    pub fn make(&mut self, event: &InFlight, naming: &Naming) -> Option<Entry> {
        let change = Change::read(&event.fields)?;
        match event.field(b"table") {
            Some(description) => {
                let table = self.described(description)?;
                Some(change.of_table(&table, &self.options, naming))
            }
            None => change.of_message(&event.fields, naming),
        }
    }

    fn described(&mut self, description: &[u8]) -> Option<Arc<Table>> {
        if let Some(table) = self.table.as_ref().filter(|table| table.description == description) {
            return Some(Arc::clone(table));
        }
        let table = Arc::new(Table::read(description)?);
        self.table = Some(Arc::clone(&table));
        Some(table)
    }
}

/// A table, as the log describes it.
struct Table {
    description: Vec<u8>,
    schema: String,
    name: String,
    /// Whether a key tells its rows apart, and not the whole row.
    has_key: bool,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    /// The name as JSON, with the colon after it.
    label: Vec<u8>,
    type_id: u32,
    is_key: bool,
}

impl Table {
    fn read(description: &[u8]) -> Option<Self> {
        let told: serde_json::Value = serde_json::from_slice(description).ok()?;
        let text = |name: &str| told.get(name)?.as_str().map(str::to_owned);
        let column = |column: &serde_json::Value| {
            let name = column.get(0)?.as_str()?.to_owned();
            let mut label = Vec::new();
            write_text(name.as_bytes(), &mut label);
            label.push(b':');
            let type_id = u32::try_from(column.get(1)?.as_u64()?).ok()?;
            Some(Column { name, label, type_id, is_key: column.get(2)?.as_bool()? })
        };
        Some(Self {
            description: description.to_vec(),
            schema: text("schema")?,
            name: text("table")?,
            has_key: matches!(text("identity")?.as_str(), "default" | "index"),
            columns: told.get("columns")?.as_array()?.iter().map(column).collect::<Option<_>>()?,
        })
    }

    /// Returns the name, with the schema if that is not `public`.
    fn title(&self) -> String {
        if self.schema == "public" { self.name.clone() } else { format!("{}.{}", self.schema, self.name) }
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Returns the places of the columns of the key.
    fn key(&self, rule: &KeyRule) -> Option<Vec<usize>> {
        match rule {
            KeyRule::Columns(names) => names.iter().map(|name| self.place(name)).collect(),
            KeyRule::Identity if self.has_key => {
                Some((0..self.columns.len()).filter(|place| self.columns[*place].is_key).collect())
            }
            KeyRule::Identity => None,
        }
    }
}

/// A change, as it waits.
struct Change<'a> {
    operation: &'static str,
    position: Option<Position>,
    /// What is known of its transaction, as JSON members.
    transaction: String,
    lsn: &'a str,
    new: Option<Vec<Value<'a>>>,
    /// The whole row before.
    old: Option<Vec<Value<'a>>>,
    /// The key of the row before.
    old_key: Option<Vec<Value<'a>>>,
    /// Words for what is so.
    marks: Vec<&'static str>,
}

impl<'a> Change<'a> {
    fn read(fields: &'a Fields) -> Option<Self> {
        let operation = match fields.get("op")? {
            b"I" => "insert",
            b"U" => "update",
            b"D" => "delete",
            b"T" => "truncate",
            b"M" => "message",
            _ => return None,
        };
        let text = |name| std::str::from_utf8(fields.get(name)?).ok();
        let row = |name| Some(Tuple { bytes: fields.get(name)? }.values().collect::<Vec<_>>());
        let lsn = text("lsn")?;
        let (position, transaction) = match text("tx") {
            // All rows that were there have the same position, and come in no order.
            None if fields.get("snapshot").is_some() => (None, String::new()),
            None => (Some(Position { lsn: Lsn::parse(lsn)?, index: BEFORE_ALL }), String::new()),
            Some(told) => {
                let mut parts = told.split(' ');
                let (xid, commit, index) = (parts.next()?, parts.next()?, parts.next()?);
                let (is_last, at_us, is_first) =
                    (parts.next()? == "1", parts.next()?, parts.next() == Some("1"));
                let position = Position { lsn: Lsn::parse(commit)?, index: index.parse().ok()? };
                let told = format!(
                    r#","commit_lsn":"{commit}","xid":{xid},"index":{index},"first":{is_first},"last":{is_last},"committed_us":{at_us}"#
                );
                (Some(position), told)
            }
        };
        Some(Self {
            operation,
            position,
            transaction,
            lsn,
            new: row("new"),
            old: row("old"),
            old_key: row("key"),
            marks: MARKS
                .iter()
                .filter(|(field, _)| fields.get(field).is_some())
                .map(|(_, word)| *word)
                .collect(),
        })
    }

    /// Returns the new value of a column. One that was not written is that of the old row, if the log has that.
    fn after(&self, place: usize) -> Value<'a> {
        match self.new.as_ref().and_then(|row| row.get(place)) {
            Some(Value::Unchanged) => {
                self.old.as_ref().and_then(|row| row.get(place)).copied().unwrap_or(Value::Unchanged)
            }
            Some(value) => *value,
            None => Value::Null,
        }
    }

    /// Returns what a column tells of the row: the old value where there is one.
    fn named(&self, table: &Table, place: usize) -> Option<&'a [u8]> {
        let column = &table.columns[place];
        let known = self.old.as_ref().or(self.old_key.as_ref().filter(|_| column.is_key));
        let value = known.and_then(|row| row.get(place)).copied().unwrap_or_else(|| self.after(place));
        match value {
            Value::Text(text) => Some(json_value::plain(column.type_id, text)),
            Value::Null | Value::Unchanged => None,
        }
    }

    fn key(&self, table: &Table, rule: &KeyRule) -> Option<Vec<u8>> {
        let places = table.key(rule)?;
        json_value::key(places.iter().map(|place| self.named(table, *place))).map(Cow::into_owned)
    }

    fn kind(&self, table: &Table, rule: &TypeRule) -> Option<Vec<u8>> {
        match rule {
            TypeRule::Table => Some(format!("{}.{}", table.title(), self.operation).into_bytes()),
            TypeRule::Text(text) => Some(text.clone().into_bytes()),
            TypeRule::Column(name) => self.named(table, table.place(name)?).map(<[u8]>::to_vec),
        }
    }

    fn of_table(&self, table: &Table, options: &ForwardOptions, naming: &Naming) -> Entry {
        let key = naming.key.or(|| self.key(table, &options.key));
        let kind = naming.kind.or(|| self.kind(table, &options.kind));
        let (data, unchanged) = self.data(table);
        let mut change = format!(r#"{{"operation":"{}","schema":"#, self.operation).into_bytes();
        write_text(table.schema.as_bytes(), &mut change);
        change.extend_from_slice(br#","table":"#);
        write_text(table.name.as_bytes(), &mut change);
        change.extend_from_slice(format!(r#","lsn":"{}"{}"#, self.lsn, self.transaction).as_bytes());
        if let Some(old) = &self.old {
            change.extend_from_slice(br#","old":"#);
            object(table.columns.iter().zip(old.iter().copied()), &mut change);
        } else if let Some(key) = &self.old_key {
            change.extend_from_slice(br#","old":"#);
            object(
                table.columns.iter().zip(key.iter().copied()).filter(|(column, _)| column.is_key),
                &mut change,
            );
        }
        if !unchanged.is_empty() {
            change.extend_from_slice(br#","unchanged":["#);
            change.extend_from_slice(&unchanged.join(&b','));
            change.push(b']');
        }
        for word in &self.marks {
            change.extend_from_slice(format!(r#","{word}":true"#).as_bytes());
        }
        change.push(b'}');
        let place = key.clone().unwrap_or_else(|| table.title().into_bytes());
        entry(kind, key, data, change, place, self.position)
    }

    /// Returns the row as JSON, and the names of the columns of which the value is not known, as JSON.
    fn data(&self, table: &Table) -> (Vec<u8>, Vec<Vec<u8>>) {
        if self.new.is_none() {
            return (b"null".to_vec(), Vec::new());
        }
        let mut data = Vec::with_capacity(256);
        let values = |place| self.after(place);
        object(table.columns.iter().enumerate().map(|(place, column)| (column, values(place))), &mut data);
        let unchanged =
            table.columns.iter().enumerate().filter(|(place, _)| values(*place) == Value::Unchanged);
        let names = unchanged.map(|(_, column)| column.label[..column.label.len() - 1].to_vec());
        (data, names.collect())
    }

    fn of_message(&self, fields: &Fields, naming: &Naming) -> Option<Entry> {
        let (prefix, content) = (fields.get("prefix")?, fields.get("content")?);
        let mut data = Vec::with_capacity(content.len() + 2);
        if std::str::from_utf8(content).is_ok() {
            write_text(content, &mut data);
        } else {
            let hex: String = content.iter().map(|byte| format!("{byte:02x}")).collect();
            write_text(format!("\\x{hex}").as_bytes(), &mut data);
        }
        let is_transactional = !self.transaction.is_empty();
        let mut change = br#"{"operation":"message","prefix":"#.to_vec();
        write_text(prefix, &mut change);
        let rest =
            format!(r#","transactional":{is_transactional},"lsn":"{}"{}}}"#, self.lsn, self.transaction);
        change.extend_from_slice(rest.as_bytes());
        let key = naming.key.or(|| None);
        let kind = naming.kind.or(|| Some(prefix.to_vec()));
        let place = key.clone().unwrap_or_else(|| prefix.to_vec());
        Some(entry(kind, key, data, change, place, self.position))
    }
}

/// Adds the members of a row. Those whose value is not known are left out.
fn object<'a>(values: impl Iterator<Item = (&'a Column, Value<'a>)>, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut is_first = true;
    for (column, value) in values {
        if value == Value::Unchanged {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        out.extend_from_slice(&column.label);
        match value {
            Value::Text(text) => json_value::write(column.type_id, text, out),
            Value::Null | Value::Unchanged => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
}

fn entry(
    kind: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
    data: Vec<u8>,
    change: Vec<u8>,
    place: Vec<u8>,
    position: Option<Position>,
) -> Entry {
    // The id makes it five.
    let mut fields = Vec::with_capacity(5);
    let known = [("type", kind), ("key", key), ("data", Some(data)), ("change", Some(change))];
    fields.extend(known.into_iter().filter_map(|(name, value)| Some((name, value?))));
    Entry { fields, place, position }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::payload::stream_entry::StreamId;
    use serde_json::json;

    fn tuple(values: &[Option<&str>]) -> Vec<u8> {
        let mut bytes = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
        for value in values {
            match value {
                None => bytes.push(b'n'),
                Some("?") => bytes.push(b'u'),
                Some(text) => {
                    bytes.push(b't');
                    bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                    bytes.extend(text.as_bytes());
                }
            }
        }
        bytes
    }

    fn options(more: serde_json::Value) -> ForwardOptions {
        let mut all = json!({ "to": "orders" });
        for (name, value) in more.as_object().unwrap() {
            all[name] = value.clone();
        }
        ForwardOptions::parse(all).unwrap()
    }

    fn made(more: serde_json::Value, fields: &[(&str, Vec<u8>)]) -> (Fields, Entry) {
        let table = json!({ "schema": "public", "table": "orders", "identity": "default",
                            "columns": [["id", 20, true], ["shop", 25, false], ["paid", 16, false]] });
        let mut all = vec![
            ("table", table.to_string().into_bytes()),
            ("lsn", b"0/10".to_vec()),
            ("tx", b"7 0/20 3 1 1767225600000000 1".to_vec()),
        ];
        all.extend(fields.iter().cloned());
        let pairs: Vec<(&[u8], &[u8])> =
            all.iter().map(|(name, value)| (name.as_bytes(), &value[..])).collect();
        let event = InFlight::new(StreamId { ms: 1, seq: 1 }, Fields::exactly(&pairs), 1, 1);
        let entry = Entries::new(options(more)).make(&event, &Naming::default()).unwrap();
        let fields = entry.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect();
        (fields, entry)
    }

    fn json_of(fields: &Fields, name: &str) -> serde_json::Value {
        serde_json::from_slice(fields.get(name).unwrap()).unwrap()
    }

    #[test]
    fn a_row_has_its_type_its_key_its_data_and_what_changed() {
        let row = tuple(&[Some("5"), Some("a\"b"), Some("t")]);
        let (fields, entry) = made(json!({}), &[("op", b"I".to_vec()), ("new", row)]);
        assert_eq!((fields.get("type"), fields.get("key")), (Some(&b"orders.insert"[..]), Some(&b"5"[..])));
        assert_eq!(json_of(&fields, "data"), json!({ "id": 5, "shop": "a\"b", "paid": true }));
        assert_eq!(
            json_of(&fields, "change"),
            json!({ "operation": "insert", "schema": "public", "table": "orders", "lsn": "0/10",
                    "commit_lsn": "0/20", "xid": 7, "index": 3, "first": true, "last": true, "committed_us": 1767225600000000u64 })
        );
        assert_eq!(
            (entry.place, entry.position),
            (b"5".to_vec(), Some(Position { lsn: Lsn(0x20), index: 3 }))
        );
    }

    #[test]
    fn a_key_that_changes_is_the_old_one() {
        let (old, new) = (tuple(&[Some("5"), None, None]), tuple(&[Some("6"), Some("?"), None]));
        let (fields, _) = made(json!({}), &[("op", b"U".to_vec()), ("new", new), ("key", old)]);
        assert_eq!(fields.get("key"), Some(&b"5"[..]));
        assert_eq!(json_of(&fields, "data"), json!({ "id": 6, "paid": null }));
        let change = json_of(&fields, "change");
        assert_eq!((&change["old"], &change["unchanged"]), (&json!({ "id": 5 }), &json!(["shop"])));
    }

    #[test]
    fn columns_name_the_key_and_the_type() {
        let row = tuple(&[Some("5"), Some("x"), Some("f")]);
        let words = json!({ "key": ["shop", "paid"], "type_column": "shop" });
        let (fields, _) = made(words, &[("op", b"I".to_vec()), ("new", row.clone())]);
        let both = (fields.get("key"), fields.get("type"));
        assert_eq!(both, (Some(&br#"["x","false"]"#[..]), Some(&b"x"[..])));
        let (fields, entry) =
            made(json!({ "key": ["none"], "type": "t" }), &[("op", b"I".to_vec()), ("new", row)]);
        assert_eq!((fields.get("key"), fields.get("type")), (None, Some(&b"t"[..])));
        assert_eq!(entry.place, b"orders");
    }

    #[test]
    fn a_message_is_before_the_transaction_that_is_committed_where_it_ends() {
        let fields: Vec<(&[u8], &[u8])> =
            vec![(b"op", b"M"), (b"prefix", b"mail"), (b"content", b"x"), (b"lsn", b"0/20")];
        let event = InFlight::new(StreamId { ms: 1, seq: 1 }, Fields::exactly(&fields), 1, 1);
        let message = Entries::new(options(json!({}))).make(&event, &Naming::default()).unwrap();
        let first_row = Position { lsn: Lsn(0x20), index: 0 };
        assert!(message.position.is_some_and(|position| position < first_row));
    }

    #[test]
    fn a_deleted_row_has_no_data() {
        let (fields, _) = made(json!({}), &[("op", b"D".to_vec()), ("key", tuple(&[Some("5"), None, None]))]);
        assert_eq!((fields.get("data"), fields.get("key")), (Some(&b"null"[..]), Some(&b"5"[..])));
    }
}
