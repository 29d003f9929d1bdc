//! Extracts ids from Redis's replies to XADD, XPENDING, XAUTOCLAIM and XINFO GROUPS. (`decode` reads entries.)

use crate::foundation::payload::stream_entry::StreamId;
use redis::{RedisError, RedisResult, Value};
use std::collections::HashMap;

/// The result of XAUTOCLAIM, with how often each entry has been delivered, and who had it.
#[derive(Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The start of the next scan. It is zero at the end of the list.
    pub cursor: StreamId,
    /// The entries that this consumer has now.
    pub entries: Vec<ClaimedEntry>,
    /// How many entries were gone from the stream. Redis dropped them from the pending list.
    pub deleted: usize,
}

/// An entry that a consumer has claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedEntry {
    /// Its id.
    pub id: StreamId,
    /// How often it has been delivered, this time included.
    pub deliveries: u32,
    /// The consumer that had it before. It is empty if that is not known.
    pub holder: String,
}

/// Reads a reply of XAUTOCLAIM with JUSTID (Redis 7.0 and later), to which the deliveries of each entry and the
/// consumer that had it were added.
pub fn claimed(value: Value) -> Option<Claimed> {
    let [cursor, Value::Array(ids), Value::Array(deleted), Value::Array(deliveries), Value::Array(holders)] =
        array(value)?
    else {
        return None;
    };
    let entry = |((entry, deliveries), holder): ((&Value, &Value), &Value)| match (deliveries, holder) {
        (Value::Int(count), Value::BulkString(holder)) => Some(ClaimedEntry {
            id: id(entry)?,
            deliveries: u32::try_from(*count).ok()?,
            holder: String::from_utf8_lossy(holder).into_owned(),
        }),
        _ => None,
    };
    let entries = ids.iter().zip(&deliveries).zip(&holders).map(entry).collect::<Option<_>>()?;
    Some(Claimed { cursor: id(&cursor)?, entries, deleted: deleted.len() })
}

/// An entry that was delivered and not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingEntry {
    /// Its id.
    pub id: StreamId,
    /// The consumer to which it was delivered last.
    pub consumer: String,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// Reads a reply of XPENDING that lists entries.
pub fn pending(value: &Value) -> Vec<PendingEntry> {
    let Value::Array(rows) = value else { return Vec::new() };
    rows.iter()
        .filter_map(|row| {
            let Value::Array(columns) = row else { return None };
            let [id, Value::BulkString(consumer), Value::Int(_idle), Value::Int(deliveries)] =
                columns.as_slice()
            else {
                return None;
            };
            Some(PendingEntry {
                id: self::id(id)?,
                consumer: String::from_utf8_lossy(consumer).into_owned(),
                deliveries: u64::try_from(*deliveries).ok()?,
            })
        })
        .collect()
}

/// Returns the value under this name in a reply that alternates names and values.
pub fn fact<'reply>(facts: &'reply [Value], wanted: &[u8]) -> Option<&'reply Value> {
    facts.chunks(2).find_map(|pair| match pair {
        [Value::BulkString(name), fact] if name == wanted => Some(fact),
        _ => None,
    })
}

/// Reads a reply to XINFO GROUPS. Returns the last delivered id of each group by its name.
pub fn last_delivered(value: &Value) -> Option<HashMap<String, StreamId>> {
    let Value::Array(groups) = value else { return None };
    groups
        .iter()
        .map(|group| {
            let Value::Array(facts) = group else { return None };
            let Some(Value::BulkString(name)) = fact(facts, b"name") else { return None };
            let name = String::from_utf8_lossy(name).into_owned();
            Some((name, id(fact(facts, b"last-delivered-id")?)?))
        })
        .collect()
}

/// Reads a stream id.
pub fn id(value: &Value) -> Option<StreamId> {
    match value {
        Value::BulkString(text) => StreamId::parse(text),
        Value::SimpleString(text) => StreamId::parse(text.as_bytes()),
        _ => None,
    }
}

/// Whether the reply is 1. `None` if it is no number.
pub fn is_one(reply: Value) -> Option<bool> {
    matches!(reply, Value::Int(_)).then_some(reply == Value::Int(1))
}

fn array<const N: usize>(value: Value) -> Option<[Value; N]> {
    let Value::Array(items) = value else { return None };
    items.try_into().ok()
}

/// Converts a refusal among values to an error.
///
/// # Errors
///
/// `value` is a refusal.
pub fn refused(value: Value) -> RedisResult<Value> {
    match value {
        Value::ServerError(error) => Err(error.into()),
        value => Ok(value),
    }
}

/// Returns the error of a reply with an unexpected shape.
pub fn unexpected() -> RedisError {
    RedisError::from((redis::ErrorKind::UnexpectedReturnType, "Redis sent a reply of an unknown shape"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn deleted_entries_are_told_apart() {
        let [ids, deleted] = ["3-0", "9-9"].map(|id| Value::Array(vec![bulk(id)]));
        let (deliveries, holders) = (Value::Array(vec![Value::Int(2)]), Value::Array(vec![bulk("7f")]));
        let reply = Value::Array(vec![bulk("0-0"), ids, deleted, deliveries, holders]);
        let found = claimed(reply).unwrap();
        let entry = ClaimedEntry { id: StreamId { ms: 3, seq: 0 }, deliveries: 2, holder: "7f".to_owned() };
        assert_eq!((found.entries, found.deleted), (vec![entry], 1));
    }

    #[test]
    fn pending_entries_are_listed_with_who_holds_them() {
        let row = Value::Array(vec![bulk("3-1"), bulk("me"), Value::Int(1), Value::Int(2)]);
        let entry = PendingEntry { id: StreamId { ms: 3, seq: 1 }, consumer: "me".to_owned(), deliveries: 2 };
        assert_eq!(pending(&Value::Array(vec![row, Value::Nil])), [entry]);
        assert!(pending(&Value::Nil).is_empty());
    }

    #[test]
    fn groups_tell_how_far_they_have_come() {
        let id = StreamId { ms: 3, seq: 1 };
        let group = vec![bulk("name"), bulk("child"), bulk("consumers"), Value::Int(1)];
        let last = vec![bulk("last-delivered-id"), bulk("3-1"), bulk("entries-read"), Value::Nil];
        let reply = |facts| Value::Array(vec![Value::Array(facts)]);
        let whole = reply([group.clone(), last].concat());
        assert_eq!(last_delivered(&whole), Some(HashMap::from([("child".to_owned(), id)])));
        assert_eq!(last_delivered(&Value::Array(Vec::new())), Some(HashMap::new()));
        assert_eq!([reply(group), Value::Nil].map(|reply| last_delivered(&reply)), [None, None]);
    }

    #[test]
    fn other_shapes_are_refused() {
        let one = |value| Value::Array(vec![value]);
        let claim = |cursor, id, deliveries, holder| {
            Value::Array(vec![bulk(cursor), one(id), one(Value::Nil), one(deliveries), one(holder)])
        };
        for value in [
            Value::Okay,
            claim("0-0", Value::Nil, Value::Int(1), bulk("7f")),
            claim("0-0", bulk("1-1"), Value::Nil, bulk("7f")),
            claim("0-0", bulk("1-1"), Value::Int(1), Value::Nil),
            claim("x", bulk("1-1"), Value::Int(1), bulk("7f")),
            Value::Array(vec![bulk("0-0"), one(bulk("1-1")), one(Value::Nil), one(Value::Int(1))]),
        ] {
            assert_eq!(claimed(value), None);
        }
        assert_eq!(id(&Value::Int(1)), None);
    }
}
