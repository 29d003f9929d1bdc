//! Takes over entries whose lease ran out.

use crate::error::Error;
use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::clock::Step;
use crate::foundation::redis::group_consumer::admission::{Admission, Earlier, HeldEntry};
use crate::foundation::redis::group_consumer::consumer::{AT_ONCE, Delivered, GroupConsumer, STEP};
use crate::foundation::redis::resp::replies::{self, ClaimedEntry, unexpected};
use crate::foundation::runtime::incidents::Incident;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::work_queue::{Held, WorkQueue};
use redis::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most steps of one scan. Redis examines up to ten times a step's count.
const MOST_STEPS: usize = 20;
/// An entry with more deliveries is a suspect: it crashes its consumers, or was held whenever another entry did.
const TRUSTED: u32 = 2;
/// A tolerance in ms that exceeds any error of a clock.
const ANY: u64 = 1 << 50;

/// Runs XAUTOCLAIM if Redis's time is ARGV[5], give or take ARGV[6] ms. Otherwise its clock was set, which changes
/// all idle times, or it stood still, so that no lease could be renewed.
///
/// Who has an entry is known only before it is claimed.
///
/// JUSTID counts no delivery, so it is counted here. If it were counted only when the entry is read, the reader could
/// take the entry for one that was delivered to this consumer for the first time (see `GroupReader::recover`).
const CLAIM: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if math.abs(now - ARGV[5]) > tonumber(ARGV[6]) then return now end
local rows = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], ARGV[4], '+', ARGV[7] * 2)
local had = {}
for _, row in ipairs(rows) do had[row[1]] = row[2] end
local found = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], 'COUNT', ARGV[7], 'JUSTID')
local counts, holders = {}, {}
for i, id in ipairs(found[2]) do
  counts[i] = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)[1][4] + 1
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'RETRYCOUNT', counts[i], 'JUSTID')
  holders[i] = had[id] or ''
end
found[4] = counts
found[5] = holders
return found
";

/// Selects the entries to take over.
#[derive(Debug, Clone, Copy)]
enum Idle {
    /// Entries whose lease of this length ran out.
    Lease(Duration),
    /// Only entries that were given back. After a stall of Redis every lease looks as if it had run out, and its
    /// holder must be able to renew it first.
    Released,
}

/// The state of a scan for entries to take over.
#[derive(Debug, Clone, Copy, Default)]
struct Scan {
    /// The start of the next step.
    cursor: StreamId,
    /// Whether suspects may have been left.
    left: bool,
}

/// Entries that were pending under other consumers, and are under this consumer now.
struct Claimed {
    cursor: StreamId,
    entries: Vec<RawEntry>,
    unreadable: Vec<Delivered>,
    earlier: HashMap<StreamId, Earlier>,
}

impl Claimed {
    /// Removes the entries that `unwanted` picks and returns them.
    fn take(&mut self, mut unwanted: impl FnMut(&RawEntry, u32) -> bool) -> Vec<Delivered> {
        let deliveries =
            |entry: &RawEntry| self.earlier.get(&entry.id).map_or(1, |earlier| earlier.deliveries);
        let entries = std::mem::take(&mut self.entries);
        let (taken, kept): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| unwanted(entry, deliveries(entry)));
        self.entries = kept;
        taken.iter().map(|entry| Delivered { id: entry.id, deliveries: deliveries(entry) }).collect()
    }
}

/// Records since when Redis has been answering in time.
struct Steady {
    since: Instant,
    losses: usize,
}

/// Renews the leases of one consumer, and takes over entries from others.
pub struct TakeOver<A: Admission> {
    consumer: Arc<GroupConsumer>,
    queue: Arc<WorkQueue<A::Held>>,
    admission: Arc<A>,
    lease: Duration,
    max_deliveries: Option<u32>,
    scan: Mutex<Scan>,
    steady: Mutex<Steady>,
    /// The last step back of Redis's clock after which the leases were restarted.
    restarted: Mutex<Option<Step>>,
}

