//! An event that was given up on, as its dead letter tells it.

use crate::foundation::payload::fields::{Extent, Fields};
use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::group_consumer::dead_letters::ADDED;

/// How the reason ends for which a part of an event is a dead letter.
const NOT_WHOLE: &str = "not read as a whole";

/// Why an event is a dead letter that no connection can read.
pub const UNREADABLE: &str = "the event cannot be read: it breaks each connection that reads it \
                              (client-output-buffer-limit of Redis, or the limits in security.md)";

/// Says why an event is a dead letter that is larger than what is read of an event.
pub fn not_whole(whole: &Extent) -> String {
    format!(
        "the event has {} fields and {} bytes, more than the limit (max_event_size, and 1000 fields), and was {NOT_WHOLE}",
        whole.fields, whole.bytes
    )
}

/// An event that was given up on.
#[derive(Debug)]
pub struct DeadEvent {
    /// The id of the dead letter.
    pub id: StreamId,
    /// The id that the event had in its stream.
    pub entry_id: String,
    /// Why it was given up on.
    pub reason: String,
    /// How often it had been delivered.
    pub deliveries: u32,
    /// When it was given up on, in ms on Redis's clock.
    pub died_at_ms: u64,
    /// The event's own fields.
    pub fields: Fields,
}

impl DeadEvent {
    /// Whether the letter has all of its event.
    pub fn is_whole(&self) -> bool {
        !self.reason.ends_with(NOT_WHOLE) && self.reason != UNREADABLE
    }

    /// Separates the fields that were added to a dead letter from those of its event. Returns `None` if `letter` is none.
    pub fn read(letter: RawEntry) -> Option<Self> {
        let fields = letter.fields?;
        let text = |name| fields.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
        let [entry_id, reason, deliveries, died_at] = ADDED.map(text);
        // Those that the letter has come first; the event may have some of the same names.
        let own = fields.iter().skip(ADDED.len());
        Some(Self {
            id: letter.id,
            entry_id: entry_id?,
            reason: reason?,
            deliveries: deliveries?.parse().ok()?,
            died_at_ms: died_at?.parse().ok()?,
            fields: own.collect(),
        })
    }
}
