//! The events of one lane that are in memory, by key.

use crate::events::common::in_flight::InFlight;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::runtime::sync::Condvar;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// The events of a lane in memory.
#[derive(Default)]
pub struct LaneQueue {
    /// The epoch of its owner.
    pub epoch: u64,
    /// Its keys, by their hashes.
    pub keys: HashMap<u64, KeyQueue>,
    /// Its events that are running, each with the number of its try.
    pub running: HashMap<StreamId, u32>,
    /// The bytes of its events that are not done.
    pub bytes: usize,
    /// The catch-up reader reads for it.
    pub is_behind: bool,
    /// A worker wanted to begin one of its events while its lease was not certain.
    pub is_stalled: bool,
    /// The events that stop their keys until an operator decides about their dead letters.
    pub holding: HashMap<StreamId, u64>,
    /// The event that is tried on its own.
    pub trial: Trial,
    /// If the lane is a partition, its reader waits here for room.
    pub room: Arc<Condvar>,
}

/// The event of a careful lane that is tried on its own.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// There is none.
    #[default]
    None,
    /// It waits until Redis has counted the try.
    Wanted(StreamId),
    /// It may begin.
    Counted(StreamId),
    /// It waits for a suspect of another lane, which was begun before and not done.
    AfterSuspect,
}

/// The events of a key in memory.
#[derive(Default)]
pub struct KeyQueue {
    /// The next event.
    pub first: Option<Arc<InFlight>>,
    rest: VecDeque<Arc<InFlight>>,
    /// How many are running. There are several only if one worker took them, in their order.
    pub running: usize,
    /// The events that wait for their next try or stop the key. Events behind the first of them wait.
    pub waits_for: BTreeSet<StreamId>,
    /// It is in the list of the keys that are ready.
    pub is_ready: bool,
}

impl LaneQueue {
    /// Returns the event that a careful lane tries next, and the number of that try.
    pub fn next_trial(&self, paused_keys: &HashSet<u64>) -> Option<(StreamId, u32)> {
        let may_begin =
            self.keys.iter().filter(|(key, found)| found.may_begin() && !paused_keys.contains(key));
        may_begin
            .filter_map(|(_, found)| found.first.as_ref().map(|event| (event.id, event.deliveries)))
            .min()
    }

    /// Forgets all waiting events. Those that are running are kept.
    pub fn forget_waiting(&mut self) {
        self.keys.retain(|_, found| {
            (found.first, found.rest) = (None, VecDeque::new());
            found.running > 0
        });
        if self.running.is_empty() {
            self.trial = Trial::None;
        }
    }

    /// Subtracts the memory of an event that is done.
    pub fn let_go_of(&mut self, event: &InFlight) {
        self.bytes = self.bytes.saturating_sub(event.fields.size());
    }
}

impl KeyQueue {
    /// Adds an event at the end.
    pub fn push(&mut self, event: Arc<InFlight>) {
        if self.first.is_none() { self.first = Some(event) } else { self.rest.push_back(event) }
    }

    /// Puts an event back, before those that come after it in the stream.
    pub fn put_back(&mut self, event: Arc<InFlight>) {
        match &mut self.first {
            None => self.first = Some(event),
            Some(first) if event.id < first.id => self.rest.push_front(std::mem::replace(first, event)),
            Some(_) => {
                let place = self.rest.partition_point(|other| other.id < event.id);
                self.rest.insert(place, event);
            }
        }
    }

    /// Takes the next event, unless it must wait for another.
    pub fn pop(&mut self) -> Option<Arc<InFlight>> {
        if !self.is_next_free() {
            return None;
        }
        let first = self.first.take()?;
        self.first = self.rest.pop_front();
        Some(first)
    }

    /// Whether its next event may begin.
    pub fn may_begin(&self) -> bool {
        self.running == 0 && self.is_next_free()
    }

    fn is_next_free(&self) -> bool {
        let Some(next) = &self.first else { return false };
        self.waits_for.first().is_none_or(|earlier| next.id < *earlier)
    }

    /// Whether it can be forgotten.
    pub fn is_unused(&self) -> bool {
        self.first.is_none() && self.running == 0 && self.waits_for.is_empty()
    }
}
