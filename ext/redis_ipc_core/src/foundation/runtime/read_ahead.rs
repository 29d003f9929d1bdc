//! How much may be read ahead: only what the consumers will get to within a few ms, so that a slow instance does not
//! hoard what a free one could take.

use std::time::Duration;

/// How long a request that was read ahead should wait here at most, by what handlers took lately.
const READ_AHEAD: Duration = Duration::from_millis(5);
/// How many requests are read ahead at most.
const MOST_AHEAD: usize = 256;

/// What handlers took lately, on average.
#[derive(Debug, Default)]
pub struct ReadAhead {
    usual_run: Option<Duration>,
}

impl ReadAhead {
    /// Notes that a handler took so long.
    pub fn note_run(&mut self, ran: Duration) {
        self.usual_run = Some(self.usual_run.map_or(ran, |usual| (usual * 7 + ran) / 8));
    }

    /// Notes that a request which was read ahead has waited so long: handlers take that long now, though none has
    /// ended to tell.
    pub fn note_stuck(&mut self, waited: Duration) {
        self.usual_run = self.usual_run.max(Some(waited));
    }

    /// What they took; nothing is known at first.
    pub fn usual_run(&self) -> Option<Duration> {
        self.usual_run
    }

    /// How many requests may be read ahead for so many consumers; none before anything is known.
    pub fn count(&self, consumers: usize) -> usize {
        self.usual_run.map_or(0, |run| {
            let per_consumer = READ_AHEAD.as_nanos() / run.as_nanos().max(1);
            (per_consumer as usize).saturating_mul(consumers).min(MOST_AHEAD)
        })
    }
}
