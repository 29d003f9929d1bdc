//! The time limit of one attempt to connect.

use crate::foundation::runtime::stop::Stop;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::waker::timespec;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time limit of one attempt to connect. Name resolution, TCP, TLS and login share it, however many steps they
/// take. So a server that sends one byte at a time cannot extend it.
#[derive(Debug, Clone)]
pub struct Attempt {
    until: Instant,
    closing: Closing,
    wanted: Vec<Stop>,
}

/// The time at which every attempt of an engine ends, while and once the engine is being closed.
#[derive(Debug, Clone, Default)]
pub struct Closing(Arc<Mutex<Limits>>);

#[derive(Debug, Default)]
struct Limits {
    /// The limit during one step of closing.
    step: Option<Instant>,
    /// The limit for all attempts, once closing has begun.
    last: Option<Instant>,
}

/// How long an attempt may take during closing. An engine that closes does not wait longer for a server that may be
/// gone.
const CLOSING: Duration = Duration::from_secs(1);

/// How soon an attempt notices that it is no longer wanted. A descriptor would tell it at once, but would cost each
/// engine two descriptors that forked children have to close.
const SLICE: Duration = Duration::from_millis(50);

impl Closing {
    /// Makes every attempt, running or later, end soon.
    pub fn begin(&self) {
        self.0.lock().last.get_or_insert_with(|| Instant::now() + CLOSING);
    }

    /// Makes every attempt during `step` end soon after the step begins.
    pub fn with_short_limit<T>(&self, step: impl FnOnce() -> T) -> T {
        self.0.lock().step = Some(Instant::now() + CLOSING);
        let done = step();
        self.0.lock().step = None;
        done
    }

    /// Returns `until`, or an earlier time if one applies.
    fn limit(&self, until: Instant) -> Instant {
        let limits = self.0.lock();
        [limits.step, limits.last].into_iter().flatten().fold(until, Instant::min)
    }
}

impl Attempt {
    /// Creates an attempt that may take `time`.
    pub fn new(time: Duration, closing: &Closing) -> Self {
        Self { until: Instant::now() + time, closing: closing.clone(), wanted: Vec::new() }
    }

    /// Makes the attempt end early once `stop` is raised.
    #[must_use]
    pub fn unless(mut self, stop: &Stop) -> Self {
        self.wanted.push(stop.clone());
        self
    }

    /// Returns how long to wait before the next check, at most until `soonest`.
    ///
    /// # Errors
    ///
    /// `TimedOut` at the deadline. `ConnectionAborted` if the connection is no longer wanted.
    pub fn slice(&self, soonest: Option<Instant>) -> io::Result<Duration> {
        if self.wanted.iter().any(Stop::is_stopped) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the attempt to connect was given up",
            ));
        }
        let now = Instant::now();
        let left = self.closing.limit(self.until).saturating_duration_since(now);
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let soonest = soonest.map_or(left, |soonest| soonest.saturating_duration_since(now));
        Ok(left.min(soonest).min(SLICE))
    }

    /// Waits until one of `watched` is ready, or until `soonest`. Returns whether one is ready.
    ///
    /// # Errors
    ///
    /// Those of [`Attempt::slice`].
    pub fn wait_any(&self, watched: &mut [PollFd<'_>], soonest: Option<Instant>) -> io::Result<bool> {
        loop {
            let slice = self.slice(soonest)?;
            match poll(watched, Some(&timespec(slice))) {
                Ok(0) if soonest.is_some_and(|soonest| Instant::now() >= soonest) => return Ok(false),
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until `socket` is ready.
    ///
    /// # Errors
    ///
    /// Those of [`Attempt::slice`].
    pub fn wait(&self, socket: BorrowedFd<'_>, flags: PollFlags) -> io::Result<()> {
        self.wait_any(&mut [PollFd::from_borrowed_fd(socket, flags)], None).map(drop)
    }

    /// Waits for `time`.
    ///
    /// # Errors
    ///
    /// Those of [`Attempt::slice`].
    pub fn pause(&self, time: Duration) -> io::Result<()> {
        let until = Instant::now() + time;
        self.wait_any(&mut [], Some(until)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_ends_at_its_deadline_when_it_is_not_wanted_and_when_the_engine_closes() {
        let (closing, stop) = (Closing::default(), Stop::default());
        let long = Duration::from_secs(60);
        let kind = |attempt: &Attempt| attempt.pause(long).unwrap_err().kind();
        assert_eq!(kind(&Attempt::new(Duration::from_millis(20), &closing)), io::ErrorKind::TimedOut);
        let attempt = Attempt::new(long, &closing).unless(&stop);
        attempt.pause(Duration::from_millis(1)).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| kind(&attempt));
            stop.stop();
            assert_eq!(waiting.join().unwrap(), io::ErrorKind::ConnectionAborted);
        });
        let attempt = Attempt::new(long, &closing);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| kind(&attempt));
            closing.begin();
            assert_eq!(waiting.join().unwrap(), io::ErrorKind::TimedOut);
        });
        assert_eq!(kind(&Attempt::new(long, &closing)), io::ErrorKind::TimedOut, "it stays closed");
    }

    #[test]
    fn what_is_hurried_ends_soon_and_what_comes_after_it_does_not() {
        let closing = Closing::default();
        let attempt = Attempt::new(Duration::from_secs(60), &closing);
        let ended = closing.with_short_limit(|| attempt.pause(Duration::from_secs(60)).unwrap_err().kind());
        assert_eq!(ended, io::ErrorKind::TimedOut);
        assert!(attempt.slice(None).is_ok());
    }
}
