//! Leases on requests. An instance renews what it holds; what nobody renews for one lease, another takes over.

use crate::error::Error;
use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::connection::{Connection, is_unreadable};
use crate::foundation::redis::resp::replies::{self, unexpected};
use crate::foundation::runtime::work_queue::Held;
use crate::request_reply::books::in_flight::Claim;
use crate::request_reply::books::request_queue::RequestQueue;
use crate::request_reply::membership::member::Member;
use crate::request_reply::membership::options::Delivery;
use crate::request_reply::serving::admission::Admission;
use redis::{Cmd, RedisResult, Value};
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

/// More idle than any lease: whoever looks next may take it at once. Redis reckons an idle time in ms.
const AT_ONCE: u64 = 7 * 86_400_000;
/// The most requests looked at in one step of taking over.
const STEP: usize = 100;
/// The most steps at a time, each of which looks at ten times its count.
const MOST_STEPS: usize = 20;
/// What was delivered more often is a suspect: it kills whoever takes it, or was there each time something did.
const TRUSTED: u32 = 2;

/// Renews the lease on what has been held for a third of it or more (younger claims cannot have run out).
pub fn renew(member: &Member, queue: &RequestQueue) -> Result<(), Error> {
    let held = queue.older_than(member.options.consumer.lease / 3);
    if held.is_empty() {
        return Ok(());
    }
    // JUSTID leaves the count of deliveries alone.
    let claim = claim_command(member, &held, &["JUSTID"]);
    member.connections.with(&member.inbox, |connection| connection.run(&claim)).map(drop)
}

/// Gives requests back to the group, so that another instance (or this one) takes them soon. Each comes with how
/// often it has been delivered, this time included; as it was not started, this time is not to count.
pub fn release(member: &Member, requests: &[(StreamId, u32)]) -> Result<(), Error> {
    leave(member, requests)?;
    member.stats.released.add(requests.len() as u64);
    Ok(())
}

/// Moves the request with the id ARGV[3] to the end of the inbox, where a blocked reader of the group gets it at once.
/// The copy has the same fields and the same deadline (the request is ARGV[5] ms old, if its id does not say so), and
/// with ARGV[4] = 1 also `resent`. The request must be pending under the consumer ARGV[2] and have been delivered once:
/// a copy starts with a delivery count of 0. Returns 1 if it was moved, 0 if the consumer does not have it any more,
/// and
/// -1 if it cannot be moved.
///
/// This is a script because between the look and the copy the asker may withdraw the request, or another consumer may
/// take it over; then there must be no copy.
const MOVE: &str = r"
local row = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2])[1]
if not row then return 0 end
if row[4] ~= 1 then return -1 end
local entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'RETRYCOUNT', 1)[1]
if not entry then return 0 end
local fields, has_ttl, resent = entry[2], false, ARGV[4] ~= '1'
if #fields > 128 then return -1 end
local time = redis.call('TIME')
local passed = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(string.match(ARGV[3], '^%d+'))
passed = math.max(passed, tonumber(ARGV[5]))
for i = 1, #fields, 2 do
  if fields[i] == 'ttl' then
    local left = string.match(fields[i + 1], '^%d+$') and tonumber(fields[i + 1]) - passed
    if not left or left <= 0 or left > 1e15 then return -1 end
    fields[i + 1] = string.format('%.0f', left)
    has_ttl = true
  end
  resent = resent or fields[i] == 'resent'
