//! The heartbeat of a server: its score among the servers of its queue.
//!
//! The connection that moves requests to the server's own list sends a heartbeat before each move. Whatever happens
//! to that connection, Redis moves nothing to the list of a server that did not show itself within the last minute
//! and lease.

use crate::foundation::runtime::sync::Mutex;
use crate::json_rpc::instance::Instance;
use redis::Cmd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How far scores may be ahead of the clock in ms. If they are further ahead, the clock was stepped back.
const STEPPED_BACK: u64 = 1_000;

/// The heartbeats of a server.
#[derive(Debug)]
pub struct Heartbeat {
    lease: Duration,
    last: AtomicU64,
    /// When the last heartbeat was sent that Redis is known to have.
    shown: Mutex<Option<Instant>>,
    lapsed: AtomicBool,
}

impl Heartbeat {
    /// Starts without a heartbeat.
    pub fn new(lease: Duration) -> Self {
        Self { lease, last: AtomicU64::new(0), shown: Mutex::default(), lapsed: AtomicBool::new(false) }
    }

    /// Returns the next score: `now` (ms on Redis's clock), or a little more if that was used before. No two scores
    /// that Redis gets are equal, so that other servers notice each heartbeat.
    pub fn next(&self, now: u64) -> u64 {
        let next = |last: u64| {
            let is_used = now <= last && last - now < STEPPED_BACK;
            if is_used { last + 1 } else { now }
        };
        let taken = self.last.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(next(last)));
        taken.map_or(now, next)
    }

    /// Records that Redis has the heartbeat that was sent at `asked`. If the previous one is a lease ago, another
    /// server may have taken over the requests of this one.
    pub fn shown(&self, asked: Instant) {
        let mut shown = self.shown.lock();
        if shown.is_some_and(|before| before.elapsed() >= self.lease) {
            self.lapsed.store(true, Ordering::SeqCst);
        }
        *shown = (*shown).max(Some(asked));
    }

    /// Whether other servers may have taken this server for dead since the last call. This clears it.
    pub fn has_lapsed(&self) -> bool {
        self.lapsed.swap(false, Ordering::SeqCst)
    }
}

/// Returns the command that sends a heartbeat.
pub fn beat(instance: &Instance, heartbeat: &Heartbeat) -> Cmd {
    let mut command = redis::cmd("ZADD");
    command
        .arg(instance.names.servers())
        .arg(heartbeat.next(instance.endpoint.clock.now()))
        .arg(&instance.id);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_score_is_used_twice_while_the_clock_goes_on() {
        let heartbeat = Heartbeat::new(Duration::from_secs(2));
        let scores = [1_000, 1_000, 1_000, 1_001, 1_002, 1_010].map(|now| heartbeat.next(now));
        assert_eq!(scores, [1_000, 1_001, 1_002, 1_003, 1_004, 1_010]);
    }

    #[test]
    fn scores_follow_the_clock_back() {
        let heartbeat = Heartbeat::new(Duration::from_secs(2));
        assert_eq!([100_000, 40_000, 40_000].map(|now| heartbeat.next(now)), [100_000, 40_000, 40_001]);
    }

    #[test]
    fn a_pause_of_a_lease_is_noticed_once() {
        let heartbeat = Heartbeat::new(Duration::from_millis(20));
        heartbeat.shown(Instant::now());
        heartbeat.shown(Instant::now());
        assert!(!heartbeat.has_lapsed());
        std::thread::sleep(Duration::from_millis(20));
        heartbeat.shown(Instant::now());
        assert!(heartbeat.has_lapsed());
        assert!(!heartbeat.has_lapsed());
    }
}
