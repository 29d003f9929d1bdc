//! The ids of the last events. A second copy of an event is recognized by them.

use crate::foundation::payload::fields::Fields;
use crate::foundation::payload::stream_entry::StreamId;
use std::collections::{HashMap, VecDeque};

/// The field that holds an event's id.
pub const ID: &str = "id";
/// The field that every event of our publishers has.
pub const DATA: &str = "data";
/// All fields that our publishers write, and those that write changes of PostgreSQL.
const OWN: [&str; 6] = [ID, DATA, "type", "key", "traceparent", "change"];
/// The most bytes of an id. Publishers write no longer ids.
pub const MAX_ID: usize = 255;

/// The ids of the last events that a process took, each with the id of its entry.
///
/// Each process has its own window. If two processes take two copies of an event, neither notices.
#[derive(Debug)]
pub struct RecentIds {
    entries: HashMap<Box<[u8]>, StreamId>,
    order: VecDeque<Box<[u8]>>,
    most: usize,
}

impl RecentIds {
    /// Creates an empty window for this many ids. With 0, no event counts as a copy.
    pub fn new(most: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), most }
    }

    /// Whether another entry has the same id. An entry that is delivered again is not a copy of itself.
    pub fn is_copy(&mut self, entry: StreamId, fields: &Fields) -> bool {
        let Some(id) = id_of(fields).filter(|_| self.most > 0) else { return false };
        if let Some(first) = self.entries.get(id) {
            return *first != entry;
        }
        if self.order.len() >= self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
        self.entries.insert(id.into(), entry);
        self.order.push_back(id.into());
        false
    }
}

/// Returns an id for a copy of an event that is to be handled as an event of its own. Returns `None` if the event has
/// no id.
pub fn id_of_copy(fields: &Fields, letter: StreamId) -> Option<Vec<u8>> {
    id_of(fields).map(|id| [id, b"/", letter.to_string().as_bytes()].concat())
}

/// Returns the id of an event that one of our publishers wrote. Other programs may use the same field for something
/// else.
fn id_of(fields: &Fields) -> Option<&[u8]> {
    let id = fields.get(ID).filter(|id| !id.is_empty() && id.len() <= MAX_ID)?;
    is_own(fields).then_some(id)
}

/// Whether these are the fields of an event that one of our publishers wrote: it has data, and no field with another
/// name.
pub fn is_own(fields: &Fields) -> bool {
    let is_name = |name: &[u8]| OWN.iter().any(|own| own.as_bytes() == name);
    fields.get(DATA).is_some() && fields.iter().all(|(name, _)| is_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ms: u64) -> StreamId {
        StreamId { ms, seq: 0 }
    }

    fn event(id: &str) -> Fields {
        [("data", "1"), ("id", id)].into_iter().collect()
    }

    #[test]
    fn a_copy_is_another_entry_with_the_same_id() {
        let mut recent = RecentIds::new(2);
        assert!(!recent.is_copy(entry(1), &event("a")));
        assert!(!recent.is_copy(entry(1), &event("a")), "delivered again");
        assert!(recent.is_copy(entry(2), &event("a")));
        assert!(!recent.is_copy(entry(3), &event("b")));
        assert!(!recent.is_copy(entry(4), &event("c")));
        assert!(!recent.is_copy(entry(5), &event("a")), "the window holds two ids");
    }

    #[test]
    fn what_other_programs_write_is_no_copy() {
        let mut recent = RecentIds::new(2);
        let foreign: Fields = [("data", "1"), ("id", "a"), ("room", "attic")].into_iter().collect();
        let bare: Fields = [("id", "a")].into_iter().collect();
        for ms in 1..3 {
            assert!(!recent.is_copy(entry(ms), &foreign));
            assert!(!recent.is_copy(entry(ms), &bare));
            assert!(!recent.is_copy(entry(ms), &event("")));
            assert!(!RecentIds::new(0).is_copy(entry(ms), &event("a")));
        }
    }
}
