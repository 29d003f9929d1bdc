//! Takes the entries out of what Redis answers to XRANGE, XCLAIM and XAUTOCLAIM. ([`crate::resp`] does for XREAD.)

use crate::entry::{RawEntry, StreamId};
use crate::fields::Fields;
use redis::{RedisError, RedisResult, Value};
use std::collections::HashMap;

/// What XAUTOCLAIM took over.
#[derive(Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Where the next scan goes on; zero at the end of the list.
    pub cursor: StreamId,
    /// The entries that are ours now.
    pub ids: Vec<StreamId>,
    /// How many were gone from the stream; Redis dropped them from the pending list.
    pub deleted: usize,
}

/// The reply of XAUTOCLAIM with JUSTID (Redis 7.0 and later).
pub fn claimed_ids(value: Value) -> Option<Claimed> {
    let [cursor, Value::Array(ids), Value::Array(deleted)] = array(value)? else { return None };
    let ids = ids.iter().map(id).collect::<Option<_>>()?;
    Some(Claimed { cursor: id(&cursor)?, ids, deleted: deleted.len() })
}

/// The ids in a reply of XPENDING that lists entries.
pub fn pending_ids(value: &Value) -> Vec<StreamId> {
    let Value::Array(rows) = value else { return Vec::new() };
    rows.iter()
        .filter_map(|row| match row {
            Value::Array(columns) => id(columns.first()?),
            _ => None,
        })
        .collect()
}

/// How far each group has come, by its name: the reply to XINFO GROUPS.
pub fn last_delivered(value: &Value) -> Option<HashMap<String, StreamId>> {
    let Value::Array(groups) = value else { return None };
    groups
        .iter()
        .map(|group| {
            let Value::Array(facts) = group else { return None };
            let fact = |wanted: &[u8]| {
                facts.chunks(2).find_map(|pair| match pair {
                    [Value::BulkString(name), fact] if name == wanted => Some(fact),
                    _ => None,
                })
            };
            let Some(Value::BulkString(name)) = fact(b"name") else { return None };
            let name = String::from_utf8_lossy(name).into_owned();
            Some((name, id(fact(b"last-delivered-id")?)?))
        })
        .collect()
}

/// A list of entries, as XRANGE returns it.
pub fn entries(value: Value) -> Option<Vec<RawEntry>> {
    let Value::Array(list) = value else { return None };
    list.into_iter()
        .map(|entry| {
            let [entry_id, fields] = array(entry)?;
            let fields = match fields {
                Value::Nil => None,
                Value::Array(flat) => Some(pairs(&flat)?),
                _ => return None,
            };
            Some(RawEntry { id: id(&entry_id)?, fields })
        })
        .collect()
}

/// A stream id.
pub fn id(value: &Value) -> Option<StreamId> {
    match value {
        Value::BulkString(text) => StreamId::parse(text),
        Value::SimpleString(text) => StreamId::parse(text.as_bytes()),
        _ => None,
    }
}

fn array<const N: usize>(value: Value) -> Option<[Value; N]> {
    let Value::Array(items) = value else { return None };
    items.try_into().ok()
}

fn pairs(flat: &[Value]) -> Option<Fields> {
    let fields = flat.chunks(2).map(|pair| match pair {
        [Value::BulkString(name), Value::BulkString(value)] => Some((name, value)),
        _ => None,
    });
    fields.collect()
}

/// A refusal as an error.
pub fn refused(value: Value) -> RedisResult<Value> {
    match value {
        Value::ServerError(error) => Err(error.into()),
        value => Ok(value),
    }
}

/// The error for a reply of the wrong shape.
pub fn unexpected() -> RedisError {
    RedisError::from((redis::ErrorKind::UnexpectedReturnType, "Redis sent a reply of an unknown shape"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn entry(id: &str) -> Value {
        Value::Array(vec![bulk(id), Value::Array(vec![bulk("a"), bulk("1")])])
    }

    #[test]
    fn replies_are_taken_apart() {
        let found = entries(Value::Array(vec![entry("1-0"), entry("2-5")])).unwrap();
        assert_eq!(found[1].id, StreamId { ms: 2, seq: 5 });
        assert_eq!(found[0].fields, Some([("a", "1")].into_iter().collect()));
    }

    #[test]
    fn deleted_entries_are_told_apart() {
        let reply = Value::Array(vec![Value::Array(vec![bulk("1-0"), Value::Nil])]);
        assert_eq!(entries(reply).unwrap(), [RawEntry { id: StreamId { ms: 1, seq: 0 }, fields: None }]);
        let reply =
            Value::Array(vec![bulk("0-0"), Value::Array(vec![bulk("3-0")]), Value::Array(vec![bulk("9-9")])]);
        let found = claimed_ids(reply).unwrap();
        assert_eq!((found.ids, found.deleted), (vec![StreamId { ms: 3, seq: 0 }], 1));
    }

    #[test]
    fn pending_entries_are_listed_by_id() {
        let row = Value::Array(vec![bulk("3-1"), bulk("me"), Value::Int(1), Value::Int(2)]);
        assert_eq!(pending_ids(&Value::Array(vec![row])), [StreamId { ms: 3, seq: 1 }]);
        assert!(pending_ids(&Value::Nil).is_empty());
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
        for value in [
            Value::Okay,
            Value::Int(1),
            Value::Array(vec![Value::Nil]),
            Value::Array(vec![Value::Array(vec![bulk("k")])]),
        ] {
            assert_eq!(entries(value), None);
        }
        assert_eq!(entries(Value::Array(vec![Value::Array(vec![bulk("x"), Value::Nil])])), None);
        assert_eq!(
            entries(Value::Array(vec![Value::Array(vec![bulk("1-0"), Value::Array(vec![bulk("odd")])])])),
            None
        );
    }
}
