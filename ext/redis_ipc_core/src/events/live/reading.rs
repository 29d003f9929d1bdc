//! Makes events of published messages.

use crate::events::common::in_flight::InFlight;
use crate::events::common::live_options::{CHANNEL, KEY, LiveKind, LiveOptions, LiveOrder};
use crate::events::live::keyspace::{self, Found};
use crate::foundation::payload::fields::Fields;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::connector::Connector;
use crate::foundation::redis::resp::push::Push;
use redis::RedisResult;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

const DATA: &str = "data";
const PATTERN: &str = "pattern";
/// The field that names the event of a key, such as `set`.
const EVENT: &str = "event";
const DB: &str = "db";
const VALUE: &str = "value";
const STATE: &str = "value_state";

/// How long reading the values of keys may take. No messages are read meanwhile.
const TIME: Duration = Duration::from_millis(500);

/// Makes events of published messages.
pub struct Reading {
    order: LiveOrder,
    is_of_keys: bool,
    on: Option<HashSet<Vec<u8>>>,
    reads_values: bool,
}

impl Reading {
    /// Creates it for a source.
    pub fn new(live: &LiveOptions) -> Self {
        let on = |events: &Vec<String>| events.iter().map(|event| event.clone().into_bytes()).collect();
        Self {
            order: live.order,
            is_of_keys: live.kind == LiveKind::Keys,
            on: live.on.as_ref().map(on),
            reads_values: live.reads_values,
        }
    }

    /// Returns the event of a message. Returns `None` if the options exclude it.
    pub fn event(&self, push: &Push, id: StreamId, node: &Arc<str>) -> Option<InFlight> {
        let (fields, ordered_by) = if self.is_of_keys {
            let (db, key) = keyspace::split(push.channel())?;
            let event = push.payload();
            if self.on.as_ref().is_some_and(|on| !on.contains(event)) {
                return None;
            }
            let parts = [(KEY.as_bytes(), key), (EVENT.as_bytes(), event), (DB.as_bytes(), db)];
            (Fields::exactly(&parts), key)
        } else {
            let channel = push.channel();
            let parts = [
                (CHANNEL.as_bytes(), channel),
                (DATA.as_bytes(), push.payload()),
                (PATTERN.as_bytes(), push.pattern()),
            ];
            let count = if push.pattern().is_empty() { 2 } else { 3 };
            (Fields::exactly(&parts[..count]), channel)
        };
        let mut event = InFlight::new(id, fields, 1, id.ms);
        event.node = Some(Arc::clone(node));
        event.line = match self.order {
            LiveOrder::None => None,
            LiveOrder::Source => Some(0),
            LiveOrder::Channel => {
                let mut hasher = DefaultHasher::new();
                ordered_by.hash(&mut hasher);
                Some(hasher.finish())
            }
        };
        Some(event)
    }

    /// Returns the reader of keys' values. Returns `None` if the options do not ask for values.
    pub fn values(&self) -> Option<Values> {
        (self.is_of_keys && self.reads_values).then(Values::default)
    }
}

/// Reads the values of keys on its own connection.
#[derive(Default)]
pub struct Values {
    connection: Option<Connection>,
}

impl Values {
    /// Adds to events the current values of their keys. An unreadable value counts as unknown.
    pub fn add(&mut self, events: &mut [Arc<InFlight>], connector: &Connector, route: &Route, most: usize) {
        let keys: Vec<Vec<u8>> = events.iter().filter_map(|event| key_to_read(event)).collect();
        let mut found = self.read(&keys, connector, route).unwrap_or_default().into_iter();
        for event in events {
            let found = match key_to_read(event) {
                Some(_) => found.next().map_or(Found::Unknown, |reply| Found::of(reply, most)),
                None => Found::Gone,
            };
            // Nobody else holds the event yet.
            if let Some(event) = Arc::get_mut(event) {
                let state = (STATE.as_bytes(), found.state().as_bytes());
                let value = match &found {
                    Found::Present(value) => Some((VALUE.as_bytes(), value.as_slice())),
                    Found::Gone | Found::Unknown => None,
                };
                let parts: Vec<(&[u8], &[u8])> = event.fields.iter().chain([state]).chain(value).collect();
                event.fields = Fields::exactly(&parts);
            }
        }
    }

    fn read(
        &mut self,
        keys: &[Vec<u8>],
        connector: &Connector,
        route: &Route,
    ) -> RedisResult<Vec<redis::Value>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let commands: Vec<redis::Cmd> = keys.iter().map(|key| keyspace::read(key)).collect();
        // The connection may have been closed in the meantime.
        let old = self.connection.take().filter(|connection| connection.is_at(route));
        if let Some(mut connection) = old
            && let Ok(replies) = connection.run_all(&commands)
        {
            self.connection = Some(connection);
            return Ok(replies);
        }
        let mut connection = connector.open_quickly(route, TIME)?;
        connection.set_timeouts(TIME, TIME)?;
        let replies = connection.run_all(&commands)?;
        self.connection = Some(connection);
        Ok(replies)
    }
}

fn key_to_read(event: &InFlight) -> Option<Vec<u8>> {
    let is_gone = event.fields.get(EVENT).is_none_or(keyspace::is_gone);
    event.fields.get(KEY).filter(|_| !is_gone).map(<[u8]>::to_vec)
}
