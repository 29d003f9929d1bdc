//! The switch by which an operator pauses a consumer.

use crate::foundation::runtime::sync::{Condvar, Mutex};
use crate::foundation::runtime::waiting::Interrupt;

/// A switch that workers wait for while it is on.
#[derive(Debug, Default)]
pub struct Pause {
    paused: Mutex<bool>,
    changed: Condvar,
}

impl Pause {
    /// Switches the pause on or off.
    pub fn set(&self, paused: bool) {
        *self.paused.lock() = paused;
        self.changed.notify_all();
    }

    /// Whether the consumer pauses.
    pub fn is_set(&self) -> bool {
        *self.paused.lock()
    }

    /// Wakes the waiting threads, so that they notice an interrupt.
    pub fn wake(&self) {
        drop(self.paused.lock());
        self.changed.notify_all();
    }

    /// Waits until the pause is over. Returns false if the thread was interrupted.
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
