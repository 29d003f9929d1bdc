//! The messages.

use crate::foundation::postgres::pgoutput::cursor::Cursor;
pub use crate::foundation::postgres::pgoutput::cursor::Malformed;
use crate::foundation::postgres::pgoutput::lsn::Lsn;
use crate::foundation::postgres::pgoutput::relation::Relation;
use crate::foundation::postgres::pgoutput::tuple::Tuple;

/// What is known of a row before its change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Old<'a> {
    /// The columns of its identity. The others are null.
    Key(Tuple<'a>),
    /// All of it.
    Row(Tuple<'a>),
}

impl<'a> Old<'a> {
    /// Returns the row.
    pub fn tuple(self) -> Tuple<'a> {
        match self {
            Self::Key(tuple) | Self::Row(tuple) => tuple,
        }
    }
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// A transaction begins.
    Begin {
        /// Where its commit is.
        commit: Lsn,
        /// When it was committed, in microseconds since 2000.
        committed_us: i64,
        /// Its id.
        xid: u32,
    },
    /// A transaction ends.
    Commit {
        /// The position after it.
        end: Lsn,
    },
    /// A table, whose rows may follow.
    Relation(Relation),
    /// A row was inserted.
    Insert {
        /// The table's id.
        relation: u32,
        /// The row.
        new: Tuple<'a>,
    },
    /// A row was updated.
    Update {
        /// The table's id.
        relation: u32,
        /// The row before, if that is known.
        old: Option<Old<'a>>,
        /// The row.
        new: Tuple<'a>,
    },
    /// A row was deleted.
    Delete {
        /// The table's id.
        relation: u32,
        /// The row.
        old: Old<'a>,
    },
    /// Tables were truncated.
    Truncate {
        /// Their ids.
        relations: Vec<u32>,
        /// Whether the tables that refer to them were, too.
        is_cascade: bool,
        /// Whether their sequences begin again.
        restarts: bool,
    },
    /// What `pg_logical_emit_message` wrote.
    Logical {
        /// Whether it belongs to a transaction.
        is_transactional: bool,
        /// What it is for.
        prefix: &'a str,
        /// What it says.
        content: &'a [u8],
    },
    /// The names of a type, or of a server: nothing that matters here.
    Other,
}

impl<'a> Message<'a> {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// It is none of the protocol.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor(bytes);
        let message = read(&mut cursor)?;
        if cursor.0.is_empty() { Ok(message) } else { Err(Malformed("there is something after its end")) }
    }
}

fn read<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, Malformed> {
    Ok(match cursor.byte()? {
        b'B' => {
            Message::Begin { commit: Lsn(cursor.u64()?), committed_us: cursor.i64()?, xid: cursor.u32()? }
        }
        b'C' => {
            // Flags without a meaning, and the position of the commit, which the beginning has told.
            cursor.byte()?;
            cursor.u64()?;
            let end = Lsn(cursor.u64()?);
            cursor.i64()?;
            Message::Commit { end }
        }
        b'R' => Message::Relation(Relation::read(cursor)?),
        b'I' => {
            let relation = cursor.u32()?;
            expect(cursor, b'N')?;
            Message::Insert { relation, new: Tuple::read(cursor)? }
        }
        b'U' => {
            let relation = cursor.u32()?;
            let old = match cursor.byte()? {
                b'N' => None,
                kind => {
                    let old = old(kind, cursor)?;
                    expect(cursor, b'N')?;
                    Some(old)
                }
            };
            Message::Update { relation, old, new: Tuple::read(cursor)? }
        }
        b'D' => {
            let (relation, kind) = (cursor.u32()?, cursor.byte()?);
            Message::Delete { relation, old: old(kind, cursor)? }
        }
        b'T' => truncate(cursor)?,
        b'M' => {
            let is_transactional = cursor.byte()? & 1 != 0;
            cursor.u64()?;
            let (prefix, length) = (cursor.text()?, cursor.u32()?);
            let content = cursor.take(usize::try_from(length).unwrap_or(usize::MAX))?;
            Message::Logical { is_transactional, prefix, content }
        }
        b'O' | b'Y' => {
            cursor.0 = &[];
            Message::Other
        }
        _ => return Err(Malformed("its kind is unknown")),
    })
}

fn truncate<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, Malformed> {
    let (count, options) = (cursor.u32()?, cursor.byte()?);
    let mut relations = Vec::new();
    for _ in 0..count {
        relations.push(cursor.u32()?);
    }
    Ok(Message::Truncate { relations, is_cascade: options & 1 != 0, restarts: options & 2 != 0 })
}

fn old<'a>(kind: u8, cursor: &mut Cursor<'a>) -> Result<Old<'a>, Malformed> {
    match kind {
        b'K' => Ok(Old::Key(Tuple::read(cursor)?)),
        b'O' => Ok(Old::Row(Tuple::read(cursor)?)),
        _ => Err(Malformed("the kind of an old row is unknown")),
    }
}

fn expect(cursor: &mut Cursor<'_>, expected: u8) -> Result<(), Malformed> {
    if cursor.byte()? == expected { Ok(()) } else { Err(Malformed("the kind of a row is unknown")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::postgres::pgoutput::tuple::Value;
    use proptest::prelude::*;

    const ROW: &[u8] = b"\0\x03t\0\0\0\x01xnu";

    #[test]
    fn rows_are_read() {
        let update = [&b"U\0\0\0\x07K"[..], b"\0\x01n", b"N", ROW].concat();
        let Message::Update { relation: 7, old: Some(Old::Key(old)), new } = Message::read(&update).unwrap()
        else {
            panic!("no update");
        };
        assert_eq!(old.values().collect::<Vec<_>>(), [Value::Null]);
        assert_eq!(new.values().collect::<Vec<_>>(), [Value::Text(b"x"), Value::Null, Value::Unchanged]);
        assert_eq!((new.width(), new.bytes), (3, ROW));
    }

    #[test]
    fn a_table_is_read() {
        let bytes =
            b"R\0\0\0\x07public\0a\0d\0\x02\x01id\0\0\0\0\x17\xff\xff\xff\xff\0b\0\0\0\0\x19\xff\xff\xff\xff";
        let Message::Relation(relation) = Message::read(bytes).unwrap() else { panic!("no relation") };
        assert_eq!((relation.schema.as_str(), relation.table.as_str()), ("public", "a"));
        let columns: Vec<_> = relation
            .columns
            .iter()
            .map(|column| (column.name.as_str(), column.type_id, column.is_key))
            .collect();
        assert_eq!(columns, [("id", 23, true), ("b", 25, false)]);
    }

    #[test]
    fn what_is_none_of_the_protocol_is_refused() {
        for bytes in
            [&b""[..], b"?", b"B", b"I\0\0\0\x01", b"I\0\0\0\x01X\0\0", b"I\0\0\0\x01N\0\x01b\0\0\0\0"]
        {
            assert!(Message::read(bytes).is_err(), "{bytes:?}");
        }
        assert!(Message::read(&[b"I\0\0\0\x01N", ROW, b"x"].concat()).is_err());
        // What is announced reserves nothing.
        assert!(Message::read(b"T\xff\xff\xff\xff\0").is_err());
        assert!(Message::read(b"M\0\0\0\0\0\0\0\0\0p\0\xff\xff\xff\xff").is_err());
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(kind in "[BCRIUDTMOY]", mut bytes: Vec<u8>) {
            bytes.insert(0, kind.as_bytes()[0]);
            let _ = Message::read(&bytes);
        }
    }
}
