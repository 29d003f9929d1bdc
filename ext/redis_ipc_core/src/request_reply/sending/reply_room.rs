//! Keeps reply streams from growing without bound. If too much is unread before an answer, a short rejection replaces
//! it. If there is no room for that either, the answer is dropped.
//!
//! The reader of a reply stream trims it. Without this limit, a stream whose reader is stopped would take all answers
//! until it expires. So would a stream that a client named for the answers to its own requests.

use crate::foundation::runtime::sync::Mutex;
use redis::Value;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// After this many bytes of answers Redis is asked for the memory use of the last answer's reply stream. So the
/// stream that grows most is measured most often.
const MEASURE: usize = 1 << 20;
/// How many answers of the largest size a reply stream may hold. It may always hold [`LEAST`] bytes.
const ANSWERS: usize = 16;
/// The number of bytes that a reply stream may always hold.
const LEAST: usize = 16 << 20;
/// A measurement older than this is ignored.
const STALE: Duration = Duration::from_secs(1);
/// A reply stream counts as full only if it has been full for this long without shrinking, because a reader may get a
/// large burst of answers.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it is remembered since when a reply stream has been full. If it was not measured for longer, it has
/// expired.
const KNOWN: Duration = Duration::from_secs(30);
/// How long Redis is not asked again after it refused.
const PAUSE: Duration = Duration::from_secs(60);
/// An answer of fewer bytes is written like a rejection, because the rejection that would replace it is no shorter.
/// [`LEAST`] more bytes are reserved for both.
const SMALL: usize = 1 << 10;
/// The estimated size of an answer beside its content, in bytes.
const OVERHEAD: usize = 256;

/// A reply stream that was full when it was measured.
#[derive(Debug, Clone, Copy)]
struct Full {
    used: u64,
    measured: Instant,
    /// When it was first measured as full without having shrunk since.
    since: Instant,
}

/// The reason why an answer is not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRoom {
    /// A short rejection replaces it.
    ForAnswer(String),
    /// Nothing replaces it.
    ForAnything(String),
}

/// The reply streams that answers go to, as far as they are full.
#[derive(Debug)]
pub struct ReplyRoom {
    most: u64,
    unmeasured: AtomicUsize,
    /// Whether `full` has an entry.
    is_any_full: AtomicBool,
    full: Mutex<HashMap<String, Full>>,
    refused: Mutex<Option<Instant>>,
}

impl ReplyRoom {
    /// Creates the limit for answers of at most `max_content_size` bytes.
    pub fn new(max_content_size: usize) -> Self {
        Self {
            most: max_content_size.saturating_mul(ANSWERS).max(LEAST) as u64,
            unmeasured: AtomicUsize::new(0),
            is_any_full: AtomicBool::new(false),
            full: Mutex::default(),
            refused: Mutex::default(),
        }
    }

    /// Whether to measure the reply stream, now that an answer of `size` bytes is added to it.
    pub fn is_to_measure(&self, size: usize) -> bool {
        let size = size + OVERHEAD;
        if self.unmeasured.fetch_add(size, Ordering::Relaxed) + size < MEASURE {
            return false;
        }
        self.unmeasured.store(0, Ordering::Relaxed);
        self.refused.lock().is_none_or(|at| at.elapsed() >= PAUSE)
    }

    /// Records the reply to MEMORY USAGE.
    pub fn measured(&self, key: &str, reply: &Value) {
        match reply {
            Value::Int(used) if *used as u64 > self.most => {
                let (used, measured) = (*used as u64, Instant::now());
                let mut full = self.full.lock();
                full.retain(|_, other| other.measured.elapsed() < KNOWN);
                let before = full.get(key).filter(|before| before.used <= used);
                let since = before.map_or(measured, |before| before.since);
                full.insert(key.to_owned(), Full { used, measured, since });
                self.is_any_full.store(true, Ordering::Relaxed);
            }
            Value::ServerError(_) => *self.refused.lock() = Some(Instant::now()),
            _ => {
                let mut full = self.full.lock();
                full.remove(key);
                self.is_any_full.store(!full.is_empty(), Ordering::Relaxed);
            }
        }
    }

    /// Returns why an answer of `size` bytes is not sent, if too many bytes wait in the reply stream.
    pub fn refusal(&self, key: &str, size: usize) -> Option<NoRoom> {
        let (used, is_overfull) = self.excess(key, size)?;
        let reason = format!(
            "the answer of {size} bytes was not sent: {used} bytes wait unread in the reply stream of the caller, the \
             limit is {} ({ANSWERS} times max_content_size, at least {LEAST}; {LEAST} more for answers of less than \
             {SMALL} bytes)",
            self.most
        );
        Some(if is_overfull { NoRoom::ForAnything(reason) } else { NoRoom::ForAnswer(reason) })
    }

