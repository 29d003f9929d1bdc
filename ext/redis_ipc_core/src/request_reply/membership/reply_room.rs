//! Keeps reply streams from growing without bound: an answer that finds too much unread before it becomes a short
//! rejection.
//!
//! A reply stream is trimmed by its reader. One that is stopped, or that was named by a stranger for the answers to its
//! own requests, would otherwise take whatever is answered until it expires.

use crate::foundation::runtime::sync::Mutex;
use redis::Value;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// After so many bytes of answers Redis is asked how much memory the reply stream of the last one takes: the stream
/// that grows most is asked about most.
const MEASURE: usize = 1 << 20;
/// A reply stream may hold so many answers of the largest size, and at least so many bytes.
const ANSWERS: usize = 16;
const LEAST: usize = 16 << 20;
/// A measurement older than this says nothing any more.
const STALE: Duration = Duration::from_secs(1);
/// Whoever reads gets a burst of answers that is larger: only what has been full for so long, and not shrunk, is full.
const PATIENCE: Duration = Duration::from_secs(1);
/// For how long it is known since when a reply stream has been full. If nobody measured it for longer, it has expired.
const KNOWN: Duration = Duration::from_secs(30);
/// How long Redis is not asked again after it refused to say.
const PAUSE: Duration = Duration::from_secs(60);
/// Answers of fewer bytes are always written: what stands in place of one is no shorter.
const SMALL: usize = 1 << 10;

/// A reply stream that was full when it was measured.
#[derive(Debug, Clone, Copy)]
struct Full {
    used: u64,
    measured: Instant,
    /// When it was full first, and since when it has not shrunk.
    since: Instant,
}

/// How full the reply streams are to which answers go.
#[derive(Debug)]
pub struct ReplyRoom {
    most: u64,
    unmeasured: AtomicUsize,
    full: Mutex<HashMap<String, Full>>,
    refused: Mutex<Option<Instant>>,
}

impl ReplyRoom {
    /// For answers of at most `max_content_size` bytes.
    pub fn new(max_content_size: usize) -> Self {
        Self {
            most: max_content_size.saturating_mul(ANSWERS).max(LEAST) as u64,
            unmeasured: AtomicUsize::new(0),
            full: Mutex::default(),
            refused: Mutex::default(),
        }
    }

    /// Whether to ask how much memory the reply stream takes, now that `size` bytes are added to it.
    pub fn is_to_measure(&self, size: usize) -> bool {
        if self.unmeasured.fetch_add(size, Ordering::Relaxed) + size < MEASURE {
            return false;
        }
        self.unmeasured.store(0, Ordering::Relaxed);
        self.refused.lock().is_none_or(|at| at.elapsed() >= PAUSE)
    }

    /// Takes note of what Redis says to MEMORY USAGE.
    pub fn measured(&self, key: &str, reply: &Value) {
        match reply {
            Value::Int(used) if *used as u64 > self.most => {
                let (used, measured) = (*used as u64, Instant::now());
                let mut full = self.full.lock();
                full.retain(|_, other| other.measured.elapsed() < KNOWN);
                let before = full.get(key).filter(|before| before.used <= used);
                let since = before.map_or(measured, |before| before.since);
                full.insert(key.to_owned(), Full { used, measured, since });
            }
            Value::ServerError(_) => *self.refused.lock() = Some(Instant::now()),
            _ => drop(self.full.lock().remove(key)),
        }
    }

    /// Why an answer of `size` bytes is not sent, if too many bytes wait in the reply stream.
    pub fn refusal(&self, key: &str, size: usize) -> Option<String> {
        let used = self.excess(key, size)?;
        Some(format!(
            "the answer of {size} bytes was not sent: {used} bytes wait unread in the reply stream of the asker, the \
             limit is {} ({ANSWERS} times max_content_size, at least {LEAST})",
            self.most
        ))
    }

    /// How many bytes wait in a reply stream, if they are too many for an answer of `size` bytes.
    fn excess(&self, key: &str, size: usize) -> Option<u64> {
        if size < SMALL {
            return None;
        }
        let found = self.full.lock().get(key).copied()?;
        if found.measured.elapsed() < STALE {
            return (found.since.elapsed() >= PATIENCE).then_some(found.used);
        }
        // This one is let through, and measured.
        self.unmeasured.store(MEASURE, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "house:replies:a:b";

    /// The stream was measured `measured` ago, and was full first `since` ago.
    fn note(room: &ReplyRoom, measured: Duration, since: Duration) {
        let [measured, since] = [measured, since].map(|ago| Instant::now().checked_sub(ago).unwrap());
        room.full.lock().insert(KEY.to_owned(), Full { used: LEAST as u64 + 2, measured, since });
    }

    #[test]
    fn a_stream_is_full_once_it_has_been_for_a_while_until_that_is_stale() {
        let room = ReplyRoom::new(1);
        room.measured(KEY, &Value::Int(LEAST as i64));
        assert_eq!(room.excess(KEY, SMALL), None);
        room.measured(KEY, &Value::Int(LEAST as i64 + 1));
        assert_eq!(room.excess(KEY, SMALL), None, "it may be about to be read");
        note(&room, Duration::ZERO, PATIENCE);
        assert_eq!(room.excess(KEY, SMALL), Some(LEAST as u64 + 2));
        assert_eq!(room.excess(KEY, SMALL - 1), None);
        assert_eq!(room.excess("another", SMALL), None);
        note(&room, STALE, KNOWN);
        assert!(!room.is_to_measure(1));
        assert_eq!(room.excess(KEY, SMALL), None);
        assert!(room.is_to_measure(1));
        room.measured(KEY, &Value::Int(LEAST as i64 + 2));
        assert_eq!(room.excess(KEY, SMALL), Some(LEAST as u64 + 2), "it still is");
        room.measured(KEY, &Value::Nil);
        assert_eq!(room.excess(KEY, SMALL), None);
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
        let half = [room.is_to_measure(MEASURE / 2), room.is_to_measure(MEASURE / 2)];
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
