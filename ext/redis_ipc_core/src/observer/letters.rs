//! What an observer does for those who operate a system: dead letters, and what groups are told to do.

use crate::error::Error;
use crate::foundation::payload::stream_entry::StreamId;
use crate::observer::observer::Observer;
use crate::observer::query::control_key;
use crate::request_reply::observing::{GroupLetters, Instance, Names, Options};
use redis::Value;
use serde_json::json;
use std::sync::Arc;

/// Writes ARGV[2] (deletes the key if that is empty), if the key has still the value ARGV[1] (is missing if that is
/// empty). Of two who change what the other one read, the later one must read again.
const REPLACE: &str = r"
local now = redis.call('GET', KEYS[1]) or ''
if now ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2]) end
return 1
";

impl Observer {
    /// Puts a dead letter into the inbox of its group again. Returns false if it does not exist any more.
    ///
    /// # Errors
    ///
    /// A name is not valid, the entry is not a request, Redis cannot be asked, or Redis refuses.
    pub fn retry_letter(&self, stream: &str, group: &str, id: StreamId) -> Result<bool, Error> {
        // The clock decides which requests are trimmed.
        self.now()?;
        GroupLetters::new(&self.as_instance(stream, group)?, group).retry(id, None)
    }

    /// Deletes a dead letter. Returns false if it does not exist any more.
    ///
    /// # Errors
    ///
    /// As [`Observer::retry_letter`].
    pub fn discard_letter(&self, stream: &str, group: &str, id: StreamId) -> Result<bool, Error> {
        GroupLetters::new(&self.as_instance(stream, group)?, group).discard(id)
    }

    /// Tells the members of a group what to do, in place of what they were told before: `before` is what was read.
    /// Nothing (`None`) is a missing key. Returns false if someone else has changed it since.
    ///
    /// # Errors
    ///
    /// Redis cannot be asked, or refuses.
    pub fn tell(
        &self,
        stream: &str,
        group: &str,
        before: Option<&str>,
        after: Option<&str>,
    ) -> Result<bool, Error> {
        let key = control_key(stream, group);
        let mut replace = redis::cmd("EVAL");
        replace.arg(REPLACE).arg(1).arg(&key).arg(before.unwrap_or_default()).arg(after.unwrap_or_default());
        Ok(self.connections.run(&key, &replace)? == Value::Int(1))
    }

    /// Makes what the dead letters of request/reply need: an instance that shares the connections, and takes part in
    /// nothing.
    fn as_instance(&self, stream: &str, group: &str) -> Result<Instance, Error> {
        let names = Names::new(stream, group, "observer")?;
        let mut options = Options::parse(json!({}), None, &[])?;
        options.redis = self.options.redis.clone();
        let (endpoint, connections) = (Arc::clone(&self.endpoint), Arc::clone(&self.connections));
        Ok(Instance { names, options, endpoint, connections })
    }
}