impl<A: Admission> TakeOver<A> {
    /// Creates it for a consumer whose leases last for `lease`. `admission` gives up on entries that were delivered
    /// more than `max_deliveries` times. With `None` no entry is started a second time, so that none is a suspect.
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
            scan: Mutex::default(),
            steady: Mutex::new(Steady { since: Instant::now(), losses: 0 }),
            restarted: Mutex::default(),
        }
    }

    /// Renews the leases that are at least a third over. Younger ones cannot have run out.
    pub fn renew(&self) -> Result<(), Error> {
        let age = self.lease / 3;
        self.consumer.renew(&self.queue.pick(|held| (held.taken().elapsed() >= age).then(|| held.key())))
    }

    /// Records that Redis did not answer in time. Its idle times are not trusted for a while.
    pub fn note_stall(&self) {
        self.steady.lock().since = Instant::now();
    }

    /// Whether leases can be trusted: Redis has answered in time, on unbroken connections, for the length of a lease.
    fn is_steady(&self, lease: Duration) -> bool {
        let endpoint = &self.consumer.endpoint;
        let losses = endpoint.health.losses();
        let mut steady = self.steady.lock();
        if steady.losses != losses {
            *steady = Steady { since: Instant::now(), losses };
        }
        steady.since.elapsed() >= lease && !endpoint.clock.has_stepped_within(lease)
    }

    /// Whether suspects may have been left, and there is room for one. It can be taken once no other is held.
    pub fn are_suspects_left(&self) -> bool {
        self.scan.lock().left && self.queue.room() > 0
    }

    /// Takes over entries whose lease ran out, as many as there is room for, from where the last scan ended.
    /// `group_lease` returns the longest lease in the group, by which other consumers are judged. It is called only
    /// if an entry may be taken over.
    pub fn run(&self, group_lease: impl FnOnce() -> Result<Duration, Error>) -> Result<(), Error> {
        self.restart_leases()?;
        if !self.consumer.is_any_idle(self.lease)? {
            *self.scan.lock() = Scan::default();
            return Ok(());
        }
        let lease = group_lease()?;
        let idle = if self.is_steady(lease) { Idle::Lease(lease) } else { Idle::Released };
        let last = *self.scan.lock();
        match self.take_over(last, idle)? {
            Some(scan) => *self.scan.lock() = scan,
            None => {
                self.consumer.read_clock()?;
                self.note_stall();
            }
        }
        Ok(())
    }

    /// Takes over entries that other consumers gave back. They wait for nobody's lease to run out, so this may run more
    /// often than [`TakeOver::run`].
    pub fn run_released(&self) -> Result<(), Error> {
        if self.consumer.is_any_idle(Duration::from_millis(AT_ONCE))? {
            let last = *self.scan.lock();
            let scan = self.take_over(Scan { cursor: StreamId::default(), ..last }, Idle::Released)?;
            self.scan.lock().left |= scan.is_some_and(|scan| scan.left);
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

    /// Takes over entries, but only one suspect at a time. Otherwise the entries that are held beside a crashing one
    /// would be given up on with it.
    ///
    /// Returns `None` if Redis's clock is not what it should be. Then its idle times are not trusted.
    fn take_over(&self, last: Scan, idle: Idle) -> Result<Option<Scan>, Error> {
        let is_new_pass = last.cursor == StreamId::default();
        let (mut scan, mut kept) = (Scan { left: last.left && !is_new_pass, ..last }, false);
        for _ in 0..MOST_STEPS {
            let room = self.queue.room().min(STEP);
            if room == 0 {
                break;
            }
            let Some(mut claimed) = self.claim_idle(scan.cursor, idle, room)? else { return Ok(None) };
            let mut occupied = self.holds_suspect();
            let suspects = claimed.take(|entry, deliveries| {
                let suspect = self.is_suspect(deliveries)
                    && self.queue.held(entry.id).is_none()
                    && !self.admission.would_end(entry);
                suspect && std::mem::replace(&mut occupied, true)
            });
            kept |= occupied;
            scan.left |= !suspects.is_empty();
            // This comes first, because an entry that is admitted now may end this process at once.
            let left = self.consumer.leave(&suspects);
            self.admission.give_up_unreadable(&claimed.unreadable);
            let admitted = self.admission.admit(claimed.entries, &claimed.earlier);
            self.note(&admitted);
            self.queue.push_all(admitted);
            left?;
            scan.cursor = claimed.cursor;
            if scan.cursor == StreamId::default() {
                return Ok(Some(scan));
            }
        }
        // The entries that were not examined may be suspects too.
        scan.left |= kept || last.left;
        Ok(Some(scan))
    }

    /// Notes as an incident what others held that died or hung. What they gave back counts as not delivered.
    fn note(&self, admitted: &[Arc<A::Held>]) {
        let taken: Vec<_> = admitted.iter().filter(|held| held.deliveries() > 1).collect();
        if let Some(first) = taken.first() {
            let (id, deliveries, more) = (first.key(), first.deliveries(), taken.len() - 1);
            let others = if more == 0 { String::new() } else { format!(" and {more} others") };
            let text =
                format!("{id} (delivery {deliveries}){others}: the instance that held it died or hung");
            self.consumer.endpoint.note(Incident::TakeOver, &text);
        }
    }

    /// Whether a suspect was taken within the last lease and is not finished. A suspect that has run for a whole
    /// lease does not crash its consumer at once, and may run for long.
    pub fn holds_suspect(&self) -> bool {
        let holds = self.queue.pick(|held: &A::Held| {
            let counts = self.is_suspect(held.deliveries()) && held.taken().elapsed() < self.lease;
            (counts && !held.is_answered()).then_some(())
        });
        !holds.is_empty()
    }

    /// Whether an entry with this many deliveries may have crashed its consumers. An entry with too many deliveries
    /// is not run at all.
    fn is_suspect(&self, deliveries: u32) -> bool {
        self.max_deliveries.is_some_and(|most| {
            let trusted = TRUSTED.min(most.saturating_sub(1)).max(1);
            (trusted + 1..=most).contains(&deliveries)
        })
    }

    /// Claims entries by their ids first, so that an unreadable one does not keep the others from being taken over.
    /// Returns `None` if Redis's clock is not what it should be.
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
                reply => replies::claimed(reply).map(Some).ok_or_else(unexpected),
            })?;
        let Some(claimed) = found else { return Ok(None) };
        consumer.endpoint.stats.withdrawn.add(claimed.deleted as u64);
        let delivered = |entry: &ClaimedEntry| Delivered { id: entry.id, deliveries: entry.deliveries };
        let entries: Vec<Delivered> = claimed.entries.iter().map(delivered).collect();
        let fetched = consumer.fetch(&entries)?;
        Ok(Some(Claimed {
            cursor: claimed.cursor,
            entries: fetched.entries,
            unreadable: fetched.unreadable,
            earlier: claimed.entries.into_iter().map(earlier).collect(),
        }))
    }
}

