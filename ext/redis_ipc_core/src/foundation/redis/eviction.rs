//! Whether the server evicts keys when its memory is full. Then requests, answers and leases vanish.

use crate::error::{Error, ErrorKind};
use crate::foundation::redis::connection::Connection;
use redis::Value;

/// The policy of a server that evicts keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eviction {
    policy: String,
}

impl Eviction {
    /// Asks the server. Returns `None` if it evicts nothing, or the user may not ask that.
    pub fn read(connection: &mut Connection) -> Option<Self> {
        let facts = match connection.run(redis::cmd("INFO").arg("memory")) {
            Ok(Value::BulkString(facts)) => facts,
            // A connection that is broken is noticed by its next command.
            _ => return None,
        };
        Self::parse(&String::from_utf8_lossy(&facts))
    }

    fn parse(facts: &str) -> Option<Self> {
        let fact = |name: &str| facts.lines().find_map(|line| line.trim_end().strip_prefix(name));
        let policy = fact("maxmemory_policy:")?;
        let is_bounded = fact("maxmemory:").is_some_and(|limit| limit != "0");
        (is_bounded && policy != "noeviction").then(|| Self { policy: policy.to_owned() })
    }

    /// Whether it evicts keys that have no expiry, too.
    pub fn takes_all(&self) -> bool {
        self.policy.starts_with("allkeys-")
    }

    /// Returns a warning that `what` may be lost.
    pub fn warning(&self, what: &str) -> Error {
        let message = format!(
            "Redis evicts keys when its memory is full (maxmemory-policy {}): {what} may be lost at any time. Set \
             maxmemory-policy noeviction, or use a Redis of its own",
            self.policy
        );
        Error::new(ErrorKind::Configuration, message)
    }

    /// Returns the likely cause of a key that has vanished.
    pub fn cause(&self) -> String {
        format!("Redis has probably evicted it: its maxmemory-policy is {}", self.policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_with_a_bound_and_a_policy_evicts() {
        let info = |limit: &str, policy: &str| {
            Eviction::parse(&format!("# Memory\r\nmaxmemory:{limit}\r\nmaxmemory_policy:{policy}\r\n"))
        };
        assert_eq!(info("0", "allkeys-lru"), None);
        assert_eq!(info("9", "noeviction"), None);
        assert_eq!(Eviction::parse("# Memory\r\n"), None);
        assert_eq!(info("9", "volatile-ttl").map(|policy| policy.takes_all()), Some(false));
        assert_eq!(info("9", "allkeys-lfu").map(|policy| policy.takes_all()), Some(true));
    }
}
