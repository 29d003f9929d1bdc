//! Takes over entries that nobody has renewed for one lease.

use crate::error::Error;
use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::clock::Step;
use crate::foundation::redis::group_consumer::admission::{Admission, HeldEntry, admit};
use crate::foundation::redis::group_consumer::consumer::{AT_ONCE, Delivered, GroupConsumer, STEP};
use crate::foundation::redis::resp::replies::{self, unexpected};
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::work_queue::{Held, WorkQueue};
use redis::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most steps at a time, each of which looks at ten times its count.
const MOST_STEPS: usize = 20;
/// An entry that was delivered more often is a suspect: it crashes its consumers, or was held each time something did.
const TRUSTED: u32 = 2;
/// More than any clock is wrong by, in ms.
const ANY: u64 = 1 << 50;

/// XAUTOCLAIM, if Redis's time is ARGV[5], give or take ARGV[6] ms. Else its clock was set, and all idle times with it,
/// or it stood still, and nobody could renew.
const CLAIM: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if math.abs(now - ARGV[5]) > tonumber(ARGV[6]) then return now end
return redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], 'COUNT', ARGV[7], 'JUSTID')
";

/// Which entries are to be taken over.
#[derive(Debug, Clone, Copy)]
enum Idle {
    /// Whose lease, of this length, ran out.
    Lease(Duration),
    /// What was given back. After a stall of Redis every lease looks as if it had run out, and its holder is to renew
    /// it first.
    Released,
}

/// What a look for entries to take over came to.
#[derive(Debug, Clone, Copy, Default)]
struct Look {
    /// Where the next one begins.
    cursor: StreamId,
    /// Whether there may be suspects that were left.
    left: bool,
}

/// Entries that were pending under others, and are under this consumer now.
struct Claimed {
    cursor: StreamId,
    entries: Vec<RawEntry>,
    unreadable: Vec<Delivered>,
    deliveries: HashMap<StreamId, u32>,
}

impl Claimed {
    /// Takes out the entries that `unwanted` picks.
    fn take(&mut self, mut unwanted: impl FnMut(&RawEntry, u32) -> bool) -> Vec<Delivered> {
        let deliveries = |entry: &RawEntry| self.deliveries.get(&entry.id).copied().unwrap_or(1);
        let entries = std::mem::take(&mut self.entries);
        let (taken, kept): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| unwanted(entry, deliveries(entry)));
        self.entries = kept;
        taken.iter().map(|entry| Delivered { id: entry.id, deliveries: deliveries(entry) }).collect()
    }
}

/// Since when Redis has been answering in time.
struct Steady {
    since: Instant,
    losses: usize,
}

/// Renews the leases of one consumer, and takes over from others.
pub struct TakeOver<A: Admission> {
    consumer: Arc<GroupConsumer>,
    queue: Arc<WorkQueue<A::Held>>,
    admission: Arc<A>,
    lease: Duration,
    max_deliveries: Option<u32>,
    look: Mutex<Look>,
    steady: Mutex<Steady>,
    /// The last step back of Redis's clock after which leases were begun anew.
    restarted: Mutex<Option<Step>>,
}

impl<A: Admission> TakeOver<A> {
    /// For a consumer whose leases last for `lease`. What was delivered more than `max_deliveries` times is given up on
    /// by `admission`; `None` if no entry is started a second time, so that none is a suspect.
    pub fn new(
        consumer: Arc<GroupConsumer>,
        queue: Arc<WorkQueue<A::Held>>,
        admission: Arc<A>,
        lease: Duration,
        max_deliveries: Option<u32>,
    ) -> Self {
        Self {
            consumer,
            queue,
            admission,
            lease,
            max_deliveries,
            look: Mutex::default(),
            steady: Mutex::new(Steady { since: Instant::now(), losses: 0 }),
            restarted: Mutex::default(),
        }
    }

    /// Renews the lease on what has been held for a third of it or more (younger ones cannot have run out).
    pub fn renew(&self) -> Result<(), Error> {
        let age = self.lease / 3;
        self.consumer.renew(&self.queue.pick(|held| (held.taken().elapsed() >= age).then(|| held.key())))
    }

    /// Notes that Redis did not answer in time: its idle times are not to be trusted for a while.
    pub fn note_stall(&self) {
        self.steady.lock().since = Instant::now();
    }

    /// Whether leases can be trusted: Redis has answered in time, on unbroken connections, for as long as one lasts.
    fn is_steady(&self, lease: Duration) -> bool {
        let endpoint = &self.consumer.endpoint;
        let losses = endpoint.health.losses();
        let mut steady = self.steady.lock();
        if steady.losses != losses {
            *steady = Steady { since: Instant::now(), losses };
        }
        steady.since.elapsed() >= lease && !endpoint.clock.has_stepped_within(lease)
    }

    /// Whether suspects may have been left, to be taken once none is held any more.
    pub fn are_suspects_left(&self) -> bool {
        self.look.lock().left
    }

