//! An estimate of Redis's clock. Deadlines use it, so the clocks of the machines need not agree.

use crate::foundation::redis::connection::Connection;
use crate::foundation::runtime::sync::Mutex;
use redis::{RedisResult, Value};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// Redis's time in ms since 1970. A monotonic clock advances it between readings of `TIME`, so a step of this
/// machine's wall clock moves no deadline.
pub struct Clock {
    origin: Instant,
    offset: AtomicI64,
    best: Mutex<Option<(Duration, Instant)>>,
    step: Mutex<Option<Step>>,
    last_due: Mutex<Option<Instant>>,
}

/// A step of Redis's clock: it was set, or a server with another clock has taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// When the step was noticed.
    pub noticed: Instant,
    /// The clock went back.
    pub is_back: bool,
}

/// A reading that took at most this long is exact enough to replace any other.
const EXACT: Duration = Duration::from_millis(10);
/// The rounding error in ms: two readings are rounded to whole ms.
const ROUNDING: u64 = 2;
/// How long a good reading keeps worse ones out.
const GOOD_FOR: Duration = Duration::from_secs(60);

impl Default for Clock {
    /// Creates a clock that uses this machine's time until it has read Redis's.
    fn default() -> Self {
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self {
            origin: Instant::now(),
            offset: AtomicI64::new(wall.as_millis() as i64),
            best: Mutex::default(),
            step: Mutex::default(),
            last_due: Mutex::default(),
        }
    }
}

impl Clock {
    /// Reads the clock of the server at the other end of `connection`.
    pub fn read(&self, connection: &mut Connection) -> RedisResult<()> {
        let asked = Instant::now();
        self.learn(&connection.run(&redis::cmd("TIME"))?, asked)
    }

    /// Uses the reply to a `TIME` that was sent at `asked` and answered now.
    ///
    /// # Errors
    ///
    /// The reply has another shape.
    pub fn learn(&self, reply: &Value, asked: Instant) -> RedisResult<()> {
        let (seconds, micros): (u64, u64) = redis::from_redis_value_ref(reply)?;
        self.adjust(seconds * 1_000 + micros / 1_000, asked);
        Ok(())
    }

    /// Uses a reading of `TIME` (ms) that was requested at `asked` and arrived now. The reading counts for the middle
    /// of the round trip, as in NTP (RFC 5905, section 8).
    ///
    /// A reading that took long says little. It is used only where there was none for a while, or where it differs by
    /// more than its error. In the latter case the clock was stepped, or it is another server's.
    pub fn adjust(&self, redis_ms: u64, asked: Instant) {
        let took = asked.elapsed();
        let middle = asked + took / 2;
        let since_origin = middle.duration_since(self.origin).as_millis() as i64;
        let offset = redis_ms as i64 - since_origin;
        let mut best = self.best.lock();
        let difference = offset - self.offset.load(Ordering::Relaxed);
        let is_stepped = difference.unsigned_abs() > took.as_millis() as u64 + ROUNDING;
        // The previous estimate may be wrong by its own error as well.
        let is_set = best.is_some_and(|(exactness, _)| {
            u128::from(difference.unsigned_abs()) > (took + exactness + EXACT).as_millis()
        });
        if is_set {
            *self.step.lock() = Some(Step { noticed: Instant::now(), is_back: difference < 0 });
        }
        let is_better = |(exactness, at): (Duration, Instant)| took <= exactness || at.elapsed() >= GOOD_FOR;
        if took <= EXACT || is_stepped || best.is_none_or(is_better) {
            *best = Some((took, Instant::now()));
            self.offset.store(offset, Ordering::Relaxed);
        }
    }

    /// Returns the last step that was noticed.
    pub fn step(&self) -> Option<Step> {
        *self.step.lock()
    }

    /// Whether a step was noticed within `time`.
    pub fn has_stepped_within(&self, time: Duration) -> bool {
        self.step().is_some_and(|step| step.noticed.elapsed() < time)
    }

    /// Returns true if the last call that did so is at least `every` ago.
    pub fn is_due(&self, every: Duration) -> bool {
        let mut last_due = self.last_due.lock();
        let due = last_due.is_none_or(|at| at.elapsed() >= every);
        if due {
            *last_due = Some(Instant::now());
        }
        due
    }

    /// Returns Redis's time now, in ms since 1970.
    pub fn now(&self) -> u64 {
        let now = self.offset.load(Ordering::Relaxed) + self.origin.elapsed().as_millis() as i64;
        now.max(0) as u64
    }

    /// Returns the time left until `deadline` (ms on Redis's clock). `None` once it has passed.
    pub fn until(&self, deadline: u64) -> Option<Duration> {
        deadline.checked_sub(self.now()).filter(|left| *left > 0).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_redis_not_the_machine() {
        let clock = Clock::default();
        clock.adjust(5_000, Instant::now());
        assert!((5_000..6_000).contains(&clock.now()));
        assert!(clock.until(60_000).is_some_and(|left| left <= Duration::from_millis(55_000)));
        assert_eq!(clock.until(4_999), None);
    }

    #[test]
    fn a_slow_reading_counts_where_it_shows_a_step() {
        let (clock, slow) = (Clock::default(), Duration::from_millis(100));
        clock.adjust(50_000, Instant::now());
        assert_eq!(clock.step(), None, "before the first reading nothing was known");
        let Some(asked) = Instant::now().checked_sub(slow) else { return };
        clock.adjust(50_030, asked);
        assert!(clock.now() < 50_030, "it may be off by its round trip");
        assert_eq!(clock.step(), None);
        clock.adjust(110_000, asked);
        assert!((110_000..111_000).contains(&clock.now()));
        assert!(clock.step().is_some_and(|step| !step.is_back));
        clock.adjust(50_000, Instant::now());
        assert!(clock.step().is_some_and(|step| step.is_back));
        assert!(clock.has_stepped_within(Duration::from_secs(60)));
    }
}
