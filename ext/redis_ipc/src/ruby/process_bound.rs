//! What belongs to one process: in a forked child its threads do not exist and its locks may be held for ever.

use crate::ruby::errors;
use crate::ruby::gvl::wait_for_thread;
use magnus::{Error, Ruby};
use redis_ipc_core::Error as CoreError;
use std::sync::Arc;

/// A value of the process that made it. A forked child cannot use it, and leaks it.
pub struct ProcessBound<T> {
    value: Option<T>,
    pid: u32,
}

impl<T> ProcessBound<T> {
    /// Bound to this process.
    pub fn new(value: T) -> Self {
        Self { value: Some(value), pid: std::process::id() }
    }

    /// The value, in its own process.
    ///
    /// # Errors
    ///
    /// NotConnectedError in a forked child.
    pub fn get(&self, ruby: &Ruby) -> Result<&T, Error> {
        self.get_or(ruby, "it was connected before this process was forked; connect it again here")
    }

    /// As [`ProcessBound::get`]; the error says `why`.
    ///
    /// # Errors
    ///
    /// NotConnectedError in a forked child.
    pub fn get_or(&self, ruby: &Ruby, why: &str) -> Result<&T, Error> {
        self.own().ok_or_else(|| errors::forked(ruby, why))
    }

    /// The value, if this is its own process.
    pub fn own(&self) -> Option<&T> {
        self.value.as_ref().filter(|_| self.pid == std::process::id())
    }

    /// The value, if this process is a fork of its own.
    pub fn inherited(&self) -> Option<&T> {
        self.value.as_ref().filter(|_| self.pid != std::process::id())
    }
}

impl<T: Send + Sync + 'static> ProcessBound<Arc<T>> {
    /// What `start` makes, in a thread of its own. If Ruby interrupts the wait for it, nobody will ever use it: then it is
    /// closed. So it is if the interrupt came after the wait, while this thread waited for the GVL.
    ///
    /// # Errors
    ///
    /// That of `start`, and what interrupted the wait.
    pub fn start(
        ruby: &Ruby,
        start: impl FnOnce() -> Result<T, CoreError> + Send + 'static,
        close: fn(&T),
    ) -> Result<Self, Error> {
        let unclaimed = move |started: Result<T, CoreError>| started.iter().for_each(close);
        let started = wait_for_thread(ruby, start, unclaimed)?;
        let value = Arc::new(started.map_err(|error| errors::raise(ruby, &error))?);
        if let Err(interrupt) = ruby.thread_check_ints() {
            // If there can be no thread, it ends without being closed.
            let _ = std::thread::Builder::new().spawn(move || close(&value));
            return Err(interrupt);
        }
        Ok(Self::new(value))
    }
}

impl<T> Drop for ProcessBound<T> {
    fn drop(&mut self) {
        if self.pid != std::process::id() {
            std::mem::forget(self.value.take());
        }
    }
}
