//! The long-lived connections of an instance together, and whether they stand: what `connected?` tells.

use crate::foundation::runtime::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A connection that stood this long was good: the next attempt starts without a long pause.
pub const STABLE: Duration = Duration::from_secs(1);

/// How many of the long-lived connections broke and are not back, and what became of them.
#[derive(Debug, Default)]
pub struct Health {
    lost: AtomicUsize,
    losses: AtomicUsize,
    /// The next number of a connection.
    numbers: AtomicU64,
    told: Mutex<Option<Instant>>,
    since: Mutex<Option<Instant>>,
    /// Why the server last refused a connection, in the outage that lasts.
    refusal: Mutex<Option<String>>,
}

impl Health {
    /// One broke; true if the user is to hear of it: it is the first, and nothing was told just before.
    pub fn lost(&self) -> bool {
        self.losses.fetch_add(1, Ordering::SeqCst);
        let first = self.lost.fetch_add(1, Ordering::SeqCst) == 0;
        if first {
            *self.since.lock() = Some(Instant::now());
        }
        first && self.is_news()
    }

    /// The server refuses another connection; true if the user is to hear of it: the reason is not the last one.
    pub fn refused(&self, why: &str) -> bool {
        let mut refusal = self.refusal.lock();
        let news = refusal.as_deref() != Some(why);
        if news {
            *refusal = Some(why.to_owned());
        }
        news
    }

    /// A connection that breaks again and again is told of once a second; each time is counted.
    fn is_news(&self) -> bool {
        let mut told = self.told.lock();
        let news = told.is_none_or(|told| told.elapsed() >= STABLE);
        if news {
            *told = Some(Instant::now());
        }
        news
    }

    /// One that broke is back; if it was the last, how long not all of them stood.
    pub fn restored(&self) -> Option<Duration> {
        let last = self.lost.fetch_sub(1, Ordering::SeqCst) == 1;
        if last {
            self.refusal.lock().take();
        }
        if last { self.since.lock().take().map(|since| since.elapsed()) } else { None }
    }

    /// How often one broke. Where another broke since a connection was made, that one is not to be trusted: TCP lets
    /// a first write to a server that is gone succeed.
    pub fn losses(&self) -> usize {
        self.losses.load(Ordering::SeqCst)
    }

    /// A number for a connection on which something is sent, which no other one has.
    pub fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether none is broken.
    pub fn are_up(&self) -> bool {
        self.lost.load(Ordering::SeqCst) == 0
    }
}
