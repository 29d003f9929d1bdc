//! Tracks which servers of a queue have sent no heartbeat, and for how long.
//!
//! Only this machine's monotonic clock decides. A heartbeat is a score that the server never used before. A server
//! whose score has not changed while it was watched has sent no heartbeat. So neither a step of Redis's clock nor a
//! failover to a server with another clock makes a living server look dead, or a dead one alive.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A score as Redis writes it.
pub type Score = Vec<u8>;

/// The observations of one server about the others.
#[derive(Debug)]
pub struct Watch {
    lease: Duration,
    seen: HashMap<String, (Score, Instant)>,
    reached: Option<Instant>,
}

/// A server that has sent no heartbeat for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent {
    /// Its id.
    pub id: String,
    /// Its score during all that time.
    pub score: Score,
    /// How long it has been watched with that score.
    pub since: Duration,
}

impl Watch {
    /// Starts without observations.
    pub fn new(lease: Duration) -> Self {
        Self { lease, seen: HashMap::new(), reached: None }
    }

    /// Records that Redis answered at `now`. If its last answer is a lease ago, no server may have reached it. Living
    /// servers need time to send a heartbeat, so the watch starts anew.
    pub fn reached(&mut self, now: Instant) {
        if self.reached.is_none_or(|before| now.duration_since(before) >= self.lease) {
            self.seen.clear();
        }
        self.reached = Some(now);
    }

    /// Records the scores of all servers, which Redis sent between `asked` and `answered`. Returns the silent ones.
    pub fn observe(
        &mut self,
        servers: Vec<(String, Score)>,
        asked: Instant,
        answered: Instant,
    ) -> Vec<Silent> {
        let mut before = std::mem::take(&mut self.seen);
        let mut silent = Vec::new();
        for (id, score) in servers {
            let first = before.remove(&id).filter(|(known, _)| *known == score).map(|(_, first)| first);
            let first = first.unwrap_or(answered);
            let since = asked.saturating_duration_since(first);
            if since >= self.lease {
                silent.push(Silent { id: id.clone(), score: score.clone(), since });
            }
            self.seen.insert(id, (score, first));
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(2);

    /// Reads the scores at the given seconds. Each reading takes 10 ms.
    struct Observations {
        watch: Watch,
        start: Instant,
    }

    impl Observations {
        fn new() -> Self {
            Self { watch: Watch::new(LEASE), start: Instant::now() }
        }

        fn at(&mut self, seconds: f64, servers: &[(&str, &str)]) -> Vec<(String, u64)> {
            let asked = self.start + Duration::from_secs_f64(seconds);
            let servers =
                servers.iter().map(|(id, score)| ((*id).to_owned(), score.as_bytes().to_vec())).collect();
            let answered = asked + Duration::from_millis(10);
            self.watch.reached(asked);
            let silent = self.watch.observe(servers, asked, answered);
            silent.into_iter().map(|silent| (silent.id, silent.since.as_secs())).collect()
        }
    }

    #[test]
    fn a_score_that_does_not_change_for_a_lease_is_silence() {
        let mut seen = Observations::new();
        assert!(seen.at(0.0, &[("a", "1"), ("b", "1")]).is_empty());
        assert!(seen.at(1.5, &[("a", "1"), ("b", "2")]).is_empty());
        assert!(seen.at(2.0, &[("a", "1"), ("b", "2")]).is_empty(), "10 ms are missing");
        assert_eq!(seen.at(3.4, &[("a", "1"), ("b", "3")]), [("a".to_owned(), 3)]);
        assert_eq!(seen.at(4.5, &[("a", "0"), ("b", "3")]), [], "any other score is a heartbeat");
    }

    #[test]
    fn a_jump_of_all_scores_means_nothing() {
        let mut seen = Observations::new();
        seen.at(0.0, &[("a", "1")]);
        assert!(seen.at(1.9, &[("a", "-60000")]).is_empty());
        assert!(seen.at(3.8, &[("a", "60000")]).is_empty());
    }

    #[test]
    fn after_a_time_without_observations_the_watch_begins_anew() {
        let mut seen = Observations::new();
        seen.at(0.0, &[("a", "1")]);
        assert!(seen.at(30.0, &[("a", "1")]).is_empty());
        assert!(seen.at(31.0, &[("a", "1")]).is_empty());
        assert_eq!(seen.at(32.5, &[("a", "1")]), [("a".to_owned(), 2)]);
    }

    #[test]
    fn who_was_gone_in_between_is_watched_anew() {
        let mut seen = Observations::new();
        seen.at(0.0, &[("a", "1")]);
        seen.at(1.5, &[]);
        assert!(seen.at(3.0, &[("a", "1")]).is_empty());
    }
}
