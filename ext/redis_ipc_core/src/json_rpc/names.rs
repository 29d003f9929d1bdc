//! The names of the Redis keys (docs/json_rpc.md, "Keys").

use crate::error::Error;
use crate::foundation::payload::limits::check_key_name;
use crate::foundation::redis::slots::slot;

/// The words after a queue's name, and after a stream's (keys.rs). No later segment of a name may be one of them.
/// Otherwise a queue could share a key with another queue or a stream, and an ACL rule for the keys of one would
/// include keys of the other.
const RESERVED: [&str; 10] = [
    "reply",
    "processing",
    "servers",
    "deliveries",
    "dead",
    "stats",
    "control",
    "inbox",
    "replies",
    "instances",
];
/// The length of the part of a reply list's name after the prefix. A shorter one could be guessed.
const REPLY_LENGTHS: std::ops::RangeInclusive<usize> = 16..=128;

/// The keys of one queue.
#[derive(Debug, Clone)]
pub struct Names {
    queue: String,
}

impl Names {
    /// Creates the keys of `queue`.
    ///
    /// # Errors
    ///
    /// The name is blank or too long, or could collide with another queue's keys.
    pub fn new(queue: &str) -> Result<Self, Error> {
        check_key_name("queue", queue, &RESERVED, "another queue or a stream")?;
        Ok(Self { queue: queue.to_owned() })
    }

    /// Returns the list of requests.
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// Returns the list of the requests that one server holds.
    pub fn processing(&self, server: &str) -> String {
        format!("{}:processing:{server}", self.queue)
    }

    /// Returns the sorted set of the servers that hold requests, scored by their last heartbeat (ms on Redis's
    /// clock).
    pub fn servers(&self) -> String {
        format!("{}:servers", self.queue)
    }

    /// Returns the hash that counts how often requests of dead servers were put back.
    pub fn deliveries(&self) -> String {
        format!("{}:deliveries", self.queue)
    }

    /// Returns the list of the requests that were given up on.
    pub fn dead(&self) -> String {
        format!("{}:dead", self.queue)
    }

    /// Returns the sorted set of the servers that have a record, scored by when it is over (ms on Redis's clock).
    pub fn stats(&self) -> String {
        format!("{}:stats", self.queue)
    }

    /// Returns the record of one server: what it says of itself.
    pub fn record(&self, server: &str) -> String {
        format!("{}:stats::{server}", self.queue)
    }

    /// Returns the list of answers for one client.
    pub fn reply(&self, client: &str) -> String {
        format!("{}:reply:{client}", self.queue)
    }

    /// Whether a Redis Cluster keeps all of these keys on one node, as commands on two of them require.
    pub fn share_a_slot(&self) -> bool {
        slot(self.queue.as_bytes()) == slot(self.servers().as_bytes())
    }

    /// Whether answers of this queue may go to `key`. A server writes to no other list, whatever a request asks for.
    pub fn is_reply(&self, key: &str) -> bool {
        let name = key.strip_prefix(&self.queue).and_then(|rest| rest.strip_prefix(":reply:"));
        name.is_some_and(|name| {
            REPLY_LENGTHS.contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_to_reply_lists_of_the_queue_only() {
        let names = Names::new("jobs").unwrap();
        assert!(names.is_reply(&names.reply("0123456789abcdef")));
        assert!(names.is_reply("jobs:reply:A-valid_name-of-16"));
        for key in [
            "jobs",
            "jobs:reply:",
            "jobs:reply:short",
            "jobs:reply:0123456789abcde\u{e4}",
            "jobs:reply:0123456789:abcdef",
            "job:reply:0123456789abcdef",
            "jobs2:reply:0123456789abcdef",
            "jobs:processing:0123456789abcdef",
        ] {
            assert!(!names.is_reply(key), "{key}");
        }
        assert!(!names.is_reply(&names.reply(&"a".repeat(129))));
    }

    #[test]
    fn a_part_in_braces_keeps_the_keys_on_one_node() {
        assert!(Names::new("{jobs}").unwrap().share_a_slot());
        assert!(Names::new("app:{jobs}").unwrap().share_a_slot());
        assert!(!Names::new("jobs").unwrap().share_a_slot());
    }

    #[test]
    fn no_two_queues_share_a_key() {
        assert!(Names::new("app:jobs").is_ok());
        for name in [
            "",
            " ",
            "a:reply",
            "a:processing:b",
            "a:dead",
            "a:inbox:b",
            "a:instances",
            "a:stats:b",
            "a:control",
        ] {
            assert!(Names::new(name).is_err(), "{name}");
        }
    }
}
