//! Events that are done, on the way to be acknowledged together: a command for each costs more than a quick handler.

use crate::events::consumer_group::acknowledgement::{Acknowledge, Writer};
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::runtime::sync::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many events are acknowledged together, at most.
const TOGETHER: usize = 256;
/// How long an event waits for others, about.
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
    /// Adds events. They are acknowledged by now, with the next ones, or by the timer thread after [`WAIT`], which `wake`
    /// wakes. Returns false if nothing is acknowledged any more.
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

    /// Returns when the events are to be acknowledged that wait.
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

    /// Acknowledges the events that wait, and takes no more.
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
