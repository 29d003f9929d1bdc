//! Decides whether a taken entry is handled or given up on.

use crate::error::{Error, ErrorKind};
use crate::events::common::dead_event::{UNREADABLE, not_whole};
use crate::events::common::in_flight::InFlight;
use crate::events::common::pause::Pause;
use crate::events::common::recent_ids::RecentIds;
use crate::events::common::retries::Retries;
use crate::events::consumer_group::acknowledgement::{Acknowledge, Writer};
use crate::events::consumer_group::finished::Finished;
use crate::events::consumer_group::group::Group;
use crate::events::consumer_group::loss_watch::LossWatch;
use crate::foundation::payload::fields::Fields;
use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::group_consumer::admission::{self, Earlier};
use crate::foundation::redis::group_consumer::consumer::Delivered;
use crate::foundation::redis::group_consumer::dead_letters::{DeadLetters, Letter, Limits};
use crate::foundation::runtime::stats::Counter;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::work_queue::WorkQueue;
use redis::{RedisError, RedisResult};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// While no events may be taken, the time until the next check.
const LOOK: Duration = Duration::from_millis(100);

/// Everything that an event passes between the stream and the workers.
pub struct Admission {
    /// The access to Redis.
    pub endpoint: Arc<Endpoint>,
    /// The consumer group.
    pub group: Group,
    /// The check for losses.
    pub losses: LossWatch,
    /// The held events.
    pub queue: Arc<WorkQueue<InFlight>>,
    /// The writer of acknowledgements.
    pub writer: Arc<Writer>,
    /// The switch by which an operator pauses the consumer.
    pub pause: Pause,
    /// The events that are done and not acknowledged.
    pub finished: Finished,
    /// The events that failed and are tried again.
    pub retries: Retries,
    /// The ids of the last events.
    pub recent_ids: Mutex<RecentIds>,
    /// Events that were acknowledged unread, because another entry with the same id had been taken before.
    pub suppressed: Counter,
    /// The events that were given up on.
    pub dead_letters: DeadLetters,
    /// The limits on the dead letters.
    pub limits: Limits,
    /// The number of deliveries after which an event is given up on.
    pub attempts: u32,
}

impl admission::Admission for Admission {
    type Held = InFlight;

    fn prepare(&self, connection: &mut Connection) -> RedisResult<()> {
        let change = self.losses.change(connection, self.group.seen())?;
        self.group.join(connection, &self.queue, change.is_some())?;
        if let Some(change) = change {
            self.losses.note_change(change);
        }
        self.losses.begin(connection)
    }

    /// Whether the stream or the group was deleted, so that creating it again helps. In a cluster UNBLOCKED does not
    /// show that: the stream may have moved, or another master may have taken over.
    fn is_mended(&self, error: &RedisError) -> bool {
        match error.code() {
            Some("NOGROUP") => true,
            Some("UNBLOCKED") => {
                let is_gone = error.detail().is_some_and(|detail| detail.contains("no longer exists"));
                is_gone && !self.endpoint.connector.is_cluster()
            }
            _ => false,
        }
    }

    fn pause(&self) -> Option<Duration> {
        (self.pause.is_set() || self.retries.are_full()).then_some(LOOK)
    }

    fn admit(&self, entries: Vec<RawEntry>, earlier: &HashMap<StreamId, Earlier>) -> Vec<Arc<InFlight>> {
        let mut done = Vec::new();
        let held = self.queue.are_held(entries.iter().map(|entry| entry.id));
        let received = self.endpoint.clock.now();
        if let Some(last) = entries.iter().map(|entry| entry.id).max() {
            self.group.note_entry(last);
        }
        let admitted = entries.into_iter().zip(held).filter_map(|(entry, is_held)| {
            if is_held {
                return None;
            }
            let deliveries = earlier.get(&entry.id).map_or(1, |earlier| earlier.deliveries);
            let taken = Delivered { id: entry.id, deliveries };
            match self.examine(taken, entry.fields, received) {
                Examined::Runs(event) => Some(event),
                Examined::Done => {
                    done.push(entry.id);
                    None
                }
                Examined::Left => None,
            }
        });
        let admitted = admitted.collect();
        if !done.is_empty() {
            self.writer.send(Acknowledge(done));
        }
        admitted
    }

    fn would_end(&self, entry: &RawEntry) -> bool {
        entry.fields.is_none()
    }

    fn give_up_unreadable(&self, entries: &[Delivered]) {
        let reason = UNREADABLE;
        for entry in entries {
            self.endpoint.stats.taken.increment();
            if self.give_up(*entry, &Fields::default(), reason).is_ok() {
                self.writer.send(Acknowledge(vec![entry.id]));
            }
        }
    }
}

enum Examined {
    /// It is handled.
    Runs(Arc<InFlight>),
    /// It only needs an acknowledgement.
    Done,
    /// It stays pending, and is delivered again after a lease.
    Left,
}

impl Admission {
    fn examine(&self, taken: Delivered, fields: Option<Fields>, received: u64) -> Examined {
        let stats = &self.endpoint.stats;
        stats.taken.increment();
        let Some(fields) = fields else {
            // The entry was deleted or trimmed while it was pending.
            stats.withdrawn.increment();
            return Examined::Done;
        };
        if taken.deliveries > 1 {
            stats.redelivered.increment();
        }
        if self.recent_ids.lock().is_copy(taken.id, &fields) {
            self.suppressed.increment();
            return Examined::Done;
        }
        let reason = if taken.deliveries > self.attempts {
            let tried = taken.deliveries - 1;
            format!(
                "delivered {tried} times without being done: each process with it died, hung or could not acknowledge it"
            )
        } else if let Some(whole) = fields.cut_from() {
            not_whole(&whole)
        } else {
            let event = InFlight::new(taken.id, fields, taken.deliveries, received);
            return Examined::Runs(Arc::new(event));
        };
        match self.give_up(taken, &fields, &reason) {
            Ok(()) => Examined::Done,
            Err(_) => Examined::Left,
        }
    }

    /// Moves an event to the dead letters that no handler gave up on, and reports that.
    fn give_up(&self, taken: Delivered, fields: &Fields, reason: &str) -> Result<(), Error> {
        self.bury(taken, fields, reason)?;
        self.endpoint.report(Error::new(ErrorKind::DeadLettered, reason).entry(taken.id));
        Ok(())
    }

    /// Moves an event to the dead letters. The caller must still acknowledge it.
    ///
    /// # Errors
    ///
    /// The dead letter was not written. That is reported, too.
    pub fn bury(&self, taken: Delivered, fields: &Fields, reason: &str) -> Result<(), Error> {
        self.dead_letters.keep(&self.endpoint, Letter::new(taken, fields, reason), &[], &self.limits)
    }
}
