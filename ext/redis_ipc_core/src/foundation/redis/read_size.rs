//! Limits how many entries a reader requests at once, after a read broke its connection.
//!
//! Redis closes a connection whose unread replies exceed `client-output-buffer-limit`; a reply may also exceed our
//! own limits. A reader that requests as many entries again from the same place repeats that for ever. So after a
//! broken read it requests one entry. While reads return as many as requested it doubles the number, up to half of
//! what broke the connection; that ceiling rises again slowly. The reader gives up on an entry that breaks several
//! connections when it is read alone.
//!
//! Outages break connections as well, and say nothing about an entry. So a broken read of one entry counts only if
//! the server serves right after it: the first attempt to connect succeeds, and the new connection gets a prompt
//! reply to `PING`. Otherwise the entry is acquitted.

use crate::foundation::redis::connection::is_unreadable;
use crate::foundation::runtime::sync::Mutex;
use redis::RedisResult;
use std::time::{Duration, Instant};

/// The time until the ceiling is doubled.
const RECOVERY: Duration = Duration::from_secs(10);
/// The reader gives up on an entry that breaks this many connections in a row, each right after the entry was
/// requested alone. A server that closes connections for other reasons, and serves in between, does not close three
/// in a row within the short time of each read.
const STRIKES: u32 = 3;

/// The number of entries that a reader requests at once.
#[derive(Debug, Clone, Copy)]
pub struct ReadSize {
    most: usize,
    count: usize,
    ceiling: usize,
    raised: Option<Instant>,
    /// The connections in a row that broke while one entry was read, and whose server served right after.
    strikes: u32,
    /// A connection broke while one entry was read. It is not known yet whether that counts.
    is_suspect: bool,
    /// The last read broke its connection, and no read has succeeded since.
    is_probing: bool,
}

impl ReadSize {
    /// Creates the limit for a reader that requests `most` entries where nothing forbids it.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            count: most,
            ceiling: most,
            raised: None,
            strikes: 0,
            is_suspect: false,
            is_probing: false,
        }
    }

    /// Returns how many entries to request at `now`.
    pub fn count(&mut self, now: Instant) -> usize {
        while let Some(raised) = self.raised
            && now.saturating_duration_since(raised) >= RECOVERY
        {
            self.ceiling = (self.ceiling * 2).min(self.most);
            self.raised = (self.ceiling < self.most).then(|| raised + RECOVERY);
        }
        self.count
    }

    /// Whether the next read is to find out what broke the last one. It must not wait for entries to arrive, because
    /// a connection that breaks during a wait says nothing about an entry.
    pub fn is_probing(&self) -> bool {
        self.is_probing
    }

    /// Records that a read of `asked` entries returned `found` entries.
    pub fn succeeded(&mut self, asked: usize, found: usize) {
        self.acquit();
        self.is_probing = false;
        if self.count < self.most && found >= asked && asked >= self.count {
            self.count = (self.count * 2).min(self.ceiling.max(1));
        }
        if self.ceiling == self.most && found < asked {
            self.count = self.most;
        }
    }

    /// Records that a read of `asked` entries broke its connection: the server closed it, did not send the reply in
    /// time, or sent one over our limits. Where an entry can be given up on, [`ReadSize::judge`] decides before the
    /// next read what that means.
    pub fn broke(&mut self, asked: usize, now: Instant) {
        self.is_suspect = self.is_probing && asked == 1;
        if asked > 1 {
            self.ceiling = (asked / 2).max(1);
            self.raised = Some(now);
        }
        (self.count, self.is_probing) = (1, true);
    }

    /// Records what came of a read of `asked` entries. That Redis refused it says nothing about an entry.
    pub fn note<T>(&mut self, asked: usize, read: &RedisResult<Vec<T>>) {
        match read {
            Ok(found) => self.succeeded(asked, found.len()),
            Err(error) if is_unreadable(error) => self.broke(asked, Instant::now()),
            Err(_) => {}
        }
    }

    /// Whether [`ReadSize::judge`] must be called before the next read.
    pub fn is_to_judge(&self) -> bool {
        self.is_suspect
    }

    /// Records whether the server serves promptly right after a broken read. Returns true if the reader is to give up
    /// on the first entry, because it breaks each connection alone.
    pub fn judge(&mut self, serves: bool) -> bool {
        if !serves {
            self.acquit();
        }
        if std::mem::take(&mut self.is_suspect) {
            self.strikes += 1;
        }
        let gives_up = self.strikes >= STRIKES;
        if gives_up {
            self.strikes = 0;
        }
        gives_up
    }

    /// Acquits the first entry: no connection can be made, so this is an outage.
    pub fn acquit(&mut self) {
        (self.strikes, self.is_suspect) = (0, false);
    }
}

