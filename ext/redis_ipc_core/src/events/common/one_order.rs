//! Keeps a consumer from being started both with and without an order. Each keeps its position in its own place in
//! Redis and does not know of the other. Under the same name both would handle every event.

use crate::error::{Error, ErrorKind};
use crate::events::common::events_key;
use crate::events::common::streams::Streams;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::pool::Pool;
use crate::foundation::redis::resp::replies::{self, unexpected};
use redis::RedisResult;
use std::collections::HashMap;

/// Refuses to start the consumer `group` of `streams` if Redis has it with an order and this process wants none, or the
/// other way round.
///
/// # Errors
///
/// The consumer has the other kind of order in Redis (a [`crate::ErrorKind::Configuration`] error), or Redis cannot be
/// reached or refuses.
pub fn check(connections: &Pool, streams: &Streams, group: &str, is_ordered: bool) -> Result<(), Error> {
    for stream in streams.iter() {
        let groups = connections.with(stream, |connection| groups(connection, stream))?;
        if let Some(message) = refusal(streams.name(), group, is_ordered, &groups) {
            return Err(Error::new(ErrorKind::Configuration, message));
        }
    }
    Ok(())
}

/// Returns the position of each consumer group of Redis. There is none if there is no stream.
fn groups(connection: &mut Connection, stream: &str) -> RedisResult<HashMap<String, StreamId>> {
    match connection.run(redis::cmd("XINFO").arg("GROUPS").arg(stream)) {
        Ok(found) => replies::last_delivered(&found).ok_or_else(unexpected),
        Err(error) if error.detail() == Some("no such key") => Ok(HashMap::new()),
        Err(error) => Err(error),
    }
}

fn refusal(
    stream: &str,
    group: &str,
    is_ordered: bool,
    groups: &HashMap<String, StreamId>,
) -> Option<String> {
    if is_ordered {
        let position = groups.get(group)?;
        Some(format!(
            "this group has been consumed without an order, up to {position}: with an order it would begin anew. Use \
             another group; or let its processes end, handle what XPENDING still shows, delete it (XGROUP DESTROY), and \
             start with from: \"{position}\""
        ))
    } else {
        let marker = events_key::marker(group);
        let position = groups.get(&marker)?;
        let hash = events_key::of(stream, group);
        Some(format!(
            "this group has been consumed in an order, up to {position}: without one it would begin anew. Use another \
             group; or let its processes end, delete the key {hash} and the group {marker} (XGROUP DESTROY), and start \
             with from: \"{position}\""
        ))
    }
}
