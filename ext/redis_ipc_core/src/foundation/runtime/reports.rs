//! What the core has to tell the user: errors nobody is waiting for, and calls that somebody watches.

use crate::error::Error;
use crate::foundation::payload::id::Id;
use crate::foundation::runtime::stats::Stats;
use crossbeam_channel::{Receiver, Sender, bounded, select_biased, unbounded};
use std::sync::Arc;
use std::time::Duration;

/// How many reports may wait for the user before failures are dropped and counted.
const WAITING: usize = 10_000;

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// An error for `on_error`.
    Failure(Error),
    /// A watched call has ended.
    Settled(Id),
    /// All connections stand again, after so long.
    Reconnected(Duration),
}

/// Sends reports; never blocks.
#[derive(Debug, Clone)]
pub struct Reporter {
    sender: Sender<Report>,
    stats: Arc<Stats>,
}

impl Reporter {
    /// Reports that a watched call has ended. Never dropped: a callback hangs on it.
    pub fn settled(&self, id: Id) {
        self.queue(Report::Settled(id));
    }

    /// Reports that all connections stand again.
    pub fn reconnected(&self, outage: Duration) {
        self.queue(Report::Reconnected(outage));
    }

    /// Reports an error for `on_error`; if too many reports wait, it is dropped and counted.
    pub fn failure(&self, error: Error) {
        if self.sender.len() < WAITING {
            self.queue(Report::Failure(error));
        } else {
            self.stats.reports_dropped.increment();
        }
    }

    fn queue(&self, report: Report) {
        // The other end lives as long as the engine; after it nobody is left to be told.
        let _ = self.sender.send(report);
    }
}

/// Where reports are fetched, by any number of threads.
#[derive(Debug)]
pub struct Reports {
    receiver: Receiver<Report>,
    closed: (Sender<()>, Receiver<()>),
}

/// What fetching found.
#[derive(Debug, PartialEq, Eq)]
pub enum Fetched {
    /// A report.
    Report(Report),
    /// Closed, and nothing is left.
    Closed,
    /// The fetching thread was interrupted.
    Interrupted,
}

/// Both ends of a new queue of reports.
pub fn queue(stats: &Arc<Stats>) -> (Reporter, Reports) {
    let (sender, receiver) = unbounded();
    (Reporter { sender, stats: Arc::clone(stats) }, Reports { receiver, closed: bounded(1) })
}

impl Reports {
    /// The next report; waits until there is one, or `interrupt` receives something.
    pub fn fetch(&self, interrupt: &Receiver<()>) -> Fetched {
        select_biased! {
            recv(self.receiver) -> report => report.map_or(Fetched::Closed, Fetched::Report),
            recv(interrupt) -> _ => Fetched::Interrupted,
            recv(self.closed.1) -> _ => {
                // Left in place for the other fetching threads.
                let _ = self.closed.0.try_send(());
                Fetched::Closed
            }
        }
    }

    /// Ends every fetch once the waiting reports are gone.
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
        let (reporter, reports) = queue(&stats);
        let error = Error::new(ErrorKind::Internal, "x");
        (0..WAITING + 3).for_each(|_| reporter.failure(error.clone()));
        assert_eq!(stats.reports_dropped.get(), 3);
        let (_keep, never) = bounded(1);
        assert_eq!(reports.fetch(&never), Fetched::Report(Report::Failure(error)));
    }

    #[test]
    fn closing_ends_every_fetch_after_what_waits() {
        let (reporter, reports) = queue(&Arc::new(Stats::default()));
        reporter.failure(Error::new(ErrorKind::Internal, "last"));
        reports.close();
        let (interrupt, interrupted) = bounded(1);
        assert!(matches!(reports.fetch(&interrupted), Fetched::Report(_)));
        assert_eq!(reports.fetch(&interrupted), Fetched::Closed);
        assert_eq!(reports.fetch(&interrupted), Fetched::Closed);
        interrupt.send(()).unwrap();
        assert_eq!(reports.fetch(&interrupted), Fetched::Interrupted);
    }
}
