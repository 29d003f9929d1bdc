//! A request that was taken, until its answer is sent.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

static LAST_NUMBER: AtomicU64 = AtomicU64::new(0);

/// A request that was taken.
#[derive(Debug)]
pub struct InFlight {
    /// Identifies it among requests with the same text.
    pub number: u64,
    /// The text that was on the list.
    pub text: Vec<u8>,
    /// It has crashed too many servers. It is not to be run, only answered.
    pub given_up: bool,
    started: OnceLock<Instant>,
    answered: AtomicBool,
}

impl InFlight {
    /// Creates a request that waits for a thread.
    pub fn new(text: Vec<u8>, given_up: bool) -> Self {
        let number = LAST_NUMBER.fetch_add(1, Ordering::Relaxed);
        Self { number, text, given_up, started: OnceLock::new(), answered: AtomicBool::new(false) }
    }

    /// Records that its method runs.
    pub fn start(&self) {
        self.started.get_or_init(Instant::now);
    }

    /// Records that it was answered, or needs no answer. Returns how long it ran. `None` if it was answered before.
    pub fn answer(&self) -> Option<Duration> {
        let first = !self.answered.swap(true, Ordering::SeqCst);
        first.then(|| self.started.get().map_or(Duration::ZERO, Instant::elapsed))
    }

    /// Whether it was answered.
    pub fn is_answered(&self) -> bool {
        self.answered.load(Ordering::SeqCst)
    }
}
