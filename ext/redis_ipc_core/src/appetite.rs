//! How many entries a reader asks for at once, after a read that broke its connection.
//!
//! Redis closes a connection whose unread replies exceed `client-output-buffer-limit`; a reply may also exceed our own
//! limits. A reader that asks again for as many entries from the same place repeats that for ever. So after a broken
//! read it asks for one entry. While reads are full it asks for twice as many, up to half of what broke the connection;
//! that ceiling rises again slowly. An entry that breaks several connections when it is read alone is given up on.

use std::time::{Duration, Instant};

/// How long the ceiling stays before it is doubled.
const RECOVERY: Duration = Duration::from_secs(10);
/// An entry that breaks so many connections in a row, each while it is read alone and at once, is given up on. A
/// server that closes connections for other reasons does not close three in a row within the moment each read takes.
const STRIKES: u32 = 3;

/// How many entries are asked for at once.
#[derive(Debug, Clone, Copy)]
pub struct Appetite {
    most: usize,
    count: usize,
    ceiling: usize,
    raised: Option<Instant>,
    /// The connections in a row that broke while one entry was read.
    strikes: u32,
    /// The last read broke its connection, and none has succeeded since.
    is_probing: bool,
}

impl Appetite {
    /// For a reader that asks for `most` entries where nothing forbids it.
    pub fn new(most: usize) -> Self {
        Self { most, count: most, ceiling: most, raised: None, strikes: 0, is_probing: false }
    }

    /// How many entries to ask for at `now`.
    pub fn count(&mut self, now: Instant) -> usize {
        while let Some(raised) = self.raised
            && now.saturating_duration_since(raised) >= RECOVERY
        {
            self.ceiling = (self.ceiling * 2).min(self.most);
            self.raised = (self.ceiling < self.most).then(|| raised + RECOVERY);
        }
        self.count
    }

    /// Whether the next read is to find out what broke the last one. It must not wait for entries to arrive: what
    /// breaks a connection that waits says nothing about an entry.
    pub fn is_probing(&self) -> bool {
        self.is_probing
    }

    /// Notes that a read brought `found` entries, where `asked` were asked for.
    pub fn ate(&mut self, asked: usize, found: usize) {
        (self.strikes, self.is_probing) = (0, false);
        if self.count < self.most && found >= asked && asked >= self.count {
            self.count = (self.count * 2).min(self.ceiling.max(1));
        }
        if self.ceiling == self.most && found < asked {
            self.count = self.most;
        }
    }

    /// Notes that the server broke the connection over a read of `asked` entries, or sent a reply over our limits. True
    /// if the first entry is to be given up on: it breaks each connection alone.
    pub fn choked(&mut self, asked: usize, now: Instant) -> bool {
        if self.is_probing && asked == 1 {
            self.strikes += 1;
        }
        if asked > 1 {
            self.ceiling = (asked / 2).max(1);
            self.raised = Some(now);
        }
        (self.count, self.is_probing) = (1, true);
        let gives_up = self.strikes >= STRIKES;
        if gives_up {
            self.strikes = 0;
        }
        gives_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn after_a_broken_read_it_begins_with_one_and_stays_below_what_broke_it() {
        let (mut appetite, now) = (Appetite::new(512), Instant::now());
        assert_eq!(appetite.count(now), 512);
        assert!(!appetite.choked(512, now));
        assert!(appetite.is_probing());
        for expected in [1, 2, 4, 8] {
            assert_eq!(appetite.count(now), expected);
            appetite.ate(expected, expected);
            assert!(!appetite.is_probing());
        }
        assert!(!appetite.choked(16, now));
        for expected in [1, 2, 4, 8, 8] {
            assert_eq!(appetite.count(now), expected);
            appetite.ate(expected, expected);
        }
    }

    #[test]
    fn it_recovers_slowly() {
        let (mut appetite, now) = (Appetite::new(8), Instant::now());
        appetite.choked(2, now);
        appetite.ate(1, 1);
        assert_eq!(appetite.count(now), 1);
        let mut later = now;
        for expected in [2, 4, 8] {
            later += RECOVERY;
            appetite.count(later);
            appetite.ate(appetite.count, appetite.count);
            assert_eq!(appetite.count(later), expected);
        }
        assert!(appetite.raised.is_none());
        appetite.choked(2, later);
        appetite.count(later + RECOVERY * 100);
        appetite.ate(1, 0);
        assert_eq!(appetite.count(later), 8, "nothing waits, so nothing is known against it");
    }

    #[test]
    fn an_entry_that_cannot_be_read_alone_is_given_up_on() {
        let (mut appetite, now) = (Appetite::new(512), Instant::now());
        assert!(!appetite.choked(512, now));
        assert_eq!([1, 2, 3].map(|_| appetite.choked(1, now)), [false, false, true]);
        assert_eq!([1, 2, 3].map(|_| appetite.choked(1, now)), [false, false, true], "the next one");
    }

    #[test]
    fn a_read_that_succeeds_in_between_acquits_the_entry() {
        let (mut appetite, now) = (Appetite::new(1), Instant::now());
        for _ in 0..10 {
            assert!(!appetite.choked(1, now));
            assert!(!appetite.choked(1, now));
            appetite.ate(1, 1);
        }
    }

    proptest! {
        #[test]
        fn it_is_always_between_one_and_the_most(most in 1usize..600, steps in proptest::collection::vec((any::<bool>(), 0usize..600, 0u64..30), 0..100)) {
            let (mut appetite, mut now) = (Appetite::new(most), Instant::now());
            for (breaks, found, seconds) in steps {
                now += Duration::from_secs(seconds);
                let count = appetite.count(now);
                prop_assert!((1..=most).contains(&count));
                if breaks { appetite.choked(count, now); } else { appetite.ate(count, found.min(count)); }
            }
        }
    }
}
