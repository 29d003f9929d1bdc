//! A row, as it is written.

use crate::foundation::postgres::pgoutput::cursor::{Cursor, Malformed};

/// The value of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// It was not written, because it did not change and is stored apart (TOAST).
    Unchanged,
    /// Its text.
    Text(&'a [u8]),
}

/// A row. It was checked as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple<'a> {
    /// The number of columns, and each of them, as they are written.
    pub bytes: &'a [u8],
}

impl<'a> Tuple<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let all = cursor.0;
        let count = cursor.u16()?;
        for _ in 0..count {
            next(cursor)?;
        }
        Ok(Self { bytes: &all[..all.len() - cursor.0.len()] })
    }

    /// Returns how many columns it has.
    pub fn width(self) -> usize {
        self.bytes.first_chunk::<2>().map_or(0, |count| usize::from(u16::from_be_bytes(*count)))
    }

    /// Iterates over the values.
    pub fn values(self) -> impl Iterator<Item = Value<'a>> {
        let mut cursor = Cursor(self.bytes.get(2..).unwrap_or_default());
        std::iter::from_fn(move || next(&mut cursor).ok())
    }
}

/// Writes a row of an answer to a query as the log has it.
///
/// # Errors
///
/// It is no such row.
pub fn of_row(row: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut cursor = Cursor(row);
    let count = cursor.u16()?;
    let mut bytes = Vec::with_capacity(row.len() + usize::from(count));
    bytes.extend_from_slice(&count.to_be_bytes());
    for _ in 0..count {
        match cursor.u32()? {
            // The length -1.
            u32::MAX => bytes.push(b'n'),
            length => {
                bytes.push(b't');
                bytes.extend_from_slice(&length.to_be_bytes());
                bytes.extend_from_slice(cursor.take(usize::try_from(length).unwrap_or(usize::MAX))?);
            }
        }
    }
    if cursor.0.is_empty() { Ok(bytes) } else { Err(Malformed("there is something after its end")) }
}

fn next<'a>(cursor: &mut Cursor<'a>) -> Result<Value<'a>, Malformed> {
    Ok(match cursor.byte()? {
        b'n' => Value::Null,
        b'u' => Value::Unchanged,
        b't' => {
            let length = cursor.u32()?;
            Value::Text(cursor.take(usize::try_from(length).unwrap_or(usize::MAX))?)
        }
        _ => return Err(Malformed("the kind of a value is unknown")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_an_answer_becomes_one_of_the_log() {
        let bytes = of_row(b"\0\x02\0\0\0\x01x\xff\xff\xff\xff").unwrap();
        let mut cursor = Cursor(&bytes);
        let values: Vec<_> = Tuple::read(&mut cursor).unwrap().values().collect();
        assert_eq!((values, cursor.0), (vec![Value::Text(b"x"), Value::Null], &b""[..]));
        for broken in [&b""[..], b"\0\x01", b"\0\x01\0\0\0\x02x", b"\0\0x"] {
            assert!(of_row(broken).is_err());
        }
    }
}