    /// Returns how many bytes wait in a reply stream, if they are too many for an answer of `size` bytes, and whether
    /// they are too many for a rejection as well.
    fn excess(&self, key: &str, size: usize) -> Option<(u64, bool)> {
        if !self.is_any_full.load(Ordering::Relaxed) {
            return None;
        }
        let found = self.full.lock().get(key).copied()?;
        let is_overfull = found.used > self.most.saturating_add(LEAST as u64);
        if found.measured.elapsed() >= STALE {
            // The next answer is measured. It goes as a rejection, because a large answer each second would be too
            // much.
            self.unmeasured.store(MEASURE, Ordering::Relaxed);
            return (is_overfull && size >= SMALL).then_some((found.used, false));
        }
        let is_full = found.since.elapsed() >= PATIENCE && (is_overfull || size >= SMALL);
        is_full.then_some((found.used, is_overfull))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "house:replies:a:b";

    /// Records a stream that was measured `measured` ago, and was first full `since` ago.
    fn note(room: &ReplyRoom, measured: Duration, since: Duration) {
        let [measured, since] = [measured, since].map(|ago| Instant::now().checked_sub(ago).unwrap());
        room.full.lock().insert(KEY.to_owned(), Full { used: LEAST as u64 + 2, measured, since });
        room.is_any_full.store(true, Ordering::Relaxed);
    }

    #[test]
    fn a_stream_is_full_once_it_has_been_for_a_while_until_that_is_stale() {
        let room = ReplyRoom::new(1);
        room.measured(KEY, &Value::Int(LEAST as i64));
        assert_eq!(room.excess(KEY, SMALL), None);
        room.measured(KEY, &Value::Int(LEAST as i64 + 1));
        assert_eq!(room.excess(KEY, SMALL), None, "it may be about to be read");
        note(&room, Duration::ZERO, PATIENCE);
        assert_eq!(room.excess(KEY, SMALL), Some((LEAST as u64 + 2, false)));
        assert_eq!(room.excess(KEY, SMALL - 1), None);
        assert_eq!(room.excess("another", SMALL), None);
        note(&room, STALE, KNOWN);
        assert!(!room.is_to_measure(1));
        assert_eq!(room.excess(KEY, SMALL), None);
        assert!(room.is_to_measure(1));
        room.measured(KEY, &Value::Int(LEAST as i64 + 2));
        assert_eq!(room.excess(KEY, SMALL), Some((LEAST as u64 + 2, false)), "it still is");
        room.measured(KEY, &Value::Nil);
        assert_eq!(room.excess(KEY, SMALL), None);
    }

    #[test]
    fn an_overfull_stream_gets_nothing_but_a_small_one_a_second_that_is_measured() {
        let room = ReplyRoom::new(1);
        let used = 2 * LEAST as u64 + 1;
        note(&room, Duration::ZERO, PATIENCE);
        room.measured(KEY, &Value::Int(used as i64));
        assert_eq!(room.excess(KEY, SMALL - 1), Some((used, true)));
        assert_eq!(room.excess(KEY, SMALL), Some((used, true)));
        room.full.lock().get_mut(KEY).unwrap().measured = Instant::now().checked_sub(STALE).unwrap();
        assert_eq!(room.excess(KEY, SMALL - 1), None);
        assert_eq!(room.excess(KEY, SMALL), Some((used, false)), "a rejection is measured");
        assert!(room.is_to_measure(1));
    }

    #[test]
    fn a_stream_that_shrinks_is_being_read() {
        let room = ReplyRoom::new(1);
        note(&room, Duration::ZERO, PATIENCE);
        room.measured(KEY, &Value::Int(LEAST as i64 + 1));
        assert_eq!(room.excess(KEY, SMALL), None);
    }

    #[test]
    fn what_was_full_long_ago_is_forgotten() {
        let room = ReplyRoom::new(1);
        note(&room, KNOWN, KNOWN);
        room.measured("another", &Value::Int(i64::MAX));
        assert_eq!(room.full.lock().len(), 1);
    }

    #[test]
    fn it_is_measured_now_and_then_unless_redis_refuses() {
        let room = ReplyRoom::new(1 << 30);
        let half = [room.is_to_measure(MEASURE / 2), room.is_to_measure(MEASURE / 2 - 2 * OVERHEAD)];
        assert_eq!(half, [false, true]);
        assert!(!room.is_to_measure(1));
        let refusal = Value::ServerError(
            redis::parse_redis_value(b"-NOPERM x\r\n")
                .ok()
                .and_then(|reply| match reply {
                    Value::ServerError(error) => Some(error),
                    _ => None,
                })
                .unwrap(),
        );
        room.measured(KEY, &refusal);
        assert!(!room.is_to_measure(MEASURE));
    }
}
