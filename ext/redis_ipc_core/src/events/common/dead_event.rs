//! An event that was given up on, as read from its dead letter.

use crate::error::{Error, ErrorKind};
use crate::foundation::payload::fields::{Extent, Fields};
use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::group_consumer::dead_letters::ADDED;

/// A dead letter has only a part of its event if its reason ends like this.
const NOT_WHOLE: &str = "not read as a whole";

/// The reason of a dead letter whose event no connection can read.
pub const UNREADABLE: &str = "the event cannot be read: it breaks each connection that reads it \
                              (client-output-buffer-limit of Redis, or the limits in security.md)";

/// In the dead letters of a consumer of several streams, this field names the stream of the event.
const STREAM: &str = "dead_stream";

/// Returns the reason of a dead letter whose event exceeds what is read of an event.
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
    /// The stream of the event, if its consumer has several.
    pub stream: Option<String>,
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
    /// Whether the letter holds all of its event.
    pub fn is_whole(&self) -> bool {
        !self.reason.ends_with(NOT_WHOLE) && self.reason != UNREADABLE
    }

    /// Refuses the dead letter `id` that does not hold all of its event.
    ///
    /// # Errors
    ///
    /// It holds only a part (an [`ErrorKind::Malformed`] error).
    pub fn must_be_whole(&self, id: StreamId) -> Result<(), Error> {
        if self.is_whole() {
            return Ok(());
        }
        let message = format!(
            "the dead letter has only a part of the event {}, which cannot be had from the stream: it can only be \
             discarded",
            self.entry_id
        );
        Err(Error::new(ErrorKind::Malformed, message).entry(id))
    }

    /// Separates the fields that were added to a dead letter from those of its event. Returns `None` if `letter` is not
    /// a dead letter.
    pub fn read(letter: RawEntry) -> Option<Self> {
        let fields = letter.fields?;
        let text = |name| fields.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
        let [entry_id, reason, deliveries, died_at] = ADDED.map(text);
        // The fields of the letter come first. The event may have fields of the same names.
        let own = fields.iter().skip(ADDED.len());
        Some(Self {
            id: letter.id,
            stream: None,
            entry_id: entry_id?,
            reason: reason?,
            deliveries: deliveries?.parse().ok()?,
            died_at_ms: died_at?.parse().ok()?,
            fields: own.collect(),
        })
    }

    /// Reads a dead letter of a consumer of several streams. The first field behind those of the letter names the
    /// stream.
    pub fn read_of_partition(letter: RawEntry) -> Option<Self> {
        let dead = Self::read(letter)?;
        let (name, stream) = dead.fields.iter().next()?;
        let stream = (name == STREAM.as_bytes()).then(|| String::from_utf8_lossy(stream).into_owned());
        let fields = dead.fields.iter().skip(1).collect();
        Some(Self { stream: Some(stream?), fields, ..dead })
    }
}

/// Returns the fields of an event as they are written to a dead letter of a consumer of several streams.
pub fn with_stream(stream: &str, fields: &Fields) -> Fields {
    std::iter::once((STREAM.as_bytes(), stream.as_bytes())).chain(fields.iter()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::payload::stream_entry::StreamId;

    fn letter(fields: Fields) -> Option<RawEntry> {
        let added = [("dead_id", "7-0"), ("dead_reason", "no"), ("dead_deliveries", "5"), ("dead_at", "9")];
        let fields =
            added.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).chain(fields.iter());
        Some(RawEntry { id: StreamId { ms: 8, seq: 0 }, fields: Some(fields.collect()) })
    }

    #[test]
    fn a_letter_of_a_partition_names_its_stream_whatever_the_event_has() {
        let event: Fields = [("dead_stream", "mine"), ("data", "1")].into_iter().collect();
        let dead = DeadEvent::read_of_partition(letter(with_stream("orders:3", &event)).unwrap()).unwrap();
        assert_eq!((dead.stream.as_deref(), dead.entry_id.as_str()), (Some("orders:3"), "7-0"));
        assert_eq!(dead.fields.iter().collect::<Vec<_>>(), event.iter().collect::<Vec<_>>());
        let other: Fields = [("data", "1")].into_iter().collect();
        assert!(DeadEvent::read_of_partition(letter(other).unwrap()).is_none(), "it is none of a partition");
    }
}
