//! Waiting for the end of a call: by a thread until it ends, or by having it reported.

use crate::foundation::payload::id::Id;
use crate::foundation::runtime::reports::Watcher;
use crate::foundation::runtime::sync::{Condvar, Mutex};
use crate::foundation::runtime::waker::Waker;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Set from another thread to end a wait.
#[derive(Debug, Default)]
pub struct Interrupt(AtomicBool);

impl Interrupt {
    /// Ends the wait; the waiter must be woken besides.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was set since the last call.
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Why a wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waited<O> {
    /// The call has ended.
    Done(O),
    /// The time is up.
    TimeUp,
    /// [`Interrupt::set`] was called.
    Interrupted,
}

/// How a call ended (`O`), once it has, and how far it has come (`P`).
#[derive(Debug)]
pub struct Ending<O, P> {
    state: Mutex<State<O, P>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<O, P> {
    outcome: Option<O>,
    progress: P,
    watchers: Vec<Watcher>,
    /// Wakes the waiter that reads for itself.
    waker: Option<Arc<Waker>>,
}

impl<O, P> State<O, P> {
    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }
}

impl<O: Clone, P> Ending<O, P> {
    /// That of a call that has come so far.
    pub fn new(progress: P) -> Self {
        let state = State { outcome: None, progress, watchers: Vec::new(), waker: None };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits for the end of the call, at most until `until`.
    pub fn wait(&self, until: Instant, interrupt: &Interrupt) -> Waited<O> {
        let mut state = self.state.lock();
        loop {
            if let Some(outcome) = &state.outcome {
                return Waited::Done(outcome.clone());
            }
            if interrupt.take() {
                return Waited::Interrupted;
            }
            if Instant::now() >= until {
                return Waited::TimeUp;
            }
            state = self.changed.wait_until(state, until);
        }
    }

    /// Wakes the waiters, so they notice an interrupt.
    pub fn wake(&self) {
        self.state.lock().wake();
        self.changed.notify_all();
    }

    /// From now on `waker` is woken when the call ends or its waiter is to be woken. The outcome, if it has ended.
    pub fn hang(&self, waker: &Arc<Waker>) -> Option<O> {
        let mut state = self.state.lock();
        if state.outcome.is_none() {
            state.waker = Some(Arc::clone(waker));
        }
        state.outcome.clone()
    }

    /// The waker is woken no more.
    pub fn unhang(&self) {
        self.state.lock().waker = None;
    }

    /// The outcome, if it is known.
    pub fn outcome(&self) -> Option<O> {
        self.state.lock().outcome.clone()
    }

    /// Whether the call has ended.
    pub fn has_come(&self) -> bool {
        self.state.lock().outcome.is_some()
    }

    /// Ends the call `id`, unless it has ended before or `condition` is against it.
    pub fn settle(&self, id: Id, condition: impl FnOnce(&P) -> bool, outcome: impl FnOnce() -> O) -> bool {
        let settled = self.settle_quietly(id, condition, outcome);
        if settled {
            self.rouse();
        }
        settled
    }

    /// As [`Ending::settle`], but leaves the threads that wait asleep, until [`Ending::rouse`].
    pub fn settle_quietly(
        &self,
        id: Id,
        condition: impl FnOnce(&P) -> bool,
        outcome: impl FnOnce() -> O,
    ) -> bool {
        let watchers = {
            let mut state = self.state.lock();
            if state.outcome.is_some() || !condition(&state.progress) {
                return false;
            }
            state.outcome = Some(outcome());
            state.wake();
            std::mem::take(&mut state.watchers)
        };
        watchers.iter().for_each(|watcher| watcher.tell(id));
        true
    }

    /// Wakes the threads that wait, now that the call has ended.
    pub fn rouse(&self) {
        self.changed.notify_all();
    }

    /// Whether a thread waits asleep.
    pub fn is_awaited(&self) -> bool {
        self.changed.is_awaited()
    }

    /// Has `watcher` told of the end of the call; false if it has ended already.
    pub fn watch(&self, watcher: Watcher) -> bool {
        let mut state = self.state.lock();
        if state.outcome.is_some() {
            return false;
        }
        state.watchers.push(watcher);
        true
    }

    /// Reads or notes how far the call has come; `note` also gets the outcome, if it is known.
    pub fn progress<T>(&self, note: impl FnOnce(&mut P, Option<&O>) -> T) -> T {
        let state = &mut *self.state.lock();
        note(&mut state.progress, state.outcome.as_ref())
    }
}
