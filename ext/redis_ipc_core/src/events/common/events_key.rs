//! The names of the keys and groups that the processes of a consumer share, besides its stream and its group.

use crate::foundation::payload::key_part;

/// Returns the key of the hash that the processes of a consumer share.
pub fn of(stream: &str, group: &str) -> String {
    format!("{stream}:events:{}", key_part::encode(group))
}

/// Returns the name of the consumer group of Redis that shows the position of an ordered consumer.
pub fn marker(group: &str) -> String {
    format!("{group}:lanes")
}
