//! Read-ahead: how many requests an instance may take before its consumers are free. It takes only what they will get
//! to within a few ms, so that a slow instance does not hoard what a free one could take.

use std::time::Duration;

/// The longest time that a request read ahead should wait here, judged by recent run times of handlers.
const READ_AHEAD: Duration = Duration::from_millis(5);
/// How long what a worker takes together should keep it busy, because no other worker can take it meanwhile.
const TOGETHER: Duration = Duration::from_millis(1);
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

    /// Returns how many requests a worker is to take together, at most `most`. It is 1 until a run time is known.
    pub fn at_once(&self, most: usize) -> usize {
        let quick = self.usual_run.map_or(1, |usual| TOGETHER.as_nanos() / usual.as_nanos().max(1));
        most.min(usize::try_from(quick).unwrap_or(usize::MAX)).max(1)
    }

    /// Returns how many requests may be read ahead for this number of consumers. It is 0 until a run time is known.
    pub fn count(&self, consumers: usize) -> usize {
        self.usual_run.map_or(0, |run| {
            // Of many consumers with slower handlers, some get free in time, too.
            let all = READ_AHEAD.as_nanos() * consumers as u128 / run.as_nanos().max(1);
            usize::try_from(all).unwrap_or(usize::MAX).min(MOST_AHEAD)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_consumers_with_slower_handlers_are_read_ahead_for_as_they_get_free() {
        let mut ahead = ReadAhead::default();
        assert_eq!(ahead.count(50), 0, "no run time is known");
        ahead.note_run(Duration::from_millis(10));
        assert_eq!((ahead.count(50), ahead.count(1)), (25, 0));
        ahead.note_stuck(Duration::from_secs(1));
        assert_eq!(ahead.count(50), 0);
    }
}
