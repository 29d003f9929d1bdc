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

/// The name in place of a stream's under which consumers without a stream write their records.
pub const WITHOUT_STREAM: &str = "redis_ipc:events";

/// Whether a key is of such a record. What happens to it is no event: a consumer of all keys would make events itself.
pub fn is_of_record(key: &[u8]) -> bool {
    key.strip_prefix(WITHOUT_STREAM.as_bytes()).is_some_and(|rest| rest.starts_with(b":stats"))
}
