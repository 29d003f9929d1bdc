//! The lag of a group: how many entries have not been delivered to it.

use crate::foundation::redis::resp::replies;
use redis::Value;

/// Returns the lag of `group`, from the replies to XINFO STREAM and XINFO GROUPS. `None` if Redis cannot tell.
///
/// Redis's own `lag` counts entries that were trimmed before they were delivered
/// (<https://github.com/redis/redis/issues/13957>). So if all remaining entries were added after the last delivered
/// one, the lag is the length of the stream.
pub fn of(stream: &Value, groups: &Value, group: &str) -> Option<u64> {
    let Value::Array(facts) = stream else { return None };
    let Value::Array(groups) = groups else { return None };
    let of_group = groups.iter().find_map(|found| match found {
        Value::Array(facts) => match replies::fact(facts, b"name") {
            Some(Value::BulkString(name)) if name == group.as_bytes() => Some(facts),
            _ => None,
        },
        _ => None,
    })?;
    let delivered = replies::fact(of_group, b"last-delivered-id").and_then(replies::id)?;
    let last = replies::fact(facts, b"last-generated-id").and_then(replies::id)?;
    let length = number(replies::fact(facts, b"length")?)?;
    let first = match replies::fact(facts, b"first-entry") {
        Some(Value::Array(entry)) => entry.first().and_then(replies::id),
        _ => None,
    };
    match first {
        None => Some(0),
        Some(_) if delivered >= last => Some(0),
        Some(first) if delivered < first => Some(length),
        Some(_) => number(replies::fact(of_group, b"lag")?),
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn lag(length: i64, first: Option<&str>, delivered: &str, of_redis: Value) -> Option<u64> {
        let entry = first.map_or(Value::Nil, |id| Value::Array(vec![bulk(id), Value::Array(vec![])]));
        let stream = Value::Array(vec![
            bulk("length"),
            Value::Int(length),
            bulk("last-generated-id"),
            bulk("9-0"),
            bulk("first-entry"),
            entry,
        ]);
        let group = Value::Array(vec![
            bulk("name"),
            bulk("g"),
            bulk("last-delivered-id"),
            bulk(delivered),
            bulk("lag"),
            of_redis,
        ]);
        of(&stream, &Value::Array(vec![group]), "g")
    }

    #[test]
    fn what_was_trimmed_does_not_count() {
        assert_eq!(lag(4, Some("6-0"), "2-0", Value::Int(7)), Some(4));
        assert_eq!(lag(4, Some("6-0"), "7-0", Value::Int(2)), Some(2));
        assert_eq!(lag(4, Some("6-0"), "7-0", Value::Nil), None, "entries were deleted in between");
        assert_eq!(lag(4, Some("6-0"), "9-0", Value::Nil), Some(0));
        assert_eq!(lag(0, None, "2-0", Value::Int(7)), Some(0));
    }
}
