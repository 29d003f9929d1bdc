//! How far a lane has come in this process: which events were read, and which of them are not done.

use crate::events::lanes::checkpoint::{Checkpoint, Tries};
use crate::foundation::payload::stream_entry::StreamId;
use std::collections::BTreeMap;

/// How far the owner of a lane has come.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Progress {
    /// All entries up to this id were read. Those of the lane are either in `undone` or done.
    cursor: StreamId,
    /// How many entries the stream has had up to `cursor`. `None` if that is not known.
    ordinal: Option<u64>,
    /// The highest event that this owner has finished, or where it began.
    upto: StreamId,
    undone: BTreeMap<StreamId, Undone>,
    /// What the previous owner had done beyond `cursor`.
    inherited: Checkpoint,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Undone {
    ordinal: Option<u64>,
    tries: Tries,
}

impl Progress {
    /// Continues from a checkpoint.
    pub fn resume(checkpoint: Checkpoint) -> Self {
        Self {
            cursor: checkpoint.position,
            ordinal: checkpoint.ordinal,
            upto: checkpoint.position,
            undone: BTreeMap::new(),
            inherited: checkpoint,
        }
    }

    /// Returns the id after which the next read begins.
    pub fn cursor(&self) -> StreamId {
        self.cursor
    }

    /// Returns how many entries the stream has had up to the cursor.
    pub fn ordinal(&self) -> Option<u64> {
        self.ordinal
    }

    /// Returns how many events are not done.
    pub fn len(&self) -> usize {
        self.undone.len()
    }

    /// Returns the first event that is not done.
    #[cfg(test)]
    pub fn first(&self) -> Option<StreamId> {
        self.undone.first_key_value().map(|(id, _)| *id)
    }

    /// Moves the cursor to an entry that was read.
    pub fn read(&mut self, id: StreamId, ordinal: Option<u64>) {
        if id > self.cursor {
            (self.cursor, self.ordinal) = (id, ordinal);
        }
    }

    /// Records how many entries the stream has had up to the cursor.
    pub fn count(&mut self, ordinal: u64) {
        self.ordinal = Some(ordinal);
    }

    /// Adds an event of this lane that was read. Returns what is known about its tries. Returns `None` if it must not
    /// be handled, because it is already here or done.
    pub fn admit(&mut self, id: StreamId, ordinal: Option<u64>) -> Option<Tries> {
        if id <= self.cursor || self.inherited.is_done(id) {
            return None;
        }
        let tries = self.inherited.left.get(&id).copied().unwrap_or_default();
        self.undone.insert(id, Undone { ordinal, tries });
        Some(tries)
    }

    /// Records that an event is done. Returns false if it was not open.
    pub fn finish(&mut self, id: StreamId) -> bool {
        let was_open = self.undone.remove(&id).is_some();
        if was_open {
            self.upto = self.upto.max(id);
        }
        was_open
    }

    /// Records the tries of an open event.
    pub fn tried(&mut self, id: StreamId, tries: Tries) {
        if let Some(undone) = self.undone.get_mut(&id) {
            undone.tries = tries;
        }
    }

    /// Whether there are events that the previous owner had skipped and that are not done. It may have died by one of
    /// them.
    pub fn has_inherited(&self) -> bool {
        let passed = self.inherited.left.range(..=self.inherited.upto);
        passed
            .filter(|(_, tries)| !tries.is_held)
            .any(|(id, _)| *id > self.cursor || self.undone.contains_key(id))
    }

    /// Forgets everything after `position`, because the stream has lost it.
    pub fn roll_back(&mut self, position: StreamId, ordinal: Option<u64>) {
        *self = Self::resume(Checkpoint::starting_at(position, ordinal));
    }

