//! Read-ahead: how many requests an instance may take before its consumers are free. It takes only what they will get
//! to within a few ms, so that a slow instance does not hoard what a free one could take.

use std::time::Duration;

/// The longest time that a request read ahead should wait here, judged by recent run times of handlers.
const READ_AHEAD: Duration = Duration::from_millis(5);
/// The most requests that are read ahead.
const MOST_AHEAD: usize = 256;

/// The recent average run time of handlers.
#[derive(Debug, Default)]
pub struct ReadAhead {
    usual_run: Option<Duration>,
}

impl ReadAhead {
    /// Records the run time of a handler.
    pub fn note_run(&mut self, ran: Duration) {
        self.usual_run = Some(self.usual_run.map_or(ran, |usual| (usual * 7 + ran) / 8));
    }

    /// Records how long a request that was read ahead has waited. Handlers take at least that long now, even if none
    /// has ended yet.
    pub fn note_stuck(&mut self, waited: Duration) {
        self.usual_run = self.usual_run.max(Some(waited));
    }

    /// Returns the recent average run time. `None` if no handler has run yet.
    pub fn usual_run(&self) -> Option<Duration> {
        self.usual_run
    }

    /// Returns how many requests may be read ahead for this number of consumers. It is 0 until a run time is known.
    pub fn count(&self, consumers: usize) -> usize {
        self.usual_run.map_or(0, |run| {
            let per_consumer = READ_AHEAD.as_nanos() / run.as_nanos().max(1);
            (per_consumer as usize).saturating_mul(consumers).min(MOST_AHEAD)
        })
    }
}
