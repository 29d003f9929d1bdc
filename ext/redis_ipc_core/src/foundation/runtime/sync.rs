//! Locks that survive a fork.
//!
//! parking_lot keeps every parked thread of the process in one global table. After a fork that table still names the
//! parent's threads, and the first contended lock in the child walks into it (seen: hangs and segmentation faults).
//! The standard library's locks are a word each, so a new engine in a child shares nothing with its parent's.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar as StdCondvar, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A mutex whose lock outlives a panic. Panics are caught and reported, and no state behind a lock is left half
/// changed.
#[derive(Debug, Default)]
pub struct Mutex<T>(StdMutex<T>);

impl<T> Mutex<T> {
    /// Creates a mutex.
    pub fn new(value: T) -> Self {
        Self(StdMutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A condition variable for [`Mutex`]. Use it with one mutex, which must be locked between the change and its
/// notification.
///
/// The standard library's condition variable makes a system call to wake even if no thread waits. This one counts its
/// waiters: a waiter adds itself under the lock, so a thread that has held the lock since then sees it.
#[derive(Debug, Default)]
pub struct Condvar {
    inner: StdCondvar,
    waiting: AtomicUsize,
}

impl Condvar {
    /// Creates a condition variable.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until notified. It may also wake for no reason.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let guard = self.inner.wait(guard).unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        guard
    }

    /// Waits until notified, at most until `until`. It may also wake for no reason.
    pub fn wait_until<'a, T>(&self, guard: MutexGuard<'a, T>, until: Instant) -> MutexGuard<'a, T> {
        let time = until.saturating_duration_since(Instant::now());
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let (guard, _) = self.inner.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        guard
    }

    /// Whether a thread waits, or was notified just now.
    pub fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Wakes one waiter.
    pub fn notify_one(&self) {
        if self.is_awaited() {
            self.inner.notify_one();
        }
    }

    /// Wakes every waiter.
    pub fn notify_all(&self) {
        if self.is_awaited() {
            self.inner.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn whoever_waits_is_woken() {
        let (turn, changed) = (Mutex::new(0), Condvar::new());
        let play = |own: usize| {
            for _ in 0..10_000 {
                let mut guard = turn.lock();
                while *guard != own {
                    guard = if own == 0 {
                        changed.wait(guard)
                    } else {
                        changed.wait_until(guard, Instant::now() + Duration::from_secs(60))
                    };
                }
                *guard = 1 - own;
                drop(guard);
                changed.notify_one();
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| play(0));
            scope.spawn(|| play(1));
        });
        assert_eq!(changed.waiting.load(Ordering::Relaxed), 0);
    }
}
