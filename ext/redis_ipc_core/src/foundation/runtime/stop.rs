//! The signal that ends the threads of an engine, and the pauses it cuts short.

use crate::foundation::runtime::sync::Mutex;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::sync::Arc;
use std::time::Duration;

/// Raised once, by dropping the sender: every pause, now and later, ends at once. A clone is the same signal.
#[derive(Debug, Clone)]
pub struct Stop {
    sender: Arc<Mutex<Option<Sender<()>>>>,
    receiver: Receiver<()>,
}

impl Stop {
    /// Not stopped.
    pub fn new() -> Self {
        let (sender, receiver) = bounded(0);
        Self { sender: Arc::new(Mutex::new(Some(sender))), receiver }
    }

    /// Stops: every pause, now and later, ends at once.
    pub fn stop(&self) {
        self.sender.lock().take();
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        self.sender.lock().is_none()
    }

    /// Waits for `time`; true if stopped.
    pub fn pause(&self, time: Duration) -> bool {
        matches!(self.receiver.recv_timeout(time), Err(RecvTimeoutError::Disconnected))
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}
