//! What belongs to one process: in a forked child its threads do not exist and its locks may be held for ever.

use crate::errors;
use magnus::{Error, Ruby};
use std::sync::Arc;

/// Something shared between threads of the process that made it, and leaked in a forked child.
pub struct ProcessBound<T> {
    value: Option<Arc<T>>,
    pid: u32,
}

impl<T> ProcessBound<T> {
    /// Bound to this process.
    pub fn new(value: T) -> Self {
        Self { value: Some(Arc::new(value)), pid: std::process::id() }
    }

    /// The value, in its own process.
    pub fn get(&self, ruby: &Ruby) -> Result<&Arc<T>, Error> {
        self.own().ok_or_else(|| {
            errors::forked(ruby, "it was connected before this process was forked; connect it again here")
        })
    }

    /// The value, if this is its own process.
    pub fn own(&self) -> Option<&Arc<T>> {
        self.value.as_ref().filter(|_| self.pid == std::process::id())
    }

    /// The value, if this process is a fork of its own.
    pub fn inherited(&self) -> Option<&Arc<T>> {
        self.value.as_ref().filter(|_| self.pid != std::process::id())
    }
}

impl<T> Drop for ProcessBound<T> {
    fn drop(&mut self) {
        if self.pid != std::process::id() {
            std::mem::forget(self.value.take());
        }
    }
}
