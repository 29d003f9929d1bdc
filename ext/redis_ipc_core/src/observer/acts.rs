//! What an observer does for those who operate a system: dead letters, and what groups are told to do.

use crate::error::Error;
use crate::events::From;
use crate::events::observing::OperatedGroup;
use crate::foundation::payload::stream_entry::StreamId;
use crate::json_rpc::observing as json_rpc;
use crate::observer::observer::{Observer, room};
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
        self.check()?;
        GroupLetters::new(&self.as_instance(stream, group)?, group).discard(id)
    }

    /// Has the event of a dead letter handled again. Returns false if someone else did so, or discarded it.
    ///
    /// # Errors
    ///
    /// The event cannot be had any more, or Redis cannot be reached or refuses.
    pub fn retry_event(&self, stream: &str, group: &str, id: StreamId) -> Result<bool, Error> {
        self.group_of_events(stream, group)?.retry(id)
    }

    /// Discards the dead letter of an event. Returns false if someone retried or discarded it before.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn discard_event(&self, stream: &str, group: &str, id: StreamId) -> Result<bool, Error> {
        self.group_of_events(stream, group)?.discard(id)
    }

    /// Moves a group of a stream of events to another position. Returns that position.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn seek(&self, stream: &str, group: &str, to: From) -> Result<StreamId, Error> {
        self.group_of_events(stream, group)?.seek(to)
    }

    /// Puts a dead request of a queue into it again. Returns false if someone else did so, or discarded it.
    ///
    /// # Errors
    ///
    /// The name is not valid, or Redis cannot be reached or refuses.
    pub fn retry_request(&self, queue: &str, text: &[u8]) -> Result<bool, Error> {
        self.check()?;
        json_rpc::retry(&self.connections, &json_rpc::Names::new(queue)?, text)
    }

    /// Deletes a dead request of a queue. Returns false if someone retried or discarded it before.
    ///
    /// # Errors
    ///
    /// As [`Observer::retry_request`].
    pub fn discard_request(&self, queue: &str, text: &[u8]) -> Result<bool, Error> {
        self.check()?;
        json_rpc::discard(&self.connections, &json_rpc::Names::new(queue)?, text)
    }

    /// Deletes keys. Returns how many existed.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn delete(&self, keys: &[String]) -> Result<u64, Error> {
        self.check()?;
        let mut deleted = 0;
        for key in keys {
            let reply = self.connections.run(key, redis::cmd("UNLINK").arg(key))?;
            deleted += u64::from(reply == Value::Int(1));
        }
        Ok(deleted)
    }

    fn group_of_events(&self, stream: &str, group: &str) -> Result<OperatedGroup, Error> {
        self.check()?;
        let (endpoint, connections) = (Arc::clone(&self.endpoint), Arc::clone(&self.connections));
        Ok(OperatedGroup::new(endpoint, connections, stream, group, room()))
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
        self.check()?;
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
        Ok(Instance { names, options, endpoint, connections, control: Arc::default() })
    }
}
