//! Busy polling: a thread polls for an answer (or a request) for a short time before it sleeps. Linux has the same
//! for its sockets (<https://docs.kernel.org/networking/napi.html#busy-polling>).
//!
//! An idle core takes long to wake; bench/RESULTS.md has what that costs a single call. So a thread that waits alone
//! polls first, as long as messages usually arrive within the polling time and no other thread needs the processor.
//! After each poll the thread yields the processor. If another thread then holds it for long, busy polling pauses.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// How long a thread polls before it sleeps.
const LIMIT: Duration = Duration::from_micros(150);
/// If a yielding thread gets the processor back only after this time, another thread has more work than to answer.
const HELD_UP: Duration = Duration::from_micros(500);
/// The first pause of busy polling after that. It is also the longest, if the processor stays busy.
const REST: Duration = Duration::from_millis(20);
const MOST_REST: Duration = Duration::from_secs(64);

/// Decides whether busy polling pays, for threads that read one connection in turn.
#[derive(Debug, Clone, Copy)]
pub struct BusyPoll {
    enabled: bool,
    /// The recent time until a message arrived.
    usual: Option<Duration>,
    rest: Duration,
    rests_until: Option<Instant>,
}

impl BusyPoll {
    /// Creates a poller. It polls only if `enabled`, and if the machine has another core for other threads.
    pub fn new(enabled: bool) -> Self {
        let enabled = enabled && thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        Self { enabled, usual: None, rest: REST, rests_until: None }
    }

    /// Polls with `look` until it finds something. Returns `None` if the caller is to sleep until a message comes.
    pub fn look<T>(&mut self, look: impl FnMut() -> io::Result<Option<T>>) -> io::Result<Option<T>> {
        self.look_by(Instant::now, look)
    }

    fn look_by<T>(
        &mut self,
        mut clock: impl FnMut() -> Instant,
        mut look: impl FnMut() -> io::Result<Option<T>>,
    ) -> io::Result<Option<T>> {
        let began = clock();
        if !self.pays(began) {
            return Ok(None);
        }
        let mut now = began;
        while now < began + LIMIT {
            if let Some(found) = look()? {
                return Ok(Some(found));
            }
            thread::yield_now();
            let before = std::mem::replace(&mut now, clock());
            if now - before >= HELD_UP {
                self.back_off(now);
                break;
            }
        }
        Ok(None)
    }

    /// Records how long a message took to arrive, polling included.
    pub fn note(&mut self, waited: Duration) {
        self.usual = Some(self.usual.map_or(waited, |usual| (usual * 7 + waited) / 8));
    }

    /// Records that several messages came together: the processor has enough to do without polling.
    pub fn note_crowd(&mut self) {
        let until = Instant::now() + REST;
        self.rests_until = self.rests_until.max(Some(until));
    }

    fn pays(&self, now: Instant) -> bool {
        self.enabled
            && self.usual.is_some_and(|usual| usual <= LIMIT)
            && self.rests_until.is_none_or(|until| until <= now)
    }

    /// Pauses for longer each time, if the last pause was recent.
    fn back_off(&mut self, now: Instant) {
        let again = self.rests_until.is_some_and(|until| now < until + self.rest);
        self.rest = if again { (self.rest * 2).min(MOST_REST) } else { REST };
        self.rests_until = Some(now + self.rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enabled() -> BusyPoll {
        BusyPoll { enabled: true, ..BusyPoll::new(false) }
    }

    fn looks(busy_poll: &mut BusyPoll) -> bool {
        busy_poll.look(|| Ok(Some(()))).unwrap().is_some()
    }

    #[test]
    fn it_looks_while_answers_come_soon() {
        let mut busy_poll = enabled();
        assert!(!looks(&mut busy_poll), "nothing is known yet");
        busy_poll.note(LIMIT / 2);
        assert!(looks(&mut busy_poll));
        busy_poll.note(LIMIT * 10);
        assert!(!looks(&mut busy_poll));
        for _ in 0..50 {
            busy_poll.note(LIMIT / 2);
        }
        assert!(looks(&mut busy_poll));
        let disabled = &mut BusyPoll { enabled: false, ..busy_poll };
        assert!(!looks(disabled));
    }

    #[test]
    fn it_rests_after_a_crowd() {
        let mut busy_poll = enabled();
        busy_poll.note(LIMIT / 2);
        let before = Instant::now();
        busy_poll.note_crowd();
        assert!(!busy_poll.pays(before + REST / 2));
        assert!(busy_poll.pays(Instant::now() + REST));
    }

    /// Polls for something that never comes, where every poll takes `step` whatever else the machine does. Returns
    /// the number of polls, and whether polling still pays.
    fn looks_of(step: Duration) -> (u32, bool) {
        let mut busy_poll = enabled();
        busy_poll.note(LIMIT / 2);
        let start = Instant::now();
        let (mut steps, mut looks) = (0, 0);
        let clock = || {
            steps += 1;
            start + step * (steps - 1)
        };
        let found = busy_poll.look_by(clock, || {
            looks += 1;
            Ok(None::<()>)
        });
        assert!(found.unwrap().is_none());
        (looks, busy_poll.pays(start + step * looks))
    }

    #[test]
    fn what_does_not_come_is_left() {
        assert_eq!(looks_of(LIMIT / 10), (10, true));
        assert_eq!(looks_of(HELD_UP - Duration::from_nanos(1)), (1, true));
        assert_eq!(looks_of(HELD_UP), (1, false), "others want the processor");
    }

    #[test]
    fn what_fails_is_passed_on() {
        let mut busy_poll = enabled();
        busy_poll.note(LIMIT / 2);
        assert!(busy_poll.look(|| Err::<Option<()>, _>(io::ErrorKind::TimedOut.into())).is_err());
    }

    #[test]
    fn it_rests_where_others_want_the_processor_longer_each_time() {
        let mut busy_poll = enabled();
        busy_poll.note(LIMIT / 2);
        let start = Instant::now();
        busy_poll.back_off(start);
        assert!(!busy_poll.pays(start + REST / 2) && busy_poll.pays(start + REST));
        let mut now = start;
        for times in 1..20 {
            now += busy_poll.rest;
            busy_poll.back_off(now);
            let rest = MOST_REST.min(REST * 2u32.pow(times));
            assert_eq!((busy_poll.rest, busy_poll.pays(now + rest / 2)), (rest, false));
        }
        now += 3 * MOST_REST;
        busy_poll.back_off(now);
        assert_eq!(busy_poll.rest, REST, "it went well in between");
    }
}
