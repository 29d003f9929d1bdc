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
/// The first pause of busy polling after that.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause. Pauses grow while the processor stays busy.
const LONGEST_PAUSE: Duration = Duration::from_secs(64);

/// Decides whether busy polling pays, for threads that read one connection in turn.
#[derive(Debug, Clone, Copy)]
pub struct BusyPoll {
    enabled: bool,
    /// The recent time until a message arrived.
    usual: Option<Duration>,
    pause: Duration,
    paused_until: Option<Instant>,
}

impl BusyPoll {
    /// Creates a poller. It polls only if `enabled`, and if the machine has another core for other threads.
    pub fn new(enabled: bool) -> Self {
        let enabled = enabled && thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        Self { enabled, usual: None, pause: FIRST_PAUSE, paused_until: None }
    }

    /// Polls with `poll` until it finds something. Returns `None` if the caller is to sleep until a message comes.
    pub fn poll<T>(&mut self, poll: impl FnMut() -> io::Result<Option<T>>) -> io::Result<Option<T>> {
        self.poll_by(Instant::now, poll)
    }

    fn poll_by<T>(
        &mut self,
        mut clock: impl FnMut() -> Instant,
        mut poll: impl FnMut() -> io::Result<Option<T>>,
    ) -> io::Result<Option<T>> {
        let began = clock();
        if !self.pays(began) {
            return Ok(None);
        }
        let mut now = began;
        while now < began + LIMIT {
            if let Some(found) = poll()? {
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
        let until = Instant::now() + FIRST_PAUSE;
        self.paused_until = self.paused_until.max(Some(until));
    }

    fn pays(&self, now: Instant) -> bool {
        self.enabled
            && self.usual.is_some_and(|usual| usual <= LIMIT)
            && self.paused_until.is_none_or(|until| until <= now)
    }

    /// Pauses for longer each time, if the last pause was recent.
    fn back_off(&mut self, now: Instant) {
        let again = self.paused_until.is_some_and(|until| now < until + self.pause);
        self.pause = if again { (self.pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
        self.paused_until = Some(now + self.pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enabled() -> BusyPoll {
        BusyPoll { enabled: true, ..BusyPoll::new(false) }
    }

    fn polls(busy_poll: &mut BusyPoll) -> bool {
        busy_poll.poll(|| Ok(Some(()))).unwrap().is_some()
    }

    #[test]
    fn it_polls_while_answers_come_soon() {
        let mut busy_poll = enabled();
        assert!(!polls(&mut busy_poll), "nothing is known yet");
        busy_poll.note(LIMIT / 2);
        assert!(polls(&mut busy_poll));
        busy_poll.note(LIMIT * 10);
        assert!(!polls(&mut busy_poll));
        for _ in 0..50 {
            busy_poll.note(LIMIT / 2);
        }
        assert!(polls(&mut busy_poll));
        let disabled = &mut BusyPoll { enabled: false, ..busy_poll };
        assert!(!polls(disabled));
    }

    #[test]
    fn it_pauses_after_a_crowd() {
        let mut busy_poll = enabled();
        busy_poll.note(LIMIT / 2);
        let before = Instant::now();
        busy_poll.note_crowd();
        assert!(!busy_poll.pays(before + FIRST_PAUSE / 2));
        assert!(busy_poll.pays(Instant::now() + FIRST_PAUSE));
    }

    /// Polls for something that never comes, where every poll takes `step` whatever else the machine does. Returns
    /// the number of polls, and whether polling still pays.
    fn polls_of(step: Duration) -> (u32, bool) {
        let mut busy_poll = enabled();
        busy_poll.note(LIMIT / 2);
        let start = Instant::now();
        let (mut steps, mut polls) = (0, 0);
        let clock = || {
            steps += 1;
            start + step * (steps - 1)
        };
        let found = busy_poll.poll_by(clock, || {
            polls += 1;
            Ok(None::<()>)
        });
        assert!(found.unwrap().is_none());
        (polls, busy_poll.pays(start + step * polls))
    }

    #[test]
    fn what_does_not_come_is_left() {
        assert_eq!(polls_of(LIMIT / 10), (10, true));
        assert_eq!(polls_of(HELD_UP - Duration::from_nanos(1)), (1, true));
        assert_eq!(polls_of(HELD_UP), (1, false), "others want the processor");
    }

    #[test]
    fn what_fails_is_passed_on() {
        let mut busy_poll = enabled();
        busy_poll.note(LIMIT / 2);
        assert!(busy_poll.poll(|| Err::<Option<()>, _>(io::ErrorKind::TimedOut.into())).is_err());
    }

    #[test]
    fn it_pauses_where_others_want_the_processor_longer_each_time() {
        let mut busy_poll = enabled();
        busy_poll.note(LIMIT / 2);
        let start = Instant::now();
        busy_poll.back_off(start);
        assert!(!busy_poll.pays(start + FIRST_PAUSE / 2) && busy_poll.pays(start + FIRST_PAUSE));
        let mut now = start;
        for times in 1..20 {
            now += busy_poll.pause;
            busy_poll.back_off(now);
            let pause = LONGEST_PAUSE.min(FIRST_PAUSE * 2u32.pow(times));
            assert_eq!((busy_poll.pause, busy_poll.pays(now + pause / 2)), (pause, false));
        }
        now += 3 * LONGEST_PAUSE;
        busy_poll.back_off(now);
        assert_eq!(busy_poll.pause, FIRST_PAUSE, "it went well in between");
    }
}