end
if not has_ttl then return -1 end
if not resent then
  fields[#fields + 1] = 'resent'
  fields[#fields + 1] = '1'
end
redis.call('XADD', KEYS[1], '*', unpack(fields))
redis.call('XDEL', KEYS[1], ARGV[3])
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
return 1
";

/// Hands requests on to whoever reads the inbox now. What cannot be moved there (it was delivered before, or this user
/// has no right to `XADD`) is given back as by [`release`].
pub fn hand_on(member: &Member, requests: &[(StreamId, u32)], started: bool) -> Result<(), Error> {
    if requests.is_empty() {
        return Ok(());
    }
    member.connections.with(&member.inbox, |connection| hand_on_by(connection, member, requests, started))
}

fn hand_on_by(
    connection: &mut Connection,
    member: &Member,
    requests: &[(StreamId, u32)],
    started: bool,
) -> RedisResult<()> {
    let (first, mut rest): (Vec<_>, Vec<_>) =
        requests.iter().copied().partition(|(_, deliveries)| *deliveries == 1);
    for page in first.chunks(STEP) {
        let moves: Vec<Cmd> = page.iter().map(|(id, _)| move_command(member, *id, started)).collect();
        for (request, reply) in page.iter().zip(connection.run_all(&moves)?) {
            match reply {
                Value::Int(1) => member.stats.released.increment(),
                Value::Int(0) => {}
                _ => rest.push(*request),
            }
        }
    }
    // A delivery that was started counts.
    let counted: Vec<_> =
        rest.iter().map(|(id, deliveries)| (*id, deliveries + u32::from(started))).collect();
    leave_on(connection, member, &counted)?;
    member.stats.released.add(counted.len() as u64);
    Ok(())
}

fn move_command(member: &Member, id: StreamId, started: bool) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(MOVE).arg(1).arg(&member.inbox).arg(&member.group).arg(&member.instance);
    command
        .arg(id.to_string())
        .arg(u8::from(started))
        .arg(member.age_if_ahead(id).unwrap_or_default().as_millis() as u64);
    command
}

/// Undoes a delivery: anybody may take the requests at once.
fn leave(member: &Member, requests: &[(StreamId, u32)]) -> Result<(), Error> {
    if requests.is_empty() {
        return Ok(());
    }
    member.connections.with(&member.inbox, |connection| leave_on(connection, member, requests))
}

fn leave_on(connection: &mut Connection, member: &Member, requests: &[(StreamId, u32)]) -> RedisResult<()> {
    for (deliveries, ids) in by_deliveries(requests) {
        let before = deliveries.saturating_sub(1).to_string();
        let options = ["IDLE", &AT_ONCE.to_string(), "RETRYCOUNT", &before, "JUSTID"];
        connection.run(&claim_command(member, &ids, &options))?;
    }
    Ok(())
}

/// What was fetched.
#[derive(Debug, Default)]
pub struct Fetched {
    /// What could be read. What was deleted meanwhile is missing.
    pub entries: Vec<RawEntry>,
    /// What breaks each connection that reads it, with how often it was delivered.
    pub unreadable: Vec<(StreamId, u32)>,
}

/// Reads requests that are pending under this instance, each with how often it has been delivered from now on.
pub fn fetch(member: &Member, requests: &[(StreamId, u32)]) -> Result<Fetched, Error> {
    let (mut fetched, mut rest) = (Fetched::default(), requests);
    while let Some(first) = rest.first() {
        let count = member.fetching.lock().count(Instant::now()).min(rest.len());
        let (page, later) = rest.split_at(count);
        let entries = on_pooled(member, |connection| {
            match fetch_page(connection, member, page) {
                // A pooled connection that breaks is replaced by another.
                Err(error) if is_unreadable(&error) => Ok(None),
                entries => entries.map(Some),
            }
        })?;
        if let Some(entries) = entries {
            member.fetching.lock().ate(count, count);
            fetched.entries.extend(entries);
            rest = later;
            continue;
        }
        member.fetching.lock().choked(count, Instant::now());
        if judge(member)? {
            fetched.unreadable.push(*first);
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    Ok(fetched)
}

/// Whether the first request of those that are fetched is what broke the last connections.
fn judge(member: &Member) -> Result<bool, Error> {
    if !member.fetching.lock().is_to_judge() {
        return Ok(false);
    }
    let serves = on_pooled(member, Connection::serves_promptly)?;
    Ok(member.fetching.lock().judge(serves))
}

/// Runs `work` on a pooled connection. What breaks that, or keeps it from being made, is no request's fault.
fn on_pooled<T>(member: &Member, work: impl FnMut(&mut Connection) -> RedisResult<T>) -> Result<T, Error> {
    member.connections.with(&member.inbox, work).inspect_err(|_| member.fetching.lock().acquit())
}

fn fetch_page(
    connection: &mut Connection,
    member: &Member,
    requests: &[(StreamId, u32)],
) -> RedisResult<Vec<RawEntry>> {
    let mut entries = Vec::with_capacity(requests.len());
    for (deliveries, ids) in by_deliveries(requests) {
        let claim = claim_command(member, &ids, &["RETRYCOUNT", &deliveries.to_string()]);
        entries.extend(connection.run_for_entries(&claim, member.options.room())?);
    }
    Ok(entries)
}

fn by_deliveries(requests: &[(StreamId, u32)]) -> BTreeMap<u32, Vec<StreamId>> {
    let mut groups: BTreeMap<u32, Vec<StreamId>> = BTreeMap::new();
    for (id, deliveries) in requests {
        groups.entry(*deliveries).or_default().push(*id);
    }
    groups
}

fn claim_command(member: &Member, ids: &[StreamId], options: &[&str]) -> Cmd {
    let mut claim = redis::cmd("XCLAIM");
    claim.arg(&member.inbox).arg(&member.group).arg(&member.instance).arg(0);
    for id in ids {
        claim.arg(id.to_string());
    }
    claim.arg(options);
    claim
}

/// What a look for requests to take over came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// Where the next one begins.
    pub cursor: StreamId,
    /// Whether there may be suspects that were left.
    pub left: bool,
}

/// Requests that were pending under others, and are under this instance now.
struct Claimed {
    cursor: StreamId,
    entries: Vec<RawEntry>,
    unreadable: Vec<(StreamId, u32)>,
    deliveries: HashMap<StreamId, u32>,
}

impl Claimed {
    fn deliveries(&self, entry: &RawEntry) -> u32 {
        self.deliveries.get(&entry.id).copied().unwrap_or(1)
    }

    /// Takes out the entries that `unwanted` picks, with how often each was delivered.
    fn take(&mut self, mut unwanted: impl FnMut(&RawEntry, u32) -> bool) -> Vec<(StreamId, u32)> {
        let entries = std::mem::take(&mut self.entries);
        let (taken, kept): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| unwanted(entry, self.deliveries(entry)));
        self.entries = kept;
        taken.iter().map(|entry| (entry.id, self.deliveries(entry))).collect()
    }
}

/// Whether there is any request that nobody has renewed for one lease, or that was given back: else there is nothing to
/// take over, and this one command is all that a look for it costs.
pub fn is_any_idle(member: &Member) -> Result<bool, Error> {
    let lease = member.options.consumer.lease.as_millis() as u64;
    let mut pending = redis::cmd("XPENDING");
    pending.arg(&member.inbox).arg(&member.group).arg("IDLE").arg(lease).arg("-").arg("+").arg(1);
    let rows = member.connections.with(&member.inbox, |connection| connection.run(&pending))?;
    Ok(!replies::pending_ids(&rows).is_empty())
}

/// Takes over requests whose lease ran out, as many as there is room for, from where the last look ended.
///
/// With `only_released` it takes what was given back and nothing else: after a stall of Redis every lease looks as if
/// it had run out, and its holder is to renew it first.
///
/// Of suspects it takes one, and no other while [`holds_suspect`]. Else what is held beside a request that kills its
/// process each time would be given up on with it.
///
/// `None` if Redis's clock is not what it should be: then nothing that it says of idle times is believed.
pub fn take_over(
    member: &Member,
    queue: &RequestQueue,
    admission: &Admission,
    last: Look,
    only_released: bool,
) -> Result<Option<Look>, Error> {
    let is_new_pass = last.cursor == StreamId::default();
    let (mut look, mut kept) = (Look { left: last.left && !is_new_pass, ..last }, false);
    for _ in 0..MOST_STEPS {
        let room = queue.room().min(STEP);
        if room == 0 {
            break;
        }
        let idle = if only_released { Idle::Released } else { Idle::Lease };
        let Some(mut claimed) = claim_idle(look.cursor, idle, room, member)? else { return Ok(None) };
        let mut occupied = holds_suspect(member, queue);
        let suspects = claimed.take(|entry, deliveries| {
            let suspect = is_suspect(member, deliveries)
                && queue.held(entry.id).is_none()
                && !admission.would_end(entry);
            suspect && std::mem::replace(&mut occupied, true)
        });
        kept |= occupied;
        look.left |= !suspects.is_empty();
        // First: what is taken in now may end this process at once.
        let left = leave(member, &suspects);
        admission.bury_unreadable(&claimed.unreadable);
        admission.receive(claimed.entries, &claimed.deliveries);
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

/// Whether a suspect was taken lately and is not answered yet. One that has been running for a lease does not kill at
/// once, and may run on for long.
pub fn holds_suspect(member: &Member, queue: &RequestQueue) -> bool {
    let lease = member.options.consumer.lease;
    let holds = queue.pick(|claim: &Claim| {
        let counts = is_suspect(member, claim.request.deliveries) && claim.taken.elapsed() < lease;
        (counts && !claim.is_answered()).then_some(())
    });
    !holds.is_empty()
}

/// Whether a request that was delivered so often may be what ended those who took it; what was delivered too often is
/// not run. With at-most-once delivery none was started.
fn is_suspect(member: &Member, deliveries: u32) -> bool {
    let options = &member.options.consumer;
    let trusted = TRUSTED.min(options.max_deliveries.saturating_sub(1)).max(1);
    options.delivery == Delivery::AtLeastOnce && (trusted + 1..=options.max_deliveries).contains(&deliveries)
}

/// Which requests are to be taken over.
#[derive(Debug, Clone, Copy)]
enum Idle {
    /// Whose lease ran out.
    Lease,
    /// What was given back.
    Released,
}

/// XAUTOCLAIM, if Redis's time is ARGV[5], give or take ARGV[6] ms. Else its clock was set, and all idle times with it,
/// or it stood still, and nobody could renew.
const CLAIM: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if math.abs(now - ARGV[5]) > tonumber(ARGV[6]) then return now end
return redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], 'COUNT', ARGV[7], 'JUSTID')
";

/// More than any clock is wrong by, in ms.
const ANY: u64 = 1 << 50;

/// Takes requests over by their ids first: one that cannot be read must not keep the others from being taken over.
/// `None` if Redis's clock is not what it should be.
fn claim_idle(cursor: StreamId, idle: Idle, count: usize, member: &Member) -> Result<Option<Claimed>, Error> {
    let lease = member.group_lease();
    let (idle, tolerated) = match idle {
        Idle::Lease => (lease.as_millis() as u64, (lease / 2).as_millis() as u64),
        Idle::Released => (AT_ONCE, ANY),
    };
    let mut claim = redis::cmd("EVAL");
    claim.arg(CLAIM).arg(1).arg(&member.inbox).arg(&member.group).arg(&member.instance);
    claim.arg(idle).arg(cursor.to_string()).arg(member.clock.now()).arg(tolerated).arg(count);
    let found = member.connections.with(&member.inbox, |connection| match connection.run(&claim)? {
        Value::Int(_) => Ok(None),
        reply => {
            let claimed = replies::claimed_ids(reply).ok_or_else(unexpected)?;
            let before = deliveries(connection, member, &claimed.ids)?;
            Ok(Some((claimed, before)))
        }
    })?;
    let Some((claimed, before)) = found else { return Ok(None) };
    member.stats.withdrawn.add(claimed.deleted as u64);
    // JUSTID does not count the delivery; it counts as it is read.
    let counted = |id: &StreamId| (*id, before.get(id).copied().unwrap_or_default().saturating_add(1));
    let requests: Vec<(StreamId, u32)> = claimed.ids.iter().map(counted).collect();
    let fetched = fetch(member, &requests)?;
    Ok(Some(Claimed {
        cursor: claimed.cursor,
        entries: fetched.entries,
        unreadable: fetched.unreadable,
        deliveries: requests.into_iter().collect(),
    }))
}

/// Begins every lease anew that Redis's clock, set back, would have run on for as long as it went back: for who holds
/// the request, whoever that is. What was claimed in the future is idle for 0 ms.
const RESTART: &str = r"
local start = '-'
repeat
  local rows = redis.call('XPENDING', KEYS[1], ARGV[1], start, '+', 1000)
  for _, row in ipairs(rows) do
    if row[3] == 0 then redis.call('XCLAIM', KEYS[1], ARGV[1], row[2], 0, row[1], 'JUSTID') end
    start = '(' .. row[1]
  end
until #rows < 1000
";

/// Begins leases anew after Redis's clock was set back.
pub fn restart(member: &Member) -> Result<(), Error> {
    let mut restart = redis::cmd("EVAL");
    restart.arg(RESTART).arg(1).arg(&member.inbox).arg(&member.group);
    member.connections.with(&member.inbox, |connection| connection.run(&restart)).map(drop)
}

/// Looks which is the last id of the inbox, for [`crate::request_reply::membership::arrivals`]: a group that begins
/// there tells. XINFO STREAM would bring the last entry along, however large.
const LAST: &str = r"
redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '$')
local groups = redis.call('XINFO', 'GROUPS', KEYS[1])
redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1])
return groups
";

