//! Estimates when requests arrived whose ids do not tell. The ids of a stream never go back. So if Redis's clock was
//! ahead and has been corrected, new ids stay ahead of the clock for as long as it was.

use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::runtime::sync::Mutex;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far an id may be ahead of the local estimate of Redis's clock in ms. The estimate may be a little wrong.
pub const TOLERATED: u64 = 500;
/// How often the last id is read.
pub const READ_EVERY: Duration = Duration::from_millis(100);
/// How long the last id is still read after no id was ahead any more.
const WATCHED: Duration = Duration::from_secs(10);
/// The most readings that are kept: those of ten minutes.
const KEPT: usize = 6_000;

/// The last id of the inbox at several times.
#[derive(Debug, Default)]
pub struct Arrivals {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When an id was last ahead.
    ahead: Option<Instant>,
    /// The last ids, and when each was first seen.
    readings: VecDeque<(StreamId, Instant)>,
}

impl Arrivals {
    /// Whether ids have been ahead recently, so that the last id must be read.
    pub fn are_watched(&self) -> bool {
        self.state.lock().ahead.is_some_and(|ahead| ahead.elapsed() < WATCHED)
    }

    /// Records that `last` is the last id now.
    pub fn note(&self, last: StreamId) {
        let readings = &mut self.state.lock().readings;
        match readings.back() {
            Some((known, _)) if *known == last => return,
            // The inbox was made anew.
            Some((known, _)) if *known > last => readings.clear(),
            _ => {}
        }
        if readings.len() == KEPT {
            readings.pop_front();
        }
        readings.push_back((last, Instant::now()));
    }

    /// Returns how long the request with this id, which is ahead, has been in the inbox, as far as is known.
    pub fn age(&self, id: StreamId) -> Duration {
        let mut state = self.state.lock();
        state.ahead = Some(Instant::now());
        let first = state.readings.partition_point(|(last, _)| *last < id);
        state.readings.get(first).map_or(Duration::ZERO, |(_, at)| at.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(seq: u64) -> StreamId {
        StreamId { ms: 7, seq }
    }

    #[test]
    fn a_request_is_as_old_as_the_first_reading_that_saw_it() {
        let arrivals = Arrivals::default();
        assert!(!arrivals.are_watched());
        arrivals.note(id(3));
        let pause = Duration::from_millis(20);
        std::thread::sleep(pause);
        arrivals.note(id(3));
        arrivals.note(id(5));
        assert!([1, 3].into_iter().all(|seq| arrivals.age(id(seq)) >= pause));
        assert!(arrivals.age(id(4)) < arrivals.age(id(3)));
        assert_eq!(arrivals.age(id(6)), Duration::ZERO, "nobody has seen it yet");
        assert!(arrivals.are_watched());
    }

    #[test]
    fn an_inbox_that_was_made_anew_is_another_one() {
        let arrivals = Arrivals::default();
        arrivals.note(id(5));
        arrivals.note(id(1));
        assert_eq!(arrivals.age(id(4)), Duration::ZERO);
    }
}
