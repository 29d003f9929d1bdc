//! The minimum speed of a reply, or of a write, on the wire.
//!
//! The timeout of a socket bounds one read. A server that sends a byte at a time never exceeds it, so a reply could
//! take for ever. A timeout for the whole reply would forbid large replies on slow links. So once a reply has begun,
//! it must keep a minimum speed: it may take the timeout, and 1 s more for each [`RATE`] bytes that have arrived. The
//! same holds for writes.

use std::io;
use std::time::{Duration, Instant};

/// The minimum of bytes per second, on average, beyond the timeout. A link of 64 kbit/s is twice as fast.
const RATE: u32 = 4096;

/// The progress of one reply, or of one write.
#[derive(Debug)]
pub struct Pace {
    timeout: Duration,
    bytes: u64,
    /// When the second part was first waited for. A message that comes in one part is never timed.
    begun: Option<Instant>,
}

impl Pace {
    /// Starts with no bytes moved. `timeout` is the socket's timeout for a single read or write.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, bytes: 0, begun: None }
    }

    /// Records that another part is waited for.
    pub fn wait(&mut self) {
        if self.bytes > 0 && self.begun.is_none() {
            self.begun = Some(Instant::now());
        }
    }

    /// Records that this many bytes have moved.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the bytes moved so far took too long.
    pub fn moved(&mut self, count: usize) -> io::Result<()> {
        self.bytes += count as u64;
        match self.begun {
            Some(begun) if begun.elapsed() > self.allowed() => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }

    fn allowed(&self) -> Duration {
        self.timeout.saturating_add(Duration::from_millis(self.bytes.saturating_mul(1000) / u64::from(RATE)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn move_after(pace: &mut Pace, millis: u64, bytes: usize) -> io::Result<()> {
        pace.wait();
        std::thread::sleep(Duration::from_millis(millis));
        pace.moved(bytes)
    }

    #[test]
    fn the_first_part_may_take_any_time() {
        let mut pace = Pace::new(Duration::ZERO);
        assert!(move_after(&mut pace, 5, 1).is_ok());
        assert_eq!(move_after(&mut pace, 5, 1).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn bytes_that_come_now_and_then_extend_nothing() {
        let mut pace = Pace::new(Duration::from_millis(20));
        let count = (0..1000).take_while(|_| move_after(&mut pace, 2, 1).is_ok()).count();
        assert!((1..=12).contains(&count), "{count}");
    }

    #[test]
    fn what_comes_fast_enough_may_take_many_times_the_timeout() {
        let mut pace = Pace::new(Duration::from_millis(1));
        assert!((0..50).all(|_| move_after(&mut pace, 2, RATE as usize).is_ok()));
    }
}
