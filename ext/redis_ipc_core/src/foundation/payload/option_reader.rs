//! Reads one level of nested options. Every error names the key and the expected value.

use crate::error::{Error, ErrorKind};
use serde_json::{Map, Value};
use std::ops::RangeInclusive;
use std::time::Duration;

/// A hash of options, consumed key by key. [`OptionReader::finish`] refuses the keys that were not read.
pub struct OptionReader {
    path: String,
    values: Map<String, Value>,
    known: Vec<&'static str>,
}

impl OptionReader {
    /// Creates a reader of the options under `path` (empty for the top level). A missing or null section is empty.
    pub fn new(path: &str, value: Option<Value>) -> Result<Self, Error> {
        let values = match value {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(values)) => values,
            Some(other) => return Err(wrong(path, "a Hash", &other)),
        };
        Ok(Self { path: path.to_owned(), values, known: Vec::new() })
    }

    fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Takes the value under `name`. Null counts as missing.
    pub fn value(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.values.remove(name).filter(|value| !value.is_null())
    }

    /// Takes the section under `name`.
    pub fn section(&mut self, name: &'static str) -> Result<OptionReader, Error> {
        let path = self.key(name);
        OptionReader::new(&path, self.value(name))
    }

    /// Takes a whole number within `range`.
    pub fn integer(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Result<Option<u64>, Error> {
        let Some(value) = self.value(name) else { return Ok(None) };
        match value.as_u64().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let expected = format!("an Integer from {} to {}", range.start(), range.end());
                Err(wrong(&self.key(name), &expected, &value))
            }
        }
    }

    /// Takes a number like [`OptionReader::integer`]. A text of digits is accepted too, because environment variables
    /// hold texts.
    pub fn integer_or_text(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, Error> {
        if let Some(number) =
            self.values.get(name).and_then(Value::as_str).and_then(|text| text.parse::<u64>().ok())
        {
            self.values.insert(name.to_owned(), number.into());
        }
        self.integer(name, range)
    }

    /// Takes a number of seconds that is above zero and at most `most`.
    pub fn seconds(&mut self, name: &'static str, most: Duration) -> Result<Option<Duration>, Error> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| *seconds > 0.0 && *seconds <= most.as_secs_f64());
        match seconds {
            Some(seconds) => Ok(Some(Duration::from_secs_f64(seconds))),
            None => {
                let expected = format!("a number of seconds over 0 and at most {}", most.as_secs());
                Err(wrong(&self.key(name), &expected, &value))
            }
        }
    }

    /// Reads the option `lease`: how long a process keeps what it took without a sign of life. Under 100 ms a busy
    /// machine could not renew it in time, and everything would run everywhere.
    pub fn lease(&mut self, most: Duration) -> Result<Duration, Error> {
        let lease = self.seconds("lease", most)?.unwrap_or(Duration::from_secs(2));
        if lease < Duration::from_millis(100) {
            return Err(self.refuse("lease", "at least 0.1 seconds"));
        }
        Ok(lease)
    }

    /// Takes a string.
    pub fn string(&mut self, name: &'static str) -> Result<Option<String>, Error> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(&self.key(name), "a String", &other)),
        }
    }

    /// Takes one of the given words.
    pub fn word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> Result<Option<T>, Error> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let found = words.iter().find(|(word, _)| value.as_str() == Some(word));
        found.map(|(_, meaning)| Some(*meaning)).ok_or_else(|| {
            let list: Vec<String> = words.iter().map(|(word, _)| format!(":{word}")).collect();
            wrong(&self.key(name), &list.join(" or "), &value)
        })
    }

    /// Takes a boolean.
    pub fn boolean(&mut self, name: &'static str) -> Result<Option<bool>, Error> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong(&self.key(name), "true or false", &other)),
        }
    }

    /// Accepts `names` without using them.
    pub fn ignore(&mut self, names: &[&'static str]) {
        for name in names {
            self.value(name);
        }
    }

    /// Returns the error for the value under `name`. It does not show the value.
    pub fn refuse(&self, name: &str, expected: &str) -> Error {
        Error::new(ErrorKind::Configuration, format!("the option {} must be {expected}", self.key(name)))
    }

    /// Refuses the keys that were not read.
    pub fn finish(self) -> Result<(), Error> {
        let Some(unknown) = self.values.keys().next() else { return Ok(()) };
        Err(Error::new(
            ErrorKind::Configuration,
            format!("unknown option {}; known here: {}", self.key(unknown), self.known.join(", ")),
        ))
    }
}

/// Creates the error of a wrong value. Secrets are never shown: anything under redis_options is named by its type
/// only.
fn wrong(key: &str, expected: &str, got: &Value) -> Error {
    let shown = if key.starts_with("redis_options") { type_name(got).to_owned() } else { got.to_string() };
    Error::new(ErrorKind::Configuration, format!("the option {key} must be {expected}, got {shown}"))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "another number",
        Value::String(_) => "another String",
        Value::Array(_) => "an Array",
        Value::Object(_) => "a Hash",
    }
}
