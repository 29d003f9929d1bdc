//! Whether a consumer takes events: an operator may have it pause.

use crate::foundation::runtime::sync::{Condvar, Mutex};
use crate::foundation::runtime::waiting::Interrupt;

/// A switch that workers wait at.
#[derive(Debug, Default)]
pub struct Pause {
    paused: Mutex<bool>,
    changed: Condvar,
}

impl Pause {
    /// Pauses, or goes on.
    pub fn set(&self, paused: bool) {
        *self.paused.lock() = paused;
        self.changed.notify_all();
    }

    /// Whether it pauses.
    pub fn is_set(&self) -> bool {
        *self.paused.lock()
    }

    /// Has the waiting threads look at their interrupts.
    pub fn wake(&self) {
        drop(self.paused.lock());
        self.changed.notify_all();
    }

    /// Waits until it is over. False if the thread was interrupted.
    pub fn wait(&self, interrupt: &Interrupt) -> bool {
        let mut paused = self.paused.lock();
        while *paused {
            if interrupt.take() {
                return false;
            }
            paused = self.changed.wait(paused);
        }
        true
    }
}