/// Notes which is the last id of the inbox.
pub fn look_at_last(member: &Member) -> Result<(), Error> {
    let name = format!("{}:last", member.group);
    let mut look = redis::cmd("EVAL");
    look.arg(LAST).arg(1).arg(&member.inbox).arg(&name);
    let groups = member.connections.with(&member.inbox, |connection| connection.run(&look))?;
    if let Some(last) = replies::last_delivered(&groups).and_then(|ids| ids.get(&name).copied()) {
        member.arrivals.note(last);
    }
    Ok(())
}

/// How often each of `ids`, pending under this instance, has been delivered.
fn deliveries(
    connection: &mut Connection,
    member: &Member,
    ids: &[StreamId],
) -> RedisResult<HashMap<StreamId, u32>> {
    let (Some(first), Some(last)) = (ids.iter().min(), ids.iter().max()) else { return Ok(HashMap::new()) };
    let rows = rows(connection, member, *first, *last)?;
    Ok(rows.into_iter().map(|row| (row.id, row.deliveries)).collect())
}

/// What is pending under this instance, and how often each has been delivered. Without what it left: that is anybody's.
pub fn pending(connection: &mut Connection, member: &Member) -> RedisResult<Vec<(StreamId, u32)>> {
    let rows = rows(connection, member, StreamId::default(), StreamId::LAST)?;
    Ok(rows.into_iter().filter(|row| row.idle < AT_ONCE).map(|row| (row.id, row.deliveries)).collect())
}

