//! Acts on a group without an order, also from outside of its processes.

use crate::error::Error;
use crate::events::common::dead_event::DeadEvent;
use crate::events::common::options::From;
use crate::events::common::recent_ids;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::group_consumer::consumer::GroupConsumer;
use crate::foundation::redis::group_consumer::dead_letters::DeadLetters;
use crate::foundation::redis::resp::replies::{self, unexpected};
use redis::Value;

/// Makes the event of a dead letter pending again, or adds a copy of it if the stream has lost it, and deletes the
/// letter. Of concurrent retries of one letter, exactly one succeeds; the others return false.
///
/// # Errors
///
/// The letter has only a part of an event that the stream has lost, or Redis cannot be reached or refuses.
pub fn deliver_again(consumer: &GroupConsumer, letters: &DeadLetters, id: StreamId) -> Result<bool, Error> {
    let letter = letters.find(id, consumer.room)?;
    let Some(event) = letter.and_then(DeadEvent::read) else { return Ok(false) };
    let entry = StreamId::parse(event.entry_id.as_bytes());
    if let Some(entry) = entry
        && consumer.make_pending(entry)?
    {
        return letters.discard(id);
    }
    event.must_be_whole(id)?;
    let mut add = redis::cmd("XADD");
    add.arg(&consumer.stream).arg("*");
    let new_id = recent_ids::id_of_copy(&event.fields, id);
    for (name, value) in event.fields.iter() {
        let new_id = new_id.as_deref().filter(|_| name == recent_ids::ID.as_bytes());
        add.arg(name).arg(new_id.unwrap_or(value));
    }
    letters.move_to(&consumer.stream, id, &add, &[])
}

/// Moves the group to another position. Returns that position.
///
/// # Errors
///
/// Redis cannot be reached or refuses.
pub fn seek(consumer: &GroupConsumer, to: From) -> Result<StreamId, Error> {
    let GroupConsumer { stream, group, connections, endpoint, .. } = consumer;
    connections.run(stream, redis::cmd("XGROUP").arg("SETID").arg(stream).arg(group).arg(to.argument()))?;
    let reply = connections.run(stream, &super::lag::progress(stream, group))?;
    match &reply {
        Value::Array(columns) => columns.get(1).and_then(replies::id),
        _ => None,
    }
    .ok_or_else(|| endpoint.explain(&unexpected(), crate::error::Fate::Unknown))
}
