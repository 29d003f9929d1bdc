//! The open calls of one client: who waits for which answer, until when, and how it ended.

use crate::error::{Error, Fate};
use crate::ledger::Interrupt;
use crate::list::options::MAX_TIMEOUT;
use crate::sync::{Condvar, Mutex};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a call ended: the text of its answer, empty where only its way to Redis was waited for.
pub type Outcome = Result<Arc<Vec<u8>>, Error>;

/// Why a wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waited {
    /// The call has ended.
    Done(Outcome),
    /// The time is up.
    TimeUp,
    /// [`Interrupt::set`] was called.
    Interrupted,
}

/// One open call: a request, a batch or a notification.
#[derive(Debug)]
pub struct Pending {
    /// The ids of its requests; none for a notification.
    pub ids: Range<u64>,
    /// What is sent.
    pub text: Vec<u8>,
    /// When the caller gives up.
    pub deadline: Instant,
    /// When the call was made.
    pub asked: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Some of it may have reached Redis.
    written: bool,
    outcome: Option<Outcome>,
    /// What Redis said when it was withdrawn.
    fate: Option<Fate>,
}

impl Pending {
    /// A call that is made now. It waits for [`MAX_TIMEOUT`] at most.
    pub fn new(ids: Range<u64>, text: Vec<u8>, timeout: Duration) -> Self {
        let asked = Instant::now();
        let deadline = asked.checked_add(timeout.min(MAX_TIMEOUT)).unwrap_or(asked);
        Self { ids, text, asked, deadline, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Whether nothing but its way to Redis is waited for.
    pub fn is_notification(&self) -> bool {
        self.ids.is_empty()
    }

    /// Waits for the end of the call, at most until its deadline.
    pub fn wait(&self, interrupt: &Interrupt) -> Waited {
        let mut state = self.state.lock();
        loop {
            if let Some(outcome) = &state.outcome {
                return Waited::Done(outcome.clone());
            }
            if interrupt.take() {
                return Waited::Interrupted;
            }
            if Instant::now() >= self.deadline {
                return Waited::TimeUp;
            }
            state = self.changed.wait_until(state, self.deadline);
        }
    }

    /// Waits until its withdrawal was answered, at most until `until`.
    pub fn wait_for_fate(&self, until: Instant) -> Fate {
        let mut state = self.state.lock();
        while state.fate.is_none() && Instant::now() < until {
            state = self.changed.wait_until(state, until);
        }
        state.fate.unwrap_or(Fate::Unknown)
    }

    /// Wakes the waiter, so that it notices an interrupt.
    pub fn wake(&self) {
        drop(self.state.lock());
        self.changed.notify_all();
    }

    /// Ends the call; the first end counts. False if it had ended before.
    pub fn finish(&self, outcome: Outcome) -> bool {
        let mut state = self.state.lock();
        if state.outcome.is_some() {
            return false;
        }
        state.outcome = Some(outcome);
        drop(state);
        self.changed.notify_all();
        true
    }

    /// Notes what Redis said when it was withdrawn.
    pub fn withdrawn(&self, fate: Fate) {
        self.state.lock().fate = Some(fate);
        self.changed.notify_all();
    }

    /// Notes that it is being written; false if the call has ended and nothing may be sent.
    pub fn writing(&self) -> bool {
        let mut state = self.state.lock();
        state.written |= state.outcome.is_none();
        state.outcome.is_none()
    }

    /// Notes that it did not reach Redis after all.
    pub fn not_sent(&self) {
        self.state.lock().written = false;
    }

    /// Whether some of it may have reached Redis.
    pub fn was_written(&self) -> bool {
        self.state.lock().written
    }
}

/// The open calls, by the ids of their requests.
#[derive(Debug, Default)]
pub struct PendingCalls(Mutex<HashMap<u64, Arc<Pending>>>);

impl PendingCalls {
    /// Opens a call.
    pub fn open(&self, pending: &Arc<Pending>) {
        let mut open = self.0.lock();
        for id in pending.ids.clone() {
            open.insert(id, Arc::clone(pending));
        }
    }

    /// Closes the call that one of `ids` belongs to, so that no further answer is accepted for it.
    pub fn close(&self, ids: impl IntoIterator<Item = u64>) -> Option<Arc<Pending>> {
        let mut open = self.0.lock();
        let pending = ids.into_iter().find_map(|id| open.remove(&id))?;
        for id in pending.ids.clone() {
            open.remove(&id);
        }
        Some(pending)
    }

    /// Closes every call.
    pub fn close_all(&self) -> Vec<Arc<Pending>> {
        self.0.lock().drain().map(|(_, pending)| pending).collect()
    }

    /// How many requests are open.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_closed_by_any_of_its_ids() {
        let calls = PendingCalls::default();
        calls.open(&Arc::new(Pending::new(3..6, Vec::new(), Duration::from_secs(1))));
        assert_eq!(calls.len(), 3);
        assert!(calls.close([9, 4]).is_some_and(|pending| pending.ids == (3..6)));
        assert!(calls.is_empty());
        assert!(calls.close([3]).is_none());
    }

    #[test]
    fn the_first_end_counts_and_ends_the_wait() {
        let pending = Pending::new(0..1, Vec::new(), Duration::from_secs(60));
        let answer = Ok(Arc::new(b"1".to_vec()));
        assert!(pending.finish(answer.clone()));
        assert!(!pending.finish(Ok(Arc::default())));
        assert_eq!(pending.wait(&Interrupt::default()), Waited::Done(answer));
        assert!(!pending.writing(), "what has ended is not sent");
    }

    #[test]
    fn no_timeout_is_too_long() {
        let pending = Pending::new(0..1, Vec::new(), Duration::MAX);
        assert_eq!(pending.deadline - pending.asked, MAX_TIMEOUT);
    }

    #[test]
    fn a_wait_ends_at_the_deadline() {
        let pending = Pending::new(0..1, Vec::new(), Duration::from_millis(1));
        assert_eq!(pending.wait(&Interrupt::default()), Waited::TimeUp);
        assert_eq!(pending.wait_for_fate(Instant::now()), Fate::Unknown);
        pending.withdrawn(Fate::Unclaimed);
        assert_eq!(pending.wait_for_fate(Instant::now()), Fate::Unclaimed);
    }
}