    /// Returns the checkpoint as of now.
    pub fn checkpoint(&self) -> Checkpoint {
        let upto = self.inherited.upto.max(self.upto);
        let unread = self.inherited.left.range(self.cursor.next()..).map(|(id, tries)| (*id, *tries));
        let open = self.undone.iter().map(|(id, undone)| (*id, undone.tries));
        // An event beyond `upto` that was not tried need not be listed: it will be read again.
        let left: BTreeMap<StreamId, Tries> =
            open.chain(unread).filter(|(id, tries)| *id < upto || *tries != Tries::default()).collect();
        let first = self.undone.first_key_value();
        let (position, ordinal) = match first {
            Some((id, undone)) => (id.previous(), undone.ordinal.map(|ordinal| ordinal.saturating_sub(1))),
            None => (self.cursor, self.ordinal),
        };
        Checkpoint { position, ordinal, upto: upto.max(position), left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn id(ms: u64) -> StreamId {
        StreamId { ms, seq: 0 }
    }

    fn read(progress: &mut Progress, ms: u64) -> Option<Tries> {
        let tries = progress.admit(id(ms), Some(ms));
        progress.read(id(ms), Some(ms));
        tries
    }

    #[test]
    fn what_is_done_out_of_order_is_not_done_again() {
        let mut progress = Progress::resume(Checkpoint::default());
        for ms in 1..=5 {
            read(&mut progress, ms);
        }
        progress.finish(id(2));
        progress.finish(id(4));
        progress.tried(id(3), Tries { count: 2, is_held: false });
        progress.tried(id(5), Tries { count: 1, is_held: true });
        let checkpoint = progress.checkpoint();
        assert_eq!(checkpoint.to_string(), format!("{} 0 4-0 1-0 3-0*2 5-0*1!", id(1).previous()));
        let mut next = Progress::resume(checkpoint);
        let again: Vec<Option<u32>> =
            (1..=6).map(|ms| read(&mut next, ms).map(|tries| tries.count)).collect();
        assert_eq!(again, [Some(0), None, Some(2), None, Some(1), Some(0)]);
    }

    #[test]
    fn entries_of_other_lanes_move_the_position() {
        let mut progress = Progress::resume(Checkpoint::default());
        read(&mut progress, 3);
        progress.read(id(9), Some(9));
        progress.finish(id(3));
        assert_eq!(progress.checkpoint().to_string(), "9-0 9 9-0");
    }

    #[test]
    fn what_the_owner_before_had_done_stays_done_while_this_one_is_not_there_yet() {
        let text = b"1-0 1 9-0 2-0 4-0*3";
        let mut progress = Progress::resume(Checkpoint::parse(text).unwrap());
        assert_eq!(progress.checkpoint().to_string().as_bytes(), text, "unread");
        read(&mut progress, 2);
        progress.finish(id(2));
        assert_eq!(progress.checkpoint().to_string(), "2-0 2 9-0 4-0*3");
        // The event 4-0 was trimmed or deleted meanwhile.
        read(&mut progress, 10);
        progress.finish(id(10));
        assert_eq!(progress.checkpoint().to_string(), "10-0 10 10-0");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever the order in which events are done, and whenever owners change: each event is handled until it is
        /// done, and no event is handled again that a checkpoint says is done.
        #[test]
        fn nothing_is_lost_and_nothing_that_was_saved_runs_again(
            steps in proptest::collection::vec((0u8..4, 1u64..12), 1..80)
        ) {
            let mut saved = Checkpoint::default();
            let mut progress = Progress::resume(saved.clone());
            // What was done by anyone, what this owner knows to be done, and what the checkpoint says of that.
            let (mut ever, mut done, mut durable) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
            for (step, ms) in steps {
                match step {
                    0 => {
                        let next = progress.cursor().ms + 1;
                        // Every third entry belongs to another lane.
                        if !next.is_multiple_of(3) && read(&mut progress, next).is_some() {
                            prop_assert!(!durable.contains(&next), "{next} was saved as done");
                        } else {
                            progress.read(id(next), Some(next));
                        }
                    }
                    1 => {
                        if progress.finish(id(ms)) {
                            done.insert(ms);
                            ever.insert(ms);
                        }
                    }
                    2 => {
                        saved = progress.checkpoint();
                        durable.clone_from(&done);
                    }
                    _ => {
                        progress = Progress::resume(saved.clone());
                        done.clone_from(&durable);
                    }
                }
                for ms in 1..=saved.upto.ms {
                    let is_ours = !ms.is_multiple_of(3);
                    prop_assert!(!is_ours || !saved.is_done(id(ms)) || ever.contains(&ms), "{ms} is lost");
                }
            }
        }
    }
}
