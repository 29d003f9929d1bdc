//! Looking for an answer (or a request) again and again for a while, before sleeping until it comes. Linux has this for
//! its sockets, under the same name (<https://docs.kernel.org/networking/napi.html#busy-polling>).
//!
//! A core that has gone idle takes long to wake: bench/RESULTS.md has what that costs a lone call. So who waits alone
//! looks first, as long as what it waits for comes before the looking would end, and as long as nobody else wants the
//! processor: after each look it is offered to others, and where they keep it, the looking rests.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// How long somebody looks.
const LIMIT: Duration = Duration::from_micros(150);
/// Who is kept from the processor for this long shares it with somebody who has more to do than to answer.
const HELD_UP: Duration = Duration::from_micros(500);
/// How long the looking rests then: at first, and at most if that goes on.
const REST: Duration = Duration::from_millis(20);
const MOST_REST: Duration = Duration::from_secs(64);

/// Whether looking pays, for those who read one connection one after the other.
#[derive(Debug, Clone, Copy)]
pub struct BusyPoll {
    enabled: bool,
    /// How long it took lately.
    usual: Option<Duration>,
    rest: Duration,
    rests_until: Option<Instant>,
}

impl BusyPoll {
    /// Looks only if `enabled`, and if others have a core to run on.
    pub fn new(enabled: bool) -> Self {
        let enabled = enabled && thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        Self { enabled, usual: None, rest: REST, rests_until: None }
    }

    /// Looks until there is something; `None` if it is to be waited for asleep.
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

    /// Notes how long it was looked and waited for.
    pub fn note(&mut self, waited: Duration) {
        self.usual = Some(self.usual.map_or(waited, |usual| (usual * 7 + waited) / 8));
    }

    /// Notes that several came together: there is enough to do for the processor without looking.
    pub fn note_crowd(&mut self) {
        let until = Instant::now() + REST;
        self.rests_until = self.rests_until.max(Some(until));
    }

    fn pays(&self, now: Instant) -> bool {
        self.enabled
            && self.usual.is_some_and(|usual| usual <= LIMIT)
            && self.rests_until.is_none_or(|until| until <= now)
    }

    /// Rests for longer each time, if the last time was not long ago.
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

    /// How often something is looked for that does not come, where every look takes `step`, whatever else the machine
    /// does; and whether looking pays after that.
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
