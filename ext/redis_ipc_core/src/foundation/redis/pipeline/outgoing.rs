//! The queue of commands to write. It also tracks which of them are suspected of breaking connections.
//!
//! Redis closes a connection because of a single command that exceeds one of its limits. If that command is sent
//! first after each reconnect, no other command gets through. So a large command that was unanswered when a
//! connection broke is a suspect: it is sent again alone on the connection, after the others. A suspect that breaks
//! two connections while it is alone is convicted, and not sent again.

use crate::error::{Error, ErrorKind, Fate};
use redis::Value;
use std::collections::VecDeque;

/// The most bytes that are written before their replies are read.
const BATCH_BYTES: usize = 1 << 20;
/// The most commands that are written before their replies are read.
const BATCH_COMMANDS: usize = 512;
/// A command of this size or more is written alone, so that no other command is lost with it if it exceeds a limit of
/// Redis.
const ALONE: usize = BATCH_BYTES / 2;
/// A smaller command is never a suspect. Redis allows no limit below 1 MiB for a string or for unread commands
/// (proto-max-bulk-len, client-query-buffer-limit); maxmemory-clients can be lower.
pub const SUSPICIOUS: usize = 64 << 10;
/// A suspect that breaks this many connections while it is alone on them is convicted.
const STRIKES: u32 = 2;

/// An item that can be written.
pub trait Outbound {
    /// Returns its approximate size in bytes.
    fn size(&self) -> usize;
}

/// The commands to send again after their connection broke.
#[derive(Debug)]
pub struct Broken<T> {
    /// Commands that Redis refused for now, before the connection broke.
    pub refused: Vec<T>,
    /// Commands that were written at least in part, and whose replies did not arrive.
    pub unanswered: Vec<T>,
    /// Commands that Redis did not receive, or did not execute.
    pub unsent: Vec<T>,
}

impl<T> Default for Broken<T> {
    fn default() -> Self {
        Self { refused: Vec::new(), unanswered: Vec::new(), unsent: Vec::new() }
    }
}

/// Commands that wait to be written.
#[derive(Debug)]
pub struct Outgoing<T> {
    ordinary: VecDeque<T>,
    /// The suspects, each with the number of connections it broke while it was alone.
    suspects: VecDeque<(T, u32)>,
    /// The number of connections that the suspect taken last has broken. It is 0 for an ordinary batch.
    strikes: u32,
    /// The last batch was an ordinary one, so a suspect is next.
    is_suspects_turn: bool,
}

impl<T> Default for Outgoing<T> {
    fn default() -> Self {
        Self { ordinary: VecDeque::new(), suspects: VecDeque::new(), strikes: 0, is_suspects_turn: false }
    }
}

