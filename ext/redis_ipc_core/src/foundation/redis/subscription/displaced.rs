//! Channels of shards that need another subscription than the one that they had.

use crate::foundation::redis::subscription::topics::by_slot;
use crate::foundation::redis::subscription::window::Known;
use redis::Cmd;

/// Channels of one slot that need another subscription than the one that they had.
#[derive(Debug)]
pub struct Displaced {
    /// The channels.
    pub names: Vec<String>,
    /// What is known of the subscription that they had.
    pub before: Known,
    /// Whether the process had stopped reading, because it had no room.
    pub was_full: bool,
    /// Whether the server has said that it serves them no longer.
    pub has_moved: bool,
}

impl Displaced {
    /// Divides channels that had one subscription by their slots.
    pub fn by_slot(names: Vec<String>, before: &Known, was_full: bool, has_moved: bool) -> Vec<Self> {
        let one = |names| Self { names, before: before.clone(), was_full, has_moved };
        by_slot(names).into_values().map(one).collect()
    }

    /// Returns the command that subscribes to them.
    pub fn command(&self) -> Cmd {
        let mut subscribe = redis::cmd("SSUBSCRIBE");
        subscribe.arg(&self.names);
        subscribe
    }
}