    /// Takes over entries whose lease ran out, as many as there is room for, from where the last look ended.
    /// `group_lease` tells the longest lease in the group, by which others are judged; it is asked only if something
    /// may be taken over.
    pub fn run(&self, group_lease: impl FnOnce() -> Result<Duration, Error>) -> Result<(), Error> {
        self.restart_leases()?;
        if !self.consumer.is_any_idle(self.lease)? {
            *self.look.lock() = Look::default();
            return Ok(());
        }
        let lease = group_lease()?;
        let idle = if self.is_steady(lease) { Idle::Lease(lease) } else { Idle::Released };
        let last = *self.look.lock();
        match self.take_over(last, idle)? {
            Some(look) => *self.look.lock() = look,
            None => {
                self.consumer.read_clock()?;
                self.note_stall();
            }
        }
        Ok(())
    }

    fn restart_leases(&self) -> Result<(), Error> {
        let step = self.consumer.endpoint.clock.step().filter(|step| step.is_back);
        if step.is_some() && *self.restarted.lock() != step {
            self.consumer.restart_leases()?;
            *self.restarted.lock() = step;
        }
        Ok(())
    }

    /// Of suspects it takes one, and no other while it holds one. Else what is held beside an entry that crashes its
    /// consumer each time would be given up on with it.
    ///
    /// `None` if Redis's clock is not what it should be: then nothing that it says of idle times is trusted.
    fn take_over(&self, last: Look, idle: Idle) -> Result<Option<Look>, Error> {
        let is_new_pass = last.cursor == StreamId::default();
        let (mut look, mut kept) = (Look { left: last.left && !is_new_pass, ..last }, false);
        for _ in 0..MOST_STEPS {
            let room = self.queue.room().min(STEP);
            if room == 0 {
                break;
            }
            let Some(mut claimed) = self.claim_idle(look.cursor, idle, room)? else { return Ok(None) };
            let mut occupied = self.holds_suspect();
            let suspects = claimed.take(|entry, deliveries| {
                let suspect = self.is_suspect(deliveries)
                    && self.queue.held(entry.id).is_none()
                    && !self.admission.would_end(entry);
                suspect && std::mem::replace(&mut occupied, true)
            });
            kept |= occupied;
            look.left |= !suspects.is_empty();
            // First: what is admitted now may end this process at once.
            let left = self.consumer.leave(&suspects);
            self.admission.give_up_unreadable(&claimed.unreadable);
            let admitted = admit(&*self.admission, &self.queue, claimed.entries, &claimed.deliveries);
            self.queue.push_all(admitted);
            left?;
            look.cursor = claimed.cursor;
            if look.cursor == StreamId::default() {
                return Ok(Some(look));
            }
        }
        // What was not looked at may be like what was.
        look.left |= kept || last.left;
        Ok(Some(look))
    }

    /// Whether a suspect was taken lately and is not dealt with yet. One that has been running for a lease does not
    /// crash its consumer at once, and may run on for long.
    pub fn holds_suspect(&self) -> bool {
        let holds = self.queue.pick(|held: &A::Held| {
            let counts = self.is_suspect(held.deliveries()) && held.taken().elapsed() < self.lease;
            (counts && !held.is_answered()).then_some(())
        });
        !holds.is_empty()
    }

    /// Whether an entry that was delivered so often may be what ended those who took it; what was delivered too often is
    /// not run.
    fn is_suspect(&self, deliveries: u32) -> bool {
        self.max_deliveries.is_some_and(|most| {
            let trusted = TRUSTED.min(most.saturating_sub(1)).max(1);
            (trusted + 1..=most).contains(&deliveries)
        })
    }

    /// Claims entries by their ids first: one that cannot be read must not keep the others from being taken over.
    /// `None` if Redis's clock is not what it should be.
    fn claim_idle(&self, cursor: StreamId, idle: Idle, count: usize) -> Result<Option<Claimed>, Error> {
        let consumer = &*self.consumer;
        let (idle, tolerated) = match idle {
            Idle::Lease(lease) => (lease.as_millis() as u64, (lease / 2).as_millis() as u64),
            Idle::Released => (AT_ONCE, ANY),
        };
        let mut claim = redis::cmd("EVAL");
        claim.arg(CLAIM).arg(1).arg(&consumer.stream).arg(&consumer.group).arg(&consumer.name);
        claim.arg(idle).arg(cursor.to_string()).arg(consumer.endpoint.clock.now()).arg(tolerated).arg(count);
        let found =
            consumer.connections.with(&consumer.stream, |connection| match connection.run(&claim)? {
                Value::Int(_) => Ok(None),
                reply => {
                    let claimed = replies::claimed_ids(reply).ok_or_else(unexpected)?;
                    let before = consumer.deliveries(connection, &claimed.ids)?;
                    Ok(Some((claimed, before)))
                }
            })?;
        let Some((claimed, before)) = found else { return Ok(None) };
        consumer.endpoint.stats.withdrawn.add(claimed.deleted as u64);
        // JUSTID does not count the delivery; it counts as it is read.
        let counted = |id: &StreamId| {
            let deliveries = before.get(id).copied().unwrap_or_default().saturating_add(1);
            Delivered { id: *id, deliveries }
        };
        let entries: Vec<Delivered> = claimed.ids.iter().map(counted).collect();
        let fetched = consumer.fetch(&entries)?;
        Ok(Some(Claimed {
            cursor: claimed.cursor,
            entries: fetched.entries,
            unreadable: fetched.unreadable,
            deliveries: entries.into_iter().map(|entry| (entry.id, entry.deliveries)).collect(),
        }))
    }
}
