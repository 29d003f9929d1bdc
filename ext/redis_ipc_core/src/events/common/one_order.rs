//! A consumer has an order, or has none. Both keep in Redis how far they are, and neither knows of the other: under the
//! same name, each would handle every event.

use crate::error::{Error, ErrorKind, Place};
use crate::events::common::events_key;
use crate::events::common::options::ConsumerOptions;
use crate::events::common::streams::Streams;
use crate::foundation::payload::limits::check_name;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::pool::Pool;
use crate::foundation::redis::resp::replies::{self, unexpected};
use crate::foundation::redis::server_check::check_server;
use redis::RedisResult;
use std::collections::HashMap;
use std::sync::Arc;

/// Refuses to start the consumer `group` of `stream` in another way than it was started before.
///
/// # Errors
///
/// It has an order in Redis and none here, or the other way round (a [`crate::ErrorKind::Configuration`] error); a name
/// is blank or too long, Redis cannot be reached or refuses.
pub fn check(stream: &str, group: &str, options: &ConsumerOptions) -> Result<(), Error> {
    check_name("stream", stream)?;
    check_name("group", group)?;
    let place = Place { stream: Some(stream.to_owned()), group: Some(group.to_owned()), ..Place::default() };
    let endpoint = Arc::new(Endpoint::new(place, &options.redis));
    let connections = Pool::new(Arc::clone(&endpoint.connector), 1);
    for one in Streams::new(stream, options.partitions).iter() {
        let groups = connections
            .with(one, |connection| {
                if check_server(connection)? {
                    endpoint.connector.is_node_of_cluster();
                }
                groups(connection, one)
            })
            .map_err(|error| endpoint.locate(error.of_connecting()))?;
        if let Some(message) = refusal(stream, group, options.order.is_some(), &groups) {
            return Err(endpoint.locate(Error::new(ErrorKind::Configuration, message)));
        }
    }
    Ok(())
}

/// Returns the position of each group of Redis. There is none where there is no stream.
fn groups(connection: &mut Connection, stream: &str) -> RedisResult<HashMap<String, StreamId>> {
    match connection.run(redis::cmd("XINFO").arg("GROUPS").arg(stream)) {
        Ok(found) => replies::last_delivered(&found).ok_or_else(unexpected),
        Err(error) if error.detail() == Some("no such key") => Ok(HashMap::new()),
        Err(error) => Err(error),
    }
}

fn refusal(stream: &str, group: &str, ordered: bool, groups: &HashMap<String, StreamId>) -> Option<String> {
    let marker = format!("{group}:lanes");
    if ordered {
        let position = groups.get(group)?;
        Some(format!(
            "this group has been consumed without an order, up to {position}: with an order it would begin anew. Use \
             another group; or let its processes end, handle what XPENDING still shows, delete it (XGROUP DESTROY), and \
             start with from: \"{position}\""
        ))
    } else {
        let position = groups.get(&marker)?;
        let hash = events_key::of(stream, group);
        Some(format!(
            "this group has been consumed in an order, up to {position}: without one it would begin anew. Use another \
             group; or let its processes end, delete the key {hash} and the group {marker} (XGROUP DESTROY), and start \
             with from: \"{position}\""
        ))
    }
}
