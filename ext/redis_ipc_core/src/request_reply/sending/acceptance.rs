//! Tracks whether Redis accepts answers now. At `maxmemory`, after a failed snapshot or while a script runs it
//! refuses to write them, but may still deliver requests. Requests taken then would be lost with this process.

use crate::foundation::runtime::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a refusal counts.
const COUNTS: Duration = Duration::from_secs(1);
/// How long to wait before the next check.
const PAUSE: Duration = Duration::from_millis(100);

/// The result of the last answers.
#[derive(Debug, Default)]
pub struct Acceptance(Mutex<Option<Instant>>);

impl Acceptance {
    /// Records that Redis refused an answer for now.
    pub fn refused(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    /// Records that Redis accepted an answer.
    pub fn accepted(&self) {
        let mut refused = self.0.lock();
        if refused.is_some() {
            *refused = None;
        }
    }

    /// Returns how long to wait before taking more requests, if answers were refused recently.
    pub fn pause(&self) -> Option<Duration> {
        let refused = *self.0.lock();
        refused.filter(|since| since.elapsed() < COUNTS).map(|_| PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_counts_until_something_is_accepted() {
        let acceptance = Acceptance::default();
        assert_eq!(acceptance.pause(), None);
        acceptance.refused();
        assert_eq!(acceptance.pause(), Some(PAUSE));
        acceptance.accepted();
        assert_eq!(acceptance.pause(), None);
    }
}
