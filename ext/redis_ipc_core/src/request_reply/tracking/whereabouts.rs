//! Where a request is when its caller gives up: what is known of it, and what a caller may conclude.

use crate::error::Fate;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::resp::replies::{self, PendingEntry};
use crate::request_reply::protocol::keys;
use redis::Value;

/// What is known of a request whose caller gives up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// It was never sent.
    NotSent,
    /// It was withdrawn from an inbox that no group reads.
    NoGroup,
    /// It was withdrawn before an instance took it.
    NotTaken,
    /// An instance took it and has not answered.
    Taken(PendingEntry),
    /// Whether an instance has taken it is not known.
    Unknown,
}

impl Whereabouts {
    /// Reads the reply to EXEC of a withdrawal: the groups of the inbox, and whether the request with this id was
    /// deleted; and the reply to XPENDING, which says who holds it.
    ///
    /// A group delivers requests in the order of their ids. So it has delivered this one to no consumer if it has not
    /// reached it, and if it has been the only group since the request was added. `G:since` tells the latter. An inbox
    /// without either of the two groups never had one.
    pub fn of_withdrawal(transaction: &Value, pending: &Value, group: &str, id: StreamId) -> Self {
        Self::withdrawn(transaction, group, id)
            .or_else(|| replies::pending(pending).into_iter().next().map(Self::Taken))
            .unwrap_or(Self::Unknown)
    }

    fn withdrawn(transaction: &Value, group: &str, id: StreamId) -> Option<Self> {
        let Value::Array(both) = transaction else { return None };
        let [groups, Value::Int(1)] = both.as_slice() else { return None };
        let last_ids = replies::last_delivered(groups)?;
        match [last_ids.get(group), last_ids.get(&keys::since(group))] {
            [None, None] => Some(Self::NoGroup),
            [Some(delivered), Some(made)] if id > *delivered && id > *made => Some(Self::NotTaken),
            _ => None,
        }
    }

    /// Returns what a caller may conclude.
    pub fn fate(&self) -> Fate {
        match self {
            Self::NotSent => Fate::NotSent,
            Self::NoGroup | Self::NotTaken => Fate::Unclaimed,
            Self::Taken(_) | Self::Unknown => Fate::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: StreamId = StreamId { ms: 5, seq: 1 };

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn whereabouts(groups: &[(&str, &str)], deleted: i64, holders: &[&str]) -> Whereabouts {
        let row = |(name, last): &(&str, &str)| {
            Value::Array(vec![bulk("name"), bulk(name), bulk("last-delivered-id"), bulk(last)])
        };
        let groups = Value::Array(groups.iter().map(row).collect());
        let held =
            |holder: &&str| Value::Array(vec![bulk("5-1"), bulk(holder), Value::Int(9), Value::Int(2)]);
        let pending = Value::Array(holders.iter().map(held).collect());
        Whereabouts::of_withdrawal(&Value::Array(vec![groups, Value::Int(deleted)]), &pending, "child", ID)
    }

    #[test]
    fn nobody_took_what_the_only_group_there_was_has_not_come_to() {
        for (groups, expected) in [
            (&[][..], Whereabouts::NoGroup),
            (&[("child", "5-0"), ("child:since", "0-0")], Whereabouts::NotTaken),
            (&[("child", "0-0"), ("child:since", "5-0")], Whereabouts::NotTaken),
        ] {
            assert_eq!(expected.fate(), Fate::Unclaimed);
            assert_eq!(whereabouts(groups, 1, &[]), expected, "{groups:?}");
            assert_eq!(whereabouts(groups, 0, &[]).fate(), Fate::Unknown, "{groups:?}");
        }
    }

    #[test]
    fn what_a_group_has_come_to_or_was_there_before_it_may_have_run() {
        for groups in [
            &[("child", "5-1"), ("child:since", "0-0")][..],
            &[("child", "6-0"), ("child:since", "0-0")],
            &[("child", "0-0"), ("child:since", "5-1")],
            &[("child", "0-0")],
            &[("child:since", "0-0")],
        ] {
            assert_eq!(whereabouts(groups, 1, &[]), Whereabouts::Unknown, "{groups:?}");
            let Whereabouts::Taken(held) = whereabouts(groups, 1, &["7f"]) else { panic!("{groups:?}") };
            assert_eq!((held.consumer.as_str(), held.deliveries), ("7f", 2));
        }
        let refused = Whereabouts::of_withdrawal(&Value::Nil, &Value::Nil, "child", ID);
        assert_eq!((refused.fate(), refused), (Fate::Unknown, Whereabouts::Unknown));
    }
}
