//! How many entries a reader asks for at once, after a read that broke its connection.
//!
//! Redis closes a connection whose unread replies exceed `client-output-buffer-limit`; a reply may also exceed our own
//! limits. A reader that asks again for as many entries from the same place repeats that for ever. So after a broken
//! read it asks for one entry. While reads are full it asks for twice as many, up to half of what broke the connection;
//! that ceiling rises again slowly. An entry that breaks several connections when it is read alone is given up on.
//!
//! Outages break connections, too, and say nothing about an entry. So a broken read of one entry counts only if the
//! server serves right after it: a new connection can be made at the first attempt, and a `PING` on it is answered
//! promptly. If not, the entry is acquitted.

use std::time::{Duration, Instant};

/// How long the ceiling stays before it is doubled.
const RECOVERY: Duration = Duration::from_secs(10);
/// An entry that breaks so many connections in a row, each while it is read alone and at once, is given up on. A
/// server that closes connections for other reasons, and serves in between, does not close three in a row within the
/// moment each read takes.
const STRIKES: u32 = 3;

/// How many entries are asked for at once.
#[derive(Debug, Clone, Copy)]
pub struct Appetite {
    most: usize,
    count: usize,
    ceiling: usize,
    raised: Option<Instant>,
    /// The connections in a row that broke while one entry was read, of a server that served right after.
    strikes: u32,
    /// A connection broke while one entry was read. Whether that counts is not known yet.
    is_accused: bool,
    /// The last read broke its connection, and none has succeeded since.
    is_probing: bool,
}

impl Appetite {
    /// For a reader that asks for `most` entries where nothing forbids it.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            count: most,
            ceiling: most,
            raised: None,
            strikes: 0,
            is_accused: false,
            is_probing: false,
        }
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
        self.acquit();
        self.is_probing = false;
        if self.count < self.most && found >= asked && asked >= self.count {
            self.count = (self.count * 2).min(self.ceiling.max(1));
        }
        if self.ceiling == self.most && found < asked {
            self.count = self.most;
        }
    }

    /// Notes that a read of `asked` entries broke its connection: the server closed it, did not send the reply in time,
    /// or sent one over our limits. Before the next read [`Appetite::judge`] says what that means, where an entry can
    /// be given up on.
    pub fn choked(&mut self, asked: usize, now: Instant) {
        self.is_accused = self.is_probing && asked == 1;
        if asked > 1 {
            self.ceiling = (asked / 2).max(1);
            self.raised = Some(now);
        }
        (self.count, self.is_probing) = (1, true);
    }

    /// Whether [`Appetite::judge`] is to be told how well the server serves.
    pub fn is_to_judge(&self) -> bool {
        self.is_accused
    }

    /// Notes whether the server serves (promptly) right after a broken read. True if the first entry is to be given up
    /// on: it breaks each connection alone.
    pub fn judge(&mut self, serves: bool) -> bool {
        if !serves {
            self.acquit();
        }
        if std::mem::take(&mut self.is_accused) {
            self.strikes += 1;
        }
        let gives_up = self.strikes >= STRIKES;
        if gives_up {
            self.strikes = 0;
        }
        gives_up
    }

    /// Notes that nothing is known against the first entry: no connection can be made, so this is an outage.
    pub fn acquit(&mut self) {
        (self.strikes, self.is_accused) = (0, false);
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
        appetite.choked(512, now);
        assert!(appetite.is_probing());
        for expected in [1, 2, 4, 8] {
            assert_eq!(appetite.count(now), expected);
            appetite.ate(expected, expected);
            assert!(!appetite.is_probing());
        }
        appetite.choked(16, now);
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

    /// One entry is read, and breaks its connection; `serves` is what the server does then.
    fn break_one(appetite: &mut Appetite, serves: bool) -> bool {
        appetite.choked(1, Instant::now());
        appetite.judge(serves)
    }

    #[test]
    fn an_entry_that_cannot_be_read_alone_is_given_up_on() {
        let (mut appetite, now) = (Appetite::new(512), Instant::now());
        appetite.choked(512, now);
        assert!(!appetite.is_to_judge() && !appetite.judge(true));
        assert_eq!([1, 2, 3].map(|_| break_one(&mut appetite, true)), [false, false, true]);
        assert_eq!([1, 2, 3].map(|_| break_one(&mut appetite, true)), [false, false, true], "the next one");
    }

    #[test]
    fn an_outage_acquits_the_entry() {
        let mut appetite = Appetite::new(512);
        appetite.choked(512, Instant::now());
        for _ in 0..10 {
            assert_eq!([true, true, false].map(|serves| break_one(&mut appetite, serves)), [false; 3]);
        }
        // A connection that cannot be made counts also before a read was tried on one.
        assert_eq!([true, true].map(|serves| break_one(&mut appetite, serves)), [false; 2]);
        appetite.acquit();
        assert_eq!([1, 2, 3].map(|_| break_one(&mut appetite, true)), [false, false, true]);
    }

    #[test]
    fn a_break_counts_once() {
        let mut appetite = Appetite::new(512);
        appetite.choked(512, Instant::now());
        appetite.choked(1, Instant::now());
        assert!((0..10).all(|_| !appetite.judge(true)));
    }

    #[test]
    fn a_read_that_succeeds_in_between_acquits_the_entry() {
        let mut appetite = Appetite::new(1);
        for _ in 0..10 {
            assert!(!break_one(&mut appetite, true));
            assert!(!break_one(&mut appetite, true));
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
