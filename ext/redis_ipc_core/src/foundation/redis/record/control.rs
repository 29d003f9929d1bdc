//! What the instances of a group are told to do: to take nothing more, all of them or some.

use crate::error::{Error, ErrorKind};
use redis::Value;
use serde_json::Value as Json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a reader that pauses looks whether it may go on.
const LOOK: Duration = Duration::from_millis(100);

/// Whether an instance is told to pause.
#[derive(Debug, Default)]
pub struct Control(AtomicBool);

impl Control {
    /// Whether nothing more is to be taken.
    pub fn is_paused(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns how long to take nothing, if nothing is to be taken now.
    pub fn pause(&self) -> Option<Duration> {
        self.is_paused().then_some(LOOK)
    }

    /// Learns from the value of the control key what `instance` is to do. Returns true if it is to pause from now on.
    ///
    /// # Errors
    ///
    /// The value cannot be read (an [`ErrorKind::Malformed`] error). Then nothing changes.
    pub fn learn(&self, value: &Value, instance: &str) -> Result<bool, Error> {
        let paused = match value {
            Value::Nil => false,
            Value::BulkString(text) => tells_to_pause(text, instance)
                .ok_or_else(|| Error::new(ErrorKind::Malformed, "it is not a JSON object of version 1"))?,
            other => return Err(Error::new(ErrorKind::Malformed, format!("its value is {other:?}"))),
        };
        Ok(!self.0.swap(paused, Ordering::Relaxed) && paused)
    }
}

fn tells_to_pause(text: &[u8], instance: &str) -> Option<bool> {
    let told: Json = serde_json::from_slice(text).ok()?;
    told.as_object()?;
    if told.get("v").and_then(Json::as_u64) != Some(1) {
        return None;
    }
    let is_paused = told.get("paused").and_then(Json::as_bool).unwrap_or(false);
    let quiet = told.get("quiet").and_then(Json::as_array);
    Some(is_paused || quiet.is_some_and(|quiet| quiet.iter().any(|name| name.as_str() == Some(instance))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_group_or_an_instance_is_told_to_pause() {
        let control = Control::default();
        for (told, paused) in [
            (value(r#"{"v":1,"paused":true,"by":"x","more":[]}"#), true),
            (value(r#"{"v":1,"quiet":["b"]}"#), false),
            (value(r#"{"v":1,"quiet":["a",7]}"#), true),
            (Value::Nil, false),
        ] {
            assert_eq!(control.learn(&told, "a"), Ok(paused));
            assert_eq!((control.is_paused(), control.pause().is_some()), (paused, paused));
        }
        control.learn(&value(r#"{"v":1,"paused":true}"#), "a").unwrap();
        assert_eq!(
            control.learn(&value(r#"{"v":1,"quiet":["a"]}"#), "a"),
            Ok(false),
            "it has paused already"
        );
    }

    #[test]
    fn what_cannot_be_read_changes_nothing() {
        let control = Control::default();
        control.learn(&value(r#"{"v":1,"paused":true}"#), "a").unwrap();
        for text in ["", "[]", "1", r#"{"v":2}"#, r#"{"paused":false}"#, "\u{0}"] {
            assert_eq!(control.learn(&value(text), "a").unwrap_err().kind, ErrorKind::Malformed, "{text}");
        }
        assert!(control.learn(&Value::Int(1), "a").is_err());
        assert!(control.is_paused());
    }
}
