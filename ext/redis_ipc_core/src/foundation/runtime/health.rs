//! The health of an instance's long-lived connections together. `connected?` reports it.

use crate::foundation::runtime::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// After a connection has been up for this long, the next attempt starts without a long pause.
pub const STABLE: Duration = Duration::from_secs(1);

/// Counts the long-lived connections that are broken, and remembers why.
#[derive(Debug, Default)]
pub struct Health {
    lost: AtomicUsize,
    losses: AtomicUsize,
    /// The number of the next connection.
    numbers: AtomicU64,
    told: Mutex<Option<Instant>>,
    since: Mutex<Option<Instant>>,
    /// The server's last reason to refuse a connection, during the current outage.
    refusal: Mutex<Option<String>>,
}

impl Health {
    /// Records that a connection broke. Returns true if the user is to be told: it is the first one, and nothing was
    /// reported just before.
    pub fn lost(&self) -> bool {
        self.losses.fetch_add(1, Ordering::SeqCst);
        let first = self.lost.fetch_add(1, Ordering::SeqCst) == 0;
        if first {
            *self.since.lock() = Some(Instant::now());
        }
        first && self.is_news()
    }

    /// Records that the server refuses another connection. Returns true if the user is to be told: the reason differs
    /// from the last one.
    pub fn refused(&self, why: &str) -> bool {
        let mut refusal = self.refusal.lock();
        let news = refusal.as_deref() != Some(why);
        if news {
            *refusal = Some(why.to_owned());
        }
        news
    }

    /// Whether enough time has passed for another report. A connection that breaks again and again is reported once a
    /// second; each break is counted.
    fn is_news(&self) -> bool {
        let mut told = self.told.lock();
        let news = told.is_none_or(|told| told.elapsed() >= STABLE);
        if news {
            *told = Some(Instant::now());
        }
        news
    }

    /// Records that a broken connection is up again. If it was the last one, this returns how long the outage lasted.
    pub fn restored(&self) -> Option<Duration> {
        let last = self.lost.fetch_sub(1, Ordering::SeqCst) == 1;
        if last {
            self.refusal.lock().take();
        }
        if last { self.since.lock().take().map(|since| since.elapsed()) } else { None }
    }

    /// Returns how many connections have broken so far. If another one broke since a connection was made, that
    /// connection is not to be trusted: TCP lets a first write to a server that is gone succeed.
    pub fn losses(&self) -> usize {
        self.losses.load(Ordering::SeqCst)
    }

    /// Returns a unique number for a connection on which commands are sent.
    pub fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether no connection is broken.
    pub fn are_up(&self) -> bool {
        self.lost.load(Ordering::SeqCst) == 0
    }
}
