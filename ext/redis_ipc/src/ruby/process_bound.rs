//! Values that are bound to one process. In a forked child their threads do not exist, and their locks may be held for
//! ever.

use crate::ruby::errors;
use crate::ruby::gvl::{process_id, wait_for_thread};
use crate::ruby::reports::{NativeReport, counters};
use magnus::{Error, RHash, Ruby};
use redis_ipc_core::{Error as CoreError, Running};
use std::sync::Arc;

/// A value that only the process that created it can use. A forked child leaks it, because dropping it would use it.
pub struct ProcessBound<T> {
    value: Option<T>,
    pid: u32,
    why: &'static str,
}

impl<T> ProcessBound<T> {
    /// Binds `value` to this process.
    pub fn new(value: T) -> Self {
        let why = "it was connected before this process was forked; connect it again here";
        Self { value: Some(value), pid: process_id(), why }
    }

    /// Sets the reason that the error gives in a forked child.
    pub fn saying(self, why: &'static str) -> Self {
        let mut bound = self;
        bound.why = why;
        bound
    }

    /// Returns the value.
    ///
    /// # Errors
    ///
    /// NotConnectedError in a forked child.
    pub fn get(&self, ruby: &Ruby) -> Result<&T, Error> {
        self.get_or(ruby, self.why)
    }

    /// Like [`ProcessBound::get`], with a reason for the error.
    ///
    /// # Errors
    ///
    /// NotConnectedError in a forked child.
    pub fn get_or(&self, ruby: &Ruby, why: &str) -> Result<&T, Error> {
        self.own().ok_or_else(|| errors::forked(ruby, why))
    }

    /// Returns the value if this is the process that created it.
    pub fn own(&self) -> Option<&T> {
        self.value.as_ref().filter(|_| self.pid == process_id())
    }

    /// Returns the value if this process is a fork of the one that created it.
    pub fn inherited(&self) -> Option<&T> {
        self.value.as_ref().filter(|_| self.pid != process_id())
    }
}

impl<T: Send + Sync + 'static> ProcessBound<Arc<T>> {
    /// Runs `start` in a thread of its own, and binds what it returns. If Ruby interrupts the wait, nobody will use
    /// that value, so it is closed. The same holds if the interrupt comes after the wait, while this thread waits for
    /// the GVL.
    ///
    /// # Errors
    ///
    /// That of `start`, or the interrupt.
    pub fn start(
        ruby: &Ruby,
        start: impl FnOnce() -> Result<T, CoreError> + Send + 'static,
        close: fn(&T),
    ) -> Result<Self, Error> {
        let unclaimed = move |started: Result<T, CoreError>| started.iter().for_each(close);
        let started = wait_for_thread(ruby, start, unclaimed)?;
        let value = Arc::new(started.map_err(|error| errors::raise(ruby, &error))?);
        if let Err(interrupt) = ruby.thread_check_ints() {
            // If no thread can be started, the value is dropped without being closed.
            let _ = std::thread::Builder::new().spawn(move || close(&value));
            return Err(interrupt);
        }
        Ok(Self::new(value))
    }

    /// Runs `work` in a thread of its own, so that Ruby can interrupt the wait for it.
    ///
    /// # Errors
    ///
    /// NotConnectedError in a forked child, or the interrupt.
    pub fn apart<R: Send + 'static>(
        &self,
        ruby: &Ruby,
        work: impl FnOnce(&T) -> R + Send + 'static,
    ) -> Result<R, Error> {
        let value = Arc::clone(self.get(ruby)?);
        wait_for_thread(ruby, move || work(&value), drop)
    }

    /// Like [`ProcessBound::apart`], for work that can fail.
    ///
    /// # Errors
    ///
    /// Those of `apart`, and that of `work`.
    pub fn inquire<R: Send + 'static>(
        &self,
        ruby: &Ruby,
        work: impl FnOnce(&T) -> Result<R, CoreError> + Send + 'static,
    ) -> Result<R, Error> {
        self.apart(ruby, work)?.map_err(|error| errors::raise(ruby, &error))
    }
}

/// The methods that every running part of the core has in Ruby.
impl<T: Running> ProcessBound<Arc<T>> {
    /// Waits for the next report. Returns nil once no more come.
    pub fn next_report(&self, ruby: &Ruby) -> Result<Option<NativeReport>, Error> {
        NativeReport::fetch(ruby, &self.get(ruby)?.endpoint().reports)
    }

    /// Returns the counters as a Hash.
    pub fn stats(&self, ruby: &Ruby) -> Result<RHash, Error> {
        counters(ruby, self.get(ruby)?.stats())
    }

    /// Returns how long things took and how calls ended, as JSON.
    pub fn details(&self, ruby: &Ruby) -> Result<String, Error> {
        Ok(self.get(ruby)?.details().to_string())
    }

    /// Takes no more work, and gives back what was not started.
    pub fn quiet(&self, ruby: &Ruby) -> Result<(), Error> {
        self.apart(ruby, T::quiet)
    }

    /// Ends what is open, and closes.
    pub fn close(&self, ruby: &Ruby) -> Result<(), Error> {
        self.apart(ruby, T::close)
    }

    /// Returns the descriptors of the parent's sockets if this is a forked child. Elsewhere there are none.
    pub fn inherited_sockets(&self) -> Vec<i32> {
        self.inherited().map(|running| running.inherited_sockets()).unwrap_or_default()
    }

    /// Whether it takes part. In a forked child it does not.
    pub fn is_connected(&self) -> bool {
        self.own().is_some_and(|running| running.is_connected())
    }
}

impl<T> Drop for ProcessBound<T> {
    fn drop(&mut self) {
        if self.pid != process_id() {
            std::mem::forget(self.value.take());
        }
    }
}
