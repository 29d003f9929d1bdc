//! Waiting for the end of a call: a thread waits, or the end is reported.

use crate::foundation::payload::id::Id;
use crate::foundation::runtime::reports::Watcher;
use crate::foundation::runtime::sync::{Condvar, Mutex};
use crate::foundation::runtime::waker::Waker;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A flag that another thread sets to end a wait.
#[derive(Debug, Default)]
pub struct Interrupt(AtomicBool);

impl Interrupt {
    /// Sets the flag. The waiter must be woken as well.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the flag was set since the last call. This clears it.
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }

    /// Whether the flag is set.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// The reason why a wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waited<O> {
    /// The call has ended.
    Done(O),
    /// The time is over.
    TimeUp,
    /// [`Interrupt::set`] was called.
    Interrupted,
}

/// The outcome of a call (`O`), once it has ended, and its progress (`P`).
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
    /// Wakes the waiter that reads its answer itself.
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
    /// Creates the state of a call that has made this progress.
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

    /// Wakes the waiters, so that they notice an interrupt.
    pub fn wake(&self) {
        self.state.lock().wake();
        self.changed.notify_all();
    }

    /// Registers `waker`, which is woken when the call ends or its waiter must wake. Returns the outcome if the call
    /// has ended.
    pub fn register_waker(&self, waker: &Arc<Waker>) -> Option<O> {
        let mut state = self.state.lock();
        if state.outcome.is_none() {
            state.waker = Some(Arc::clone(waker));
        }
        state.outcome.clone()
    }

    /// Removes the registered waker.
    pub fn unregister_waker(&self) {
        self.state.lock().waker = None;
    }

    /// Returns the outcome. `None` while the call is open.
    pub fn outcome(&self) -> Option<O> {
        self.state.lock().outcome.clone()
    }

    /// Whether the call has ended.
    pub fn has_ended(&self) -> bool {
        self.state.lock().outcome.is_some()
    }

    /// Ends the call `id`, unless it has ended before or `condition` returns false.
    pub fn settle(&self, id: Id, condition: impl FnOnce(&P) -> bool, outcome: impl FnOnce() -> O) -> bool {
        let settled = self.settle_quietly(id, condition, outcome);
        if settled {
            self.rouse();
        }
        settled
    }

    /// Ends the call like [`Ending::settle`], but leaves waiting threads asleep until [`Ending::rouse`].
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

    /// Wakes the waiting threads, now that the call has ended.
    pub fn rouse(&self) {
        self.changed.notify_all();
    }

    /// Whether a thread sleeps until the call ends.
    pub fn is_awaited(&self) -> bool {
        self.changed.is_awaited()
    }

    /// Registers `watcher` for the end of the call. Returns false if the call has ended already.
    pub fn watch(&self, watcher: Watcher) -> bool {
        let mut state = self.state.lock();
        if state.outcome.is_some() {
            return false;
        }
        state.watchers.push(watcher);
        true
    }

    /// Reads or changes the progress. `note` also gets the outcome, if the call has ended.
    pub fn progress<T>(&self, note: impl FnOnce(&mut P, Option<&O>) -> T) -> T {
        let state = &mut *self.state.lock();
        note(&mut state.progress, state.outcome.as_ref())
    }
}