impl<T: Outbound> Outgoing<T> {
    /// Whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.ordinary.is_empty() && self.suspects.is_empty()
    }

    /// Adds commands behind the others.
    pub fn push(&mut self, commands: impl IntoIterator<Item = T>) {
        self.ordinary.extend(commands);
    }

    /// Adds commands before the others.
    pub fn push_first(&mut self, commands: Vec<T>) {
        for command in commands.into_iter().rev() {
            self.ordinary.push_front(command);
        }
    }

    /// Takes the next commands to write together. While both kinds wait, ordinary batches and lone suspects
    /// alternate.
    pub fn take_batch(&mut self) -> Vec<T> {
        if (self.is_suspects_turn || self.ordinary.is_empty())
            && let Some((suspect, strikes)) = self.suspects.pop_front()
        {
            (self.is_suspects_turn, self.strikes) = (false, strikes);
            return vec![suspect];
        }
        (self.is_suspects_turn, self.strikes) = (true, 0);
        let (mut bytes, mut count) = (0, 0);
        for command in self.ordinary.iter().take(BATCH_COMMANDS) {
            let size = command.size();
            bytes += size;
            if count > 0 && (bytes > BATCH_BYTES || size >= ALONE) {
                break;
            }
            count += 1;
            if size >= ALONE {
                break;
            }
        }
        self.ordinary.drain(..count).collect()
    }

    /// Takes back the commands to send again after the connection broke. They keep the order in which they were
    /// written, and come before all others. `is_close` says whether the server closed the connection: then an
    /// unanswered command may be the cause. Returns the convicted commands.
    pub fn take_back(&mut self, broken: Broken<T>, is_close: bool) -> Vec<T> {
        self.push_first(broken.unsent);
        let convicted = if is_close {
            self.broke(broken.unanswered)
        } else {
            self.push_first(broken.unanswered);
            Vec::new()
        };
        self.push_first(broken.refused);
        convicted
    }

    fn broke(&mut self, unanswered: Vec<T>) -> Vec<T> {
        let strikes = self.strikes + u32::from(unanswered.len() == 1);
        (self.is_suspects_turn, self.strikes) = (false, 0);
        let (suspects, innocent): (Vec<T>, Vec<T>) =
            unanswered.into_iter().partition(|command| command.size() >= SUSPICIOUS);
        self.push_first(innocent);
        if strikes >= STRIKES {
            return suspects;
        }
        self.suspects.extend(suspects.into_iter().map(|suspect| (suspect, strikes)));
        Vec::new()
    }

    /// Removes the commands that `picked` picks and returns them.
    pub fn remove(&mut self, picked: impl Fn(&T) -> bool) -> Vec<T> {
        let (mut removed, kept): (Vec<T>, Vec<T>) = self.ordinary.drain(..).partition(&picked);
        self.ordinary = kept.into();
        let (suspects, kept): (Vec<_>, Vec<_>) = self.suspects.drain(..).partition(|(it, _)| picked(it));
        self.suspects = kept.into();
        removed.extend(suspects.into_iter().map(|(suspect, _)| suspect));
        removed
    }
}

/// Whether Redis closes the connection because of the command that this reply answers. It has executed neither that
/// command nor a later one.
pub fn closes_connection(reply: &Value) -> bool {
    match reply {
        Value::ServerError(error) => {
            error.details().is_some_and(|details| details.starts_with("Protocol error"))
        }
        _ => false,
    }
}

