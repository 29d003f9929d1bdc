//! Wakes a thread that pauses between its tasks.

use crossbeam_channel::{Receiver, Sender, bounded};

/// Wakes the thread that waits for [`Nudge::receiver`].
#[derive(Debug)]
pub struct Nudge {
    sender: Sender<()>,
    receiver: Receiver<()>,
}

impl Default for Nudge {
    fn default() -> Self {
        let (sender, receiver) = bounded(1);
        Self { sender, receiver }
    }
}

impl Nudge {
    /// Wakes the thread now, or as soon as it pauses.
    pub fn give(&self) {
        // If there is no room, it was woken already.
        let _ = self.sender.try_send(());
    }

    /// Receives something when the thread was woken.
    pub fn receiver(&self) -> &Receiver<()> {
        &self.receiver
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_woken_once_for_all_that_was_given() {
        let nudge = Nudge::default();
        nudge.give();
        nudge.give();
        assert_eq!((nudge.receiver().try_recv().is_ok(), nudge.receiver().try_recv().is_ok()), (true, false));
    }
}
