//! Rows of PostgreSQL's log as Ruby objects.

use crate::ruby::gvl::read_bytes;
use magnus::prelude::*;
use magnus::{Error, RArray, RHash, RString, Ruby, Value};
use redis_ipc_core::events::{Row, RowValue};

/// Converts a row to a Hash. `names` are the names of its columns, and `codes` says by a letter for each how its text
/// is read: `i` as an Integer, `f` as a Float, `b` as true or false, all others as a String. A value that the log
/// leaves out has no entry. A text that is none of its type stays a String.
///
/// # Errors
///
/// Ruby refuses to change the Hash.
pub fn hash(ruby: &Ruby, row: Row<'_>, names: RArray, codes: RString) -> Result<RHash, Error> {
    let hash = ruby.hash_new();
    for (column, value) in row.values().enumerate().take(names.len()) {
        let value = match value {
            RowValue::Unchanged => continue,
            RowValue::Null => ruby.qnil().as_value(),
            RowValue::Text(text) => {
                decoded(ruby, text, read_bytes(codes, |codes| codes.get(column).copied()))
            }
        };
        hash.aset(names.entry::<Value>(isize::try_from(column).unwrap_or(isize::MAX))?, value)?;
    }
    Ok(hash)
}

fn decoded(ruby: &Ruby, text: &[u8], code: Option<u8>) -> Value {
    let parsed = || std::str::from_utf8(text).ok();
    let found = match code {
        Some(b'i') => parsed()
            .and_then(|text| text.parse::<i64>().ok())
            .map(|value| ruby.integer_from_i64(value).as_value()),
        Some(b'f') => parsed()
            .and_then(|text| text.parse::<f64>().ok())
            .map(|value| ruby.float_from_f64(value).as_value()),
        Some(b'b') => Some(if text == b"t" { ruby.qtrue().as_value() } else { ruby.qfalse().as_value() }),
        _ => None,
    };
    found.unwrap_or_else(|| {
        let string = ruby.enc_str_new(text, ruby.utf8_encoding());
        string.freeze();
        string.as_value()
    })
}
