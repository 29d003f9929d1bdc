//! A table, as its rows are written.

use crate::foundation::postgres::pgoutput::cursor::{Cursor, Malformed};

/// What tells a row of a table from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The primary key, or nothing if there is none.
    Default,
    /// An index.
    Index,
    /// The whole row.
    Full,
    /// Nothing.
    Nothing,
}

impl Identity {
    /// Reads the letter that PostgreSQL has for it.
    pub fn of(letter: u8) -> Option<Self> {
        Some(match letter {
            b'd' => Self::Default,
            b'i' => Self::Index,
            b'f' => Self::Full,
            b'n' => Self::Nothing,
            _ => return None,
        })
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The type's id.
    pub type_id: u32,
    /// Whether it is part of the identity.
    pub is_key: bool,
}

/// A table, as its rows are written from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its id.
    pub id: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// What tells its rows apart.
    pub identity: Identity,
    /// Its columns.
    pub columns: Vec<Column>,
}

impl Relation {
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let id = cursor.u32()?;
        let schema = match cursor.text()? {
            "" => "pg_catalog",
            name => name,
        };
        let (schema, table) = (schema.to_owned(), cursor.text()?.to_owned());
        let identity = Identity::of(cursor.byte()?).ok_or(Malformed("a replica identity is unknown"))?;
        let mut columns = Vec::new();
        for _ in 0..cursor.u16()? {
            let is_key = cursor.byte()? & 1 != 0;
            let name = cursor.text()?.to_owned();
            let type_id = cursor.u32()?;
            // The type's modifier, such as the digits of a number.
            cursor.u32()?;
            columns.push(Column { name, type_id, is_key });
        }
        Ok(Self { id, schema, table, identity, columns })
    }
}
