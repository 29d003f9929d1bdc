//! Which lanes this instance owns, until when, and what it does about them. This module does no I/O: its requests to
//! Redis and the replies are values. So the model checker can run it, too.

use crate::events::lanes::checkpoint::Checkpoint;
use crate::events::lanes::progress::Progress;
use crate::events::lanes::protocol::{Claim, Save, Share, Then};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// If this many owners in a row have died or hung, events are tried one at a time. A single owner may have been killed
/// by anything.
const SUSPICIOUS: u32 = 2;
/// After this many events were tried one at a time, the lane counts as harmless.
const TRIALS: u32 = 100;

/// The lanes that this instance owns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Ownership {
    lanes: BTreeMap<u16, Owned>,
}

/// A lane that this instance owns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owned {
    /// The epoch of this owner.
    pub epoch: u64,
    /// No event is begun after this time. It is never later than the end of the lease in Redis, because it counts from
    /// before the request.
    pub until: Instant,
    /// The lane is being given up: no event is begun, and it is released once its running events are done.
    pub is_leaving: bool,
    /// How far it has come.
    pub progress: Progress,
    /// How many owners in a row have died or hung without finishing an event.
    pub crashes: u32,
    /// When it was claimed, in ms on Redis's clock. Events from before that time may have run elsewhere.
    pub claimed_ms: u64,
    /// How many of its events this owner has finished.
    pub finished: u32,
    /// The last checkpoint that Redis is known to have.
    pub durable: Checkpoint,
    /// Whether Redis has that as the checkpoint of the lane, and not only as the beginning of all lanes.
    is_saved: bool,
}

/// What changed by the reply to a heartbeat.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Lanes that now belong to other instances.
    pub lost: Vec<u16>,
    /// How many of these were lost because their leases had run out, and not because an operator moved the consumer.
    pub expired: usize,
    /// Lanes that now belong to this instance.
    pub claimed: Vec<u16>,
}

impl Ownership {
    /// Returns the lanes with their epochs, for a heartbeat.
    pub fn held(&self) -> Vec<(u16, u64)> {
        self.lanes.iter().map(|(lane, owned)| (*lane, owned.epoch)).collect()
    }

    /// Applies the reply to a heartbeat that was sent at `sent` and named the lanes `held`. Decides which lanes to give
    /// up, if other instances have too few.
    pub fn renewed(&mut self, share: &Share, held: &[(u16, u64)], sent: Instant, lease: Duration) -> Change {
        let until = sent + lease;
        let mut change = Change::default();
        for (lane, epoch) in held {
            let Some(owned) = self.lanes.get_mut(lane).filter(|owned| owned.epoch == *epoch) else {
                continue;
            };
            if share.kept.contains(lane) {
                owned.until = owned.until.max(until);
            } else {
                change.expired += usize::from(owned.until <= sent);
                self.lanes.remove(lane);
                change.lost.push(*lane);
            }
        }
        for claim in &share.claims {
            self.lanes.insert(claim.lane, Owned::claimed(claim, share.start.of(claim.lane), until));
            change.claimed.push(claim.lane);
        }
        // A lane that is being given up has forgotten its waiting events. So it leaves even if the share has grown
        // meanwhile.
        let leaving = self.lanes.values().filter(|owned| owned.is_leaving).count();
        let surplus = self.lanes.len().saturating_sub(share.target).saturating_sub(leaving);
        let staying = self.lanes.values_mut().rev().filter(|owned| !owned.is_leaving);
        staying.take(surplus).for_each(|owned| owned.is_leaving = true);
        change
    }

    /// Returns the lane, if this instance may begin an event of it now.
    pub fn serving(&mut self, lane: u16, now: Instant) -> Option<&mut Owned> {
        self.lanes.get_mut(&lane).filter(|owned| !owned.is_leaving && now < owned.until)
    }

    /// Returns the lane if this instance still owns it with this epoch.
    pub fn owned(&mut self, lane: u16, epoch: u64) -> Option<&mut Owned> {
        self.lanes.get_mut(&lane).filter(|owned| owned.epoch == epoch)
    }

    /// Returns the lane.
    pub fn get(&self, lane: u16) -> Option<&Owned> {
        self.lanes.get(&lane)
    }

    /// Returns the lane.
    pub fn get_mut(&mut self, lane: u16) -> Option<&mut Owned> {
        self.lanes.get_mut(&lane)
    }

    /// Returns all lanes.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u16, &mut Owned)> {
        self.lanes.iter_mut().map(|(lane, owned)| (*lane, owned))
    }

    /// Returns how many lanes there are.
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Returns what is to be written: the checkpoints that have changed, and the lanes to be released. A lane that is
    /// being given up is released once `is_idle` says that none of its events runs.
    pub fn saves(&self, is_idle: impl Fn(u16) -> bool) -> Vec<Save> {
        let mut saves = Vec::new();
        for (lane, owned) in &self.lanes {
            let checkpoint = owned.progress.checkpoint();
            let then = match (owned.is_leaving && is_idle(*lane), owned.is_calm()) {
                (true, _) => Then::Free,
                (false, true) => Then::Calm,
                (false, false) => Then::Keep,
            };
            if then == Then::Free || !owned.is_saved || owned.durable != checkpoint {
                saves.push(Save { lane: *lane, epoch: owned.epoch, checkpoint, then });
            }
        }
        saves
    }

    /// Applies the reply to a command that wrote `saves`. Returns the lanes that this instance no longer owns: those
    /// that were refused, and those that were released.
    pub fn saved(&mut self, saves: Vec<Save>, refused: &[u16], now: Instant) -> Change {
        let mut change = Change::default();
        for save in saves {
            let Some(owned) = self.owned(save.lane, save.epoch) else { continue };
            if refused.contains(&save.lane) {
                change.expired += usize::from(owned.until <= now);
                change.lost.push(save.lane);
                self.lanes.remove(&save.lane);
            } else if save.then == Then::Free {
                self.lanes.remove(&save.lane);
            } else {
                (owned.durable, owned.is_saved) = (save.checkpoint, true);
                if save.then == Then::Calm {
                    owned.crashes = 0;
                }
            }
        }
        change
    }

    /// Begins to give up every lane.
    pub fn leave(&mut self) {
        self.lanes.values_mut().for_each(|owned| owned.is_leaving = true);
    }
}

impl Owned {
    fn claimed(claim: &Claim, start: Checkpoint, until: Instant) -> Self {
        let checkpoint = claim.checkpoint.clone().unwrap_or(start);
        Self {
            epoch: claim.epoch,
            until,
            is_leaving: false,
            progress: Progress::resume(checkpoint.clone()),
            durable: checkpoint,
            crashes: claim.crashes,
            claimed_ms: 0,
            finished: 0,
            is_saved: claim.checkpoint.is_some(),
        }
    }

    /// Whether its events are tried one at a time, each counted in Redis before it begins. One of them may be the
    /// reason why the previous owners died or hung.
    pub fn is_careful(&self) -> bool {
        self.crashes >= SUSPICIOUS
    }

    /// Whether the reason why previous owners died or hung is overcome.
    fn is_calm(&self) -> bool {
        let enough = if self.is_careful() && self.progress.len() > 0 { TRIALS } else { 1 };
        self.finished >= enough && !self.progress.has_inherited()
    }
}
