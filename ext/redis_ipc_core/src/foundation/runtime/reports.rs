//! Reports from the core to the user: errors that no caller gets, the ends of outages, losses, and the ends of watched
//! calls.

use crate::error::Error;
use crate::foundation::payload::id::Id;
use crate::foundation::payload::loss::Loss;
use crate::foundation::runtime::stats::Stats;
use crossbeam_channel::{Receiver, Sender, bounded, select_biased, unbounded};
use std::sync::Arc;
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
}

/// Sends reports; never blocks.
#[derive(Debug, Clone)]
pub struct Reporter {
    sender: Sender<Report>,
    stats: Arc<Stats>,
}

impl Reporter {
    /// Reports that all connections are up again.
    pub fn reconnected(&self, outage: Duration) {
        send(&self.sender, Report::Reconnected(outage));
    }

    /// Reports that events may be missing. A loss is never dropped: there are few.
    pub fn loss(&self, loss: Loss) {
        send(&self.sender, Report::Loss(loss));
    }

    /// Reports an error that no caller gets. If too many reports wait, the error is dropped and counted.
    pub fn failure(&self, error: Error) {
        if self.sender.len() < WAITING {
            send(&self.sender, Report::Failure(error));
        } else {
            self.stats.reports_dropped.increment();
        }
    }

    /// Returns a watcher that sends the ends of calls among all other reports.
    pub fn watcher(&self) -> Watcher {
        Watcher::Reports(self.sender.clone())
    }
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

/// The receiving end of a queue. Any number of threads may fetch from it.
#[derive(Debug)]
pub struct Mailbox<T> {
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

/// Creates both ends of a queue of reports.
pub fn reports(stats: &Arc<Stats>) -> (Reporter, Mailbox<Report>) {
    let (sender, mailbox) = mailbox();
    (Reporter { sender, stats: Arc::clone(stats) }, mailbox)
}

/// Creates both ends of a queue of ends of calls. No report delays them there.
pub fn ends() -> (Watcher, Mailbox<Id>) {
    let (sender, mailbox) = mailbox();
    (Watcher::Ends(sender), mailbox)
}

/// Returns the two ends of a queue.
pub fn mailbox<T>() -> (Sender<T>, Mailbox<T>) {
    let (sender, receiver) = unbounded();
    (sender, Mailbox { receiver, closed: bounded(1) })
}

impl<T> Mailbox<T> {
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

    /// Ends every fetch once the waiting messages have been fetched.
    pub fn close(&self) {
        let _ = self.closed.0.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn failures_are_bounded_and_counted() {
        let stats = Arc::new(Stats::default());
        let (reporter, mailbox) = reports(&stats);
        let error = Error::new(ErrorKind::Internal, "x");
        (0..WAITING + 3).for_each(|_| reporter.failure(error.clone()));
        assert_eq!(stats.reports_dropped.get(), 3);
        let (_keep, never) = bounded(1);
        assert_eq!(mailbox.fetch(&never), Fetched::Message(Report::Failure(error)));
    }

    #[test]
    fn closing_ends_every_fetch_after_what_waits() {
        let (reporter, mailbox) = reports(&Arc::new(Stats::default()));
        reporter.failure(Error::new(ErrorKind::Internal, "last"));
        mailbox.close();
        let (interrupt, interrupted) = bounded(1);
        assert!(matches!(mailbox.fetch(&interrupted), Fetched::Message(_)));
        assert_eq!(mailbox.fetch(&interrupted), Fetched::Closed);
        assert_eq!(mailbox.fetch(&interrupted), Fetched::Closed);
        interrupt.send(()).unwrap();
        assert_eq!(mailbox.fetch(&interrupted), Fetched::Interrupted);
    }

    #[test]
    fn the_end_of_a_watched_call_is_told_where_it_was_asked_for() {
        let stats = Arc::new(Stats::default());
        let ((reporter, reports), (ends, wakes)) = (reports(&stats), ends());
        let (_keep, never) = bounded(1);
        let id = Id::from_bytes([7; 16]);
        reporter.watcher().tell(id);
        ends.tell(id);
        assert_eq!(reports.fetch(&never), Fetched::Message(Report::Settled(id)));
        assert_eq!(wakes.fetch(&never), Fetched::Message(id));
    }
}
