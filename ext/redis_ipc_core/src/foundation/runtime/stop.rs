//! The signal that ends the threads of an engine, and the pauses that it ends early.

use crate::foundation::runtime::sync::Mutex;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};
use std::sync::Arc;
use std::time::Duration;

/// A stop signal. It is raised once, by dropping the sender, and ends every pause, now and later. A clone is the same
/// signal.
#[derive(Debug, Clone)]
pub struct Stop {
    sender: Arc<Mutex<Option<Sender<()>>>>,
    receiver: Receiver<()>,
}

impl Default for Stop {
    /// Creates a signal that is not raised.
    fn default() -> Self {
        let (sender, receiver) = bounded(0);
        Self { sender: Arc::new(Mutex::new(Some(sender))), receiver }
    }
}

impl Stop {
    /// Raises the signal. Every pause, now and later, ends at once.
    pub fn stop(&self) {
        self.sender.lock().take();
    }

    /// Whether the signal was raised.
    pub fn is_stopped(&self) -> bool {
        self.sender.lock().is_none()
    }

    /// Waits like [`Stop::pause`], but ends early when `wake` receives something.
    pub fn pause_or(&self, time: Duration, wake: &Receiver<()>) -> bool {
        select! {
            recv(self.receiver) -> _ => true,
            recv(wake) -> _ => self.is_stopped(),
            default(time) => false,
        }
    }

    /// Waits for `time`. Returns true if the signal was raised.
    pub fn pause(&self, time: Duration) -> bool {
        matches!(self.receiver.recv_timeout(time), Err(RecvTimeoutError::Disconnected))
    }
}
