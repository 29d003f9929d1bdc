//! The events of one channel that wait, and how many of them are being handled.

use crate::events::common::in_flight::InFlight;
use std::collections::VecDeque;
use std::sync::Arc;

/// The events that are handled one after the other.
#[derive(Debug, Default)]
pub struct Line {
    /// Those that wait, in their order.
    pub waiting: VecDeque<Arc<InFlight>>,
    /// How many were taken and are not finished.
    pub busy: usize,
    /// Whether it is in the list of those from which a worker may take.
    pub is_listed: bool,
}

impl Line {
    /// Whether nothing is known of it that matters.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.busy == 0
    }
}
