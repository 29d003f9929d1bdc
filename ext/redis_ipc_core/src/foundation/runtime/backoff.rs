//! Pauses between attempts to reconnect. They grow up to a limit, and they are jittered so that many processes do not
//! reconnect at the same moment.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(10);
/// The longest pause. It is below the second within which service must resume once Redis is back.
const LONGEST: Duration = Duration::from_millis(400);

/// Exponential backoff with "full jitter" (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog,
/// 2015). Each pause is at least half a step, so that a caller never spins.
#[derive(Debug)]
pub struct Backoff {
    step: Duration,
}

impl Default for Backoff {
    /// Starts at the first step.
    fn default() -> Self {
        Self { step: FIRST }
    }
}

impl Backoff {
    /// Returns the next pause.
    pub fn pause(&mut self) -> Duration {
        let mut byte = [128u8];
        // Without randomness there is no jitter. That is no reason to fail.
        let _ = getrandom::fill(&mut byte);
        let pause = self.step / 2 + (self.step / 2) * u32::from(byte[0]) / 255;
        self.step = (self.step * 2).min(LONGEST);
        pause
    }

    /// Returns to the first step.
    pub fn reset(&mut self) {
        self.step = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_cap_and_never_vanish() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..12).map(|_| backoff.pause()).collect();
        assert!(pauses.iter().all(|pause| *pause >= FIRST / 2 && *pause <= LONGEST));
        assert!(pauses[11] >= LONGEST / 2);
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }
}