fn earlier(entry: ClaimedEntry) -> (StreamId, Earlier) {
    (entry.id, Earlier { deliveries: entry.deliveries, holder: entry.holder })
}

#[cfg(all(test, feature = "live-tests"))]
mod tests {
    use super::*;
    use crate::foundation::redis::live_server::LiveServer;

    fn words(text: &str) -> redis::Cmd {
        let mut command = redis::Cmd::new();
        command.arg(text.split(' ').collect::<Vec<_>>());
        command
    }

    #[test]
    fn a_claimed_entry_is_told_apart_from_one_that_is_delivered_for_the_first_time() {
        let server = LiveServer::start();
        server.run(&words("XGROUP CREATE s g 0 MKSTREAM"));
        server.run(&words("XADD s 1-1 a b"));
        server.run(&words("XREADGROUP GROUP g gone STREAMS s >"));
        let mut claim = redis::cmd("EVAL");
        claim.arg(CLAIM).arg(1).arg(&["s", "g", "me"]).arg(&["0", "0-0", "0"]).arg(ANY).arg(10);
        let claimed = replies::claimed(server.run(&claim)).unwrap();
        let id = StreamId { ms: 1, seq: 1 };
        assert_eq!(claimed.entries, [ClaimedEntry { id, deliveries: 2, holder: "gone".to_owned() }]);
        let Value::Array(rows) = server.run(&words("XPENDING s g - + 10 me")) else { panic!() };
        let Value::Array(row) = &rows[0] else { panic!() };
        assert_eq!(row.last(), Some(&Value::Int(2)));
    }
}
