//! An estimate of how many requests wait for each destination group. Calls are refused by it.

use crate::foundation::runtime::sync::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How often a backlog is measured while calls are made.
const MEASURE: Duration = Duration::from_millis(50);
/// A measurement older than this is ignored.
const STALE: Duration = Duration::from_secs(1);

/// The decision about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// How many requests wait, if they are too many to make the call.
    pub refused: Option<u64>,
    /// Whether to ask Redis how many requests wait.
    pub measure: bool,
}

#[derive(Debug)]
struct Backlog {
    /// The measured number, plus the requests that were sent from here since.
    waiting: u64,
    measured: Option<Instant>,
    asked: Instant,
}

/// The backlogs by group.
#[derive(Debug, Default)]
pub struct Backpressure(Mutex<HashMap<String, Backlog>>);

impl Backpressure {
    /// Counts a call to `group`, unless `most` or more requests wait there.
    pub fn admit(&self, group: &str, most: u64) -> Admission {
        let now = Instant::now();
        let mut backpressure = self.0.lock();
        let Some(backlog) = backpressure.get_mut(group) else {
            backpressure.retain(|_, backlog| now.duration_since(backlog.asked) < STALE);
            backpressure.insert(group.to_owned(), Backlog { waiting: 1, measured: None, asked: now });
            return Admission { refused: None, measure: true };
        };
        let measure = now.duration_since(backlog.asked) >= MEASURE;
        if measure {
            backlog.asked = now;
        }
        let known = backlog.measured.is_some_and(|measured| now.duration_since(measured) < STALE);
        if known && backlog.waiting >= most {
            return Admission { refused: Some(backlog.waiting), measure };
        }
        backlog.waiting += 1;
        Admission { refused: None, measure }
    }

    /// Records the number that Redis reported.
    pub fn measured(&self, group: &str, waiting: u64) {
        if let Some(backlog) = self.0.lock().get_mut(group) {
            backlog.waiting = waiting;
            backlog.measured = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_refused_from_the_measured_backlog_on_and_admitted_when_it_is_gone() {
        let backpressure = Backpressure::default();
        assert_eq!(backpressure.admit("child", 3), Admission { refused: None, measure: true });
        backpressure.measured("child", 1);
        assert_eq!(backpressure.admit("child", 3).refused, None);
        assert_eq!(backpressure.admit("child", 3).refused, None);
        assert_eq!(backpressure.admit("child", 3).refused, Some(3), "what was sent since counts");
        assert_eq!(backpressure.admit("other", 3).refused, None, "each group by itself");
        backpressure.measured("child", 0);
        assert_eq!(backpressure.admit("child", 3).refused, None);
    }

    #[test]
    fn nothing_is_refused_on_an_old_measurement() {
        let backpressure = Backpressure::default();
        backpressure.admit("child", 1);
        backpressure.measured("child", 5);
        assert_eq!(backpressure.admit("child", 1).refused, Some(5));
        let old = Instant::now() - STALE;
        backpressure.0.lock().get_mut("child").unwrap().measured = Some(old);
        assert_eq!(backpressure.admit("child", 1).refused, None);
    }
}
