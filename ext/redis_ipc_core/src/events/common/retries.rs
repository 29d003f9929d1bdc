//! Events that failed and wait for their next try.

use crate::events::common::in_flight::InFlight;
use crate::foundation::runtime::sync::Mutex;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// If this many events wait, no more events are taken. They are held in memory.
const MOST: usize = 10_000;
/// The most events that are tried again at once, because the leases must not wait for more.
const AT_ONCE: usize = 100;

/// The events that wait for their next try, in the order of their times.
pub struct Retries {
    state: Mutex<State>,
    wake: (Sender<()>, Receiver<()>),
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<(Instant, u64), Arc<InFlight>>,
    /// A number that orders two events that are due at the same time.
    next: u64,
}

impl Retries {
    /// Creates an empty queue.
    pub fn new() -> Self {
        Self { state: Mutex::default(), wake: bounded(1) }
    }

    /// Adds an event that is tried again at `due`.
    pub fn add(&self, event: Arc<InFlight>, due: Instant) {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        state.waiting.insert((due, number), event);
        drop(state);
        self.wake();
    }

    /// Returns when the next event is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.state.lock().waiting.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes the events that are due by now, at most [`AT_ONCE`].
    pub fn take_due(&self) -> Vec<Arc<InFlight>> {
        let (mut state, now) = (self.state.lock(), Instant::now());
        let mut due = Vec::new();
        while due.len() < AT_ONCE
            && let Some(first) = state.waiting.first_entry()
            && first.key().0 <= now
        {
            due.push(first.remove());
        }
        due
    }

    /// Wakes the thread that waits for retries.
    pub fn wake(&self) {
        // A thread that has been woken checks everything anyway.
        let _ = self.wake.0.try_send(());
    }

    /// Makes all events due.
    pub fn hasten(&self) {
        let (mut state, now) = (self.state.lock(), Instant::now());
        let waiting = std::mem::take(&mut state.waiting);
        state.waiting = waiting.into_iter().map(|((_, number), event)| ((now, number), event)).collect();
        drop(state);
        self.wake();
    }

    /// Returns how many events wait.
    pub fn len(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Whether so many events wait that no more should be taken.
    pub fn are_full(&self) -> bool {
        self.len() >= MOST
    }

    /// Returns the receiver that gets a message when an event is added.
    pub fn added(&self) -> &Receiver<()> {
        &self.wake.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::payload::fields::Fields;
    use crate::foundation::payload::stream_entry::StreamId;
    use std::time::Duration;

    #[test]
    fn they_come_when_they_are_due_and_in_that_order() {
        let (retries, now) = (Retries::new(), Instant::now());
        let event = |seq| Arc::new(InFlight::new(StreamId { ms: 1, seq }, Fields::default(), 1, 1));
        retries.add(event(1), now + Duration::from_secs(60));
        retries.add(event(2), now);
        retries.add(event(3), now - Duration::from_secs(1));
        assert!(retries.added().try_recv().is_ok());
        let due: Vec<u64> = retries.take_due().iter().map(|event| event.id.seq).collect();
        assert_eq!(due, [3, 2]);
        assert_eq!(retries.next_due(), Some(now + Duration::from_secs(60)));
        assert!(!retries.are_full());
    }
}
