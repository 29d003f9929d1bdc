//! Acts on a group with an order from outside of its processes.

use crate::error::{Error, ErrorKind};
use crate::events::common::dead_event::DeadEvent;
use crate::events::common::events_key;
use crate::events::common::options::{From, Order};
use crate::events::common::stream_facts;
use crate::events::common::streams::Streams;
use crate::events::lanes::checkpoint::Checkpoint;
use crate::events::lanes::lane_consumer::{reached, start_at};
use crate::events::lanes::protocol::{self, Decision};
use crate::foundation::payload::fields::Room;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::group_consumer::dead_letters::DeadLetters;
use crate::foundation::redis::pool::Pool;
use redis::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// A group with an order, as the hash of its lanes shows it.
pub struct OrderedGroup {
    connections: Arc<Pool>,
    key: String,
    streams: Streams,
    lanes: u16,
    /// The checkpoint of each lane that has one.
    checkpoints: Vec<Checkpoint>,
}

impl OrderedGroup {
    /// Finds the group `group` of `stream`. `None` if that has no lanes.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn find(connections: Arc<Pool>, stream: &str, group: &str) -> Result<Option<Self>, Error> {
        let key = events_key::of(stream, group);
        let hash: HashMap<String, Value> =
            connections.with(&key, |connection| connection.query(redis::cmd("HGETALL").arg(&key)))?;
        let Some(Value::BulkString(text)) = hash.get("lanes") else { return Ok(None) };
        let text = String::from_utf8_lossy(text);
        let (number, is_divided) = match text.strip_suffix(" partitions") {
            Some(number) => (number, true),
            None => (&*text, false),
        };
        let Some(lanes) = number.parse().ok().filter(|lanes: &u16| *lanes > 0) else {
            let message = format!("the field \"lanes\" of {key:?} is {text:?}, and no number of lanes");
            return Err(Error::new(ErrorKind::Malformed, message));
        };
        let streams = Streams::new(stream, is_divided.then_some(lanes));
        let checkpoints = protocol::positions(&hash, lanes);
        Ok(Some(Self { connections, key, streams, lanes, checkpoints }))
    }

    /// Asks the owner of the lane to try the event of a dead letter again. Returns false if someone has decided about it
    /// before, or the letter does not exist any more.
    ///
    /// # Errors
    ///
    /// The letter has only a part of the event, or Redis cannot be reached or refuses.
    pub fn retry(&self, letters: &DeadLetters, id: StreamId, room: Room) -> Result<bool, Error> {
        let Some((dead, entry)) = self.dead_event(letters, id, room)? else { return Ok(false) };
        dead.must_be_whole(id)?;
        match self.lane_of(&dead, entry) {
            Some(lane) => self.decide(Decision { lane, entry, letter: id, is_retry: true }),
            None => Ok(false),
        }
    }

    /// Deletes a dead letter. If it stops the events of its key, the owner of the lane is asked to drop the event.
    /// Returns false if someone has decided about it before.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn discard(&self, letters: &DeadLetters, id: StreamId, room: Room) -> Result<bool, Error> {
        // The lane's owner may delete the letter before this reads it.
        let held = self.dead_event(letters, id, room)?.and_then(|(dead, entry)| {
            let lane = self.lane_of(&dead, entry)?;
            self.is_held(entry).then_some((lane, entry))
        });
        let is_decided = match held {
            Some((lane, entry)) => self.decide(Decision { lane, entry, letter: id, is_retry: false })?,
            None => false,
        };
        Ok(letters.discard(id)? || is_decided)
    }

    /// Takes every lane from its owner, and lets all of them begin at another position. Returns the new position.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn seek(&self, to: From) -> Result<StreamId, Error> {
        let facts = self
            .streams
            .iter()
            .map(|stream| {
                let command = stream_facts::command(stream);
                self.connections.with(stream, |connection| stream_facts::read(&connection.run(&command)?))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let checkpoints: Vec<Checkpoint> = facts.iter().map(|facts| start_at(to, *facts)).collect();
        self.connections.run(&self.key, &protocol::seek(&self.key, &checkpoints))?;
        let places = facts.into_iter().zip(checkpoints.into_iter().map(|checkpoint| vec![checkpoint]));
        Ok(reached(&places.collect::<Vec<_>>()).delivered)
    }

    fn decide(&self, decision: Decision) -> Result<bool, Error> {
        Ok(self.connections.run(&self.key, &decision.command(&self.key))? == Value::Int(1))
    }

    fn dead_event(
        &self,
        letters: &DeadLetters,
        id: StreamId,
        room: Room,
    ) -> Result<Option<(DeadEvent, StreamId)>, Error> {
        let read = if self.streams.are_partitions() { DeadEvent::read_of_partition } else { DeadEvent::read };
        Ok(letters.find(id, room)?.and_then(read).and_then(|dead| {
            let entry = StreamId::parse(dead.entry_id.as_bytes())?;
            Some((dead, entry))
        }))
    }

    /// Returns the lane of an event. An open one is in a checkpoint. One that is done belongs where the field `key` of
    /// the event says: what `by:` of the group is, only its processes know.
    fn lane_of(&self, dead: &DeadEvent, entry: StreamId) -> Option<u16> {
        if self.streams.are_partitions() {
            return self.streams.partition(dead.stream.as_ref()?.as_bytes());
        }
        let open = self.checkpoints.iter().position(|checkpoint| checkpoint.left.contains_key(&entry));
        let by_key = || Order::Key { by: None, json: None }.spot(entry, &dead.fields, self.lanes).lane;
        Some(open.and_then(|lane| u16::try_from(lane).ok()).unwrap_or_else(by_key))
    }

    fn is_held(&self, entry: StreamId) -> bool {
        let tries = self.checkpoints.iter().filter_map(|checkpoint| checkpoint.left.get(&entry));
        tries.into_iter().any(|tries| tries.is_held)
    }
}

#[cfg(all(test, feature = "live-tests"))]
mod tests {
    use super::*;
    use crate::foundation::redis::fake_server::endpoint_of;
    use crate::foundation::redis::live_server::LiveServer;

    #[test]
    fn a_group_with_a_number_of_lanes_that_cannot_be_is_refused() {
        let server = LiveServer::start();
        let endpoint = endpoint_of(server.redis_options.clone());
        let connections = Arc::new(Pool::new(Arc::clone(&endpoint.connector), 1));
        let find = |lanes: &str| {
            server.run(redis::cmd("HSET").arg(events_key::of("s", "g")).arg("lanes").arg(lanes));
            OrderedGroup::find(Arc::clone(&connections), "s", "g").map(|found| found.is_some())
        };
        for lanes in ["0", "0 partitions", "-1", "70000", "x"] {
            assert_eq!(find(lanes).unwrap_err().kind, ErrorKind::Malformed, "{lanes}");
        }
        assert_eq!([find("4"), find("4 partitions")], [Ok(true), Ok(true)]);
    }
}
