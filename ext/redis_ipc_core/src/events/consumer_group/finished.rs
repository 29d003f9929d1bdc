//! Events that are done and wait to be acknowledged together. A command for each would cost more than a quick handler.

use crate::events::consumer_group::acknowledgement::{Acknowledge, Writer};
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::runtime::sync::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most events that are acknowledged together.
const TOGETHER: usize = 256;
/// About how long an event waits for others.
const WAIT: Duration = Duration::from_millis(1);

/// Events that are done and not acknowledged.
#[derive(Default)]
pub struct Finished(Mutex<State>);

#[derive(Default)]
struct State {
    ids: Vec<StreamId>,
    due: Option<Instant>,
    is_closed: bool,
}

impl Finished {
    /// Adds events. They are acknowledged now, together with the next ones, or after [`WAIT`] by the timer thread,
    /// which `wake` wakes. Returns false if nothing is acknowledged any more.
    pub fn add(&self, ids: Vec<StreamId>, writer: &Arc<Writer>, wake: impl FnOnce()) -> bool {
        let mut state = self.0.lock();
        if state.is_closed {
            return ids.is_empty();
        }
        state.ids.extend(ids);
        if state.ids.is_empty() {
            return true;
        }
        let now = Instant::now();
        let is_first = state.due.is_none();
        let due = *state.due.get_or_insert(now + WAIT);
        if state.ids.len() < TOGETHER && now < due {
            drop(state);
            if is_first {
                wake();
            }
            return true;
        }
        let together = state.take();
        drop(state);
        writer.send(Acknowledge(together))
    }

    /// Returns when the waiting events are to be acknowledged.
    pub fn due(&self) -> Option<Instant> {
        self.0.lock().due
    }

    /// Acknowledges the events that are due.
    pub fn send_due(&self, writer: &Arc<Writer>) {
        let mut state = self.0.lock();
        if state.due.is_some_and(|due| due <= Instant::now()) {
            let together = state.take();
            drop(state);
            writer.send(Acknowledge(together));
        }
    }

    /// Acknowledges the waiting events, and accepts no more.
    pub fn close(&self, writer: &Arc<Writer>) {
        let mut state = self.0.lock();
        state.is_closed = true;
        let together = state.take();
        drop(state);
        if !together.is_empty() {
            writer.send(Acknowledge(together));
        }
    }
}

impl State {
    fn take(&mut self) -> Vec<StreamId> {
        self.due = None;
        std::mem::take(&mut self.ids)
    }
}
