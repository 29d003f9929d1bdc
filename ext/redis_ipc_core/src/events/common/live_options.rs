//! The options of a live source.

use crate::error::{Error, ErrorKind};
use crate::foundation::payload::limits::check_name;
use crate::foundation::payload::option_reader::OptionReader;
use serde_json::Value;

/// The name of the field that holds the channel of a message.
pub const CHANNEL: &str = "channel";
/// The name of the field that holds a key.
pub const KEY: &str = "key";
/// The most names of one consumer.
const NAMES: usize = 10_000;

/// What happens to events for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The events that wait longest are dropped.
    DropOldest,
    /// The new events are dropped.
    DropNewest,
    /// Nothing is read until there is room. Redis drops the connection once its own buffer is full.
    Block,
}

/// The kinds of live sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveKind {
    /// Messages that are published to channels.
    Channel,
    /// Messages that are published to channels that match patterns.
    Pattern,
    /// Messages that are published to sharded channels of a cluster.
    ShardChannel,
    /// Changes of keys that match patterns.
    Keys,
    /// Which keys under prefixes are to be dropped from caches.
    Tracking,
}

/// The order in which live events are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveOrder {
    /// At the same time.
    None,
    /// One after the other for each channel, or for each key.
    Channel,
    /// One after the other.
    Source,
}

/// The options of a live source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveOptions {
    /// What the names stand for.
    pub kind: LiveKind,
    /// The names of the channels, or the patterns of channels or keys. Each occurs once.
    pub names: Vec<String>,
    /// The names of the key events that are wanted, such as `set` or `expired`. `None` means all.
    pub on: Option<Vec<String>>,
    /// Whether the values of keys are read.
    pub reads_values: bool,
    /// Whether only events of the fields of hashes are wanted, with the names of the fields.
    pub of_fields: bool,
    /// What happens to events for which there is no room.
    pub overflow: Overflow,
    /// The order of events.
    pub order: LiveOrder,
}

impl LiveOptions {
    /// Reads the section `live`.
    ///
    /// # Errors
    ///
    /// An option is unknown, missing or has a wrong type or value.
    pub fn parse(section: Value) -> Result<Self, Error> {
        let mut section = OptionReader::new("live", Some(section))?;
        let kinds = [
            ("channel", LiveKind::Channel),
            ("pattern", LiveKind::Pattern),
            ("shard_channel", LiveKind::ShardChannel),
            ("keys", LiveKind::Keys),
            ("tracking", LiveKind::Tracking),
        ];
        let overflows = [
            ("drop_oldest", Overflow::DropOldest),
            ("drop_newest", Overflow::DropNewest),
            ("block", Overflow::Block),
        ];
        let orders =
            [("channel", LiveOrder::Channel), ("none", LiveOrder::None), ("source", LiveOrder::Source)];
        let kind = section.word("kind", &kinds)?.ok_or_else(|| section.refuse("kind", "given"))?;
        let options = Self {
            kind,
            names: names(section.value("names"), &section)?,
            on: section.value("on").map(|given| names(Some(given), &section)).transpose()?,
            reads_values: section.boolean("value")?.unwrap_or(false),
            of_fields: section.boolean("fields")?.unwrap_or(false),
            overflow: section.word("overflow", &overflows)?.unwrap_or(Overflow::DropOldest),
            order: section.word("order", &orders)?.unwrap_or(LiveOrder::Channel),
        };
        section.finish()?;
        if options.kind == LiveKind::Tracking {
            check_prefixes(&options.names)?;
        }
        Ok(options)
    }

    /// Returns the prefixes of the keys that are tracked.
    pub fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| name.strip_suffix('*').unwrap_or(name))
    }
}

/// Checks that the server can track what these names stand for. It tracks prefixes, of which none begins with another.
fn check_prefixes(names: &[String]) -> Result<(), Error> {
    let refuse = |message: String| Err(Error::new(ErrorKind::Configuration, message));
    let mut prefixes: Vec<&str> = Vec::with_capacity(names.len());
    for name in names {
        match name.strip_suffix('*') {
            Some(prefix) if !prefix.contains(['*', '?', '[', '\\']) => prefixes.push(prefix),
            _ => {
                return refuse(format!(
                    "tracking {name:?} is no prefix: Redis tracks prefixes of keys, so the only pattern is a * at the \
                     end, as in \"user:*\""
                ));
            }
        }
    }
    prefixes.sort_unstable();
    match prefixes.windows(2).find(|pair| pair[1].starts_with(pair[0])) {
        Some(pair) => refuse(format!(
            "tracking \"{}*\" is a part of \"{}*\", and Redis tells of a key once: leave it out",
            pair[1], pair[0]
        )),
        None => Ok(()),
    }
}

fn names(given: Option<Value>, section: &OptionReader) -> Result<Vec<String>, Error> {
    let refuse = || section.refuse("names", &format!("an Array of 1 to {NAMES} different Strings"));
    let Some(Value::Array(given)) = given else { return Err(refuse()) };
    let mut names: Vec<String> = Vec::with_capacity(given.len());
    for name in given {
        let Value::String(name) = name else { return Err(refuse()) };
        check_name("channel", &name)?;
        names.push(name);
    }
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    if names.is_empty() || names.len() > NAMES {
        return Err(refuse());
    }
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        let message = format!("the name {:?} is given twice", pair[0]);
        return Err(Error::new(ErrorKind::Configuration, message));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_given_once() {
        let parse = |names| {
            let parsed = LiveOptions::parse(json!({ "kind": "pattern", "names": names }));
            parsed.map(|options| options.names).map_err(|error| error.message)
        };
        assert_eq!(parse(json!(["a*", "b*"])), Ok(vec!["a*".to_owned(), "b*".to_owned()]));
        for bad in [json!([]), json!([7]), json!("a"), Value::Null] {
            assert!(parse(bad).is_err_and(|message| message.contains("1 to 10000 different Strings")));
        }
        assert_eq!(parse(json!(["a", "b", "a"])), Err("the name \"a\" is given twice".to_owned()));
        assert!(LiveOptions::parse(json!({ "names": ["a"] })).is_err());
    }

    #[test]
    fn what_is_tracked_are_prefixes() {
        let parse = |names| {
            let parsed = LiveOptions::parse(json!({ "kind": "tracking", "names": names }));
            parsed
                .map(|options| options.prefixes().collect::<Vec<_>>().join(" "))
                .map_err(|error| error.message)
        };
        assert_eq!(parse(json!(["user:*", "a*"])), Ok("user: a".to_owned()));
        assert_eq!(parse(json!(["*"])), Ok(String::new()));
        for bad in ["user:1", "us*er:*", "user:?", "[ab]*", "a\\*", "a**"] {
            assert!(parse(json!([bad])).is_err_and(|message| message.contains("is no prefix")), "{bad}");
        }
        let nested = parse(json!(["b*", "user:1*", "c*", "user:*"])).unwrap_err();
        assert_eq!(
            nested,
            "tracking \"user:1*\" is a part of \"user:*\", and Redis tells of a key once: leave it out"
        );
        assert!(parse(json!(["*", "a*"])).is_err());
    }
}
