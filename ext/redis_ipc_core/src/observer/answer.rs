//! What Redis answers to a query.

use crate::foundation::payload::key_part;
use crate::foundation::payload::stream_entry::RawEntry;
use crate::request_reply::observing::{self, Presence};
use redis::Value;

/// What Redis answered to a [`crate::observer::Query`].
#[derive(Debug)]
pub enum Answer {
    /// The reply as Redis gave it.
    Reply(Reply),
    /// The instances that show that they are alive.
    Instances(Vec<Presence>),
    /// The groups and instances that have, or had, a record.
    Known(Vec<Known>),
    /// Entries of a stream.
    Entries(Vec<RawEntry>),
}

/// A reply of Redis, without its protocol's types.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing is there.
    Nil,
    /// A number.
    Number(i64),
    /// A text, or bytes.
    Text(Vec<u8>),
    /// Several replies. What RESP3 has as a map are its names and values in turn.
    List(Vec<Reply>),
}

/// A row of the index of records, `S:stats`.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    /// The group.
    pub group: String,
    /// The instance. `None` is the row of the group itself.
    pub instance: Option<String>,
    /// When it is to be forgotten, in ms on Redis's clock.
    pub until: u64,
}

/// The form of the reply to a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Plain,
    Instances,
    Known,
}

impl Shape {
    /// Reads a reply of this shape.
    pub fn read(self, reply: &Value) -> Answer {
        match self {
            Self::Plain => Answer::Reply(Reply::of(reply)),
            Self::Instances => Answer::Instances(observing::instances(reply)),
            Self::Known => Answer::Known(known(reply)),
        }
    }
}

impl Reply {
    fn of(value: &Value) -> Self {
        let list = |items: &[Value]| Self::List(items.iter().map(Self::of).collect());
        match value {
            Value::Nil => Self::Nil,
            Value::Int(number) => Self::Number(*number),
            Value::BulkString(bytes) => Self::Text(bytes.clone()),
            Value::SimpleString(text) => Self::Text(text.clone().into_bytes()),
            Value::Okay => Self::Text(b"OK".to_vec()),
            Value::Array(items) | Value::Set(items) => list(items),
            // No query asks for RESP3.
            _ => Self::Nil,
        }
    }
}

/// Reads the rows `group` and `group:instance` with their scores. Rows that are neither are skipped, because any
/// client that may write the key can add them.
fn known(reply: &Value) -> Vec<Known> {
    let Value::Array(flat) = reply else { return Vec::new() };
    let row = |pair: &[Value]| {
        let [Value::BulkString(member), Value::BulkString(score)] = pair else { return None };
        let until: f64 = std::str::from_utf8(score).ok()?.parse().ok()?;
        let mut parts = std::str::from_utf8(member).ok()?.split(':').map(key_part::decode);
        let (group, instance) = (parts.next()?, parts.next());
        // The conversion saturates, because a score may be any double.
        parts.next().is_none().then_some(Known { group, instance, until: until as u64 })
    };
    flat.chunks(2).filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn groups_and_instances_of_the_index_are_read_and_other_rows_are_skipped() {
        let rows = ["a%3Ab:7f", "9", "a%3Ab", "12.5", "x:y:z", "1", "child", "soon", ":7f", "3"];
        let found = known(&Value::Array(rows.iter().map(|row| text(row)).collect()));
        let row = |group: &str, instance: Option<&str>, until| Known {
            group: group.to_owned(),
            instance: instance.map(str::to_owned),
            until,
        };
        let expected = [row("a:b", Some("7f"), 9), row("a:b", None, 12), row("", Some("7f"), 3)];
        assert_eq!(found, expected, "the records of a JSON-RPC queue have an empty group");
        assert_eq!(known(&Value::Nil), []);
    }

    #[test]
    fn a_reply_is_read_whatever_it_holds() {
        let reply = Value::Array(vec![Value::Int(1), Value::Nil, Value::Okay, text("x")]);
        let Answer::Reply(Reply::List(items)) = Shape::Plain.read(&reply) else { panic!("no list") };
        let words = |word: &str| Reply::Text(word.as_bytes().to_vec());
        assert_eq!(items, [Reply::Number(1), Reply::Nil, words("OK"), words("x")]);
    }
}
