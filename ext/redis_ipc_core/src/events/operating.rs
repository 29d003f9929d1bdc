//! Acts on a group of a stream of events from outside of its processes.

use crate::error::Error;
use crate::events::common::options::From;
use crate::events::consumer_group::operating;
use crate::events::lanes::operating::OrderedGroup;
use crate::foundation::payload::fields::Room;
use crate::foundation::payload::key_part;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::group_consumer::consumer::GroupConsumer;
use crate::foundation::redis::group_consumer::dead_letters::DeadLetters;
use crate::foundation::redis::pool::Pool;
use redis::{RedisResult, Value};
use std::sync::Arc;

/// The consumer in whose name an event is made pending if the group has none. The processes of the group delete it
/// once they have taken the event over.
const CONSUMER: &str = "operator";

/// A group of a stream of events.
pub struct OperatedGroup {
    endpoint: Arc<Endpoint>,
    connections: Arc<Pool>,
    stream: String,
    group: String,
    room: Room,
    letters: DeadLetters,
}

impl OperatedGroup {
    /// The group `group` of `stream`.
    pub fn new(
        endpoint: Arc<Endpoint>,
        connections: Arc<Pool>,
        stream: &str,
        group: &str,
        room: Room,
    ) -> Self {
        let key = format!("{stream}:dead:{}", key_part::encode(group));
        let letters = DeadLetters::new(Arc::clone(&connections), key);
        Self { endpoint, connections, stream: stream.to_owned(), group: group.to_owned(), room, letters }
    }

    /// Has the event of a dead letter handled again. Returns false if someone else did so, or discarded it.
    ///
    /// # Errors
    ///
    /// The event cannot be had any more, or Redis cannot be reached or refuses.
    pub fn retry(&self, id: StreamId) -> Result<bool, Error> {
        self.locate(match self.ordered()? {
            Some(ordered) => ordered.retry(&self.letters, id, self.room),
            None => operating::deliver_again(&self.consumer()?, &self.letters, id),
        })
    }

    /// Discards a dead letter. Returns false if someone retried or discarded it before.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn discard(&self, id: StreamId) -> Result<bool, Error> {
        self.locate(match self.ordered()? {
            Some(ordered) => ordered.discard(&self.letters, id, self.room),
            None => self.letters.discard(id),
        })
    }

    /// Moves the group to another position. Returns that position.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn seek(&self, to: From) -> Result<StreamId, Error> {
        self.locate(match self.ordered()? {
            Some(ordered) => ordered.seek(to),
            None => operating::seek(&self.consumer()?, to),
        })
    }

    fn locate<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| error.at(&self.stream, &self.group))
    }

    fn ordered(&self) -> Result<Option<OrderedGroup>, Error> {
        OrderedGroup::find(Arc::clone(&self.connections), &self.stream, &self.group)
    }

    /// A consumer of the group, by whose name what is made pending stays for any other to take.
    fn consumer(&self) -> Result<GroupConsumer, Error> {
        let mut list = redis::cmd("XINFO");
        list.arg("CONSUMERS").arg(&self.stream).arg(&self.group);
        let found = self.connections.with(&self.stream, |connection| {
            let names: RedisResult<Vec<Vec<Value>>> = connection.query(&list);
            names
        })?;
        let name = found.iter().find_map(|row| match row.get(1) {
            Some(Value::BulkString(name)) => std::str::from_utf8(name).ok(),
            _ => None,
        });
        let (endpoint, connections) = (Arc::clone(&self.endpoint), Arc::clone(&self.connections));
        let (group, name) = (self.group.as_str().into(), name.unwrap_or(CONSUMER).into());
        Ok(GroupConsumer::new(endpoint, connections, self.stream.clone(), group, name, self.room))
    }
}
