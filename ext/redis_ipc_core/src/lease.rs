//! Leases on requests. An instance renews what it holds; what nobody renews for one lease, another takes over.

use crate::connection::Connection;
use crate::consumer_queue::ConsumerQueue;
use crate::dispatcher::unexpected;
use crate::entry::StreamId;
use crate::error::Error;
use crate::member::Member;
use crate::reception::Reception;
use crate::stream_reply;
use redis::{Cmd, RedisResult, Value};
use std::collections::HashMap;

/// More idle than any lease: whoever looks next may take it at once. Redis reckons an idle time in ms.
const AT_ONCE: u64 = 7 * 86_400_000;
/// The most requests looked at in one step of taking over.
const STEP: usize = 100;
/// The most steps at a time, each of which looks at ten times its count.
const MOST_STEPS: usize = 20;

/// Renews the lease on what has been held for a third of it or more (younger claims cannot have run out).
pub fn renew(member: &Member, queue: &ConsumerQueue) -> Result<(), Error> {
    let held = queue.older_than(member.options.consumer.lease / 3);
    if held.is_empty() {
        return Ok(());
    }
    // JUSTID leaves the count of deliveries alone.
    let claim = claim_command(member, &held, &["JUSTID"]);
    member.connections.with(|connection| connection.run(&claim)).map(drop)
}

/// Gives requests back to the group, so that another instance (or this one) takes them soon.
pub fn release(member: &Member, ids: &[StreamId]) -> Result<(), Error> {
    if ids.is_empty() {
        return Ok(());
    }
    member.connections.with(|connection| release_on(connection, member, ids))?;
    member.stats.released.add(ids.len() as u64);
    Ok(())
}

/// [`release`], on a connection at hand.
pub fn release_on(connection: &mut Connection, member: &Member, ids: &[StreamId]) -> RedisResult<Value> {
    // Not started: the coming delivery is to count as the first again.
    connection.run(&claim_command(member, ids, &["IDLE", &AT_ONCE.to_string(), "RETRYCOUNT", "0", "JUSTID"]))
}

fn claim_command(member: &Member, ids: &[StreamId], options: &[&str]) -> Cmd {
    let mut claim = redis::cmd("XCLAIM");
    claim.arg(&member.inbox).arg(&member.group).arg(&member.consumer).arg(0);
    for id in ids {
        claim.arg(id.to_string());
    }
    claim.arg(options);
    claim
}

/// Takes over requests whose lease ran out, as many as there is room for.
pub fn take_over(member: &Member, queue: &ConsumerQueue, reception: &Reception) -> Result<(), Error> {
    let mut cursor = StreamId::default();
    for _ in 0..MOST_STEPS {
        let room = queue.room().min(STEP);
        if room == 0 {
            break;
        }
        cursor = take_over_from(cursor, room, member, reception)?;
        if cursor == StreamId::default() {
            break;
        }
    }
    Ok(())
}

/// One step over the pending requests of the group; returns where the next one goes on.
fn take_over_from(
    cursor: StreamId,
    room: usize,
    member: &Member,
    reception: &Reception,
) -> Result<StreamId, Error> {
    let mut claim = redis::cmd("XAUTOCLAIM");
    claim.arg(&member.inbox).arg(&member.group).arg(&member.consumer);
    claim
        .arg(member.options.consumer.lease.as_millis() as u64)
        .arg(cursor.to_string())
        .arg("COUNT")
        .arg(room);
    let (claimed, deliveries) = member.connections.with(|connection| {
        let claimed = stream_reply::claimed(connection.run(&claim)?).ok_or_else(unexpected)?;
        let ids: Vec<StreamId> = claimed.entries.iter().map(|entry| entry.id).collect();
        let deliveries = deliveries(connection, member, &ids)?;
        Ok((claimed, deliveries))
    })?;
    member.stats.withdrawn.add(claimed.deleted as u64);
    reception.receive(claimed.entries, &deliveries);
    Ok(claimed.cursor)
}

/// How often each of `ids`, pending under this instance, has been delivered.
pub fn deliveries(
    connection: &mut Connection,
    member: &Member,
    ids: &[StreamId],
) -> RedisResult<HashMap<StreamId, u32>> {
    let (Some(first), Some(last)) = (ids.iter().min(), ids.iter().max()) else { return Ok(HashMap::new()) };
    let mut found = HashMap::new();
    let mut start = first.to_string();
    loop {
        let mut pending = redis::cmd("XPENDING");
        pending.arg(&member.inbox).arg(&member.group).arg(&start).arg(last.to_string());
        pending.arg(STEP).arg(&member.consumer);
        let page = pages(connection.run(&pending)?).ok_or_else(unexpected)?;
        let full = page.len() == STEP;
        found.extend(page.iter().copied());
        match page.last() {
            Some((last, _)) if full => start = format!("({last}"),
            _ => return Ok(found),
        }
    }
}

/// The ids pending under this instance.
pub fn pending(connection: &mut Connection, member: &Member) -> RedisResult<Vec<StreamId>> {
    let everything = [StreamId::default(), StreamId { ms: u64::MAX, seq: u64::MAX }];
    Ok(deliveries(connection, member, &everything)?.into_keys().collect())
}

/// XPENDING's rows: id, consumer, idle ms, deliveries.
fn pages(value: Value) -> Option<Vec<(StreamId, u32)>> {
    let Value::Array(rows) = value else { return None };
    rows.iter()
        .map(|row| match row {
            Value::Array(columns) => match columns.as_slice() {
                [id, _, _, Value::Int(deliveries)] => Some((stream_reply::id(id)?, *deliveries as u32)),
                _ => None,
            },
            _ => None,
        })
        .collect()
}
