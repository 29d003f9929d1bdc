//! Counters of what happened so far. Every drop, loss and retry increments one of them.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of one engine since it connected.
        #[derive(Debug, Default)]
        pub struct Stats { $($(#[$doc])* pub $name: Counter,)* }

        impl Stats {
            /// Returns every counter with its name.
            pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }
        }
    };
}

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Returns its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

counters! {
    /// Calls made here.
    requests,
    /// Calls answered `fulfilled`.
    fulfilled,
    /// Calls answered `rejected`.
    rejected,
    /// Calls whose deadline passed.
    timed_out,
    /// Calls that failed otherwise: Redis was unreachable or refused, or the stream was disconnected.
    failed,
    /// Calls whose thread gave up (it was killed or interrupted).
    cancelled,
    /// Calls refused because too many calls were open or too many requests waited. They do not count as made.
    overloaded,
    /// Requests sent again because a connection broke before Redis confirmed them.
    resent,
    /// Answers that matched no open call: late, duplicate or foreign.
    answers_unmatched,
    /// Requests taken from the inbox.
    taken,
    /// Requests taken that had been delivered before.
    redelivered,
    /// Answers written to a caller's reply stream.
    answers_sent,
    /// Answers not delivered: the caller was gone, its deadline had passed, Redis refused, or the stream was
    /// disconnected.
    answers_dropped,
    /// Requests whose deadline passed before they were started.
    expired,
    /// Requests that were started but not answered by their deadline.
    unanswered,
    /// Requests rejected unstarted because their remaining time was too short and fresher requests waited.
    shed,
    /// Requests given back to the group unstarted.
    released,
    /// Requests withdrawn by their caller while an instance took them.
    withdrawn,
    /// Requests moved to the dead letters.
    dead_lettered,
    /// Entries that did not conform to this protocol.
    malformed,
    /// Lost connections that were made again.
    reconnections,
    /// Reports dropped because they were not fetched in time.
    reports_dropped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_names_every_counter() {
        let stats = Stats::default();
        stats.requests.add(3);
        let snapshot = stats.snapshot();
        assert_eq!(snapshot[0], ("requests", 3));
        assert!(snapshot.iter().any(|(name, value)| *name == "reconnections" && *value == 0));
    }
}
