//! Whether Redis takes answers now. At `maxmemory`, after a failed snapshot or while a script runs it refuses to write
//! them, but may still let requests be read. To take more requests then would lose them with this process.

use crate::foundation::runtime::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a refusal counts.
const COUNTS: Duration = Duration::from_secs(1);
/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_millis(100);

/// What the last answers told about Redis.
#[derive(Debug, Default)]
pub struct Acceptance(Mutex<Option<Instant>>);

impl Acceptance {
    /// An answer was refused for now.
    pub fn refused(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    /// An answer was written.
    pub fn accepted(&self) {
        let mut refused = self.0.lock();
        if refused.is_some() {
            *refused = None;
        }
    }

    /// How long to wait before taking more requests, if answers were refused lately.
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
