//! The names of the Redis keys (docs/protocol.md, "Keys").

use crate::error::Error;
use crate::foundation::payload::key_part;
use crate::foundation::payload::limits::check_key_name;

/// The words after the stream's name, and those after a queue's (json_rpc/names.rs) that begin many keys. No later
/// segment of a name may be one of them. Otherwise two names could share a key, and an ACL rule for the keys of one
/// would include keys of the other.
const RESERVED: [&str; 8] =
    ["inbox", "replies", "dead", "instances", "stats", "control", "reply", "processing"];

/// The keys of one stream.
#[derive(Debug, Clone)]
pub struct Keys {
    stream: String,
}

impl Keys {
    /// Creates the keys of `stream`.
    ///
    /// # Errors
    ///
    /// The name is blank or too long, or could collide with another stream's keys.
    pub fn new(stream: &str) -> Result<Self, Error> {
        check_key_name("stream", stream, &RESERVED, "another stream or a queue")?;
        Ok(Self { stream: stream.to_owned() })
    }

    /// Returns the stream's name.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// Returns the stream of the requests that wait for `group`.
    pub fn inbox(&self, group: &str) -> String {
        format!("{}:inbox:{}", self.stream, key_part::encode(group))
    }

    /// Returns the stream of the answers for one instance of `group`.
    pub fn replies(&self, group: &str, instance: &str) -> String {
        format!("{}:replies:{}:{}", self.stream, key_part::encode(group), key_part::encode(instance))
    }

    /// Returns the stream of the requests of `group` that were given up on.
    pub fn dead(&self, group: &str) -> String {
        format!("{}:dead:{}", self.stream, key_part::encode(group))
    }

    /// Returns the sorted set of the living instances, scored by their last heartbeat (ms on Redis's clock).
    pub fn instances(&self) -> String {
        format!("{}:instances", self.stream)
    }

    /// Whether answers to `group` may go to `key`: it is a reply stream of this stream and of that group. An instance
    /// writes to no other key, whatever a request asks for.
    pub fn is_replies_of(&self, group: &str, key: &[u8]) -> bool {
        let instance = key
            .strip_prefix(self.stream.as_bytes())
            .and_then(|rest| rest.strip_prefix(b":replies:"))
            .and_then(|rest| rest.strip_prefix(key_part::encode(group).as_bytes()))
            .and_then(|rest| rest.strip_prefix(b":"));
        !group.is_empty() && instance.is_some_and(|name| !name.is_empty() && !name.contains(&b':'))
    }

    /// Returns the member that stands for an instance in [`Keys::instances`].
    pub fn member(group: &str, instance: &str, host: &str, pid: u32) -> String {
        format!("{}:{}:{}:{pid}", key_part::encode(group), key_part::encode(instance), key_part::encode(host))
    }
}

/// Returns the name of the consumer group beside `group` that tells since when `group` has existed (docs/protocol.md,
/// "Withdrawing").
pub fn since(group: &str) -> String {
    format!("{group}:since")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use proptest::prelude::*;

    #[test]
    fn keys_have_the_documented_form() {
        let keys = Keys::new("house").unwrap();
        assert_eq!(keys.inbox("child"), "house:inbox:child");
        assert_eq!(keys.inbox("a:b%c"), "house:inbox:a%3Ab%25c");
        assert_eq!(keys.replies("child", "7f"), "house:replies:child:7f");
        assert_eq!(keys.dead("child"), "house:dead:child");
        assert_eq!(keys.instances(), "house:instances");
    }

    #[test]
    fn blank_and_colliding_names_are_refused() {
        for name in [
            "",
            "  ",
            "\t\n",
            "a:inbox",
            "a:dead:b",
            "a:instances",
            "x:replies:y",
            "a:reply:b",
            "a:stats",
            "a:control:b",
        ] {
            assert_eq!(Keys::new(name).unwrap_err().kind, ErrorKind::Argument, "{name:?}");
        }
        for name in ["inbox", "app:production", "a:inboxes"] {
            assert!(Keys::new(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn answers_go_to_reply_streams_of_the_same_stream_and_the_asking_group_only() {
        let keys = Keys::new("house").unwrap();
        assert!(keys.is_replies_of("parent", b"house:replies:parent:abc"));
        assert!(keys.is_replies_of("a:b%", b"house:replies:a%3Ab%25:abc"));
        assert!(!keys.is_replies_of("", b"house:replies::abc"));
        for key in [
            "house:replies:other:abc",
            "house:replies:parents:abc",
            "house:replies:parent:a:b",
            "house:replies:parent:",
            "house:inbox:parent",
            "other:replies:parent:abc",
            "house:replies:parent",
            "house:replies::x",
            "house:replies:x:",
            "",
        ] {
            assert!(!keys.is_replies_of("parent", key.as_bytes()), "{key}");
        }
    }

    fn name() -> impl Strategy<Value = String> {
        "[a-z:%]{1,6}"
    }

    proptest! {
        #[test]
        fn encoding_can_be_undone(part in ".*") {
            prop_assert!(!key_part::encode(&part).contains(':'));
            prop_assert_eq!(key_part::decode(&key_part::encode(&part)), part);
        }

        #[test]
        fn no_two_names_share_a_key(s1 in name(), g1 in name(), s2 in name(), g2 in name()) {
            let (Ok(one), Ok(two)) = (Keys::new(&s1), Keys::new(&s2)) else { return Ok(()) };
            let same = s1 == s2 && g1 == g2;
            prop_assert_eq!(one.inbox(&g1) == two.inbox(&g2), same);
            prop_assert_ne!(one.inbox(&g1), two.dead(&g2));
            prop_assert_ne!(one.inbox(&g1), two.instances());
            prop_assert_ne!(one.dead(&g1), two.instances());
        }

        #[test]
        fn a_reply_key_is_recognised(group in name(), instance in "[0-9a-f]{32}") {
            let keys = Keys::new("s:t").unwrap();
            let key = keys.replies(&group, &instance);
            prop_assert!(keys.is_replies_of(&group, key.as_bytes()));
            let other = format!("{group}x");
            prop_assert!(!keys.is_replies_of(&other, key.as_bytes()));
        }
    }
}
