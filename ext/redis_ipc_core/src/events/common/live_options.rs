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
            overflow: section.word("overflow", &overflows)?.unwrap_or(Overflow::DropOldest),
            order: section.word("order", &orders)?.unwrap_or(LiveOrder::Channel),
        };
        section.finish()?;
        Ok(options)
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
}