/// Judges `read_size` if it must be: `serves` asks whether the server serves promptly. Returns true if the reader is to
/// give up on the first entry.
pub fn gives_up<E>(read_size: &Mutex<ReadSize>, serves: impl FnOnce() -> Result<bool, E>) -> Result<bool, E> {
    if !read_size.lock().is_to_judge() {
        return Ok(false);
    }
    let serves = serves()?;
    Ok(read_size.lock().judge(serves))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn after_a_broken_read_it_begins_with_one_and_stays_below_what_broke_it() {
        let (mut read_size, now) = (ReadSize::new(512), Instant::now());
        assert_eq!(read_size.count(now), 512);
        read_size.broke(512, now);
        assert!(read_size.is_probing());
        for expected in [1, 2, 4, 8] {
            assert_eq!(read_size.count(now), expected);
            read_size.succeeded(expected, expected);
            assert!(!read_size.is_probing());
        }
        read_size.broke(16, now);
        for expected in [1, 2, 4, 8, 8] {
            assert_eq!(read_size.count(now), expected);
            read_size.succeeded(expected, expected);
        }
    }

    #[test]
    fn it_recovers_slowly() {
        let (mut read_size, now) = (ReadSize::new(8), Instant::now());
        read_size.broke(2, now);
        read_size.succeeded(1, 1);
        assert_eq!(read_size.count(now), 1);
        let mut later = now;
        for expected in [2, 4, 8] {
            later += RECOVERY;
            read_size.count(later);
            read_size.succeeded(read_size.count, read_size.count);
            assert_eq!(read_size.count(later), expected);
        }
        assert!(read_size.raised.is_none());
        read_size.broke(2, later);
        read_size.count(later + RECOVERY * 100);
        read_size.succeeded(1, 0);
        assert_eq!(read_size.count(later), 8, "nothing waits, so nothing is known against it");
    }

    /// Breaks the connection while one entry is read. `serves` says whether the server serves after that.
    fn break_one(read_size: &mut ReadSize, serves: bool) -> bool {
        read_size.broke(1, Instant::now());
        read_size.judge(serves)
    }

    #[test]
    fn an_entry_that_cannot_be_read_alone_is_given_up_on() {
        let (mut read_size, now) = (ReadSize::new(512), Instant::now());
        read_size.broke(512, now);
        assert!(!read_size.is_to_judge() && !read_size.judge(true));
        assert_eq!([1, 2, 3].map(|_| break_one(&mut read_size, true)), [false, false, true]);
        assert_eq!([1, 2, 3].map(|_| break_one(&mut read_size, true)), [false, false, true], "the next one");
    }

    #[test]
    fn an_outage_acquits_the_entry() {
        let mut read_size = ReadSize::new(512);
        read_size.broke(512, Instant::now());
        for _ in 0..10 {
            assert_eq!([true, true, false].map(|serves| break_one(&mut read_size, serves)), [false; 3]);
        }
        // A failed attempt to connect counts also before a read was tried.
        assert_eq!([true, true].map(|serves| break_one(&mut read_size, serves)), [false; 2]);
        read_size.acquit();
        assert_eq!([1, 2, 3].map(|_| break_one(&mut read_size, true)), [false, false, true]);
    }

    #[test]
    fn a_break_counts_once() {
        let mut read_size = ReadSize::new(512);
        read_size.broke(512, Instant::now());
        read_size.broke(1, Instant::now());
        assert!((0..10).all(|_| !read_size.judge(true)));
    }

    #[test]
    fn a_read_that_succeeds_in_between_acquits_the_entry() {
        let mut read_size = ReadSize::new(1);
        for _ in 0..10 {
            assert!(!break_one(&mut read_size, true));
            assert!(!break_one(&mut read_size, true));
            read_size.succeeded(1, 1);
        }
    }

    proptest! {
        #[test]
        fn it_is_always_between_one_and_the_most(most in 1usize..600, steps in proptest::collection::vec((any::<bool>(), 0usize..600, 0u64..30), 0..100)) {
            let (mut read_size, mut now) = (ReadSize::new(most), Instant::now());
            for (breaks, found, seconds) in steps {
                now += Duration::from_secs(seconds);
                let count = read_size.count(now);
                prop_assert!((1..=most).contains(&count));
                if breaks { read_size.broke(count, now); } else { read_size.succeeded(count, found.min(count)); }
            }
        }
    }
}
