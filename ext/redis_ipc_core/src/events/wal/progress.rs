//! Tracks the position up to which everything is done, at the boundaries of transactions.

use crate::foundation::postgres::pgoutput::lsn::Lsn;
use std::collections::BTreeMap;

/// The transactions that were begun here and are not done. The memory depends only on their number, however many later
/// ones are done.
#[derive(Debug, Default)]
pub struct Progress {
    open: BTreeMap<u64, Open>,
    numbers: u64,
    /// Every transaction that ends before this position has been read.
    border: Lsn,
}

#[derive(Debug)]
struct Open {
    /// Every transaction that ends before this position was read before this one.
    before: Lsn,
    /// Its events that are not done.
    left: usize,
    /// Whether it was read to its end.
    is_read: bool,
}

impl Progress {
    /// Begins a transaction, and returns its number.
    pub fn begin(&mut self) -> u64 {
        self.numbers += 1;
        self.open.insert(self.numbers, Open { before: self.border, left: 0, is_read: false });
        self.numbers
    }

    /// Adds an event to a transaction.
    pub fn add(&mut self, number: u64) {
        if let Some(open) = self.open.get_mut(&number) {
            open.left += 1;
        }
    }

    /// Ends the reading of a transaction that ends at `end`.
    pub fn end(&mut self, number: u64, end: Lsn) {
        self.border = self.border.max(end);
        if let Some(open) = self.open.get_mut(&number) {
            open.is_read = true;
            self.tidy(number);
        }
    }

    /// Records that an event of a transaction is done.
    pub fn done(&mut self, number: u64) {
        if let Some(open) = self.open.get_mut(&number) {
            open.left = open.left.saturating_sub(1);
            self.tidy(number);
        }
    }

    /// Whether a transaction is not done.
    pub fn is_open(&self, number: u64) -> bool {
        self.open.contains_key(&number)
    }

    fn tidy(&mut self, number: u64) {
        if self.open.get(&number).is_some_and(|open| open.is_read && open.left == 0) {
            self.open.remove(&number);
        }
    }

    /// Records that the server has read the log up to `lsn`, and has sent every transaction that ends before that.
    pub fn reached(&mut self, lsn: Lsn) {
        self.border = self.border.max(lsn);
    }

    /// Begins again at `lsn`, on a server with another log. Transactions under way no longer count. Returns the number
    /// of the first transaction that will be read from it.
    pub fn restart(&mut self, lsn: Lsn) -> u64 {
        self.open.clear();
        self.border = lsn;
        self.numbers + 1
    }

    /// Returns the position before which everything is done.
    pub fn confirmed(&self) -> Lsn {
        self.open.first_key_value().map_or(self.border, |(_, open)| open.before)
    }

    /// Returns how many transactions are not done.
    pub fn open(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_a_border_below_which_all_is_done_is_confirmed() {
        let mut progress = Progress::default();
        progress.reached(Lsn(10));
        let one = progress.begin();
        progress.add(one);
        progress.done(one);
        assert_eq!(progress.confirmed(), Lsn(10), "the transaction is not read as a whole");
        progress.add(one);
        progress.end(one, Lsn(20));
        let two = progress.begin();
        progress.add(two);
        progress.end(two, Lsn(30));
        progress.reached(Lsn(40));
        progress.done(two);
        assert_eq!(progress.confirmed(), Lsn(10));
        progress.done(one);
        assert_eq!((progress.confirmed(), progress.open()), (Lsn(40), 0));
    }

    proptest! {
        /// The transactions end at 10, 20, 30 and so on, and their events are done in any order.
        #[test]
        fn what_is_confirmed_is_done(sizes in prop::collection::vec(0usize..4, 1..20), seed: Vec<prop::sample::Index>) {
            let mut progress = Progress::default();
            let mut left: Vec<usize> = Vec::new();
            let mut events = Vec::new();
            for (place, size) in sizes.iter().enumerate() {
                let number = progress.begin();
                for _ in 0..*size {
                    progress.add(number);
                    events.push((place, number));
                }
                progress.end(number, Lsn(10 * (place as u64 + 1)));
                left.push(*size);
            }
            for index in seed {
                if events.is_empty() {
                    break;
                }
                let (place, number) = events.swap_remove(index.index(events.len()));
                progress.done(number);
                left[place] -= 1;
                let done = left.iter().take_while(|left| **left == 0).count();
                prop_assert_eq!(progress.confirmed(), Lsn(10 * done as u64));
            }
        }
    }
}
