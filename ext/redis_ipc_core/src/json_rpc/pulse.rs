//! The sign of life of a server: a score among the servers of its queue.
//!
//! The connection that moves requests to the server's own list shows one just before. Whatever happens to that
//! connection, Redis moves nothing to a list whose server did not become known to it within the last minute and lease.

use crate::foundation::runtime::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How far ahead of the clock scores may go before the clock is taken to have been stepped back.
const STEPPED_BACK: u64 = 1_000;

/// A server's signs of life.
#[derive(Debug)]
pub struct Pulse {
    lease: Duration,
    last: AtomicU64,
    /// When the last one was asked for that Redis is known to have.
    shown: Mutex<Option<Instant>>,
    doubted: AtomicBool,
}

impl Pulse {
    /// None has been shown yet.
    pub fn new(lease: Duration) -> Self {
        Self { lease, last: AtomicU64::new(0), shown: Mutex::default(), doubted: AtomicBool::new(false) }
    }

    /// The next score: `now` (ms on Redis's clock), or a little more where that was used before. No two that Redis gets
    /// are equal, so that others notice each.
    pub fn next(&self, now: u64) -> u64 {
        let next = |last: u64| {
            let is_used = now <= last && last - now < STEPPED_BACK;
            if is_used { last + 1 } else { now }
        };
        let taken = self.last.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(next(last)));
        taken.map_or(now, next)
    }

    /// Notes that Redis has the sign of life that was asked for at `asked`. Where the one before is a lease ago,
    /// another server may have taken over what this one holds.
    pub fn shown(&self, asked: Instant) {
        let mut shown = self.shown.lock();
        if shown.is_some_and(|before| before.elapsed() >= self.lease) {
            self.doubted.store(true, Ordering::SeqCst);
        }
        *shown = (*shown).max(Some(asked));
    }

    /// Whether others may have taken this server for dead since this was asked last.
    pub fn was_doubted(&self) -> bool {
        self.doubted.swap(false, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_score_is_used_twice_while_the_clock_goes_on() {
        let pulse = Pulse::new(Duration::from_secs(2));
        let scores = [1_000, 1_000, 1_000, 1_001, 1_002, 1_010].map(|now| pulse.next(now));
        assert_eq!(scores, [1_000, 1_001, 1_002, 1_003, 1_004, 1_010]);
    }

    #[test]
    fn scores_follow_the_clock_back() {
        let pulse = Pulse::new(Duration::from_secs(2));
        assert_eq!([100_000, 40_000, 40_000].map(|now| pulse.next(now)), [100_000, 40_000, 40_001]);
    }

    #[test]
    fn a_pause_of_a_lease_is_noticed_once() {
        let pulse = Pulse::new(Duration::from_millis(20));
        pulse.shown(Instant::now());
        pulse.shown(Instant::now());
        assert!(!pulse.was_doubted());
        std::thread::sleep(Duration::from_millis(20));
        pulse.shown(Instant::now());
        assert!(pulse.was_doubted());
        assert!(!pulse.was_doubted());
    }
}
