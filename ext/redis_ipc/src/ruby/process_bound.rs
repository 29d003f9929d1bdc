//! What belongs to one process: in a forked child its threads do not exist and its locks may be held for ever.

use crate::ruby::errors;
use crate::ruby::gvl::{process_id, wait_for_thread};
use crate::ruby::reports::{NativeReport, counters};
use magnus::{Error, RHash, Ruby};
use redis_ipc_core::{Error as CoreError, Running};
use std::sync::Arc;

/// A value of the process that made it. A forked child cannot use it, and leaks it.
pub struct ProcessBound<T> {
    value: Option<T>,
    pid: u32,
    why: &'static str,
}

impl<T> ProcessBound<T> {
    /// Bound to this process.
    pub fn new(value: T) -> Self {
        let why = "it was connected before this process was forked; connect it again here";
        Self { value: Some(value), pid: process_id(), why }
    }

    /// The same, which says `why` a forked child cannot use it.
    pub fn saying(self, why: &'static str) -> Self {
        let mut bound = self;
        bound.why = why;
        bound
    }

    /// The value, in its own process.
    ///
    /// # Errors
    ///
    /// NotConnectedError in a forked child.
    pub fn get(&self, ruby: &Ruby) -> Result<&T, Error> {
        self.get_or(ruby, self.why)
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
        self.value.as_ref().filter(|_| self.pid == process_id())
    }

    /// The value, if this process is a fork of its own.
    pub fn inherited(&self) -> Option<&T> {
        self.value.as_ref().filter(|_| self.pid != process_id())
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

    /// Runs `work` in a thread of its own, so that Ruby can interrupt the wait for it.
    ///
    /// # Errors
    ///
    /// NotConnectedError in a forked child, and what interrupted the wait.
    pub fn apart<R: Send + 'static>(
        &self,
        ruby: &Ruby,
        work: impl FnOnce(&T) -> R + Send + 'static,
    ) -> Result<R, Error> {
        let value = Arc::clone(self.get(ruby)?);
        wait_for_thread(ruby, move || work(&value), drop)
    }

    /// As [`ProcessBound::apart`], for work that can fail.
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

/// What every running part of the core does for Ruby.
impl<T: Running> ProcessBound<Arc<T>> {
    /// The next report; nil at the end.
    pub fn next_report(&self, ruby: &Ruby) -> Result<Option<NativeReport>, Error> {
        NativeReport::fetch(ruby, &self.get(ruby)?.endpoint().reports)
    }

    /// The counters, a Hash.
    pub fn stats(&self, ruby: &Ruby) -> Result<RHash, Error> {
        counters(ruby, self.get(ruby)?.stats())
    }

    /// Takes no more work.
    pub fn quiet(&self, ruby: &Ruby) -> Result<(), Error> {
        self.apart(ruby, T::quiet)
    }

    /// Ends everything.
    pub fn close(&self, ruby: &Ruby) -> Result<(), Error> {
        self.apart(ruby, T::close)
    }

    /// In a forked child: the descriptors of its parent's sockets; none elsewhere.
    pub fn inherited_sockets(&self) -> Vec<i32> {
        self.inherited().map(|running| running.inherited_sockets()).unwrap_or_default()
    }

    /// Whether it takes part; not in a forked child.
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
