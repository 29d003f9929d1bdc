//! The names of connections. `CLIENT LIST` shows with them whose each connection is, and what it is for.

use crate::error::Place;
use crate::foundation::payload::key_part;
use std::fmt::Write as _;

/// What a connection is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Purpose {
    /// It writes requests and answers.
    Sender,
    /// It reads what is to be handled.
    Reader,
    /// It reads answers.
    Replies,
    /// Short commands: leases, heartbeats, acknowledgements, dead letters.
    #[default]
    Work,
    /// The ownership and the checkpoints of lanes.
    Lanes,
    /// It subscribes.
    Subscriber,
    /// It asks a sentinel.
    Sentinel,
}

impl Purpose {
    fn word(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Reader => "reader",
            Self::Replies => "replies",
            Self::Work => "work",
            Self::Lanes => "lanes",
            Self::Subscriber => "subscriber",
            Self::Sentinel => "sentinel",
        }
    }
}

/// The names of the connections of one end.
#[derive(Debug, Clone)]
pub struct ClientNames(String);

impl ClientNames {
    /// Creates the names `redis_ipc:<stream>:<group>:<purpose>`. A queue of JSON-RPC has no group.
    pub fn of(place: &Place) -> Self {
        Self::new(place.stream.as_deref().unwrap_or_default(), place.group.as_deref().unwrap_or_default())
    }

    /// Creates the names of connections of `group` on `stream`.
    pub fn new(stream: &str, group: &str) -> Self {
        let group = key_part::encode(group);
        Self(format!("redis_ipc:{}:{}", printable(stream), printable(&group)))
    }

    /// Returns the name of a connection.
    pub fn name(&self, purpose: Purpose) -> String {
        format!("{}:{}", self.0, purpose.word())
    }
}

/// Percent-encodes what Redis does not accept in a name: all but the visible characters of ASCII.
fn printable(text: &str) -> String {
    text.bytes().fold(String::new(), |mut name, byte| {
        if byte.is_ascii_graphic() {
            name.push(char::from(byte));
        } else {
            // A String takes all that is written to it.
            let _ = write!(name, "%{byte:02X}");
        }
        name
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_only_what_redis_accepts() {
        let place = |stream: Option<&str>, group: Option<&str>| {
            let (stream, group) = (stream.map(str::to_owned), group.map(str::to_owned));
            ClientNames::of(&Place { stream, group, ..Place::default() })
        };
        assert_eq!(
            place(Some("app:house"), Some("a:b")).name(Purpose::Reader),
            "redis_ipc:app:house:a%3Ab:reader"
        );
        assert_eq!(place(Some("my jobs"), None).name(Purpose::Sender), "redis_ipc:my%20jobs::sender");
        assert_eq!(place(Some("\u{e9}\n"), Some("%")).name(Purpose::Work), "redis_ipc:%C3%A9%0A:%25:work");
    }
}