/// A row of XPENDING.
struct Row {
    id: StreamId,
    /// ms
    idle: u64,
    deliveries: u32,
}

/// What is pending under this instance from `first` to `last`.
fn rows(
    connection: &mut Connection,
    member: &Member,
    first: StreamId,
    last: StreamId,
) -> RedisResult<Vec<Row>> {
    let mut found = Vec::new();
    let mut start = first.to_string();
    loop {
        let mut pending = redis::cmd("XPENDING");
        pending.arg(&member.inbox).arg(&member.group).arg(&start).arg(last.to_string());
        pending.arg(STEP).arg(&member.instance);
        let page = page(connection.run(&pending)?).ok_or_else(unexpected)?;
        let next = page.last().filter(|_| page.len() == STEP).map(|row| format!("({}", row.id));
        found.extend(page);
        match next {
            Some(next) => start = next,
            None => return Ok(found),
        }
    }
}

/// XPENDING's rows: id, consumer, idle ms, deliveries.
fn page(value: Value) -> Option<Vec<Row>> {
    let Value::Array(rows) = value else { return None };
    rows.iter()
        .map(|row| match row {
            Value::Array(columns) => match columns.as_slice() {
                [id, _, Value::Int(idle), Value::Int(deliveries)] => {
                    let id = replies::id(id)?;
                    Some(Row { id, idle: (*idle).try_into().unwrap_or(0), deliveries: *deliveries as u32 })
                }
                _ => None,
            },
            _ => None,
        })
        .collect()
}
