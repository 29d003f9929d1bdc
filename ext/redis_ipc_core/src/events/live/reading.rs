//! Makes events of published messages.

use crate::events::common::events_key;
use crate::events::common::in_flight::InFlight;
use crate::events::common::key_hash::hash;
use crate::events::common::live_options::{CHANNEL, KEY, LiveKind, LiveOptions, LiveOrder};
use crate::events::live::keyspace;
use crate::events::live::values::Values;
use crate::foundation::payload::fields::Fields;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::resp::push::{Push, PushKind};
use std::collections::HashSet;
use std::sync::Arc;

const DATA: &str = "data";
const PATTERN: &str = "pattern";
/// The field that names the event of a key, such as `set`.
pub const EVENT: &str = "event";
const DB: &str = "db";
const FIELDS: &str = "fields";

/// The events of keys that clients may have cached.
const INVALIDATE: &[u8] = b"invalidate";
const FLUSH: &[u8] = b"flush";

/// Makes events of published messages.
pub struct Reading {
    order: LiveOrder,
    kind: LiveKind,
    on: Option<HashSet<Vec<u8>>>,
    of_fields: bool,
    reads_values: bool,
}

impl Reading {
    /// Creates it for a source.
    pub fn new(live: &LiveOptions) -> Self {
        let on = |events: &Vec<String>| events.iter().map(|event| event.clone().into_bytes()).collect();
        Self {
            order: live.order,
            kind: live.kind,
            on: live.on.as_ref().map(on),
            of_fields: live.of_fields,
            reads_values: live.reads_values,
        }
    }

    /// Returns the event of a message. Returns `None` if the options exclude it.
    pub fn event(&self, push: &Push, id: StreamId, node: &Arc<str>) -> Option<InFlight> {
        let (fields, ordered_by) = match self.kind {
            LiveKind::Keys => self.of_key(push)?,
            LiveKind::Tracking => invalidation(push)?,
            LiveKind::Channel | LiveKind::Pattern | LiveKind::ShardChannel => message(push)?,
        };
        let mut event = InFlight::new(id, fields, 1, id.ms);
        event.node = Some(Arc::clone(node));
        event.line = match self.order {
            LiveOrder::None => None,
            LiveOrder::Source => Some(0),
            LiveOrder::Channel => Some(hash(ordered_by)),
        };
        Some(event)
    }

    /// Reads what happened to a key.
    fn of_key<'a>(&self, push: &'a Push) -> Option<(Fields, &'a [u8])> {
        let (db, key) = keyspace::split(push.channel())?;
        let payload = push.payload();
        let (event, fields) =
            if self.of_fields { keyspace::split_fields(payload)? } else { (payload, &b""[..]) };
        if events_key::is_of_record(key) || self.on.as_ref().is_some_and(|on| !on.contains(event)) {
            return None;
        }
        let parts = [
            (KEY.as_bytes(), key),
            (EVENT.as_bytes(), event),
            (DB.as_bytes(), db),
            (FIELDS.as_bytes(), fields),
        ];
        let count = if self.of_fields { 4 } else { 3 };
        Some((Fields::exactly(&parts[..count]), key))
    }

    /// Returns the reader of keys' values. Returns `None` if the options do not ask for values.
    pub fn values(&self) -> Option<Values> {
        (self.kind == LiveKind::Keys && self.reads_values).then(Values::default)
    }
}

/// Reads a message of a channel.
fn message(push: &Push) -> Option<(Fields, &[u8])> {
    let channel = push.channel();
    let parts = [
        (CHANNEL.as_bytes(), channel),
        (DATA.as_bytes(), push.payload()),
        (PATTERN.as_bytes(), push.pattern()),
    ];
    let count = if push.pattern().is_empty() { 2 } else { 3 };
    matches!(push.kind, PushKind::Message).then(|| (Fields::exactly(&parts[..count]), channel))
}

/// Reads an invalidation. `None` of a message that somebody has published to its channel.
fn invalidation(push: &Push) -> Option<(Fields, &[u8])> {
    let key = push.payload();
    match push.kind {
        PushKind::Invalidated if events_key::is_of_record(key) => None,
        PushKind::Invalidated => {
            let parts = [(KEY.as_bytes(), key), (EVENT.as_bytes(), INVALIDATE)];
            Some((Fields::exactly(&parts), key))
        }
        PushKind::Flushed => Some((Fields::exactly(&[(EVENT.as_bytes(), FLUSH)]), key)),
        _ => None,
    }
}
