//! What is subscribed to.

use crate::foundation::redis::slots::slot;
use crate::foundation::redis::subscription::counters::Count;
use redis::Cmd;
use std::collections::BTreeMap;

/// How names are subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicKind {
    /// Each name is a channel.
    Channel,
    /// Each name is a pattern of channels.
    Pattern,
    /// Each name is a channel of a shard.
    Shard,
}

/// Groups channels by their slots.
pub fn by_slot(names: Vec<String>) -> BTreeMap<u16, Vec<String>> {
    let mut slots: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for name in names {
        slots.entry(slot(name.as_bytes())).or_default().push(name);
    }
    slots
}

/// The prefixes of the channels to which the server itself publishes. That is not counted as a PUBLISH.
const OF_SERVER: [&[u8]; 3] = [b"__keyspace@", b"__keyevent@", b"__subkey"];

/// What one connection subscribes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// How.
    pub kind: TopicKind,
    /// The channels or patterns, of which none is there twice.
    pub names: Vec<String>,
    /// What the server counts of all that is sent there. It is empty if the server does not count all of it.
    pub counts: Vec<Count>,
    /// Whether the server sends what it has only after it has run what came in together. So the answer to a PING can
    /// come before what happened before that PING, and only the answer to the next one proves that all has arrived.
    pub is_late: bool,
}

impl Topics {
    /// Returns the commands that subscribe to all: one, or of channels of shards one for each slot.
    pub fn commands(&self) -> Vec<Cmd> {
        let subscribe = |names: &[String]| redis::cmd(self.word()).arg(names).clone();
        match self.kind {
            TopicKind::Channel | TopicKind::Pattern => vec![subscribe(&self.names)],
            TopicKind::Shard => by_slot(self.names.clone()).values().map(|names| subscribe(names)).collect(),
        }
    }

    /// Returns the name of that command.
    pub fn word(&self) -> &'static str {
        match self.kind {
            TopicKind::Channel => "SUBSCRIBE",
            TopicKind::Pattern => "PSUBSCRIBE",
            TopicKind::Shard => "SSUBSCRIBE",
        }
    }

    /// Whether a message by this pattern (empty: by its channel) stands for a PUBLISH of its own. A PUBLISH brings a
    /// message for each pattern that matches.
    pub fn stands_alone(&self, pattern: &[u8]) -> bool {
        pattern.is_empty() || self.names.first().is_some_and(|first| first.as_bytes() == pattern)
    }

    /// Whether the server itself may publish there, which its counters do not tell.
    pub fn may_be_of_server(&self) -> bool {
        self.names
            .iter()
            .any(|name| OF_SERVER.iter().any(|prefix| self.may_begin_with(name.as_bytes(), prefix)))
    }

    fn may_begin_with(&self, name: &[u8], prefix: &[u8]) -> bool {
        let literal = match self.kind {
            TopicKind::Channel | TopicKind::Shard => return name.starts_with(prefix),
            TopicKind::Pattern => {
                let end = name.iter().position(|byte| b"*?[\\".contains(byte));
                &name[..end.unwrap_or(name.len())]
            }
        };
        literal.starts_with(prefix) || prefix.starts_with(literal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(kind: TopicKind, names: &[&str]) -> Topics {
        Topics {
            kind,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            counts: Vec::new(),
            is_late: false,
        }
    }

    #[test]
    fn channels_of_one_slot_share_a_command() {
        let commands = topics(TopicKind::Shard, &["a{x}", "b", "c{x}"]).commands();
        let mut written: Vec<String> = commands
            .iter()
            .map(|command| String::from_utf8(command.get_packed_command()).unwrap())
            .map(|packed| {
                packed.lines().filter(|line| !line.contains(['*', '$'])).collect::<Vec<_>>().join(" ")
            })
            .collect();
        written.sort();
        assert_eq!(written, ["SSUBSCRIBE a{x} c{x}", "SSUBSCRIBE b"]);
        assert_eq!(topics(TopicKind::Channel, &["a", "b"]).commands().len(), 1);
    }

    #[test]
    fn where_the_server_itself_may_publish_is_known() {
        let may = |kind, name| topics(kind, &["prices", name]).may_be_of_server();
        assert!(may(TopicKind::Channel, "__keyspace@0__:a"));
        assert!(!may(TopicKind::Channel, "*"));
        for pattern in ["*", "_?x", "__key*", "__keyevent@0__:del", "[_]x", "\\_x", "__subkeyspaceitem@*"] {
            assert!(may(TopicKind::Pattern, pattern), "{pattern}");
        }
        for pattern in ["prices.*", "_a*", "__keyspaces*"] {
            assert!(!may(TopicKind::Pattern, pattern), "{pattern}");
        }
    }

    #[test]
    fn of_several_patterns_one_counts() {
        let patterns = topics(TopicKind::Pattern, &["a*", "b*"]);
        assert_eq!([b"a*", b"b*"].map(|pattern| patterns.stands_alone(pattern)), [true, false]);
        assert!(topics(TopicKind::Channel, &["a", "b"]).stands_alone(b""));
    }
}
