//! The waiting events of one line, and how many of the line are being handled.

use crate::events::common::in_flight::InFlight;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// A line: events that are handled one after the other if there is an order, such as those of a channel.
#[derive(Debug, Default)]
pub struct Line {
    /// The events that wait, in their order.
    pub waiting: VecDeque<Arc<InFlight>>,
    /// How many were taken and are not finished.
    pub busy: usize,
    /// Whether it is in the list of the lines from which a worker may take.
    pub is_listed: bool,
}

impl Line {
    /// Whether the next event is of a key that is paused.
    pub fn is_paused(&self, paused: &HashSet<u64>) -> bool {
        let key = self.waiting.front().and_then(|event| event.key);
        key.is_some_and(|key| paused.contains(&key))
    }

    /// Whether it can be forgotten, because nothing of it waits or runs.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.busy == 0
    }
}
