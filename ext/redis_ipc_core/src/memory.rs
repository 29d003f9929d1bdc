//! Whether Redis has memory for answers. At maxmemory it refuses XADD but still lets requests be read and acknowledged:
//! taking more would lose them.

use crate::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a refusal counts.
const SHORTAGE: Duration = Duration::from_secs(1);
/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_millis(100);

/// What the last answers told about Redis's memory.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Option<Instant>>);

impl Memory {
    /// An answer was refused for want of memory.
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
    pub fn shortage(&self) -> Option<Duration> {
        let refused = *self.0.lock();
        refused.filter(|since| since.elapsed() < SHORTAGE).map(|_| PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_counts_until_something_is_accepted() {
        let memory = Memory::default();
        assert_eq!(memory.shortage(), None);
        memory.refused();
        assert_eq!(memory.shortage(), Some(PAUSE));
        memory.accepted();
        assert_eq!(memory.shortage(), None);
    }
}
