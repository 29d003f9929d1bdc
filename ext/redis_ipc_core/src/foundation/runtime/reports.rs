//! Reports from the core to the user: errors that no caller gets, the ends of outages, losses, handlers that outlast
//! deadlines, and the ends of watched calls.

use crate::error::Error;
use crate::foundation::payload::id::Id;
use crate::foundation::payload::loss::Loss;
use crossbeam_channel::{Receiver, Sender, bounded, select_biased, unbounded};
use std::time::Duration;

/// The most reports that may wait for the user. Further failures are dropped and counted.
const WAITING: usize = 10_000;

/// A report to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// An error that no caller gets.
    Failure(Error),
    /// A watched call has ended.
    Settled(Id),
    /// All connections are up again, after an outage of this length.
    Reconnected(Duration),
    /// Events may be missing.
    Loss(Loss),
    /// The deadline of this entry has passed, and its handler still runs.
    Overrun(String),
    /// The handler of this entry runs for long: where it is, is to be noted for the record.
    Slow(String),
}

/// The receiver of the end of a watched call. An end is never dropped for want of room, because a callback or a fiber
/// depends on it.
#[derive(Debug, Clone)]
pub enum Watcher {
    /// The queue of all reports.
    Reports(Sender<Report>),
    /// A queue that carries only ends of calls.
    Ends(Sender<Id>),
}

impl Watcher {
    /// Sends that the call `id` has ended. It never blocks.
    pub fn tell(&self, id: Id) {
        match self {
            Self::Reports(sender) => send(sender, Report::Settled(id)),
            Self::Ends(sender) => send(sender, id),
        }
    }
}

fn send<T>(sender: &Sender<T>, message: T) {
    // The other end lives as long as the engine. After that there is no receiver left.
    let _ = sender.send(message);
}

/// A queue. It never blocks who sends, and any number of threads may fetch from it.
#[derive(Debug)]
pub struct Mailbox<T> {
    sender: Sender<T>,
    receiver: Receiver<T>,
    closed: (Sender<()>, Receiver<()>),
}

/// The result of a fetch.
#[derive(Debug, PartialEq, Eq)]
pub enum Fetched<T> {
    /// A message.
    Message(T),
    /// The queue is closed, and no message is left.
    Closed,
    /// The fetching thread was interrupted.
    Interrupted,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        let (sender, receiver) = unbounded();
        Self { sender, receiver, closed: bounded(1) }
    }
}

impl Mailbox<Report> {
    /// Returns a watcher that sends the ends of calls among all other reports.
    pub fn watcher(&self) -> Watcher {
        Watcher::Reports(self.sender())
    }
}

impl Mailbox<Id> {
    /// Returns a watcher that sends the ends of calls here, where no report delays them.
    pub fn watcher(&self) -> Watcher {
        Watcher::Ends(self.sender())
    }
}

impl<T> Mailbox<T> {
    /// Returns its sending end.
    pub fn sender(&self) -> Sender<T> {
        self.sender.clone()
    }

    /// Sends a message.
    pub fn send(&self, message: T) {
        send(&self.sender, message);
    }

    /// Sends a message, unless too many wait. Returns whether it did.
    pub fn offer(&self, message: T) -> bool {
        let has_room = self.sender.len() < WAITING;
        if has_room {
            self.send(message);
        }
        has_room
    }

    /// Waits for the next message. The wait ends early when `interrupt` receives something.
    pub fn fetch(&self, interrupt: &Receiver<()>) -> Fetched<T> {
        select_biased! {
            recv(self.receiver) -> message => message.map_or(Fetched::Closed, Fetched::Message),
            recv(interrupt) -> _ => Fetched::Interrupted,
            recv(self.closed.1) -> _ => {
                // The signal stays in place for the other fetching threads.
                let _ = self.closed.0.try_send(());
                Fetched::Closed
            }
        }
    }

    /// Returns the messages that wait.
    pub fn drain(&self) -> Vec<T> {
        self.receiver.try_iter().collect()
    }

    /// Ends every fetch once the waiting messages have been fetched.
    pub fn close(&self) {
        let _ = self.closed.0.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_is_bounded() {
        let mailbox = Mailbox::default();
        assert_eq!((0..WAITING + 3).filter(|number| !mailbox.offer(*number)).count(), 3);
        mailbox.send(WAITING);
        let (_keep, never) = bounded(1);
        (0..=WAITING).for_each(|number| assert_eq!(mailbox.fetch(&never), Fetched::Message(number)));
    }

    #[test]
    fn closing_ends_every_fetch_after_what_waits() {
        let mailbox = Mailbox::default();
        mailbox.send("last");
        mailbox.close();
        let (interrupt, interrupted) = bounded(1);
        assert_eq!(mailbox.fetch(&interrupted), Fetched::Message("last"));
        assert_eq!(mailbox.fetch(&interrupted), Fetched::Closed);
        assert_eq!(mailbox.fetch(&interrupted), Fetched::Closed);
        interrupt.send(()).unwrap();
        assert_eq!(mailbox.fetch(&interrupted), Fetched::Interrupted);
    }

    #[test]
    fn the_end_of_a_watched_call_is_told_where_it_was_asked_for() {
        let (reports, wakes) = (Mailbox::<Report>::default(), Mailbox::<Id>::default());
        let (_keep, never) = bounded(1);
        let id = Id::from_bytes([7; 16]);
        reports.watcher().tell(id);
        wakes.watcher().tell(id);
        assert_eq!(reports.fetch(&never), Fetched::Message(Report::Settled(id)));
        assert_eq!(wakes.fetch(&never), Fetched::Message(id));
    }
}
