//! What a consumer of a log says of the stream that it writes to.

use crate::error::Error;
use crate::events::common::options::MOST_PARTITIONS;
use crate::events::common::trimming::Trim;
use crate::foundation::payload::limits::check_name;
use crate::foundation::payload::option_reader::OptionReader;
use serde_json::Value;
use std::time::Duration;

/// The most columns of a key.
const COLUMNS: usize = 32;
/// The longest time that entries are kept.
const LONGEST: Duration = Duration::from_secs(3_155_760_000);

/// Where the key of an entry comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRule {
    /// The replica identity of the row.
    Identity,
    /// These columns.
    Columns(Vec<String>),
}

/// Where the type of an entry comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeRule {
    /// The table and the operation.
    Table,
    /// It is this.
    Text(String),
    /// This column.
    Column(String),
}

/// The options of a stream that changes are written to.
#[derive(Debug, Clone, PartialEq)]
pub struct ForwardOptions {
    /// The stream.
    pub stream: String,
    /// Over how many streams the entries are spread.
    pub partitions: Option<u16>,
    /// The key of an entry.
    pub key: KeyRule,
    /// The type of an entry.
    pub kind: TypeRule,
    /// Whether somebody else says the key or the type of each, and has them written.
    pub is_asked: bool,
    /// What is removed from the stream.
    pub trim: Trim,
}

/// What somebody else says of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Said {
    /// Nothing: the options say it.
    #[default]
    Unsaid,
    /// It has none.
    Nothing,
    /// It is this.
    Text(Vec<u8>),
}

impl Said {
    /// Returns what is said, or else what `rule` finds.
    pub fn or(&self, rule: impl FnOnce() -> Option<Vec<u8>>) -> Option<Vec<u8>> {
        match self {
            Self::Unsaid => rule(),
            Self::Nothing => None,
            Self::Text(text) => Some(text.clone()),
        }
    }
}

/// What somebody else says of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Naming {
    /// Its key.
    pub key: Said,
    /// Its type.
    pub kind: Said,
}

impl ForwardOptions {
    /// Reads the section `forward`.
    ///
    /// # Errors
    ///
    /// An option is unknown, missing or has a wrong type or value.
    pub fn parse(section: Value) -> Result<Self, Error> {
        let mut section = OptionReader::new("forward", Some(section))?;
        let stream = section.string("to")?.ok_or_else(|| section.refuse("to", "given"))?;
        check_name("stream", &stream)?;
        let partitions = section.integer("partitions", 1..=u64::from(MOST_PARTITIONS))?;
        let (text, column) = (section.string("type")?, section.string("type_column")?);
        let options = Self {
            stream,
            partitions: partitions.map(|partitions| partitions as u16),
            key: columns(section.value("key"), &section)?,
            kind: match (text, column) {
                (_, Some(column)) => TypeRule::Column(column),
                (Some(text), None) => TypeRule::Text(text),
                (None, None) => TypeRule::Table,
            },
            is_asked: section.boolean("asked")?.unwrap_or(false),
            trim: trim(&mut section)?,
        };
        section.finish()?;
        Ok(options)
    }
}

fn columns(given: Option<Value>, section: &OptionReader) -> Result<KeyRule, Error> {
    let refuse = || section.refuse("key", &format!("an Array of 1 to {COLUMNS} names of columns"));
    let Some(given) = given else { return Ok(KeyRule::Identity) };
    let Value::Array(given) = given else { return Err(refuse()) };
    if given.is_empty() || given.len() > COLUMNS {
        return Err(refuse());
    }
    let names = given.into_iter().map(|name| match name {
        Value::String(name) => Ok(name),
        _ => Err(refuse()),
    });
    Ok(KeyRule::Columns(names.collect::<Result<_, _>>()?))
}

fn trim(section: &mut OptionReader) -> Result<Trim, Error> {
    let entries = section.integer("maxlen", 0..=u64::MAX)?;
    let age = section.seconds("keep", LONGEST)?;
    let drops = section.boolean("drop_unread")?.unwrap_or(false);
    let bound = section.value("unread").and_then(|times| times.as_f64());
    Ok(Trim::to(entries, age, bound, drops))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::common::trimming::Limit;
    use serde_json::json;

    fn parse(section: Value) -> Result<ForwardOptions, String> {
        ForwardOptions::parse(section).map_err(|error| error.message)
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let options = parse(json!({ "to": "orders" })).unwrap();
        assert_eq!((options.key, options.kind), (KeyRule::Identity, TypeRule::Table));
        assert_eq!((options.partitions, options.is_asked, options.trim), (None, false, Trim::Nothing));
    }

    #[test]
    fn limits_are_those_of_a_publisher() {
        let trim = |section| parse(section).unwrap().trim;
        assert_eq!(
            trim(json!({ "to": "a", "maxlen": 7, "unread": 2.5 })),
            Trim::Acknowledged(Limit::Entries(7), Some(2.5))
        );
        assert_eq!(
            trim(json!({ "to": "a", "keep": 60, "drop_unread": true })),
            Trim::All(Limit::Age(Duration::from_secs(60)))
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (section, expected) in [
            (json!({}), "forward.to must be given"),
            (json!({ "to": "a", "key": [] }), "1 to 32 names"),
            (json!({ "to": "a", "key": [7] }), "1 to 32 names"),
            (json!({ "to": "a", "partitions": 257 }), "from 1 to 256"),
            (json!({ "to": "a", "lanes": 2 }), "unknown option forward.lanes"),
        ] {
            let message = parse(section).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