/// Returns the error of a command with `size` bytes of content that Redis does not accept. `said` is Redis's reply to
/// it.
pub fn too_large(size: usize, said: Option<&Value>) -> Error {
    let message = match said {
        Some(Value::ServerError(error)) => {
            let said = error.details().unwrap_or_default();
            let limit = if said.contains("bulk length") { " (its limit is proto-max-bulk-len)" } else { "" };
            format!("Redis refused {size} bytes of content: {said}{limit}; raise the limit or send less")
        }
        _ => format!(
            "the connection broke twice when {size} bytes of content were sent alone: they probably exceed a limit of \
             Redis (client-query-buffer-limit, proto-max-bulk-len or maxmemory-clients); raise it or send less"
        ),
    };
    Error::new(ErrorKind::Command(Fate::NotSent), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Outbound for (u32, usize) {
        fn size(&self) -> usize {
            self.1
        }
    }

    const LARGE: usize = SUSPICIOUS;

    fn queue(commands: &[(u32, usize)]) -> Outgoing<(u32, usize)> {
        let mut queue = Outgoing::default();
        queue.push(commands.iter().copied());
        queue
    }

    fn names(commands: &[(u32, usize)]) -> Vec<u32> {
        commands.iter().map(|(name, _)| *name).collect()
    }

    #[test]
    fn a_batch_has_a_bounded_number_of_commands_and_bytes_but_at_least_one() {
        let mut small = queue(&vec![(1, 10); 600]);
        assert_eq!(small.take_batch().len(), 512);
        assert_eq!(small.take_batch().len(), 88);
        let mut large = queue(&[(1, 400 << 10), (2, 400 << 10), (3, 400 << 10)]);
        assert_eq!([1, 2].map(|_| large.take_batch().len()), [2, 1]);
    }

    #[test]
    fn what_may_exceed_a_limit_is_written_alone() {
        let mut queue = queue(&[(1, 10), (2, ALONE), (3, 10), (4, 10), (5, 2 << 20), (6, 10)]);
        let batches: Vec<Vec<u32>> = (0..5).map(|_| names(&queue.take_batch())).collect();
        assert_eq!(batches, [vec![1], vec![2], vec![3, 4], vec![5], vec![6]]);
        assert!(queue.is_empty());
    }

    #[test]
    fn innocent_commands_go_first_and_suspects_go_alone() {
        let mut queue = queue(&[(1, 10), (2, LARGE), (3, 10), (4, LARGE)]);
        let batch = queue.take_batch();
        queue.push([(5, 10)]);
        assert!(queue.broke(batch).is_empty());
        assert_eq!(names(&queue.take_batch()), [1, 3, 5]);
        queue.push([(6, 10)]);
        assert_eq!(names(&queue.take_batch()), [2]);
        assert_eq!(names(&queue.take_batch()), [6], "they take turns");
        assert_eq!(names(&queue.take_batch()), [4]);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_is_sent_again_keeps_its_order() {
        for is_close in [true, false] {
            let mut queue = queue(&[(9, 10)]);
            let broken =
                Broken { refused: vec![(1, 10)], unanswered: vec![(2, 10), (3, 10)], unsent: vec![(4, 10)] };
            assert!(queue.take_back(broken, is_close).is_empty());
            assert_eq!(names(&queue.take_batch()), [1, 2, 3, 4, 9], "{is_close}");
        }
    }

    #[test]
    fn what_breaks_two_connections_alone_is_convicted() {
        let mut queue = queue(&[(1, LARGE), (2, LARGE)]);
        let batch = queue.take_batch();
        assert!(queue.broke(batch).is_empty(), "which of the two it was is not known");
        for name in [1, 2] {
            let batch = queue.take_batch();
            assert_eq!(names(&batch), [name]);
            assert!(queue.broke(batch).is_empty());
        }
        let batch = queue.take_batch();
        assert_eq!(names(&queue.broke(batch)), [1]);
        assert_eq!(names(&queue.take_batch()), [2]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_lone_command_that_breaks_two_connections_is_convicted() {
        let mut queue = queue(&[(1, LARGE)]);
        let batch = queue.take_batch();
        assert!(queue.broke(batch).is_empty());
        let batch = queue.take_batch();
        assert_eq!(names(&queue.broke(batch)), [1]);
    }

    #[test]
    fn small_commands_are_never_convicted() {
        let mut queue = queue(&[(1, SUSPICIOUS - 1)]);
        for _ in 0..10 {
            let batch = queue.take_batch();
            assert!(queue.broke(batch).is_empty());
        }
        assert_eq!(names(&queue.take_batch()), [1]);
    }

    #[test]
    fn strikes_are_those_of_the_suspect_that_was_taken() {
        let mut queue = queue(&[(1, LARGE)]);
        let batch = queue.take_batch();
        queue.broke(batch);
        queue.push([(2, LARGE)]);
        assert_eq!(names(&queue.take_batch()), [2]);
        assert!(queue.broke(vec![(2, LARGE)]).is_empty());
        assert_eq!(names(&queue.take_batch()), [1]);
    }

    #[test]
    fn both_kinds_can_be_taken_out() {
        let mut queue = queue(&[(1, LARGE), (2, 10)]);
        let batch = queue.take_batch();
        queue.broke(batch);
        assert_eq!(names(&queue.remove(|(name, _)| *name == 1)), [1]);
        assert_eq!(names(&queue.remove(|_| true)), [2]);
        assert!(queue.is_empty());
    }

    #[test]
    fn the_error_names_the_limit_as_far_as_it_is_known() {
        let reply = redis::parse_redis_value(b"-ERR Protocol error: invalid bulk length\r\n").unwrap();
        assert!(closes_connection(&reply));
        let message = too_large(7, Some(&reply)).message;
        assert!(message.contains("proto-max-bulk-len") && !message.contains("query-buffer"), "{message}");
        let message = too_large(7, None).message;
        assert!(message.contains("7 bytes") && message.contains("client-query-buffer-limit"), "{message}");
        let other = redis::parse_redis_value(b"-ERR unknown command\r\n").unwrap();
        assert!(!closes_connection(&other) && !closes_connection(&Value::Okay));
    }
}
